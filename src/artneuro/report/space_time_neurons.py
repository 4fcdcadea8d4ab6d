"""Parts of the page about space and time: single neurons, and interventions on them (4.5, C.2)."""

from __future__ import annotations

import polars as pl

from artneuro.report.case_page import Part, Picture, Table
from artneuro.report.space_time_figures import draw_cosines, draw_pinned, draw_projections
from artneuro.report.style import count, neuron_name, score

# Neurons that are listed, and drawn, of each table of entities.
LISTED, DRAWN = 6, 2


def best_neurons(neurons: pl.DataFrame, most: int) -> pl.DataFrame:
    """Neurons whose weights' projections follow a target most on train rows, of each table.

    A neuron is there once for each target, by the kind of weights that does best.
    """
    key = pl.col("spearman_train").abs()
    return (
        neurons.drop_nulls("spearman_train")
        .sort(key, descending=True, maintain_order=True)
        .unique(
            ["model", "entities", "target", "layer", "neuron"], keep="first", maintain_order=True
        )
        .group_by("model", "entities", maintain_order=True)
        .head(most)
        .sort("entities", "model", key, descending=[False, False, True], maintain_order=True)
    )


def neurons_part(neurons: pl.DataFrame, projections: pl.DataFrame | None) -> Part:
    """Neurons that read from or write to the probes' directions, beside random directions."""
    best = best_neurons(neurons, LISTED)
    first = neurons.filter(pl.col("rank") == neurons["rank"].min())
    above = first.filter(pl.col("cosine").abs() > pl.col("cosine_random"))
    # Directions of any probe lean towards what activations vary along, as neurons' weights do.
    leaning = first.drop_nulls("cosine_shuffled")
    beyond = leaning.filter(pl.col("cosine").abs() > pl.col("cosine_shuffled"))
    tops = best.group_by("entities", "model", maintain_order=True).head(1)
    size = pl.col("spearman").abs()
    row = tops.sort(size, descending=True).row(0, named=True) if tops.height else None
    told = (
        f"The best neuron of a table by the train split exceeds all random directions in "
        f"{tops.filter(size > pl.col('spearman_random')).height} of {tops.height} cases, and all "
        f"other neurons drawn from its layer in "
        f"{tops.filter(size > pl.col('spearman_controls')).height}. The largest: "
        f"{neuron_name(row['layer'], row['neuron'])} of {row['model']} ({row['weights']} weights) "
        f"follows {row['target']} in {row['entities']} with a Spearman correlation of "
        f"{score(row['spearman'])} on test entities; the best of {row['n_random']} random "
        f"directions has {score(row['spearman_random'])}, of {row['n_controls']} other neurons "
        f"{score(row['spearman_controls'])}."
        if row is not None
        else ""
    )
    text = (
        f"In {above.height} of {first.height} searches (a target and a kind of weights), the "
        "largest cosine with the probe's direction exceeds the expected maximum of as many random "
        f"vectors; in {beyond.height} of {leaning.height} it exceeds the largest that probes of "
        "shuffled targets have on average, whose directions mean nothing.",
        "Activations are then projected on the weights of these neurons, which no label has "
        f"shaped. {told}",
    )
    items: list[Picture | Table] = [
        Picture(
            draw_cosines(neurons),
            "Largest cosines between weights and the probe's direction, by rank. Dotted, in the "
            "same colours: the expected largest one of as many random vectors.",
            "Cosines of the most similar neurons against random ones",
        )
    ]
    if projections is not None and best.height:
        drawn = best.group_by("entities", "model", maintain_order=True).head(DRAWN)
        drawn = _with_projections(drawn, projections)
        if drawn.height:
            items.append(
                Picture(
                    draw_projections(projections, drawn),
                    "Test entities, coloured by type, with Spearman correlations by type in the "
                    "legend. Neurons were chosen on the train split.",
                    "Projections on neurons' weights against the truth",
                )
            )
    items.append(_neurons_table(best))
    return Part("Neurons", text, tuple(items))


def _with_projections(rows: pl.DataFrame, projections: pl.DataFrame) -> pl.DataFrame:
    keys = ["model", "entities", "target", "weights", "layer", "neuron"]
    return rows.join(projections.select(keys).unique(), on=keys, how="semi", maintain_order="left")


def _neurons_table(best: pl.DataFrame) -> Table:
    by_type = [
        ", ".join(
            f"{kind.replace('_', ' ')} {score(rho)}" for kind, rho in zip(types, rhos, strict=True)
        )
        for types, rhos in best.select("types", "spearman_by_type").iter_rows()
    ]
    frame = best.select(
        "entities", "model",
        pl.Series("neuron", [neuron_name(*key) for key in best.select("layer", "neuron").rows()],
                  dtype=pl.String),
        "weights", "target", "cosine", "cosine_random", "spearman", "spearman_random",
        "spearman_controls", "activation_spearman",
        pl.Series("by_type", by_type, dtype=pl.String),
    )  # fmt: skip
    return Table(
        frame,
        "Neurons chosen on the train split; correlations on test entities. Random: the expected "
        "largest cosine of as many random vectors, and the largest correlation of random "
        "directions; other neurons: the largest of them. Activation: of the neuron itself.",
        {
            "cosine_random": "random", "spearman": "Spearman",
            "spearman_random": "random directions", "spearman_controls": "other neurons",
            "activation_spearman": "activation", "by_type": "Spearman by type",
        },
    )  # fmt: skip


