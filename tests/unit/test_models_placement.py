"""Models on several GPUs: which layer is where, and dumps from layers on two pretended devices."""

from __future__ import annotations

import dataclasses
from itertools import combinations_with_replacement
from pathlib import Path

import accelerate.hooks
import numpy as np
import pytest
import torch
from accelerate import dispatch_model
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoModelForCausalLM

from artneuro.activations import dump as dump_module
from artneuro.activations.config import ActivationsConfig
from artneuro.activations.dump import dump_activations
from artneuro.core.errors import ModelError
from artneuro.core.hashing import sha256_path
from artneuro.models import devices as devices_module
from artneuro.models import loading
from artneuro.models.devices import resolve_device
from artneuro.models.loading import load_causal_lm, load_model
from artneuro.models.placement import FOR_WEIGHTS, _spread, blocks_of, empty_model, place_model
from tests.pretend_devices import Pretended, devices, place
from tests.tiny_models import ARCHITECTURES, CONFIGS, make_model, write_info
from tests.unit.test_activations_prefix import N_SHARED, write_data

SITES = ["resid_pre", "attn_out", "attn_pattern", "mlp_pre", "mlp_post", "resid_post"]


@settings(max_examples=200, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=7),
    free=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_blocks_are_spread_as_evenly_as_can_be(sizes, free):
    found = _spread(sizes, free)

    def fullest(owners):
        return max(
            sum(s for s, o in zip(sizes, owners, strict=True) if o == gpu) / free[gpu]
            for gpu in range(len(free))
        )

    # All divisions into consecutive blocks, some GPUs perhaps empty.
    least = min(fullest(d) for d in combinations_with_replacement(range(len(free)), len(sizes)))
    if found is None:
        assert least > FOR_WEIGHTS
    else:
        assert found == sorted(found)
        assert fullest(found) == pytest.approx(least, rel=1e-6)
        assert least <= FOR_WEIGHTS


@pytest.mark.parametrize("auto", [AutoModel, AutoModelForCausalLM])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_weight_has_its_gpu(architecture, auto):
    model = empty_model(auto, CONFIGS[architecture])
    assert all(p.is_meta for p in model.parameters())
    size = sum(p.numel() for p in model.parameters()) * 2
    size += sum(b.numel() * b.element_size() for b in model.buffers())

    def placed(*free):
        return place_model(model, blocks_of(model), torch.bfloat16, free, "folder")

    assert placed(2 * size, 2 * size) == {"": 0}
    assert placed(size) == {"": 0}
    with pytest.raises(ModelError, match=r"are free on the GPU here[\s\S]*'gpus' in the config"):
        placed(size - 1)
    free = size
    found = placed(free, free, free)
    assert set(found.values()) == {0, 1}  # the third is not needed
    at = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners = [gpu for path, gpu in found.items() if f"{name}.".startswith(f"{path}.")]
        assert len(owners) == 1, name
        # One weight is in one place: a head that is the embedding is where that is.
        assert at.setdefault(id(parameter), owners[0]) == owners[0], name
    for gpu in (0, 1):
        held = {id(p): p for p in model.parameters() if at[id(p)] == gpu}
        assert 0 < 2 * sum(p.numel() for p in held.values()) <= FOR_WEIGHTS * free
    blocks = [found[f"{blocks_of(model)}.{i}"] for i in range(3)]
    assert blocks == sorted(blocks)
    with pytest.raises(ModelError, match="2 GPUs here"):
        placed(size // 3, size // 3)


@pytest.fixture
def gpus(monkeypatch):
    """Four GPUs as torch would tell of them: free memory, and those that were asked for it."""
    told = {"free": 0, "asked": [], "current": 0}

    def memory(i):
        told["asked"].append(i)
        return (told["free"], 0)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "mem_get_info", memory)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: told["current"])
    monkeypatch.setattr(torch.cuda, "set_device", lambda i: told.update(current=i))
    return told


def test_only_what_does_not_fit_is_spread(tmp_path, gpus):
    folder = make_model("llama", tmp_path / "weights")
    size = 4 * loading.count_weights(folder)[0]
    where = (folder, CONFIGS["llama"], torch.float32, False)
    gpus.update(free=2 * size, current=2)
    assert loading._placement(AutoModel, *where) == {"": 2}
    assert gpus["asked"] == [2]  # a question to the others would take memory there
    gpus["free"] = size
    found = loading._placement(AutoModel, *where)
    assert found["embed_tokens"] == found["layers.0"] == 2  # its own GPU first
    assert found["norm"] == found["layers.2"] == 0
    head = loading._placement(AutoModelForCausalLM, *where)
    assert head["lm_head"] == head["model.embed_tokens"] == 2
    assert head["model.norm"] == 0
    gpus["free"] = size // 8
    with pytest.raises(ModelError, match="free on 4 GPUs here"):
        loading._placement(AutoModel, *where)


