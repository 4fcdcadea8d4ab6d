"""Simple forecasts of the next value from those before it, which a model's are held against."""

from __future__ import annotations

import numpy as np

BASELINES = ("last_value", "linear", "mean_so_far", "nearest", "nearest_two")


def baseline_forecasts(values: np.ndarray) -> dict[str, np.ndarray]:
    """One-step forecasts of every value of a sequence from the values before it alone.

    Parameters
    ----------
    values : ndarray of shape (n,)
        As the model sees them.

    Returns
    -------
    dict of ndarray of shape (n,)
        NaN where there is too little before.

        `last_value`: the value before. `linear`: the line through the last two. `mean_so_far`: the
        mean of all before. `nearest`: what followed the earlier value that was closest to the last
        one. `nearest_two`: what followed the two that were closest to the last two, in the
        Euclidean norm. Of several that are equally close, the latest.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    found = {name: np.full(n, np.nan) for name in BASELINES}
    found["last_value"][1:] = values[:-1]
    found["linear"][2:] = 2 * values[1:-1] - values[:-2]
    found["mean_so_far"][1:] = np.cumsum(values)[:-1] / np.arange(1, n)
    for name, width in (("nearest", 1), ("nearest_two", 2)):
        # Row i: the `width` values that end with value i + width - 1.
        pasts = np.lib.stride_tricks.sliding_window_view(values, width)
        for target in range(width + 1, n):
            earlier = pasts[: target - width]
            distance = np.square(earlier - pasts[target - width]).sum(axis=1)
            latest = len(distance) - 1 - int(np.argmin(distance[::-1]))
            found[name][target] = values[latest + width]
    return found
