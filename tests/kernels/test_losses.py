"""Every loss's kernel, also where it is fused with an activation, against closed forms in extended precision."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.activations import ACTIVATIONS
from fastmlp.kernels import catalog
from fastmlp.losses import LOSSES

CASES = [(loss.name, output) for loss in LOSSES.values() for output in (*loss.fused, "")]


def log_softmax(z):
    z = z - np.max(z, axis=1, keepdims=True)
    return z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))


def softmax_cross_entropy(z, a, y):
    p = np.exp(log_softmax(z))
    return -np.sum(np.where(y == 0, 0, y * log_softmax(z)), axis=1), p * np.sum(y, axis=1, keepdims=True) - y


def hinge(z, a, y):
    """Sample by sample, class by class."""
    loss, delta = np.zeros(len(a), a.dtype), np.zeros_like(a)
    for r, c, j in np.ndindex(*a.shape, a.shape[1]):
        margin = 1 - (a[r, c] - a[r, j])
        if j != c and margin > 0:
            loss[r] += y[r, c] * margin
            delta[r, j] += y[r, c]
            delta[r, c] -= y[r, c]
    return loss, delta


def gaussian(z, a, y):
    n = a.shape[1] // 2
    e, s = y[:, :n] - a[:, :n], a[:, n:]
    return (s + e**2 / np.exp(s)) / 2, np.hstack([-e / np.exp(s), 0.5 - e**2 / np.exp(s) / 2])


def log_factor(y):
    """y log y - y, the part of half the Poisson deviance that depends on y alone."""
    return np.where(y > 0, y * np.log(np.where(y > 0, y, 1)) - y, 0)


# (loss of single outputs, or of rows; its derivative by a, or where it is fused by z) from z, a and y; a loss that is
# not here is held against the registry's formulas.
CLOSED_FORMS = {
    ("cross_entropy", "softmax"): softmax_cross_entropy,
    ("cross_entropy", "sigmoid"): lambda z, a, y: (y * np.logaddexp(0, -z), -y / (1 + np.exp(z))),
    ("cross_entropy", ""): lambda z, a, y: (-y * np.log(a), -y / a),
    ("bce", "sigmoid"): lambda z, a, y: (y * np.logaddexp(0, -z) + (1 - y) * np.logaddexp(0, z), a - y),
    ("bce", ""): lambda z, a, y: (-(y * np.log(a) + (1 - y) * np.log(1 - a)), (1 - y) / (1 - a) - y / a),
    ("mse", ""): lambda z, a, y: ((a - y) ** 2 / 2, a - y),
    ("mae", ""): lambda z, a, y: (np.abs(a - y), np.sign(a - y)),
    ("mbe", ""): lambda z, a, y: (y - a, -np.ones_like(a)),
    ("hinge", ""): hinge,
    ("huber", ""): lambda z, a, y: (
        np.where(np.abs(a - y) > 1, np.abs(a - y) - 0.5, (a - y) ** 2 / 2),
        np.clip(a - y, -1, 1),
    ),
    ("quantile(0.5)", ""): lambda z, a, y: (np.abs(a - y) / 2, np.sign(a - y) / 2),
    ("gaussian_nll", ""): gaussian,
    ("poisson", ""): lambda z, a, y: (np.exp(a) - y * a + log_factor(y), np.exp(a) - y),
}
# Its terms cancel: the error of an output's loss is measured against 1 at least.
CANCEL = {"poisson", "gaussian_nll"}


def registry_formulas(name):
    return lambda z, a, y: (LOSSES[name].function(a, y), LOSSES[name].derivative(a, y))


def compute_weighted(name, output, z, a, y, delta, weights, n):
    return catalog.loss(name, output, z.dtype.name)(
        z.ctypes.data, a.ctypes.data, y.ctypes.data, delta.ctypes.data, weights.ctypes.data, len(z), n,
        z.strides[0] // z.itemsize,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "output"), [case for case in CASES if not LOSSES[case[0]].rowwise and case[1] != "softmax"]
)
def test_outputs_that_are_weighted_or_missing(guarded, real, name, output):
    """Each output's loss by itself, times its weight; nothing of those that are NaN."""
    rng = np.random.default_rng(0)
    eps = np.finfo(real).eps
    for rows, n in ((1, 1), (3, 4), (9, 17), (64, 33)):
        z = (3 * rng.normal(size=(rows, n))).astype(real)
        a, weights = guarded(outputs(name, output, z), n, padding=0), rng.random(n).astype(real)
        weights[0] = 0
        y = targets(rng, name, rows, n).astype(real)
        missing = rng.random(y.shape) < 0.3
        z, y = guarded(z, n), guarded(np.where(missing, np.nan, y).astype(real), n, padding=0)
        delta = guarded(np.full((rows, n), -7, real), n)
        ours = compute_weighted(name, output, z, a, y, delta, weights, n)
        total = size = 0.0
        for r, k in np.ndindex(rows, n):
            one = [np.array([[part[r, k]]], real) for part in (z, a, np.nan_to_num(y), np.zeros_like(delta))]
            value, scale = naive_loss(name, output, *one, 1, 1)
            if missing[r, k]:
                assert delta[r, k] == 0
                continue
            wanted = weights[k] * one[3][0, 0]
            assert abs(delta[r, k] - wanted) <= 8 * eps * max(1, abs(wanted))
            total += weights[k] * value
            size += weights[k] * scale
        assert abs(ours - total) <= 8 * eps * max(size, 1)


