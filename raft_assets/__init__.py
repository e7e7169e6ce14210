"""A folder of documents becomes a small language model that answers from them, and a report that proves it."""
