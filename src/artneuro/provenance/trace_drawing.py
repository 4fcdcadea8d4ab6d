"""Drawing of a trace as SVG: one box a job, in columns from the sources to the artifact."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from artneuro.core.artifacts import write_text
from artneuro.core.errors import DataError
from artneuro.provenance.graph import Artifact, git_text, one_line
from artneuro.provenance.trace import Trace, closing_lines, code_text, config_lines, job_name
from artneuro.report.drawing import element

# Pixels. The letters' width is that of 11 px DejaVu Sans Mono, the widest of the usual fonts.
LETTER, LINE, PAD, MARGIN = 6.7, 15.0, 8.0, 24.0
ROW_GAP, COLUMN_GAP = 16.0, 90.0
LONGEST = 58  # characters of a line in a box
LONGEST_NOTE = 200  # of one below
SHOWN_CONFIG = 5  # lines of config in a box; all are in its tooltip
SWEEPS = 12

STYLE = """text{font:11px "DejaVu Sans Mono",Menlo,Consolas,monospace;fill:#1c1c1c;white-space:pre}
.ground{fill:#ffffff}.box rect{fill:#f4f6f9;stroke:#8a94a3}.source rect{fill:#eaf5ee;stroke:#2f8f6b}
.model rect{fill:#f2ecf8;stroke:#8a5bb5}.target rect{stroke-width:2.5;stroke:#2f6db3}
.bad rect{fill:#fdecec;stroke:#b3261e}.head{font-weight:bold}.small{fill:#59616d}
.problem{fill:#b3261e;font-weight:bold}.edge{fill:none;stroke:#9aa3af;stroke-width:1.2}"""


@dataclass
class _Box:
    """A job with its outputs, or (without lines) the place where an edge crosses a column."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    kind: str = ""
    tooltip: str = ""
    uses: list[str] = field(default_factory=list)
    column: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0

    def __post_init__(self) -> None:
        if self.lines:
            self.width = max(len(text) for _, text in self.lines) * LETTER + 2 * PAD

    @property
    def height(self) -> float:
        """Pixels of all its lines."""
        return len(self.lines) * LINE + 2 * PAD if self.lines else 2.0


def draw_trace(found: Trace, path: str | Path) -> None:
    """Write the drawing of a trace as an SVG file that stands alone.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    try:
        write_text(str(trace_svg(found)) + "\n", path)
    except OSError as error:
        raise DataError(
            f"the drawing cannot be written ({error.strerror})",
            where=str(path),
            fix="name a file in a folder that you may write to",
        ) from error


def trace_svg(found: Trace) -> Markup:
    """A trace as SVG markup; all texts in it are escaped.

    Columns go from what is farthest from the artifact to the artifact itself, on the right; each
    box is as near to its users as can be. Below stand models, sources and versions of the code.
    """
    boxes = _boxes(found)
    order = _columns(boxes, found.artifacts[found.target].job)
    _place(boxes, order)
    edges = [_edge(boxes, used, key) for key, box in boxes.items() for used in box.uses]
    drawn = [_drawn(box) for box in boxes.values() if box.lines]
    right = max(b.x + b.width for b in boxes.values())
    bottom = max(b.y + b.height for b in boxes.values()) + 2 * LINE
    notes = [_cut(line, LONGEST_NOTE) for line in closing_lines(found)]
    below = [
        element("text", line, x=MARGIN, y=bottom + LINE * i)
        for i, line in enumerate(notes, start=1)
    ]
    width = max(right, MARGIN + LETTER * max(len(n) for n in notes)) + MARGIN
    height = bottom + LINE * (len(notes) + 1) + MARGIN
    title = f"What {one_line(found.artifacts[found.target].shown)} came from"
    return element(
        "svg",
        element("title", _legal(title)),
        element("style", Markup(STYLE)),
        element("rect", class_="ground", width="100%", height="100%"),
        *edges,
        *drawn,
        *below,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="img",
    )


def _legal(text: str) -> str:
    """A text without the characters that XML cannot hold."""
    return "".join(
        c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _boxes(found: Trace) -> dict[str, _Box]:
    groups: dict[str, list[Artifact]] = {}
    for artifact in found.artifacts.values():
        groups.setdefault(artifact.job, []).append(artifact)
    boxes = {job: _box(found, outputs) for job, outputs in groups.items()}
    for job, outputs in groups.items():
        used = [found.artifacts[i.path].job for a in outputs for i in a.inputs]
        boxes[job].uses = [j for j in dict.fromkeys(used) if j != job]
    return boxes


def _box(found: Trace, outputs: list[Artifact]) -> _Box:
    record = outputs[0].record
    problems = [p for a in outputs for p in found.problems_of(a)]
    sources = {s["artifact"]: s for s in found.sources}
    is_source = any(a.shown in sources for a in outputs)
    lines: list[tuple[str, str]] = []
    tooltip: list[str] = []
    if record is None:
        lines.append(("head", "a part of" if outputs[0].is_part else "no sidecar"))
    else:
        lines.append(("head", job_name(record)))
    for artifact in outputs:
        state = found.states[artifact.path]
        lines.append(("", _short_path(artifact.shown)))
        if not state.missing and not state.error:
            lines.append(("small", f"  {state.sha256[:12]}  {state.bytes:,} bytes"))
        tooltip.append(f"{artifact.shown}  {state.sha256}")
        if source := sources.get(artifact.shown):
            packages = ", ".join(
                f"{p.get('name')} {p.get('version') or ''}".strip()
                for p in source["packages"] or []
            )
            lines.append(("", f"{source['registry']}: {packages}"))
            lines.append(("", f"licence {source['licence'] or 'not recorded'}"))
            tooltip.append(str(source["description"]))
    if record is not None:
        config = list(config_lines(record))
        # What the config says of a source stands above already.
        shown = [] if is_source else config[:SHOWN_CONFIG]
        lines += [("small", line) for line in shown]
        if len(config) > len(shown) > 0:
            lines.append(("small", f"… {len(config) - len(shown)} more"))
        lines.append(("small", git_text(record)))
        tooltip += [*config, code_text(record)]
    lines += [("problem", f"{p.kind}: {p.detail}") for p in problems]
    tooltip += [str(p) for p in problems]
    is_model = record is not None and record["rule"] in ("fetch_model", "train_model")
    kind = " ".join(
        word
        for word, holds in {
            "box": True,
            "source": is_source,
            "model": is_model,
            "target": any(a.path == found.target for a in outputs),
            "bad": bool(problems),
        }.items()
        if holds
    )
    return _Box([(c, _cut(text)) for c, text in lines], kind, "\n".join(tooltip))


def _cut(text: str, length: int = LONGEST) -> str:
    text = one_line(text)
    return text if len(text) <= length else text[: length - 1] + "…"


def _short_path(shown: str) -> str:
    """The end of a path, which tells more than its start."""
    shown = one_line(shown)
    return shown if len(shown) <= LONGEST else "…" + shown[1 - LONGEST :]


def _columns(boxes: dict[str, _Box], target: str) -> list[list[str]]:
    """Give every box its column (0 is the target's), and cut long edges into steps.

    The column is the longest way to the target. Edges that close a cycle, which only damaged
    sidecars have, are drawn but do not count.
    """
    forward = _without_cycles(boxes, target)
    waiting_for = dict.fromkeys(boxes, 0)
    for used in itertools.chain.from_iterable(forward.values()):
        waiting_for[used] += 1
    ready = deque(key for key, n in waiting_for.items() if n == 0)
    while ready:
        key = ready.popleft()
        for used in forward[key]:
            boxes[used].column = max(boxes[used].column, boxes[key].column + 1)
            waiting_for[used] -= 1
            if waiting_for[used] == 0:
                ready.append(used)
    for key in list(boxes):
        box = boxes[key]
        box.uses = [_step(boxes, used, box.column) for used in box.uses]
    order: list[list[str]] = [[] for _ in range(max(b.column for b in boxes.values()) + 1)]
    for key, box in boxes.items():
        order[box.column].append(key)
    return order


def _step(boxes: dict[str, _Box], used: str, column: int) -> str:
    """What a box in `column` is joined to for `used`: itself, or the nearest of its steps.

    All edges of one box share their steps, which keeps a store that many jobs read readable.
    """
    nearest = used
    for between in range(boxes[used].column - 1, column, -1):
        name = f"{used} {between}"
        if name not in boxes:
            boxes[name] = _Box(uses=[nearest], column=between)
        nearest = name
    return nearest


def _without_cycles(boxes: dict[str, _Box], target: str) -> dict[str, list[str]]:
    """The edges, but for those that lead back to a box on the way from the target."""
    forward: dict[str, list[str]] = {key: [] for key in boxes}
    on_way, done = {target}, set()
    stack = [(target, iter(boxes[target].uses))]
    while stack:
        key, rest = stack[-1]
        used = next(rest, None)
        if used is None:
            stack.pop()
            on_way.discard(key)
            done.add(key)
        elif used not in on_way:
            forward[key].append(used)
            if used not in done:
                on_way.add(used)
                stack.append((used, iter(boxes[used].uses)))
    return forward


def _place(boxes: dict[str, _Box], order: list[list[str]]) -> None:
    """Order the boxes of each column by their neighbours', and give all their coordinates."""
    users: dict[str, list[str]] = {key: [] for key in boxes}
    for key, box in boxes.items():
        for used in box.uses:
            users[used].append(key)
    for sweep in range(SWEEPS):
        # To the sources and back, so that both sides of a column have their say.
        neighbours = users if sweep % 2 == 0 else {k: b.uses for k, b in boxes.items()}
        for column in order if sweep % 2 == 0 else order[::-1]:
            wanted = {
                key: _mean(
                    (boxes[n].y + boxes[n].height / 2 for n in neighbours[key]),
                    boxes[key].y + boxes[key].height / 2,
                )
                for key in column
            }
            if sweep:
                column.sort(key=wanted.__getitem__)
            _stack(boxes, column, wanted)
    x = MARGIN
    for column in reversed(order):
        width = max(boxes[key].width for key in column)
        for key in column:
            boxes[key].x, boxes[key].width = x, width
        x += width + COLUMN_GAP
    top = min(box.y for box in boxes.values())
    for box in boxes.values():
        box.y += MARGIN - top


def _mean(values: Iterable[float], otherwise: float) -> float:
    found = list(values)
    return sum(found) / len(found) if found else otherwise


def _stack(boxes: dict[str, _Box], column: list[str], wanted: dict[str, float]) -> None:
    """Put a column's boxes near the centres that they want, in order and without overlap."""
    bottom = float("-inf")
    for key in column:
        box = boxes[key]
        box.y = max(wanted[key] - box.height / 2, bottom + ROW_GAP)
        bottom = box.y + box.height
    shift = _mean((wanted[k] - boxes[k].y - boxes[k].height / 2 for k in column), 0.0)
    for key in column:
        boxes[key].y += shift


def _edge(boxes: dict[str, _Box], used: str, user: str) -> Markup:
    """The curve from a box to one that was made from it; straight across the columns between."""
    start, end = boxes[used], boxes[user]
    x0, y0 = start.x + start.width, start.y + start.height / 2
    x1, y1 = end.x, end.y + end.height / 2
    across = f"M{start.x:.1f} {y0:.1f}H{x0:.1f}" if not start.lines else f"M{x0:.1f} {y0:.1f}"
    middle = (x0 + x1) / 2
    curve = f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    return element("path", class_="edge", d=across + curve)


def _drawn(box: _Box) -> Markup:
    texts = [
        element("text", line, class_=c or None, x=box.x + PAD, y=box.y + PAD + LINE * (i + 0.75))
        for i, (c, line) in enumerate(box.lines)
    ]
    frame = element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=4)
    return element("g", element("title", _legal(box.tooltip)), frame, *texts, class_=box.kind)
