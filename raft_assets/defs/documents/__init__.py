"""Assets from source documents to chunk embeddings."""
