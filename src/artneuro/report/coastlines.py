"""Coastlines and borders for maps: TopoJSON, in which shapes share the arcs that bound them.

The format is that of https://github.com/topojson/topojson-specification, with Natural Earth's
shapes as packages of maps ship them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from artneuro.core.artifacts import read_json
from artneuro.core.errors import DataError
from artneuro.datasets.entity_topojson import decode_arcs


@dataclass(frozen=True)
class Shape:
    """A country, a state or all land.

    Attributes
    ----------
    identifier, name : str or None
        What the file calls it.
    rings : tuple of ndarray, each of shape (n_points, 2)
        Longitude and latitude in degrees; the first point of a ring is its last as well. Longitude
        goes on beyond 180 degrees where a ring crosses that meridian.
    """

    identifier: str | None
    name: str | None
    rings: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Topology:
    """A TopoJSON file.

    Attributes
    ----------
    arcs : tuple of ndarray, each of shape (n_points, 2)
        Longitude and latitude in degrees.
    objects : dict
        Geometries by name, as in the file.
    """

    arcs: tuple[np.ndarray, ...]
    objects: dict[str, Any]

    def shapes(self, name: str) -> list[Shape]:
        """Polygons of the object `name`, one shape for each of its geometries.

        Raises
        ------
        DataError
            If there is no such object, or it has an arc that is not in the file.
        """
        found = []
        for geometry in self._geometries(name):
            rings = tuple(
                around_pole(unwrapped(self._ring(arcs)))
                for polygon in _polygons(geometry)
                for arcs in polygon
            )
            identifier = geometry.get("id")
            found.append(
                Shape(
                    None if identifier is None else str(identifier),
                    (geometry.get("properties") or {}).get("name"),
                    rings,
                )
            )
        return found

    def borders(self, name: str) -> list[np.ndarray]:
        """Arcs that two geometries of the object share, as lines of shape (n_points, 2)."""
        used = Counter(
            arc
            for geometry in self._geometries(name)
            for arc in {
                _forwards(i) for polygon in _polygons(geometry) for ring in polygon for i in ring
            }
        )
        return [unwrapped(self.arcs[arc]) for arc, count in used.items() if count > 1]

    def _geometries(self, name: str) -> list[dict[str, Any]]:
        if name not in self.objects:
            raise DataError(
                f"the map has no '{name}'",
                where=", ".join(sorted(self.objects)),
                fix="use the version of the package that resources/sources.yaml pins",
            )
        top = self.objects[name]
        return top["geometries"] if top["type"] == "GeometryCollection" else [top]

    def _ring(self, indices: Iterable[int]) -> np.ndarray:
        """Arcs one after another; each begins with the point that the one before ends with."""
        pieces: list[np.ndarray] = []
        for index in indices:
            if not 0 <= _forwards(index) < len(self.arcs):
                raise DataError(
                    f"arc {index} is not among the {len(self.arcs)} of the map",
                    where="TopoJSON",
                    fix="fetch the map again",
                )
            arc = self.arcs[_forwards(index)]
            pieces.append((arc[::-1] if index < 0 else arc)[bool(pieces) :])
        return np.concatenate(pieces)


def read_topology(path: str | Path) -> Topology:
    """Read a TopoJSON file.

    Parameters
    ----------
    path : path
        Quantised, with a `transform`, or not.

    Raises
    ------
    DataError
        If it is not TopoJSON.
    """
    read = read_json(path)
    if not isinstance(read, dict) or read.get("type") != "Topology" or "arcs" not in read:
        raise DataError(
            "this is not a topology", where=str(path), fix="give a file in the format TopoJSON"
        )
    return Topology(tuple(decode_arcs(read)), read["objects"])


def unwrapped(line: np.ndarray) -> np.ndarray:
    """A line whose longitude does not jump where it crosses the meridian of 180 degrees.

    Parameters
    ----------
    line : ndarray of shape (n_points, 2)
        Longitude and latitude in degrees.
    """
    return np.column_stack([np.unwrap(line[:, 0], period=360.0), line[:, 1]])


def around_pole(ring: np.ndarray) -> np.ndarray:
    """A ring that ends 360 degrees from where it starts, led back along the pole it goes around.

    Other rings are returned as they are.
    """
    if abs(ring[-1, 0] - ring[0, 0]) < 180:
        return ring
    pole = 90.0 if ring[:, 1].mean() > 0 else -90.0
    back = [[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]]
    return np.vstack([ring, back])


def _polygons(geometry: dict[str, Any]) -> Iterator[list[list[int]]]:
    """Polygons of a geometry, each a list of rings, each a list of arcs; nothing for the rest."""
    if geometry["type"] == "Polygon":
        yield geometry["arcs"]
    elif geometry["type"] == "MultiPolygon":
        yield from geometry["arcs"]
    elif geometry["type"] == "GeometryCollection":
        for inner in geometry["geometries"]:
            yield from _polygons(inner)


def _forwards(index: int) -> int:
    """The arc that an index is of: `~i` is arc i backwards."""
    return ~index if index < 0 else index
