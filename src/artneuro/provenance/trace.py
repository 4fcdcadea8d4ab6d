"""Where an artifact comes from: everything behind it, back to sources, models and code."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from artneuro.core.artifacts import read_json
from artneuro.core.errors import ConfigError, DataError, SourceError
from artneuro.core.hashing import sha256_json
from artneuro.core.sources import SOURCE_FILE, load_sources, read_source
from artneuro.provenance.audit import Finding
from artneuro.provenance.graph import (
    Artifact,
    as_text,
    base_of,
    count,
    dict_of,
    find_artifact,
    flatten,
    git_text,
    in_cycles,
    one_line,
    read_ancestors,
)
from artneuro.provenance.tree import FileState, hash_all, settle_temporary, shown_path

MODEL_RULES = ("fetch_model", "train_model")


@dataclass(frozen=True)
class Trace:
    """An artifact with everything that it came from.

    Attributes
    ----------
    target : Path
        The artifact, absolute.
    artifacts : dict of Path to Artifact
        It and all its ancestors.
    states : dict of Path to FileState
        What each is now.
    models, sources : list of dict
        What is known of the models and of the fetched packages among them, with licences.
    findings : list of Finding
        What is missing, changed since or unexplained, sorted by path.
    """

    target: Path
    artifacts: dict[Path, Artifact]
    states: dict[Path, FileState]
    models: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether everything is there, unchanged and explained."""
        return not self.findings

    def problems_of(self, artifact: Artifact) -> list[Finding]:
        """The findings at one artifact or its sidecar."""
        own = (artifact.shown, f"{artifact.shown}.prov.json")
        return [f for f in self.findings if f.path in own]

    def jobs(self) -> dict[str, Artifact]:
        """One output of every job, by the job's id."""
        return {a.job: a for a in self.artifacts.values() if a.record is not None}

    def commits(self) -> Counter[str]:
        """Jobs by the version of the code."""
        return Counter(git_text(a.record or {}) for a in self.jobs().values())

    def summary(self) -> str:
        """One line with the counts."""
        counted = (
            f"{count(len(self.artifacts), 'artifact')} of {count(len(self.jobs()), 'job')}, "
            f"{count(len(self.models), 'model')}, {count(len(self.sources), 'source')}"
        )
        if self.ok:
            return f"trace: {counted}: everything is there, unchanged and explained"
        return f"trace: {counted}: {count(len(self.findings), 'finding')}"

    def to_text(self) -> str:
        """The ancestors as an indented tree, then models, sources, code and findings."""
        return "\n".join(one_line(line) for line in _lines(self))

    def to_json(self) -> str:
        """Everything, with whole hashes, configs and code of each job."""
        artifacts = [
            {
                "path": a.shown,
                "sha256": a.record["sha256"] if a.record else None,
                "sha256_now": self.states[a.path].sha256 or None,
                "bytes": self.states[a.path].bytes,
                "job": a.job if a.record else None,
                "inputs": [
                    {"path": self.artifacts[i.path].shown, "sha256": i.sha256} for i in a.inputs
                ],
            }
            for a in self.artifacts.values()
        ]
        of_job = (
            "rule", "wildcards", "config", "configfiles", "code", "git", "lock_sha256", "versions",
            "machine", "threads", "started", "ended",
        )  # fmt: skip
        jobs = [
            {"id": job, **{k: (a.record or {}).get(k) for k in of_job}, "noted": a.noted}
            for job, a in self.jobs().items()
        ]
        whole = {
            "ok": self.ok,
            "artifact": self.artifacts[self.target].shown,
            "artifacts": artifacts,
            "jobs": jobs,
            "models": self.models,
            "sources": self.sources,
            "findings": [{**asdict(f), "fix": f.fix} for f in self.findings],
        }
        return json.dumps(whole, indent=2, ensure_ascii=False)


def trace(
    artifact: str | Path, workdir: str | Path | None = None, threads: int | None = None
) -> Trace:
    """Read the sidecars from `artifact` back to sources, and hash everything on the way again.

    Parameters
    ----------
    artifact : path
        A file or folder that a rule made, a file inside such a folder, or a sidecar.
    workdir : path, optional
        The folder that recorded paths are relative to. Default: the one that holds `results/`.
    threads : int, optional
        Files hashed at the same time. Default: one for each core, at most 8.

    Raises
    ------
    DataError
        If there is no such artifact.
    """
    target = find_artifact(artifact)
    base = base_of(target, workdir)
    artifacts = read_ancestors(target, base)
    if target.is_dir() and not artifacts[target].has_sidecar and not artifacts[target].inputs:
        raise DataError(
            "this folder is no artifact: no sidecar says where it is from",
            where=str(artifact),
            fix="name a file or a store in it; `artneuro audit` looks at all of results/",
        )
    states = hash_all(list(artifacts), threads)
    settle_temporary(states, {p: a.record for p, a in artifacts.items()})
    sources, repinned = fetched_sources(artifacts, base)
    models, misfits = known_models(artifacts, sources, base)
    findings = {*_findings(target, artifacts, states, base), *repinned, *misfits}
    return Trace(target, artifacts, states, models, sources, sorted(findings))


