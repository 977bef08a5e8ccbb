"""Kernels against the NumPy reference: every activation and loss, one to four layers, batches of 1, 7 and all."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.losses import LOSSES

pytestmark = pytest.mark.filterwarnings("ignore:.*do not train")

N_SAMPLES, N_IN, N_OUT = 23, 5, 3
TOLERANCE = {"float32": 3e-5, "float64": 1e-10}


def fits(act: str, loss: str) -> bool:
    return not LOSSES[loss].refusal(ACTIVATIONS[act])


PAIRS = [(act, loss) for act in ACTIVATIONS for loss in LOSSES if fits(act, loss)]


def n_out(loss: str) -> int:
    """Three outputs, or four where a target has two."""
    return N_OUT + N_OUT % LOSSES[loss].outputs_per_target


def network(act: str, loss: str, depth: int, *, bias: bool = True) -> list[dict]:
    widths = [6, 4, 7][: depth - 1]
    hidden = [{"n": n, "act": act, "bias": bias} for n in widths]
    first = {"n": N_IN, "act": None, "shift": 0.1, "scale": [1.0, 0.5, 2.0, 1.0, 0.7]}
    return [first, *hidden, {"n": n_out(loss), "act": act, "cost": loss, "bias": bias}]


def data(loss: str, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_SAMPLES, N_IN))
    if loss in ("cross_entropy", "hinge"):
        return x, rng.integers(0, N_OUT, N_SAMPLES)
    if loss == "bce":
        return x, rng.integers(0, 2, (N_SAMPLES, N_OUT))
    return x, rng.uniform(0, 1, (N_SAMPLES, n_out(loss) // LOSSES[loss].outputs_per_target))


def assert_trains_like_reference(spec, x, y, dtype, batch_size, lr=0.02, epochs=2, shuffle=True):
    model = fastmlp.MLP(spec, seed=3, dtype=dtype)
    weights = [w.astype(np.float64) for w in model.weights]
    biases = [b.astype(np.float64) for b in model.biases]
    rng = np.random.default_rng(11)
    orders = [rng.permutation(len(x)) if shuffle else np.arange(len(x)) for _ in range(epochs)]
    _, history = fastmlp.train(
        x, y, model, lr=lr, epochs=epochs, batch_size=batch_size, seed=11, shuffle=shuffle, progress=False
    )
    size = len(x) if batch_size == "full" else batch_size
    weights, biases, losses = reference.train(
        model.spec, weights, biases, x, reference.targets(model.spec, y), lr, epochs, size, orders
    )
    tolerance = TOLERANCE[dtype]
    for ours, theirs in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(history["loss"], losses, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 7, "full"])
@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize(("act", "loss"), PAIRS)
def test_training_equals_reference(act, loss, depth, batch_size, dtype):
    x, y = data(loss)
    # mbe has no minimum, poisson grows like exp: a larger step would take every rounding error along
    lr = 0.001 if loss in ("mbe", "poisson") else 0.005
    assert_trains_like_reference(network(act, loss, depth), x, y, dtype, batch_size, lr)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "mse", "hinge"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_without_biases(loss, dtype):
    output = {"cross_entropy": "softmax", "bce": "sigmoid"}.get(loss, "linear")
    spec = network("tanh", loss, 3, bias=False)
    spec[-1]["act"] = output
    x, y = data(loss)
    assert_trains_like_reference(spec, x, y, dtype, 1)


@pytest.mark.parametrize("batch_size", [64, 65, 150, "full"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batches_beyond_one_block(batch_size, dtype):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(331, N_IN)), rng.integers(0, N_OUT, 331)
    assert_trains_like_reference(
        [*network("tanh", "mse", 2)[:-1], {"n": N_OUT, "act": "softmax"}], x, y, dtype, batch_size
    )


@pytest.mark.parametrize("widths", [(1, 1, 1), (2, 3, 1), (17, 33, 16), (64, 16, 5), (100, 65, 31, 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_odd_widths(widths, dtype):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(40, widths[0])), rng.normal(size=(40, widths[-1]))
    spec = [
        {"n": widths[0], "act": None},
        *({"n": n, "act": "tanh"} for n in widths[1:-1]),
        {"n": widths[-1], "act": None},
    ]
    assert_trains_like_reference(spec, x, y, dtype, 1, shuffle=False)


@pytest.mark.parametrize(("act", "loss"), PAIRS)
def test_gradient_forward_and_loss(act, loss):
    x, y = data(loss, seed=1)
    model = fastmlp.MLP(network(act, loss, 3), seed=2, dtype="float64")
    y_rows = reference.targets(model.spec, y)
    value, grad = model.gradient(x, y)
    expected, dws, dbs = reference.gradient(model.spec, model.weights, model.biases, x, y_rows)
    assert value == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert model.evaluate(x, y)["loss"] == pytest.approx(expected, rel=1e-12, abs=1e-12)
    ours = model.unflatten(grad)
    for mine, theirs in zip([*ours[0], *ours[1]], [*dws, *dbs], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12)
    for mine, theirs in zip(
        model.forward(x), reference.forward(model.spec, model.weights, model.biases, x), strict=True
    ):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("act", [name for name in ACTIVATIONS if name != "step"])
def test_jacobian_is_the_derivative_of_predict(act):
    rng = np.random.default_rng(4)
    spec = network(act, "mse", 3)
    model = fastmlp.MLP(spec, seed=1, dtype="float64")
    x = rng.normal(size=(3, N_IN))
    step = 1e-6
    by_params = model.jacobian(x)
    numeric = np.empty_like(by_params)
    for i in range(model.params.size):
        sides = []
        for sign in (1, -1):
            moved = model.copy()
            moved.params[i] += sign * step
            sides.append(moved.predict(x))
        numeric[:, :, i] = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(by_params, numeric, atol=1e-7)
    for rows, expected in zip(by_params, reference.jacobian(model.spec, model.weights, model.biases, x), strict=True):
        for row, (dws, dbs) in zip(rows, expected, strict=True):
            ours = model.unflatten(row)
            for mine, theirs in zip([*ours[0], *ours[1]], [*dws, *dbs], strict=True):
                np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-13)
    by_inputs = model.jacobian(x, wrt="inputs")
    for k in range(N_IN):
        bump = np.zeros(N_IN)
        bump[k] = step
        slope = (model.predict(x + bump) - model.predict(x - bump)) / (2 * step)
        np.testing.assert_allclose(by_inputs[:, :, k], slope, atol=1e-7)
