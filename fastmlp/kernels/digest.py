"""What decides a kernel's machine code, as two digests: the sources that it is compiled from, and the machine.

Neither imports Numba or a kernel.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from pathlib import Path

import numpy as np

from .cpu import cpu_features, cpu_name

__all__ = ["code_digest", "machine_digest"]

_SOURCES = (
    "../activations.py",
    "../losses.py",
    "../optimizers.py",
)  # beside this folder's own files: their functions are compiled too


@functools.cache
def code_digest() -> str:
    """SHA-256 of the kernels' sources."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for path in (*sorted(here.glob("*.py")), *(here / name for name in _SOURCES)):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@functools.cache
def machine_digest() -> str:
    """SHA-256 of what compiles the sources, and for which processor: versions, its name and features."""
    import llvmlite
    import llvmlite.binding as llvm

    numba = importlib.util.find_spec("numba")
    assert numba is not None and numba.origin is not None
    version = Path(numba.origin).with_name("_version.py").read_text()
    versions = sys.version, np.__version__, llvmlite.__version__, version
    machine = llvm.get_process_triple(), cpu_name(), cpu_features()
    return hashlib.sha256(repr((versions, machine)).encode()).hexdigest()
