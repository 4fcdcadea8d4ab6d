"""Small figures of the page as inline SVG: colours come from the page's style sheet.

Everything here returns markup whose texts and attributes are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from artneuro.report.style import score, ticks_of_k


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """An element with escaped children and attributes.

    A trailing underscore of an attribute's name is dropped and the others become hyphens:
    `class_="a"`, `stroke_width=2`.
    """
    marks = Markup("").join(
        Markup(' {}="{}"').format(Markup(key.rstrip("_").replace("_", "-")), _plain(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(tag), marks, inside)


def _plain(value: object) -> object:
    """Coordinates to a tenth of a pixel, without needless zeros."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def _picture(width: float, height: float, label: str, *children: Markup, class_: str) -> Markup:
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        width=f"{width:g}",
        height=f"{height:g}",
        role="img",
        aria_label=label,
        class_=class_,
    )


def heat_map(
    features: Sequence[str],
    layers: Sequence[int],
    grid: np.ndarray,
    chosen: Sequence[int],
    low: float,
    label: str,
) -> Markup:
    """Test F1 of the best single neuron of each (feature, layer) as shades.

    Parameters
    ----------
    features, layers : sequence
        Names of the rows and columns.
    grid : ndarray of shape (feature, layer)
        F1; NaN is drawn as an empty cell.
    chosen : sequence of int
        The layer of each feature that the train split chose: its cell is ringed.
    low : float
        F1 of the lightest shade; 1 is the darkest.
    label : str
        What a screen reader says.
    """
    cell = float(np.clip(700 / max(len(layers), 1), 9, 24))
    high, left, right = 17.0, 8.0 + 6.6 * max(len(f) for f in features), 44.0
    marks = []
    for i, feature in enumerate(features):
        y = high * i
        marks.append(
            element("text", feature, x=left - 6, y=y + 12, class_="name", text_anchor="end")
        )
        for j, layer in enumerate(layers):
            value = float(grid[i, j])
            if math.isnan(value):
                continue
            shade = float(np.clip((value - low) / (1 - low), 0, 1))
            marks.append(
                element(
                    "rect",
                    element("title", f"{feature}, layer {layer}: F1 {score(value)}"),
                    x=left + cell * j,
                    y=y,
                    width=cell - 1,
                    height=high - 1,
                    fill_opacity=f"{shade:.2f}",
                )
            )
        j = list(layers).index(chosen[i])
        marks.append(
            element(
                "rect", x=left + cell * j, y=y, width=cell - 1, height=high - 1, class_="chosen"
            )
        )
        marks.append(
            element("text", score(float(grid[i, j])), x=left + cell * len(layers) + 5, y=y + 12)
        )
    bottom = high * len(features)
    ground = element(
        "rect", x=left, y=0, width=cell * len(layers) - 1, height=bottom - 1, class_="ground"
    )
    step = max(1, math.ceil(len(layers) / 15))
    ticks = [
        element(
            "text",
            str(layer),
            x=left + cell * (j + 0.5),
            y=bottom + 13,
            text_anchor="middle",
            class_="tick",
        )
        for j, layer in enumerate(layers)
        if j % step == 0
    ]
    axis = element(
        "text",
        "layer",
        x=left + cell * len(layers) / 2,
        y=bottom + 28,
        text_anchor="middle",
        class_="tick",
    )
    width = left + cell * len(layers) + right
    return _picture(round(width), bottom + 34, label, ground, *marks, *ticks, axis, class_="heat")


def scale_bar(low: float) -> Markup:
    """The scale of `heat_map`: its shades with the F1 that they stand for."""
    marks = [
        element("rect", x=30 + 14.0 * i, y=0, width=14, height=11, fill_opacity=f"{i / 9:.2f}")
        for i in range(10)
    ]
    ground = element("rect", x=30, y=0, width=140, height=11, class_="ground")
    ends = (
        element("text", f"{low:g}", x=25, y=10, text_anchor="end", class_="tick"),
        element("text", "1", x=175, y=10, class_="tick"),
    )
    return _picture(186, 13, f"shades from F1 {low:g} to 1", ground, *marks, *ends, class_="heat")


@dataclass(frozen=True)
class Line:
    """One line of a small plot: its name, its class in the style sheet, and its points."""

    name: str
    style: str
    x: tuple[int, ...]
    y: tuple[float | None, ...]


