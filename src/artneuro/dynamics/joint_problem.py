"""Several targets with constraints as one least-squares problem over columns of unit length."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from artneuro.dynamics.constraints import Constraints
from artneuro.dynamics.sparse_library import Library
from artneuro.dynamics.supports import UNIT


class JointTask(NamedTuple):
    """The problem: the objective of coefficients w is `rest + |target - w columns|^2`.

    Attributes
    ----------
    columns : ndarray of shape (columns, length)
        One column a line, of unit length: those of the first target, then those of the next.
    target : ndarray of shape (length,)
    rest, size : float
        As in `supports.Task`.
    lhs : ndarray of shape (equalities, columns)
        Rows of unit length.
    rhs : ndarray of shape (equalities,)
    upper_lhs : ndarray of shape (inequalities, columns)
        The same of inequalities: upper_lhs w <= upper_rhs.
    upper_rhs : ndarray of shape (inequalities,)
    bound : ndarray of shape (columns,)
        Of |w|; infinite where there is none.
    owner : ndarray of int64, shape (columns,)
        Which of the targets a column belongs to.
    room : ndarray of int64, shape (targets,)
        Largest number of columns of each target.
    floors : ndarray of shape (targets, most + 1)
        What the objective of a target alone is at least, `rest` apart, with at most 0, 1, ...
        columns.
    most : int
        Of all targets together.
    noise, cap : float
        As in `supports.Task`.
    bounded : bool
        Are there inequalities or bounds?
    """

    columns: np.ndarray
    target: np.ndarray
    rest: float
    size: float
    lhs: np.ndarray
    rhs: np.ndarray
    upper_lhs: np.ndarray
    upper_rhs: np.ndarray
    bound: np.ndarray
    owner: np.ndarray
    room: np.ndarray
    floors: np.ndarray
    most: int
    noise: float
    cap: float
    bounded: bool


@dataclass(frozen=True)
class Joint:
    """A problem and what its columns are.

    Attributes
    ----------
    task : JointTask
        With no limit of coefficients yet, and room for all columns.
    feature : ndarray of int64, shape (columns,)
        Of the library.
    scale : ndarray of shape (columns,)
        Coefficients of the library's columns as they are, times this, are w.
    spread : float
        Lower bound of the smallest singular value of the columns.
    """

    task: JointTask
    feature: np.ndarray
    scale: np.ndarray
    spread: float


def make_joint(
    libraries: list[Library], targets: np.ndarray, weights: np.ndarray, constraints: Constraints
) -> Joint:
    """Put targets together.

    Parameters
    ----------
    libraries : list of Library
        Of each target.
    targets : ndarray of int64
        Which targets of the libraries they are.
    weights : ndarray of shape (targets,)
        Of the targets' objectives.
    constraints : Constraints
        On these targets.
    """
    counts = [library.usable.size for library in libraries]
    lengths = [library.columns.shape[1] for library in libraries]
    root = np.sqrt(weights)
    columns, goal = np.zeros((sum(counts), sum(lengths))), np.zeros(sum(lengths))
    owner = np.repeat(np.arange(len(counts)), counts)
    feature = np.concatenate([library.usable for library in libraries])
    scale = np.concatenate([lib.scale * r for lib, r in zip(libraries, root, strict=True)])
    row = start = 0
    for library, t, r in zip(libraries, targets, root, strict=True):
        n, length = library.columns.shape
        columns[row : row + n, start : start + length] = library.columns
        goal[start : start + length] = library.targets[t] * r
        row, start = row + n, start + length
    parts = list(zip(libraries, targets, weights, strict=True))
    lhs = constraints.lhs[:, owner, feature] / scale
    length = np.sqrt(np.square(lhs).sum(axis=1))
    length[length == 0.0] = 1.0
    lhs, rhs = lhs / length[:, None], constraints.rhs / length
    first = constraints.inequalities
    bound = constraints.bound[owner, feature] * scale
    task = JointTask(
        columns,
        goal,
        float(sum(library.rest[t] * w for library, t, w in parts)),
        math.sqrt(sum(library.sizes[t] ** 2 * w for library, t, w in parts)),
        np.ascontiguousarray(lhs[first:]),
        np.ascontiguousarray(rhs[first:]),
        np.ascontiguousarray(lhs[:first]),
        np.ascontiguousarray(rhs[:first]),
        bound,
        owner,
        np.array(counts, dtype=np.int64),
        np.zeros((len(counts), sum(counts) + 1)),
        sum(counts),
        UNIT * math.sqrt(max([*lengths, 1])),
        math.inf,
        bool(first or np.isfinite(bound).any()),
    )
    spread = min(library.geometry.spread for library in libraries)
    return Joint(task, feature, scale, spread)
