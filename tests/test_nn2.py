"""The tutorial's functions against its arithmetic written out in NumPy, and its script with nn2 swapped in."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import nn2


def data(n=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(6, n)), np.eye(4)[rng.integers(0, 4, n)].T


def by_hand(x, y, w, b, acts, delta_of_output):
    """Forward and backward with columns as samples; dictionaries of sums over the samples."""
    z, a = {}, {0: x}
    for i in (1, 2):
        z[i] = w[i] @ a[i - 1] + b[i]
        a[i] = acts[i - 1][0](z[i])
    delta = delta_of_output(a[2], y, z[2])
    dw, db = {2: delta @ a[1].T}, {2: delta.sum(axis=1, keepdims=True)}
    delta = (w[2].T @ delta) * acts[0][1](z[1])
    dw[1], db[1] = delta @ x.T, delta.sum(axis=1, keepdims=True)
    return a[2], z, a, dw, db


def logistic(z):
    return 1 / (1 + np.exp(-z))


SIGMOID = logistic, lambda z: logistic(z) * (1 - logistic(z))
RELU = lambda z: np.maximum(z, 0), lambda z: (z > 0) * 1.0
LINEAR = lambda z: z, np.ones_like
SOFTMAX = lambda z: np.exp(z) / np.exp(z).sum(axis=0), None
CASES = {
    "softmax": ("relu", nn2.softmax, None, RELU, SOFTMAX, lambda a, y, z: a - y),
    "sigmoid BCE": ("sigmoid", nn2.sigmoid, "BCE", SIGMOID, SIGMOID, lambda a, y, z: a - y),
    "sigmoid MSE": ("relu", nn2.sigmoid, "MSE", RELU, SIGMOID, lambda a, y, z: (a - y) * SIGMOID[1](z)),
    "relu": ("linear", nn2.relu, None, LINEAR, RELU, lambda a, y, z: (a - y) * (z > 0)),
    "linear": ("relu", nn2.linear, None, RELU, LINEAR, lambda a, y, z: a - y),
}


@pytest.mark.parametrize("case", CASES)
def test_forward_and_backward(case):
    hidden, output, cost, hidden_pair, output_pair, delta = CASES[case]
    nn = [{"n": 6, "act": None}, {"n": 5, "act": getattr(nn2, hidden)}, {"n": 4, "act": output, "cost": cost}]
    rng = np.random.default_rng(1)
    w = {1: rng.normal(size=(5, 6)), 2: rng.normal(size=(4, 5))}
    b = {1: rng.normal(size=(5, 1)), 2: rng.normal(size=(4, 1))}
    x, y = data()
    expected = by_hand(x, y, w, b, (hidden_pair, output_pair), delta)
    y_hat, z, a = nn2.forward(x, w, b, nn)
    np.testing.assert_allclose(y_hat, expected[0], rtol=1e-10, atol=1e-12)
    for i in (1, 2):
        np.testing.assert_allclose(z[i], expected[1][i], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(a[i], expected[2][i], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(nn2.test(x, w, b, nn), y_hat)
    y_hat, dw, db = nn2.backward_cost(x, y, w, b, nn, cost)
    for i in (1, 2):
        assert db[i].shape == b[i].shape
        np.testing.assert_allclose(dw[i], expected[3][i], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(db[i], expected[4][i], rtol=1e-10, atol=1e-12)
    if output is not nn2.softmax:
        *_, dw_y, db_y = by_hand(x, y, w, b, (hidden_pair, output_pair), lambda a, y, z: output_pair[1](z))
        _, dw, db = nn2.backward_y(x, w, b, nn)
        for i in (1, 2):
            np.testing.assert_allclose(dw[i], dw_y[i], rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(db[i], db_y[i], rtol=1e-10, atol=1e-12)


def test_train_is_per_sample_sgd_over_the_global_permutation(capsys):
    nn = [{"n": 6, "act": None}, {"n": 5, "act": nn2.relu}, {"n": 4, "act": nn2.softmax, "cost": None}]
    x, y = data(50)
    np.random.seed(3)
    w, b = nn2.weight_init(nn)
    assert w[1].shape == (5, 6) and b[2].shape == (4, 1)
    assert w[1].min() >= 0 and w[1].max() < 0.001
    ours_w, ours_b = dict(w), dict(b)
    np.random.seed(4)
    got_w, got_b, acc, loss = nn2.train(x, y, 0.1, 3, ours_w, ours_b, nn)
    assert got_w is ours_w and got_b is ours_b
    np.random.seed(4)
    for epoch in range(3):
        seen = np.zeros_like(y)
        for j in np.random.permutation(50):
            y_hat, _, _, dw, db = by_hand(x[:, [j]], y[:, [j]], w, b, (RELU, SOFTMAX), lambda a, y, z: a - y)
            seen[:, [j]] = y_hat
            for k in (1, 2):
                w[k] = w[k] - 0.1 * dw[k]
                b[k] = b[k] - 0.1 * db[k]
        assert acc[epoch] == np.mean(seen.argmax(axis=0) == y.argmax(axis=0))
        assert loss[epoch] == pytest.approx(-np.mean(np.sum(y * np.log(seen), axis=0)), rel=1e-10)
    for k in (1, 2):
        np.testing.assert_allclose(ours_w[k], w[k], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(ours_b[k], b[k], rtol=1e-10, atol=1e-12)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"iter:{i + 1} acc:{acc[i]} loss:{loss[i]}" for i in range(3)]


def test_helpers():
    z = np.array([[0.0, 1000.0], [0.0, 0.0]])
    np.testing.assert_allclose(nn2.softmax(z), [[0.5, 1], [0.5, 0]])
    np.testing.assert_allclose(nn2.d_sigmoid(np.array([0.0])), [0.25])
    np.testing.assert_allclose(nn2.d_relu(np.array([-1.0, 2.0])), [0, 1])
    np.testing.assert_allclose(nn2.d_linear(np.array([5.0])), 1)
    for difference in (nn2.d_mse, nn2.d_bce_sigmoid, nn2.d_ce_softmax):
        np.testing.assert_allclose(difference(np.array([0.7]), np.array([1.0])), [-0.3])
    assert nn2.accuracy(np.array([[0.9, 0.2], [0.1, 0.8]]), np.array([[1, 1], [0, 0]])) == 0.5
    assert nn2.ce_loss(np.array([[1.0], [0.0]]), np.array([[1], [0]])) == 0


def test_wrong_shapes_are_named():
    nn = [{"n": 6, "act": None}, {"n": 4, "act": nn2.softmax}]
    x, _ = data()
    with pytest.raises(ValueError, match=r"w\[1\] and b\[1\]"):
        nn2.forward(x, {1: np.zeros((6, 4))}, {1: np.zeros((4, 1))}, nn)


def test_the_tutorials_script(mnist):
    """Its steps in its order on real digits; a larger alpha, because one pass now means one step a sample."""
    (x_train, y_train), (x_test, y_test) = mnist
    x_train, x_test = x_train / 255.0, x_test / 255.0
    x, y = x_train[:1000].T, np.eye(10)[y_train[:1000]].T
    x_, y_ = x_test[:1000].T, np.eye(10)[y_test[:1000]].T
    nn = [{"n": 784, "act": None}, {"n": 10, "act": nn2.relu}, {"n": 10, "act": nn2.softmax, "cost": None}]
    np.random.seed(0)
    (w, b) = nn2.weight_init(nn)
    (w, b, acc, loss) = nn2.train(x, y, 0.01, 20, w, b, nn)
    y_hat = nn2.test(x_, w, b, nn)
    assert acc[-1] > 0.9 and loss[-1] < loss[0]
    assert nn2.accuracy(y_hat, y_) > 0.75