def line_plot(lines: Sequence[Line], low: float, label: str, x_name: str = "k") -> Markup:
    """F1 against k, from `low` to 1, one line a ranking or control.

    Parameters
    ----------
    lines : sequence of Line
        Drawn in this order, so that what matters most comes last.
    low : float
        F1 at the bottom.
    label : str
        What a screen reader says.
    x_name : str
        Name of the horizontal axis.
    """
    width, height, left, right, top, bottom = 214.0, 132.0, 28.0, 6.0, 5.0, 28.0
    ks = sorted({x for line in lines for x in line.x})
    span = max(ks[-1] - ks[0], 1e-9) if ks else 1.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = 0.5 if len(ks) == 1 else (x - ks[0]) / span
        up = (y - low) / (1 - low)
        return (
            left + 4 + across * (width - left - right - 8),
            height - bottom - up * (height - top - bottom),
        )

    marks = []
    for value in (low, (1 + low) / 2, 1.0):
        y = at(ks[0] if ks else 0, value)[1]
        marks.append(element("line", x1=left, x2=width - right, y1=y, y2=y, class_="rule"))
        marks.append(
            element("text", f"{value:.2g}", x=left - 4, y=y + 3.5, text_anchor="end", class_="tick")
        )
    marks += [
        element(
            "text",
            f"{k:g}",
            x=at(k, low)[0],
            y=height - bottom + 13,
            text_anchor="middle",
            class_="tick",
        )
        for k in ticks_of_k(ks)
    ]
    marks.append(
        element(
            "text", x_name, x=(left + width) / 2, y=height - 3, text_anchor="middle", class_="tick"
        )
    )
    for line in lines:
        points = [
            (k, y, *at(k, y))
            for k, y in sorted(zip(line.x, line.y, strict=True))
            if y is not None and not math.isnan(y)
        ]
        path = " ".join(f"{px:.1f},{py:.1f}" for _, _, px, py in points)
        dots = [
            element(
                "circle",
                element("title", f"{line.name}, k = {k:g}: F1 {score(y)}"),
                cx=px,
                cy=py,
                r=2.2,
            )
            for k, y, px, py in points
        ]
        marks.append(element("g", element("polyline", points=path), *dots, class_=line.style))
    return _picture(width, height, label, *marks, class_="plot")


def histogram(
    edges: Sequence[float], inside: Sequence[int], outside: Sequence[int], label: str
) -> Markup:
    """Two histograms over the same bins, each as shares of its own class.

    Parameters
    ----------
    edges : sequence of n + 1 floats
        Bin edges, in units of the activation.
    inside, outside : sequence of n ints
        Examples in the class and out of it.
    label : str
        What a screen reader says.
    """
    width, height, left, right, top, bottom = 214.0, 92.0, 6.0, 6.0, 4.0, 17.0
    bounds = np.asarray(edges, dtype=float)
    span = max(float(bounds[-1] - bounds[0]), 1e-12)
    xs = left + (bounds - bounds[0]) / span * (width - left - right)
    shares = {
        "out": np.asarray(outside, dtype=float) / max(sum(outside), 1),
        "in": np.asarray(inside, dtype=float) / max(sum(inside), 1),
    }
    peak = max(float(share.max(initial=0.0)) for share in shares.values()) or 1.0
    base = height - bottom
    marks = []
    for name, share in shares.items():
        tops = base - share / peak * (base - top)
        steps = "".join(
            f"H{x0:.1f}V{y:.1f}H{x1:.1f}" for x0, x1, y in zip(xs, xs[1:], tops, strict=False)
        )
        marks.append(element("path", d=f"M{xs[0]:.1f},{base:.1f}{steps}V{base:.1f}Z", class_=name))
    marks.append(element("line", x1=left, x2=width - right, y1=base, y2=base, class_="axis"))
    ticks = {float(bounds[0]): "start", float(bounds[-1]): "end"}
    if bounds[0] < 0 < bounds[-1] and 0.22 < -bounds[0] / span < 0.78:
        ticks[0.0] = "middle"
    for value, anchor in ticks.items():
        x = float(left + (value - bounds[0]) / span * (width - left - right))
        marks.append(element("line", x1=x, x2=x, y1=base, y2=base + 3, class_="axis"))
        marks.append(
            element(
                "text",
                f"{value:.2g}".replace("-", "−"),
                x=x,
                y=base + 14,
                text_anchor=anchor,
                class_="tick",
            )
        )
    return _picture(width, height, label, *marks, class_="hist")
