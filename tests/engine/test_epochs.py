"""Short epochs, many in one call: the bits and the ends of epochs that are called one by one."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.engine.call import TimeSlices
from fastmlp.optimizers import OPTIMIZERS, SGD

SPEC = [{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 2, "act": "softmax"}]


def blobs(n=60):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + 2 * y[:, None], y


@pytest.mark.parametrize("optimizer", [*sorted(OPTIMIZERS.keys() - {"lbfgs", "lm"}), SGD(momentum=0.9)], ids=str)
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


@pytest.mark.parametrize("options", [{}, {"l2": 0.5}, {"clip_norm": 0.5, "dropout": 0.3}], ids=str)
@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.7), "adam"], ids=str)
@pytest.mark.parametrize("width", [5, 16])
def test_bits_do_not_depend_on_how_an_epoch_is_sliced(optimizer, options, width, monkeypatch):
    x, y = blobs(500)
    spec = [SPEC[0], {"n": width, "act": "relu"}, {"n": 16, "act": "tanh"}, SPEC[-1]]
    models = []
    for blocks_at_once in (1, 3, 1000):

        def slices(self, n, step, at_once=blocks_at_once):
            return ((start, min(at_once * step, n - start)) for start in range(0, n, at_once * step))

        monkeypatch.setattr(TimeSlices, "slices", slices)
        models.append(fastmlp.train(x, y, spec, lr=0.02, epochs=2, seed=3, optimizer=optimizer, **options).model)
    assert models[0] == models[1] == models[2]


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
