"""The demonstration: real digits, a live bar, the accuracy on unseen ones and the throughput."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .datasets import load_digits, load_mnist
from .model import MLP
from .training import History, train

__all__ = ["run"]


def run(data: str = "digits", folder: str | None = None, epochs: int | None = None, seed: int = 0) -> None:
    """Train on scikit-learn's digits or, with ``data="mnist"``, run the tutorial's experiment, then all of MNIST."""
    if data == "digits":
        (x, y), test = load_digits()
        _experiment("digits, 64-32-10", x, y, test, 32, 1 / 16, epochs or 30, 0.02, seed)
        return
    (x, y), test = load_mnist(folder)
    _experiment(
        "the tutorial's net, 784-10-10, on the first 1,000 images of MNIST",
        *(x[:1000], y[:1000], test, 10, 1 / 255, epochs or 20, 0.01, seed),
    )
    _experiment(
        "784-128-10 on all 60,000 images of MNIST",
        *(x, y, test, 128, 1 / 255, epochs or 4, lambda epoch: 0.03 * 0.5**epoch, seed),
    )


def _experiment(
    title: str,
    x: np.ndarray,
    y: np.ndarray,
    test: tuple[np.ndarray, np.ndarray],
    hidden: int,
    scale: float,
    epochs: int,
    lr: Any,
    seed: int,
) -> tuple[MLP, History]:
    spec: list[dict[str, Any]] = [
        {"n": x.shape[1], "act": None, "scale": scale},
        {"n": hidden, "act": "relu"},
        {"n": 10, "act": "softmax"},
    ]
    print(title)
    begin = time.perf_counter()
    train(x[:2], y[:2], spec, epochs=1, progress=False)
    ready = time.perf_counter()
    model, history = train(x, y, spec, lr=lr, epochs=epochs, seed=seed, progress=True)
    seconds = time.perf_counter() - ready
    print(model.spec)
    samples = len(x) * epochs
    print(f"kernels ready in {ready - begin:.2f} s (compiled on first use, then loaded from the cache)")
    print(f"trained on {samples:,} samples in {seconds:.2f} s: {samples / seconds:,.0f} samples/s,", end=" ")
    print(f"{1e6 * seconds / samples:.2f} µs a sample")
    print(f"accuracy on {len(test[0]):,} unseen images: {100 * model.evaluate(*test)['accuracy']:.2f} %\n")
    return model, history
