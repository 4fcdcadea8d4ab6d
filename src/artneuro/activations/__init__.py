"""Activations of a model on labelled tokens, written to a Zarr store and read from it."""
