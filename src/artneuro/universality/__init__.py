"""Neurons that models of several seeds share: correlations, statistics, explanations, families."""
