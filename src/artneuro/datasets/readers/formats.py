"""From the conventions of a kind of text to plain text."""

from __future__ import annotations

import email
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage

# Sweave: code between `<<options>>=` and a line that starts with `@`.
_SWEAVE_CHUNK = re.compile(r"^<<.*?>>=.*?^@[^\n]*\n?", re.MULTILINE | re.DOTALL)
_TEX_COMMENT = re.compile(r"(?<!\\)%.*$")
# "Re:", "Fwd:" and the tags of mailing lists, in any number.
_REPLY_MARKS = re.compile(r"^(\s*((re|fwd?)(\[\d+\])?:|\[[^\]]*\]))+\s*", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n{3,}")


def tidy(text: str) -> str:
    """No spaces at the ends of lines, at most one blank line in a row, none at the ends."""
    lines = "\n".join(line.rstrip() for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", lines).strip()


def latex_source(text: str) -> str:
    """LaTeX source with its preamble and comments, without Sweave's code chunks."""
    return tidy(_SWEAVE_CHUNK.sub("", text))


def latex_text(text: str) -> str:
    """The body of a LaTeX document as source, without comments and Sweave's code chunks."""
    body = _SWEAVE_CHUNK.sub("", text)
    _, begin, after = body.partition(r"\begin{document}")
    body = after if begin else body
    body = body.partition(r"\end{document}")[0]
    kept = []
    for line in body.split("\n"):
        bare = _TEX_COMMENT.sub("", line)
        # A line that was nothing but a comment would otherwise end the paragraph.
        if bare.strip() or not line.strip():
            kept.append(bare)
    return tidy("\n".join(kept))


_BROWN_SPACES = (
    (re.compile(r" ([,.;:?!%)\]'])"), r"\1"),
    (re.compile(r"([(\[$]) "), r"\1"),
)


def brown_text(text: str) -> str:
    """Running text of the Brown corpus' `word/tag` pairs: one paragraph per blank-line block."""
    paragraphs = []
    for block in re.split(r"\n\s*\n", text):
        words = [pair.rsplit("/", 1)[0] for pair in block.split()]
        line = " ".join(words)
        # Quotation marks are `` and '' and stand as words of their own.
        line = re.sub(r"`` ?", '"', line)
        line = re.sub(r" ?''", '"', line)
        for pattern, replacement in _BROWN_SPACES:
            line = pattern.sub(replacement, line)
        # The corpus doubles marks that end both a quotation and a sentence.
        line = re.sub(r"([.;:?!])\1+", r"\1", line)
        if line:
            paragraphs.append(line)
    return "\n\n".join(paragraphs)


def email_text(text: str) -> tuple[str, str | None]:
    """The body of an email message and its subject without reply marks.

    The body is the text parts without attachments; headers are not part of it. A message without
    plain text gives an empty body.
    """
    # Lenient: real messages break the standards, and what cannot be decoded is replaced.
    message = email.message_from_string(text, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    try:
        subject = str(message["subject"] or "")
    except Exception:
        # On malformed headers the standard library's parser fails with errors of many types.
        subject = ""
    bodies = []
    for part in message.walk():
        if part.get_content_type() != "text/plain" or part.get_filename():
            continue
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            bodies.append(_decoded(payload, part.get_content_charset()))
    topic = _REPLY_MARKS.sub("", subject)
    return tidy("\n\n".join(bodies)), " ".join(topic.split()).lower() or None


def _decoded(payload: bytes, charset: str | None) -> str:
    for name in (charset or "utf-8", "utf-8"):
        try:
            return payload.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    return payload.decode("cp1252", "replace")


# One pass over the escapes, because what one of them yields must not be read as another.
_ROFF_ESCAPE = re.compile(
    r"""\\(?:
      ["\#].*$                                      # comment
    | \*?\((?P<two>..) | \*?\[(?P<long>[^\]]*)\]     # glyph or string by name
    | f(?:\[[^\]]*\]|\(..|.)                       # font
    | s(?:\[[^\]]*\]|[+-]?\d{1,2}|\([+-]?\d\d)    # size
    | [hvwDlLoxkzA]'[^']*'                         # motions and drawings
    | [nmMFYVg*](?:\[[^\]]*\]|\(..|.)              # registers and colours
    | (?P<char>.)
    )""",
    re.VERBOSE,
)
_ROFF_CHARACTERS = {"-": "-", "e": "\\", "E": "\\", "\\": "\\", "'": "'", "`": "`", ".": ".",
                    "0": " ", "~": " ", " ": " ", "t": "\t"}  # fmt: skip
_ROFF_GLYPHS = {
    "aq": "'", "cq": "’", "oq": "‘", "lq": "“", "rq": "”", "dq": '"', "em": "—", "en": "–",
    "bu": "•", "co": "©", "rg": "®", "ti": "~", "ha": "^", "ga": "`", "rs": "\\", "mc": "µ",
    "mu": "×", "<=": "≤", ">=": "≥", "!=": "≠", "->": "→", "<-": "←", "+-": "±", "hy": "-",
    "tm": "™", "ss": "ß", ":u": "ü", ":o": "ö", ":a": "ä", "'e": "é", "`e": "è", "*m": "μ",
    "nu": "ν", "lh": "☜", "sc": "§", "de": "°", "ba": "|", "br": "|", "or": "|", "di": "÷",
}  # fmt: skip
_FONT_MACROS = frozenset(["B", "I", "R", "BR", "RB", "BI", "IB", "IR", "RI", "SM", "SB"])
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|(\S+)')


def man_text(text: str) -> str:
    """Text of a manual page written with the man macros; empty for pages that only point to others.

    Headings stand on their own line, filled paragraphs become one line, examples keep theirs.
    Tables and equations are left out. Pages in the other macro language, mdoc, give nothing.
    """
    if re.search(r"^\.(Dd|Sh)\b", text, re.MULTILINE) or text.startswith(".so "):
        return ""
    blocks: list[str] = []
    filled: list[str] = []

    def flush() -> None:
        if filled:
            blocks.append(" ".join(" ".join(filled).split()))
            filled.clear()

    filling, tag_next = True, False
    for line in _roff_lines(text):
        macro, rest = _macro(line)
        if macro is None or macro in _FONT_MACROS:
            words = _roff(line) if macro is None else _font_line(macro, rest)
            if not words.strip():
                flush()
                blocks.append("")
            elif filling:
                filled.append(words)
                if tag_next:
                    flush()
            else:
                blocks.append(words.rstrip())
            tag_next = False
            continue
        if macro in ("nf", "EX"):
            flush()
            filling = False
        elif macro in ("fi", "EE"):
            filling = True
            blocks.append("")
        elif macro in ("SH", "SS"):
            flush()
            filling = True
            blocks += ["", _roff(" ".join(_arguments(rest)))]
        elif macro in ("PP", "P", "LP", "TP", "IP", "HP", "RS", "RE", "TQ", "sp"):
            flush()
            blocks.append("")
            tag_next = macro in ("TP", "TQ")
            mark = _arguments(rest)
            if macro == "IP" and mark and _roff(mark[0]).strip() not in ("", "•"):
                blocks.append(_roff(mark[0]))
        elif macro == "br":
            flush()
    flush()
    return tidy("\n".join(blocks))


def _roff_lines(text: str) -> Iterator[str]:
    """Lines with continuations joined; comments, tables and equations left out."""
    inside: str | None = None
    pending = ""
    for raw in text.split("\n"):
        line = pending + raw
        pending = ""
        if line.endswith("\\") and not line.endswith("\\\\"):
            pending = line[:-1]
            continue
        start = line[:3]
        if inside:
            inside = None if start == inside else inside
        elif start in (".TS", ".EQ"):
            inside = {".TS": ".TE", ".EQ": ".EN"}[start]
        elif not line.startswith(('.\\"', "'\\\"", '\\"', "...")):
            yield line


def _macro(line: str) -> tuple[str | None, str]:
    """Name and rest of a control line; None for text."""
    match = re.match(r"^[.']\s*([A-Za-z]{1,3})\b(.*)$", line)
    if match:
        return match.group(1), match.group(2)
    return ("", "") if line.startswith(".") else (None, line)


def _arguments(rest: str) -> list[str]:
    rest = re.sub(r'\\".*$', "", rest)
    return [
        bare or quoted.replace('""', '"')
        for quoted, bare in (match.groups(default="") for match in _ARGUMENT.finditer(rest))
    ]


def _font_line(macro: str, rest: str) -> str:
    """Text of a font macro: alternating fonts are set without spaces between the arguments."""
    joint = "" if len(macro) == 2 and macro not in ("SM", "SB") else " "
    return _roff(joint.join(_arguments(rest)))


def _roff(line: str) -> str:
    """Text of a line with roff's escapes resolved."""
    return _ROFF_ESCAPE.sub(_unescaped, line)


def _unescaped(match: re.Match[str]) -> str:
    name = match.group("two") or match.group("long")
    if name:
        return _ROFF_GLYPHS.get(name, "")
    return _ROFF_CHARACTERS.get(match.group("char") or "", "")
