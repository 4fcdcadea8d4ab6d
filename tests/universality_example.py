"""Sums of correlations of given arrays, without models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from artneuro.universality.config import ComparisonConfig, GroupConfig
from artneuro.universality.layout import Layout
from artneuro.universality.moments import ProductSums
from artneuro.universality.sums import FORMAT, ModelPart, PairPart, write_sums
from artneuro.universality.tiles import pairs_of


def sums_of_arrays(path: Path, arrays: dict[str, np.ndarray], group: GroupConfig) -> Path:
    """Write the sums of activations (row, layer, neuron) of each model, as one job would."""
    models = {
        name: ModelPart(name, x.shape[1], x.shape[2], range(x.shape[1]))
        for name, x in arrays.items()
    }
    whole = {name: model.layers for name, model in models.items()}
    pairs = [PairPart(a, b, whole[a], whole[b]) for a, b in pairs_of(group)]
    layout = Layout(models, pairs, {pair.right: whole[pair.right] for pair in pairs})
    sums = ProductSums(layout.units, layout.products())
    n = len(next(iter(arrays.values())))
    for i in range(0, n, 4096):
        sums.add(
            {
                m: torch.from_numpy(x[i : i + 4096].reshape(-1, x[0].size)).float()
                for m, x in arrays.items()
            }
        )
    products = [total.numpy() for total in sums.centred()]
    own = iter(products[len(pairs) :])
    write_sums(
        path,
        models,
        pairs,
        layout.within,
        products[: len(pairs)],
        {m: [next(own) for _ in layers] for m, layers in layout.within.items()},
        {m: (sums.mean(m).numpy(), sums.deviations(m).numpy()) for m in models},
        {
            **ComparisonConfig().model_dump(mode="json"),
            "format": FORMAT,
            "group": "seeds",
            "tile": 0,
            "part": 0,
            "n_parts": 1,
            "text_sha256": "",
            "n_tokens": sums.n,
        },
    )
    return path
