"""Tables of entities: names with a place or a date, filtered, grouped and split (section 4.2.1)."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import polars as pl
from scipy.spatial import cKDTree

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import ConfigError, DataError
from artneuro.core.sources import read_source
from artneuro.datasets.entities_config import (
    AirportsPart,
    AnyEntityPart,
    CitiesPart,
    CountiesPart,
    DbpediaPart,
    EntitiesConfig,
    FiguresPart,
    FilmsPart,
    HeadlinesPart,
    NycPart,
    PortsPart,
    PublishedPart,
    SimplemapsPart,
    SpeechesPart,
    SummaryPersonsPart,
    WordnetPersonsPart,
    ZipcodesPart,
)
from artneuro.datasets.entity_csv import local_copy
from artneuro.datasets.entity_filters import blocks_of, filtered
from artneuro.datasets.entity_groups import keys_of, with_split
from artneuro.datasets.entity_leakage import leakage_of
from artneuro.datasets.entity_packages import (
    US,
    read_airports,
    read_cities,
    read_counties,
    read_ports,
    read_zipcodes,
)
from artneuro.datasets.entity_persons import read_summary_persons, read_wordnet_persons
from artneuro.datasets.entity_published import read_published
from artneuro.datasets.entity_queries import read_query
from artneuro.datasets.entity_raw import (
    read_figures,
    read_headlines,
    read_nyc_points,
    read_simplemaps,
)
from artneuro.datasets.entity_table import ENTITY_SCHEMA
from artneuro.datasets.entity_works import read_films, read_speeches
from artneuro.datasets.seeding import hash_of

log = logging.getLogger(__name__)

FROM_FOLDERS: dict[type, Callable[..., pl.DataFrame]] = {
    CitiesPart: read_cities,
    AirportsPart: read_airports,
    PortsPart: read_ports,
    ZipcodesPart: read_zipcodes,
    FilmsPart: read_films,
    WordnetPersonsPart: read_wordnet_persons,
    SummaryPersonsPart: read_summary_persons,
    SpeechesPart: read_speeches,
}
FROM_FILES: dict[type, Callable[..., pl.DataFrame]] = {
    PublishedPart: read_published,
    SimplemapsPart: read_simplemaps,
    NycPart: read_nyc_points,
    FiguresPart: read_figures,
    HeadlinesPart: read_headlines,
}


def build_entities(
    config: EntitiesConfig,
    sources: Mapping[str, str | Path],
    queries: Mapping[str, str | Path],
    entities: str | Path,
    leakage: str | Path,
) -> pl.DataFrame:
    """Build a table of entities and the report on what it gives away.

    Parameters
    ----------
    config : EntitiesConfig
        The table. What its `prompts` say does not matter here.
    sources : mapping of str to path
        The fetched folder of every source that it names.
    queries : mapping of str to path
        The table of every query of DBpedia that it names, see `query_dbpedia`.
    entities : path
        Table to write, one row an entity: see docs/architecture.md.
    leakage : path
        Report to write, see `leakage_of`.

    Raises
    ------
    ConfigError
        If a source or query was not handed over.
    SourceError
        If a source is not to be had.
    DataError
        If a file is not what its reader expects, a part has no entity after its filters, an entity
        has no target, or the table cannot be split.
    """
    parts = []
    for number, part in enumerate(config.parts):
        where = f"{part.reader} of {_origin(part)} (part {number + 1})"
        found = filtered(part, _read(part, sources, queries), config.split.seed, where)
        _check_targets(config, found, where)
        parts.append(found)
    frame = _together(config, parts)
    if config.nearest_state:
        frame = with_nearest_state(frame)
    frame = _drawn(config, frame)
    frame = frame.with_columns(
        pl.Series("block", blocks_of(frame, config.block_column), dtype=pl.String)
    )
    frame = with_split(frame, config.split, str(entities))
    frame = frame.sort(
        "entity_type", "name", "time", "latitude", "longitude", "creator", "title", "page",
        nulls_last=True, maintain_order=True,
    )  # fmt: skip
    report = leakage_of(frame)
    table = frame.with_row_index("entity").select(
        pl.col(name).cast(kind) for name, kind in ENTITY_SCHEMA.items()
    )
    _log_counts(table, report)
    write_table(report, leakage)
    write_table(table, entities)
    return table


def _origin(part: AnyEntityPart) -> str:
    query = part.query if isinstance(part, DbpediaPart) else ""
    return part.source or part.path or query


def _read(
    part: AnyEntityPart, sources: Mapping[str, str | Path], queries: Mapping[str, str | Path]
) -> pl.DataFrame:
    if isinstance(part, DbpediaPart):
        if part.query not in queries:
            raise ConfigError(
                f"the table of the query {part.query!r} was not made", f"known: {sorted(queries)}"
            )
        return read_query(read_table(queries[part.query]), str(queries[part.query]))
    if part.source is not None and type(part) in FROM_FILES:
        return FROM_FILES[type(part)](part, _only_file(_folder(part.source, sources)))
    if isinstance(part, CountiesPart):
        names = _folder(part.names_source, sources)
        return read_counties(part, _part_folder(part, sources), names)
    if type(part) in FROM_FOLDERS:
        return FROM_FOLDERS[type(part)](part, _part_folder(part, sources))
    if isinstance(part, HeadlinesPart) and not part.is_remote:
        return read_headlines(part)
    with tempfile.TemporaryDirectory() as scratch:
        return FROM_FILES[type(part)](part, local_copy(part, Path(scratch)))


def _part_folder(part: AnyEntityPart, sources: Mapping[str, str | Path]) -> Path:
    return Path(part.path or "") if part.source is None else _folder(part.source, sources)


def _folder(name: str, sources: Mapping[str, str | Path]) -> Path:
    if name not in sources:
        raise ConfigError(
            f"source {name!r} was not fetched",
            f"known: {sorted(sources)}",
            "add the source to resources/sources.yaml, or correct the name",
        )
    info = read_source(sources[name])
    if not info.available:
        raise DataError(
            f"source {name} is not to be had: {info.reason}",
            str(sources[name]),
            "leave out the parts that read it",
        )
    return Path(sources[name])


def _only_file(folder: Path) -> Path:
    """The table of a source that is one: its only CSV file."""
    found = sorted(folder.rglob("*.csv"))
    if len(found) != 1:
        raise DataError(
            f"the source has {len(found)} CSV files instead of one", str(folder), "correct `keep`"
        )
    return found[0]


def _check_targets(config: EntitiesConfig, found: pl.DataFrame, where: str) -> None:
    columns = ["latitude", "longitude"] if config.target == "space" else ["time"]
    for column in columns:
        lacking = found.filter(pl.col(column).is_null())
        if lacking.height:
            raise DataError(
                f"{lacking.height} of {found.height} entities have no {column}, such as "
                f"{lacking['name'][0]!r}",
                where,
                f"a table of {config.target} needs it of every entity",
            )


def _together(config: EntitiesConfig, parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The parts as one table: of one kind of target, without what an earlier part has already."""
    other = ["time"] if config.target == "space" else ["latitude", "longitude"]
    kept: list[pl.DataFrame] = []
    taken: set[str] = set()
    for part in parts:
        keys = keys_of(part, config.one_per)
        # Within a part, filters decide.
        new = part.filter(
            pl.Series([not taken.intersection(row) for row in keys], dtype=pl.Boolean)
        )
        taken.update(key for row in keys for key in row)
        if new.height < part.height:
            log.info("%d entities are of earlier parts already", part.height - new.height)
        kept.append(new)
    return pl.concat(kept).with_columns(pl.lit(None, dtype=pl.Float64).alias(c) for c in other)


