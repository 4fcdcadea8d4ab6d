"""The probing engine against scikit-learn and skglm."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_selection import f_classif, mutual_info_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from artneuro.probing.elastic_net import fit_elastic_net
from artneuro.probing.logistic import balanced_weights, fit_probes_nested
from artneuro.probing.metrics import score_probes
from artneuro.probing.mutual_information import mutual_information
from artneuro.probing.rankings import class_statistics


def example(seed, rows=250, units=40, share=0.2):
    generator = np.random.default_rng(seed)
    y = generator.random(rows) < share
    x = generator.standard_normal((rows, units)) * np.exp(generator.normal(size=units))
    x += 0.5 * x[:, :1] + generator.normal(size=units)
    x[y, : units // 4] += 0.7
    return x.astype(np.float32), y


@pytest.mark.parametrize("seed", [0, 1])
def test_f_statistic(seed):
    x, y = example(seed)
    found = class_statistics(x, y[None], ~y[None]).f_statistic[0]
    np.testing.assert_allclose(found, f_classif(x.astype(np.float64), y)[0], rtol=1e-8)


@pytest.mark.parametrize(("seed", "share"), [(0, 0.2), (1, 0.5), (2, 0.06)])
@pytest.mark.parametrize("neighbors", [3, 5])
def test_mutual_information(seed, share, neighbors):
    x, y = example(seed, share=share)
    x[:, 0] = np.round(x[:, 0])  # ties, which the seeded noise breaks
    x[:, 1], x[:, 2] = 0.0, 4.2
    x[:, 3] = np.maximum(x[:, 3], 0)
    found = mutual_information(x.T, y, neighbors=neighbors, seed=7)
    expected = mutual_info_classif(x, y, n_neighbors=neighbors, random_state=7)
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_refits():
    x, y = example(3)
    generator = np.random.default_rng(0)
    supports = np.stack([generator.permutation(40)[:6] for _ in range(5)])
    probes = fit_probes_nested(x.T, y, supports)
    x = x.astype(np.float64)
    for s, support in enumerate(supports):
        for k in range(1, 7):
            columns = x[:, support[:k]]
            peer = LogisticRegression(
                C=1.0, class_weight="balanced", solver="newton-cholesky", tol=1e-10
            ).fit(columns, y)
            np.testing.assert_allclose(probes.coef[s, k - 1, :k], peer.coef_[0], atol=1e-5)
            assert probes.intercept[s, k - 1] == pytest.approx(peer.intercept_[0], abs=1e-5)
            called = columns @ probes.coef[s, k - 1, :k] + probes.intercept[s, k - 1] > 0
            assert f1_score(y, called) == pytest.approx(f1_score(y, peer.predict(columns)))


def objective(x, y, coef, intercept, C, l1_ratio):
    margin = np.where(y, 1, -1) * (x @ coef + intercept)
    loss = C * (balanced_weights(y) * np.logaddexp(0, -margin)).sum()
    return loss + l1_ratio * np.abs(coef).sum() + (1 - l1_ratio) / 2 * coef @ coef


@pytest.mark.parametrize(("C", "l1_ratio"), [(0.1, 1.0), (0.4, 0.5), (0.2, 0.1)])
def test_elastic_net_equals_saga(C, l1_ratio):
    x, y = example(4, rows=200, units=60)
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float64)
    found = fit_elastic_net(np.ascontiguousarray(x.T), y, C=C, l1_ratio=l1_ratio)
    peer = LogisticRegression(
        C=C, l1_ratio=l1_ratio, class_weight="balanced", solver="saga", tol=1e-8,
        max_iter=20000, random_state=0,
    ).fit(x, y)  # fmt: skip
    theirs = objective(x, y, peer.coef_[0], peer.intercept_[0], C, l1_ratio)
    assert objective(x, y, found.coef, found.intercept, C, l1_ratio) == pytest.approx(
        theirs, rel=1e-6
    )
    np.testing.assert_allclose(found.coef, peer.coef_[0], atol=1e-4)


@pytest.mark.slow  # skglm compiles anew in each process
def test_l1_equals_skglm():
    skglm = pytest.importorskip("skglm")
    x, y = example(5, rows=200, units=80, share=0.5)
    # skglm has no class weights: equal classes make the weights 1.
    order = np.argsort(~y, kind="stable")
    half = min(y.sum(), (~y).sum())
    keep = np.concatenate([order[:half], order[::-1][:half]])
    x, y = x[keep].astype(np.float64), y[keep]
    C = 0.1
    peer = skglm.SparseLogisticRegression(
        alpha=1 / (C * y.size), tol=1e-10, fit_intercept=True, max_iter=200
    ).fit(x, y)
    found = fit_elastic_net(np.ascontiguousarray(x.T), y, C=C)
    theirs = objective(x, y, peer.coef_.ravel(), float(np.ravel(peer.intercept_)[0]), C, 1.0)
    assert found.objective == pytest.approx(theirs, rel=1e-6)


def test_metrics():
    generator = np.random.default_rng(8)
    y = generator.random(70) < 0.3
    decision = np.round(generator.standard_normal((12, 70)) + 0.5 * y, 1)
    decision[0] = -1.0
    decision[1] = 1.0
    found = score_probes(decision, y)
    for i, line in enumerate(decision):
        called = line > 0
        assert found.f1[i] == pytest.approx(f1_score(y, called, zero_division=0))
        assert found.precision[i] == pytest.approx(precision_score(y, called, zero_division=0))
        assert found.recall[i] == pytest.approx(recall_score(y, called))
        assert found.mcc[i] == pytest.approx(matthews_corrcoef(y, called))
        assert found.auc[i] == pytest.approx(roc_auc_score(y, line))
