"""The command ``python -m fastmlp bench``: fastmlp beside other libraries that are installed, as the README's table.

Every peer does the same work: relu layers under softmax and cross-entropy, plain SGD, the same samples in the same
order, float32, one thread, one core. Rounds are interleaved, the best round of each counts, compiling and loading are
not timed. The table has microseconds a sample for fastmlp and ratios (peer ÷ fastmlp) for the others; below it come
the single measurements of bench_numbers.py.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from ..base.version import __version__
from ..datasets import load_mnist
from ..kernels.cpu import cpu_name, vector_bytes
from ..model.mlp import MLP
from ..model.training import train
from . import bench_numbers

__all__ = ["PEERS", "WORKS", "Work", "main", "measure"]

Run = Callable[[int], None]  # trains on the first n samples, EPOCHS times
LR = 1e-3
EPOCHS = 3
MARKS = "<!-- bench -->", "<!-- end of bench -->"
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "KERAS_BACKEND": "torch" if importlib.util.find_spec("torch") else "jax",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


@dataclass(frozen=True)
class Work:
    """A network, a batch size and data: one row of the table."""

    widths: tuple[int, ...]
    batch: int
    mnist: bool
    peers: tuple[str, ...]

    @property
    def name(self) -> str:
        kind = ("MNIST" if self.mnist else "dense") if self.widths[0] > 100 else ""
        return ", ".join(filter(None, ["-".join(map(str, self.widths)), f"batch {self.batch}", kind]))

    @property
    def spec(self) -> list[dict[str, Any]]:
        hidden = [{"n": n, "act": "relu"} for n in self.widths[1:-1]]
        return [{"n": self.widths[0], "act": None}, *hidden, {"n": self.widths[-1], "act": "softmax"}]

    def data(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return n samples: x (n, n_in) float32, MNIST or dense and random, and y (n,) int64."""
        if self.mnist:
            (x, y), _ = load_mnist()
            return (x[:n] / np.float32(255)).astype(np.float32), y[:n].astype(np.int64)
        rng = np.random.default_rng(0)
        return rng.random((n, self.widths[0]), dtype=np.float32), rng.integers(0, self.widths[-1], n)

    def weights(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the weights (n_out, n_in) and biases (n_out,) that every library starts from."""
        model = MLP(self.spec, seed=0)
        return [w.copy() for w in model.weights], [b.copy() for b in model.biases]


def _order(n: int) -> np.ndarray:
    """Return the indices of the samples of all epochs, (EPOCHS · n,), each epoch in an order of its own."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.permutation(n) for _ in range(EPOCHS)])


def _fastmlp(work: Work, x: np.ndarray, y: np.ndarray) -> Run:
    model = MLP(work.spec, seed=0)

    def run(n: int) -> None:
        train(x[:n], y[:n], model, lr=LR, epochs=EPOCHS, batch_size=work.batch, seed=0, progress=False)

    return run


def _numpy(work: Work, x: np.ndarray, y: np.ndarray) -> Run:
    """NumPy as in the tutorial: a column vector a sample, a list of layers."""
    weights, biases = work.weights()
    biases = [b[:, None] for b in biases]
    targets = np.eye(work.widths[-1], dtype=np.float32)[y]

    def run(n: int) -> None:
        for j in _order(n):
            a = [x[j][:, None]]
            z = []
            for w, b in zip(weights, biases, strict=True):
                z.append(w @ a[-1] + b)
                a.append(np.maximum(z[-1], 0))
            e = np.exp(z[-1] - z[-1].max())
            delta = e / e.sum() - targets[j][:, None]
            for i in range(len(weights) - 1, -1, -1):
                dw, db = delta @ a[i].T, delta
                if i:
                    delta = (weights[i].T @ delta) * (z[i - 1] > 0)
                weights[i] -= LR * dw
                biases[i] -= LR * db

    return run


def _numba(work: Work, x: np.ndarray, y: np.ndarray) -> Run:
    """Numba with the plain loops that one writes first, under @njit(fastmath=True); one hidden layer."""
    from numba import njit

    @njit(fastmath=True)
    def epoch(x, y, order, w1, b1, w2, b2, lr):  # type: ignore[no-untyped-def]
        hidden, n_out, n_in = len(b1), len(b2), x.shape[1]
        a, d = np.empty(hidden, np.float32), np.empty(hidden, np.float32)
        p = np.empty(n_out, np.float32)
        for t in order:
            for j in range(hidden):
                s = b1[j]
                for k in range(n_in):
                    s += w1[j, k] * x[t, k]
                a[j] = max(s, np.float32(0))
            top = np.float32(-np.inf)
            for j in range(n_out):
                s = b2[j]
                for k in range(hidden):
                    s += w2[j, k] * a[k]
                p[j] = s
                top = max(top, s)
            total = np.float32(0)
            for j in range(n_out):
                p[j] = np.exp(p[j] - top)
                total += p[j]
            for j in range(n_out):
                p[j] /= total
            p[y[t]] -= np.float32(1)
            for k in range(hidden):
                s = np.float32(0)
                for j in range(n_out):
                    s += w2[j, k] * p[j]
                d[k] = s if a[k] > 0 else np.float32(0)
            for j in range(n_out):
                g = lr * p[j]
                b2[j] -= g
                for k in range(hidden):
                    w2[j, k] -= g * a[k]
            for j in range(hidden):
                g = lr * d[j]
                b1[j] -= g
                for k in range(n_in):
                    w1[j, k] -= g * x[t, k]

    (w1, w2), (b1, b2) = work.weights()
    w1, w2 = np.ascontiguousarray(w1), np.ascontiguousarray(w2)

    def run(n: int) -> None:
        epoch(x, y, _order(n), w1, b1, w2, b2, np.float32(LR))

    return run


def _jax(work: Work, x: np.ndarray, y: np.ndarray) -> Run:
    """JAX with a jitted scan; weights are (n_in, n_out), its faster layout, and samples vectors for batches of 1."""
    import jax
    import jax.numpy as jnp

    weights, biases = work.weights()
    params = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in zip(weights, biases, strict=True)]

    def loss(params: Any, x: Any, y: Any) -> Any:
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = params[-1]
        scores = jax.nn.log_softmax(x @ w + b)
        if work.batch == 1:
            return -scores[y]
        return -jnp.mean(jnp.take_along_axis(scores, y[:, None], axis=1))

    def step(params: Any, sample: Any) -> Any:
        grads = jax.grad(loss)(params, *sample)
        return jax.tree_util.tree_map(lambda p, g: p - LR * g, params, grads), None

    @jax.jit  # type: ignore[untyped-decorator]
    def epoch(params: Any, x: Any, y: Any, order: Any) -> Any:
        order = order if work.batch == 1 else order.reshape(-1, work.batch)
        return jax.lax.scan(lambda p, rows: step(p, (x[rows], y[rows])), params, order)[0]

    x_device, y_device = jnp.asarray(x), jnp.asarray(y)
    state = {"params": params}

    def run(n: int) -> None:
        order = _order(n // work.batch * work.batch)
        state["params"] = jax.block_until_ready(epoch(state["params"], x_device, y_device, order))

    return run


def _torch(work: Work, x: np.ndarray, y: np.ndarray) -> Run:
    """PyTorch with the loop over batches that its tutorials have, on one thread."""
    import torch

    torch.set_num_threads(1)
    layers: list[Any] = []
    for n_in, n_out in zip(work.widths[:-1], work.widths[1:], strict=True):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    x_tensor, y_tensor = torch.from_numpy(x), torch.from_numpy(y)

    def run(n: int) -> None:
        for rows in torch.from_numpy(_order(n)).split(work.batch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x_tensor[rows]), y_tensor[rows]).backward()
            optimizer.step()

    return run


