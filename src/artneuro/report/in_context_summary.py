"""What the page about systems learned in context says in numbers: sums of one model and system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from artneuro.report.in_context_figures import FORECASTS, METHODS


@dataclass(frozen=True)
class Study:
    """The tables of one model and system."""

    model: str
    system: str
    predictions: pl.DataFrame
    distributions: pl.DataFrame
    probes: pl.DataFrame
    outputs: pl.DataFrame
    equations: pl.DataFrame

    @property
    def judged(self) -> pl.DataFrame:
        """Predictions whose whole distribution is known."""
        return self.predictions.filter(pl.col("control") == "none", pl.col("mean").is_not_null())

    @property
    def numbers(self) -> int:
        """How many numbers can be written."""
        return len(self.distributions["probabilities"][0])

    @property
    def values(self) -> int:
        """Length of a sequence."""
        return self.predictions["position"].n_unique()

    @property
    def is_map(self) -> bool:
        """Is it a map? Then equations are fitted to next values too."""
        return "next" in self.equations["pairing"]

    @property
    def layers(self) -> pl.DataFrame:
        """Scores of probes on the residual stream."""
        return self.probes.filter(pl.col("layer").is_not_null())


def mean_errors(study: Study, *, last: bool) -> dict[str, float]:
    """Mean absolute error of each forecast over the first or last of the judged positions.

    The first third, or the last half: where the sequence is still new, and where it is not.
    """
    rows = study.judged.sort("sequence", "position")
    cut = study.values // 2 if last else study.values // 3
    inside = rows.filter(pl.col("position") >= cut if last else pl.col("position") < cut)
    found = {}
    for name in FORECASTS:
        error = (inside[name] - inside["value"]).abs().drop_nulls()
        found[name] = float(error.to_numpy().mean()) if error.len() else float("nan")
    return found


def log_losses(study: Study) -> dict[str, float]:
    """Mean log loss of the true number, nats: early (first tenth) and late (second half) in the
    sequence, and late in the shuffled one if there is one.
    """

    def mean(control: str, start: int, stop: int) -> float:
        rows = study.predictions.filter(
            pl.col("control") == control, pl.col("position").is_between(start, stop - 1)
        )
        return float(rows["log_loss"].to_numpy().mean()) if rows.height else float("nan")

    half = study.values // 2
    found = {
        "early": mean("none", 0, max(1, study.values // 10)),
        "late": mean("none", half, study.values),
        "shuffled": mean("shuffled", half, study.values),
    }
    return {name: value for name, value in found.items() if not np.isnan(value)}


def probe_summary(study: Study) -> pl.DataFrame:
    """Best layer of each target, and what controls and the input alone reach at best."""
    rows = []
    targets = study.layers.select("variable", "shift").unique(maintain_order=True)
    for variable, shift in targets.iter_rows():
        target = (pl.col("variable") == variable) & (pl.col("shift") == shift)
        mine = study.layers.filter(target)
        natural = mine.filter(pl.col("control") == "none").sort("r2", descending=True)
        row = {
            "target": f"{variable}, {'now' if shift == 0 else f'{shift} ahead'}",
            "layer": natural["layer"][0],
            "best": natural["r2"][0],
            "mae": natural["mae"][0],
        }
        for control in ("shuffled", "random_weights"):
            row[control] = mine.filter(pl.col("control") == control)["r2"].max()
        inputs = study.probes.filter(target, pl.col("control") == "none", pl.col("layer").is_null())
        for features in ("values", "digits"):
            part = inputs.filter(pl.col("features") == features).sort("delays")
            for at in (0, -1) if part.height else ():
                row[f"{features}_{part['delays'][at]}"] = part["r2"][at]
        rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None)


def equation_summary(study: Study) -> pl.DataFrame:
    """How many layers hold the law, for each kind of target, method and control."""
    keys = ["pairing", "method", "control"]
    layers = study.equations.filter(pl.col("layer").is_not_null())
    counted = layers.group_by(keys).agg(
        pl.len().alias("layers"),
        (pl.col("tpr") == 1).sum().alias("recovered"),
        pl.col("tpr").mean(),
        pl.col("nce").median(),
        pl.col("nce").min().alias("least"),
    )
    truth = study.equations.filter(pl.col("features") == "true_states").select(
        "pairing", "method", pl.col("nce").alias("nce_true"), pl.col("tpr").alias("tpr_true")
    )
    order = pl.Enum(["none", "shuffled", "random_weights"])
    return (
        counted.join(truth, on=["pairing", "method"], how="left")
        .with_columns(pl.col("control").cast(order))
        .sort("control", "pairing", "method")
        .with_columns(
            pl.col("control").cast(pl.String()),
            method=pl.col("method").replace({key: label for key, (label, _) in METHODS.items()}),
        )
        .with_columns(control=pl.col("control").replace({"none": "sequence"}))
        .with_columns(pl.col("control").str.replace("_", " "))
    )
