"""How the correlations of a group are divided into jobs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from artneuro.core.errors import ConfigError
from artneuro.universality.config import GroupConfig


@dataclass(frozen=True)
class Tile:
    """Pairs of models, and which ranges of their layers one job multiplies.

    Attributes
    ----------
    number : int
        Its place in the plan.
    pairs : tuple of (str, str)
        First and second model.
    left, right : (int, int)
        Which of how many ranges of the layers of the first and of the second models.
    within : tuple of (str, bool)
        Models whose neurons are also multiplied with those of the same layer, and whether that is
        over the first range (else over the second).
    """

    number: int
    pairs: tuple[tuple[str, str], ...]
    left: tuple[int, int]
    right: tuple[int, int]
    within: tuple[tuple[str, bool], ...]

    @property
    def members(self) -> list[str]:
        """The models that the job runs, in the order of the pairs."""
        return list(dict.fromkeys(model for pair in self.pairs for model in pair))

    def layers(self, n_layers: Mapping[str, int]) -> dict[str, range]:
        """The layers of each model that the job reads, from the lowest to the highest it needs."""
        found: dict[str, range] = {}
        for pair in self.pairs:
            for model, own in zip(pair, (self.left, self.right), strict=True):
                new = layer_range(n_layers[model], *own)
                old = found.get(model, new)
                found[model] = range(min(old.start, new.start), max(old.stop, new.stop))
        return found


def layer_range(n_layers: int, i: int, n_ranges: int) -> range:
    """The i-th of `n_ranges` ranges of layers, whose lengths differ by one at most.

    Raises
    ------
    ConfigError
        If there are more ranges than layers.
    """
    if n_ranges > n_layers:
        raise ConfigError(
            f"{n_layers} layers cannot be divided into {n_ranges} ranges",
            where="universality.groups: tiles",
            fix=f"set both numbers to {n_layers} or less",
        )
    return range(i * n_layers // n_ranges, (i + 1) * n_layers // n_ranges)


def pairs_of(group: GroupConfig) -> list[tuple[str, str]]:
    """The pairs of models that are multiplied; of each two models one order is enough."""
    if group.pairs == "all":
        return list(itertools.combinations(group.members, 2))
    return [(group.reference, other) for other in group.others]


def references_of(group: GroupConfig) -> list[str]:
    """The models whose neurons are looked for in others."""
    return group.members if group.pairs == "all" else [group.reference]


def tiles_of(group: GroupConfig) -> list[Tile]:
    """The tiles of a group; every pair has all its layers in exactly one of them each."""
    pairs = pairs_of(group)
    batches = [tuple(pairs)] if group.jobs_by == "group" else [(pair,) for pair in pairs]
    n_left, n_right = group.tiles
    # Every model that is looked in is the second of a pair, but for the first one of all pairs.
    first = group.reference if group.pairs == "all" else None
    made: list[Tile] = []
    done: set[tuple[str, int]] = set()
    for batch in batches:
        for i, j in itertools.product(range(n_left), range(n_right)):
            sides = [(right, False, j) for _, right in batch if i == 0]
            sides += [(left, True, i) for left, _ in batch if j == 0 and left == first]
            within = [side for side in dict.fromkeys(sides) if (side[0], side[2]) not in done]
            done |= {(model, number) for model, _, number in within}
            own = tuple((model, is_left) for model, is_left, _ in within)
            made.append(Tile(len(made), batch, (i, n_left), (j, n_right), own))
    return made
