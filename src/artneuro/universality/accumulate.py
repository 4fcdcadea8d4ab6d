"""One job of the correlations: forward passes of its models, and sums of products."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import transformers

from artneuro.core.errors import DataError, ModelError
from artneuro.core.hashing import sha256_file, sha256_json
from artneuro.core.logs import Progress
from artneuro.datasets.tokenizer import load_tokenizer
from artneuro.datasets.tokens import read_token_dataset
from artneuro.models.info import ModelInfo, read_model_info
from artneuro.models.loading import LanguageModel, load_model
from artneuro.universality.blocks import Block, part_of, plan_blocks, wanted_tokens
from artneuro.universality.checkpoint import Checkpoint
from artneuro.universality.config import ComparisonConfig, GroupConfig
from artneuro.universality.layout import Layout, check_memory, lay_out
from artneuro.universality.moments import ProductSums
from artneuro.universality.reading import reading
from artneuro.universality.sums import FORMAT, write_sums
from artneuro.universality.tiles import tiles_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SumsFacts:
    """What a job did, for its provenance.

    Attributes
    ----------
    device : str
        Where it computed.
    n_tokens, n_blocks : int
        Tokens that were compared, and the blocks that they came in.
    resumed_blocks : int
        Blocks that an interrupted run had done.
    seconds, multiply_seconds : float
        Of this run, and of the sums in it.
    tokens_per_second, gflop_per_second : float
        Rate of the whole, and arithmetic rate of the sums.
    largest_error : float
        Largest measured error of a product within a block, as of a correlation.
    n_repeated : int
        Products that were computed again more exactly.
    """

    device: str
    n_tokens: int
    n_blocks: int
    resumed_blocks: int
    seconds: float
    multiply_seconds: float
    tokens_per_second: float
    gflop_per_second: float
    largest_error: float
    n_repeated: int


def accumulate_correlations(
    config: ComparisonConfig,
    group: GroupConfig,
    tile: int,
    part: int,
    weights: Sequence[Path],
    model_infos: Sequence[Path],
    tokenizer: Path,
    tokens: Path,
    sequences: Path,
    sums: Path,
    *,
    name: str,
    work: Path,
    dtypes: Mapping[str, str] | None = None,
    trust_remote_code: Sequence[str] = (),
    document_token: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    code: Mapping[str, str] | None = None,
) -> SumsFacts:
    """Sum the products of the neurons of a tile over a part of the tokens (appendix B.2.2).

    Every model of the tile runs once on each batch. A job that was killed goes on from its last
    checkpoint and gives the same bits as an undisturbed one on the same machine and number of
    threads.

    Parameters
    ----------
    config : ComparisonConfig
    group : GroupConfig
    tile, part : int
        Which job of the group this is.
    weights, model_infos : sequence of Path
        Folder and `model.json` of the tile's models, in the order of `Tile.members`.
    tokenizer : Path
        Folder of the tokenizer that they share.
    tokens, sequences : Path
        Tables of the text.
    sums : Path
        The Zarr folder to write.
    name : str
        Name of the group.
    work : Path
        Folder for checkpoints, beside the sums; deleted at the end.
    dtypes : mapping of str to str, optional
        Type that each model computes in; "auto" where it is not said.
    trust_remote_code : sequence of str
        Models whose folders may run Python files.
    document_token : str, optional
        The text's, if its config names one.
    device : {"auto", "cpu", "cuda"}
    threads : int, optional
        Threads of torch. Empty: as it is set.
    code : mapping, optional
        Hashes of the code that runs: checkpoints of other code are not used.

    Returns
    -------
    SumsFacts

    Raises
    ------
    ConfigError
        If the sums need more memory than allowed, or layers cannot be divided.
    ModelError
        If the models differ in their vocabulary.
    DataError
        If no tokens are left, or an activation is NaN or infinite.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    plan = tiles_of(group)[tile]
    infos = {m: read_model_info(path) for m, path in zip(plan.members, model_infos, strict=True)}
    dataset = read_token_dataset(tokens, sequences)
    _check_models(infos, dataset.tokens, str(tokens))
    layout = lay_out(plan, infos, baseline=config.metric != "jaccard")
    check_memory(name, group, layout, config.block_tokens)
    strings = load_tokenizer(tokenizer, document_token).strings()
    wanted = wanted_tokens(dataset, strings, config.exclude)
    blocks = plan_blocks(
        part_of(wanted, part, group.token_parts), config.block_tokens, config.batch_tokens
    )
    if sum(block.n_rows for block in blocks) < 2:
        raise DataError(
            f"part {part} of {group.token_parts} has no tokens to compare",
            where=f"universality.groups.{name}.token_parts",
            fix="divide the tokens into fewer parts, or give a longer text",
        )
    models = {
        m: load_model(path, (dtypes or {}).get(m, "auto"), device, m in trust_remote_code)
        for m, path in zip(plan.members, weights, strict=True)
    }
    facts = {
        "format": FORMAT,
        "group": name,
        "tile": tile,
        "part": part,
        "n_parts": group.token_parts,
        **config.model_dump(mode="json"),
        "text_sha256": sha256_file(tokens),
    }
    fingerprint = sha256_json(
        {
            **facts,
            "group_config": group.model_dump(mode="json"),
            "models": {m: [info.sha256, models[m].dtype] for m, info in infos.items()},
            "sequences": sha256_file(sequences),
            "code": dict(code or {}),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "threads": torch.get_num_threads(),
        }
    )
    found, done = sum_products(
        config, layout, models, dataset.tokens, blocks, Checkpoint(work, fingerprint)
    )
    products = [total.cpu().numpy() for total in found.centred()]
    n_pairs, own = len(layout.pairs), iter(products[len(layout.pairs) :])
    write_sums(
        sums,
        layout.models,
        layout.pairs,
        layout.within,
        products[:n_pairs],
        {m: [next(own) for _ in layers] for m, layers in layout.within.items()},
        {
            m: (found.mean(m).cpu().numpy(), found.deviations(m).cpu().numpy())
            for m in layout.models
        },
        {
            **facts,
            "n_tokens": found.n,
            "dtypes": {m: lm.dtype for m, lm in models.items()},
            "largest_error": done.largest_error,
        },
    )
    shutil.rmtree(work, ignore_errors=True)
    log.info("summed products over %d tokens: %s", found.n, asdict(done))
    return done


