"""History: its names and numbers, and the one that a DivergenceError carries."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastmlp

SPEC = [{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 2, "act": "softmax"}]


def blobs(n=60, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 3)) + 2 * y[:, None], y


def test_history_and_validation():
    x, y = blobs(200)
    model, history = fastmlp.train(
        x, y, SPEC, epochs=4, seed=0, lr=0.1, validation_data=blobs(50, seed=9), metrics=["mse", "top_1", "r2"]
    )
    names = ["loss", "accuracy", "mse", "top_1", "r2"]
    assert list(history) == names + [f"val_{name}" for name in names]
    assert all(len(values) == 4 for values in history.values())
    assert history["loss"][-1] < history["loss"][0]
    assert history["top_1"] == pytest.approx(history["accuracy"])
    report = model.evaluate(*blobs(50, seed=9), metrics=["mse"])
    assert history["val_loss"][-1] == report["loss"]
    assert history["val_mse"][-1] == report["mse"]


def test_history_loss_is_that_of_each_sample_as_it_was_seen():
    x, y = blobs(20)
    model = fastmlp.MLP(SPEC, seed=0, dtype="float64")
    _, history = fastmlp.train(x, y, model.copy(), epochs=1, shuffle=False, lr=0.1)
    seen = []
    for i in range(len(x)):
        report = model.evaluate(x[i : i + 1], y[i : i + 1])
        seen.append((report["loss"], report["accuracy"]))
        fastmlp.train(x[i : i + 1], y[i : i + 1], model, epochs=1, lr=0.1)
    assert history["loss"][0] == pytest.approx(np.mean(seen, axis=0)[0], rel=1e-12)
    assert history["accuracy"][0] == pytest.approx(np.mean(seen, axis=0)[1])


def test_divergence_restores_the_last_finite_epoch():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=50)
    spec = [{"n": 3, "act": None}, {"n": 4, "act": "linear"}, {"n": 1, "act": "linear"}]
    lr = [0.01, 0.01, 1e6].__getitem__
    with pytest.raises(fastmlp.DivergenceError, match="epoch 3") as caught:
        fastmlp.train(x, y, spec, lr=lr, epochs=3, seed=0)
    assert caught.value.epoch == 3
    assert len(caught.value.history["loss"]) == 2
    assert pickle.loads(pickle.dumps(caught.value)).epoch == 3
    model, _ = fastmlp.train(x, y, spec, lr=0.01, epochs=2, seed=0)
    np.testing.assert_array_equal(caught.value.model.params, model.params)


def test_what_others_write_is_answered():
    x, y = blobs()
    history = fastmlp.train(x, y, SPEC, epochs=1).history
    with pytest.raises(AttributeError, match=r"it is a dict itself: history\['loss'\]"):
        history.history  # noqa: B018
    with pytest.raises(KeyError, match=r"no 'val_loss'; it has loss, accuracy; val_… needs validation_data"):
        history["val_loss"]
    assert history.get("val_loss") is None and pickle.loads(pickle.dumps(history)) == history
