"""Training small GPT-2s that differ in nothing but the seed of their first weights (3.3.2)."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl
import torch
import transformers
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel

from artneuro.core.artifacts import atomic_directory, write_table
from artneuro.core.errors import ModelError
from artneuro.core.hashing import sha256_json, sha256_path
from artneuro.core.logs import Progress
from artneuro.models.devices import resolve_device
from artneuro.models.info import ModelInfo, write_model_info
from artneuro.models.loading import load_tokenizer
from artneuro.models.shapes import count_weights, shape_of
from artneuro.models.training_config import TrainingConfig
from artneuro.models.training_data import (
    TrainingText,
    batch_at,
    pieces,
    read_training_text,
    unigram_losses,
)
from artneuro.models.training_state import CheckpointFolder

log = logging.getLogger(__name__)

CURVE_SCHEMA = pl.Schema(
    {
        "model": pl.String(),
        "recipe": pl.String(),
        "seed": pl.Int64(),
        "step": pl.Int32(),
        "tokens": pl.Int64(),
        "learning_rate": pl.Float64(),
        "loss": pl.Float64(),
        "held_out_loss": pl.Float64(),
        "unigram_entropy": pl.Float64(),
        "unigram_cross_entropy": pl.Float64(),
    }
)


def train_model(
    config: TrainingConfig,
    seed: int,
    model_name: str,
    recipe: str,
    tokens: str | Path,
    tokenizer: str | Path,
    weights: str | Path,
    info: str | Path,
    curve: str | Path,
    work: str | Path,
    device: str = "auto",
    code: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Train a model and save it as a local folder, as `fetch_model` would.

    A run that was killed goes on from its last checkpoint and ends in the same weights as one that
    was not, on the same machine.

    Parameters
    ----------
    config : TrainingConfig
        The recipe.
    seed : int
        Seed of the initial weights (and of dropout); the data come in the recipe's order.
    model_name, recipe : str
        Names of the model and its recipe, for what is written.
    tokens : path
        What `tokenize_documents` wrote.
    tokenizer : path
        The recipe's tokenizer folder, which is copied into the model's.
    weights, info, curve : path
        The model folder, `model.json` and the table of the training curve to write.
    work : path
        Folder for checkpoints, beside the outputs; deleted at the end.
    device : {"auto", "cpu", "cuda"}
        bfloat16 autocast on a GPU, float32 on a CPU.
    code : mapping of str to str, optional
        Hashes of the code that runs: checkpoints of other code are not taken up.

    Returns
    -------
    polars.DataFrame
        The training curve, with the columns of docs/architecture.md.

    Raises
    ------
    DataError
        If the documents do not give one sequence.
    ModelError
        If the loss is no longer finite.
    """
    document_token = load_tokenizer(tokenizer).bos_token_id
    text = read_training_text(tokens, config.n_ctx, config.held_out_sequences, document_token)
    where = resolve_device(device)
    fingerprint = sha256_json(
        {
            "recipe": config.model_dump(mode="json", exclude={"checkpoint_minutes"}),
            "seed": seed,
            "tokens": sha256_path(tokens),
            "code": dict(code or {}),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "device": where.type,
        }
    )
    checkpoints = CheckpointFolder(Path(work), fingerprint)
    with _repeatable(where, config.threads):
        model = initial_model(config, seed, document_token)
        torch.nn.Module.to(model, where)
        entries = _train(model, config, seed, text, where, checkpoints)
    entropy, cross_entropy = unigram_losses(text, config.vocabulary)
    named = [(model_name, recipe, seed, *entry, entropy, cross_entropy) for entry in entries]
    table = pl.DataFrame(named, schema=CURVE_SCHEMA, orient="row")
    log.info("held-out loss %.3f nats a token; unigram entropy %.3f", entries[-1][-1], entropy)
    _save(model, Path(tokenizer), Path(weights), Path(info), f"trained:{recipe}", f"seed {seed}")
    write_table(table, curve)
    checkpoints.remove()
    return table


def initial_model(config: TrainingConfig, seed: int, document_token: int) -> GPT2LMHeadModel:
    """The untrained model of a recipe and a seed, the same on every device."""
    shape = GPT2Config(
        vocab_size=config.vocabulary,
        n_positions=config.n_ctx,
        n_embd=config.d_model,
        n_layer=config.n_layers,
        n_head=config.n_heads,
        n_inner=config.neurons,
        initializer_range=config.init_std,
        resid_pdrop=config.dropout,
        embd_pdrop=config.dropout,
        attn_pdrop=config.dropout,
        bos_token_id=document_token,
        eos_token_id=document_token,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPT2LMHeadModel(shape)
    for block in model.transformer.h:
        # The same function as gelu_new, in one kernel instead of eight.
        block.mlp.act = torch.nn.GELU(approximate="tanh")  # type: ignore[union-attr]
    return model


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Rate of a step, counted from 0: a linear warm-up, then half a cosine."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - 1 - config.warmup)
    share = config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * done)) / 2
    return config.learning_rate * share


