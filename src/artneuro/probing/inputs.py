"""What the probes read from an activation store: whole layers, checked before use."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from artneuro.activations.store import open_store
from artneuro.core.errors import ConfigError, StoreError
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature


def check_sites(config: ProbingConfig, sites: Iterable[str], store: str | Path) -> None:
    """Raise a `ConfigError` if the config names a site that the store does not hold."""
    there = [str(site) for site in sites]
    for site in config.sites:
        if site not in there:
            raise ConfigError(
                f"the site {site!r} is to be probed but was not dumped; there are: "
                f"{', '.join(there)}",
                where=f"probing.sites, {store}",
                fix="add it to activations.sites, or take it out of probing.sites",
            )


def read_layer(store: str | Path, site: str, layer: int, features: Iterable[Feature]) -> np.ndarray:
    """All rows of a layer, (rows, units) float32, checked against what `features` label.

    Raises
    ------
    StoreError
        If rows are missing or a labelled row has a value that is not finite.
    """
    activations = open_store(store).read(site, layer)
    last = max(int(max(f.train.max(), f.test.max())) for f in features)
    where = f"{store}, site {site}, layer {layer}"
    if last >= activations.shape[0]:
        raise StoreError(
            f"row {last} is labelled but the store has {activations.shape[0]} rows",
            where=where,
            fix="delete the store and run snakemake again: it is of another version of the labels",
        )
    check_finite(activations, where)
    return activations


def check_finite(activations: np.ndarray, where: str) -> None:
    """Raise a `StoreError` if a value of (rows, units) is not finite."""
    finite = np.isfinite(activations).all(axis=1)
    if not finite.all():
        bad = int(np.flatnonzero(~finite)[0])
        unit = int(np.flatnonzero(~np.isfinite(activations[bad]))[0])
        raise StoreError(
            f"activations are not finite in {int((~finite).sum())} of {finite.size} rows, the "
            f"first is row {bad}, neuron {unit}",
            where=where,
            fix="dump the activations again in float32 (compute in half precision may overflow)",
        )
