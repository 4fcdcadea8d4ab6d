"""Pinned neurons and ablated paths equal whole forward passes with plain hooks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from artneuro.interventions.attention_neurons import Pair, ablate_paths
from artneuro.interventions.attention_scores import survey_heads
from artneuro.interventions.entropy_pinning import STATISTICS, pinned_statistics, record
from artneuro.models.loading import load_causal_lm
from tests.tiny_models import VOCAB, make_model

# Where each family keeps its blocks, the MLP's second matrix, norms, attention, queries, outputs.
PLACES = {
    "gpt2": (
        "transformer.h", "mlp.c_proj", "ln_1", "attn.c_attn", "attn.c_proj", "transformer.ln_f",
    ),
    "gpt_neox": (
        "gpt_neox.layers", "mlp.dense_4h_to_h", "input_layernorm", "attention.query_key_value",
        "attention.dense", "gpt_neox.final_layer_norm",
    ),
    "llama": (
        "model.layers", "mlp.down_proj", "input_layernorm", "self_attn.q_proj", "self_attn.o_proj",
        "model.norm",
    ),
}  # fmt: skip
PLACES["gemma2"] = PLACES["gemma3_text"] = PLACES["llama"]
SLOW = [
    pytest.param(n, marks=[] if n in ("gpt2", "llama", "gemma2") else pytest.mark.slow)
    for n in PLACES
]
IDS = np.random.default_rng(5).integers(1, VOCAB, (3, 20))
IDS[:, 0] = 0


def rows_of(module) -> torch.Tensor:
    """Output weights, (inputs, outputs)."""
    weight = module.weight.detach()
    return weight.T if isinstance(module, torch.nn.Linear) else weight


@pytest.mark.parametrize("architecture", SLOW)
def test_pinned_predictions_equal_whole_passes(tmp_path, architecture):
    folder = make_model(architecture, tmp_path / "m", tokenizer=False)
    lm = load_causal_lm(folder, device="cpu")
    rows = torch.tensor([0, 0, 1, 2, 2])
    positions = torch.tensor([3, 18, 7, 1, 12])
    ids = torch.from_numpy(IDS)
    recording = record(lm, ids, {1: [4, 9], 2: [6]})
    blocks, down, *_, final = PLACES[architecture]
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    for neuron, column in (((1, 9), 1), ((2, 6), 0)):
        found = pinned_statistics(lm, recording, neuron, column, [2.5, -1.0], rows, positions)
        assert found.shape == (2, 5, len(STATISTICS))
        for value, ours in zip((2.5, -1.0), found, strict=True):
            seen = []
            module = plain.get_submodule(blocks)[neuron[0]].get_submodule(down)

            def hold(_module, args, value=value, neuron=neuron):
                changed = args[0].clone()
                changed[..., neuron[1]] = value
                return (changed, *args[1:])

            handles = [
                module.register_forward_pre_hook(hold),
                plain.get_submodule(final).register_forward_pre_hook(
                    lambda _m, args, seen=seen: seen.append(args[0])
                ),
            ]
            with torch.inference_mode():
                logits = plain(input_ids=ids).logits[rows, positions].double()
            for handle in handles:
                handle.remove()
            last = seen[0][rows, positions].double()
            if architecture in ("gpt2", "gpt_neox"):
                last = last - last.mean(-1, keepdim=True)
            p = logits.softmax(-1)
            target = ids[rows, positions + 1]
            wanted = logits.gather(1, target[:, None])
            theirs = torch.stack(
                [
                    (last.pow(2).mean(-1) + 1e-6).sqrt(),
                    -(p * p.log()).sum(-1),
                    -p.gather(1, target[:, None])[:, 0].log(),
                    1 / (logits >= wanted).sum(1),
                ],
                dim=1,
            )
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=2e-4, atol=2e-5)


def expected_path(folder, architecture: str, pair: Pair, row: int, position: int):
    """Attention to the first token and output norm, without and with the ablation."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    model.eval()
    blocks, down, norm_name, query_name, out_name, _ = PLACES[architecture]
    blocks = model.get_submodule(blocks)
    writer, reader = blocks[pair.neuron_layer], blocks[pair.layer]
    down_module = writer.get_submodule(down)
    norm, query = reader.get_submodule(norm_name), reader.get_submodule(query_name)
    state, busy = {}, []
    weight = rows_of(down_module)[pair.neuron]
    handles = []

    def active(_module, args, output):
        state["written"] = args[0][..., pair.neuron, None] * weight
        state["mlp"] = output

    handles.append(down_module.register_forward_hook(active))
    if architecture in ("gemma2", "gemma3_text"):
        after = writer.post_feedforward_layernorm

        def scaled(module, _args, _output):
            size = (state["mlp"].pow(2).mean(-1, keepdim=True) + module.eps).sqrt()
            state["written"] = state["written"] / size * (1 + module.weight)

        handles.append(after.register_forward_hook(scaled))

    def keep_input(_module, args):
        if not busy:
            state["residual"] = args[0]

    handles.append(norm.register_forward_pre_hook(keep_input))

    def change_query(module, _args, output):
        if busy:
            return None
        busy.append(True)
        changed = module(norm(state["residual"] - state["written"]))
        busy.clear()
        output = output.clone()
        size = model.config.hidden_size
        new = changed[row, position]
        if architecture == "gpt2":
            output[row, position, :size] = new[:size]
        elif architecture == "gpt_neox":
            heads, width = (
                model.config.num_attention_heads,
                size // model.config.num_attention_heads,
            )
            shape = (heads, 3, width)
            into = output[row, position].view(shape)
            into[:, 0] = new.view(shape)[:, 0]
        else:
            output[row, position] = new
        return output

    projection = reader.get_submodule(out_name)
    mixed = []
    handles.append(projection.register_forward_pre_hook(lambda _m, a: mixed.append(a[0])))
    found = []
    for ablate in (False, True):
        handle = query.register_forward_hook(change_query) if ablate else None
        with torch.inference_mode():
            attention = model(input_ids=torch.from_numpy(IDS), output_attentions=True).attentions[
                pair.layer
            ]
        if handle:
            handle.remove()
        weights = rows_of(projection)
        width = len(weights) // model.config.num_attention_heads
        head = slice(pair.head * width, (pair.head + 1) * width)
        output = mixed.pop()[row, position, head] @ weights[head]
        found.append((attention[row, pair.head, position, 0].item(), output.norm().item()))
    return found