def _sklearn(work: Work, x: np.ndarray, y: np.ndarray) -> Run:
    """scikit-learn's MLPClassifier with plain SGD."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    net = MLPClassifier(
        work.widths[1:-1],
        solver="sgd",
        momentum=0.0,
        alpha=0.0,
        batch_size=work.batch,
        learning_rate_init=LR,
        max_iter=EPOCHS,
    )

    def run(n: int) -> None:
        net.fit(x[:n], y[:n])

    return run


def _keras(work: Work, x: np.ndarray, y: np.ndarray) -> Run:
    """Keras with ``fit``, on the backend of ``KERAS_BACKEND``."""
    import keras

    hidden = [keras.layers.Dense(n, activation="relu") for n in work.widths[1:-1]]
    net = keras.Sequential([*hidden, keras.layers.Dense(work.widths[-1], activation="softmax")])
    net.compile(keras.optimizers.SGD(LR), "sparse_categorical_crossentropy")

    def run(n: int) -> None:
        net.fit(x[:n], y[:n], batch_size=work.batch, epochs=EPOCHS, verbose=0)

    return run


PEERS: dict[str, tuple[str, str, Callable[[Work, np.ndarray, np.ndarray], Run]]] = {
    "numba": ("plain Numba loops", "numba", _numba),
    "jax": ("JAX", "jax", _jax),
    "torch": ("PyTorch", "torch", _torch),
    "sklearn": ("scikit-learn", "sklearn", _sklearn),
    "numpy": ("tutorial NumPy", "numpy", _numpy),
    "keras": ("Keras", "keras", _keras),
}
_ALL = tuple(PEERS)
_NO_NUMBA = tuple(name for name in PEERS if name != "numba")  # its plain loops have one hidden layer, no batches
WORKS = (
    Work((784, 10, 10), 1, True, _ALL),
    Work((784, 128, 10), 1, True, _ALL),
    Work((768, 128, 10), 1, False, _ALL),
    Work((784, 128, 10), 32, True, ("jax", "torch", "sklearn", "keras")),
    Work((784, 512, 512, 10), 32, False, ("jax", "torch", "sklearn", "keras")),
    Work((8, 64, 64, 2), 1, False, _NO_NUMBA),
    Work((8, 64, 64, 2), 32, False, ("jax", "torch", "sklearn", "keras")),
)


def measure(work: Work, peers: tuple[str, ...], rounds: int = 5, seconds: float = 0.3) -> dict[str, float]:
    """Return the microseconds a sample of fastmlp and of the peers, in interleaved rounds of about ``seconds`` each."""
    x, y = work.data(10_000)
    runs = {"fastmlp": _fastmlp(work, x, y)}
    runs.update((name, PEERS[name][2](work, x, y)) for name in peers)
    counts = {name: _samples_in(run, len(x), work.batch, seconds) for name, run in runs.items()}
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            begin = time.perf_counter()
            run(counts[name])
            best[name] = min(best[name], (time.perf_counter() - begin) / (counts[name] * EPOCHS) * 1e6)
    return best


def _samples_in(run: Run, most: int, batch: int, seconds: float) -> int:
    """Return a number of samples, whole batches, that take about ``seconds``, after compiling for that many."""
    few = max(batch, 64)
    run(few)
    shortest = float("inf")
    for _ in range(3):  # what was compiled leaves garbage, and one of these may have to collect it
        begin = time.perf_counter()
        run(few)
        shortest = min(shortest, time.perf_counter() - begin)
    count = int(few * seconds / shortest)
    count = min(most, max(few, count)) // batch * batch
    run(count)
    return count


def rows(rounds: int, seconds: float) -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    installed = [name for name, (_, module, _) in PEERS.items() if importlib.util.find_spec(module)]
    yield f"| µs a sample; the others as ratios | fastmlp | {' | '.join(PEERS[name][0] for name in installed)} |"
    yield "|---|---|" + "---|" * len(installed)
    for work in WORKS:
        try:
            times = measure(work, tuple(name for name in installed if name in work.peers), rounds, seconds)
        except ConnectionError:  # load_mnist neither found nor fetched it
            yield f"| {work.name} | no MNIST |" + " |" * len(installed)
            continue
        ours = times["fastmlp"]
        ratios = [f"{bench_numbers.figures(times[name] / ours)}×" if name in times else "" for name in installed]
        yield f"| {work.name} | {ours:.2f} | {' | '.join(ratios)} |"


def _machine() -> str:
    """Describe the date, the processor, and the versions of all libraries in a line."""
    from importlib.metadata import version

    distributions = {"sklearn": "scikit-learn"}
    modules = sorted(module for _, module, _ in PEERS.values() if importlib.util.find_spec(module))
    versions = ", ".join(f"{module} {version(distributions.get(module, module))}" for module in modules)
    system = f"{platform.machine()} ({cpu_name()}) with vectors of {8 * vector_bytes()} bits, {platform.system()}"
    return f"{date.today()}: {system}, Python {platform.python_version()}; fastmlp {__version__}, {versions}"


def around(page: Path) -> tuple[str, str]:
    """Return the text of a Markdown file before and after its region between MARKS; a new file is only the region."""
    begin, end = MARKS
    text = page.read_text(encoding="utf-8") if page.exists() else "\n".join(MARKS)
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"out: {page} lacks the lines {begin} and {end}, between which the numbers go")
    return f"{before}{begin}\n\n", f"\n{end}{after.rstrip()}\n"


def main(rounds: int = 5, seconds: float = 0.3, out: Sequence[Path] = ()) -> int:
    """Print the table, and put it into Markdown files; in a process of its own, because thread counts are read when
    libraries are imported."""
    pages = {page: around(page) for page in out}
    command = [sys.executable, "-m", "fastmlp.cli.bench", str(rounds), str(seconds)]
    environment = {**os.environ, **_ONE_THREAD, "PYTHONIOENCODING": "utf-8"}
    printed = ""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            printed += line
    if process.returncode == 0:
        for page, (before, after) in pages.items():
            page.write_text(before + printed + after, encoding="utf-8")
    return process.returncode


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(f"{_machine()}; one thread, one core", flush=True)
    print()
    n_rounds = int(sys.argv[1])
    for line in rows(n_rounds, float(sys.argv[2])):
        print(line, flush=True)
    print()
    for line in bench_numbers.lines(n_rounds):
        print(line, flush=True)
