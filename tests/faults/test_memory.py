"""Arrays that are written to, resized or replaced while kernels run: no read or write leaves what was checked."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse

import fastmlp

SPEC = [{"n": 6, "act": None}, {"n": 16, "act": "relu"}, {"n": 3, "act": "softmax"}]


def data(n=300):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 6)) * (rng.random((n, 6)) < 0.5)
    return x, np.argmax(x[:, :3], axis=1)


def run(script):
    """A script in a process of its own, where a crash is a code below 0."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


@pytest.mark.parametrize("label", [5000, -1, 1 << 40])
def test_labels_are_read_once_at_the_start(label):
    x, y = data()
    expected, _ = fastmlp.train(x, y, SPEC, epochs=3, seed=0, callbacks=lambda state: None)

    def relabel(state):
        y[:] = label

    model, history = fastmlp.train(x, y, SPEC, epochs=3, seed=0, callbacks=relabel)
    np.testing.assert_array_equal(model.params, expected.params)
    assert np.isfinite(history["loss"]).all()


def test_targets_are_read_once_at_the_start():
    x, y = data()
    targets = np.eye(3)[y]
    expected, _ = fastmlp.train(x, targets, SPEC, epochs=3, seed=0, callbacks=lambda state: None)
    model, _ = fastmlp.train(x, targets, SPEC, epochs=3, seed=0, callbacks=lambda state: targets.fill(np.nan))
    np.testing.assert_array_equal(model.params, expected.params)


THREADS = """
import threading, numpy as np, scipy.sparse, fastmlp
rng = np.random.default_rng(0)
x = rng.normal(size=(2000, 40)) * (rng.random((2000, 40)) < DENSITY)
y = rng.integers(0, 3, 2000)
csr = scipy.sparse.csr_array(x)
given = csr if SPARSE else x
spec = [{"n": 40, "act": None}, {"n": 32, "act": "relu"}, {"n": 3, "act": "softmax"}]
model = fastmlp.MLP(spec, seed=0)
done = threading.Event()
labels, indices, indptr = y.copy(), csr.indices.copy(), csr.indptr.copy()

def disturb():
    numbers = np.random.default_rng(1)
    while not done.is_set():
        for array, right in ((y, labels), (csr.indices, indices), (csr.indptr, indptr)):
            array[numbers.integers(len(array))] = numbers.integers(-(1 << 30), 1 << 30)
            array[:] = right

thread = threading.Thread(target=disturb)
thread.start()
for i in range(300):
    try:
        CALL
    except (ValueError, fastmlp.DivergenceError):  # the checks may see what must not be
        pass
done.set()
thread.join()
"""


@pytest.mark.parametrize(("sparse", "density"), [(False, 0.3), (True, 0.3), (True, 0.03)])
@pytest.mark.parametrize(
    "call",
    [
        "fastmlp.train(given, y, model, epochs=2, lr=1e-6, batch_size=1 + 31 * (i % 2), progress=False)",
        "model.evaluate(given, y)",
        "model.gradient(given, y)",
        "model.predict(given)",
        "model.partial_fit(given, y, lr=1e-6)",
        "model.partial_fit(given, y, lr=1e-6, batch_size=300, optimizer=fastmlp.optimizers.Adam(lazy=SPARSE))",
    ],
)
def test_threads_that_write_to_the_arrays(call, sparse, density):
    run(THREADS.replace("CALL", call).replace("SPARSE", str(sparse)).replace("DENSITY", str(density)))


def test_arrays_in_use_cannot_be_resized():
    x, y = data()
    csr = scipy.sparse.csr_array(x)
    for array, samples in ((x, x), (csr.data, csr), (csr.indices, csr), (csr.indptr, csr)):

        def shrink(state, array=array):
            array.resize(1, refcheck=False)

        with pytest.raises(ValueError, match="resize"):
            fastmlp.train(samples, y, SPEC, epochs=2, callbacks=shrink)


@pytest.mark.parametrize("name", ["spec", "dtype", "weights", "biases"])
def test_what_decides_memory_cannot_be_replaced(name):
    model = fastmlp.MLP(SPEC, seed=0, dtype="float64")
    with pytest.raises(AttributeError):
        setattr(model, name, getattr(fastmlp.MLP(SPEC), name))
    with pytest.raises(ValueError, match="resize"):
        model.params.resize(1, refcheck=False)


def test_indptr_whose_differences_wrap_around():
    csr = scipy.sparse.csr_array((np.ones(5), np.arange(5), np.array([0, 5, 5, 5, 5], np.int32)), shape=(4, 6))
    csr.indptr = np.array([0, 2**31 - 1, -(2**31), -1, 5], np.int32)
    with pytest.raises(ValueError, match="broken sparse matrix"):
        fastmlp.MLP(SPEC).predict(csr)
