"""Sparse probes: which few neurons of which layer tell a feature, and how well."""
