"""Initial weights. Biases start at 0, except with `Uniform` (the tutorial's), which draws them as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .activations import Activation
from .base.checks import check_choice, check_number
from .spec import Layer

__all__ = ["INITS", "Uniform"]

Shape = tuple[int, int]  # (n_out, n_in)
Rule = Callable[[Shape, Activation], "Distribution"]


@dataclass(frozen=True)
class Uniform:
    """Draws weights and biases from [low, high). ``Uniform(0, 0.001)`` is the tutorial's.

    Parameters
    ----------
    low, high : float
        The smallest possible number, and the one that all are below.

    Examples
    --------
    >>> import fastmlp
    >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "sigmoid"}], init=fastmlp.init.Uniform(0, 0.001))
    >>> bool(0 <= model.params.min() and model.params.max() < 0.001)
    True
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        low = check_number(self.low, "Uniform: low", -math.inf)
        check_number(self.high, "Uniform: high", low)


class Distribution(NamedTuple):
    """The distribution of a matrix's numbers: uniform on [low, high), or, if ``normal``, normal around 0 with standard
    deviation ``high``.
    """

    normal: bool
    low: float
    high: float

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw numbers of that shape."""
        return rng.normal(0.0, self.high, shape) if self.normal else rng.uniform(self.low, self.high, shape)


def _normal(std: Callable[[int, int], float]) -> Rule:
    return lambda shape, act: Distribution(True, 0.0, std(*shape))


def _uniform(std: Callable[[int, int], float]) -> Rule:
    def rule(shape: Shape, act: Activation) -> Distribution:
        limit = math.sqrt(3.0) * std(*shape)
        return Distribution(False, -limit, limit)

    return rule


def _orthogonal(rng: np.random.Generator, shape: Shape) -> np.ndarray:
    """Draw orthonormal rows or columns (Saxe, McClelland and Ganguli 2013), by QR with the signs made unique."""
    q, r = np.linalg.qr(rng.normal(size=(max(shape), min(shape))))
    q *= np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T


def _auto(shape: Shape, act: Activation) -> Distribution:
    return _RULES["he_normal" if act.traits.rectifier else "glorot_uniform"](shape, act)


def _he(n_out: int, n_in: int) -> float:
    """The standard deviation of He et al. 2015, equation 10."""
    return math.sqrt(2.0 / n_in)


def _glorot(n_out: int, n_in: int) -> float:
    """The standard deviation of Glorot and Bengio 2010, equation 12."""
    return math.sqrt(2.0 / (n_in + n_out))


def _lecun(n_out: int, n_in: int) -> float:
    """The standard deviation of LeCun et al. 1998, equation 16."""
    return math.sqrt(1.0 / n_in)


_RULES: dict[str, Rule] = {
    "auto": _auto,
    "he_normal": _normal(_he),
    "he_uniform": _uniform(_he),
    "glorot_normal": _normal(_glorot),
    "glorot_uniform": _uniform(_glorot),
    "lecun_normal": _normal(_lecun),
    "lecun_uniform": _uniform(_lecun),
}
INITS = [*_RULES, "orthogonal"]
"""Every initialisation's name; "auto" is he_normal for rectifiers such as relu, else glorot_uniform."""


def check_init(init: Any) -> str | Uniform:
    """Return a checked ``init`` argument: a `Uniform`, or a name of `INITS`."""
    return init if isinstance(init, Uniform) else check_choice(init, "init", INITS)


def distribution(init: str | Uniform, shape: Shape, act: Activation) -> Distribution | None:
    """The distribution of a layer's weights; None if they depend on each other."""
    if isinstance(init, Uniform):
        return Distribution(False, init.low, init.high)
    return _RULES[init](shape, act) if init in _RULES else None


def draw(
    init: str | Uniform,
    rng: np.random.Generator,
    layers: Sequence[Layer],
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
) -> None:
    """Draw a network's weights, (n_out, n_in) a layer, one layer after another; with `Uniform` its biases, too."""
    for layer, w, b in zip(layers, weights, biases, strict=True):
        shape = w.shape[0], w.shape[1]
        drawn_from = distribution(init, shape, layer.act)
        w[...] = _orthogonal(rng, shape) if drawn_from is None else drawn_from.draw(rng, shape)
        if isinstance(init, Uniform) and layer.bias:
            b[...] = rng.uniform(init.low, init.high, b.shape)
