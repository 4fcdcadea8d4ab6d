"""How well probes do on parts of a table that they have seen nothing of (thesis, 4.4.1).

Of each part the probe trained on everything and the probe trained without it are compared on the
same test entities, and on all entities of the part that no trained one is bound to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from artneuro.spacetime.config import HoldoutsConfig
from artneuro.spacetime.holdouts_ridge import HeldOutRidge
from artneuro.spacetime.metrics import errors_of, spearman
from artneuro.spacetime.proximity import proximity_errors
from artneuro.spacetime.ridge import RidgeDesign

BLOCK, TYPE = "block", "entity_type"


@dataclass(frozen=True)
class Unit:
    """A part of a table that is held out: a country, a decade, all airports.

    Attributes
    ----------
    kind : str
        "block" or "entity_type": the column that it is a value of.
    name : str
    rows : ndarray of bool, shape (n,)
    """

    kind: str
    name: str
    rows: np.ndarray


def choose_units(entities: pl.DataFrame, train: np.ndarray, config: HoldoutsConfig) -> list[Unit]:
    """Blocks and types to hold out, those of most entities first.

    Parameters
    ----------
    entities : polars.DataFrame
        Columns `block` and `entity_type`.
    train : ndarray of bool, shape (n,)
    config : HoldoutsConfig
        At most `max_blocks` blocks; all of at least `min_entities` entities, `min_test` of them
        in the split test, that leave as many to train on. The type of most training entities is
        not held out: without it there would be another table rather than another test.
    """
    types = entities["entity_type"]
    counted = types.filter(pl.Series(train)).value_counts().sort(["count", "entity_type"])
    units = _units(entities, train, BLOCK, config)[: config.max_blocks]
    return units + [
        unit for unit in _units(entities, train, TYPE, config) if unit.name != counted[-1, 0]
    ]


def _units(
    entities: pl.DataFrame, train: np.ndarray, kind: str, config: HoldoutsConfig
) -> list[Unit]:
    found = []
    for name in sorted(entities[kind].drop_nulls().unique().to_list()):
        rows = (entities[kind] == name).fill_null(False).to_numpy()
        others = int((train & ~rows).sum())
        tested = int((~train & rows).sum())
        if (
            min(int(rows.sum()), others) >= config.min_entities
            and tested >= config.min_test
            and (train & rows).any()
        ):
            found.append(Unit(kind, name, rows))
    return sorted(found, key=lambda unit: -int(unit.rows.sum()))


def score_units(
    features: np.ndarray,
    targets: np.ndarray,
    target_names: Sequence[str],
    train: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    units: Sequence[Unit],
    penalty: float,
) -> Iterator[dict[str, object]]:
    """Scores of probes with and without each unit.

    Parameters
    ----------
    features : ndarray of shape (n, d)
    targets : ndarray of shape (n, t)
    target_names : sequence of str
        "latitude" and "longitude" (degrees), or "time" (years).
    train : ndarray of bool, shape (n,)
        The default split.
    groups : sequence of n str
        What is never split between training and testing.
    units : sequence of Unit
    penalty : float
        Of all fits: that of the probe that is trained on everything.

    Yields
    ------
    dict
        Columns of `HOLDOUTS_SCHEMA`, by unit. None where something is not defined.
    """
    names = tuple(target_names)
    groups = np.asarray(groups)
    design = RidgeDesign(features[train])
    coefficients, intercept = design.solve(targets[train], penalty)
    nominal = features @ coefficients + intercept
    # Every entity as seen by a probe that was not trained on it.
    unseen = nominal.copy()
    unseen[train] = design.loo_predictions(targets[train], penalty)
    nominal_proximity = proximity_errors(targets, nominal, names, among=~train)
    ridge = HeldOutRidge(features[train], targets[train], penalty)
    for unit in units:
        kept = train & ~unit.rows
        coefficients, intercept = ridge.without(unit.rows[train])
        predicted = features @ coefficients + intercept
        test = unit.rows & ~train
        # A name or creator that was trained on elsewhere would give its entities away.
        bound = unit.rows & np.isin(groups, groups[kept])
        whole = unit.rows & ~bound
        near = np.flatnonzero(whole | ~train)
        proximity = np.full(len(train), np.nan)
        proximity[near] = proximity_errors(
            targets[near], predicted[near], names, among=~train[near]
        )
        found: dict[str, object] = {
            "kind": unit.kind,
            "unit": unit.name,
            "penalty": penalty,
            "n": int(test.sum()),
            "n_held_out": int(whole.sum()),
            "n_bound": int(bound.sum()),
            "n_train": int(kept.sum()),
            "proximity_nominal": float(nominal_proximity[test].mean()),
            "proximity_held_out": float(proximity[test].mean()),
            "proximity_held_out_all": float(proximity[whole].mean()),
        }
        for key, rows, estimate in (
            ("nominal", test, nominal),
            ("held_out", test, predicted),
            ("held_out_all", whole, predicted),
        ):
            truth, estimate = targets[rows], estimate[rows]
            found[f"spearman_{key}"] = _mean_spearman(truth, estimate)
            found[f"error_{key}"] = float(errors_of(truth, estimate, names).mean())
        centres = {
            "true": targets[whole].mean(axis=0),
            "predicted": predicted[whole].mean(axis=0),
            "nominal": unseen[whole].mean(axis=0),
            "training": targets[kept].mean(axis=0),
        }
        for key, centre in centres.items():
            found |= {f"{key}_{name}": float(c) for name, c in zip(names, centre, strict=True)}
        direction = centres["true"] - centres["training"]
        for suffix, key in (("", "predicted"), ("_nominal", "nominal")):
            towards = centres[key] - centres["training"]
            found[f"angle{suffix}"] = angle_between(direction, towards)
            found[f"direction_correct{suffix}"] = bool(direction @ towards > 0)
        yield found


def angle_between(a: np.ndarray, b: np.ndarray) -> float | None:
    """Angle in degrees, 0 to 180, between two directions of the plane; None on a line.

    As in figures C.6 and C.7, where latitude and longitude are drawn as a plane: a degree is a
    degree, whatever the latitude, and nothing is wrapped at the date line.
    """
    if len(a) != 2 or not (a.any() and b.any()):
        return None
    return float(np.degrees(np.arctan2(abs(a[0] * b[1] - a[1] * b[0]), a @ b)))


def _mean_spearman(truth: np.ndarray, predicted: np.ndarray) -> float | None:
    """Mean over targets; None where fewer than three rows or a constant column leave it open."""
    if len(truth) < 3:
        return None
    found = float(np.mean([spearman(a, b) for a, b in zip(truth.T, predicted.T, strict=True)]))
    return None if np.isnan(found) else found
