"""Print every job that the config asks for as JSON, whether or not its results are there.

What `snakemake -n` prints leaves out the values of params, and jobs with nothing to do. The audit
compares the sidecars with this list: `python workflow/planned_jobs.py [CONFIGFILE ...]`, run in the
folder that holds results/. Nothing is written there and no job runs.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from snakemake.api import SnakemakeApi
from snakemake.dag import DAG
from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import Quietness
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    OutputSettings,
    ResourceSettings,
)

SNAKEFILE = Path(__file__).resolve().parents[1] / "Snakefile"


@contextlib.contextmanager
def planned(configfiles: list[Path]) -> Iterator[DAG]:
    """The graph of all jobs of all targets that the Snakefile names."""
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow_api = api.workflow(
            resource_settings=ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=configfiles),
            snakefile=SNAKEFILE,
        )
        workflow = workflow_api._workflow
        targets = [r.name for r in workflow.rules if not r.has_wildcards() and is_target(r)]
        workflow_api.dag(DAGSettings(targets=targets))
        # Locks nothing: a run that is under way may go on.
        workflow._prepare_dag(
            forceall=True, ignore_incomplete=True, lock_warn_only=True, nolock=True
        )
        workflow._build_dag()
        yield workflow.dag


def is_target(rule) -> bool:
    """Whether a rule only names what is to be made."""
    return not rule.output


def plan_of(dag: DAG) -> list[dict]:
    """What is to be known of each job, in an order that depends on nothing but the jobs."""
    wanted = behind(dag, [j for j in dag.jobs if j.rule.name == "all"])
    jobs = [
        {
            "rule": job.rule.name,
            "wildcards": {k: str(v) for k, v in job.wildcards.items()},
            "outputs": [str(f) for f in job.output],
            "inputs": [str(f) for f in job.input],
            "config": job.params.cfg,
            "code": job.params.code,
            "wanted": job in wanted,
        }
        for job in dag.jobs
        if job.output
    ]
    return sorted(jobs, key=lambda job: job["outputs"])


def behind(dag: DAG, jobs: list) -> set:
    """These jobs and all that they need."""
    found, waiting = set(), list(jobs)
    while waiting:
        if (job := waiting.pop()) not in found:
            found.add(job)
            waiting.extend(dag.dependencies[job])
    return found


def main() -> int:
    """Print the jobs of the config files that are given, else of the demo's."""
    try:
        with planned([Path(f) for f in sys.argv[1:]]) as dag:
            json.dump(plan_of(dag), sys.stdout)
    except (WorkflowError, OSError, SyntaxError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
