"""Bringing a model to a plain local folder: from the hub, from a folder, or from a GGUF file."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from artneuro.core.artifacts import atomic_directory
from artneuro.core.errors import ArtneuroError, ModelError, SourceError
from artneuro.core.hashing import sha256_path
from artneuro.models.config import GgufSource, HubSource, LocalSource, ModelConfig
from artneuro.models.hooks import adapter_of
from artneuro.models.info import ModelInfo, write_model_info
from artneuro.models.shapes import count_weights, read_config, shape_of

log = logging.getLogger(__name__)

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
# Everything a tokenizer or config may need; never a pickle, and code only where it is trusted.
SMALL_SUFFIXES = (".json", ".txt", ".jinja", ".model")
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")


def fetch_model(
    config: ModelConfig, source_folder: Path | None, weights: Path, info: Path
) -> ModelInfo:
    """Save a model as a local folder of safetensors, config and tokenizer, and describe it.

    This is the only function of the package that may use the network to get a model. The folder
    appears complete or not at all.

    Parameters
    ----------
    config : ModelConfig
        Where the model comes from.
    source_folder : Path or None
        The unpacked package, for a GGUF source.
    weights : Path
        Folder to write. Weights of a local source are symbolic links to the absolute path of
        the given files (a 70B model is 140 GB); small files are copied.
    info : Path
        The `model.json` to write.

    Returns
    -------
    ModelInfo

    Raises
    ------
    SourceError
        If the source cannot be reached, is gated, or does not hold what it should.
    ModelError
        If there are no safetensors, or the architecture is not supported.
    """
    source = config.source
    with atomic_directory(weights) as folder:
        if isinstance(source, HubSource):
            origin, revision = f"hub:{source.id}", _from_hub(source, folder, config)
        elif isinstance(source, LocalSource):
            path = Path(source.path).expanduser().resolve()
            origin, revision = f"local:{path}", str(path)
            _from_folder(path, folder, config.trust_remote_code)
        elif isinstance(source, GgufSource):
            origin = f"gguf:{source.source}/{source.file}"
            revision = _from_gguf(source, source_folder, folder)
        else:
            raise ModelError(
                "this model is trained, not fetched",
                where=f"recipe {source.recipe!r}",
                fix="run the rule train_model",
            )
        hf_config = read_config(folder, config.trust_remote_code)
        adapter_of(hf_config.model_type, where=origin)
        shape = shape_of(hf_config)
        n_parameters, dtype = count_weights(folder)
        sha256 = sha256_path(folder)
    described = ModelInfo(
        shape=shape,
        n_parameters=n_parameters,
        dtype=dtype,
        source=origin,
        revision=revision,
        sha256=sha256,
    )
    write_model_info(described, info)
    log.info(
        "%s: %s with %d layers, %.3g parameters in %s",
        origin,
        shape.architecture,
        shape.n_layers,
        n_parameters,
        dtype,
    )
    return described


def select_files(names: Iterable[str], where: str, code: bool = False) -> list[str]:
    """Files of a model repository to take: its safetensors, config and tokenizer, never a pickle.

    Parameters
    ----------
    names : iterable of str
        Paths of the files relative to the repository; folders below it are left out.
    where : str
        The repository, for the error.
    code : bool
        Whether to take Python files too.

    Raises
    ------
    ModelError
        If there is no config.json, or no safetensors.
    """
    top = sorted(n for n in names if "/" not in n)
    if "config.json" not in top:
        raise ModelError(
            "not a model: it has no config.json",
            where=where,
            fix="give a model folder or repository as save_pretrained writes it",
        )
    if INDEX in top:
        tensors = [n for n in top if n.startswith("model-") and n.endswith(".safetensors")]
    else:
        tensors = [n for n in top if n == SINGLE]
    if not tensors:
        pickles = [n for n in top if n.endswith(PICKLES)]
        held = f"; it has {', '.join(pickles[:3])}, which can run code" if pickles else ""
        raise ModelError(
            f"the model has no safetensors{held}",
            where=where,
            fix="convert it once on a machine you trust (AutoModelForCausalLM.from_pretrained, "
            "then save_pretrained) and give that folder as a local source; for a hub repository "
            "the hub's converter often offers a branch such as refs/pr/1: name it as the revision",
        )
    suffixes = (*SMALL_SUFFIXES, ".py") if code else SMALL_SUFFIXES
    return tensors + [n for n in top if n.endswith(suffixes)]


def _from_hub(source: HubSource, folder: Path, config: ModelConfig) -> str:
    """Download a pinned revision to `folder` and return its commit."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{source.id} at {source.revision}"
    try:
        listing = HfApi().model_info(source.id, revision=source.revision)
        names = [s.rfilename for s in listing.siblings or []]
        wanted = select_files(names, where, config.trust_remote_code)
        commit = listing.sha or source.revision
        log.info("downloading %d files of %s at %s", len(wanted), source.id, commit)
        snapshot_download(source.id, revision=commit, allow_patterns=wanted, local_dir=folder)
    except ArtneuroError:
        raise
    except GatedRepoError as error:
        raise SourceError(
            "the model is gated",
            where=where,
            fix="accept its licence on the hub and set HF_TOKEN to a token of that account",
        ) from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise SourceError(
            "the hub has no such model or revision",
            where=where,
            fix="check id and revision; a private model needs HF_TOKEN",
        ) from error
    except (HfHubHTTPError, OSError, RuntimeError) as error:
        raise SourceError(
            f"cannot download the model ({type(error).__name__}: {error})",
            where=where,
            fix="check the network, or download the model elsewhere and give it as a local source",
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    return commit


def _from_folder(path: Path, folder: Path, code: bool) -> None:
    """Link the weights of a local folder and copy its small files."""
    if not path.is_dir():
        raise SourceError(
            "the model's folder does not exist",
            where=str(path),
            fix="correct the path of the local source in the config",
        )
    for name in select_files((p.name for p in path.iterdir() if p.is_file()), str(path), code):
        if name.endswith(".safetensors"):
            os.symlink(path / name, folder / name)
        else:
            shutil.copyfile(path / name, folder / name)


def _from_gguf(source: GgufSource, source_folder: Path | None, folder: Path) -> str:
    """De-quantise a GGUF file and save it; return the hash of the file.

    The weights are kept in float32. A Q4_1 weight is scale * q + minimum with both in float16,
    which needs more digits than float16 has: of SmolLM2's Q4_1 weights only 68% are exact in
    float16, and of its Q8_0 embedding 21%.
    """
    file = None if source_folder is None else Path(source_folder) / source.file
    if file is None or not file.is_file():
        raise SourceError(
            f"the package has no file {source.file!r}" + _reason(source_folder),
            where=f"source {source.source!r}",
            fix="check the file's path inside the package, or that the source was fetched",
        )
    options = {"gguf_file": file.name, "local_files_only": True}
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            str(file.parent), dtype=torch.float32, **options
        )
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), **options)
    except (ValueError, OSError, KeyError, RuntimeError, NotImplementedError) as error:
        raise ModelError(
            f"transformers cannot read this GGUF file ({error})",
            where=str(file),
            fix="give a GGUF file of a supported architecture, or a safetensors folder",
        ) from error
    hf_config = loaded.config
    if hasattr(hf_config, "quantization_config"):
        del hf_config.quantization_config
    # A model that came from GGUF counts as quantised and refuses to be saved; a fresh one does not.
    with torch.device("meta"):
        plain = type(loaded)(hf_config)
    plain.load_state_dict(loaded.state_dict(), assign=True)
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for saved in folder.glob("*.safetensors"):
        saved.chmod(
            0o644
        )  # the library writes it for its owner alone; a cluster's folder is shared
    return "sha256:" + sha256_path(file)


def _reason(source_folder: Path | None) -> str:
    """What `source.json` says about a source, for an error."""
    note = None if source_folder is None else Path(source_folder) / "source.json"
    return f" ({note.read_text(encoding='utf-8').strip()})" if note and note.is_file() else ""