def sum_products(
    config: ComparisonConfig,
    layout: Layout,
    models: Mapping[str, LanguageModel],
    tokens: np.ndarray,
    blocks: Sequence[Block],
    checkpoint: Checkpoint,
) -> tuple[ProductSums, SumsFacts]:
    """Run the models over blocks of tokens and sum the products of their neurons.

    Parameters
    ----------
    config : ComparisonConfig
    layout : Layout
    models : mapping of str to LanguageModel
        Base models of the layout.
    tokens : ndarray of int, shape (sequence, position)
    blocks : sequence of Block
    checkpoint : Checkpoint
        Where to go on from, and where to save the state.

    Returns
    -------
    sums : ProductSums
        Not centred yet.
    facts : SumsFacts
    """
    device = next(iter(models.values())).device
    found = ProductSums(
        layout.units,
        layout.products(),
        device,
        config.precision,
        config.max_error,
        centre=config.metric != "jaccard",
    )
    started = time.perf_counter()
    n_done = 0
    if (state := checkpoint.load()) is not None:
        n_done = int(state.pop("n_blocks"))
        found.load_state(state)
        log.info("going on: %d of %d blocks are done", n_done, len(blocks))
    todo = blocks[n_done:]
    most = max((block.n_rows for block in todo), default=0)
    buffers = {
        m: torch.empty(most, size, dtype=torch.float32, device=device)
        for m, size in layout.units.items()
    }

    def take(model: str, layer: int, first: int, rows: torch.Tensor) -> None:
        columns = layout.models[model].columns(range(layer, layer + 1))
        target = buffers[model][first : first + len(rows), columns]
        if config.metric == "jaccard":
            # A comparison with NaN is False, and would hide it.
            target.copy_(torch.where(rows.isnan(), rows, (rows > config.active_above).to(rows)))
            return
        reference = found.moments[model].reference[columns]
        if found.n == 0 and first == 0:
            reference.copy_(rows[0])
        torch.sub(rows.to(device), reference, out=target)

    counter = Progress("correlations", sum(b.n_rows for b in todo), "tokens", log)
    multiply_seconds = 0.0
    with reading(
        models, {m: part.layers for m, part in layout.models.items()}, tokens, take
    ) as run:
        for i, block in enumerate(todo, n_done + 1):
            run(block)
            _wait(device)
            before = time.perf_counter()
            found.add({m: buffer[: block.n_rows] for m, buffer in buffers.items()})
            _wait(device)
            multiply_seconds += time.perf_counter() - before
            counter.add(block.n_rows)
            if checkpoint.due() and i < len(blocks):
                checkpoint.save({**found.state(), "n_blocks": np.array(i)})
    seconds = time.perf_counter() - started
    n_rows = sum(block.n_rows for block in todo)
    return found, SumsFacts(
        device=str(device),
        n_tokens=found.n,
        n_blocks=len(blocks),
        resumed_blocks=n_done,
        seconds=round(seconds, 3),
        multiply_seconds=round(multiply_seconds, 3),
        tokens_per_second=round(n_rows / seconds, 1),
        gflop_per_second=round(2e-9 * n_rows * layout.numbers() / max(multiply_seconds, 1e-9), 2),
        largest_error=found.errors.largest,
        n_repeated=found.errors.n_repeated,
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _check_models(infos: Mapping[str, ModelInfo], tokens: np.ndarray, where: str) -> None:
    for name, info in infos.items():
        if tokens.min() < 0 or tokens.max() >= info.shape.vocab:
            raise ModelError(
                f"token ids {tokens.min()} to {tokens.max()} are outside of the vocabulary of "
                f"{name}, {info.shape.vocab}",
                where=where,
                fix="compare models that share a tokenizer, on a text of that tokenizer",
            )
        if tokens.shape[1] > info.shape.n_ctx:
            raise ModelError(
                f"sequences of {tokens.shape[1]} tokens are longer than the context of {name}, "
                f"{info.shape.n_ctx}",
                where=where,
                fix="set a smaller n_ctx for the text",
            )
