"""Maps and timelines as inline SVG: colours come from the page's style sheet.

Texts and attributes are escaped. Points carry where they really are, so that the page's script can
show it; without the script the drawings are whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from markupsafe import Markup, escape

from artneuro.report.coastlines import Shape
from artneuro.report.drawing import element


@dataclass(frozen=True)
class Frame:
    """What part of the Earth is drawn, and how wide: an equirectangular projection.

    Degrees of longitude and latitude are straight, as in the probe's two targets, so distances
    that a probe gets wrong look wrong.

    Attributes
    ----------
    west, east, south, north : float
        Degrees; east may be beyond 180.
    width : float
        Pixels.
    parallel : float
        Latitude, in degrees, at which both directions have one scale.
    """

    west: float
    east: float
    south: float
    north: float
    width: float = 1200.0
    parallel: float = 0.0

    @cached_property
    def scale(self) -> tuple[float, float]:
        """Pixels a degree of longitude, and of latitude."""
        across = self.width / (self.east - self.west)
        return across, across / math.cos(math.radians(self.parallel))

    @property
    def height(self) -> float:
        """Pixels."""
        return (self.north - self.south) * self.scale[1]

    def at(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        """Pixels (n, 2) of places by their degrees; outside of the frame as well."""
        across, down = self.scale
        return np.column_stack(
            [
                (np.asarray(longitude, dtype=np.float64) - self.west) * across,
                (self.north - np.asarray(latitude, dtype=np.float64)) * down,
            ]
        )

    def holds(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        """Which places lie within the frame, bool (n,)."""
        longitude, latitude = np.asarray(longitude), np.asarray(latitude)
        return (
            (longitude >= self.west)
            & (longitude <= self.east)
            & (latitude >= self.south)
            & (latitude <= self.north)
        )

    def clamped(self, pixels: np.ndarray, margin: float = 3.0) -> np.ndarray:
        """Pixels with those outside moved to the edge, `margin` within."""
        return np.clip(pixels, margin, [self.width - margin, self.height - margin])


WORLD = Frame(-180, 180, -60, 85, parallel=25)
USA = Frame(-126, -66, 23.5, 50.5, parallel=38)
NEW_YORK = Frame(-74.27, -73.68, 40.48, 40.93, width=800, parallel=40.7)


def path_of(lines: Iterable[np.ndarray], frame: Frame, *, closed: bool, step: float = 0.4) -> str:
    """Lines as the `d` of an SVG path.

    Parameters
    ----------
    lines : iterable of ndarray, each of shape (n_points, 2)
        Longitude and latitude in degrees. What lies 360 degrees beside the frame is drawn in it.
    frame : Frame
    closed : bool
        Whether each line ends where it begins.
    step : float
        Points nearer to the one before are left out, in pixels.
    """
    pieces = []
    for line in lines:
        for turn in (-360.0, 0.0, 360.0):
            west, east = line[:, 0].min() + turn, line[:, 0].max() + turn
            south, north = line[:, 1].min(), line[:, 1].max()
            if west > frame.east or east < frame.west or south > frame.north or north < frame.south:
                continue
            kept = _thinned(frame.at(line[:, 0] + turn, line[:, 1]), step)
            if len(kept) < (3 if closed else 2):
                continue
            pieces.append(
                "M" + "L".join(f"{_short(x)},{_short(y)}" for x, y in kept) + "Z" * closed
            )
    return "".join(pieces)


def _thinned(pixels: np.ndarray, step: float) -> np.ndarray:
    kept = [pixels[0]]
    for point in pixels[1:-1]:
        if abs(point - kept[-1]).max() >= step:
            kept.append(point)
    return np.array([*kept, pixels[-1]])


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def ground(
    identifier: str,
    frame: Frame,
    land: Sequence[Shape],
    borders: Sequence[np.ndarray] = (),
) -> Markup:
    """Land, borders and a graticule, hidden, for `use_ground` to show as often as needed.

    Parameters
    ----------
    identifier : str
        Unique in the page.
    frame : Frame
    land : sequence of Shape
        May be empty: then there is the graticule alone.
    borders : sequence of ndarray
        Lines of longitude and latitude.
    """
    apart = next(s for s in (30, 10, 5, 1, 0.1) if (frame.east - frame.west) / s >= 5)
    parallels = np.arange(math.ceil(frame.south / apart), frame.north / apart) * apart
    meridians = np.arange(math.ceil(frame.west / apart), frame.east / apart) * apart
    lines = [np.array([[frame.west, y], [frame.east, y]]) for y in parallels]
    lines += [np.array([[x, frame.south], [x, frame.north]]) for x in meridians]
    rings = [ring for shape in land for ring in shape.rings]
    symbol = element(
        "symbol",
        element("path", class_="graticule", d=path_of(lines, frame, closed=False)),
        element("path", class_="land", d=path_of(rings, frame, closed=True)),
        element("path", class_="borders", d=path_of(borders, frame, closed=False)),
        id=identifier,
        viewBox=_box(frame),
    )
    return element("svg", symbol, class_="defs", aria_hidden="true", width=0, height=0)


def use_ground(identifier: str, frame: Frame) -> Markup:
    """What `ground` drew, in a map of the same frame."""
    size = {"width": _short(frame.width), "height": _short(frame.height)}
    return Markup("").join(
        [
            element("rect", class_="sea", x=0, y=0, **size),
            element("use", href=f"#{identifier}", **size),
        ]
    )


def map_picture(frame: Frame, label: str, *children: Markup, class_: str = "map") -> Markup:
    """A map of the frame's size that holds `children`; `label` is what a screen reader says."""
    return element(
        "svg", *children, viewBox=_box(frame), role="img", aria_label=label, class_=class_
    )


