"""Static figures: what they draw, and that the same table gives the same bytes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import polars as pl
import pytest
from report_example import make_neurons, make_scores, make_transfer

from artneuro.core.artifacts import write_table
from artneuro.core.errors import DataError
from artneuro.report import choose, figures, style


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tables")
    scores = make_scores({"language": ["German", "French_and_more"]}, layers=3, ks=(1, 2))
    made = {
        "scores": scores,
        "best_neurons": make_neurons(scores),
        "transfer": make_transfer(scores),
    }
    for name, table in made.items():
        write_table(table, root / f"{name}.parquet")
    return {name: root / f"{name}.parquet" for name in made}


PLOTS = [
    (figures.plot_f1_by_layer, "scores"),
    (figures.plot_f1_by_k, "scores"),
    (figures.plot_best_neurons, "best_neurons"),
    (figures.plot_transfer, "transfer"),
]


@pytest.mark.parametrize(("plot", "table"), PLOTS)
def test_same_table_same_bytes_whatever_the_users_style(
    plot, table: str, tables: dict[str, Path], tmp_path: Path
) -> None:
    plot(tables[table], tmp_path / "a.svg")
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.grid": True}):
        plot(tables[table], tmp_path / "b.svg")
        assert mpl.rcParams["font.size"] == 20
    text = (tmp_path / "a.svg").read_bytes()
    assert text == (tmp_path / "b.svg").read_bytes()
    assert b"<dc:date>" not in text


@pytest.mark.parametrize("suffix", ["png", "pdf"])
def test_other_formats_are_reproducible_too(
    suffix: str, tables: dict[str, Path], tmp_path: Path
) -> None:
    for name in "ab":
        figures.plot_f1_by_k(tables["scores"], tmp_path / f"{name}.{suffix}")
    assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


@pytest.mark.parametrize(("plot", "table"), PLOTS)
def test_an_empty_table_is_an_error_and_leaves_no_file(
    plot, table: str, tables: dict[str, Path], tmp_path: Path
) -> None:
    empty = tmp_path / "empty.parquet"
    write_table(pl.read_parquet(tables[table]).head(0), empty)
    with pytest.raises(DataError, match="nothing to plot"):
        plot(empty, tmp_path / "out.svg")
    assert [p.name for p in tmp_path.iterdir()] == ["empty.parquet"]


def test_an_unknown_format_is_named(tables: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'bmp'"):
        figures.plot_f1_by_k(tables["scores"], tmp_path / "out.bmp")


def test_layer_grid_holds_each_score_once_and_marks_the_train_choice() -> None:
    rows = [
        ("a", 0, 0.9, 0.3), ("a", 2, 0.8, 0.6),
        ("b", 0, 0.1, 0.9), ("b", 2, 0.7, 0.8),
    ]  # fmt: skip
    best = pl.DataFrame(
        [
            {
                "model": "m", "dataset": "d", "site": "s", "collection": "c", "feature": feature,
                "layer": layer, "method": "x", "k": 1, "f1_train": train, "f1": test,
            }
            for feature, layer, train, test in rows
        ]
    )  # fmt: skip
    features, layers, grid, chosen = figures.layer_grid(best)
    # b's chosen neuron has the higher test F1, so it comes first.
    assert (features, layers, chosen) == (["b", "a"], [0, 2], [2, 0])
    np.testing.assert_array_equal(grid, [[0.9, 0.8], [0.3, 0.6]])


def test_missing_cells_are_nan() -> None:
    scores = make_scores({"c": ["a", "b"]}, layers=2, ks=(1,))
    best = choose.best_by_layer(scores).filter(
        ~((pl.col("feature") == "a") & (pl.col("layer") == 1))
    )
    features, _, grid, _ = figures.layer_grid(best)
    assert np.argwhere(np.isnan(grid)).tolist() == [[features.index("a"), 1]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (190, "3 min 10 s"),
     (7500, "2 h 5 min"), (None, "–")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert style.duration(seconds) == text


def test_numbers_have_sensible_digits() -> None:
    assert style.score(0.8765) == "0.88"
    assert style.score(-0.031) == "−0.03"
    assert style.score(None) == style.score(float("nan")) == "–"
    assert style.count(134515008) == "135 million"
    assert style.count(49152) == "49\u202f152"
    assert style.count(6.9e9) == "6.9 billion"
    assert style.ticks_of_k(range(1, 9)) == list(range(1, 9))
    assert style.ticks_of_k(range(1, 65)) == [1, 2, 4, 8, 16, 32, 64]
    assert style.scale_start(pl.Series([0.87, 0.95])) == 0.5
    assert style.scale_start(pl.Series([0.37, None])) == 0.3
