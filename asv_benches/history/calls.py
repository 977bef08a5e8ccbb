"""How long does one call take: a prediction, a step with one sample, a gradient, a Jacobian?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..measuring import Found, measured, of_the_map, suite

PREDICTION = ("numpy", "onnxruntime", "torch", "jax")
ROWS = {
    "predict 1 rows of 4-16-2": PREDICTION,
    "predict 1 rows of 784-128-10": PREDICTION,
    "predict 10 rows of 30-100-2": PREDICTION,
    "predict 1,000 rows of 30-100-2": PREDICTION,
    "partial_fit one row, 2-16-1": ("numpy",),
    "partial_fit one row, 784-128-1": ("numpy",),
    "gradient of 200 rows, 24-8-2, float64": ("jax",),
    "train_many, 200 × 4-16-1, 20 epochs of 200 samples": ("jax",),
}


def points() -> Iterator[Any]:
    return of_the_map(ROWS)


@suite("Calls", ROWS, "µs a call")
class Calls:
    """Predictions of 1 to 1,000 rows, learning from one row, a gradient; train_many: µs a network. One thread."""

    def setup_cache(self) -> Found:
        return measured(__name__)

    setup_cache.timeout = 600
