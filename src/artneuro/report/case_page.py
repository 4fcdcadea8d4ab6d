"""Pages of case studies: one self-contained HTML file each, made of text, tables and figures."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from artneuro.core.artifacts import write_text
from artneuro.report.environment import csp_hash, template_environment, template_text
from artneuro.report.style import figure_style, with_plain_texts

# What the report says of each page that it links to.
CASE_PAGES = {
    "methods": (
        "Methods of choosing neurons",
        "which way of choosing k neurons does best and what it costs, how F1 falls with k, and how "
        "many neurons tell a feature.",
    ),
    "superposition": (
        "Superposition of compound words",
        "whether one neuron tells a compound word, or a few that each respond to much else.",
    ),
    "context_neurons": (
        "Context neurons",
        "what the neurons of a language or a kind of text respond to, and which text the model "
        "predicts worse without them.",
    ),
    "refinement": (
        "What single neurons respond to",
        "tokens, n-grams and examples of the best neurons, their effect on the output, and whether "
        "they stand for more or for less than the feature.",
    ),
    "scale": (
        "Sparsity and scale",
        "how many neurons each feature takes, by layer and by the size of the model.",
    ),
    "universality": (
        "Universal neurons",
        "which neurons of a model others that differ in their seed have too, and what sets them "
        "apart from the rest.",
    ),
    "families": (
        "Families of neurons",
        "what neurons respond to by hundreds of automated tests: words, letters, the token before, "
        "positions, grammar and topics.",
    ),
    "roles": (
        "Functional roles of neurons",
        "which neurons predict or suppress tokens, change how sure the model is, or turn heads of "
        "attention off and on.",
    ),
    "maps": (
        "Maps and timelines",
        "where a model puts places, and when it puts works, persons and events that it reads the "
        "names of, beside the truth.",
    ),
    "space_time": (
        "Space and time",
        "whether linear probes read places and dates from a model, by layer and prompt, on "
        "countries and kinds that they saw nothing of, and which neurons follow them.",
    ),
    "dynamics": (
        "Sparse equations of dynamical systems",
        "which equations are found in short or noisy data, by exact sparse regression and by "
        "heuristics, and what is proven of them.",
    ),
    "in_context": (
        "Systems learned in context",
        "how well a model forecasts a dynamical system from its numbers alone, and whether its "
        "residual stream holds the state and obeys the law.",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure with its caption, and in `alt` what a reader who cannot see it misses."""

    figure: Figure
    caption: str
    alt: str

    @property
    def source(self) -> str:
        """The figure as an SVG image within the page."""
        FigureCanvasAgg(self.figure)
        buffer = io.BytesIO()
        with figure_style():
            with_plain_texts(self.figure).savefig(
                buffer, format="svg", metadata={"Date": None, "Creator": None}
            )
        return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class Table:
    """A table with its caption.

    Attributes
    ----------
    frame : DataFrame
        Strings, integers, floats or nulls. Its columns are shown in their order.
    caption : str
        What a row is and what the numbers are, with their units.
    headings : mapping of str to str
        Headings of columns whose name is not what a reader should see.
    digits : mapping of str to int
        Decimals of float columns, two unless told.
    """

    frame: pl.DataFrame
    caption: str
    headings: Mapping[str, str] = field(default_factory=dict)
    digits: Mapping[str, int] = field(default_factory=dict)

    @property
    def columns(self) -> list[dict[str, Any]]:
        """Name, heading and whether numbers, of each column."""
        return [
            {
                "heading": self.headings.get(name, name.replace("_", " ")),
                "numeric": self.frame.schema[name].is_numeric(),
            }
            for name in self.frame.columns
        ]

    @property
    def cells(self) -> list[list[dict[str, str]]]:
        """What each cell shows, and the value that its column is sorted by."""
        digits = [self.digits.get(name, 2) for name in self.frame.columns]
        return [
            [_cell(value, places) for value, places in zip(row, digits, strict=True)]
            for row in self.frame.iter_rows()
        ]


@dataclass(frozen=True)
class Part:
    """A section of a page: a heading, paragraphs, and what they speak of."""

    title: str
    paragraphs: tuple[str, ...] = ()
    items: tuple[Picture | Table, ...] = ()


@dataclass(frozen=True)
class CasePage:
    """A case study: its title, the question and answer in a paragraph, and its parts."""

    title: str
    lead: str
    parts: tuple[Part, ...]


def write_case_page(page: CasePage, output: str | Path) -> None:
    """Write a case study as one HTML file that needs no other file and no network.

    Parameters
    ----------
    page : CasePage
    output : path
        The HTML file to write, beside `index.html`, to which it links.
    """
    script = template_text("script.js")
    html = (
        template_environment()
        .get_template("case.html")
        .render(
            page=page,
            style=Markup(template_text("style.css")),
            script=Markup(script),
            script_hash=csp_hash(script),
        )
    )
    write_text(html, output)


def _cell(value: Any, digits: int) -> dict[str, str]:
    if value is None or value != value:
        return {"text": "–", "value": ""}
    if isinstance(value, bool):
        return {"text": "yes" if value else "no", "value": str(int(value))}
    if isinstance(value, int):
        return {"text": f"{value:,}".replace(",", "\u202f").replace("-", "−"), "value": str(value)}
    if isinstance(value, float):
        return {"text": f"{value:.{digits}f}".replace("-", "−"), "value": f"{value:.6g}"}
    return {"text": str(value), "value": str(value)}
