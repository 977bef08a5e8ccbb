"""The tables of docs/how-to/speed.md, measured on two idle cores and written into that page::

    python docs/speed.py [ROUNDS]

It takes a few minutes. MNIST's row needs MNIST where FASTMLP_DATA says.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp
from fastmlp.cli.bench.command import around, machine
from fastmlp.cli.bench.trainings import TRAINERS, Training

PAGE = Path(__file__).parent / "how-to/speed.md"
BATCHES = (32, 64, 128, 256)
ONE_BY_ONE = (
    ((784, 512, 10), "dense"),
    ((768, 1024, 10), "dense"),
    ((784, 128, 10), "dense"),
    ((784, 128, 10), "MNIST"),
)
SMALL = (
    ((4, 16, 2), "relu", "float32"), ((24, 8, 2), "tanh", "float32"), ((8, 64, 64, 2), "relu", "float32"),
    ((8, 64, 64, 2), "tanh", "float32"), ((30, 100, 2), "relu", "float32"), ((16, 32, 32, 32, 1), "swish", "float32"),
    ((2, 8, 1), "tanh", "float32"), ((4, 16, 3), "relu", "float64"),
)  # fmt: skip


def ratio(first: Callable[[], Any], second: Callable[[], Any], rounds: int, clock: Callable[[], float]) -> float:
    """How many times as long as the second one the first one takes, in turns, each in its best round."""
    best = [float("inf")] * 2
    for _ in range(1 + rounds):  # the first round warms up
        for k, run in enumerate((first, second)):
            begin = clock()
            run()
            best[k] = min(best[k], clock() - begin)
    return best[0] / best[1]


def two_threads(widths: tuple[int, ...], batch: int, data: str, optimizer: str, rounds: int) -> str:
    """How many times as fast as one thread two threads are, by the clock."""
    runs = []
    for n_threads in (1, 2):
        training = Training(widths, batch, data, optimizer, n_threads=n_threads)
        x, y = training.samples(20_480)
        runs.append(partial(TRAINERS["fastmlp"](training, x, y), len(x)))
    return f"{ratio(*runs, rounds, time.perf_counter):.1f}"


def specialized(widths: tuple[int, ...], act: str, dtype: str, rounds: int) -> str:
    """The processor time of a specialized network's training beside that of the plain network's."""
    rng = np.random.default_rng(0)
    if widths[0] == 2:  # XOR
        x, y, epochs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype), np.array([[0], [1], [1], [0]], dtype), 2_000
    else:
        x, y, epochs = rng.random((10_000, widths[0]), np.dtype(dtype)), rng.random((10_000, widths[-1])), 1
    output = "sigmoid" if widths[0] == 2 else "linear" if widths[-1] == 1 else "softmax"
    if output == "softmax":
        y = rng.integers(0, widths[-1], len(x))
    hidden = [{"n": n, "act": act} for n in widths[1:-1]]
    plain = fastmlp.MLP([{"n": widths[0], "act": None}, *hidden, {"n": widths[-1], "act": output}], dtype=dtype, seed=0)
    own = fastmlp.specialize(plain)
    runs = [partial(fastmlp.train, x, y, model, lr=1e-3, epochs=epochs, seed=0) for model in (own, plain)]
    return f"{ratio(*runs, rounds, time.process_time):.2f}"


def tables(rounds: int) -> Iterator[tuple[str, str]]:
    """The name of each table in the page, and its lines."""
    about = f"{machine().partition('; ')[0]}; fastmlp {fastmlp.__version__}, best of {rounds} rounds\n\n"
    rows = f"| batch | {' | '.join(map(str, BATCHES))} |\n|---|{'---|' * len(BATCHES)}\n"
    for widths in ((784, 512, 512, 10), (784, 128, 10)):
        speeds = [two_threads(widths, batch, "dense", "SGD", rounds) for batch in BATCHES]
        rows += f"| {'-'.join(map(str, widths))} | {' | '.join(speeds)} |\n"
    yield "two threads, batches", about + rows
    rows = "| network, float32 inputs | plain | momentum |\n|---|---|---|\n"
    for widths, data in ONE_BY_ONE:
        speeds = [two_threads(widths, 1, data, optimizer, rounds) for optimizer in ("SGD", "momentum")]
        rows += f"| {'-'.join(map(str, widths))}, {data} | {' | '.join(speeds)} |\n"
    yield "two threads, single samples", about + rows
    rows = "| network | time |\n|---|---|\n"
    for widths, act, dtype in SMALL:
        name = f"{'-'.join(map(str, widths))}{' on XOR' if widths[0] == 2 else ''}, {act}"
        name += f", {dtype}" if dtype == "float64" else ""
        rows += f"| {name} | {specialized(widths, act, dtype, rounds)} |\n"
    yield "specialized", about + rows


if __name__ == "__main__":
    for name, text in tables(int(sys.argv[1]) if len(sys.argv) > 1 else 5):
        print(text, flush=True)
        before, after = around(PAGE, name)
        PAGE.write_text(before + text + after, encoding="utf-8")
