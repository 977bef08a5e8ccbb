"""Compiled kernels in a wheel: one shared library for each level of processor, loaded with ctypes alone.

build.py makes the libraries and their manifest. A library is used if the processor has every feature for which it was
compiled, if its kernels' sources are those beside it, and if its SHA-256 is right. Other libraries are ignored
(store.py): kernels then come from the user's cache, or are compiled.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any, NamedTuple

from ..base.version import __version__
from .checked import checked
from .cpu import widest_vector_bytes, x86_levels
from .digest import code_digest
from .targets import TARGETS

__all__ = ["FOLDER", "MANIFEST", "Prebuilt", "Unusable", "find", "in_use"]

FOLDER = Path(__file__).parent / "libraries"
MANIFEST = "manifest.json"


class Unusable(Exception):
    """Why this process uses no prebuilt kernels, as a clause."""


class Prebuilt(NamedTuple):
    """A library that fits: the target that it was built for, its file, and ctypes' handle."""

    target: str
    path: Path
    handle: Any

    @property
    def level(self) -> str:
        """The target without its system: "x86-64-v4"."""
        return self.target.partition("-")[2]


def find(symbol: str) -> int | None:
    """The address of a kernel in the library that fits this process; None where there is no such library or kernel."""
    try:
        return ctypes.cast(in_use().handle[symbol], ctypes.c_void_p).value
    except (Unusable, AttributeError):
        return None


def in_use() -> Prebuilt:
    """The library that fits this process, loaded at the first call.

    Raises
    ------
    Unusable
        When there is none.
    """
    found = _load()
    if isinstance(found, str):
        raise Unusable(found)
    return found


@functools.cache
def _load() -> Prebuilt | str:
    """The library, or why there is none; found once in a process."""
    if os.environ.get("FASTMLP_PREBUILT") == "0":
        return "FASTMLP_PREBUILT=0 turns them off"
    if checked():
        return "bounds are checked"
    try:
        manifest = json.loads((FOLDER / MANIFEST).read_text(encoding="utf-8"))
        sources, version = manifest["sources"], manifest["version"]
        files = {target: (entry["file"], entry["sha256"]) for target, entry in manifest["libraries"].items()}
    except FileNotFoundError:
        return "this installation has none"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"their manifest cannot be read ({error!r})"
    try:
        if sources != code_digest():
            return "the kernels' sources have changed since they were built"
    except OSError:  # an application that is one file has no sources beside it
        if version != __version__:
            return f"they are of fastmlp {version}"
    target = next((name for name in _fitting() if name in files), None)
    if target is None:
        return f"there is none for this processor and system among {', '.join(files)}"
    name, digest = files[target]
    path = FOLDER / str(name)
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return f"{path.name} is damaged"
        return Prebuilt(target, path, ctypes.CDLL(str(path)))
    except OSError as error:
        return f"{path.name} cannot be loaded ({error})"


def _fitting() -> list[str]:
    """The targets whose kernels this process may run, the best first."""
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    machine = platform.machine().lower()
    if machine in ("x86_64", "amd64"):
        levels = x86_levels()
    else:
        levels = {("linux", "aarch64"): ["aarch64"], ("macos", "arm64"): ["arm64"]}.get((system, machine), [])
    names = [f"{system}-{level}" for level in levels]
    return [name for name in names if name in TARGETS and TARGETS[name].vector_bytes <= widest_vector_bytes()]
