"""How long does a prediction take, of one sample and of a thousand? And a loss with its gradient?"""

from __future__ import annotations

import numpy as np

import fastmlp

from .networks import microseconds_a_call, network, samples


class Prediction:
    """A call of predict."""

    params = (["4-16-2", "8-64-64-2", "784-128-10"], [1, 1000])
    param_names = ("size", "rows")

    def setup(self, size: str, rows: int) -> None:
        self.x, _ = samples(size, rows)
        self.model = fastmlp.MLP(network(size), seed=0)
        self.model.predict(self.x)

    def track_microseconds(self, size: str, rows: int) -> float:
        return microseconds_a_call(lambda: self.model.predict(self.x))

    track_microseconds.unit = "µs a call"  # type: ignore[attr-defined]


class Gradient:
    """A call of gradient: 24-8-2 tanh, 200 samples, float64."""

    def setup(self) -> None:
        rng = np.random.default_rng(0)
        layers = [{"n": 24, "act": None}, {"n": 8, "act": "tanh"}, {"n": 2, "act": "linear"}]
        self.x, self.y = rng.normal(size=(200, 24)), rng.normal(size=(200, 2))
        self.model = fastmlp.MLP(layers, seed=0, dtype="float64")
        self.model.gradient(self.x, self.y)

    def track_microseconds(self) -> float:
        return microseconds_a_call(lambda: self.model.gradient(self.x, self.y))

    track_microseconds.unit = "µs a call"  # type: ignore[attr-defined]
