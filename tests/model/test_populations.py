"""Many vectors of parameters under one spec: the bits of one network after another, and refusals in words."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import scipy.sparse

import fastmlp

SPECS = {  # hidden widths of 16s are used in place, others are packed; the first takes one sample in blocks of networks
    "in place": [{"n": 8, "act": None}, {"n": 32, "act": "tanh"}, {"n": 16, "act": "relu"}, {"n": 2, "act": "softmax"}],
    "packed": [{"n": 3, "act": None, "shift": 0.5, "scale": 2.0}, {"n": 5, "act": "gelu"}, {"n": 2, "act": "linear"}],
    "one sigmoid": [{"n": 5, "act": None}, {"n": 7, "act": "tanh", "bias": False}, {"n": 1, "act": "sigmoid"}],
    "one layer": [{"n": 4, "act": None}, {"n": 3, "act": "softmax"}],
}
N = 70  # networks: more than a block


def population(spec, dtype, n=N):
    models = [fastmlp.MLP(spec, seed=seed, dtype=dtype) for seed in range(n)]
    return models, np.array([model.params for model in models])


def samples(model, n, seed=0):
    rng, spec = np.random.default_rng(seed), model.spec
    x = rng.normal(size=(n, spec.n_in))
    return x, rng.integers(0, max(2, spec.n_out), n) if model.spec.loss.classification else rng.normal(size=(n, 2))


@pytest.mark.parametrize("n_threads", [1, 3])
@pytest.mark.parametrize("n", [1, 5, 150])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SPECS)
def test_each_network_has_the_bits_of_a_model(name, dtype, n, n_threads):
    models, params = population(SPECS[name], dtype)
    x, y = samples(models[0], n)
    own = np.stack([samples(models[0], n, seed)[0] for seed in range(N)])
    for given in (x, own):
        of_each = given if given.ndim == 3 else [x] * N
        outputs = fastmlp.predict_many(SPECS[name], params, given, n_threads=n_threads)
        values = fastmlp.evaluate_many(SPECS[name], params, given, y, n_threads=n_threads)
        losses, gradients = fastmlp.gradient_many(SPECS[name], params, given, y, n_threads=n_threads)
        for i, (model, xs) in enumerate(zip(models, of_each, strict=True)):
            np.testing.assert_array_equal(outputs[i], model.forward(xs)[1][-1])
            alone = model.evaluate(xs, y)  # for a single sample by a shorter way, which may differ in the last bit
            assert {key: array[i] for key, array in values.items()} == pytest.approx(alone, rel=1e-6 if n == 1 else 0)
            loss, gradient = model.gradient(xs, y)
            assert losses[i] == loss
            np.testing.assert_array_equal(gradients[i], gradient)
        assert (outputs.dtype, gradients.dtype) == (params.dtype, params.dtype)


def test_targets_of_each_networks_own():
    spec = SPECS["in place"]
    models, params = population(spec, "float64", 4)
    x, y = np.random.default_rng(0).normal(size=(4, 6, 8)), np.random.default_rng(1).integers(0, 2, (4, 6))
    values, one_hot = fastmlp.evaluate_many(spec, params, x, y), np.eye(2)[y]
    losses, _ = fastmlp.gradient_many(spec, params, x, one_hot)
    for i, model in enumerate(models):
        assert values["loss"][i] == model.evaluate(x[i], y[i])["loss"]
        assert losses[i] == model.gradient(x[i], one_hot[i])[0]


def test_rows_of_targets_are_for_all_networks_whatever_these_count():
    """Three networks, samples and outputs: (3, 3) could be taken for each network's own classes."""
    spec = SPECS["one layer"]
    models, params = population(spec, "float64", 3)
    x, y = np.random.default_rng(0).normal(size=(3, 3, 4)), np.eye(3)
    values, (losses, _) = fastmlp.evaluate_many(spec, params, x, y), fastmlp.gradient_many(spec, params, x, y)
    for i, model in enumerate(models):
        assert values["loss"][i] == losses[i] == model.evaluate(x[i], y)["loss"]


