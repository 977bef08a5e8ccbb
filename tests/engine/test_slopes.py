"""Training on derivatives against the NumPy reference, which test_reference.py holds against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import MLP, reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.engine.epochs import Samples, take_step
from fastmlp.engine.lbfgs import LocalObjective
from fastmlp.engine.slopes import Slopes
from fastmlp.engine.steps import OptimizerState
from fastmlp.losses import LOSSES
from fastmlp.optimizers import OPTIMIZERS

N = 70  # samples: more than a block
PAIRS = [("tanh", loss) for loss in LOSSES if not LOSSES[loss].refusal(ACTIVATIONS["tanh"])]
PAIRS += [("softmax", "cross_entropy"), ("sigmoid", "bce"), ("sigmoid", "cross_entropy"), ("linear", "hinge")]


def network(widths, act="tanh", output=None, loss="mse", units=True, dtype="float64"):
    rng = np.random.default_rng(2)
    first, last = {"n": widths[0], "act": None}, {"n": widths[-1], "act": output or act, "cost": loss}
    if units:
        first |= {"shift": 0.1, "scale": rng.uniform(0.5, 2, widths[0]).tolist()}
        if last["act"] != "softmax" and not LOSSES[loss].classification and not LOSSES[loss].logarithmic:
            last |= {"shift": 0.3, "scale": rng.uniform(0.5, 2, widths[-1]).tolist()}
    model = MLP([first, *({"n": n, "act": act} for n in widths[1:-1]), last], seed=1, dtype=dtype)
    model.params[...] += rng.normal(size=model.params.size) / 5
    return model


def data(model, n=N):
    """x with zeros, of which some columns have no others; y; slopes of which every third is unknown; their weights."""
    rng, spec = np.random.default_rng(1), model.spec
    x = rng.normal(size=(n, spec.n_in)) * (rng.random((n, spec.n_in)) < 0.7)
    x[: n // 2, 0] = 0
    y = rng.dirichlet(np.ones(spec.n_out), n) if spec.loss.any_target is False else rng.normal(size=(n, spec.n_out))
    if spec.loss.name == "bce":
        y = rng.integers(0, 2, (n, spec.n_out)).astype(float)
    dydx = rng.normal(size=(n, spec.n_out, spec.n_in))
    return x, y, np.where(rng.random(dydx.shape) < 1 / 3, np.nan, dydx), rng.uniform(0, 2, n)


def flat(model, dws, dbs):
    vector = np.zeros(model.params.size)
    for ours, theirs in zip(model.unflatten(vector), (dws, dbs), strict=True):
        for view, values in zip(ours, theirs, strict=True):
            view[...] = values
    return vector


def reference_gradient(model, x, y, dydx, weights):
    y = reference.targets(model.spec, y)
    loss, part, *parts = reference.sobolev_gradient(model.spec, model.weights, model.biases, x, y, dydx, weights)
    return loss, part, flat(model, *parts)


def check_gradient(model):
    x, y, dydx, weights = data(model)
    objective = LocalObjective(model, Samples(x, y, slopes=Slopes(dydx, weights)), np.arange(N), {}, 0.0, 1)
    params = model.params.astype(np.float64)
    loss, gradient = objective(params)
    expected, part, expected_gradient = reference_gradient(model, x, y, dydx, weights)
    np.testing.assert_allclose([loss, objective.values(params)["dydx_loss"]], [expected, part], rtol=1e-12)
    scale = np.abs(expected_gradient).max() or 1.0
    np.testing.assert_allclose(gradient / scale, expected_gradient / scale, rtol=1e-10, atol=1e-13)


@pytest.mark.filterwarnings("ignore:.*do not train")
@pytest.mark.parametrize("ends", [(4, 3), (2, 3)], ids=["back first", "ahead first"])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_the_gradient_is_the_references(act, depth, ends):
    check_gradient(network([ends[0], *(5, 16, 7)[: depth - 1], ends[1]], act))


@pytest.mark.parametrize(("output", "loss"), PAIRS)
def test_every_loss_goes_with_slopes(output, loss):
    check_gradient(network([4, 16, 3], output=output, loss=loss))


@pytest.mark.parametrize("widths", [(1, 16, 1), (30, 64, 20), (100, 8, 70), (3, 8, 200)])
def test_more_derivatives_than_a_block_has_rows(widths):
    check_gradient(network(widths, "swish", output="linear"))


@pytest.mark.parametrize("batch", [1, 3, 32, N])
@pytest.mark.parametrize("widths", [(4, 16, 7, 3), (2, 16, 7, 3), (2, 32, 1)])
def test_steps_are_those_of_the_reference(widths, batch):
    model = network(widths, "gelu", output="linear")
    x, y, dydx, weights = data(model)
    ours, losses = model.copy(), []
    _, history = fastmlp.train(
        x, y, ours, dydx=dydx, dydx_weight=weights, lr=0.05, epochs=1, batch_size=batch, shuffle=False
    )
    for start in range(0, N, batch):
        rows = slice(start, start + batch)
        *values, gradient = reference_gradient(model, x[rows], y[rows], dydx[rows], weights[rows])
        losses.append(np.array(values) * len(x[rows]))
        model.params[...] -= 0.05 * gradient
    np.testing.assert_allclose(ours.params, model.params, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose([history["loss"][0], history["dydx_loss"][0]], np.sum(losses, axis=0) / N, rtol=1e-11)


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("name", [name for name, kind in OPTIMIZERS.items() if kind.rule])
def test_every_optimiser_steps_along_the_gradient(name, batch):
    model = network((3, 16, 2), output="linear")
    x, y, dydx, weights = data(model, 24)
    ours = model.copy()
    options = {"l1": 1e-3, "l2": 1e-2, "clip_norm": 0.5, "max_norm": 2.0}
    fastmlp.train(
        x, y, ours, dydx=dydx, dydx_weight=weights, optimizer=name, lr=0.01, epochs=2, batch_size=batch, shuffle=False,
        **options,
    )  # fmt: skip
    state = OptimizerState.begin(OPTIMIZERS[name](), model.params, *options.values())
    for start in [*range(0, 24, batch)] * 2:
        rows = slice(start, start + batch)
        take_step(model, state, reference_gradient(model, x[rows], y[rows], dydx[rows], weights[rows])[2], 0.01)
    np.testing.assert_allclose(ours.params, model.params, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bits(dtype):
    model = network((3, 100, 100, 1), "swish", output="linear", dtype=dtype)
    x, y, dydx, weights = data(model, 4000)
    params = []
    for n_threads in (1, 2, 3):
        one = model.copy()
        fastmlp.train(
            x, y, one, dydx=dydx, dydx_weight=weights, lr=0.01, epochs=2, batch_size=1500, seed=0, n_threads=n_threads
        )
        params.append(one.params.tobytes())
    assert params[0] == params[1] == params[2]


def test_float32_is_near():
    model = network((3, 32, 32, 1), "tanh", output="linear", dtype="float32")
    x, y, dydx, weights = data(model)
    _, gradient = LocalObjective(
        model, Samples(x, y, slopes=Slopes(dydx, weights)), np.arange(N), {}, 0.0, 1
    )(model.params.astype(np.float64))  # fmt: skip
    expected = reference_gradient(model, x, y, dydx, weights)[2]
    assert np.abs(gradient - expected).max() < 1e-5 * np.abs(expected).max()


def test_slopes_of_any_dtype_and_strides(tmp_path):
    model = network((3, 16, 2), output="linear")
    x, y, dydx, _ = data(model)
    dydx = np.where(np.isnan(dydx), dydx, np.round(8 * dydx))
    np.save(tmp_path / "dydx.npy", dydx.astype(np.float32))
    forms = {
        "as it is": dydx,
        "float32 in a file": np.load(tmp_path / "dydx.npy", mmap_mode="r"),
        "by inputs": np.ascontiguousarray(dydx.transpose(2, 1, 0)).transpose(2, 1, 0),
        "backwards": np.ascontiguousarray(dydx[::-1, ::-1, ::-1])[::-1, ::-1, ::-1],
        "another byte order": dydx.astype(">f8"),
    }
    trained = {}
    for form, values in forms.items():
        trained[form] = fastmlp.train(x, y, model.copy(), dydx=values, epochs=2, batch_size=9, seed=0).model.params
    whole = np.nan_to_num(dydx).astype(np.int8)
    for form, values in {"whole": whole, "whole, float64": whole.astype(float)}.items():
        trained[form] = fastmlp.train(x, y, model.copy(), dydx=values, epochs=2, batch_size=9, seed=0).model.params
    for form in forms:
        np.testing.assert_array_equal(trained[form], trained["as it is"])
    np.testing.assert_array_equal(trained["whole"], trained["whole, float64"])
