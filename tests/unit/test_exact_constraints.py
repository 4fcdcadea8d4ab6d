"""Exact sparse regression under constraints against every support with every active set."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest
from sklearn.base import clone

from artneuro.core.errors import ConfigError, DataError
from artneuro.dynamics import joint_path
from artneuro.dynamics.certificate import JointCertificate, verify
from artneuro.dynamics.constraints import make_constraints
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.rational_constrained import Quadratic, solve_equal, solve_under


@dataclasses.dataclass
class Case:
    """An instance; constraints of shape (constraints, targets, features), inequalities first."""

    X: np.ndarray
    Y: np.ndarray
    k: int
    room: np.ndarray
    alpha: float
    weights: np.ndarray
    lhs: np.ndarray
    rhs: np.ndarray
    inequalities: int = 0
    bound: float | None = None
    forced: np.ndarray | None = None
    forbidden: np.ndarray | None = None

    def fit(self, **more):
        first = self.inequalities
        return ExactSparseRegression(
            target_sparsity=self.k, group_sparsity=self.room.tolist(), alpha=self.alpha,
            target_weights=self.weights, constraint_lhs=self.lhs.reshape(len(self.lhs), -1),
            constraint_rhs=self.rhs, inequality_constraints=first > 0,
            constraint_separation_index=first or None, coef_bound=self.bound, forced=self.forced,
            forbidden=self.forbidden, **more,
        ).fit(self.X, self.Y)  # fmt: skip

    def supports(self, k=None):
        """Every support that budgets and masks allow."""
        every = list(np.ndindex(self.Y.shape[1], self.X.shape[1]))
        must = [n for n in every if self.forced is not None and self.forced[n]]
        free = [n for n in every if self.forbidden is None or not self.forbidden[n]]
        free = [n for n in free if n not in must]
        for n in range((self.k if k is None else k) - len(must) + 1):
            for more in itertools.combinations(free, n):
                names = [*must, *more]
                used = np.bincount([t for t, _ in names], minlength=self.Y.shape[1])
                if (used <= self.room).all():
                    yield names

    def objective(self, names):
        """The least objective on a support: of all feasible points that are the best of their
        active set, the best.
        """
        k, w = len(names), self.weights
        total = float(w @ (self.Y**2).sum(axis=0))
        gram, moment = np.zeros((k, k)), np.zeros(k)
        for a, (t, i) in enumerate(names):
            moment[a] = w[t] * self.X[:, i] @ self.Y[:, t]
            for b, (u, j) in enumerate(names):
                if t == u:
                    gram[a, b] = w[t] * (self.X[:, i] @ self.X[:, j] + self.alpha * (i == j))
        rows = np.array([[row[n] for n in names] for row in self.lhs]).reshape(len(self.lhs), k)
        first = self.inequalities
        upper, most = rows[:first], self.rhs[:first]
        if self.bound is not None:
            upper = np.vstack([upper, np.eye(k), -np.eye(k)])
            most = np.append(most, np.full(2 * k, self.bound))
        best = np.inf
        for n in range(min(len(most), k) + 1):
            for active in itertools.combinations(range(len(most)), n):
                x = stationary(
                    gram, moment, np.vstack([rows[first:], upper[list(active)]]),
                    np.append(self.rhs[first:], most[list(active)]),
                )  # fmt: skip
                if x is not None and (upper @ x <= most + 1e-9).all():
                    best = min(best, total - 2 * moment @ x + x @ gram @ x)
        return best

    def best(self, k=None):
        return min((self.objective(names) for names in self.supports(k)), default=np.inf)


def stationary(gram, moment, lhs, rhs):
    """The best point of lhs x = rhs; None if there is none."""
    k = len(moment)
    start = np.linalg.lstsq(lhs, rhs, rcond=None)[0] if len(rhs) and k else np.zeros(k)
    if len(rhs) and np.abs(lhs @ start - rhs).max() > 1e-9 * (1 + np.abs(rhs).max()):
        return None
    if not k:
        return start
    _, sizes, ways = np.linalg.svd(lhs) if len(rhs) else (0, np.zeros(0), np.eye(k))
    free = ways[int((sizes > 1e-10).sum()) :].T
    step = np.linalg.lstsq(free.T @ gram @ free, free.T @ (moment - gram @ start), rcond=None)[0]
    return start + free @ step


def instance(seed):
    """Equalities, inequalities, bounds, budgets, forced and forbidden terms of all kinds."""
    rng = np.random.default_rng(seed)
    targets, features = int(rng.integers(1, 3)), int(rng.integers(3, 5))
    X = rng.standard_normal((15, features))
    if seed % 3 == 1:
        X += 2.0 * rng.standard_normal((15, 1))
    if seed % 5 == 0:
        # Ties and dependent columns.
        X[:, 1] = X[:, 0]
    if seed % 7 == 3:
        X *= 10.0 ** rng.uniform(-2, 2, features)
    truth = rng.standard_normal((features, targets)) * rng.integers(0, 2, (features, targets))
    Y = X @ truth + 0.3 * rng.standard_normal((15, targets))
    count = int(rng.integers(1, 4))
    lhs = rng.standard_normal((count, targets, features))
    lhs *= rng.random(lhs.shape) < 0.35
    lhs[~lhs.any(axis=(1, 2)), 0, 0] = 1.0
    if seed % 11 == 2:
        # The same twice.
        lhs[-1] = -2.0 * lhs[0]
    forced = rng.random((targets, features)) < 0.05
    return Case(
        X, Y, int(rng.integers(1, min(targets * features, 4) + 1)),
        rng.integers(1, features + 1, targets), float(rng.choice([0.0, 0.1])),
        rng.uniform(0.5, 2.0, targets), lhs,
        np.where(rng.random(count) < 0.5, 0.0, rng.standard_normal(count)),
        int(rng.integers(0, count + 1)) if seed % 2 else 0,
        float(rng.uniform(0.3, 1.5)) if seed % 4 == 1 else None,
        forced, (rng.random((targets, features)) < 0.1) & ~forced,
    )  # fmt: skip


# In the last of those at once, nothing near the target meets the constraints.
QUICK = [*range(150), 1056]
MORE = [s for s in range(150, 1500) if s not in QUICK]
SEEDS = [*QUICK, *(pytest.param(s, marks=pytest.mark.slow) for s in MORE)]


@pytest.mark.parametrize("seed", SEEDS)
def test_equals_every_support(seed, monkeypatch):
    # Bounds are used even where there are few supports.
    if seed % 2:
        monkeypatch.setattr(joint_path, "ENUMERATED", 0)
    case = instance(seed)
    best = case.best()
    if best == np.inf:
        with pytest.raises(ConfigError, match=r"meets the constraints|are forced"):
            case.fit()
        return
    model = case.fit()
    small = 1e-12 * float(case.weights @ (case.Y**2).sum(axis=0))
    assert model.objective_ == pytest.approx(best, rel=1e-9, abs=small)
    assert model.bound_ <= best * (1 + 1e-9) + small
    assert model.bound_ == pytest.approx(best, rel=1e-8, abs=small)
    sums = (case.lhs * model.coef_).sum(axis=(1, 2))
    assert (sums[: case.inequalities] <= case.rhs[: case.inequalities] + 1e-8).all()
    np.testing.assert_allclose(sums[case.inequalities :], case.rhs[case.inequalities :], atol=1e-8)
    if case.bound is not None:
        assert np.abs(model.coef_).max() <= case.bound * (1 + 1e-9)
    assert model.complexity <= case.k
    assert (np.count_nonzero(model.coef_, axis=1) <= case.room).all()
    assert not model.coef_[case.forbidden].any()
    for proof in model.certificate_:
        assert proof.status in ("optimal", "capped")
        verify(proof, case.X, case.Y)


@pytest.mark.parametrize("seed", range(6))
def test_whole_path_equals_every_support(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((20, 4)) + rng.standard_normal((20, 1))
    Y = X @ rng.standard_normal((4, 2)) + 0.5 * rng.standard_normal((20, 2))
    lhs = np.zeros((2, 2, 4))
    lhs[0, 0, 1], lhs[0, 1, 2] = 1.0, -1.0
    lhs[1, 0], lhs[1, 1, 0] = [1.0, 0.0, 1.0, 0.0], 1.0
    case = Case(X, Y, 8, np.array([4, 4]), 0.01, np.ones(2), lhs, np.array([0.0, seed % 2]))
    path = case.fit().path_[0]
    assert [c.k for c in path] == list(range(1, 9))
    for proof in path:
        assert proof.status == "optimal"
        assert proof.objective == pytest.approx(case.best(proof.k), rel=1e-10)
    assert case.best(0) == (np.inf if seed % 2 else pytest.approx(float((Y**2).sum())))


def exact_least(X, Y, names, alpha, lhs, rhs):
    """The least objective under equalities in rational arithmetic, from the whole system of
    stationary points; None if it is singular.
    """
    columns = {j: [Fraction(v) for v in X[:, j].tolist()] for _, j in names}
    lines = {t: [Fraction(v) for v in Y[:, t].tolist()] for t, _ in names}
    k, m = len(names), len(rhs)
    gram = [
        [
            (sum(a * b for a, b in zip(columns[i], columns[j], strict=True)) if t == u else 0)
            + (Fraction(alpha) if (t, i) == (u, j) else 0)
            for u, j in names
        ]
        for t, i in names
    ]
    moment = [sum(a * b for a, b in zip(columns[i], lines[t], strict=True)) for t, i in names]
    rows = [[Fraction(float(line[n])) for n in names] for line in lhs]
    matrix = [gram[a] + [row[a] for row in rows] + [moment[a]] for a in range(k)]
    matrix += [
        row + [Fraction(0)] * m + [Fraction(float(v))] for row, v in zip(rows, rhs, strict=True)
    ]
    for p in range(k + m):
        pivot = next((r for r in range(p, k + m) if matrix[r][p]), None)
        if pivot is None:
            return None
        matrix[p], matrix[pivot] = matrix[pivot], matrix[p]
        for r in range(k + m):
            if r != p and matrix[r][p]:
                share = matrix[r][p] / matrix[p][p]
                matrix[r] = [a - share * b for a, b in zip(matrix[r], matrix[p], strict=True)]
    x = [matrix[p][-1] / matrix[p][p] for p in range(k)]
    total = sum(Fraction(v) ** 2 for v in Y.ravel().tolist())
    return (
        total
        - 2 * sum(a * b for a, b in zip(x, moment, strict=True))
        + sum(x[a] * gram[a][b] * x[b] for a in range(k) for b in range(k))
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("way", ["search", "enumeration"])
def test_nearly_dependent_libraries_in_rational_arithmetic(seed, way, monkeypatch):
    # Near copies down to the last digits: condition up to 1e16 of columns of unit length.
    monkeypatch.setattr(joint_path, "ENUMERATED", 0 if way == "search" else 10**9)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((8, 5))
    X[:, 3:] = X[:, :2] + 10.0 ** -rng.uniform(4, 16, 2) * rng.standard_normal((8, 2))
    Y = X[:, :2] @ np.array([[1.0, -1.0], [0.5, 1.0]]) + 0.1 * rng.standard_normal((8, 2))
    if seed % 2:
        # The target is along the difference of near copies.
        Y[:, 0] = (X[:, 3] - X[:, 0]) / np.linalg.norm(X[:, 3] - X[:, 0]) + 0.1 * Y[:, 0]
    lhs = np.zeros((1, 2, 5))
    lhs[0, 0, [0, 3]], lhs[0, 1, int(rng.integers(5))] = [1.0, -0.5], 1.0
    case = Case(X, Y, 3, np.array([3, 3]), 1e-12 * (seed % 3), np.ones(2), lhs, np.zeros(1))
    model = case.fit()
    values, every = {}, []
    for names in case.supports():
        rows = [line for line in lhs if any(line[n] for n in names)]
        # Copies to the last digit or two are singular in float64.
        unit = [X[:, [j for u, j in names if u == t]] for t in range(2)]
        spread = [
            np.linalg.svd(part / np.linalg.norm(part, axis=0), compute_uv=False)[-1]
            for part in unit if part.size
        ]  # fmt: skip
        value = exact_least(X, Y, names, case.alpha, rows, np.zeros(len(rows)))
        if value is not None:
            # Constraints may hold what columns alone leave open.
            every.append(float(value))
            if case.alpha > 0 or min(spread, default=1.0) > 1e-12:
                values[tuple(names)] = float(value)
    best, proof = min(values.values()), model.certificate_[0]
    if proof.status in ("optimal", "rounding"):
        assert proof.bound <= best * (1 + 1e-9)
    if proof.status == "optimal":
        assert proof.objective <= best * (1 + 1e-7)
    assert proof.objective >= min(every) * (1 - 1e-7)


DUFFING = (
    # Curl-free forces: what the x-derivative of one is, the y-derivative of the other is.
    (("x", 1), ("y", 1)), (("x2", 2), ("xy", 1)), (("xy", 1), ("y2", 2)),
    (("x3", 3), ("x2y", 1)), (("x2y", 1), ("xy2", 1)), (("xy2", 1), ("y3", 3)),
)  # fmt: skip
TERMS = ["1", "x", "y", "x2", "xy", "y2", "x3", "x2y", "xy2", "y3"]


def duffing(seed, noise):
    """Forces of a potential with noise, on positions of a library of third degree."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-2, 2, (2, 300))
    X = np.column_stack([x**0, x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3])
    truth = np.zeros((2, 10))
    truth[0, [1, 6, 8]] = truth[1, [2, 7, 9]] = [2.0, -0.1, -0.1]
    Y = X @ truth.T + noise * rng.standard_normal((300, 2))
    lhs = np.zeros((6, 2, 10))
    for row, ((first, a), (second, b)) in zip(lhs, DUFFING, strict=True):
        row[1, TERMS.index(first)], row[0, TERMS.index(second)] = a, -b
    return X, Y, lhs, truth


