"""Tiny random models of every supported architecture, as local folders, made on the spot."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers

from artneuro.core.hashing import sha256_path
from artneuro.models.info import ModelInfo, write_model_info
from artneuro.models.loading import load_model
from artneuro.models.shapes import count_weights
from tests.tiny import make_tokenizer

VOCAB, N_CTX = 512, 64
_GATED = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": N_CTX,
    "tie_word_embeddings": True,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
_GPT = {"bos_token_id": 0, "eos_token_id": 0, "vocab_size": VOCAB}
CONFIGS: dict[str, transformers.PretrainedConfig] = {
    "gpt2": transformers.GPT2Config(n_embd=32, n_layer=3, n_head=4, n_positions=N_CTX, **_GPT),
    "gpt_neox": transformers.GPTNeoXConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=N_CTX,
        **_GPT,
    ),
    "llama": transformers.LlamaConfig(**_GATED),
    "gemma": transformers.GemmaConfig(**_GATED),
    "gemma2": transformers.Gemma2Config(sliding_window=8, query_pre_attn_scalar=8, **_GATED),
    "gemma3_text": transformers.Gemma3TextConfig(
        sliding_window=8, query_pre_attn_scalar=8, **_GATED
    ),
}
ARCHITECTURES = tuple(CONFIGS)


def make_model(
    architecture: str, folder: str | Path, seed: int = 0, tokenizer: bool = True
) -> Path:
    """Save a random model of an architecture, with a tokenizer of 512 ids, and return the folder.

    Weights are larger than an untrained model's, so that layers differ from each other and
    attention is not uniform.
    """
    config = CONFIGS[architecture]
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.ndim == 2 else 0.1
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(folder)
    if tokenizer:
        make_tokenizer(folder, n_ids=VOCAB)
    return Path(folder)


def write_info(folder: str | Path, path: str | Path) -> ModelInfo:
    """Write the `model.json` of a model folder, as `fetch_model` would."""
    n_parameters, dtype = count_weights(folder)
    info = ModelInfo(
        shape=load_model(folder, device="cpu").shape,
        n_parameters=n_parameters,
        dtype=dtype,
        source=f"local:{Path(folder).name}",
        revision="",
        sha256=sha256_path(folder),
    )
    write_model_info(info, path)
    return info
