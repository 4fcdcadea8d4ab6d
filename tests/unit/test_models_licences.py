"""Licences of models: from the config, the card, a LICENSE file or the package; else none."""

from __future__ import annotations

import json
import types
from pathlib import Path

import pytest
from pydantic import ValidationError

from artneuro.models.config import ModelConfig
from artneuro.models.fetch import fetch_model
from artneuro.models.info import read_model_info
from artneuro.models.licences import licence_of_card, licence_of_folder
from tests.tiny_models import make_model

APACHE = f"{' ' * 33}Apache License\n{' ' * 27}Version 2.0, January 2004\n"


def card(text: str) -> str:
    return f"---\nlanguage: en\n{text}\n---\n# A model\nlicense: wrong\n"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"README.md": card("license: apache-2.0")}, "Apache-2.0"),
        ({"README.md": card("license: mit"), "LICENSE": APACHE}, "MIT"),
        ({"README.md": card("license:\n- mit\n- cc-by-4.0")}, "MIT OR CC-BY-4.0"),
        ({"README.md": card("license: gemma")}, "gemma"),
        ({"README.md": card("license: other\nlicense_name: my-own\nlicense_link: https://e.org/l")},
         "my-own https://e.org/l"),
        ({"README.md": card("license: other")}, "other"),
        ({"README.md": card("license: other"), "LICENSE": APACHE}, "other"),
        ({"README.md": "# A model\nlicense: mit\n"}, None),
        ({"README.md": "# A model\n", "LICENSE.txt": APACHE}, "Apache-2.0"),
        ({"README.md": card("license: [1, {a: b}]"), "LICENSE": "MIT License\n\nCopyright"}, "MIT"),
        ({"README.md": card("license: {mit"),
          "COPYING": "GNU GENERAL PUBLIC LICENSE\n  Version 3,"}, "GPL-3.0"),
        ({"README.md": "---\n---\n"}, None),
        ({"README.md": "---\n- a\n---\n"}, None),
        ({"LICENSE": "Ask my lawyer."}, "see LICENSE"),
        ({"LICENSE": "Attribution-NonCommercial 4.0 International"}, "see LICENSE"),
        ({"README.md": card("license: " + "x" * 5000)}, "x" * 200),
        ({"README.md": card("license: 'a\n\n  b'")}, "a b"),
        ({"README.md": b"\xff\xfe---\n"}, None),
    ],
)  # fmt: skip
def test_licence_of_a_folder(tmp_path: Path, files: dict[str, str | bytes], expected: str | None):
    for name, text in files.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert licence_of_folder(tmp_path) == expected


def test_card_that_would_unfold_to_more_than_memory_holds(tmp_path: Path):
    levels = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 40))
    (tmp_path / "README.md").write_text(card(f"a0: &a0 [x]\n{levels}\nlicense: *a39"))
    assert licence_of_folder(tmp_path) is None


def test_card_of_nothing():
    assert licence_of_card({}) is None
    assert licence_of_card({"license": None, "license_name": "ignored"}) == "ignored"


@pytest.mark.parametrize(
    ("given", "files", "expected"),
    [
        ({}, {}, None),
        ({}, {"LICENSE": APACHE}, "Apache-2.0"),
        ({"licence": "MIT"}, {"LICENSE": APACHE}, "MIT"),
    ],
)
def test_local_model(tmp_path: Path, given: dict, files: dict, expected: str | None):
    folder = make_model("gpt2", tmp_path / "given")
    for name, text in files.items():
        (folder / name).write_text(text)
    config = ModelConfig(source={"kind": "local", "path": str(folder), **given})
    fetch_model(config, None, tmp_path / "weights", tmp_path / "model.json")
    assert read_model_info(tmp_path / "model.json").licence == expected
    assert json.loads((tmp_path / "model.json").read_text())["licence"] == expected


@pytest.mark.parametrize(("given", "expected"), [({}, "CC-BY-4.0"), ({"licence": "MIT"}, "MIT")])
def test_model_of_the_hub(tmp_path: Path, monkeypatch, given: dict, expected: str):
    import huggingface_hub

    folder = make_model("gpt2", tmp_path / "given")

    class Api:
        def model_info(self, repo, revision, files_metadata):
            names = [types.SimpleNamespace(rfilename=p.name) for p in folder.iterdir()]
            about = huggingface_hub.ModelCardData(license="cc-by-4.0")
            return types.SimpleNamespace(siblings=names, sha="c0ffee", card_data=about)

    def snapshot_download(repo, revision, allow_patterns, local_dir):
        for name in allow_patterns:
            (local_dir / name).write_bytes((folder / name).read_bytes())

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    config = ModelConfig(source={"kind": "hub", "id": "someone/tiny", **given})
    assert fetch_model(config, None, tmp_path / "w", tmp_path / "i.json").licence == expected


def test_licences_that_cannot_be(tmp_path: Path):
    for text in ("", "x" * 201):
        with pytest.raises(ValidationError):
            ModelConfig(source={"kind": "local", "path": "a", "licence": text})