def pinning_parts(pinned: pl.DataFrame) -> list[Part]:
    """A time neuron held at values, and what the model then says (figure C.2)."""
    parts = []
    for (table, model), rows in pinned.group_by(["entities", "model"], maintain_order=True):
        own = rows.filter(pl.col("neuron").is_not_null(), ~pl.col("control"))
        if own.is_empty():
            continue
        where = neuron_name(own["layer"][0], own["neuron"][0])
        frame = pinned_changes(rows)
        controls = int(frame["n_controls"].max() or 0)  # type: ignore[arg-type]
        text = (
            f"{where} of {model} is held at values while the model goes on with a text, for "
            f"{frame.height} entities of {table}. Somewhere in the range it changes the most "
            f"likely token of {int(frame['changes'].sum())} of {frame.height}; each of the "
            f"{controls} other neurons of the layer does so for "
            f"{score(_mean(frame['share_controls']) * frame.height)} on average.",
        )
        parts.append(
            Part(
                f"Held at values: {table}",
                text,
                (
                    Picture(
                        draw_pinned(rows),
                        "Above: probability of tokens while the time neuron is held, in standard "
                        "deviations of its activation at names. Below: divergence of the whole "
                        "prediction from that of the model as it is, beside controls.",
                        "Probabilities of the next token by the value that a neuron is held at",
                    ),
                    Table(
                        frame.select(
                            "text", "true", "as_it_is", "lowest", "highest", "changes",
                            "share_controls",
                        ),
                        "The most likely next token as it is, and with the time neuron at the "
                        "lowest and the highest value; whether it changes anywhere in the range; "
                        "share of the controls that change it.",
                        {"share_controls": "controls that do"},
                    ),
                ),
            )
        )  # fmt: skip
    return parts


def _mean(values: pl.Series) -> float:
    known = values.drop_nulls().to_numpy()
    return float(known.mean()) if len(known) else float("nan")


def pinned_changes(pinned: pl.DataFrame) -> pl.DataFrame:
    """The most likely tokens of each entity, and how many neurons change them.

    Parameters
    ----------
    pinned : DataFrame
        Table `pinned_predictions` of one model and table of entities.
    """
    found = []
    for (text, time), rows in pinned.group_by(["text", "time"], maintain_order=True):
        plain = rows.filter(pl.col("neuron").is_null())
        usual = plain["top_token_text"][0] if plain.height else None
        held = rows.filter(pl.col("neuron").is_not_null())
        own = held.filter(~pl.col("control")).sort("setting")
        others = held.filter(pl.col("control"))
        changing = others.filter(pl.col("top_token_text") != usual)["neuron"].n_unique()
        n_controls = others["neuron"].n_unique()
        found.append(
            {
                "text": str(text), "true": None if time is None else f"{time:.0f}",
                "as_it_is": usual, "lowest": own["top_token_text"][0],
                "highest": own["top_token_text"][-1],
                "changes": bool((own["top_token_text"] != usual).any()),
                "n_controls": n_controls,
                "share_controls": changing / n_controls if n_controls else None,
            }
        )  # fmt: skip
    return pl.DataFrame(found, schema_overrides={"share_controls": pl.Float64})


def ablation_parts(ablations: pl.DataFrame, contexts: pl.DataFrame | None) -> list[Part]:
    """Neurons held at zero: what it costs, and the tokens it costs most (tables C.1 to C.4)."""
    own, controls = (ablations.filter(pl.col("control") == flag) for flag in (False, True))
    raised = own.filter(pl.col("increase") > 2 * pl.col("increase_se"))
    tokens = int(ablations["n_tokens"].max() or 0)  # type: ignore[arg-type]
    frame = ablations.select(
        "entities", "model",
        pl.Series("neuron", [neuron_name(*k) for k in ablations.select("layer", "neuron").rows()],
                  dtype=pl.String),
        "target", "control", "activation_spearman", "loss", "increase", "increase_se",
        "share_raised", "increase_max",
    )  # fmt: skip
    text = (
        f"Each neuron is held at zero while the model reads {count(tokens)} tokens of text. The "
        f"mean loss rises by more than two standard errors for {raised.height} of {own.height} "
        f"space and time neurons, and for "
        f"{controls.filter(pl.col('increase') > 2 * pl.col('increase_se')).height} of "
        f"{controls.height} controls of the same layers.",
    )
    items: list[Picture | Table] = [
        Table(
            frame,
            "Loss a token as it is, and its increase with the neuron at zero, in nats, with "
            "standard errors over sequences; share of the tokens whose loss rises by more than "
            "0.01; the largest increase of a token.",
            {
                "activation_spearman": "Spearman of activation", "increase_se": "standard error",
                "share_raised": "share raised", "increase_max": "largest",
            },
            {"loss": 3, "increase": 5, "increase_se": 5, "share_raised": 4, "increase_max": 3},
        )
    ]  # fmt: skip
    if contexts is not None:
        for (table, model, layer, neuron), rows in contexts.filter(~pl.col("control")).group_by(
            ["entities", "model", "layer", "neuron"], maintain_order=True
        ):
            target = rows["target"][0]
            items.append(
                Table(
                    rows.sort("rank").select(
                        pl.col("context").str.replace_all(r"\s+", " "),
                        pl.col("token_text").alias("next token"), "increase",
                    ),
                    f"Contexts whose next token is predicted worst without "
                    f"{neuron_name(int(layer), int(neuron))} of {model} ({target} of {table}): "
                    "increase of the loss in nats.",
                    digits={"increase": 3},
                )
            )  # fmt: skip
    return [Part("Held at zero", text, tuple(items))]
