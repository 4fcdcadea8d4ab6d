"""Exact sparse regression against every support, in float64 and in rational arithmetic."""

from __future__ import annotations

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from artneuro.core.errors import ConfigError, DataError
from artneuro.dynamics import sparse_path
from artneuro.dynamics.budget import share_terms
from artneuro.dynamics.certificate import verify
from artneuro.dynamics.exact_regression import ExactSparseRegression
from artneuro.dynamics.sparse_library import factorise, with_penalty


def objective(X, y, names, alpha, scaled=False):
    """Least |y - X w|^2 + alpha |w|^2 on columns, by a QR factorisation of scaled columns."""
    if not names:
        return float(y @ y)
    part = X[:, names]
    size = np.sqrt((part**2).sum(axis=0))
    penalty = np.sqrt(alpha) * (np.ones(len(names)) if scaled else 1 / size)
    both = np.vstack([part / size, np.diag(penalty)])
    target = np.concatenate([y, np.zeros(len(names))])
    coef = np.linalg.lstsq(both, target, rcond=1e-15)[0]
    left = target - both @ coef
    return float(left @ left)


def exact_objective(X, y, names, alpha):
    """The same in rational arithmetic; None if the columns depend on each other."""
    X, y = [[Fraction(v) for v in row] for row in X.tolist()], [Fraction(v) for v in y.tolist()]
    rows = [
        [sum(r[i] * r[j] for r in X) + (Fraction(alpha) if i == j else 0) for j in names]
        + [sum(r[i] * v for r, v in zip(X, y, strict=True))]
        for i in names
    ]
    value = sum(v * v for v in y)
    for p, row in enumerate(rows):
        if row[p] == 0:
            return None
        for below in rows[p + 1 :]:
            share = below[p] / row[p]
            for q in range(p, len(row)):
                below[q] -= share * row[q]
        value -= row[-1] ** 2 / row[p]
    return value


def best_of_all(X, y, k, alpha, scaled=False):
    supports = [s for n in range(k + 1) for s in itertools.combinations(range(X.shape[1]), n)]
    return min(objective(X, y, list(s), alpha, scaled) for s in supports)


def instance(seed):
    """Libraries of all kinds: independent, correlated, of low rank, with near copies, wide."""
    rng = np.random.default_rng(seed)
    columns, rows = int(rng.integers(4, 11)), int(rng.integers(5, 30))
    X = rng.standard_normal((rows, columns))
    kind = seed % 6
    if kind == 1:
        X += 3.0 * rng.standard_normal((rows, 1))
    elif kind == 2:
        X = rng.standard_normal((rows, 3)) @ rng.standard_normal((3, columns))
        X += 10.0 ** -rng.uniform(1, 6) * rng.standard_normal((rows, columns))
    elif kind == 3:
        X[:, -1] = X[:, 0] + 10.0 ** -rng.uniform(1, 5) * rng.standard_normal(rows)
        X[:, -2] = X[:, 0] - X[:, 1] + 10.0 ** -rng.uniform(1, 5) * rng.standard_normal(rows)
    elif kind == 4:
        X = np.vander(rng.uniform(0.5, 1.5, rows), columns)
    elif kind == 5:
        X *= 10.0 ** rng.uniform(-6, 6, columns)
    truth = rng.choice(columns, 3, replace=False)
    y = (X[:, truth] / np.linalg.norm(X[:, truth], axis=0)) @ rng.standard_normal(3)
    noise = 10.0 ** -rng.uniform(0, 4) * np.linalg.norm(y) / math.sqrt(rows)
    y += noise * rng.standard_normal(rows)
    return X, y, float(rng.choice([0.0, 1e-6, 0.01, 1.0]))


SEEDS = [*range(36), *(pytest.param(s, marks=pytest.mark.slow) for s in range(36, 400))]


