"""Gradients compared with differences of the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.checks import check_number
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
        The largest error that was allowed.
    """

    error: float
    layer: int
    errors: tuple[float, ...]
    tolerance: float

    def __bool__(self) -> bool:
        return self.error <= self.tolerance

    def __str__(self) -> str:
        verdict = "agree" if self else "DISAGREE"
        return f"gradients {verdict}: relative error {self.error:.2g} at worst, in layer {self.layer}"


def check_gradients(model: MLP, x: Any, y: Any, eps: float = 1e-6, tolerance: float = 1e-5) -> GradientCheck:
    """Compare `MLP.gradient` with central differences, layer by layer, in float64.

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

    Returns
    -------
    GradientCheck
        The result: ``error``, ``layer`` (the worst, counted from 1), ``errors`` of all layers; true if they agree.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, {"n": 2, "act": "softmax"}], seed=0)
    >>> bool(fastmlp.check_gradients(model, np.eye(3), [0, 1, 1]))
    True
    """
    check_model(model)
    check_number(eps, "eps", 0.0, open_low=True)
    check_number(tolerance, "tolerance", 0.0)
    double = MLP.__new__(MLP)
    double._build(model.spec, np.dtype(np.float64))
    double.params = model.params
    _, grad = double.gradient(x, y)
    numeric = np.empty_like(grad)
    for i, value in enumerate(double.params.copy()):
        step = eps * max(1.0, abs(value))
        sides = []
        for side in (value + step, value - step):
            double.params[i] = side
            sides.append(double.evaluate(x, y)["loss"])
        double.params[i] = value
        numeric[i] = (sides[0] - sides[1]) / (2 * step)
    errors = []
    starts = [place.w for place in double._places]
    for start, end in zip(starts, [*starts[1:], grad.size], strict=True):
        exact, estimate = grad[start:end], numeric[start:end]
        scale = np.linalg.norm(exact) + np.linalg.norm(estimate)
        errors.append(float(np.linalg.norm(exact - estimate) / scale) if scale > eps else 0.0)
    worst = max(range(len(errors)), key=errors.__getitem__)
    error = errors[worst] if all(map(math.isfinite, errors)) else math.inf
    return GradientCheck(error, worst + 1, tuple(errors), tolerance)
