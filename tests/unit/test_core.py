"""Errors, artifacts, hashes, jobs and logs: what every stage relies on."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from artneuro.core import artifacts, errors, hashing, job
from artneuro.core.artifacts import (
    atomic_directory,
    atomic_path,
    read_json,
    read_table,
    sidecar_path,
    write_json,
    write_table,
    write_text,
)
from artneuro.core.errors import ArtneuroError, CodeError, DataError
from artneuro.core.hashing import sha256_bytes, sha256_file, sha256_json, sha256_path, size_of
from artneuro.core.job import Job, known_sha256, sidecar_seal, write_sidecar
from artneuro.core.logs import Progress, log_to, progress

ROOT = Path(__file__).resolve().parents[2]

# --- errors --------------------------------------------------------------------------------------

ERRORS = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, Exception)]


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_say_what_where_and_what_to_do(kind: type[ArtneuroError]):
    error = kind("It broke", where="row 7", fix="mend it")
    assert str(error) == "It broke\n  where: row 7\n  what to do: mend it"
    assert str(kind("It broke")) == "It broke"
    assert isinstance(error, ArtneuroError)
    assert kind.__doc__


@pytest.mark.parametrize("kind", ERRORS)
def test_errors_come_home_from_other_processes(kind: type[ArtneuroError]):
    error = pickle.loads(pickle.dumps(kind("It broke", where="row 7", fix="mend it")))
    assert type(error) is kind
    assert (error.what, error.where, error.fix) == ("It broke", "row 7", "mend it")
    assert str(error).count("It broke") == 1


# --- artifacts -----------------------------------------------------------------------------------


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process; its exit status, negative the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException:
            os._exit(9)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def visible(folder: Path) -> list[str]:
    """What a reader takes for artifacts: names that do not start with a dot."""
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


@pytest.mark.parametrize("existing", [False, True])
def test_kill_in_the_middle_of_a_file(tmp_path: Path, existing: bool):
    target = tmp_path / "a.json"
    if existing:
        target.write_text("old")

    def work() -> None:
        with atomic_path(target) as temporary, temporary.open("w") as handle:
            handle.write("half of it")
            handle.flush()
            killed()

    assert in_child(work) == -signal.SIGKILL
    assert visible(tmp_path) == (["a.json"] if existing else [])
    if existing:
        assert target.read_text() == "old"
    write_text("new", target)
    assert target.read_text() == "new"


def test_kill_at_every_system_call_of_a_write(tmp_path: Path, monkeypatch):
    # Each of the calls that make a write durable is where the machine may stop.
    target = tmp_path / "a.json"
    for call in ("fsync", "replace"):
        for after in (False, True):
            target.write_text("old")

            plain = getattr(os, call)

            def deadly(*args, after=after, plain=plain):
                if after:
                    plain(*args)
                killed()

            def work(call=call, deadly=deadly) -> None:
                monkeypatch.setattr(artifacts.os, call, deadly)
                write_json({"new": True}, target)

            assert in_child(work) == -signal.SIGKILL
            assert visible(tmp_path) == ["a.json"]
            expected = '{\n  "new": true\n}\n' if (call, after) == ("replace", True) else "old"
            assert target.read_text() == expected


@pytest.mark.parametrize("existing", [False, True])
def test_kill_at_every_step_of_a_folder(tmp_path: Path, monkeypatch, existing: bool):
    target = tmp_path / "store"
    old, new = {f"{i}": "old" for i in range(8)}, {f"{i}": "new" for i in range(4)}
    seen = set()
    for call in ("mkdir", "fsync", "replace", "unlink", "rmdir"):
        for n in range(40):
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
            if existing:
                target.mkdir()
                for name, text in old.items():
                    (target / name).write_text(text)
            counter = iter(range(n))
            plain = getattr(os, call)

            def deadly(*args, plain=plain, counter=counter, **options):
                if next(counter, None) is None:
                    killed()
                return plain(*args, **options)

            def work(call=call, deadly=deadly) -> None:
                monkeypatch.setattr(artifacts.os, call, deadly)
                with atomic_directory(target) as temporary:
                    for name, text in new.items():
                        (temporary / name).write_text(text)

            status = in_child(work)
            if target.exists():
                content = {p.name: p.read_text() for p in target.iterdir()}
                assert content in (old, new), f"a mixture after {n} calls of {call}"
                seen.add("old" if content == old else "new")
            else:
                seen.add("absent")
            assert visible(tmp_path) in ([], ["store"])
            if status == 0:
                break
            assert status == -signal.SIGKILL
    assert seen >= {"absent", "new"} | ({"old"} if existing else set())


KILLED_TABLE = """
import os, signal, sys
import polars as pl
from artneuro.core import artifacts

