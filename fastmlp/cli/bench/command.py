"""The command ``bench``: measure in separate processes, print, and renew pages."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from ...base.version import __version__
from ...kernels.cpu import cpu_name, vector_bytes
from . import map as map_of_points

__all__ = ["LIBRARIES", "around", "machine", "main"]

LIBRARIES = {
    "numba": "numba",
    "numpy": "numpy",
    "jax": "jax",
    "torch": "torch",
    "sklearn": "scikit-learn",
    "keras": "keras",
    "onnxruntime": "onnxruntime",
    "vowpalwabbit": "vowpalwabbit",
}  # the modules of all peers, and what they are installed as


def environment(n_threads: int = 1) -> dict[str, str]:
    """The environment of a process that measures, because libraries read thread counts when they are imported."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    xla = f"--xla_cpu_multi_thread_eigen={str(n_threads > 1).lower()} intra_op_parallelism_threads={n_threads}"
    backend = "torch" if importlib.util.find_spec("torch") else "jax"
    own = {"XLA_FLAGS": xla, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONIOENCODING": "utf-8"}
    return {**os.environ, **dict.fromkeys(names, str(n_threads)), **own}


def machine() -> str:
    """Describe the date, the processor, and the versions of all libraries in a line."""
    from importlib.metadata import version

    installed = {name: package for name, package in sorted(LIBRARIES.items()) if importlib.util.find_spec(name)}
    versions = ", ".join(f"{name} {version(package)}" for name, package in installed.items())
    system = f"{platform.machine()} ({cpu_name()}) with vectors of {8 * vector_bytes()} bits, {platform.system()}"
    return f"{date.today()}: {system}, Python {platform.python_version()}; fastmlp {__version__}, {versions}"


def around(page: Path, name: str) -> tuple[str, str]:
    """Return the text of a Markdown file before and after its region of that name; a new file is only the region."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = page.read_text(encoding="utf-8") if page.exists() else f"{begin}\n{end}"
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found_begin and found_end):
        raise ValueError(f"out: {page} lacks the lines {begin} and {end}, between which the numbers go")
    return f"{before}{begin}\n\n", f"\n{end}{after.rstrip()}\n"


def main(rounds: int = 5, seconds: float = 0.3, out: Sequence[Path] = (), points: bool = False) -> int:
    """Print the table, or the map of all points, and put it into Markdown files."""
    pages = {page: around(page, "map" if points else "bench") for page in out}
    printed = ""
    try:
        for line in _map(rounds, seconds) if points else _lines("table", rounds, seconds):
            print(line, flush=True)
            printed += f"{line}\n"
    except subprocess.CalledProcessError as error:
        return error.returncode
    for page, (before, after) in pages.items():
        page.write_text(before + printed + after, encoding="utf-8")
    return 0


def _lines(what: str, rounds: int, seconds: float, n_threads: int = 1) -> Iterator[str]:
    """Run a process that measures, and return its lines."""
    command = [sys.executable, "-m", "fastmlp.cli.bench", what, str(rounds), str(seconds)]
    with subprocess.Popen(
        command, env=environment(n_threads), stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            yield line.rstrip("\n")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def _map(rounds: int, seconds: float) -> Iterator[str]:
    """Measure all groups of points, each in a separate process, and write the results, losses first."""
    found = []
    for group in map_of_points.GROUPS.values():
        for line in _lines(group.name, rounds, seconds, group.n_threads):
            point = map_of_points.Measured(**json.loads(line))
            print(point.summary(), file=sys.stderr, flush=True)
            found.append(point)
    yield f"{machine()}; one core, but for two threads"
    yield ""
    yield from map_of_points.page(found)