def _box(frame: Frame) -> str:
    return f"0 0 {_short(frame.width)} {_short(frame.height)}"


def points(
    here: np.ndarray,
    there: np.ndarray,
    titles: Sequence[str],
    styles: Sequence[str],
    radius: float = 3.0,
) -> Markup:
    """Circles with names to hover over.

    Parameters
    ----------
    here : ndarray of shape (n, 2)
        Pixels.
    there : ndarray of shape (n, 2)
        Pixels of the same points in the other picture: a script moves points between them.
    titles : sequence of n str
        What is said of each, escaped here.
    styles : sequence of n str
        Its class in the style sheet.
    radius : float
        Pixels.
    """
    # Written out, as a map has thousands of these.
    circles = [
        f'<circle cx="{_short(x)}" cy="{_short(y)}" r="{_short(radius)}" class="{escape(style)}" '
        f'data-t="{_short(tx)},{_short(ty)}"><title>{escape(title)}</title></circle>'
        for (x, y), (tx, ty), title, style in zip(here, there, titles, styles, strict=True)
    ]
    return element("g", Markup("").join(Markup(circle) for circle in circles), class_="points")


def arrows(
    start: np.ndarray, end: np.ndarray, styles: Sequence[str], titles: Sequence[str]
) -> Markup:
    """Lines with a ring where they start and a dot where they end: from the truth to the model.

    Parameters
    ----------
    start, end : ndarray of shape (n, 2)
        Pixels.
    styles, titles : sequence of n str
        Class in the style sheet, and what is said of each.
    """
    groups = [
        element(
            "g",
            element("title", title),
            element("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2)),
            element("circle", cx=float(x1), cy=float(y1), r=4, class_="ring"),
            element("circle", cx=float(x2), cy=float(y2), r=4.5, class_="dot"),
            class_=style,
        )
        for (x1, y1), (x2, y2), style, title in zip(start, end, styles, titles, strict=True)
    ]
    return element("g", *groups, class_="arrows")


def labels(
    anchors: np.ndarray,
    texts: Sequence[str],
    frame: Frame,
    *,
    occupied: np.ndarray | None = None,
    size: float = 13.0,
    class_: str = "labels",
) -> Markup:
    """Texts beside points, in the order given, where one fits without hiding another.

    Parameters
    ----------
    anchors : ndarray of shape (n, 2)
        Pixels.
    texts : sequence of n str
        The first ones get the best places; one that fits nowhere is left out.
    frame : Frame
    occupied : ndarray of shape (m, 2), optional
        Pixels of marks that texts keep off, the anchors in any case.
    size : float
        Font size in pixels.
    class_ : str
        Class of the group.
    """
    marks = anchors if occupied is None else np.vstack([anchors, occupied])
    taken: list[tuple[float, float, float, float]] = []
    placed = []
    for (x, y), text in zip(anchors, texts, strict=True):
        wide = 0.56 * size * len(text)
        # Right, left, above, below of the mark: (left edge, baseline).
        for left, base in (
            (x + 8, y + 0.35 * size), (x - 8 - wide, y + 0.35 * size),
            (x - wide / 2, y - 8), (x - wide / 2, y + 8 + 0.8 * size),
        ):  # fmt: skip
            box = (left - 1, base - 0.85 * size, left + wide + 1, base + 0.25 * size)
            if box[0] < 0 or box[1] < 0 or box[2] > frame.width or box[3] > frame.height:
                continue
            if any(_overlap(box, other) for other in taken) or _hits(box, marks):
                continue
            taken.append(box)
            placed.append(
                element("text", text, x=float(left), y=float(base), font_size=f"{size:g}")
            )
            break
    return element("g", *placed, class_=class_)


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _hits(box: tuple[float, ...], marks: np.ndarray) -> bool:
    inside = (
        (marks[:, 0] > box[0])
        & (marks[:, 0] < box[2])
        & (marks[:, 1] > box[1])
        & (marks[:, 1] < box[3])
    )
    return bool(inside.any())


def nice_ticks(low: float, high: float, about: int = 8) -> np.ndarray:
    """Round numbers within [low, high], `about` as many as asked for."""
    raw = max(high - low, 1e-9) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m for m in (1, 2, 2.5, 5, 10) if m * power >= raw) * power
    return np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
