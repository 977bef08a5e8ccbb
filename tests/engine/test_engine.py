"""A network's forward pass, layer by layer, and for several threads at once."""

from __future__ import annotations

import threading

import numpy as np

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
