"""A copy of a model whose weights are processed, and which says what the model says.

It shows that `artneuro.weights.preprocessing` loses nothing. Norms of the copy only divide.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from artneuro.models.hooks import adapter_of
from artneuro.models.loading import LanguageModel
from artneuro.weights.families import Family, family_of, gain_of
from artneuro.weights.preprocessing import centre_rows, centre_unembedding, fold_norm


def processed_model(lm: LanguageModel) -> PreTrainedModel:
    """A copy of a model with the gains and shifts of its norms folded in, and everything centred.

    Parameters
    ----------
    lm : LanguageModel
        With its head. It is left as it is.

    Returns
    -------
    PreTrainedModel
        Its head is not tied to its embedding. The next token has the same probabilities, up to
        rounding.

    Notes
    -----
    Thesis, section B.2.1.
    """
    model, family = copy.deepcopy(lm.model), family_of(lm.architecture)
    base, head = model.base_model, model.get_output_embeddings()
    # The embedding is not what is to be folded into.
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=False)
    model.config.tie_word_embeddings = False
    blocks = base.get_submodule(adapter_of(lm.architecture).blocks)
    assert isinstance(blocks, nn.ModuleList)
    for block in blocks:
        for norm, readers in (
            (family.attention_norm, family.attention_readers),
            (family.mlp_norm, family.mlp_readers),
        ):
            _fold(block.get_submodule(norm), [block.get_submodule(r) for r in readers], family)
        if family.centred:
            for name in family.writers:
                _centre_writer(block.get_submodule(name))
    _fold(base.get_submodule(family.final_norm), [head], family)
    if family.centred:
        for name in family.embeddings:
            weight = base.get_submodule(name).get_parameter("weight")
            _set(weight, centre_rows(_array(weight)))
    if not getattr(model.config, "final_logit_softcapping", None):
        _set(head.weight, centre_unembedding(_array(head.weight)))
        if head.bias is not None:
            _set(head.bias, _array(head.bias) - _array(head.bias).mean())
    return model


def _fold(norm: nn.Module, readers: list[nn.Module], family: Family) -> None:
    gain = gain_of(norm, family).cpu().double().numpy()
    shift = getattr(norm, "bias", None)
    for reader in readers:
        weight, bias = reader.get_parameter("weight"), getattr(reader, "bias", None)
        linear = isinstance(reader, nn.Linear)
        folded, added = fold_norm(
            _array(weight) if linear else _array(weight).T,
            None if bias is None else _array(bias),
            gain,
            None if shift is None else _array(shift),
        )
        if family.centred:
            folded = centre_rows(folded)
        _set(weight, folded if linear else folded.T)
        if added is not None:
            if bias is None:
                reader.bias = nn.Parameter(weight.new_zeros(len(added)), requires_grad=False)
            _set(reader.get_parameter("bias"), added)
    norm.get_parameter("weight").fill_(0.0 if family.gain_from_one else 1.0)
    if shift is not None:
        shift.zero_()


def _centre_writer(module: nn.Module) -> None:
    weight, bias = module.get_parameter("weight"), getattr(module, "bias", None)
    if isinstance(module, nn.Linear):
        _set(weight, centre_rows(_array(weight).T).T)
    else:
        _set(weight, centre_rows(_array(weight)))
    if bias is not None:
        _set(bias, centre_rows(_array(bias)))


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()


def _set(parameter: torch.Tensor, values: np.ndarray) -> None:
    parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))
