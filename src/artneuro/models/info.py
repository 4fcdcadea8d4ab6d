"""What `model.json` says about a fetched model."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from artneuro.core.artifacts import read_json, write_json
from artneuro.core.errors import ModelError


@dataclass(frozen=True)
class ModelShape:
    """Sizes of a decoder-only transformer.

    Attributes
    ----------
    architecture : str
        Model type of its Hugging Face config, such as "llama".
    n_layers, d_model, d_mlp, n_heads, n_kv_heads : int
        Blocks, width of the residual stream, neurons of one MLP, query and key/value heads.
    vocab, n_ctx : int
        Tokens of the vocabulary and the longest sequence that the model was made for.
    """

    architecture: str
    n_layers: int
    d_model: int
    d_mlp: int
    n_heads: int
    n_kv_heads: int
    vocab: int
    n_ctx: int


@dataclass(frozen=True)
class ModelInfo:
    """What `model.json` says about a fetched model.

    Attributes
    ----------
    shape : ModelShape
        Architecture and sizes.
    n_parameters : int
        Numbers in the weight files; tied embeddings count once.
    dtype : str
        Type of the stored weights, such as "float32".
    source, revision : str
        Where the model came from, and the commit, version or folder that this was.
    sha256 : str
        Hash of the weights folder.
    remote_code : tuple of str
        Python files of the model's own that run with it; only where the config trusts them.
    licence : str or None
        Licence of the model; None where nobody named one.
    """

    shape: ModelShape
    n_parameters: int
    dtype: str
    source: str
    revision: str
    sha256: str
    remote_code: tuple[str, ...] = ()
    licence: str | None = None


def write_model_info(info: ModelInfo, path: str | Path) -> None:
    """Write `model.json`: the fields of the info with those of its shape beside them."""
    record = dataclasses.asdict(info)
    write_json({**record.pop("shape"), **record}, path)


def read_model_info(path: str | Path) -> ModelInfo:
    """Read `model.json`.

    Raises
    ------
    ModelError
        If the file is missing or lacks fields.
    """
    try:
        record = read_json(path)
        names = [f.name for f in dataclasses.fields(ModelShape)]
        shape = ModelShape(**{n: record.pop(n) for n in names})
        return ModelInfo(shape=shape, remote_code=tuple(record.pop("remote_code", ())), **record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"cannot read the model's description ({error!r})",
            where=str(path),
            fix="delete the file and run snakemake again: the model is fetched anew",
        ) from error