def test_any_strides_dtypes_and_sparse_samples():
    spec = SPECS["in place"]
    _, params = population(spec, "float32", 5)
    x = np.random.default_rng(0).integers(0, 255, (9, 8), dtype=np.uint8)
    expected = fastmlp.predict_many(spec, params, x.astype(np.float64))
    big_endian = params.astype(params.dtype.newbyteorder(">"))
    spread = np.asfortranarray(params)
    for given in (params[::-1][::-1], spread, big_endian, params):
        np.testing.assert_array_equal(fastmlp.predict_many(spec, given, np.asfortranarray(x)), expected)
    np.testing.assert_array_equal(fastmlp.predict_many(spec, params, scipy.sparse.csr_array(x)), expected)
    params.flags.writeable = False
    out = np.zeros((5, 2, 9), np.float32).transpose(0, 2, 1)
    assert fastmlp.predict_many(fastmlp.Spec(spec), params, x, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_networks_may_be_of_own_activations():
    @numba.njit
    def cube(z):
        return z * z * z

    @numba.njit
    def d_cube(z):
        return 3.0 * z * z

    act = fastmlp.Activation("cube", cube, d_cube)
    spec = [{"n": 2, "act": None}, {"n": 4, "act": act}, {"n": 1, "act": "linear"}]
    models, params = population(spec, "float64", 3)
    outputs = fastmlp.predict_many(spec, params, [[1.0, 2.0], [0.5, -1.0]])
    for output, model in zip(outputs, models, strict=True):
        np.testing.assert_array_equal(output, model.predict([[1.0, 2.0], [0.5, -1.0]]))


def test_numbers_of_a_network_do_not_depend_on_the_others():
    spec = SPECS["in place"]
    _, params = population(spec, "float32")
    params[3], params[40] = np.nan, np.inf
    x = np.random.default_rng(0).normal(size=(1, 8))
    outputs = fastmlp.predict_many(spec, params, x)
    for i in (0, 2, 4, 39, 41, N - 1):
        np.testing.assert_array_equal(fastmlp.predict_many(spec, params[i : i + 1], x)[0], outputs[i])
    assert np.isnan(outputs[3]).all() and np.isfinite(outputs[[0, 2, 4, 39, 41]]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.9])
def test_zeros_among_inputs_and_activations_change_no_bits(dtype, share):
    """One sample goes another way than several: by all rows of the weights, or by those whose factor is not zero."""
    spec = [{"n": 40, "act": None}, {"n": 144, "act": "relu"}, {"n": 48, "act": "tanh"}, {"n": 3, "act": "linear"}]
    models, params = population(spec, dtype, 9)
    params[4] = 0.0
    models[4].params = params[4]
    rng = np.random.default_rng(0)
    shared, own = (rng.normal(size=shape) * (rng.random(shape) >= share) for shape in ((1, 40), (9, 1, 40)))
    for x in (shared, own):
        outputs = fastmlp.predict_many(spec, params, x)
        for i, model in enumerate(models):
            sample = x if x.ndim == 2 else x[i]
            np.testing.assert_array_equal(outputs[i], model.forward(sample)[1][-1])
            a = sample
            for w, b, layer in zip(model.weights, model.biases, model.spec.layers, strict=True):
                a = layer.act(a @ w.T.astype(float) + b)
            np.testing.assert_allclose(outputs[i], a, rtol=1e-4, atol=1e-5)


