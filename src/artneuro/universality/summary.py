"""From the sums of a group to its tables: best matches, baselines, excess correlations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import torch
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from artneuro.core.artifacts import atomic_directory, write_table
from artneuro.core.logs import Progress
from artneuro.models.devices import resolve_device
from artneuro.universality.config import GroupConfig, UniversalityConfig
from artneuro.universality.match_schemas import MATCHES_SCHEMA, NEURONS_SCHEMA
from artneuro.universality.rotations import random_rotation
from artneuro.universality.similarity import (
    Units,
    largest_rotated,
    rotated_directions,
    similarity,
)
from artneuro.universality.sums import GroupSums
from artneuro.universality.tiles import references_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoreFacts:
    """What the scoring of a group found.

    Attributes
    ----------
    n_tokens, n_neurons : int
        Tokens that were compared, and neurons whose matches were looked for.
    n_constant : int
        Neurons that never changed.
    n_universal : int
        Neurons whose excess correlation is above the threshold; none without a baseline.
    """

    n_tokens: int
    n_neurons: int
    n_constant: int
    n_universal: int


@dataclass(frozen=True)
class Found:
    """What one model has for the neurons of another.

    Attributes
    ----------
    best : ndarray of float64, shape (neuron, top_k)
        Largest similarities, in descending order.
    place : ndarray of int64, shape (neuron, top_k)
        Their neurons, counted over all layers.
    baseline : ndarray of float64, shape (draw, neuron)
        Largest similarity with randomly rotated layers, for each draw; no draws without baseline.
    """

    best: np.ndarray
    place: np.ndarray
    baseline: np.ndarray


def score_universality(
    config: UniversalityConfig,
    group: GroupConfig,
    sums: Sequence[Path],
    neurons: Path,
    matches: Path,
    *,
    name: str,
    device: str = "auto",
    threads: int | None = None,
) -> ScoreFacts:
    """Write the tables `neurons` and `matches` of a group (equations 3.2 and 3.3).

    Parameters
    ----------
    config : UniversalityConfig
    group : GroupConfig
    sums : sequence of Path
        What `accumulate_correlations` wrote for all tiles and parts, in any order.
    neurons, matches : Path
        Tables to write, see docs/architecture.md.
    name : str
        Name of the group.
    device : {"auto", "cpu", "cuda"}
    threads : int, optional
        Threads of torch. Empty: as it is set.

    Raises
    ------
    StoreError
        If sums are missing, damaged, or do not belong together.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    merged = GroupSums(sums)
    where = resolve_device(device)
    tables: list[pl.DataFrame] = []
    lists: list[pl.DataFrame] = []
    for reference in references_of(group):
        others = [model for model in group.members if model != reference]
        found = {other: compare(config, merged, reference, other, where) for other in others}
        tables.append(_neurons(config, merged, name, reference, found))
        lists.extend(_matches(merged, name, reference, other, own) for other, own in found.items())
    table = pl.concat(tables)
    write_table(table, neurons)
    write_table(pl.concat(lists), matches)
    facts = ScoreFacts(
        n_tokens=merged.n,
        n_neurons=table.height,
        n_constant=int(table["is_constant"].sum()),
        n_universal=int(table["is_universal"].sum() or 0),
    )
    log.info(
        "%d of %d neurons have an excess correlation above %s",
        facts.n_universal,
        facts.n_neurons,
        config.threshold,
    )
    return facts


def compare(
    config: UniversalityConfig,
    sums: GroupSums,
    reference: str,
    other: str,
    device: torch.device,
) -> Found:
    """The best matches of all neurons of a model in another one, and their baselines.

    Layers are read two at a time; the random matrices of a layer are made once.
    """
    ours, theirs = sums.models[reference], sums.models[other]
    metric, d = config.metric, ours.d_mlp
    n_draws = config.rotations if metric != "jaccard" else 0
    n_units = ours.n_layers * d
    best = torch.full((n_units, 0), 0.0, dtype=torch.float64, device=device)
    place = torch.full((n_units, 0), 0, dtype=torch.int64, device=device)
    baseline = torch.full((n_draws, n_units), -1.0, dtype=torch.float64, device=device)
    units = [_on(sums.units(reference, layer), device) for layer in range(ours.n_layers)]
    counter = Progress(
        f"{reference} in {other}", ours.n_layers * theirs.n_layers, "pairs of layers", log
    )
    for layer in range(theirs.n_layers):
        y = _on(sums.units(other, layer), device)
        directions = []
        if n_draws:
            own = sums.own_products(other, layer).to(device)
            for draw in range(n_draws):
                rotation = random_rotation(
                    config.rotation, theirs.d_mlp, config.seed, other, layer, draw
                )
                turned = torch.from_numpy(rotation).to(device)
                directions.append(rotated_directions(metric, own, y, turned))
        new_best, new_place = [], []
        for i, x in enumerate(units):
            centred = sums.products(reference, other, i, layer).to(device)
            found = similarity(metric, centred, x, y)
            top, at = torch.topk(found, min(config.top_k, theirs.d_mlp), dim=1)
            new_best.append(top)
            new_place.append(at + layer * theirs.d_mlp)
            single = found.float()
            rows = slice(i * d, (i + 1) * d)
            for draw, turned in enumerate(directions):
                largest = largest_rotated(single, turned).double()
                baseline[draw, rows] = torch.maximum(baseline[draw, rows], largest)
            counter.add(1)
        best = torch.cat([best, torch.cat(new_best)], dim=1)
        place = torch.cat([place, torch.cat(new_place)], dim=1)
        # Stable: of equal ones the lower layer and neuron comes first.
        order = torch.argsort(best, dim=1, descending=True, stable=True)[:, : config.top_k]
        best, place = best.gather(1, order), place.gather(1, order)
    return Found(best.cpu().numpy(), place.cpu().numpy(), baseline.cpu().numpy())


