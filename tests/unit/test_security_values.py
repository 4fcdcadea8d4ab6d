"""Values written by hand: what YAML makes of them, and the traps that are told by key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from artneuro.core.errors import ConfigError
from artneuro.core.values import MAX_DEPTH, MAX_VALUES, problems_of, read_yaml


def read(text: str, folder: Path) -> Any:
    file = folder / "x.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    return read_yaml(file, "the file")


def test_plain_values_come_as_yaml_reads_them(tmp_path):
    text = "a: &a {b: 1, c: [1.5, x, null, true]}\nd: {<<: *a, b: 2}\ne: *a\n"
    a = {"b": 1, "c": [1.5, "x", None, True]}
    assert read(text, tmp_path) == {"a": a, "d": {**a, "b": 2}, "e": a}
    # A key of its own beside a merged one is no key that is there twice, whatever comes first.
    again = "a: &a {k: 1}\nb: &b {<<: *a, k: 2}\nc: {<<: *b, k: 3}\nd: *b\n"
    assert read(again, tmp_path)["c"] == {"k": 3}
    assert read("", tmp_path) is None
    assert read("\ufeffa: naïve 模型\n", tmp_path) == {"a": "naïve 模型"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {b: 1, c: 2, b: 3}", "the key 'b' is there twice"),
        ("no: 1", "the key 'False' is no text"),
        ("a: {1: x}", "a: the key '1' is no text"),
        ("a: .inf", "a: inf is no number"),
        ("a: [1, .nan]", "a.1: nan is no number"),
        (f"a: {2**63}", "a: the number is larger"),
        ("a: " + "9" * 5000, "Exceeds the limit"),
        ("a: 2001-01-02", "a: YAML reads 2001-01-02 as a date"),
        ("a: 2001-99-99", "month must be"),
        ("a: !!binary YQ==", "a: YAML reads it as bytes"),
        ("a: !!set {x}", "a: YAML reads it as set"),
        ("a: !!bool maybe", "not YAML"),
        ("a: !!timestamp x", "not YAML"),
        ("a: !!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ('a: "\\0"', "a: the text '\\x00' holds characters"),
        ('a: "\\e[31m"', "characters that cannot be shown"),
        ('"\\e": 1', "the key '\\x1b' holds characters"),
        (f"{'k' * 101}: 1", "has 101 characters"),
        (f"a: {'x' * 100_001}", "the text has 100001 characters"),
        ("a: &a [*a]", "nested more than"),
        ("[" * 50 + "]" * 50, "nested more than"),
        ("[" * 5000, "nested too deeply"),
        ("\ud800", "cannot read the file"),
    ],
)
def test_traps_are_told_with_their_key(text, said, tmp_path):
    with pytest.raises(ConfigError) as raised:
        read(text, tmp_path)
    assert said in str(raised.value)
    assert str(tmp_path / "x.yaml") in str(raised.value)


def test_what_unfolds_to_too_much_is_stopped_early(tmp_path):
    rows = ["a0: &a0 {k: 1}"]
    rows += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 30)]
    with pytest.raises(ConfigError, match="what is merged here"):
        read("\n".join(rows), tmp_path)
    value: Any = "x"
    for _ in range(MAX_DEPTH - 1):
        value = [value] * 10
    (problem,) = problems_of(value)
    assert f"more than {MAX_VALUES} values" in problem


def test_what_is_no_regular_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (Path("/dev/zero"), tmp_path, tmp_path / "pipe", tmp_path / "none", Path("\0")):
        with pytest.raises(ConfigError, match="cannot read the file"):
            read_yaml(path, "the file")
    (tmp_path / "long").write_bytes(b"#" * 10_000_001)
    with pytest.raises(ConfigError, match="more than 10000000 bytes"):
        read_yaml(tmp_path / "long", "the file")
