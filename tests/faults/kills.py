"""Kills: `python tests/faults/kills.py --kills 1000` kills so many processes that train into a checkpoint.

Five kinds of run, in series of 25 deaths each: SIGKILL after random times, and at chosen instants of a write. Each
process goes on from what the one before left; the last is left alone, and must end, parameters and history, bit for bit
where a run that nobody killed ends. tests/model/killer.py does one series.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import Any

KINDS: dict[str, dict[str, Any]] = {
    "SGD": {"batch_size": 1, "lr": 0.01},
    "momentum with a schedule": {"batch_size": 16, "optimizer": "momentum", "lr": "plateau"},
    "Adam with dropout": {"batch_size": 8, "optimizer": "adam", "dropout": 0.2, "lr": 0.01},
    "early stopping with validation": {
        "batch_size": 4, "validation_fraction": 0.2, "early_stopping": 2000, "metrics": "r2", "lr": 0.3,
    },
    "two threads": {"batch_size": 90, "n_threads": 2, "optimizer": "rmsprop", "lr": 0.01, "every": 3},
}  # fmt: skip
INSTANTS = ["half written", "unsynced", "unrenamed", "renamed"]
KILLER = Path(__file__).parents[1] / "model" / "killer.py"


def deaths(chance: random.Random, n: int = 25) -> list[Any]:
    """When each of n processes dies: after a share of the run's time, or at an instant of its write of that number."""
    return [
        chance.uniform(0, 0.1) if chance.random() < 0.6 else [chance.choice(INSTANTS), chance.randint(1, 12)]
        for _ in range(n)
    ]


def series(folder: Path, plan: list[Any], options: dict[str, Any]) -> dict[str, Any]:
    """What came of one series of deaths, as killer.py says it."""
    command = [sys.executable, str(KILLER), str(folder), json.dumps(plan), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where checkpoints are written; /dev/shm spares the disk")
    arguments = parser.parse_args()
    begin, chance = time.monotonic(), random.Random(arguments.seed)
    kills, endings, unequal = Counter(), Counter(), []
    for kind in cycle(KINDS):
        if kills.total() >= arguments.kills:
            break
        plan = deaths(chance)
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            result = series(Path(folder), plan, {"epochs": 2500, **KINDS[kind]})
        kills[kind] += result["killed"]
        endings[kind] += 1
        right = result["same"] and result["files"] == ["answer", "run"]
        if not right or result["reached"] != sorted(result["reached"]):
            unequal.append((kind, plan, result))
    for kind in KINDS:
        print(f"{kind}: {kills[kind]} processes killed in {endings[kind]} runs")
    for trouble in unequal:
        print("NOT EQUAL:", *trouble)
    seconds = time.monotonic() - begin
    total = f"{kills.total():,} kills in {endings.total()} runs"
    print(f"{total}, {len(unequal)} not equal to the unbroken run, {seconds:.0f} s")
    sys.exit(bool(unequal))


if __name__ == "__main__":
    main()
