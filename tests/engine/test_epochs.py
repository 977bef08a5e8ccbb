"""Short epochs, many in one call: the bits and the ends of epochs that are called one by one."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.optimizers import OPTIMIZERS

SPEC = [{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 2, "act": "softmax"}]


def blobs(n=60):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + 2 * y[:, None], y


@pytest.mark.parametrize(
    "optimizer", [*sorted(OPTIMIZERS.keys() - {"lbfgs"}), fastmlp.optimizers.SGD(momentum=0.9)], ids=str
)
@pytest.mark.parametrize("batch", [1, 8, "full"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("lr", [0.02, fastmlp.schedules.Cosine(0.02, epochs=100)], ids=["constant", "cosine"])
def test_short_epochs_run_together_with_the_same_bits(optimizer, batch, weighted, lr):
    """A callback makes each epoch a call of its own."""
    x, y = blobs()
    weight = np.where(np.arange(len(x)) % 5, 1.5, 0.0) if weighted else None
    options = dict(lr=lr, epochs=100, seed=3, optimizer=optimizer, batch_size=batch, sample_weight=weight)
    together = fastmlp.train(x, y, SPEC, **options)
    assert together == fastmlp.train(x, y, SPEC, callbacks=lambda state: None, **options)


@pytest.mark.parametrize("n_good", [0, 1, 4, 70])
def test_divergence_among_epochs_run_together(n_good):
    x, y = blobs()
    spec = [{"n": 3, "act": None}, {"n": 5, "act": "relu"}, {"n": 1, "act": "linear"}]

    def rate(epoch):
        return 0.01 if epoch < n_good else 1e30

    seen = []
    for callbacks in ((), lambda state: None):
        with pytest.raises(fastmlp.DivergenceError) as caught:
            fastmlp.train(x, y, spec, lr=rate, epochs=200, seed=0, callbacks=callbacks)
        seen.append((caught.value.epoch, caught.value.model, caught.value.history))
    assert seen[0] == seen[1] and seen[0][0] == n_good + 1
    assert len(seen[0][2].get("loss", [])) == n_good
