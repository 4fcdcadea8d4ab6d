"""The page about superposition of compound words: sums of neurons, bases, and weights by layer.

Thesis, section 2.5.1, figures 2.2 and A.3 to A.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.style import score
from artneuro.report.superposition_figures import (
    curves_figure,
    directions_figure,
    word_figure,
)
from artneuro.report.superposition_weights import weights_part

PAIR = ["model", "dataset", "site"]
WORD = [*PAIR, "collection", "feature"]


def build_superposition_page(
    superposition: Sequence[str | Path],
    histograms: Sequence[str | Path],
    basis: Sequence[str | Path],
    weights: Sequence[str | Path],
    sparsity: Sequence[str | Path],
    output: str | Path,
) -> None:
    """Write the page about all models and datasets that were studied.

    Parameters
    ----------
    superposition, histograms, basis : sequence of path
        What `measure_superposition` wrote for each model and dataset.
    weights : sequence of path
        What `summarise_weights` wrote for each model.
    sparsity : sequence of path
        What `fit_sparsity_curves` wrote for those pairs that have curves.
    output : path
        The HTML file.
    """
    scores, counted, bases, neurons = (
        pl.concat([read_table(path) for path in paths])
        for paths in (superposition, histograms, basis, weights)
    )
    curves = pl.concat([read_table(path) for path in sparsity]) if sparsity else None
    words = word_table(scores)
    parts = (
        _scores_part(words),
        _words_part(words, counted),
        _bases_part(words, bases, curves),
        weights_part(words, neurons),
    )
    write_case_page(CasePage("Superposition of compound words", _lead(words), parts), output)


def word_table(scores: pl.DataFrame) -> pl.DataFrame:
    """One row a word: its neurons, and how well the best of them, the sum and the probe tell it.

    Parameters
    ----------
    scores : DataFrame
        Rows of the schema `superposition`.

    Returns
    -------
    DataFrame
        `WORD`, `layer`, `neurons` (layer, signs and numbers), `n` (test windows that end with the
        word), `n_else`, and `{auc, f1, separation}_{neuron, sum, probe}_{XW, ZY, both, else}`,
        where `neuron` is the one that was best alone on train.
    """
    first = pl.col("rank").is_null() | (pl.col("rank") == 1)
    each = [
        pl.col(metric)
        .filter(first & (pl.col("part") == part) & (pl.col("against") == against))
        .first()
        .alias(f"{metric}_{part}_{against}")
        for metric in ("auc", "f1", "separation")
        for part in ("neuron", "sum", "probe")
        for against in ("XW", "ZY", "both", "else")
    ]
    keys = [*WORD, "layer"]
    wide = scores.group_by(keys).agg(
        pl.col("n_positive").first().alias("n"),
        pl.col("n_negative").filter(pl.col("against") == "else").first().alias("n_else"),
        *each,
    )
    names = (
        scores.filter((pl.col("part") == "neuron") & (pl.col("against") == "both"))
        .sort(*keys, "rank")
        .group_by(keys, maintain_order=True)
        .agg(
            pl.format(
                "{}{}",
                pl.when(pl.col("sign") > 0).then(pl.lit("+")).otherwise(pl.lit("−")),
                "neuron",
            ).alias("signed")
        )
        # Spaces that do not break keep a row of the table on one line.
        .with_columns(
            pl.format("L{}:\u00a0{}", "layer", pl.col("signed").list.join("\u00a0")).alias(
                "neurons"
            )
        )
        .drop("signed")
    )
    return names.join(wide, on=keys).sort(keys)


def _mean(words: pl.DataFrame, column: str) -> str:
    return _three(float(words[column].drop_nulls().to_numpy().mean()))


def _three(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _lead(words: pl.DataFrame) -> str:
    text = (
        "Is a compound word such as “social security” told by the sum of a few neurons, each of "
        "which also fires on other things? On windows that nothing was chosen on, the sum of a "
        "few neurons of one layer tells a word from windows that end with only one of its two "
        f"words with a mean AUC of {_mean(words, 'auc_sum_both')}, the best of these neurons "
        f"alone with {_mean(words, 'auc_neuron_both')}. {_further(words, 'both')}"
    )
    if words["n_else"].drop_nulls().len():
        text += (
            f" From all other text at hand, with AUCs of {_mean(words, 'auc_sum_else')} and "
            f"{_mean(words, 'auc_neuron_else')}. {_further(words, 'else')}"
        )
    return text


def _further(words: pl.DataFrame, against: str) -> str:
    """For how many words the sum is further from the others than the best neuron is."""
    columns = [f"separation_{part}_{against}" for part in ("sum", "neuron")]
    known = words.select(*columns).drop_nulls()
    better = known.filter(pl.col(columns[0]) > pl.col(columns[1])).height
    mean_sum, mean_one = known.mean().row(0)
    return (
        f"It sets {better} of {known.height} words further apart than that neuron does (mean "
        f"distance {mean_sum:.1f} against {mean_one:.1f} standard deviations)."
    )


def _scores_part(words: pl.DataFrame) -> Part:
    fewest = words.select(pl.col("n").min()).item()
    caution = (
        f" The rarest word has {fewest} test windows that end with it: an AUC of 1 there only says "
        "that these few lie above all others."
        if fewest < 30
        else ""
    )
    paragraphs = (
        "A window is a short piece of text; the model's neurons are read at its last token, which "
        "ends a pair of words. For a word XY there are windows that end with XY, twice as many "
        "that end with X and another word, and twice as many that end with another word and Y. "
        "For each word the layer, its neurons and all thresholds were chosen on the training "
        "windows: the probe of so many neurons with the highest training F1, and of equal ones "
        "the one that sets the classes furthest apart. Texts of one group (page, author) are "
        "never in both splits.",
        "The sum adds the activations as they are, each with the sign that its neuron has in the "
        "probe (the + or − before its name): in a gated MLP the sign of a neuron is a convention. "
        "The probe weighs the same neurons by a logistic regression. AUC is the share of pairs of "
        "a window with XY and another one that are in the right order, 0.5 by chance. The "
        f"distance is the difference of the two means in standard deviations.{caution}",
    )
    shown = {
        "auc_neuron_both": "AUC: best",
        "auc_sum_both": "sum",
        "auc_sum_XW": "sum / X",
        "auc_sum_ZY": "sum / Y",
        "f1_neuron_both": "F1: best",
        "f1_sum_both": "sum",
        "f1_probe_both": "probe",
        "separation_neuron_both": "distance: best",
        "separation_sum_both": "sum",
        "separation_probe_both": "probe",
    }
    caption = (
        "A row is a compound word; its n test windows against test windows with X or Y alone "
        "(“sum / X”: with X alone). Best: of the neurons the one that was best alone on the "
        "training windows. Layers and neurons are counted from 0."
    )
    items = [_score_table(words, shown, caption)]
    if words["n_else"].drop_nulls().len():
        shown = {
            "n_else": "n of the rest",
            "auc_neuron_else": "AUC: best",
            "auc_sum_else": "sum",
            "auc_probe_else": "probe",
            "separation_neuron_else": "distance: best",
            "separation_sum_else": "sum",
            "separation_probe_else": "probe",
        }
        caption = (
            "The same neurons against everything else: the last tokens of test windows of other "
            "words and, where the config names background texts, all of their labelled tokens "
            "that do not end XY. Nothing was fitted on these. One in a thousand of such tokens "
            "above the word lowers the AUC by 0.001."
        )
        items.append(_score_table(words, shown, caption))
    return Part("Single neurons, their sum, and a probe", paragraphs, tuple(items))


def _score_table(words: pl.DataFrame, shown: dict[str, str], caption: str) -> Table:
    keys = [key for key in PAIR if words[key].n_unique() > 1]
    frame = words.with_columns(pl.col("feature").str.replace_all("-", " "))
    digits = {name: 1 if name.startswith("separation") else 3 for name in shown}
    headings = {"feature": "word XY", "n": "n", **shown}
    return Table(frame.select(*keys, "feature", "neurons", "n", *shown), caption, headings, digits)


def _words_part(words: pl.DataFrame, counted: pl.DataFrame) -> Part:
    pictures = []
    for row in words.iter_rows(named=True):
        own = counted.filter([pl.col(key) == row[key] for key in WORD])
        word = row["feature"].replace("-", " ")
        pictures.append(
            Picture(
                word_figure(own, f"{word}: {row['model']}, layer {row['layer']}, {row['site']}"),
                f"“{word}”. From X or Y alone: AUC {_three(row['auc_neuron_both'])} by the first "
                f"neuron, {_three(row['auc_sum_both'])} by the sum. From everything else: "
                f"{_three(row['auc_neuron_else'])} and {_three(row['auc_sum_else'])}.",
                f"Histograms of single neurons and of their sum for the word {word}.",
            )
        )
    paragraphs = (
        "Each row of panels is a word: its neurons alone, the best one first, and at the right "
        "their sum. The horizontal axis is the activation (its negative where the name has a "
        "minus); the height is the share of the examples of a kind in a bin, on a logarithmic "
        "axis, so that single tokens among thousands can be seen. Superposition shows where the "
        "tail of orange (everything else) reaches over blue (the word itself) in the single "
        "neurons and not in the sum.",
    )
    return Part("Word by word", paragraphs, tuple(pictures))


def _bases_part(words: pl.DataFrame, bases: pl.DataFrame, curves: pl.DataFrame | None) -> Part:
    items: list[Picture | Table] = []
    paragraphs = [
        "If neurons were arbitrary directions of their layer, the directions of a randomly "
        "rotated basis would tell the words as well. In the layer of each word every direction "
        "of the neuron basis and of random orthogonal bases was ranked by its difference of class "
        "means, the foremost were probed alone and ordered by their training F1; shown is their "
        "test F1, mean over the words.",
    ]
    draws = bases.filter(pl.col("basis") == "random")["draw"].n_unique()
    best = bases.filter(pl.col("rank") == 1).group_by("basis").agg(pl.col("f1").mean())
    means = dict(best.iter_rows())
    if draws:
        paragraphs.append(
            f"The best neuron reaches a test F1 of {score(means['neurons'])}, the best direction "
            f"of a random basis {score(means['random'])} (mean of {draws} bases). Where these are "
            "alike, the task does not tell the neuron basis from others: XY is easily told from X "
            "or Y alone, and the foremost of so many random directions gather many weak signals."
        )
    for pair, own in bases.group_by(PAIR, maintain_order=True):
        items.append(
            Picture(
                directions_figure(own, f"{pair[0]} on {pair[1]}, {pair[2]}"),
                "Test F1 of the best single directions of a layer by their rank on the training "
                "windows, mean over words. Band: one standard deviation over random bases.",
                "Line chart of F1 by rank in the neuron basis and in random bases.",
            )
        )
    if curves is not None:
        chosen = words.select(*WORD, "layer").with_columns(pl.col("layer").cast(pl.Int16))
        own_layers = curves.join(chosen, on=[*WORD, "layer"], how="semi")
        paragraphs.append(
            "The second figure has probes of more than one direction: k neurons chosen by "
            "adaptive thresholding against k directions of a random orthogonal basis, in the "
            "layer of each word. The loss is the mean logistic loss on test windows in nats; a "
            "straight line is a power law in k."
        )
        for pair, own in own_layers.group_by(PAIR, maintain_order=True):
            items.append(
                Picture(
                    curves_figure(own, f"{pair[0]} on {pair[1]}, {pair[2]}"),
                    "Test loss (left, both axes logarithmic) and test F1 (right) against the "
                    "number k of coefficients, mean over words. Random bases: also mean over "
                    "draws; they are not chosen, so at k = 1 this is any random direction.",
                    "Line charts of loss and F1 by number of coefficients in both bases.",
                )
            )
    return Part("Neurons against random directions", tuple(paragraphs), tuple(items))
