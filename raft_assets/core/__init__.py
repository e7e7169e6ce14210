"""What has no business meaning of its own: files, locks, identity, row models, similarity and the prompt contract."""
