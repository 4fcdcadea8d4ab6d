"""Weights without the freedom that a model's norms leave them (thesis, section B.2.1).

What a norm multiplies by and adds is folded into what reads through it. A layer norm takes the mean
over the residual stream away, so what reads and what writes along the vector of ones is without
effect and is taken away as well; an RMS norm keeps it, and so do we. One vector added to every row
of the unembedding changes no probability: their mean is taken away, except where the model bounds
its logits (Gemma 2), which a constant does change.

A norm behind the MLP (Gemma 2 and 3) stays where it is: it divides by the size of the whole output.
A neuron's output weights are there taken times that norm's gain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from artneuro.models.hooks import adapter_of
from artneuro.models.info import ModelShape
from artneuro.models.loading import LanguageModel
from artneuro.models.shapes import read_config
from artneuro.weights.families import Family, family_of, gain_of
from artneuro.weights.reading import MlpWeights, open_weights


def fold_norm(
    weight: np.ndarray, bias: np.ndarray | None, gain: np.ndarray, shift: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Weights and bias that read what a norm divides, before its gain and shift.

    Parameters
    ----------
    weight : array, shape (units, d_model)
    bias : array, shape (units,), or None
    gain, shift : array, shape (d_model,)
        What the norm multiplies by and adds; no shift in an RMS norm.

    Returns
    -------
    weight : array, shape (units, d_model)
    bias : array, shape (units,), or None where neither is

    Notes
    -----
    Thesis, equation B.2. Arrays are of numpy or of torch.
    """
    if shift is not None:
        added = weight @ shift
        bias = added if bias is None else bias + added
    return weight * gain, bias


def centre_rows(weight: np.ndarray) -> np.ndarray:
    """Rows over the residual stream without their mean: (units, d_model), reading or writing."""
    return weight - weight.mean(axis=-1, keepdims=True)


def centre_unembedding(weight: np.ndarray) -> np.ndarray:
    """An unembedding (vocabulary, d_model) without the mean of its rows."""
    return weight - weight.mean(axis=0, keepdims=True)


@dataclass(frozen=True)
class Unembedding:
    """What turns the residual stream, once it is divided, into logits.

    Attributes
    ----------
    weight : ndarray of float64, shape (vocabulary, d_model)
    bias : ndarray of float64, shape (vocabulary,), or None
    """

    weight: np.ndarray
    bias: np.ndarray | None


def iterate_processed_mlp(
    folder: str | Path, shape: ModelShape, layers: Sequence[int] | None = None
) -> Iterator[MlpWeights]:
    """Go through the MLP neurons of a model with their weights processed, layer by layer.

    Parameters
    ----------
    folder : path
        A model folder; the model is never loaded whole.
    shape : ModelShape
    layers : sequence of int, optional
        Layers to read, all of them unless told.

    Yields
    ------
    MlpWeights
        All neurons of a layer, float64. `bias_in` is there where the norm has a shift.

    Raises
    ------
    ModelError
        As in `artneuro.weights.reading.iterate_mlp_weights`.
    """
    family = family_of(shape.architecture, str(folder))
    with open_weights(folder, shape) as tensors:
        for raw in tensors.mlp(shape.d_mlp, layers):
            stem = f"{tensors.blocks}.{raw.layer}"
            gain = _stored_gain(tensors.vector(f"{stem}.{family.mlp_norm}.weight"), family)
            shift = tensors.optional_vector(f"{stem}.{family.mlp_norm}.bias")
            w_in, bias = fold_norm(raw.w_in, raw.bias_in, gain, shift)
            w_up = None if raw.w_up is None else fold_norm(raw.w_up, None, gain, shift)[0]
            w_out = raw.w_out
            if family.after_mlp:
                w_out = w_out * _stored_gain(
                    tensors.vector(f"{stem}.{family.after_mlp}.weight"), family
                )
            if family.centred:
                w_in, w_out = centre_rows(w_in), centre_rows(w_out)
            yield replace(raw, w_in=w_in, w_up=w_up, bias_in=bias, w_out=w_out)


def read_processed_unembedding(folder: str | Path, shape: ModelShape) -> Unembedding:
    """The processed unembedding of a model folder.

    Raises
    ------
    ModelError
        If the folder holds no unembedding, or a damaged one.
    """
    family = family_of(shape.architecture, str(folder))
    config = read_config(folder)
    name = family.embeddings[0] if config.tie_word_embeddings else family.head
    with open_weights(folder, shape) as tensors:
        weight = tensors.matrix(f"{name}.weight", (shape.vocab, shape.d_model))
        gain = _stored_gain(tensors.vector(f"{family.final_norm}.weight"), family)
        shift = tensors.optional_vector(f"{family.final_norm}.bias")
    weight, bias = fold_norm(weight, None, gain, shift)
    if family.centred:
        weight = centre_rows(weight)
    if not getattr(config, "final_logit_softcapping", None):
        weight = centre_unembedding(weight)
        bias = None if bias is None else bias - bias.mean()
    return Unembedding(weight, bias)


def _stored_gain(weight: np.ndarray, family: Family) -> np.ndarray:
    return weight + 1.0 if family.gain_from_one else weight


def processed_query(lm: LanguageModel, layer: int) -> np.ndarray:
    """Query weights of a layer, processed: float64, shape (head, d_head, d_model).

    The gain of a norm of queries (Gemma 3) is in them, what it divides by is not.
    """
    family = family_of(lm.architecture)
    block = block_of(lm, layer)
    attention = block.get_submodule(family.attention_readers[0].split(".")[0])
    reader = block.get_submodule(family.attention_readers[0])
    weight = _rows_of(reader)
    n_heads, d_model = lm.shape.n_heads, lm.shape.d_model
    if lm.architecture == "gpt2":
        # Queries, keys and values of all heads one after the other.
        weight = weight[:d_model]
    weight = weight.reshape(n_heads, -1, d_model)
    if lm.architecture == "gpt_neox":
        # Queries, keys and values of each head.
        weight = weight[:, : weight.shape[1] // 3]
    norm = block.get_submodule(family.attention_norm)
    weight = weight * gain_of(norm, family).cpu().double().numpy()
    query_norm = getattr(attention, "q_norm", None)
    if query_norm is not None:
        weight = weight * gain_of(query_norm, family).cpu().double().numpy()[:, None]
    return centre_rows(weight) if family.centred else weight


def block_of(lm: LanguageModel, layer: int) -> nn.Module:
    """A block of a loaded model."""
    blocks = lm.model.base_model.get_submodule(adapter_of(lm.architecture).blocks)
    assert isinstance(blocks, nn.ModuleList)
    return blocks[layer]


def _rows_of(module: nn.Module) -> np.ndarray:
    """Weights of a linear module, (outputs, inputs), float64; GPT-2 holds the transpose."""
    weight = module.get_parameter("weight").detach().cpu().double()
    return (weight if isinstance(module, nn.Linear) else weight.T).numpy()