@pytest.mark.parametrize("architecture", SLOW)
def test_ablated_paths_equal_hooks_on_queries(tmp_path, architecture):
    folder = make_model(architecture, tmp_path / "m", tokenizer=False)
    lm = load_causal_lm(folder, device="cpu")
    before = {name: value.clone() for name, value in lm.model.state_dict().items()}
    implementation = lm.model.config._attn_implementation
    pairs = [
        Pair("activation", 0, 2, 3, 0, 7, 0.0, 0.0),
        Pair("control", 0, 2, 3, 1, 11, 0.0, 0.0),
        Pair("activation", 1, 1, 0, 0, 30, 0.0, 0.0),
    ]
    positions = np.array([[4, 19], [7, 9], [1, 15]])
    moved = 0.0
    for pair, found in zip(pairs, ablate_paths(lm, IDS, positions, pairs), strict=True):
        for i in (1, 3, 4):
            row, position = int(found["row"][i]), int(found["position"][i])
            assert positions[row, i % 2] == position
            (a, n), (a_without, n_without) = expected_path(
                folder, architecture, pair, row, position
            )
            ours = [found[k][i] for k in ("attention", "output_norm")]
            theirs = [found[f"{k}_ablated"][i] for k in ("attention", "output_norm")]
            np.testing.assert_allclose(ours, [a, n], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(theirs, [a_without, n_without], rtol=1e-4, atol=1e-6)
            moved = max(moved, abs(n_without - n) / n)
    assert moved > 1e-3
    assert lm.model.config._attn_implementation == implementation
    for name, value in lm.model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "gemma2"])
