"""The table of activations against finite differences, closed forms and the math module."""

from __future__ import annotations

import math
import pickle

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS, get_activation

ELEMENTWISE = [name for name, act in ACTIVATIONS.items() if act.elementwise]
CLOSED_FORMS = {
    "step": lambda z: float(z >= 0),
    "linear": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "relu": lambda z: max(z, 0),
    "leaky_relu": lambda z: max(0.1 * z, z),
    "swish": lambda z: z / (1 + math.exp(-z)),
    "elu": lambda z: z if z > 0 else math.exp(z) - 1,
    "selu": lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * (math.exp(z) - 1)),
    "gelu": lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))),
    "gelu_tanh": lambda z: 0.5 * z * (1 + math.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "mish": lambda z: z * math.tanh(math.log(1 + math.exp(z))),
    "softplus": lambda z: math.log(1 + math.exp(z)),
    "hard_tanh": lambda z: max(-1, min(1, z)),
    "relu6": lambda z: max(0, min(6, z)),
    "hard_sigmoid": lambda z: max(0, min(6, z + 3)) / 6,
    "hard_swish": lambda z: z * max(0, min(6, z + 3)) / 6,
    "softsign": lambda z: z / (1 + abs(z)),
    "sine": math.sin,
}
EXTREME = np.array([0.0, -0.0, 5e-324, 1e-30, -1e-30, 88.0, -88.0, 1e3, -1e3, 1e15, -1e15, 1e30, -1e30])


def test_every_activation_has_a_closed_form_here():
    assert set(CLOSED_FORMS) == set(ELEMENTWISE)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_value(name):
    z = np.linspace(-6, 6, 101)
    expected = [CLOSED_FORMS[name](v) for v in z]
    np.testing.assert_allclose(ACTIVATIONS[name](z), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivative(name):
    z = np.linspace(-5.03, 5.01, 100)
    act = ACTIVATIONS[name]
    numeric = (act(z + 1e-6) - act(z - 1e-6)) / 2e-6
    np.testing.assert_allclose(act.derivative(z), numeric, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_second_derivative(name):
    z = np.linspace(-8.03, 8.01, 100)
    act, step = ACTIVATIONS[name], np.array([1e-6, 0])
    z = np.stack([z, np.zeros_like(z)], axis=1)  # softmax takes a row; its second output moves no first one's slope
    numeric = (act.derivative(z + step) - act.derivative(z - step)) / 2e-6
    np.testing.assert_allclose(act.second_derivative(z)[:, 0], numeric[:, 0], atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_third_derivative(name):
    z = np.linspace(-8.03, 8.01, 100)
    act, step = ACTIVATIONS[name], np.array([1e-6, 0])
    z = np.stack([z, np.zeros_like(z)], axis=1)
    numeric = (act.second_derivative(z + step) - act.second_derivative(z - step)) / 2e-6
    np.testing.assert_allclose(act.third_derivative(z)[:, 0], numeric[:, 0], atol=1e-8)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_kinks_are_where_a_derivative_jumps(name):
    act = ACTIVATIONS[name]
    z = np.linspace(-8.0005, 8.0005, 16_002)  # 0.001 apart; kinks lie halfway between
    jumps = [np.abs(np.diff(values)) for values in (act(z), act.derivative(z), act.second_derivative(z))]
    found = (z[:-1] + z[1:])[np.max(jumps, axis=0) > 0.05] / 2
    np.testing.assert_allclose(found, act.traits.kinks, atol=1e-9)


def test_an_activation_without_a_second_derivative_says_what_to_give():
    @numba.njit
    def cube(z):
        return z**3

    @numba.njit
    def d_cube(z):
        return 3 * z**2

    @numba.njit
    def dd_cube(z):
        return 6 * z

    with pytest.raises(ValueError, match=r"'cube' has no second derivative; give one: fastmlp.Activation"):
        fastmlp.Activation("cube", cube, d_cube).second_derivative(1.0)
    assert fastmlp.Activation("cube", cube, d_cube, dd_cube).second_derivative([2.0]).tolist() == [12.0]
    with pytest.raises(TypeError, match=r"second_derivative must be a scalar numba\.njit function"):
        fastmlp.Activation("cube", cube, d_cube, lambda z: 6 * z)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_at_the_extremes_in_numpy_and_in_the_kernels(name, dtype):
    """One input, two outputs of weights one and zero: they are the activation, their Jacobian its derivative."""
    act = ACTIVATIONS[name]
    x = EXTREME.astype(dtype)[:, None]
    z = np.hstack([x, np.zeros_like(x)])
    for values in (act(z), act.derivative(z), act.second_derivative(z)):
        assert values.dtype == dtype and np.isfinite(values).all()
    if act.traits.flat:
        return
    model = fastmlp.MLP([{"n": 1, "act": None}, {"n": 2, "act": name}], dtype=dtype)
    model.weights[0][:] = [[1], [0]]
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    tiny = np.finfo(dtype).tiny
    np.testing.assert_allclose(model.predict(x), act(z), rtol=tolerance, atol=tiny)
    jacobian = model.jacobian(x, wrt="inputs")[:, 0, 0]
    np.testing.assert_allclose(jacobian, act.derivative(z)[:, 0], rtol=tolerance, atol=tiny)


def test_softmax():
    z = np.random.default_rng(0).normal(size=(4, 5))
    np.testing.assert_allclose(fastmlp.softmax(z), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(fastmlp.softmax(np.array([1e30, 0])), [1, 0])


def test_names_objects_and_pickles():
    assert get_activation("SiLU") is fastmlp.swish is fastmlp.silu
    assert get_activation(None) is fastmlp.linear
    assert fastmlp.relu([-1, 2]).tolist() == [0, 2]
    for act in ACTIVATIONS.values():
        assert pickle.loads(pickle.dumps(act)) == act
    steep = fastmlp.leaky_relu.with_slope(0.3)
    assert pickle.loads(pickle.dumps(steep)) == steep != fastmlp.leaky_relu
    assert steep(np.array([-1.0]))[0] == -0.3
    bent = fastmlp.elu.with_slope(2)
    np.testing.assert_allclose(bent(np.array([-1.0, 3.0])), [2 * math.expm1(-1), 3])
    np.testing.assert_allclose(bent.derivative(np.array([-1.0, 3.0])), [2 * math.exp(-1), 1])
    with pytest.raises(AttributeError, match="sigmoid"):
        fastmlp.sigmod  # noqa: B018
