"""The pictures of the page of maps, each with its legend and what a script may do with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from markupsafe import Markup

from artneuro.report.drawing import element
from artneuro.report.map_drawing import (
    Frame,
    arrows,
    labels,
    map_picture,
    nice_ticks,
    points,
    use_ground,
)
from artneuro.report.maps_numbers import SPACE, Study, errors_of, running_quantiles
from artneuro.report.maps_regions import area_label
from artneuro.report.style import count

# Names of more characters are cut: some entities are sentences.
LONGEST = 90
# Windows of the running median take this share of the points, and so many at least.
WINDOW, FEWEST = 0.08, 25


@dataclass(frozen=True)
class Drawing:
    """Pictures side by side in meaning: one or two of the same points, with one caption.

    Attributes
    ----------
    title : str
        Above the pictures.
    pictures : tuple of (str, Markup)
        A heading, which may be empty, and the picture.
    caption : str
    legend : tuple of (str, str)
        Class and name of each colour, those that the reader may pick.
    can_move : bool
        Whether points of the first picture can be moved to where they really are.
    """

    title: str
    pictures: tuple[tuple[str, Markup], ...]
    caption: str
    legend: tuple[tuple[str, str], ...] = ()
    can_move: bool = False

    @property
    def is_drawing(self) -> bool:
        """Told apart from tables by the template."""
        return True


def place_titles(rows: pl.DataFrame, kind: str) -> list[str]:
    """What a reader sees who points at a place."""
    errors = errors_of(rows, SPACE)
    area = {"world": "country", "usa": "state", "city": "borough"}[kind]
    return [
        f"{cut(name)}{f', {area_label(where, kind)}' if where else ''}: predicted {distance(km)} "
        "off"
        for name, where, km in zip(rows["name"], rows[area], errors, strict=True)
    ]


def cut(name: str) -> str:
    """A name that fits on one or two lines."""
    return name if len(name) <= LONGEST else name[: LONGEST - 1].rstrip() + "…"


def distance(km: float | None) -> str:
    """A distance as a reader says it."""
    if km is None or km != km:
        return "–"
    return f"{count(round(km))}\u00a0km" if km >= 10 else f"{km:.1f}\u00a0km"


def year(value: float | None) -> str:
    """The year of a decimal year, negative as the tables have it."""
    if value is None or value != value:
        return "–"
    return str(int(np.floor(value))).replace("-", "−")


def draw_places(
    study: Study, rows: pl.DataFrame, frame: Frame, classes: dict[str, str], ground: str
) -> tuple[tuple[str, Markup], tuple[str, Markup]]:
    """Where the model puts places, and where they are: two maps of the same points.

    Parameters
    ----------
    study : Study
    rows : DataFrame
        Rows of `study.test` that are drawn.
    frame : Frame
    classes : dict
        Class of each colour group.
    ground : str
        Identifier of what `map_drawing.ground` drew for the frame.
    """
    true = frame.clamped(frame.at(rows["longitude"].to_numpy(), rows["latitude"].to_numpy()))
    guess = frame.clamped(
        frame.at(rows["predicted_longitude"].to_numpy(), rows["predicted_latitude"].to_numpy())
    )
    titles = place_titles(rows, study.kind)
    styles = [classes[colour] for colour in rows["colour"]]
    radius = 3.2 if rows.height < 2500 else 2.3
    base = use_ground(ground, frame)
    predicted = map_picture(
        frame, f"Map of {rows.height} places where the probe puts them", base,
        points(guess, true, titles, styles, radius),
    )  # fmt: skip
    real = map_picture(
        frame, f"Map of the same {rows.height} places where they are", base,
        points(true, guess, titles, styles, radius),
    )  # fmt: skip
    return ("Where the model puts them", predicted), ("Where they are", real)


def draw_moves(
    start: np.ndarray,
    end: np.ndarray,
    texts: Sequence[str],
    styles: Sequence[str],
    titles: Sequence[str],
    frame: Frame,
    ground: str,
    label: str,
    centre: tuple[float, float] | None = None,
) -> Markup:
    """Lines from where things are to where the model puts them, named where there is room.

    Parameters
    ----------
    start, end : ndarray of shape (n, 2)
        True and predicted longitude and latitude in degrees.
    texts, styles, titles : sequence of n str
        Name, class of the colour, and what is said on pointing, of each.
    frame, ground
        As of `draw_places`.
    label : str
        What a screen reader says.
    centre : (float, float), optional
        Longitude and latitude of the mean of the training data.
    """
    here = frame.clamped(frame.at(start[:, 0], start[:, 1]))
    there = frame.clamped(frame.at(end[:, 0], end[:, 1]))
    occupied, cross = here, Markup("")
    if centre is not None:
        cross, covered = mark(*centre, "training mean", frame)
        occupied = np.vstack([here, covered])
    return map_picture(
        frame, label, use_ground(ground, frame), arrows(here, there, styles, titles), cross,
        labels(there, texts, frame, occupied=occupied),
    )  # fmt: skip


def mark(longitude: float, latitude: float, text: str, frame: Frame) -> tuple[Markup, np.ndarray]:
    """A cross with a text, and pixels (n, 2) that the text covers, for others to keep off."""
    x, y = frame.at(np.array([longitude]), np.array([latitude]))[0]
    along = np.arange(0.0, 8.0 * len(text) + 10, 4)
    covered = np.column_stack([x + along, np.full(len(along), y)])
    drawn = element(
        "g",
        element("path", d=f"M{x - 7:.1f},{y:.1f}h14M{x:.1f},{y - 7:.1f}v14"),
        element("text", text, x=float(x + 10), y=float(y + 4.5), font_size=13),
        class_="mark",
    )
    return drawn, covered


def draw_timeline(study: Study, rows: pl.DataFrame, classes: dict[str, str]) -> Markup:
    """Predicted against true time, with running quartiles; a point is an entity.

    Parameters
    ----------
    study : Study
        Of kind "time"; all its test rows make the running quartiles.
    rows : DataFrame
        The rows that are drawn.
    classes : dict
        Class of each colour group.
    """
    width, height, left, bottom, top = 1200.0, 640.0, 72.0, 46.0, 8.0
    test = study.test
    x, y = test["time"].to_numpy(), test["predicted_time"].to_numpy()
    low, high = float(x.min()), float(x.max())
    # The few predictions far off are drawn at the edge.
    bottom_year = min(low, float(np.quantile(y, 0.002)))
    top_year = max(high, float(np.quantile(y, 0.998)))
    margin = 0.01 * max(high - low, 1e-9)

    def at(across: np.ndarray, up: np.ndarray) -> np.ndarray:
        share = (across - low + margin) / (high - low + 2 * margin)
        rise = (up - bottom_year + margin) / (top_year - bottom_year + 2 * margin)
        return np.column_stack(
            [
                left + np.clip(share, 0, 1) * (width - left - 8),
                height - bottom - np.clip(rise, 0, 1) * (height - bottom - top),
            ]
        )

    marks = []
    for value in nice_ticks(bottom_year, top_year):
        ((x0, y0),) = at(np.array([low]), np.array([value]))
        marks.append(element("line", x1=left, x2=width, y1=float(y0), y2=float(y0), class_="rule"))
        marks.append(_tick(year(value), left - 8, float(y0) + 4.5, "end"))
    for value in nice_ticks(low, high, 10):
        ((x0, _),) = at(np.array([value]), np.array([low]))
        marks.append(_tick(year(value), float(x0), height - bottom + 18, "middle"))
    marks.append(_tick("when it was", (left + width) / 2, height - 6, "middle"))
    side = _tick("predicted from the name", 0, 0, "middle")
    turned = element("g", side, transform=f"translate(13 {(height - bottom) / 2:.0f}) rotate(-90)")
    (x0, y0), (x1, y1) = at(np.array([low, high]), np.array([low, high]))
    diagonal = element(
        "line", x1=float(x0), y1=float(y0), x2=float(x1), y2=float(y1), class_="diagonal"
    )
    truth = rows["time"].to_numpy()
    titles = [
        f"{cut(name)}: {year(true)}, predicted {year(guess)}"
        for name, true, guess in rows.select("name", "time", "predicted_time").iter_rows()
    ]
    dots = points(
        at(truth, rows["predicted_time"].to_numpy()), at(truth, truth), titles,
        [classes[colour] for colour in rows["colour"]], 3.2 if rows.height < 2500 else 2.3,
    )  # fmt: skip
    centres, values = running_quantiles(x, y, max(FEWEST, round(WINDOW * len(x))))
    under, middle, over = (at(centres, values[:, i]) for i in range(3))
    band = element("polygon", points=_joined(np.vstack([under, over[::-1]])), class_="band")
    median = element("polyline", points=_joined(middle), class_="median")
    return element(
        "svg", *marks, turned, band, diagonal, dots, median,
        viewBox=f"0 0 {width:g} {height:g}", role="img", class_="map timeline",
        aria_label=f"Predicted against true time of {rows.height} entities",
    )  # fmt: skip


def _tick(text: str, x: float, y: float, anchor: str) -> Markup:
    return element("text", text, x=x, y=y, text_anchor=anchor, class_="axis")


def _joined(pixels: np.ndarray) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
