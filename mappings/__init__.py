"""Mapping tables as data: families, kinds of layers, shapes of every variant."""