@pytest.mark.parametrize("seed", range(4))
def test_planted_potential(seed):
    X, Y, lhs, truth = duffing(seed, 0.05)
    model = ExactSparseRegression(
        target_sparsity=10, constraint_lhs=lhs.reshape(6, -1), constraint_rhs=np.zeros(6)
    ).fit(X, Y)
    assert np.abs((lhs * model.coef_).sum(axis=(1, 2))).max() < 1e-12
    assert all(proof.status == "optimal" for proof in model.path_[0])
    assert np.array_equal(model.path_[0][5].support, truth != 0)
    np.testing.assert_allclose(model.path_[0][5].coef, truth, atol=0.02)
    assert verify(model.path_[0][5], X, Y, most=100).checked == "neighbours"


def test_targets_that_no_constraint_couples_stay_alone():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 4))
    Y = X @ rng.standard_normal((4, 3)) + 0.1 * rng.standard_normal((30, 3))
    lhs = np.zeros((1, 3, 4))
    lhs[0, 0, 1], lhs[0, 2, 1] = 1.0, 1.0
    model = ExactSparseRegression(2, constraint_lhs=lhs.reshape(1, -1), constraint_rhs=[0.0])
    fitted = model.fit(X, Y)
    together, alone = fitted.certificate_
    assert isinstance(together, JointCertificate)
    assert together.targets.tolist() == [0, 2]
    assert together.room.tolist() == [2, 2]
    plain = ExactSparseRegression(2).fit(X, Y[:, 1])
    assert np.array_equal(fitted.coef_[1], plain.coef_[0])
    assert alone.objective == plain.objective_
    assert fitted.objective_ == together.objective + alone.objective
    # One budget for all of them: every way to share it.
    shared = clone(model).set_params(max_terms=None, target_sparsity=4).fit(X, Y)
    ways = [
        Case(X, Y, 4, np.array([4, 4, 4]), 0.01, np.ones(3), lhs, np.zeros(1)).objective(names)
        for names in itertools.combinations(list(np.ndindex(3, 4)), 4)
    ]
    assert shared.objective_ == pytest.approx(min(ways), rel=1e-10)
    assert shared.bound_ == pytest.approx(min(ways), rel=1e-10)


