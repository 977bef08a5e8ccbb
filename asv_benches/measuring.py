"""How the history is measured: once a suite and commit, everybody in turns, and every series is read from that.

A row is something that fastmlp and its peers do. All runs of a row take turns, round by round, so that a busy moment
meets everybody. Two controls that have nothing of fastmlp in them, a product of matrices and a copy, take part: where
they change, the machine did. Where a process's memory lies changes its times by a tenth, so that each suite is measured
in several fresh processes. The best round of each run counts. What is compiled is compiled before.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .networks import short
from .yardstick import load

PROCESSES = 4
ROUNDS, SECONDS = 4, 0.02  # of each run of a row, in each process
PEERS = {
    "numba": "plain Numba loops",
    "numpy": "NumPy",
    "sklearn": "scikit-learn",
    "jax": "JAX",
    "onnxruntime": "onnxruntime",
    "torch": "PyTorch",
    "sgemm": "a product of matrices (control)",
    "copy": "a copy of memory (control)",
}
OF_ITS_TIME = "of its time"
VERSION = "1"  # of what the series mean: asv's pages leave out results of another one; its own is a hash of the code
# what a commit raises that lacks something, and load_mnist without data
NOT_YET = (AttributeError, ConnectionError, ImportError, NotImplementedError, TypeError)

Found = dict[str, dict[str, Any]]  # by rows: "microseconds", "noise", and "share" by peers; or "missing", "failed"

ONE_PROCESS = """
import importlib.util, json, sys
name, folder, suite = sys.argv[1:]  # this package, which need not be where imports look
spec = importlib.util.spec_from_file_location(name, folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules[name] = package = importlib.util.module_from_spec(spec)
spec.loader.exec_module(package)
timed = importlib.import_module(name + ".measuring").timed(importlib.import_module(suite).points())
print("\\n" + json.dumps(timed))
"""


def controls() -> dict[str, Callable[[int], Any]]:
    """Runs of a product of two 128 × 128 matrices, and of a copy of 1 MB."""
    repeated = load("clock").repeated
    a, source = np.ones((128, 128), np.float32), np.ones(250_000, np.float32)
    out, target = np.empty_like(a), np.empty_like(source)
    return {
        "sgemm": repeated(lambda: np.matmul(a, a, out=out)),
        "copy": repeated(lambda: np.copyto(target, source)),
    }


def of_the_map(names: Iterable[str]) -> Iterator[Any]:
    """Points of `python -m fastmlp bench --map`, by their names."""
    points = {point.name: point for group in load("map").GROUPS.values() for point in group.points}
    return (points[name] for name in names)


def measured(suite: str) -> Found:
    """Measure the `points()` of a suite's module, on one core, in fresh processes one after the other."""
    of_processes = [in_a_process(suite) for _ in range(PROCESSES)]
    return {row: summary([timed[row] for timed in of_processes]) for row in of_processes[0]}


def in_a_process(suite: str) -> Found:
    command = [sys.executable, "-P", "-c", ONE_PROCESS, __package__, str(Path(__file__).parent), suite]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])  # peers may print, too


def timed(points: Iterable[Any]) -> Found:
    """The seconds a unit of each point's runs, in each round; or why there are none."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return {point.name: skipping(partial(of_point, point)) for point in points}


def of_point(point: Any) -> dict[str, Any]:
    """The rounds of fastmlp, of the controls, and of each peer that is there."""
    ours, peers = point.make()
    runs = {"fastmlp": ours, **controls()}
    for name, make in peers.items():
        peer = name.partition(".")[0]
        if peer in PEERS and peer not in runs and importlib.util.find_spec(peer):
            try:
                runs[peer] = make()
            except NOT_YET:  # the commit has no way out to that peer
                continue
    return {"units": point.units, "rounds": load("clock").per_unit(runs, ROUNDS, SECONDS, point.step, point.most)}


def summary(of_processes: list[dict[str, Any]]) -> dict[str, Any]:
    """One row: what fastmlp takes, its noise, and its share of what each peer takes; or what a process said instead."""
    for of_row in of_processes:
        if "rounds" not in of_row:
            return of_row
    rounds = {run: [t for of_row in of_processes for t in of_row["rounds"][run]] for run in of_processes[0]["rounds"]}
    best = {run: min(times) for run, times in rounds.items()}
    own = best.pop("fastmlp")
    return {
        "microseconds": short(own / of_processes[0]["units"] * 1e6),
        "noise": short(100 * (statistics.median(rounds["fastmlp"]) / own - 1)),
        "share": {name: short(own / value) for name, value in best.items()},  # of the controls': of one call
    }


def skipping(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is measured, or why the commit has no such thing, or what went wrong."""
    try:
        return measure()
    except NOT_YET as reason:
        return {"missing": repr(reason)}
    except Exception:
        return {"failed": traceback.format_exc()}


def value_of(found: Found, row: str, key: str, peer: str | None = None) -> float:
    """A number that was found; NaN, which asv takes for skipped, where commit or environment have no such thing."""
    of_row = found[row]
    if "failed" in of_row:
        raise RuntimeError(of_row["failed"])
    if "missing" in of_row:
        return math.nan
    return of_row[key] if peer is None else of_row[key].get(peer, math.nan)


def series(key: str, rows: list[str], pretty_name: str, unit: str, peer: str | None = None) -> Callable[..., float]:
    """A benchmark that reads its numbers from what its suite's `setup_cache` has found."""

    def track(self: Any, found: Found, row: str) -> float:
        return value_of(found, row, key, peer)

    track.params, track.param_names = [rows], ["row"]
    track.pretty_name, track.unit, track.version = pretty_name, unit, VERSION
    return track


def suite(question: str, rows: Mapping[str, Iterable[str]], unit: str) -> Callable[[type], type]:
    """Add the series to a class: what fastmlp takes for each row, its noise, its share of each peer's time."""

    def add(cls: type) -> type:
        of = question[0].lower() + question[1:]
        cls.track_microseconds = series("microseconds", list(rows), f"{question}, {unit}", unit)
        cls.track_noise = series("noise", list(rows), f"Noise of {of}, median over best round, %", "%")
        for peer, label in PEERS.items():
            having = [row for row in rows if peer in (*rows[row], "sgemm", "copy")]
            if having:
                title = f"Beside {label}: {of}"
                setattr(cls, f"track_share_of_{peer}", series("share", having, title, OF_ITS_TIME, peer))
        return cls

    return add
