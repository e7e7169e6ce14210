"""The embedded reader: an extractive model that finds a sentence and copies a span of it, and its training."""
