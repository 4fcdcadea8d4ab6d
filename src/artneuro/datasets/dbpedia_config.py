"""Config of tables built from DBpedia: which classes, which properties, from which endpoint."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from artneuro.core.config import Name, Section
from artneuro.core.web import Address
from artneuro.datasets.pageviews_config import DumpedPageviews, Pageviews
from artneuro.datasets.polite_config import PoliteConfig

# Local names of DBpedia's ontology and resources; they stand in queries, so no other characters.
ClassName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]*$")]
PropertyName = Annotated[str, StringConstraints(pattern=r"^[a-z][A-Za-z0-9]*$")]
ResourceName = Annotated[str, StringConstraints(pattern=r"^[\w.,'()&-]+$")]


class DbpediaQuery(Section):
    """Things of one type."""

    classes: list[ClassName] = Field(
        min_length=1, description="Classes of DBpedia's ontology; things of any of them are read."
    )
    subtypes: list[ClassName] = Field(
        [],
        description="Classes that `entity_subtype` names: the first of them that a thing has; the "
        "first of `classes` where it has none. For places.",
    )
    country: ResourceName | None = Field(
        None, description="Only things of this country, as United_States."
    )
    creators: list[PropertyName] = Field(
        [], description="Properties that lead to who made it. For works."
    )
    dates: list[PropertyName] = Field(
        [], description="Properties with the day that it came out. For works."
    )
    lengths: list[PropertyName] = Field(
        [], description="Properties with its length (pages, seconds). For works."
    )


# Thesis, C.1. The subtypes are those of the published table, the more special ones first.
PLACES = {
    "populated_place": DbpediaQuery(
        classes=["PopulatedPlace"],
        subtypes=["Island", "GovernmentalAdministrativeRegion", "Region"],
    ),
    "natural_place": DbpediaQuery(
        classes=["NaturalPlace"],
        subtypes=[
            "Volcano", "MountainPass", "MountainRange", "Mountain", "Cave", "Crater", "River",
            "Lake", "Bay", "Sea", "Stream", "BodyOfWater",
        ],
    ),
    "structure": DbpediaQuery(
        classes=["ArchitecturalStructure"],
        subtypes=[
            "RailwayStation", "Station", "Airport", "Bridge", "Dam", "PowerStation", "Stadium",
            "Theatre", "Cinema", "Venue", "Castle", "Museum", "Hotel", "Restaurant", "Prison",
            "ShoppingMall", "ReligiousBuilding", "HistoricBuilding", "Monument", "SkiArea",
            "AmusementParkAttraction", "MilitaryStructure", "RailwayLine", "RoadJunction", "Road",
            "Building",
        ],
    ),
}  # fmt: skip
COLLEGES = {
    "college": DbpediaQuery(classes=["University", "College"], country="United_States"),
}
WORKS = {
    "song": DbpediaQuery(
        classes=["Song", "Single"], creators=["artist", "musicalArtist"], dates=["releaseDate"]
    ),
    "movie": DbpediaQuery(
        classes=["Film"], creators=["director"], dates=["releaseDate"], lengths=["runtime"]
    ),
    "book": DbpediaQuery(
        classes=["Book"], creators=["author"], dates=["publicationDate", "releaseDate"],
        lengths=["numberOfPages"],
    ),
}  # fmt: skip


class DbpediaConfig(Section):
    """A table of things that DBpedia knows."""

    table: Literal["places", "works"] = Field(
        description="places: with coordinates. works: with a creator and a date."
    )
    queries: dict[Name, DbpediaQuery] = Field(
        {},
        description="What is read, by the `entity_type` that it gets. A page of Wikipedia that "
        "several queries find belongs to the first. Empty: the populated places, natural places "
        "and structures, or the songs, movies and books of the thesis.",
    )
    endpoint: Address = Field(
        "https://dbpedia.org/sparql",
        pattern=r"^https?://[^\s]+$",
        description="SPARQL endpoint, of DBpedia or of a copy of it.",
    )
    graph: str | None = Field(
        "http://dbpedia.org",
        pattern=r"^[^\s<>\"{}|\\^`]+$",
        description="IRI of the graph in it. Empty: its default graph.",
    )
    page_size: int = Field(
        500,
        ge=2,
        le=10000,
        description="Things asked for at a time. Each has about ten rows, and DBpedia answers "
        "10,000 rows at most.",
    )
    compare_counts: bool = Field(
        True,
        description="Whether the endpoint is asked how many things there are, to compare. Only "
        "for one that cannot count so many in the time it gives itself: false.",
    )
    max_missing: float = Field(
        0.001,
        ge=0,
        le=1,
        description="Share of the counted things that may be missing: a live endpoint changes "
        "while it is read.",
    )
    http: PoliteConfig = Field(PoliteConfig(), description="How the endpoint is asked.")
    pageviews: Pageviews | None = Field(
        None, description="Where page views are counted. Empty: nothing is left out for them."
    )

    @property
    def all_queries(self) -> dict[str, DbpediaQuery]:
        """The queries, by entity type."""
        return self.queries or (PLACES if self.table == "places" else WORKS)

    def local_paths(self) -> list[str]:
        """Files of page views, or shell patterns of them, that the table is made from."""
        return self.pageviews.paths if isinstance(self.pageviews, DumpedPageviews) else []

    @model_validator(mode="after")
    def _works_are_dated(self) -> DbpediaConfig:
        for name, query in self.queries.items():
            if self.table == "works" and not (query.creators and query.dates):
                raise ValueError(f"queries.{name}: works need `creators` and `dates`")
            if self.table == "places" and (query.creators or query.dates or query.lengths):
                raise ValueError(f"queries.{name}: places have no creators, dates or lengths")
        return self
