"""Loading models without the network, and the sites' names."""

from __future__ import annotations

import socket

import pytest
import torch

from artneuro.core.errors import ConfigError, ModelError
from artneuro.models.hooks import capture, tapped
from artneuro.models.info import read_model_info
from artneuro.models.loading import load_causal_lm, load_model, load_tokenizer
from artneuro.models.sites import check_layers, hook_name, parse_site, units_of
from tests.tiny_models import ARCHITECTURES, make_model


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory):
    return make_model("gpt2", tmp_path_factory.mktemp("gpt2"))


@pytest.fixture
def no_network(monkeypatch):
    tried = []

    def refuse(*args, **kwargs):
        tried.append(args)
        raise OSError("the network is blocked in this test")

    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tried


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_connection_is_even_tried(tmp_path, no_network, architecture):
    folder = make_model(architecture, tmp_path / "m")
    lm = load_model(folder, device="cpu")
    assert lm.tokenizer("The dog").input_ids
    load_causal_lm(folder, device="cpu")
    assert no_network == []


def test_what_is_loaded(gpt2):
    lm = load_model(gpt2, device="cpu")
    assert lm.architecture == "gpt2"
    assert lm.dtype == "float32"
    assert type(lm.model).__name__ == "GPT2Model"
    assert not lm.model.training
    assert not any(p.requires_grad for p in lm.model.parameters())
    assert lm.shape.d_mlp == 128  # GPT-2 says it as n_inner = None
    assert load_model(gpt2, dtype="bfloat16", device="cpu").model.dtype == torch.bfloat16


def test_errors_of_loading(tmp_path, gpt2):
    with pytest.raises(ModelError, match="not a model folder"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match=r"config\.json"):
        load_model(tmp_path)
    with pytest.raises(ConfigError, match="float8"):
        load_model(gpt2, dtype="float8")
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(make_model("gpt2", tmp_path / "bare", tokenizer=False))
    with pytest.raises(ModelError, match="fetched anew"):
        read_model_info(tmp_path / "config.json")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_without_gpu(gpt2):
    with pytest.raises(ConfigError, match="no GPU"):
        load_model(gpt2, device="cuda")


def test_site_names():
    assert parse_site("mlp_post") == ("mlp_post", None)
    assert parse_site("mlp.hook_post") == ("mlp_post", None)
    assert parse_site("blocks.11.mlp.hook_post") == ("mlp_post", 11)
    assert parse_site("blocks.0.attn.hook_pattern") == ("attn_pattern", 0)
    assert parse_site("hook_resid_pre") == ("resid_pre", None)
    assert hook_name("attn_out", 4) == "blocks.4.hook_attn_out"
    for wrong in ("mlp", "blocks.1.mlp_post", "blocks.x.mlp.hook_post", "hook_resid_mid"):
        with pytest.raises(ConfigError, match="allowed sites"):
            parse_site(wrong)


def test_layers(gpt2):
    assert check_layers("all", 3) == [0, 1, 2]
    assert check_layers([2, 0, 2], 3) == [0, 2]
    with pytest.raises(ConfigError, match="layers 0 to 2"):
        check_layers([0, 3], 3)
    with pytest.raises(ConfigError, match="no layer"):
        check_layers([], 3)
    shape = load_model(gpt2, device="cpu").shape
    assert units_of("attn_pattern", shape, 10) == 40
    assert units_of("mlp_pre", shape, 10) == 128
    assert units_of("blocks.1.hook_attn_out", shape, 10) == 32


@pytest.mark.parametrize("site", ["mlp_post", "resid_pre", "attn_out"])
def test_layers_above_the_highest_are_not_run(gpt2, site):
    lm = load_model(gpt2, device="cpu")
    ran = []
    for i, block in enumerate(lm.model.h):
        block.register_forward_pre_hook(lambda m, a, i=i: ran.append(i))
        block.mlp.c_proj.register_forward_hook(lambda m, a, o, i=i: ran.append(f"down {i}"))
    lm.model.ln_f.register_forward_hook(lambda m, a, o: ran.append("final norm"))
    capture(lm.model, "gpt2", torch.ones(1, 4, dtype=torch.long), [site], [0, 1])
    assert ran == [0, "down 0", 1]


def test_hooks_and_attention_are_put_back_after_an_error(gpt2):
    lm = load_model(gpt2, device="cpu")
    before = lm.model.config._attn_implementation

    def fail(site, layer, value):
        raise ZeroDivisionError

    with tapped(lm.model, "gpt2", ["attn_pattern", "mlp_post"], [1], fail) as run:
        assert lm.model.config._attn_implementation == "eager"
        with pytest.raises(ZeroDivisionError):
            run(torch.ones(1, 4, dtype=torch.long))
    assert lm.model.config._attn_implementation == before != "eager"
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in lm.model.modules())
