"""Assets from answers to the eval report."""
