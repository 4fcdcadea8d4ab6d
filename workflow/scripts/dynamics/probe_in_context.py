"""Probe the state of a system in a model's residual stream, and fit equations to the probes."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.dynamics.in_context_config import InContextConfig
from artneuro.dynamics.in_context_probes import probe_in_context

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = InContextConfig(**job.cfg["in_context"])
        probe_in_context(
            config,
            residuals=Path(job.input.residuals),
            probes=Path(job.output.probes),
            outputs=Path(job.output.outputs),
            equations=Path(job.output.equations),
            model=job.wildcards.model,
            system=job.wildcards.system,
        )
        job.note(seed=config.seed)
