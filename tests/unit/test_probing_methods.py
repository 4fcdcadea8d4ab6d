"""The pure functions of the probing stage against closed forms, brute force and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import digamma
from scipy.stats import f_oneway

from artneuro.probing.data import Feature, shuffled_labels
from artneuro.probing.elastic_net import fit_elastic_net
from artneuro.probing.logistic import balanced_weights, fit_probes_nested
from artneuro.probing.metrics import average_ranks, score_probes
from artneuro.probing.mutual_information import mutual_information
from artneuro.probing.rankings import class_statistics, top


def feature_of(labels, groups) -> Feature:
    labels = np.asarray(labels, dtype=bool)
    index = np.arange(labels.size)
    return Feature("c", "f", index, index, labels, labels, np.asarray(groups), np.asarray(groups))


def test_statistics_match_scipy_for_subsets_of_rows():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((60, 1030)).astype(np.float32)
    positive = np.zeros((2, 60), dtype=bool)
    negative = np.zeros((2, 60), dtype=bool)
    positive[0, :20], negative[0, 20:50] = True, True
    positive[1, 30:35], negative[1, :30] = True, True
    found = class_statistics(x, positive, negative)
    for task in range(2):
        a, b = x[positive[task]].astype(float), x[negative[task]].astype(float)
        np.testing.assert_allclose(found.difference[task], a.mean(0) - b.mean(0), atol=1e-12)
        np.testing.assert_allclose(found.f_statistic[task], f_oneway(a, b).statistic, rtol=1e-9)
        np.testing.assert_allclose(found.std[task], np.concatenate([a, b]).std(0), rtol=1e-12)


def test_statistics_keep_digits_when_the_mean_is_far_larger_than_the_deviation():
    generator = np.random.default_rng(1)
    small = generator.standard_normal((50, 3))
    positive = (np.arange(50) < 20)[None]
    near = class_statistics(small, positive, ~positive)
    far = class_statistics(small + 1e8, positive, ~positive)
    np.testing.assert_allclose(far.f_statistic, near.f_statistic, rtol=1e-6)


def test_constant_neurons_score_zero_and_perfect_ones_are_first():
    x = np.full((30, 3), 0.1, dtype=np.float32)
    x[:10, 2] = 5.0
    positive = (np.arange(30) < 10)[None]
    found = class_statistics(x, positive, ~positive)
    assert found.difference[0, 0] == found.difference[0, 1] == 0.0
    assert found.f_statistic[0].tolist() == [0.0, 0.0, np.inf]
    assert top(found.f_statistic[0], 3).tolist() == [2, 0, 1]


def test_constant_on_the_rows_of_a_task_only():
    x = np.random.default_rng(0).standard_normal((40, 1))
    x[:20] = 0.3
    positive = np.zeros((1, 40), dtype=bool)
    negative = np.zeros((1, 40), dtype=bool)
    positive[0, :7], negative[0, 7:20] = True, True
    found = class_statistics(x, positive, negative)
    assert found.difference[0, 0] == 0.0
    assert found.f_statistic[0, 0] == 0.0


def brute_mutual_information(x, y, k):
    """Ross's estimator by all pairwise distances."""
    n, total = len(x), 0.0
    for i in range(n):
        distance = np.abs(x - x[i])
        same = np.sort(distance[y == y[i]])[1:]
        k_i = min(k, len(same))
        if k_i == 0:
            continue
        m = np.count_nonzero(distance < same[k_i - 1])
        total += digamma(k_i) - digamma(np.count_nonzero(y == y[i])) - digamma(m)
    return max(0.0, digamma(n) + total / n)


