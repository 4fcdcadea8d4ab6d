"""Config of facts about people: where the people are from, and which facts are labelled."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, model_validator

from artneuro.core.config import Name, Section

PeopleProperty = Literal[
    "people_sex_or_gender",
    "people_is_alive",
    "people_occupation",
    "people_athlete",
    "people_political_party",
]

# Features of table A.3, each with the values that make it: Wikidata's items and WordNet's nouns.
_ATHLETES = {
    "is_american_football_player": ["Q19204627"],
    "is_association_football_player": ["Q937857", "soccer_player"],
    "is_baseball_player": ["Q10871364", "ballplayer"],
    "is_basketball_player": ["Q3665646", "basketball_player"],
    "is_ice_hockey_player": ["Q11774891", "ice-hockey_player"],
}
CLASSES: dict[PeopleProperty, dict[str, list[str]]] = {
    "people_sex_or_gender": {"is_female": ["Q6581072"], "is_male": ["Q6581097"]},
    "people_is_alive": {"is_alive": ["alive"], "is_dead": ["dead"]},
    "people_occupation": {
        "is_actor": ["Q33999", "Q10800557", "Q10798782", "Q2405480", "actor"],
        "is_athlete": ["Q2066131", *(q for v in _ATHLETES.values() for q in v), "athlete"],
        "is_journalist": ["Q1930187", "journalist"],
        "is_politician": ["Q82955", "politician", "President_of_the_United_States"],
        "is_researcher": ["Q1650915", "Q901", "scientist"],
        "is_singer": ["Q177220", "singer"],
    },
    "people_athlete": _ATHLETES,
    "people_political_party": {
        "is_democratic_party": ["Q29552"],
        "is_republican_party": ["Q29468"],
    },
}


class WikidataPeople(Section):
    """People of a dump of Wikidata."""

    reader: Literal["wikidata"] = Field(description="A JSON dump of Wikidata, read as a stream.")
    path: str = Field(
        description="The dump (.json, .json.gz or .json.bz2), relative to the folder that "
        "snakemake runs in."
    )
    language: str = Field("en", description="Language of the names.")


class WordNetPeople(Section):
    """People of WordNet, about 2,000."""

    reader: Literal["wordnet"] = Field(description="WordNet's database files.")
    source: Name = Field(description="A source of resources/sources.yaml with dict/data.noun.")


PeopleSource = Annotated[WikidataPeople | WordNetPeople, Field(discriminator="reader")]


def people_source(values: dict[str, Any]) -> PeopleSource:
    """Return the section of the config, from its plain values."""
    return TypeAdapter(PeopleSource).validate_python(values)


class People(Section):
    """A fact about the person that a sequence ends with, one binary feature a class."""

    skip_tokens: ClassVar[int] = 0
    kind: PeopleProperty = Field(description="Which fact about people.")
    people: Name = Field(description="The table of people (`people:`) whose names are searched.")
    classes: dict[Name, list[str]] = Field(
        {},
        description="The classes to tell apart, each with the values that belong to it (items of "
        "Wikidata, nouns of WordNet). Empty: those of table A.3.",
    )
    missing_classes: Literal["error", "leave_out"] = Field(
        "error",
        description="What to do about a class with fewer than `min_per_class` sequences: fail, or "
        "leave it out and say so in the log.",
    )
    max_sequences: int = Field(
        6000, ge=4, description="Sequences at most, equally many of each class."
    )
    min_per_class: int = Field(10, ge=4, description="A class with fewer sequences is too small.")
    max_per_name: int = Field(
        3, ge=1, description="Sequences that one person may give; 1: one example a name."
    )
    min_occurrences: int = Field(
        2, ge=1, description="People named fewer times in the corpus are left out."
    )
    dead_before: int | None = Field(
        1981,
        description="For people_is_alive: those who died in this year or later are left out, "
        "because texts may be older than that. Empty: nobody is.",
    )

    @property
    def class_values(self) -> dict[str, list[str]]:
        """The values of each class."""
        return self.classes or CLASSES[self.kind]

    @model_validator(mode="after")
    def _disjoint(self) -> People:
        values = [value for found in self.class_values.values() for value in found]
        if len(set(values)) < len(values):
            raise ValueError("a value belongs to two of the classes")
        if len(self.class_values) < 2:
            raise ValueError("telling apart takes two classes")
        return self
