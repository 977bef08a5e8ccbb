"""Chains of layers on their way into a network: scales and shifts, words that a table lacks, chains that are none."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.interop.chain import Chain, word


def test_an_activation_that_a_table_lacks_is_named():
    with pytest.raises(ValueError, match="'relu' cannot be expressed in Fortran"):
        word({"tanh": "TANH"}, ACTIVATIONS["relu"], "Fortran")


def chain(*layers):
    made = Chain()
    for i, (n_in, n_out) in enumerate(layers):
        made.dense(np.ones((n_out, n_in), np.float32), np.zeros(n_out, np.float32), f"layer {i}")
    return made


def test_outputs_are_scaled_and_shifted_in_any_order():
    rng = np.random.default_rng(0)
    x, k, c = rng.normal(size=(4, 3)), rng.uniform(1, 2, 3), rng.normal(size=3)
    for act in (fastmlp.tanh, fastmlp.linear):
        made = Chain()
        made.dense(np.eye(3), np.zeros(3), "layer")
        made.activate(act, "act")
        made.add(c, "c")
        made.multiply(k, "k")
        made.add(2.0, "two")
        model = made.model()
        np.testing.assert_allclose(model.predict(x), (act(x) + c) * k + 2, rtol=1e-14)
        np.testing.assert_allclose(model.spec.layers[-1].scale, k)
        np.testing.assert_array_equal(model.weights[0], np.eye(3))


@pytest.mark.parametrize(
    ("factor", "loss", "folded"),
    [(2.0, None, False), (-2.0, None, True), ([1.0, 0.0], "mae", True), (2.0, "hinge", True), (2.0, "poisson", True),
     (1.0, "poisson", False)],
)  # fmt: skip
def test_linear_outputs_take_into_their_weights_what_cannot_be_shift_and_scale(factor, loss, folded):
    made = chain((3, 2))
    made.multiply(factor, "k")
    made.add(3.0, "c")
    model = made.model(loss)
    assert (model.spec.output_affine is None) == folded and model.spec.loss.name == (loss or "mse")
    expected = np.broadcast_to(3 * np.asarray(factor) + 3, (1, 2))
    np.testing.assert_array_equal(model.predict(np.ones((1, 3))), expected)


def scaled_outputs(act=fastmlp.relu, factor=-2.0):
    made = chain((2, 2))
    made.activate(act, "act")
    made.multiply(factor, "doubling")
    return made


def test_what_lies_between_layers_is_folded_into_them():
    rng = np.random.default_rng(0)
    x, w, v = rng.normal(size=(4, 3)), rng.normal(size=(5, 3)), rng.normal(size=(2, 5))
    k, c = rng.normal(size=5), rng.normal(size=5)
    made = Chain()
    made.take(np.array([2, 0, 3]), 4)
    made.add([1, 2, 3], "shift")
    made.dense(w, None, "first")
    made.multiply(k, "k")
    made.add(c, "c")
    made.activate(fastmlp.tanh, "tanh")
    made.add(c, "c")
    made.multiply(k, "k")
    made.add(1, "one")
    made.dense(v, None, "middle")
    made.multiply([2, -1], "by")
    made.dense(np.eye(2), None, "last")
    made.multiply(3, "target")
    made.add([1, 2], "target")
    columns = np.zeros((4, 4))
    columns[:, [2, 0, 3]] = x
    hidden = (np.tanh((x + np.array([1, 2, 3])) @ w.T * k + c) + c) * k + 1
    model = made.model()
    np.testing.assert_allclose(model.predict(columns), hidden @ v.T * [2, -1] * 3 + [1, 2], rtol=1e-13)
    assert (model.spec.layers[-1].scale, model.spec.layers[-1].shift) == ((3.0,), (1.0, 2.0))


def test_what_is_added_to_a_product_is_its_biases():
    made = Chain()
    made.dense(np.ones((2, 3)), None, "layer")
    made.add([1.0, 2.0], "biases")
    made.add([3.0, 4.0], "more")
    model = made.model()
    np.testing.assert_array_equal(model.biases[0], [1, 2])
    assert model.spec.layers[0].shift == (3.0, 4.0)


def test_shift_and_scale_in_any_order():
    rng = np.random.default_rng(0)
    x, k, c = rng.normal(size=(4, 3)), rng.uniform(1, 2, 3), rng.normal(size=3)
    made = Chain()
    made.multiply(k, "k")
    made.add(c, "c")
    made.multiply(0.5, "half")
    made.add(0.0, "nothing")
    made.dense(np.eye(3), None, "layer")
    np.testing.assert_allclose(made.model().predict(x), (x * k + c) * 0.5, rtol=1e-14)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Chain().model(), "no layer with weights"),
        (lambda: chain((2, 3), (4, 1)), "layer 1 takes 4 inputs, the layer before it has 3 outputs"),
        (lambda: chain((2, 3)).dense(np.ones((1, 3)), None, "last"), "last has float64 parameters, those before it"),
        (lambda: Chain().dense(np.ones((1, 3), np.float16), None, "last"), "last has float16 parameters"),
        (lambda: Chain().dense(np.full((1, 3), np.nan), None, "last"), "NaN or infinite"),
        (lambda: Chain().dense(np.ones((1, 3)), np.ones(2), "last"), r"weights \(1, 3\), biases \(2,\)"),
        (lambda: Chain().dense(np.ones((0, 3)), None, "last"), r"weights \(0, 3\)"),
        (lambda: Chain().activate(fastmlp.relu, "relu"), "relu comes before the first layer"),
        (lambda: chain((2, 2)).multiply([1, 2, 3], "scaling"), r"scaling has shape \(3,\); .* an output \(2\)"),
        (
            lambda: scaled_outputs().model(),
            "doubling multiplies .* behind the last activation, relu, by -2, and",
        ),
        (lambda: scaled_outputs(fastmlp.softmax, 2).model(), "the last activation, softmax, which are probabilities"),
        (lambda: scaled_outputs(fastmlp.sigmoid, 2).model("bce"), "scale is for outputs that are numbers"),
        (lambda: scaled_outputs().activate(fastmlp.tanh, "tanh"), "tanh follows another activation, relu"),
        (lambda: Chain().add(np.ones((2, 2)), "shift"), r"shift has shape \(2, 2\)"),
    ],
)
def test_chains_that_are_none(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_what_is_folded_must_fit_the_dtype():
    made = scaled_outputs(factor=1e39)
    made.dense(np.ones((1, 2), np.float32), None, "last")
    with pytest.raises(ValueError, match="folded into them are too large for float32"):
        made.model()


def test_two_activations_in_a_row():
    made = chain((2, 2))
    made.activate(fastmlp.linear, "identity")
    made.activate(fastmlp.relu, "first")
    with pytest.raises(ValueError, match="second follows another activation, relu"):
        made.activate(fastmlp.tanh, "second")
