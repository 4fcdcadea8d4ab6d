"""A pushdown automaton over LaTeX source: which characters are part of which construct.

It reads the source from left to right with a stack of what is open (groups, environments, formulas)
and knows no macros but those named here; a definition that only abbreviates the begin or end of an
environment is followed. What is open at the end of the text extends to the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

Spans = dict[str, list[tuple[int, int]]]
Mode = Literal["text", "inline", "display"]

INLINE = ("is_inline_math", "is_math")
DISPLAY = ("is_display_math", "is_math")
NUMERATOR = ("is_numerator", "is_frac")
DENOMINATOR = ("is_denominator", "is_frac")

DISPLAY_ENVIRONMENTS = frozenset(
    ["displaymath", "equation", "align", "eqnarray", "gather", "multline", "flalign", "alignat",
     "xalignat", "dmath"]
)  # fmt: skip
VERBATIM_ENVIRONMENTS = frozenset(
    ["verbatim", "Verbatim", "lstlisting", "minted", "comment", "alltt", "filecontents", "Schunk",
     "Sinput", "Soutput", "Code", "CodeInput", "CodeOutput", "bprog"]
)  # fmt: skip
# Commands whose braces hold what the feature is about.
ARGUMENT_FEATURES = {
    "is_title": ["title", "Plaintitle", "Shorttitle", "subtitle", "icmltitle"],
    "is_author": ["author", "authors", "Plainauthor", "icmlauthor"],
    "is_abstract": ["abstract", "Abstract"],
    "is_section": ["part", "chapter", "section", "subsection", "subsubsection", "paragraph"],
    "is_reference": ["ref", "eqref", "pageref", "autoref", "nameref", "cref", "Cref", "vref"],
    "is_citation": [
        "cite", "citep", "citet", "citealt", "citealp", "citeauthor", "citeyear", "citeyearpar",
        "Citet", "Citep", "parencite", "textcite", "autocite", "footcite", "nocite",
    ],
}  # fmt: skip
FEATURE_OF = {name: feature for feature, names in ARGUMENT_FEATURES.items() for name in names}
FRACTIONS = frozenset(["frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"])
# Commands whose braces hold text, also in a formula.
TEXT_COMMANDS = frozenset(
    ["text", "textrm", "textit", "textbf", "texttt", "textsf", "textnormal", "mbox", "hbox",
     "intertext", "footnote", "tag", "label"]
)  # fmt: skip
# Commands of formulas with one argument, which belongs to them where they are one themselves.
ONE_ARGUMENT = frozenset(
    ["sqrt", "mathrm", "mathbf", "mathit", "mathsf", "mathtt", "mathcal", "mathbb", "mathfrak",
     "mathscr", "bm", "boldsymbol", "operatorname", "hat", "bar", "tilde", "vec", "dot", "ddot",
     "widehat", "widetilde", "overline", "underline"]
)  # fmt: skip
# Commands whose braces hold characters that mean nothing.
VERBATIM_COMMANDS = frozenset(["code", "url", "path", "Sexpr", "lstinline", "href"])

SCRIPTS = {"^": "is_superscript", "_": "is_subscript"}
# Environments that take the number of their columns.
COUNTED_ENVIRONMENTS = frozenset(["alignat", "xalignat"])

_TOKEN = re.compile(
    r"""(?P<command>\\[A-Za-z@]+\*?)
      | (?P<escape>\\.)                     # \$ \% \{ and \\, and the marks of formulas
      | (?P<comment>%[^\n]*(?:\n[ \t]*)?)   # with the line break, which it takes away
      | (?P<chunk>^<<[^\n]*>>=[ \t]*\n)     # R code in Sweave
      | (?P<dollar>\$)
      | (?P<open>\{) | (?P<close>\})
      | (?P<script>[_^])
      | (?P<blank>\n[ \t]*\n)
    """,
    re.VERBOSE | re.MULTILINE | re.DOTALL,
)
_CHUNK_END = re.compile(r"^@[^\n]*\n?", re.MULTILINE)
_NAME = re.compile(r"\s*\{([^{}\n]*)\}")
_OPTION = re.compile(r"\s*\[[^\[\]]*\]")
_GROUP_NEXT = re.compile(r"\s*\{")
_SINGLE = re.compile(r"\s*(\\[A-Za-z@]+|\\.|[^\s\\{}$%&#_^~])", re.DOTALL)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
# \newcommand{\be}{\begin{equation}} and \def\be{\begin{equation}}
_ABBREVIATION = re.compile(
    r"\\(?:(?:re)?newcommand\*?\s*\{?\s*|def\s*)(\\[A-Za-z@]+)\s*\}?\s*"
    r"\{\s*\\(begin|end)\s*\{([A-Za-z]+)\*?\}\s*\}"
)

# What an argument shows, and its mode.
Argument = tuple[tuple[str, ...], Mode]


@dataclass(frozen=True)
class Parsed:
    """What a text's characters are part of.

    Attributes
    ----------
    spans : dict of str to list of (int, int)
        For each feature the characters [start, stop) between the delimiters of its constructs,
        sorted; constructs may lie within one another.
    apart : list of (int, int)
        Comments, verbatim text and code: part of nothing, whatever is around them.
    balanced : bool
        Whether every formula ends where it may: an odd dollar makes this false.
    """

    spans: Spans
    apart: list[tuple[int, int]]
    balanced: bool


def parse_latex(text: str) -> Parsed:
    """Find the constructs of table A.3 in LaTeX source.

    Parameters
    ----------
    text : str
        A document, or its beginning.

    Returns
    -------
    Parsed
        Spans of characters by feature.
    """
    parser = _Parser(text)
    parser.run()
    spans = {name: sorted(found) for name, found in parser.spans.items()}
    return Parsed(spans, parser.apart, parser.balanced)


@dataclass
class _Frame:
    """Something open: what closes it, where its content starts, and what the content shows."""

    closer: str
    start: int
    features: tuple[str, ...]
    mode: Mode
    # Arguments that the command of this one still takes after it.
    then: list[Argument] = field(default_factory=list)
    # Where the denominator starts, after an \over.
    over: int | None = None

    @property
    def is_formula(self) -> bool:
        return "is_math" in self.features


@dataclass
class _Parser:
    text: str
    spans: Spans = field(default_factory=dict)
    apart: list[tuple[int, int]] = field(default_factory=list)
    balanced: bool = True
    stack: list[_Frame] = field(default_factory=list)
    awaited: list[Argument] = field(default_factory=list)

    @property
    def mode(self) -> Mode:
        return self.stack[-1].mode if self.stack else "text"

    def run(self) -> None:
        definitions = {m.start(): m for m in _ABBREVIATION.finditer(self.text)}
        environments = {m[1]: (m[2], m[3]) for m in definitions.values()}
        position = 0
        while True:
            if self.awaited:
                position = self._argument(position)
                if self.awaited:
                    continue
            match = _TOKEN.search(self.text, position)
            if match is None:
                break
            token, start, position = match.group(), match.start(), match.end()
            match match.lastgroup:
                case "comment":
                    self.apart.append((start, position))
                case "chunk":
                    position = self._skip(start, _CHUNK_END.search(self.text, position))
                case "command" if start in definitions:
                    position = definitions[start].end()
                case "command" if token in environments:
                    begins, name = environments[token]
                    if begins == "begin":
                        position = self._begin(name, start, position)
                    else:
                        self._close(f"end {name}", start)
                case "command":
                    position = self._command(token[1:].rstrip("*"), start, position)
                case "escape":
                    self._escape(token, start, position)
                case "dollar":
                    position = self._dollar(start)
                case "open":
                    self._open("}", position, (), self.mode)
                case "close":
                    self._close("}", start)
                    self._end_commands(position)
                case "script" if self.mode != "text":
                    self.awaited = [((SCRIPTS[token],), self.mode)]
                case "blank":
                    self._end_paragraph()
                    position -= 1
        self.balanced &= not any(frame.is_formula for frame in self.stack)
        while self.stack:
            self._emit(self.stack.pop(), len(self.text))

    # -- what is open ------------------------------------------------------------------------------

    def _open(self, closer: str, start: int, features: tuple[str, ...], mode: Mode) -> None:
        self.stack.append(_Frame(closer, start, features, mode))

    def _close(self, closer: str, stop: int) -> None:
        """Close the innermost frame that ends so, and drop what was left open in it."""
        for depth in range(len(self.stack) - 1, -1, -1):
            if self.stack[depth].closer == closer:
                del self.stack[depth + 1 :]
                frame = self.stack.pop()
                self._emit(frame, stop)
                self.awaited = frame.then
                return
            # A stray brace ends no formula that dollars opened.
            if closer == "}" and self.stack[depth].closer in ("$", "$$"):
                return

    def _emit(self, frame: _Frame, stop: int) -> None:
        if frame.over is not None:
            for feature in DENOMINATOR:
                self._add(feature, frame.over, stop)
        for feature in frame.features:
            self._add(feature, frame.start, stop)

    def _add(self, feature: str, start: int, stop: int) -> None:
        if stop > start:
            self.spans.setdefault(feature, []).append((start, stop))

    def _end_paragraph(self) -> None:
        """A formula cannot hold the end of a paragraph: what was taken for one is dropped."""
        for depth, frame in enumerate(self.stack):
            if frame.is_formula:
                self.balanced = False
                del self.stack[depth:]
                return

    def _skip(self, start: int, end: re.Match[str] | None) -> int:
        """Pass over characters up to a match, or to the end, as part of nothing."""
        stop = end.end() if end else len(self.text)
        self.apart.append((start, stop))
        return stop

    # -- arguments ---------------------------------------------------------------------------------

    def _argument(self, position: int) -> int:
        """Take the next argument: a group, one character, or a command with its own groups."""
        features, mode = self.awaited[0]
        then, self.awaited = self.awaited[1:], []
        group = _GROUP_NEXT.match(self.text, position)
        if group is not None:
            self.stack.append(_Frame("}", group.end(), features, mode, then))
            return group.end()
        single = _SINGLE.match(self.text, position)
        if single is None:
            return position
        start, stop = single.span(1)
        if len(single[1]) < 2 or not single[1][1].isalpha():
            for feature in features:
                self._add(feature, start, stop)
            self.awaited = then
            self._end_commands(stop)
            return stop
        self.stack.append(_Frame("arguments", start, features, mode, then))
        stop = self._command(single[1][1:], start, stop)
        self._end_commands(stop)
        return stop

    def _end_commands(self, position: int) -> None:
        """End commands that are arguments without braces, once they have their own arguments."""
        while self.stack and self.stack[-1].closer == "arguments" and not self.awaited:
            frame = self.stack.pop()
            self._emit(frame, position)
            self.awaited = frame.then

    # -- tokens ------------------------------------------------------------------------------------

    def _escape(self, token: str, start: int, position: int) -> None:
        if token == r"\(" and self.mode == "text":
            self._open(r"\)", position, INLINE, "inline")
        elif token == r"\[" and self.mode == "text":
            self._open(r"\]", position, DISPLAY, "display")
        elif token in (r"\)", r"\]"):
            self._close(token, start)

    def _dollar(self, start: int) -> int:
        """Open or close a formula; returns the position after the dollar or dollars."""
        double = self.text.startswith("$$", start)
        # A group of text in a formula may hold formulas of its own.
        around = next((f for f in reversed(self.stack) if f.mode == "text" or f.is_formula), None)
        if around is None or not around.is_formula:
            if double:
                self._open("$$", start + 2, DISPLAY, "display")
            else:
                self._open("$", start + 1, INLINE, "inline")
            return start + 1 + double
        if around.closer == "$":
            double = False
        if around.closer == ("$$" if double else "$"):
            self._close(around.closer, start)
        else:
            self.balanced = False
        return start + 1 + double

    def _command(self, name: str, start: int, position: int) -> int:
        """Read a command and what belongs to it; returns the position after that."""
        if name in ("begin", "end"):
            named = _NAME.match(self.text, position)
            if named is None:
                return position
            if name == "begin":
                return self._begin(named[1], start, named.end())
            self._close(f"end {named[1].rstrip('*')}", start)
            return named.end()
        if name == "verb" and position < len(self.text):
            delimiter = re.compile(re.escape(self.text[position]) + r"|$", re.MULTILINE)
            return self._skip(start, delimiter.search(self.text, position + 1))
        if name in VERBATIM_COMMANDS and _GROUP_NEXT.match(self.text, position):
            return self._skip(start, self._matching_brace(position))
        if name in FEATURE_OF:
            while option := _OPTION.match(self.text, position):
                position = option.end()
            if _GROUP_NEXT.match(self.text, position):
                self.awaited = [((FEATURE_OF[name],), "text")]
        elif name in TEXT_COMMANDS:
            if _GROUP_NEXT.match(self.text, position):
                self.awaited = [((), "text")]
        elif name == "ensuremath" and self.mode == "text":
            self.awaited = [(INLINE, "inline")]
        elif name in FRACTIONS and self.mode != "text":
            option = _OPTION.match(self.text, position) if name == "cfrac" else None
            position = option.end() if option else position
            self.awaited = [(NUMERATOR, self.mode), (DENOMINATOR, self.mode)]
        elif name in ONE_ARGUMENT and self.mode != "text":
            option = _OPTION.match(self.text, position) if name == "sqrt" else None
            position = option.end() if option else position
            self.awaited = [((), self.mode)]
        elif name == "over" and self.mode != "text" and self.stack:
            frame = self.stack[-1]
            for feature in NUMERATOR:
                self._add(feature, frame.start, start)
            frame.over = position
        return position

    def _begin(self, name: str, start: int, position: int) -> int:
        base = name.rstrip("*")
        if base in VERBATIM_ENVIRONMENTS:
            end = re.compile(r"\\end\s*\{" + re.escape(name) + r"\}")
            return self._skip(start, end.search(self.text, position))
        features: tuple[str, ...] = ()
        mode = self.mode
        if base in DISPLAY_ENVIRONMENTS and mode == "text":
            features, mode = DISPLAY, "display"
            if base in COUNTED_ENVIRONMENTS and (count := _NAME.match(self.text, position)):
                position = count.end()
        elif base == "math" and mode == "text":
            features, mode = INLINE, "inline"
        elif base == "abstract":
            features = ("is_abstract",)
        self._open(f"end {base}", position, features, mode)
        return position

    def _matching_brace(self, position: int) -> re.Match[str] | None:
        """The brace that closes the group at a position."""
        depth = 0
        for brace in _BRACE.finditer(self.text, position):
            depth += {"{": 1, "}": -1}.get(brace.group(), 0)
            if depth == 0:
                return brace
        return None
