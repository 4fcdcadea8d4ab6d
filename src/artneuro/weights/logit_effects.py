"""What a neuron does to the output: its effect on the logit of every token of the vocabulary.

One unit of activation adds the neuron's output weights to the residual stream. Read through the
final norm's gain and the unembedding, that is a change of every logit, up to the positive factor
that the norm divides by (thesis, section 2.5.4 and figure 2.5b).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from artneuro.core.errors import ModelError
from artneuro.datasets.text_features import FEATURES
from artneuro.models.hooks import adapter_of
from artneuro.models.loading import LanguageModel
from artneuro.weights.families import family_of, gain_of

# Classes of tokens by their own text: those of the collection text_features, and one more.
TOKEN_CLASSES: dict[str, Callable[[str], bool]] = {
    "leading_capital": FEATURES["leading_capital"],
    "leading_lower_case": lambda token: token.removeprefix(" ")[:1].islower(),
    **{
        name: FEATURES[name]
        for name in (
            "all_capitals",
            "has_leading_space",
            "no_leading_space_and_loweralpha",
            "all_digits",
            "is_not_alphanumeric",
            "is_not_ascii",
        )
    },
}


@dataclass(frozen=True)
class OutputWeights:
    """What stands between the residual stream and the logits.

    Attributes
    ----------
    unembedding : Tensor, shape (vocabulary, d_model)
    gain : Tensor, shape (d_model,), float32
        What the final norm multiplies by.
    centred : bool
        Whether that norm takes the mean over the residual stream away first (layer norm does, RMS
        norm does not).
    """

    unembedding: torch.Tensor
    gain: torch.Tensor
    centred: bool


def read_output_weights(lm: LanguageModel) -> OutputWeights:
    """The output weights of a model that was loaded with its head (`load_causal_lm`).

    Raises
    ------
    ModelError
        If the model has no head.
    """
    head = lm.model.get_output_embeddings()
    if head is None:
        raise ModelError(
            "the model was loaded without its language-model head",
            where=str(lm.folder),
            fix="load it with load_causal_lm",
        )
    family = family_of(lm.architecture)
    norm = lm.model.base_model.get_submodule(family.final_norm)
    return OutputWeights(head.weight.detach(), gain_of(norm, family), family.centred)


def read_neuron_outputs(lm: LanguageModel, neurons: Sequence[tuple[int, int]]) -> np.ndarray:
    """What one unit of activation of each neuron adds to the residual stream.

    Where a norm follows the MLP its gain is in it, and the factor that it divides by is not.

    Parameters
    ----------
    lm : LanguageModel
        With or without its head.
    neurons : sequence of (layer, neuron)

    Returns
    -------
    ndarray of float32, shape (neurons, d_model)
    """
    adapter, family = adapter_of(lm.architecture), family_of(lm.architecture)
    blocks = lm.model.base_model.get_submodule(adapter.blocks)
    assert isinstance(blocks, nn.ModuleList)
    found = np.empty((len(neurons), lm.shape.d_model), dtype=np.float32)
    for row, (layer, neuron) in enumerate(neurons):
        block = blocks[layer]
        down = block.get_submodule(adapter.taps["mlp_post"].module)
        weight = down.get_parameter("weight").detach()
        # GPT-2's Conv1D holds the transpose of what a linear module holds.
        output = weight[:, neuron] if isinstance(down, nn.Linear) else weight[neuron]
        output = output.float()
        if family.after_mlp:
            output = output * gain_of(block.get_submodule(family.after_mlp), family)
        found[row] = output.cpu().numpy()
    return found


def logit_effects(weights: OutputWeights, outputs: np.ndarray, *, chunk: int = 8192) -> np.ndarray:
    """Change of every logit for one unit of activation, before the final norm divides.

    Parameters
    ----------
    weights : OutputWeights
    outputs : ndarray, shape (neurons, d_model)
        From `read_neuron_outputs`, or any directions of the residual stream.
    chunk : int
        Tokens of the vocabulary that are turned to float32 at once.

    Returns
    -------
    ndarray of float32, shape (neurons, vocabulary)
        A constant on a line changes no probability: see `centred_effects`.
    """
    direction = torch.from_numpy(np.ascontiguousarray(outputs)).float()
    if weights.centred:
        direction = direction - direction.mean(dim=1, keepdim=True)
    direction = (direction * weights.gain.cpu()).to(weights.unembedding.device)
    found = np.empty((len(outputs), len(weights.unembedding)), dtype=np.float32)
    for start in range(0, len(weights.unembedding), chunk):
        part = weights.unembedding[start : start + chunk].float()
        found[:, start : start + chunk] = (direction @ part.T).cpu().numpy()
    return found


def centred_effects(effects: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Effects with their mean over the vocabulary taken away, and their standard deviation.

    Parameters
    ----------
    effects : ndarray, shape (neurons, vocabulary)
    known : ndarray of bool, shape (vocabulary,)
        Tokens of text: neither special nor without meaning, as the rows that pad a vocabulary are.

    Returns
    -------
    centred : ndarray of float64, shape (neurons, vocabulary)
    deviation : ndarray of float64, shape (neurons,)
    """
    chosen = effects[:, known].astype(np.float64)
    mean = chosen.mean(axis=1, keepdims=True)
    return effects - mean, chosen.std(axis=1)


def token_classes(strings: Sequence[str], known: np.ndarray) -> dict[str, np.ndarray]:
    """Tokens of the vocabulary in each of `TOKEN_CLASSES`.

    Parameters
    ----------
    strings : sequence of str, length vocabulary
        Text of each token.
    known : ndarray of bool, shape (vocabulary,)
        Tokens whose text is known.

    Returns
    -------
    dict of str to ndarray of bool, shape (vocabulary,)
    """
    return {
        name: known & np.fromiter(map(has, strings), dtype=np.bool_, count=len(strings))
        for name, has in TOKEN_CLASSES.items()
    }