def _train(
    model: GPT2LMHeadModel,
    config: TrainingConfig,
    seed: int,
    text: TrainingText,
    device: torch.device,
    checkpoints: CheckpointFolder,
) -> list[list]:
    """Run all steps that are left, and return the entries of the curve."""
    optimizer = make_optimizer(model, config)
    facts = checkpoints.load(model, optimizer)
    if facts is None:
        held_out = held_out_loss(model, text.held_out, config.micro_batch or config.batch, device)
        facts = {"step": 0, "loss": 0.0, "counted": 0}
        facts["entries"] = [[0, 0, 0.0, None, held_out]]
    else:
        log.info("going on from step %d of %d", facts["step"], config.steps)
    total = torch.tensor(facts["loss"], dtype=torch.float64, device=device)
    per_step = config.batch * config.n_ctx
    progress = Progress("training", (config.steps - facts["step"]) * per_step, "tokens", log)
    saved = time.monotonic()
    model.train()
    for step in range(facts["step"], config.steps):
        rows = text.train[batch_at(step, config.batch, len(text.train), config.seed)]
        total += _update(model, optimizer, rows, config, seed, step, device)
        facts["step"], facts["counted"] = step + 1, facts["counted"] + 1
        if (step + 1) % config.record_every == 0 or step + 1 == config.steps:
            loss = float(total) / facts["counted"]
            if not math.isfinite(loss):
                raise ModelError(
                    f"the loss is no longer finite at step {step + 1}",
                    fix="lower learning_rate of the recipe, or lengthen its warmup",
                )
            held_out = held_out_loss(
                model, text.held_out, config.micro_batch or config.batch, device
            )
            rate = learning_rate(config, step)
            facts["entries"].append([step + 1, (step + 1) * per_step, rate, loss, held_out])
            facts["counted"] = 0
            total.zero_()
        if time.monotonic() - saved >= 60 * config.checkpoint_minutes:
            checkpoints.save(model, optimizer, {**facts, "loss": float(total)})
            saved = time.monotonic()
        progress.add(per_step)
    return facts["entries"]


def make_optimizer(model: torch.nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """AdamW in one kernel; matrices and embeddings decay, biases and norms do not."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def _update(
    model: GPT2LMHeadModel,
    optimizer: torch.optim.Optimizer,
    rows: np.ndarray,
    config: TrainingConfig,
    seed: int,
    step: int,
    device: torch.device,
) -> torch.Tensor:
    """One step on `rows` (batch, n_ctx + 1); return the mean loss before it."""
    if config.dropout:
        # A function of the step, so that a run that goes on drops what it would have dropped.
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1)[0]))
    loss = torch.zeros((), device=device)
    for part in pieces(rows, config.micro_batch or config.batch):
        share = _loss(model, _to(part, device), device) * (len(part) / len(rows))
        share.backward()
        loss += share.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(config, step)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss


def _loss(model: GPT2LMHeadModel, tokens: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Mean cross-entropy of every token but the first, in nats."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
        hidden = model.transformer(input_ids=tokens[:, :-1], use_cache=False).last_hidden_state
        logits = model.lm_head(hidden)
    return functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(
    model: GPT2LMHeadModel, rows: np.ndarray, batch: int, device: torch.device
) -> float:
    """Mean loss on held-out sequences (n, n_ctx + 1), in nats a token, without dropout."""
    was = model.training
    model.eval()
    total = sum(
        float(_loss(model, _to(part, device), device)) * len(part) for part in pieces(rows, batch)
    )
    model.train(was)
    return total / len(rows)


def _to(rows: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(rows.astype(np.int64)).to(device)


@contextlib.contextmanager
def _repeatable(device: torch.device, threads: int) -> Iterator[None]:
    """A fixed number of threads and, on a GPU, kernels that give the same sums each time."""
    before = torch.get_num_threads()
    strict = torch.are_deterministic_algorithms_enabled()
    devices = [torch.cuda.current_device()] if device.type == "cuda" else []
    torch.set_num_threads(threads)
    if device.type == "cuda":
        # What cuBLAS asks for; it is read when a process first uses it.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.use_deterministic_algorithms(strict)
        torch.set_num_threads(before)


def _save(
    model: GPT2LMHeadModel, tokenizer: Path, weights: Path, info: Path, source: str, revision: str
) -> None:
    with atomic_directory(weights) as folder:
        model.cpu().save_pretrained(folder)
        for file in tokenizer.iterdir():
            if file.suffix == ".json":
                shutil.copyfile(file, folder / file.name)
        for saved in folder.glob("*.safetensors"):
            saved.chmod(0o644)  # the library writes it for its owner alone
        n_parameters, dtype = count_weights(folder)
        sha256 = sha256_path(folder)
    described = ModelInfo(
        shape=shape_of(model.config),
        n_parameters=n_parameters,
        dtype=dtype,
        source=source,
        revision=revision,
        sha256=sha256,
    )
    write_model_info(described, info)
