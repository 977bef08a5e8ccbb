"""The second part of ``python -m fastmlp bench``: single measurements, one line each, below the table of table.py."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...base.cores import usable_cores
from ...datasets import load_mnist
from ...kernels.report import show_kernels
from ...model.mlp import MLP
from ...model.training import train
from . import calls
from .clock import figures, per_unit, repeated

__all__ = ["lines"]

_FASTMLP = """
import fastmlp
from fastmlp.datasets import load_mnist
(x, y), (x_test, y_test) = load_mnist()
spec = [{"n": 784, "act": None, "scale": 1 / 255}, {"n": 128, "act": "relu"}, {"n": 10, "act": "softmax"}]
model = fastmlp.MLP(spec, seed=0)
for epoch in range(20):
    fastmlp.train(x, y, model, lr=0.02 * 0.7**epoch, epochs=1, seed=epoch, progress=False)
    if model.evaluate(x_test, y_test)["accuracy"] >= 0.978:
        break
print(epoch + 1)
"""
_FIRST_TRAINING = """
import time
import numpy
begin = time.perf_counter()
import fastmlp
x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
fastmlp.train(x, y, spec, epochs=1, progress=False)
print(time.perf_counter() - begin)
"""
_JAX = """
import numpy as np, jax, jax.numpy as jnp
from fastmlp.datasets import load_mnist
(x, y), (x_test, y_test) = load_mnist()
x, x_test = (jnp.asarray(a / np.float32(255)) for a in (x, x_test))
y, rng = jnp.asarray(y.astype(int)), np.random.default_rng(0)
def he(n_in, n_out):
    return jnp.asarray(rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out)).astype("f4")), jnp.zeros(n_out)
def net(params, x):
    (w, b), (v, c) = params
    return jax.nn.relu(x @ w + b) @ v + c
def loss(params, x, y):
    return -jax.nn.log_softmax(net(params, x))[y]
@jax.jit
def epoch(params, order, lr):
    def step(p, i):
        g = jax.grad(loss)(p, x[i], y[i])
        return jax.tree_util.tree_map(lambda a, b: a - lr * b, p, g), None
    return jax.lax.scan(step, params, order)[0]
params = he(784, 128), he(128, 10)
for i in range(20):
    params = epoch(params, rng.permutation(60000), 0.02 * 0.7**i)
    if np.mean(np.argmax(net(params, x_test), 1) == y_test) >= 0.978:
        break
print(i + 1)
"""
_TORCH = """
import numpy as np, torch
from fastmlp.datasets import load_mnist
torch.set_num_threads(1)
torch.manual_seed(0)
(x, y), (x_test, y_test) = load_mnist()
x, x_test = (torch.from_numpy(a / np.float32(255)) for a in (x, x_test))
y = torch.from_numpy(y.astype(int))
net = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
for i in range(20):
    for rows in torch.randperm(60000).split(64):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        if np.mean(net(x_test).argmax(1).numpy() == y_test) >= 0.978:
            break
print(i + 1)
"""


def _best(run: Callable[[], Any], calls: int, rounds: int = 7) -> float:
    """Return the microseconds a call takes in the fastest round."""
    run()
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(calls):
            run()
        best = min(best, time.perf_counter() - begin)
    return best / calls * 1e6


def lines(rounds: int = 5) -> Iterator[str]:
    """Yield a Markdown list item for each measurement."""
    yield _share_of_sgemm()
    for n in (1, 10, 1000):
        for widths in ((4, 16, 2), (30, 100, 2), (784, 128, 10)):
            yield _predictions(n, *widths)
    for widths in ((2, 16, 1), (784, 128, 1)):
        yield _one_step(*widths)
    yield _value_and_gradient()
    yield _two_threads()
    if importlib.util.find_spec("sklearn"):
        yield _estimators(min(4, rounds))
    with contextlib.suppress(ConnectionError):  # load_mnist neither found nor fetched it
        load_mnist()
        yield _to_accuracy(min(3, rounds))
    yield _first_training(rounds)


def _share_of_sgemm() -> str:
    """Measure training in floating-point operations per second, compared with NumPy's product of large matrices."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((1536, 1536), dtype=np.float32) for _ in range(2))
    out = a @ b
    x, y = rng.random((10_000, 768), dtype=np.float32), rng.integers(0, 10, 10_000)
    model = MLP(calls.network(768, 128, 10), seed=0)
    sgemm, ours = float("inf"), float("inf")
    for _ in range(5):  # interleaved
        sgemm = min(sgemm, _best(lambda: np.matmul(a, b, out=out), 1, 2))
        ours = min(ours, _best(lambda: train(x, y, model, lr=1e-3, epochs=1, seed=0, progress=False), 1, 2))
    peak = 2 * 1536**3 / sgemm / 1e3
    rate = 4 * (768 * 128 + 1.5 * 128 * 10) * 10_000 / ours / 1e3
    return (
        f"- 768-128-10, batch 1, dense: {rate:.0f} GFLOP/s, {rate / peak:.0%} of NumPy's sgemm of 1536 × 1536 matrices "
        f"({peak:.0f})"
    )


def _predictions(n: int, *widths: int) -> str:
    """Measure a prediction of n samples, compared with NumPy's and, if installed, onnxruntime's."""
    model = MLP(calls.network(*widths), seed=0)
    x = np.random.default_rng(0).random((n, widths[0]), dtype=np.float32)
    runs = {"fastmlp": lambda: model.predict(x), "NumPy": calls.numpy_prediction(model, x)}
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        runs["onnxruntime"] = calls.onnxruntime_prediction(model, x)
    what = "one prediction" if n == 1 else f"predictions of {n:,} samples"
    return f"- {what}, {'-'.join(map(str, widths))}: {_beside(runs)}"


