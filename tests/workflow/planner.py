"""Many dry runs for the price of few: Snakemake is imported once, and every plan is a fork of it.

Run as a script, this is the process that forks: it reads the arguments of one call a line from its
standard input, as JSON, and answers with the exit status. What was printed and which jobs were
planned is then in files.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

OUTPUT, JOBS = ".plan.txt", ".plan.json"


@dataclass(frozen=True, order=True)
class PlannedJob:
    """A job of a dry run: its rule, the values of its wildcards, and what it reads and makes."""

    rule: str
    wildcards: tuple[str, ...] = ()
    inputs: tuple[str, ...] = field(default=(), compare=False)
    outputs: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return f"{self.rule}({', '.join(self.wildcards)})"


class Planner:
    """The process that forks, for one folder with a Snakefile."""

    def __init__(self, root: Path, environment: dict[str, str]) -> None:
        self.root = root
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            cwd=root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status and output of `snakemake` with some arguments."""
        assert self._server.stdin
        assert self._server.stdout
        self._server.stdin.write(json.dumps(arguments) + "\n")
        self._server.stdin.flush()
        status = int(self._server.stdout.readline())
        return status, (self.root / OUTPUT).read_text()

    def jobs(self) -> set[PlannedJob]:
        """The jobs of the latest plan, but for targets, which make nothing."""
        lines = (self.root / JOBS).read_text().splitlines()
        found = {PlannedJob(rule, *map(tuple, rest)) for rule, *rest in map(json.loads, lines)}
        return {job for job in found if job.outputs}

    def close(self) -> None:
        """End the process."""
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()


def in_parallel(planners, cases, run):
    """`run(planner, case)` of every case, on as many planners at a time; results by case."""
    free = list(planners)

    def one(case):
        planner = free.pop()
        try:
            return run(planner, case)
        except Exception as error:
            return error
        finally:
            free.append(planner)

    with ThreadPoolExecutor(len(free)) as pool:
        return dict(zip(cases, pool.map(one, cases), strict=True))


class _Jobs(logging.Filter):
    """Writes down each job that Snakemake prints; it would remove a handler, but not a filter."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.file = open(path, "w")  # noqa: SIM115

    def filter(self, record: logging.LogRecord) -> bool:
        """Write one job as a line of JSON, and let everything pass."""
        if hasattr(record, "rule_name") and hasattr(record, "wildcards"):
            values = list(record.wildcards.values())
            print(
                json.dumps([record.rule_name, values, list(record.input), list(record.output)]),
                file=self.file,
                flush=True,
            )
        return True


def _serve() -> None:
    root = Path.cwd()
    sys.path.insert(0, str(root / "src"))
    import snakemake.cli
    import snakemake.dag
    import snakemake.executors.dryrun
    import snakemake.logging
    import snakemake.report

    import artneuro.config
    import artneuro.provenance.lock
    import artneuro.universality.tiles  # noqa: F401
    from artneuro.provenance.code import code_hashes

    # What was parsed here is known in every fork; files that are edited later are parsed anew.
    for script in sorted((root / "workflow" / "scripts").rglob("*.py")):
        code_hashes(script, root)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                target = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(target, 1)
                os.dup2(target, 2)
                snakemake.logging.logger.addFilter(_Jobs(JOBS))
                snakemake.cli.main(json.loads(line))
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 0
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(ended)}\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
