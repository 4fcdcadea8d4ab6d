"""Shapes in TopoJSON, and where their middle is on the sphere.

The format: https://github.com/topojson/topojson-specification. Arcs are shared between shapes,
quantised, and stored as differences.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from artneuro.core.errors import DataError


def read_shapes(path: Path, layer: str) -> dict[str, list[np.ndarray]]:
    """Rings of the shapes of a layer, by the shapes' ids.

    Parameters
    ----------
    path : Path
        A TopoJSON file.
    layer : str
        One of its objects, a collection of polygons.

    Returns
    -------
    dict of str to list of ndarray, shape (n_points, 2), float64
        Closed rings in degrees, longitude first; holes run the other way round.

    Raises
    ------
    DataError
        If the file is no TopoJSON, or has no such layer of polygons.
    """
    try:
        topology = json.loads(path.read_text(encoding="utf-8"))
        arcs = decode_arcs(topology)
        shapes: dict[str, list[np.ndarray]] = {}
        for shape in topology["objects"][layer]["geometries"]:
            polygons = {"Polygon": [shape.get("arcs")], "MultiPolygon": shape.get("arcs")}
            rings = [ring for polygon in polygons[shape["type"]] for ring in polygon]
            shapes[str(shape["id"])] = [_join(ring, arcs) for ring in rings]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"not a TopoJSON file with polygons in a layer {layer!r} ({error!r})", str(path)
        ) from error
    return shapes


def decode_arcs(topology: dict[str, Any]) -> list[np.ndarray]:
    """The arcs of a topology in degrees, each of shape (n_points, 2), longitude first."""
    arcs = [np.asarray(arc, dtype=np.float64)[:, :2] for arc in topology["arcs"]]
    transform = topology.get("transform")
    if transform is None:
        return arcs
    scale, translate = np.asarray(transform["scale"]), np.asarray(transform["translate"])
    return [np.cumsum(arc, axis=0) * scale + translate for arc in arcs]


def _join(ring: list[int], arcs: list[np.ndarray]) -> np.ndarray:
    """Put arcs one behind another; ~i is arc i backwards, and joints are in both neighbours."""
    pieces = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in ring]
    return np.concatenate([pieces[0], *(piece[1:] for piece in pieces[1:])])


def centroid(rings: list[np.ndarray]) -> tuple[float, float]:
    """The centre of area of a shape on the sphere: latitude and longitude in degrees.

    The integral of the position over a part of the unit sphere is half the integral of r x dr
    along its border (Stokes), and along an arc of a great circle that is the arc's unit normal
    times its angle. Rings that cross the date line or hold a pole need no special treatment.

    Parameters
    ----------
    rings : list of ndarray, shape (n_points, 2)
        Closed rings in degrees, longitude first, holes the other way round.

    Raises
    ------
    DataError
        If the rings enclose nothing.
    """
    total, middle = np.zeros(3), np.zeros(3)
    for ring in rings:
        points = _on_sphere(ring[:, 1], ring[:, 0])
        normal = np.cross(points[:-1], points[1:])
        sine = np.linalg.norm(normal, axis=1)
        angle = np.arctan2(sine, np.sum(points[:-1] * points[1:], axis=1))
        is_edge = sine > 0
        total += (normal[is_edge] / sine[is_edge, None] * angle[is_edge, None]).sum(axis=0)
        middle += points.sum(axis=0)
    length = np.linalg.norm(total)
    if not length > 0:
        raise DataError("a shape has no area")
    # Outer rings are clockwise in some files and not in others; the middle of the border tells.
    x, y, z = total / length * (1 if total @ middle >= 0 else -1)
    return float(np.degrees(np.arctan2(z, np.hypot(x, y)))), float(np.degrees(np.arctan2(y, x)))


def _on_sphere(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Unit vectors, shape (n, 3), of points in degrees."""
    phi, theta = np.radians(latitude), np.radians(longitude)
    return np.column_stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)])
