"""The job that probes every layer, on activations in which places and dates are planted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import zarr
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError, StoreError
from artneuro.spacetime.baselines import name_tokens, random_features, token_counts
from artneuro.spacetime.config import ProbesConfig
from artneuro.spacetime.fit import Outputs, ProbeFacts, fit_entity_probes, layer_at
from artneuro.spacetime.fit_tables import PREDICTIONS_SCHEMA, SCORES_SCHEMA
from artneuro.spacetime.ridge import DEFAULT_PENALTIES, LeaveOneOutRidge
from tests.probing_example import write_store

LAYERS, UNITS, ROWS, BEST = 5, 24, 300, 2
NULLS = {name: pl.lit(None, dtype=pl.String) for name in ("state", "borough", "block")}


@dataclass(frozen=True)
class Planted:
    """Activations (layer, row, unit) that hold the targets at one layer, by rows of the store."""

    folder: Path
    activations: np.ndarray
    targets: np.ndarray
    train: np.ndarray
    directions: np.ndarray

    def fit(self, config: ProbesConfig | None = None, threads: int = 2, **changes) -> ProbeFacts:
        """Run the job into the folder `out`."""
        out = self.folder / "out"
        arguments = {
            "store": self.folder / "activations.zarr",
            **{
                n: self.folder / f"{n}.parquet" for n in ("rows", "sequences", "tokens", "entities")
            },
            "outputs": Outputs(
                *(out / f"{name}.parquet" for name in ("scores", "predictions")),
                out / "directions.zarr",
                out / "dimensions.parquet",
            ),
            "model": "m",
            "table": "places",
            "prompt": "empty",
            "threads": threads,
        }
        config = config or ProbesConfig(mlp=False, dimensions=[1, 2, 10, 400])
        return fit_entity_probes(config, **{**arguments, **changes})

    def table(self, name: str) -> pl.DataFrame:
        return read_table(self.folder / "out" / f"{name}.parquet")


def plant(folder: Path, kind: str = "space", seed: int = 0) -> Planted:
    """A table of places or dates; the layers before and after the best hold them with noise."""
    random = np.random.default_rng(seed)
    if kind == "space":
        targets = random.uniform([-60, -180], [60, 180], size=(ROWS, 2))
    else:
        targets = random.uniform(1800, 2000, size=(ROWS, 1))
    standard = (targets - targets.mean(axis=0)) / targets.std(axis=0)
    directions = np.linalg.qr(random.normal(size=(UNITS, targets.shape[1])))[0]
    activations = random.normal(size=(LAYERS, ROWS, UNITS))
    for layer in range(LAYERS):
        # The plant replaces what was there, so that noise hides it in the other layers alone.
        held = activations[layer] @ directions @ directions.T
        signal = 4 * standard @ directions.T
        activations[layer] += signal + (0 if layer != BEST else -held)
        activations[layer] += 5 * abs(layer - BEST) * random.normal(size=(ROWS, UNITS))
    activations += 100 * random.normal(size=UNITS)
    activations = activations.astype(np.float32)
    train = np.arange(ROWS) % 4 > 0
    # Rows of the store are in another order than entities and sequences.
    order = random.permutation(ROWS)
    entity = pl.Series(np.arange(ROWS), dtype=pl.Int32)
    frame = pl.DataFrame(
        {
            "entity": entity,
            "name": [f"name {i}" for i in range(ROWS)],
            "entity_type": ["city"] * ROWS,
            "country": ["A", "B", "C"] * (ROWS // 3),
            "continent": ["X"] * ROWS,
            "group": [f"g{i}" for i in range(ROWS)],
            "split": np.where(train, "train", "test"),
        }
    ).with_columns(**NULLS)
    place = pl.lit(None, dtype=pl.Float64)
    columns = dict.fromkeys(("latitude", "longitude", "time"), place)
    names = ("latitude", "longitude") if kind == "space" else ("time",)
    columns |= {name: pl.Series(targets[:, i]) for i, name in enumerate(names)}
    write_table(frame.with_columns(**columns), folder / "entities.parquet")
    # The first token of a name says its country, the second nothing.
    ids = np.stack([np.zeros(ROWS), np.arange(ROWS) % 3 + 10, random.integers(20, 25, ROWS)], 1)
    sequences = pl.DataFrame(
        {"sequence": entity, "entity": entity, "name_start": [1] * ROWS, "name_end": [3] * ROWS}
    )
    write_table(sequences, folder / "sequences.parquet")
    tokens = pl.Series("tokens", ids.astype(np.int32), dtype=pl.Array(pl.Int32, 3))
    write_table(pl.DataFrame(tokens), folder / "tokens.parquet")
    rows = pl.DataFrame({"row": entity, "sequence": pl.Series(order, dtype=pl.Int32)})
    write_table(rows, folder / "rows.parquet")
    write_store(folder / "activations.zarr", activations[:, order], "resid_post")
    return Planted(folder, activations[:, order], targets[order], train[order], directions)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    planted = plant(tmp_path_factory.mktemp("places"))
    planted.fit()
    return planted


def test_planted_layer_is_found_with_its_map(places: Planted):
    scores = places.table("scores")
    assert scores.schema == SCORES_SCHEMA
    linear = scores.filter(probe="linear")
    assert linear["layer"].to_list() == list(range(LAYERS))
    assert linear["split"].unique().to_list() == ["test"]
    best = linear.sort("r2_loo").row(-1, named=True)
    assert best["layer"] == BEST
    # Nothing hides the plant there, so that only the shrinkage of the penalty is lost.
    assert best["r2"] > 0.999
    assert best["error_km"] < 300
    assert best["proximity"] < 0.01
    assert best["proximity_as_published"] is not None
    assert linear["r2"].arg_max() == BEST
    assert linear.filter(pl.col("layer") != BEST)["r2"].max() < 0.9


def test_scores_of_each_layer_are_those_of_scikit_learn(places: Planted):
    linear = places.table("scores").filter(probe="linear")
    for row in linear.iter_rows(named=True):
        features = places.activations[row["layer"]].astype(np.float64)
        x, train = features[places.train], places.train
        scaled = (features - x.mean(axis=0)) / x.std(axis=0)
        scale = places.targets[train].std(axis=0)
        grid = [row["penalty"]] if row["penalty_extended"] else DEFAULT_PENALTIES
        peer = RidgeCV(grid).fit(scaled[train], places.targets[train] / scale)
        assert peer.alpha_ == pytest.approx(row["penalty"])
        assert peer.score(scaled[~train], places.targets[~train] / scale) == pytest.approx(
            row["r2"], rel=1e-6
        )
        assert peer.score(scaled[train], places.targets[train] / scale) == pytest.approx(
            row["r2_train"], rel=1e-6
        )


def test_directions_predict_what_the_table_says(places: Planted):
    group = zarr.open_group(str(places.folder / "out" / "directions.zarr"), mode="r")
    attributes = dict(group.attrs)
    assert attributes["best_layer"] == BEST
    assert attributes["target_names"] == ["latitude", "longitude"]
    assert attributes["layers"] == list(range(LAYERS))
    assert (
        attributes["penalties"]
        == places.table("scores").filter(probe="linear")["penalty"].to_list()
    )
    arrays = {n: np.asarray(group[n]) for n in ("coef", "intercept", "mean", "scale")}
    x = places.activations[:, places.train].astype(np.float64)
    np.testing.assert_allclose(arrays["mean"], x.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(arrays["scale"], x.std(axis=1), rtol=1e-9)
    # The planted map: what a target's direction reads of the signal is the target.
    read = 4 * places.directions.T @ arrays["coef"][BEST]
    deviations = places.targets.std(axis=0)
    np.testing.assert_allclose(read, np.diag(deviations), atol=0.02 * deviations.max())
    predicted = places.activations[BEST] @ arrays["coef"][BEST] + arrays["intercept"][BEST]
    table = places.table("predictions").with_row_index()
    assert table.select(PREDICTIONS_SCHEMA.names()).schema == PREDICTIONS_SCHEMA
    test = table.filter(split="test")
    said = test.select("predicted_latitude", "predicted_longitude").to_numpy()
    np.testing.assert_allclose(said, predicted[~places.train], atol=1e-6)
    true = table.select("latitude", "longitude").to_numpy()
    np.testing.assert_array_equal(true, places.targets)
    assert test["proximity"].null_count() == 0
    scores = places.table("scores").filter(probe="linear", layer=BEST)
    assert test["proximity"].mean() == pytest.approx(scores["proximity"][0])
    assert test["error_km"].mean() == pytest.approx(scores["error_km"][0])
    assert table.filter(split="train")["proximity"].null_count() == places.train.sum()
    assert table["predicted_time"].null_count() == table["error"].null_count() == ROWS


def test_predictions_of_training_rows_are_made_without_them(places: Planted):
    train = places.table("predictions").filter(split="train")
    x = places.activations[BEST][places.train].astype(np.float64)
    fit = LeaveOneOutRidge().fit(x, places.targets[places.train])
    said = train.select("predicted_latitude", "predicted_longitude").to_numpy()
    np.testing.assert_allclose(said, fit.loo_predictions_, atol=1e-6)


def test_dimensions_are_regressions_on_principal_components(places: Planted):
    table = places.table("dimensions")
    # 400 components do not exist.
    assert table["k"].to_list() == [1, 2, 10, UNITS]
    assert table["layer"].unique().to_list() == [BEST]
    full = places.table("scores").filter(probe="linear", layer=BEST)
    assert table["r2"][-1] == full["r2"][0]
    x = places.activations[BEST].astype(np.float64)
    scaled = (x - x[places.train].mean(axis=0)) / x[places.train].std(axis=0)
    train, y = places.train, places.targets / places.targets[places.train].std(axis=0)
    for row in table.head(3).iter_rows(named=True):
        pca = PCA(row["k"], svd_solver="full").fit(scaled[train])
        parts = pca.transform(scaled)
        peer = RidgeCV([row["penalty"]]).fit(parts[train], y[train])
        assert peer.score(parts[~train], y[~train]) == pytest.approx(row["r2"], rel=1e-6)
        share = pca.explained_variance_ratio_.sum()
        assert share == pytest.approx(row["explained_variance"])
    assert table["explained_variance"][-1] == 1.0


def test_baselines_know_what_they_can(places: Planted):
    rows = {row["probe"]: row for row in places.table("scores").iter_rows(named=True)}
    assert set(rows) == {"linear", "bag_of_tokens", "random_features", "shuffled_targets"}
    for name in set(rows) - {"linear"}:
        assert rows[name]["layer"] is None
        # Places were drawn without regard to names.
        assert abs(rows[name]["r2"]) < 0.1
        assert rows[name]["proximity"] == pytest.approx(0.5, abs=0.2)


def test_same_tables_on_any_number_of_threads(places: Planted, tmp_path: Path):
    again = Outputs(*(tmp_path / name for name in ("s", "p", "d.zarr", "k")))
    places.fit(threads=1, outputs=again)
    for name, path in (("scores", again.scores), ("predictions", again.predictions)):
        assert path.read_bytes() == (places.folder / "out" / f"{name}.parquet").read_bytes()


def test_dates_have_one_target(tmp_path: Path):
    planted = plant(tmp_path, "time", seed=1)
    facts = planted.fit(ProbesConfig(mlp=True, dimensions=[2]))
    assert facts.best_layer == BEST
    assert (facts.n_train, facts.n_test) == (planted.train.sum(), (~planted.train).sum())
    scores = planted.table("scores")
    assert scores["error_km"].null_count() == scores["proximity_as_published"].null_count()
    assert scores["error_km"].null_count() == len(scores)
    mlp = scores.filter(probe="mlp")
    # The best layer and the one at 60 % of the depth.
    assert mlp["layer"].to_list() == [BEST, 3]
    assert mlp["r2"][0] > 0.9
    best = scores.filter(probe="linear", layer=BEST).row(0, named=True)
    assert best["r2"] > 0.999
    table = planted.table("predictions")
    error = (table["predicted_time"] - table["time"]).abs()
    np.testing.assert_allclose(table["error"], error)
    assert best["mae"] == pytest.approx(error.filter(table["split"] == "test").mean())
    assert table["error_km"].null_count() == ROWS


def test_activations_that_are_not_finite_are_named(tmp_path: Path):
    planted = plant(tmp_path)
    activations = planted.activations.copy()
    activations[3, np.flatnonzero(planted.train)[7], 4] = np.nan
    write_store(tmp_path / "activations.zarr", activations, "resid_post")
    with pytest.raises(StoreError, match=r"(?s)NaN.*layer 3.*row 7"):
        planted.fit()
    assert not (tmp_path / "out").exists()


def test_layer_at_a_share_of_the_depth():
    assert layer_at(tuple(range(80)), 0.6) == 48
    assert layer_at(tuple(range(30)), 0.6) == 18
    assert layer_at((0, 10, 29), 0.6) == 10
    assert layer_at((0,), 0.6) == 0


def test_counts_of_the_most_frequent_tokens():
    names = [np.array(name) for name in ([3, 3, 7], [7], [9, 3], [5], [5, 5, 5])]
    train = np.array([True, True, True, True, False])
    # 3 and 7 are in two training names each; of 5 and 9, in one, the lower comes first.
    counts = token_counts(names, train, 3)
    np.testing.assert_array_equal(counts, [[2, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 3]])
    assert token_counts(names, train, 100).shape == (5, 4)


def test_random_features_hang_on_tokens_alone():
    names = [np.array(name) for name in ([3, 8], [8], [4, 3, 8], [8])]
    found = random_features(names, 7, seed=1)
    assert found.shape == (4, 7)
    np.testing.assert_array_equal(found[1], found[3])
    # The last token's vector in the second half, the mean in the first.
    np.testing.assert_array_equal(found[:, 4:], found[[1, 1, 1, 1], 4:])
    alone = random_features([np.array([i]) for i in (3, 4, 8)], 7, seed=1)
    np.testing.assert_allclose(found[2, :4], alone[:, :4].mean(axis=0), rtol=1e-6)
    many = random_features([np.array([i]) for i in range(2000)], 50, seed=0)
    assert abs(many.mean()) < 0.02
    assert many.std() == pytest.approx(1.0, abs=0.02)


def test_names_outside_of_their_sequence():
    tokens = np.arange(6).reshape(2, 3)
    found = name_tokens(tokens, np.array([1, 0]), np.array([3, 1]))
    assert [name.tolist() for name in found] == [[1, 2], [3]]
    with pytest.raises(DataError, match="sequence 1"):
        name_tokens(tokens, np.array([1, 2]), np.array([3, 2]))
