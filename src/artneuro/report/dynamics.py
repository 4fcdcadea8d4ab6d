"""The page about sparse equations of dynamical systems.

Thesis, section 5.3.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from artneuro.core.artifacts import read_table
from artneuro.core.errors import DataError
from artneuro.report.case_page import CasePage, Part, Picture, Table, write_case_page
from artneuro.report.collect import Paths, as_paths
from artneuro.report.dynamics_figures import (
    METHODS,
    averages,
    draw_grid,
    draw_shares,
    methods_in,
    system_name,
)

POINT = ["system", "form", "library", "trial", "duration", "noise"]
HEURISTICS = ("stlsq", "ensemble_stlsq", "ssr", "sr3")


def build_dynamics_page(
    *,
    output: Path,
    recovery: Paths = (),
    models: Paths = (),
    inclusion: Paths = (),
    forces: Paths = (),
    fields: Paths = (),
    runtime: Paths = (),
) -> None:
    """Write the page about sparse equations.

    Parameters
    ----------
    output : path
        The HTML file.
    recovery, models, inclusion, forces, fields, runtime : paths
        Tables of these schemas, one a system; may be empty, but not all.

    Raises
    ------
    DataError
        If there is no table.
    """
    scores, found = _read(recovery), _read(models)
    parts: list[Part] = []
    if scores is not None and found is not None:
        parts += recovery_parts(scores)
        shares = _read(inclusion)
        if shares is not None and shares.height:
            parts.append(stability_part(shares, scores))
    for table, part in (
        (_read(runtime), runtime_part), (_read(forces), forces_part), (_read(fields), fields_part)
    ):  # fmt: skip
        if table is not None:
            parts.append(part(table))
    if found is not None:
        parts += [settings_part(found), certificate_part(found)]
    if not parts:
        raise DataError(
            "there is no equation to show",
            where=str(output),
            fix="name systems in dynamics.recovery, constraints, fields or runtime",
        )
    lead = verdict(scores) if scores is not None else "Equations recovered from data."
    write_case_page(CasePage("Sparse equations of dynamical systems", lead, tuple(parts)), output)


def _read(paths: Paths) -> pl.DataFrame | None:
    tables = [read_table(path) for path in as_paths(paths)]
    return pl.concat(tables) if tables else None


def verdict(scores: pl.DataFrame) -> str:
    """How often the exact method finds at least as much as every heuristic, in a sentence."""
    keys = ["system", "form", "library", "duration", "noise"]
    means = averages(scores, [*keys, "method"], "tpr")
    points = better = within = 0
    for _, rows in means.group_by(keys):
        mine = rows.filter(pl.col("method") == "exact")
        others = rows.filter(pl.col("method").is_in(HEURISTICS))
        if mine.is_empty() or others.is_empty():
            continue
        best = others.sort("mean", descending=True).row(0, named=True)
        ours = mine.row(0, named=True)
        error = ((ours["error"] or 0) ** 2 + (best["error"] or 0) ** 2) ** 0.5
        points += 1
        better += ours["mean"] >= best["mean"]
        within += ours["mean"] >= best["mean"] - error
    trials = scores["trial"].n_unique()
    return (
        f"Which equations are found in short or noisy data, by exact sparse regression and by "
        f"heuristics. Of {points} points, each the mean over {trials} "
        f"{'trial' if trials == 1 else 'trials'}, the exact method has the highest true positivity "
        f"rate of all at {better}, and at {within} none is above it by more than one standard "
        "error of the difference."
    )


def recovery_parts(scores: pl.DataFrame) -> list[Part]:
    """Errors and supports against training time, and against noise in the weak form."""
    parts = []
    for form, x, title in (
        ("differential", "duration", "How much data equations take"),
        ("weak", "noise", "How much noise they bear"),
    ):
        rows = scores.filter(pl.col("form") == form)
        if rows.is_empty():
            continue
        items: list[Picture | Table] = []
        for library in rows["library"].unique().sort().to_list():
            mine = rows.filter(pl.col("library") == library)
            panels = _panels(mine, x)
            about = (
                "Large libraries, of higher degrees than tight ones or the only ones" if
                library == "large" else "Tight libraries, of no higher degree than the equations"
            )  # fmt: skip
            items.append(
                Picture(
                    draw_grid(panels, x, ("rmse", "nce", "tpr")),
                    f"{about}. Means over "
                    f"{mine['trial'].n_unique()} trials, of logarithms for errors, with standard "
                    "errors. The true positivity rate is the share of terms in both the true and "
                    "the found equations among those in either; the error of derivatives is "
                    "measured on trajectories without noise.",
                    f"Errors and true positivity rate against {x}, a line for each method",
                )
            )
            items.append(_rate_table(mine, x, library))
        text: tuple[str, ...] = (
            "Every method proposes supports over a grid of settings; each support is refitted by "
            "least squares, and the one with the least corrected Akaike criterion on the last "
            "third of the data is taken, for each equation alone. “By criterion” keeps no data "
            "back: the number of terms minimises an information criterion along the path of exact "
            "models. “By stability” takes the terms that most bootstraps agree on.",
        )
        if form == "weak":
            text += (
                "Both sides of the equations are integrated over random windows, so that noisy "
                "data need not be differentiated; thresholds are of columns of unit length.",
            )
        parts.append(Part(title, text, tuple(items)))
    return parts


def _panels(rows: pl.DataFrame, x: str) -> dict[str, pl.DataFrame]:
    """Rows of each system, and of each value of what is not drawn where there are several."""
    other = "noise" if x == "duration" else "duration"
    panels = {}
    for (system, value), part in rows.group_by(["system", other], maintain_order=True):
        size = part["library_terms"].to_list()[0]
        level = f"{100 * value:g} % noise" if other == "noise" else f"{value:g} time units"
        panels[f"{system_name(str(system))}, {size} terms\n{level}"] = part
    return panels


def _rate_table(rows: pl.DataFrame, x: str, library: str) -> Table:
    by = ["system", "duration", "noise"]
    means = averages(rows, [*by, "method"], "tpr")
    wide = means.pivot("method", index=by, values="mean").sort(by)
    methods = methods_in(means)
    columns = ["system", x, *(["noise" if x == "duration" else "duration"]), *methods]
    frame = wide.select(columns).with_columns(
        pl.Series("system", [system_name(value) for value in wide["system"]])
    )
    return Table(
        frame,
        f"Mean true positivity rate, {library} libraries.",
        {"duration": "training time", **{m: METHODS[m] for m in methods}},
        {"noise": 3},
    )


def stability_part(inclusion: pl.DataFrame, scores: pl.DataFrame) -> Part:
    """Inclusion over bootstraps, and whether choosing by it beats single fits."""
    terms = (
        inclusion.filter(pl.col("true"))
        .group_by("system", "target")
        .agg(pl.col("term").n_unique().alias("size"))
    )
    sized = inclusion.join(terms, on=["system", "target"]).filter(pl.col("k") == pl.col("size"))
    by = [*POINT, "target"]
    shares = (
        sized.group_by(by, maintain_order=True)
        .agg(
            pl.col("share").filter(pl.col("true")).sum().alias("sum"),
            pl.col("size").first(),
            pl.col("share").filter(~pl.col("true")).max().fill_null(0.0).alias("false_share"),
        )
        .with_columns((pl.col("sum") / pl.col("size")).alias("true_share"))
        .filter(pl.col("library") == "large")
        .sort(by)
    )
    both = scores.filter(pl.col("method").is_in(["exact", "exact_stability"]))
    keys = ["system", "library", "duration", "noise", "trial"]
    pairs = (
        both.select(*keys, "method", "tpr")
        .pivot("method", index=keys, values="tpr")
        .drop_nulls()
        .with_columns((pl.col("exact_stability") - pl.col("exact")).alias("gain"))
    )
    frame = (
        pairs.group_by("system", "library", "duration", "noise")
        .agg(
            pl.col("exact", "exact_stability", "gain").mean(),
            (pl.col("gain").std() / pl.len().sqrt()).alias("error"),
        )
        .sort("system", "library", "duration", "noise")
    )
    frame = frame.with_columns(pl.Series("system", [system_name(v) for v in frame["system"]]))
    items: list[Picture | Table] = []
    noisy = shares.filter(pl.col("noise").n_unique().over("system") > 1)
    if noisy.height:
        items.append(
            Picture(
                draw_shares(noisy),
                "Exact models with the true number of terms on bootstraps: how often true terms "
                "are in them, and how often the most frequent false one. Means over trials and "
                "equations, with standard errors.",
                "Shares of bootstraps with true and false terms against noise",
            )
        )
    items.append(
        Table(
            frame,
            "True positivity rate of single exact fits and of terms that most bootstraps choose; "
            "the gain is the mean difference over trials, with its standard error.",
            {
                "duration": "training time", "exact": "single fit",
                "exact_stability": "by stability", "error": "standard error",
            },
            {"gain": 3, "error": 3, "noise": 3},
        )
    )  # fmt: skip
    text = (
        "A fit takes about a millisecond, so it can be repeated on resampled rows: the share of "
        "bootstraps that a term is chosen in says how sure it is.",
    )
    return Part("Stability selection", text, tuple(items))


def runtime_part(table: pl.DataFrame) -> Part:
    """Seconds of single fits against training time."""
    panels = {}
    for (system, terms), part in table.sort("system", "library_terms").group_by(
        ["system", "library_terms"], maintain_order=True
    ):
        panels[f"{system_name(str(system))}, {terms} terms"] = part
    means = averages(
        table, ["system", "library_terms", "duration", "n_train", "method"], "seconds_solve"
    ).with_columns((1000 * 10 ** pl.col("mean")).alias("ms"))
    wide = means.pivot(
        "method", index=["system", "library_terms", "duration", "n_train"], values="ms"
    )
    build = (
        table.group_by("system", "library_terms", "duration")
        .agg((1000 * pl.col("seconds_build").mean()).alias("build"))
        .sort("system", "library_terms", "duration")
    )
    methods = methods_in(means)
    frame = wide.join(build, on=["system", "library_terms", "duration"]).sort(
        "system", "library_terms", "duration"
    )
    frame = frame.select(
        pl.Series("system", [system_name(v) for v in frame["system"]]),
        pl.col("library_terms", "n_train").cast(pl.Int64), "duration", "build", *methods,
    )  # fmt: skip
    items = (
        Picture(
            draw_grid(panels, "duration", ("seconds_solve",)),
            f"CPU seconds of one fit on one core: means over {table['trial'].n_unique()} trials of "
            "logarithms, with standard errors.",
            "Run time of each method against training time",
        ),
        Table(
            frame,
            "Milliseconds: of the library with its derivatives (build), and of one fit (geometric "
            "means over trials). Times differ from run to run.",
            {
                "library_terms": "terms", "n_train": "samples", "duration": "training time",
                "build": "build, ms", **{m: f"{METHODS[m]}, ms" for m in methods},
            },
            dict.fromkeys(["build", *methods], 1),
        ),
    )  # fmt: skip
    text = (
        "Single fits with typical settings, nothing tuned: the exact method with the true numbers "
        "of terms, proven optimal or marked; the heuristics as PySINDy has them, with half of the "
        "smallest true coefficient for a threshold. Each gets the whole library and its targets.",
    )
    return Part("What a fit costs", text, items)


def forces_part(table: pl.DataFrame) -> Part:
    """Duffing with and without the constraint of a potential."""
    panels = {
        f"{100 * noise:g} % noise": part
        for (noise,), part in table.sort("noise").group_by(["noise"], maintain_order=True)
    }
    frame = (
        table.group_by("noise", "duration", "method")
        .agg(
            pl.col("tpr").mean(),
            pl.col("violation").mean(),
            pl.col("violation").max().alias("largest"),
            (pl.col("violation") > 1e-9).mean().alias("violated"),
        )
        .sort("noise", "duration", "method")
    )
    frame = frame.with_columns(pl.Series("method", [METHODS[m] for m in frame["method"]]))
    items = (
        Picture(
            draw_grid(panels, "duration", ("tpr", "nce", "rmse", "violation")),
            f"Means over {table['trial'].n_unique()} trials, of logarithms but for the rate, with "
            "standard errors. Violation: mean absolute difference of both sides of the "
            "constraints; none is drawn at -17. Dashed: with constraints.",
            "Rates, errors and violations with and without constraints",
        ),
        Table(
            frame,
            "Violated: share of trials with a mean violation above 1e-9.",
            {"duration": "training time", "largest": "largest violation"},
            {"violation": 6, "largest": 6},
        ),
    )
    text = (
        "The force of a Duffing oscillator in the plane is the gradient of a potential, which ties "
        "its two components together. Both are fitted at once with one budget of terms, and "
        "coefficients are not refitted. The exact method meets the constraints in what it "
        "reports; SR3 meets them in a relaxed copy of it.",
    )
    return Part("Physical constraints", text, items)


def fields_part(table: pl.DataFrame) -> Part:
    """Partial differential equations with settings chosen by the truth."""
    panels = {
        f"{system_name(str(system))}, {part['library_terms'].to_list()[0]} terms": part
        for (system,), part in table.group_by(["system"], maintain_order=True)
    }
    frame = (
        table.group_by("system", "noise", "method")
        .agg(pl.col("correct").mean())
        .pivot("method", index=["system", "noise"], values="correct")
        .sort("system", "noise")
    )
    methods = methods_in(table)
    frame = frame.select(
        pl.Series("system", [system_name(v) for v in frame["system"]]), "noise", *methods
    )
    items = (
        Picture(
            draw_grid(panels, "noise", ("tpr", "nce"), log_x=False),
            f"Means over {table['trial'].n_unique()} trials, with standard errors.",
            "True positivity rate and coefficient error of fields against noise",
        ),
        Table(
            frame,
            "Share of trials in which all terms and no others are found.",
            {m: METHODS[m] for m in methods},
        ),
    )
    text = (
        "Can the equations of a field be found at all? Nothing is held back to choose settings "
        "by: the exact method, SSR and ensembles are told the number of terms, and the others get "
        "whichever threshold does best. Weak form; noise is relative to the field.",
    )
    return Part("Fields", text, items)


def settings_part(models: pl.DataFrame) -> Part:
    """How often the settings that were chosen lie at an edge of their grid."""
    frame = (
        models.group_by("system", "method")
        .agg(
            pl.len().cast(pl.Int64).alias("models"),
            pl.col("at_edge").mean(),
            pl.col("correct").mean(),
            pl.col("status").is_in(["optimal", "capped"]).mean().alias("proven"),
            (pl.col("status") == "optimal").mean().alias("optimal"),
        )
        .sort("system", "method")
    )
    frame = frame.with_columns(
        pl.Series("system", [system_name(v) for v in frame["system"]]),
        pl.Series("method", [METHODS[m] for m in frame["method"]]),
    )
    table = Table(
        frame,
        "A row is a method on a system, over all its equations, trials, durations and levels of "
        "noise. At the edge: share of chosen models that the lowest or highest threshold, or the "
        "largest number of terms, leads to as well. Correct: share with the true support. Proven: "
        "share of exact models whose optimality was proven within the time, for all coefficients "
        "(optimal) or for those below a large cap, where columns nearly depend on each other.",
        {"at_edge": "at the edge", "optimal": "of these for all"},
    )
    return Part("Chosen settings and proofs", (), (table,))


def certificate_part(models: pl.DataFrame) -> Part:
    """What was proven of the equations of one trajectory."""
    exact = models.filter((pl.col("method") == "exact") & (pl.col("library") == "large"))
    first = exact.filter(pl.col("system") == exact["system"].to_list()[0])
    longest = first.filter(
        (pl.col("duration") == pl.col("duration").max())
        & (pl.col("noise") == pl.col("noise").min())
    ).filter(pl.col("trial") == 0)
    row = longest.row(0, named=True)
    equations = [
        " ".join(
            f"{'−' if c < 0 else '+'} {abs(c):.4g} {'' if t == '1' else t}".strip()
            for t, c in zip(line["support"], line["coef"], strict=True)
        ).removeprefix("+ ")
        for line in longest.iter_rows(named=True)
    ]
    frame = longest.select(
        "target",
        pl.Series("equation", equations),
        "alpha",
        pl.Series("objective", [f"{v:.9g}" for v in longest["objective"]]),
        pl.Series("bound", [f"{v:.9g}" for v in longest["bound"]]),
        pl.Series("gap", [f"{v:.1e}" for v in longest["gap"]]),
        "status",
    )
    table = Table(
        frame,
        f"{system_name(row['system'])}, trial 0, {row['duration']:g} time units, "
        f"{100 * row['noise']:g} % noise. Objective: residual sum of squares with the ridge "
        "penalty alpha, the constant included. Bound: no support of as many terms has a lower one.",
        {"target": "derivative of"},
        {"alpha": 5},
    )
    return Part("A certificate", (), (table,))
