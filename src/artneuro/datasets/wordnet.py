"""People from WordNet: instances of kinds of persons, with their years in the gloss.

The format is that of wndb(5WN): a synset a line, its pointers with byte offsets of other synsets.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from artneuro.core.errors import DataError
from artneuro.datasets.people_table import Person

log = logging.getLogger(__name__)

PERSON_FILE = "18"  # lexicographer file noun.person
PERSON = "person"
# Names that begin so tell the occupation themselves.
TITLES = frozenset(
    ["president", "king", "queen", "emperor", "empress", "prince", "princess", "duke", "earl",
     "lord", "lady", "sir", "dame", "baron", "count", "pope", "saint", "st.", "bishop",
     "cardinal", "general", "senator", "mahatma", "dr.", "lama"]
)  # fmt: skip
HYPERNYM, INSTANCE_HYPERNYM = "@", "@i"
# "(1770-1827)", "(384-322 BC)", "(?-424 BC)", "(63 BC - AD 14)", "(died in 1542)"
_DIED = re.compile(
    r"\([^()]*?(?:(?:\d\??(?: BC)?|\?)\s?-\s?(?:AD |circa )?|\bdied (?:in )?)"
    r"(\d{1,4})\??( BC)?\s*\)"
)
# "(born in 1934)", "(born in Germany in 1925)", "(1928-)"
_BORN = re.compile(r"\((?:(?:[^()]*\b)?born (?:[^()]*\b)?\d{4}|[^()]*\b\d{4}-)\s*\)")


@dataclass(frozen=True)
class Synset:
    """A synonym set of nouns.

    Attributes
    ----------
    words : tuple of str
        Its words, with underscores for spaces.
    lexicographer_file : str
        Two digits that say what it is about.
    pointers : tuple of (str, str)
        Kind and offset of related synsets.
    gloss : str
        Definition and examples.
    """

    words: tuple[str, ...]
    lexicographer_file: str
    pointers: tuple[tuple[str, str], ...]
    gloss: str


def read_wordnet(data_noun: str | Path) -> Iterator[Person]:
    """Read the people of WordNet, each under all of their names that do not begin with a title.

    A person's occupations are all kinds of persons that WordNet counts them among, directly or not.
    Somebody with a year of death in the gloss is dead, somebody with one of birth alone is alive
    (when WordNet was written, about 2006).

    Parameters
    ----------
    data_noun : path
        The database file data.noun.

    Raises
    ------
    DataError
        If the file is missing or not in the format.
    """
    synsets = read_synsets(data_noun)
    above: dict[str, frozenset[str]] = {}

    def ancestors(offset: str) -> frozenset[str]:
        """The words of a synset and of all above it."""
        if offset not in above:
            synset = synsets[offset]
            above[offset] = frozenset(synset.words).union(
                *(ancestors(to) for kind, to in synset.pointers if kind == HYPERNYM)
            )
        return above[offset]

    for offset, synset in synsets.items():
        kinds = [to for kind, to in synset.pointers if kind == INSTANCE_HYPERNYM]
        if synset.lexicographer_file != PERSON_FILE or not kinds:
            continue
        occupations = frozenset().union(*(ancestors(to) for to in kinds))
        if PERSON not in occupations:  # gods and characters of fiction
            continue
        is_dead, year = death(synset.gloss)
        for word in synset.words:
            if word.split("_")[0].lower() in TITLES:
                continue
            yield Person(
                name=word.replace("_", " "),
                entity=f"{synset.words[0]}.{offset}",
                n_properties=len(synset.pointers),
                sex_or_gender=[],
                occupation=sorted(occupations),
                political_party=[],
                is_dead=is_dead,
                death_year=year,
            )


def death(gloss: str) -> tuple[bool | None, int | None]:
    """Whether the person of a gloss is dead and the year, as far as it says; negative: BC."""
    died = _DIED.search(gloss)
    if died:
        return True, -int(died[1]) if died[2] else int(died[1])
    return (False, None) if _BORN.search(gloss) else (None, None)


def read_synsets(data_noun: str | Path) -> dict[str, Synset]:
    """Read a database file of nouns: synsets by their offset.

    Raises
    ------
    DataError
        If the file is missing or not in the format.
    """
    synsets: dict[str, Synset] = {}
    number = 0  # of the line, for messages
    try:
        with Path(data_noun).open(encoding="utf-8") as stream:
            for line in stream:
                number += 1
                if line.startswith("  "):  # the licence
                    continue
                data, _, gloss = line.partition("|")
                fields = data.split()
                n_words = int(fields[3], 16)
                words = fields[4 : 4 + 2 * n_words : 2]
                first = 4 + 2 * n_words
                n_pointers = int(fields[first])
                pointers = [
                    (fields[i], fields[i + 1])
                    for i in range(first + 1, first + 1 + 4 * n_pointers, 4)
                ]
                synsets[fields[0]] = Synset(tuple(words), fields[1], tuple(pointers), gloss.strip())
    except OSError as error:
        raise DataError(
            f"cannot read WordNet ({error})", str(data_noun), "fetch the source again"
        ) from error
    except (IndexError, ValueError) as error:
        raise DataError(
            "a line is not in WordNet's format", f"{data_noun}, line {number}", "fetch it again"
        ) from error
    return synsets