@pytest.mark.parametrize("way", ["search", "enumeration"])
@pytest.mark.parametrize("seed", SEEDS)
def test_equals_every_support(seed, way, monkeypatch):
    # Either way alone, whatever the library's condition.
    monkeypatch.setattr(sparse_path, "ENUMERATED", 0 if way == "search" else 10**9)
    monkeypatch.setattr(sparse_path, "SPREAD", 1e-8 if way == "search" else np.inf)
    X, y, alpha = instance(seed)
    k = min(5, X.shape[1])
    ridge_on = "scaled" if seed % 2 else "raw"
    model = ExactSparseRegression(k, alpha=alpha, ridge_on=ridge_on).fit(X, y)
    for proof in model.path_[0]:
        best = best_of_all(X, y, proof.k, alpha, ridge_on == "scaled")
        small = 1e-20 * (y @ y)
        assert proof.objective <= best * (1 + 1e-9) + small
        assert proof.objective >= best * (1 - 1e-9) - small
        assert proof.bound <= best * (1 + 1e-9) + small
        assert proof.status in ("optimal", "capped")
        found = objective(X, y, proof.support.tolist(), alpha, ridge_on == "scaled")
        assert found == pytest.approx(best, rel=1e-9, abs=small)
        assert proof.support.size <= proof.k
        assert np.all(np.diff(proof.support) > 0)


@pytest.mark.parametrize("seed", range(30))
def test_nearly_dependent_libraries_in_rational_arithmetic(seed):
    # Near copies down to the last digits: condition up to 1e16 of columns of unit length.
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((9, 7))
    X[:, 4:] = X[:, :3] + 10.0 ** -rng.uniform(6, 16, 3) * rng.standard_normal((9, 3))
    if seed % 3 == 0:
        X[:, 6] = X[:, 0]
    y = X[:, 0] - 2 * X[:, 1] + 0.1 * rng.standard_normal(9)
    if seed % 2:
        # The target is along the difference of near copies.
        y = (X[:, 4] - X[:, 0]) / np.linalg.norm(X[:, 4] - X[:, 0]) + 0.1 * y
    alpha = 0.0 if seed % 5 else 1e-12
    model = ExactSparseRegression(3, alpha=alpha).fit(X, y)
    for proof in model.path_[0]:
        assert proof.status in ("optimal", "rounding")
        values = {}
        for n in range(1, proof.k + 1):
            for s in itertools.combinations(range(7), n):
                # Copies to the last digit or two are singular in float64.
                unit = X[:, s] / np.linalg.norm(X[:, s], axis=0)
                if alpha > 0 or np.linalg.svd(unit, compute_uv=False)[-1] > 1e-12:
                    value = exact_objective(X, y, list(s), alpha)
                    if value is not None:
                        values[s] = float(value)
        best = min(values.values())
        assert proof.bound <= best * (1 + 1e-9)
        if proof.status == "optimal":
            assert proof.objective <= best * (1 + 1e-7)


def test_ties_copies_and_more_terms_than_rank():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((20, 6))
    X = np.hstack([X, X[:, :2], np.zeros((20, 1))])
    y = X[:, 0] + X[:, 1] - X[:, 2] + 0.1 * rng.standard_normal(20)
    model = ExactSparseRegression(9, alpha=0.0).fit(X, y)
    path = model.path_[0]
    # The first of equal supports; no copies together; no more terms than the rank.
    assert path[2].support.tolist() == [0, 1, 2]
    assert path[-1].support.size == 6
    assert all(proof.status == "optimal" for proof in path)
    assert path[-1].objective == pytest.approx(objective(X, y, [0, 1, 2, 3, 4, 5], 0.0), rel=1e-10)
    ties = ExactSparseRegression(3, alpha=0.0, pool_tol=1e-6).fit(X, y).pool_[0]
    assert {tuple(m.support) for m in ties} == {(0, 1, 2), (0, 2, 7), (1, 2, 6), (2, 6, 7)}


