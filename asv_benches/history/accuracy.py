"""How much is learned in a fixed time? A speed-up that learns less is none."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import fastmlp

from ..measuring import Found, series, skipping
from ..networks import network, short
from ..yardstick import adam, load_mnist, train

INFINITE = float("inf")
SLICE = 500  # samples between two looks at the clock
TIMES = {
    "MNIST, 784-128-10, batch 1, 0.2 s": ("MNIST", 1, 0.2),
    "MNIST, 784-128-10, batch 1, 1 s": ("MNIST", 1, 1.0),
    "MNIST, 784-128-10, Adam, batch 50, 1 s": ("MNIST", 50, 1.0),
    "digits, 64-128-10, batch 1, 0.05 s": ("digits", 1, 0.05),
}
EPOCHS = {
    "MNIST, 784-128-10, batch 1, one epoch": ("MNIST", 1, 1),
    "MNIST, 784-128-10, Adam, batch 50, one epoch": ("MNIST", 50, 1),
    "digits, 64-128-10, batch 1, ten epochs": ("digits", 1, 10),
}


def data(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x and y to learn from, x and y to be judged by; skipped without MNIST."""
    if name == "MNIST":
        (x, y), (x_test, y_test) = load_mnist()
        return (x / 255).astype("float32"), y.astype(int), (x_test / 255).astype("float32"), y_test.astype(int)
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = (x[order] / 16).astype("float32"), y[order]
    return x[:1400], y[:1400], x[1400:], y[1400:]


def percent_wrong(name: str, batch: int, seconds: float = INFINITE, epochs: int | None = None) -> float:
    """Of the test samples, after so much processor time or so many epochs; the median of three seeds."""
    x, y, x_test, y_test = data(name)
    options: dict[str, Any] = {"batch_size": batch, "epochs": 1, "progress": False}
    options |= {"lr": 0.02} if batch == 1 else {"lr": 0.003, "optimizer": adam()}
    spec = network(f"{x.shape[1]}-128-10")
    train(x[:SLICE], y[:SLICE], fastmlp.MLP(spec, seed=0), **options)  # kernels are loaded
    wrong = []
    for seed in range(3):
        model = fastmlp.MLP(spec, seed=seed)
        begin, start, learned = time.process_time(), 0, 0
        while time.process_time() - begin < seconds and (epochs is None or learned < epochs * len(x)):
            some = slice(start, start + SLICE)
            train(x[some], y[some], model, **options)
            learned += len(x[some])
            start = (start + SLICE) % (len(x) // SLICE * SLICE)
        wrong.append(100 * np.mean(model.predict(x_test).argmax(axis=1) != y_test))
    return short(float(np.median(wrong)))


class Learned:
    """The share of test samples that a network gets wrong, in percent; the median of three seeds."""

    def setup_cache(self) -> Found:
        works = {row: (data, batch, seconds, None) for row, (data, batch, seconds) in TIMES.items()}
        works |= {row: (data, batch, INFINITE, epochs) for row, (data, batch, epochs) in EPOCHS.items()}
        return {row: skipping(lambda work=work: {"wrong": percent_wrong(*work)}) for row, work in works.items()}

    setup_cache.timeout = 600
    track_wrong_after_a_time = series("wrong", list(TIMES), "Test error after a fixed time, % wrong", "% wrong")
    track_wrong_after_epochs = series("wrong", list(EPOCHS), "Test error after some epochs, % wrong", "% wrong")
