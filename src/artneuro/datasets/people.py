"""Facts about people: windows that end with a name, labelled on the surname (A.2.2)."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from artneuro.core.errors import ConfigError, DataError
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.names import NameSearch
from artneuro.datasets.people_config import People, PeopleSource, WordNetPeople
from artneuro.datasets.people_table import write_people
from artneuro.datasets.wikidata import read_wikidata
from artneuro.datasets.windows import Target, Window, WindowSource, in_random_order
from artneuro.datasets.wordnet import read_wordnet

if TYPE_CHECKING:
    from artneuro.datasets.tokenizer import TextTokenizer
    from artneuro.datasets.tokens import TokenDataset

log = logging.getLogger(__name__)

COLUMN = {
    "people_sex_or_gender": "sex_or_gender",
    "people_occupation": "occupation",
    "people_athlete": "occupation",
    "people_political_party": "political_party",
}
# What may follow a surname in a name.
SUFFIXES = frozenset(["jr", "sr", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii"])


def read_people(
    config: PeopleSource, sources: Mapping[str, str | Path], output: str | Path
) -> pl.DataFrame:
    """Read people with facts about them and write the table.

    Parameters
    ----------
    config : WikidataPeople or WordNetPeople
        Where they are from.
    sources : mapping of str to path
        The fetched folder of the source that the config names.
    output : path
        Table to write, see `write_people`.
    """
    if not isinstance(config, WordNetPeople):
        return write_people(read_wikidata(config), output)
    folder = Path(sources[config.source])
    found = sorted(folder.rglob("data.noun"))
    if not found:
        raise DataError("the source has no data.noun", str(folder), "correct `source`")
    return write_people(read_wordnet(found[0]), output)


def classes_of(config: People, people: pl.DataFrame) -> pl.DataFrame:
    """People whose values belong to exactly one of the classes.

    Parameters
    ----------
    config : People
        The classes.
    people : polars.DataFrame
        The table of people.

    Returns
    -------
    polars.DataFrame
        Columns `name`, `person` (the first of a person's names) and `class`, sorted by name.
    """
    if config.kind == "people_is_alive":
        known = people.filter(pl.col("is_dead").is_not_null())
        if config.dead_before is not None:
            early = pl.col("death_year") < config.dead_before
            known = known.filter(~pl.col("is_dead") | early.fill_null(False))
        state = pl.when(pl.col("is_dead")).then(pl.lit("dead")).otherwise(pl.lit("alive"))
        values = known.with_columns(state.alias("value"))
    else:
        values = people.explode(COLUMN[config.kind]).rename({COLUMN[config.kind]: "value"})
    class_of = {value: name for name, found in config.class_values.items() for value in found}
    return (
        values.filter(pl.col("value").is_in(list(class_of)))
        .with_columns(pl.col("value").replace_strict(class_of).alias("class"))
        .group_by("name", "entity")
        .agg(pl.col("class").unique())
        .filter(pl.col("class").list.len() == 1)
        .with_columns(
            pl.col("class").list.first(), pl.col("name").min().over("entity").alias("person")
        )
        .select("name", "person", "class")
        .sort("name")
    )


def surname_start(name: str) -> int:
    """The character at which the surname starts: the last word, or the one before a Jr. or II."""
    words = name.split(" ")
    last = len(words) - 1
    while last > 0 and words[last].strip(".,").lower() in SUFFIXES:
        last -= 1
    return len(name) - len(" ".join(words[last:]))


def choose_people_windows(
    config: DatasetConfig,
    names: Sequence[str],
    texts: Mapping[str, str],
    people: pl.DataFrame | None,
    source: WindowSource,
) -> list[Window]:
    """Take windows that end with the names of people, equally many of each class.

    Each person gives one window before anyone gives a second, and at most `max_per_name`.

    Parameters
    ----------
    config : DatasetConfig
        Its `collection` is of people.
    names : sequence of str
        The documents that windows may be from.
    texts : mapping of str to str
        The documents.
    people : polars.DataFrame
        The table of people.
    source : WindowSource
        Where windows are taken from.

    Raises
    ------
    ConfigError
        If there is no table of people.
    DataError
        If too few people of a class are found.
    """
    collection = config.collection
    assert isinstance(collection, People)
    if people is None:
        raise ConfigError(
            f"the collection {collection.kind} needs a table of people",
            fix="name one of the config's `people` in the collection",
        )
    known = classes_of(collection, people)
    places = _places(known, names, texts, collection.min_occurrences)
    most = collection.max_sequences // len(collection.class_values)
    taken: dict[str, list[Window]] = {}
    # The rarest class first: a document gives few windows, and others have more to choose from.
    for name in sorted(collection.class_values, key=lambda name: len(places[name])):
        ordered = _by_person(places[name], collection.max_per_name, config.seed)
        taken[name] = source.take(ordered, most)
    small = {name: found for name, found in taken.items() if len(found) < collection.min_per_class}
    said = ", ".join(f"{name}: {len(found)}" for name, found in sorted(small.items()))
    if len(taken) - len(small) < 2 or (small and collection.missing_classes == "error"):
        raise DataError(
            f"too few windows with people of a class, {collection.min_per_class} needed: {said}",
            fix="read more text or people, lower min_occurrences, min_tokens or min_per_class, "
            "raise max_per_name, or leave the class out",
        )
    if small:
        log.warning("left out classes with too few windows: %s", said)
    kept = {name: found for name, found in taken.items() if name not in small}
    n = min(len(found) for found in kept.values())
    log.info("%d windows of each of %d classes", n, len(kept))
    return [window for found in kept.values() for window in found[:n]]


def _places(
    known: pl.DataFrame, names: Sequence[str], texts: Mapping[str, str], min_occurrences: int
) -> dict[str, list[Target]]:
    """Where the texts name people of each class, without those named too rarely."""
    who = known["name"].to_list()
    rows = list(known.select("name", "person", "class").iter_rows())
    search = NameSearch(who)
    found: list[Target] = []
    for document in names:
        for one in search.find(texts[document]):
            name, person, kind = rows[one.name]
            start = one.start + surname_start(name)
            found.append(Target(document, start, one.stop, person, kind))
    occurrences = Counter(target.name for target in found)
    places: dict[str, list[Target]] = defaultdict(list)
    for target in found:
        if occurrences[target.name] >= min_occurrences:
            places[target.kind].append(target)
    log.info(
        "%d names searched: %d people found in %d places, %d of them named often enough",
        len(who),
        len(occurrences),
        len(found),
        sum(count >= min_occurrences for count in occurrences.values()),
    )
    return places


def _by_person(targets: Sequence[Target], most: int, seed: int) -> list[Target]:
    """At most so many targets of each person, one of each before a second of any."""
    turns: Counter[str] = Counter()
    ordered = []
    for place, target in enumerate(in_random_order(targets, seed)):
        if turns[target.name] < most:
            ordered.append((turns[target.name], place, target))
            turns[target.name] += 1
    return [target for *_, target in sorted(ordered, key=lambda item: item[:2])]


def joint_groups(groups: Sequence[str], people: Sequence[str]) -> list[str]:
    """Groups that keep both the documents' groups and people whole.

    Two rows are in one group if they share a group or a person, or a chain of such rows joins them.

    Parameters
    ----------
    groups, people : (n,) sequence of str
        The group and the person of each row.

    Returns
    -------
    (n,) list of str
        The first person, by the alphabet, of each row's joint group.
    """
    n = len(groups)
    group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
    names, person = np.unique(np.asarray(people, dtype=str), return_inverse=True)
    size = len(names) + int(group.max(initial=-1)) + 1
    edges = coo_array((np.ones(n), (person, len(names) + group)), shape=(size, size))
    component = connected_components(edges, directed=False)[1]
    # Names are sorted, so the first one that a component has is its name.
    first = {int(c): str(name) for c, name in reversed(list(zip(component, names, strict=False)))}
    return [f"people/{first[int(component[i])]}" for i in person]


def label_people(
    config: DatasetConfig, tokenizer: TextTokenizer, dataset: TokenDataset
) -> pl.DataFrame:
    """Label the surname at the end of each sequence with the person's class.

    Returns
    -------
    polars.DataFrame
        Columns `feature`, `sequence`, `start`, `end`, `label`: sequences times classes rows.
    """
    sequences = dataset.sequences
    n_tokens = sequences["n_tokens"].to_numpy()
    # A token of the surname ends after its first character; tokens before the text end nowhere.
    first = (dataset.ends > sequences["target_start"].to_numpy()[:, None]).argmax(axis=1)
    spans = pl.DataFrame(
        {
            "sequence": sequences["sequence"],
            "start": first.astype(np.int32),
            "end": n_tokens.astype(np.int32),
            "class": sequences["target_class"],
        }
    )
    features = spans.select(pl.col("class").unique().sort().alias("feature"))
    return features.join(spans, how="cross").select(
        "feature", "sequence", "start", "end", (pl.col("class") == pl.col("feature")).alias("label")
    )
