"""What one job reads and multiplies, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from artneuro.core.errors import ConfigError
from artneuro.models.info import ModelInfo
from artneuro.universality.config import GroupConfig
from artneuro.universality.moments import Product
from artneuro.universality.sums import ModelPart, PairPart
from artneuro.universality.tiles import Tile, layer_range


@dataclass(frozen=True)
class Layout:
    """What a job reads and multiplies.

    Attributes
    ----------
    models : dict of str to ModelPart
    pairs : list of PairPart
    within : dict of str to range
        Layers whose neurons are multiplied with those of the same layer.
    """

    models: dict[str, ModelPart]
    pairs: list[PairPart]
    within: dict[str, range]

    @property
    def units(self) -> dict[str, int]:
        """Neurons that are read of each model."""
        return {name: len(m.layers) * m.d_mlp for name, m in self.models.items()}

    def products(self) -> list[Product]:
        """Those of the pairs, then those within layers, in the order of `within`."""
        found = []
        for pair in self.pairs:
            rows = self.models[pair.left].columns(pair.left_layers)
            columns = self.models[pair.right].columns(pair.right_layers)
            found.append(Product(pair.left, pair.right, rows, columns))
        for name, layers in self.within.items():
            for layer in layers:
                own = self.models[name].columns(range(layer, layer + 1))
                found.append(Product(name, name, own, own))
        return found

    def numbers(self) -> int:
        """Numbers of all products."""
        return sum(p.shape[0] * p.shape[1] for p in self.products())


def lay_out(tile: Tile, infos: Mapping[str, ModelInfo], baseline: bool) -> Layout:
    """Which layers of which models a tile multiplies.

    Parameters
    ----------
    tile : Tile
    infos : mapping of str to ModelInfo
        The models of the tile.
    baseline : bool
        Whether products within layers are wanted, which the baseline takes.

    Raises
    ------
    ConfigError
        If a model has fewer layers than the tiles want ranges.
    """
    n_layers = {name: info.shape.n_layers for name, info in infos.items()}
    read = tile.layers(n_layers)
    models = {
        name: ModelPart(info.sha256, n_layers[name], info.shape.d_mlp, read[name])
        for name, info in infos.items()
    }
    pairs = [
        PairPart(a, b, layer_range(n_layers[a], *tile.left), layer_range(n_layers[b], *tile.right))
        for a, b in tile.pairs
    ]
    within = {
        name: layer_range(n_layers[name], *(tile.left if is_left else tile.right))
        for name, is_left in (tile.within if baseline else ())
    }
    return Layout(models, pairs, within)


def memory_of(layout: Layout, block_tokens: int) -> int:
    """Bytes of the sums of a job and of one block of activations, without the models."""
    block = 4 * block_tokens * sum(layout.units.values())
    moments = 8 * 4 * sum(layout.units.values())
    return 8 * layout.numbers() + block + moments


def check_memory(name: str, group: GroupConfig, layout: Layout, block_tokens: int) -> None:
    """Make sure that a job's sums fit into the memory that its group allows.

    Raises
    ------
    ConfigError
        Saying how much they take.
    """
    need, allowed = memory_of(layout, block_tokens) / 1e6, group.memory_mb
    if need > allowed:
        raise ConfigError(
            f"the sums and one block of activations take {need:,.0f} MB, and "
            f"universality.groups.{name}.memory_mb allows {allowed}",
            where=f"universality.groups.{name}",
            fix=f"raise memory_mb, or divide the layers into more ranges (tiles, now "
            f"{list(group.tiles)}), or set jobs_by: pair",
        )
