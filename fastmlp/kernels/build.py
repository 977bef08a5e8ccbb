"""Build the kernels ahead of time: ``python -m fastmlp.kernels.build [TARGET …]``, this machine's or those named.

Each target becomes a shared library in ``fastmlp/kernels/libraries/``, and a manifest says from which sources they were
built (prebuilt.py reads both). Any machine can build all targets: LLVM makes code for all of them, and zig (ziglang,
from PyPI) links it, against a C library that is old enough. ``pip install --group build-kernels`` brings the tools.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..base.atomic import write_whole
from ..base.cores import usable_cores
from ..base.extras import require
from ..base.version import __version__
from .digest import code_digest
from .prebuilt import FOLDER, MANIFEST
from .targets import TARGETS

__all__ = ["build", "main"]

_TOOLS = ("numba", "llvmlite", "numpy", "ziglang")


def build(names: Sequence[str]) -> dict[str, Path]:
    """Build libraries for these of `TARGETS` and renew the manifest; others in it stay if their sources are the same.

    Returns
    -------
    dict
        The library of each target.

    Raises
    ------
    RuntimeError
        When a kernel could raise or allocate, or when a tool fails, with its output.
    """
    require("ziglang", None, "linking kernels")
    classes: dict[tuple[int, bool], list[str]] = {}
    for name in names:
        classes.setdefault((TARGETS[name].vector_bytes, TARGETS[name].many_registers), []).append(name)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as text, ThreadPoolExecutor(usable_cores()) as pool:
        folder = Path(text)
        compile_all = [sys.executable, "-m", f"{__package__}.ahead", text]
        # Kernels of two dtypes have hardly anything in common: halves of a class keep all cores busy to the end.
        halves = [(dtype, *targets) for targets in classes.values() for dtype in ("float32", "float64")]
        list(pool.map(lambda half: _run([*compile_all, *half]), halves))
        paths = dict(zip(names, pool.map(lambda name: _link(name, folder), names), strict=True))
    _write_manifest(paths)
    return paths


def host_targets() -> list[str]:
    """The targets of this machine's system and kind of processor, whatever its level."""
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    machine = {"amd64": "x86-64", "x86_64": "x86-64"}.get(platform.machine().lower(), platform.machine().lower())
    return [name for name in TARGETS if name.startswith(f"{system}-{machine}")]


def _link(name: str, folder: Path) -> Path:
    """Link a target's object files into its library, which exports the kernels and nothing else."""
    target = TARGETS[name]
    objects = sorted((folder / name).iterdir())
    symbols = [path.stem for path in objects]
    path = FOLDER / f"{name}{target.suffix}"
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target.zig, "-shared", "-s", "-o"]
    exports: list[str] = []
    if target.suffix == ".dll":
        definitions = folder / f"{name}.def"
        definitions.write_text("EXPORTS\n" + "".join(f"  {symbol}\n" for symbol in symbols))
        exports = [str(definitions)]
    made = folder / path.name
    _run([*command, str(made), *map(str, objects), *exports])
    write_whole(path, made.read_bytes())
    return path


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:5])} … failed:\n{done.stdout}{done.stderr}")


def _write_manifest(paths: dict[str, Path]) -> None:
    made = {tool: importlib.metadata.version(tool) for tool in _TOOLS}
    manifest: dict[str, Any] = {"version": __version__, "sources": code_digest(), "made_with": made, "libraries": {}}
    path = FOLDER / MANIFEST
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        if all(old.get(key) == manifest[key] for key in ("version", "sources", "made_with")):
            manifest["libraries"] = old["libraries"]
    for name, library in paths.items():
        digest = hashlib.sha256(library.read_bytes()).hexdigest()
        manifest["libraries"][name] = {"file": library.name, "sha256": digest}
    write_whole(path, json.dumps(manifest, indent=1).encode())


def main(arguments: Iterable[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m fastmlp.kernels.build", description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; this machine's if none")
    parser.add_argument("--all", action="store_true", help="all targets")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.targets if name not in TARGETS]:
        parser.error(f"unknown target {unknown[0]}; there are {', '.join(TARGETS)}")
    names = list(TARGETS) if given.all else given.targets or host_targets()
    if not names:
        parser.error(f"there is no target for {platform.system()} on {platform.machine()}")
    begin = time.monotonic()
    for name, path in build(names).items():
        print(f"{name}: {path}, {path.stat().st_size / 1000:.0f} kB")
    print(f"built in {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
