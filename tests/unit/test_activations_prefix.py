"""A prefix that all sequences share is run once: the same activations as without it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from artneuro.activations.config import ActivationsConfig
from artneuro.activations.dump import dump_activations
from artneuro.activations.extract import shared_prefix
from artneuro.activations.plan import Batch, Part
from artneuro.activations.store import open_store
from artneuro.core.artifacts import read_table, write_table
from artneuro.models.hooks import capture
from artneuro.models.loading import load_model
from tests.tiny_models import ARCHITECTURES, VOCAB, make_model, write_info

N_CTX, N_SHARED = 24, 13


def write_data(folder, spans):
    """Sequences of several lengths with one prefix, longer than the window of some attention."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, VOCAB, (len(spans), N_CTX), dtype=np.int32)
    tokens[:, :N_SHARED] = tokens[0, :N_SHARED]
    tokens[1, N_SHARED] = tokens[0, N_SHARED] + 1 if tokens[0, N_SHARED] < VOCAB - 1 else 1
    n_tokens = np.array([end for _, end in spans], dtype=np.int32)
    write_table(
        pl.DataFrame({"tokens": tokens}, schema={"tokens": pl.Array(pl.Int32, N_CTX)}),
        folder / "tokens.parquet",
    )
    sequence = np.arange(len(spans), dtype=np.int32)
    table = {"sequence": sequence, "n_tokens": n_tokens}
    frame = pl.DataFrame(table).with_columns(group=pl.lit("g"), split=pl.lit("train"))
    write_table(frame, folder / "sequences.parquet")
    start, end = (np.array(column, dtype=np.int32) for column in zip(*spans, strict=True))
    labels = pl.DataFrame({"sequence": sequence, "start": start, "end": end})
    write_table(labels, folder / "labels.parquet")
    return tokens


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_activations_are_those_of_whole_sequences(tmp_path, architecture, aggregation):
    make_model(architecture, tmp_path / "weights")
    write_info(tmp_path / "weights", tmp_path / "model.json")
    spans = [(13, 14), (14, 19), (15, 16), (13, 24), (20, 22), (13, 14), (16, 20), (23, 24)]
    tokens = write_data(tmp_path, spans)
    facts = dump_activations(
        ActivationsConfig(
            sites=["resid_post", "mlp_post", "attn_out"], dtype="float32", batch_tokens=64
        ),
        tmp_path / "weights",
        tmp_path / "model.json",
        tmp_path / "tokens.parquet",
        tmp_path / "sequences.parquet",
        tmp_path / "labels.parquet",
        tmp_path / "activations.zarr",
        tmp_path / "rows.parquet",
        work=tmp_path / "parts",
        aggregation=aggregation,
        device="cpu",
    )
    assert facts.n_prefix == N_SHARED
    assert facts.n_rows == len(spans) == read_table(tmp_path / "rows.parquet").height
    store = open_store(tmp_path / "activations.zarr")
    lm = load_model(tmp_path / "weights", "float32", "cpu")
    for row, (start, end) in enumerate(spans):
        # Each sequence alone, from its first token to its last: no prefix, batch or padding.
        ids = torch.from_numpy(tokens[row : row + 1, :end].astype(np.int64))
        for (site, layer), value in capture(
            lm.model, lm.architecture, ids, store.sites, store.layers
        ).items():
            found = value[0, start:end].float()
            expected = found.mean(0) if aggregation == "mean" else found.amax(0)
            stored = store.read(site, layer, np.array([row]))[0]
            scale = float(expected.abs().max())
            assert np.abs(stored - expected.numpy()).max() <= 3e-5 * scale, (site, layer, row)


def test_the_prefix_ends_where_sequences_differ_or_a_span_starts():
    tokens = np.array([[7, 1, 2, 3, 4], [7, 1, 2, 5, 4], [7, 1, 2, 3, 9]])
    part = Part(0, (Batch(np.arange(3), 5, np.arange(3), np.arange(3)),), np.arange(3))

    def rows(*starts):
        return pl.DataFrame({"start": starts})

    assert shared_prefix(tokens, rows(3, 4, 4), [part], ["resid_post"]) == 3
    assert shared_prefix(tokens, rows(3, 1, 4), [part], ["resid_post"]) == 1
    assert shared_prefix(tokens, rows(3, 0, 4), [part], ["resid_post"]) == 0
    assert shared_prefix(tokens[:1], rows(4), [part], ["resid_post"]) == 4
    assert shared_prefix(tokens, rows(3, 4, 4), [part], ["resid_post", "attn_pattern"]) == 0
    # One token of twenty is not worth the copies.
    long = np.hstack([tokens, np.zeros((3, 15), dtype=int)])
    wide = Part(0, (Batch(np.arange(3), 20, np.arange(3), np.arange(3)),), np.arange(3))
    assert shared_prefix(long, rows(1, 1, 1), [wide], ["resid_post"]) == 0
