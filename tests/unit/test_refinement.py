"""The closer look at neurons: statistics of tokens, truth of every token, tables and page."""

from __future__ import annotations

import itertools

import lxml.html
import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError
from sklearn.metrics import precision_score, recall_score
from transformers import AutoModelForCausalLM

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.probing.config import ProbingConfig
from artneuro.probing.refinement import refine_neurons
from artneuro.probing.refinement_tables import SCHEMAS
from artneuro.probing.token_statistics import (
    balanced_precision,
    count_firing,
    mean_by_token,
    sample_by_quantile,
    sequences_to_trace,
)
from artneuro.report.config import ReportConfig
from artneuro.report.refinement import TABLES, build_refinement_page, read_counts
from artneuro.report.refinement_figures import visible
from tests.tiny import SENTENCES
from tests.tiny_models import make_model

# --- statistics ----------------------------------------------------------------------------------


def test_means_by_token_and_their_errors():
    generator = np.random.default_rng(0)
    ids = generator.integers(3, 9, 200)
    ids[0] = 77
    # A large mean, which sums of squares in one pass would drown in.
    values = (1e4 + generator.standard_normal((200, 2))).astype(np.float32)
    found = mean_by_token(ids, values)
    for place, token in enumerate(found.ids):
        mine = values[ids == token].astype(np.float64)
        assert found.counts[place] == len(mine)
        np.testing.assert_allclose(found.means[place], mine.mean(axis=0), rtol=1e-12)
        if len(mine) > 1:
            error = mine.std(axis=0, ddof=1) / np.sqrt(len(mine))
            np.testing.assert_allclose(found.errors[place], error, rtol=1e-6)
        else:
            assert np.isnan(found.errors[place]).all()


def test_firing_is_counted_by_class():
    values = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 4.0])
    truth = np.array([0, 1, 1, -1, 0, 1], dtype=np.int8)
    found = count_firing(values, truth, 1.0, 4)
    assert found.edges.tolist() == [0, 1, 2, 3, 4]
    assert found.counts_in.tolist() == [0, 1, 1, 1]
    assert found.counts_out.tolist() == [1, 0, 0, 1]
    assert found.counts_unknown.tolist() == [0, 0, 0, 1]
    # The threshold itself does not fire.
    assert (found.fires_in, found.fires_out, found.fires_unknown) == (2, 1, 1)
    dead = count_firing(np.zeros(3), np.array([1, 0, 0]), float("inf"), 4)
    assert (dead.counts_in.sum(), dead.counts_out.sum(), dead.fires_in) == (1, 2, 0)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_balanced_precision_is_that_of_as_many_negatives(share):
    generator = np.random.default_rng(3)
    truth = np.repeat([True, False], [int(1000 * share), 1000 - int(1000 * share)])
    called = np.where(truth, generator.random(1000) < 0.9, generator.random(1000) < 0.2)
    precision, recall = precision_score(truth, called), recall_score(truth, called)
    weights = np.where(truth, 1 / truth.sum(), 1 / (~truth).sum())
    expected = precision_score(truth, called, sample_weight=weights)
    assert balanced_precision(precision, recall, share) == pytest.approx(expected)
    assert balanced_precision(0.0, 0.0, share) == 0.0


def test_examples_are_drawn_from_every_quantile():
    values = np.random.default_rng(1).permutation(1000).astype(float)
    quantiles = [0.0, 0.5, 0.9, 0.999, 1.0]
    found = sample_by_quantile(values, quantiles, 4, np.random.default_rng(2))
    assert [len(places) for places in found] == [4, 4, 4, 1]
    for places, (low, high) in zip(found, itertools.pairwise(quantiles), strict=True):
        assert np.all((values[places] >= 1000 * low) & (values[places] < 1000 * high))
        assert np.all(np.diff(values[places]) < 0)
    again = sample_by_quantile(values, quantiles, 4, np.random.default_rng(2))
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_test_sequences_are_traced_first():
    n_tokens, is_test = np.full(20, 10), np.arange(20) % 4 == 0
    generator = np.random.default_rng
    few = sequences_to_trace(n_tokens, is_test, 35, generator(0))
    assert len(few) == 3
    assert is_test[few].all()
    more = sequences_to_trace(n_tokens, is_test, 80, generator(0))
    assert is_test[more].sum() == 5
    assert len(more) == 8
    assert len(sequences_to_trace(n_tokens, is_test, 3, generator(0))) == 1
    assert sequences_to_trace(n_tokens, is_test, 10**9, generator(0)).tolist() == list(range(20))


