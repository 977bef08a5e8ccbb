"""Standardisation: shift and scale of a network's input and last layer, from the rows that it is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..base.sparse import SparseRows
from ..engine.epochs import Samples
from ..spec import Spec

__all__ = ["Moments", "check_standardize", "moments_of", "pooled", "standardised", "standardised_by", "target_scaling"]

_TOGETHER = 1 << 20  # numbers looked at in one go, so that x is not copied
_CONSTANT = 8.0  # a deviation of so many units in the last place of the mean is rounding


class Moments(NamedTuple):
    """The weight of some rows, and their columns' means and standard deviations, float64 (n_columns,) each.

    Where numbers are missing, the weight is that of those that each column has, (n_columns,).
    """

    weight: float | np.ndarray
    mean: np.ndarray
    deviation: np.ndarray


def check_standardize(spec: Spec, trained: bool) -> None:
    """Raise a ValueError where standardize=True makes no sense: for a model that exists already, for a spec with a
    shift or scale, and for numbers that come from a bounded activation."""
    if trained:
        raise ValueError(
            "standardize=True is for new networks: the units of the given model cannot change under its weights; "
            "leave standardize out"
        )
    for i, layer in ((0, spec), (len(spec.layers), spec.layers[-1])):
        for key in ("shift", "scale"):
            if getattr(layer, key) is not None:
                raise ValueError(f"standardize=True, but spec[{i}] has a {key} of its own; give one of them")
    output, traits = spec.layers[-1].act, spec.layers[-1].act.traits
    if _has_numbers(spec) and traits.high < np.inf:
        raise ValueError(
            f"standardize=True gives targets a deviation of 1, and {output.name} outputs lie between {traits.low:g} "
            f"and {traits.high:g}; use act None in the last layer, or give it and the input shift and scale yourself"
        )


def standardised(spec: Spec, samples: Samples, rows: np.ndarray, dtype: np.dtype) -> Spec:
    """Return the spec with the shift and scale that give the inputs of these rows, and the targets of a regression,
    mean 0 and deviation 1, with training's weights.

    Sparse x is scaled, not shifted. A column that is constant up to the precision of ``dtype`` has scale 1.
    """
    of_x, of_y = moments_of(spec, samples, rows)
    return standardised_by(spec, of_x, of_y, dtype, sparse=isinstance(samples.x, SparseRows))


def moments_of(spec: Spec, samples: Samples, rows: np.ndarray) -> tuple[Moments, Moments | None]:
    """Moments of the inputs of some rows, and of their targets if these are numbers."""
    weights = None if samples.weights is None else samples.weights[rows]
    of_x = (_sparse_moments if isinstance(samples.x, SparseRows) else _moments)(samples.x, rows, weights)
    return of_x, _moments_of_measured(samples.y, rows, weights) if _has_numbers(spec) else None


def standardised_by(spec: Spec, of_x: Moments, of_y: Moments | None, dtype: np.dtype, *, sparse: bool = False) -> Spec:
    """The spec that `standardised` returns for samples with these moments."""
    _check_range(of_x, "x")
    of_input = {"scale": 1 / np.where(_varies(of_x, dtype), of_x.deviation, 1.0)}
    if not sparse:
        of_input["shift"] = of_x.mean
    return spec.with_scaling(of_input, {} if of_y is None else _target_scaling(spec, of_y, dtype))


def pooled(parts: Sequence[Moments]) -> Moments:
    """The moments of rows that are in several parts (Chan, Golub and LeVeque, 1979: variances add up with the squares
    of what the means are away from that of all)."""
    weights = np.array([np.broadcast_to(part.weight, part.mean.shape) for part in parts])
    total = weights.sum(axis=0)
    divisor = np.where(total > 0, total, 1.0)  # of a column without numbers
    means, deviations = np.array([part.mean for part in parts]), np.array([part.deviation for part in parts])
    with np.errstate(over="ignore", invalid="ignore"):  # what becomes of them is looked at
        mean = means[0] + (weights * (means - means[0])).sum(axis=0) / divisor
        variance = (weights * (deviations**2 + (means - mean) ** 2)).sum(axis=0) / divisor
        return Moments(total, mean, np.sqrt(variance))


def target_scaling(
    spec: Spec, y: np.ndarray, rows: np.ndarray, weights: np.ndarray | None, dtype: np.dtype
) -> dict[str, Any]:
    """Shift and scale for the last layer, by the targets (n_samples, n_out) of some rows and these rows' weights; none
    where the outputs are classes or labels."""
    return _target_scaling(spec, _moments_of_measured(y, rows, weights), dtype) if _has_numbers(spec) else {}


def _target_scaling(spec: Spec, moments: Moments, dtype: np.dtype) -> dict[str, Any]:
    """Shift and scale for the last layer, from the moments of targets.

    Under a loss of logarithms the shift is that of the mean; under gaussian_nll there is one for each target. A
    rectifier's outputs, which have an end at or near 0, are scaled by their root mean square and not shifted.
    """
    _check_range(moments, "y")
    _, mean, deviation = moments
    if spec.loss.logarithmic:
        return {"shift": np.log(np.where(mean > 0, mean, 1.0))}
    if _is_rectifier(spec):
        size = np.hypot(mean, deviation)
        return {"scale": np.where(size > np.finfo(dtype).tiny, size, 1.0)}
    targets = slice(spec.n_targets if spec.loss.gaussian else spec.n_out)
    return {"shift": mean[targets], "scale": np.where(_varies(moments, dtype), deviation, 1.0)[targets]}


def _has_numbers(spec: Spec) -> bool:
    """Whether the outputs are numbers, not classes or labels."""
    return not (spec.multilabel or spec.one_of_many)


def _is_rectifier(spec: Spec) -> bool:
    return spec.layers[-1].act.traits.rectifier


def _varies(moments: Moments, dtype: np.dtype) -> np.ndarray:
    """Whether columns vary by more than the rounding of a constant in that dtype."""
    limits = np.finfo(dtype)
    least = np.maximum(_CONSTANT * float(limits.eps) * np.abs(moments.mean), 4 * float(limits.tiny))
    return moments.deviation > least


def _check_range(moments: Moments, name: str) -> None:
    bad = ~(np.isfinite(moments.mean) & np.isfinite(moments.deviation))
    if bad.any():
        raise ValueError(
            f"standardize=True: column {int(np.argmax(bad))} of {name} is too large for a mean and deviation"
        )


def _moments(values: np.ndarray, rows: np.ndarray, weights: np.ndarray | None) -> Moments:
    """The moments of some rows, which are read twice, in blocks.

    Differences from the first row are added up, so that a constant column has a deviation of exactly 0.
    """
    weight = np.ones(len(rows)) if weights is None else weights
    origin = values[rows[0]].astype(np.float64)
    size = max(1, _TOGETHER // len(origin))

    def mean_of(power: int, center: np.ndarray) -> np.ndarray:
        total = np.zeros(len(origin))
        for start in range(0, len(rows), size):
            block = slice(start, start + size)
            differences = values[rows[block]].astype(np.float64) - origin - center
            total += np.add.reduce(differences**power * weight[block, None], axis=0)
        return total / weight.sum()

    with np.errstate(over="ignore", invalid="ignore"):  # what becomes of them is looked at
        center = mean_of(1, np.zeros(len(origin)))
        return Moments(float(weight.sum()), origin + center, np.sqrt(mean_of(2, center)))


def _moments_of_measured(y: np.ndarray, rows: np.ndarray, weights: np.ndarray | None) -> Moments:
    """The moments of targets (n_samples, n_out), of each output those that are not NaN: 0 where there are none."""
    if not np.isnan(y).any():
        return _moments(y, rows, weights)
    columns = []
    for column in y.T:
        measured = np.flatnonzero(~np.isnan(column[rows]))
        own = None if weights is None else weights[measured]
        none = Moments(0.0, np.zeros(1), np.zeros(1))
        columns.append(_moments(column[:, None], rows[measured], own) if len(measured) else none)
    return Moments(*(np.hstack(values) for values in zip(*columns, strict=True)))


def _sparse_moments(x: SparseRows, rows: np.ndarray, weights: np.ndarray | None) -> Moments:
    """The moments of some rows of a sparse matrix, read in blocks of about as many stored numbers.

    The variance that the rounding of the mean adds is subtracted: a constant column would have nothing else.
    """
    n_in, weight = x.shape[1], np.zeros(len(x))
    weight[rows] = 1.0 if weights is None else weights
    mean, stored, first, second = (np.zeros(n_in) for _ in range(4))
    with np.errstate(over="ignore", invalid="ignore"):
        for row, column, value in _stored(x):
            mean += np.bincount(column, weight[row] * value, n_in)
            stored += np.bincount(column, weight[row], n_in)
        mean /= weight.sum()
        for row, column, value in _stored(x):
            difference = value - mean[column]
            first += np.bincount(column, weight[row] * difference, n_in)
            second += np.bincount(column, weight[row] * difference**2, n_in)
        zeros = np.maximum(weight.sum() - stored, 0.0)
        first, second = (first - zeros * mean) / weight.sum(), (second + zeros * mean**2) / weight.sum()
        return Moments(float(weight.sum()), mean + first, np.sqrt(np.maximum(second - first**2, 0.0)))


def _stored(x: SparseRows) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield rows, columns and values of a sparse matrix, in blocks of rows, each place once."""
    n_in, ends = x.shape[1], np.arange(_TOGETHER, int(x.indptr[-1]), _TOGETHER)
    edges = np.unique([0, *np.searchsorted(x.indptr, ends), len(x)])
    for first, last in pairwise(edges.tolist()):
        part = slice(int(x.indptr[first]), int(x.indptr[last]))
        rows = np.repeat(np.arange(first, last), np.diff(x.indptr[first : last + 1]))
        places, values = rows * n_in + x.indices[part], x.data[part].astype(np.float64)
        if np.any(np.diff(places) <= 0):
            places, which = np.unique(places, return_inverse=True)
            values = np.bincount(which, values, len(places)).astype(np.float64)
        yield places // n_in, places % n_in, values
