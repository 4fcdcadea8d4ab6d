"""Held-out blocks and types against fits of scikit-learn without them, and planted geographies."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import haversine_distances
from sklearn.preprocessing import StandardScaler

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.spacetime.config import HoldoutsConfig
from artneuro.spacetime.holdouts import (
    HOLDOUTS_SCHEMA,
    QUANTITIES,
    HoldoutFacts,
    score_holdouts,
    summarise_holdouts,
)
from artneuro.spacetime.holdouts_ridge import HeldOutRidge
from artneuro.spacetime.holdouts_scores import angle_between, choose_units
from artneuro.spacetime.ridge import RidgeDesign
from tests.unit.spacetime_holdouts_example import (
    coordinates_in_noise,
    countries_in_noise,
    places,
    works,
    write_geography,
    write_scores,
)

# --- the fits ------------------------------------------------------------------------------------


def unequal(seed: int, rows: int, units: int):
    """Features of unequal means and scales, two targets, and blocks of unequal sizes."""
    rng = np.random.default_rng(seed)
    block = rng.choice(4, rows, p=[0.5, 0.3, 0.15, 0.05])
    x = rng.standard_normal((rows, units)) * rng.uniform(0.01, 30, units)
    x += rng.uniform(-50, 50, units) + rng.standard_normal((4, units))[block]
    y = x @ rng.standard_normal((units, 2)) / 20 + rng.standard_normal((rows, 2)) + [100, -7]
    return x, y, block


def separate(x, y, penalty):
    scaler = StandardScaler().fit(x)
    ridge = Ridge(penalty, solver="svd").fit(scaler.transform(x), y)
    coefficients = ridge.coef_.reshape(-1, x.shape[1]).T / scaler.scale_[:, None]
    return coefficients, ridge.intercept_ - scaler.mean_ @ coefficients


@pytest.mark.parametrize("shape", [(120, 15), (40, 60), (50, 49)])
@pytest.mark.parametrize("penalty", [0.05, 30.0])
def test_fits_without_blocks_are_separate_fits(shape, penalty):
    x, y, block = unequal(0, *shape)
    ridge = HeldOutRidge(x, y, penalty)
    for left_out in (np.zeros(len(x), bool), *(block == b for b in range(4))):
        coefficients, intercept = ridge.without(left_out)
        wanted, wanted_intercept = separate(x[~left_out], y[~left_out], penalty)
        np.testing.assert_allclose(coefficients, wanted, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(intercept, wanted_intercept, rtol=1e-7)


def test_a_fit_without_nothing_is_that_of_the_probes():
    x, y, _ = unequal(1, 80, 20)
    ours, probes = HeldOutRidge(x, y, 3.0).without(np.zeros(80, bool)), RidgeDesign(x).solve(y, 3.0)
    np.testing.assert_allclose(ours[0], probes[0], rtol=1e-8)
    np.testing.assert_allclose(ours[1], probes[1], rtol=1e-8)


@pytest.mark.parametrize("shape", [(120, 15), (40, 60)])
def test_nothing_is_seen_of_what_is_held_out(shape):
    x, y, block = unequal(2, *shape)
    left_out = block == 1
    changed, other = x.copy(), y.copy()
    changed[left_out], other[left_out] = -4 * changed[left_out] + 300, 1e3
    ours = HeldOutRidge(x, y, 1.0).without(left_out)
    theirs = HeldOutRidge(changed, other, 1.0).without(left_out)
    for one, another in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, another, rtol=1e-6, atol=1e-8)


def test_units_that_live_in_the_block_alone_are_not_blown_up():
    x, y, block = unequal(3, 100, 8)
    left_out = block == 0
    x[:, 0] = np.where(left_out, x[:, 0], 0.0)
    x[:, 1] = np.where(left_out, x[:, 1], 0.1)
    # One that varies outside too, a hundred million times less.
    x[:, 2] = np.where(left_out, 1e4 * x[:, 2], 1e-4 * (x[:, 2] - x[:, 2].mean()))
    coefficients, intercept = HeldOutRidge(x, y, 0.5).without(left_out)
    assert coefficients[0].tolist() == coefficients[1].tolist() == [0.0, 0.0]
    kept = x[~left_out][:, 2:]
    wanted, wanted_intercept = separate(kept, y[~left_out], 0.5)
    np.testing.assert_allclose(coefficients[2:], wanted, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(intercept, wanted_intercept, rtol=1e-7)


def test_what_cannot_be_fitted_is_refused():
    x, y, _ = unequal(4, 20, 5)
    with pytest.raises(DataError, match="penalty"):
        HeldOutRidge(x, y, 0.0)
    with pytest.raises(DataError, match="NaN"):
        HeldOutRidge(np.where(x == x.max(), np.nan, x), y, 1.0)
    with pytest.raises(DataError, match="targets for features"):
        HeldOutRidge(x, y[:3], 1.0)
    with pytest.raises(DataError, match="left to train"):
        HeldOutRidge(x, y, 1.0).without(np.arange(20) < 19)


# --- the scores ----------------------------------------------------------------------------------


def run(geography, folder, penalty=2.0, **config) -> tuple[pl.DataFrame, HoldoutFacts]:
    scores = write_scores(folder / "scores.parquet", [0.1, 0.7, 0.4], [9.0, penalty, 9.0])
    facts = score_holdouts(
        HoldoutsConfig(**config),
        **geography.inputs(),
        scores=scores,
        output=folder / "holdouts.parquet",
        model="m",
        table="places",
    )
    return read_table(folder / "holdouts.parquet"), facts


def layered(stream: np.ndarray) -> np.ndarray:
    """Streams of three layers, the given one in the middle."""
    noise = np.random.default_rng(99).standard_normal(stream.shape)
    return np.stack([noise, stream, noise[::-1]])


def brute_proximity(truth, predicted, rows, among) -> float:
    """Mean over rows of the share of others whose prediction is nearer, one by one."""
    shares = []
    for i in np.flatnonzero(rows):
        others = [j for j in np.flatnonzero(among) if j != i]
        if truth.shape[1] == 2:
            distance = haversine_distances(np.radians(truth[[i]]), np.radians(predicted))[0]
        else:
            distance = np.abs(truth[i] - predicted)[:, 0]
        shares.append(np.mean([distance[j] < distance[i] for j in others]))
    return float(np.mean(shares))


@pytest.mark.parametrize("units", [24, 400])
def test_every_score_is_that_of_a_loop_of_separate_fits(tmp_path, units):
    table = places(0, 240)
    streams = layered(coordinates_in_noise(table, units, 1, 0.8))
    geography = write_geography(tmp_path, table, streams)
    found, facts = run(geography, tmp_path, min_test=2, min_entities=10)
    assert found.schema == HOLDOUTS_SCHEMA
    assert (facts.layer, facts.penalty, facts.prompt) == (1, 2.0, "empty")
    assert found["kind"].to_list() == ["block"] * 6 + ["entity_type"] * 2
    assert found["unit"].to_list()[-2:] == ["lake", "pier"]
    x, train = geography.streams[1].astype(np.float64), geography.train
    truth = table.select("latitude", "longitude").to_numpy()
    for row in found.iter_rows(named=True):
        unit = (table[row["kind"]] == row["unit"]).to_numpy()
        predicted = {}
        for key, left_out in (("nominal", np.zeros_like(unit)), ("held_out", unit)):
            kept = train & ~left_out
            coefficients, intercept = separate(x[kept], truth[kept], 2.0)
            predicted[key] = x @ coefficients + intercept
        for key, rows in (("nominal", unit & ~train), ("held_out", unit & ~train)):
            p = predicted[key]
            wanted = brute_proximity(truth, p, rows, ~train)
            assert row[f"proximity_{key}"] == pytest.approx(wanted, abs=1e-12)
            km = haversine_distances(np.radians(truth[rows]), np.radians(p[rows])).diagonal()
            assert row[f"error_{key}"] == pytest.approx(6371.0088 * km.mean(), rel=1e-6)
            rho = [spearmanr(truth[rows, t], p[rows, t]).statistic for t in (0, 1)]
            assert row[f"spearman_{key}"] == pytest.approx(np.mean(rho), abs=1e-12)
        # Groups are two places of one country, of which one may be of another type.
        kept = train & ~unit
        bound = unit & np.isin(table["group"], table["group"].filter(pl.Series(kept)))
        assert (row["n_bound"] > 0) == (row["kind"] == "entity_type")
        whole = unit & ~bound
        counts = [row[n] for n in ("n", "n_held_out", "n_bound", "n_train")]
        assert counts == [(unit & ~train).sum(), whole.sum(), bound.sum(), kept.sum()]
        p = predicted["held_out"]
        wanted = brute_proximity(truth, p, whole, ~train)
        assert row["proximity_held_out_all"] == pytest.approx(wanted, abs=1e-12)
        centre, middle = truth[whole].mean(axis=0), truth[kept].mean(axis=0)
        aim = p[whole].mean(axis=0)
        for name, t in (("latitude", 0), ("longitude", 1)):
            assert row[f"true_{name}"] == pytest.approx(centre[t])
            assert row[f"predicted_{name}"] == pytest.approx(aim[t], rel=1e-6)
            assert row[f"training_{name}"] == pytest.approx(middle[t])
        a, b = centre - middle, aim - middle
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert row["angle"] == pytest.approx(np.degrees(np.arccos(cosine)), abs=1e-4)
        assert row["direction_correct"] == (cosine > 0)
        assert row["true_time"] is None


def test_the_nominal_centroid_is_of_predictions_out_of_sample(tmp_path):
    table = places(1, 120)
    streams = layered(coordinates_in_noise(table, 12, 2, 0.8))
    geography = write_geography(tmp_path, table, streams)
    found, _ = run(geography, tmp_path, min_test=2, min_entities=10)
    x, train = geography.streams[1].astype(np.float64), geography.train
    y = table["latitude"].to_numpy()[:, None]
    unit = (table["block"] == "Brasil").to_numpy()
    coefficients, intercept = separate(x[train], y[train], 2.0)
    predicted = x @ coefficients + intercept
    # Leave-one-out with the scale of all training rows, as the choice of the penalty has it.
    scaler = StandardScaler().fit(x[train])
    for i in np.flatnonzero(unit & train):
        kept = train.copy()
        kept[i] = False
        fit = Ridge(2.0, solver="svd").fit(scaler.transform(x[kept]), y[kept])
        predicted[i] = fit.predict(scaler.transform(x[[i]]))
    row = found.filter(pl.col("unit") == "Brasil")
    assert row["nominal_latitude"].item() == pytest.approx(predicted[unit].mean(), rel=1e-8)


def test_a_geography_generalises_and_mere_membership_does_not(tmp_path):
    table = places(2)
    found = {}
    for name, plant in (("map", coordinates_in_noise), ("membership", countries_in_noise)):
        geography = write_geography(tmp_path / name, table, layered(plant(table, 30, 3, 0.3)))
        holdouts, _ = run(geography, tmp_path / name, min_test=3)
        found[name] = holdouts.filter(pl.col("kind") == "block")
    of_map, of_membership = found["map"], found["membership"]
    assert of_map["proximity_nominal"].max() < 0.1
    assert of_membership["proximity_nominal"].max() < 0.1
    assert of_map["proximity_held_out"].max() < 0.15
    assert of_map["angle"].max() < 15
    assert of_map["direction_correct"].all()
    # Where only the country is known, nothing is known of one that was never seen.
    assert of_membership["proximity_held_out"].mean() > 0.35
    assert of_membership["angle"].mean() > 30


def test_times_have_a_side_and_no_angle(tmp_path):
    table = works(3)
    geography = write_geography(tmp_path, table, layered(coordinates_in_noise(table, 20, 4, 0.3)))
    found, _ = run(geography, tmp_path, min_test=3)
    decades = found.filter(pl.col("kind") == "block")
    assert sorted(decades["unit"]) == ["1950s", "1960s", "1970s", "1980s", "1990s", "2000s"]
    assert found["angle"].null_count() == found["true_latitude"].null_count() == found.height
    outer = decades.filter(pl.col("unit").is_in(["1950s", "1960s", "1990s", "2000s"]))
    assert outer["direction_correct"].all()
    row = decades.row(by_predicate=pl.col("unit") == "1960s", named=True)
    x, train = geography.streams[1].astype(np.float64), geography.train
    y = table["time"].to_numpy()[:, None]
    unit = (table["block"] == "1960s").to_numpy()
    coefficients, intercept = separate(x[train & ~unit], y[train & ~unit], 2.0)
    test = unit & ~train
    predicted = x @ coefficients + intercept
    assert row["error_held_out"] == pytest.approx(np.abs(y - predicted)[test].mean(), rel=1e-6)
    wanted = brute_proximity(y, predicted, test, ~train)
    assert row["proximity_held_out"] == pytest.approx(wanted, abs=1e-12)
    assert row["predicted_time"] < row["training_time"]


def test_units_are_the_largest_and_large_enough():
    table = places(4, 120).with_columns(
        block=pl.Series(["big"] * 60 + ["middle"] * 40 + ["small"] * 15 + [None] * 5),
        entity_type=pl.Series(["town"] * 70 + ["lake"] * 38 + ["pier"] * 12),
    )
    train = (table["split"] == "train").to_numpy()

    def names(**config):
        units = choose_units(table, train, HoldoutsConfig(**config))
        return [unit.name for unit in units]

    assert names(min_entities=5, min_test=2) == ["big", "middle", "small", "lake", "pier"]
    assert names(min_entities=20, min_test=2) == ["big", "middle", "lake"]
    assert names(min_entities=5, min_test=8) == ["big", "middle", "lake"]
    assert names(min_entities=5, min_test=2, max_blocks=1) == ["big", "lake", "pier"]
    # Without the others, nothing would be left to train on.
    assert names(min_entities=60, min_test=2) == []


def test_angles_are_those_of_the_plane():
    east, north = np.array([0.0, 3.0]), np.array([2.0, 0.0])
    assert angle_between(east, east) == 0
    assert angle_between(east, north) == pytest.approx(90)
    assert angle_between(east, -east) == pytest.approx(180)
    assert angle_between(east, east + north * 1.5) == pytest.approx(45)
    assert angle_between(east, 0 * east) is None
    assert angle_between(east[1:], east[1:]) is None


def test_nothing_to_hold_out_is_said(tmp_path, caplog):
    table = places(5, 60)
    geography = write_geography(tmp_path, table, layered(coordinates_in_noise(table, 5, 0, 1.0)))
    found, facts = run(geography, tmp_path, min_entities=50)
    assert (facts.n_blocks, facts.n_types) == (0, 0)
    assert found.is_empty()
    assert found.schema == HOLDOUTS_SCHEMA
    assert "nothing is held out" in caplog.text


def test_means_over_units_have_intervals_over_units():
    rng = np.random.default_rng(0)
    nominal = rng.random(40) / 4
    table = pl.DataFrame(
        {
            "model": ["m"] * 41,
            "entities": ["e"] * 41,
            "prompt": ["p"] * 41,
            "kind": ["block"] * 40 + ["entity_type"],
            **{
                q: np.append(nominal, 0.5)
                for q in QUANTITIES
                if q not in ("proximity_held_out", "angle", "direction_correct")
            },
            "proximity_held_out": np.append(nominal + 0.1, 0.6),
            "angle": [None, *range(40)],
            "direction_correct": [True, False] * 20 + [True],
        }
    )
    found = summarise_holdouts(table)
    rows = {(r["kind"], r["quantity"]): r for r in found.iter_rows(named=True)}
    one = rows["block", "proximity_nominal"]
    half = 1.96 * nominal.std(ddof=1) / np.sqrt(40)
    assert one["mean"] == pytest.approx(nominal.mean())
    assert one["low"] == pytest.approx(nominal.mean() - half, abs=0.006)
    assert one["high"] == pytest.approx(nominal.mean() + half, abs=0.006)
    loss = rows["block", "proximity_loss"]
    assert [loss[k] for k in ("mean", "low", "high")] == pytest.approx([0.1] * 3)
    assert rows["block", "angle"]["n_units"] == 39
    assert rows["block", "direction_correct"]["mean"] == 0.5
    assert rows["entity_type", "angle"]["mean"] == 39
    assert rows["entity_type", "proximity_loss"]["low"] is None
