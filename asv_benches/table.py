"""The rows of the README's table, over commits: fastmlp's own time, and as a share of plain Numba's."""

from __future__ import annotations

from time import process_time
from timeit import Timer

import fastmlp

from .networks import first_module, microseconds, network, samples, short

ROWS = [
    "784-10-10, batch 1, MNIST",
    "784-128-10, batch 1, MNIST",
    "768-128-10, batch 1, dense",
    "784-128-10, batch 32, MNIST",
    "784-512-512-10, batch 32, dense",
    "8-64-64-2, batch 1",
    "8-64-64-2, batch 32",
]  # of fastmlp.cli.bench.table.WORKS, as a test makes sure


class Row:
    """A network and 10,000 samples; rows of MNIST need FASTMLP_DATA."""

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

    def microseconds(self) -> float:
        return microseconds(self.x, self.y, self.model, batch_size=self.batch)


class Rows(Row):
    """Microseconds a sample."""

    def track_microseconds(self, row: str) -> float:
        return self.microseconds()

    track_microseconds.unit = "µs a sample"  # type: ignore[attr-defined]


class ShareOfPlainNumba(Row):
    """Of the time of the loops that one writes first, those of `python -m fastmlp bench`. asv takes less for better."""

    params = ROWS[:3]

    def setup(self, row: str) -> None:
        table = first_module("fastmlp.cli.bench.table", "fastmlp.cli.bench", "fastmlp.bench")
        super().setup(row)
        work = next(work for work in table.WORKS if work.name == row)
        plain = table.TRAINERS["numba"] if hasattr(table, "TRAINERS") else table.PEERS["numba"][2]
        loops = plain(work, self.x, self.y)
        loops(64)  # compiles them
        self.loops = Timer(lambda: loops(len(self.x)), timer=process_time)
        self.epochs = table.EPOCHS

    def track_share(self, row: str) -> float:
        theirs = 1e6 * min(self.loops.repeat(3, 1)) / (self.epochs * len(self.x))
        return short(self.microseconds() / theirs)

    track_share.unit = "of their time"  # type: ignore[attr-defined]
