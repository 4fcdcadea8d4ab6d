"""Sums of one job on disk, and their merging.

A job's sums are a Zarr group: centred products of its layers, moments of its neurons, and what they
are of. Sums of parts of the tokens are merged exactly while they are read, in the order of the
parts, so that only one pair of layers is in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from zarr.codecs import Crc32cCodec

from artneuro.core.artifacts import atomic_directory, read_json, write_json
from artneuro.core.errors import StoreError
from artneuro.universality.similarity import Units

FORMAT = 1
REBUILD = "delete it and run snakemake again: only this job is run anew"
# What all sums of a group must have in common.
COMMON = ("format", "group", "metric", "active_above", "n_parts", "text_sha256", "exclude")


@dataclass(frozen=True)
class ModelPart:
    """A model in the sums of a job.

    Attributes
    ----------
    sha256 : str
        Hash of its weights.
    n_layers, d_mlp : int
        Layers of the model and neurons of each.
    layers : range
        Layers that the job read.
    """

    sha256: str
    n_layers: int
    d_mlp: int
    layers: range

    def columns(self, layers: range) -> slice:
        """Where the neurons of some layers are among those that the job read."""
        first = layers.start - self.layers.start
        return slice(first * self.d_mlp, (first + len(layers)) * self.d_mlp)


@dataclass(frozen=True)
class PairPart:
    """The layers of two models whose neurons a job multiplied."""

    left: str
    right: str
    left_layers: range
    right_layers: range


def write_sums(
    path: Path,
    models: Mapping[str, ModelPart],
    pairs: Sequence[PairPart],
    within: Mapping[str, range],
    products: Sequence[np.ndarray],
    own_products: Mapping[str, Sequence[np.ndarray]],
    moments: Mapping[str, tuple[np.ndarray, np.ndarray]],
    facts: dict[str, Any],
) -> None:
    """Write the sums of a job.

    Parameters
    ----------
    path : Path
        The Zarr folder.
    models : mapping of str to ModelPart
        The models that the job read.
    pairs : sequence of PairPart
    within : mapping of str to range
        Layers of models whose neurons were multiplied with each other.
    products : sequence of ndarray of float64, each of shape (left neuron, right neuron)
        Centred products of each pair.
    own_products : mapping of str to sequence of ndarray of float64, each (neuron, neuron)
        Centred products within each layer of `within`.
    moments : mapping of str to (ndarray, ndarray) of float64, each of shape (neuron,)
        Means and sums of squared deviations of all neurons that were read.
    facts : dict
        What the sums are of: the keys of `COMMON`, `tile`, `part`, `n_tokens`, and further ones.
    """
    with atomic_directory(path) as folder:
        group = zarr.create_group(store=str(folder))
        for k, (pair, values) in enumerate(zip(pairs, products, strict=True)):
            chunk = (models[pair.left].d_mlp, models[pair.right].d_mlp)
            _store(group, f"products/{k}", values, chunk)
        for model, layers in own_products.items():
            d = models[model].d_mlp
            _store(group, f"within/{model}", np.stack(layers), (1, d, d))
        for model, (mean, deviations) in moments.items():
            _store(group, f"mean/{model}", mean, mean.shape)
            _store(group, f"deviations/{model}", deviations, deviations.shape)
        # The group's own metadata say what must be there, and are written last.
        metadata = read_json(folder / "zarr.json")
        metadata["attributes"] = {
            **facts,
            "models": {name: _dump(vars(model)) for name, model in models.items()},
            "pairs": [_dump(vars(pair)) for pair in pairs],
            "within": _dump(dict(within)),
            "complete": True,
        }
        write_json(metadata, folder / "zarr.json")


def _store(group: zarr.Group, name: str, values: np.ndarray, chunks: tuple[int, ...]) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype="<f8",
        chunks=chunks,
        compressors=[Crc32cCodec()],
        fill_value=0,
        # A chunk of zeros would else be left out, and could not be told from a lost one.
        config={"write_empty_chunks": True},
    )
    array[...] = values


def _dump(values: dict[str, Any]) -> dict[str, Any]:
    return {k: [v.start, v.stop] if isinstance(v, range) else v for k, v in values.items()}


class JobSums:
    """The sums of one job, read from disk.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StoreError
        If they are missing, incomplete or of another format.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.facts: dict[str, Any] = read_json(path / "zarr.json")["attributes"]
            complete = self.facts["complete"] and self.facts["format"] == FORMAT
            self.models = {
                name: ModelPart(**{**m, "layers": range(*m["layers"])})
                for name, m in self.facts["models"].items()
            }
            ranges = ("left_layers", "right_layers")
            self.pairs = [
                PairPart(**{**p, **{key: range(*p[key]) for key in ranges}})
                for p in self.facts["pairs"]
            ]
            self.within = {name: range(*span) for name, span in self.facts["within"].items()}
            self.n: int = self.facts["n_tokens"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error
        if not complete:
            raise self._broken("they are incomplete or of another format")
        self._arrays: dict[str, zarr.Array] = {}

    def units(self, model: str, layer: int) -> Units:
        """Moments of the neurons of a layer."""
        columns = self.models[model].columns(range(layer, layer + 1))
        mean = torch.from_numpy(self._read(f"mean/{model}", columns))
        deviations = torch.from_numpy(self._read(f"deviations/{model}", columns))
        return Units(mean, deviations, self.n)

    def products(self, k: int, left: int, right: int) -> torch.Tensor:
        """Centred products of two layers of the k-th pair, (left neuron, right neuron)."""
        pair = self.pairs[k]
        d_left, d_right = self.models[pair.left].d_mlp, self.models[pair.right].d_mlp
        i, j = left - pair.left_layers.start, right - pair.right_layers.start
        rows, columns = slice(i * d_left, (i + 1) * d_left), slice(j * d_right, (j + 1) * d_right)
        return torch.from_numpy(self._read(f"products/{k}", (rows, columns)))

    def own_products(self, model: str, layer: int) -> torch.Tensor:
        """Centred products of the neurons of a layer with each other, (neuron, neuron)."""
        i = layer - self.within[model].start
        return torch.from_numpy(self._read(f"within/{model}", i))

    def _read(self, name: str, where: Any) -> np.ndarray:
        try:
            if name not in self._arrays:
                array = zarr.open_array(store=str(self.path), path=name, mode="r")
                # A chunk that is not there would be read as zeros.
                missing = array.nchunks - array.nchunks_initialized
                if missing:
                    raise self._broken(f"{missing} chunks of {name} are missing")
                self._arrays[name] = array
            return np.asarray(self._arrays[name][where])
        except StoreError:
            raise
        except Exception as error:  # the codecs and zarr raise several kinds
            raise self._broken(f"{name}: {type(error).__name__}: {error}") from error

    def _broken(self, what: str) -> StoreError:
        return StoreError(
            f"the sums of correlations cannot be read ({what})", where=str(self.path), fix=REBUILD
        )


class GroupSums:
    """The sums of all jobs of a group, merged over the parts of the tokens while they are read.

    Parameters
    ----------
    paths : sequence of Path
        In any order: parts are merged in the order of their numbers.

    Raises
    ------
    StoreError
        If jobs are missing, twice there, or of different models, texts or settings.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        jobs = [JobSums(Path(path)) for path in paths]
        jobs.sort(key=lambda job: (job.facts["tile"], job.facts["part"]))
        _check_one_group(jobs)
        self.facts = jobs[0].facts
        self.jobs = jobs
        self._tiles: dict[int, list[JobSums]] = {}
        for job in jobs:
            self._tiles.setdefault(job.facts["tile"], []).append(job)
        first = next(iter(self._tiles.values()))
        self.n = sum(job.n for job in first)
        self.models = {name: model for job in jobs for name, model in job.models.items()}

    def units(self, model: str, layer: int) -> Units:
        """Moments of the neurons of a layer over all tokens."""
        for parts in self._tiles.values():
            if layer in parts[0].models.get(model, _NO_LAYERS).layers:
                return merge_units([job.units(model, layer) for job in parts])
        raise self._missing(f"layer {layer} of {model}")

    def products(self, left: str, right: str, i: int, j: int) -> torch.Tensor:
        """Centred products of layer i of one model with layer j of another, over all tokens.

        Returns
        -------
        Tensor of float64, shape (neuron of left, neuron of right)
        """
        for parts in self._tiles.values():
            for k, pair in enumerate(parts[0].pairs):
                names, layers = (pair.left, pair.right), (pair.left_layers, pair.right_layers)
                if names == (right, left) and j in layers[0] and i in layers[1]:
                    return self.products(right, left, j, i).T
                if names == (left, right) and i in layers[0] and j in layers[1]:
                    return merge_products(
                        [job.products(k, i, j) for job in parts],
                        [job.units(left, i) for job in parts],
                        [job.units(right, j) for job in parts],
                    )
        raise self._missing(f"layer {i} of {left} with layer {j} of {right}")

    def own_products(self, model: str, layer: int) -> torch.Tensor:
        """Centred products of the neurons of a layer with each other, over all tokens."""
        for parts in self._tiles.values():
            if layer in parts[0].within.get(model, ()):
                units = [job.units(model, layer) for job in parts]
                found = [job.own_products(model, layer) for job in parts]
                return merge_products(found, units, units)
        raise self._missing(f"layer {layer} of {model} with itself")

    def _missing(self, what: str) -> StoreError:
        return StoreError(
            f"no job has the sums of {what}",
            where=self.facts["group"],
            fix="run snakemake again with the same config for all jobs of the group",
        )


_NO_LAYERS = ModelPart("", 0, 0, range(0))


def merge_units(parts: Sequence[Units]) -> Units:
    """Moments over all tokens from those over parts of them."""
    n = sum(part.n for part in parts)
    # From the first mean on, so that a unit with the same value everywhere keeps it exactly.
    mean = parts[0].mean.clone()
    for part in parts[1:]:
        mean += part.n / n * (part.mean - parts[0].mean)
    deviations = torch.zeros_like(mean)
    for part in parts:
        deviations += part.deviations + part.n * (part.mean - mean).square()
    return Units(mean, deviations, n)


def merge_products(
    parts: Sequence[torch.Tensor], left: Sequence[Units], right: Sequence[Units]
) -> torch.Tensor:
    """Centred products over all tokens from those over parts of them.

    Parameters
    ----------
    parts : sequence of Tensor of float64, each of shape (left unit, right unit)
        Products about the means of each part.
    left, right : sequence of Units
        Moments in each part.
    """
    x, y = merge_units(left).mean, merge_units(right).mean
    total = parts[0].clone()
    for part in parts[1:]:
        total += part
    for a, b in zip(left, right, strict=True):
        total.addr_(a.mean - x, b.mean - y, alpha=a.n)
    return total


def _check_one_group(jobs: Sequence[JobSums]) -> None:
    """Make sure that jobs belong together and that none is missing or twice there."""
    first = jobs[0]

    def differs(job: JobSums, what: str, ours: Any, theirs: Any) -> StoreError:
        return StoreError(
            f"sums of correlations do not belong together: {what} is {theirs!r} in one and "
            f"{ours!r} in another",
            where=f"{first.path} and {job.path}",
            fix=REBUILD,
        )

    for job in jobs[1:]:
        for key in COMMON:
            if job.facts.get(key) != first.facts.get(key):
                raise differs(job, key, job.facts.get(key), first.facts.get(key))
        for name, model in job.models.items():
            for other in jobs:
                known = other.models.get(name, model)
                if known.sha256 != model.sha256:
                    raise differs(job, f"the sha256 of {name}", model.sha256, known.sha256)
    there = [(job.facts["tile"], job.facts["part"]) for job in jobs]
    tiles, parts = {tile for tile, _ in there}, range(first.facts["n_parts"])
    wanted = sorted((tile, part) for tile in tiles for part in parts)
    if there != wanted:
        missing = sorted(set(wanted) - set(there))
        raise StoreError(
            f"sums of correlations are missing for (tile, part) {missing}"
            if missing
            else "sums of one part of the tokens are given twice",
            where=str(first.path.parent),
            fix="run snakemake again: it makes what is missing",
        )
    for tile in tiles:
        own = [job for job in jobs if job.facts["tile"] == tile]
        for job in own[1:]:
            if (job.pairs, job.models) != (own[0].pairs, own[0].models):
                raise differs(job, "what was multiplied", job.pairs, own[0].pairs)
