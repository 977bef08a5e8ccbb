"""The fast path: samples in blocks of any size, zeros skipped, parameters in place or padded, vectors of any width."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import fastmlp
from fastmlp import reference
from fastmlp.engine import blocks

TOLERANCE = {"float32": 3e-5, "float64": 1e-10}
# Hidden widths of 16 and 32 are whole cache lines in both dtypes: those networks train in place, the others on a copy.
HIDDEN = [[16], [10], [32, 16], [5, 33], [130]]
N_IN, N_OUT, N_SAMPLES = 40, 3, 37


def network(hidden, bias=True, act="tanh"):
    layers = [{"n": n, "act": act, "bias": bias} for n in hidden]
    return [{"n": N_IN, "act": None}, *layers, {"n": N_OUT, "act": "softmax", "bias": bias}]


def data(density):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N_SAMPLES, N_IN)) * (rng.random((N_SAMPLES, N_IN)) < density)
    x[:, 7] = 0  # never seen
    x[4] = 0  # a sample of nothing
    return x, rng.integers(0, N_OUT, N_SAMPLES)


@pytest.mark.parametrize("block", [1, 2, 7, 16, 64])
@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_block_size_is_sample_by_sample_sgd(block, density, hidden, dtype, monkeypatch):
    monkeypatch.setattr(blocks, "sample_block", lambda width, itemsize: block)
    x, y = data(density)
    for bias in (True, False):
        model = fastmlp.MLP(network(hidden, bias), seed=1, dtype=dtype)
        start = [w.copy() for w in model.weights], [b.copy() for b in model.biases]
        _, history = fastmlp.train(x, y, model, lr=0.05, epochs=2, seed=2)
        rng = np.random.default_rng(2)
        orders = [rng.permutation(N_SAMPLES) for _ in range(2)]
        weights, biases, losses = reference.train(
            model.spec, *start, x, reference.targets(model.spec, y), 0.05, 2, 1, orders
        )
        for ours, theirs in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
        np.testing.assert_allclose(history["loss"], losses, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("hidden", HIDDEN)
def test_everything_else_on_sparse_rows(hidden):
    x, y = data(0.2)
    model = fastmlp.MLP(network(hidden), seed=1, dtype="float64")
    exact = reference.forward(model.spec, model.weights, model.biases, x)[1][-1]
    np.testing.assert_allclose(model.predict(x), exact, rtol=1e-10)
    np.testing.assert_allclose(model.predict(x[:1]), exact[:1], rtol=1e-10)
    targets = reference.targets(model.spec, y)
    value, dws, dbs = reference.gradient(model.spec, model.weights, model.biases, x, targets)
    loss, grad = model.gradient(x, y)
    assert loss == pytest.approx(value, rel=1e-10)
    w_grads, b_grads = model.unflatten(grad)
    for ours, theirs in zip([*w_grads, *b_grads], [*dws, *dbs], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("hidden", [[16], [10]])
def test_padding_stays_zero_when_the_network_overflows(hidden):
    """A diverged run must not leave NaN behind in memory that the next run takes for zeros."""
    x, y = data(1.0)
    model = fastmlp.MLP(network(hidden, act="linear"), seed=1)
    before = model.params.copy()
    with pytest.raises(fastmlp.DivergenceError):
        fastmlp.train(x * 1e30, y, model, lr=1e30, epochs=3, seed=2)
    model.params = before
    fresh = fastmlp.MLP(network(hidden, act="linear"), seed=1)
    np.testing.assert_array_equal(model.predict(x), fresh.predict(x))
    for net in (model, fresh):
        fastmlp.train(x, y, net, lr=0.05, epochs=1, seed=2)
    np.testing.assert_array_equal(model.params, fresh.params)


SCRIPT = """
import sys
import numpy as np
import fastmlp
from fastmlp import reference
from fastmlp.engine import blocks
from fastmlp.kernels.cpu import vector_bytes
bits = int(sys.argv[1])
assert vector_bytes() <= bits // 8
for dtype, tolerance in (("float32", 3e-5), ("float64", 1e-10)):
    for hidden in ([16], [10], [32, 5]):
        for batch, density in ((1, 0.2), (1, 1.0), (7, 0.2), (40, 1.0)):
            rng = np.random.default_rng(0)
            x = rng.normal(size=(40, 30)) * (rng.random((40, 30)) < density)
            y = rng.integers(0, 3, 40)
            layers = [{"n": n, "act": "tanh"} for n in hidden]
            spec = [{"n": 30, "act": None}, *layers, {"n": 3, "act": "softmax"}]
            model = fastmlp.MLP(spec, seed=1, dtype=dtype)
            start = [w.copy() for w in model.weights], [b.copy() for b in model.biases]
            fastmlp.train(x, y, model, lr=0.05, epochs=2, batch_size=batch, shuffle=False)
            exact = reference.train(model.spec, *start, x, reference.targets(model.spec, y), 0.05, 2, batch)
            for ours, theirs in zip(model.weights + model.biases, exact[0] + exact[1]):
                np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)
            if bits < 512 and batch == 1 and density == 1.0 and hidden == [32, 5]:  # else test_specialized.py does it
                special = fastmlp.specialize(fastmlp.MLP(spec, seed=1, dtype=dtype))
                fastmlp.train(x, y, special, lr=0.05, epochs=2, shuffle=False)
                np.testing.assert_allclose(special.params, model.params, rtol=tolerance, atol=tolerance)
print("equal")
"""


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_every_vector_width(bits):
    environment = {**os.environ, "FASTMLP_VECTOR_BITS": str(bits)}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(bits)], env=environment, capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "equal\n"), run.stderr


@pytest.mark.parametrize("act", ["relu", "elu", "softmax"])
@pytest.mark.parametrize("hidden", [[32, 16], [16, 48, 16], [10, 16], [16, 10, 32]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_that_are_zero_are_skipped_in_deeper_layers(act, hidden, dtype):
    x, y = data(0.5)
    model = fastmlp.MLP(network(hidden, act=act), seed=1, dtype=dtype)
    model.biases[0][3] = -1e3  # a unit that never fires
    start = [w.copy() for w in model.weights], [b.copy() for b in model.biases]
    fastmlp.train(x, y, model, lr=0.05, epochs=2, shuffle=False)
    orders = [np.arange(N_SAMPLES)] * 2
    weights, biases, _ = reference.train(model.spec, *start, x, reference.targets(model.spec, y), 0.05, 2, 1, orders)
    for ours, theirs in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
