"""Dropout: which units of a hidden layer are left out, and how the others are scaled."""

from __future__ import annotations

import numpy as np

from .decorators import array_at, force_inlined
from .vectors import copy, wide_vectors


def build(name: str, dtype: str):
    """The Python function to compile for "dropout"."""
    return {"dropout": _dropout}[name](np.dtype(dtype).type)


def _dropout(real):
    """Inverted dropout of rows of a and of its derivative: each number is kept with probability ``kept`` and divided by
    it, or zero.

    The draws are a hash of the key, the row's number (``row``, then every ``row_step``-th) and the column: splitmix64
    (Steele, Lea and Flood 2014). So they depend on nothing else, and need no state. Where ``whole`` is not null, it
    gets a as it was, and d the factors.
    """

    def drop(a, d, whole, rows, stride, key, row, row_step, kept):
        wide_vectors()
        limit = np.uint64(kept * 9007199254740992.0)  # 2**53
        factor = real(1 / kept)
        a = array_at(a, (rows, stride), a)
        d = array_at(d, (rows, stride), a)
        if whole:
            copy(whole, a.ctypes.data, rows * stride * a.itemsize)
            for r in range(rows):
                for k in range(stride):
                    d[r, k] = 1
        for r in range(rows):
            base = _mixed(np.uint64(key) + np.uint64(row + r * row_step) * np.uint64(0x9E3779B97F4A7C15))
            for k in range(stride):
                draw = _mixed(base + np.uint64(k + 1) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)
                scale = factor if draw < limit else real(0)
                a[r, k] *= scale
                d[r, k] *= scale
        return 0.0

    return drop


@force_inlined
def _mixed(bits):
    """splitmix64's output function."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
