"""A network in integers: 8 bits for inputs, weights and activations, 32 for sums, calibrated on rows of data.

A number is ``scale * (q - zero)``. A layer's sums are integers, with one scale for each unit; a multiplication by a
32-bit number and a shift reduce them to eight bits, and an activation is a table of 256 numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..activations import Activation
from ..model.mlp import MLP
from ..spec import Spec

__all__ = ["Integers", "gives_scores"]

_BLOCK = 1024  # rows that are looked at together
_LOWEST, _HIGHEST, _STEPS = -128, 127, 255


@dataclass
class _Layer:
    weights: np.ndarray  # int8 (n_out, n_in)
    biases: np.ndarray  # int32 (n_out,)
    multipliers: np.ndarray  # int32 (n_out,), from 2³⁰ to 2³¹
    shifts: np.ndarray  # uint8 (n_out,)
    table: np.ndarray | None  # int8 (256,): the activation of -128, -127, …; None where there is none

    def __call__(self, q: np.ndarray) -> np.ndarray:
        """Return what the C code computes, int64 (n, n_out), from int64 (n, n_in)."""
        sums = q @ self.weights.T.astype(np.int64) + self.biases
        halves = np.left_shift(np.int64(1), self.shifts.astype(np.int64) - 1)
        z = np.clip((sums * self.multipliers + halves) >> self.shifts.astype(np.int64), _LOWEST, _HIGHEST)
        return z if self.table is None else self.table.astype(np.int64)[z - _LOWEST]


class Integers:
    """The layers of a network in integers.

    Attributes
    ----------
    layers : list of _Layer
    x_scales, x_zeros, out_scales, out_zeros : ndarray, float64, (n_in,) or (n_out,)
    error : float
        The largest difference between an output and the network's, over all rows.
    """

    def __init__(self, model: MLP, rows: np.ndarray) -> None:
        spec = model.spec
        for i, layer in enumerate(spec.layers[:-1], 1):
            if not layer.act.elementwise:
                raise ValueError(f"layer {i} is a softmax between layers, which has no form in 8-bit integers")
        self.layers: list[_Layer] = []
        ranges = _ranges(model, rows)
        low, high = ranges[0]
        scale = (high - low) / _STEPS
        constant = scale == 0
        scale = np.where(constant, 1.0, scale)
        offset = low - _LOWEST * scale  # the value of 0
        self.x_scales, self.x_zeros = scale, -offset / scale
        shift, factor = np.array(spec.shift or (0.0,)), np.array(spec.scale or (1.0,))
        offset = (np.where(constant, low, offset) - shift) * factor
        scale = np.where(constant, 0.0, scale * factor)  # what never changed counts as what it was
        for i, layer in enumerate(spec.layers):
            is_last = i == len(spec.layers) - 1
            is_linear = layer.act.name == "linear" or (is_last and gives_scores(spec))
            low, high = ranges[i + 1]
            if not is_linear:
                low, high = map(np.array, _where_it_bends(layer.act, float(low.min()), float(high.max())))
            elif not is_last or spec.one_of_many:
                low, high = low.min(), high.max()
            z_scale = np.broadcast_to(np.where(high > low, (high - low) / _STEPS, 1.0), layer.n)
            z_offset = np.broadcast_to(low, layer.n) - _LOWEST * z_scale
            weights = model.weights[i].astype(np.float64)
            biases = model.biases[i] + weights @ np.broadcast_to(offset, weights.shape[1])
            act = None if is_linear else layer.act
            made, scale, offset = _layer(weights * scale, biases, z_scale, z_offset, act)
            self.layers.append(made)
        shift, factor = spec.output_affine or (np.zeros(1), np.ones(1))
        self.out_scales = np.broadcast_to(scale * factor, spec.n_out)
        self.out_zeros = -np.broadcast_to(offset * factor + shift, spec.n_out) / self.out_scales
        self.error = self.error_on(model, rows)
        if not np.isfinite(self.error):
            raise ValueError(
                "the network's numbers on these samples are too far apart for 8 bits: their range is infinite"
            )

    def quantised(self, x: np.ndarray) -> np.ndarray:
        """Return rows as the integers that the C function takes, int8."""
        return np.clip(np.rint(x / self.x_scales + self.x_zeros), _LOWEST, _HIGHEST).astype(np.int8)

    def outputs(self, q: np.ndarray) -> np.ndarray:
        """Return the C function's outputs for integers, int8 (n, n_out)."""
        result = q.astype(np.int64)
        for layer in self.layers:
            result = layer(result)
        return result.astype(np.int8)

    def error_on(self, model: MLP, rows: np.ndarray) -> float:
        """Return the largest difference from the network's numbers, or scores."""
        largest = 0.0
        for x in _blocks(rows):
            values = self.out_scales * (self.outputs(self.quantised(x)) - self.out_zeros)
            largest = float(np.maximum(largest, np.abs(values - _outputs(model, x)).max()))  # NaN stays
        return largest


