"""Throughput of the activation dump as a ratio of the bare forward pass, in the same run.

The dump is timed with everything that it does for a token: hooked forward pass, aggregation,
writing of parts, and putting the store together. The bare forward pass runs the same batches
through the same base model, without hooks and without the language-model head.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import torch
from harness import interleaved, record, seconds

from artneuro.activations.config import ActivationsConfig
from artneuro.activations.dump import count_tokens, dump_activations, plan_dump
from artneuro.activations.parts import Layout
from artneuro.activations.rows import build_rows
from artneuro.core.artifacts import write_table
from artneuro.core.hashing import sha256_path
from artneuro.models.info import ModelInfo, read_model_info, write_model_info
from artneuro.models.loading import LanguageModel, load_model
from artneuro.models.shapes import count_weights
from artneuro.models.sites import units_of

# Tokens of the question in front of names, the document token included.
QUESTION = 10


def make_dataset(
    folder: Path, vocab: int, n_sequences: int, n_ctx: int, rows: str, seed: int = 0
) -> tuple[np.ndarray, pl.DataFrame, pl.DataFrame]:
    """Token, sequence and label tables shaped like the demo's, in `folder`.

    `rows` is "spans" (the mean over each sequence, as for languages), "tokens" (every token after
    the tenth a row of its own: the most that can be asked of the writer), or "names" (the last of
    one to seven tokens behind a question of nine that all sequences share).
    """
    rng = np.random.default_rng(seed)
    tokens = rng.integers(3, vocab, (n_sequences, n_ctx), dtype=np.int32)
    if rows == "names":
        tokens[:, :QUESTION] = tokens[0, :QUESTION]
        length = rng.integers(QUESTION + 1, QUESTION + 8, n_sequences, dtype=np.int32)
    else:
        length = rng.integers(n_ctx // 2, n_ctx + 1, n_sequences, dtype=np.int32)
        length[: n_sequences // 2] = n_ctx  # crops of long documents are full
    tokens[np.arange(n_ctx) >= length[:, None]] = 0
    tokens[:, 0] = 0
    sequences = pl.DataFrame(
        {
            "sequence": np.arange(n_sequences, dtype=np.int32),
            "n_tokens": length,
            "group": [str(i) for i in range(n_sequences)],
            "split": ["train"] * n_sequences,
        }
    )
    if rows == "spans":
        spans = [(i, 1, int(n)) for i, n in enumerate(length)]
    elif rows == "names":
        spans = [(i, int(n) - 1, int(n)) for i, n in enumerate(length)]
    else:
        spans = [(i, t, t + 1) for i, n in enumerate(length) for t in range(10, n)]
    labels = pl.DataFrame(
        spans, schema={"sequence": pl.Int32, "start": pl.Int32, "end": pl.Int32}, orient="row"
    )
    write_table(
        pl.DataFrame({"tokens": tokens}, schema={"tokens": pl.Array(pl.Int32, n_ctx)}),
        folder / "tokens.parquet",
    )
    write_table(sequences, folder / "sequences.parquet")
    write_table(labels, folder / "labels.parquet")
    return tokens, sequences, labels


def bare_forward(lm: LanguageModel, batches: list[torch.Tensor]) -> None:
    """The base model over the batches: no hooks, no head."""
    with torch.inference_mode():
        for ids in batches:
            lm.model(input_ids=ids.to(lm.device), use_cache=False)
    if lm.device.type == "cuda":
        torch.cuda.synchronize()


def describe(weights: Path, folder: Path) -> ModelInfo:
    """model.json of a model folder, from beside it or made anew."""
    beside = weights.parent / "model.json"
    if beside.exists():
        shutil.copy(beside, folder / "model.json")
    else:
        shape = load_model(weights).shape
        n_parameters, dtype = count_weights(weights)
        info = ModelInfo(shape, n_parameters, dtype, "local", "", sha256_path(weights))
        write_model_info(info, folder / "model.json")
    return read_model_info(folder / "model.json")


def run(
    weights: Path,
    n_sequences: int = 32,
    n_ctx: int = 128,
    rows: str = "spans",
    repeats: int = 5,
    config: ActivationsConfig | None = None,
) -> float:
    """Measure, record, and return the ratio: bare forward seconds over the dump's seconds."""
    if rows == "names":
        config = config or ActivationsConfig(sites=["resid_post"])
        n_sequences, n_ctx = 16 * n_sequences, QUESTION + 7
    config = config or ActivationsConfig()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        info = describe(weights, folder)
        tokens, sequences, labels = make_dataset(folder, info.shape.vocab, n_sequences, n_ctx, rows)
        table = build_rows(labels, sequences, tokens)
        units = {site: units_of(site, info.shape, n_ctx) for site in config.sites}
        layout = Layout(units, tuple(range(info.shape.n_layers)), config.dtype)
        plan = plan_dump(config, layout, table, n_ctx)
        batches = [
            torch.from_numpy(tokens[b.sequences, : b.width].astype(np.int64))
            for part in plan
            for b in part.batches
        ]
        lm = load_model(weights)

        def ours() -> float:
            facts = dump_activations(
                config,
                weights,
                folder / "model.json",
                folder / "tokens.parquet",
                folder / "sequences.parquet",
                folder / "labels.parquet",
                folder / "activations.zarr",
                folder / "rows.parquet",
                work=folder / "parts",
            )
            return facts.forward_seconds + facts.store_seconds

        ours_s, peer_s = interleaved(
            ours, lambda: seconds(lambda: bare_forward(lm, batches)), repeats
        )
        n_tokens = count_tokens(plan)
    what = {
        "spans": "one mean span a sequence",
        "tokens": "every token a row",
        "names": "the last token behind a question of nine that all share",
    }[rows]
    work = (
        f"{n_tokens} tokens in {n_sequences} sequences of up to {n_ctx}, "
        f"{table.height} rows ({what}) x {info.shape.n_layers} layers x {list(units.values())} "
        f"units, {lm.dtype}, {torch.get_num_threads()} threads"
    )
    print(f"dump {n_tokens / ours_s:.0f} tokens/s, bare {n_tokens / peer_s:.0f} tokens/s")
    return record(f"dump_{rows}", work, ours_s, "bare forward pass (no hooks, no head)", peer_s)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, help="model folder")
    parser.add_argument("--sequences", type=int, default=32)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument(
        "--rows",
        choices=["spans", "tokens", "names"],
        nargs="+",
        default=["spans", "tokens", "names"],
    )
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    logging.getLogger("artneuro").setLevel(logging.WARNING)
    for rows in arguments.rows:
        run(arguments.weights, arguments.sequences, arguments.context, rows, arguments.repeats)


if __name__ == "__main__":
    main()
