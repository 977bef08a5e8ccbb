"""Training leaves no subnormal numbers behind, and the thread as it was."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.engine.epochs import EpochRunner, Samples
from fastmlp.engine.steps import OptimizerState
from fastmlp.optimizers import SGD, Adam

STEPS = 30_000


def subnormal(values):
    return (values != 0) & (np.abs(values) < np.finfo(values.dtype).tiny)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), Adam()], ids=str)
def test_what_is_kept_of_an_input_that_is_zero_from_now_on_becomes_zero(optimizer, batch, real):
    x = np.ones((batch, 3), real)
    spec = [{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, {"n": 2, "act": "softmax"}]
    model = fastmlp.MLP(spec, seed=0, dtype=real)
    state = OptimizerState.begin(optimizer, model.params)
    samples = Samples(x, np.zeros(batch, np.int64))
    EpochRunner(model, samples, batch, {}, state, [], 1).run(np.arange(batch), 1e-3, 0)
    x[:, 1] = 0
    memory = state.vectors[0][: 3 * 4].reshape(3, 4)
    assert memory[1].all()
    runner = EpochRunner(model, samples, batch, {}, state, [], 1)
    for _ in range(STEPS // 3000):
        runner.run(np.tile(np.arange(batch), 3000), 1e-3, 0)
    assert not memory[1].any() and memory[0].all()
    assert not any(subnormal(vector).any() for vector in state.vectors)


def test_the_callers_thread_keeps_its_subnormal_numbers(real):
    small = np.full(100, np.finfo(real).tiny, real)
    x = np.eye(4)
    for options in ({}, {"optimizer": "adam"}, {"optimizer": SGD(0.9)}, {"batch_size": 3}):
        fastmlp.train(x, [0, 1, 0, 1], [{"n": 4, "act": None}, {"n": 1, "act": "sigmoid"}], dtype=real, **options)
        assert subnormal(small / 2).all()
