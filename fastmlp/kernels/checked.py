"""The checked build, for finding errors in kernels: FASTMLP_CHECKED=ends or begins. It is slow, and its last bits
differ.

Kernels are compiled with bounds checks of all arrays, and memory that they are given ends, or begins, at a page that
may not be accessed. So an access outside, by a vector or by a number, ends the process: by SIGABRT with the kernel's
name, or by SIGSEGV. Ends and begins differ in which pages those are, not in code.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
from collections.abc import Sequence

import numpy as np

__all__ = ["checked", "fenced"]


@functools.cache
def checked() -> str:
    """``"ends"`` or ``"begins"`` in a checked build, else ``""``."""
    wanted = os.environ.get("FASTMLP_CHECKED", "")
    if wanted not in ("", "ends", "begins"):
        raise ValueError(f"FASTMLP_CHECKED must be ends or begins, got {wanted!r}")
    return wanted


def fenced(sizes: Sequence[int], copies: int = 1) -> tuple[np.ndarray, list[int]]:
    """Memory for pieces of these sizes, each with a page on either side that may not be accessed.

    Returns
    -------
    memory : ndarray of uint8
        ``copies`` times the same layout, of which only the pieces may be accessed. They are zero.
    places : list of int
        Where the pieces begin in the first copy.
    """
    page = mmap.PAGESIZE
    places, fences, used = [], [0], page
    for size in sizes:
        room = -(-size // page) * page
        places.append(used if checked() == "begins" else used + room - size)
        fences.append(used + room)
        used += room + page
    pages = mmap.mmap(-1, used * copies, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory = np.frombuffer(pages, np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for copy in range(copies):
        for fence in fences:
            if protect(memory.ctypes.data + copy * used + fence, page, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
    return memory, places
