"""train(): seeds, order, learning rates, validation, interruption, functions of users, and what is reached."""

from __future__ import annotations

import math
import os
import pickle
import signal
import subprocess
import sys
import time

import numba
import numpy as np
import pytest

import fastmlp

SPEC = [{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 2, "act": "softmax"}]


def blobs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + 2 * y[:, None], y


def same(model, other):
    np.testing.assert_array_equal(model.params, other.params)


def test_same_seed_same_bits():
    x, y = blobs()
    first, second, third = (fastmlp.train(x, y, SPEC, seed=seed, epochs=3)[0] for seed in (1, 1, 2))
    same(first, second)
    assert (first.params != third.params).any()


def test_what_train_returns_unpacks_and_has_names():
    x, y = blobs()
    result = fastmlp.train(x, y, SPEC, seed=1, epochs=2)
    assert isinstance(result, fastmlp.TrainResult)
    model, history = result
    assert result.model is model and result.history is history and history.epochs == 2
    again = pickle.loads(pickle.dumps(result))
    assert type(again) is fastmlp.TrainResult and again == result


def test_order_is_that_of_default_rng():
    x, y = blobs()
    shuffled, _ = fastmlp.train(x, y, SPEC, seed=5, epochs=2)
    model = fastmlp.MLP(SPEC, seed=5)
    rng = np.random.default_rng(5)
    for _ in range(2):
        order = rng.permutation(len(x))
        fastmlp.train(x[order], y[order], model, epochs=1, shuffle=False)
    same(shuffled, model)


def test_learning_rate_function_counts_from_zero():
    x, y = blobs()
    seen = []
    model, _ = fastmlp.train(x, y, SPEC, seed=0, shuffle=False, epochs=3, lr=lambda e: seen.append(e) or 0.1 * 0.5**e)
    assert seen == [0, 1, 2]
    other = fastmlp.MLP(SPEC, seed=0)
    for epoch in range(3):
        fastmlp.train(x, y, other, epochs=1, lr=0.1 * 0.5**epoch, shuffle=False)
    same(model, other)


def test_continues_an_existing_model_in_place():
    x, y = blobs()
    model = fastmlp.MLP(SPEC, seed=0)
    before = model.params.copy()
    again, _ = fastmlp.train(x, y, model, seed=0)
    assert again is model
    assert (model.params != before).any()


