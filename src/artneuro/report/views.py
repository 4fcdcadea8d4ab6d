"""What the page shows of each section: one (model, dataset, site, collection)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl
from markupsafe import Markup

from artneuro.report import choose, drawing, style
from artneuro.report.config import ReportConfig
from artneuro.report.figures import layer_grid


@dataclass(frozen=True)
class FeatureRow:
    """The best single neuron of one feature, with what it is compared to."""

    feature: str
    neuron: str
    layer: int
    best: dict[str, Any]
    random: float | None
    shuffled: float | None
    transfer: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Panel:
    """One small figure with its caption."""

    feature: str
    title: str
    note: str
    picture: Markup


@dataclass(frozen=True)
class SectionView:
    """Everything that the page shows of one (model, dataset, site, collection)."""

    anchor: str
    title: str
    model: str
    dataset: str
    site: str
    collection: str
    features: int
    layers: int
    rows: list[FeatureRow]
    heat: Markup
    heat_scale: Markup
    legend: list[tuple[str, str]]
    by_k: list[Panel]
    histograms: list[tuple[str, list[Panel]]]
    second_domains: list[str]


def section_views(
    scores: pl.DataFrame, neurons: pl.DataFrame, transfer: pl.DataFrame, config: ReportConfig
) -> list[SectionView]:
    """Everything that the page shows of every section that has scores of single neurons.

    Parameters
    ----------
    scores, neurons, transfer : DataFrame
        Of the schemas `scores`, `best_neurons` and `transfer`; the last two may be empty.
    config : ReportConfig
        How many neurons to draw.
    """
    found = choose.sections(choose.single_neurons(scores))
    return [
        _section(f"s{i}", title, section, scores, neurons, transfer, config)
        for i, (section, title) in enumerate(zip(found, _titles(found), strict=True), 1)
    ]


def _titles(found: list[tuple[str, str, str, str]]) -> list[str]:
    """Headings of the sections: the collection, and of the rest only what tells them apart."""
    titles = []
    for section in found:
        parts = [style.heading_of(section[3])]
        for i, kind in enumerate(("model", "dataset", "site")):
            values = {other[i] for other in found if kind == "model" or other[3] == section[3]}
            if len(values) > 1:
                parts.append(section[i])
        titles.append(parts[0] + (f" ({', '.join(parts[1:])})" if parts[1:] else ""))
    return titles


def _section(
    anchor: str,
    title: str,
    section: tuple[str, str, str, str],
    scores: pl.DataFrame,
    neurons: pl.DataFrame,
    transfer: pl.DataFrame,
    config: ReportConfig,
) -> SectionView:
    own = choose.in_section(scores, section)
    by_layer = choose.best_by_layer(own)
    features, layers, grid, chosen = layer_grid(by_layer)
    by_k = choose.best_by_k(own)
    methods = style.method_order(by_k["method"])
    low, low_k = style.scale_start(by_layer["f1"]), style.scale_start(by_k["f1"])
    found = _transfer_of(section, transfer)
    model, dataset, site, collection = section
    return SectionView(
        anchor=anchor,
        title=title,
        model=model,
        dataset=dataset,
        site=site,
        collection=collection,
        features=len(features),
        layers=len(layers),
        rows=_feature_rows(own, features, found),
        heat=drawing.heat_map(
            [style.name_of(f) for f in features],
            layers,
            grid,
            chosen,
            low,
            f"Test F1 of the best single neuron of each layer for {len(features)} features of "
            f"{style.name_of(collection)}; the table below gives the layer and score of each.",
        ),
        heat_scale=drawing.scale_bar(low),
        legend=_legend(by_k, methods),
        by_k=_panels_by_k(by_k, features, methods, low_k),
        histograms=_histograms(section, neurons, features, config.neurons_per_feature),
        second_domains=sorted({d for row in found.values() for d in row}),
    )


def _feature_rows(
    own: pl.DataFrame, features: list[str], transfer: dict[str, dict[str, dict[str, Any]]]
) -> list[FeatureRow]:
    best = {r["feature"]: r for r in choose.best_by_feature(own).iter_rows(named=True)}
    random = dict(choose.random_by_feature(own).select("feature", "f1").iter_rows())
    shuffled = dict(
        choose.best_by_feature(own, choose.SHUFFLED).select("feature", "f1").iter_rows()
    )
    return [
        FeatureRow(
            feature=feature,
            neuron=style.neuron_name(best[feature]["layer"], best[feature]["neurons"][0]),
            layer=best[feature]["layer"],
            best=best[feature],
            random=random.get(feature),
            shuffled=shuffled.get(feature),
            transfer=transfer.get(feature, {}),
        )
        for feature in features
    ]


def _transfer_of(
    section: tuple[str, str, str, str], transfer: pl.DataFrame
) -> dict[str, dict[str, dict[str, Any]]]:
    """Feature -> other dataset -> the row of the neuron that this dataset chose."""
    if transfer.is_empty():
        return {}
    model, dataset, site, collection = section
    rows = transfer.filter(
        (pl.col("model") == model)
        & (pl.col("source") == dataset)
        & (pl.col("site") == site)
        & (pl.col("collection") == collection)
    )
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows.sort("feature", "dataset").iter_rows(named=True):
        found.setdefault(row["feature"], {})[row["dataset"]] = row
    return found


def _line_style(method: str, control: str, methods: list[str]) -> str:
    if control != choose.REAL:
        return "shuffled"
    if method == choose.RANDOM:
        return "random"
    return f"c{methods.index(method) % len(style.COLOURS)}"


def _legend(by_k: pl.DataFrame, methods: list[str]) -> list[tuple[str, str]]:
    entries = [
        (_line_style(method, choose.REAL, methods), style.name_of(method)) for method in methods
    ]
    if (by_k["control"] != choose.REAL).any():
        entries.append(("shuffled", "shuffled labels (a line for each ranking)"))
    return entries


def _lines(rows: pl.DataFrame, methods: list[str]) -> list[drawing.Line]:
    """Lines of one small plot, the controls first so that they lie below."""
    lines = []
    for control in (choose.SHUFFLED, choose.REAL):
        for method in reversed(methods):
            own = rows.filter((pl.col("method") == method) & (pl.col("control") == control))
            if own.height:
                name = style.name_of(method)
                lines.append(
                    drawing.Line(
                        name if control == choose.REAL else f"{name}, {style.name_of(control)}",
                        _line_style(method, control, methods),
                        tuple(own.sort("k")["k"]),
                        tuple(own.sort("k")["f1"]),
                    )
                )
    return lines


def _panels_by_k(
    by_k: pl.DataFrame, features: list[str], methods: list[str], low: float
) -> list[Panel]:
    mean = choose.mean_by_k(by_k)
    panels = [
        Panel(
            "",
            "mean of all features",
            f"{len(features)} features",
            drawing.line_plot(_lines(mean, methods), low, "Mean test F1 against k"),
        )
    ]
    for feature in features:
        own = by_k.filter(pl.col("feature") == feature)
        name = style.name_of(feature)
        panels.append(
            Panel(
                feature,
                name,
                "",
                drawing.line_plot(_lines(own, methods), low, f"Test F1 against k for {name}"),
            )
        )
    return panels


def _histograms(
    section: tuple[str, str, str, str], neurons: pl.DataFrame, features: list[str], most: int
) -> list[tuple[str, list[Panel]]]:
    """The histograms of each feature's best neurons, features in the order of the table above."""
    if neurons.is_empty():
        return []
    own = choose.in_section(neurons, section).sort("feature", "rank")
    groups = []
    for feature in features:
        name, panels = style.name_of(feature), []
        for row in own.filter(pl.col("feature") == feature).head(most).iter_rows(named=True):
            neuron = style.neuron_name(row["layer"], row["neuron"])
            panels.append(
                Panel(
                    feature,
                    neuron,
                    f"F1 {style.score(row['f1'])}",
                    drawing.histogram(
                        row["edges"],
                        row["counts_in"],
                        row["counts_out"],
                        f"Activation of {neuron} on text in and out of {name}",
                    ),
                )
            )
        if panels:
            groups.append((feature, panels))
    return groups