def test_more_columns_than_rows_and_an_exact_fit():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((6, 12))
    y = X[:, 3] - X[:, 8]
    model = ExactSparseRegression(7, alpha=0.0).fit(X, y)
    assert model.certificate_[0].support.tolist() == [3, 8]
    assert model.certificate_[0].objective < 1e-25
    assert model.certificate_[0].status == "optimal"
    zero = ExactSparseRegression(2).fit(X, np.zeros(6))
    assert zero.certificate_[0].support.size == 0
    assert zero.objective_ == zero.gap_ == 0.0


def test_pool_holds_all_models_near_the_best():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((40, 9)) + rng.standard_normal((40, 1))
    y = X @ rng.standard_normal(9)
    model = ExactSparseRegression(3, alpha=0.1, pool_tol=0.3).fit(X, y)
    values = {s: objective(X, y, list(s), 0.1, False) for s in itertools.combinations(range(9), 3)}
    best = min(values.values())
    wanted = {s for s, v in values.items() if v <= 1.3 * best}
    assert {tuple(m.support) for m in model.pool_[0]} == wanted
    for m in model.pool_[0]:
        assert m.objective == pytest.approx(values[tuple(m.support)], rel=1e-10)


def test_forced_and_forbidden_terms():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((30, 8))
    y = X[:, 0] + X[:, 1] + 0.5 * X[:, 2] + 0.1 * rng.standard_normal(30)
    forced, forbidden = np.arange(8) == 7, np.arange(8) == 1
    model = ExactSparseRegression(3, alpha=0.01, forced=forced, forbidden=forbidden).fit(X, y)
    assert [p.k for p in model.path_[0]] == [1, 2, 3]
    for proof in model.path_[0]:
        others = itertools.combinations([0, 2, 3, 4, 5, 6], proof.k - 1)
        best = min(objective(X, y, [*s, 7], 0.01) for s in others)
        assert proof.objective == pytest.approx(best, rel=1e-10)
        assert 7 in proof.support
        verify(proof, X, y)
    with pytest.raises(ConfigError, match="forced"):
        ExactSparseRegression(2, forced=forced, forbidden=forced).fit(X, y)
    with pytest.raises(ConfigError, match="1 are allowed"):
        ExactSparseRegression(1, forced=np.arange(8) < 2).fit(X, y)


