"""What `auto` means for a device and for a type of numbers, without a library of models."""

from __future__ import annotations

import os

import torch

from artneuro.core.errors import ConfigError
from artneuro.models.claims import claim_gpu

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def resolve_device(device: str = "auto") -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means here.

    Where torch sees several GPUs, and neither a cluster nor the user has said which are this job's
    (`CUDA_VISIBLE_DEVICES`), the process takes one that no other job has.

    Raises
    ------
    ConfigError
        If `cuda` is asked for and torch sees no GPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device 'cuda' is asked for, but torch sees no GPU",
            where="compute.device",
            fix="set it to auto or cpu, or run the job on a node with a GPU",
        )
    is_free = device == "cuda" and "CUDA_VISIBLE_DEVICES" not in os.environ
    if is_free and (count := torch.cuda.device_count()) > 1:
        torch.cuda.set_device(claim_gpu(count))
    return torch.device(device)


def resolve_dtype(dtype: str, device: torch.device) -> str:
    """The type that `auto` means on a device: float32 on a CPU, else bfloat16."""
    if dtype == "auto":
        return "float32" if device.type == "cpu" else "bfloat16"
    if dtype not in DTYPES:
        raise ConfigError(
            f"unknown dtype {dtype!r}", where="dtype", fix=f"allowed: auto, {', '.join(DTYPES)}"
        )
    return dtype
