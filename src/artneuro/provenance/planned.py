"""Do the sidecars fit what the config and the code ask for now?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from artneuro.core.errors import ConfigError
from artneuro.provenance.diff_records import Difference, unequal
from artneuro.provenance.tree import workdir_of

LISTER = Path("workflow") / "planned_jobs.py"
REASONS_TOLD = 3


@dataclass(frozen=True)
class PlannedJob:
    """A job that the workflow would run for the config if there were no results yet.

    Attributes
    ----------
    rule : str
        Its rule.
    wildcards : dict
        Their values.
    outputs, inputs : list of str
        Paths, relative to the folder that holds results/.
    config, code : object
        What the sidecars of its outputs would say.
    wanted : bool
        Whether plain `snakemake` asks for it, not only one of the other targets.
    """

    rule: str
    wildcards: dict[str, str]
    outputs: list[str]
    inputs: list[str]
    config: Any
    code: dict[str, str]
    wanted: bool


def workflow_of(
    results: str | Path,
    workdir: str | Path | None,
    root: str | Path | None,
    configfiles: Iterable[str | Path],
) -> tuple[Path | None, str]:
    """The workflow to compare results with, or why there is none that may be trusted to run.

    Code that lies beside somebody's results is not run unless it is named: by default it is the
    workflow that this package belongs to, and only for its own results or a named config.
    """
    if root is not None:
        return Path(root), ""
    own = Path(__file__).resolve().parents[3]
    if not (own / LISTER).is_file():
        return None, "this package was installed without its workflow; name it by --root"
    folder = Path(os.path.abspath(results))
    base = Path(os.path.abspath(workdir)) if workdir is not None else workdir_of(folder)
    if not list(configfiles) and base.resolve() != own:
        return None, "these are not results of the workflow that is installed; name it by --root"
    return own, ""


def recorded_configfiles(records: Iterable[dict[str, Any]]) -> list[str]:
    """The config files that the last finished job was run with; none where it does not say."""
    newest = max(records, key=lambda r: str(r.get("ended") or ""), default={})
    files = newest.get("configfiles")
    return [str(f) for f in files] if isinstance(files, list) else []


def read_plan(root: Path, base: Path, configfiles: Iterable[str | Path] = ()) -> list[PlannedJob]:
    """Let Snakemake list all jobs of a config. This runs code of the workflow, but no job.

    Parameters
    ----------
    root : Path
        The folder of the workflow.
    base : Path
        The folder that holds results/.
    configfiles : iterable of path, optional
        Config files, relative to `base`. Default: the workflow's own.

    Raises
    ------
    ConfigError
        If there is no workflow, or Snakemake cannot plan with this config.
    """
    script = Path(os.path.abspath(root)) / LISTER
    if not script.is_file():
        raise ConfigError(
            "there is no workflow to compare the results with",
            where=str(root),
            fix="name the folder that holds the Snakefile by --root, or give --no-plan",
        )
    missing = [str(f) for f in configfiles if not (base / f).is_file()]
    if missing:
        raise ConfigError(
            "the config that the results were made with is not there",
            where=", ".join(missing),
            fix="name one by --configfile, or give --no-plan",
        )
    command = [sys.executable, str(script), *(str(base / f) for f in configfiles)]
    done = subprocess.run(command, cwd=base, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(
            f"Snakemake cannot plan with this config: {done.stderr.strip()[-2000:]}",
            where=", ".join(map(str, configfiles)) or "the default config",
            fix="correct it (`artneuro config check FILE`), or give --no-plan",
        )
    return [PlannedJob(**job) for job in json.loads(done.stdout)]


def compare_with_plan(
    plan: list[PlannedJob], records: dict[Path, dict[str, Any]], base: Path
) -> Iterator[tuple[str, Path, str]]:
    """What is orphaned, outdated or not made yet: kind of finding, path and detail.

    Parameters
    ----------
    plan : list of PlannedJob
        What the config asks for.
    records : dict of Path to dict
        The usable sidecars by their artifacts.
    base : Path
        The folder that paths of the plan are relative to.
    """
    jobs = {Path(os.path.abspath(base / f)): job for job in plan for f in job.outputs}
    rules = {job.rule for job in plan}
    for path, record in records.items():
        if (job := jobs.get(path)) is None:
            rule = record["rule"]
            of_rule = "" if rule in rules else f", nor for anything else that {rule} makes"
            yield "orphaned", path, f"nothing in the config asks for it any more{of_rule}"
        elif reasons := list(_reasons(record, job)):
            told = "; ".join(_told(r) for r in reasons[:REASONS_TOLD])
            more = len(reasons) - REASONS_TOLD
            yield "outdated", path, told + (f"; and {more} more" if more > 0 else "")
    for path, job in jobs.items():
        if job.wanted and path not in records and not os.path.lexists(path):
            yield "unmade", path, f"the config asks {job.rule} for it"


def _told(reason: Difference) -> str:
    return f"{reason.aspect} {reason.name}: {reason.a or 'none'} -> {reason.b or 'none'}"


def _reasons(record: dict[str, Any], job: PlannedJob) -> Iterator[Difference]:
    """Where a sidecar differs from the job that would be run now: first then, then now."""
    if record["rule"] != job.rule:
        yield Difference("rule", "", record["rule"], job.rule)
    yield from unequal("config", record["config"], job.config)
    yield from unequal("code", record["code"], job.code)
    used = {str(i["path"]) for i in record["inputs"]}
    for name in sorted(used ^ set(job.inputs)):
        yield Difference("input", name, *(("read", None) if name in used else (None, "to be read")))
