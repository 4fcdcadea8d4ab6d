"""What the sidecars of two artifacts say otherwise, aspect by aspect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from artneuro.provenance.graph import Artifact, flatten

# What can make an artifact another one by itself, and what seldom does and is the same for most
# artifacts of a run: it is told once, at the end.
REASONS = ("sidecar", "rule", "wildcards", "config", "code", "inputs")
CIRCUMSTANCES = ("versions", "lock", "git", "machine", "threads", "noted")
LENGTH = 100  # characters of a value


@dataclass(frozen=True, order=True)
class Difference:
    """One recorded thing that differs: its aspect, its name, and both values as text.

    A value is None where that side has no such thing.
    """

    aspect: str
    name: str
    a: str | None
    b: str | None

    def __str__(self) -> str:
        where = f"{self.aspect} {self.name}".strip()
        if self.a is None:
            return f"{where}: only in B" + (f": {self.b}" if self.b else "")
        if self.b is None:
            return f"{where}: only in A" + (f": {self.a}" if self.a else "")
        return f"{where}: {self.a} -> {self.b}"


def sidecar_differences(
    a: Artifact, b: Artifact, hashes: tuple[str | None, str | None]
) -> Iterator[Difference]:
    """What keeps two sidecars from explaining a difference of their artifacts.

    Parameters
    ----------
    a, b : Artifact
        The artifacts.
    hashes : tuple of two str or None
        The contents that are to be explained; None where they are not known.
    """

    def state(artifact: Artifact, read: str | None) -> str:
        if artifact.record is None:
            return artifact.problem or "none"
        if read is not None and artifact.record["sha256"] != read:
            return "of other content"
        return artifact.problem or "fits"

    states = [state(artifact, read) for artifact, read in zip((a, b), hashes, strict=True)]
    if states != ["fits", "fits"] and not (a.is_part and b.is_part):
        yield Difference("sidecar", "", *states)


def job_differences(a: Artifact, b: Artifact) -> Iterator[Difference]:
    """What two sidecars say otherwise, aspect by aspect; inputs are compared elsewhere."""
    if a.record is None or b.record is None:
        return
    for aspect in (*REASONS, *CIRCUMSTANCES):
        if aspect not in ("sidecar", "inputs"):
            yield from unequal(aspect, _aspect(a, aspect), _aspect(b, aspect))


def _aspect(artifact: Artifact, aspect: str) -> Any:
    record = artifact.record or {}
    if aspect == "noted":
        # How long the parts of a job took is never the same, and explains nothing.
        return {k: v for k, v in artifact.noted.items() if not _is_timing(k)}
    return record.get("lock_sha256" if aspect == "lock" else aspect)


def _is_timing(name: str) -> bool:
    return name.endswith(("seconds", "_per_second"))


def unequal(aspect: str, a: Any, b: Any) -> Iterator[Difference]:
    """The leaves of two nested values that differ, by their paths."""
    # Names of modules have points and no depth.
    flat = aspect == "code" and isinstance(a, dict) and isinstance(b, dict)
    values_a, values_b = (dict(v) if flat else dict(flatten(v)) for v in (a, b))
    for name in sorted({*values_a, *values_b}):
        texts = [
            json.dumps(values[name], ensure_ascii=False) if name in values else None
            for values in (values_a, values_b)
        ]
        if texts[0] != texts[1]:
            yield Difference(aspect, name, *_cut(*texts))


def _cut(a: str | None, b: str | None) -> tuple[str | None, str | None]:
    """Two values short enough for a line, with the place where they start to differ."""
    pairs = enumerate(zip(a or "", b or "", strict=False))
    shorter = min(len(a or ""), len(b or ""))
    same = next((i for i, (x, y) in pairs if x != y), shorter)
    start = max(0, same - LENGTH // 4) if max(len(a or ""), len(b or "")) > LENGTH else 0

    def cut(text: str | None) -> str | None:
        if text is None:
            return None
        end = start + LENGTH
        return "…" * (start > 0) + text[start:end] + "…" * (len(text) > end)

    return cut(a), cut(b)
