"""The page about context neurons: the single neuron that best tells each class of sequences."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.choose import REAL, SECTION, in_section, sections
from artneuro.report.collect import Paths, as_paths
from artneuro.report.context_figures import draw_heat_map, draw_neurons, visible
from artneuro.report.style import name_of, neuron_name

RANDOM_NEURON = "random_neuron"
SHOWN_TOKENS = 6


def build_context_page(
    ablations: Paths, activations: Paths, tokens: Paths, output: str | Path
) -> None:
    """Write the page about what the best neuron of each class does when it is ablated.

    Parameters
    ----------
    ablations, activations, tokens : paths
        Tables of the interventions stage, one of each for every model and dataset.
    output : path
        The HTML file to write.

    Raises
    ------
    DataError
        If there is nothing to show.

    Notes
    -----
    Thesis, section 2.5.2 and figures 2.3 and A.10 to A.12.
    """
    losses, told, words = (
        pl.concat([read_table(path) for path in as_paths(paths)])
        for paths in (ablations, activations, tokens)
    )
    if losses.is_empty():
        raise DataError(
            "no neuron was ablated, so there is nothing to show",
            where=", ".join(map(str, as_paths(ablations))),
            fix="check the log of the rule ablate_neurons",
        )
    summary = own_and_others(losses)
    parts = [
        _part(section, *(in_section(table, section) for table in (losses, summary, told, words)))
        for section in sections(losses)
    ]
    page = CasePage("Context neurons", _lead(summary), (_method(losses), *parts))
    write_case_page(page, output)


def own_and_others(losses: pl.DataFrame) -> pl.DataFrame:
    """For each ablated neuron its effect in the class that it tells, against all other classes.

    Parameters
    ----------
    losses : DataFrame
        Rows of the schema `ablations`.

    Returns
    -------
    DataFrame
        One row a neuron: its columns, the columns of the losses in its own class, and
        `other` (the other class in which the loss rises most), `increase_other`,
        `increase_other_se`, `increase_others` (mean over the other classes), `n_contexts`, and
        `own_highest` (whether the loss rises more in its own class than in any other); these are
        null where it was ablated in its own class only.
    """
    unit = [*SECTION, "feature", "control", "layer", "neuron"]
    own = losses.filter(pl.col("context") == pl.col("feature"))
    others = (
        losses.filter(pl.col("context") != pl.col("feature"))
        .sort([*unit, "increase", "context"], descending=[False] * len(unit) + [True, False])
        .group_by(unit, maintain_order=True)
        .agg(
            pl.col("context").first().alias("other"),
            pl.col("increase").first().alias("increase_other"),
            pl.col("increase_se").first().alias("increase_other_se"),
            pl.col("increase").mean().alias("increase_others"),
            (pl.len() + 1).alias("n_contexts"),
        )
    )
    return (
        own.join(others, on=unit, how="left")
        .with_columns((pl.col("increase") > pl.col("increase_other")).alias("own_highest"))
        .sort([*SECTION, "control", "feature", "layer", "neuron"])
    )


def _holds(summary: pl.DataFrame, control: str) -> tuple[int, int]:
    """How many neurons raise the loss most in their own class, and of how many that is known."""
    known = summary.filter(pl.col("control") == control)["own_highest"].drop_nulls()
    return int(known.sum()), len(known)


def _held(losses: pl.DataFrame) -> str:
    """What an ablation is, as the end of a sentence."""
    kinds = losses["kind"].unique().sort().to_list()
    value = losses["value"][0]
    words = {
        "zero": "set to zero",
        "mean": "held at its mean activation",
        "pinned": f"held at {value:g}",
    }
    return " or ".join(words[kind] for kind in kinds)


def _lead(summary: pl.DataFrame) -> str:
    hits, known = _holds(summary, REAL)
    random_hits, random_known = _holds(summary, RANDOM_NEURON)
    chosen = summary.filter(pl.col("control") == REAL)
    text = (
        "Some neurons are active only in one kind of text: in French, in Go code, in emails. Does "
        "the model use them? For each class of text the one neuron that tells it best was "
        f"{_held(chosen)} at every token of held-out texts. "
    )
    if known:
        text += (
            f"For {hits} of {known} neurons the loss then rises more in the class that the neuron "
            "tells than in any other class"
        )
        if random_known:
            chance = float((1 / summary["n_contexts"].drop_nulls()).to_numpy().mean())
            text += (
                f"; for neurons drawn at random in the same layers this is so for {random_hits} of "
                f"{random_known} ({chance * random_known:.1f} are expected by chance)"
            )
        text += ". "
    own = chosen["relative_increase"].median()
    if isinstance(own, float):
        text += f"The median neuron raises the loss of its own class by {_percent(own)}"
        drawn = summary.filter(pl.col("control") == RANDOM_NEURON)["relative_increase"].median()
        if isinstance(drawn, float):
            text += f", the median random neuron changes that loss by {_percent(drawn)}"
        text += "."
    return text


def _method(losses: pl.DataFrame) -> Part:
    sizes = losses["n_sequences"].unique().sort().to_list()
    n = " to ".join(dict.fromkeys([str(sizes[0]), str(sizes[-1])]))
    site = ", ".join(losses["site"].unique().sort())
    active = losses.filter(pl.col("control") == REAL)["active_in_class"]
    random = losses.filter(pl.col("control") == RANDOM_NEURON)
    control = "The control is a neuron drawn at random in the same layer, ablated in the same way"
    control += ", in the same class only." if _own_only(random) else "."
    choice = (
        "The neuron of a class is the one whose probe has the highest F1 on the training texts, "
        "over all layers and rankings; of those about equally good (within "
        "interventions.context_neurons.f1_tolerance) the one whose activations in and out of the "
        "class are furthest apart"
    )
    if active.all():
        choice += (
            ". Only neurons that are active within the class were considered (their probe says "
            "“not this class” at activation zero): setting any other to zero would make every text "
            "look like the class"
        )
    return Part(
        "What was done",
        (
            f"{choice}. Everything on this page is measured on test texts, {n} sequences of each "
            f"class. The site is {site}; a neuron L7.22 is neuron 22 of layer 7, both counted "
            "from 0.",
            "The loss is the cross-entropy of the next token in nats, averaged over the tokens of "
            "a sequence that carry its label (neither the document token nor padding) and then "
            "over the sequences of a class. The increase compares the same sequences with and "
            "without the ablation; its standard error is over sequences, from these differences. "
            "One ablation changes one neuron, at every token.",
            *([] if random.is_empty() else [control]),
        ),
    )


def _own_only(losses: pl.DataFrame) -> bool:
    return bool((losses["feature"] == losses["context"]).all())


def _part(
    section: tuple[str, str, str, str],
    losses: pl.DataFrame,
    summary: pl.DataFrame,
    told: pl.DataFrame,
    words: pl.DataFrame,
) -> Part:
    model, dataset, _, collection = section
    hits, known = _holds(summary, REAL)
    chosen = summary.filter(pl.col("control") == REAL)
    clear = chosen["increase"] > 2 * chosen["increase_se"]
    text = [
        f"{len(clear)} classes: {name_of(collection)}. For {int(clear.sum())} of them the neuron's "
        "ablation raises the loss in its own class by more than two standard errors. "
    ]
    if known:
        missed = summary.filter((pl.col("control") == REAL) & ~pl.col("own_highest"))
        text[0] += f"For {hits} of {known} the loss rises most in the neuron's own class. "
        text += [_miss(row) for row in missed.iter_rows(named=True)]
    items: list[Picture | Table] = [
        Picture(
            draw_heat_map(losses),
            "Rise of the loss in % of the loss without ablation: a row is one ablated neuron (the "
            "class that it tells, and its name), a column the class of the texts. Orange frames "
            "mark the neuron's own class. Left: the neurons that tell the classes. Right: random "
            "neurons of the same layers. The colours of a row, left and right, are scaled to the "
            "largest change on the left; blue is a fall. Changes within two standard errors of "
            "zero have no colour.",
            "Heat map of the rise of the loss by ablated neuron and class of text",
        ),
        _loss_table(summary),
        Picture(
            draw_neurons(losses, told, words, SHOWN_TOKENS),
            "A row is one neuron. Left: distribution of its activation over single tokens within "
            "its class (colour) and in all other classes (grey), each a share of its own tokens, "
            "on a logarithmic scale. Middle: the tokens of the vocabulary whose mean activation "
            "differs most within (dot) and outside of the class (circle): the same token, told "
            "apart by its context. ␣ is a space, � part of a character. Right: rise of the loss "
            "in % when the neuron is ablated, by class, with standard errors.",
            "Activations in and out of class, distinguished tokens and rise of the loss by neuron",
        ),
    ]
    if not words.is_empty():
        items.append(_token_table(words))
    return Part(f"{model} on {dataset}", tuple(text), tuple(items))


def _miss(row: dict) -> str:
    own, other = (
        f"{_milli(row[name])} ± {_milli(row[name + '_se'])}"
        for name in ("increase", "increase_other")
    )
    return (
        f"Not so {neuron_name(row['layer'], row['neuron'])} ({row['feature']}): {own} thousandths "
        f"of a nat a token in {row['feature']}, but {other} in {row['other']}."
    )


def _loss_table(summary: pl.DataFrame) -> Table:
    keys = [*SECTION, "feature"]
    control = (
        summary.filter(pl.col("control") == RANDOM_NEURON)
        .group_by(keys)
        .agg(
            pl.col("increase").mean().alias("random"),
            # Of the mean of several neurons; for one it is that neuron's.
            ((pl.col("increase_se") ** 2).sum().sqrt() / pl.len()).alias("random_se"),
        )
    )
    table = summary.filter(pl.col("control") == REAL).join(control, on=keys, how="left")
    milli = ["increase", "increase_se", "increase_other", "increase_other_se", "random",
             "random_se"]  # fmt: skip
    frame = table.select(
        "feature",
        pl.struct("layer", "neuron")
        .map_elements(lambda n: neuron_name(n["layer"], n["neuron"]), return_dtype=pl.String)
        .alias("unit"),
        "f1",
        "loss",
        (100 * pl.col("relative_increase")).alias("percent"),
        *(pl.col(name) * 1000 for name in milli[:2]),
        "other",
        *(pl.col(name) * 1000 for name in milli[2:]),
    )
    return Table(
        frame,
        "One row a class and its neuron. F1: of the probe on this neuron, on the test split. Loss: "
        "nats a token in the class, without ablation. Rises of the loss: in its own class (in % "
        "and in thousandths of a nat a token), in the other class where it is largest, and in the "
        "own class when a random neuron of the layer is ablated instead; each with its standard "
        "error over sequences.",
        {
            "feature": "class",
            "unit": "neuron",
            "f1": "F1",
            "percent": "rise, own class (%)",
            "increase": "own class (mnat)",
            "increase_se": "± SE",
            "other": "other class",
            "increase_other": "other class (mnat)",
            "increase_other_se": "± SE ",
            "random": "random neuron (mnat)",
            "random_se": "± SE  ",
        },
        dict.fromkeys(milli, 1),
    )


def _token_table(words: pl.DataFrame) -> Table:
    unit = ["feature", "layer", "neuron"]
    frame = words.filter(pl.int_range(pl.len()).over(unit) < SHOWN_TOKENS).select(
        "feature",
        pl.col("text").map_elements(visible, return_dtype=pl.String),
        "n_in",
        "n_out",
        "mean_in",
        "mean_out",
        "difference",
    )
    return Table(
        frame,
        "The tokens whose mean activation the neuron of a class distinguishes most: occurrences "
        "and mean activation within and outside of the class.",
        {
            "feature": "class",
            "text": "token",
            "n_in": "in class",
            "n_out": "elsewhere",
            "mean_in": "mean in class",
            "mean_out": "mean elsewhere",
        },
    )


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %".replace("-", "−")


def _milli(value: float | None) -> str:
    return "–" if value is None else f"{1000 * value:.1f}".replace("-", "−")
