"""Best supports of sparse support vector machines: fits, local search, branch and bound."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from artneuro.probing.logistic import balanced_weights
from artneuro.probing.svm_losses import LOSSES, Rows, all_rows, loss_sum
from artneuro.probing.svm_nodes import FREE, Node, expand, survey
from artneuro.probing.svm_relaxation import Goal, minimise

# Gap of the fits on a single support, relative to the objective.
_EXACT = 1e-9
_SMALLEST = 1e-12
# A gap that says that a fit has stalled.
_LOOSE = 1e-6
_STEPS = 500
# Neurons that are tried in the place of each one of the support.
_TRIED = 6


@dataclass(frozen=True)
class Problem:
    """Activations and labels of a sparse support vector machine, centred, scaled and signed.

    Attributes
    ----------
    rows : Rows
        With every neuron times sqrt(gamma), so that the penalty is |w|^2 / 2.
    loss : str
        One of `LOSSES`.
    mean : ndarray of shape (units,)
        Of the activations.
    root : float
        Square root of gamma.
    """

    rows: Rows
    loss: str
    mean: np.ndarray
    root: float

    @property
    def units(self) -> int:
        """Number of neurons to choose from."""
        return self.mean.size

    @property
    def kind(self) -> int:
        """Number of the loss in compiled code."""
        return LOSSES[self.loss]

    def normal_equations(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Gram matrix with the penalty, moment and total of the squared error, b eliminated."""
        weight, y = self.rows.weight, self.rows.y
        centre = np.average(self.rows.signed * y, axis=1, weights=weight)
        columns = self.rows.signed * y - centre[:, None]
        target = y - np.average(y, weights=weight)
        gram = (columns * weight) @ columns.T + 0.5 * np.eye(self.units)
        return gram, columns @ (weight * target), float(weight @ target**2)

    def intercept_of(self, w: np.ndarray) -> float:
        """The best b of the squared error for weights w."""
        weight, y = self.rows.weight, self.rows.y
        return float(np.average(y - w @ (self.rows.signed * y), weights=weight))


def make_problem(
    columns: np.ndarray, positive: np.ndarray, *, gamma: float, balanced: bool, loss: str
) -> Problem:
    """The problem on activations (units, rows) with labels `positive`, both classes present."""
    mean = columns.mean(axis=1, dtype=np.float64)
    y = np.where(positive, 1.0, -1.0)
    root = float(np.sqrt(gamma))
    # Centring changes the intercept only, and saves digits where a mean is far from zero.
    signed = np.ascontiguousarray((columns - mean[:, None]) * (root * y))
    weight = balanced_weights(positive) if balanced else np.ones(y.size)
    return Problem(all_rows(signed, y, weight), loss, mean, root)


@dataclass(frozen=True)
class Fit:
    """The machine on one support, or the part of it that shows that it is worse than another.

    Attributes
    ----------
    support : ndarray of int64
        Ascending.
    w : ndarray of shape (units,)
    b : float
    objective : float
    bound : float
        No machine on this support has a lower objective.
    delta : float
        Width of the smoothed hinge at the end.
    """

    support: np.ndarray
    w: np.ndarray
    b: float
    objective: float
    bound: float
    delta: float


@dataclass
class Counters:
    """What a search has cost so far: nodes or cuts, and fits."""

    nodes: int = 0
    fits: int = 0


