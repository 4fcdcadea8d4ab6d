"""Properties of universal neurons, by hand and by scipy, and the page about them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import percentileofscore

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.models.training import CURVE_SCHEMA
from artneuro.report.universality import build_universality_page, verdict
from artneuro.universality.explanation_schemas import STATISTICS_SCHEMA
from artneuro.universality.match_schemas import MATCHES_SCHEMA, NEURONS_SCHEMA
from artneuro.universality.properties import (
    PROPERTIES,
    layer_matches,
    neuron_properties,
    percentiles_within,
    share_above,
)
from artneuro.weights.effects import EFFECTS_SCHEMA

LAYERS, WIDTH, OTHERS = 3, 30, ("b", "c")


def random_rows(schema: pl.Schema, n: int, draw: int, **columns) -> pl.DataFrame:
    """A table whose numbers are random, and text and lists empty, but for `columns`."""
    rng = np.random.default_rng(draw)
    data = {}
    for name, dtype in schema.items():
        if name in columns:
            data[name] = pl.Series(name, columns[name], dtype=dtype)
        elif dtype.is_float():
            data[name] = pl.Series(name, rng.random(n), dtype=dtype)
        elif dtype.is_integer():
            data[name] = pl.Series(name, rng.integers(0, WIDTH, n), dtype=dtype)
        else:
            data[name] = pl.Series(name, [None] * n, dtype=dtype)
    return pl.DataFrame(data)


def keys() -> dict[str, np.ndarray]:
    return {
        "layer": np.repeat(np.arange(LAYERS), WIDTH), "neuron": np.tile(np.arange(WIDTH), LAYERS),
    }  # fmt: skip


def group_tables(group: str = "tiny", model: str = "a"):
    n = LAYERS * WIDTH
    rng = np.random.default_rng(3)
    excess = rng.random(n) * 0.8
    common = {"group": [group] * n, "model": [model] * n, **keys()}
    neurons = random_rows(
        NEURONS_SCHEMA, n, 0, **common, excess_correlation=excess, is_universal=excess > 0.5,
        is_constant=[i == 4 for i in range(n)], n_tokens=[12345] * n,
    )  # fmt: skip
    matches = pl.concat(
        random_rows(
            MATCHES_SCHEMA, n, 5 + i, **common, other=[other] * n, rank=[1] * n,
            match_layer=rng.integers(0, LAYERS, n),
        )
        for i, other in enumerate(OTHERS)
    )  # fmt: skip
    statistics = random_rows(
        STATISTICS_SCHEMA, n, 1, model=[model] * n, text=["prose"] * n, **keys()
    )
    effects = random_rows(EFFECTS_SCHEMA, n, 2, model=[model] * n, **keys())
    return neurons, matches, statistics, effects


def curve(model: str, seed: int) -> pl.DataFrame:
    steps = np.arange(0, 50, 10)
    return random_rows(
        CURVE_SCHEMA, len(steps), seed, model=[model] * 5, recipe=["tiny"] * 5, seed=[seed] * 5,
        step=steps, tokens=100 * steps, loss=[None, 3.0, 2.0, 1.5, 1.25],
        held_out_loss=[5.0, 3.0, 2.5, 2.25, 2.0], unigram_entropy=[3.5] * 5,
        unigram_cross_entropy=[3.6] * 5,
    )  # fmt: skip


# Percentiles


def test_percentiles_are_those_of_scipy_within_each_layer():
    rng = np.random.default_rng(0)
    values = rng.integers(0, 6, 60).astype(float)  # many ties
    groups = rng.integers(0, 3, 60)
    found = percentiles_within(values, groups)
    for value, group, percentile in zip(values, groups, found, strict=True):
        wanted = percentileofscore(values[groups == group], value, kind="mean")
        assert 100 * percentile == pytest.approx(wanted)


def test_percentiles_by_hand():
    values = np.array([3.0, 1.0, 2.0, 2.0, np.nan, 7.0, 7.0, np.nan])
    layers = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    found = percentiles_within(values, layers)
    expected = [0.875, 0.125, 0.5, 0.5, np.nan, 0.5, 0.5, np.nan]
    np.testing.assert_allclose(found, expected)


def test_share_above_counts_nan_among_all():
    values = np.array([0.1, 0.5, 0.5, 0.9, np.nan])
    found = share_above(values, np.array([0.0, 0.1, 0.5, 0.9]))
    np.testing.assert_allclose(found, [0.8, 0.6, 0.2, 0.0])


def test_layer_matches_by_hand():
    rows = [
        # two of three neurons of layer 0 have their match in layer 0 of b, all of them in 1 of c
        ("b", 0, 0, 1, 0), ("b", 0, 1, 1, 0), ("b", 0, 2, 1, 1), ("b", 1, 0, 1, 1),
        ("c", 0, 0, 1, 1), ("c", 0, 1, 1, 1), ("c", 0, 2, 1, 1), ("c", 1, 0, 1, 0),
        ("b", 1, 0, 2, 0),  # not the best
    ]  # fmt: skip
    schema = ["other", "layer", "neuron", "rank", "match_layer"]
    table = pl.DataFrame(rows, schema=schema, orient="row").with_columns(correlation=0.5)
    found = layer_matches(table, 2, 2)
    np.testing.assert_allclose(found, [[1 / 3, 2 / 3], [0.5, 0.5]])


def test_properties_join_by_neuron_whatever_the_order():
    neurons, _, statistics, effects = group_tables()
    found = neuron_properties(
        neurons, statistics.sample(fraction=1, shuffle=True, seed=1), effects.reverse()
    )
    assert set(PROPERTIES) <= set(found.columns)
    assert found["weight_penalty"].equals(effects["weight_penalty"])
    skew = statistics["skew"].to_numpy()
    of_layer = skew[:WIDTH][np.arange(WIDTH) != 4]  # the constant neuron has no place
    assert found["skew_percentile"][4] is None
    assert found["skew"][4] is None
    for i in (0, 7, 29):
        wanted = percentileofscore(of_layer, skew[i], kind="mean")
        assert 100 * found["skew_percentile"][i] == pytest.approx(wanted)
    alone = neuron_properties(neurons, None, effects)
    assert "skew" not in alone.columns
    assert alone["cos_in_out_percentile"].equals(found["cos_in_out_percentile"])


def test_tables_that_do_not_fit_are_errors():
    neurons, _, statistics, effects = group_tables()
    with pytest.raises(DataError, match="lacks 1 of 90"):
        neuron_properties(neurons, statistics.head(-1), None)
    with pytest.raises(DataError, match="effects has neurons twice"):
        neuron_properties(neurons, None, pl.concat([effects, effects]))


# The page


def write(folder, **tables) -> dict[str, list]:
    paths: dict[str, list] = {}
    for name, found in tables.items():
        for i, table in enumerate(found):
            path = folder / f"{name}{i}.parquet"
            write_table(table, path)
            paths.setdefault(name, []).append(path)
    return paths


def test_the_page_says_what_the_tables_say(tmp_path):
    neurons, matches, statistics, effects = group_tables()
    second = group_tables("small", "x")
    paths = write(
        tmp_path, neurons=[neurons, second[0]], matches=[matches, second[1]],
        statistics=[second[2], statistics], effects=[effects],
        curves=[curve("a", 0), curve("b", 1)],
    )  # fmt: skip
    page = tmp_path / "universality.html"
    build_universality_page(**paths, output=page, threshold=0.5)
    html = page.read_text()
    n = int((neurons["excess_correlation"] > 0.5).sum())
    assert f"tiny: {n} of the 90 neurons of a (1 of them constant)" in html
    assert f"({100 * n / 90:.2f} %)" in html
    assert html.count("<h2>") == 7
    assert "12\u202f345 tokens" in html
    assert ">1.500<" in html  # 3.5 - 2.0 nats below the unigram entropy
    assert "vocabulary kurtosis" in html
    assert "http://" not in html.replace("http://www.w3.org", "")


def test_a_group_alone_makes_a_page(tmp_path):
    neurons, matches, _, _ = group_tables()
    nothing = neurons.with_columns(
        pl.lit(None, dtype=pl.Float64).alias("mean_max_baseline"),
        pl.lit(None, dtype=pl.Float64).alias("excess_correlation"),
        pl.lit(None, dtype=pl.Boolean).alias("is_universal"),
    )
    for i, table in enumerate((neurons, nothing)):
        paths = write(tmp_path, neurons=[table], matches=[matches])
        page = tmp_path / f"page{i}.html"
        build_universality_page(**paths, output=page, threshold=0.5)
        assert page.read_text().count("<h2>") == 2
    assert "without a baseline" in page.read_text()
    with pytest.raises(DataError, match="no neurons to show"):
        build_universality_page(neurons=[], matches=[], output=page, threshold=0.5)


def test_the_verdict_counts_all_neurons():
    neurons, *_ = group_tables()
    none = neurons.with_columns(pl.lit(False).alias("is_universal"))
    assert "tiny: 0 of the 90 neurons" in verdict({"tiny": none}, 0.5)
