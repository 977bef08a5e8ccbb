"""How long does training take a sample? Kernels are compiled and loaded in setup."""

from __future__ import annotations

import time

import fastmlp

from .networks import SIZES, network, samples


class Training:
    """Microseconds a sample, best of five epochs, by size, batch and dtype."""

    params = (SIZES, [1, 32], ["float32", "float64"])
    param_names = ("size", "batch", "dtype")
    unit = "µs a sample"

    def setup(self, size: str, batch: int, dtype: str) -> None:
        self.x, self.y = samples(size, 4000, dtype)
        self.model = fastmlp.MLP(network(size), seed=0, dtype=dtype)
        fastmlp.train(self.x[:64], self.y[:64], self.model, epochs=1, batch_size=batch)

    def track_microseconds(self, size: str, batch: int, dtype: str) -> float:
        best = float("inf")
        for _ in range(5):
            begin = time.perf_counter()
            fastmlp.train(self.x, self.y, self.model, epochs=1, batch_size=batch, lr=1e-3, progress=False)
            best = min(best, time.perf_counter() - begin)
        return 1e6 * best / len(self.x)

    track_microseconds.unit = unit  # type: ignore[attr-defined]
