"""Assets from the fine-tuned model to its deployment."""
