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


def scaled_outputs(factor=2.0):
    made = chain((2, 2))
    made.activate(fastmlp.relu, "relu")
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
    made.dense(v, None, "last")
    made.multiply(3, "target")
    made.add([1, 2], "target")
    columns = np.zeros((4, 4))
    columns[:, [2, 0, 3]] = x
    hidden = (np.tanh((x + np.array([1, 2, 3])) @ w.T * k + c) + c) * k + 1
    np.testing.assert_allclose(made.model().predict(columns), hidden @ v.T * 3 + [1, 2], rtol=1e-13)


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
        (lambda: scaled_outputs().model(), "doubling multiplies or adds to the outputs behind .* activation, relu"),
        (lambda: scaled_outputs().activate(fastmlp.tanh, "tanh"), "tanh follows another activation, relu"),
        (lambda: Chain().add(np.ones((2, 2)), "shift"), r"shift has shape \(2, 2\)"),
    ],
)
def test_chains_that_are_none(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_what_is_folded_must_fit_the_dtype():
    made = scaled_outputs(1e39)
    made.dense(np.ones((1, 2), np.float32), None, "last")
    with pytest.raises(ValueError, match="folded into them are too large for float32"):
        made.model()


def test_two_activations_in_a_row():
    made = chain((2, 2))
    made.activate(fastmlp.linear, "identity")
    made.activate(fastmlp.relu, "first")
    with pytest.raises(ValueError, match="second follows another activation, relu"):
        made.activate(fastmlp.tanh, "second")
