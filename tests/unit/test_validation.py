"""Errors of pydantic in words for who wrote the config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from artneuro.config import load_config
from artneuro.core.errors import ConfigError

ROOT = Path(__file__).parents[2]

SYSTEM = {"system": "lorenz", "dt": 0.002, "degree": 5, "window": 9, "durations": [1.0]}
POWERS = {"start": 0, "stop": 1, "count": 3, "base": 2}
GROUP = {"reference": "a", "others": ["b"], "text": "t"}


def system(**values: Any) -> dict[str, Any]:
    return {"dynamics": {"systems": {"s": {**SYSTEM, **values}}}}


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        # Of several kinds of values, only the one that was meant.
        ({"activations": {"jobs": 1001}}, ["activations.jobs: Input should be less"]),
        ({"activations": {"jobs": {"m": 0}}}, ["activations.jobs.m: Input should be greater"]),
        ({"activations": {"layers": [-1]}}, ["activations.layers.0: Input should be greater"]),
        (
            {"activations": {"layers": "some"}},
            ["activations.layers: Input should be 'all'", "activations.layers: Input should be a "],
        ),
        (
            system(durations={**POWERS, "stop": 2000}),
            ["dynamics.systems.s.durations: the numbers from start 0 to stop 2000"],
        ),
        (
            system(durations={"start": 0, "count": 3}),
            ["dynamics.systems.s.durations.stop: Field required"],
        ),
        (system(durations=[1, "x"]), ["dynamics.systems.s.durations.1: Input should be a valid n"]),
        # The kind of a section is no key.
        (
            {"models": {"m": {"source": {"kind": "local", "pth": "x"}}}},
            ["models.m.source.path: Field required", "models.m.source.pth: no such key (got 'x')"],
        ),
        (
            {"models": {"m": {"source": {"kind": "local", "path": 3}}}},
            ["models.m.source.path: Input should be a valid string (got 3)"],
        ),
        # Nor is what pydantic calls a name.
        ({"texts": {"a b": {}}}, ["texts.a b: String should match", "texts.a b.corpus: Field re"]),
        (
            {"universality": {"groups": {"g": {**GROUP, "tiles": [100, 100]}}}},
            ["universality.groups.g: tiles [100, 100] and token_parts 1 make 10,000 jobs; 1,000 "],
        ),
        ({"datsets": {}}, ["datsets: no such key (got {})"]),
        ({"datsets": {"a\nb": 1}}, ["datsets: no such key (got {'a\\nb': 1})"]),
    ],
)
def test_what_is_wrong_is_told_by_its_key(values, lines):
    with pytest.raises(ConfigError) as error:
        load_config(values, ROOT)
    told = [line.removeprefix("  - ") for line in str(error.value).split("\n")[1:-2]]
    assert len(told) == len(lines), told
    for line, start in zip(told, lines, strict=True):
        assert line.startswith(start)
