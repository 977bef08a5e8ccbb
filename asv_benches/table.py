"""The rows of the README's table, over commits: fastmlp's own time, and its lead over plain Numba loops."""

from __future__ import annotations

from fastmlp.bench import WORKS, measure

BY_NAME = {work.name: work for work in WORKS}


class Rows:
    """As `python -m fastmlp bench` measures them; rows of MNIST need FASTMLP_DATA."""

    params = tuple(BY_NAME)
    param_names = ("work",)
    timeout = 300

    def setup(self, name: str) -> None:
        try:
            BY_NAME[name].data(1)
        except ConnectionError as error:
            raise NotImplementedError from error  # asv's word for a skip

    def track_microseconds(self, name: str) -> float:
        return measure(BY_NAME[name], ())["fastmlp"]

    track_microseconds.unit = "µs a sample"  # type: ignore[attr-defined]

    def track_lead_over_plain_numba(self, name: str) -> float:
        if "numba" not in BY_NAME[name].peers:
            return float("nan")
        times = measure(BY_NAME[name], ("numba",))
        return times["numba"] / times["fastmlp"]

    track_lead_over_plain_numba.unit = "times faster"  # type: ignore[attr-defined]
