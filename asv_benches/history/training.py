"""How long does training take a sample, and beside what users would pick instead? The rows of the README's table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from ..measuring import Found, measured, suite
from ..yardstick import load

ROWS = {work.name: peers for work, peers in load("table").WORKS.items()}


def point(work: Any, peers: tuple[str, ...]) -> Any:
    trainings = load("trainings")

    def make() -> Any:
        x, y = work.samples(10_000)
        runs = {name: partial(trainings.TRAINERS[name], work, x, y) for name in peers}
        return trainings.TRAINERS["fastmlp"](work, x, y), runs

    return load("map").Point(work.name, "a sample", make, work.batch, 10_000, trainings.EPOCHS)


def points() -> Iterator[Any]:
    return (point(*item) for item in load("table").WORKS.items())


@suite("Training, the README's table", ROWS, "µs a sample")
class Table:
    """Per-sample SGD and batches of 32, relu layers under softmax, plain SGD, float32, one thread."""

    def setup_cache(self) -> Found:
        return measured(__name__)

    setup_cache.timeout = 600
