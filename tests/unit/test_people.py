"""People: dumps in Wikidata's format, WordNet, name search by brute force, windows and groups."""

from __future__ import annotations

import bz2
import gzip
import json
import re
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from artneuro.core.artifacts import read_table, write_table
from artneuro.core.errors import ConfigError, DataError, SourceError
from artneuro.datasets.config import DatasetConfig
from artneuro.datasets.labels import label_features
from artneuro.datasets.names import Found, NameSearch
from artneuro.datasets.people import classes_of, joint_groups, read_people, surname_start
from artneuro.datasets.people_config import People, PeopleSource, WikidataPeople
from artneuro.datasets.people_table import PEOPLE_SCHEMA, Person, write_people
from artneuro.datasets.tokens import build_tokens, read_token_dataset
from artneuro.datasets.wikidata import person_of, read_wikidata
from artneuro.datasets.wordnet import death, read_wordnet
from tests.tiny import make_tokenizer

# --- Wikidata ------------------------------------------------------------------------------------


def statement(name: str, value: object, rank: str = "normal") -> dict:
    """A statement as the dump has it; an int is an item, a str a time, None an unknown value."""
    if value is None:
        snak: dict = {"snaktype": "somevalue", "property": name}
    elif isinstance(value, int):
        item = {"entity-type": "item", "numeric-id": value, "id": f"Q{value}"}
        snak = {"snaktype": "value", "property": name, "datatype": "wikibase-item",
                "datavalue": {"value": item, "type": "wikibase-entityid"}}  # fmt: skip
    else:
        time = {"time": value, "timezone": 0, "before": 0, "after": 0, "precision": 11,
                "calendarmodel": "http://www.wikidata.org/entity/Q1985727"}  # fmt: skip
        snak = {"snaktype": "value", "property": name, "datatype": "time",
                "datavalue": {"value": time, "type": "time"}}  # fmt: skip
    return {"mainsnak": snak, "type": "statement", "id": f"Q1${name}", "rank": rank}


def entity(number: int, name: str | None, **claims: object) -> dict:
    labels = {"en": {"language": "en", "value": name}} if name else []
    statements = {
        key: [statement(key, v) for v in (value if isinstance(value, list) else [value])]
        for key, value in claims.items()
    }
    return {"type": "item", "id": f"Q{number}", "labels": labels, "descriptions": {},
            "aliases": {}, "claims": statements, "sitelinks": {}, "lastrevid": 1}  # fmt: skip


DIED = "+1975-03-02T00:00:00Z"
PROPERTY = {"en": {"language": "en", "value": "is a"}}
ENTITIES = [
    entity(1, "Ann Marie Smith", P31=5, P21=6581072, P106=33999, P570=DIED),
    entity(2, "Bob Jonathan Jones", P31=5, P21=6581097, P106=[82955, 177220], P102=29552),
    entity(3, "Cal Peterson", P31=5, P106=[82955, 40348], P570="-0044-03-15T00:00:00Z"),
    entity(4, "Cal Peterson", P31=5, P21=6581072, P106=177220, P102=29468, P570=None, P18=1),
    entity(5, "Springfield Illinois", P31=515, P21=5),
    entity(6, None, P31=5, P21=6581072),
    entity(7, "Prince", P31=5, P21=6581097),
    entity(8, "Dan Emmanuel Brown", P31=5, P570="+1999-01-01T00:00:00Z"),
    {"type": "property", "id": "P31", "labels": PROPERTY, "claims": {}},
]  # fmt: skip


def dump(path: Path, entities=ENTITIES, separators=(",", ":")) -> Path:
    lines = ",\n".join(json.dumps(e, separators=separators) for e in entities)
    data = f"[\n{lines}\n]\n".encode()
    pack = {".bz2": bz2.compress, ".gz": gzip.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(data))
    return path


@pytest.mark.parametrize("name", ["d.json", "d.json.gz", "d.json.bz2"])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")], ids=["compact", "spaced"])
def test_people_of_a_dump(tmp_path, name, separators):
    path = dump(tmp_path / name, separators=separators)
    people = list(read_wikidata(WikidataPeople(reader="wikidata", path=str(path))))
    assert [p.entity for p in people] == ["Q1", "Q2", "Q3", "Q4", "Q7", "Q8"]
    ann, bob, cal = people[:3]
    assert ann == Person("Ann Marie Smith", "Q1", 4, ["Q6581072"], ["Q33999"], [], True, 1975)
    assert bob.occupation == ["Q82955", "Q177220"]
    assert (bob.political_party, bob.is_dead, bob.death_year) == (["Q29552"], False, None)
    assert (cal.is_dead, cal.death_year) == (True, -44)
    # An unknown date of death is a death.
    assert (people[3].is_dead, people[3].death_year) == (True, None)


