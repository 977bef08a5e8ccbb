"""Training on a residual against the NumPy reference, and that against differences of the loss."""

from __future__ import annotations

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp import MLP, Residual, reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.engine.epochs import Samples, take_step
from fastmlp.engine.lbfgs import LocalObjective
from fastmlp.engine.slopes import Residuals
from fastmlp.engine.steps import OptimizerState
from fastmlp.optimizers import OPTIMIZERS

N = 41  # samples: more than a block
ELEMENTWISE = [name for name, activation in ACTIVATIONS.items() if activation.elementwise]


@numba.njit
def r(x, u, du, d2u):
    """Every number matters, those of a pair of inputs not alike."""
    total = 0.3 * x[0]
    for k in range(len(u)):
        total += (1.0 + 0.2 * k) * u[k] * x[-1]
        for i in range(len(x)):
            total += np.sin(1.0 + k + i) * du[k, i] * u[0]
            for j in range(len(x)):
                total += np.cos(1.0 + k + 3.0 * i + 2.0 * j) * d2u[k, i, j] * (1.0 + 0.1 * du[-1, j])
    return total


@numba.njit
def dr(x, u, du, d2u, g_u, g_du, g_d2u):
    for k in range(len(u)):
        g_u[k] += (1.0 + 0.2 * k) * x[-1]
        for i in range(len(x)):
            g_du[k, i] += np.sin(1.0 + k + i) * u[0]
            g_u[0] += np.sin(1.0 + k + i) * du[k, i]
            for j in range(len(x)):
                g_d2u[k, i, j] += np.cos(1.0 + k + 3.0 * i + 2.0 * j) * (1.0 + 0.1 * du[-1, j])
                g_du[-1, j] += 0.1 * np.cos(1.0 + k + 3.0 * i + 2.0 * j) * d2u[k, i, j]


RESIDUAL = Residual(r, dr)


def network(widths, act="tanh", output="linear", dtype="float64"):
    rng = np.random.default_rng(2)
    first = {"n": widths[0], "act": None, "shift": 0.1, "scale": rng.uniform(0.5, 2, widths[0]).tolist()}
    last = {
        "n": widths[-1],
        "act": output,
        "cost": "mse",
        "shift": 0.3,
        "scale": rng.uniform(0.5, 2, widths[-1]).tolist(),
    }
    model = MLP([first, *({"n": n, "act": act} for n in widths[1:-1]), last], seed=1, dtype=dtype)
    model.params[...] += rng.normal(size=model.params.size) / 5
    return model


