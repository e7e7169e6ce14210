"""The embedded teacher: rules that write questions about a passage and know the answers."""
