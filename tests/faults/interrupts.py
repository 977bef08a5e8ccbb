"""Ctrl-C in the middle of calls: `python tests/faults/interrupts.py --times 20` prints the longest wait of each kind.

Each call is made in a process of its own, again and again, and SIGINT comes at random moments. Afterwards parameters
must be finite and the model must go on. The network has 5.3 million weights, with ``--large`` 100 million; what needs
more memory than that leaves is left out there.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import fastmlp

WIDTHS = {"medium": [512, 2048, 2048, 8], "large": [10_000, 5_000, 10_000, 2]}
CALLS: dict[str, Callable[[Any, np.ndarray, np.ndarray], Any]] = {
    "train, one by one": lambda model, x, y: fastmlp.train(x, y, model, epochs=1000, lr=1e-6),
    "train, one by one, two threads": lambda model, x, y: fastmlp.train(x, y, model, epochs=1000, lr=1e-6, n_threads=2),
    "train, batches of 32": lambda model, x, y: fastmlp.train(x, y, model, epochs=1000, lr=1e-6, batch_size=32),
    "train, batches of 4096": lambda model, x, y: fastmlp.train(x, y, model, epochs=1000, lr=1e-6, batch_size=4096),
    "train, Adam": lambda model, x, y: fastmlp.train(
        x, y, model, epochs=1000, lr=1e-6, batch_size=4096, optimizer="adam"
    ),
    "train, L-BFGS": lambda model, x, y: fastmlp.train(x, y, model, epochs=1000, optimizer="lbfgs"),
    "predict, 1 row": lambda model, x, y: model.predict(x[:1]),
    "predict, 32 rows": lambda model, x, y: model.predict(x[:32]),
    "predict, 4096 rows": lambda model, x, y: model.predict(x),
    "forward, 4096 rows": lambda model, x, y: model.forward(x),
    "evaluate, 4096 rows": lambda model, x, y: model.evaluate(x, y),
    "gradient, 1 row": lambda model, x, y: model.gradient(x[:1], y[:1]),
    "gradient, 32 rows": lambda model, x, y: model.gradient(x[:32], y[:32]),
    "gradient, 4096 rows": lambda model, x, y: model.gradient(x, y),
    "Jacobian, 1 row": lambda model, x, y: model.jacobian(x[:1]),
    "Jacobian, 20 rows": lambda model, x, y: model.jacobian(x[:20]),
    "Jacobian by inputs, 32 rows": lambda model, x, y: model.jacobian(x[:32], wrt="inputs"),
    "Jacobian by inputs, 4096 rows": lambda model, x, y: model.jacobian(x, wrt="inputs"),
}
TOO_LARGE = {"train, Adam", "train, L-BFGS", "Jacobian, 20 rows"}


def waits(name: str, size: str, times: int, seed: int = 0) -> list[float]:
    """The seconds from SIGINT to KeyboardInterrupt, or to the end of a training, for so many interrupted calls."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    rng, chance = np.random.default_rng(seed), random.Random(seed)
    widths, call = WIDTHS[size], CALLS[name]
    x = rng.random((4096, widths[0]), np.float32)
    y = rng.random((4096, widths[-1]), np.float32)
    layers = [{"n": n, "act": "tanh"} for n in widths[1:-1]]
    model = fastmlp.MLP([{"n": widths[0], "act": None}, *layers, {"n": widths[-1], "act": "linear"}], seed=0)
    _compile()
    seconds = [_wait(lambda: call(model, x, y), model, chance.uniform(0.1, 1.5)) for _ in range(times)]
    model.predict(x[:100]), model.partial_fit(x[:100], y[:100], lr=1e-6, batch_size=50)  # all goes on
    return seconds


def _compile() -> None:
    """Compile all kernels that the calls need, on a small network."""
    small = [{"n": 2, "act": None}, {"n": 2, "act": "tanh"}, {"n": 1, "act": "linear"}]
    x, y = np.zeros((100, 2), np.float32), np.zeros((100, 1), np.float32)
    model = fastmlp.MLP(small)
    model.predict(x), model.gradient(x, y), model.jacobian(x), model.evaluate(x, y)
    for options in ({}, {"batch_size": 2}, {"batch_size": 100}, {"optimizer": "adam", "batch_size": 2}):
        fastmlp.train(x, y, model, epochs=1, progress=False, **options)


def _wait(call: Callable[[], Any], model: fastmlp.MLP, seconds: float) -> float:
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(seconds, interrupt)
    timer.start()
    interrupted = False
    try:
        while not interrupted:
            result = call()
            interrupted = isinstance(result, fastmlp.TrainResult) and result.history.interrupted
            del result
    except KeyboardInterrupt:
        pass
    heard = time.monotonic()
    assert np.isfinite(model.params).all()
    return heard - sent[0]


def run(name: str, size: str, times: int) -> list[float]:
    """What `waits` returns, in a process of its own."""
    command = [sys.executable, __file__, "--call", name, "--times", str(times), *(["--large"] * (size == "large"))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return [float(word) for word in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--call", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    size = "large" if arguments.large else "medium"
    if arguments.call:
        return print(*waits(arguments.call, size, arguments.times))
    longest = 0.0
    for name in CALLS:
        if size == "large" and name in TOO_LARGE:
            continue
        slowest = max(run(name, size, arguments.times))
        longest = max(longest, slowest)
        print(f"{name}: {slowest:.3f} s", flush=True)
    sys.exit(longest > 0.2)


if __name__ == "__main__":
    main()
