"""Superposition of compound words: a planted case against scikit-learn and plain counting."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.probing.background import Background, read_endings
from artneuro.probing.basis_alignment import best_directions, draw_basis
from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature
from artneuro.probing.readout import read_out, score_readout, separation
from artneuro.probing.superposition import best_probes, measure_superposition
from tests.probing_example import write_store

WORDS = ("civil-war", "social-security")
TRIPLE = (4, 9, 17)  # neurons of layer 1 that fire on "social security", and on other things
BINS = 10


@dataclass(frozen=True)
class Planted:
    """Paths of a planted store of compound words, and what it holds."""

    folder: Path
    activations: np.ndarray
    kind: np.ndarray  # of each row for "social security", "" for none
    train: np.ndarray


def kinds_of(word: str, targets: list[str]) -> np.ndarray:
    x, y = word.split("-")
    ends = [t.split(" ") for t in targets]
    return np.array(
        ["XY" if e == [x, y] else "XW" if e[0] == x else "ZY" if e[1] == y else "" for e in ends]
    )


def plant(folder: Path) -> Planted:
    generator = np.random.default_rng(1)
    targets = []
    for word in WORDS:
        x, y = word.split("-")
        targets += [f"{x} {y}"] * 40 + [f"{x} law"] * 80 + [f"old {y}"] * 80
    n = len(targets)
    kind = kinds_of("social-security", targets)
    activations = 0.3 * generator.standard_normal((3, n, 30))
    for i, neuron in enumerate(TRIPLE):
        activations[1, :, neuron] += 2.0 * (kind == "XY")
        # A third of everything else each: no two of them fire together.
        activations[1, (kind == "") & (np.arange(n) % 3 == i), neuron] += 2.5
    activations[1, :, TRIPLE[1]] *= -1  # a gated neuron's sign is a convention
    activations = activations.astype(np.float32)
    train = generator.random(n) < 0.6
    write_store(folder / "store", activations)
    index = pl.Series("row", np.arange(n), dtype=pl.Int32)
    spans = {
        "sequence": index,
        "start": pl.Series(np.full(n, 5), dtype=pl.Int32),
        "end": pl.Series(np.full(n, 6), dtype=pl.Int32),
    }
    split = np.where(train, "train", "test")
    group = [f"page {i}" for i in range(n)]
    write_table(
        pl.DataFrame({"row": index, **spans, "group": group, "split": split, "token": index}),
        folder / "rows",
    )
    write_table(
        pl.DataFrame(
            {
                "sequence": index,
                "target": targets,
                "target_class": [f"{WORDS[i >= n // 2]}/XY" for i in range(n)],
            }
        ),
        folder / "sequences",
    )
    labels = [
        pl.DataFrame({**spans, "kind": kinds_of(word, targets)})
        .filter(pl.col("kind") != "")
        .with_columns(
            pl.lit("compound_words").alias("collection"),
            pl.lit(word).alias("feature"),
            (pl.col("kind") == "XY").alias("label"),
        )
        for word in WORDS
    ]
    write_table(pl.concat(labels).drop("kind"), folder / "labels")
    return Planted(folder, activations, kind, train)


def score_row(feature: str, layer: int, neurons, f1_train: float, **changes) -> dict:
    signs = [-1.0 if n == TRIPLE[1] else 1.0 for n in neurons]
    return {
        "site": "mlp_post", "collection": "compound_words", "feature": feature, "layer": layer,
        "method": "mean_difference", "k": len(neurons), "control": "none",
        "neurons": list(neurons), "coef": signs, "intercept": -3.0, "f1_train": f1_train, **changes,
    }  # fmt: skip


SCORES = [
    score_row("social-security", 0, (1, 2, 3), 1.0),  # as good on train, but closer together
    score_row("social-security", 1, TRIPLE, 1.0),
    score_row("social-security", 1, TRIPLE[::-1], 1.0, method="z_the_same_again"),
    score_row("social-security", 2, (5, 6, 7), 0.9),
    score_row("social-security", 2, (8, 6, 7), 1.0, method="random"),
    score_row("social-security", 2, (8, 9, 7), 1.0, control="shuffled_labels"),
    score_row("social-security", 2, (8, 9), 1.0),
    score_row("civil-war", 0, (1, 2, 3), 0.5),
]

CONFIG = ProbingConfig.model_validate(
    {
        "superposition": {
            "histogram_bins": BINS, "random_bases": 2, "candidates": 20, "kept": 8,
        }
    }
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Planted, dict[str, pl.DataFrame]]:
    planted = plant(tmp_path_factory.mktemp("words"))
    write_table(pl.DataFrame(SCORES), planted.folder / "scores")
    return planted, measure(planted)


def measure(planted: Planted, background=(), config=CONFIG) -> dict[str, pl.DataFrame]:
    f = planted.folder
    measure_superposition(
        config, f / "store", f / "rows", f / "labels", f / "sequences", f / "scores",
        f / "out", f / "histograms", f / "basis",
        background=background, model="m", dataset="d", threads=1,
    )  # fmt: skip
    return {name: read_table(f / name) for name in ("out", "histograms", "basis")}


def test_candidates_are_the_best_on_train_without_controls():
    found = best_probes(pl.DataFrame(SCORES), 3)
    own = found.filter(pl.col("feature") == "social-security")
    assert own.select("layer", "neurons").rows() == [(0, [1, 2, 3]), (1, [4, 9, 17])]


def test_scores_are_those_of_scikit_learn(made):
    planted, tables = made
    out = tables["out"].filter(pl.col("feature") == "social-security")
    assert set(out["layer"]) == {1}
    single = out.filter(pl.col("part") == "neuron")
    assert set(single.select("neuron", "sign").rows()) == {(4, 1), (9, -1), (17, 1)}
    sign = np.array([1.0, -1.0, 1.0])
    signed = sign * planted.activations[1][:, TRIPLE].astype(np.float64)
    values = {n: signed[:, i] for i, n in enumerate(TRIPLE)}
    values["sum"] = values["probe"] = signed.sum(axis=1)
    kind, train = planted.kind, planted.train
    labelled = kind != ""
    for row in out.iter_rows(named=True):
        value = values[row["neuron"] or row["part"]]
        negative = {
            "XW": kind == "XW", "ZY": kind == "ZY", "both": labelled & (kind != "XY"),
            "else": ~labelled,
        }[row["against"]]  # fmt: skip
        test = ~train & (negative | (kind == "XY"))
        truth = kind[test] == "XY"
        assert row["auc"] == pytest.approx(roc_auc_score(truth, value[test]), abs=1e-12)
        if row["part"] == "probe":
            called = value[test] - 3.0 > 0
        else:
            fit = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10, max_iter=10000)
            fit.fit(value[train & labelled, None], kind[train & labelled] == "XY")
            called = fit.predict(value[test, None])
        assert row["f1"] == pytest.approx(f1_score(truth, called), abs=1e-12)
        inside, outside = value[test][truth], value[test][~truth]
        apart = (inside.mean() - outside.mean()) / np.sqrt((inside.var() + outside.var()) / 2)
        assert row["separation"] == pytest.approx(apart)
        assert (row["n_positive"], row["n_negative"]) == (truth.sum(), (~truth).sum())


def test_the_sum_tells_from_everything_what_no_neuron_tells(made):
    _, tables = made
    out = tables["out"].filter(
        (pl.col("feature") == "social-security") & (pl.col("against") == "else")
    )
    auc = {(part, rank): a for part, rank, a in out.select("part", "rank", "auc").iter_rows()}
    assert max(auc["neuron", rank] for rank in (1, 2, 3)) < 0.75
    assert auc["sum", None] > 0.99


def test_histograms_count_every_test_example_of_each_kind(made):
    planted, tables = made
    own = tables["histograms"].filter(pl.col("feature") == "social-security")
    assert own["part"].to_list() == ["neuron"] * 3 + ["sum", "probe"]
    for row in own.filter(pl.col("part") == "neuron").iter_rows(named=True):
        value = row["sign"] * planted.activations[1][:, row["neuron"]].astype(np.float64)
        edges = np.array(row["edges"])
        assert len(edges) == BINS + 1
        for name in ("XY", "XW", "ZY", "else"):
            used = value[~planted.train & (planted.kind == name.replace("else", ""))]
            inner = np.clip(np.searchsorted(edges, used, side="right") - 1, 0, BINS - 1)
            counts = np.bincount(inner, minlength=BINS)
            assert row[f"counts_{name}"] == counts.tolist()


def test_what_neurons_were_chosen_is_not_changed_by_test_rows(made, tmp_path):
    planted, tables = made
    changed = planted.activations.copy()
    changed[:, ~planted.train] = np.random.default_rng(5).standard_normal(
        changed[:, ~planted.train].shape
    )
    folder = plant(tmp_path).folder
    write_store(folder / "store", changed)
    write_table(pl.DataFrame(SCORES), folder / "scores")
    other = measure(Planted(folder, changed, planted.kind, planted.train))
    columns = ["feature", "layer", "method", "part", "rank", "neuron", "sign", "f1_train"]
    for against in ("XW", "else"):
        first, second = (
            t["out"].filter(pl.col("against") == against).select(columns) for t in (tables, other)
        )
        assert first.equals(second)


def test_words_without_a_probe_and_windows_of_another_version_are_named(made, tmp_path):
    planted = plant(tmp_path)
    write_table(pl.DataFrame(SCORES[:1]), tmp_path / "scores")
    with pytest.raises(DataError, match="no probe of 3 neurons for 'civil-war'"):
        measure(planted)
    write_table(pl.DataFrame(SCORES), tmp_path / "scores")
    sequences = read_table(tmp_path / "sequences")
    write_table(sequences.with_columns(pl.col("target").shift(1, fill_value="a b")),
                tmp_path / "sequences")  # fmt: skip
    with pytest.raises(DataError, match="are not those that end with it"):
        measure(planted)


# --- pieces --------------------------------------------------------------------------------------


def test_kinds_without_examples_have_no_scores():
    config = ProbingConfig()
    train = np.array([[0.0, 0.1, 1.0, 1.1], [0.0, 0.2, 0.9, 1.0]])
    positive = np.array([False, False, True, True])
    readout = read_out(config, train, positive, np.array([2.0, -1.0]), -0.5)
    samples = {
        "XY": train[:, 2:], "XW": train[:, :2], "ZY": train[:, :0], "else": train[:, :0],
    }  # fmt: skip
    found = score_readout(readout, samples)
    assert {line["against"] for line in found} == {"XW", "both"}
    np.testing.assert_allclose(
        readout.values(train),
        np.stack([train[0], -train[1], train[0] - train[1], 2 * train[0] - train[1] - 0.5]),
    )


def test_separation_of_constants_and_of_classes_that_alone_differ():
    positive = np.array([True, True, False])
    found = separation(np.array([[1.0, 1, 1], [2, 2, 1], [1, 1, 2], [3, 1, 1]]), positive)
    assert found.tolist() == pytest.approx([0.0, np.inf, -np.inf, np.sqrt(2)])


def background(folder: Path) -> Background:
    """Single tokens of made-up texts: what each ends is told by its characters."""
    texts = ["The  Social\nSecurity act", "social security", "a civil war", "Social security"]
    starts = [100, 0, 7, 0]
    # Tokens are words: the characters at which each ends, of the whole document.
    ends = [
        [start + i for i in range(1, len(text) + 1)
         if i == len(text) or (text[i].isspace() and not text[i - 1].isspace())]
        for text, start in zip(texts, starts, strict=True)
    ]  # fmt: skip
    width = max(map(len, ends))
    table = pl.Series([[*e, *([-1] * (width - len(e)))] for e in ends])
    write_table(pl.DataFrame({"ends": table.cast(pl.Array(pl.Int32, width))}), folder / "tokens")
    write_table(
        pl.DataFrame({"sequence": [0, 1, 2, 3], "char_start": starts, "text": texts},
                     schema_overrides={"sequence": pl.Int32, "char_start": pl.Int32}),
        folder / "sequences",
    )  # fmt: skip
    spans = [(s, t, t + 1) for s, e in enumerate(ends) for t in range(len(e))] + [(2, 0, 2)]
    rows = pl.DataFrame(spans, schema=["sequence", "start", "end"], orient="row")
    rows = rows.cast(pl.Int32).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int32).alias("row"),
        pl.lit("test").alias("split"),
        ("g" + pl.col("sequence").cast(pl.String())).alias("group"),
    )
    write_table(rows, folder / "rows")
    generator = np.random.default_rng(0)
    write_store(
        folder / "store", generator.standard_normal((3, rows.height, 30)).astype(np.float32)
    )
    return Background(*(folder / name for name in ("store", "rows", "sequences", "tokens")))


def test_background_is_single_tokens_that_do_not_end_the_word(tmp_path):
    endings = read_endings(background(tmp_path), {"g3"})
    assert endings.texts.to_list() == [
        "the", "the social", "the social security", "the social security act",
        "social", "social security", "a", "a civil", "a civil war",
    ]  # fmt: skip
    assert np.flatnonzero(~endings.without("social", "security")).tolist() == [2, 5]
    assert np.flatnonzero(~endings.without("civil", "war")).tolist() == [8]
    assert endings.read("mlp_post", 1).shape == (9, 30)
    with pytest.raises(DataError, match="no row is a single token"):
        read_endings(background(tmp_path), {"g0", "g1", "g2", "g3"})


def test_background_counts_as_everything_else(made, tmp_path):
    planted, tables = made
    with_it = measure(planted, [background(tmp_path)])["out"]
    for word, extra in (("social-security", 11 - 3), ("civil-war", 11 - 1)):
        first, second = (
            table.filter((pl.col("feature") == word) & (pl.col("against") == "else"))
            for table in (tables["out"], with_it)
        )
        assert set(second["n_negative"] - first["n_negative"]) == {extra}


def test_bases_are_compared_in_the_layer_of_the_word(made):
    _, tables = made
    basis = tables["basis"].filter(pl.col("feature") == "social-security")
    assert set(basis["layer"]) == {1}
    assert basis.group_by("basis", "draw").len().sort("draw").rows() == [
        ("neurons", 0, 8), ("random", 1, 8), ("random", 2, 8)
    ]  # fmt: skip


def test_a_planted_neuron_is_the_best_direction_until_it_is_rotated():
    generator = np.random.default_rng(3)
    positive = np.arange(300) % 4 == 0
    columns = 0.5 * generator.standard_normal((120, 300))
    columns[70] += 2.5 * positive
    index = np.arange(300)
    train, test = index[:200], index[200:]
    feature = Feature("c", "f", train, test, positive[:200], positive[200:], train, test)
    found = best_directions(CONFIG, columns, feature)
    assert found["direction"][0] == 70
    fit = LogisticRegression(class_weight="balanced", tol=1e-10, max_iter=10000)
    fit.fit(columns[70, :200, None], positive[:200])
    expected = f1_score(positive[200:], fit.predict(columns[70, 200:, None]))
    assert found["f1"][0] == pytest.approx(expected)
    assert expected > 0.9
    rotations = [draw_basis(120, seed=7, draw=draw) for draw in range(4)]
    np.testing.assert_allclose(rotations[0] @ rotations[0].T, np.eye(120), atol=1e-12)
    rotated = [best_directions(CONFIG, r @ columns, feature)["f1"][0] for r in rotations]
    assert max(rotated) < 0.8
