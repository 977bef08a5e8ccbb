"""Jacobians against the NumPy reference, or finite differences: by parameters and by inputs, forward and back."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp import reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.engine import call
from fastmlp.engine.jacobians import jacobian_block

pytestmark = pytest.mark.filterwarnings("ignore:.*do not train")

BACK = [
    (2, 2), (7, 3), (5, 6, 3), (24, 8, 2), (8, 64, 64, 2), (17, 16, 9), (100, 65, 31, 2), (64, 64, 64), (65, 48, 32),
    (130, 20, 66),
]  # fmt: skip
FORWARD = [widths[::-1] for widths in BACK if widths[0] > widths[-1]]


def network(widths, act, seed=0, bias=True, affine=False, dtype="float64") -> fastmlp.MLP:
    first = {"n": widths[0], "act": None}
    if affine:
        first |= {"shift": 0.1, "scale": np.linspace(0.5, 2.0, widths[0]).tolist()}
    layers = [{"n": n, "act": act, "bias": bias} for n in widths[1:]]
    return fastmlp.MLP([first, *layers], seed=seed, dtype=dtype)


def by_params(model, x):
    """The reference's derivatives, (n_samples, n_out, n_params)."""
    result = np.zeros((len(x), model.spec.n_out, model.params.size))
    for rows, expected in zip(result, reference.jacobian(model.spec, model.weights, model.biases, x), strict=True):
        for row, (dws, dbs) in zip(rows, expected, strict=True):
            weights, biases = model.unflatten(row)
            for i, layer in enumerate(model.spec.layers):
                weights[i][...] = dws[i]
                if layer.bias:
                    biases[i][...] = dbs[i]
    return result


def by_inputs(model, x):
    """The chain rule, layer by layer and output by output, (n_samples, n_out, n_in)."""
    spec = model.spec
    zs, activations = reference.forward(spec, model.weights, model.biases, x)
    result = np.empty((len(x), spec.n_out, spec.n_in))
    for k in range(spec.n_out):
        delta = np.tile(np.eye(spec.n_out)[k], (len(x), 1))
        for i in range(len(zs) - 1, -1, -1):
            delta = reference.through(spec.layers[i].act, zs[i], activations[i + 1], delta) @ model.weights[i]
        result[:, k] = delta * (1.0 if spec.scale is None else np.asarray(spec.scale))
    return result


def assert_right(model, x, given=None):
    given = x if given is None else given
    tolerance = {"rtol": 1e-10, "atol": 1e-12}
    np.testing.assert_allclose(model.jacobian(given, wrt="inputs"), by_inputs(model, x), **tolerance)
    if model.params.size * model.spec.n_out * len(x) < 2_000_000:
        np.testing.assert_allclose(model.jacobian(given), by_params(model, x), **tolerance)


@pytest.mark.parametrize("act", ["tanh", "softmax"])
@pytest.mark.parametrize("widths", [*BACK, *FORWARD], ids=str)
def test_every_width_and_number_of_samples(widths, act):
    rng = np.random.default_rng(1)
    for rows in (1, 2, 31, 65, 130):
        assert_right(network(widths, act), rng.normal(size=(rows, widths[0])))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("hidden", [(5,), (70,), (20, 33), (64, 64)], ids=str)