def _findings(
    target: Path, artifacts: dict[Path, Artifact], states: dict[Path, FileState], base: Path
) -> Iterator[Finding]:
    """What the audit would say about these artifacts, and what only a walk can see."""
    made_here = (base / "results", base / "resources" / "fetched")
    for path, artifact in artifacts.items():
        shown, state = artifact.shown, states[path]
        if artifact.problem:
            yield Finding(f"{shown}.prov.json", "bad_sidecar", artifact.problem)
        if state.missing and artifact.has_sidecar:
            yield Finding(shown, "missing", "it has a sidecar but is gone")
        elif state.error:
            yield Finding(shown, "unreadable", state.error)
        elif not artifact.has_sidecar and not state.missing and not artifact.inputs:
            # Elsewhere lie files of the user, which are explained by being there.
            if path == target or any(folder in path.parents for folder in made_here):
                yield Finding(shown, "unexplained", "no sidecar says where it is from")
        elif artifact.record is not None and state.sha256 != artifact.record["sha256"]:
            recorded = artifact.record["bytes"]
            different = f"{state.bytes:,} bytes instead of {recorded:,}"
            same = "same size, but other content than when it was made"
            yield Finding(shown, "changed", same if state.bytes == recorded else different)
        for used in artifact.inputs:
            now, name = states[used.path], artifacts[used.path].shown
            if now.missing:
                yield Finding(shown, "input_missing", f"was made from {name}, which is gone")
            elif used.sha256 is not None and not now.error and now.sha256 != used.sha256:
                detail = f"was made from another version of {name}"
                yield Finding(shown, "input_changed", detail)
    for path in in_cycles(artifacts):
        shown = artifacts[path].shown
        yield Finding(f"{shown}.prov.json", "bad_sidecar", "says that it was made from itself")


