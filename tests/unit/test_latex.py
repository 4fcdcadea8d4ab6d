"""LaTeX: constructs against trees that the source was written from, tokens, samples, documents."""

from __future__ import annotations

import logging

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import DataError
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.labels import label_features
from artneuro.datasets.latex import NAMES, drop_unbalanced, sample_mirrored, token_states
from artneuro.datasets.latex_parser import parse_latex
from artneuro.datasets.tokens import TokenDataset, build_tokens, read_token_dataset
from tests.tiny import make_tokenizer


def found(text: str) -> dict[str, list[str]]:
    """The contents of the constructs in a text, by feature."""
    return {name: [text[a:b] for a, b in spans] for name, spans in parse_latex(text).spans.items()}


CASES = [
    (r"a $x$ b \(y\) c", {"is_inline_math": ["x", "y"]}),
    (r"a $$x$$ b \[y\] c", {"is_display_math": ["x", "y"]}),
    (r"$a$$b$", {"is_inline_math": ["a", "b"]}),
    (r"costs \$5 or \$6, 10\% of $x$", {"is_inline_math": ["x"]}),
    ("% one $ here\n$x$", {"is_inline_math": ["x"]}),
    ("10\\% and $x % $ y\n+ z$", {"is_inline_math": ["x % $ y\n+ z"]}),
    (r"\begin{align*}a&=b\\[2pt]c\end{align*}", {"is_display_math": [r"a&=b\\[2pt]c"]}),
    (r"\begin{equation}x\end{equation} y", {"is_display_math": ["x"]}),
    (r"\begin{alignat}{2}x\end{alignat}", {"is_display_math": ["x"]}),
    (r"\begin{math}x\end{math}", {"is_inline_math": ["x"]}),
    (r"\begin{tabular}{l}$x$\end{tabular}", {"is_inline_math": ["x"]}),
    (r"\begin{equation}\begin{array}{c}x\end{array}\end{equation}",
     {"is_display_math": [r"\begin{array}{c}x\end{array}"]}),
    (r"\ensuremath{x}", {"is_inline_math": ["x"]}),
    (r"$$\hbox{if $x$ then}$$",
     {"is_display_math": [r"\hbox{if $x$ then}"], "is_inline_math": ["x"]}),
    (r"\verb|$| $x$ \verb+{$+", {"is_inline_math": ["x"]}),
    (r"\begin{verbatim}$x\end{verbatim} $y$", {"is_inline_math": ["y"]}),
    (r"\code{df$x} \Sexpr{f(a$b, {1})} $y$", {"is_inline_math": ["y"]}),
    ("$y$\n<<plot, echo=FALSE>>=\nd$x_1\n@\n$z$", {"is_inline_math": ["y", "z"]}),
    (r"\newcommand{\be}{\begin{equation}}\newcommand\ee{\end{equation}} \be x\ee y",
     {"is_display_math": [" x"]}),
    (r"$x^2_{i+1}$ a_b^c", {"is_superscript": ["2"], "is_subscript": ["i+1"]}),
    (r"$x^{y^{z}}$", {"is_superscript": ["y^{z}", "z"]}),
    (r"$x^\alpha y_\mathrm{max} z^ 3$",
     {"is_superscript": [r"\alpha", "3"], "is_subscript": [r"\mathrm{max}"]}),
    (r"$x^\frac{a}{b}c$", {"is_superscript": [r"\frac{a}{b}"]}),
    (r"$x^\sqrt[3]{y}{z}_\hat\beta c$",
     {"is_superscript": [r"\sqrt[3]{y}"], "is_subscript": [r"\hat\beta"]}),
    (r"$x^\frac12c$", {"is_superscript": [r"\frac12"], "is_numerator": ["1"],
                       "is_denominator": ["2"]}),
    (r"$\{a\}^{\{b\}}$", {"is_superscript": [r"\{b\}"]}),
    (r"$\frac{a}{b}\dfrac12 \tfrac\pi{4}$",
     {"is_numerator": ["a", "1", r"\pi"], "is_denominator": ["b", "2", "4"],
      "is_frac": ["a", "b", "1", "2", r"\pi", "4"]}),
    (r"$\frac{\frac{a}{b}}{c}$",
     {"is_numerator": [r"\frac{a}{b}", "a"], "is_denominator": ["b", "c"]}),
    (r"${a + 1\over b}$", {"is_numerator": ["a + 1"], "is_denominator": [" b"]}),
    (r"\title[short]{The $T$ {test}}", {"is_title": ["The $T$ {test}"], "is_inline_math": ["T"]}),
    (r"\author{A \and B} \maketitle", {"is_author": [r"A \and B"]}),
    (r"\begin{abstract}We do.\end{abstract}", {"is_abstract": ["We do."]}),
    (r"\Abstract{We do.}", {"is_abstract": ["We do."]}),
    (r"\section*{One} \subsection[o]{Two}", {"is_section": ["One", "Two"]}),
    (r"see \ref{fig:a_b}, \eqref{e}", {"is_reference": ["fig:a_b", "e"]}),
    (r"\cite[p.~1]{a,b} \citep*[see][]{c}", {"is_citation": ["a,b", "c"]}),
    (r"\renewcommand{\frac}[2]{x} \title", {}),
    (r"a } b $x$", {"is_inline_math": ["x"]}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CASES)
def test_constructs_of_known_sources(text, expected):
    contents = found(text)
    for name, pieces in expected.items():
        assert contents.get(name) == pieces, name
    assert expected or not contents
    both = [*contents.get("is_inline_math", []), *contents.get("is_display_math", [])]
    assert sorted(contents.get("is_math", [])) == sorted(both)
    assert parse_latex(text).balanced


# A tree of source: a text, or (before, feature, content, after).
PLAIN = st.text(alphabet=r"ab \,;é", max_size=4).map(lambda s: s.replace("\\", r"\% "))
MATH_ATOM = st.sampled_from(["a", "+ 1", r"\alpha ", r"\left( b \right)", "&", r"\\", "{c}", r"\$"])


def braced(
    command: str, features: tuple[str, ...], content: st.SearchStrategy
) -> st.SearchStrategy:
    return content.map(lambda inner: [command + "{", (features, inner), "}"])


def several(one: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(one, max_size=3).map(lambda parts: [p for part in parts for p in part])


def math_source(depth: int) -> st.SearchStrategy:
    atom = MATH_ATOM.map(lambda s: [s])
    if depth == 0:
        return several(atom)
    inner = math_source(depth - 1)
    fraction = st.tuples(inner, inner).map(
        lambda two: [
            r"\frac{", (("is_numerator", "is_frac"), two[0]), "}{",
            (("is_denominator", "is_frac"), two[1]), "}",
        ]
    )  # fmt: skip
    text = st.deferred(lambda: text_source(depth - 1)).map(lambda parts: [r"\text{", *parts, "}"])
    return several(
        st.one_of(
            atom, fraction, text,
            braced("x^", ("is_superscript",), inner), braced("x_", ("is_subscript",), inner),
        )
    )  # fmt: skip


def text_source(depth: int) -> st.SearchStrategy:
    plain = PLAIN.map(lambda s: [s])
    if depth == 0:
        return several(plain)
    inner = math_source(depth - 1).map(lambda parts: ["y", *parts])
    inline, display = ("is_inline_math", "is_math"), ("is_display_math", "is_math")
    formulas = [
        inner.map(lambda parts, marks=marks, kind=kind: [marks[0], (kind, parts), marks[1]])
        for marks, kind in (
            (("$", "$ "), inline), ((r"\(", r"\)"), inline), (("$$", "$$"), display),
            ((r"\[", r"\]"), display), ((r"\begin{align*}", r"\end{align*}"), display),
            ((r"\begin{eqnarray}", r"\end{eqnarray}"), display),
        )
    ]  # fmt: skip
    part = text_source(depth - 1)
    return several(
        st.one_of(
            plain, *formulas, st.just(["% a $ comment {\n"]), st.just([r"\verb|$_^{|"]),
            braced(r"\section", ("is_section",), part), braced(r"\title[a]", ("is_title",), part),
            braced(r"{\bf ", (), part).map(lambda parts: [*parts, "}"]),
        )
    )  # fmt: skip


def written(parts: list, start: int = 0) -> tuple[str, dict[str, list[tuple[int, int]]]]:
    """The source of a tree and where its constructs are."""
    text, spans = "", {}
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        features, inner = part
        content, within = written(inner, start + len(text))
        if content:
            for feature in features:
                here = (start + len(text), start + len(text) + len(content))
                spans.setdefault(feature, []).append(here)
        for feature, more in within.items():
            spans.setdefault(feature, []).extend(more)
        text += content
    return text, spans


@given(text_source(3))
def test_constructs_are_those_that_the_source_was_written_from(parts):
    text, expected = written(parts)
    parsed = parse_latex(text)
    assert parsed.spans == {name: sorted(spans) for name, spans in expected.items()}
    assert parsed.balanced


@given(st.text(alphabet="$\\{}[]()^_%ab\n &", max_size=60))
def test_any_text_is_read_to_its_end(text):
    parsed = parse_latex(text)
    for spans in (*parsed.spans.values(), parsed.apart):
        assert all(0 <= a < b <= len(text) for a, b in spans)


@pytest.mark.parametrize(
    "text",
    [
        "one $ alone",
        "$a$ and $b",
        "$x\n\ny$",
        r"\(x",
        r"\[ $x$ \]",
        "$$x$ y$$",
        r"\begin{equation}x",
    ],
)
def test_formulas_that_do_not_end_are_noticed(text):
    assert not parse_latex(text).balanced


def test_what_follows_a_paragraph_with_an_odd_dollar_is_not_inverted():
    assert found("costs 5$.\n\nThen $x$ is.") == {"is_inline_math": ["x"], "is_math": ["x"]}


def test_tokens_are_within_outside_or_neither():
    text = r"in $x^{ab} + 1$ % $"
    parsed = parse_latex(text)
    pieces = ["in", " $", "x", "^{", "ab", "}", " +", " ", "1", "$", " ", "% $", "b} +", "1$"]
    starts = np.array([text.index(piece) for piece in pieces])
    ends = starts + [len(piece) for piece in pieces]
    starts[7], ends[7] = 12, 13  # the blank before the 1
    starts[9], ends[9] = 14, 15  # the closing dollar
    starts[10], ends[10] = 15, 16
    states = token_states(parsed, "is_math", text, starts, ends)
    assert states.tolist() == [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, -1]
    states = token_states(parsed, "is_superscript", text, starts, ends)
    assert states.tolist() == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, -1, 0]


@pytest.mark.parametrize(
    ("n_yes", "n_mirror", "n_other", "most", "expected"),
    [
        (500, 500, 500, 400, (100, 150, 150)),
        (50, 500, 500, 400, (50, 75, 75)),
        (500, 20, 500, 400, (100, 20, 280)),
        (500, 500, 20, 400, (100, 280, 20)),
        (500, 0, 30, 400, (10, 0, 30)),
        (0, 10, 10, 400, (0, 0, 0)),
        (10, 0, 0, 400, (0, 0, 0)),
    ],
)
def test_half_of_the_negatives_are_mirrored(n_yes, n_mirror, n_other, most, expected):
    kinds = np.repeat([0, 1, 2, 3], [n_yes, n_mirror, n_other, 7])
    rng = np.random.default_rng(0)
    kinds = rng.permutation(kinds)
    chosen = sample_mirrored(
        kinds == 0, (kinds == 1) | (kinds == 2), kinds == 1, rng.random(len(kinds)), most, 0.25, 0.5
    )
    assert tuple(np.bincount(kinds[chosen], minlength=4)) == (*expected, 0)
    assert len(np.unique(chosen)) == len(chosen)


# --- datasets ------------------------------------------------------------------------------------


def documents(n: int = 24) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        filler = " ".join(rng.choice(["alpha", "beta", "gamma", "delta"], 30))
        text = rf"""\title{{On the {i}th test of formulas}}\author{{Ann Author{i}}}
\begin{{abstract}}We prove {filler}.\end{{abstract}}
\section{{First section {i}}} See \ref{{eq:{i}}} and \cite{{key{i}}}: {filler}
$$ \sum_{{long index {i}}}^{{upper bound {i}}} \frac{{numerator {i}}}{{denominator {i}}} = {i} $$
{filler} with $x_{{sub{i}}} + y^{{sup{i}}} = {i}$ {filler}"""
        rows.append((f"d{i}", "c", "s", "en", f"g{i}", text))
    rows.append(("odd", "c", "s", "en", "godd", "One $ too many. " + rows[0][-1]))
    schema = ["document", "corpus", "subset", "language", "group", "text"]
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def run(path, folder, **values) -> tuple[pl.DataFrame, TokenDataset]:
    collection = {"kind": "latex", "min_positives": 3, **values.pop("collection", {})}
    config = DatasetConfig.model_validate({"corpus": "c", "collection": collection, **values})
    write_table(documents(), path / "documents")
    build_tokens(config, folder, path / "documents", path / "tokens", path / "sequences")
    label_features(config, folder, path / "tokens", path / "sequences", path / "labels")
    dataset = read_token_dataset(path / "tokens", path / "sequences")
    return read_table(path / "labels"), dataset


def test_documents_with_an_odd_dollar_are_dropped(caplog):
    with caplog.at_level(logging.WARNING):
        kept = drop_unbalanced(documents())
    assert "odd" not in kept["document"]
    assert len(kept) == 24
    assert "left out 1 of 25" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"n_ctx": 800, "min_tokens": 100, "crop": "start"},
        {"n_ctx": 120, "crop": "random"},
        {"n_ctx": 60, "max_document_sequences": 6,
         "collection": {"windows": "constructs", "max_sequences": 84}},
    ],
    ids=["start", "random", "constructs"],
)  # fmt: skip
def test_labels_say_what_the_whole_document_says(tmp_path, folder, values):
    labels, dataset = run(tmp_path, folder, **values)
    assert "odd" not in dataset.sequences["document"]
    texts = dict(documents().select("document", "text").iter_rows())
    parsed = {name: parse_latex(text) for name, text in texts.items()}
    names = dataset.sequences["document"].to_list()
    for feature, sequence, start, end, label in labels.drop("collection").iter_rows():
        assert end == start + 1
        document = names[sequence]
        first, last = dataset.starts[sequence, start], dataset.ends[sequence, start]
        solid = [i for i in range(first, last) if not texts[document][i].isspace()]
        inside = [
            any(a <= i < b for a, b in parsed[document].spans.get(feature, []))
            for i in solid or range(first, last)
        ]
        assert all(inside) if label else not any(inside)
    shares = labels.group_by("feature").agg(pl.col("label").mean())
    assert shares["label"].to_numpy() == pytest.approx(0.25, abs=0.04)


