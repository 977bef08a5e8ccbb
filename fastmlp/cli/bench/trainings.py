"""Trainings, in every library's best form: the same samples, in the same order, on the same number of threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...datasets import load_mnist
from ...model.mlp import MLP
from ...model.training import train
from ...optimizers import SGD, Adam, Optimizer
from .clock import Run

__all__ = ["EPOCHS", "TRAINERS", "Training"]

LR = 1e-3
EPOCHS = 3  # of the samples that a run is given
MOMENTUM = 0.9


@dataclass(frozen=True)
class Training:
    """A network of relu layers under softmax and cross-entropy, a batch size, data, and how it is trained."""

    widths: tuple[int, ...]
    batch: int
    data: str = ""  # "MNIST", "dense", or "1 % non-zero", where it matters
    optimizer: str = "SGD"  # "SGD", "momentum", "Adam"
    dtype: str = "float32"
    n_threads: int = 1

    @property
    def name(self) -> str:
        parts = ["-".join(map(str, self.widths)), f"batch {self.batch}", self.data]
        parts += [self.optimizer.replace("SGD", ""), self.dtype.replace("float32", "")]
        return ", ".join(filter(None, parts))

    @property
    def spec(self) -> list[dict[str, Any]]:
        hidden = [{"n": n, "act": "relu"} for n in self.widths[1:-1]]
        return [{"n": self.widths[0], "act": None}, *hidden, {"n": self.widths[-1], "act": "softmax"}]

    def samples(self, n: int) -> tuple[Any, np.ndarray]:
        """Return n samples: x (n, n_in), MNIST or random, an array or in rows of CSR, and y (n,) int64."""
        if self.data == "MNIST":
            (x, y), _ = load_mnist()
            return (x[:n] / np.float32(255)).astype(self.dtype), y[:n].astype(np.int64)
        rng = np.random.default_rng(0)
        y = rng.integers(0, self.widths[-1], n)
        if self.data.endswith("non-zero"):
            import scipy.sparse

            density = float(self.data.partition(" ")[0]) / 100
            shape = n, self.widths[0]
            return scipy.sparse.random_array(shape, density=density, format="csr", dtype=self.dtype, rng=rng), y
        return rng.random((n, self.widths[0]), np.dtype(self.dtype)), y

    def weights(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the weights (n_out, n_in) and biases (n_out,) that every library starts from."""
        model = MLP(self.spec, seed=0, dtype=self.dtype)
        return [w.copy() for w in model.weights], [b.copy() for b in model.biases]


