"""Spec and MLP: parsing, printing, round trips, views, copies, initial weights, metrics."""

from __future__ import annotations

import pickle
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmlp
from fastmlp import metrics
from fastmlp.init import INITS

SPEC = [
    {"n": 7, "act": None},
    {"n": 5, "act": fastmlp.leaky_relu, "slope": 0.2},
    {"n": 3, "act": "softmax", "cost": "CE"},
]


def test_spec_prints_a_table():
    lines = str(fastmlp.Spec(SPEC)).splitlines()
    assert lines[0].split() == ["layer", "activation", "weights", "biases", "parameters"]
    assert lines[2].split() == ["1", "leaky_relu", "(5,", "7)", "5", "40"]
    assert lines[-1] == "loss: cross_entropy, 58 parameters"


layer = st.fixed_dictionaries(
    {"n": st.integers(1, 9), "act": st.sampled_from(["relu", "tanh", "softmax", "leaky_relu", "sine", "linear"])},
    optional={"bias": st.booleans()},
)
numbers = st.floats(-10, 10, allow_nan=False)


@given(st.integers(1, 4), st.lists(layer, min_size=1, max_size=4), st.none() | numbers, st.none() | numbers)
@settings(max_examples=50, deadline=None)
def test_spec_round_trips(n_in, layers, shift, scale):
    spec = fastmlp.Spec([{"n": n_in, "act": None, "shift": shift, "scale": scale}, *layers])
    assert fastmlp.Spec(spec.to_list()) == spec == fastmlp.Spec.from_json(spec.to_json())
    assert pickle.loads(pickle.dumps(spec)) == spec == fastmlp.Spec(spec)
    assert hash(spec) == hash(fastmlp.Spec(spec.to_list()))
    assert spec.n_params == fastmlp.MLP(spec).params.size


def test_spec_is_frozen():
    spec = fastmlp.Spec(SPEC)
    with pytest.raises(AttributeError):
        spec.n_in = 3
    assert len(spec) == 3 and spec.widths == (7, 5, 3) and spec.n_out == 3


def test_step_warns():
    with pytest.warns(UserWarning, match=r"spec\[2\].*layers 1 to 2 do not train"):
        fastmlp.Spec([{"n": 2}, {"n": 3, "act": "relu"}, {"n": 2, "act": "step"}, {"n": 1}])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastmlp.Spec([{"n": 2}, {"n": 1}])


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


def test_forward_gives_every_layer():
    model = fastmlp.MLP([{"n": 2, "shift": [1, 2], "scale": 0.5}, {"n": 3, "act": "tanh"}, {"n": 1}], dtype="float64")
    x = np.random.default_rng(0).normal(size=(150, 2))
    zs, activations = model.forward(x)
    np.testing.assert_allclose(activations[0], (x - [1, 2]) * 0.5)
    np.testing.assert_allclose(zs[0], activations[0] @ model.weights[0].T + model.biases[0])
    np.testing.assert_allclose(activations[1], np.tanh(zs[0]))
    np.testing.assert_allclose(activations[2], model.predict(x))


def test_copy_equality_repr_pickle():
    model = fastmlp.MLP(SPEC, seed=0)
    other = model.copy()
    assert model == other and other == pickle.loads(pickle.dumps(model))
    other.weights[0][0, 0] += 1
    assert model != other
    assert model != fastmlp.MLP(SPEC, seed=0, dtype="float64")
    assert repr(model) == "<fastmlp.MLP 7 → 5 leaky_relu → 3 softmax, cross_entropy, 58 float32 parameters>"
    assert pickle.loads(pickle.dumps(model)).params.ctypes.data % 64 == 0


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


STDS = {"he": np.sqrt(2 / 300), "glorot": np.sqrt(2 / 500), "lecun": np.sqrt(1 / 300)}


@pytest.mark.parametrize("name", INITS)
def test_initial_weights(name):
    spec = [{"n": 300}, {"n": 200, "act": "relu"}]
    model = fastmlp.MLP(spec, init=name, seed=1, dtype="float64")
    w = model.weights[0]
    assert model == fastmlp.MLP(spec, init=name, seed=1, dtype="float64")
    np.testing.assert_array_equal(model.biases[0], 0)
    if name == "orthogonal":
        np.testing.assert_allclose(w @ w.T, np.eye(200), atol=1e-12)
        return
    kind = "he" if name == "auto" else name.split("_")[0]
    assert np.std(w) == pytest.approx(STDS[kind], rel=0.02)
    if name.endswith("uniform"):
        assert np.abs(w).max() == pytest.approx(np.sqrt(3) * STDS[kind], rel=0.01)


def test_metrics_against_scikit_learn():
    scores = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    y, y_hat = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    assert metrics.mse(y, y_hat) == pytest.approx(scores.mean_squared_error(y, y_hat))
    assert metrics.mae(y, y_hat) == pytest.approx(scores.mean_absolute_error(y, y_hat))
    assert metrics.r2(y, y_hat) == pytest.approx(scores.r2_score(y, y_hat))
    assert metrics.mbe(y, y_hat) == pytest.approx(np.mean(y - y_hat))
    labels = rng.integers(0, 6, 50)
    p = rng.dirichlet(np.ones(6), 50)
    one_hot = np.eye(6)[labels]
    assert metrics.accuracy(one_hot, p) == pytest.approx(scores.accuracy_score(labels, p.argmax(axis=1)))
    for k in (1, 2, 5):
        assert metrics.top_k(one_hot, p, k) == pytest.approx(scores.top_k_accuracy_score(labels, p, k=k))
    assert metrics.cross_entropy(one_hot, p) == pytest.approx(scores.log_loss(labels, p))


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


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_sample_takes_a_short_way_to_the_same_numbers(dtype):
    model = fastmlp.MLP([{"n": 3, "act": None, "scale": 0.5}, {"n": 16, "act": "tanh"}, {"n": 2}], seed=0, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(50, 3))
    many = model.predict(x)
    rounding = 1e-6 if dtype == "float32" else 1e-14
    for kind in ("float64", "float32", "int16", "uint8", "bool"):
        rows = (x * 10).astype(kind)
        np.testing.assert_allclose(
            [model.predict(row[None])[0] for row in rows], model.predict(rows), rtol=rounding, atol=rounding
        )
    first, second = model.predict(x[:1]), model.predict(x[1:2])
    np.testing.assert_allclose([first[0], second[0]], many[:2], rtol=rounding, atol=rounding)  # outputs of their own
    model.params *= 0
    assert not model.predict(x[:1]).any()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"x\[0, 1\] is (nan|inf)"):
            model.predict(np.array([[0.0, bad, 0.0]]))


def test_one_sample_from_many_threads():
    model = fastmlp.MLP([{"n": 8, "act": None}, {"n": 64, "act": "tanh"}, {"n": 3, "act": "softmax"}], seed=0)
    x = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    alone = [model.predict(row[None]) for row in x]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: model.predict(x[i % 200, None]), range(4000)))
    for i, outputs in enumerate(together):
        np.testing.assert_array_equal(outputs, alone[i % 200])