def _one_step(*widths: int) -> str:
    """Measure `partial_fit` of one sample by plain SGD, compared with NumPy's."""
    model = MLP(calls.network(*widths, output="linear"), seed=0)
    rng = np.random.default_rng(0)
    x, y = rng.random((1, widths[0]), dtype=np.float32), rng.random(1, dtype=np.float32)
    runs = {"fastmlp": lambda: model.partial_fit(x, y, lr=1e-4), "NumPy": calls.numpy_step(model, x[0], y, 1e-4)}
    return f"- learning from one sample, {'-'.join(map(str, widths))}: {_beside(runs)}"


def _beside(runs: dict[str, Callable[[], Any]]) -> str:
    """Write the microseconds of the first run, and how many times as long the others take."""
    times = per_unit({name: repeated(run) for name, run in runs.items()}, 10, 0.01)
    ours, *others = best = {name: min(values) for name, values in times.items()}
    return f"{figures(best[ours] * 1e6)} µs; " + ", ".join(f"{name} {best[name] / best[ours]:.2g}×" for name in others)


def _value_and_gradient() -> str:
    rng = np.random.default_rng(0)
    model = MLP(calls.network(24, 8, 2, act="tanh", output="linear"), seed=0, dtype="float64")
    x, y = rng.normal(size=(200, 24)), rng.normal(size=(200, 2))
    ours = _best(lambda: model.gradient(x, y), 500)
    return f"- value and gradient of 24-8-2 tanh on 200 samples, float64: {ours:.1f} µs"


def _two_threads() -> str:
    """Measure training on large batches with two threads, compared with one, on all cores."""
    rng = np.random.default_rng(0)
    x, y = rng.random((20_480, 784), dtype=np.float32), rng.integers(0, 10, 20_480)
    model = MLP(calls.network(784, 128, 10), seed=0)
    best = {1: float("inf"), 2: float("inf")}
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    try:
        if cores:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        for _ in range(6):
            for n in best:
                begin = time.perf_counter()
                train(x, y, model, lr=1e-3, epochs=6, batch_size=256, n_threads=n, seed=0, progress=False)
                best[n] = min(best[n], time.perf_counter() - begin)
    finally:
        if cores:
            os.sched_setaffinity(0, cores)
    return f"- 784-128-10, batch 256, dense: two threads {best[1] / best[2]:.2f}× as fast as one"


def _estimators(rounds: int) -> str:
    """Time whole fits of both estimators, in float64, with equal results."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier as Theirs

    from ...sklearn import MLPClassifier

    x, y = load_digits(return_X_y=True)
    leads = []
    for batch, epochs in (("auto", 20), (1, 1)):
        for solver in ("sgd", "adam"):
            options: dict[str, Any] = {"solver": solver, "batch_size": batch, "max_iter": epochs, "random_state": 0}
            best = {Theirs(**options): float("inf"), MLPClassifier(**options): float("inf")}
            for _ in range(rounds):
                for estimator in best:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")  # it has not converged
                        begin = time.perf_counter()
                        estimator.fit(x / 16, y)
                        best[estimator] = min(best[estimator], time.perf_counter() - begin)
            theirs, ours = best.values()
            leads.append(f"{solver}, batch {200 if batch == 'auto' else batch} {theirs / ours:.2g}×")
    return f"- scikit-learn's MLPClassifier beside fastmlp.sklearn's, digits, 64-100-10, float64: {'; '.join(leads)}"


def _to_accuracy(rounds: int) -> str:
    """Best of ``rounds`` fresh processes per library. Start-up and JAX compilation count; fastmlp's kernels are already
    cached."""
    scripts = {"fastmlp": _FASTMLP, "jax": _JAX, "torch": _TORCH}
    best: dict[str, tuple[float, str]] = {}
    for name, script in scripts.items():
        if importlib.util.find_spec(name):
            for _ in range(rounds):
                begin = time.perf_counter()
                process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
                duration = time.perf_counter() - begin
                if duration < best.get(name, (float("inf"), ""))[0]:
                    best[name] = duration, process.stdout.strip()
    ours, epochs = best.pop("fastmlp")
    line = f"- from process start to 97.8 % on MNIST's test set, 784-128-10: {ours:.1f} s ({epochs} epochs of batch 1)"
    labels = {"jax": "JAX, the same,", "torch": "PyTorch, Adam on batches of 64,"}
    return "; ".join([line, *(f"{labels[name]} {t / ours:.2g}× ({n} epochs)" for name, (t, n) in best.items())])


def _first_training(rounds: int) -> str:
    """Time import and first training in a new process: with prebuilt kernels, with cached ones, and compiling them."""
    with tempfile.TemporaryDirectory() as cache:

        def seconds(prebuilt: str, rounds: int) -> float:
            environment = {**os.environ, "FASTMLP_CACHE_DIR": cache, "FASTMLP_PREBUILT": prebuilt}
            command = [sys.executable, "-c", _FIRST_TRAINING]
            runs = [subprocess.run(command, env=environment, capture_output=True, check=True) for _ in range(rounds)]
            return min(float(run.stdout) for run in runs)

        figures = []
        if "library" in show_kernels("dicts")["prebuilt"]:
            figures.append(f"{seconds('1', rounds):.2f} s with prebuilt kernels")
        compiled = seconds("0", 1)
        figures += [f"{seconds('0', rounds):.2f} s with the cache's", f"{compiled:.1f} s where they are compiled"]
    beyond = "import and first training of a small network, beyond NumPy's import"
    return f"- {beyond}: {', '.join(figures)} ({usable_cores()} core{'s' * (usable_cores() > 1)})"
