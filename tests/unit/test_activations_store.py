"""The store: reading rows back, types, resuming after kill -9, damage, and what is refused."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from artneuro.activations import dump as dump_module
from artneuro.activations.config import ActivationsConfig
from artneuro.activations.dump import dump_activations
from artneuro.activations.store import open_store
from artneuro.core.artifacts import read_json, read_table, write_json, write_table
from artneuro.core.errors import ConfigError, DataError, StoreError
from artneuro.core.hashing import sha256_path
from tests.tiny_models import N_CTX, VOCAB, make_model, write_info

ROOT = Path(__file__).parents[2]


def make_data(folder: Path, n_sequences: int, spans_per_sequence: int = 4, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    length = rng.integers(20, N_CTX + 1, n_sequences).astype(np.int32)
    tokens = rng.integers(1, VOCAB, (n_sequences, N_CTX), dtype=np.int32)
    write_table(
        pl.DataFrame({"tokens": tokens}, schema={"tokens": pl.Array(pl.Int32, N_CTX)}),
        folder / "tokens.parquet",
    )
    write_table(
        pl.DataFrame(
            {
                "sequence": np.arange(n_sequences, dtype=np.int32),
                "n_tokens": length,
                "group": [str(i) for i in range(n_sequences)],
                "split": ["train"] * n_sequences,
            }
        ),
        folder / "sequences.parquet",
    )
    spans = []
    for i, n in enumerate(length):
        starts = rng.choice(19, spans_per_sequence, replace=False)
        spans += [
            (i, int(a), int(b))
            for a, b in zip(starts, rng.integers(starts + 1, n + 1), strict=True)
        ]
    schema = {"sequence": pl.Int32, "start": pl.Int32, "end": pl.Int32}
    write_table(pl.DataFrame(spans, schema=schema, orient="row"), folder / "labels.parquet")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_model("llama", folder / "weights")
    write_info(folder / "weights", folder / "model.json")
    make_data(folder, 60)
    return folder


SMALL = {"batch_tokens": 256, "buffer_mb": 1, "shard_mb": 1}


def dump(data: Path, out: Path, weights: str = "weights", **settings):
    config = ActivationsConfig(**{**SMALL, **settings})
    return dump_activations(
        config,
        data / weights,
        data / "model.json",
        data / "tokens.parquet",
        data / "sequences.parquet",
        data / "labels.parquet",
        out / "activations.zarr",
        out / "rows.parquet",
        work=out / "activations.parts",
        device="cpu",
        tokenizer="tiny",
    )


def small_parts(monkeypatch, part_rows: int = 20, shard_rows: int = 90) -> None:
    """Many parts and shards from little data: sizes in the config are whole megabytes."""
    real = dump_module.make_plan

    def plan(sequence, end, n_ctx, batch_tokens, *_):
        return real(sequence, end, n_ctx, batch_tokens, part_rows, shard_rows)

    monkeypatch.setattr(dump_module, "make_plan", plan)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_types_and_attributes(data, tmp_path, dtype):
    facts = dump(data, tmp_path, dtype=dtype, sites=["resid_post", "mlp_post"], layers=[0, 2])
    exact = tmp_path / "exact"
    dump(data, exact, dtype="float32", sites=["resid_post", "mlp_post"], layers=[0, 2])
    store, reference = (
        open_store(tmp_path / "activations.zarr"),
        open_store(exact / "activations.zarr"),
    )
    kind = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}[dtype]
    for site in store.sites:
        for layer in store.layers:
            value = reference.read(site, layer)
            rounded = torch.from_numpy(value).to(kind).float().numpy()
            np.testing.assert_array_equal(store.read(site, layer), rounded)
    about = store.attributes
    assert about["model_sha256"] == sha256_path(data / "weights")
    assert (about["dtype"], about["layers"], about["tokenizer"]) == (dtype, [0, 2], "tiny")
    assert (about["aggregation"], about["compute_dtype"]) == ("mean", "float32")
    assert store.units("mlp_post") == 48
    assert store.units("resid_post") == 32
    assert facts.n_rows == store.n_rows == read_table(tmp_path / "rows.parquet").height
    assert facts.check_error < 1e-2
    assert not (tmp_path / "activations.parts").exists()


def test_reading_rows(data, tmp_path, monkeypatch):
    monkeypatch.setattr("artneuro.activations.consolidate.CHUNK_BYTES", 48 * 2 * 7)
    dump(data, tmp_path)
    store = pickle.loads(pickle.dumps(open_store(tmp_path / "activations.zarr")))
    whole = store.read("mlp_post", 1)
    assert whole.shape == (store.n_rows, 48)
    rng = np.random.default_rng(0)
    for rows in (
        rng.integers(0, store.n_rows, 50),
        np.array([store.n_rows - 1, 0, 0]),
        np.arange(13, 40),
        np.array([], dtype=int),
    ):
        np.testing.assert_array_equal(store.read("mlp_post", 1, rows), whole[rows])
    for part in (slice(3, 30), slice(None, None, 5), slice(8, 2), slice(-4, None)):
        np.testing.assert_array_equal(store.read("mlp_post", 1, part), whole[part])
    with pytest.raises(StoreError, match="rows 0 to"):
        store.read("mlp_post", 1, np.array([store.n_rows]))
    with pytest.raises(StoreError, match="stored sites: mlp_post"):
        store.read("attn_out", 1)
    with pytest.raises(StoreError, match="stored layers: 0, 1, 2"):
        store.read("mlp_post", 3)


def test_many_parts_and_shards_give_what_one_gives(data, tmp_path, monkeypatch):
    dump(data, tmp_path / "one", dtype="float32")
    small_parts(monkeypatch)
    monkeypatch.setattr("artneuro.activations.consolidate.CHUNK_BYTES", 48 * 4 * 9)
    real = dump_module.write_store
    monkeypatch.setattr(
        dump_module, "write_store", lambda *a, **k: real(*a, **{**k, "shard_mb": 0})
    )
    facts = dump(data, tmp_path / "many", dtype="float32")
    assert facts.n_parts > 5
    one, many = (open_store(tmp_path / n / "activations.zarr") for n in ("one", "many"))
    assert len(list(many.files())) > 20 * len(many.layers)
    for layer in one.layers:
        np.testing.assert_allclose(
            many.read("mlp_post", layer), one.read("mlp_post", layer), rtol=1e-4, atol=1e-5
        )
    rows = [read_table(tmp_path / n / "rows.parquet") for n in ("one", "many")]
    assert rows[0].equals(rows[1])


def test_damage_is_named(data, tmp_path):
    dump(data, tmp_path)
    path = tmp_path / "activations.zarr"
    shard = path / "mlp_post" / "c" / "1" / "0" / "0"
    good = shard.read_bytes()
    shard.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    store = open_store(path)
    store.read("mlp_post", 0)
    for rows in (None, np.array([3])):
        with pytest.raises(StoreError, match=r"corrupt: mlp_post, layer 1, rows 0[\s\S]*c/1/0/0"):
            store.read("mlp_post", 1, rows)
    shard.write_bytes(good[:-50])
    with pytest.raises(StoreError, match="layer 1"):
        open_store(path).read("mlp_post", 1)
    shard.unlink()
    with pytest.raises(StoreError, match="1 files of the store are missing"):
        open_store(path)
    shard.write_bytes(good)
    record = read_json(path / "zarr.json")
    record["attributes"]["complete"] = False
    write_json(record, path / "zarr.json")
    with pytest.raises(StoreError, match="not complete"):
        open_store(path)
    with pytest.raises(StoreError, match="not an activation store"):
        open_store(tmp_path)


def poison(data: Path, folder: Path, name: str, value: float, row: int) -> Path:
    shutil.copytree(data / "weights", folder)
    tensors = load_file(folder / "model.safetensors")
    tensors[name][row] = value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_nan_names_layer_and_sequence(data, tmp_path):
    token = int(read_table(data / "tokens.parquet")["tokens"].to_numpy()[7, 3])
    name = "model.embed_tokens.weight"
    folder = poison(data, tmp_path / "bad", name, float("nan"), token)
    with pytest.raises(StoreError, match=r"NaN[\s\S]*blocks\.0\.mlp\.hook_post.*sequence \d+"):
        dump(data, tmp_path, weights=str(folder))
    assert not (tmp_path / "activations.zarr").exists()
    assert not (tmp_path / "rows.parquet").exists()


def test_float16_overflow_suggests_bfloat16(data, tmp_path):
    name = "model.layers.1.mlp.up_proj.weight"
    folder = poison(data, tmp_path / "bad", name, 3e6, 5)
    with pytest.raises(
        StoreError, match=r"65504[\s\S]*blocks\.1\.mlp\.hook_post, unit 5.*[\s\S]*bfloat16"
    ):
        dump(data, tmp_path, weights=str(folder))
    dump(data, tmp_path, weights=str(folder), dtype="bfloat16", check_rows=3)


def test_check_finds_swapped_rows(data, tmp_path, monkeypatch):
    real = dump_module.write_store

    def swapped(folder, parts, plan, n_rows, **options):
        for part in plan:
            part.rows[:] = np.roll(part.rows, 1)
        real(folder, parts, plan, n_rows, **options)

    monkeypatch.setattr(dump_module, "write_store", swapped)
    with pytest.raises(StoreError, match="differs from the model"):
        dump(data, tmp_path)
    assert not (tmp_path / "activations.zarr").exists()


def test_what_does_not_fit_the_model(data, tmp_path):
    with pytest.raises(ConfigError, match="layers 0 to 2"):
        dump(data, tmp_path, layers=[5])
    other = tmp_path / "other"
    shutil.copytree(data, other)
    tokens = read_table(data / "tokens.parquet")["tokens"].to_numpy().copy()
    tokens[0, 0] = VOCAB
    table = pl.DataFrame({"tokens": tokens}, schema={"tokens": pl.Array(pl.Int32, N_CTX)})
    write_table(table, other / "tokens.parquet")
    with pytest.raises(DataError, match="vocabulary"):
        dump(other, tmp_path)


def test_resuming_computes_only_what_is_missing(data, tmp_path, monkeypatch):
    small_parts(monkeypatch)
    whole = dump(data, tmp_path / "whole")
    real = dump_module.extract_parts

    def stopped(lm, tokens, rows, todo, parts, **options):
        real(lm, tokens, rows, todo[:3], parts, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(dump_module, "extract_parts", stopped)
    with pytest.raises(KeyboardInterrupt):
        dump(data, tmp_path / "cut")
    part = tmp_path / "cut" / "activations.parts" / "part-000001.bin"
    part.write_bytes(part.read_bytes()[:-1] + b"?")  # a damaged part is computed again
    monkeypatch.setattr(dump_module, "extract_parts", real)
    facts = dump(data, tmp_path / "cut")
    assert (facts.n_parts, facts.n_resumed) == (whole.n_parts, 2)
    assert sha256_path(tmp_path / "cut") == sha256_path(tmp_path / "whole")


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit import test_activations_store as here
from artneuro.activations import dump as module
plan, extract = module.make_plan, module.extract_parts
module.make_plan = lambda s, e, n, b, *_: plan(s, e, n, b, 20, 90)
def slow(*args, on_batch, **options):
    def wait(n):
        time.sleep(0.02)
        on_batch(n)
    print("started", flush=True)
    extract(*args, on_batch=wait, **options)
    print("extracted", flush=True)
    time.sleep(600)  # until it is killed
module.extract_parts = slow
here.dump(Path({data!r}), Path({out!r}))
print("done", flush=True)
"""


