"""Hessians, their products, and derivatives along directions, against the reference, Jacobians and differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp import reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.engine import tangents
from fastmlp.losses import LOSSES

pytestmark = pytest.mark.filterwarnings("ignore:.*do not train")

WIDTHS = {1: (3, 2), 2: (5, 16, 3), 3: (2, 7, 33, 4), 4: (8, 64, 20, 16, 1)}
SIZES = (1, 5, 40, 130)  # a sample, less than a block, more, and enough for transposed weights


def network(widths, act="tanh", output="linear", loss=None, *, seed=0, bias=True, affine=False, dtype="float64"):
    first = {"n": widths[0], "act": None}
    layers = [{"n": n, "act": act, "bias": bias} for n in widths[1:-1]]
    last = {"n": widths[-1], "act": output, "bias": bias, "cost": loss}
    if affine:
        first |= {"shift": 0.1, "scale": np.linspace(0.5, 2.0, widths[0]).tolist()}
        last |= {"shift": -0.4, "scale": np.linspace(1.5, 2.5, widths[-1]).tolist()}
    model = fastmlp.MLP([first, *layers, last], seed=seed, dtype=dtype)
    model.params += np.random.default_rng(seed).normal(size=model.params.size).astype(dtype) / 10
    return model


def samples(model, n, seed=1):
    """x, and a y that fits the network's loss."""
    rng, n_out = np.random.default_rng(seed), model.spec.n_out
    x = rng.normal(size=(n, model.spec.n_in))
    name = model.spec.loss.name
    if name == "cross_entropy" and model.spec.one_of_many:
        return x, rng.dirichlet(np.ones(n_out), n)
    if name in ("cross_entropy", "bce"):
        return x, rng.uniform(size=(n, n_out))
    if name == "hinge":
        return x, rng.integers(n_out, size=n)
    return x, np.abs(rng.normal(size=(n, n_out)))


def product(model, x, y, v):
    """The reference's product, (n_params,)."""
    result = np.zeros(model.params.size)
    along = model.unflatten(np.asarray(v, np.float64))
    targets = reference.targets(model.spec, y)
    sums = reference.hessian_product(model.spec, model.weights, model.biases, x, targets, along)
    weights, biases = model.unflatten(result)
    for i, layer in enumerate(model.spec.layers):
        weights[i][...] = sums[0][i]
        if layer.bias:
            biases[i][...] = sums[1][i]
    return result


def assert_close(ours, exact, tolerance=1e-10):
    assert ours.shape == exact.shape
    np.testing.assert_allclose(ours, exact, rtol=0, atol=tolerance * max(1.0, np.abs(exact).max()))


def assert_right(model, x, y):
    """All of them, from the few samples' way in and from the other."""
    rng, n = np.random.default_rng(2), len(x)
    v, weights = rng.normal(size=model.params.size), rng.uniform(0.5, 2, n)
    exact = product(model, x, y, v)
    assert_close(model.hvp(x, y, v), exact)
    assert_close(model.hvp(x, y, v, sample_weight=np.ones(n)), exact)
    one_by_one = [product(model, x[[i]], y[[i]], v) for i in range(n)]
    assert_close(model.hvp(x, y, v, sample_weight=weights), np.average(one_by_one, axis=0, weights=weights))
    by_params, by_inputs = model.jacobian(x), model.jacobian(x, wrt="inputs")
    directions, u = rng.normal(size=x.shape), rng.normal(size=(n, model.spec.n_out))
    assert_close(model.jvp(x, directions), np.einsum("ski,si->sk", by_inputs, directions))
    assert_close(model.jvp(x, v, wrt="params"), by_params @ v)
    assert_close(model.vjp(x, u), np.einsum("ski,sk->si", by_inputs, u))
    assert_close(model.vjp(x, u, wrt="params"), np.einsum("skp,sk->p", by_params, u))


@pytest.mark.parametrize("depth", WIDTHS)
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_every_activation_and_depth(act, depth):
    model = network(WIDTHS[depth], act, affine=depth % 2 == 0)
    for n in SIZES[depth % 2 :: 2]:
        assert_right(model, *samples(model, n))


@pytest.mark.parametrize(
    ("output", "loss"),
    [
        (output, loss.name)
        for loss in (*LOSSES.values(), fastmlp.losses.Quantile([0.5, 0.9]))
        for output in ("linear", "sigmoid", "softmax", "tanh", "softplus")
        if loss.second_derivative and not loss.refusal(ACTIVATIONS[output])
    ],
)
def test_every_loss(output, loss):
    model = network((5, 16, 4), "tanh", output, loss)
    for n in (1, 70):
        x, y = samples(model, n)
        assert_right(model, x, y[:, : model.spec.n_targets] if y.ndim > 1 else y)