def test_a_job_takes_a_gpu_of_its_own_unless_it_was_given_some(monkeypatch, gpus):
    monkeypatch.setattr(devices_module, "claim_gpu", lambda count: count - 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    for device in ("auto", "cuda"):
        assert resolve_device(device) == torch.device("cuda")
    assert gpus["current"] == 0
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert resolve_device("cpu") == torch.device("cpu")
    assert gpus["current"] == 0
    assert resolve_device("auto") == torch.device("cuda")
    assert gpus["current"] == 3


def test_pretended_devices_are_kept_apart():
    with devices():
        values = torch.arange(6.0).reshape(2, 3)
        a, b = values.to("pretend:0"), values.to("pretend:1")
        assert (a.device.type, a.device.index, b.device.index) == ("pretend", 0, 1)
        assert torch.equal((a @ a.T).cpu(), values @ values.T)
        for mixed in (lambda: a + b, lambda: a + values, lambda: torch.cat([b, values])):
            with pytest.raises(RuntimeError, match="tensors on"):
                mixed()
        a.copy_(2 * b)
        assert torch.equal(a.cpu(), 2 * values)


def spread(lm, monkeypatch):
    """The model with its layers on two pretended devices, moved between by accelerate's hooks."""
    size = sum(p.numel() for p in lm.model.parameters()) * 4
    found = place_model(lm.model, blocks_of(lm.model), torch.float32, (size, size), "")
    found = {path: f"pretend:{gpu}" for path, gpu in found.items()}
    assert len(set(found.values())) == 2
    place(lm.model, found)
    # The weights are where they belong; accelerate would move storage that there is none of.
    monkeypatch.setattr(accelerate.hooks, "set_module_tensor_to_device", lambda *a, **k: None)
    skipped = lm.model._skip_keys_device_placement
    return dataclasses.replace(lm, model=dispatch_model(lm.model, found, skip_keys=skipped))


def dump(folder: Path, out: Path, sites: list[str]):
    return dump_activations(
        ActivationsConfig(sites=sites, dtype="float32", batch_tokens=64),
        folder / "weights",
        folder / "model.json",
        folder / "tokens.parquet",
        folder / "sequences.parquet",
        folder / "labels.parquet",
        out / "activations.zarr",
        out / "rows.parquet",
        work=out / "parts",
        device="cpu",
    )


@pytest.mark.parametrize(
    "architecture",
    [
        pytest.param(name, marks=[] if name in ("gpt2", "gemma3_text") else pytest.mark.slow)
        for name in ARCHITECTURES
    ],
)
@pytest.mark.parametrize("sites", [SITES, ["resid_post", "mlp_post"]], ids=["all", "prefix"])
def test_a_dump_from_two_devices_is_that_from_one(tmp_path, monkeypatch, architecture, sites):
    make_model(architecture, tmp_path / "weights")
    write_info(tmp_path / "weights", tmp_path / "model.json")
    write_data(tmp_path, [(13, 14), (14, 19), (15, 16), (13, 24), (20, 22), (16, 20)])

    def eager(*arguments):
        # Fused attention is made of other operations where devices are pretended.
        lm = load_model(*arguments)
        lm.model.set_attn_implementation("eager")
        return lm

    monkeypatch.setattr(dump_module, "load_model", eager)
    one = dump(tmp_path, tmp_path / "one", sites)
    seen = set()

    def two(*arguments):
        lm = spread(eager(*arguments), monkeypatch)
        for parameter in lm.model.parameters():
            assert isinstance(parameter, Pretended)
            seen.add(str(parameter.device))
        return lm

    monkeypatch.setattr(dump_module, "load_model", two)
    with devices():
        facts = dump(tmp_path, tmp_path / "two", sites)
    assert seen == {"pretend:0", "pretend:1"}
    assert facts.n_prefix == one.n_prefix == (0 if "attn_pattern" in sites else N_SHARED)
    assert facts.check_error == one.check_error
    assert sha256_path(tmp_path / "two") == sha256_path(tmp_path / "one")


@pytest.mark.parametrize("architecture", ["gpt2", "gemma3_text"])
def test_hooks_stop_a_model_whose_weights_come_from_disk(tmp_path, monkeypatch, architecture):
    # The hooks of accelerate that bring weights in leave them there where a pass stops early.
    make_model(architecture, tmp_path / "weights")
    write_info(tmp_path / "weights", tmp_path / "model.json")
    write_data(tmp_path, [(13, 14), (14, 19), (15, 16), (13, 24), (20, 22), (16, 20)])
    dump(tmp_path, tmp_path / "one", SITES[:-1])
    lm = load_model(tmp_path / "weights", device="cpu")
    paths = [name for name, _ in lm.model.named_children()]
    blocks = blocks_of(lm.model)
    paths.remove(blocks)
    at = dict.fromkeys(paths, "cpu") | {f"{blocks}.{i}": "disk" for i in range(3)}
    at[f"{blocks}.1"] = "cpu"
    model = AutoModel.from_pretrained(
        tmp_path / "weights", dtype=torch.float32, device_map=at, offload_folder=tmp_path / "off"
    )
    assert sum(p.is_meta for p in model.parameters()) > 10
    split = dataclasses.replace(lm, model=model.eval())
    monkeypatch.setattr(dump_module, "load_model", lambda *a: split)
    dump(tmp_path, tmp_path / "two", SITES[:-1])
    assert sha256_path(tmp_path / "two") == sha256_path(tmp_path / "one")


def test_a_head_on_another_device_than_the_embedding(tmp_path, monkeypatch):
    # gpt_neox does not tie them.
    make_model("gpt_neox", tmp_path / "weights")
    ids = torch.from_numpy(np.arange(12).reshape(2, 6))
    lm = load_causal_lm(tmp_path / "weights", device="cpu")
    lm.model.set_attn_implementation("eager")
    with torch.inference_mode():
        expected = lm.model(input_ids=ids).logits
    with devices(), torch.inference_mode():
        found = spread(lm, monkeypatch).model(input_ids=ids).logits
    assert torch.equal(found.cpu(), expected)