def fetched_sources(
    artifacts: dict[Path, Artifact], base: Path
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The fetched packages, and those that are pinned otherwise by now."""
    try:
        pins = load_sources(base / "resources" / "sources.yaml")
    except ConfigError:
        pins = {}
    found, repinned = [], []
    for path, artifact in artifacts.items():
        record = artifact.record or {}
        if not (path / SOURCE_FILE).is_file() and record.get("rule") != "fetch_source":
            continue
        try:
            info = read_source(path).model_dump()
        except SourceError:
            # The folder is gone or damaged; its sidecar says what was to be in it.
            info = {"name": path.name, **dict_of(dict_of(record, "config"), "source")}
            packages = info.get("packages")
            packages = packages if isinstance(packages, list) else []
            info["packages"] = [p for p in packages if isinstance(p, dict)]
        pinned = pins.get(str(info.get("name")))
        same = None
        if pinned is not None:
            now = [p.model_dump() for p in pinned.packages]
            same = now == info.get("packages") and pinned.registry == info.get("registry")
        if same is False:
            detail = "was fetched by other pins than resources/sources.yaml has now"
            repinned.append(Finding(artifact.shown, "input_changed", detail))
        if not info.get("licence") and pinned is not None:
            info["licence"] = pinned.licence
        keys = ("name", "registry", "packages", "licence", "description", "available", "reason")
        entry = {k: info.get(k) for k in keys}
        found.append({"artifact": artifact.shown, **entry, "pinned": same})
    return sorted(found, key=lambda s: str(s["name"])), repinned


def known_models(
    artifacts: dict[Path, Artifact], sources: list[dict[str, Any]], base: Path
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The models, and descriptions of models that do not fit their weights."""
    licences = {s["artifact"]: s["licence"] for s in sources}
    found: dict[str, dict[str, Any]] = {}
    misfits = []
    for path, artifact in artifacts.items():
        record = artifact.record
        if record is None or record["rule"] not in MODEL_RULES:
            continue
        name = str(dict_of(record, "wildcards").get("model", path.parent.name))
        # Jobs may have read the weights alone; what they are is told beside them.
        description = path.with_name("model.json")
        try:
            info = read_json(description)
        except (OSError, ValueError):
            info = None
        if not isinstance(info, dict):
            info = {}
        if path.name == "weights" and info.get("sha256", record["sha256"]) != record["sha256"]:
            shown = os.path.relpath(description, base)
            misfits.append(Finding(shown, "changed", "describes other weights than those beside"))
        licence = [
            licences[shown]
            for i in artifact.inputs
            if licences.get(shown := shown_path(i.path, base))
        ]
        keys = ("source", "revision", "sha256", "architecture", "n_parameters", "dtype")
        found[name] = {
            "name": name,
            "rule": record["rule"],
            **{k: info.get(k) for k in keys},
            "licence": ", ".join(dict.fromkeys(map(str, licence))) or info.get("licence"),
            "config": record["config"],
        }
    return [found[name] for name in sorted(found)], misfits


# --- as text -------------------------------------------------------------------------------------


def _lines(found: Trace) -> Iterator[str]:
    told: set[Path] = set()
    told_jobs: dict[str, str] = {}
    waiting = [(found.target, 0)]
    while waiting:
        path, depth = waiting.pop()
        artifact, indent = found.artifacts[path], "  " * depth
        if path in told:
            yield f"{indent}{artifact.shown} (above)"
            continue
        told.add(path)
        yield f"{indent}{artifact.shown}"
        same_job = artifact.job in told_jobs
        for line in _details(found, artifact, told_jobs):
            yield f"{indent}  | {line}"
        if not same_job:
            waiting.extend((i.path, depth + 1) for i in reversed(artifact.inputs))
    yield ""
    yield from closing_lines(found)


def _details(found: Trace, artifact: Artifact, told_jobs: dict[str, str]) -> Iterator[str]:
    state, record = found.states[artifact.path], artifact.record
    if not state.missing and not state.error:
        gone = ", deleted when it was no longer needed" if state.is_gone else ""
        yield f"sha256 {state.sha256}, {state.bytes:,} bytes{gone}"
    for problem in found.problems_of(artifact):
        yield f"! {problem.kind}: {problem.detail}"
    if artifact.is_part:
        yield "a part of"
    elif record is None and not artifact.has_sidecar and not found.problems_of(artifact):
        yield "given by the user: no rule makes it"
    if record is None:
        return
    if artifact.job in told_jobs:
        yield f"by the same job as {told_jobs[artifact.job]}"
        return
    told_jobs[artifact.job] = artifact.shown
    yield f"by {job_name(record)}, {str(record.get('started'))[:19]}"
    yield from (f"config {line}" for line in config_lines(record))
    yield code_text(record)


def job_name(record: dict[str, Any]) -> str:
    """The rule of a job with its wildcards: `fit_probes (model=m, dataset=d)`."""
    wildcards = ", ".join(f"{k}={v}" for k, v in dict_of(record, "wildcards").items())
    return record["rule"] + (f" ({wildcards})" if wildcards else "")


def config_lines(record: dict[str, Any]) -> Iterator[str]:
    """The values of a job's config, `path: value`; long ones are cut."""
    for name, value in flatten(record["config"]):
        if name or value:
            yield f"{name}: {as_text(value)}"


def code_text(record: dict[str, Any]) -> str:
    """The version of a job's code: git commit, the hash of all its modules, the lock."""
    code = record["code"]
    text = f"code {git_text(record)}, {len(code)} modules (hash {sha256_json(code)[:12]})"
    lock = record.get("lock_sha256")
    return text + (f", lock {str(lock)[:12]}" if lock else "")


def closing_lines(found: Trace) -> Iterator[str]:
    """Models, sources, versions of the code and findings, for below the tree or the drawing."""
    yield from _section("models", [_model_text(m) for m in found.models])
    yield from _section("sources", [_source_text(s) for s in found.sources])
    commits = [f"{text}: {count(n, 'job')}" for text, n in found.commits().most_common()]
    yield from _section("code", commits)
    yield from _section("does not fit", [str(f) for f in found.findings])
    yield found.summary()


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield title
        yield from (f"  {line}" for line in lines)


def _model_text(model: dict[str, Any]) -> str:
    facts = [
        str(model["source"] or "source not known"),
        f"revision {model['revision'] or 'not recorded'}",
        f"licence {model['licence'] or 'not recorded'}",
        f"weights {str(model['sha256'])[:12]}" if model["sha256"] else "",
    ]
    return f"{model['name']}: " + ", ".join(f for f in facts if f)


def _source_text(source: dict[str, Any]) -> str:
    packages = ", ".join(
        " ".join(
            str(part)
            for part in (p.get("name"), p.get("version") or p.get("url"), str(p.get("sha256"))[:12])
            if part
        )
        for p in source["packages"] or []
    )
    text = f"{source['name']}: licence {source['licence'] or 'not recorded'}; "
    text += f"{source['registry']}: {packages}"
    if source["available"] is False:
        text += f"; not to be had here: {source['reason']}"
    return text
