"""A network put together step by step, in the order in which another library computes it, and words for activations.

The doors read and write; this file knows what a fully connected network may consist of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..activations import Activation
from ..losses import Loss
from ..model.mlp import MLP
from ..spec import Spec

__all__ = ["Chain", "word"]

T = TypeVar("T")


def word(words: Mapping[str, T], activation: Activation, world: str) -> T:
    """Return what another world calls an activation; a ValueError names one that it lacks, or a user's own."""
    if not activation.builtin:
        raise ValueError(f"the custom activation {activation.name!r} cannot be expressed in {world}")
    if activation.name not in words:
        raise ValueError(f"the activation {activation.name!r} cannot be expressed in {world}")
    return words[activation.name]


@dataclass
class _Layer:
    weights: np.ndarray
    biases: np.ndarray | None
    activation: Activation | None = None


class Chain:
    """Scalings of the input, then layers, each perhaps with biases and an activation, then scalings of the outputs.

    ``where``, in every method, is what an error calls the step: "layer 2 (Linear)".
    """

    def __init__(self) -> None:
        self._shift: np.ndarray | None = None
        self._scale: np.ndarray | None = None
        self._layers: list[_Layer] = []
        self._out_shift: np.ndarray | None = None
        self._out_scale: np.ndarray | None = None
        self._scaled_by = ""  # what scaled or shifted the outputs

    @property
    def begun(self) -> bool:
        """Whether there is a layer already."""
        return bool(self._layers)

    @property
    def n_in(self) -> int:
        """The number of inputs."""
        return self._layers[0].weights.shape[1]

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the parameters."""
        return self._layers[0].weights.dtype

    @property
    def width(self) -> int:
        """The number of outputs of the last layer."""
        return len(self._layers[-1].weights)

    @property
    def lacks_biases(self) -> bool:
        """Whether the last layer has weights alone, so that a sum would be its biases."""
        return self.begun and self._layers[-1].biases is None and self._layers[-1].activation is None

    def multiply(self, factor: Any, where: str) -> None:
        """Multiply the inputs, or behind a layer the outputs, by a number, or by a number each."""
        factor = self._numbers(factor, where)
        if not np.any(factor != 1):
            return
        if not self.begun:
            self._scale = factor if self._scale is None else self._scale * factor
            return
        if np.any(factor <= 0):
            raise ValueError(f"{where} multiplies outputs by {factor.min():g}; the scale of a last layer is above 0")
        self._scaled_by = where
        self._out_scale = factor if self._out_scale is None else self._out_scale * factor
        self._out_shift = None if self._out_shift is None else self._out_shift * factor

    def add(self, number: Any, where: str) -> None:
        """Add a number, or a number each, to the inputs: x·k + c is (x + c/k)·k; or behind a layer to the outputs."""
        number = self._numbers(number, where)
        if not np.any(number):
            return
        if self.begun:
            self._scaled_by = where
            self._out_shift = number if self._out_shift is None else self._out_shift + number
            return
        if self._scale is not None:
            if np.any(self._scale == 0):
                raise ValueError(f"{where} adds to inputs that are multiplied by 0")
            number = number / self._scale
        self._shift = -number if self._shift is None else self._shift - number

    def _numbers(self, values: Any, where: str) -> np.ndarray:
        """Return a number, or a number an input or output, as a float64 array () or (n,)."""
        values = np.asarray(values, np.float64)
        if values.size != max(values.shape, default=1):
            raise ValueError(f"{where} has shape {values.shape}; a number, or a number an input, was expected")
        if self.begun and values.size not in (1, self.width):
            raise ValueError(f"{where} has {values.size} numbers for {self.width} outputs")
        return values.reshape(()) if values.size == 1 else values.ravel()

    def dense(self, weights: Any, biases: Any, where: str) -> None:
        """Append a layer: weights (n_out, n_in), and biases (n_out,) or None."""
        self._refuse_behind_scaling()
        weights = np.asarray(weights)
        biases = None if biases is None else np.asarray(biases)
        for values in (weights,) if biases is None else (weights, biases):
            dtype = self.dtype if self.begun else weights.dtype
            if values.dtype.name not in ("float32", "float64"):
                raise ValueError(f"{where} has {values.dtype} parameters; a network is float32 or float64")
            if values.dtype != dtype:
                raise ValueError(f"{where} has {values.dtype} parameters, those before it are {dtype}")
            if not np.isfinite(values).all():
                raise ValueError(f"{where} has parameters that are NaN or infinite")
        if weights.ndim != 2 or 0 in weights.shape or (biases is not None and biases.shape != weights.shape[:1]):
            shapes = f"weights {weights.shape}" + ("" if biases is None else f", biases {biases.shape}")
            raise ValueError(f"{where} has {shapes}; (n_out, n_in) and (n_out,) were expected")
        if self.begun and weights.shape[1] != self.width:
            raise ValueError(f"{where} takes {weights.shape[1]} inputs, the layer before it has {self.width} outputs")
        self._layers.append(_Layer(weights, biases))

    def bias(self, biases: Any, where: str) -> None:
        """Give the last layer, which has none yet, its biases; one number is the bias of every unit."""
        weights = self._layers.pop().weights
        biases = np.asarray(biases)
        if biases.size in (1, len(weights)):
            biases = np.broadcast_to(biases.ravel(), len(weights))
        self.dense(weights, biases, where)

    def activate(self, activation: Activation, where: str) -> None:
        """Give the last layer its activation; linear ones change nothing."""
        if activation.name == "linear":
            return
        self._refuse_behind_scaling()
        if not self.begun:
            raise ValueError(f"{where} comes before the first layer")
        previous = self._layers[-1].activation
        if previous is not None:
            raise ValueError(f"{where} follows another activation, {previous.name}, with no layer between them")
        self._layers[-1].activation = activation

    def _refuse_behind_scaling(self) -> None:
        """Refuse a further step where the outputs are scaled or shifted already."""
        if self._scaled_by:
            raise ValueError(
                f"{self._scaled_by} scales or shifts between layers; only inputs and outputs can have that"
            )

    def model(self, loss: str | Loss | None = None, spec: Spec | None = None) -> MLP:
        """Return the network. A ``spec`` that describes this chain is used, with its loss and its unrounded numbers."""
        if not self.begun:
            raise ValueError("there is no layer with weights")
        entries = self._entries()
        if spec is not None and _rounded(spec.to_list(), self.dtype) == _rounded(entries, self.dtype):
            entries = spec.to_list()
        if loss is not None:
            entries[-1]["cost"] = loss
        model = MLP(Spec.restored(entries), dtype=self.dtype)
        for layer, weights, biases in zip(self._layers, model.weights, model.biases, strict=True):
            weights[...] = layer.weights
            if layer.biases is not None:
                biases[...] = layer.biases
        return model

    def _entries(self) -> list[dict[str, Any]]:
        """Return the list of layer dicts that describes this chain."""
        first: dict[str, Any] = {"n": self.n_in, "act": None}
        for key, values in (("shift", self._shift), ("scale", self._scale)):
            if values is not None:
                first[key] = values.tolist()
        entries = []
        for layer in self._layers:
            entry: dict[str, Any] = {"n": len(layer.weights), "act": "linear"}
            if layer.activation is not None:
                entry["act"] = layer.activation.name if layer.activation.builtin else layer.activation
                if layer.activation.slope is not None:
                    entry["slope"] = layer.activation.slope
            if layer.biases is None:
                entry["bias"] = False
            entries.append(entry)
        for key, values in (("shift", self._out_shift), ("scale", self._out_scale)):
            if values is not None:
                entries[-1][key] = values.tolist()
        return [first, *entries]


def _rounded(entries: list[dict[str, Any]], dtype: np.dtype) -> list[dict[str, Any]]:
    """Return a spec's list without its loss, all its numbers rounded to the dtype."""
    return [
        {
            key: np.asarray(value, dtype).tolist() if key in ("shift", "scale", "slope") else value
            for key, value in entry.items()
            if key != "cost"
        }
        for entry in entries
    ]
