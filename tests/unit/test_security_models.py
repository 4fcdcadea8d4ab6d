"""Models that mean harm: no pickle is read, no code runs, no file elsewhere is opened."""

from __future__ import annotations

import contextlib
import json
import logging
import pickle
import shutil
import types
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from test_models_fetch import write_gguf

from artneuro.core.errors import ArtneuroError, ModelError, SourceError
from artneuro.core.hashing import sha256_file, sha256_path
from artneuro.models.config import ModelConfig
from artneuro.models.fetch import fetch_model
from artneuro.models.info import read_model_info
from artneuro.models.loading import load_causal_lm, load_model, load_tokenizer, random_causal_lm
from artneuro.models.safety import check_model_files
from artneuro.report.environment import template_environment
from tests.tiny_models import make_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return make_model("llama", tmp_path_factory.mktemp("model") / "given")


@pytest.fixture
def given(whole, tmp_path):
    """A copy of a model to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "given"))


@pytest.fixture
def trap(tmp_path):
    """A Python file and a pickle that leave a mark when they run, and the mark."""
    mark = tmp_path / "ran"
    code = f"open({str(mark)!r}, 'w').close()\n"

    class Bomb:
        def __reduce__(self):
            return exec, (code,)

    return types.SimpleNamespace(code=code, pickle=pickle.dumps(Bomb()), mark=mark, bomb=Bomb())


def fetch(folder: Path, **changes):
    source = {"kind": "local", "path": str(folder), **changes.pop("source", {})}
    config = ModelConfig(source=source, **changes)
    home = folder.parent
    return fetch_model(config, None, home / "w", home / "model.json")


def edit(file: Path, **values) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def load_everything(folder: Path) -> None:
    load_model(folder, device="cpu")
    load_causal_lm(folder, device="cpu")
    load_tokenizer(folder)
    random_causal_lm(folder, seed=0, device="cpu")


def test_the_traps_go_off_where_they_are_let(trap):
    pickle.loads(trap.pickle)
    assert trap.mark.exists()
    trap.mark.unlink()
    exec(trap.code)
    assert trap.mark.exists()


def test_pickles_beside_the_weights_are_neither_taken_nor_read(given, trap):
    for name in ("pytorch_model.bin", "model.pt", "x.pkl", "training_args.bin", "tokenizer.pkl"):
        (given / name).write_bytes(trap.pickle)
    torch.save(trap.bomb, given / "optimizer.pt")
    fetch(given)
    names = {p.suffix for p in (given.parent / "w").iterdir()}
    assert names <= {".json", ".safetensors", ".txt", ".jinja", ".model"}
    load_everything(given.parent / "w")
    # Nor where the folder is used as it is.
    load_everything(given)
    (given / "model.safetensors").unlink()
    with pytest.raises(ArtneuroError):
        load_model(given, device="cpu")
    assert not trap.mark.exists()


@pytest.mark.parametrize("where", ["config.json", "tokenizer_config.json"])
def test_code_of_a_model_does_not_run_unless_it_is_trusted(where, given, trap):
    (given / "evil.py").write_text(trap.code)
    classes = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer")
    edit(given / where, auto_map=dict.fromkeys(classes, "evil.Evil"))
    fetch(given)
    assert not (given.parent / "w" / "evil.py").exists()
    for folder in (given.parent / "w", given):
        load_everything(folder)
    # Of an architecture that the library does not know, the code would be all there is.
    edit(given / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})
    for act in (load_model, load_causal_lm):
        with pytest.raises(ModelError, match="trust_remote_code"):
            act(given, device="cpu")
    shutil.rmtree(given.parent / "w")
    with pytest.raises(ModelError, match="trust_remote_code"):
        fetch(given)
    assert not trap.mark.exists()


def test_code_that_is_trusted_is_told_in_the_log_the_record_and_the_report(given, trap, caplog):
    (given / "modeling_own.py").write_text(trap.code)
    with caplog.at_level(logging.WARNING):
        info = fetch(given, trust_remote_code=True)
    assert "trust_remote_code is on" in caplog.text
    assert "modeling_own.py" in caplog.text
    assert info.remote_code == ("modeling_own.py",)
    assert read_model_info(given.parent / "model.json") == info
    template = template_environment().get_template("run.html")
    models = [{"name": "m<b>", **json.loads((given.parent / "model.json").read_text())}]
    empty = dict.fromkeys(("datasets", "sources", "missing", "times", "runs"), ())
    page = template.render(models=models, **empty)
    assert "Code of its own ran with m&lt;b&gt;" in page
    assert "modeling_own.py" in page
    caplog.clear()
    shutil.rmtree(given.parent / "w")
    assert fetch(given).remote_code == ()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_trusted_code_of_the_hub_needs_a_commit():
    hub = {"kind": "hub", "id": "a/b"}
    for revision in ("main", "v1.0", COMMIT[:12], COMMIT.upper()):
        with pytest.raises(ValidationError, match="is no commit"):
            ModelConfig(source={**hub, "revision": revision}, trust_remote_code=True)
        ModelConfig(source={**hub, "revision": revision})
    ModelConfig(source={**hub, "revision": COMMIT}, trust_remote_code=True)


@pytest.mark.parametrize(
    ("file", "values", "said"),
    [
        ("config.json", {"auto_map": {"AutoModel": "evil/repo--m.M"}}, "code of another repo"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["e/r--t.T", None]}}, "code of"),
        ("config.json", {"attn_implementation": "evil/kernel"}, "a compiled kernel"),
        ("config.json", {"_attn_implementation": "evil/kernel@main:f"}, "a compiled kernel"),
        ("config.json", {"_attn_implementation_internal": "evil/kernel"}, "a compiled kernel"),
        ("config.json", {"text_config": {"attn_implementation": {"": "e/k"}}}, "a compiled kernel"),
        ("config.json", {"experts_implementation": "evil/kernel"}, "a compiled kernel"),
    ],
)
def test_what_other_repositories_offer_is_refused_even_where_code_is_trusted(
    file, values, said, given
):
    edit(given / file, **values)
    for trusted in (False, True):
        with pytest.raises(ModelError, match=said):
            fetch(given, trust_remote_code=trusted)
    with pytest.raises(ModelError, match=said):
        load_model(given, device="cpu", trust_remote_code=True)


def test_plain_attention_is_no_kernel(given):
    edit(given / "config.json", attn_implementation="eager", _attn_implementation="sdpa")
    check_model_files(given)
    fetch(given)


@pytest.mark.parametrize(
    "part",
    ["../outside.safetensors", "/etc/passwd", "evil.bin", "pytorch_model.bin", "sub/x.safetensors",
     "missing.safetensors", "..\\x.safetensors", "x\0.safetensors", "", None, 3, ["a"]],
)  # fmt: skip
def test_an_index_that_names_other_files_is_refused(part, given, trap):
    # The library would open whatever the index names, and unpickle what is no safetensors.
    weights = given / "model.safetensors"
    shutil.copy(weights, given.parent / "outside.safetensors")
    (given / "sub").mkdir()
    shutil.copy(weights, given / "sub" / "x.safetensors")
    weights.rename(given / "model-00001-of-00001.safetensors")
    for name in ("evil.bin", "pytorch_model.bin"):
        (given / name).write_bytes(trap.pickle)
    index = {"metadata": {}, "weight_map": {"a": "model-00001-of-00001.safetensors", "b": part}}
    (given / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match="index of the weights names"):
        fetch(given)
    with pytest.raises(ModelError, match="index of the weights names"):
        load_model(given, device="cpu")
    assert not trap.mark.exists()


def test_an_adapter_is_no_model(given):
    (given / "adapter_config.json").write_text('{"base_model_name_or_path": "/elsewhere"}')
    with pytest.raises(ModelError, match="this is an adapter"):
        fetch(given)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, "null", "[]", "3", '{"model_type": []}', '{"model_type": {}}',
     '{"model_type": "llama", "vocab_size": "x"}', '{"model_type": "llama", "hidden_size": -1}',
     '{"model_type": "llama", "num_hidden_layers": 1e999}', "\xff"],
)  # fmt: skip
def test_damaged_configs_are_errors_with_a_name(text, given):
    (given / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ArtneuroError):
        fetch(given)
    assert not (given.parent / "w").exists()


def test_code_beside_a_gguf_file_does_not_run(tmp_path, trap, monkeypatch):
    (tmp_path / "package").mkdir()
    write_gguf(tmp_path / "package" / "m.gguf")
    (tmp_path / "package" / "evil.py").write_text(trap.code)
    classes = {"AutoTokenizer": ["evil.Evil", None], "AutoConfig": "evil.Evil"}
    for name in ("tokenizer_config.json", "config.json"):
        (tmp_path / "package" / name).write_text(json.dumps({"auto_map": classes}))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    config = ModelConfig(source={"kind": "gguf", "source": "s", "file": "m.gguf"})
    with contextlib.suppress(ArtneuroError):
        fetch_model(config, tmp_path / "package", tmp_path / "w", tmp_path / "model.json")
    assert not trap.mark.exists()


def test_a_pinned_model_is_checked_before_anything_of_it_is_read(given, monkeypatch):
    right = fetch(given).sha256
    assert right == sha256_path(given.parent / "w")
    shutil.rmtree(given.parent / "w")
    assert fetch(given, source={"sha256": right}).sha256 == right
    shutil.rmtree(given.parent / "w")
    weights = bytearray((given / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (given / "model.safetensors").write_bytes(weights)
    monkeypatch.setattr("artneuro.models.fetch.read_config", lambda *_: pytest.fail("was read"))
    with pytest.raises(SourceError, match="not what was pinned"):
        fetch(given, source={"sha256": right})
    assert not (given.parent / "w").exists()


@pytest.mark.parametrize("revision", ["main", COMMIT])
@pytest.mark.parametrize("honest", [True, False])
def test_files_of_the_hub_must_be_what_it_says(revision, honest, given, monkeypatch, caplog):
    import huggingface_hub

    promised = sha256_file(given / "model.safetensors") if honest else "0" * 64

    class Api:
        def model_info(self, repo, revision, files_metadata):
            assert files_metadata
            lfs = {"model.safetensors": {"sha256": promised}, "left-out.bin": {"sha256": "1" * 64}}
            files = [
                types.SimpleNamespace(rfilename=p.name, lfs=lfs.get(p.name))
                for p in given.iterdir()
            ]
            return types.SimpleNamespace(siblings=files, sha=COMMIT)

    def snapshot_download(repo, revision, allow_patterns, local_dir):
        for name in allow_patterns:
            shutil.copy(given / name, local_dir / name)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    hub = ModelConfig(source={"kind": "hub", "id": "a/b", "revision": revision})
    act = lambda: fetch_model(hub, None, given.parent / "w", given.parent / "i.json")  # noqa: E731
    if honest:
        assert act().revision == COMMIT
    else:
        with pytest.raises(SourceError, match="came damaged or exchanged"):
            act()
        assert not (given.parent / "w").exists()
    assert ("a later fetch may bring another model" in caplog.text) == (revision == "main")
