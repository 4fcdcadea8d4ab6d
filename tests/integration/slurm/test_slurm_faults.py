"""What becomes of a run when its cluster misbehaves: survived, or told by name."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from tests.integration.slurm.cluster import Cluster, call, wait_until
from tests.integration.slurm.conftest import HERE, Site, queued

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
SMALL = ["-s", str(HERE / "faults.smk"), "--default-resources", "mem_mb=500", "runtime=5"]


@pytest.fixture
def site(cluster: Cluster, tmp_path: Path) -> Site:
    found = Site(tmp_path)
    found.describe()
    return found


def attempts(comment: str) -> list[str]:
    """How each job of a rule ended, in the order of their submission."""
    lines = call("sacct", "-X", "-n", "-P", "-D", "-o", "Comment%90,State").splitlines()
    return [line.split("|")[1].split()[0] for line in lines if line.split("|")[0] == comment]


def test_faults_of_jobs_and_nodes(cluster: Cluster, site: Site) -> None:
    """All at once, each by jobs of its own."""
    disturbed = ("cancelled", "lost_node", "preempted")
    survives = ["time_limit", "out_of_memory", *(f"disturbed.{fault}" for fault in disturbed)]
    refused = [f"impossible.{what}" for what in ("memory", "gpus", "partition")]
    run = site.snakemake(*SMALL, "--", *survives, *refused, "impossible.time", "fails")
    started = [site.folder / f"started.{fault}" for fault in disturbed]
    wait_until(lambda: all(f.exists() for f in started), "the jobs to disturb run", 120)

    at = dict(line.split("|")[::-1] for line in queued("%i %N|%k"))
    number, _ = at["rule_disturbed_wildcards_cancelled"].split()
    call("scancel", number)
    _, lost = at["rule_disturbed_wildcards_lost_node"].split()
    cluster.crash_node(lost)
    _, wanted = at["rule_disturbed_wildcards_preempted"].split()
    more = ["-p", "cpu", "-w", wanted, "-c", "8", "-t", "1", "-o", "/dev/null", "--chdir=/tmp"]
    call("sbatch", *more, "--wrap", "sleep 5")

    wait_until(lambda: "PartitionTimeLimit" in site.said(), "the endless wait is told", 60)
    assert re.search(r"holds back \d+ \(impossible_wildcards_time\)", site.said())

    # Neither squeue nor sacct answers for a while.
    outage = site.folder / "outage"
    outage.touch()
    wait_until(lambda: "Slurm has not answered for" in site.said(), "the outage is told", 60)
    assert "squeue: error: no answer" in site.said()
    time.sleep(20)
    outage.unlink()
    wait_until(lambda: "Slurm answers again" in site.said(), "its end is told", 60)

    wait_until(
        lambda: all((site.folder / name).exists() for name in survives) and not running(),
        "all but the endless wait have ended",
        300,
    )
    wait_until(
        lambda: attempts("rule_fails") == ["FAILED"] * 3 and "5 of 10 steps" in site.said(),
        "Snakemake has heard of the last one",
        120,
    )
    # Interrupted, a run takes its jobs along.
    run.send_signal(signal.SIGINT)
    assert run.wait(180) != 0
    wait_until(lambda: not queued(), "the queue is empty", 30)

    said = site.said()
    assert attempts("rule_time_limit") == ["TIMEOUT", "COMPLETED"]
    assert attempts("rule_out_of_memory")[-1] == "COMPLETED"
    assert set(attempts("rule_out_of_memory")[:-1]) <= {"FAILED", "OUT_OF_MEMORY"}
    assert len(attempts("rule_out_of_memory")) == 2
    assert attempts("rule_disturbed_wildcards_cancelled") == ["CANCELLED", "COMPLETED"]
    # These are queued again by Slurm, under the same number.
    assert attempts("rule_disturbed_wildcards_lost_node") == ["NODE_FAIL", "COMPLETED"]
    assert attempts("rule_disturbed_wildcards_preempted") == ["PREEMPTED", "COMPLETED"]
    assert attempts("rule_fails") == ["FAILED"] * 3
    for state in ("TIMEOUT", "CANCELLED"):
        assert f"SLURM status is: '{state}'" in said
    for reason in (
        "Requested node configuration is not available",
        "invalid partition specified: nowhere",
    ):
        assert reason in said
    for name in refused:
        assert len(
            re.findall(rf"Error in rule impossible:(?s:.){{,4000}}output: {name}$", said, re.M)
        )
        assert not (site.folder / name).exists()


def running() -> list[str]:
    """Jobs that have started and not ended."""
    return [state for state in queued("%T") if state != "PENDING"]


def wait_for_both(site: Site, *names: str) -> None:
    """Wait until the jobs have begun that make these files."""
    wait_until(lambda: all((site.folder / name).exists() for name in names), "both jobs run", 90)


def test_the_controller_is_away_for_a_minute(cluster: Cluster, site: Site) -> None:
    """Jobs that run or end meanwhile are not lost; those to be submitted are told by name."""
    run = site.snakemake(*SMALL, "--", "steady.25", "steady.60")
    wait_for_both(site, "begun.25", "begun.60")
    time.sleep(6)  # What it has not yet written down, a controller that crashes has forgotten.
    cluster.kill("slurmctld")
    late = site_of(site, "late")
    submits = late.snakemake(*SMALL, "--retries", "0", "--", "steady.1")
    minute = time.monotonic() + 60
    wait_until(lambda: submits.poll() is not None, "the submission has failed", 120)
    time.sleep(max(0.0, minute - time.monotonic()))
    assert run.poll() is None
    cluster.start_controller()
    assert run.wait(600) == 0, site.said()[-6000:]
    assert {"COMPLETED"} == {
        *attempts("rule_steady_wildcards_25"),
        *attempts("rule_steady_wildcards_60"),
    }
    assert submits.returncode == 1
    assert "Error in rule steady" in late.said()
    assert "Unable to contact slurm controller" in late.said()
    assert late.snakemake(*SMALL, "--", "steady.1").wait(360) == 0


def site_of(site: Site, name: str) -> Site:
    """Another folder with the same cluster."""
    (site.folder / name).mkdir()
    found = Site(site.folder / name)
    found.describe()
    return found


def test_a_killed_run_leaves_jobs_that_the_next_one_tells_of(cluster: Cluster, site: Site) -> None:
    run = site.snakemake(*SMALL, "--", "disturbed.cancelled")
    wait_until((site.folder / "started.cancelled").exists, "the job runs", 60)
    os.kill(run.pid, signal.SIGKILL)
    run.wait(60)
    assert len(running()) == 1
    blocked = site.snakemake(*SMALL, "--", "disturbed.cancelled", log="blocked.log")
    assert blocked.wait(180) == 1
    assert "Directory cannot be locked" in site.said("blocked.log")
    assert site.snakemake(*SMALL, "--unlock", log="unlock.log").wait(180) == 0
    again = site.snakemake(*SMALL, "--", "disturbed.cancelled", log="again.log")
    wait_until(lambda: "of an earlier run" in site.said("again.log"), "the leftover is told", 60)
    assert "disturbed_wildcards_cancelled" in site.said("again.log")
    name = re.search(r"scancel --name=([\w-]+)", site.said("again.log"))
    assert name
    call("scancel", f"--name={name[1]}")
    assert again.wait(360) == 0
    wait_until(lambda: not queued(), "the queue is empty", 30)
