"""Assets from golden questions to the data card."""
