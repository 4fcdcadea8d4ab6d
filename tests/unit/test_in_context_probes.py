"""Probes of a planted state, equations of what they read, and the jobs on a tiny model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import Ridge, RidgeCV

from artneuro.core.artifacts import read_table
from artneuro.core.errors import StoreError
from artneuro.dynamics.in_context_config import EquationsConfig, InContextConfig, WeakWindows
from artneuro.dynamics.in_context_predictions import (
    predict_in_context,
    simulate_sequence,
    spread_positions,
)
from artneuro.dynamics.in_context_probes import probe_in_context
from artneuro.dynamics.in_context_schemas import (
    DISTRIBUTIONS_SCHEMA,
    EQUATIONS_SCHEMA,
    OUTPUTS_SCHEMA,
    PREDICTIONS_SCHEMA,
    PROBES_SCHEMA,
)
from artneuro.dynamics.probed_equations import flow_regression, map_regression, recover
from artneuro.dynamics.residual_store import Run, open_residuals, write_residuals
from artneuro.dynamics.state_probes import (
    delayed,
    digit_indicators,
    fit_probe,
    left_out_errors,
    state_targets,
)
from artneuro.dynamics.systems import build_system
from tests.tiny_models import make_model

LOGISTIC = {"system": "logistic_map", "values": 200, "decimals": 3}
LORENZ = {
    "system": "lorenz",
    "values": 600,
    "dt": 0.04,
    "transient": 100,
    "low": -25,
    "high": 25,
    "degree": 2,
    "windows": {"count": 60, "width": 0.1},
}


def in_context(**changes) -> InContextConfig:
    return InContextConfig.model_validate(changes)


# --- probes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(40, 60), (60, 12)])
def test_errors_of_left_out_rows_are_those_of_fits_without_them(shape):
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape)
    y = X[:, :3] @ rng.standard_normal((3, 2)) + rng.standard_normal((shape[0], 2))
    X = X - X.mean(axis=0)
    centred = y - y.mean(axis=0)
    penalties = np.array([0.3, 10.0])
    for folds in (0, 4):
        found = left_out_errors(*np.linalg.eigh(X @ X.T), centred, penalties, folds)
        blocks = np.array_split(np.arange(shape[0]), folds or shape[0])
        for penalty, errors in zip(penalties, found, strict=True):
            wanted = np.zeros(2)
            for block in blocks:
                rest = np.setdiff1d(np.arange(shape[0]), block)
                fit = Ridge(penalty).fit(X[rest], y[rest])
                wanted += np.square(y[block] - fit.predict(X[block])).sum(axis=0)
            np.testing.assert_allclose(errors, wanted, rtol=1e-8)


def test_a_probe_with_single_rows_left_out_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((90, 30)) * rng.uniform(0.1, 50, 30)
    y = np.stack([X[:, 0] + rng.standard_normal(90), rng.standard_normal(90)], axis=1)
    penalties = np.logspace(-2, 4, 9)
    probe = fit_probe(X, y, slice(5, 60), slice(60, 90), penalties, folds=0)
    scaled = (X - X[5:60].mean(axis=0)) / X[5:60].std(axis=0)
    peer = RidgeCV(alphas=penalties, alpha_per_target=True).fit(scaled[5:60], y[5:60])
    np.testing.assert_allclose(probe.penalty, peer.alpha_)
    np.testing.assert_allclose(probe.estimate, peer.predict(scaled[60:]), rtol=1e-8)
    residual = y[60:] - probe.estimate
    np.testing.assert_allclose(probe.mse, np.square(residual).mean(axis=0))
    np.testing.assert_allclose(probe.r2, 1 - np.square(residual).mean(axis=0) / y[60:].var(axis=0))
    np.testing.assert_allclose(probe.mae, np.abs(residual).mean(axis=0))
    assert probe.at_edge[1]


def test_targets_and_delays_are_what_lies_ahead_and_behind():
    states = np.arange(10.0).reshape(5, 2)
    assert state_targets(states, (0, 1)).tolist() == [
        [0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7], [6, 7, 8, 9]
    ]  # fmt: skip
    assert delayed(np.arange(4.0)[:, None], 3).tolist() == [
        [0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 2, 1]
    ]  # fmt: skip
    found = digit_indicators(np.array([7, 320]), 3)
    assert found.sum(axis=1).tolist() == [3, 3]
    assert np.flatnonzero(found[0]).tolist() == [0, 10, 27]
    assert np.flatnonzero(found[1]).tolist() == [3, 12, 20]


# --- equations -----------------------------------------------------------------------------------


def test_the_map_is_found_in_its_own_states():
    config = in_context(systems={"s": LOGISTIC})
    states = simulate_sequence(config, "s", 0)
    system = build_system("logistic_map", {"r": 3.9})
    regression = map_regression(states[:-1], states[1:], 5, 2 / 3)
    assert len(regression.features) + len(regression.validation_features) == 199
    found = {r.method: r for r in recover(regression, system, 5, EquationsConfig())}
    assert set(found) == {"exact", "exact_given", "stlsq"}
    for one in found.values():
        assert one.tpr == 1
        assert one.nce < 1e-3
        np.testing.assert_allclose(one.true, [[0, 3.9, -3.9, 0, 0, 0]])


def test_the_flow_is_found_in_its_own_states_with_little_noise():
    config = in_context(systems={"s": LORENZ})
    states = simulate_sequence(config, "s", 0)
    rng = np.random.default_rng(0)
    noisy = states + 0.05 * rng.standard_normal(states.shape)
    system = build_system("lorenz")
    regression = flow_regression(noisy, 0.04, 2, 2 / 3, WeakWindows(count=60, width=0.1), rng)
    found = {r.method: r for r in recover(regression, system, 2, EquationsConfig())}
    assert found["exact_given"].tpr == 1
    assert found["exact_given"].nce < 0.02
    assert np.count_nonzero(found["exact_given"].true) == 7


# --- the jobs ------------------------------------------------------------------------------------


def planted_store(path: Path, config: InContextConfig, system: str, width: int) -> np.ndarray:
    """Residuals of two layers: one holds the state now and next along random directions in noise,
    the other noise alone; and the shuffled sequence, of which the next state is not known.
    """
    rng = np.random.default_rng(7)
    states = simulate_sequence(config, system, 0)
    chosen = config.systems[system]
    following = np.concatenate([states[1:], states[-1:]])
    scale = states.std(axis=0)
    directions = rng.standard_normal((2 * states.shape[1], width))
    held = np.concatenate([states / scale, following / scale], axis=1) @ directions
    noise = 0.01 * rng.standard_normal((2, len(states), width))
    codes = np.rint((states[:, 0] - chosen.low) / (chosen.high - chosen.low) * 1000)
    order = rng.permutation(len(states))
    runs = []
    for control, rows in (("none", np.arange(len(states))), ("shuffled", order)):
        now = states[rows] / scale
        later = held if control == "none" else now @ directions[: states.shape[1]]
        residuals = np.stack([later, 0 * later]) + noise
        runs.append(
            Run(
                control,
                residuals.astype(np.float32),
                states[rows],
                codes[rows].astype(np.int64),
            )
        )
    write_residuals(path, runs, [3, 5])
    return states


def run_probes(config: InContextConfig, folder: Path, system: str) -> dict[str, pl.DataFrame]:
    names = ("probes", "outputs", "equations")
    probe_in_context(
        config,
        residuals=folder / "residuals.zarr",
        **{name: folder / f"{name}.parquet" for name in names},
        model="planted",
        system=system,
    )
    return {name: read_table(folder / f"{name}.parquet") for name in names}


def test_a_planted_state_is_read_and_its_law_recovered(tmp_path):
    config = in_context(systems={"map": LOGISTIC})
    states = planted_store(tmp_path / "residuals.zarr", config, "map", 40)
    found = run_probes(config, tmp_path, "map")
    assert found["probes"].schema == PROBES_SCHEMA
    assert found["outputs"].schema == OUTPUTS_SCHEMA
    assert found["equations"].schema == EQUATIONS_SCHEMA
    r2 = {
        (row["control"], row["layer"], row["shift"]): row["r2"]
        for row in found["probes"].filter(pl.col("layer").is_not_null()).iter_rows(named=True)
    }
    assert r2["none", 3, 0] > 0.999
    assert r2["none", 3, 1] > 0.999
    assert r2["shuffled", 3, 0] > 0.999
    assert max(r2["shuffled", 3, 1], r2["none", 5, 0], r2["none", 5, 1]) < 0.1
    inputs = found["probes"].filter(pl.col("features") == "values", pl.col("delays") == 1)
    one = inputs.filter(pl.col("control") == "none", pl.col("shift") == 0)
    assert one["r2"].item() > 0.9999
    equations = found["equations"].filter(
        pl.col("layer") == 3, pl.col("control") == "none", pl.col("method") == "exact_given"
    )
    assert equations["pairing"].sort().to_list() == ["current", "next"]
    assert (equations["tpr"] == 1).all()
    assert (equations["nce"] < 0.02).all()
    lost = found["equations"].filter(
        pl.col("layer") == 3, pl.col("control") == "shuffled", pl.col("pairing") == "current"
    )
    assert (lost["nce"] > 0.5).all()
    truth = found["equations"].filter(pl.col("features") == "true_states")
    assert (truth["tpr"] == 1).all()
    read = found["outputs"].filter(pl.col("layer") == 3, pl.col("shift") == 1).row(0, named=True)
    np.testing.assert_allclose(read["truth"], states[read["first"] + 1 :, 0])
    np.testing.assert_allclose(read["estimate"], read["truth"], atol=0.05)


@pytest.mark.slow
def test_a_planted_flow_is_read_and_its_law_recovered(tmp_path):
    config = in_context(systems={"flow": LORENZ}, probes={"train_share": 0.6, "delays": [1, 2]})
    planted_store(tmp_path / "residuals.zarr", config, "flow", 60)
    found = run_probes(config, tmp_path, "flow")
    layer = found["probes"].filter(pl.col("layer") == 3, pl.col("control") == "none")
    assert layer["r2"].min() > 0.99
    assert layer.height == 6
    # With the last two values y is a linear function of them, and z is not.
    inputs = found["probes"].filter(
        pl.col("features") == "values", pl.col("delays") == 2, pl.col("control") == "none",
        pl.col("shift") == 0,
    )  # fmt: skip
    r2 = dict(inputs.select("variable", "r2").iter_rows())
    assert r2["y"] > 0.95
    assert r2["z"] < 0.5
    equations = found["equations"].filter(
        pl.col("layer") == 3, pl.col("control") == "none", pl.col("method") == "exact_given"
    ).row(0, named=True)  # fmt: skip
    assert equations["pairing"] == "current"
    assert equations["tpr"] == 1
    assert equations["nce"] < 0.1
    assert len(equations["names"]) * 3 == len(equations["coefficients"])


def test_a_store_that_lost_a_layer_is_refused(tmp_path):
    config = in_context(systems={"map": LOGISTIC})
    planted_store(tmp_path / "r.zarr", config, "map", 8)
    store = open_residuals(tmp_path / "r.zarr")
    assert (store.controls, store.layers) == (["none", "shuffled"], [3, 5])
    assert store.layer("none", 5).shape == (200, 8)
    (tmp_path / "r.zarr" / "residuals" / "c" / "0" / "1" / "0" / "0").unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        store.layer("none", 5)
    with pytest.raises(StoreError, match="no run 'random_weights'"):
        store.states("random_weights")
    with pytest.raises(StoreError, match="not a store"):
        open_residuals(tmp_path)


def test_the_job_writes_every_run_of_a_tiny_model(tmp_path):
    folder = make_model("gpt_neox", tmp_path / "m")
    sequence = {**LOGISTIC, "values": 16, "decimals": 1, "high": 1.2, "prefix": "", "sequences": 2}
    config = in_context(
        systems={"s": sequence}, tree={"positions": 3, "first": 4}, probes={"layers": [0, 2]}
    )

    def run(out: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
        predict_in_context(
            config,
            weights=folder,
            tokenizer=folder,
            predictions=out / "predictions.parquet",
            distributions=out / "distributions.parquet",
            residuals=out / "residuals.zarr",
            model="tiny",
            system="s",
            device="cpu",
        )
        return read_table(out / "predictions.parquet"), read_table(out / "distributions.parquet")

    predictions, distributions = run(tmp_path / "a")
    assert predictions.schema == PREDICTIONS_SCHEMA
    assert distributions.schema == DISTRIBUTIONS_SCHEMA
    runs = predictions.group_by("control", "sequence").len().sort("control", "sequence")
    assert runs.rows() == [
        ("none", 0, 16), ("none", 1, 16), ("random_weights", 0, 16), ("shuffled", 0, 16)
    ]  # fmt: skip
    # The tree and the likelihood along the true digits are the same number.
    places = spread_positions(4, 16, 3)
    assert distributions["position"].to_list() == [*places, *places]
    joined = distributions.join(predictions, on=["control", "sequence", "position"])
    for row in joined.iter_rows(named=True):
        code = round((row["value"] - row["first"]) / row["step"])
        assert -np.log(row["probabilities"][code]) == pytest.approx(row["log_loss"], abs=1e-4)
        assert sum(row["probabilities"]) == pytest.approx(row["mass"])
    own, shuffled = (
        predictions.filter(pl.col("control") == c, pl.col("sequence") == 0)["value"]
        for c in ("none", "shuffled")
    )
    assert own.sort().equals(shuffled.sort())
    assert not own.equals(shuffled)
    store = open_residuals(tmp_path / "a" / "residuals.zarr")
    assert store.controls == ["none", "shuffled", "random_weights"]
    assert store.layers == [0, 2]
    again, _ = run(tmp_path / "b")
    assert again.equals(predictions)
    other = open_residuals(tmp_path / "b" / "residuals.zarr")
    for control in store.controls:
        np.testing.assert_array_equal(store.layer(control, 2), other.layer(control, 2))


# --- config --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"system": "kuramoto_sivashinsky"}, "is a field"),
        ({"system": "duffing"}, "variables without an equation"),
        ({"observed": "y"}, "no variable 'y'; it has: x"),
        ({"dt": 0.5}, "a map takes dt 1"),
        ({"low": 1.0}, "is not below high"),
        ({"separator": " 1 "}, "a digit would be read"),
        ({"parameters": {"rho": 1}}, "has no parameter 'rho'"),
    ],
)
def test_sequences_that_make_no_sense_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        in_context(systems={"s": {**LOGISTIC, **change}})
    with pytest.raises(ValueError, match=r"tree\.first 300 is behind the 200 values"):
        in_context(systems={"s": LOGISTIC}, tree={"first": 300})
    with pytest.raises(ValueError, match=r"probes\.skip leaves fewer than 8"):
        in_context(systems={"s": LOGISTIC}, probes={"skip": 150})


def test_slices_hold_what_their_rule_depends_on_alone():
    whole = in_context(models=["a", "b"], systems={"s": LOGISTIC, "t": LORENZ}, seed=3)
    assert whole.pairs() == [("a", "s"), ("a", "t"), ("b", "s"), ("b", "t")]
    tuned = whole.model_copy(update={"equations": EquationsConfig(max_terms=2), "models": ["a"]})
    assert tuned.prediction("t") == whole.prediction("t")
    assert tuned.probing("t") != whole.probing("t")
    assert list(whole.prediction("t").systems) == ["t"]
    assert whole.prediction("t").seed == whole.probing("t").seed == 3
    other = in_context(systems={"t": LORENZ}, seed=3, tree={"positions": 5})
    assert other.probing("t") == whole.probing("t")
    assert other.prediction("t") != whole.prediction("t")
