"""Do we still lose where docs/map.md says that a peer is ahead, or within a tenth?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..measuring import Found, measured, of_the_map, suite

PREDICTION = ("numpy", "onnxruntime", "torch", "jax")
TRAINING = ("jax", "torch", "sklearn")
ROWS = {
    "training 2-8-2, batch 200": TRAINING,
    "training 784-512-512-10, batch 128": TRAINING,
    "training 784-512-512-10, batch 512": TRAINING,
    "training 4096-1024-100, batch 512": TRAINING,
    "predict 100 rows of 784-128-10": PREDICTION,
    "predict 1,000 rows of 784-128-10": PREDICTION,
    "predict 100 rows of 784-512-512-10": PREDICTION,
    "predict 100,000 rows of 4-16-2": PREDICTION,
    "jacobian by the inputs, 10 rows, 784-128-10": ("jax",),
}


def points() -> Iterator[Any]:
    return of_the_map(ROWS)


@suite("The map's losses", ROWS, "µs a sample or a call")
class Losses:
    """Points of the map at which JAX, PyTorch or onnxruntime take about our time, or less. One thread."""

    def setup_cache(self) -> Found:
        return measured(__name__)

    setup_cache.timeout = 600