def _order(n: int) -> np.ndarray:
    """Return the indices of the samples of all epochs, (EPOCHS · n,), each epoch in another order."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.permutation(n) for _ in range(EPOCHS)])


def _fastmlp(work: Training, x: np.ndarray, y: np.ndarray) -> Run:
    model = MLP(work.spec, seed=0, dtype=work.dtype)
    optimizer: Optimizer = {"SGD": SGD(), "momentum": SGD(MOMENTUM), "Adam": Adam()}[work.optimizer]
    options: dict[str, Any] = {"batch_size": work.batch, "n_threads": work.n_threads, "optimizer": optimizer}

    def run(n: int) -> None:
        train(x[:n], y[:n], model, lr=LR, epochs=EPOCHS, seed=0, progress=False, **options)

    return run


def _numpy(work: Training, x: np.ndarray, y: np.ndarray) -> Run:
    """NumPy as in the tutorial: a column vector for each sample, a list of layers."""
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


def _numba(work: Training, x: np.ndarray, y: np.ndarray) -> Run:
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


def _jax(work: Training, x: np.ndarray, y: np.ndarray) -> Run:
    """JAX with a jitted scan; weights are (n_in, n_out), its faster layout, and samples vectors for batches of 1."""
    import jax
    import jax.numpy as jnp

    weights, biases = work.weights()
    if work.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    params = [(jnp.asarray(w.T), jnp.asarray(b)) for w, b in zip(weights, biases, strict=True)]
    tree_map = jax.tree_util.tree_map

    def loss(params: Any, x: Any, y: Any) -> Any:
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = params[-1]
        scores = jax.nn.log_softmax(x @ w + b)
        if work.batch == 1:
            return -scores[y]
        return -jnp.mean(jnp.take_along_axis(scores, y[:, None], axis=1))

    def step(state: Any, sample: Any) -> Any:
        params, *moments = state
        grads = jax.grad(loss)(params, *sample)
        if work.optimizer == "SGD":
            return (tree_map(lambda p, g: p - LR * g, params, grads),), None
        if work.optimizer == "momentum":
            velocity = tree_map(lambda v, g: MOMENTUM * v + g, moments[0], grads)
            return (tree_map(lambda p, v: p - LR * v, params, velocity), velocity), None
        first = tree_map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], grads)
        second = tree_map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], grads)
        t = moments[2] + 1
        rate, root = LR / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        params = tree_map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), params, first, second)
        return (params, first, second, t), None

    @jax.jit  # type: ignore[untyped-decorator]
    def epoch(state: Any, x: Any, y: Any, order: Any) -> Any:
        order = order if work.batch == 1 else order.reshape(-1, work.batch)
        return jax.lax.scan(lambda state, rows: step(state, (x[rows], y[rows])), state, order)[0]

    x_device, y_device = jnp.asarray(x), jnp.asarray(y)
    zeros = tree_map(jnp.zeros_like, params)
    begin = {"SGD": (params,), "momentum": (params, zeros), "Adam": (params, zeros, zeros, jnp.zeros((), work.dtype))}
    now = [begin[work.optimizer]]

    def run(n: int) -> None:
        order = _order(n // work.batch * work.batch)
        now[0] = jax.block_until_ready(epoch(now[0], x_device, y_device, order))

    return run


def _torch(work: Training, x: np.ndarray, y: np.ndarray) -> Run:
    """PyTorch with the loop over batches that its tutorials have."""
    import torch

    torch.set_num_threads(work.n_threads)
    layers: list[Any] = []
    for n_in, n_out in zip(work.widths[:-1], work.widths[1:], strict=True):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1]).to(getattr(torch, work.dtype))
    optimizer: Any = torch.optim.Adam(net.parameters(), lr=LR)
    if work.optimizer != "Adam":
        optimizer = torch.optim.SGD(net.parameters(), lr=LR, momentum=MOMENTUM * (work.optimizer == "momentum"))
    x_tensor, y_tensor = torch.from_numpy(x), torch.from_numpy(y)

    def run(n: int) -> None:
        for rows in torch.from_numpy(_order(n)).split(work.batch):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(x_tensor[rows]), y_tensor[rows]).backward()
            optimizer.step()

    return run


def _sklearn(work: Training, x: np.ndarray, y: np.ndarray) -> Run:
    """scikit-learn's MLPClassifier."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore", ConvergenceWarning)
    net = MLPClassifier(
        work.widths[1:-1],
        solver="adam" if work.optimizer == "Adam" else "sgd",
        momentum=MOMENTUM * (work.optimizer == "momentum"),
        nesterovs_momentum=False,
        alpha=0.0,
        batch_size=work.batch,
        learning_rate_init=LR,
        max_iter=EPOCHS,
    )

    def run(n: int) -> None:
        net.fit(x[:n], y[:n])

    return run


def _keras(work: Training, x: np.ndarray, y: np.ndarray) -> Run:
    """Keras with ``fit``, on the backend of ``KERAS_BACKEND``."""
    import keras

    hidden = [keras.layers.Dense(n, activation="relu") for n in work.widths[1:-1]]
    net = keras.Sequential([*hidden, keras.layers.Dense(work.widths[-1], activation="softmax")])
    net.compile(keras.optimizers.SGD(LR), "sparse_categorical_crossentropy")

    def run(n: int) -> None:
        net.fit(x[:n], y[:n], batch_size=work.batch, epochs=EPOCHS, verbose=0)

    return run


TRAINERS: dict[str, Callable[[Training, np.ndarray, np.ndarray], Run]] = {
    "fastmlp": _fastmlp,
    "numba": _numba,
    "jax": _jax,
    "torch": _torch,
    "sklearn": _sklearn,
    "numpy": _numpy,
    "keras": _keras,
}  # the peers by the names of their modules