def test_scores_are_products_of_the_models_own_queries_and_keys(tmp_path, architecture):
    folder = make_model(architecture, tmp_path / "m", tokenizer=False)
    lm = load_causal_lm(folder, device="cpu")
    positions = np.array([3, 6, 11])
    survey = survey_heads(lm, [IDS[:2], IDS[2:]], 3, positions)
    plain = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    plain.eval()
    blocks, _, norm_name, query_name, out_name, _ = PLACES[architecture]
    n_heads, size = plain.config.num_attention_heads, plain.config.hidden_size
    rng = np.random.default_rng(0)
    for layer in (0, 2):
        block = plain.get_submodule(blocks)[layer]
        norm, query = block.get_submodule(norm_name), block.get_submodule(query_name)
        normed = []
        handle = norm.register_forward_hook(lambda _m, _a, out, normed=normed: normed.append(out))
        with torch.inference_mode():
            result = plain(input_ids=torch.from_numpy(IDS), output_attentions=True)
        handle.remove()
        attention = result.attentions[layer]
        bos = attention[:, :, 3:, 0].mean(dim=(0, 2))
        np.testing.assert_allclose(survey.bos_attention[layer], bos.numpy(), atol=1e-5)
        change = rng.normal(size=size)
        if architecture in ("gpt2", "gpt_neox"):
            change -= change.mean()
        # What the norm gives for a unit change of what it has divided.
        moved = (norm.weight.detach() + (architecture == "gemma2")) * torch.from_numpy(
            change
        ).float()
        first = normed[0][0, 0]
        at = torch.from_numpy(positions)[None]
        with torch.inference_mode():
            if architecture == "gpt2":
                q = (query(moved) - query(torch.zeros(size)))[:size].view(n_heads, 1, -1)
                q = q.expand(-1, len(positions), -1)
                k = query(first)[size : 2 * size].view(n_heads, -1)
                v = query(normed[0])[..., 2 * size :].unflatten(-1, (n_heads, -1))
            elif architecture == "gpt_neox":
                from transformers.models.gpt_neox.modeling_gpt_neox import apply_rotary_pos_emb

                all_q = (query(moved) - query(torch.zeros(size))).view(n_heads, 3, -1)[:, 0]
                k = query(first).view(n_heads, 3, -1)[:, 1]
                cos, sin = plain.gpt_neox.rotary_emb(moved[None, None], at)
                wide = all_q[None, :, None].expand(-1, -1, len(positions), -1)
                q = apply_rotary_pos_emb(wide, wide, cos, sin)[0][0]
                v = query(normed[0]).unflatten(-1, (n_heads, 3, -1))[..., 2, :]
            else:
                from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

                groups = n_heads // plain.config.num_key_value_heads
                one = block.self_attn
                cos, sin = plain.model.rotary_emb(moved[None, None], at)
                wide = query(moved).view(n_heads, 1, -1).expand(-1, len(positions), -1)[None]
                q = apply_rotary_pos_emb(wide, wide, cos, sin)[0][0]
                k = one.k_proj(first).view(n_heads // groups, -1).repeat_interleave(groups, 0)
                v = one.v_proj(normed[0]).unflatten(-1, (n_heads // groups, -1))
                v = v.repeat_interleave(groups, dim=-2)
            scale = 8**-0.5  # Every head of the tiny models has a width of 8.
            wanted = torch.einsum("hpk,hk->h", q, k) / len(positions) * scale
            weights = rows_of(block.get_submodule(out_name)).view(n_heads, -1, size)
            norms = torch.einsum("bthk,hkd->bthd", v, weights).norm(dim=-1)
        ours = survey.directions[layer] @ change
        np.testing.assert_allclose(ours, wanted.numpy(), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(survey.bos_norm[layer], norms[:, 0].mean(0), rtol=1e-4)
        np.testing.assert_allclose(survey.other_norm[layer], norms[:, 1:].mean((0, 1)), rtol=1e-4)
