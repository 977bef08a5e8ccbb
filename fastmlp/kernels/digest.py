"""Two digests of what decides a kernel's machine code: the sources from which it is compiled, and the machine.

Every process that uses a kernel computes both, so neither imports Numba or a kernel: 1.5 ms in all.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np

from .checked import checked
from .cpu import cpu_features, cpu_name
from .sources import sources_digest

__all__ = ["code_digest", "machine_digest"]


@functools.cache
def code_digest() -> str:
    """SHA-256 of the kernels' sources, and of whether bounds are checked."""
    return sources_digest(Path(__file__).parents[1], b"checked" if checked() else b"")


@functools.cache
def machine_digest() -> str:
    """SHA-256 of the compiler's versions and the processor's name and features."""
    import llvmlite
    import llvmlite.binding as llvm

    numba = importlib.util.find_spec("numba")
    assert numba is not None and numba.origin is not None
    version = Path(numba.origin).with_name("_version.py").read_text()
    versions = sys.version, np.__version__, llvmlite.__version__, version
    machine = llvm.get_process_triple(), cpu_name(), cpu_features()
    return hashlib.sha256(repr((versions, machine)).encode()).hexdigest()
