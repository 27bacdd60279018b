"""What embedding costs: the whole way, against the path a user would take with transformers."""
