"""What the command `artneuro plan` does."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from artneuro.config import Config, load_config
from artneuro.planning.estimate import estimate
from artneuro.planning.jobs import PlannedJob, planned_jobs
from artneuro.planning.measure import (
    annotation_rate,
    fit_rates,
    known_rates,
    measured_jobs,
    measured_plan,
    ranking_rates,
)
from artneuro.planning.plan import Plan, make_plan
from artneuro.planning.rates import Rates
from artneuro.planning.shapes import planned_models
from artneuro.planning.sizes import Sizes
from artneuro.planning.text import table

RATES = Path("benchmarks") / "rates.json"


def plan_config(
    configfile: Path,
    root: Path,
    workdir: Path,
    rates: Rates,
    *,
    cores: int | None = None,
    everything: bool = False,
    options: Sequence[str] = (),
) -> Plan:
    """What a config takes from here on.

    Parameters
    ----------
    configfile, root, workdir : Path
        The config, the folder of the workflow, and the one that `results/` lies in.
    rates : Rates
    cores, everything, options
        As in `planned_jobs`.

    Raises
    ------
    ConfigError
        If the config is wrong, sizes of a model are not known, or Snakemake has no plan.
    """
    sizes = sizes_of(load_config(configfile, root)[0], root, workdir)
    jobs = planned_jobs(
        configfile, root, workdir, cores=cores, everything=everything, options=options
    )
    return make_plan(jobs, sizes, rates, stages_of(root))


def sizes_of(config: Config, root: Path, workdir: Path) -> Sizes:
    """A config with the sizes of its models."""
    return Sizes(config, planned_models(config, root, workdir))


def stages_of(root: Path) -> dict[str, str]:
    """The stage of each rule, in the order of the Snakefile."""
    included = re.findall(r'include: "(workflow/rules/\w+\.smk)"', (root / "Snakefile").read_text())
    return {
        rule: Path(file).stem
        for file in included
        for rule in re.findall(r"^rule (\w+):", (root / file).read_text(), re.MULTILINE)
    }


def rates_of(configfile: Path, root: Path, workdir: Path) -> Rates:
    """Rates of a finished run of a config."""
    config = load_config(configfile, root)[0]
    sizes = sizes_of(config, root, workdir)
    seen = Sizes(config.model_copy(update={"plan": measured_plan(config, workdir)}), sizes.models)
    jobs = measured_jobs(root, workdir)
    parts = {**known_rates(root), **ranking_rates(seen, workdir), **annotation_rate(jobs, seen)}
    return fit_rates(jobs, parts, seen, f"{len(jobs)} jobs of {configfile.name}")


def compare(configfile: Path, root: Path, workdir: Path, rates: Rates) -> str:
    """A finished run against what its config alone says it takes, by rule: a table.

    Raises
    ------
    DataError
        If no job has run there.
    """
    sizes = sizes_of(load_config(configfile, root)[0], root, workdir)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0] * 5)
    for job in measured_jobs(root, workdir):
        found = estimate(PlannedJob(job.rule, job.wildcards, 1, 0, 0, 0), sizes, rates)
        if found is not None and found.told:
            row = (1, found.cpu, job.cpu, found.stored, job.stored)
            sums[job.rule] = [a + b for a, b in zip(sums[job.rule], row, strict=True)]
    ordered = sorted(sums.items(), key=lambda item: -item[1][2])
    ordered.append(("all", [sum(column) for column in zip(*sums.values(), strict=True)]))
    columns = ["rule", "jobs", "core-seconds predicted", "real", "ratio"]
    columns += ["MB predicted", "real", "ratio"]
    return table(
        columns,
        [
            [
                rule,
                f"{n:.0f}",
                *(f"{cpu:.1f}", f"{real:.1f}", _ratio(cpu, real)),
                *(f"{1e-6 * size:.2f}", f"{1e-6 * held:.2f}", _ratio(size, held)),
            ]
            for rule, (n, cpu, real, size, held) in ordered
        ],
    )


def _ratio(predicted: float, real: float) -> str:
    return f"{predicted / real:.2f}" if real > 0 else "-"
