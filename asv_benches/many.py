"""What does train_many take for a network, and how much do two threads gain?"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import fastmlp

from .networks import network, require, samples

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0])
XOR_SPEC = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]


def seconds(x: np.ndarray, y: np.ndarray, spec: Any, runs: int, n_threads: int, clock: Any, **options: Any) -> float:
    """The least of three rounds."""
    best = float("inf")
    for _ in range(3):
        begin = clock()
        fastmlp.train_many(x, y, spec, seeds=range(runs), n_threads=n_threads, progress=False, **options)
        best = min(best, clock() - begin)
    return best


class TinyNetworks:
    """2-8-1 on XOR, 500 epochs, processor time: most of it is what Python and the calls cost."""

    pretty_name = "1,000 networks 2-8-1 on XOR, 500 epochs, seconds"

    def setup(self) -> None:
        require("train_many")
        seconds(*XOR, XOR_SPEC, 1, 1, time.process_time, epochs=100)

    def track_seconds_for_1000(self) -> float:
        return seconds(*XOR, XOR_SPEC, 1000, 1, time.process_time, epochs=500, lr=0.5)

    track_seconds_for_1000.unit = "seconds"


class Population:
    """One sample by 1,024 networks 8-32-32-2, processor time."""

    pretty_name = "One sample by 1,024 networks 8-32-32-2, µs"

    def setup(self) -> None:
        require("predict_many")
        self.spec = network("8-32-32-2", "tanh", "linear")
        n_params = fastmlp.MLP(self.spec).params.size
        self.params = np.random.default_rng(0).normal(size=(1024, n_params)).astype(np.float32)
        self.x = np.zeros((1, 8), np.float32)
        self.track_microseconds()

    def track_microseconds(self) -> float:
        best = float("inf")
        for _ in range(20):
            begin = time.process_time()
            fastmlp.predict_many(self.spec, self.params, self.x)
            best = min(best, time.process_time() - begin)
        return best * 1e6

    track_microseconds.unit = "µs"


class Threads:
    """Two threads' time for eight networks as a share of one's."""

    pretty_name = "Eight networks on two threads, as a share of one thread's time"
    params = (["8-64-64-2", "784-10-10", "784-128-10"],)
    param_names = ("size",)

    def setup(self, size: str) -> None:
        require("train_many")
        self.x, self.y = samples(size, 4000)
        seconds(self.x, self.y, network(size), 1, 1, time.perf_counter, epochs=2)

    def track_share_of_two_threads(self, size: str) -> float:
        data = self.x, self.y, network(size)
        one, two = (seconds(*data, 8, n, time.perf_counter, epochs=5, lr=1e-3) for n in (1, 2))
        return two / one

    track_share_of_two_threads.unit = "of one thread's time"
