"""The sites' activations equal TransformerLens's, on the tiny models."""

from __future__ import annotations

import pytest
import torch

from artneuro.models.hooks import capture
from artneuro.models.loading import load_model
from artneuro.models.sites import SITES, hook_name
from tests.tiny_models import VOCAB, make_model

pytestmark = pytest.mark.slow
lens = pytest.importorskip("transformer_lens.model_bridge")


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "llama", "gemma2", "gemma3_text"])
def test_sites_equal_transformer_lens(tmp_path, architecture):
    folder = make_model(architecture, tmp_path / "m")
    ids = torch.randint(1, VOCAB, (3, 20), generator=torch.Generator().manual_seed(4))
    lm = load_model(folder, device="cpu")
    ours = capture(lm.model, architecture, ids, SITES, [0, 1, 2])
    bridge = lens.TransformerBridge.boot_transformers(str(folder), device="cpu")
    with torch.inference_mode():
        _, cache = bridge.run_with_cache(ids)
    assert len(ours) == len(SITES) * 3
    for (site, layer), value in ours.items():
        theirs = cache[hook_name(site, layer)]
        torch.testing.assert_close(
            value, theirs, rtol=1e-4, atol=2e-5, msg=lambda m, s=site, k=layer: f"{s} {k}: {m}"
        )
