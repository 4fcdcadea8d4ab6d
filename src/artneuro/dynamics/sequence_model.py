"""A language model that reads a sequence once, and is then asked about what could have followed.

The keys and values of the one pass are kept. The tokens of number trees are then read behind the
places that they branch off from, many trees in one pass, by an attention mask that lets each token
see what precedes its place and its own branch.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from artneuro.core.logs import Progress
from artneuro.dynamics.number_tree import NumberTree
from artneuro.models.hooks import adapter_of
from artneuro.models.loading import LanguageModel

log = logging.getLogger(__name__)

# The head's output is as wide as the vocabulary, so it is made for as many tokens as fit in this.
LOGIT_BYTES = 64 << 20


@dataclass(frozen=True)
class Reading:
    """What a model made of a sequence.

    Attributes
    ----------
    final : Tensor of shape (token, d_model)
        What the head reads at each token.
    residuals : ndarray of float32, shape (layer, row, d_model)
        The residual stream behind each of the layers, at the tokens asked for.
    cache : DynamicCache
        Keys and values of all tokens.
    """

    final: torch.Tensor
    residuals: np.ndarray
    cache: DynamicCache


def read_sequence(
    lm: LanguageModel, ids: np.ndarray, rows: np.ndarray, layers: Sequence[int]
) -> Reading:
    """Run a model over one sequence.

    Parameters
    ----------
    lm : LanguageModel
        With its head, which is not run.
    ids : ndarray of int64, shape (token,)
    rows : ndarray of int, shape (row,)
        Tokens whose residual stream is kept.
    layers : sequence of int
        Layers whose output is kept.
    """
    base = lm.model.base_model
    blocks: Any = base.get_submodule(adapter_of(lm.architecture).blocks)
    residuals = np.empty((len(layers), len(rows), lm.shape.d_model), dtype=np.float32)
    with ExitStack() as hooks, torch.inference_mode():
        for place, layer in enumerate(layers):

            def keep(_module: Any, _args: Any, output: Any, place: int = place) -> None:
                value = output[0] if isinstance(output, tuple) else output
                chosen = torch.from_numpy(rows).to(value.device)
                residuals[place] = value[0, chosen].float().cpu().numpy()

            handle = blocks[layer].register_forward_hook(keep)
            hooks.callback(handle.remove)
        # Without the model's config even layers with a window keep all of their keys.
        cache = DynamicCache()
        tokens = torch.from_numpy(ids)[None].to(lm.device)
        final = base(input_ids=tokens, past_key_values=cache, use_cache=True).last_hidden_state
    return Reading(final[0], residuals, cache)


def log_probabilities(lm: LanguageModel, hidden: torch.Tensor, wanted: np.ndarray) -> np.ndarray:
    """Log probabilities of some tokens behind each of some states.

    Parameters
    ----------
    lm : LanguageModel
        With its head.
    hidden : Tensor of shape (n, d_model)
        What the head reads.
    wanted : ndarray of int64, shape (n, k)
        Tokens behind each.

    Returns
    -------
    ndarray of float64, shape (n, k)
        In nats.
    """
    head = lm.model.get_output_embeddings()
    # Gemma 2 bounds its logits smoothly.
    cap = getattr(lm.model.config, "final_logit_softcapping", None)
    size = max(1, LOGIT_BYTES // (4 * lm.shape.vocab))
    found = np.empty(wanted.shape)
    with torch.inference_mode():
        for i in range(0, len(wanted), size):
            logits = head(hidden[i : i + size]).float()
            if cap:
                logits = cap * torch.tanh(logits / cap)
            chosen = torch.from_numpy(wanted[i : i + size]).to(logits.device)
            total = logits.logsumexp(dim=1, keepdim=True)
            found[i : i + size] = (logits.gather(1, chosen) - total).double().cpu().numpy()
    return found


def tree_conditionals(
    lm: LanguageModel,
    reading: Reading,
    roots: np.ndarray,
    tree: NumberTree,
    batch_tokens: int = 1024,
) -> np.ndarray:
    """Log probability of each node of a tree after its parent, behind some tokens of a sequence.

    Parameters
    ----------
    lm : LanguageModel
        With its head.
    reading : Reading
        Of the sequence.
    roots : ndarray of int, shape (n,)
        Tokens that a tree begins behind.
    tree : NumberTree
    batch_tokens : int
        Tokens of a forward pass (at least one tree).

    Returns
    -------
    ndarray of float64, shape (n, node)
        0 for the root.
    """
    asked = tree.inner
    kids = [np.flatnonzero(tree.parents == node) for node in asked]
    widest = max(len(k) for k in kids)
    # Nodes have different numbers of children: shorter rows are filled up and not read.
    padded = np.array([np.resize(k, widest) for k in kids])
    branch = asked[1:]
    at_once = max(1, batch_tokens // max(1, len(branch)))
    counter = Progress("number trees", len(roots), "trees", log)
    found = np.zeros((len(roots), len(tree.tokens)))
    for first in range(0, len(roots), at_once):
        chosen = roots[first : first + at_once]
        own = reading.final[torch.from_numpy(chosen).to(reading.final.device)][:, None]
        hidden = own
        if len(branch):
            below = _read_branches(lm, reading.cache, chosen, tree, branch)
            hidden = torch.cat([own, below.to(own.device)], dim=1)
        wanted = np.tile(tree.tokens[padded], (len(chosen), 1))
        logs = log_probabilities(lm, hidden.flatten(0, 1), wanted)
        logs = logs.reshape(len(chosen), len(asked), widest)
        for i, children in enumerate(kids):
            found[first : first + len(chosen), children] = logs[:, i, : len(children)]
        counter.add(len(chosen))
    return found


def _read_branches(
    lm: LanguageModel,
    cache: DynamicCache,
    roots: np.ndarray,
    tree: NumberTree,
    branch: np.ndarray,
) -> torch.Tensor:
    """What the head reads at the inner nodes of trees behind each root: (root, node, d_model)."""
    past = int(roots.max()) + 1
    n, k = len(roots), len(branch)
    place = {int(node): i for i, node in enumerate(branch)}
    related = np.eye(k, dtype=bool)
    for i, node in enumerate(branch):
        parent = int(tree.parents[node])
        if parent in place:
            related[i] |= related[place[parent]]
    depth = tree.depths[branch]
    # Distance of what is seen, in tokens: layers with a window see no further than that.
    before = roots[:, None, None] + depth[None, :, None] - np.arange(past)
    seen_before = np.broadcast_to(np.arange(past) <= roots[:, None, None], before.shape)
    own = np.broadcast_to(depth[:, None] - depth[None, :], (n, k, k))

    def mask(window: int | None) -> torch.Tensor:
        seen = np.zeros((n, k, past + n * k), dtype=bool)
        seen[..., :past] = seen_before & (before < window if window else True)
        for i in range(n):
            start = past + i * k
            seen[i, :, start : start + k] = related & (own[i] < window if window else True)
        dtype = lm.model.dtype
        hidden = torch.from_numpy(~seen.reshape(1, 1, n * k, -1)).to(lm.device)
        return torch.zeros(hidden.shape, dtype=dtype, device=lm.device).masked_fill_(
            hidden, torch.finfo(dtype).min
        )

    config = lm.model.config
    masks: Any = mask(None)
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        masks = {"full_attention": masks, "sliding_attention": mask(config.sliding_window)}
    tokens = np.tile(tree.tokens[branch], n)[None]
    positions = (roots[:, None] + depth).reshape(1, -1)
    kept: list[Any] = list(cache.layers)
    with torch.inference_mode():
        short = DynamicCache(
            [(layer.keys[:, :, :past], layer.values[:, :, :past]) for layer in kept]
        )
        final = lm.model.base_model(
            input_ids=torch.from_numpy(tokens).to(lm.device),
            attention_mask=masks,
            position_ids=torch.from_numpy(positions).to(lm.device),
            past_key_values=short,
            use_cache=True,
        ).last_hidden_state
    return final[0].unflatten(0, (n, k))
