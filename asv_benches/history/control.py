"""Did the machine change, and not the code? What has nothing of fastmlp in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ..measuring import Found, controls, measured, series
from ..yardstick import load

ROWS = {
    "a product of two 128 × 128 matrices": "sgemm",
    "a copy of 1 MB": "copy",
    "a loop of 10,000 turns in Python": "python",
}


def points() -> Iterator[Any]:
    runs = controls() | {"python": load("clock").repeated(lambda: sum(range(10_000)))}
    return (load("map").Point(row, "a call", alone(runs[name])) for row, name in ROWS.items())


def alone(run: Callable[[int], Any]) -> Callable[[], Any]:
    """What a point makes that has no peers."""
    return lambda: (run, {})


class Control:
    """One thread, float32."""

    def setup_cache(self) -> Found:
        return measured(__name__)

    track_microseconds = series("microseconds", list(ROWS), "The machine, µs a call", "µs a call")
    track_noise = series("noise", list(ROWS), "Noise of the machine, median over best round, %", "%")
