"""The error of an estimator's parameter, as both artneuro and scikit-learn know errors."""

from __future__ import annotations

from artneuro.core.errors import ConfigError


class ParameterError(ConfigError, ValueError):
    """A parameter that does not fit the data: a ConfigError, and scikit-learn's ValueError."""
