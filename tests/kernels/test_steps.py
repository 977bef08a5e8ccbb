"""Every optimiser's step on a vector against the textbook in extended precision."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import catalog
from fastmlp.kernels.layout import OPTIONS
from fastmlp.optimizers import OPTIMIZERS, SGD, Adagrad, Adam, AdamHat, AdamW, AMSGrad, Lion, NAdam, RMSprop

SETTINGS = [
    *(kind() for kind in OPTIMIZERS.values() if kind.rule),
    SGD(momentum=0.9),
    SGD(momentum=0.8, nesterov=True),
    Adam(betas=(0.7, 0.95), eps=1e-3),
    AdamHat(eps=1e-2),
    AdamW(weight_decay=0.3),
    RMSprop(alpha=0.6, eps=1e-3),
    Adagrad(lr_decay=0.1, eps=1e-3),
    NAdam(momentum_decay=0.1),
    Lion(betas=(0.8, 0.95), weight_decay=0.3),
]


def sgd(o, w, g, states, t, lr):
    v = o.momentum * sum(states) + g
    return w - lr * (g + o.momentum * v if o.nesterov else v), [v]


def adam(o, w, g, states, t, lr):
    m, v = states[:2]
    m = o.betas[0] * m + (1 - o.betas[0]) * g
    v = o.betas[1] * v + (1 - o.betas[1]) * g**2
    if isinstance(o, AdamHat):
        return w - lr * np.sqrt(1 - o.betas[1] ** t) / (1 - o.betas[0] ** t) * m / (np.sqrt(v) + o.eps), [m, v]
    decayed = w * (1 - lr * getattr(o, "weight_decay", 0))
    unbiased = m / (1 - o.betas[0] ** t)
    if isinstance(o, AMSGrad):
        largest = np.maximum(states[2], v)
        return w - lr * unbiased / (np.sqrt(largest / (1 - o.betas[1] ** t)) + o.eps), [m, v, largest]
    return decayed - lr * unbiased / (np.sqrt(v / (1 - o.betas[1] ** t)) + o.eps), [m, v]


def nadam(o, w, g, states, t, lr):
    m, v, gone = states
    mu, mu_next = (o.betas[0] * (1 - 0.5 * 0.96 ** (i * o.momentum_decay)) for i in (t, t + 1))
    product = (1 - gone) * mu
    m = o.betas[0] * m + (1 - o.betas[0]) * g
    v = o.betas[1] * v + (1 - o.betas[1]) * g**2
    ahead = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
    return w - lr * ahead / (np.sqrt(v / (1 - o.betas[1] ** t)) + o.eps), [m, v, 1 - product]


def lion(o, w, g, states, t, lr):
    """Algorithm 2 of Chen et al. 2023."""
    (m,) = states
    update = np.sign(o.betas[0] * m + (1 - o.betas[0]) * g)
    return w - lr * (update + o.weight_decay * w), [o.betas[1] * m + (1 - o.betas[1]) * g]


def rmsprop(o, w, g, states, t, lr):
    (v,) = states
    v = o.alpha * v + (1 - o.alpha) * g**2
    return w - lr * g / (np.sqrt(v) + o.eps), [v]


def adagrad(o, w, g, states, t, lr):
    total = states[0] + g**2
    return w - lr / (1 + (t - 1) * o.lr_decay) * g / (np.sqrt(total) + o.eps), [total]


# (w, states) after step t, counted from 1; an optimiser that is not here is held against the registry's formulas.
TEXTBOOK = {
    "sgd": sgd, "adam": adam, "adam_hat": adam, "adamw": adam, "rmsprop": rmsprop, "adagrad": adagrad,
    "amsgrad": adam, "nadam": nadam, "lion": lion,
}  # fmt: skip


def registry_formulas(o, w, g, states, t, lr):
    return o.rule(w, g, states, o.prepare(lr, t, o.constants))


def naive_step(optimizer, w, x, g, states, rows, n, for_weights, made, l1, l2, lr, factor):
    """The step after ``made`` others, against factor · x ⊗ g, to which weights, not biases, add l1 sign w + l2 w."""
    n, g = rows * n, np.outer(x[:rows], g[:n]).ravel()
    parameters = w[:n].copy()
    slope = factor * g
    if for_weights:
        slope = slope + l1 * np.sign(parameters) + l2 * parameters
    rule = TEXTBOOK.get(optimizer.name, registry_formulas)
    w[:n], after = rule(optimizer, parameters, slope, [state[:n] for state in states], made + 1, lr)
    for state, value in zip(states, after, strict=len(states) > 0):
        state[:n] = value


def step(optimizer, w, x, g, states, rows, n, for_weights, made, l1, l2, lr, factor):
    options = np.array((made, l1, l2, 0.0, 0.0), OPTIONS)
    constants = np.array(optimizer.constants, np.float64)
    distances = np.array([state.ctypes.data - w.ctypes.data for state in states], np.int64)
    numbers = np.empty(len(optimizer.prepare(lr, 1, optimizer.constants)))
    addresses = (array.ctypes.data for array in (w, x, g, distances))
    catalog.prepare(optimizer.name)(numbers.ctypes.data, options.ctypes.data, constants.ctypes.data, lr)
    catalog.step(optimizer.name, optimizer.states, w.dtype.name)(
        *addresses, rows, n, for_weights, options.ctypes.data, numbers.ctypes.data, factor
    )


@pytest.mark.parametrize("optimizer", SETTINGS, ids=repr)
@pytest.mark.parametrize("for_weights", [False, True])
@pytest.mark.parametrize("made", [0, 1, 100, 100_000])
def test_step(guarded, real, optimizer, for_weights, made):
    rng = np.random.default_rng(made)
    tolerance = 8 * np.finfo(real).eps
    for rows, n in ((1, 1), (1, 5), (1, 16), (1, 100), (2, 33), (7, 16), (5, 3)):
        w, *states = (guarded(rng.normal(size=rows * n).astype(real)) for _ in range(1 + optimizer.states))
        x, g = (guarded(rng.normal(size=size).astype(real)) for size in (rows, n))
        w[0] = 0
        for state in states[1:]:  # a mean square is at least the square of the mean
            state[: rows * n] = states[0][: rows * n] ** 2 + state[: rows * n] ** 2
        if isinstance(optimizer, (RMSprop, Adagrad)):
            states[0][: rows * n] **= 2
        if isinstance(optimizer, NAdam):
            states[2][: rows * n] = 1 - 0.8**made
        exact = [part.astype(np.longdouble) for part in (w, x, g, *states)]
        numbers = rows, n, for_weights, made, 0.003, 0.02, 0.05, 1 / 32
        naive_step(optimizer, *exact[:3], exact[3:], *numbers)
        step(optimizer, w, x, g, states, *numbers)
        for ours, theirs in zip((w, x, g, *states), exact, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
