"""Every optimiser's step on a vector against the textbook in extended precision."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import catalog, layout
from fastmlp.optimizers import OPTIMIZERS, SGD, Adagrad, Adam, AdamHat, AdamW, RMSprop

SETTINGS = [
    *(kind() for kind in OPTIMIZERS.values() if kind.rule),
    SGD(momentum=0.9),
    SGD(momentum=0.8, nesterov=True),
    Adam(betas=(0.7, 0.95), eps=1e-3),
    AdamHat(eps=1e-2),
    AdamW(weight_decay=0.3),
    RMSprop(alpha=0.6, eps=1e-3),
    Adagrad(lr_decay=0.1, eps=1e-3),
]


def sgd(o, w, g, v, unused, t, lr):
    v = o.momentum * v + g
    return w - lr * (g + o.momentum * v if o.nesterov else v), v, unused


def adam(o, w, g, m, v, t, lr):
    m = o.betas[0] * m + (1 - o.betas[0]) * g
    v = o.betas[1] * v + (1 - o.betas[1]) * g**2
    if isinstance(o, AdamHat):
        return w - lr * np.sqrt(1 - o.betas[1] ** t) / (1 - o.betas[0] ** t) * m / (np.sqrt(v) + o.eps), m, v
    decayed = w * (1 - lr * getattr(o, "weight_decay", 0))
    return decayed - lr * (m / (1 - o.betas[0] ** t)) / (np.sqrt(v / (1 - o.betas[1] ** t)) + o.eps), m, v


def rmsprop(o, w, g, v, unused, t, lr):
    v = o.alpha * v + (1 - o.alpha) * g**2
    return w - lr * g / (np.sqrt(v) + o.eps), v, unused


def adagrad(o, w, g, total, unused, t, lr):
    total = total + g**2
    return w - lr / (1 + (t - 1) * o.lr_decay) * g / (np.sqrt(total) + o.eps), total, unused


# (w, states) after step t, counted from 1; an optimiser that is not here is held against the table's formulas.
TEXTBOOK = {
    "sgd": sgd, "adam": adam, "adam_hat": adam, "adamw": adam, "rmsprop": rmsprop, "adagrad": adagrad,
}  # fmt: skip


def table_formulas(o, w, g, state_1, state_2, t, lr):
    constants = o.prepare(lr, t, *(*o.constants, 0.0, 0.0, 0.0, 0.0)[:4])
    return o.rule(w, g, state_1, state_2, *constants)


def naive_step(optimizer, w, g, state_1, state_2, n, for_weights, made, l1, l2, lr, factor):
    """The step after ``made`` others, against factor · g, to which weights, not biases, add l1 sign w + l2 w."""
    parameters, states = w[:n].copy(), (state_1[:n], state_2[:n])
    slope = factor * g[:n]
    if for_weights:
        slope = slope + l1 * np.sign(parameters) + l2 * parameters
    rule = TEXTBOOK.get(optimizer.name, table_formulas)
    w[:n], first, second = rule(optimizer, parameters, slope, *states, made + 1, lr)
    for state, value, kept in zip((state_1, state_2), (first, second), (1, 2), strict=True):
        if kept <= optimizer.states:
            state[:n] = value


def step(optimizer, w, g, state_1, state_2, n, for_weights, made, l1, l2, lr, factor):
    options = np.zeros(layout.N_OPTIONS)
    options[[layout.STEPS, layout.L1, layout.L2]] = made, l1, l2
    options[layout.CONSTANTS : layout.CONSTANTS + len(optimizer.constants)] = optimizer.constants
    states = [state.ctypes.data if i < optimizer.states else 0 for i, state in enumerate((state_1, state_2))]
    catalog.step(optimizer.name, optimizer.states, w.dtype.name)(
        w.ctypes.data, g.ctypes.data, *states, n, for_weights, options.ctypes.data, lr, factor
    )


@pytest.mark.parametrize("optimizer", SETTINGS, ids=repr)
@pytest.mark.parametrize("for_weights", [False, True])
@pytest.mark.parametrize("made", [0, 1, 100])
def test_step(guarded, real, optimizer, for_weights, made):
    rng = np.random.default_rng(made)
    tolerance = 8 * np.finfo(real).eps
    for n in (1, 5, 16, 33, 100):
        w, g, *states = (guarded(rng.normal(size=n).astype(real)) for _ in range(4))
        w[0] = 0
        states[1][:n] = states[0][:n] ** 2 + states[1][:n] ** 2  # a mean square is at least the square of the mean
        if not isinstance(optimizer, Adam):
            states[0][:n] **= 2
        exact = [part.astype(np.longdouble) for part in (w, g, *states)]
        numbers = n, for_weights, made, 0.003, 0.02, 0.05, 1 / 32
        naive_step(optimizer, *exact, *numbers)
        step(optimizer, w, g, *states, *numbers)
        for ours, theirs in zip((w, g, *states), exact, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
