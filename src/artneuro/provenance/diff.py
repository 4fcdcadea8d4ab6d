"""Why two artifacts, or two folders of results, differ: config, code, inputs, versions, machine."""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from artneuro.core.artifacts import SIDECAR_SUFFIX, sidecar_path
from artneuro.core.errors import DataError
from artneuro.provenance.diff_records import (
    CIRCUMSTANCES,
    REASONS,
    Difference,
    job_differences,
    sidecar_differences,
)
from artneuro.provenance.graph import (
    Artifact,
    Input,
    base_of,
    count,
    find_artifact,
    one_line,
    read_artifact,
)
from artneuro.provenance.trace import job_name
from artneuro.provenance.tree import FileState, ResultsTree, hash_all, walk_results

NAMES_SHOWN = 20


@dataclass(frozen=True)
class Pair:
    """Two artifacts that stand for each other.

    Attributes
    ----------
    a, b : str
        Their paths, each relative to the folder of its workflow.
    job : str
        The rule that made them, with wildcards; that of A where the two differ.
    equal : bool
        Whether their contents are the same.
    differences : tuple of Difference
        What their sidecars say otherwise, other than which versions of inputs they read.
    follows : tuple of (str, str)
        Those inputs (of A, of B) whose contents differ.
    sha256 : tuple of two str or None
        The contents: of what was compared, as it is; of ancestors, as it was when it was read.
    """

    a: str
    b: str
    job: str
    equal: bool
    differences: tuple[Difference, ...]
    follows: tuple[tuple[str, str], ...]
    sha256: tuple[str | None, str | None]

    @property
    def first(self) -> bool:
        """Whether the difference starts here: no input that both have differs."""
        return not self.equal and not self.follows

    @property
    def reasons(self) -> list[Difference]:
        """What can explain the difference by itself."""
        return [d for d in self.differences if d.aspect in REASONS]

    @property
    def circumstances(self) -> list[Difference]:
        """Versions, machine and the like."""
        return [d for d in self.differences if d.aspect in CIRCUMSTANCES]

    @property
    def name(self) -> str:
        """One path where both are the same, else both."""
        return _both(self.a, self.b)


@dataclass(frozen=True)
class Comparison:
    """Two artifacts or folders compared.

    Attributes
    ----------
    a, b : str
        What was compared, as given.
    pairs : list of Pair
        All pairs that were looked at: of two artifacts, they and their differing ancestors; of
        two folders, all that both have, and differing ancestors outside.
    only_a, only_b : list of str
        Artifacts of the one folder that the other has not.
    compared : int
        How many of the pairs, the first ones, were compared for themselves.
    of_artifacts : bool
        Whether two artifacts were compared, not two folders.
    """

    a: str
    b: str
    pairs: list[Pair]
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    compared: int = 1
    of_artifacts: bool = True

    @property
    def equal(self) -> bool:
        """Whether all that was compared has the same content."""
        compared = self.pairs[: self.compared]
        return all(p.equal for p in compared) and not self.only_a and not self.only_b

    def ordered(self) -> list[Pair]:
        """The differing pairs, each after all that it follows from."""
        differing = {(p.a, p.b): p for p in self.pairs if not p.equal}
        done: dict[tuple[str, str], Pair] = {}
        opened = set()
        stack = [(name, False) for name in reversed(differing)]
        while stack:
            at, inputs_done = stack.pop()
            if inputs_done:
                done[at] = differing[at]
            elif at not in opened:
                opened.add(at)
                stack.append((at, True))
                inputs = [i for i in differing[at].follows if i in differing and i not in opened]
                stack.extend((i, False) for i in reversed(inputs))
        return list(done.values())

    def to_json(self) -> str:
        """Everything as JSON."""
        pairs = [{**asdict(p), "first": p.first} for p in self.pairs]
        return json.dumps(
            {"equal": self.equal, **asdict(self), "pairs": pairs}, indent=2, ensure_ascii=False
        )

    def to_text(self) -> str:
        """First what differs first, then what follows from it, then what is of little weight."""
        return "\n".join(one_line(line) for line in _lines(self))

    def summary(self) -> str:
        """One line with the counts."""
        compared = self.pairs[: self.compared]
        n_equal = sum(p.equal for p in compared)
        parts = [f"{count(len(compared), 'pair')} compared", f"{n_equal} equal"]
        parts += [f"{len(compared) - n_equal} differ"] if n_equal < len(compared) else []
        parts += [f"{len(self.only_a)} only in A"] if self.only_a else []
        parts += [f"{len(self.only_b)} only in B"] if self.only_b else []
        return "diff: " + ", ".join(parts)


