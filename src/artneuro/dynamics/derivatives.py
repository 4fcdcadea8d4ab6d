"""Time derivatives of noisy trajectories by smoothed finite differences, through PySINDy.

Thesis, sections 5.3.2 and D.1.1: the states are smoothed by a Savitzky-Golay filter before they are
differenced, and the library is built of the states as measured.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from artneuro.core.errors import ConfigError, DataError

POLYNOMIAL_ORDER = 3


def smoothed_difference(window: int) -> Any:
    """PySINDy's smoothed finite difference, which leaves the states themselves as they are.

    Parameters
    ----------
    window : int
        Samples of the filter's window; odd, at least 5.

    Returns
    -------
    pysindy.SmoothedFiniteDifference
        PySINDy's own default, `save_smooth=True`, would build the library of the smoothed states
        in `SINDy.fit`.

    Raises
    ------
    ConfigError
        If PySINDy is not installed.
    """
    try:
        from pysindy.differentiation import SmoothedFiniteDifference
    except ImportError as error:
        raise needs_pysindy() from error
    # PySINDy writes into the dictionary that it is given.
    settings = {"window_length": window, "polyorder": POLYNOMIAL_ORDER}
    return SmoothedFiniteDifference(smoother_kws=settings, save_smooth=False)


def differentiate(states: np.ndarray, dt: float, window: int) -> np.ndarray:
    """Time derivatives of a trajectory.

    Parameters
    ----------
    states : ndarray of shape (time, variable)
        As measured.
    dt : float
        Time between samples.
    window : int
        See `smoothed_difference`.

    Returns
    -------
    ndarray of shape (time, variable)
        Central differences of second order, one-sided ones at both ends.

    Raises
    ------
    DataError
        If there are fewer samples than the window holds.
    """
    if len(states) < window:
        raise DataError(
            f"{len(states)} samples cannot be smoothed over a window of {window}",
            fix="take a longer duration, a smaller dt or a smaller window",
        )
    return np.asarray(smoothed_difference(window)._differentiate(np.asarray(states), dt))


def needs_pysindy() -> ConfigError:
    """The error that says what is missing."""
    return ConfigError(
        "the stage dynamics needs the package pysindy, which is not installed",
        where="dynamics",
        fix="pip install 'artneuro[dynamics]'",
    )
