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


def scaled_chain():
    made = chain((2, 2))
    made.multiply(2, "scaling")
    return made


def test_outputs_are_scaled_and_shifted_in_any_order():
    rng = np.random.default_rng(0)
    x, k, c = rng.normal(size=(4, 3)), rng.uniform(1, 2, 3), rng.normal(size=3)
    made = Chain()
    made.dense(np.eye(3), None, "layer")
    made.activate(fastmlp.tanh, "tanh")
    made.add(c, "c")
    made.multiply(k, "k")
    made.add(2.0, "two")
    np.testing.assert_allclose(made.model().predict(x), (np.tanh(x) + c) * k + 2, rtol=1e-14)


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
        (lambda: scaled_chain().dense(np.ones((1, 2), np.float32), None, "last"), "scaling scales or shifts between"),
        (lambda: scaled_chain().activate(fastmlp.tanh, "tanh"), "scaling scales or shifts between layers"),
        (lambda: chain((2, 2)).multiply([1.0, 0.0], "scaling"), "scaling multiplies outputs by 0"),
        (lambda: chain((2, 2)).add([1.0, 0.0, 2.0], "shift"), "shift has 3 numbers for 2 outputs"),
        (lambda: Chain().add(np.ones((2, 2)), "shift"), r"shift has shape \(2, 2\)"),
    ],
)
def test_chains_that_are_none(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_two_activations_in_a_row():
    made = chain((2, 2))
    made.activate(fastmlp.linear, "identity")
    made.activate(fastmlp.relu, "first")
    with pytest.raises(ValueError, match="second follows another activation, relu"):
        made.activate(fastmlp.tanh, "second")
