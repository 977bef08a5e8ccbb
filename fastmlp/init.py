"""Initial weights. Biases start at 0, except with `Uniform` (the tutorial's), which draws them as well."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .activations import Activation
from .base.checks import check_choice, check_number

__all__ = ["INITS", "Uniform"]

Shape = tuple[int, int]  # (n_out, n_in)
Draw = Callable[[np.random.Generator, Shape, Activation], np.ndarray]


@dataclass(frozen=True)
class Uniform:
    """Draws weights and biases from [low, high). ``Uniform(0, 0.001)`` is the tutorial's.

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


def _normal(std: Callable[[int, int], float]) -> Draw:
    return lambda rng, shape, act: rng.normal(0.0, std(*shape), shape)


def _uniform(std: Callable[[int, int], float]) -> Draw:
    def draw(rng: np.random.Generator, shape: Shape, act: Activation) -> np.ndarray:
        limit = math.sqrt(3.0) * std(*shape)
        return rng.uniform(-limit, limit, shape)

    return draw


def _orthogonal(rng: np.random.Generator, shape: Shape, act: Activation) -> np.ndarray:
    """Draw orthonormal rows or columns (Saxe, McClelland and Ganguli 2013), by QR with the signs made unique."""
    q, r = np.linalg.qr(rng.normal(size=(max(shape), min(shape))))
    q *= np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T


def _auto(rng: np.random.Generator, shape: Shape, act: Activation) -> np.ndarray:
    return INITS["he_normal" if act.traits.rectifier else "glorot_uniform"](rng, shape, act)


def _he(n_out: int, n_in: int) -> float:
    """The standard deviation of He et al. 2015, equation 10."""
    return math.sqrt(2.0 / n_in)


def _glorot(n_out: int, n_in: int) -> float:
    """The standard deviation of Glorot and Bengio 2010, equation 12."""
    return math.sqrt(2.0 / (n_in + n_out))


def _lecun(n_out: int, n_in: int) -> float:
    """The standard deviation of LeCun et al. 1998, equation 16."""
    return math.sqrt(1.0 / n_in)


INITS: dict[str, Draw] = {
    "auto": _auto,
    "he_normal": _normal(_he),
    "he_uniform": _uniform(_he),
    "glorot_normal": _normal(_glorot),
    "glorot_uniform": _uniform(_glorot),
    "lecun_normal": _normal(_lecun),
    "lecun_uniform": _uniform(_lecun),
    "orthogonal": _orthogonal,
}
"""Every initialisation by its name; "auto" is he_normal under rectifiers such as relu, else glorot_uniform."""


def initializer(init: Any) -> Draw | Uniform:
    """Return the function that draws weights, or the `Uniform`, that the ``init`` argument means."""
    return init if isinstance(init, Uniform) else INITS[check_choice(init, "init", INITS)]