def test_orders_and_kinds_of_constraints():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((30, 3))
    Y = X @ rng.standard_normal((3, 2)) + 0.1 * rng.standard_normal((30, 2))
    lhs = rng.standard_normal((2, 2, 3))
    rhs = np.array([0.3, -0.2])
    rows = {"target": lhs.reshape(2, -1), "feature": lhs.transpose(0, 2, 1).reshape(2, -1)}
    fits = [
        ExactSparseRegression(
            3, constraint_lhs=given, constraint_rhs=rhs, constraint_order=order,
            inequality_constraints=True, constraint_separation_index=1,
        ).fit(X, Y)
        for order, given in rows.items()
    ]  # fmt: skip
    np.testing.assert_allclose(fits[0].coef_, fits[1].coef_)
    sums = (lhs * fits[0].coef_).sum(axis=(1, 2))
    assert sums[0] <= 0.3 + 1e-9
    assert sums[1] == pytest.approx(-0.2)
    both = make_constraints(2, 3, rows["target"], rhs, inequality=True)
    assert both.inequalities == 2
    assert make_constraints(2, 3, None, None) is None
    bounds = np.array([[0.1, 0.2, np.inf], [0.0, 0.3, 0.3]])
    bounded = ExactSparseRegression(3, coef_bound=bounds).fit(X, Y)
    assert (np.abs(bounded.coef_) <= bounds + 1e-12).all()
    for wrong in (
        {"constraint_rhs": None}, {"constraint_lhs": rows["target"][:, :5]},
        {"constraint_order": "row"}, {"constraint_separation_index": 1},
        {"coef_bound": -1.0}, {"coef_bound": [1.0, 2.0]}, {"backend": "gurobi"},
        {"constraint_lhs": np.zeros((2, 6))}, {"constraint_rhs": [np.nan, 0.0]},
        {"inequality_constraints": True, "constraint_separation_index": 3},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            ExactSparseRegression(
                3, **{"constraint_lhs": rows["target"], "constraint_rhs": rhs, **wrong}
            ).fit(X, Y)


def test_budgets_that_constraints_do_not_fit_in():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((20, 4))
    Y = rng.standard_normal((20, 2))
    # Three coefficients have fixed values.
    lhs = np.eye(3, 8)
    model = ExactSparseRegression(target_sparsity=2, constraint_lhs=lhs, constraint_rhs=np.ones(3))
    with pytest.raises(ConfigError, match="no model of at most 2 terms meets the constraints"):
        model.fit(X, Y)
    with pytest.raises(ConfigError, match="no model of at most 2 terms"):
        clone(model).set_params(target_sparsity=None, max_terms=2).fit(X, Y)
    fitted = clone(model).set_params(target_sparsity=4).fit(X, Y)
    np.testing.assert_allclose(fitted.coef_[0, :3], 1.0)
    # Models begin where the constraints can be met.
    assert [c.k for c in fitted.path_[0]] == [3, 4]
    contradiction = np.vstack([lhs, lhs[:1]])
    with pytest.raises(ConfigError, match="meets the constraints"):
        clone(model).set_params(
            target_sparsity=8, constraint_lhs=contradiction, constraint_rhs=[1.0, 1.0, 1.0, 2.0]
        ).fit(X, Y)
    with pytest.raises(ConfigError, match="meets the constraints"):
        clone(model).set_params(target_sparsity=8, coef_bound=0.5).fit(X, Y)
    with pytest.raises(ConfigError, match="forced"):
        clone(model).set_params(target_sparsity=4, forced=np.ones(4, dtype=bool)).fit(X, Y)


def test_coefficients_that_only_constraints_make_large():
    # Constraints ask for objectives far above that of no model at all.
    rng = np.random.default_rng(3)
    X = rng.standard_normal((20, 4))
    Y = rng.standard_normal((20, 2))
    lhs = np.zeros((1, 2, 4))
    lhs[0, 0], lhs[0, 1] = [1.0, 1e-3, 0.0, 2.0], [0.0, 1.0, 1e-4, 0.0]
    for rhs in (1e3, 1e7):
        case = Case(X, Y, 2, np.array([2, 2]), 0.0, np.ones(2), lhs, np.array([rhs]))
        case.forbidden = np.zeros((2, 4), dtype=bool)
        case.forbidden[0, [0, 3]] = case.forbidden[1, 1] = True
        assert case.fit().objective_ == pytest.approx(case.best(), rel=1e-9)
    # A target that is next to nothing, and a coefficient that is held at zero.
    lhs = np.zeros((2, 1, 4))
    lhs[0, 0, 1], lhs[1, 0, [1, 2, 3]] = -1.0, [-2.5, 0.35, -0.02]
    case = Case(
        X, 1e-12 * Y[:, :1], 2, np.array([4]), 0.0, np.ones(1), lhs, np.array([0.0, -0.57]),
        bound=10.0,
    )  # fmt: skip
    assert case.fit().objective_ == pytest.approx(case.best(), rel=1e-9)


def test_far_coefficients_of_dependent_columns_are_proven_too():
    rng = np.random.default_rng(6)
    X = rng.standard_normal((20, 4))
    X[:, 1] = X[:, 0]
    Y = rng.standard_normal((20, 2))
    lhs = np.zeros((1, 2, 4))
    lhs[0, 0, 2], lhs[0, 1, 0] = 1.0, 1e-3
    case = Case(X, Y, 2, np.array([0, 2]), 0.0, np.ones(2), lhs, np.array([1e4]))
    model = case.fit()
    assert model.certificate_[0].status == "optimal"
    assert model.objective_ == pytest.approx(case.best(), rel=1e-9)
    assert model.bound_ == pytest.approx(case.best(), rel=1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_columns_of_very_different_lengths(seed):
    rng = np.random.default_rng(seed)
    X = np.vander(rng.uniform(0.5, 3.0, 12), 4) if seed % 3 == 0 else rng.standard_normal((12, 4))
    X = X * 10.0 ** rng.uniform(-5, 5, 4)
    size = np.linalg.norm(X, axis=0)
    Y = (X / size) @ rng.standard_normal((4, 2)) * 10.0 ** rng.uniform(-3, 3, 2)
    Y += 0.01 * np.linalg.norm(Y, axis=0) * rng.standard_normal((12, 2))
    lhs = rng.standard_normal((2, 2, 4)) * (rng.random((2, 2, 4)) < 0.5)
    lhs[~lhs.any(axis=(1, 2)), 0, 0] = 1.0
    lhs = lhs * size if seed % 2 else lhs
    rhs = np.array([0.0, np.abs(lhs[1]).max() * 1e-2])
    case = Case(X, Y, 4, np.array([4, 4]), 1e-6, np.ones(2), lhs, rhs)
    model = case.fit()
    terms = lhs * model.coef_
    off = np.abs(terms.sum(axis=(1, 2)) - rhs)
    assert (off <= 1e-9 * (np.abs(terms).sum(axis=(1, 2)) + np.abs(rhs))).all()
    values = []
    for names in case.supports():
        kept = [c for c in range(2) if any(lhs[c][n] for n in names)]
        if all(rhs[c] == 0.0 for c in range(2) if c not in kept):
            value = exact_least(X, Y, names, case.alpha, lhs[kept], rhs[kept])
            if value is not None:
                values.append(float(value))
    assert model.certificate_[0].status == "optimal"
    assert model.objective_ == pytest.approx(min(values), rel=1e-8)


def test_pool_under_constraints():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((20, 4)) + 2.0 * rng.standard_normal((20, 1))
    Y = X @ rng.standard_normal((4, 2)) + rng.standard_normal((20, 2))
    lhs = np.zeros((1, 2, 4))
    lhs[0, 0, 0], lhs[0, 1, 1] = 1.0, -1.0
    case = Case(X, Y, 3, np.array([4, 4]), 0.1, np.ones(2), lhs, np.zeros(1))
    pool = case.fit(pool_tol=0.2).pool_[0]
    values = {tuple(names): case.objective(names) for names in case.supports()}
    least = min(values.values())
    assert pool[0].objective == pytest.approx(least)
    size = int(pool[0].support.sum())
    wanted = {n for n, v in values.items() if len(n) == size and v <= 1.2 * least}
    assert {tuple((int(t), int(j)) for t, j in np.argwhere(m.support)) for m in pool} == wanted
    for model in pool:
        assert model.coef[0, 0] == pytest.approx(model.coef[1, 1], abs=1e-12)


def test_time_limit_gives_an_honest_gap():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((90, 40)) + 2.0 * rng.standard_normal((90, 1))
    Y = rng.standard_normal((90, 2))
    lhs = np.zeros((1, 2, 40))
    lhs[0, 0, 0], lhs[0, 1, 1] = 1.0, -1.0
    # Minutes would be needed: no machine proves it within the limit.
    model = ExactSparseRegression(
        target_sparsity=16, alpha=0.0, constraint_lhs=lhs.reshape(1, -1), constraint_rhs=[0.0],
        time_limit=0.2,
    )  # fmt: skip
    stopped = model.fit(X, Y)
    assert stopped.certificate_[0].status == "time_limit"
    assert 0.0 < stopped.certificate_[0].gap < 1.0
    full = clone(model).set_params(time_limit=None, target_sparsity=2).fit(X, Y)
    for proof, exact in zip(stopped.path_[0], full.path_[0], strict=False):
        assert exact.status == "optimal"
        assert proof.bound <= exact.objective * (1 + 1e-12)
        assert proof.objective >= exact.objective * (1 - 1e-12)


def test_verification_refuses_wrong_certificates():
    X, Y, lhs, _ = duffing(7, 0.5)
    model = ExactSparseRegression(
        target_sparsity=3, constraint_lhs=lhs.reshape(6, -1), constraint_rhs=np.zeros(6),
        coef_bound=3.0,
    ).fit(X, Y)  # fmt: skip
    proof = model.certificate_[0]
    checked = verify(proof, X, Y, most=10_000)
    assert checked.checked == "all"
    assert checked.objective == pytest.approx(proof.objective, rel=1e-12)
    weights = np.random.default_rng(0).integers(1, 3, 300)
    weighted = clone(model).fit(X, Y, sample_weight=weights).certificate_[0]
    verify(weighted, X, Y, sample_weight=weights, most=10)
    worse = clone(model).set_params(forbidden=proof.support).fit(X, Y).certificate_[0]
    off = proof.coef.copy()
    off[tuple(np.argwhere(proof.support)[0])] *= 1.01
    wrong = [
        dataclasses.replace(proof, objective=proof.objective * 1.001),
        dataclasses.replace(proof, coef=off),
        dataclasses.replace(proof, bound=proof.objective * 1.1),
        dataclasses.replace(proof, k=int(proof.support.sum()) - 1),
        dataclasses.replace(worse, allowed=proof.allowed),
        dataclasses.replace(
            proof, constraints=dataclasses.replace(proof.constraints, rhs=np.ones(6))
        ),
        dataclasses.replace(
            proof,
            constraints=dataclasses.replace(proof.constraints, bound=np.full((2, 10), 0.01)),
        ),
    ]
    for certificate in wrong:
        with pytest.raises(DataError, match="certificate is wrong"):
            verify(certificate, X, Y, most=10_000)


def test_rational_least_squares_under_constraints():
    half = Fraction(1, 2)
    # (x - 1)^2 + (y - 2)^2.
    problem = Quadratic(
        [[Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]],
        [Fraction(1), Fraction(2)], Fraction(5),
    )  # fmt: skip
    one = [[Fraction(1), Fraction(1)]]
    value, x, multipliers = solve_equal(problem, one, [Fraction(1)])
    assert (value, x, multipliers) == (2, [0, 1], {0: 2})
    assert solve_equal(problem, one * 2, [Fraction(1), Fraction(2)]) is None
    assert solve_under(problem, [], [], one, [Fraction(4)]) == (0, [1, 2])
    assert solve_under(problem, [], [], one, [Fraction(1)]) == (2, [0, 1])
    # A corner: x <= 1/2 and y <= 1.
    corner = [[Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]]
    assert solve_under(problem, [], [], corner, [half, Fraction(1)]) == (half**2 + 1, [half, 1])
    # Nothing has x + y = 1 with x, y <= 0.
    assert solve_under(problem, one, [Fraction(1)], corner, [Fraction(0)] * 2) is None
