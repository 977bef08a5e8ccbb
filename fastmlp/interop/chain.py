"""Building a network step by step, in the order in which another library computes it; and names of activations.

The other files read and write; this file knows of what a fully connected network may consist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ..activations import ACTIVATIONS, Activation
from ..losses import Loss, default_loss, get_loss
from ..model.mlp import MLP
from ..spec import Spec, is_of_targets

__all__ = ["Chain", "word"]

T = TypeVar("T")


def word(words: Mapping[str, T], activation: Activation, world: str) -> T:
    """Return another library's name for an activation; a ValueError names one that it lacks, or a custom one."""
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
    factor: np.ndarray | None = None  # of its outputs, behind the activation
    offset: np.ndarray | None = None  # added to them then
    behind: str = ""  # what an error calls the step that did so
    trainable: bool = True

    @property
    def scaled(self) -> bool:
        """Whether its outputs are multiplied by numbers other than 1."""
        return self.factor is not None and bool(np.any(self.factor != 1))

    @property
    def shifted(self) -> bool:
        """Whether numbers other than 0 are added to its outputs."""
        return self.offset is not None and bool(np.any(self.offset))

    def fold(self) -> None:
        """Move the outputs' factors and summands into the parameters, if there is no activation."""
        if self.factor is not None:
            self.weights = self.weights * self.factor.reshape(-1, 1)
            self.biases = None if self.biases is None else self.biases * self.factor
        if self.offset is not None:
            self.biases = self.offset + (np.zeros(len(self.weights)) if self.biases is None else self.biases)
        self.factor = self.offset = None