def _layer(
    weights: np.ndarray, biases: np.ndarray, z_scale: np.ndarray, z_offset: np.ndarray, act: Activation | None
) -> tuple[_Layer, np.ndarray, np.ndarray]:
    """Return a layer, and the scale and the value of 0 of its outputs.

    The weights contain the scale of its inputs, and the biases what the zero of its inputs adds; z_scale and z_offset,
    (n_out,), belong to the layer's z.
    """
    biases = biases - z_offset
    most = min(_HIGHEST, 2**30 // (-_LOWEST * weights.shape[1]))  # so that no sum of 32 bits overflows
    units = np.maximum(np.abs(weights).max(axis=1) / most, np.abs(biases) / (2**30 - 1))
    units = np.where(units > 0, units, z_scale)
    fractions, exponents = np.frexp(units / z_scale)
    multipliers = np.minimum(np.rint(fractions * 2.0**31), 2**31 - 1)
    shifts = 31 - exponents
    multipliers, shifts = np.where(shifts > 62, 0, multipliers), np.clip(shifts, 1, 62)
    table, scale, offset = None, z_scale, z_offset
    if act is not None:
        values = act(z_scale[0] * np.arange(_LOWEST, _HIGHEST + 1) + z_offset[0])
        low, high = values.min(), values.max()
        scale = np.array((high - low) / _STEPS if high > low else 1.0)
        offset = low - _LOWEST * scale
        table = np.rint((values - offset) / scale).astype(np.int8)
    made = _Layer(
        np.rint(weights / units[:, None]).astype(np.int8),
        np.rint(biases / units).astype(np.int32),
        multipliers.astype(np.int32),
        shifts.astype(np.uint8),
        table,
    )
    return made, scale, offset


def gives_scores(spec: Spec) -> bool:
    """Whether the outputs are the inputs of a last softmax or sigmoid, not its probabilities."""
    return spec.layers[-1].act.name in ("softmax", "sigmoid") and spec.output_affine is None


def _outputs(model: MLP, x: np.ndarray) -> np.ndarray:
    """Return a network's outputs; for a last softmax or sigmoid its inputs."""
    return np.asarray(model.forward(x)[0][-1] if gives_scores(model.spec) else model.predict(x), np.float64)


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), _BLOCK):
        yield np.asarray(rows[start : start + _BLOCK], np.float64)


def _ranges(model: MLP, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the smallest and the largest number of every input, and of every unit's z, layer by layer."""
    ranges: list[tuple[np.ndarray, np.ndarray]] = []
    for x in _blocks(rows):
        arrays = [x, *(np.asarray(z, np.float64) for z in model.forward(x)[0])]
        found = [(array.min(axis=0), array.max(axis=0)) for array in arrays]
        if ranges:
            found = [(np.minimum(a, c), np.maximum(b, d)) for (a, b), (c, d) in zip(ranges, found, strict=True)]
        ranges = found
    return ranges


def _where_it_bends(act: Activation, low: float, high: float) -> tuple[float, float]:
    """Cut off the ends of a range of z on which an activation changes by less than half a step."""
    z = np.linspace(low, high, 4096)
    values = act(z)
    half = (values.max() - values.min()) / _STEPS / 2
    same_low, same_high = np.abs(values - values[0]) <= half, np.abs(values - values[-1]) <= half
    if same_low.all() or same_high.all():
        return low, high
    first, last = int(np.argmin(same_low)) - 1, len(z) - int(np.argmin(same_high[::-1]))
    return (float(z[first]), float(z[last])) if first < last else (low, high)
