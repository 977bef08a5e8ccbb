"""The networks and data that the benchmarks share."""

from __future__ import annotations

from typing import Any

import numpy as np

SIZES = ["8-64-64-2", "784-10-10", "784-128-10"]


def network(size: str) -> list[dict[str, Any]]:
    """relu layers of those widths under softmax."""
    n_in, *hidden, n_out = (int(n) for n in size.split("-"))
    layers = [{"n": n, "act": "relu"} for n in hidden]
    return [{"n": n_in, "act": None}, *layers, {"n": n_out, "act": "softmax"}]


def samples(size: str, n: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """Dense random inputs and classes."""
    n_in, *_, n_out = (int(width) for width in size.split("-"))
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (n, n_in)).astype(dtype), rng.integers(0, n_out, n)
