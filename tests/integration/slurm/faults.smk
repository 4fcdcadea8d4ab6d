# Small jobs that each meet one fault, at their first attempt alone where the fault can be overcome.
import sys

from artneuro.core.slurm_watch import QueueWatch


onstart:
    QueueWatch(logger.warning, workflow.workdir_init).start(seconds=4)


rule time_limit:
    output:
        "time_limit",
    resources:
        runtime=lambda wildcards, attempt: attempt,
    shell:
        "[ {resources.runtime} -gt 1 ] || sleep 300; touch {output}"


rule out_of_memory:
    output:
        "out_of_memory",
    resources:
        mem_mb=lambda wildcards, attempt: 900 * attempt,
    params:
        python=sys.executable,
    shell:
        "{params.python} -c 'import time; held = b\"x\" * 900_000_000; time.sleep(12)';"
        "touch {output}"


# A test does something to these jobs while they wait, which they do at their first start alone.
rule disturbed:
    output:
        "disturbed.{fault}",
    # With so many of the node's 16 cores, it is in the way of a job that asks for 8.
    threads: lambda wildcards: 12 if wildcards.fault == "preempted" else 1
    resources:
        gpu=lambda wildcards: int(wildcards.fault == "lost_node"),
        slurm_partition=lambda wildcards: {
            "lost_node": "gpu",
            "preempted": "spare",
        }.get(wildcards.fault, "cpu"),
    shell:
        "if [ ! -e started.{wildcards.fault} ]; then"
        " touch started.{wildcards.fault}; sleep 300; fi; touch {output}"


rule impossible:
    output:
        "impossible.{what}",
    resources:
        mem_mb=lambda wildcards: 999_999 if wildcards.what == "memory" else 500,
        gpu=lambda wildcards: 5 if wildcards.what == "gpus" else 0,
        runtime=lambda wildcards: 9999 if wildcards.what == "time" else 5,
        slurm_partition=lambda wildcards: {
            "partition": "nowhere",
            "gpus": "gpu",
        }.get(wildcards.what, "cpu"),
    shell:
        "touch {output}"


rule fails:
    output:
        "fails",
    shell:
        "echo the reason in the log; exit 7"


rule steady:
    output:
        "steady.{seconds}",
    shell:
        "touch begun.{wildcards.seconds}; sleep {wildcards.seconds}; touch {output}"
