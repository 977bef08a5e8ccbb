"""Generators of random numbers, from a seed or from the system's entropy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

__all__ = ["new_generator"]


class _Entropy(ISeedSequence):
    """Seeds from the system's entropy as it is: NumPy mixes such numbers, which takes 7 of `default_rng`'s 9 µs."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        return np.frombuffer(os.urandom(n_words * np.dtype(dtype).itemsize), dtype)


_ENTROPY = _Entropy()


def new_generator(seed: int | Sequence[int] | None) -> np.random.Generator:
    """Make ``numpy.random.default_rng(seed)``; without a seed, one whose numbers nobody can foresee."""
    return np.random.default_rng(_ENTROPY if seed is None else seed)  # type: ignore[arg-type]  # NumPy's stubs lack it
