"""Did the machine change, and not the code? What has nothing of fastmlp in it."""

from __future__ import annotations

from ..measuring import Found, controls, in_turns, series
from ..networks import short
from ..yardstick import load

ROWS = {
    "a product of two 128 × 128 matrices": "sgemm",
    "a copy of 1 MB": "copy",
    "a loop of 10,000 turns in Python": "python",
}


class Control:
    """One thread, float32."""

    def setup_cache(self) -> Found:
        runs = controls() | {"python": load("clock").repeated(lambda: sum(range(10_000)))}
        best, noise = in_turns(runs)
        return {row: {"microseconds": short(best[name] * 1e6), "noise": noise[name]} for row, name in ROWS.items()}

    track_microseconds = series("microseconds", list(ROWS), "The machine, µs a call", "µs a call")
    track_noise = series("noise", list(ROWS), "Noise of the machine, median over best round, %", "%")
