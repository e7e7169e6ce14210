"""One reader per file format: bytes in, sections of cleaned text out."""
