"""Threads on one model: `python tests/faults/stress.py --seconds 600`.

Each thread draws what it does next: partial_fit, train, predict, evaluate, gradient, Jacobian, a copy, a pickle. One
model counts: its bias grows by exactly the learning rate with every sample, so that a call that is lost or torn shows.
The other is a network whose outputs are probabilities, whatever the moment at which its parameters are read.
"""

from __future__ import annotations

import argparse
import faulthandler
import pickle
import random
import sys
import threading
import time
import traceback
from collections import Counter

import numpy as np

import fastmlp

STEP = 2.0**-20
ROWS = 64


class Stress:
    """Two models, and what threads do to them."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(ROWS, 20)) * (rng.random((ROWS, 20)) < 0.7)
        self.y = rng.integers(0, 3, ROWS)
        spec = [{"n": 20, "act": None}, {"n": 72, "act": "tanh"}, {"n": 3, "act": "softmax"}]
        self.model = fastmlp.MLP(spec, seed=0, dtype="float64")
        self.counter = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": "linear", "cost": "mbe"}], dtype="float64")
        self.counter.params[:] = 0.0
        self.samples, self._lock = 0, threading.Lock()

    def _count(self, n: int) -> None:
        with self._lock:
            self.samples += n

    def partial_fit(self, chance: random.Random) -> None:
        n, batch_size = chance.randint(1, 8), chance.choice([1, 4])
        self.counter.partial_fit([[0.0]] * n, [0.0] * n, lr=STEP, batch_size=1)
        self._count(n)
        self.model.partial_fit(self.x, self.y, lr=1e-3, batch_size=batch_size)

    def train(self, chance: random.Random) -> None:
        epochs = chance.randint(1, 4)
        fastmlp.train([[0.0]] * 2, [0.0] * 2, self.counter, epochs=epochs, lr=STEP, progress=False)
        self._count(2 * epochs)
        options = {"optimizer": chance.choice(["sgd", "adam"]), "batch_size": chance.choice([1, 32])}
        options["n_threads"] = chance.choice([1, 2])
        fastmlp.train(self.x, self.y, self.model, epochs=epochs, lr=1e-3, progress=False, **options)

    def predict(self, chance: random.Random) -> None:
        n = chance.choice([1, ROWS])
        outputs = self.model.predict(self.x[:n])
        assert outputs.shape == (n, 3) and np.allclose(outputs.sum(axis=1), 1), outputs
        counted = self.counter.predict([[0.0]])[0, 0] / STEP
        assert counted == int(counted), counted

    def evaluate(self, chance: random.Random) -> None:
        values = self.model.evaluate(self.x, self.y)
        assert np.isfinite(values["loss"]) and 0 <= values["accuracy"] <= 1, values

    def gradient(self, chance: random.Random) -> None:
        n = chance.choice([1, ROWS])
        loss, gradient = self.model.gradient(self.x[:n], self.y[:n])
        assert np.isfinite(loss) and np.isfinite(gradient).all(), loss

    def jacobian(self, chance: random.Random) -> None:
        wrt = chance.choice(["params", "inputs"])
        jacobian = self.model.jacobian(self.x[:4], wrt=wrt)
        assert np.isfinite(jacobian).all()

    def copy(self, chance: random.Random) -> None:
        copy = self.model.copy()
        np.testing.assert_array_equal(copy.predict(self.x), copy.predict(self.x))

    def pickle(self, chance: random.Random) -> None:
        copy = pickle.loads(pickle.dumps(self.model))
        assert copy.spec == self.model.spec and np.isfinite(copy.params).all()

    def check(self) -> None:
        """Compare the count with the counter's bias, when all threads have ended."""
        assert self.counter.biases[0][0] == self.samples * STEP, (self.counter.biases[0][0] / STEP, self.samples)


WHAT = ["partial_fit", "train", "predict", "evaluate", "gradient", "jacobian", "copy", "pickle"]


def run(seconds: float, n_threads: int) -> Counter[str]:
    """Let threads loose for so long; return how often each thing was done. The first error in a thread is raised."""
    stress, chance = Stress(), random.Random(0)
    for what in WHAT * 8:  # compiles what they need
        getattr(stress, what)(chance)
    end = time.monotonic() + seconds
    calls, errors = [Counter() for _ in range(n_threads)], []

    def work(number: int) -> None:
        chance = random.Random(number)
        try:
            while time.monotonic() < end and not errors:
                what = chance.choice(WHAT)
                getattr(stress, what)(chance)
                calls[number][what] += 1
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    stress.check()
    return sum(calls, Counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=6)
    arguments = parser.parse_args()
    faulthandler.enable()
    try:
        calls = run(arguments.seconds, arguments.threads)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    print(", ".join(f"{what} {calls[what]:,}" for what in WHAT))
    print(f"{calls.total():,} rounds by {arguments.threads} threads on one model in {arguments.seconds:g} s, 0 wrong")


if __name__ == "__main__":
    main()
