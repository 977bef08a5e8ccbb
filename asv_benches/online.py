"""How many times as fast is a step with one sample as one that NumPy makes by hand, or scikit-learn's estimators?"""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmlp

from .networks import microseconds_a_call, network, samples, short


class ByHand:
    """relu layers under one linear output and half the squared error, in float32, as one writes them in NumPy.

    Parameters
    ----------
    model : MLP
        Whose weights and biases it begins with.
    lr : float
    """

    def __init__(self, model: Any, lr: float) -> None:
        self.weights = [np.array(w, np.float32, order="C") for w in model.weights]
        self.biases = [b.copy() for b in model.biases]
        self.lr = np.float32(lr)

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        """Make a step with one sample, x (n_in,) and y (1,); return its loss before."""
        activations = [x]
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            activations.append(np.maximum(w @ activations[-1] + b, 0))
        delta = self.weights[-1] @ activations[-1] + self.biases[-1] - y
        loss = 0.5 * float(delta @ delta)
        for i in range(len(self.weights) - 1, -1, -1):
            w, a = self.weights[i], activations[i]
            below = (w.T @ delta) * (a > 0) if i else None
            scaled = self.lr * delta
            w -= np.outer(scaled, a)
            self.biases[i] -= scaled
            delta = below
        return loss


class OneSample:
    """NumPy's time by hand beside that of partial_fit."""

    params = (["2-16-1", "8-64-64-1", "784-128-1"],)
    param_names = ("size",)

    def setup(self, size: str) -> None:
        self.x, _ = samples(size, 1)
        self.y = np.full(1, 0.5, np.float32)
        layers = network(size)
        layers[-1]["act"] = "linear"
        self.model = fastmlp.MLP(layers, seed=0)
        if not hasattr(self.model, "partial_fit"):
            raise NotImplementedError
        self.by_hand = ByHand(self.model, 1e-4)
        losses = self.by_hand.step(self.x[0], self.y), self.model.partial_fit(self.x, self.y, lr=1e-4)["loss"]
        assert np.isclose(*losses, rtol=1e-4), losses

    def track_ratio(self, size: str) -> float:
        hand = microseconds_a_call(lambda: self.by_hand.step(self.x[0], self.y))
        return short(hand / microseconds_a_call(lambda: self.model.partial_fit(self.x, self.y, lr=1e-4)))

    track_ratio.unit = "times as fast as NumPy"  # type: ignore[attr-defined]
