"""Dumps in shares: the store that several jobs make is, byte for byte, that of one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from artneuro.activations import dump as dump_module
from artneuro.activations import shares as shares_module
from artneuro.activations.config import ActivationsConfig
from artneuro.activations.dump import dump_activations
from artneuro.activations.plan import make_plan, share_plan
from artneuro.activations.shares import dump_share, merge_shares
from artneuro.config import load_config
from artneuro.core.artifacts import read_json, read_table, write_json, write_table
from artneuro.core.errors import ConfigError, StoreError
from artneuro.core.hashing import sha256_path
from tests.tiny_models import make_model, write_info
from tests.unit.test_activations_store import make_data

ROOT = Path(__file__).parents[2]
SMALL = {"batch_tokens": 256, "buffer_mb": 1, "shard_mb": 1}
PART_ROWS = 20


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    make_model("llama", folder / "weights")
    write_info(folder / "weights", folder / "model.json")
    make_data(folder, 60)
    return folder


@pytest.fixture(autouse=True)
def several_parts(monkeypatch):
    """Several parts of every share from little data: sizes in the config are whole megabytes."""
    for module in (dump_module, shares_module):
        monkeypatch.setattr(module, "rows_of_part", lambda config, layout: PART_ROWS)


def inputs(data: Path) -> dict[str, Path]:
    tables = {name: data / f"{name}.parquet" for name in ("tokens", "sequences", "labels")}
    return {"model_info": data / "model.json", **tables}


def dump_one(data: Path, out: Path, aggregation="mean", **config):
    return dump_activations(
        ActivationsConfig(**{**SMALL, **config}),
        data / "weights",
        **inputs(data),
        store=out / "activations.zarr",
        rows=out / "rows.parquet",
        work=out / "activations.parts",
        aggregation=aggregation,
        device="cpu",
        tokenizer="tiny",
    )


def dump_shared(data: Path, out: Path, share: int, jobs: int, aggregation="mean", **config):
    return dump_share(
        ActivationsConfig(**{**SMALL, **config}),
        data / "weights",
        **inputs(data),
        folder=out / "shares" / str(share),
        share=share,
        jobs=jobs,
        work=out / "shares" / f"{share}.parts",
        aggregation=aggregation,
        device="cpu",
    )


def merge(data: Path, out: Path, jobs: int, **config):
    return merge_shares(
        ActivationsConfig(**{**SMALL, **config}),
        [out / "shares" / str(i) for i in range(jobs)],
        **inputs(data),
        store=out / "activations.zarr",
        rows=out / "rows.parquet",
        tokenizer="tiny",
    )


@settings(max_examples=60, deadline=None)
@given(
    ends=st.lists(st.integers(1, 20), min_size=1, max_size=60),
    batch_tokens=st.integers(1, 200),
    part_rows=st.integers(1, 40),
    jobs=st.integers(1, 9),
)
def test_shares_are_the_batches_of_the_plan_in_its_order(ends, batch_tokens, part_rows, jobs):
    plan = make_plan(np.arange(len(ends)), np.array(ends), 20, batch_tokens, part_rows, 30)
    shares = share_plan(plan, jobs, part_rows)
    assert len(shares) == jobs
    parts = [part for share in shares for part in share]
    assert [part.number for part in parts] == list(range(len(parts)))
    batches = [batch for part in plan for batch in part.batches]
    divided = [batch for part in parts for batch in part.batches]
    assert len(divided) == len(batches)
    assert all(a is b for a, b in zip(divided, batches, strict=True))
    for part in parts:
        np.testing.assert_array_equal(part.rows, np.concatenate([b.rows for b in part.batches]))
        assert len(part.rows) <= part_rows or len(part.batches) == 1
    sizes = [b.width * len(b.sequences) for b in batches]
    for share in shares:
        tokens = sum(b.width * len(b.sequences) for part in share for b in part.batches)
        assert abs(tokens - sum(sizes) / jobs) <= max(sizes)


@pytest.mark.parametrize(
    ("jobs", "config"),
    [
        (1, {}),
        (3, {"sites": ["resid_post", "mlp_post"], "dtype": "float32", "layers": [0, 2]}),
        (4, {"sites": ["attn_pattern"], "dtype": "bfloat16", "aggregation": "max"}),
        (20, {"check_rows": 300, "batch_tokens": 1000}),  # more jobs than batches
    ],
)
def test_shares_make_the_store_of_one_job_byte_for_byte(data, tmp_path, jobs, config):
    one = dump_one(data, tmp_path / "one", **config)
    out = tmp_path / "many"
    # Each share knows nothing of the others: the last one comes first.
    found = [dump_shared(data, out, i, jobs, **config) for i in reversed(range(jobs))]
    config.pop("aggregation", None)
    facts = merge(data, out, jobs, **config)
    for name in ("activations.zarr", "rows.parquet"):
        assert sha256_path(out / name) == sha256_path(tmp_path / "one" / name)
    assert sum(f.n_rows for f in found) == facts.n_rows == one.n_rows
    assert sum(f.n_tokens for f in found) == facts.n_tokens == one.n_tokens
    assert facts.check_error == one.check_error
    assert (facts.device, facts.compute_dtype) == ("cpu", "float32")
    if jobs == 3:
        assert min(f.n_parts for f in found) > 1
    if jobs == 20:
        assert not all(f.n_rows for f in found)
    assert sorted(p.name for p in (out / "shares").iterdir()) == sorted(map(str, range(jobs)))


def test_a_prefix_is_that_of_the_whole_work(data, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    tokens = read_table(folder / "tokens.parquet")
    ids = tokens["tokens"].to_numpy().copy()
    ids[:, :12] = ids[0, :12]
    write_table(tokens.with_columns(tokens=ids), folder / "tokens.parquet")
    labels = read_table(folder / "labels.parquet")
    write_table(labels.filter(labels["start"] >= 12), folder / "labels.parquet")
    one = dump_one(folder, tmp_path / "one")
    assert one.n_prefix == 12
    for share in range(3):
        assert dump_shared(folder, tmp_path, share, 3).n_prefix == 12
    merge(folder, tmp_path, 3)
    store = "activations.zarr"
    assert sha256_path(tmp_path / store) == sha256_path(tmp_path / "one" / store)


def test_a_share_goes_on_where_it_was_stopped(data, tmp_path, monkeypatch):
    whole = dump_shared(data, tmp_path / "whole", 1, 2)
    real = dump_module.extract_parts

    def stopped(lm, tokens, rows, todo, parts, **options):
        real(lm, tokens, rows, todo[:3], parts, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(dump_module, "extract_parts", stopped)
    with pytest.raises(KeyboardInterrupt):
        dump_shared(data, tmp_path / "cut", 1, 2)
    assert not (tmp_path / "cut" / "shares" / "1").exists()
    monkeypatch.setattr(dump_module, "extract_parts", real)
    shutil.copytree(tmp_path / "cut", tmp_path / "other")
    facts = dump_shared(data, tmp_path / "cut", 1, 2)
    assert (facts.n_parts, facts.n_resumed) == (whole.n_parts, 3)
    assert sha256_path(tmp_path / "cut" / "shares") == sha256_path(tmp_path / "whole" / "shares")
    # Parts of another division are of no use.
    assert dump_shared(data, tmp_path / "other", 1, 3).n_resumed == 0


@pytest.fixture(scope="module")
def dumped(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("dumped")
    with pytest.MonkeyPatch.context() as patch:
        for module in (dump_module, shares_module):
            patch.setattr(module, "rows_of_part", lambda config, layout: PART_ROWS)
        for share in range(3):
            dump_shared(data, out, share, 3)
    return out


@pytest.fixture
def shares(dumped, tmp_path):
    shutil.copytree(dumped, tmp_path / "out")
    return tmp_path / "out"


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def edit_note(folder: Path, change) -> None:
    note = read_json(folder / "share.json")
    change(note)
    write_json(note, folder / "share.json")


def swap(shares: Path) -> None:
    (shares / "0").rename(shares / "x")
    (shares / "1").rename(shares / "0")
    (shares / "x").rename(shares / "1")


DAMAGE = {
    "missing or damaged": lambda s: flip(next(iter((s / "1").glob("part-*.bin")))),
    r"missing or damaged[\s\S]*part-": lambda s: next(iter((s / "2").glob("part-*"))).unlink(),
    "not a share of a dump": lambda s: (s / "2" / "share.json").unlink(),
    "this is share 1 of 3, not share 0 of 3": swap,
    "differently: threads is 77": lambda s: edit_note(
        s / "1", lambda note: note["fingerprint"].update(threads=77)
    ),
    "differently: device is cuda": lambda s: edit_note(
        s / "2", lambda note: note["fingerprint"].update(device="cuda")
    ),
    "not the 8 that were chosen": lambda s: write_table(
        read_table(s / "0" / "check.parquet").clear(), s / "0" / "check.parquet"
    ),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_what_is_wrong_with_shares_is_named(data, shares, message):
    DAMAGE[message](shares / "shares")
    with pytest.raises(StoreError, match=message):
        merge(data, shares, 3)
    assert not (shares / "activations.zarr").exists()
    assert not (shares / "rows.parquet").exists()


def test_shares_of_other_tokens_or_labels(data, shares, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(data, other)
    make_data(other, 60, seed=4)
    with pytest.raises(StoreError, match="other rows than the token dataset"):
        merge(other, shares, 3)


def test_the_check_of_the_merge_finds_swapped_rows(data, shares, monkeypatch):
    real = shares_module.write_store

    def swapped(folder, parts, plan, n_rows, **options):
        for part in plan:
            part.rows[:] = np.roll(part.rows, 1)
        real(folder, parts, plan, n_rows, **options)

    monkeypatch.setattr(shares_module, "write_store", swapped)
    with pytest.raises(StoreError, match="differs from the model"):
        merge(data, shares, 3)
    assert not (shares / "activations.zarr").exists()


def test_a_share_that_an_older_process_has_made_meanwhile_is_replaced(data, tmp_path):
    dump_shared(data, tmp_path, 0, 2)
    share = tmp_path / "shares" / "0"
    parts = {path.name: sha256_path(path) for path in share.glob("*.bin")}
    (share / "left.txt").write_text("by it")
    dump_shared(data, tmp_path, 0, 2)
    assert parts
    assert {path.name: sha256_path(path) for path in share.glob("*.bin")} == parts
    assert not (share / "left.txt").exists()


def test_threads_that_differ_are_noticed(data, tmp_path):
    before = torch.get_num_threads()
    try:
        for share, threads in enumerate((1, 2)):
            torch.set_num_threads(threads)
            dump_shared(data, tmp_path, share, 2)
    finally:
        torch.set_num_threads(before)
    with pytest.raises(StoreError, match="threads is 2, for the first 1"):
        merge(data, tmp_path, 2)


def test_jobs_of_models():
    assert ActivationsConfig().jobs_of("any") == 1
    assert ActivationsConfig(jobs=4).jobs_of("any") == 4
    config = ActivationsConfig(jobs={"large": 8})
    assert (config.jobs_of("large"), config.jobs_of("small")) == (8, 1)
    for wrong in (0, "many", {"large": 0}, 1001):
        with pytest.raises(ValueError, match="jobs"):
            ActivationsConfig(jobs=wrong)
    with pytest.raises(ConfigError, match=r"activations\.jobs: there is no 'large'"):
        load_config({"activations": {"jobs": {"large": 2}}}, ROOT)
