"""Probes across prompts, on planted streams of which each prompt changes something known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zarr
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score

from artneuro.core.artifacts import read_table
from artneuro.core.errors import ConfigError, DataError
from artneuro.spacetime.prompt_transfer import (
    PROMPTS_SCHEMA,
    TRANSFER_SCHEMA,
    PromptFiles,
    score_prompts,
)
from tests.unit.spacetime_holdouts_example import (
    coordinates_in_noise,
    places,
    works,
    write_geography,
)

UNITS = 20
MAIN_LAYER = 1


def write_directions(path: Path, geography, best: int) -> None:
    """Probes of every layer, fitted by scikit-learn on the training rows."""
    table = geography.table
    names = ["time"] if table["latitude"].is_null().all() else ["latitude", "longitude"]
    y, train = table.select(names).to_numpy(), geography.train
    fits = [Ridge(1.0).fit(x[train], y[train]) for x in geography.streams]
    group = zarr.create_group(store=str(path), overwrite=True)
    coef = np.stack([fit.coef_.reshape(len(names), -1).T for fit in fits])
    intercept = np.stack([np.atleast_1d(fit.intercept_) for fit in fits])
    for name, values in (("coef", coef), ("intercept", intercept)):
        group.create_array(name, data=values)
    group.attrs.update({"target_names": names, "best_layer": best, "penalties": [1.0] * len(fits)})


def write_prompts(folder: Path, table: pl.DataFrame, changes: dict, best: dict) -> tuple:
    """Prompts of one table, whose streams a function of the plain ones makes.

    The main prompt has all entities, the others lack some, each in an order of its own.
    """
    rng = np.random.default_rng(0)
    base = np.stack(
        [coordinates_in_noise(table, UNITS, 7, noise) for noise in (3.0, 0.3, 0.5)]
    )  # fmt: skip
    files, made = [], {}
    for i, (name, change) in enumerate(changes.items()):
        of_row = rng.permutation(table.height)[10 * i :]
        streams = change(base)[:, of_row]
        geography = write_geography(folder, table, streams, of_row, name)
        directions = folder / name / "directions.zarr"
        write_directions(directions, geography, best.get(name, MAIN_LAYER))
        paths = (geography.activations, geography.rows, geography.sequences, directions)
        files.append(PromptFiles(name, *paths))
        made[name] = geography
    return files, made


def run(files, folder: Path, main: str = "empty"):
    facts = score_prompts(
        files,
        main_prompt=main,
        entities=folder / "entities.parquet",
        transfer=folder / "prompt_transfer.parquet",
        quality=folder / "prompts.parquet",
        model="m",
        table="places",
    )
    names = ("prompt_transfer", "prompts")
    return facts, *(read_table(folder / f"{name}.parquet") for name in names)


def shifted(base):
    """Everything moved along the first unit, which carries coordinates too."""
    moved = base.copy()
    moved[:, :, 0] += 5
    return moved


def turned(base):
    """The same facts in other directions."""
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((UNITS, UNITS)))[0]
    return (base - base.mean(axis=1, keepdims=True)) @ turn


CHANGES = {"empty": lambda base: base, "shifted": shifted, "turned": turned}


@pytest.mark.parametrize("make", [places, works])
def test_every_score_is_that_of_the_probe_on_the_entities_both_have(tmp_path, make):
    table = make(0, 200)
    files, made = write_prompts(tmp_path, table, CHANGES, {"turned": 2})
    facts, transfer, quality = run(files, tmp_path)
    assert transfer.schema == TRANSFER_SCHEMA
    assert quality.schema == PROMPTS_SCHEMA
    names = ["time"] if make is works else ["latitude", "longitude"]
    order = [(r["train_prompt"], r["test_prompt"]) for r in transfer.iter_rows(named=True)]
    assert len(order) == 9 + 3
    assert order[:4] == [("empty", "empty")] * 2 + [("empty", "shifted"), ("empty", "turned")]

    def score(trained: str, tested: str, layer: int, allowed: set):
        one, other = made[trained], made[tested]
        y = one.table.select(names).to_numpy()
        fit = Ridge(1.0).fit(one.streams[layer][one.train], y[one.train])
        rows = ~other.train & np.isin(other.table["entity"], list(allowed))
        truth = other.table.select(names).to_numpy()[rows]
        return truth, fit.predict(other.streams[layer][rows]).reshape(truth.shape)

    for row in transfer.iter_rows(named=True):
        own = row["best_for"] == "own"
        assert row["layer"] == (2 if own and row["test_prompt"] == "turned" else MAIN_LAYER)
        both = set(made[row["train_prompt"]].table["entity"])
        truth, predicted = score(row["train_prompt"], row["test_prompt"], row["layer"], both)
        assert row["n_test"] == len(truth)
        assert row["n_train"] == made[row["train_prompt"]].train.sum()
        assert row["r2"] == pytest.approx(r2_score(truth, predicted), rel=1e-4)
        rho = [spearmanr(a, b).statistic for a, b in zip(truth.T, predicted.T, strict=True)]
        assert row["spearman"] == pytest.approx(np.mean(rho), abs=1e-3)
        moved = predicted - predicted.mean(axis=0) + truth.mean(axis=0)
        assert row["r2_moved"] == pytest.approx(r2_score(truth, moved), rel=1e-4)
    everywhere = set.intersection(*(set(one.table["entity"]) for one in made.values()))
    assert quality.height == 9
    for row in quality.iter_rows(named=True):
        truth, predicted = score(row["prompt"], row["prompt"], row["layer"], everywhere)
        assert row["n_test"] == len(truth) == facts.n_common_test
        assert row["r2"] == pytest.approx(r2_score(truth, predicted), rel=1e-4)
        assert row["is_best"] == (row["layer"] == (2 if row["prompt"] == "turned" else 1))
        assert (row["r2_latitude"] is None) == (make is works)
    assert (facts.layer, facts.prompts) == (MAIN_LAYER, tuple(CHANGES))


def test_a_shift_costs_the_offset_and_a_turn_costs_everything(tmp_path):
    files, _ = write_prompts(tmp_path, places(1), CHANGES, {})
    _, transfer, _ = run(files, tmp_path)
    rows = {
        (r["train_prompt"], r["test_prompt"]): r
        for r in transfer.filter(pl.col("best_for") == "main").iter_rows(named=True)
    }
    assert min(rows[name, name]["r2"] for name in CHANGES) > 0.9
    assert rows["empty", "shifted"]["r2"] < rows["empty", "shifted"]["r2_moved"] - 0.05
    assert rows["empty", "shifted"]["r2_moved"] > 0.9
    assert rows["empty", "shifted"]["spearman"] > 0.9
    assert rows["empty", "turned"]["r2_moved"] < 0.5
    assert rows["empty", "turned"]["proximity"] > rows["empty", "empty"]["proximity"] + 0.2


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    files, made = write_prompts(tmp_path, places(2, 120), CHANGES, {})
    with pytest.raises(ConfigError, match="question"):
        run(files, tmp_path, main="question")
    write_directions(files[0].directions, made["empty"], best=9)
    with pytest.raises(DataError, match="probes of shape"):
        run(files, tmp_path)
    (files[0].directions / "zarr.json").unlink()
    with pytest.raises(DataError, match="directions"):
        run(files, tmp_path)
    assert not (tmp_path / "prompts.parquet").exists()


def test_prompts_without_common_entities_are_refused(tmp_path):
    table = places(3, 120)
    base = np.stack([coordinates_in_noise(table, UNITS, 7, 1.0)] * 3)
    files = []
    for name, of_row in (("empty", np.arange(60)), ("asked", np.arange(60, 120))):
        geography = write_geography(tmp_path, table, base[:, of_row], of_row, name)
        directions = tmp_path / name / "directions.zarr"
        write_directions(directions, geography, 0)
        paths = (geography.activations, geography.rows, geography.sequences, directions)
        files.append(PromptFiles(name, *paths))
    with pytest.raises(DataError, match="share 0 test entities"):
        run(files, tmp_path)