def test_full_batch_is_the_gradient():
    x, y = blobs(500)
    model = fastmlp.MLP(SPEC, seed=0, dtype="float64")
    _, grad = model.gradient(x, y)
    expected = model.params - 0.5 * grad
    fastmlp.train(x, y, model, lr=0.5, epochs=1, batch_size="full")
    np.testing.assert_allclose(model.params, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shuffle", [True, False])
def test_validation_fraction_holds_samples_out(shuffle):
    """Held-out samples are never trained on: a class that only they have stays unknown."""
    x, y = blobs(100)
    _, history = fastmlp.train(x, y, SPEC, validation_fraction=0.25, shuffle=shuffle, seed=0, epochs=2)
    assert len(history["val_loss"]) == 2
    if not shuffle:
        model, _ = fastmlp.train(x[:75], y[:75], SPEC, shuffle=False, seed=0, epochs=2)
        assert history["val_loss"][-1] == pytest.approx(model.evaluate(x[75:], y[75:])["loss"], rel=1e-6)


def test_metric_functions_see_outputs_as_each_sample_was_seen():
    x, y = blobs(40)

    def mean_output(y, y_hat):
        assert y.shape == y_hat.shape == (40, 2)
        return y_hat[:, 1].mean()

    _, history = fastmlp.train(x, y, SPEC, metrics=mean_output, epochs=1, seed=0)
    assert 0 < history["mean_output"][0] < 1


INTERRUPTED = """
import sys, warnings
import numpy as np
import fastmlp

rng = np.random.default_rng(0)
x, y = rng.normal(size=(20_000, 200)), rng.integers(0, 10, 20_000)
spec = [{"n": 200, "act": None}, {"n": 100, "act": "tanh"}, {"n": 10, "act": "softmax"}]
fastmlp.train(x[:100], y[:100], spec, epochs=1, batch_size={batch})
print("ready", flush=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model, history = fastmlp.train(x, y, spec, epochs=100_000, seed=0, batch_size={batch})
print("stopped", history.interrupted, len(history["loss"]) < 100_000, np.isfinite(model.params).all(), flush=True)
print(str(caught[0].message), model.predict(x[:5]).shape)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("batch", ["1", "'full'"])
def test_ctrl_c_stops_at_once_and_keeps_the_model(batch):
    script = INTERRUPTED.replace("{batch}", batch)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.0)
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "stopped True True True\n"
    assert time.perf_counter() - begin < 1.0  # 0.03 s when the machine is quiet
    rest, _ = process.communicate()
    assert "interrupted" in rest
    assert "(5, 10)" in rest


@numba.njit
def cube(z):
    return z * z * z


@numba.njit
def d_cube(z):
    return 3.0 * z * z


@numba.njit
def half_square(y_hat, y):
    return 0.5 * (y_hat - y) ** 2


@numba.njit
def d_half_square(y_hat, y):
    return y_hat - y


def test_custom_activation_and_loss():
    x, _ = blobs(40)
    y = np.tanh(x[:, :2])
    act = fastmlp.Activation("cube", cube, d_cube)
    loss = fastmlp.Loss("half_square", half_square, d_half_square)
    spec = [{"n": 3, "act": None}, {"n": 4, "act": act}, {"n": 2, "act": act, "cost": loss}]
    model = fastmlp.MLP(spec, seed=0)
    assert fastmlp.check_gradients(model, x[:5], y[:5])
    np.testing.assert_allclose(act(np.array([2.0, -1.0])), [8, -1])
    same(model, pickle.loads(pickle.dumps(model)))
    ours, _ = fastmlp.train(x, y, [*spec[:-1], {"n": 2, "act": None, "cost": loss}], seed=0, lr=1e-4)
    builtin, _ = fastmlp.train(x, y, [*spec[:-1], {"n": 2, "act": None, "cost": "mse"}], seed=0, lr=1e-4)
    np.testing.assert_allclose(ours.params, builtin.params, rtol=1e-5, atol=1e-7)


def test_xor_regression_and_multilabel_learn():
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    model, history = fastmlp.train(x, y, spec, lr=0.5, epochs=1000, seed=0)
    assert model.predict_class(x).tolist() == [0, 1, 1, 0]
    assert history["accuracy"][-1] == 1
    labels = np.stack([y, 1 - y, x[:, 0]], axis=1)
    model, _ = fastmlp.train(x, labels, [*spec[:-1], {"n": 3, "act": "sigmoid"}], lr=0.5, epochs=1000, seed=0)
    np.testing.assert_array_equal(model.predict_class(x), labels)
    grid = np.linspace(-3, 3, 200)[:, None]
    spec = [{"n": 1, "act": None}, {"n": 32, "act": "tanh"}, {"n": 1, "act": "linear"}]
    model, _ = fastmlp.train(grid, np.sin(grid[:, 0]), spec, lr=0.02, epochs=300, seed=0)
    assert model.evaluate(grid, np.sin(grid), metrics="r2")["r2"] > 0.99
    assert math.isclose(
        model.evaluate(grid, np.sin(grid), metrics="mse")["mse"],
        2 * model.evaluate(grid, np.sin(grid))["loss"],
        rel_tol=1e-4,
    )


def test_mnist_as_promised(mnist):
    """In the median of seeds the tutorial's experiment reaches 82 %, and all of MNIST 97.8 % in four epochs."""
    (x, y), test = mnist
    first = {"n": 784, "act": None, "scale": 1 / 255}
    small = [first, {"n": 10, "act": "relu"}, {"n": 10, "act": "softmax"}]
    reached = []
    for seed in range(5):
        model, _ = fastmlp.train(x[:1000], y[:1000], small, lr=0.01, epochs=20, seed=seed)
        reached.append(model.evaluate(*test)["accuracy"])
    assert np.median(reached) >= 0.82
    wide = [first, {"n": 128, "act": "relu"}, {"n": 10, "act": "softmax"}]
    reached = []
    for seed in range(3):
        model, _ = fastmlp.train(x, y, wide, lr=lambda epoch: 0.03 * 0.5**epoch, epochs=4, seed=seed)
        reached.append(model.evaluate(*test)["accuracy"])
    assert np.median(reached) >= 0.978
