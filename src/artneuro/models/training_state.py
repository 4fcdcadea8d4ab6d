"""Checkpoints of a training run: one file that is whole or absent, and holds all that it takes."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from artneuro.core.artifacts import atomic_path

log = logging.getLogger(__name__)

MOMENTS = ("exp_avg", "exp_avg_sq")
FILE = "state.safetensors"


class CheckpointFolder:
    """Where the state of one training run is kept while it runs.

    Parameters
    ----------
    folder : Path
        Beside the output of the job, because Snakemake deletes the outputs of a failed job.
    fingerprint : str
        Hash of everything that training depends on; a state of another run is not taken up.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = folder / FILE, fingerprint

    def save(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, facts: dict[str, Any]
    ) -> None:
        """Write weights, moments and `facts`, which JSON must be able to hold exactly."""
        tensors = {}
        for name, parameter in model.named_parameters():
            tensors[f"weight/{name}"] = parameter.detach().cpu().contiguous()
            for moment in MOMENTS:
                state = optimizer.state[parameter][moment]
                tensors[f"{moment}/{name}"] = state.detach().cpu().contiguous()
        note = json.dumps({"fingerprint": self.fingerprint, "facts": facts})
        with atomic_path(self.path) as temporary:
            save_file(tensors, temporary, metadata={"note": note})

    def load(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer
    ) -> dict[str, Any] | None:
        """Put a saved state back and return its facts; None where there is none of this run."""
        if not self.path.exists():
            return None
        try:
            with safe_open(str(self.path), framework="pt") as saved:
                note = json.loads(saved.metadata()["note"])
                if note["fingerprint"] != self.fingerprint:
                    log.warning("%s is of another run: training starts anew", self.path)
                    return None
                facts = note["facts"]
                tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            log.warning("%s is damaged: training starts anew", self.path)
            return None
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(tensors[f"weight/{name}"])
                optimizer.state[parameter] = {
                    "step": torch.tensor(float(facts["step"]), device=parameter.device),
                    **{m: tensors[f"{m}/{name}"].to(parameter.device) for m in MOMENTS},
                }
        return facts

    def remove(self) -> None:
        """Delete the folder, once the model is written."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
