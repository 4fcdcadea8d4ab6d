"""What a model folder holds, read from its files without loading the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, PretrainedConfig

from artneuro.core.errors import ModelError
from artneuro.models.info import ModelShape
from artneuro.models.safety import check_model_files

# Names that configs of the supported families use for one and the same number.
_ALIASES = {
    "n_layers": ("num_hidden_layers",),
    "d_model": ("hidden_size",),
    "n_heads": ("num_attention_heads",),
    "n_ctx": ("max_position_embeddings",),
    "vocab": ("vocab_size",),
}


def read_config(folder: str | Path, trust_remote_code: bool = False) -> PretrainedConfig:
    """Read the Hugging Face config of a model folder, without the network.

    Raises
    ------
    ModelError
        If there is no readable config.json, or a file asks for more than to load the folder.
    """
    if not (Path(folder) / "config.json").is_file():
        raise ModelError(
            "not a model folder: it has no config.json",
            where=str(folder),
            fix="give a folder as save_pretrained writes it",
        )
    check_model_files(folder)
    try:
        return AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=trust_remote_code
        )
    except Exception as error:  # of odd values a config class says whatever Python says
        raise ModelError(
            f"cannot read the model's config.json ({error})",
            where=str(folder),
            fix="check that this version of transformers knows the architecture",
        ) from error


def shape_of(config: PretrainedConfig) -> ModelShape:
    """Sizes of the model that a Hugging Face config describes.

    Raises
    ------
    ModelError
        If the config lacks one of them, as configs of other kinds of models do.
    """
    found: dict[str, Any] = {}
    for field, names in _ALIASES.items():
        value = next((getattr(config, n) for n in names if hasattr(config, n)), None)
        if value is None:
            raise ModelError(
                f"the config of this {config.model_type!r} model has no {names[0]}",
                fix="give a decoder-only language model of text",
            )
        found[field] = int(value)
    if hasattr(config, "intermediate_size"):
        d_mlp = config.intermediate_size
    else:
        d_mlp = getattr(config, "n_inner", None) or 4 * found["d_model"]
    return ModelShape(
        architecture=config.model_type,
        d_mlp=int(d_mlp),
        n_kv_heads=int(getattr(config, "num_key_value_heads", None) or found["n_heads"]),
        **found,
    )


_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def count_weights(folder: str | Path) -> tuple[int, str]:
    """Number of parameters in a folder's safetensors files and the type most of them have.

    Raises
    ------
    ModelError
        If a file is missing or is not valid safetensors.
    """
    counts: dict[str, int] = {}
    files = sorted(Path(folder).glob("*.safetensors"))
    try:
        for file in files:
            with safe_open(str(file), framework="numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - not a mapping
                    piece = tensors.get_slice(name)
                    size = 1
                    for length in piece.get_shape():
                        size *= length
                    counts[piece.get_dtype()] = counts.get(piece.get_dtype(), 0) + size
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"cannot read the model's weights ({error})",
            where=str(file),
            fix="the file is truncated or damaged: fetch the model again",
        ) from error
    if not counts:
        raise ModelError(
            "the model folder has no weights",
            where=str(folder),
            fix="give a folder with .safetensors files",
        )
    stored = max(counts, key=counts.__getitem__)
    return sum(counts.values()), _DTYPES.get(stored, stored.lower())
