"""Generators of random numbers, from a seed or from the system's entropy."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence

__all__ = ["new_generator"]


class _Entropy(ISeedSequence):
    """Seeds from the system's entropy as it is: NumPy mixes such numbers, which takes 7 of `default_rng`'s 9 µs."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        return np.frombuffer(os.urandom(n_words * np.dtype(dtype).itemsize), dtype)


class _Mixed(ISeedSequence):
    """Seeds as NumPy mixes them, which takes 4 µs, so that it is done once for seeds that come again."""

    def __init__(self, seed: int | tuple[int, ...]) -> None:
        self._seeds = np.random.SeedSequence(seed)
        self._states: dict[Any, np.ndarray] = {}

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> np.ndarray:
        key = n_words, dtype
        if key not in self._states:
            self._states[key] = self._seeds.generate_state(n_words, dtype)
        return self._states[key]


_ENTROPY = _Entropy()
_mixed = lru_cache(maxsize=64)(_Mixed)


def new_generator(seed: int | tuple[int, ...] | None) -> np.random.Generator:
    """Make ``numpy.random.default_rng(seed)``; without a seed, one whose numbers nobody can foresee."""
    seeds: Any = _ENTROPY if seed is None else _mixed(seed)  # NumPy's stubs lack ISeedSequence
    return np.random.default_rng(seeds)
