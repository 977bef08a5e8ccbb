"""Checks of single arguments: every error names the argument, its value, and what it must be."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from .suggest import unknown_name

__all__ = [
    "check_choice", "check_count", "check_dtype", "check_flag", "check_number", "check_out", "check_seed",
    "dropout_shares",
]  # fmt: skip


_REALS = {np.dtype(f"{order}f{size}"): np.dtype(f"f{size}") for size in (4, 8) for order in "<>"}


def check_dtype(dtype: Any) -> np.dtype:
    """Return float32 or float64 as a NumPy dtype, from its name or anything that NumPy takes for it."""
    try:
        kind = _REALS.get(np.dtype(dtype)) if dtype is not None else None
    except TypeError:
        kind = None
    if kind is None:
        raise ValueError(f"dtype must be 'float32' or 'float64', got {dtype!r}")
    return kind


def check_number(value: Any, name: str, low: float, high: float = math.inf, *, open_low: bool = False) -> float:
    """Return a finite number as a float: at least ``low``, or above it with ``open_low``, and below ``high``."""
    if type(value) is not float and (isinstance(value, (bool, str, bytes)) or np.ndim(value) != 0):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}") from None
    if not math.isfinite(number) or number < low or number >= high or (open_low and number == low):
        bound = f"{'above' if open_low else 'at least'} {low:g}" + (f" and below {high:g}" if high < math.inf else "")
        raise ValueError(f"{name} must be a finite number {bound}, got {value!r}")
    return number


def check_count(value: Any, name: str, low: int = 1) -> int:
    """Return an integer that is at least ``low``."""
    if isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if count < low:
        raise ValueError(f"{name} must be at least {low}, got {count}")
    return count


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Refuse an ``out`` that cannot take results of that shape and dtype."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an array, got {type(out).__name__}")
    if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        got = "a read-only one" if out.shape == shape and out.dtype == dtype else f"{out.dtype} of shape {out.shape}"
        raise ValueError(f"out must be an array that can be written to, {dtype} of shape {shape}, got {got}")


def check_flag(value: Any, name: str) -> bool:
    """Return True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def check_seed(seed: Any) -> int | None:
    """Return a non-negative integer, or None."""
    return None if seed is None else check_count(seed, "seed", 0)


def check_choice(value: Any, name: str, choices: Iterable[str]) -> str:
    """Return a name that is one of ``choices``, spelt as there."""
    choices = list(choices)
    if not isinstance(value, str):
        raise TypeError(f"{name} must be one of {', '.join(choices)}, got {type(value).__name__}")
    if value not in choices:
        raise unknown_name(value, choices, name)
    return value


def dropout_shares(dropout: Any, n_hidden: int) -> list[float]:
    """The share of units left out, for each hidden layer; empty where none is."""
    if not isinstance(dropout, (list, tuple, np.ndarray)):
        share = check_number(dropout, "dropout", 0.0, 1.0)
        return [share] * n_hidden if share else []
    if len(dropout) != n_hidden:
        raise ValueError(f"dropout has {len(dropout)} entries, the network has {n_hidden} hidden layers")
    shares = [check_number(share, "dropout", 0.0, 1.0) for share in dropout]
    return shares if any(shares) else []
