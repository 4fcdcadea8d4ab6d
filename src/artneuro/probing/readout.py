"""What a few neurons tell of a compound word: each alone, their sum, and the probe on them.

Thesis, section 2.5.1 and figure 2.2b.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from artneuro.probing.config import ProbingConfig
from artneuro.probing.layer import fit_supports
from artneuro.probing.metrics import f1_of, score_probes

# Kinds of examples of a compound word XY: X with another word, another word with Y, and "else".
XY, XW, ZY, ELSE = "XY", "XW", "ZY", "else"
KINDS = (XY, XW, ZY, ELSE)
AGAINST = {XW: (XW,), ZY: (ZY,), "both": (XW, ZY), ELSE: (ELSE,)}


@dataclass(frozen=True)
class Readout:
    """Ways to read a compound word from a few neurons: each alone, their sum, the probe on all.

    Attributes
    ----------
    weights : ndarray of shape (parts, neurons)
        A part's value is its weights times the activations, and the last part's has `offset`
        added. Parts are the neurons, the sum and the probe.
    offset : float
        Intercept of the probe.
    gain, intercept : ndarray of shape (parts,)
        A row is called positive where gain * value + intercept > 0.
    f1_train : ndarray of shape (parts,)
        On the rows that gain and intercept were fitted on.
    """

    weights: np.ndarray
    offset: float
    gain: np.ndarray
    intercept: np.ndarray
    f1_train: np.ndarray

    def values(self, activations: np.ndarray) -> np.ndarray:
        """Value of each part, (parts, rows), of activations (neurons, rows)."""
        found = self.weights @ activations
        found[-1] += self.offset
        return found

    def decide(self, values: np.ndarray) -> np.ndarray:
        """Decision values, (parts, rows), of the values of the parts."""
        return self.gain[:, None] * values + self.intercept[:, None]


def read_out(
    config: ProbingConfig,
    train: np.ndarray,
    positive: np.ndarray,
    coef: np.ndarray,
    intercept: float,
) -> Readout:
    """Fit thresholds for single neurons and for their sum, beside a probe that exists.

    Parameters
    ----------
    config : ProbingConfig
        `C` and `scale` of the one-dimensional probes that set the thresholds.
    train : ndarray of float64, shape (neurons, rows)
        Training activations.
    positive : ndarray of bool, shape (rows,)
    coef : ndarray of shape (neurons,)
        Of the probe. A neuron that speaks against the word (negative coefficient) counts with its
        sign turned: a gated neuron's sign is a convention.
    intercept : float
        Of the probe.
    """
    sign = np.where(coef < 0, -1.0, 1.0)
    weights = np.vstack([np.diag(sign), sign, coef])
    simple = weights[:-1] @ train
    lines = np.arange(len(simple))[:, None]
    probes = fit_supports(config, simple, positive, lines)
    found = Readout(
        weights=weights,
        offset=intercept,
        gain=np.append(probes.coef[:, 0, 0], 1.0),
        intercept=np.append(probes.intercept[:, 0], 0.0),
        f1_train=np.empty(0),
    )
    f1_train = f1_of(found.decide(found.values(train)), positive)
    return Readout(found.weights, found.offset, found.gain, found.intercept, f1_train)


def separation(values: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """Difference of class means in standard deviations (root of the mean class variance).

    Parameters
    ----------
    values : ndarray of shape (parts, rows)
    positive : ndarray of bool, shape (rows,)
        Both classes occur.

    Returns
    -------
    ndarray of shape (parts,)
        0 where all values are equal, infinite where only the classes differ.
    """
    inside, outside = values[:, positive], values[:, ~positive]
    difference = inside.mean(axis=1) - outside.mean(axis=1)
    spread = np.sqrt((inside.var(axis=1) + outside.var(axis=1)) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(difference == 0, 0.0, difference / spread)


def score_readout(readout: Readout, samples: Mapping[str, np.ndarray]) -> list[dict]:
    """How well each part tells XY from each kind of other examples.

    Parameters
    ----------
    readout : Readout
    samples : mapping of str to ndarray of shape (neurons, rows)
        Test activations by kind: "XY", "XW", "ZY" and "else".

    Returns
    -------
    list of dict
        `place` (of the part), `against` (a kind, or "both" XW and ZY), `auc` and `separation` of
        the values, `f1` at the threshold, `n_positive`, `n_negative`; none for kinds without rows.
    """
    values = {kind: readout.values(rows) for kind, rows in samples.items()}
    found = []
    for against, kinds in AGAINST.items():
        negatives = [values[kind] for kind in kinds if values[kind].shape[1]]
        if not negatives:
            continue
        both = np.concatenate([values[XY], *negatives], axis=1)
        positive = np.arange(both.shape[1]) < values[XY].shape[1]
        auc = score_probes(both, positive).auc
        f1 = f1_of(readout.decide(both), positive)
        apart = separation(both, positive)
        found += [
            {
                "place": place,
                "against": against,
                "auc": float(auc[place]),
                "f1": float(f1[place]),
                "separation": float(apart[place]),
                "n_positive": int(positive.sum()),
                "n_negative": int((~positive).sum()),
            }
            for place in range(len(both))
        ]
    return found


def count_values(readout: Readout, samples: Mapping[str, np.ndarray], bins: int) -> list[dict]:
    """Histograms of each part's values by kind, in bins that all kinds of a part share.

    Returns
    -------
    list of dict
        For each part `edges` (bins + 1) and `counts_*` of each kind.
    """
    values = {kind: readout.values(rows) for kind, rows in samples.items()}
    found = []
    for place in range(len(readout.weights)):
        everything = np.concatenate([of_kind[place] for of_kind in values.values()])
        low, high = float(everything.min()), float(everything.max())
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, bins + 1)
        counts = {
            f"counts_{kind}": np.histogram(of_kind[place], edges)[0].tolist()
            for kind, of_kind in values.items()
        }
        found.append({"edges": edges.tolist(), **counts})
    return found
