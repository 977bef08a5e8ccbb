"""The registry of losses: value and derivative for one sample, and the outputs each one fits.

The kernels compile the scalar functions of this registry, the reference calls them on arrays: the rules of
activations.py hold here too. Losses that look at a whole row of outputs (cross_entropy on softmax, hinge) or that
are computed from pre-activations say so by ``fused`` and ``rowwise``; their arithmetic is in kernels/losses.py
and, independently, in reference.py. Under poisson the network's output is the logarithm of the expected count, and the
loss half the Poisson deviance. Under quantile it is the levels that the loss has whose quantiles the outputs are. Under
gaussian_nll the outputs are the means of all targets, then the logarithms of all variances.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from .activations import Activation
from .base.checks import check_number
from .base.pages import CHOOSE_A_LOSS
from .base.suggest import lookup

__all__ = ["LOSSES", "Loss", "Quantile"]

_TINY = 1e-30  # a positive number of either dtype, in place of 0 where it does not matter


@dataclass(frozen=True, repr=False)
class Loss:
    """A loss: for one sample, the sum over the outputs of ``function(y_hat, y)``; for a batch, the mean of those.

    Parameters
    ----------
    name : str
        The name in the spec, the printed table and the files.
    function : callable
        Loss of one output, ``L(y_hat, y)``. For a custom loss, a scalar function under ``numba.njit``.
    derivative : callable
        ``dL/dy_hat``, of the same kind.
    second_derivative : callable, optional
        ``d²L/dy_hat²``, of the same kind.

    Examples
    --------
    >>> import fastmlp, numba
    >>> @numba.njit
    ... def quartic(y_hat, y):
    ...     return (y_hat - y) ** 4
    >>> @numba.njit
    ... def d_quartic(y_hat, y):
    ...     return 4.0 * (y_hat - y) ** 3
    >>> fastmlp.Loss("quartic", quartic, d_quartic)
    <fastmlp loss 'quartic'>
    """

    name: str
    function: Callable[..., Any]
    derivative: Callable[..., Any]
    second_derivative: Callable[..., Any] | None = None
    builtin: bool = field(default=False, kw_only=True)
    rowwise: bool = field(default=False, kw_only=True)  # not a sum over single outputs
    classification: bool = field(default=False, kw_only=True)
    fused: tuple[str, ...] = field(default=(), kw_only=True)  # output activations with delta from z at once
    lowest_target: float = field(default=-math.inf, kw_only=True)  # what y may be, at least
    logarithmic: bool = field(default=False, kw_only=True)  # y_hat is the logarithm of what y is expected to be
    levels: tuple[float, ...] = field(default=(), kw_only=True)  # a target has an output for each of them, if any
    gaussian: bool = field(default=False, kw_only=True)  # outputs: all targets' means, then logarithms of variances
    kinks: tuple[float, ...] = field(default=(), kw_only=True)  # y_hat - y where a derivative jumps, ascending
    refusal: Callable[[Activation], str] = field(default=lambda output: "", kw_only=True)
    refusal_of_one: str = field(default="", kw_only=True)  # what is wrong with a single output

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise TypeError(f"Loss: name must be a non-empty string, got {self.name!r}")
        formulas = {"function": self.function, "derivative": self.derivative}
        if self.second_derivative is not None:
            formulas["second_derivative"] = self.second_derivative
        for role, function in formulas.items():
            if not callable(function):
                raise TypeError(f"Loss {self.name!r}: {role} must be callable, got {type(function).__name__}")
            if not self.builtin and not hasattr(function, "py_func"):
                raise TypeError(f"Loss {self.name!r}: {role} must be a scalar numba.njit function")

    @property
    def required_second_derivative(self) -> Callable[..., Any]:
        """The formula of d²L/dy_hat²; ValueError for a loss that has none."""
        if self.second_derivative is None:
            remedy = "give one: fastmlp.Loss(name, function, derivative, second_derivative)"
            if self.builtin:
                remedy = "those of a mean and a variance depend on each other; take mse, or a loss of single outputs"
            raise ValueError(f"loss {self.name!r} has no second derivative; {remedy}")
        return self.second_derivative

    @cached_property
    def any_target(self) -> bool:
        """Whether y may hold any finite numbers, and a y that is not finite makes the loss so, too."""
        return self.builtin and not self.classification and self.lowest_target == -math.inf

    @property
    def outputs_per_target(self) -> int:
        """How many outputs the network has for each column of y."""
        return 2 if self.gaussian else max(1, len(self.levels))

    def for_outputs(self, targets: np.ndarray) -> np.ndarray:
        """Columns of targets, (…, n_targets), as outputs are compared with them, (…, n_out)."""
        if self.gaussian:
            return np.concatenate([targets, targets], axis=-1)
        return np.repeat(targets, self.outputs_per_target, axis=-1) if self.levels else targets

    def check_output(self, output: Activation, n_out: int) -> None:
        """Raise ValueError when this loss makes no sense on ``n_out`` outputs of that activation."""
        reason = self.refusal(output)
        if reason:
            raise ValueError(f"cost: {self.name} does not fit a {output.name} output: {reason}; {CHOOSE_A_LOSS}")
        if n_out == 1 and output.name == "softmax":
            raise ValueError("softmax of one output is always 1; use sigmoid, or n: 2")
        if n_out == 1 and self.refusal_of_one:
            raise ValueError(f"cost: {self.name} of one output {self.refusal_of_one}")
        n = self.outputs_per_target
        if n_out % n:
            which = "a mean and the logarithm of a variance" if self.gaussian else "one a level"
            raise ValueError(
                f"cost: {self.name} has {n} outputs for each target, {which}, the network has {n_out}; give the "
                f'last layer {{"n": {n}}}'
            )

    def __repr__(self) -> str:
        return f"<fastmlp loss {self.name!r}>"

    def __reduce__(self) -> Any:
        if self.builtin:
            return get_loss, (self.name,)
        return Loss, (self.name, self.function, self.derivative, self.second_derivative)


def _mse(y_hat, y):
    return 0.5 * (y_hat - y) * (y_hat - y)


def _d_mse(y_hat, y):
    return y_hat - y


def _dd_mse(y_hat, y):
    return np.where(y_hat >= y, 1.0, 1.0)


def _flat(y_hat, y):
    """The second derivative of a loss that is piecewise linear in y_hat: 0."""
    return np.where(y_hat >= y, 0.0, 0.0)


def _mae(y_hat, y):
    return np.abs(y_hat - y)


def _d_mae(y_hat, y):
    return np.sign(y_hat - y)


def _mbe(y_hat, y):
    return y - y_hat


def _d_mbe(y_hat, y):
    return np.where(y_hat >= y, -1.0, -1.0)


def _huber(y_hat, y):
    e = np.abs(y_hat - y)
    return np.where(e <= 1.0, 0.5 * e * e, e - 0.5)


def _d_huber(y_hat, y):
    return np.minimum(np.maximum(y_hat - y, -1.0), 1.0)


def _dd_huber(y_hat, y):
    return np.where(np.abs(y_hat - y) <= 1.0, 1.0, 0.0)


def _poisson(y_hat, y):
    logarithm = np.log(np.maximum(y, _TINY))
    return np.exp(y_hat) - y * y_hat + np.where(y > 0.0, y * logarithm - y, 0.0)


def _d_poisson(y_hat, y):
    return np.exp(y_hat) - y


def _dd_poisson(y_hat, y):
    return np.exp(y_hat)


def _pinball(y_hat, y, level):
    return level * (y - y_hat) + np.maximum(y_hat - y, 0.0)


def _d_pinball(y_hat, y, level):
    return 0.5 * np.sign(y_hat - y) + 0.5 - level


def _over_deviation(e, log_variance):
    """e / σ, which is 0 where e is, whatever σ."""
    root = np.exp(-0.25 * log_variance)
    return np.where(e == 0.0, 0.0, e * root * root)


def _half_deviation(mean, log_variance, y):
    """(y − μ) / 2σ: halves have a difference where that of large numbers would be infinite."""
    return _over_deviation(0.5 * y - 0.5 * mean, log_variance)


def _gaussian(mean, log_variance, y):
    half = _half_deviation(mean, log_variance, y)
    return 0.5 * log_variance + 2.0 * half * half


def _d_gaussian_by_mean(mean, log_variance, y):
    return -2.0 * _over_deviation(_half_deviation(mean, log_variance, y), log_variance)


def _d_gaussian_by_log_variance(mean, log_variance, y):
    half = _half_deviation(mean, log_variance, y)
    return 0.5 - 2.0 * half * half


def _gaussian_nll(y_hat, y):
    """Negative log-likelihood of rows, without ½ log 2π. Outputs are means, then logarithms of variances; y has each
    target twice. Nix and Weigend, "Estimating the mean and variance of the target probability distribution", ICNN 1994.
    """
    mean, log_variance = np.split(y_hat, 2, axis=-1)
    return np.sum(_gaussian(mean, log_variance, y[..., : mean.shape[-1]]), axis=-1)


def _d_gaussian_nll(y_hat, y):
    mean, log_variance = np.split(y_hat, 2, axis=-1)
    y = y[..., : mean.shape[-1]]
    parts = _d_gaussian_by_mean(mean, log_variance, y), _d_gaussian_by_log_variance(mean, log_variance, y)
    return np.concatenate(parts, axis=-1)


def _cross_entropy(y_hat, y):
    return -y * np.log(y_hat)


def _d_cross_entropy(y_hat, y):
    return -y / y_hat


def _dd_cross_entropy(y_hat, y):
    return y / (y_hat * y_hat)


def _bce(y_hat, y):
    return -y * np.log(y_hat) - (1.0 - y) * np.log1p(-y_hat)


def _d_bce(y_hat, y):
    return (y_hat - y) / (y_hat * (1.0 - y_hat))


def _dd_bce(y_hat, y):
    return y / (y_hat * y_hat) + (1.0 - y) / ((1.0 - y_hat) * (1.0 - y_hat))


def _hinge(scores, y):
    """The multi-class hinge loss of rows of scores; a soft y gives its expectation over the classes."""
    margins = np.maximum(0.0, scores[..., None, :] - scores[..., :, None] + 1.0)
    return np.sum(y * (np.sum(margins, axis=-1) - 1.0), axis=-1)


def _d_hinge(scores, y):
    active = (scores[..., None, :] - scores[..., :, None] + 1.0 > 0.0) * 1.0
    active[..., np.arange(scores.shape[-1]), np.arange(scores.shape[-1])] = 0.0
    return np.einsum("...c,...cj->...j", y, active) - y * np.sum(active, axis=-1)


def _only_probabilities(output: Activation) -> str:
    if output.name in ("softmax", "sigmoid"):
        return ""
    return "it takes the logarithm of the output, which must lie in (0, 1); use softmax or sigmoid"


def _only_sigmoid(output: Activation) -> str:
    if output.name == "sigmoid":
        return ""
    if output.name == "softmax":
        return "bce judges every output as a label of its own, softmax outputs compete; use cross_entropy"
    return "it takes the logarithms of y_hat and 1 - y_hat, which must lie in (0, 1); use sigmoid"


def _unbounded(what: str) -> Callable[[Activation], str]:
    def refusal(output: Activation) -> str:
        if output.traits.low == -math.inf and not output.traits.rectifier:
            return ""
        return f"{what}, which may be any number; use linear"

    return refusal


def _room_for_margin(output: Activation) -> str:
    if output.traits.high - output.traits.low > 1.0:
        return ""
    return "its scores are never more than 1 apart, so the margin of 1 is out of reach; use linear"


def Quantile(levels: float | Iterable[float]) -> Loss:
    """The pinball loss, by which outputs become quantiles of y: level · (y − ŷ) above, (1 − level) · (ŷ − y) below.

    Half the samples lie below the prediction at level 0.5, the median, and a tenth of them above that at 0.9. So [0.1,
    0.5, 0.9] gives a prediction and an interval that contains y four times in five. Each target has an output for each
    level: with y (n_samples, n_targets) the last layer has n_targets · n_levels outputs, target by target.

    Koenker and Bassett, "Regression quantiles", Econometrica 46 (1978).

    Parameters
    ----------
    levels : float, or list of float
        Between 0 and 1, ascending.

    Returns
    -------
    Loss
        The loss. Its name, "quantile(0.1, 0.5, 0.9)", can be given as ``cost`` or ``loss`` instead.

    Raises
    ------
    TypeError, ValueError
        For levels that are not such numbers.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> from fastmlp.losses import Quantile
    >>> y = np.random.default_rng(0).exponential(size=2000)
    >>> spec = [{"n": 1, "act": None}, {"n": 3, "act": "linear", "cost": Quantile([0.1, 0.5, 0.9])}]
    >>> model, history = fastmlp.train(np.zeros((2000, 1)), y, spec, epochs=20, batch_size=20, optimizer="adam")
    >>> [float((y < quantile).mean().round(1)) for quantile in model.predict([[0.0]])[0]]
    [0.1, 0.5, 0.9]
    """
    one_by_one = levels if isinstance(levels, Iterable) and not isinstance(levels, (str, bytes)) else [levels]
    numbers = tuple(check_number(level, "levels", 0.0, 1.0, open_low=True) for level in one_by_one)
    if not numbers:
        raise ValueError("levels is empty: give at least one, such as 0.5 for the median")
    if any(low >= high for low, high in pairwise(numbers)):
        raise ValueError(f"levels must ascend, got {', '.join(map(str, numbers))}")
    return _quantile(numbers)


@cache  # so that equal ones are one
def _quantile(levels: tuple[float, ...]) -> Loss:
    def of_columns(y_hat: Any) -> np.ndarray:
        return np.resize(levels, np.shape(y_hat)[-1])

    return Loss(
        f"quantile({', '.join(map(repr, levels))})",
        lambda y_hat, y: _pinball(y_hat, y, of_columns(y_hat)),
        lambda y_hat, y: _d_pinball(y_hat, y, of_columns(y_hat)),
        _flat,
        builtin=True,
        kinks=(0.0,),
        levels=levels,
    )


LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss(
            "cross_entropy",
            _cross_entropy,
            _d_cross_entropy,
            _dd_cross_entropy,
            builtin=True,
            classification=True,
            fused=("softmax", "sigmoid"),
            refusal=_only_probabilities,
            refusal_of_one="never counts against class 1; use bce, or softmax and n: 2",
        ),
        Loss(
            "bce", _bce, _d_bce, _dd_bce, builtin=True, classification=True, fused=("sigmoid",), refusal=_only_sigmoid
        ),
        Loss("mse", _mse, _d_mse, _dd_mse, builtin=True),
        Loss("mae", _mae, _d_mae, _flat, builtin=True, kinks=(0.0,)),
        Loss("mbe", _mbe, _d_mbe, _flat, builtin=True),
        Loss(
            "hinge",
            _hinge,
            _d_hinge,
            _flat,
            builtin=True,
            kinks=(-1.0, 1.0),  # of the difference of two scores
            rowwise=True,
            classification=True,
            refusal=_room_for_margin,
            refusal_of_one="is always 0, it compares classes; use sigmoid, or n: 2",
        ),
        Loss("huber", _huber, _d_huber, _dd_huber, builtin=True, kinks=(-1.0, 1.0)),
        Loss(
            "poisson",
            _poisson,
            _d_poisson,
            _dd_poisson,
            builtin=True,
            lowest_target=0.0,
            logarithmic=True,
            refusal=_unbounded("y_hat is the logarithm of the expected count"),
        ),
        Loss(
            "gaussian_nll",
            _gaussian_nll,
            _d_gaussian_nll,
            builtin=True,
            rowwise=True,
            gaussian=True,
            refusal=_unbounded("half of its outputs are logarithms of variances"),
        ),
        Quantile(0.5),
    )
}
"""Every loss by its name; `Quantile` has other levels."""
_ALIASES = {
    "ce": "cross_entropy",
    "binary_cross_entropy": "bce",
    "binary_crossentropy": "bce",
    "categorical_crossentropy": "cross_entropy",
    "gaussian_negative_log_likelihood": "gaussian_nll",
}


def get_loss(cost: Any, where: str = "cost") -> Loss:
    """Return the loss that a spec's ``cost`` or the argument ``loss`` means: a name, in either case, or a Loss."""
    if isinstance(cost, Loss):
        return cost
    if isinstance(cost, str) and (found := re.fullmatch(r"quantile\((.*)\)", cost.strip().lower())):
        try:
            return Quantile([float(level) for level in found[1].split(",")])
        except ValueError as error:
            raise ValueError(f"{where} is {cost!r}, which is not as in 'quantile(0.1, 0.5, 0.9)': {error}") from None
    return lookup(cost, LOSSES, _ALIASES, where, "fastmlp.Loss", "wrap it: fastmlp.Loss(name, function, derivative)")


def default_loss(output: Activation) -> Loss:
    """The loss of an output without one: softmax → cross_entropy, sigmoid → bce, anything else → mse."""
    return LOSSES[{"softmax": "cross_entropy", "sigmoid": "bce"}.get(output.name, "mse")]