class Chain:
    """Scalings of the input, then layers with or without biases and activations, then scalings of the outputs.

    What multiplies a layer's outputs, or is added to them, becomes part of its parameters, or, behind an activation, of
    the next layer's: in float64, rounded once. Behind the last layer it becomes shift and scale. ``where``, in every
    method, is the name of the step in an error: "layer 2 (Linear)".
    """

    def __init__(self) -> None:
        self._columns: tuple[np.ndarray, int] | None = None
        self._shift: np.ndarray | None = None
        self._scale: np.ndarray | None = None
        self._layers: list[_Layer] = []
        self._dtype = np.dtype(np.float32)

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
        return self._dtype

    @property
    def width(self) -> int:
        """The number of outputs of the last layer."""
        return len(self._layers[-1].weights)

    def take(self, columns: np.ndarray, n_in: int) -> None:
        """Select these of n_in inputs, each at most once, in this order; only before any other step."""
        self._columns = columns, n_in

    def multiply(self, factor: Any, where: str) -> None:
        """Multiply the inputs, or the last layer's outputs, by one number, or by one for each."""
        factor = self._number_each(factor, where)
        if not self.begun:
            if np.any(factor != 1):
                self._scale = factor if self._scale is None else self._scale * factor
            return
        layer = self._layers[-1]
        layer.factor = factor if layer.factor is None else layer.factor * factor
        layer.offset = None if layer.offset is None else layer.offset * factor
        layer.behind = where

    def add(self, number: Any, where: str) -> None:
        """Add one number, or one for each, to the inputs or the last layer's outputs: x·k + c is (x + c/k)·k.

        After a product without biases, the numbers become its biases.
        """
        number = self._number_each(number, where)
        if self.begun:
            self._add_to_outputs(number, where)
        elif np.any(number):
            if self._scale is not None:
                if np.any(self._scale == 0):
                    raise ValueError(f"{where} adds to inputs that are multiplied by 0")
                number = number / self._scale
            self._shift = -number if self._shift is None else self._shift - number

    def _add_to_outputs(self, number: np.ndarray, where: str) -> None:
        layer = self._layers[-1]
        if layer.activation is None and layer.biases is None and layer.factor is None:
            layer.biases = np.broadcast_to(number, self.width)
            return
        layer.offset = number if layer.offset is None else layer.offset + number
        layer.behind = where

    def _number_each(self, values: Any, where: str) -> np.ndarray:
        """Return one number, or one for each input or output, as a float64 array, () or (n,)."""
        values = np.asarray(values, np.float64)
        if values.size != max(values.shape, default=1) or (self.begun and values.size not in (1, self.width)):
            n = f" ({self.width})" if self.begun else ""
            each = "output" if self.begun else "input"
            raise ValueError(f"{where} has shape {values.shape}; a number, or a number an {each}{n}, was expected")
        return values.reshape(()) if values.size == 1 else values.ravel()

    def dense(self, weights: Any, biases: Any, where: str, trainable: bool = True) -> None:
        """Append a layer: weights (n_out, n_in), and biases (n_out,) or None; frozen where it is not trainable."""
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
        self._dtype = weights.dtype
        parameters = (self._behind_outputs if self.begun else self._of_columns)(weights, biases)
        self._layers.append(_Layer(*parameters, trainable=trainable))

    def _behind_outputs(self, weights: np.ndarray, biases: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return a layer's parameters, with the scaling of the outputs before it folded in."""
        last = self._layers[-1]
        if last.activation is None:
            last.fold()
        if last.offset is not None:
            by_unit = weights @ np.broadcast_to(last.offset, weights.shape[1])
            biases = by_unit if biases is None else biases + by_unit
        if last.factor is not None:
            weights = weights * last.factor
        last.factor = last.offset = None
        return weights, biases

    def _of_columns(self, weights: np.ndarray, biases: np.ndarray | None) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the first layer's parameters for all inputs, if it uses only some of them."""
        if self._columns is None:
            return weights, biases
        columns, n_in = self._columns

        def spread(values: np.ndarray, otherwise: float) -> np.ndarray:
            of_all = np.full((*values.shape[:-1], n_in), otherwise, values.dtype)
            of_all[..., columns] = values
            return of_all

        self._shift = None if self._shift is None else spread(self._shift, 0)
        self._scale = None if self._scale is None else spread(self._scale, 1)
        return spread(weights, 0), biases

    def activate(self, activation: Activation, where: str) -> None:
        """Give the last layer its activation; linear ones change nothing."""
        if activation.name == "linear":
            return
        if not self.begun:
            raise ValueError(f"{where} comes before the first layer")
        last = self._layers[-1]
        if last.activation is not None:
            name = last.activation.name
            raise ValueError(f"{where} follows another activation, {name}, with no layer between them")
        last.fold()
        last.activation = activation

    def model(self, loss: str | Loss | None = None, spec: Spec | None = None) -> MLP:
        """Return the network. A ``spec`` that describes this chain is used, since it has the loss and unrounded
        numbers."""
        if not self.begun:
            raise ValueError("there is no layer with weights")
        self._close(spec.loss if loss is None and spec is not None else loss)
        entries = self._entries()
        if spec is not None and _rounded(spec.to_list(), self.dtype) == _rounded(entries, self.dtype):
            entries = spec.to_list()
        if loss is not None:
            entries[-1]["cost"] = loss
        model = MLP(Spec.restored(entries), dtype=self.dtype)
        with np.errstate(over="ignore"):
            for layer, weights, biases in zip(self._layers, model.weights, model.biases, strict=True):
                weights[...] = layer.weights
                if layer.biases is not None:
                    biases[...] = layer.biases
        if not np.isfinite(model.params).all():
            raise ValueError(f"parameters with all that is folded into them are too large for {self.dtype}")
        return model

    def _close(self, loss: str | Loss | None) -> None:
        """Fold into the last layer what cannot be its shift and scale; a ValueError if it has an activation."""
        last = self._layers[-1]
        below = last.scaled and not np.all(np.asarray(last.factor) > 0)
        if last.activation is None:
            judge = default_loss(ACTIVATIONS["linear"]) if loss is None else get_loss(loss)
            if below or judge.classification or (judge.logarithmic and last.scaled):
                last.fold()
            elif judge.gaussian:
                shift = np.zeros(self.width) if last.offset is None else last.offset
                scale = np.ones(self.width) if last.factor is None else last.factor
                if not is_of_targets(shift, scale):
                    last.fold()
            return
        reason = f"by {np.min(np.asarray(last.factor)):g}, and the scale of a last layer is above 0" if below else ""
        if not last.activation.elementwise and (last.scaled or last.shifted):
            reason = "which are probabilities"
        if reason:
            raise ValueError(
                f"{last.behind} multiplies or adds to the outputs behind the last activation, {last.activation.name}, "
                f"{reason}"
            )

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
                    entry[layer.activation.traits.setting] = layer.activation.slope
            if layer.biases is None:
                entry["bias"] = False
            if not layer.trainable:
                entry["trainable"] = False
            entries.append(entry)
        last = self._layers[-1]
        if last.offset is not None and last.shifted:
            entries[-1]["shift"] = last.offset.tolist()
        if last.factor is not None and last.scaled:
            entries[-1]["scale"] = last.factor.tolist()
        return [first, *entries]


def _rounded(entries: list[dict[str, Any]], dtype: np.dtype) -> list[dict[str, Any]]:
    """Return a spec's list without its loss and what is frozen, and shift and scale that change nothing, all numbers
    rounded."""
    idle = {"shift": 0, "scale": 1}
    return [
        {
            key: np.asarray(value, dtype).tolist() if key in ("shift", "scale", "slope", "alpha") else value
            for key, value in entry.items()
            if key not in ("cost", "trainable") and (key not in idle or np.any(np.asarray(value, dtype) != idle[key]))
        }
        for entry in entries
    ]
