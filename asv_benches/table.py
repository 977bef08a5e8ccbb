"""The rows of the README's table, over commits: fastmlp's own time, and its lead over plain Numba loops."""

from __future__ import annotations

import fastmlp

from .networks import microseconds, network, samples, short

ROWS = [
    "784-10-10, batch 1, MNIST",
    "784-128-10, batch 1, MNIST",
    "768-128-10, batch 1, dense",
    "784-128-10, batch 32, MNIST",
    "784-512-512-10, batch 32, dense",
    "8-64-64-2, batch 1",
    "8-64-64-2, batch 32",
]  # of fastmlp.bench.WORKS, as a test makes sure


class Rows:
    """Microseconds a sample; rows of MNIST need FASTMLP_DATA."""

    params = ROWS
    param_names = ("row",)

    def setup(self, row: str) -> None:
        size, batch, *data = row.split(", ")
        self.batch = int(batch.removeprefix("batch "))
        if data == ["MNIST"]:
            from fastmlp.datasets import load_mnist

            try:
                (x, y), _ = load_mnist()
            except ConnectionError as error:
                raise NotImplementedError from error
            self.x, self.y = (x[:10_000] / 255).astype("float32"), y[:10_000]
        else:
            self.x, self.y = samples(size, 10_000)
        self.model = fastmlp.MLP(network(size), seed=0)
        fastmlp.train(self.x[:64], self.y[:64], self.model, epochs=1, batch_size=self.batch)

    def track_microseconds(self, row: str) -> float:
        return microseconds(self.x, self.y, self.model, batch_size=self.batch)

    track_microseconds.unit = "µs a sample"  # type: ignore[attr-defined]


class LeadOverPlainNumba:
    """How many times as long the loops that one writes first take, as `python -m fastmlp bench` measures it."""

    params = ROWS[:3]
    param_names = ("row",)

    def setup(self, row: str) -> None:
        try:
            from fastmlp import bench
        except ImportError as error:
            raise NotImplementedError from error
        self.measure = bench.measure
        self.work = next(work for work in bench.WORKS if work.name == row)
        try:
            self.work.data(1)
        except ConnectionError as error:
            raise NotImplementedError from error

    def track_lead(self, row: str) -> float:
        times = self.measure(self.work, ("numba",))
        return short(times["numba"] / times["fastmlp"])

    track_lead.unit = "times faster"  # type: ignore[attr-defined]