def _drawn(config: EntitiesConfig, frame: pl.DataFrame) -> pl.DataFrame:
    if config.max_entities is None or frame.height <= config.max_entities:
        return frame
    identity = ("entity_type", "name", "latitude", "longitude", "time")
    hashes = [hash_of(config.split.seed, *map(str, row)) for row in frame.select(identity).rows()]
    order = sorted(range(frame.height), key=hashes.__getitem__)
    return frame[sorted(order[: config.max_entities])]


def with_nearest_state(frame: pl.DataFrame) -> pl.DataFrame:
    """Give US places without a state that of the nearest place with one, on the sphere."""
    in_us = pl.col("country") == US
    known = frame.filter(in_us & pl.col("state").is_not_null())
    is_lacking = frame.select((in_us & pl.col("state").is_null()).fill_null(False)).to_series()
    if known.is_empty() or not is_lacking.any():
        return frame
    _, nearest = cKDTree(_vectors(known)).query(_vectors(frame.filter(is_lacking)))
    states = frame["state"].to_list()
    for row, other in zip(is_lacking.arg_true().to_list(), nearest.tolist(), strict=True):
        states[row] = known["state"][other]
    return frame.with_columns(pl.Series("state", states, dtype=pl.String))


def _vectors(frame: pl.DataFrame) -> np.ndarray:
    """Points on the unit sphere, (n, 3): nearer in space is nearer along the sphere."""
    phi = np.radians(frame["latitude"].to_numpy())
    theta = np.radians(frame["longitude"].to_numpy())
    return np.column_stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)])


def _log_counts(table: pl.DataFrame, report: pl.DataFrame) -> None:
    counts = table.group_by("entity_type", "split", maintain_order=True).len()
    for entity_type, split, count in counts.iter_rows():
        log.info("%s, %s: %d entities", entity_type, split, count)
    for row in report.filter(pl.col("n_test") > 0).iter_rows(named=True):
        log.info("%s: %d test entities (%.1f %%)", row["check"], row["n_test"], 100 * row["share"])
