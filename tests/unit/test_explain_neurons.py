"""A model's neurons explained on a text: against activations read one by one, and pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy import stats
from sklearn.metrics import mutual_info_score

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets.text_config import TextConfig
from artneuro.datasets.texts import build_text
from artneuro.models.hooks import capture
from artneuro.models.loading import load_model
from artneuro.universality.examples import choose_neurons, token_classes, trace_examples
from artneuro.universality.explain import explain_neurons, read_labelled_text, small_embeddings
from artneuro.universality.explanation_schemas import (
    EXAMPLES_SCHEMA,
    EXPLANATIONS_SCHEMA,
    FAMILIES_SCHEMA,
    GROUP_FAMILIES_SCHEMA,
    POSITIONS_SCHEMA,
    STATISTICS_SCHEMA,
)
from artneuro.universality.explanations_config import ExplanationsConfig, FamilyThresholds
from artneuro.universality.families import (
    assign_families,
    find_families,
    kind_of,
    name_universal_neurons,
)
from artneuro.universality.token_labels import label_text
from tests.tiny import SENTENCES
from tests.tiny_models import make_model

CONFIG = ExplanationsConfig(
    min_positives=5,
    unigrams={"min_variants": 1, "min_share": 0.005},
    topics={"components": 2, "share": 0.3},
    top=3,
    examples={"neurons": 2, "bins": 10},
    batch_tokens=64,
)
SCHEMAS = {
    "statistics": STATISTICS_SCHEMA,
    "explanations": EXPLANATIONS_SCHEMA,
    "positions": POSITIONS_SCHEMA,
}


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def explained(request, tmp_path_factory):
    """A model and a text on disk, and the tables that are made of them."""
    folder = tmp_path_factory.mktemp(request.param)
    weights = make_model(request.param, folder / "model")
    texts = [
        f"{a} {b}\n{c}"
        for i, (a, b, c) in enumerate(zip(SENTENCES, SENTENCES[1:], SENTENCES[2:], strict=False))
        for _ in range(i + 1)
    ]
    table = pl.DataFrame(
        {
            "document": [f"d{i}" for i in range(len(texts))],
            "corpus": "c",
            "subset": [f"s{i % 3}" for i in range(len(texts))],
            "language": "English",
            "group": [f"g{i}" for i in range(len(texts))],
            "text": [f"{text} {i}." for i, text in enumerate(texts)],
        }
    )
    write_table(table, folder / "documents.parquet")
    paths = {"tokens": folder / "tokens.parquet", "sequences": folder / "sequences.parquet"}
    build_text(TextConfig(corpus="c", n_ctx=24), weights, folder / "documents.parquet", **paths)
    arguments = {"weights": weights, "tokenizer": weights, **paths}
    outputs = {name: folder / f"{name}.parquet" for name in SCHEMAS}
    facts = explain_neurons(
        CONFIG, **arguments, outputs=outputs, model="m", text="t", device="cpu", threads=1
    )
    return folder, arguments, outputs, facts


def activations(weights: Path, text) -> dict[tuple[str, int], np.ndarray]:
    """Activations of the included tokens, one sequence at a time, (tokens, neurons)."""
    lm = load_model(weights, device="cpu")
    found: dict[tuple[str, int], list[np.ndarray]] = {}
    for row, n in enumerate(text.dataset.sequences["n_tokens"]):
        ids = torch.from_numpy(text.dataset.tokens[row : row + 1, :n].astype(np.int64))
        read = capture(lm.model, lm.architecture, ids, ["mlp_pre", "mlp_post"], range(3))
        for key, value in read.items():
            found.setdefault(key, []).append(value[0].numpy()[text.included[row, :n]])
    return {key: np.concatenate(parts).astype(np.float64) for key, parts in found.items()}


def test_tables_agree_with_activations_read_one_by_one(explained):
    _, arguments, outputs, facts = explained
    lm = load_model(arguments["weights"], device="cpu")
    text = read_labelled_text(
        *(arguments[name] for name in ("tokenizer", "tokens", "sequences")),
        ("document_token", "newline"), None, None,
    )  # fmt: skip
    assert (text.text & ~text.included).any()
    assert (text.dataset.sequences["n_tokens"] < 24).any()
    labels = label_text(text, CONFIG, small_embeddings(lm, CONFIG.small_norm))
    assert facts.n_tokens == text.included.sum()
    assert facts.n_explanations == len(labels.explanations) > 100
    values = activations(arguments["weights"], text)
    position = np.nonzero(text.included)[1]

    tables = {name: read_table(path) for name, path in outputs.items()}
    for name, schema in SCHEMAS.items():
        assert tables[name].schema == schema
    statistics = tables["statistics"]
    assert (statistics["n_tokens"] == len(position)).all()
    for layer in range(3):
        pre, post = values["mlp_pre", layer], values["mlp_post", layer]
        own = statistics.filter(pl.col("layer") == layer).sort("neuron")
        expected = {
            "mean": pre.mean(axis=0),
            "variance": pre.var(axis=0, ddof=1),
            "skew": stats.skew(pre),
            "kurtosis": stats.kurtosis(pre, fisher=False),
            "activation_frequency": (pre > 0).mean(axis=0),
            "position_information": [mutual_info_score(position, c > 0) for c in pre.T],
        }
        for name, column in expected.items():
            np.testing.assert_allclose(own[name], column, rtol=1e-4, atol=1e-5, err_msg=name)
        by_position = pd.DataFrame(post).groupby(position).transform("mean")
        share = ((by_position - post.mean(axis=0)) ** 2).sum() / (
            (post - post.mean(axis=0)) ** 2
        ).sum(axis=0)
        np.testing.assert_allclose(own["position_share"], share, rtol=1e-4)

        # Equation 3.4 by pandas, an explanation at a time.
        frame = pd.DataFrame(post)
        reductions = {}
        for i, explanation in enumerate(labels.explanations):
            holds = labels.of(i)[text.included]
            beta = holds.mean()
            variances = frame.groupby(holds).var()
            within = (1 - beta) * variances.loc[False] + beta * variances.loc[True]
            reductions[explanation.title] = (1 - within / frame.var()).to_numpy()
        real = [
            e.title for e in labels.explanations if kind_of(e.category, e.previous) != "control"
        ]
        best = np.stack([reductions[title] for title in real])
        told = tables["explanations"].filter(pl.col("layer") == layer)
        assert told["neuron"].n_unique() == post.shape[1]
        for row in told.iter_rows(named=True):
            prefix = "previous: " if row["previous_token"] else ""
            title = f"{prefix}{row['category']}/{row['explanation']}"
            expected_reduction = reductions[title][row["neuron"]]
            assert row["variance_reduction"] == pytest.approx(expected_reduction, abs=1e-5)
        number = {e.title: i for i, e in enumerate(labels.explanations)}
        for row in told.sample(40, seed=0).iter_rows(named=True):
            prefix = "previous: " if row["previous_token"] else ""
            title = f"{prefix}{row['category']}/{row['explanation']}"
            holds = labels.of(number[title])[text.included]
            column = post[:, row["neuron"]]
            assert row["n_positive"] == holds.sum()
            assert row["mean_in"] == pytest.approx(column[holds].mean(), abs=1e-5)
            assert row["mean_out"] == pytest.approx(column[~holds].mean(), abs=1e-5)
        # The best are told, in order, and no other is better.
        top = told.filter(pl.col("rank") <= 3, pl.col("category") != "shuffled documents")
        for (neuron,), rows in top.group_by("neuron"):
            order = np.sort(best[:, neuron])[::-1]
            np.testing.assert_allclose(
                rows.sort("rank")["variance_reduction"][:3], order[:3], atol=1e-5
            )


def test_curves_over_positions_are_means_of_the_tokens_there(explained):
    _, arguments, outputs, _ = explained
    text = read_labelled_text(
        *(arguments[name] for name in ("tokenizer", "tokens", "sequences")),
        ("document_token", "newline"), None, None,
    )  # fmt: skip
    values = activations(arguments["weights"], text)
    position = np.nonzero(text.included)[1]
    curves = read_table(outputs["positions"])
    assert len(curves) == max(1, round(0.02 * 3 * values["mlp_pre", 0].shape[1]))
    for row in curves.iter_rows(named=True):
        column = pd.Series(values["mlp_post", row["layer"]][:, row["neuron"]])
        expected = column.groupby(position).agg(["mean", "std", "size"])
        expected = expected[expected["size"] > 1]
        assert row["positions"] == expected.index.tolist()
        np.testing.assert_allclose(row["mean"], expected["mean"], atol=1e-5)
        np.testing.assert_allclose(row["std"], expected["std"], atol=1e-5)


def test_the_size_of_batches_does_not_matter_and_the_same_run_gives_the_same_bytes(
    explained, tmp_path
):
    _, arguments, outputs, _ = explained
    for size in (24, 64):
        again = {name: tmp_path / f"{size}-{name}.parquet" for name in SCHEMAS}
        explain_neurons(
            CONFIG.model_copy(update={"batch_tokens": size}), **arguments, outputs=again,
            model="m", text="t", device="cpu", threads=1,
        )  # fmt: skip
        for name, path in outputs.items():
            if size == CONFIG.batch_tokens:
                assert path.read_bytes() == again[name].read_bytes()
        first, second = read_table(outputs["statistics"]), read_table(again["statistics"])
        for column in ("mean", "variance", "kurtosis", "position_information"):
            np.testing.assert_allclose(first[column], second[column], rtol=1e-4, atol=1e-5)


def test_only_the_first_tokens_are_read_where_there_is_a_limit(explained, tmp_path):
    _, arguments, _, facts = explained
    outputs = {name: tmp_path / f"{name}.parquet" for name in SCHEMAS}
    found = explain_neurons(
        CONFIG, **arguments, outputs=outputs, model="m", text="t", device="cpu", max_tokens=120
    )
    assert 60 < found.n_tokens <= 120 < facts.n_tokens


def test_sequences_longer_than_the_context_are_refused(explained, tmp_path):
    folder, arguments, outputs, _ = explained
    paths = {"tokens": tmp_path / "t.parquet", "sequences": tmp_path / "s.parquet"}
    build_text(
        TextConfig(corpus="c", n_ctx=80), arguments["weights"], folder / "documents.parquet",
        **paths,
    )  # fmt: skip
    with pytest.raises(DataError, match="longer than the model's context"):
        explain_neurons(
            CONFIG, **{**arguments, **paths}, outputs=outputs, model="m", text="t", device="cpu"
        )


def test_families_and_examples_follow_from_the_tables(explained):
    folder, arguments, outputs, facts = explained
    families = folder / "families.parquet"
    thresholds = FamilyThresholds(
        unigram=0.05, alphabet=0.05, previous_token=0.05, syntax=0.05, semantic=0.02,
        vocabulary=0.1,
    )  # fmt: skip
    counts = assign_families(thresholds, outputs["statistics"], outputs["explanations"], families)
    table = read_table(families)
    assert table.schema == FAMILIES_SCHEMA
    assert sum(counts.values()) == len(table) == facts.n_neurons
    assert not set(table["category"]) & {"shuffled documents"}

    universal = pl.DataFrame(
        {
            "group": "g", "model": "m", "layer": [0, 2], "neuron": [3, 5],
            "mean_max_correlation": [0.9, 0.2], "excess_correlation": [0.7, 0.1],
            "is_universal": [True, False],
        },
        schema_overrides={"layer": pl.Int16, "neuron": pl.Int32},
    )  # fmt: skip
    write_table(universal, folder / "neurons.parquet")
    name_universal_neurons(folder / "neurons.parquet", families, folder / "group.parquet")
    named = read_table(folder / "group.parquet")
    assert named.schema == GROUP_FAMILIES_SCHEMA
    assert named.select("layer", "neuron", "n_family").rows() == [(0, 3, 1)]

    examples = folder / "examples.parquet"
    found = trace_examples(
        CONFIG, **arguments, families=families, universal=[folder / "group.parquet"],
        output=examples, example_tokens=150, device="cpu", threads=1,
    )  # fmt: skip
    drawn = read_table(examples)
    assert drawn.schema == EXAMPLES_SCHEMA
    assert found.n_tokens <= 150
    for _, rows in drawn.group_by("layer", "neuron"):
        assert rows["n"].sum() == found.n_tokens
        for row in rows.iter_rows(named=True):
            assert sum(row["counts"]) == row["n"]
            assert len(row["edges"]) == 11
    n_chosen = sum(min(2, n) for family, n in counts.items() if family != "none")
    assert drawn.select("layer", "neuron").n_unique() == n_chosen == found.n_neurons


# Families of planted tables


def planted_families(rows: list[tuple], kurtosis: float = 5.0, information: float = 0.0):
    """The family of one neuron with explanations (category, name, previous, reduction)."""
    names = {"model": "m", "text": "t", "layer": 0, "neuron": 0}
    statistics = pl.DataFrame(
        [{**names, "n_tokens": 10, "mean": 0.0, "variance": 1.0, "skew": 0.0, "kurtosis": kurtosis,
          "activation_frequency": 0.5, "position_information": information, "position_share": 0.1,
          "is_constant": False}], schema=STATISTICS_SCHEMA,
    )  # fmt: skip
    explanations = pl.DataFrame(
        [{**names, "rank": i + 1, "explanation": name, "category": category,
          "previous_token": previous, "variance_reduction": value, "n_positive": 5,
          "mean_in": 1.0, "mean_out": 0.0} for i, (category, name, previous, value)
         in enumerate(rows)], schema=EXPLANATIONS_SCHEMA,
    )  # fmt: skip
    (row,) = find_families(statistics, explanations, FamilyThresholds()).iter_rows(named=True)
    return row["family"], row["explanation"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("unigram", "the", False, 0.6), ("type", "lower case", False, 0.55)], ("unigram", "the")),
        # Below its own threshold it is no family, whatever is above another's.
        ([("unigram", "the", False, 0.49), ("part of speech", "DET", False, 0.35)],
         ("syntax", "DET")),
        ([("letter", "a", False, 0.4), ("start", "a", False, 0.35)], ("alphabet", "a")),
        ([("unigram", "a (whole word)", False, 0.7), ("letter", "a", False, 0.7)],
         ("unigram", "a (whole word)")),
        ([("symbol", "contains ,", True, 0.5), ("subset", "s", False, 0.3)],
         ("previous_token", "contains ,")),
        ([("topic", "1 high", False, 0.21), ("shuffled documents", "1 high", False, 0.9)],
         ("semantic", "1 high")),
        ([("number", "year", False, 0.31)], ("vocabulary", "year")),
        ([("number", "year", False, 0.29), ("entity", "DATE", False, 0.2)], ("none", "year")),
        ([], ("none", None)),
    ],
)  # fmt: skip
def test_the_family_is_that_of_the_best_explanation_above_its_threshold(rows, expected):
    assert planted_families(rows) == expected


def test_position_neurons_have_information_and_no_heavy_tails():
    assert planted_families([], kurtosis=1.5, information=0.3)[0] == "position"
    assert planted_families([], kurtosis=2.5, information=0.3)[0] == "none"
    assert planted_families([], kurtosis=1.5, information=0.05)[0] == "none"
    strong = [("unigram", "the", False, 0.9)]
    assert planted_families(strong, kurtosis=1.5, information=0.3)[0] == "unigram"


def test_examples_are_of_universal_neurons_first():
    families = pl.DataFrame(
        {
            "model": "m", "layer": [0, 0, 1, 1], "neuron": [0, 1, 0, 1],
            "family": ["syntax", "syntax", "syntax", "none"],
            "variance_reduction": [0.9, 0.5, 0.7, 0.1],
            "position_information": [0.0] * 4,
        }
    )  # fmt: skip
    universal = families.select("model", "layer", "neuron").filter(pl.col("neuron") == 1)
    found = choose_neurons(families, [universal], 2)
    assert found.select("layer", "neuron", "is_universal").rows() == [(0, 1, True), (0, 0, False)]


def test_classes_of_tokens_share_out_all_tokens():
    forms = np.array(["the", "t", "then", ","], dtype=object)
    ids = np.array([0, 0, 0, 1, 2, 3])
    places = np.array([0, 1, 2, 0, 0, -1])
    holds = np.array([True, False, False, False, False, False])
    row = {"category": "unigram", "explanation": "the (whole word)", "previous_token": False}
    found = token_classes(row, ids, forms, places, holds)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items()} == {
        "whole word": [0], "first token": [1], "later token": [2], "other tokens": [3, 4, 5],
    }  # fmt: skip
    row = {"category": "letter", "explanation": "t", "previous_token": False}
    found = token_classes(row, ids, forms, places, ids == 1)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items()} == {
        "letter": [3], "begins with it": [0, 1, 2, 4], "other tokens": [5],
    }  # fmt: skip
    row = {"category": "unigram", "explanation": "the", "previous_token": True}
    found = token_classes(row, ids, forms, places, holds)
    assert list(found) == ["in class", "other tokens"]
    assert list(token_classes(row, ids, forms, places, None)) == ["all tokens"]
