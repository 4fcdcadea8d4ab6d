"""Persons with the year of their death, of WordNet and of summaries of Wikipedia."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

import polars as pl

from artneuro.datasets.entities_config import SummaryPersonsPart, WordnetPersonsPart
from artneuro.datasets.entity_names import name_key
from artneuro.datasets.entity_packages import file_in, read_json_file
from artneuro.datasets.entity_table import found_frame
from artneuro.datasets.people_table import Person
from artneuro.datasets.wordnet import read_wordnet

Entity = dict[str, object]
OTHER = "other"

# Kinds of persons and the nouns that say so; of several kinds the first one counts.
OCCUPATIONS = {
    "ruler": "emperor empress monarch sovereign pharaoh sultan shah caliph tsar czar king queen "
    "prince princess duke ruler regent khan shogun pope",
    "politician": "politician president statesman senator chancellor diplomat minister lawyer "
    "jurist judge revolutionary activist reformer suffragist governor dictator secretary leader",
    "soldier": "general admiral soldier commander marshal military_officer officer warrior",
    "scientist": "scientist physicist chemist biologist mathematician astronomer physician "
    "physiologist inventor engineer geologist botanist naturalist anatomist surgeon doctor "
    "geneticist psychiatrist psychologist anthropologist economist sociologist nurse",
    "philosopher": "philosopher historian theologian scholar linguist educator philologist",
    "musician": "composer musician singer pianist violinist conductor guitarist songwriter "
    "trumpeter saxophonist rapper",
    "artist": "painter sculptor artist architect photographer engraver designer illustrator",
    "performer": "actor actress filmmaker director dancer comedian choreographer entertainer "
    "magician screenwriter",
    "writer": "writer poet novelist playwright dramatist author essayist journalist critic "
    "biographer publisher",
    "clergyman": "clergyman saint bishop cardinal monk priest missionary prophet rabbi nun "
    "religious religious_person mystic reformist spiritual_leader",
    "explorer": "explorer navigator adventurer aviator astronaut cosmonaut pioneer",
    "athlete": "athlete boxer footballer swimmer player runner cricketer",
    "businessman": "businessman industrialist entrepreneur financier banker businessperson "
    "philanthropist capitalist",
}
_KIND_OF = {word: kind for kind, words in OCCUPATIONS.items() for word in words.split()}
# "(1898-1976)", "(c. 84 - c. 54 BC)", "(384-322 BC)", "(63 BC - AD 14)", "(died 1274)"
_DIED = re.compile(
    r"\([^()]*?(?:[\u2013\u2014-]\s*|\bdied )(?:c\.\s*|AD\s*|ca\.\s*)?(\d{1,4})(?:/\d+)?"
    r"(\s*BCE?)?(?:\s*(?:AD|CE))?\s*\)"
)
_NUMERAL = re.compile(r"[ivxl]+|[js]r|\d\w*")


def read_wordnet_persons(part: WordnetPersonsPart, folder: Path) -> pl.DataFrame:
    """Read the persons of WordNet whose gloss says when they died, each by the longest name."""
    path = file_in(folder, "data.noun")
    names: dict[str, list[Person]] = defaultdict(list)
    for person in read_wordnet(path):
        if person.death_year is not None:
            names[person.entity].append(person)

    def entities() -> Iterator[Entity]:
        for found in names.values():
            person = max(found, key=lambda one: (len(one.name.split()), len(one.name)))
            assert person.death_year is not None
            yield _person(person.name, kind_of(person.occupation), person.death_year)

    return found_frame(entities(), str(path))


def read_summary_persons(part: SummaryPersonsPart, folder: Path) -> pl.DataFrame:
    """Read the persons among Wikipedia's vital articles whose description says when they died."""
    path = file_in(folder, "summaries_en-us.json")

    def entities() -> Iterator[Entity]:
        for article in read_json_file(path).values():
            description = article.get("description") or ""
            died = death_year(description)
            if article.get("topic") != "People" or died is None:
                continue
            # "Robert Baden-Powell, 1st Baron Baden-Powell", "Prince (musician)"
            name = re.sub(r"\s*\(.*?\)", "", article["title"]).split(",")[0]
            yield _person(name, kind_of(description.lower().split("(")[0].split()), died) | {
                "page": article["title"],
                "popularity": float(len(article.get("extract") or "")),
            }

    return found_frame(entities(), str(path))


def _person(name: str, kind: str, died: int) -> Entity:
    words = [word for word in name_key(name).split() if not _NUMERAL.fullmatch(word)]
    return {
        "name": name,
        "entity_type": kind,
        "time": float(died),
        # The same person goes by other first names elsewhere.
        "complex": f"{words[-1]} {died}" if words else None,
    }


def death_year(description: str) -> int | None:
    """The year of death at the end of a description such as `French physicist (1892-1987)`."""
    match = _DIED.search(description)
    if match is None:
        return None
    return -int(match[1]) if match[2] else int(match[1])


def kind_of(words: Collection[str]) -> str:
    """The kind of person that words say: the first of `OCCUPATIONS` that they name, or other."""
    kinds = {_KIND_OF.get(word.strip(",.;").lower()) for word in words}
    return next((kind for kind in OCCUPATIONS if kind in kinds), OTHER)