def test_few_inputs(hidden, dtype):
    rng = np.random.default_rng(6)
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if dtype == "float64" else {"rtol": 1e-4, "atol": 1e-5}
    for n_in in range(1, 10):
        for n_out in {1, n_in // 2 + 1, n_in}:
            for affine in (False, True):
                model = network((n_in, *hidden, n_out), "tanh", affine=affine, dtype=dtype)
                x = rng.normal(size=(37, n_in))
                np.testing.assert_allclose(model.jacobian(x, wrt="inputs"), by_inputs(model, x), **tolerance)


@pytest.mark.parametrize("hidden", [(), (6,), (3, 4)], ids=str)
@pytest.mark.parametrize("n_out", [1, 3, 16, 20])
def test_linear_outputs(n_out, hidden):
    x = np.random.default_rng(7).normal(size=(9, 3))
    for units in ({}, {"shift": 1.0, "scale": np.linspace(0.5, 2.0, n_out).tolist()}):
        layers = [{"n": 3, "act": None}, *({"n": n, "act": "tanh"} for n in hidden)]
        model = fastmlp.MLP([*layers, {"n": n_out, "act": "linear", **units}], seed=0, dtype="float64")
        scale = np.reshape(units.get("scale", 1.0), (-1, 1))
        np.testing.assert_allclose(model.jacobian(x), by_params(model, x), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(model.jacobian(x, wrt="inputs"), by_inputs(model, x) * scale, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("widths", [(5, 6, 20, 3), (3, 20, 6, 5)], ids=str)
@pytest.mark.parametrize("act", [name for name in ACTIVATIONS if name != "step"])
def test_every_activation_both_ways(act, widths):
    model = network(widths, act, seed=1, affine=True)
    x = np.random.default_rng(4).normal(size=(9, widths[0]))
    assert_right(model, x)
    step, slopes = 1e-6, model.jacobian(x, wrt="inputs")
    for i in range(widths[0]):
        moved = np.zeros(widths[0])
        moved[i] = step
        numeric = (model.predict(x + moved) - model.predict(x - moved)) / (2 * step)
        np.testing.assert_allclose(slopes[:, :, i], numeric, atol=1e-7)


@pytest.mark.parametrize("widths", [(40, 20, 3), (3, 64, 20), (70, 5), (33, 64, 70)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_zeros_and_sparse_rows(widths, bias):
    rng = np.random.default_rng(2)
    for rows in (1, 40, 130):
        x = rng.normal(size=(rows, widths[0])) * (rng.random((rows, widths[0])) < 0.2)
        model = network(widths, "tanh", bias=bias)
        assert_right(model, x)
        assert_right(model, x, scipy.sparse.csr_array(x))
    scaled = fastmlp.MLP([{"n": widths[0], "act": None, "scale": 0.3}, {"n": 4, "act": "tanh"}], dtype="float64")
    assert_right(scaled, x, scipy.sparse.csr_array(x))
    assert_right(network(widths, "tanh"), np.zeros((3, widths[0])))


@pytest.mark.parametrize("wrt", ["params", "inputs"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_do_not_depend_on_where_a_call_is_cut(dtype, wrt, monkeypatch):
    """Nor on whether the samples take the short way of a few."""
    for widths in ((24, 8, 3), (3, 40, 30)):
        model = network(widths, "tanh", affine=True, dtype=dtype)
        x = np.random.default_rng(3).normal(size=(333, widths[0]))
        together = model.jacobian(x, wrt)
        model._engine.few = 0
        for seconds in (1e-9, 1e-4, 10.0):
            monkeypatch.setattr(call, "_SLICE_SECONDS", seconds)
            np.testing.assert_array_equal(model.jacobian(x, wrt), together)
        block = jacobian_block(model.spec, wrt == "inputs")
        np.testing.assert_array_equal(model.jacobian(x[:block], wrt), together[:block])


def test_what_is_not_finite_leaves_nothing_behind():
    x = np.random.default_rng(5).normal(size=(20, 5))
    for widths in ((5, 20, 3), (5, 20, 7)):
        model, other = network(widths, "linear"), network(widths, "linear")
        for wrt in ("params", "inputs"):
            model.params = np.full(model.params.shape, np.inf)
            with np.errstate(all="ignore"):
                assert not np.isfinite(model.jacobian(x, wrt)).all()
            model.params = other.params
            np.testing.assert_array_equal(model.jacobian(x, wrt), other.jacobian(x, wrt))


def test_the_short_way_says_what_it_does_not_take():
    engine = network((4, 3, 2), "tanh", affine=True)._engine
    assert engine.jacobian_of_few(np.full((2, 4), np.inf), True) is None
    large = network((300, 300, 100), "tanh")._engine
    assert large.jacobian_of_few(np.zeros((100, 300)), False) is None