@dataclass
class Search:
    """The best support of k neurons so far, and what is known of the others.

    Attributes
    ----------
    problem : Problem
    k : int
        At most the number of neurons.
    deadline : float
        On the clock of `time.perf_counter`.
    incumbent : Fit
        The best support.
    root : Node
        The relaxation over all supports, with the pull and the dual total of its bound.
    """

    problem: Problem
    k: int
    deadline: float
    counters: Counters = field(default_factory=Counters)
    incumbent: Fit = field(init=False)
    root: Node = field(init=False)
    root_pull: np.ndarray = field(init=False)
    root_total: float = field(init=False)
    _known: dict[bytes, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        nothing = np.zeros(self.problem.units)
        worst = float(self.problem.rows.weight.sum())
        # Until a support is fitted, the one without coefficients.
        first = np.arange(self.k)
        self.incumbent = Fit(first, nothing, 0.0, worst, 0.0, 1.0)

    def prepare(self, starts: Iterable[Iterable[int]] = ()) -> None:
        """Solve the relaxation and find a good support."""
        self.relax()
        self.fit(np.argsort(-np.abs(self.root.w), kind="stable")[: self.k], self.root)
        self.start(starts)

    def relax(self) -> None:
        """Solve the relaxation over all supports."""
        units = self.problem.units
        status, w = np.full(units, FREE, dtype=np.int8), np.zeros(units)
        self.root_pull = np.empty(units)
        goal = Goal(np.inf, -1.0, 1e-5, 1e-9, _STEPS)
        b, _, bound, self.root_total, _, delta = minimise(
            self.problem.rows, self.problem.kind, np.zeros(units, np.bool_), self.k, w, 0.0, 1.0,
            goal, self.root_pull,
        )  # fmt: skip
        self.root = Node(status, w, b, max(delta, 1e-3), bound, False)

    def start(self, starts: Iterable[Iterable[int]]) -> None:
        """Try supports, cut or filled up to k, and improve the best one."""
        for support in starts:
            names = list(dict.fromkeys(int(j) for j in support))[: self.k]
            if not self.out_of_time():
                self.complete(names)
        self.improve()

    def fit(
        self,
        support: Iterable[int],
        near: Fit | Node | None = None,
        cutoff: float | None = None,
    ) -> Fit:
        """Fit the machine on a support; it stops early if it cannot be below the cutoff.

        Without a cutoff that is the objective of the best support. An early stop shows in a wide
        gap between objective and bound.
        """
        names = np.array(sorted(int(j) for j in support), dtype=np.int64)
        rows = self.problem.rows
        part = rows._replace(signed=rows.signed[names], pull=np.zeros(names.size))
        w = np.zeros(names.size) if near is None else near.w[names]
        below = self.incumbent.objective if cutoff is None else cutoff
        goal = Goal(below, -1.0, _EXACT, _SMALLEST, _STEPS)
        b, objective, bound, _, _, delta = minimise(
            part, self.problem.kind, np.ones(names.size, np.bool_), 0, w,
            0.0 if near is None else near.b, 1.0 if near is None else 0.1, goal,
            np.empty(names.size),
        )  # fmt: skip
        self.counters.fits += 1
        if near is not None and bound < below and objective - bound > _LOOSE * abs(objective):
            # A start in a flat part of the smoothed loss can stall; one from zero does not.
            return self.fit(names, None, cutoff)
        wide = np.zeros(self.problem.units)
        wide[names] = w
        found = Fit(names, wide, b, objective, bound, delta)
        if names.size == self.k:
            self._known[names.tobytes()] = bound
            if objective < self.incumbent.objective:
                # The lowest objective on the way may be that of another step than the last.
                found = replace(found, objective=self._objective(part, w, b))
            if found.objective < self.incumbent.objective:
                self.incumbent = found
        return found

    def _objective(self, rows: Rows, w: np.ndarray, b: float) -> float:
        margin = w @ rows.signed + b * rows.y
        return float(loss_sum(margin, rows.weight, self.problem.kind) + 0.5 * w @ w)

    def try_support(self, support: np.ndarray, near: Fit | Node | None = None) -> float:
        """Lower bound of a support (ascending), which is fitted unless that was done before."""
        known = self._known.get(support.tobytes())
        return self.fit(support, near).bound if known is None else known

    def pull(self, found: Fit) -> tuple[float, np.ndarray]:
        """Dual total and pull of every neuron at a fit: together a bound for any support."""
        rows, units = self.problem.rows, self.problem.units
        everything = np.arange(units)
        chosen = np.zeros(units, dtype=np.bool_)
        chosen[found.support] = True
        pull = np.empty(units)
        _, _, total = survey(
            rows, self.problem.kind, found.delta, everything, chosen, 0, found.w, found.b,
            np.empty(rows.y.size), np.empty(rows.y.size), pull,
        )  # fmt: skip
        return total, pull

    def out_of_time(self) -> bool:
        """Whether the deadline is past."""
        return time.perf_counter() > self.deadline

    def complete(self, names: list[int]) -> None:
        """Add neurons to a support, those that the residuals pull most, until it has k."""
        names = list(names)
        while len(names) < self.k:
            # Without a cutoff, because the pulls of an early stop would be poor.
            _, pull = self.pull(self.fit(names, cutoff=np.inf))
            pull[names] = 0.0
            ranked = np.argsort(-np.abs(pull), kind="stable")
            names.append(next(int(j) for j in ranked if j not in names))
        self.try_support(np.sort(np.array(names, dtype=np.int64)))

    def improve(self) -> None:
        """Exchange single neurons as long as that lowers the objective."""
        again = self.k < self.problem.units
        while again and not self.out_of_time():
            again = False
            here = self.incumbent
            for leaving in here.support:
                if self.out_of_time():
                    return
                rest = here.support[here.support != leaving]
                without = self.fit(rest, here, cutoff=np.inf)
                total, pull = self.pull(without)
                squares = pull * pull
                base = total - 0.5 * squares[rest].sum()
                squares[here.support] = -1.0
                for entering in np.argsort(-squares)[:_TRIED]:
                    hopeless = base - 0.5 * squares[entering] >= here.objective
                    if squares[entering] < 0.0 or hopeless:
                        break
                    self.try_support(np.sort(np.append(rest, entering)), without)
                if self.incumbent is not here:
                    again = True
                    break

    def branch_and_bound(self, gap: float) -> float:
        """Raise the bound until the best support is proven to `gap`; returns the bound.

        The node of the lowest bound comes first. Every support is in a node on the heap, or below
        one whose bound was taken into `floor`.
        """
        rows, kind = self.problem.rows, self.problem.kind
        if self.k == self.problem.units:
            return max(self.root.bound, self.try_support(np.arange(self.k)))
        heap: list[tuple[float, int, Node]] = [(self.root.bound, 0, self.root)]
        floor, count = np.inf, 0
        while heap and not self.out_of_time():
            cutoff = self.incumbent.objective * (1.0 - gap)
            if heap[0][0] >= cutoff:
                break
            _, _, node = heapq.heappop(heap)
            bound, dropped, _, parts, first, second, promising = expand(
                rows, kind, self.k, node, cutoff
            )
            self.counters.nodes += 1
            if parts == 0:
                floor = min(floor, bound)
                continue
            floor = min(floor, dropped)
            self.try_support(np.flatnonzero(promising), node)
            for child in (first, second)[:parts]:
                cutoff = self.incumbent.objective * (1.0 - gap)
                if child.bound >= cutoff:
                    floor = min(floor, child.bound)
                elif child.leaf:
                    alone = self.try_support(np.flatnonzero(child.status > 0), child)
                    floor = min(floor, max(alone, child.bound))
                else:
                    count += 1
                    heapq.heappush(heap, (child.bound, count, child))
        return float(min(floor, heap[0][0] if heap else np.inf))