def naive_loss(name, output, z, a, y, delta, rows, n):
    """The sum of all losses, and of what their errors are measured against; delta = dL/da, or dL/dz where fused."""
    formulas = CLOSED_FORMS.get((name, output)) or registry_formulas(name)
    loss, delta[:rows, :n] = formulas(*(part[:rows, :n].astype(np.longdouble) for part in (z, a, y)))
    return np.sum(loss), np.sum(np.maximum(np.abs(loss), name in CANCEL))


def compute(name, output, z, a, y, delta, rows, n):
    return catalog.loss(name, output, z.dtype.name)(
        z.ctypes.data, a.ctypes.data, y.ctypes.data, delta.ctypes.data, 0, rows, n, z.strides[0] // z.itemsize
    )


def targets(rng, name, rows, n):
    """Classes, a few rows of shares, and a few that do not add up to 1; for losses of numbers, numbers."""
    if LOSSES[name].classification:
        y = np.eye(n)[rng.integers(0, n, rows)] if name != "bce" else rng.integers(0, 2, (rows, n)).astype(float)
        y[::4] = rng.dirichlet(np.ones(n), len(y[::4]))
        y[1::4] /= 2
        return y
    return rng.poisson(2.0, (rows, n)) if LOSSES[name].lowest_target == 0 else rng.normal(size=(rows, n))


def outputs(name, output, z):
    """What the output layer makes of z: probabilities for losses that take a logarithm, else z itself."""
    if output:
        return ACTIVATIONS[output](z)
    return ACTIVATIONS["sigmoid"](z / 4) if LOSSES[name].fused else z


@pytest.mark.parametrize(("name", "output"), CASES)
def test_loss(guarded, real, name, output):
    rng = np.random.default_rng(0)
    eps = np.finfo(real).eps
    few = [(rows, n, n) for rows in (1, 2, 3, 9, 64) for n in (1, 2, 3, 4)]
    for rows, n, columns in (*few, (1, 16, 16), (3, 7, 7), (4, 33, 33), (5, 20, 60), (64, 10, 10)):
        n, columns = (k + k % LOSSES[name].outputs_per_target for k in (n, columns))
        z = (3 * rng.normal(size=(rows, n))).astype(real)
        a = guarded(outputs(name, output, z), columns, padding=0)
        z, y = guarded(z, columns), guarded(targets(rng, name, rows, n).astype(real), columns, padding=0)
        delta = guarded(np.full((rows + 1, n), -7, real), columns)
        if output == "softmax":  # the loss computes the outputs
            expected_a = a.copy()
            a[:rows] = np.nan
        exact = delta.astype(np.longdouble)
        total, size = naive_loss(name, output, z, a, y, exact, rows, n)
        ours = compute(name, output, z, a, y, delta, rows, n)
        assert abs(ours - total) <= 8 * eps * size
        np.testing.assert_allclose(delta[:rows, :n], exact[:rows, :n], rtol=8 * eps, atol=8 * eps)
        np.testing.assert_array_equal(delta[rows:], exact[rows:])
        if output == "softmax":
            np.testing.assert_allclose(a, expected_a, rtol=40 * eps)
            assert np.all(delta[:rows, n:] == 0)
        else:
            np.testing.assert_array_equal(delta[:rows, n:], exact[:rows, n:])


