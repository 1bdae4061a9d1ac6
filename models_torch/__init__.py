"""Reference PyTorch implementations, one module per family."""
