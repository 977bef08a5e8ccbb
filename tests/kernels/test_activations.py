"""Every activation's kernel against closed forms in extended precision, and the way back through softmax."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fastmlp.activations import ACTIVATIONS
from fastmlp.kernels import catalog

erfc = np.vectorize(math.erfc, otypes=[np.float64])
SELU_SCALE = np.longdouble("1.0507009873554804934193349852946")
SELU_ALPHA = np.longdouble("1.6732632423543772848170429916717")


def logistic(z):
    return 1 / (1 + np.exp(-z))


def density(z):
    """The density of the normal distribution."""
    return np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


def bump(z):
    """What gelu_tanh takes the tangent of."""
    return np.sqrt(2 / np.longdouble("3.14159265358979323846264338328")) * (z + np.longdouble("0.044715") * z**3)


def bump_slope(z):
    return np.sqrt(2 / np.longdouble("3.14159265358979323846264338328")) * (1 + 3 * np.longdouble("0.044715") * z**2)


def softmax(z):
    e = np.exp(z - np.max(z, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


# f and f', written otherwise than in the registry, against whose formulas an activation that is not here is held.
CLOSED_FORMS = {
    "step": (lambda z: np.heaviside(z, 1), lambda z: 0 * z),
    "linear": (lambda z: z, lambda z: 1 + 0 * z),
    "sigmoid": (logistic, lambda z: 1 / (4 * np.cosh(z / 2) ** 2)),
    "tanh": (lambda z: np.sinh(z) / np.cosh(z), lambda z: 1 / np.cosh(z) ** 2),
    "relu": (lambda z: np.clip(z, 0, None), lambda z: np.heaviside(z, 0)),
    "leaky_relu": (
        lambda z, slope: np.clip(z, 0, None) + slope * np.clip(z, None, 0),
        lambda z, slope: slope + (1 - slope) * np.heaviside(z, 0),
    ),
    "swish": (lambda z: z * logistic(z), lambda z: logistic(z) * (1 + z * logistic(-z))),
    "elu": (
        lambda z, alpha: np.where(z > 0, z, alpha * np.expm1(z)),
        lambda z, alpha: np.where(z > 0, 1, alpha * np.exp(z)),
    ),
    "selu": (
        lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * np.expm1(z)),
        lambda z: SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * np.exp(z)),
    ),
    "gelu": (lambda z: z * erfc(-z / np.sqrt(2)) / 2, lambda z: erfc(-z / np.sqrt(2)) / 2 + z * density(z)),
    "gelu_tanh": (
        lambda z: z / 2 * (1 + np.tanh(bump(z))),
        lambda z: (1 + np.tanh(bump(z))) / 2 + z / (2 * np.cosh(bump(z)) ** 2) * bump_slope(z),
    ),
    "mish": (
        lambda z: z * np.tanh(np.logaddexp(0, z)),
        lambda z: np.tanh(np.logaddexp(0, z)) + z * logistic(z) / np.cosh(np.logaddexp(0, z)) ** 2,
    ),
    "softplus": (lambda z: np.logaddexp(0, z), logistic),
    "hard_tanh": (lambda z: np.clip(z, -1, 1), lambda z: np.heaviside(1 - np.abs(z), 0)),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda z: np.heaviside(z, 0) * np.heaviside(6 - z, 0)),
    "hard_sigmoid": (lambda z: np.clip(z + 3, 0, 6) / 6, lambda z: np.heaviside(3 - np.abs(z), 0) / 6),
    "hard_swish": (
        lambda z: z * np.clip(z + 3, 0, 6) / 6,
        lambda z: np.where(np.abs(z) < 3, z / 3 + 0.5, np.heaviside(z, 0)),
    ),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2),
    "sine": (np.sin, np.cos),
}
# Those whose terms cancel, or whose argument is rounded: their error is measured against 1, not against their value.
CANCEL = {"swish", "gelu", "gelu_tanh", "mish", "hard_sigmoid", "hard_swish", "sine"}
ULPS = {"softmax": 40}  # where z - max z is rounded, which is as large as 60 here; others 8


def naive_activation(activation, z, a, d, rows, n, slope):
    """a = f(z), zeros in the padding, and where d is given d = f'(z)."""
    function, derivative = CLOSED_FORMS.get(activation.name, (activation.function, activation.derivative_function))
    options = () if activation.slope is None else (np.longdouble(z.dtype.type(slope)),)
    wide = z[:rows, :n].astype(np.longdouble)
    a[:rows] = 0
    a[:rows, :n] = softmax(wide) if activation.name == "softmax" else function(wide, *options)
    if d is not None:
        d[:rows, :n] = derivative(wide, *options)