@pytest.mark.parametrize("seed", range(8))
def test_joint_budget_equals_all_ways_to_share_it(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((25, 6)) + rng.standard_normal((25, 1))
    Y = X @ (rng.standard_normal((6, 3)) * rng.integers(0, 2, (6, 3)))
    Y += 0.3 * rng.standard_normal((25, 3))
    weights, total = rng.uniform(0.5, 2.0, 3), int(rng.integers(1, 9))
    model = ExactSparseRegression(
        target_sparsity=total, alpha=0.1, target_weights=weights, max_terms=4
    ).fit(X, Y)
    single = [[best_of_all(X, Y[:, t], n, 0.1) * weights[t] for n in range(5)] for t in range(3)]
    best = min(
        sum(line[n] for line, n in zip(single, ns, strict=True))
        for ns in itertools.product(range(5), repeat=3)
        if sum(ns) <= total
    )
    assert model.objective_ == pytest.approx(best, rel=1e-10)
    assert model.bound_ == pytest.approx(best, rel=1e-10)
    assert model.complexity <= total


def test_share_of_terms():
    values = [np.array([9.0, 4.0, 3.0]), np.array([8.0, 7.0, 1.0]), np.array([5.0])]
    assert share_terms(values, 3) == (10.0, [1, 2, 0])
    assert share_terms(values, 0) == (22.0, [0, 0, 0])
    with_forced = [np.array([np.inf, 4.0, 3.0]), np.array([8.0, 7.0, 1.0])]
    assert share_terms(with_forced, 1) == (12.0, [1, 0])


def test_targets_alone_weights_of_rows_and_the_protocol():
    rng = np.random.default_rng(5)
    X = rng.standard_normal((30, 7))
    Y = X[:, :2] @ np.array([[1.0, 0.0], [2.0, -1.0]]) + 0.05 * rng.standard_normal((30, 2))
    model = ExactSparseRegression(group_sparsity=(2, 1), alpha=0.0)
    both = clone(model).fit(X, Y)
    assert [c.support.tolist() for c in both.certificate_] == [[0, 1], [1]]
    assert both.predict(X).shape == (30, 2)
    one = ExactSparseRegression(2, alpha=0.0).fit(X, Y[:, 0])
    assert np.array_equal(one.coef_[0], both.coef_[0])
    assert one.predict(X).shape == (30,)
    assert one.score(X, Y[:, 0]) > 0.99
    weight = rng.integers(1, 4, 30)
    weighted = ExactSparseRegression(2, alpha=0.3).fit(X, Y[:, 0], sample_weight=weight)
    repeated = ExactSparseRegression(2, alpha=0.3).fit(
        np.repeat(X, weight, axis=0), np.repeat(Y[:, 0], weight)
    )
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-10)
    verify(weighted.certificate_[0], X, Y[:, 0], sample_weight=weight)
    for wrong in (
        {"group_sparsity": (1,)}, {"max_terms": -1}, {"max_terms": 1.5}, {"alpha": -1.0},
        {"ridge_on": "both"}, {"target_weights": (1.0,)}, {"forced": [1, 2]},
    ):  # fmt: skip
        with pytest.raises(ConfigError):
            clone(model).set_params(**{"group_sparsity": None, **wrong}).fit(X, Y)


def hard_library(rows, columns):
    """Many columns that nearly say the same of pure noise: nothing can be pruned early."""
    rng = np.random.default_rng(6)
    X = rng.standard_normal((rows, columns)) + 2.0 * rng.standard_normal((rows, 1))
    return X, rng.standard_normal(rows)


def test_time_limit_gives_an_honest_gap():
    X, y = hard_library(80, 60)
    model = ExactSparseRegression(20, alpha=0.0, time_limit=0.2).fit(X, y)
    proof = model.certificate_[0]
    assert proof.status == "time_limit"
    assert 0.0 < proof.gap < 1.0
    full = ExactSparseRegression(3, alpha=0.0).fit(X, y)
    assert full.certificate_[0].status == "optimal"
    for stopped, exact in zip(model.path_[0], full.path_[0], strict=False):
        assert stopped.bound <= exact.objective * (1 + 1e-12)
        assert stopped.objective >= exact.objective * (1 - 1e-12)
    loose = ExactSparseRegression(4, alpha=0.0, rel_gap=0.3).fit(X, y).certificate_[0]
    exact = ExactSparseRegression(4, alpha=0.0).fit(X, y).certificate_[0]
    assert loose.nodes < exact.nodes
    assert loose.bound <= exact.objective <= loose.objective
    assert loose.gap <= 0.3


def test_time_limit_proves_small_sizes_first_and_uses_all_time():
    X, y = hard_library(80, 60)
    both = with_penalty(factorise(X, y[:, None]), 0.0, "raw", np.ones(60, dtype=bool))
    # First, as compiling takes longer than the limit.
    exact = sparse_path.search(both, 0, 4)
    stopped = sparse_path.search(both, 0, 24, time_limit=2.0)
    assert stopped.sizes[24].status == "time_limit"
    for k in range(1, 5):
        assert stopped.sizes[k].status == "optimal"
        assert stopped.sizes[k].pool[0][0] == exact.sizes[k].pool[0][0]
    # No time is short for this one, in exact passes or in those after them.
    for share in (0.0, 0.4):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sparse_path, "_EXACTLY", share)
            limited = sparse_path.search(both, 0, 4, time_limit=1e3)
        assert [s.status for s in limited.sizes.values()] == ["optimal"] * 4
        assert [s.pool for s in limited.sizes.values()] == [s.pool for s in exact.sizes.values()]


