"""The look of figures and numbers: one style, one set of colours and names, one way to save."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import polars as pl
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

from artneuro.core.artifacts import atomic_path
from artneuro.core.errors import DataError
from artneuro.report.choose import RANDOM

STYLE = Path(__file__).with_name("artneuro.mplstyle")

# Names that differ from the identifier with spaces for underscores.
NAMES = {
    "f_statistic": "F-statistic",
    "l1_logistic": "L1 logistic",
    "random": "random neurons",
    "shuffled_labels": "shuffled labels",
}
# Told apart by colour-blind readers, on white and on dark grounds; `style.css` has the same order.
COLOURS = (
    "#2f6db3", "#d27d1e", "#2f8f6b", "#8a5bb5", "#b8456b", "#7a7320", "#2a9db0", "#6b4a2f",
)  # fmt: skip
GREY = "#8a8a8a"
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def name_of(identifier: str) -> str:
    """An identifier of the tables (`mean_difference`) as a reader writes it (`mean difference`)."""
    return NAMES.get(identifier, identifier.replace("_", " "))


def heading_of(identifier: str) -> str:
    """`name_of` with a capital, for headings: the rest stays as it is."""
    name = name_of(identifier)
    return name[:1].upper() + name[1:]


def scale_start(f1: pl.Series) -> float:
    """Where a scale of F1 starts: the tenth below the lowest score, 0.5 at most."""
    lowest = f1.min()
    return min(0.5, math.floor(10 * lowest) / 10) if isinstance(lowest, float) else 0.0


def ticks_of_k(ks: Iterable[int]) -> list[int]:
    """The numbers of neurons to mark on an axis: all while they fit, else powers of two."""
    values = sorted(set(ks))
    return values if len(values) <= 9 else [k for k in values if k & (k - 1) == 0]


def method_order(methods: Iterable[str]) -> list[str]:
    """Rankings by name, with the random one last: a ranking's place gives its colour."""
    return sorted(set(methods), key=lambda m: (m == RANDOM, m))


def neuron_name(layer: int, neuron: int) -> str:
    """A neuron in the field's short form: `L7.22` is neuron 22 of layer 7, both counted from 0."""
    return f"L{layer}.{neuron}"


def score(value: float | None) -> str:
    """A score to two digits, a dash where there is none."""
    return "–" if value is None or math.isnan(value) else f"{value:.2f}".replace("-", "−")


def count(value: float | None) -> str:
    """A count with its thousands apart; from 10 million on in millions or billions."""
    if value is None:
        return "–"
    if value >= 1e9:
        return f"{value / 1e9:.3g} billion"
    if value >= 1e7:
        return f"{value / 1e6:.3g} million"
    return f"{value:,.0f}".replace(",", "\u202f")


def duration(seconds: float | None) -> str:
    """A time as a reader says it: `0.4 s`, `12 s`, `3 min 10 s`, `2 h 5 min`."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min"


@contextmanager
def figure_style() -> Iterator[None]:
    """The project's matplotlib style, whatever the user's own settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        style.use(STYLE)
        yield


def with_plain_texts(figure: Figure) -> Figure:
    """The same figure, in which no name is a formula: texts show as they are, whatever they hold.

    Matplotlib takes what stands between two dollars for a formula, and fails where it is none.
    Characters that XML cannot hold are replaced. What the library writes itself (the powers at a
    logarithmic axis) stays as it is.
    """
    formulas: set[int] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            formulas.add(id(axis.offsetText))
            kinds = (
                (axis.get_major_ticks(), axis.get_major_formatter()),
                (axis.get_minor_ticks(), axis.get_minor_formatter()),
            )
            for ticks, formatter in kinds:
                if not isinstance(formatter, FixedFormatter | FuncFormatter):
                    formulas |= {id(t) for tick in ticks for t in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if id(text) not in formulas:
            text.set_parse_math(False)
            if _NO_XML.search(text.get_text()):
                text.set_text(_NO_XML.sub("\ufffd", text.get_text()))
    return figure


def save(figure: Figure, output: str | Path) -> None:
    """Write a figure as SVG, PNG or PDF: the same figure gives the same bytes.

    Raises
    ------
    DataError
        If the suffix of `output` is none of these.
    """
    suffix = Path(output).suffix.lstrip(".").lower()
    metadata: dict[str, dict] = {
        "svg": {"Date": None, "Creator": None},
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    if suffix not in metadata:
        raise DataError(
            f"cannot write a figure as '{suffix}'",
            where=str(output),
            fix="let the name end in .svg, .png or .pdf",
        )
    FigureCanvasAgg(figure)
    with figure_style(), atomic_path(output) as temporary:
        with_plain_texts(figure).savefig(temporary, format=suffix, metadata=metadata[suffix])