@pytest.mark.parametrize(("name", "output"), [case for case in CASES if case[1]])
def test_fused_losses_of_large_numbers(guarded, real, name, output):
    """Where the activation has become 0 or 1, the loss is |z|, or the difference of two."""
    values = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 0]], real)
    z, y = guarded(values), guarded(np.array([[0, 1, 0], [0, 1, 0]], real), padding=0)
    a, delta = guarded(outputs(name, output, values), padding=0), guarded(np.zeros((2, 3), real))
    loss = compute(name, output, z, a, y, delta, 2, 3)
    ln2 = np.log(2)
    assert loss == pytest.approx({"softmax": 2e4, "sigmoid": 1e4 if name == "cross_entropy" else 2e4 + 2 * ln2}[output])
    assert np.all(np.isfinite(delta[:, :3]))


@pytest.mark.parametrize(("y_hat", "y"), [(0.0, 0.0), (1.5, 0.5), (0.5, 1.5)])
def test_where_losses_of_numbers_bend(guarded, real, y_hat, y):
    """Derivatives at the corner itself are those of the reference: mae 0, huber of either branch."""
    z, target, delta = (guarded(np.full((1, 1), value, real), padding=0) for value in (y_hat, y, 0))
    e = y_hat - y
    for name, loss, derivative in (("mae", abs(e), np.sign(e)), ("huber", e * e / 2, e), ("mse", e * e / 2, e)):
        assert compute(name, "", z, z, target, delta, 1, 1) == loss
        assert delta[0, 0] == derivative


# d²L/da², or where a loss is fused what dL/dz changes by as an output changes, from a and y
CURVATURES = {
    ("cross_entropy", "softmax"): lambda a, y: np.sum(y, axis=1, keepdims=True) + 0 * y,
    ("cross_entropy", "sigmoid"): lambda a, y: y,
    ("cross_entropy", ""): lambda a, y: y / a**2,
    ("bce", "sigmoid"): lambda a, y: 1 + 0 * y,
    ("bce", ""): lambda a, y: y / a**2 + (1 - y) / (1 - a) ** 2,
    ("mse", ""): lambda a, y: 1 + 0 * y,
    ("huber", ""): lambda a, y: 1.0 * (np.abs(a - y) <= 1),
    ("poisson", ""): lambda a, y: np.exp(a),
    **{(name, ""): lambda a, y: 0 * y for name in ("mae", "mbe", "hinge", "quantile(0.5)")},
}


@pytest.mark.parametrize(("name", "output"), [case for case in CASES if LOSSES[case[0]].second_derivative])
def test_loss_curvature(guarded, real, name, output):
    rng, tolerance = np.random.default_rng(0), 8 * np.finfo(real).eps
    formula = CURVATURES.get((name, output)) or (lambda a, y: LOSSES[name].second_derivative(a, y))
    for rows, n, columns in ((1, 1, 1), (1, 16, 16), (5, 3, 3), (4, 33, 33), (7, 20, 60), (64, 10, 10)):
        a = guarded(outputs(name, output, rng.normal(size=(rows, n))).astype(real), columns)
        y = guarded(targets(rng, name, rows + 1, n).astype(real), columns)
        exact = y.astype(np.longdouble)
        exact[:rows, :n] = formula(a[:, :n].astype(np.longdouble), exact[:rows, :n])
        catalog.loss_curvature(name, output, a.dtype.name)(a.ctypes.data, y.ctypes.data, 0, rows, n, a.shape[1])
        np.testing.assert_allclose(y, exact, rtol=tolerance, atol=tolerance)