@pytest.mark.parametrize("n_positive", [2, 3, 5, 40])
@pytest.mark.parametrize("neighbors", [1, 3])
def test_mutual_information_matches_brute_force(n_positive, neighbors):
    generator = np.random.default_rng(n_positive)
    x = generator.standard_normal((6, 90))
    y = np.arange(90) < n_positive
    x[:3, y] += 1.5
    found = mutual_information(x, y, neighbors=neighbors)
    expected = [brute_mutual_information(line, y, neighbors) for line in x]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_mutual_information_of_separated_classes_is_the_entropy_of_the_label():
    generator = np.random.default_rng(3)
    y = np.arange(4000) % 4 == 0
    x = generator.random((1, 4000)) + 10 * y
    entropy = -(0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    assert mutual_information(x, y)[0] == pytest.approx(entropy, abs=1e-3)


def test_mutual_information_of_dead_neurons_is_finite():
    y = np.arange(50) % 5 == 0
    found = mutual_information(np.zeros((2, 50)), y)
    assert np.isfinite(found).all()
    assert (found < 0.3).all()


def gradient_norm(x, y, coef, intercept, C):
    """Largest entry of the gradient of the balanced l2 objective."""
    residual = C * balanced_weights(y) * (1 / (1 + np.exp(-(coef @ x + intercept))) - y)
    return max(np.abs(x @ residual + coef).max(), abs(residual.sum()))


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_refits_are_stationary_for_any_scale_offset_and_separation(size, offset):
    generator = np.random.default_rng(0)
    y = generator.random(200) < 0.1
    x = generator.standard_normal((6, 200))
    x[1] += 30 * y  # separable
    x[2] = 0.7  # constant
    x[4] = x[3]  # twice the same
    x = size * (x + offset)
    supports = np.array([[0, 1, 2], [3, 4, 2], [5, 0, 3]])
    probes = fit_probes_nested(x, y, supports)
    assert probes.converged.all()
    for s, support in enumerate(supports):
        for k in range(1, 4):
            norm = gradient_norm(
                x[support[:k]], y, probes.coef[s, k - 1, :k], probes.intercept[s, k - 1], 1.0
            )
            # Rounding of a gradient grows with the activations that it sums.
            assert norm < 1e-9 * max(1.0, np.abs(x).max()) * 10
    assert probes.coef[0, 2, 2] == 0.0


def test_equal_beginnings_of_supports_give_equal_probes():
    generator = np.random.default_rng(2)
    x, y = generator.standard_normal((5, 80)), generator.random(80) < 0.4
    probes = fit_probes_nested(x, y, np.array([[0, 1, 2], [0, 1, 3]]))
    alone = fit_probes_nested(x, y, np.array([[0, 1, 3]]))
    np.testing.assert_array_equal(probes.coef[0, :2], probes.coef[1, :2])
    np.testing.assert_allclose(probes.coef[1, 2], alone.coef[0, 2], atol=1e-10)


def elastic_objective(x, y, coef, intercept, C, l1_ratio):
    margin = np.where(y, 1, -1) * (coef @ x + intercept)
    loss = C * (balanced_weights(y) * np.logaddexp(0, -margin)).sum()
    return loss + l1_ratio * np.abs(coef).sum() + (1 - l1_ratio) / 2 * coef @ coef


@pytest.mark.parametrize(("C", "l1_ratio"), [(0.1, 1.0), (2.0, 1.0), (1.0, 0.5), (5.0, 0.1)])
def test_elastic_net_matches_a_general_solver(C, l1_ratio):
    generator = np.random.default_rng(4)
    y = generator.random(120) < 0.3
    x = generator.standard_normal((8, 120)) + 3.0
    x[:2] += y
    found = fit_elastic_net(x, y, C=C, l1_ratio=l1_ratio)
    assert found.converged
    assert found.objective == pytest.approx(
        elastic_objective(x, y, found.coef, found.intercept, C, l1_ratio), rel=1e-10
    )

    # Positive and negative parts make it a smooth problem with bounds.
    def split(z):
        return (
            elastic_objective(x, y, z[:8] - z[8:16], z[16], C, 0.0)
            - (0.5 * np.sum((z[:8] - z[8:16]) ** 2) * l1_ratio)
            + l1_ratio * z[:16].sum()
        )

    reference = minimize(
        split, np.full(17, 0.1), bounds=[(0, None)] * 16 + [(None, None)],
        options={"maxiter": 20000, "maxfun": 10**6, "ftol": 1e-14, "gtol": 1e-9},
    )  # fmt: skip
    assert found.objective <= reference.fun * (1 + 1e-7)
    assert found.objective == pytest.approx(reference.fun, rel=1e-5)


def test_elastic_net_bounds_are_valid_and_warm_starts_agree():
    generator = np.random.default_rng(5)
    y = generator.random(60) < 0.5
    x = generator.standard_normal((200, 60))
    x[7], x[9] = 0.2, x[8]
    cold = fit_elastic_net(x, y, C=1.0)
    loose = fit_elastic_net(x, y, C=1.0, tolerance=0.1)
    warm = fit_elastic_net(x, y, C=1.0, coef=fit_elastic_net(x, y, C=0.5).coef)
    assert cold.converged
    assert warm.converged
    assert warm.objective == pytest.approx(cold.objective, rel=1e-8)
    # A lower bound never passes the optimum.
    assert loose.objective - loose.gap <= cold.objective * (1 + 1e-10)
    assert cold.coef[7] == 0.0


def test_elastic_net_keeps_nothing_under_a_strong_penalty():
    generator = np.random.default_rng(6)
    y = np.arange(90) % 3 == 0
    x = generator.standard_normal((30, 90))
    found = fit_elastic_net(x, y, C=1e-4)
    assert not found.coef.any()
    assert found.intercept == pytest.approx(0.0, abs=1e-9)
    assert found.objective == pytest.approx(1e-4 * 90 * np.log(2))


def test_metrics_by_hand():
    decision = np.array([[2.0, 1.0, -1.0, -2.0], [-1.0, -1.0, -1.0, -1.0]])
    found = score_probes(decision, np.array([True, False, True, False]))
    assert found.precision.tolist() == [0.5, 0.0]
    assert found.recall.tolist() == [0.5, 0.0]
    assert found.f1.tolist() == [0.5, 0.0]
    assert found.mcc.tolist() == [0.0, 0.0]
    assert found.auc.tolist() == [0.75, 0.5]


def test_average_ranks_share_ties():
    assert average_ranks(np.array([[3.0, 1.0, 3.0, 3.0, 2.0]])).tolist() == [[4, 1, 4, 4, 2]]


def test_shuffled_labels_move_whole_groups_where_they_have_one_label():
    groups = np.repeat(np.arange(12), 5)
    labels = groups < 4
    for shuffled in shuffled_labels(feature_of(labels, groups), seed=1):
        assert shuffled.sum() == labels.sum()
        assert not np.array_equal(shuffled, labels)
        assert all(len(set(shuffled[groups == g])) == 1 for g in range(12))


def test_shuffled_labels_move_rows_where_groups_mix():
    groups = np.repeat(np.arange(12), 5)
    labels = np.arange(60) % 5 == 0
    shuffled, test = shuffled_labels(feature_of(labels, groups), seed=1)
    assert shuffled.sum() == test.sum() == labels.sum()
    assert not np.array_equal(shuffled, test)
    assert any(shuffled[groups == g].sum() != 1 for g in range(12))
    np.testing.assert_array_equal(shuffled, shuffled_labels(feature_of(labels, groups), seed=1)[0])
    assert not np.array_equal(shuffled, shuffled_labels(feature_of(labels, groups), seed=2)[0])