def data(model, n=N):
    """x with zeros, of which some columns have no others; y, of which half the rows and some numbers are NaN; weights,
    of which some are 0."""
    rng, spec = np.random.default_rng(1), model.spec
    x = rng.normal(size=(n, spec.n_in)) * (rng.random((n, spec.n_in)) < 0.7)
    x[: n // 2, 0] = 0
    y = np.where(rng.random((n, spec.n_out)) < 0.2, np.nan, rng.normal(size=(n, spec.n_out)))
    y[rng.random(n) < 0.5] = np.nan
    return x, y, rng.uniform(0, 2, n) * (rng.random(n) < 0.8)


def flat(model, dws, dbs):
    vector = np.zeros(model.params.size)
    for ours, theirs in zip(model.unflatten(vector), (dws, dbs), strict=True):
        for view, values in zip(ours, theirs, strict=True):
            view[...] = values
    return vector


def reference_gradient(model, x, y, weights):
    y = reference.targets(model.spec, y)
    loss, part, *parts = reference.residual_gradient(model.spec, model.weights, model.biases, x, y, RESIDUAL, weights)
    return loss, part, flat(model, *parts)


def objective(model, x, y, weights):
    samples = Samples(x, y, None, np.ones(model.spec.n_out), Residuals(RESIDUAL, weights))
    return LocalObjective(model, samples, np.arange(len(x)), {}, 0.0, 1)


def check_gradient(model):
    x, y, weights = data(model)
    ours = objective(model, x, y, weights)
    params = model.params.astype(np.float64)
    loss, gradient = ours(params)
    expected, part, expected_gradient = reference_gradient(model, x, y, weights)
    np.testing.assert_allclose([loss, ours.values(params)["residual_loss"]], [expected, part], rtol=1e-11)
    scale = np.abs(expected_gradient).max() or 1.0
    np.testing.assert_allclose(gradient / scale, expected_gradient / scale, rtol=1e-10, atol=1e-13)


@pytest.mark.filterwarnings("ignore:.*do not train")
@pytest.mark.parametrize("widths", [(2, 1), (1, 16, 2), (3, 5, 16, 1)], ids=str)
@pytest.mark.parametrize("act", ELEMENTWISE)
def test_the_gradient_is_the_references(act, widths):
    check_gradient(network(widths, act, act))


@pytest.mark.parametrize("widths", [(1, 16, 1), (12, 64, 3), (3, 8, 20)], ids=str)
def test_more_derivatives_than_a_block_has_rows(widths):
    check_gradient(network(widths, "swish"))


@pytest.mark.parametrize("batch", [1, 16, N])
@pytest.mark.parametrize("widths", [(2, 16, 7, 1), (1, 8, 2)], ids=str)
def test_steps_are_those_of_the_reference(widths, batch):
    model = network(widths, "gelu")
    x, y, weights = data(model)
    sample_weight = np.random.default_rng(5).uniform(0.5, 1.5, N) if batch > 1 else np.ones(N)
    ours, losses = model.copy(), []
    _, history = fastmlp.train(
        x, y, ours, residual=RESIDUAL, residual_weight=weights, sample_weight=sample_weight, lr=0.01, epochs=1,
        batch_size=batch, shuffle=False,
    )  # fmt: skip
    for start in range(0, N, batch):
        step = np.zeros_like(model.params)
        for s in range(start, min(N, start + batch)):
            rows = slice(s, s + 1)
            *values, gradient = reference_gradient(model, x[rows], y[rows], weights[rows])
            losses.append(sample_weight[s] * np.array(values))
            step += sample_weight[s] * gradient
        model.params[...] -= 0.01 * step / sample_weight[start : start + batch].sum()
    np.testing.assert_allclose(ours.params, model.params, rtol=1e-10, atol=1e-12)
    expected = np.sum(losses, axis=0) / sample_weight.sum()
    np.testing.assert_allclose([history["loss"][0], history["residual_loss"][0]], expected, rtol=1e-11)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if kind.rule])
def test_every_optimiser_steps_along_the_gradient(name, batch):
    model = network((2, 16, 2))
    x, y, weights = data(model, 16)
    ours = model.copy()
    options = {"l1": 1e-3, "l2": 1e-2, "clip_norm": 0.5, "max_norm": 2.0}
    fastmlp.train(
        x, y, ours, residual=RESIDUAL, residual_weight=weights, optimizer=name, lr=0.01, epochs=2, batch_size=batch,
        shuffle=False, **options,
    )  # fmt: skip
    state = OptimizerState.begin(OPTIMIZERS[name](), model.params, *options.values())
    for start in [*range(0, 16, batch)] * 2:
        rows = slice(start, start + batch)
        take_step(model, state, reference_gradient(model, x[rows], y[rows], weights[rows])[2], 0.01)
    np.testing.assert_allclose(ours.params, model.params, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bits(dtype):
    model = network((2, 100, 100, 1), "swish", dtype=dtype)
    x, y, weights = data(model, 1000)
    params = []
    for n_threads in (1, 2, 3):
        one = model.copy()
        fastmlp.train(
            x, y, one, residual=RESIDUAL, residual_weight=weights, lr=1e-6, epochs=2, batch_size=400, seed=0,
            n_threads=n_threads,
        )  # fmt: skip
        params.append(one.params.tobytes())
    assert params[0] == params[1] == params[2]


def test_float32_is_near():
    model = network((2, 32, 32, 1), dtype="float32")
    x, y, weights = data(model)
    _, gradient = objective(model, x, y, weights)(model.params.astype(np.float64))
    expected = reference_gradient(model, x, y, weights)[2]
    assert np.abs(gradient - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_gradient_is_that_of_differences():
    model = network((2, 8, 1))
    x, y, weights = data(model)
    ours = objective(model, x, y, weights)
    params, step = model.params.copy(), 1e-6
    _, gradient = ours(params)
    numeric = [(ours(params + step * e)[0] - ours(params - step * e)[0]) / (2 * step) for e in np.eye(params.size)]
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-6)
