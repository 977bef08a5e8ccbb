"""The memory that a running kernel needs, and the records that describe it (kernels/layout.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..kernels.layout import JOB, LAYER, Place, aligned, padded

__all__ = ["Functions", "Parameters", "Workspace", "words"]

_ROWS = "z", "a", "d", "delta", "scaled"  # of a layer, ``block`` of each
_MORE = 64  # numbers behind the end of a list that kernels may write to


class Functions(NamedTuple):
    """Addresses of the functions that a network's layers call: one a layer, and those of kernels/linear.py by name."""

    activations: Sequence[int]
    slopes: Sequence[float]
    softmax_backwards: Sequence[int]
    linear: Mapping[str, int]


class Parameters:
    """The parameters as kernels see them, with their gradient and an optimiser's state at fixed distances behind.

    Several threads may share one of these; then only one of them packs and unpacks.

    Attributes
    ----------
    in_place : bool
        Whether kernels work on the flat vector itself.
    size : int
        How many numbers one padded copy takes.
    start : int
        The address from which ``offsets``, pairs of bytes to each layer's weights and biases, count.
    gradient : int
        The distance of the gradient.
    states : ndarray of int64
        The distances of the optimiser's vectors of state.
    flat_states : ndarray of int64
        Their addresses as flat vectors.
    """

    def __init__(self, places: Sequence[Place], params: np.ndarray, states: Sequence[np.ndarray] = ()) -> None:
        item = params.itemsize
        lengths = [*(place.n_out for place in places[:-1]), places[-1].shape[1]]
        self.in_place = all(n == padded(n, item) for n in lengths)
        self._alive = params, states
        self.offsets = [(place.w * item, place.b * item) for place in places]
        used = params.size
        if not self.in_place:
            self.offsets, used = [], 0
            for place in places:
                rows, columns = place.shape
                size = rows * padded(columns, item)
                self.offsets.append((used * item, (used + size) * item))
                used += size + padded(place.n_out, item)
        self.size = size = padded(used, item) + padded(1, item)  # kernels may read a line beyond the end
        self._memory = aligned(size * (1 if self.in_place else 2 + len(states)), params.dtype)
        start = self._memory.ctypes.data
        self.flat_states = np.array([state.ctypes.data for state in states], np.int64)
        if self.in_place:
            self.start = params.ctypes.data
            self.gradient, self.states = start - self.start, self.flat_states - self.start
        else:
            self.start = start
            self.gradient, self.states = size * item, (np.arange(len(states)) + 2) * (size * item)

    def extra_gradient(self) -> tuple[np.ndarray, int]:
        """Memory for another gradient, and its distance. Keep the memory as long as the distance is used."""
        memory = aligned(self.size, self._memory.dtype)
        return memory, memory.ctypes.data - self.start


class Workspace:
    """The memory of one running kernel for ``block`` samples.

    Attributes
    ----------
    job : ndarray of JOB, ()
        Its records ``workspace`` and ``linear`` are filled in; the others are for whoever runs the kernel.
    layers : ndarray of LAYER, (n_layers,)
    """

    def __init__(
        self, places: Sequence[Place], block: int, parameters: Parameters, dtype: np.dtype, functions: Functions
    ) -> None:
        item, n_in = dtype.itemsize, places[0].n_in
        row = {n: padded(n, item) for place in places for n in place[:2]}
        widest = max(padded(block, item), *row.values())
        used = 0

        def take(count: int) -> int:
            nonlocal used
            used += count * item
            return used - count * item

        self._parameters = parameters
        self.layers, self.job = np.zeros(len(places), LAYER), np.zeros((), JOB)
        own = self.job["workspace"]
        own["zeros"], own["ones"] = take(widest), take(padded(block, item))
        own["targets"], own["gram"] = take(block * row[places[-1].n_out]), take(block * padded(block, item))
        below = below_d = take(block * row[n_in])
        for layer, place in zip(self.layers, places, strict=True):
            layer["input"], layer["below_d"] = below, below_d
            for name in _ROWS:
                layer[name] = take(block * row[place.n_out])
            below, below_d = layer["a"], layer["d"]
        self._memory = aligned(used // item, dtype)
        for name in ("zeros", "ones", "targets", "gram"):
            own[name] += self._memory.ctypes.data
        for name in ("input", "below_d", *_ROWS):
            self.layers[name] += self._memory.ctypes.data
        self.rows_at(int(own["ones"]), 1, padded(block, item))[...] = 1
        self._describe_layers(places, row, item, functions)
        self._index, self._slots = np.zeros(n_in + _MORE, np.int64), np.full(n_in, -1)
        self._identity = np.arange(max(block, *row))
        own["index"], own["slots"] = self._index.ctypes.data, self._slots.ctypes.data
        own["identity"], own["gram_row"] = self._identity.ctypes.data, padded(block, item) * item
        own["n_layers"], own["layers"] = len(places), self.layers.ctypes.data
        own["n_params"] = sum(place.n_out * (place.n_in + place.has_biases) for place in places)
        own["in_place"], own["gradient"] = parameters.in_place, parameters.gradient
        own["n_states"], own["states"] = len(parameters.states), parameters.states.ctypes.data
        own["flat_states"] = parameters.flat_states.ctypes.data
        for name, address in functions.linear.items():
            self.job["linear"][name] = address
        self._data, self._call, self._step = (words(self.job[name]) for name in ("data", "call", "step"))

    def take(self, data: np.ndarray, call: np.ndarray, step: np.ndarray) -> None:
        """Fill in the words of the records that say what is to be done next."""
        self._data[:], self._call[:], self._step[:] = data, call, step

    def _describe_layers(
        self, places: Sequence[Place], row: Mapping[int, int], item: int, functions: Functions
    ) -> None:
        """Write all of the layers' records but the rows' addresses."""
        zeros, start = self.job["workspace"]["zeros"], self._parameters.start
        self._alive = [np.zeros(place.n_in + _MORE, np.int64) for place in places[1:]]
        self.layers["alive"][1:] = [vector.ctypes.data for vector in self._alive]
        self.layers["activation"], self.layers["slope"] = functions.activations, functions.slopes
        self.layers["softmax_backward"] = functions.softmax_backwards
        for layer, place, (w, b) in zip(self.layers, places, self._parameters.offsets, strict=True):
            rows, columns = place.shape
            layer["n_in"], layer["n_out"], layer["has_biases"] = place.n_in, place.n_out, place.has_biases
            layer["by_inputs"], layer["w_rows"], layer["w_columns"] = place.by_inputs, rows, columns
            layer["in_row"], layer["out_row"] = row[place.n_in] * item, row[place.n_out] * item
            layer["w_row"], layer["flat_w"], layer["flat_b"] = row[columns] * item, place.w * item, place.b * item
            layer["w"], layer["b"] = start + w, start + b if place.has_biases else zeros

    def rows_at(self, address: int, count: int, n: int) -> np.ndarray:
        """``count`` rows of n numbers that stand at an address of a layer's record, as a view."""
        stride = padded(n, self._memory.itemsize)
        start = (address - self._memory.ctypes.data) // self._memory.itemsize
        return self._memory[start : start + count * stride].reshape(count, stride)[:, :n]


def words(record: np.ndarray) -> np.ndarray:
    """The memory of a record of 64-bit fields as int64 numbers: these are copied in no time, records are not."""
    return np.ndarray(record.nbytes // 8, np.int64, record)
