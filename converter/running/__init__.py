"""Run a model of either side, as a function of arrays, in an interpreter of its own."""
