"""Recovery of planted neurons: the claims of docs/validation.md."""

from __future__ import annotations

import importlib.util

import pytest

from benchmarks.planted import CHEAP, FANO, SIZES, planted_layer, recovery, table


@pytest.fixture(scope="module")
def found():
    return recovery([*CHEAP, "random"], 3)


def test_superposed_features_share_one_neuron_each():
    pairs = [(set(a), set(b)) for i, a in enumerate(FANO) for b in FANO[:i]]
    assert {len(a & b) for a, b in pairs} == {1}
    _, planted = planted_layer(0)
    assert [len(p.neurons) for p in planted] == [SIZES[p.kind] for p in planted]


def test_adaptive_thresholding_recovers_every_kind(found):
    assert all(found["adaptive", kind][0] == 1.0 for kind in SIZES)
    assert found["adaptive", "superposed"][1] > 0.97


def test_decoys_deceive_mean_differences_but_not_probes(found):
    assert found["mean_difference", "monosemantic"][0] < 0.5
    assert found["f_statistic", "monosemantic"][0] == 1.0
    assert found["l1_logistic", "monosemantic"][0] == 1.0


def test_rankings_of_single_neurons_miss_the_rare_parts_of_a_union(found):
    for method in ("mean_difference", "f_statistic", "mutual_information"):
        assert found[method, "composed"][0] < 0.6
    assert found["l1_logistic", "composed"][0] == 1.0


def test_random_neurons_recover_nothing(found):
    assert all(found["random", kind][0] < 0.2 for kind in SIZES)


@pytest.mark.skipif(importlib.util.find_spec("abess") is None, reason="needs abess")
def test_best_subsets_recover_every_kind():
    best = recovery(["best_subset"], 2)
    assert all(share == 1.0 for share, _ in best.values())
    assert "| best_subset | 100 %" in table(best)
