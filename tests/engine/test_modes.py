"""Linear steps by their two modes, against the same steps one after the other in extended precision."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.engine.blocks import Modes
from fastmlp.optimizers import SGD

STEPS = 64
CASES = [
    (SGD(), 0.05, 0.1),
    (SGD(momentum=0.9), 0.05, 0.0),
    (SGD(momentum=0.9), 0.0, 0.01),
    (SGD(momentum=0.5), 0.1, 0.3),
    (SGD(momentum=0.99), 1e-3, 1e-3),
    (SGD(momentum=0.8, nesterov=True), 0.05, 0.1),
]


def one_by_one(optimizer, lr, l2, gradients):
    """The weight before and after each step from (0.3, velocity -0.7); and the last velocity."""
    w, v, lr = np.longdouble(0.3), np.longdouble(-0.7 if optimizer.momentum else 0), np.longdouble(lr)
    weights = [w]
    for gradient in gradients:
        g = gradient + l2 * w
        v = optimizer.momentum * v + g
        w = w - lr * (g + optimizer.momentum * v if optimizer.nesterov else v)
        weights.append(w)
    return np.array(weights, float), float(v)


@pytest.mark.parametrize(("optimizer", "lr", "l2"), CASES, ids=repr)
def test_modes_make_the_same_steps(optimizer, lr, l2):
    gradients = np.random.default_rng(0).normal(size=STEPS)
    modes = Modes(optimizer, lr, l2, STEPS)
    assert modes.apart
    r1, r2, first_of_g, second_of_g, q, e = (float(modes.record[name]) for name in modes.record.dtype.names[:6])
    first, second = np.linalg.solve([[1, q], [e, 1]], [0.3, -0.7 if optimizer.momentum else 0.0])
    weights = [first + q * second]
    for gradient in gradients:
        first, second = r1 * first + first_of_g * gradient, r2 * second + second_of_g * gradient
        weights.append(first + q * second)
    exact, velocity = one_by_one(optimizer, lr, l2, gradients)
    np.testing.assert_allclose(weights, exact, rtol=1e-12, atol=1e-13)
    if optimizer.momentum:
        assert e * first + second == pytest.approx(velocity, rel=1e-12)


@pytest.mark.parametrize(("optimizer", "lr", "l2"), CASES, ids=repr)
def test_coefficients_are_what_a_gradient_leaves_in_the_weights(optimizer, lr, l2):
    modes = Modes(optimizer, lr, l2, STEPS)
    pulse = np.eye(1, STEPS).ravel()
    left = one_by_one(optimizer, lr, l2, pulse)[0] - one_by_one(optimizer, lr, l2, 0 * pulse)[0]
    np.testing.assert_allclose(modes.coefficients, left[1:], rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize(
    ("momentum", "lr", "l2"), [(0.9999, 0.01, 0.0), (0.05, 0.01, 0.0), (0.9, 0.1, 0.1), (0.0, 1.0, 1.0)]
)
def test_modes_that_are_too_near_or_too_fast_are_not_used(momentum, lr, l2):
    assert not Modes(SGD(momentum=momentum), lr, l2, STEPS).apart
