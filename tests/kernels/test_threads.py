"""The numbers and the barrier that the members of a team share."""

from __future__ import annotations

import numpy as np
from numba import njit

from fastmlp.kernels import threads


def at(array) -> int:
    """The array's address."""
    return array.ctypes.data


def test_atomic_numbers(guarded):
    add, load = njit(lambda a, n: threads.atomic_add(a, n)), njit(lambda a: threads.atomic_load(a))
    number = guarded(np.array([40]))
    assert add(at(number), 5) == 40
    assert load(at(number)) == 45 == number[0]