def diff(
    a: str | Path,
    b: str | Path,
    workdirs: tuple[str | Path | None, str | Path | None] = (None, None),
    threads: int | None = None,
) -> Comparison:
    """Compare two artifacts or two folders of results, and say why they differ.

    Contents are hashed again. Ancestors are compared by the hashes that were recorded when they
    were read, back to the first that differ.

    Parameters
    ----------
    a, b : path
        Two artifacts (or sidecars of such), or two folders that hold artifacts.
    workdirs : tuple of two paths, optional
        The folders that recorded paths are relative to. Default: those that hold `results/`.
    threads : int, optional
        Files hashed at the same time. Default: one for each core, at most 8.

    Raises
    ------
    DataError
        If one of them does not exist, is gone, or one is an artifact and the other a folder of
        them.
    """
    paths = find_artifact(a), find_artifact(b)
    for given, path in zip((a, b), paths, strict=True):
        if not path.exists():
            raise DataError(
                "the artifact is gone and only its sidecar is left",
                where=str(given),
                fix="make it again with `snakemake PATH`, or compare others",
            )
    base_a, base_b = (base_of(p, w) for p, w in zip(paths, workdirs, strict=True))
    folders = [p.is_dir() and not sidecar_path(p).is_file() for p in paths]
    if folders[0] != folders[1]:
        raise DataError(
            "a folder of results cannot be compared with one artifact",
            where=f"{a} and {b}",
            fix="give two artifacts or two folders",
        )
    only_a, only_b, starts = [], [], [paths]
    if folders[0]:
        in_a, in_b = _contents(paths[0]), _contents(paths[1])
        starts = [(path, in_b[name]) for name, path in in_a.items() if name in in_b]
        only_a = [name for name in in_a if name not in in_b]
        only_b = [name for name in in_b if name not in in_a]
        if not in_a and not in_b:
            raise DataError(
                "neither folder holds any artifact", where=f"{a} and {b}", fix="run snakemake first"
            )
    states = hash_all([p for pair in starts for p in pair], threads)
    for path, state in states.items():
        if state.error:
            raise DataError(state.error, where=str(path), fix="check the permissions and the disk")
    pairs = _pairs(starts, states, base_a, base_b)
    return Comparison(str(a), str(b), pairs, only_a, only_b, len(starts), not folders[0])


def _contents(folder: Path) -> dict[str, Path]:
    """Artifacts below a folder, with or without a sidecar, by their path in it."""
    tree = ResultsTree()
    walk_results(folder, tree, top=True)
    for path, reason in tree.unreadable:
        raise DataError(reason, where=str(path), fix="check the permissions and the disk")
    found = [s.with_name(s.name.removesuffix(SIDECAR_SUFFIX)) for s in tree.sidecars]
    found += [path for path, _ in tree.unexplained]
    return {p.relative_to(folder).as_posix(): p for p in sorted(found) if p.exists()}


def _pairs(
    starts: list[tuple[Path, Path]], states: dict[Path, FileState], base_a: Path, base_b: Path
) -> list[Pair]:
    """The pairs to compare, and after them their ancestors with different contents."""
    waiting, pairs = deque(starts), []
    known_a: dict[Path, Artifact] = {}
    known_b: dict[Path, Artifact] = {}
    # What is to be explained: the contents as they are, and of ancestors as they were when they
    # were read; they may have been made again since.
    read_as: dict[tuple[Path, Path], tuple[str | None, str | None]] = {
        pair: (states[pair[0]].sha256, states[pair[1]].sha256) for pair in starts
    }

    def look(path: Path, base: Path, known: dict[Path, Artifact]) -> Artifact:
        if path not in known:
            known[path] = read_artifact(path, base)
        return known[path]

    while waiting:
        pair = waiting.popleft()
        one, other = look(pair[0], base_a, known_a), look(pair[1], base_b, known_b)
        matched, found = _match(one, other)
        follows = []
        for i, j in matched:
            next_a = look(one.inputs[i].path, base_a, known_a)
            next_b = look(other.inputs[j].path, base_b, known_b)
            hashes = _read(one.inputs[i], next_a), _read(other.inputs[j], next_b)
            if hashes[0] == hashes[1] is not None:
                continue
            next_pair = (next_a.path, next_b.path)
            if next_pair not in read_as:
                read_as[next_pair] = hashes
                waiting.append(next_pair)
            if _differ(read_as[next_pair]):
                follows.append((next_a.shown, next_b.shown))
            else:
                # They were read in versions that differed, and have been made alike since.
                texts = (f"read as {str(sha256)[:12]}" for sha256 in hashes)
                found.append(Difference("inputs", _both(next_a.shown, next_b.shown), *texts))
        found = [
            *sidecar_differences(one, other, read_as[pair]),
            *job_differences(one, other),
            *found,
        ]
        job = job_name(one.record) if one.record else ""
        pairs.append(
            Pair(
                one.shown,
                other.shown,
                job,
                not _differ(read_as[pair]),
                tuple(found),
                tuple(follows),
                read_as[pair],
            )
        )
    return pairs