def test_statements_of_the_best_rank_count():
    one = entity(1, "Ann Marie Smith", P31=5)
    one["claims"]["P21"] = [
        statement("P21", 1), statement("P21", 2, "preferred"), statement("P21", 3, "deprecated")
    ]  # fmt: skip
    one["claims"]["P106"] = [statement("P106", 4, "deprecated"), statement("P106", 5)]
    del one["claims"]["P106"][1]["mainsnak"]["datavalue"]["value"]["id"]
    person = person_of(one, "en")
    assert person is not None
    assert (person.sex_or_gender, person.occupation) == (["Q2"], ["Q5"])
    assert person_of(one, "fr") is None


def test_damaged_dumps_are_named(tmp_path):
    def read(path):
        return list(read_wikidata(WikidataPeople(reader="wikidata", path=str(path))))

    whole = dump(tmp_path / "d.json.gz").read_bytes()
    (tmp_path / "cut.json.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"damaged[\s\S]*after line"):
        read(tmp_path / "cut.json.gz")
    (tmp_path / "bad.json").write_text('[\n{"id":"Q1","claims":{"P31":[{"id":"Q5"\n]')
    with pytest.raises(DataError, match=r"no JSON[\s\S]*line 2"):
        read(tmp_path / "bad.json")
    with pytest.raises(SourceError, match=r"cannot read"):
        read(tmp_path / "absent.json")


def test_memory_does_not_grow_with_the_dump(tmp_path):
    peaks = []
    for n in (500, 5000):
        path = dump(tmp_path / f"{n}.json.gz", ENTITIES * (n // len(ENTITIES)))
        config = WikidataPeople(reader="wikidata", path=str(path))
        tracemalloc.start()
        count = sum(1 for _ in read_wikidata(config))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == 6 * (n // len(ENTITIES))
    assert peaks[1] < 1.5 * peaks[0]


def test_table_has_each_usable_name_once_with_the_best_known(tmp_path):
    path = dump(tmp_path / "d.json")
    source = TypeAdapter(PeopleSource).validate_python({"reader": "wikidata", "path": str(path)})
    table = read_people(source, {}, tmp_path / "people.parquet")
    assert read_table(tmp_path / "people.parquet").equals(table)
    assert dict(table.schema) == {
        k: v() if isinstance(v, type) else v for k, v in PEOPLE_SCHEMA.items()
    }
    names = ["Ann Marie Smith", "Bob Jonathan Jones", "Cal Peterson", "Dan Emmanuel Brown"]
    assert table["name"].to_list() == names
    assert table["entity"].to_list() == ["Q1", "Q2", "Q4", "Q8"]
    with pytest.raises(DataError, match="no people"):
        write_people([], tmp_path / "none")


def people(*rows: tuple) -> pl.DataFrame:
    return pl.DataFrame([Person(*row) for row in rows], schema=PEOPLE_SCHEMA, orient="row")


def test_classes_are_single_and_the_late_dead_are_left_out():
    table = people(
        ("A One", "1", 1, ["Q6581072"], ["Q33999"], [], True, 1980),
        ("B Two", "2", 1, ["Q6581097"], ["Q33999", "Q82955"], [], True, 1981),
        ("C Three", "3", 1, ["Q6581097", "Q6581072"], ["Q82955", "Q42"], [], False, None),
        ("D Four", "4", 1, [], ["Q937857"], ["Q29552"], None, None),
        ("E Five", "5", 1, [], [], [], True, None),
    )

    def classes(kind, **values):
        config = People.model_validate({"kind": kind, "people": "w", **values})
        return dict(classes_of(config, table).select("name", "class").iter_rows())

    assert classes("people_sex_or_gender") == {"A One": "is_female", "B Two": "is_male"}
    assert classes("people_occupation") == {
        "A One": "is_actor", "C Three": "is_politician", "D Four": "is_athlete"
    }  # fmt: skip
    assert classes("people_athlete") == {"D Four": "is_association_football_player"}
    assert classes("people_political_party") == {"D Four": "is_democratic_party"}
    assert classes("people_is_alive") == {"A One": "is_dead", "C Three": "is_alive"}
    assert len(classes("people_is_alive", dead_before=None)) == 4
    own = {"x": ["Q33999"], "y": ["Q42"]}
    assert classes("people_occupation", classes=own) == {"A One": "x", "B Two": "x", "C Three": "y"}
    with pytest.raises(ValidationError, match="belongs to two"):
        classes("people_occupation", classes={"x": ["Q1"], "y": ["Q1"]})


# --- WordNet -------------------------------------------------------------------------------------

DATA_NOUN = """\
  1 This software and database is being provided to you, the LICENSEE
00001740 03 n 01 entity 0 000 | that which exists
00007846 03 n 02 person 0 individual 0 001 @ 00001740 n 0000 | a human being
09000001 18 n 01 writer 0 001 @ 00007846 n 0000 | writes books
09000002 18 n 01 poet 0 001 @ 09000001 n 0000 | a writer of poems
09000003 18 n 01 deity 0 001 @ 00001740 n 0000 | any god
11000001 18 n 03 Rossetti 0 Christina_Rossetti 0 Lady_Christina_Rossetti 0 002 @i 09000002 n 0000 \
#m 00001740 n 0000 | English poet (1830-1894)
11000002 18 n 01 Doe_the_God 0 001 @i 09000003 n 0000 | a god (1-2)
11000003 18 n 0a a 0 b 0 c 0 d 0 e 0 f 0 g 0 h 0 i 0 Living_Author 0 001 @i 09000001 n 0000 \
| (born in 1960)
"""


def test_people_of_wordnet(tmp_path):
    (tmp_path / "data.noun").write_text(DATA_NOUN)
    found = [p for p in read_wordnet(tmp_path / "data.noun") if len(p.name) > 8]
    assert [p.name for p in found] == ["Christina Rossetti", "Living Author"]
    poet, living = found
    assert poet.occupation == sorted(["poet", "writer", "person", "individual", "entity"])
    assert (poet.is_dead, poet.death_year, poet.n_properties) == (True, 1894, 2)
    assert (living.is_dead, living.death_year) == (False, None)
    (tmp_path / "data.noun").write_text("00001740 03 n zz\n")
    with pytest.raises(DataError, match=r"format[\s\S]*line 1"):
        list(read_wordnet(tmp_path / "data.noun"))


@pytest.mark.parametrize(
    ("gloss", "expected"),
    [
        ("x (1770-1827)", (True, 1827)),
        ("x (384-322 BC)", (True, -322)),
        ("x (63 BC - AD 14)", (True, 14)),
        ("x (253?-184 BC)", (True, -184)),
        ("x (?-424 BC)", (True, -424)),
        ("x (died in 1358 BC)", (True, -1358)),
        ("x (born in Germany in 1925)", (False, None)),
        ("x (1928-)", (False, None)),
        ("president in 1844 (Old Testament)", (None, None)),
    ],
)
def test_years_of_glosses(gloss, expected):
    assert death(gloss) == expected


# --- names ---------------------------------------------------------------------------------------


def by_regular_expressions(names: list[str], text: str) -> list[Found]:
    """The longest first, each name by a regular expression of its own."""
    found = []
    for i, name in enumerate(names):
        pattern = (
            r"(?<!\w)(?<![^\W_]-)" + re.escape(name).replace(r"\ ", "[ \n]") + r"(?!\w|-[^\W_])"
        )
        found += [Found(i, m.start(), m.end()) for m in re.finditer(f"(?={pattern})", text)]
        found = [
            f if f.stop > f.start else Found(f.name, f.start, f.start + len(names[f.name]))
            for f in found
        ]
    taken: list[Found] = []
    for one in sorted(found, key=lambda f: (f.start - f.stop, f.start)):
        if all(one.stop <= other.start or one.start >= other.stop for other in taken):
            taken.append(one)
    return sorted(taken, key=lambda f: f.start)


@given(
    st.lists(st.text("abé", min_size=1, max_size=2), min_size=1, max_size=8),
    st.text("abé -\n_1", max_size=40),
)
def test_names_are_found_as_by_regular_expressions(words, text):
    names = sorted({" ".join(pair) for pair in zip(words, [*words[1:], "a"], strict=True)})
    for per_pass in (1, 2, 1000):
        assert NameSearch(names, per_pass).find(text) == by_regular_expressions(names, text)


def test_of_overlapping_names_the_longer_is_found():
    names = ["Ann Lee", "Ann Lee Smith", "Lee Smith", "Ann Lee Sm", "Smith Jones"]
    search = NameSearch(names)

    def found(text):
        return [names[f.name] for f in search.find(text)]

    assert found("Ann Lee Smith Jones met Ann Lee.") == ["Ann Lee Smith", "Ann Lee"]
    assert found("Ann Lee Smithson, Ann Leeds, Ann Lee-Brown, Joann Lee") == ["Ann Lee"]
    assert found("Ann\nLee Smith's and ann lee") == ["Ann Lee Smith"]
    assert found("Ann\n\nLee") == []
    for wrong in (["a b", " "], ["a b", "a b"]):
        with pytest.raises(DataError):
            NameSearch(wrong)


def test_surnames():
    for name, surname in [
        ("Ann Marie Smith", "Smith"), ("Martin Luther King Jr.", "King Jr."),
        ("Ptolemy I", "Ptolemy I"), ("Vincent van Gogh", "Gogh"),
    ]:  # fmt: skip
        assert name[surname_start(name) :] == surname


def test_joint_groups_join_what_shares_a_document_or_a_person():
    groups = ["d1", "d1", "d2", "d3", "d4", "d5"]
    who = ["Cy", "Bo", "Bo", "Al", "Al", "Di"]
    found = joint_groups(groups, who)
    assert found == [f"people/{x}" for x in ("Bo", "Bo", "Bo", "Al", "Al", "Di")]
    assert joint_groups([], []) == []


# --- datasets ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def build(path: Path, folder: Path, **changes):
    """40 politicians and 40 singers; number i is named i % 5 + 1 times, each in a document."""
    rng = np.random.default_rng(0)
    rows, texts = [], []
    for i in range(80):
        name = f"{'Mary' if i % 2 else 'John'} Surname{chr(97 + i % 26)}{chr(97 + i // 26)}"
        job = "Q82955" if i < 40 else "Q177220"
        rows.append((name, f"Q{i}", 1, [], [job], [], None, None))
        for k in range(i % 5 + 1):
            words = " ".join(rng.choice(["one", "two", "three", "four"], 12))
            texts.append((f"d{i}.{k}", "c", "s", "en", f"g{i}.{k}", f"{words} {name} {words}."))
    write_table(people(*rows), path / "people")
    schema = ["document", "corpus", "subset", "language", "group", "text"]
    write_table(pl.DataFrame(texts, schema=schema, orient="row"), path / "documents")
    collection = {
        "kind": "people_occupation", "people": "w",
        "classes": {"is_politician": ["Q82955"], "is_singer": ["Q177220"]},
        **changes.pop("collection", {}),
    }  # fmt: skip
    config = DatasetConfig.model_validate(
        {"corpus": "c", "n_ctx": 48, "min_tokens": 20, "aggregation": "max",
         "collection": collection, **changes}
    )  # fmt: skip
    build_tokens(
        config, folder, path / "documents", path / "tokens", path / "sequences", path / "people"
    )
    label_features(config, folder, path / "tokens", path / "sequences", path / "labels")
    return read_table(path / "labels"), read_token_dataset(path / "tokens", path / "sequences")


def test_windows_end_with_names_and_labels_cover_the_surname(tmp_path, folder):
    labels, dataset = build(tmp_path, folder)
    texts = dict(read_table(tmp_path / "documents").select("document", "text").iter_rows())
    rows = {row["sequence"]: row for row in dataset.sequences.iter_rows(named=True)}
    assert set(labels["collection"]) == {"people_occupation"}
    for feature, sequence, start, end, label in labels.drop("collection").iter_rows():
        row = rows[sequence]
        text = texts[row["document"]]
        assert text[: row["char_end"]].endswith(row["target"])
        surname = row["target"].split(" ")[1]
        covered = text[dataset.starts[sequence, start] : dataset.ends[sequence, end - 1]]
        assert covered.strip() == surname
        assert end == row["n_tokens"]
        assert label == (row["target_class"] == feature)
    counts = dataset.sequences["target"].value_counts()
    # Those named once are left out, and nobody gives more than three.
    assert counts["count"].max() == 3
    assert len(counts) == 64
    kinds = dataset.sequences["target_class"].value_counts()["count"]
    assert kinds[0] == kinds[1]


def test_no_person_is_in_both_splits(tmp_path, folder):
    _, dataset = build(tmp_path, folder)
    for key in ("target", "group", "document"):
        sides = dataset.sequences.group_by(key).agg(pl.col("split").n_unique())
        assert sides["split"].max() == 1
    assert set(dataset.sequences["split"]) == {"train", "test"}


def test_one_example_per_name_and_names_that_occur_once(tmp_path, folder):
    _, dataset = build(tmp_path, folder, collection={"max_per_name": 1, "min_occurrences": 1})
    assert Counter(dataset.sequences["target"]).most_common(1)[0][1] == 1
    assert len(dataset.sequences) == 80


def test_too_few_people_are_an_error_or_left_out(tmp_path, folder):
    three = {"is_politician": ["Q82955"], "is_singer": ["Q177220"], "is_actor": ["Q33999"]}
    with pytest.raises(DataError, match="is_actor: 0"):
        build(tmp_path, folder, collection={"classes": three})
    labels, _ = build(
        tmp_path, folder, collection={"classes": three, "missing_classes": "leave_out"}
    )
    assert set(labels["feature"]) == {"is_politician", "is_singer"}
    config = DatasetConfig.model_validate(
        {"corpus": "c", "n_ctx": 48, "min_tokens": 20,
         "collection": {"kind": "people_is_alive", "people": "w"}}
    )  # fmt: skip
    with pytest.raises(ConfigError, match="needs a table of people"):
        build_tokens(config, folder, tmp_path / "documents", tmp_path / "t", tmp_path / "s")