def test_lists_that_look_alike_are_not_taken_for_each_other():
    spec = [{"n": 2, "act": None}, {"n": 1, "act": "linear"}]
    assert fastmlp.predict_many(spec, np.ones((1, 3)), [[1.0, 2.0]]).item() == 4
    with pytest.raises(TypeError, match="must be a positive integer, got True"):
        fastmlp.predict_many([spec[0], {"n": True, "act": "linear"}], np.ones((1, 3)), [[1.0, 2.0]])
    spec[1]["shift"] = [1.0]  # a list cannot be remembered
    assert fastmlp.predict_many(spec, np.ones((1, 3)), [[1.0, 2.0]]).item() == 5
    spec[1]["shift"][0] = 2.0
    assert fastmlp.predict_many(spec, np.ones((1, 3)), [[1.0, 2.0]]).item() == 6


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"params": np.zeros((3, 5))}, ValueError, r"params must have shape \(n_networks, 51\), got \(3, 5\)"),
        ({"params": np.zeros(51)}, ValueError, r"one network is params\[None\]"),
        ({"params": np.zeros((0, 51))}, ValueError, "params is empty"),
        ({"params": np.zeros((3, 51), int)}, TypeError, "params must be float32 or float64, got int64"),
        ({"x": np.zeros((4, 3))}, ValueError, "x has 3 features, the network takes 4"),
        ({"x": np.full((4, 4), np.nan)}, ValueError, "x"),
        ({"x": np.zeros((2, 5, 4))}, ValueError, "x has samples for 2 networks, params has 3"),
        ({"n_threads": 0}, ValueError, "n_threads must be at least 1"),
        ({"out": np.zeros((3, 6, 2))}, ValueError, "out must be an array"),
        ({"out": 3}, TypeError, "out must be an array, got int"),
        ({"spec": [{"n": 4}]}, ValueError, "spec"),
    ],
)
def test_bad_input_is_refused_in_words(change, error, words):
    spec = [{"n": 4, "act": None}, {"n": 7, "act": "relu"}, {"n": 2, "act": "softmax"}]
    arguments = {"spec": spec, "params": np.zeros((3, 51)), "x": np.zeros((5, 4))}
    with pytest.raises(error, match=words):
        fastmlp.predict_many(**{**arguments, **change})


def test_bad_targets_are_refused_in_words():
    spec = SPECS["one layer"]
    _, params = population(spec, "float64", 3)
    for function in (fastmlp.evaluate_many, fastmlp.gradient_many):
        with pytest.raises(ValueError, match="y has 4 rows, x has 5 samples"):
            function(spec, params, np.zeros((5, 4)), [0, 1, 2, 0])
        with pytest.raises(ValueError, match="y"):
            function(spec, params, np.zeros((5, 4)), [0, 1, 2, 0, 3])
        with pytest.raises(TypeError, match="y must be numeric"):
            function(spec, params, np.zeros((5, 4)), None)


@pytest.mark.parametrize("name", SPECS)
def test_calls_of_all_kinds_may_follow_each_other(name):
    """What a call of few samples leaves described for the next one does not outlive a call of another kind."""
    spec = SPECS[name]
    models, params = population(spec, "float32", 5)
    x, y = samples(models[0], 300)
    expected = [model.forward(x)[1][-1] for model in models]
    for n in (1, 1, 4, 1, 300, 4, 4):
        outputs = fastmlp.predict_many(spec, params, x[:n])
        np.testing.assert_allclose(outputs, np.array(expected)[:, :n], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(fastmlp.predict_many(spec, params[2:3], x[:n])[0], outputs[2])
        if n == 4:
            fastmlp.predict_many(spec, params, np.stack([x[:2]] * 5))
            fastmlp.gradient_many(spec, params, x[:n], y[:n])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_few_samples_that_are_not_finite_are_refused_in_words(bad):
    spec = SPECS["in place"]
    _, params = population(spec, "float32", 3)
    x = np.zeros((2, 8))
    x[1, 3] = bad
    with pytest.raises(ValueError, match=r"x must be finite, x\[1, 3\] is"):
        fastmlp.predict_many(spec, params, x)
    large = np.full((1, 8), 1e30, np.float32)  # whose squares are not finite
    assert fastmlp.predict_many(spec, params, large).shape == (3, 1, 2)
