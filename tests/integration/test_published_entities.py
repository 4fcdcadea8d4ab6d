"""The thesis's own tables of places and works, where they lie beside the checkout."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from artneuro.core.artifacts import read_table
from artneuro.datasets.entities import build_entities
from artneuro.datasets.entities_config import EntitiesConfig, PublishedPart
from artneuro.datasets.entity_published import read_published

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "entities"
COUNTS = {
    "world_place": {"populated_place": 30_783, "structure": 6_453, "natural_place": 2_349},
    "art": {"song": 24_865, "movie": 4_103, "book": 2_353},
}
TESTED = {"world_place": 7_917, "art": 6_437}


def part(layout: str) -> PublishedPart:
    path = FOLDER / f"{layout}.csv"
    if not path.exists():
        pytest.skip(f"needs {path}: a published table that is not this project's to hand on")
    return PublishedPart(reader="published", layout=layout, path=str(path))


def built(layout: str, tmp_path: Path, kind: str) -> tuple[pl.DataFrame, dict[str, dict]]:
    config = EntitiesConfig(
        target="time" if layout == "art" else "space",
        parts=[part(layout).model_dump()],
        split={"kind": kind},
    )
    table = build_entities(config, {}, {}, tmp_path / "e.parquet", tmp_path / "l.parquet")
    report = read_table(tmp_path / "l.parquet")
    return table, {row["check"]: row for row in report.iter_rows(named=True)}


@pytest.mark.parametrize("layout", COUNTS)
def test_published_counts(layout):
    found = read_published(part(layout), FOLDER / f"{layout}.csv")
    assert dict(found["entity_type"].value_counts().rows()) == COUNTS[layout]
    assert found["is_test"].sum() == TESTED[layout]


def test_leakage_of_the_published_works(tmp_path):
    # 588 of 6,437 test rows share a page with a training row, and none a creator.
    table, report = built("art", tmp_path, "published")
    assert report["published_page_in_train"]["n_test"] == 588
    assert report["page_in_train"]["n_test"] == 588
    assert report["published_creator_in_train"]["n_test"] == 0
    assert set(table["block"]) == {f"{decade}s" for decade in range(1950, 2030, 10)}
    assert table["name"].str.contains("^Stephen King's It$").any()


def test_grouped_works_share_nothing(tmp_path):
    table, report = built("art", tmp_path, "grouped")
    for check in ("page_in_train", "creator_in_train", "name_in_train"):
        assert report[check]["n_rows"] == 0
    assert 0.1 < (table["split"] == "test").mean() < 0.3


def test_places(tmp_path):
    table, report = built("world_place", tmp_path, "grouped")
    # About 30 % of the names contain their region, once it stands in front.
    assert 0.25 < report["name_has_any_region"]["n_rows"] / table.height < 0.35
    assert report["name_in_train"]["n_rows"] == 0
    assert table["name"].str.strip_chars().eq(table["name"]).all()
    # Names such as Mandatory Palestine are of no present country.
    assert table["continent"].null_count() < 0.005 * table.height
    assert {"United States", "United Kingdom", "India"} <= set(table["country"])
