"""Sparse dynamics: systems, their trajectories, exact sparse regression and recovery metrics."""
