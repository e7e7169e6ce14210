"""A student that is a language model, on the user's own hardware."""
