"""The pure pieces of the dump: rows, plan, aggregation, bits, parts."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from artneuro.activations.aggregate import SpanReducer
from artneuro.activations.config import ActivationsConfig
from artneuro.activations.consolidate import divide_rows
from artneuro.activations.parts import Layout, PartFolder, PartWriter, not_finite
from artneuro.activations.plan import make_plan
from artneuro.activations.rows import build_rows
from artneuro.core.errors import DataError, StoreError


def sequences_of(lengths) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "sequence": np.arange(len(lengths), dtype=np.int32),
            "n_tokens": np.array(lengths, dtype=np.int32),
            "group": [f"g{i}" for i in range(len(lengths))],
            "split": ["train" if i % 2 else "test" for i in range(len(lengths))],
        }
    )


def labels_of(spans) -> pl.DataFrame:
    schema = {"sequence": pl.Int32, "start": pl.Int32, "end": pl.Int32}
    return pl.DataFrame(spans, schema=schema, orient="row")


def test_rows_are_the_distinct_sorted_spans():
    tokens = np.arange(30, dtype=np.int32).reshape(3, 10)
    rows = build_rows(
        labels_of([(2, 1, 4), (0, 3, 4), (2, 1, 4), (0, 3, 6), (2, 0, 9)]),
        sequences_of([10, 10, 9]),
        tokens,
    )
    assert rows.rows() == [
        (0, 0, 3, 4, "g0", "test", 3),
        (1, 0, 3, 6, "g0", "test", 5),
        (2, 2, 0, 9, "g2", "test", 28),
        (3, 2, 1, 4, "g2", "test", 23),
    ]
    assert rows.schema["row"] == rows.schema["token"] == pl.Int32


@pytest.mark.parametrize("span", [(0, 3, 3), (0, -1, 2), (0, 4, 6), (7, 0, 1)])
def test_spans_outside_of_their_sequence(span):
    with pytest.raises(DataError, match=f"sequence {span[0]}, tokens {span[1]} to {span[2]}"):
        build_rows(labels_of([(0, 1, 2), span]), sequences_of([5]), np.zeros((1, 8), np.int32))


def test_no_labels():
    with pytest.raises(DataError, match="no labels"):
        build_rows(labels_of([]), sequences_of([5]), np.zeros((1, 8), np.int32))


@settings(max_examples=60, deadline=None)
@given(
    spans=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 19), st.integers(1, 5)), min_size=1, max_size=80
    ),
    batch_tokens=st.integers(1, 200),
    part_rows=st.integers(1, 40),
    shard_rows=st.integers(1, 60),
)
def test_plan_covers_every_row_once_within_its_bounds(spans, batch_tokens, part_rows, shard_rows):
    spans = sorted({(s, a, min(a + n, 20)) for s, a, n in spans})
    sequence, _, end = np.array(spans).T
    plan = make_plan(sequence, end, 20, batch_tokens, part_rows, shard_rows)
    assert [p.number for p in plan] == list(range(len(plan)))
    assert sorted(np.concatenate([p.rows for p in plan])) == list(range(len(spans)))
    for part in plan:
        np.testing.assert_array_equal(part.rows, np.concatenate([b.rows for b in part.batches]))
        assert len(part.rows) <= part_rows or len(part.batches) == 1
        for batch in part.batches:
            np.testing.assert_array_equal(batch.sequences[batch.where], sequence[batch.rows])
            assert end[batch.rows].max() <= batch.width <= 20
            alone = len(batch.sequences) == 1
            assert len(batch.sequences) * batch.width <= batch_tokens or alone
            assert len(batch.rows) <= part_rows or alone
    # All rows of a sequence come from one run of the model over it.
    where = [{int(s) for s in b.sequences} for p in plan for b in p.batches]
    assert sum(map(len, where)) == len(set().union(*where))


@settings(max_examples=40, deadline=None)
@given(
    spans=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 7), st.integers(1, 8)), min_size=1, max_size=30
    ),
    limit=st.integers(1, 40),
    aggregation=st.sampled_from(["mean", "max"]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 99),
)
def test_spans_are_reduced_like_a_loop(spans, limit, aggregation, dtype, seed):
    where, start, end = np.array([(s, a, min(a + n, 8)) for s, a, n in spans]).T
    generator = torch.Generator().manual_seed(seed)
    value = torch.randn(3, 8, 5, generator=generator).to(dtype)
    pattern = torch.rand(3, 2, 8, 8, generator=generator).to(dtype)
    reduce = SpanReducer(where, start, end, 8, aggregation, limit)
    found, found_pattern = reduce(value, 10), reduce(pattern, 10)
    assert found.dtype == found_pattern.dtype == torch.float32
    numpy = {"mean": np.mean, "max": np.max}[aggregation]
    for i, (s, a, b) in enumerate(zip(where, start, end, strict=True)):
        expected = numpy(value[s, a:b].double().numpy(), axis=0)
        np.testing.assert_allclose(found[i], expected, rtol=1e-6, atol=1e-7)
        heads = numpy(pattern[s, :, a:b].double().numpy(), axis=1)
        grid = found_pattern[i].reshape(2, 10).numpy()
        np.testing.assert_allclose(grid[:, :8], heads, rtol=1e-6, atol=1e-7)
        assert not grid[:, 8:].any()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_not_finite_finds_all_of_them(dtype):
    kind = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}[dtype]
    values = torch.randn(5000).to(kind)
    values[:4] = torch.tensor([0.0, -0.0, torch.finfo(kind).max, torch.finfo(kind).min]).to(kind)
    places = [17, 900, 4999]
    for place, wrong in zip(places, (float("nan"), float("inf"), -float("inf")), strict=True):
        values[place] = wrong
    bits = values.view(torch.int16 if kind.itemsize == 2 else torch.int32).numpy()
    found = not_finite(bits.view(f"<u{kind.itemsize}"), dtype)
    assert found.tolist() == places


def test_shards_divide_evenly():
    few = divide_rows(1548, 3072, 128)
    assert few.chunk_rows * few.chunks_per_shard == few.shard_rows
    assert few.chunk_rows * 3072 <= 1 << 20
    assert 1548 <= few.shard_rows < 1548 + few.chunks_per_shard
    many = divide_rows(10**6, 3072, 128)
    assert many.shard_rows * 3072 <= 128 << 20
    wide = divide_rows(10, 1 << 22, 1)
    assert (wide.chunk_rows, wide.shard_rows) == (1, 1)


def part_folder(folder, fingerprint="f"):
    return PartFolder(folder, fingerprint, Layout({"a": 3, "b": 2}, (0, 4), "float16"))


def test_part_is_read_back_and_damage_is_seen(tmp_path):
    parts = part_folder(tmp_path / "parts")
    a = np.arange(2 * 4 * 3, dtype=np.float16).reshape(2, 4, 3)
    b = -np.arange(2 * 4 * 2, dtype=np.float16).reshape(2, 4, 2)
    bits = np.concatenate([a.ravel(), b.ravel()]).view("<u2")
    parts.write(3, bits)
    assert parts.is_whole(3, 4)
    np.testing.assert_array_equal(parts.read(3, 4, "a", 1), a[1])
    np.testing.assert_array_equal(parts.read(3, 4, "b", 0), b[0])
    assert not parts.is_whole(2, 4)
    damaged = bytearray(parts.path(3).read_bytes())
    damaged[10] ^= 1
    parts.path(3).write_bytes(damaged)
    assert not parts.is_whole(3, 4)
    assert not parts.path(3).exists()
    parts.write(3, bits)
    assert not parts.is_whole(3, 5)


def test_parts_of_another_run_are_deleted(tmp_path):
    part_folder(tmp_path / "parts").write(0, np.zeros(20, "<u2"))
    assert part_folder(tmp_path / "parts").path(0).exists()
    (tmp_path / "parts" / ".part-000001.bin.99.tmp").write_bytes(b"half")
    assert part_folder(tmp_path / "parts").path(0).exists()
    assert not list((tmp_path / "parts").glob(".*.tmp"))
    assert not part_folder(tmp_path / "parts", "other").path(0).exists()


def test_errors_of_the_writing_thread_are_raised(tmp_path, monkeypatch):
    parts = part_folder(tmp_path / "parts")

    def full(number, bits):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts, "write", full)

    def work():
        with PartWriter(parts, 4, False, lambda number, bits: None) as writer:
            for i in range(5):
                buffer = writer.acquire(4)
                for array in buffer.arrays.values():
                    array.zero_()
                writer.submit(i, buffer)

    with pytest.raises(StoreError, match="No space left"):
        work()


def test_config_normalises_sites():
    assert ActivationsConfig(sites=["mlp.hook_post", "resid_pre"]).sites == [
        "mlp_post",
        "resid_pre",
    ]
    for wrong in (["mlp"], ["blocks.3.mlp.hook_post"], ["mlp_post", "mlp.hook_post"], []):
        with pytest.raises(ValidationError):
            ActivationsConfig(sites=wrong)
    with pytest.raises(ValidationError):
        ActivationsConfig(layers=[-1])
    with pytest.raises(ValidationError):
        ActivationsConfig(dtype="int8")