@pytest.mark.parametrize("quantiles", [[0.0], [0.0, 0.9], [0.1, 1.0], [0.0, 0.5, 0.5, 1.0]])
def test_quantiles_ascend_from_0_to_1(quantiles):
    with pytest.raises(ValidationError):
        ProbingConfig(refinement={"example_quantiles": quantiles})


# --- the tables ----------------------------------------------------------------------------------

N_CTX, NEURONS = 24, {"leading_capital": (1, 7, -2.0, 0.1), "all_digits": (0, 3, 1.5, -0.05)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A tiny model and a token dataset of a few sentences, with made-up probes."""
    root = tmp_path_factory.mktemp("run")
    weights = make_model("llama", root / "weights")
    tokenizer = load_tokenizer(weights)
    texts = [f"{text} <b>&amp;\n" * 2 for text in SENTENCES for _ in range(2)]
    arrays = {name: np.full((len(texts), N_CTX), -1) for name in ("tokens", "starts", "ends")}
    arrays["tokens"][:] = tokenizer.document_token
    n_tokens = []
    for row, encoded in enumerate(tokenizer.encode(texts)):
        n = min(len(encoded.ids), N_CTX - 1 - row)
        n_tokens.append(n + 1)
        for name, values in zip(arrays, (encoded.ids, encoded.starts, encoded.ends), strict=True):
            arrays[name][row, 1 : n + 1] = values[:n]
    schema = {name: pl.Array(pl.Int32, N_CTX) for name in arrays}
    write_table(pl.DataFrame(arrays, schema=schema), root / "tokens.parquet")
    sequences = pl.DataFrame(
        {
            "sequence": pl.Series(range(len(texts)), dtype=pl.Int32),
            "char_start": pl.Series([0] * len(texts), dtype=pl.Int32),
            "n_tokens": pl.Series(n_tokens, dtype=pl.Int32),
            "n_prefix": pl.Series([1] * len(texts), dtype=pl.Int32),
            "split": ["train", "test"] * (len(texts) // 2),
            "language": ["en", "de"] * (len(texts) // 2),
            "text": texts,
        }
    )
    write_table(sequences, root / "sequences.parquet")
    empty = {"collection": pl.String, "feature": pl.String, "label": pl.Boolean}
    spans = dict.fromkeys(("sequence", "start", "end"), pl.Int32)
    write_table(pl.DataFrame(schema={**empty, **spans}), root / "labels.parquet")
    scores = pl.DataFrame(
        [
            {
                "model": "m", "dataset": "d", "site": "mlp_post", "collection": "text_features",
                "feature": feature, "layer": at, "method": "f", "k": 1, "control": "none",
                "neurons": [neuron], "coef": [coef], "intercept": intercept, "f1": 0.6,
                "precision": 0.5, "recall": 0.75, "f1_train": 0.7 if at == layer else 0.1,
                "n_test": 100, "n_test_positive": 20,
            }
            for feature, (layer, neuron, coef, intercept) in NEURONS.items()
            for at in range(3)
        ]
    )  # fmt: skip
    write_table(scores, root / "scores.parquet")
    return root, tokenizer, arrays, np.array(n_tokens), texts


def refine(root, settings=None, collection="text_features", scores="scores.parquet", name="out"):
    outputs = {table: root / name / f"{table}.parquet" for table in SCHEMAS}
    facts = refine_neurons(
        ProbingConfig(refinement={"min_count": 2, **(settings or {})}),
        {"corpus": "c", "n_ctx": N_CTX, "collection": {"kind": collection, "skip_tokens": 1}},
        weights=root / "weights", tokenizer=root / "weights", tokens=root / "tokens.parquet",
        sequences=root / "sequences.parquet", labels=root / "labels.parquet",
        scores=root / scores, outputs=outputs, model="m", dataset="d", device="cpu",
    )  # fmt: skip
    return facts, {table: read_table(path) for table, path in outputs.items()}


@pytest.fixture(scope="module")
def refined(run):
    return refine(run[0])


def activations(root, tokens, n_tokens, layer, neuron) -> list[np.ndarray]:
    """A neuron on each sequence alone, from the model with its head."""
    model = AutoModelForCausalLM.from_pretrained(root / "weights").eval()
    found: list[np.ndarray] = []
    down = model.model.layers[layer].mlp.down_proj
    down.register_forward_pre_hook(lambda m, i: found.append(i[0][0, 1:, neuron].clone().numpy()))
    with torch.no_grad():
        for ids, n in zip(tokens, n_tokens, strict=True):
            model(torch.from_numpy(ids[None, :n]))
    return found


def test_firing_and_means_equal_those_of_the_model(run, refined):
    root, tokenizer, arrays, n_tokens, _ = run
    facts, tables = refined
    assert {name: t.schema for name, t in tables.items()} == SCHEMAS
    assert (facts.neurons, facts.tokens) == (2, int(n_tokens.sum()) - len(n_tokens))
    strings = tokenizer.strings()
    for feature, (layer, neuron, coef, intercept) in NEURONS.items():
        found = activations(root, arrays["tokens"], n_tokens, layer, neuron)
        sign = np.sign(coef)
        ids = [row[1:n] for row, n in zip(arrays["tokens"], n_tokens, strict=True)]
        (row,) = tables["neurons"].filter(feature=feature).to_dicts()
        # By the text of each token: capitals and digits as a reader sees them.
        test = [
            (strings[i].strip(" "), coef * a + intercept > 0)
            for k in range(1, len(ids), 2)
            for i, a in zip(ids[k], found[k], strict=True)
            if "\ufffd" not in strings[i]
        ]
        has = {"leading_capital": lambda s: s[:1].isupper(), "all_digits": str.isdecimal}[feature]
        assert row["fires_in"] == sum(fires for s, fires in test if has(s))
        assert row["fires_out"] == sum(fires for s, fires in test if not has(s))
        assert row["text_share"] == pytest.approx(np.mean([has(s) for s, _ in test]))
        assert row["test_tokens"] == sum(len(ids[k]) for k in range(1, len(ids), 2))
        assert (row["layer"], row["neuron"], row["sign"]) == (layer, neuron, sign)
        assert row["precision_balanced"] == pytest.approx(0.75 / (0.75 + 0.1875))
        means = tables["tokens"].filter(feature=feature)
        assert means["mean"].is_sorted(descending=True)
        everything, values = np.concatenate(ids), sign * np.concatenate(found)
        for token, count, mean in means.select("token", "count", "mean").iter_rows():
            mine = values[everything == token]
            assert count == len(mine) >= 2
            assert mean == pytest.approx(mine.mean(), rel=1e-4, abs=1e-6)


def test_examples_are_the_text_at_their_place(run, refined):
    _, _, arrays, n_tokens, texts = run
    examples = refined[1]["examples"]
    assert examples.height > 20
    for row in examples.iter_rows(named=True):
        text, at = texts[row["sequence"]], (row["sequence"], row["position"])
        assert 1 <= row["position"] < n_tokens[row["sequence"]]
        assert row["text"] == text[arrays["starts"][at] : arrays["ends"][at]]
        assert row["before"] + row["text"] + row["after"] in text
    ngrams = refined[1]["ngrams"]
    tokens = [row[:n].tolist() for row, n in zip(arrays["tokens"], n_tokens, strict=True)]
    for ids, count in ngrams.select("tokens", "count").iter_rows():
        n = len(ids)
        assert count == sum(t[i : i + n] == ids for t in tokens for i in range(1, len(t)))


def test_effects_are_of_tokens_of_text(run, refined):
    effects = refined[1]["effects"]
    assert set(effects["kind"]) == {"raised", "lowered", "class"}
    assert run[1].document_token not in effects["token"].drop_nulls().to_list()
    for kind, sign in (("raised", 1), ("lowered", -1)):
        part = effects.filter((pl.col("kind") == kind) & (pl.col("feature") == "all_digits"))
        assert (sign * part["effect"]).is_sorted(descending=True)


def test_the_same_run_gives_the_same_tables(run, refined):
    assert all(t.equals(refined[1][n]) for n, t in refine(run[0], name="again")[1].items())


def test_classes_of_sequences_are_those_of_their_tokens(run):
    root, _, _, n_tokens, _ = run
    scores = read_table(root / "scores.parquet").with_columns(
        pl.lit("natural_language").alias("collection"), pl.lit("de").alias("feature")
    )
    write_table(scores.filter(pl.col("layer") == 1).head(1), root / "languages.parquet")
    _, tables = refine(
        root, {"max_tokens": int(n_tokens.sum())}, "natural_language", "languages.parquet", "l"
    )
    (row,) = tables["neurons"].to_dicts()
    # All test sequences are German here.
    assert row["text_share"] == 1.0
    assert sum(row["counts_in"]) == n_tokens[1::2].sum() - len(n_tokens[1::2])


def test_scores_of_another_dataset_or_site_are_refused(run):
    root = run[0]
    scores = read_table(root / "scores.parquet")
    write_table(scores.with_columns(pl.lit("gone").alias("feature")), root / "gone.parquet")
    with pytest.raises(DataError, match="'gone'"):
        refine(root, scores="gone.parquet", name="none")
    write_table(scores.with_columns(pl.lit("resid_post").alias("site")), root / "site.parquet")
    with pytest.raises(DataError, match="mlp_post"):
        refine(root, scores="site.parquet", name="none")
    assert not (root / "none").exists()


def test_kinds_of_datasets_are_validated():
    with pytest.raises(ValidationError):
        DatasetConfig.model_validate({"corpus": "c", "collection": {"kind": "poems"}})


# --- the page ------------------------------------------------------------------------------------


def test_invisible_characters_are_shown():
    assert visible(" a\n\tb\u200b\u00a0é�") == "␣a↵⇥b⟨200B⟩⍽é�"
    assert visible(" a b", spaces=False) == " a b"


def test_readings():
    def neuron(fires_in, fires_out, n_in, n_out, every=True):
        return {
            "fires_in": fires_in, "fires_out": fires_out, "every_token": every,
            "counts_in": [n_in - 1, 1], "counts_out": [n_out, 0],
        }  # fmt: skip

    rows = [neuron(80, 20, 100, 900), neuron(20, 5, 100, 900), neuron(90, 110, 100, 900),
            neuron(60, 40, 100, 900), neuron(80, 20, 100, 900, every=False),
            neuron(0, 0, 100, 900)]  # fmt: skip
    found = read_counts(pl.DataFrame(rows))
    expected = ["the feature", "part of it", "something broader", "mixed", "unknown", "mixed"]
    assert found["reading"].to_list() == expected
    assert found["explained"].to_list() == pytest.approx([0.8, 0.8, 0.45, 0.6, 0.8, None])
    assert found["found"].to_list() == pytest.approx([0.8, 0.2, 0.9, 0.6, 0.8, 0.0])
    assert found["fires"][0] == pytest.approx(0.1)


def test_the_page_shows_every_neuron_and_escapes_text(run, refined, tmp_path):
    root = run[0]
    build_refinement_page(
        ReportConfig(refined_neurons=1),
        **{table: root / "out" / f"{table}.parquet" for table in TABLES},
        scores=root / "scores.parquet",
        output=tmp_path / "r.html",
    )
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = lxml.html.fromstring(text.encode())
    rows = page.findall(".//table")[0].findall("tbody/tr")
    assert [row[1].text_content() for row in rows] == ["L0.3", "−\u00a0L1.7"]
    # One of the two has a section of its own; three further sections and tables are of all.
    assert len(page.findall(".//section")) == 3
    assert "<b>" not in text.split("<main", 1)[1].replace("<button", "")
    snippets = [r[-1].text_content() for r in page.findall(".//table")[-1].findall("tbody/tr")]
    assert all("⟦" in s and "\n" not in s for s in snippets)
    assert any("<b>" in s for s in snippets)
    assert len(snippets) == refined[1]["examples"].filter(feature="all_digits").height