def _read(used: Input, artifact: Artifact) -> str | None:
    """The hash of an input when it was read; of the folder of a part, that of its sidecar."""
    if used.sha256 is None and artifact.record is not None:
        return artifact.record["sha256"]
    return used.sha256


def _differ(hashes: tuple[str | None, str | None]) -> bool:
    return hashes[0] != hashes[1] or hashes[0] is None


def _both(a: str, b: str) -> str:
    return a if a == b else f"{a} (B: {b})"


def _match(a: Artifact, b: Artifact) -> tuple[list[tuple[int, int]], list[Difference]]:
    """Inputs that stand for each other (by position), and inputs that only one of the two has.

    Those of the same path belong together; then, in order, those of the same name; then the rest
    in order as far as both sides have as many.
    """
    left_a, left_b = list(range(len(a.inputs))), list(range(len(b.inputs)))
    base_a = str(a.path).removesuffix(a.shown)
    base_b = str(b.path).removesuffix(b.shown)
    shown_a = [str(i.path).removeprefix(base_a) for i in a.inputs]
    shown_b = [str(i.path).removeprefix(base_b) for i in b.inputs]
    matched: list[tuple[int, int]] = []

    def match(alike: Callable[[int, int], bool]) -> None:
        for i in list(left_a):
            j = next((j for j in left_b if alike(i, j)), None)
            if j is not None:
                matched.append((i, j))
                left_a.remove(i)
                left_b.remove(j)

    match(lambda i, j: shown_a[i] == shown_b[j])
    match(lambda i, j: a.inputs[i].path.name == b.inputs[j].path.name)
    if len(left_a) == len(left_b):
        match(lambda i, j: True)
    missing = [Difference("inputs", shown_a[i], "", None) for i in left_a]
    missing += [Difference("inputs", shown_b[j], None, "") for j in left_b]
    return sorted(matched), missing


# --- as text -------------------------------------------------------------------------------------


def _lines(found: Comparison) -> Iterator[str]:
    yield f"A: {found.a}"
    yield f"B: {found.b}"
    if found.of_artifacts:
        a, b = found.pairs[0].sha256
        same = found.pairs[0].equal
        yield f"contents: equal, sha256 {a}" if same else f"contents: differ, sha256 {a} -> {b}"
    for title, names in (("only in A", found.only_a), ("only in B", found.only_b)):
        yield from _listed(title, names)
    first: dict[tuple, list[str]] = {}
    later: dict[tuple, list[str]] = {}
    for pair in found.ordered():
        key = (pair.job, tuple(pair.reasons), pair.follows)
        (first if pair.first else later).setdefault(key, []).append(pair.name)
        if pair.first and not pair.reasons:
            first[key] = first.pop(key)
    yield from _groups("differs first", first)
    yield from _groups("follows", later)
    yield from _tally("circumstances", Counter(d for p in found.pairs for d in p.circumstances))
    without_effect = Counter(
        d for p in found.pairs if p.equal for d in p.reasons if d.aspect != "sidecar"
    )
    yield from _tally("without effect", without_effect)
    yield found.summary()


def _groups(title: str, groups: dict[tuple, list[str]]) -> Iterator[str]:
    """Artifacts that differ for the same reasons, such as those of one job, are told together."""
    for (job, reasons, follows), names in groups.items():
        yield f"{title}: {names[0]}"
        yield from (f"  and {name}" for name in names[1:])
        if job:
            yield f"  | by {job}"
        yield from (f"  | {reason}" for reason in reasons)
        if title != "follows" and not reasons:
            yield "  | config, code and inputs are the same: see the circumstances, or chance"
        yield from (f"  | from {_both(*names)}" for names in follows)


def _tally(title: str, differences: Counter[Difference]) -> Iterator[str]:
    if differences:
        yield f"{title}:"
        aspects = (*REASONS, *CIRCUMSTANCES)
        ordered = sorted(
            differences.items(), key=lambda d: (aspects.index(d[0].aspect), d[0].name, str(d[0]))
        )
        yield from (f"  {difference} ({count(n, 'pair')})" for difference, n in ordered)


def _listed(title: str, names: list[str]) -> Iterator[str]:
    if names:
        yield f"{title}:"
        yield from (f"  {name}" for name in names[:NAMES_SHOWN])
        if len(names) > NAMES_SHOWN:
            yield f"  and {len(names) - NAMES_SHOWN} more"
