"""Paddle implementations, one module per family, twins of models_torch."""