def test_classes_are_one_hot_rows():
    model = network((5, 8, 4), "tanh", "softmax")
    x, y = samples(model, 30)
    classes, v = y.argmax(axis=1), np.ones(model.params.size)
    assert_close(model.hvp(x, classes, v), product(model, x, classes, v))
    np.testing.assert_array_equal(model.hvp(x, classes, v), model.hvp(x, np.eye(4)[classes], v))


@pytest.mark.parametrize("widths", [(40, 64, 64, 3), (70, 128, 100, 2), (3, 160, 48, 20), (1, 1), (30, 2, 16, 16)])
@pytest.mark.parametrize("bias", [True, False])
def test_widths_and_layers_without_biases(widths, bias):
    model = network(widths, bias=bias)
    for n in (3, 100):
        assert_right(model, *samples(model, n))


def test_zeros_in_x_are_left_out():
    model = network((60, 16, 3), "relu")
    x, y = samples(model, 90)
    x[np.random.default_rng(0).random(x.shape) < 0.97] = 0
    assert_right(model, x, y)
    sparse, v = scipy.sparse.csr_array(x), np.linspace(-1, 1, model.params.size)
    assert_close(model.hvp(sparse, y, v), product(model, x, y, v))
    u = np.ones((90, 3))
    for wrt, along in (("inputs", x), ("params", v)):
        assert_close(model.jvp(sparse, along, wrt), model.jvp(x, along, wrt))
        assert_close(model.vjp(sparse, u, wrt), model.vjp(x, u, wrt))


def test_float32():
    model = network((8, 64, 64, 2), dtype="float32", affine=True)
    x, y = samples(model, 100)
    v = np.random.default_rng(3).normal(size=model.params.size)
    assert_close(model.hvp(x, y, v), product(model, x, y, v), 1e-5)
    assert model.hvp(x, y, v).dtype == np.float32
    assert_close(model.jvp(x, x), np.einsum("ski,si->sk", model.jacobian(x, wrt="inputs"), x), 1e-5)


@pytest.mark.parametrize("act", ["tanh", "softmax", "relu", "gelu"])
@pytest.mark.parametrize("widths", [(3, 2), (4, 7, 3), (2, 16, 33, 2), (1, 5, 1), (70, 16, 2)])
def test_hessians_by_inputs(act, widths):
    """Against differences of the Jacobian."""
    model, h = network(widths, act, "linear", affine=True), 1e-6
    x, _ = samples(model, 9)
    hessians = model.hessian(x, wrt="inputs")
    assert hessians.shape == (9, widths[-1], widths[0], widths[0])
    sides = [[model.jacobian(x + side * row, wrt="inputs") for side in (h, -h)] for row in np.eye(widths[0])]
    exact = np.stack([(up - down) / (2 * h) for up, down in sides], axis=2)
    np.testing.assert_allclose(hessians, exact, atol=1e-7 * max(1, np.abs(exact).max()))
    np.testing.assert_array_equal(hessians, hessians.swapaxes(2, 3))


def test_hessian_by_params():
    model = network((3, 5, 2), "swish", "softmax")
    x, y = samples(model, 40)
    weights = np.random.default_rng(0).integers(0, 3, 40)
    hessian = model.hessian(x, y, sample_weight=weights)
    rows = np.repeat(np.arange(40), weights)
    assert_close(hessian, np.array([product(model, x[rows], y[rows], v) for v in np.eye(model.params.size)]))
    np.testing.assert_array_equal(hessian, hessian.T)


def test_more_samples_than_a_call_takes(monkeypatch):
    model = network((3, 16, 2))
    x, y = samples(model, 3000)
    v, u = np.linspace(-1, 1, model.params.size), np.ones((3000, 2))
    kept = [model.hvp(x, y, v), model.vjp(x, u, wrt="params"), model.jvp(x, x)]
    monkeypatch.setattr(tangents, "_AT_ONCE", 1)
    monkeypatch.setattr(fastmlp.engine.call, "_SLICE_SECONDS", 0.0)
    for again, exact in zip([model.hvp(x, y, v), model.vjp(x, u, wrt="params"), model.jvp(x, x)], kept, strict=True):
        assert_close(again, exact, 1e-12)


def test_an_overflow_leaves_nothing_behind():
    """Memory is used again."""
    model = network((5, 20, 16, 3), "swish")
    x, y = samples(model, 10)
    v = np.ones(model.params.size)
    before = model.hvp(x, y, v), model.hvp(x, y, v, sample_weight=np.ones(10)), model.hessian(x, wrt="inputs")
    kept = model.params.copy()
    model.params *= 1e160
    with np.errstate(all="ignore"):
        model.hvp(x, y, v, sample_weight=np.ones(10))
        model.hessian(x, wrt="inputs")
        assert not np.isfinite(model.hvp(x, y, v)).all()
    model.params = kept
    after = model.hvp(x, y, v), model.hvp(x, y, v, sample_weight=np.ones(10)), model.hessian(x, wrt="inputs")
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