def _on(units: Units, device: torch.device) -> Units:
    return Units(units.mean.to(device), units.deviations.to(device), units.n)


def _index(n_layers: int, d_mlp: int) -> dict[str, np.ndarray]:
    return {
        "layer": np.repeat(np.arange(n_layers), d_mlp),
        "neuron": np.tile(np.arange(d_mlp), n_layers),
    }


def _neurons(
    config: UniversalityConfig,
    sums: GroupSums,
    name: str,
    reference: str,
    found: dict[str, Found],
) -> pl.DataFrame:
    model = sums.models[reference]
    largest = np.stack([own.best[:, 0] for own in found.values()])
    mean = largest.mean(axis=0)
    baseline = excess = universal = None
    if config.metric != "jaccard":
        baseline = np.mean([own.baseline.mean(axis=0) for own in found.values()], axis=0)
        excess = mean - baseline
        universal = excess > config.threshold
    constant = np.concatenate(
        [(sums.units(reference, i).deviations == 0).numpy() for i in range(model.n_layers)]
    )
    return pl.DataFrame(
        {
            "group": name,
            "model": reference,
            **_index(model.n_layers, model.d_mlp),
            "mean_max_correlation": mean,
            "mean_max_baseline": baseline,
            "excess_correlation": excess,
            "max_max": largest.max(axis=0),
            "min_max": largest.min(axis=0),
            "is_universal": universal,
            "is_constant": constant,
            "n_tokens": sums.n,
        },
        schema=NEURONS_SCHEMA,
    )


def _matches(sums: GroupSums, name: str, reference: str, other: str, found: Found) -> pl.DataFrame:
    model, d = sums.models[reference], sums.models[other].d_mlp
    k = found.best.shape[1]
    index = {key: np.repeat(x, k) for key, x in _index(model.n_layers, model.d_mlp).items()}
    baseline = found.baseline.mean(axis=0).repeat(k) if len(found.baseline) else None
    return pl.DataFrame(
        {
            "group": name,
            "model": reference,
            **index,
            "other": other,
            "rank": np.tile(np.arange(1, k + 1), len(found.best)),
            "match_layer": found.place.ravel() // d,
            "match_neuron": found.place.ravel() % d,
            "correlation": found.best.ravel(),
            "baseline_max": baseline,
        },
        schema=MATCHES_SCHEMA,
    )


def write_matrix(
    config: UniversalityConfig, group: GroupConfig, sums: Sequence[Path], path: Path
) -> None:
    """Write all correlations of a group as Zarr: an array for each two models, in float32.

    Parameters
    ----------
    config : UniversalityConfig
    group : GroupConfig
    sums : sequence of Path
        What `accumulate_correlations` wrote for all tiles and parts, in any order.
    path : Path
        The folder to write. Arrays are named `{reference}+{other}` and have the shape (layer,
        neuron, layer of the other, neuron of the other).
    """
    merged = GroupSums(sums)
    with atomic_directory(path) as folder:
        store = zarr.create_group(store=str(folder), attributes={"metric": config.metric})
        for reference in references_of(group):
            for other in [model for model in group.members if model != reference]:
                a, b = merged.models[reference], merged.models[other]
                array = store.create_array(
                    f"{reference}+{other}",
                    shape=(a.n_layers, a.d_mlp, b.n_layers, b.d_mlp),
                    dtype="<f4",
                    chunks=(1, a.d_mlp, 1, b.d_mlp),
                    compressors=[ZstdCodec(level=1), Crc32cCodec()],
                    fill_value=0,
                    dimension_names=("layer", "neuron", "other_layer", "other_neuron"),
                    config={"write_empty_chunks": True},
                )
                theirs = [merged.units(other, j) for j in range(b.n_layers)]
                for i in range(a.n_layers):
                    ours = merged.units(reference, i)
                    for j, units in enumerate(theirs):
                        centred = merged.products(reference, other, i, j)
                        found = similarity(config.metric, centred, ours, units)
                        array[i, :, j, :] = found.float().numpy()
