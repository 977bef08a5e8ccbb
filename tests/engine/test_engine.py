"""A network's forward pass, layer by layer, and for several threads at once."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fastmlp


def test_forward_gives_every_layer():
    model = fastmlp.MLP([{"n": 2, "shift": [1, 2], "scale": 0.5}, {"n": 3, "act": "tanh"}, {"n": 1}], dtype="float64")
    x = np.random.default_rng(0).normal(size=(150, 2))
    zs, activations = model.forward(x)
    np.testing.assert_allclose(activations[0], (x - [1, 2]) * 0.5)
    np.testing.assert_allclose(zs[0], activations[0] @ model.weights[0].T + model.biases[0])
    np.testing.assert_allclose(activations[1], np.tanh(zs[0]))
    np.testing.assert_allclose(activations[2], model.predict(x))


def test_threads_share_a_model():
    model = fastmlp.MLP([{"n": 50}, {"n": 40, "act": "tanh"}, {"n": 5, "act": "softmax"}], seed=0)
    x = np.random.default_rng(0).normal(size=(3000, 50))
    expected = model.predict(x)
    wrong = []

    def work():
        for _ in range(10):
            if not np.array_equal(model.predict(x), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("n", [2, 64, 100, 700])
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_rows_of_x_that_are_used_where_they_are_give_the_bits_of_copies(n, density):
    """Rows of 128 numbers of the network's dtype are whole cache lines; every other column of a wider array is not."""
    rng = np.random.default_rng(n)
    model = fastmlp.MLP([{"n": 128}, {"n": 40, "act": "relu"}, {"n": 3, "act": "softmax"}], seed=0)
    x = (rng.normal(size=(n, 128)) * (rng.random((n, 128)) < density)).astype(np.float32)
    y, wide = rng.integers(0, 3, n), np.zeros((n, 256), np.float32)
    wide[:, ::2] = x
    before = x.copy()
    x.flags.writeable = False
    for results in (model.predict, lambda x: model.gradient(x, y)[1][0], lambda x: model.evaluate(x, y)["loss"]):
        np.testing.assert_array_equal(results(x), results(wide[:, ::2]))
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [2, 70, 2000])
def test_a_number_that_is_not_finite_is_seen_wherever_it_stands(n, bad):
    model = fastmlp.MLP([{"n": 64}, {"n": 16, "act": "relu"}, {"n": 3, "act": "softmax"}], seed=0)
    model.weights[0][:, 5] = 0  # times 0 it is NaN
    x = np.random.default_rng(0).random((n, 64), dtype=np.float32)
    expected = model.predict(x)
    for row, column in ((0, 0), (n // 2, 5), (n - 1, 63)):
        x[row, column], kept = bad, x[row, column]
        with pytest.raises(ValueError, match="x must be finite"):
            model.predict(x)
        x[row, column] = kept
        np.testing.assert_array_equal(model.predict(x), expected)


def test_large_numbers_are_no_reason_to_refuse_x():
    """The first layer's sums overflow, x does not."""
    model = fastmlp.MLP([{"n": 64}, {"n": 16, "act": "tanh"}, {"n": 1}], seed=0)
    x = np.full((80, 64), 3e38, np.float32)
    assert model.predict(x).shape == (80, 1)
