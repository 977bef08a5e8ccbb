"""Gradients held against differences of the loss, and Hessians against differences of the gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import reference
from ..base.checks import check_count, check_number
from ..base.sparse import SparseRows
from .data import check_x, check_y
from .mlp import MLP, check_model

__all__ = ["GradientCheck", "check_gradients"]


@dataclass(frozen=True)
class GradientCheck:
    """The result of `check_gradients`, which is true if the largest error is within the tolerance.

    Attributes
    ----------
    error : float
        The largest relative error of a layer.
    layer : int
        The layer with that error, counted from 1.
    errors : tuple of float
        The relative error of each layer.
    tolerance : float
        The error that was allowed.
    skipped : int
        How many samples were left out, because they lie at a kink.
    """

    error: float
    layer: int
    errors: tuple[float, ...]
    tolerance: float
    skipped: int = 0

    def __bool__(self) -> bool:
        return self.error <= self.tolerance

    def __str__(self) -> str:
        verdict = "agree" if self else "DISAGREE"
        skipped = f"; {self.skipped} samples at a kink were left out" if self.skipped else ""
        return f"gradients {verdict}: relative error {self.error:.2g} at worst, in layer {self.layer}{skipped}"


def check_gradients(
    model: MLP,
    x: Any,
    y: Any,
    eps: float = 1e-6,
    tolerance: float = 1e-5,
    *,
    order: int = 1,
    output_weight: Any = None,
) -> GradientCheck:
    """Compare `MLP.gradient` with central differences of the loss, or `MLP.hessian` with those of the gradient.

    This is done in float64, for each layer that is not frozen.

    Parameters
    ----------
    model : MLP
        A network of any dtype; a float64 copy of it is checked.
    x, y : arrays
        A few samples: each parameter costs two passes over them.
    eps : float
        Step of the differences, relative to a parameter's size if that is above one.
    tolerance : float
        Largest relative error, |g - g'| / (|g| + |g'|) in the norm of a layer, that still counts as agreement.
    order : 1 or 2
        Which derivatives are compared. With 2, the rows of the Hessian that belong to a layer are. Samples that a step
        moves across a kink of an activation or the loss are then left out and counted: differences say nothing there.
    output_weight : array, (n_out,), optional
        How much each output counts in the loss, as in `fastmlp.train`.

    Returns
    -------
    GradientCheck
        With ``error``, ``layer`` (the worst, from 1) and ``errors`` of all layers, and how many samples were
        ``skipped``; true when they agree.

    Raises
    ------
    ValueError
        Where all samples lie at a kink, and for bad input.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, {"n": 2, "act": "softmax"}], seed=0)
    >>> bool(fastmlp.check_gradients(model, np.eye(3), [0, 1, 1]))
    True
    >>> bool(fastmlp.check_gradients(model, np.eye(3), [0, 1, 1], order=2))
    True
    """
    check_model(model)
    check_number(eps, "eps", 0.0, open_low=True)
    check_number(tolerance, "tolerance", 0.0)
    if check_count(order, "order") > 2:
        raise ValueError(f"order must be 1 or 2, got {order}")
    double = MLP.__new__(MLP)
    double._build(model.spec, np.dtype(np.float64))
    double.params = model.params
    skipped = 0
    if order == 1:
        derivatives = double.gradient(x, y, output_weight=output_weight)[1]
        numeric = _differences(double, eps, lambda: double.evaluate(x, y, output_weight=output_weight)["loss"])
    else:
        x = check_x(x, model.spec.n_in, double.dtype, names=model._names)
        x = x.toarray() if isinstance(x, SparseRows) else x
        y = check_y(y, model.spec, x.shape[0], double.dtype, names=model._names)
        kept = _away_from_kinks(double, x, y, eps)
        x, y, skipped = x[kept], y[kept], len(kept) - int(kept.sum())
        derivatives = double.hessian(x, y, output_weight=output_weight)
        numeric = _differences(double, eps, lambda: double.gradient(x, y, output_weight=output_weight)[1])
    errors = []
    starts = [place.w for place in double._places]
    for start, end in zip(starts, [*starts[1:], len(derivatives)], strict=True):
        exact, estimate = derivatives[start:end], numeric[start:end]
        scale = np.linalg.norm(exact) + np.linalg.norm(estimate)
        errors.append(float(np.linalg.norm(exact - estimate) / scale) if scale > eps else 0.0)
    worst = max(range(len(errors)), key=errors.__getitem__)
    error = errors[worst] if all(map(math.isfinite, errors)) else math.inf
    return GradientCheck(error, worst + 1, tuple(errors), tolerance, skipped)


def _steps(model: MLP, eps: float) -> Iterator[tuple[int, float]]:
    """Move each parameter that is not frozen up and down, and back in the end; (number, step) at each side."""
    for i in np.arange(model.params.size)[model.free]:
        value = model.params[i]
        step = eps * max(1.0, abs(value))
        for side in (step, -step):
            model.params[i] = value + side
            yield i, side
        model.params[i] = value


def _differences(model: MLP, eps: float, function: Callable[[], Any]) -> np.ndarray:
    """The derivatives of a function's value by each parameter, (n_params, …), by central differences."""
    sums = np.zeros((model.params.size, *np.shape(function())))
    for i, side in _steps(model, eps):
        sums[i] += function() / (2 * side)
    return sums


def _away_from_kinks(model: MLP, x: Any, y: np.ndarray, eps: float) -> np.ndarray:
    """Whether no step of a parameter moves a sample across a kink, (n_samples,); ValueError where each sample is."""
    targets = reference.targets(model.spec, y[:, :: model.spec.n_out // model.spec.n_targets] if y.ndim == 2 else y)
    pieces, kept = _pieces(model, x, targets), np.ones(x.shape[0], bool)
    for _ in _steps(model, eps):
        for before, after in zip(pieces, _pieces(model, x, targets), strict=True):
            kept &= (before == after).all(axis=1)
    if not kept.any():
        raise ValueError("all samples of x lie at a kink of an activation or of the loss; give others")
    return kept


def _pieces(model: MLP, x: Any, targets: np.ndarray) -> list[np.ndarray]:
    """Between which kinks the units of each layer are, and the loss, (n_samples, n) each."""
    zs, activations = model.forward(x)
    loss, a = model.spec.loss, activations[-1]
    errors = (a[:, :, None] - a[:, None, :]).reshape(len(a), -1) if loss.rowwise else a - targets
    pieces = [np.digitize(z, layer.act.traits.kinks) for layer, z in zip(model.spec.layers, zs, strict=True)]
    return [*pieces, np.digitize(errors, loss.kinks)]
