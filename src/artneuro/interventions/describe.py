"""What losses and activations of single units look like in each class of sequences."""

from __future__ import annotations

import numpy as np

from artneuro.interventions.measure import Losses

# Levels of the column `quantiles`.
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
# The histograms' inner edges span these quantiles; the outermost bins also hold what lies beyond.
TAIL = 0.002


def describe_losses(losses: Losses, ablated: np.ndarray) -> dict:
    """Loss per token without and with one ablation, in nats.

    Parameters
    ----------
    losses : Losses
        Of n sequences.
    ablated : ndarray of float64, shape (n,)
        Summed losses under the ablation.

    Returns
    -------
    dict
        `loss`, `loss_ablated` and `increase` are means over sequences of the loss per token;
        `loss_se` and `increase_se` are standard errors over sequences, that of the increase from
        the paired differences (NaN for a single sequence); `relative_increase` is the increase
        over the loss.
    """
    before, after = losses.baseline / losses.n_tokens, ablated / losses.n_tokens
    increase = after - before
    return {
        "n_sequences": len(before),
        "n_tokens": int(losses.n_tokens.sum()),
        "loss": float(before.mean()),
        "loss_se": _standard_error(before),
        "loss_ablated": float(after.mean()),
        "increase": float(increase.mean()),
        "increase_se": _standard_error(increase),
        "relative_increase": float(increase.mean() / before.mean()),
    }


def describe_activations(values: np.ndarray, context: np.ndarray, bins: int) -> list[dict]:
    """Moments, quantiles and histogram of a unit's activations in each class.

    Parameters
    ----------
    values : ndarray, shape (token,)
    context : ndarray of str, shape (token,)
    bins : int

    Returns
    -------
    list of dict
        One for each class. `edges` (bins + 1) are the same for all classes; the outermost bins
        also hold what lies beyond them, so that `counts` sum to the tokens of the class.
    """
    values = values.astype(np.float64)
    names = np.unique(context)
    # Of each class, so that a small class is not cut off by the others.
    ends = np.array([np.quantile(values[context == n], (TAIL, 1 - TAIL)) for n in names])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    if high - low <= 1e-12 * max(abs(low), abs(high)):
        # A dead unit has no range: one unit about its value keeps the bins valid.
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    rows = []
    for name in names:
        inside = values[context == name]
        rows.append(
            {
                "context": str(name),
                "n_tokens": inside.size,
                "mean": float(inside.mean()),
                "std": float(inside.std()),
                "quantiles": np.quantile(inside, QUANTILES).tolist(),
                "edges": edges.tolist(),
                "counts": np.histogram(np.clip(inside, low, high), edges)[0].tolist(),
            }
        )
    return rows


def distinguished_tokens(
    values: np.ndarray, token: np.ndarray, inside: np.ndarray, min_count: int, keep: int
) -> list[dict]:
    """The tokens of the vocabulary whose mean activation differs most in and out of a class.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Activations of one unit on n tokens of text.
    token : ndarray of int, shape (n,)
        The id of each.
    inside : ndarray of bool, shape (n,)
        Whether it is in a sequence of the class.
    min_count : int
        Ids that occur less often in or out of the class are left out.
    keep : int
        Ids that are returned at most.

    Returns
    -------
    list of dict
        `token`, `n_in`, `n_out`, `mean_in`, `mean_out`, `difference` (in minus out), the largest
        absolute difference first.
    """
    known, code = np.unique(token, return_inverse=True)
    count, mean = np.zeros((2, known.size), dtype=np.int64), np.zeros((2, known.size))
    for side, mask in enumerate((inside, ~inside)):
        count[side] = np.bincount(code[mask], minlength=known.size)
        total = np.bincount(
            code[mask], weights=values[mask].astype(np.float64), minlength=known.size
        )
        mean[side] = total / np.maximum(count[side], 1)
    difference = mean[0] - mean[1]
    enough = np.flatnonzero((count >= min_count).all(axis=0))
    order = enough[np.lexsort((known[enough], -np.abs(difference[enough])))][:keep]
    return [
        {
            "token": int(known[i]),
            "n_in": int(count[0, i]),
            "n_out": int(count[1, i]),
            "mean_in": float(mean[0, i]),
            "mean_out": float(mean[1, i]),
            "difference": float(difference[i]),
        }
        for i in order
    ]


def _standard_error(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")
