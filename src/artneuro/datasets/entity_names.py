"""What a model reads of an entity: the rules of names of appendix C.1."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from string import Formatter

# Between words, and not at their ends: as in the pronouns of "Isle of Man" or "Fort de France".
_SMALL_WORDS = frozenset(["and", "or", "of", "the", "a", "at", "in", "to", "for", "on"])
# Of New York's points of interest: stay in capitals.
_ABBREVIATIONS = frozenset(
    ["FDNY", "NYCT", "YMCA", "YWCA", "LGA", "JFK", "US", "NYC", "PS", "IS", "NYS", "UN", "NY",
     "EMS", "JCC", "NYU", "CC", "NYPD", "NYPA", "DHS", "NYCHA", "CUNY", "MTA", "LIRR", "RFK",
     "HS", "MS", "JHS", "II", "III", "IV"]
)  # fmt: skip
_PARENTHESES = re.compile(r"\s*\(([^()]*)\)\s*")


def tidy(text: str) -> str:
    """A text without space at its ends and with one space between words."""
    return " ".join(text.split())


def name_key(name: str) -> str:
    """What names are compared by: letters and digits, without case and accents."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    return " ".join(
        re.findall(r"[^\W_]+", "".join(c for c in plain if not unicodedata.combining(c)))
    )


def possessive(owner: str) -> str:
    """`Stephen King's`, `The Beatles'`."""
    return f"{owner}'" if owner.endswith("s") else f"{owner}'s"


def region_first(name: str) -> str:
    """Put what tells a name apart in front of it: `Dallas County, Iowa` as `Iowa's Dallas County`.

    What stands in parentheses counts before what follows the last comma, as in the thesis. A kind
    in parentheses, which begins with a small letter (`Under (restaurant)`), is left out: it is no
    region.
    """
    match = _PARENTHESES.search(name)
    if match:
        rest = tidy(name[: match.start()] + " " + name[match.end() :])
        inside = tidy(match[1])
        if not rest:
            return inside
        return rest if not inside or inside[0].islower() else f"{inside}'s {rest}"
    head, comma, tail = name.rpartition(",")
    head, tail = tidy(head), tidy(tail)
    if not comma or not head or not tail:
        return tidy(name.strip(" ,"))
    return f"{tail}'s {head}"


def fill_template(template: str, fields: Mapping[str, str | None]) -> str | None:
    """What a template says of an entity; None where a field that it needs is unknown.

    `{creator}'s` of a name that ends in s is written with the apostrophe alone, as in the thesis.
    """
    needed = {field for _, field, _, _ in Formatter().parse(template) if field is not None}
    known = {field: fields.get(field) for field in needed}
    if any(not value for value in known.values()):
        return None
    text = template
    for field, value in known.items():
        assert value is not None
        text = text.replace(f"{{{field}}}'s", possessive(value).replace("{", "").replace("}", ""))
    return tidy(text.format(**known))


def without_capitals(name: str) -> str:
    """A name in capitals with capital initials: `MUSEUM OF THE CITY` as `Museum of the City`.

    A name that has small letters already stays as it is.
    """
    if any(c.islower() for c in name):
        return name
    words = name.split()
    written = []
    for number, word in enumerate(words):
        if word.strip(".,()") in _ABBREVIATIONS:
            written.append(word)
        elif number and word.lower() in _SMALL_WORDS:
            written.append(word.lower())
        else:
            # Each part of a word of two with a hyphen or slash; `ST. MARY'S` keeps a small s.
            written.append(re.sub(r"[^\W\d_][^-/(]*", lambda m: m[0].capitalize(), word))
    return " ".join(written)


def title_of_work(title: str) -> str:
    """The title of a work without quotation marks around it and full stops behind it."""
    text = tidy(title)
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    return text.strip().rstrip(".").strip()


def contains_words(text: str, words: str) -> bool:
    """Whether a text has a name in it as whole words, without regard to case and accents."""
    key = name_key(words)
    return bool(key) and f" {key} " in f" {name_key(text)} "
