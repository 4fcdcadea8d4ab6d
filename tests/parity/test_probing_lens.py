"""The mean-difference probes against the k-sparse prober of TransformerLens."""

from __future__ import annotations

import numpy as np
import pytest

from artneuro.probing.config import ProbingConfig
from artneuro.probing.data import Feature
from artneuro.probing.layer import probe_layer


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 3, 8])
def test_mean_difference_probes_equal_those_of_transformer_lens(k):
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("transformer_lens.tools.analysis.sparse_probing")
    generator = np.random.default_rng(0)
    y = generator.random(300) < 0.3
    x = generator.standard_normal((300, 50)).astype(np.float32)
    x[y, :12] += generator.normal(size=12).astype(np.float32)
    n_train = 300 - sum(int(np.ceil(0.3 * n)) for n in (y.sum(), (~y).sum()))
    # Its loss is a mean with l2 strength s, ours a sum with C: they agree for s = 1 / (C n).
    theirs = peer.fit_sparse_probe(
        torch.from_numpy(x), torch.from_numpy(y), k=k, l2_strength=1.0 / n_train
    )
    train, test = np.sort(theirs.train_indices.numpy()), np.sort(theirs.test_indices.numpy())
    feature = Feature("c", "f", train, test, y[train], y[test], train, test)
    config = ProbingConfig(rankings=["mean_difference"], controls=[], max_k=k)
    (found,) = probe_layer(config, x, [feature], site="s", layer=0)
    assert found.supports[0].tolist() == theirs.selected_features.tolist()
    np.testing.assert_allclose(found.probes.coef[0, k - 1], theirs.coefficients, atol=1e-5)
    assert found.probes.intercept[0, k - 1] == pytest.approx(float(theirs.intercept), abs=1e-5)
    for name, value in (("f1", theirs.metrics.f1), ("auc", theirs.metrics.roc_auc)):
        assert getattr(found.metrics, name)[0, k - 1] == pytest.approx(value)