plain = artifacts.pq.write_table

def half(table, path, **options):
    plain(table, path, **options)
    os.truncate(path, os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)

artifacts.pq.write_table = half
artifacts.write_table(pl.DataFrame({"x": range(10000)}), sys.argv[1])
"""


def test_kill_in_the_middle_of_a_table(tmp_path: Path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", KILLED_TABLE, str(tmp_path / "t.parquet")], env=environment
    )
    assert done.returncode == -signal.SIGKILL
    assert visible(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 1


def test_no_space_leaves_nothing(tmp_path: Path):
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(OSError):
            write_text("x" * 5000, tmp_path / "a.txt")
        with pytest.raises(OSError):
            write_folder({"small": "x", "large": "x" * 5000})

    def write_folder(files: dict[str, str]) -> None:
        with atomic_directory(tmp_path / "d") as temporary:
            for name, text in files.items():
                (temporary / name).write_text(text)

    assert in_child(work) == 0
    assert list(tmp_path.iterdir()) == []


def test_error_while_writing_keeps_the_old(tmp_path: Path):
    write_text("old", tmp_path / "a.txt")
    with atomic_directory(tmp_path / "d") as temporary:
        (temporary / "x").write_text("old")

    def fail(writer: Callable, target: Path, inside: str) -> None:
        with writer(target) as temporary:
            (temporary / inside).write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail(atomic_path, tmp_path / "a.txt", "")
    with pytest.raises(ZeroDivisionError):
        fail(atomic_directory, tmp_path / "d", "x")
    with pytest.raises(TypeError):
        write_json({"a": object()}, tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert (tmp_path / "d" / "x").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "d"]


def test_folder_is_replaced_whole(tmp_path: Path):
    for names in (["a", "b"], ["b", "c/d"]):
        with atomic_directory(tmp_path / "deep" / "d") as temporary:
            assert list(temporary.iterdir()) == []
            for name in names:
                (temporary / name).parent.mkdir(exist_ok=True)
                (temporary / name).write_text(name)
            (temporary / "link").symlink_to("nowhere")
    files = [p.name for p in (tmp_path / "deep" / "d").rglob("*")]
    assert sorted(files) == ["b", "c", "d", "link"]
    assert visible(tmp_path / "deep") == ["d"]


FRAME = pl.DataFrame(
    {
        "feature": ["a", None, "ö"],
        "f1": [0.5, float("nan"), -0.0],
        "layer": np.array([0, 1, 2], dtype=np.int16),
        "neurons": [[1, 2], [], None],
        "split": pl.Series(["train", "test", "test"], dtype=pl.Categorical),
        "tokens": pl.Series([[1, 2], [3, 4], [5, 6]], dtype=pl.Array(pl.Int32, 2)),
        "label": [True, False, None],
    }
)


def test_table_comes_back_as_it_was(tmp_path: Path):
    write_table(FRAME, tmp_path / "t.parquet")
    back = read_table(tmp_path / "t.parquet")
    assert back.drop("split").schema == FRAME.drop("split").schema
    assert back.drop("split").equals(FRAME.drop("split"))
    assert back["split"].cast(str).to_list() == ["train", "test", "test"]
    two = read_table(tmp_path / "t.parquet", columns=["f1", "layer"])
    assert two.equals(FRAME.select("f1", "layer"))
    # Other readers are not disturbed by the checksum before the footer.
    assert pl.read_parquet(tmp_path / "t.parquet")["f1"].equals(FRAME["f1"])
    assert pl.scan_parquet(tmp_path / "t.parquet").select("layer").collect().height == 3
    assert pq.ParquetFile(tmp_path / "t.parquet").metadata.num_rows == 3
    # And tables of other writers, which have none, can be read.
    FRAME.write_parquet(tmp_path / "other.parquet")
    assert read_table(tmp_path / "other.parquet").height == 3


def test_empty_table(tmp_path: Path):
    write_table(FRAME.clear(), tmp_path / "t.parquet")
    back = read_table(tmp_path / "t.parquet")
    assert back.height == 0
    assert back.columns == FRAME.columns


def test_same_table_same_bytes(tmp_path: Path):
    for name in "ab":
        write_table(FRAME.clone(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_damage_of_a_table_is_an_error_or_without_effect(tmp_path: Path):
    frame = pl.DataFrame({"feature": ["a", "b", "c"] * 5, "f1": np.linspace(0, 1, 15)})
    path = tmp_path / "t.parquet"
    write_table(frame, path)
    data = path.read_bytes()
    harmless = 0
    for i in range(len(data)):
        damaged = bytearray(data)
        damaged[i] ^= 1 << (i % 8)
        path.write_bytes(damaged)
        try:
            back = read_table(path)
        except DataError:
            continue
        harmless += 1
        assert back.schema == frame.schema
        assert back.equals(frame), f"byte {i} changed the table unnoticed"
    # The opening magic number, page headers' statistics and unused page indexes are without effect.
    assert harmless < len(data) / 2
    for end in range(0, len(data), 11):
        path.write_bytes(data[:end])
        with pytest.raises(DataError, match=r"t\.parquet"):
            read_table(path)
    with pytest.raises(DataError, match=r"none\.parquet"):
        read_table(tmp_path / "none.parquet")


# --- hashing -------------------------------------------------------------------------------------


def test_hashes_against_hashlib(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert (
        sha256_bytes(b"abc") == sha256_file(tmp_path / "a") == sha256_path(tmp_path / "a") == known
    )
    assert sha256_json({"b": [1, 2.5], "a": "ö"}) == sha256_json({"a": "ö", "b": [1, 2.5]})
    text = '{"a":"ö","b":[1,2.5]}'
    assert sha256_json({"b": [1, 2.5], "a": "ö"}) == hashlib.sha256(text.encode()).hexdigest()


def test_hash_of_a_folder(tmp_path: Path):
    folder = tmp_path / "d"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "sub" / "a.txt").write_text("a")
    lines = [f"{n}\0{sha256_bytes(t)}\n" for n, t in (("b.txt", b"b"), ("sub/a.txt", b"a"))]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert sha256_path(folder) == expected
    assert size_of(folder) == 2

    (folder / ".snakemake_timestamp").touch()
    (folder / "empty").mkdir()
    os.utime(folder / "b.txt", (1, 1))
    assert sha256_path(folder) == expected
    (folder / "b.txt").rename(folder / "c.txt")
    assert sha256_path(folder) != expected


def test_folder_of_one_file_is_not_the_file(tmp_path: Path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_text("x")
    assert sha256_path(tmp_path / "d") != sha256_path(tmp_path / "d" / "x")
    (tmp_path / "e").mkdir()
    assert sha256_path(tmp_path / "e") == hashlib.sha256(b"").hexdigest()


# --- jobs ----------------------------------------------------------------------------------------


def snakemake(tmp_path: Path, inputs: list, outputs: list, **changes) -> SimpleNamespace:
    fields = {
        "rule": "make_it",
        "input": inputs,
        "output": outputs,
        "wildcards": {"model": "m"},
        "threads": 2,
        "params": SimpleNamespace(cfg={"seed": 3}, code={"artneuro.core": "00"}),
        "config": {"compute": {"device": "cpu"}},
        "scriptdir": str(tmp_path),
        "log": [str(tmp_path / "logs" / "make_it.log")],
    }
    return SimpleNamespace(**{**fields, **changes})


def test_sidecar_says_what_made_the_artifact(tmp_path: Path):
    (tmp_path / "in.txt").write_text("in")
    outputs = [tmp_path / "a.json", tmp_path / "d"]
    with Job(snakemake(tmp_path, [tmp_path / "in.txt"], outputs)) as running:
        assert running.cfg == {"seed": 3}
        assert running.compute["device"] == "cpu"
        assert running.threads == 2
        write_json([1, 2], outputs[0])
        with atomic_directory(outputs[1]) as temporary:
            (temporary / "x").write_text("x")
        running.note(seed=3, device="cpu")

    record = read_json(sidecar_path(outputs[0]))
    assert sidecar_path(outputs[0]).name == "a.json.prov.json"
    assert record["artifact"] == str(outputs[0])
    assert record["sha256"] == sha256_file(outputs[0])
    assert record["bytes"] == outputs[0].stat().st_size
    assert record["rule"] == "make_it"
    assert record["wildcards"] == {"model": "m"}
    assert record["config"] == {"seed": 3}
    assert record["code"] == {"artneuro.core": "00"}
    assert record["inputs"] == [
        {"path": str(tmp_path / "in.txt"), "sha256": sha256_bytes(b"in")},
    ]
    assert (record["seed"], record["device"]) == (3, "cpu")
    assert record["started"] <= record["ended"]
    assert record["versions"]["polars"] == pl.__version__
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["record_sha256"] == sidecar_seal(record)
    assert {"git", "lock_sha256", "machine", "threads"} <= record.keys()
    folder = read_json(sidecar_path(outputs[1]))
    assert folder["sha256"] == sha256_path(outputs[1])
    assert "make_it done" in (tmp_path / "logs" / "make_it.log").read_text()


def test_failed_job_logs_and_leaves_no_sidecar(tmp_path: Path):
    output = tmp_path / "a.json"
    write_json(1, output)
    write_sidecar(output, {"rule": "old"})

    def fail() -> None:
        with Job(snakemake(tmp_path, [], [output])):
            write_json(2, output)
            raise DataError("one class only", where="feature x", fix="more documents")

    with pytest.raises(DataError):
        fail()
    assert not sidecar_path(output).exists()
    text = (tmp_path / "logs" / "make_it.log").read_text()
    assert "Traceback" in text
    assert "one class only\n  where: feature x\n  what to do: more documents" in text


def test_kill_of_a_job_leaves_no_stale_sidecar(tmp_path: Path):
    output = tmp_path / "a.json"
    write_json(1, output)
    write_sidecar(output, {"rule": "old"})

    def work() -> None:
        with Job(snakemake(tmp_path, [], [output])):
            write_json(2, output)
            killed()

    assert in_child(work) == -signal.SIGKILL
    assert read_json(output) == 2
    assert not sidecar_path(output).exists()


def test_missing_output_leaves_no_sidecar_of_the_others(tmp_path: Path):
    outputs = [tmp_path / "a.json", tmp_path / "b.json"]
    with pytest.raises(FileNotFoundError), Job(snakemake(tmp_path, [], outputs)):
        write_json(1, outputs[0])
    assert visible(tmp_path) == ["a.json", "logs"]
    assert "FileNotFoundError" in (tmp_path / "logs" / "make_it.log").read_text()


def test_missing_input_is_logged(tmp_path: Path):
    with pytest.raises(FileNotFoundError), Job(snakemake(tmp_path, [tmp_path / "none"], [])):
        pytest.fail("ran")
    assert "FileNotFoundError" in (tmp_path / "logs" / "make_it.log").read_text()


def test_keyboard_interrupt_is_logged_and_raised(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt), Job(snakemake(tmp_path, [], [])):
        raise KeyboardInterrupt
    assert "KeyboardInterrupt" in (tmp_path / "logs" / "make_it.log").read_text()


def test_job_without_log_and_compute(tmp_path: Path):
    with Job(snakemake(tmp_path, [], [tmp_path / "a.json"], log=[], config={})) as running:
        write_json(1, tmp_path / "a.json")
    assert running.compute == {}


def folder_with_sidecar(path: Path) -> Path:
    with atomic_directory(path) as temporary:
        (temporary / "a").write_text("aaaa")
        (temporary / "b").write_text("b")
    write_sidecar(path, {"rule": "r"})
    return path


def test_leftovers_of_other_artifacts_stay(tmp_path: Path):
    own = [".a.12.tmp", ".a.12.old.tmp"]
    others = [".a.b.12.tmp", ".b.12.tmp", ".a.12.txt"]
    for name in (*own, *others):
        (tmp_path / name).mkdir()
    write_json(1, tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*others, "a"])


def write_later(path: Path, text: str) -> None:
    """Write a file a second later; the clock of some file systems is too coarse for a test."""
    before = path.stat()
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))


def test_known_hash_of_an_untouched_folder_is_not_computed_again(tmp_path: Path, monkeypatch):
    folder = folder_with_sidecar(tmp_path / "d")
    expected = sha256_path(folder)
    (folder / ".snakemake_timestamp").touch()
    monkeypatch.setattr(job, "sha256_path", lambda path: pytest.fail("hashed again"))
    assert known_sha256(folder) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda d: write_later(d / "a", "bbbb"),
        lambda d: (d / "a").write_text("aaaaa"),
        lambda d: (d / "c").write_text(""),
        lambda d: (d / "b").unlink(),
        lambda d: (d / "b").rename(d / "c"),
        lambda d: write_later(d / "a", "aaaa"),
        lambda d: sidecar_path(d).unlink(),
        lambda d: sidecar_path(d).write_text("{"),
        lambda d: sidecar_path(d).write_text("[]"),
        lambda d: sidecar_path(d).write_text("{}"),
        lambda d: sidecar_path(d).write_text('{"stat": null, "sha256": "0"}'),
        lambda d: sidecar_path(d).write_bytes(b"\xff\xfe"),
    ],
)
def test_stale_or_broken_sidecar_is_not_believed(tmp_path: Path, change: Callable[[Path], object]):
    folder = folder_with_sidecar(tmp_path / "d")
    change(folder)
    assert known_sha256(folder) == sha256_path(folder)


def test_sidecar_of_a_file_is_never_believed(tmp_path: Path):
    # Snakemake sets new time stamps on files when their job has ended.
    path = tmp_path / "a.json"
    write_json(1, path)
    write_sidecar(path, {"rule": "r"})
    stat = path.stat()
    path.write_text("2\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert known_sha256(path) == sha256_bytes(b"2\n")


def test_job_refuses_another_copy_of_the_package(tmp_path: Path):
    (tmp_path / "src" / "artneuro").mkdir(parents=True)
    (tmp_path / "Snakefile").touch()
    script = tmp_path / "workflow" / "scripts" / "models"
    script.mkdir(parents=True)
    fake = snakemake(tmp_path, [], [tmp_path / "a.json"], scriptdir=str(script))
    with pytest.raises(CodeError, match="another copy"), Job(fake):
        pytest.fail("ran")
    job.check_package(ROOT)
    job.check_package(tmp_path / "nowhere")


def test_root_is_found_from_a_script(tmp_path: Path):
    (tmp_path / "src").mkdir()
    (tmp_path / "Snakefile").touch()
    script = tmp_path / "workflow" / "scripts" / "models"
    script.mkdir(parents=True)
    (tmp_path / "workflow" / "Snakefile").touch()
    assert job.find_root(script) == tmp_path


def test_git_state_of_a_checkout(tmp_path: Path):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(tmp_path), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    assert job.git_state(tmp_path / "none") == {"commit": None, "dirty": None}
    git("init", "-q")
    (tmp_path / "a").write_text("a")
    git("add", "a")
    git("commit", "-qm", "one")
    job.git_state.cache_clear()
    assert job.git_state(tmp_path) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "a").write_text("b")
    job.git_state.cache_clear()
    assert job.git_state(tmp_path)["dirty"] is True


# --- logs ----------------------------------------------------------------------------------------


def test_log_goes_to_the_file_and_a_second_call_starts_anew(tmp_path: Path):
    path = tmp_path / "deep" / "x.log"
    logger = logging.getLogger("artneuro.test")
    log_to(path)
    logger.info("first")
    log_to(path)
    logger.info("second")
    logger.debug("hidden")
    text = path.read_text()
    assert "second" in text
    assert "first" not in text
    assert "hidden" not in text
    log_to(None)
    logger.info("third")
    assert "third" not in path.read_text()
    assert len(logging.getLogger("artneuro").handlers) == 1


@pytest.fixture
def lines() -> list[str]:
    return []


@pytest.fixture
def logger(lines: list[str]):
    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger = logging.Logger("progress", logging.INFO)
    logger.addHandler(Collect())
    return logger


def test_progress_counts_and_ends(logger, lines: list[str]):
    assert list(progress("abc", "letters", 3, "letter", logger)) == list("abc")
    assert len(lines) == 1
    assert lines[0].startswith("letters: 3 of 3 letter (100 %)")


def test_progress_says_rate_and_time_left(logger, lines: list[str], monkeypatch):
    clock = iter([0.0, 10.0, 12.0, 20.0])
    monkeypatch.setattr("artneuro.core.logs.time.monotonic", lambda: next(clock))
    counter = Progress("work", 100, "row", logger, every=10)
    counter.add(20)
    counter.add(4)
    counter.add(16)
    assert lines == [
        "work: 20 of 100 row (20 %), 2.0 row/s, 40 s left",
        "work: 40 of 100 row (40 %), 2.0 row/s, 30 s left",
    ]


def test_progress_of_nothing(logger, lines: list[str]):
    assert list(progress([], "none", 0, "row", logger)) == []
    assert lines == []


def test_combined_hash_needs_only_hashes_of_files(tmp_path: Path):
    # The audit hashes files in parallel and combines them: it must agree with the job's own hash.
    folder = folder_with_sidecar(tmp_path / "d")
    files = hashing.content_files(folder)
    assert [p.name for p in files] == ["a", "b"]
    combined = hashing.combine_sha256(folder, {p: sha256_file(p) for p in files})
    assert combined == sha256_path(folder) == json.loads(sidecar_path(folder).read_text())["sha256"]
