"""What reads the residual stream through a norm, and what writes to it, in each family."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from artneuro.models.hooks import adapter_of


@dataclass(frozen=True)
class Family:
    """Names within a block (norms, readers, writers) and within the base model (the rest).

    Attributes
    ----------
    attention_norm, mlp_norm, final_norm : str
        The norms that the attention, the MLP and the head read through.
    attention_readers, mlp_readers : tuple of str
        What reads through the first two.
    writers : tuple of str
        What adds to the residual stream.
    embeddings : tuple of str
        What the residual stream starts from; the first is that of tokens.
    head : str
        The unembedding, where it is not tied.
    centred : bool
        Whether its norms take the mean over the residual stream away (layer norm does, RMS norm
        does not).
    gain_from_one : bool
        Whether its norms multiply by one plus their weight.
    after_mlp : str or None
        The norm between the MLP and the residual stream.
    """

    attention_norm: str
    mlp_norm: str
    final_norm: str
    attention_readers: tuple[str, ...]
    mlp_readers: tuple[str, ...]
    writers: tuple[str, ...]
    embeddings: tuple[str, ...]
    head: str = "lm_head"
    centred: bool = False
    gain_from_one: bool = False
    after_mlp: str | None = None


def _gated(mlp_norm: str, gain_from_one: bool = False, after_mlp: str | None = None) -> Family:
    return Family(
        "input_layernorm",
        mlp_norm,
        "norm",
        ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        ("mlp.gate_proj", "mlp.up_proj"),
        ("self_attn.o_proj", "mlp.down_proj"),
        ("embed_tokens",),
        gain_from_one=gain_from_one,
        after_mlp=after_mlp,
    )


_BETWEEN_NORMS = _gated("pre_feedforward_layernorm", True, "post_feedforward_layernorm")
FAMILIES: dict[str, Family] = {
    "gpt2": Family(
        "ln_1",
        "ln_2",
        "ln_f",
        ("attn.c_attn",),
        ("mlp.c_fc",),
        ("attn.c_proj", "mlp.c_proj"),
        ("wte", "wpe"),
        centred=True,
    ),
    "gpt_neox": Family(
        "input_layernorm",
        "post_attention_layernorm",
        "final_layer_norm",
        ("attention.query_key_value",),
        ("mlp.dense_h_to_4h",),
        ("attention.dense", "mlp.dense_4h_to_h"),
        ("embed_in",),
        head="embed_out",
        centred=True,
    ),
    "llama": _gated("post_attention_layernorm"),
    "gemma": _gated("post_attention_layernorm", gain_from_one=True),
    "gemma2": _BETWEEN_NORMS,
    "gemma3_text": _BETWEEN_NORMS,
}


def family_of(architecture: str, where: str | None = None) -> Family:
    """The family of an architecture.

    Raises
    ------
    ModelError
        If the architecture is not supported.
    """
    adapter_of(architecture, where)
    return FAMILIES[architecture]


def gain_of(norm: nn.Module, family: Family) -> torch.Tensor:
    """What a norm multiplies by, float32, shape (d_model,)."""
    weight = norm.get_parameter("weight").detach().float()
    return weight + 1.0 if family.gain_from_one else weight
