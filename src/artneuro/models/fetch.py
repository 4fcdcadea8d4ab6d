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
from artneuro.core.hashing import combine_sha256, content_files, sha256_file, sha256_path
from artneuro.core.sources import read_source
from artneuro.models.config import GgufSource, HubSource, LocalSource, ModelConfig
from artneuro.models.hooks import adapter_of
from artneuro.models.info import ModelInfo, write_model_info
from artneuro.models.licences import licence_of_card, licence_of_folder
from artneuro.models.safety import INDEX, check_model_files, code_of
from artneuro.models.shapes import count_weights, read_config, shape_of

log = logging.getLogger(__name__)

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
        If the source cannot be reached, is gated, or does not hold what it should; or if what came
        is not what was pinned or promised.
    ModelError
        If there are no safetensors, the architecture is not supported, or the model asks for more
        than to be loaded.
    """
    source = config.source
    promised: dict[str, str] = {}
    with atomic_directory(weights) as folder:
        if isinstance(source, HubSource):
            origin = f"hub:{source.id}"
            revision, promised, licence = _from_hub(source, folder, config)
        elif isinstance(source, LocalSource):
            path = Path(source.path).expanduser().resolve()
            origin, revision = f"local:{path}", str(path)
            _from_folder(path, folder, config.trust_remote_code)
            licence = source.licence or licence_of_folder(path)
        elif isinstance(source, GgufSource):
            origin = f"gguf:{source.source}/{source.file}"
            revision = _from_gguf(source, source_folder, folder)
            licence = _licence_of_package(source_folder)
        else:
            raise ModelError(
                "this model is trained, not fetched",
                where=f"recipe {source.recipe!r}",
                fix="run the rule train_model",
            )
        hashes = {path: sha256_file(path) for path in content_files(folder)}
        sha256 = combine_sha256(folder, hashes)
        _check_pins(source, hashes, sha256, promised, where=origin)
        code = _code_of(folder, origin, config.trust_remote_code)
        hf_config = read_config(folder, config.trust_remote_code)
        adapter_of(hf_config.model_type, where=origin)
        shape = shape_of(hf_config)
        n_parameters, dtype = count_weights(folder)
    described = ModelInfo(
        shape=shape,
        n_parameters=n_parameters,
        dtype=dtype,
        source=origin,
        revision=revision,
        sha256=sha256,
        remote_code=code,
        licence=licence,
    )
    write_model_info(described, info)
    log.info("%s: licence %s", origin, licence or "not named: give `licence` in the config")
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


def _check_pins(
    source: object, hashes: dict[Path, str], sha256: str, promised: dict[str, str], where: str
) -> None:
    """Compare what came with the config's pin, and with what the hub says its files are."""
    for path, found in hashes.items():
        if promised.get(path.name, found) != found:
            raise SourceError(
                f"{path.name} came damaged or exchanged: the hub says that its sha256 is "
                f"{promised[path.name]}, but it is {found}",
                where=where,
                fix="fetch again; if it stays, do not use this model",
            )
    pinned = getattr(source, "sha256", None)
    if pinned is not None and pinned != sha256:
        raise SourceError(
            f"the model is not what was pinned: expected sha256 {pinned}, got {sha256}",
            where=where,
            fix="do not use it; if the new content is meant, review it and pin its hash",
        )


def _code_of(folder: Path, origin: str, trusted: bool) -> tuple[str, ...]:
    """Names of the Python files that may run with the model, after a warning."""
    code = tuple(code_of(folder)) if trusted else ()
    if trusted:
        log.warning(
            "%s: trust_remote_code is on, so Python files of the model run with your rights: %s",
            origin, ", ".join(code) or "it has none, so turn it off",
        )  # fmt: skip
    return code


def _from_hub(
    source: HubSource, folder: Path, config: ModelConfig
) -> tuple[str, dict[str, str], str | None]:
    """Download a revision to `folder`; return its commit, the hub's hashes, and the licence."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"{source.id} at {source.revision}"
    try:
        listing = HfApi().model_info(source.id, revision=source.revision, files_metadata=True)
        names = [s.rfilename for s in listing.siblings or []]
        wanted = select_files(names, where, config.trust_remote_code)
        commit = listing.sha or source.revision
        if not source.is_pinned:
            log.warning(
                "%s: a later fetch may bring another model; to pin it: `revision: %s`",
                where, commit,
            )  # fmt: skip
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
    large = {s.rfilename: getattr(s, "lfs", None) for s in listing.siblings or []}
    promised = {name: lfs["sha256"] for name, lfs in large.items() if lfs and name in wanted}
    card = getattr(listing, "card_data", None)
    return commit, promised, source.licence or licence_of_card(card.to_dict() if card else {})


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
    check_model_files(file.parent)
    # Not None, for which the library asks on the terminal and runs what the user nods at.
    options = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
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


def _licence_of_package(source_folder: Path | None) -> str | None:
    """The licence of the pinned package that a GGUF file lies in."""
    try:
        return None if source_folder is None else read_source(source_folder).licence
    except SourceError:
        return None


def _reason(source_folder: Path | None) -> str:
    """What `source.json` says about a source, for an error."""
    note = None if source_folder is None else Path(source_folder) / "source.json"
    return f" ({note.read_text(encoding='utf-8').strip()})" if note and note.is_file() else ""
