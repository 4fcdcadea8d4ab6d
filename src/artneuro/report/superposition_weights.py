"""What the page about superposition says of weights: the toy model, and norms and biases by layer.

Thesis, section A.3 and figures 2.2c and A.3.
"""

from __future__ import annotations

import polars as pl

from artneuro.report.case_page import Part, Picture, Table
from artneuro.report.superposition_figures import toy_figure, weights_figure


def weights_part(words: pl.DataFrame, neurons: pl.DataFrame) -> Part:
    """The section of the page on weights.

    Parameters
    ----------
    words : DataFrame
        With `model` and `layer` of each word that the page shows: these layers are marked.
    neurons : DataFrame
        What `summarise_weights` wrote for all models.
    """
    items: list[Picture | Table] = [
        Picture(
            toy_figure(),
            "The toy model: weight norm, bias and their product against the number of features "
            "packed into a plane. Crossing zero at four features.",
            "Line chart: norm grows with the number of features, bias and product fall below 0.",
        )
    ]
    with_bias: list[str] = []
    without: list[str] = []
    for (model,), own in neurons.group_by(["model"], maintain_order=True):
        (with_bias if own["fingerprint"].drop_nulls().len() else without).append(str(model))
        layers = words.filter(pl.col("model") == model)["layer"].to_list()
        items.append(
            Picture(
                weights_figure(own, layers, str(model)),
                f"{model}: median over the neurons of a layer (line), the middle half and the "
                "middle 80 % of them (bands). Triangles: layers that the words above are read "
                "from.",
                "Line charts of weight statistics by layer.",
            )
        )
    items.append(_layer_table(neurons))
    paragraphs = [
        "A neuron that takes part in many features must stay silent on nearly all of what it "
        "reads. A negative bias silences it on weak and shared inputs, and large input weights "
        "let its own features through. In the toy model below (n features of which one is "
        "present at a time, in a plane, read back by ReLU units) the smallest weights that work "
        "have the norm 1 / √(1 − cos t) and the bias −cos t / (1 − cos t) with t = 2π/n. Their "
        "product is above 0 for three features, 0 for four, and falls without "
        "bound as more are packed in. Read its sign and its trend over layers, not its size: that "
        "depends on the scale of activations. Weights are taken as stored, with nothing folded "
        "in.",
    ]
    if with_bias:
        paragraphs.append(
            f"{_list(with_bias)}: the fingerprint is the norm of a neuron's input weights times "
            "its input bias. Strongly negative layers are where the toy model expects "
            "superposition."
        )
    if without:
        paragraphs.append(
            f"{_list(without)}: the MLPs of this architecture have no biases, so there is no "
            "fingerprint to compute. The toy model without biases packs at most four features "
            "into a plane; a real model can use a constant direction of its residual stream "
            "instead, which weights alone do not show. The norms of the weights are given in its "
            "place: of the gate, of the linear part that it multiplies, and of the output."
        )
    return Part("What the weights say", tuple(paragraphs), tuple(items))


def _list(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _layer_table(neurons: pl.DataFrame) -> Table:
    columns = {
        "norm_in": "input norm",
        "norm_up": "norm of the linear part",
        "norm_out": "output norm",
        "bias_in": "input bias",
        "fingerprint": "fingerprint",
        "cos_in_out": "cosine of input and output",
    }
    shown = [c for c in columns if neurons[c].drop_nulls().len()]
    keys = ["model", "layer"] if neurons["model"].n_unique() > 1 else ["layer"]
    frame = neurons.group_by(keys).agg(pl.col(c).median() for c in shown).sort(keys)
    return Table(
        frame,
        "A row is a layer; medians over its neurons. Input: the gate's weights in a gated MLP.",
        columns,
        {"cos_in_out": 3},
    )
