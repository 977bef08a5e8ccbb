"""How runs are timed: in processor time, interleaved, the best round of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Clock", "Run", "figures", "per_unit", "repeated", "units_in"]

Run = Callable[[int], Any]  # does so many units: samples, or calls
Clock = Callable[[], float]


def repeated(call: Callable[[], Any]) -> Run:
    """A run whose unit is one call."""

    def run(n: int) -> None:
        for _ in range(n):
            call()

    return run


def units_in(run: Run, step: int, few: int, most: int, seconds: float, clock: Clock = time.process_time) -> int:
    """The number of units, a multiple of ``step``, that take about ``seconds``, from the time of a few; compiles for
    that number first."""
    run(few)
    shortest = float("inf")
    for _ in range(3):  # what was compiled leaves garbage, and one of these may have to collect it
        begin = clock()
        run(few)
        shortest = min(shortest, clock() - begin)
    count = min(most, max(few, int(few * seconds / max(shortest, 1e-7)))) // step * step
    run(count)
    return count


def per_unit(
    runs: Mapping[str, Run],
    rounds: int,
    seconds: float,
    step: int = 1,
    most: int | None = None,
    clock: Clock = time.process_time,
    pause: float = 0.0,
) -> dict[str, list[float]]:
    """Measure the seconds per unit of each run in each round; rounds are interleaved, and take about ``seconds`` each.

    Units are calls; or, if there is a largest number ``most``, samples, taken ``step`` at a time. Before each run are
    ``pause`` seconds without work: threads of some libraries poll for a while when their run is over, and would take a
    core from the next one.
    """
    few, most = (1, 1 << 30) if most is None else (max(step, 64), most)
    counts = {name: units_in(run, step, few, most, seconds, clock) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(pause)
            begin = clock()
            run(counts[name])
            times[name].append((clock() - begin) / counts[name])
    return times


def figures(value: float) -> str:
    """Write a number with three figures, or with all figures before the decimal point if they are more."""
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"
