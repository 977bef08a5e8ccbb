"""How long does a prediction take, of one sample and of a thousand?"""

from __future__ import annotations

import fastmlp

from .networks import network, samples


class Prediction:
    """Seconds a call of predict."""

    params = (["4-16-2", "8-64-64-2", "784-128-10"], [1, 1000])
    param_names = ("size", "rows")

    def setup(self, size: str, rows: int) -> None:
        self.x, _ = samples(size, rows)
        self.model = fastmlp.MLP(network(size), seed=0)
        self.model.predict(self.x)

    def time_predict(self, size: str, rows: int) -> None:
        self.model.predict(self.x)
