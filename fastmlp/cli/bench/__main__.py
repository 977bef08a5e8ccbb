"""The process that measures: ``python -m fastmlp.cli.bench table|GROUP ROUNDS SECONDS``."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict

from . import map as map_of_points
from . import numbers, table
from .command import machine


def main(what: str, rounds: int, seconds: float) -> None:
    """Print the table and the single measurements, or a line of JSON for each point of a group of the map."""
    group = map_of_points.GROUPS.get(what)
    if hasattr(os, "sched_setaffinity") and (group is None or group.n_threads == 1):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if group is not None:
        for point in group.measured(rounds, seconds):
            print(json.dumps(asdict(point)), flush=True)
        return
    print(f"{machine()}; one thread, one core\n", flush=True)
    for line in table.rows(rounds, seconds):
        print(line, flush=True)
    print()
    for line in numbers.lines(rounds):
        print(line, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
