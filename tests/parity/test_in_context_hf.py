"""Number trees behind a cached pass against transformers' own logits of whole sequences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import transformers

from artneuro.dynamics.number_tree import build_tree
from artneuro.dynamics.sequence_model import log_probabilities, read_sequence, tree_conditionals
from artneuro.models.loading import load_causal_lm, random_causal_lm
from tests.tiny_models import ARCHITECTURES, VOCAB, make_model


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_trees_and_residuals_equal_transformers(tmp_path, architecture):
    """Sequences longer than the windows of the models that have some (8 tokens)."""
    folder = make_model(architecture, tmp_path / "m", tokenizer=False)
    lm = load_causal_lm(folder, device="cpu")
    peer = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = np.random.default_rng(0).integers(1, VOCAB, 30).astype(np.int64)
    digits = list(itertools.product((10, 11, 12), (20, 21), (30, 31, 32)))
    tree = build_tree([[path] for path in digits])
    rows, roots = np.array([3, 5, 29]), np.array([2, 11, 20, 29])
    with torch.inference_mode():
        whole = peer(input_ids=torch.from_numpy(ids)[None], output_hidden_states=True)
        reading = read_sequence(lm, ids, rows, [0, 1])
        for layer in (0, 1):
            wanted = whole.hidden_states[layer + 1][0, rows].numpy()
            np.testing.assert_allclose(reading.residuals[layer], wanted, rtol=1e-5, atol=1e-5)
        logs = torch.log_softmax(whole.logits[0].double(), dim=-1)
        found = log_probabilities(lm, reading.final[:-1], ids[1:, None])[:, 0]
        wanted = logs[:-1].gather(1, torch.from_numpy(ids[1:, None]))[:, 0].numpy()
        np.testing.assert_allclose(found, wanted, atol=2e-5)
        # Several trees in one pass, and each alone.
        for batch_tokens in (1, 1000):
            conditionals = tree_conditionals(lm, reading, roots, tree, batch_tokens)
            found = np.log(tree.distribution(conditionals))
            for row, root in zip(found, roots, strict=True):
                paths = torch.tensor([[*ids[: root + 1].tolist(), *path] for path in digits])
                logs = torch.log_softmax(peer(input_ids=paths).logits.double(), dim=-1)
                each = logs[:, :-1].gather(2, paths[:, 1:, None])[..., 0]
                np.testing.assert_allclose(row, each[:, -3:].sum(dim=1).numpy(), atol=5e-5)


def test_the_likeliest_number_is_what_greedy_generation_writes(tmp_path):
    """Where one branch dominates, the tree's mode is what `generate` continues with."""
    folder = make_model("llama", tmp_path / "m", tokenizer=False)
    lm = load_causal_lm(folder, device="cpu")
    peer = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = np.random.default_rng(1).integers(1, VOCAB, 12).astype(np.int64)
    written = peer.generate(
        torch.from_numpy(ids)[None], max_new_tokens=2, do_sample=False, eos_token_id=None,
        pad_token_id=0,
    )[0, len(ids) :].tolist()  # fmt: skip
    first, second = written
    others = [token for token in range(5) if token not in written]
    paths = [(first, second), *((first, t) for t in others), *((t, second) for t in others)]
    tree = build_tree([[path] for path in paths])
    reading = read_sequence(lm, ids, np.array([0]), [])
    found = tree_conditionals(lm, reading, np.array([len(ids) - 1]), tree)
    # Greedy is the likeliest token at each step, not the likeliest sequence.
    children = {int(p): np.flatnonzero(tree.parents == p) for p in tree.inner}
    step = children[0][found[0, children[0]].argmax()]
    assert tree.tokens[step] == first
    assert tree.tokens[children[int(step)][found[0, children[int(step)]].argmax()]] == second


def test_random_weights_are_seeded_and_of_the_same_shape(tmp_path):
    folder = make_model("gpt2", tmp_path / "m", tokenizer=False)
    own = load_causal_lm(folder, device="cpu")
    first, again, other = (random_causal_lm(folder, seed, device="cpu") for seed in (1, 1, 2))
    assert first.shape == own.shape
    weights = [dict(lm.model.named_parameters()) for lm in (own, first, again, other)]
    name = "transformer.h.0.mlp.c_fc.weight"
    assert weights[0].keys() == weights[1].keys()
    assert torch.equal(weights[1][name], weights[2][name])
    assert not torch.equal(weights[1][name], weights[3][name])
    assert not torch.equal(weights[1][name], weights[0][name])
    # Those that training would begin with.
    assert weights[1][name].std().item() == pytest.approx(0.02, rel=0.05)