@pytest.mark.slow
def test_kill_at_any_moment_loses_nothing_but_time(data, tmp_path, monkeypatch):
    small_parts(monkeypatch)
    whole = dump(data, tmp_path / "whole")
    out = tmp_path / "killed"
    code = CHILD.format(root=str(ROOT), data=str(data), out=str(out))
    rng = np.random.default_rng(5)
    moments = [("started", float(d)) for d in rng.uniform(0.05, 0.35, 3)] + [("extracted", 0.0)]
    kept = []
    for line, delay in moments:
        child = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert child.stdout is not None
        for said in child.stdout:
            if said.strip() == line:
                break
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert not (out / "rows.parquet").exists() or (out / "activations.zarr").exists()
        if (out / "activations.zarr").exists():  # it was done before it was killed: once more
            shutil.rmtree(out)
            kept.clear()
        kept.append(len(list((out / "activations.parts").glob("part-*.bin"))))
        # Whatever the moment, every part that has its name is whole, and none is ever lost again.
        assert kept == sorted(kept)
    facts = dump(data, out)
    assert facts.n_resumed == kept[-1] == whole.n_parts
    assert sha256_path(out) == sha256_path(tmp_path / "whole")


MEMORY = """
import re, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit import test_activations_store as here
facts = here.dump(Path({data!r}), Path({out!r}), sites=["mlp_post", "mlp_pre", "attn_pattern"],
                  dtype="float32", buffer_mb=8, shard_mb=4, batch_tokens=1024)
# Not ru_maxrss, which starts with the peak of the process that started this one.
peak = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]
print(facts.n_rows, facts.n_parts, peak)
"""


@pytest.mark.slow
def test_peak_memory_does_not_grow_with_the_rows(data, tmp_path):
    peaks, stored = [], []
    for times in (1, 4):
        folder = tmp_path / str(times)
        folder.mkdir()
        shutil.copytree(data / "weights", folder / "weights")
        shutil.copy(data / "model.json", folder / "model.json")
        make_data(folder, 1500 * times, spans_per_sequence=8)
        code = MEMORY.format(root=str(ROOT), data=str(folder), out=str(folder / "out"))
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        n_rows, _, peak = map(int, run.stdout.split())
        peaks.append(peak / 1024)
        stored.append(n_rows * 3 * (48 + 48 + 4 * N_CTX) * 4 / 2**20)
    # The larger dump stores 145 MB more; what grows are the tables of its input, and 20 MB of
    # what libraries keep to themselves.
    assert stored[1] - stored[0] > 140
    assert peaks[1] - peaks[0] < 60, (peaks, stored)
    print(f"peaks {peaks} MB for {stored} MB stored")
