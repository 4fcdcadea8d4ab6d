"""A plan as text: tables that read the same on a terminal and in Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from artneuro.planning.plan import Plan, Total


def plan_text(plan: Plan, by_rule: bool = False) -> str:
    """The plan as tables in Markdown, with one more by rule if that is wanted."""
    gpu = plan.rates.gpu
    targets = len(plan.jobs) - len(plan.estimates)
    lines = [
        f"{len(plan.jobs):,} jobs as `snakemake -n` counts them, {targets} of them a target",
        "",
        _totals("stage", plan.totals),
        "",
        *([_totals("rule", plan.rules), ""] if by_rule else []),
        _models(plan),
        "",
        f"Rates of CPUs: measured on {plan.rates.measured}.",
        f"GPU, assumed: {gpu.name}, {gpu.half:g} TFLOP/s in bfloat16, {gpu.tf32:g} in TF32, "
        f"{gpu.single:g} in float32, {gpu.bandwidth:g} TB/s, {gpu.memory:g} GB; of these forward "
        f"passes reach {gpu.forward:g}, products {gpu.products:g}, the memory {gpu.traffic:g}."
        if any(one.job.gpus for one in plan.estimates)
        else "No job asks for a GPU (compute.device).",
        f"Disk {plan.rates.disk / 1e9:g} GB/s, network {plan.rates.network / 1e6:g} MB/s, assumed.",
    ]
    untold = plan.untold()
    if untold:
        told = ", ".join(f"{rule} ({n} x, at most {hours:.0f} h)" for rule, n, hours in untold)
        lines += ["", f"Not in the hours, as no size tells it: {told}."]
    problems = list(plan.problems())
    if problems:
        lines += ["", "May not fit:", *(f"- {line}" for line in problems)]
    return "\n".join(lines)


def _models(plan: Plan) -> str:
    heads = ["model", "parameters", "weights", "on a GPU", "activations", "GPUs", "GPU-hours"]
    rows = [
        [
            model.name,
            f"{model.parameters:.4g}",
            _bytes(model.weights),
            _bytes(model.on_gpu),
            _bytes(model.activations),
            f"{model.gpus}",
            _hours(model.gpu),
        ]
        for model in plan.models
    ]
    return table(heads, rows)


def _totals(head: str, totals: Sequence[Total]) -> str:
    columns = [head, "jobs", "on a GPU", "CPU-hours", "GPU-hours", "longest job", "results"]
    rows = [
        [
            total.name,
            f"{total.jobs:,}",
            f"{total.gpu_jobs:,}",
            _hours(total.cpu),
            _hours(total.gpu),
            _hours(total.longest),
            _bytes(total.stored),
            _bytes(total.asked),
            _bytes(total.needed),
        ]
        for total in totals
    ]
    return table([*columns, "most memory asked", "predicted"], rows)


def plan_json(plan: Plan) -> str:
    """The plan as JSON: the tables, the jobs of each rule, and what may not fit."""
    jobs = Counter(job.rule for job in plan.jobs)
    return json.dumps(
        {
            "jobs": len(plan.jobs),
            "jobs_by_rule": dict(jobs),
            "stages": [asdict(total) for total in plan.totals],
            "rules": [asdict(total) for total in plan.rules],
            "models": [asdict(model) for model in plan.models],
            "gpu": asdict(plan.rates.gpu),
            "measured": plan.rates.measured,
            "untold": [{"rule": r, "jobs": n, "hours": h} for r, n, h in plan.untold()],
            "problems": list(plan.problems()),
        },
        indent=2,
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown whose columns are as wide as what they hold; numbers to the right."""
    widths = [max(len(line[i]) for line in (columns, *rows)) for i in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([first, *rest]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(columns), "| " + " | ".join(rule) + " |", *map(line, rows)])


def _hours(hours: float) -> str:
    if hours == 0:
        return "-"
    if hours < 1 / 60:
        return f"{3600 * hours:.0f} s"
    return f"{60 * hours:.0f} min" if hours < 1 else f"{hours:,.1f} h"


def _bytes(size: float) -> str:
    if size == 0:
        return "-"
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size / 1e3:.1f} kB"
