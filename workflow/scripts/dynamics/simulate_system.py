"""Simulate a dynamical system from random initial conditions."""

from pathlib import Path

from artneuro.core.job import Job
from artneuro.dynamics.config import SimulationConfig
from artneuro.dynamics.trajectories import simulate_system

if __name__ == "__main__":
    with Job(snakemake) as job:
        config = SimulationConfig(**job.cfg["dynamics"])
        simulate_system(Path(job.output.store), config)
        job.note(seed=config.seed)