def test_verification_refuses_wrong_certificates():
    rng = np.random.default_rng(7)
    X = rng.standard_normal((20, 8))
    y = X[:, 2] - X[:, 5] + 0.2 * rng.standard_normal(20)
    proof = ExactSparseRegression(2, alpha=0.01).fit(X, y).certificate_[0]
    checked = verify(proof, X, y)
    assert checked.checked == "all"
    assert checked.supports == 1 + 8 + 28
    assert checked.objective == pytest.approx(proof.objective, rel=1e-12)
    assert verify(proof, X, y, most=1).checked == "neighbours"
    worse = ExactSparseRegression(2, alpha=0.01, forbidden=np.arange(8) == 5).fit(X, y)
    other = worse.certificate_[0]
    wrong = [
        dataclasses.replace(proof, objective=proof.objective * 1.001),
        dataclasses.replace(proof, coef=proof.coef * 1.01),
        dataclasses.replace(proof, bound=proof.objective * 1.1),
        dataclasses.replace(other, allowed=proof.allowed),
    ]
    for certificate in wrong:
        with pytest.raises(DataError, match="certificate is wrong"):
            verify(certificate, X, y)


def test_refuses_what_is_not_finite():
    X, y = hard_library(10, 3)
    y[0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        ExactSparseRegression(1).fit(X, y)
    with pytest.raises(DataError, match="not finite"):
        factorise(X, y[:, None])


def test_large_library():
    # 462 columns: six dimensions, fifth order.
    rng = np.random.default_rng(8)
    X = rng.standard_normal((1200, 462))
    y = X[:, [5, 77, 300]] @ [1.0, -2.0, 0.5] + 0.3 * rng.standard_normal(1200)
    proof = ExactSparseRegression(3, alpha=0.01).fit(X, y).certificate_[0]
    assert proof.support.tolist() == [5, 77, 300]
    assert proof.status == "optimal"


def test_joint_budget_above_what_there_is():
    # More terms than columns, and than the rank, where what is left of a target is rounding.
    rng = np.random.default_rng(9)
    X = rng.standard_normal((12, 4))
    X[:, 3] = X[:, 0] + X[:, 1]
    for Y in (rng.standard_normal((12, 2)), X @ rng.standard_normal((4, 2))):
        model = ExactSparseRegression(target_sparsity=50, alpha=0.0).fit(X, Y)
        left = Y - X @ np.linalg.lstsq(X, Y, rcond=1e-12)[0]
        assert model.objective_ == pytest.approx(float((left**2).sum()), rel=1e-9, abs=1e-24)
        assert model.complexity <= 6


def test_nothing_to_choose_from():
    rng = np.random.default_rng(10)
    X, Y = rng.standard_normal((20, 4)), rng.standard_normal((20, 2))
    total = float((Y**2).sum())
    for library, more in (
        (X, {"forbidden": np.ones(4, dtype=bool)}), (0.0 * X, {}), (0.0 * X, {"alpha": 0.0}),
        (X, {"max_terms": 0}), (X, {"target_sparsity": 0}),
        (0.0 * X, {"target_sparsity": 3, "coef_bound": 1.0}),
    ):  # fmt: skip
        model = ExactSparseRegression(**more).fit(library, Y)
        assert not model.coef_.any()
        assert model.objective_ == pytest.approx(total)
        assert all(c.status == "optimal" for c in model.certificate_)
        assert not model.predict(library).any()


def test_conventions_of_scikit_learn():
    check_estimator(ExactSparseRegression(), on_skip=None)
    with pytest.raises(ValueError, match="sample_weight"):
        ExactSparseRegression().fit(np.eye(3), np.ones(3), sample_weight=[1.0, -1.0, 1.0])
