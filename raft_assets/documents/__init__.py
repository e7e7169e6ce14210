"""Documents of a domain: readers, quarantine, cleaning, chunking, semantic boundaries, and retrieval over chunks."""