def activate(activation, z, a, d, rows, n, slope):
    catalog.activation(activation.name, z.dtype.name)(
        z.ctypes.data, a.ctypes.data, 0 if d is None else d.ctypes.data, rows, n, z.strides[0] // z.itemsize, slope
    )


def inputs(real, rows, n):
    """Where functions bend, where they are nearly straight, and where they are nearly flat."""
    rng = np.random.default_rng(n)
    z = rng.normal(size=(rows, n)) * rng.choice([1e-3, 1, 10], (rows, n))
    z.flat[: min(n, 5)] = (0.0, 1.0, -1.0, 20.0, -20.0)[: min(n, 5)]
    return z.astype(real)


def assert_close(ours, exact, name):
    tolerance = ULPS.get(name, 8) * np.finfo(ours.dtype).eps
    np.testing.assert_allclose(ours, exact, rtol=tolerance, atol=tolerance if name in CANCEL else 0)


@pytest.mark.parametrize("with_derivative", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activation(guarded, real, activation, with_derivative):
    slope = 0.3
    for rows, n, columns in (
        (1, 1, 1), (1, 16, 16), (3, 7, 7), (4, 33, 33), (5, 20, 60), (64, 10, 10), (7, 2, 2), (2, 3, 3), (63, 4, 20),
    ):  # fmt: skip
        z = guarded(inputs(real, rows, n), columns)
        a, d = (guarded(np.full((rows + 1, n), -7, real), columns) for _ in range(2))
        before = d.copy()
        exact_a, exact_d = (part.astype(np.longdouble) for part in (a, d))
        naive_activation(activation, z, exact_a, exact_d if activation.elementwise else None, rows, n, slope)
        activate(activation, z, a, d if with_derivative else None, rows, n, slope)
        assert_close(a, exact_a, activation.name)
        if with_derivative and activation.elementwise:  # in its padding may stand anything
            assert_close(d[:rows, :n], exact_d[:rows, :n], activation.name)
            np.testing.assert_array_equal(d[rows:], before[rows:])
        else:
            np.testing.assert_array_equal(d, before)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_large_numbers(guarded, real, activation):
    """Nothing but functions without a bound overflows, and every derivative is finite."""
    largest = np.finfo(real).max
    z = guarded(np.array([[largest, -largest, 1e4, -1e4, 800, -800, 100, -100]], real))
    a, d = guarded(np.zeros_like(z)), guarded(np.zeros_like(z))
    activate(activation, z, a, d, 1, 8, 0.3)
    assert np.all(np.isfinite(a[0, 2:8])) and np.all(np.isfinite(d[0, 2:8]))
    assert np.all(a[0, :8] >= activation.traits.low) and np.all(a[0, :8] <= activation.traits.high)


@pytest.mark.parametrize("with_derivative", [False, True])
def test_sines_of_near_and_far_numbers_side_by_side(guarded, real, with_derivative):
    z = inputs(real, 3, 20)
    z[0, 5], z[2, [0, 18, 19]] = 1e30, (-3e9, 2.0**26, 1e8)
    z, a = guarded(z, 33, padding=1e30), guarded(np.zeros((3, 20), real), 33)
    d = guarded(np.zeros((3, 20), real), 33)
    activate(ACTIVATIONS["sine"], z, a, d if with_derivative else None, 3, 20, 0.0)
    exact = z[:, :20].astype(np.longdouble)
    assert_close(a[:, :20], np.sin(exact), "sine")
    assert_close(d[:, :20], np.cos(exact) if with_derivative else 0 * exact, "sine")
    assert np.all(a[:, 20:] == 0)


@pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_nan_stays_in_its_row(guarded, real, activation):
    z = inputs(real, 3, 20)
    z[1, 4] = np.nan
    z, a = guarded(z), guarded(np.zeros((3, 20), real))
    activate(activation, z, a, None, 3, 20, 0.3)
    assert np.all(np.isfinite(a[[0, 2]])) and np.all(a[[0, 2], 20:] == 0)
    if activation.traits.low == -np.inf:
        assert np.isnan(a[1, 4])


def naive_derivative(activation, order, z, rows, n, slope):
    """f''(z), or f'''(z), over z"""
    options = () if activation.slope is None else (np.longdouble(z.dtype.type(slope)),)
    z[:rows, :n] = activation.formula(order)(z[:rows, :n].astype(np.longdouble), *options)


HIGHER = {
    f"{name}-{order}": (activation, order)
    for name, activation in ACTIVATIONS.items()
    for order in (2, 3)
    if activation.elementwise and not activation.vanishes(order)
}


@pytest.mark.parametrize(("activation", "order"), HIGHER.values(), ids=HIGHER)
def test_higher_derivatives(guarded, real, activation, order):
    """The registry's formula is held against finite differences in tests/test_activations.py."""
    for rows, n, columns in ((1, 1, 1), (3, 7, 7), (4, 33, 33), (5, 20, 60), (64, 16, 16), (7, 2, 2)):
        z = guarded(inputs(real, rows + 1, n), columns, padding=0)
        exact = z.astype(np.longdouble)
        naive_derivative(activation, order, exact, rows, n, 0.3)
        kernel = catalog.higher_derivative(order, activation.name, z.dtype.name)
        kernel(z.ctypes.data, rows, n, z.strides[0] // z.itemsize, 0.3)
        tolerance = 16 * np.finfo(real).eps  # terms cancel where the curve turns
        np.testing.assert_allclose(z[:rows, :n], exact[:rows, :n], rtol=tolerance, atol=tolerance)
        np.testing.assert_array_equal(z[rows, :n], exact[rows, :n])
        assert np.all(z[:, n:] == 0)


@pytest.mark.parametrize(("activation", "order"), HIGHER.values(), ids=HIGHER)
def test_higher_derivatives_of_large_numbers_are_finite(guarded, real, activation, order):
    largest = np.finfo(real).max
    z = guarded(np.array([[largest, -largest, 1e4, -1e4, 800, -800, 100, -100]], real), padding=0)
    catalog.higher_derivative(order, activation.name, z.dtype.name)(z.ctypes.data, 1, 8, z.shape[1], 0.3)
    assert np.all(np.isfinite(z))


@pytest.mark.parametrize(("order", "formula"), [(2, np.sin), (3, np.cos)])
def test_higher_derivatives_of_near_and_far_sines_side_by_side(guarded, real, order, formula):
    z = inputs(real, 3, 20)
    z[0, 5], z[2, [0, 18, 19]] = 1e30, (-3e9, 2.0**26, 1e8)
    z = guarded(z, padding=0)
    exact = -formula(z[:, :20].astype(np.longdouble))
    catalog.higher_derivative(order, "sine", z.dtype.name)(z.ctypes.data, 3, 20, z.shape[1], 0.0)
    assert_close(z[:, :20], exact, "sine")


def naive_softmax_tangent(a, moved, da, delta, rows, n):
    """delta = J delta + dJ da, J = diag(a) - a aᵀ, dJ = diag(da) - da aᵀ - a daᵀ where a moves by da"""
    jacobian = np.diag(a[:n]) - np.outer(a[:n], a[:n])
    for r in range(rows):
        change = np.diag(moved[r, :n]) - np.outer(moved[r, :n], a[:n]) - np.outer(a[:n], moved[r, :n])
        delta[r, :n] = jacobian @ delta[r, :n] + change @ da[:n]


def test_softmax_tangent(guarded, real):
    rng = np.random.default_rng(0)
    for rows, n, columns in ((1, 1, 1), (1, 3, 3), (4, 16, 40), (7, 33, 33)):
        a = guarded(softmax(rng.normal(size=(1, n)))[0].astype(real), columns)
        da = guarded(rng.normal(size=n).astype(real), columns)
        moved, delta = (guarded(rng.normal(size=(rows + 1, n)).astype(real), columns) for _ in range(2))
        exact = delta.astype(np.longdouble)
        naive_softmax_tangent(*(part.astype(np.longdouble) for part in (a, moved, da)), exact, rows, n)
        addresses = (part.ctypes.data for part in (a, moved, da, delta))
        catalog.softmax_tangent(a.dtype.name)(*addresses, rows, n, delta.strides[0] // delta.itemsize)
        tolerance = 16 * np.finfo(real).eps
        np.testing.assert_allclose(delta, exact, rtol=tolerance, atol=tolerance)


def naive_softmax_backward(a, delta, rows, n):
    """delta = Jᵀ delta, J = diag(a) - a aᵀ"""
    for r in range(rows):
        row = a[r, :n]
        delta[r, :n] = (np.diag(row) - np.outer(row, row)).T @ delta[r, :n]


def softmax_backward(a, delta, rows, n):
    catalog.softmax_backward(a.dtype.name)(a.ctypes.data, delta.ctypes.data, rows, n, a.strides[0] // a.itemsize)


def test_softmax_backward(guarded, real):
    rng = np.random.default_rng(0)
    for rows, n, columns in ((1, 1, 1), (1, 3, 3), (4, 16, 40), (7, 33, 33)):
        a = guarded(softmax(rng.normal(size=(rows, n))).astype(real), columns)
        delta = guarded(rng.normal(size=(rows + 1, n)).astype(real), columns)
        exact = delta.astype(np.longdouble)
        naive_softmax_backward(a.astype(np.longdouble), exact, rows, n)
        softmax_backward(a, delta, rows, n)
        tolerance = 8 * np.finfo(real).eps
        np.testing.assert_allclose(delta, exact, rtol=tolerance, atol=tolerance)
