"""The plan on paper against arithmetic by hand."""

from __future__ import annotations

import pytest

from artneuro.cli import main
from artneuro.models.info import ModelShape
from artneuro.universality.config import ComparisonConfig, GroupConfig
from artneuro.universality.paper import Machine, plan_on_paper
from tests.workflow.test_plan import ROOT

MEDIUM = ModelShape("gpt2", 24, 1024, 4096, 16, 16, 50257, 1024)
MACHINE = Machine(tflops=100, fraction=0.5, forward_tflops=100, forward_fraction=0.5)


def test_operations_hours_and_bytes_of_the_thesis():
    group = GroupConfig(reference="a", others=list("bcde"), text="pile")
    plan = plan_on_paper(ComparisonConfig(), group, MEDIUM, 100_000_000, MACHINE)
    # 98,304 neurons: 98,304^2 * 2 * 10^8 = 1.9327e18 a pair.
    assert plan.cross_flop == pytest.approx(4 * 1.9327352832e18)
    assert plan.within_flop == pytest.approx(2e8 * 4 * 24 * 4096**2)
    # 24 layers of 12 * 1024^2 weights, five models, two operations each.
    assert plan.forward_flop == pytest.approx(5 * 2e8 * 24 * 12 * 1024**2)
    total = plan.cross_flop + plan.within_flop + plan.forward_flop
    assert plan.hours == pytest.approx(total / 50e12 / 3600)
    assert plan.longest_hours == pytest.approx(plan.hours)
    assert plan.n_jobs == 1
    # 77.3 GB of float64 a pair, and a 24th of it for the layers.
    assert plan.sums_bytes == 8 * 4 * (98_304**2 + 24 * 4096**2)
    block = 4 * 4096 * 5 * 98_304
    assert plan.job_bytes == plan.sums_bytes + block + 32 * 5 * 98_304


def test_tiles_divide_memory_and_multiply_forward_passes():
    group = GroupConfig(
        reference="a", others=list("bcde"), text="t", tiles=(1, 2), jobs_by="pair", token_parts=3
    )
    plan = plan_on_paper(ComparisonConfig(), group, MEDIUM, 10**8, MACHINE)
    assert plan.n_jobs == 4 * 2 * 3
    assert plan.cross_flop == pytest.approx(4 * 1.9327352832e18)
    assert plan.sums_bytes == 3 * 8 * 4 * (98_304**2 + 24 * 4096**2)
    # Of each pair once all layers of both, once all of the first and the lower half of the second.
    assert plan.forward_flop == pytest.approx(4 * (2 * 24 + 24 + 12) * 2e8 * 12 * 1024**2)
    assert plan.job_bytes == pytest.approx(
        8 * (98_304 * 49_152 + 12 * 4096**2) + (4 * 4096 + 32) * (98_304 + 49_152)
    )


def test_the_command_prints_the_plan(capsys):
    thesis = str(ROOT / "config" / "thesis.yaml")
    shape = ["--layers", "24", "--d-model", "1024", "--d-mlp", "4096"]
    command = ["universality", thesis, "gpt2-medium", *shape, "--root", str(ROOT)]
    assert main(command) == 0
    found = capsys.readouterr().out
    assert "products between models: 7.731e+18 FLOP" in found
    assert main(["universality", thesis, "none", *shape, "--root", str(ROOT)]) == 2
