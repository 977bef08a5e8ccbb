"""MLP: parameters as views, copies and equality, predicted classes and their names."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastmlp

SPEC = [
    {"n": 7, "act": None},
    {"n": 5, "act": fastmlp.leaky_relu, "slope": 0.2},
    {"n": 3, "act": "softmax", "cost": "CE"},
]


def test_weights_are_views_of_aligned_params():
    model = fastmlp.MLP(SPEC, seed=0)
    assert [w.shape for w in model.weights] == [(5, 7), (3, 5)]
    assert [b.shape for b in model.biases] == [(5,), (3,)]
    assert model.params.size == 58 and model.params.ctypes.data % 64 == 0
    x = np.ones((1, 7))
    before = model.predict(x)
    model.weights[1][:] = 0
    model.biases[1][:] = [3, 0, 0]
    assert (model.predict(x) != before).any()
    assert model.params[-3:].tolist() == [3, 0, 0]
    model.params[:] = 0
    np.testing.assert_allclose(model.predict(x), [[1 / 3] * 3])
    model.params = np.arange(58)
    assert model.weights[0][0, 0] == 0 and model.biases[1][2] == 57


def test_layer_without_biases():
    model = fastmlp.MLP([{"n": 2}, {"n": 3, "act": "tanh", "bias": False}, {"n": 1}], seed=0)
    assert model.params.size == 6 + 3 + 1
    np.testing.assert_array_equal(model.biases[0], 0)
    with pytest.raises(ValueError, match="read-only"):
        model.biases[0][:] = 1


def test_copy_equality_repr_pickle():
    model = fastmlp.MLP(SPEC, seed=0)
    other = model.copy()
    assert model == other and other == pickle.loads(pickle.dumps(model))
    other.weights[0][0, 0] += 1
    assert model != other
    assert model != fastmlp.MLP(SPEC, seed=0, dtype="float64")
    assert repr(model) == "<fastmlp.MLP 7 → 5 leaky_relu → 3 softmax, cross_entropy, 58 float32 parameters>"
    assert pickle.loads(pickle.dumps(model)).params.ctypes.data % 64 == 0


def test_predict_class_kinds():
    x = np.zeros((2, 1))
    one = fastmlp.MLP([{"n": 1}, {"n": 1, "act": "sigmoid"}])
    one.biases[0][:] = 1
    assert one.predict_class(x).tolist() == [1, 1]
    many = fastmlp.MLP([{"n": 1}, {"n": 3, "act": "sigmoid"}])
    many.biases[0][:] = [1, -1, 2]
    assert many.predict_class(x).tolist() == [[1, 0, 1]] * 2
    exclusive = fastmlp.MLP([{"n": 1}, {"n": 3, "act": "sigmoid", "cost": "CE"}])
    exclusive.biases[0][:] = [1, -1, 2]
    assert exclusive.predict_class(x).tolist() == [2, 2]


def test_class_names_are_checked():
    model = fastmlp.MLP(SPEC)
    for names, error in [
        (["a", "b"], ValueError), (["a", "b", "a"], ValueError), ("abc", TypeError), ([1, 2, 3], TypeError)
    ]:  # fmt: skip
        with pytest.raises(error, match="class_names"):
            model.class_names = names
    with pytest.raises(ValueError, match="class_names needs classes"):
        fastmlp.MLP([{"n": 2}, {"n": 1}]).class_names = ["a"]
    yes_or_no = fastmlp.MLP([{"n": 2}, {"n": 1, "act": "sigmoid"}])
    yes_or_no.class_names = ["no", "yes"]
    labels = fastmlp.MLP([{"n": 2}, {"n": 2, "act": "sigmoid"}])
    labels.class_names = ["red", "round"]
    labels.class_names = None
    assert labels.class_names is None


def test_metrics_under_poisson_are_of_counts():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 2)), rng.poisson(3.0, 40)
    model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "linear", "cost": "poisson"}], seed=0, dtype="float64")
    counts = np.exp(model.predict(x)[:, 0])
    assert model.evaluate(x, y, metrics=["mae"])["mae"] == pytest.approx(np.mean(np.abs(counts - y)), rel=1e-12)
    options = {"lr": 1e-9, "metrics": ["mae"], "epochs": 1, "batch_size": 40, "validation_data": (x, y)}
    history = fastmlp.train(x, y, model, **options).history
    assert history["mae"] == pytest.approx(history["val_mae"]) == [pytest.approx(np.mean(np.abs(counts - y)), rel=1e-6)]
