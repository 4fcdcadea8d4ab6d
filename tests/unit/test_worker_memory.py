"""Memory of a layer in a worker: from the store where there is one, else from sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from artneuro.config import load_config
from artneuro.planning.worker_memory import layer_bytes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def thesis():
    return load_config(ROOT / "config" / "thesis.yaml", ROOT)[0]


def test_without_a_store_it_follows_from_published_sizes(thesis, tmp_path):
    # 9 languages of 3,120 sequences; Pythia-6.9B has 16,384 neurons a layer.
    found = layer_bytes(thesis, ROOT, tmp_path, "pythia-6.9b", "natural_language")
    assert found == 2 * 4 * 9 * 3120 * 16384


def test_a_store_that_is_there_tells_its_rows_and_widest_site(thesis, tmp_path):
    store = tmp_path / "results/activations/pythia-6.9b/natural_language/activations.zarr"
    store.mkdir(parents=True)
    told = {"n_rows": 100, "units": {"mlp_post": 7, "resid_post": 30}}
    (store / "zarr.json").write_text(json.dumps({"attributes": told}))
    found = layer_bytes(thesis, ROOT, tmp_path, "pythia-6.9b", "natural_language")
    assert found == 2 * 4 * 100 * 30


def test_a_model_of_unknown_sizes_has_none(tmp_path):
    (tmp_path / "text.txt").write_text("un texte")
    part = {"reader": "files", "path": str(tmp_path), "subset": "s", "language": "French"}
    collection = {"kind": "natural_language", "sequences_per_class": 5}
    config, _ = load_config(
        {
            "models": {"mine": {"source": {"kind": "hub", "id": "someone/unknown"}}},
            "corpora": {"c": {"parts": [{**part, "files": ["*.txt"]}]}},
            "datasets": {"d": {"corpus": "c", "n_ctx": 8, "collection": collection}},
        },
        ROOT,
    )
    assert layer_bytes(config, ROOT, tmp_path, "mine", "d") is None


def test_a_damaged_description_is_for_its_reader_to_tell_of(thesis, tmp_path):
    card = tmp_path / "results/models/pythia-6.9b/model.json"
    card.parent.mkdir(parents=True)
    card.write_text("")
    assert layer_bytes(thesis, ROOT, tmp_path, "pythia-6.9b", "natural_language") is None