def test_windows_around_constructs_give_every_feature(tmp_path, folder):
    labels, dataset = run(
        tmp_path, folder, n_ctx=60, max_document_sequences=6,
        collection={"windows": "constructs", "max_sequences": 84},
    )  # fmt: skip
    assert set(labels["feature"]) == set(NAMES)
    assert len(dataset.sequences) == 84
    assert dataset.sequences["document"].value_counts()["count"].max() <= 6
    sides = dataset.sequences.group_by("group").agg(pl.col("split").n_unique())
    assert sides["split"].max() == 1


def test_mirrored_negatives_are_half_of_a_fractions(tmp_path, folder):
    labels, dataset = run(tmp_path, folder, n_ctx=900, min_tokens=100, crop="start")
    texts = dict(documents().select("document", "text").iter_rows())
    names = dataset.sequences["document"].to_list()
    for feature, mirror in (("is_numerator", "is_denominator"), ("is_subscript", "is_superscript")):
        negatives = labels.filter((pl.col("feature") == feature) & ~pl.col("label"))
        in_mirror = 0
        for sequence, start in negatives.select("sequence", "start").iter_rows():
            text = texts[names[sequence]]
            state = token_states(
                parse_latex(text), mirror, text,
                dataset.starts[sequence, [start]], dataset.ends[sequence, [start]],
            )  # fmt: skip
            in_mirror += int(state[0] == 1)
        assert (
            in_mirror == pytest.approx(len(negatives) / 2, abs=2) or in_mirror < len(negatives) / 2
        )
        assert in_mirror > len(negatives) / 4


def test_a_corpus_without_constructs_is_an_error(tmp_path, folder):
    rows = [(f"d{i}", "c", "s", "en", f"g{i}", f"No formulas here, {i}. " * 9) for i in range(8)]
    schema = ["document", "corpus", "subset", "language", "group", "text"]
    write_table(pl.DataFrame(rows, schema=schema, orient="row"), tmp_path / "documents")
    for windows, message in (("constructs", "no windows"), ("documents", "no LaTeX feature")):
        config = DatasetConfig.model_validate(
            {"corpus": "c", "n_ctx": 40, "collection": {"kind": "latex", "windows": windows}}
        )
        paths = tmp_path / "documents", tmp_path / "tokens", tmp_path / "sequences"

        def both(config=config, paths=paths):
            build_tokens(config, folder, *paths)
            label_features(config, folder, *paths[1:], tmp_path / "labels")

        with pytest.raises(DataError, match=message):
            both()
