"""The one place that loads models. It never uses the network."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from artneuro.core.errors import ModelError
from artneuro.models.devices import DTYPES, resolve_device, resolve_dtype
from artneuro.models.hooks import adapter_of
from artneuro.models.info import ModelShape
from artneuro.models.placement import FOR_WEIGHTS, blocks_of, empty_model, place_model
from artneuro.models.shapes import count_weights, read_config, shape_of
from artneuro.models.tokenizer_files import TOKENIZER_FIX, check_tokenizer_files

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model in evaluation mode.

    Attributes
    ----------
    model : PreTrainedModel
        The Hugging Face model: the base model of `load_model`, or with its language-model head.
    shape : ModelShape
        Architecture and sizes.
    folder : Path
        Where it was loaded from.
    device : torch.device
        Where its tokens go.
    dtype : str
        Type it computes in.
    """

    model: PreTrainedModel
    shape: ModelShape
    folder: Path
    device: torch.device
    dtype: str
    trust_remote_code: bool = False

    @property
    def architecture(self) -> str:
        """Model type, such as "llama"."""
        return self.shape.architecture

    @cached_property
    def gpus(self) -> tuple[int, ...]:
        """Numbers of the GPUs that hold its weights."""
        found = {p.device for p in self.model.parameters()}
        return tuple(sorted(device.index for device in found if device.type == "cuda"))

    @cached_property
    def tokenizer(self) -> Any:
        """The folder's tokenizer, read when it is first used."""
        return load_tokenizer(self.folder, self.trust_remote_code)


def load_tokenizer(folder: str | Path, trust_remote_code: bool = False) -> Any:
    """Load the tokenizer of a model folder, without the network.

    Raises
    ------
    ModelError
        If the folder has none that transformers can read.
    """
    check_tokenizer_files(folder)
    try:
        return AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=trust_remote_code
        )
    except (ValueError, OSError, KeyError, TypeError, ImportError) as error:
        raise ModelError(
            f"cannot read the model's tokenizer ({error})",
            where=str(folder),
            fix=TOKENIZER_FIX,
        ) from error


def load_model(
    weights: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load the base model, without language-model head, of a local folder.

    Parameters
    ----------
    weights : path
        A folder that `fetch_model` wrote (or any local folder in Hugging Face's format).
    dtype : {"auto", "float32", "bfloat16", "float16"}
        Type to compute in; auto is float32 on a CPU and bfloat16 on a GPU.
    device : {"auto", "cpu", "cuda"}
        A model that does not fit on one GPU is spread over all that torch sees.
    trust_remote_code : bool
        Whether Python files of the folder may run.

    Raises
    ------
    ModelError
        If the folder is not a model, is damaged, or its architecture is not supported.
    """
    return _load(AutoModel, weights, dtype, device, trust_remote_code)


def load_causal_lm(
    weights: str | Path,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> LanguageModel:
    """Load the model with its language-model head; arguments and errors as in `load_model`."""
    return _load(AutoModelForCausalLM, weights, dtype, device, trust_remote_code)


def random_causal_lm(
    weights: str | Path,
    seed: int,
    dtype: str = "auto",
    device: str = "auto",
    trust_remote_code: bool = False,
) -> LanguageModel:
    """A model of the same architecture as a local folder's, with random weights and its head.

    Parameters
    ----------
    weights, dtype, device, trust_remote_code
        As in `load_model`; only the folder's config is read.
    seed : int
        Of the weights, which are those that training would begin with.
    """
    folder = Path(weights)
    config = read_config(folder, trust_remote_code)
    adapter_of(config.model_type, where=str(folder))
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    # Drawn on the CPU, so that they are the same on every device.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, trust_remote_code=trust_remote_code
        )
    model.to(device=where, dtype=DTYPES[kind]).eval().requires_grad_(False)
    return LanguageModel(model, shape_of(config), folder, where, kind, trust_remote_code)


def _load(
    auto: Any, weights: str | Path, dtype: str, device: str, trust_remote_code: bool
) -> LanguageModel:
    folder = Path(weights)
    config = read_config(folder, trust_remote_code)
    adapter_of(config.model_type, where=str(folder))
    shape = shape_of(config)
    where = resolve_device(device)
    kind = resolve_dtype(dtype, where)
    options: dict[str, Any] = {}
    if where.type == "cuda":
        options["device_map"] = _placement(auto, folder, config, DTYPES[kind], trust_remote_code)
    try:
        model = auto.from_pretrained(
            str(folder),
            dtype=DTYPES[kind],
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            **options,
        )
    except Exception as error:  # each library below has its own kind of error for a bad file
        raise ModelError(
            f"cannot load the model ({type(error).__name__}: {error})",
            where=str(folder),
            fix="if a file is damaged, delete the folder and fetch the model again",
        ) from error
    model.eval().requires_grad_(False)
    return LanguageModel(model, shape, folder, where, kind, trust_remote_code)


def _placement(
    auto: Any, folder: Path, config: Any, dtype: torch.dtype, trust_remote_code: bool
) -> dict[str, int]:
    """One GPU where the weights fit with room for activations, else blocks over several."""
    own = torch.cuda.current_device()
    # Asked of one alone, as a question to a GPU takes some of its memory.
    if count_weights(folder)[0] * dtype.itemsize < FOR_WEIGHTS * torch.cuda.mem_get_info(own)[0]:
        return {"": own}
    gpus = [own, *(i for i in range(torch.cuda.device_count()) if i != own)]
    free = [torch.cuda.mem_get_info(i)[0] for i in gpus]
    skeleton = empty_model(auto, config, trust_remote_code)
    found = place_model(skeleton, blocks_of(skeleton), dtype, free, str(folder))
    placed = {path: gpus[place] for path, place in found.items()}
    if len(used := dict.fromkeys(placed.values())) > 1:
        log.info("the model is spread over %d GPUs: %s", len(used), placed)
    return placed
