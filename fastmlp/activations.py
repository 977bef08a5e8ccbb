"""The registry of activations: one entry is a name, a function of the pre-activation z, and its three derivatives.

Everything else reads this registry: the model, the reference, the tests, and the kernels, which compile these very
functions (kernels/activations.py). So a function here must suit NumPy and Numba: ufuncs only, constants as floats (an
integer constant would promote float32 to float64 under Numba), correct for every finite z. What a function and its
derivative share, such as an exponential, is written identically in both, so that it is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base.suggest import lookup

__all__ = ["ACTIVATIONS", "Activation"]

_SQRT_HALF = math.sqrt(0.5)
_INV_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
_SIXTH = 1.0 / 6.0
_GELU_SLOPE = math.sqrt(8.0 / math.pi)  # of gelu_tanh as z times a sigmoid
_GELU_CUBE = 0.044715 * _GELU_SLOPE
_SELU_SCALE = 1.0507009873554805
_SELU_ALPHA_SCALE = 1.7580993408473766

_erfc = np.vectorize(math.erfc, otypes=[float])


@dataclass(frozen=True)
class Traits:
    """Properties of an activation that initialisation and losses depend on."""

    low: float = -math.inf  # range of its values
    high: float = math.inf
    rectifier: bool = False  # He initialisation suits it
    flat: bool = False  # derivative zero everywhere: nothing below it trains
    kinks: tuple[float, ...] = ()  # where it, its derivative or its second derivative jumps, ascending
    setting: str = ""  # what a spec calls the number that it may set


@dataclass(frozen=True, repr=False, init=False)
class Activation:
    """An activation function together with its derivatives.

    Parameters
    ----------
    name : str
        The name in the spec, the printed table and the files.
    function : callable
        ``a = f(z)``. For a custom activation, a scalar function under ``numba.njit``: one float in, one float out.
    derivative : callable
        ``f'(z)``, of the same kind.
    second_derivative : callable, optional
        ``f''(z)``, of the same kind: for Hessians and for training on derivatives, which are refused without it.
    third_derivative : callable, optional
        ``f'''(z)``, of the same kind: for a `Residual`, which is refused without it.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> fastmlp.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    >>> fastmlp.relu.derivative(np.array([-1.0, 2.0]))
    array([0., 1.])

    A custom activation:

    >>> import numba
    >>> @numba.njit
    ... def square(z):
    ...     return z * z
    >>> @numba.njit
    ... def d_square(z):
    ...     return 2.0 * z
    >>> fastmlp.Activation("square", square, d_square)
    <fastmlp activation 'square'>
    """

    name: str
    function: Callable[..., Any]
    derivative_function: Callable[..., Any]
    second_derivative_function: Callable[..., Any] | None
    third_derivative_function: Callable[..., Any] | None
    traits: Traits
    slope: float | None

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        derivative: Callable[..., Any],
        second_derivative: Callable[..., Any] | None = None,
        third_derivative: Callable[..., Any] | None = None,
        *,
        traits: Traits | None = None,
        slope: float | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"Activation: name must be a non-empty string, got {name!r}")
        higher = {"second_derivative": second_derivative, "third_derivative": third_derivative}
        given = {role: formula for role, formula in higher.items() if formula is not None}
        for role, formula in {"function": function, "derivative": derivative, **given}.items():
            if traits is None and not hasattr(formula, "py_func"):
                raise TypeError(
                    f"Activation {name!r}: {role} must be a scalar numba.njit function, got {type(formula).__name__}"
                )
        fields = (name, function, derivative, second_derivative, third_derivative, traits or Traits(), slope)
        for key, value in zip(self.__dataclass_fields__, fields, strict=True):
            object.__setattr__(self, key, value)

    @property
    def builtin(self) -> bool:
        """Whether this is one of fastmlp's activations, with any slope, not a user's."""
        return self.name in ACTIVATIONS and ACTIVATIONS[self.name].function is self.function

    @property
    def elementwise(self) -> bool:
        """False for softmax, whose outputs depend on the whole row."""
        return self.function is not _softmax

    def vanishes(self, order: int) -> bool:
        """Whether the derivative of that order, 2 or 3, is 0 for every z."""
        return self._formulas[order] in _ZEROS

    def __call__(self, z: Any) -> np.ndarray:
        """Return the activation of z, an array of any shape (softmax: along the last axis); integers become float64."""
        return self._apply(self.function, z)

    def derivative(self, z: Any) -> np.ndarray:
        """Return f'(z), element by element; for softmax the diagonal of its Jacobian, a (1 - a)."""
        return self._apply(self.derivative_function, z)

    def second_derivative(self, z: Any) -> np.ndarray:
        """Return f''(z), element by element, 0 at a kink; for softmax ∂²a/∂z² by each output's own z.

        A custom activation without a second derivative is a ValueError.
        """
        return self._apply(self.formula(2), z)

    def third_derivative(self, z: Any) -> np.ndarray:
        """Return f'''(z), element by element; for softmax ∂³a/∂z³ by each output's own z.

        A custom activation without a third derivative is a ValueError.
        """
        return self._apply(self.formula(3), z)

    def formula(self, order: int) -> Callable[..., Any]:
        """The formula of the derivative of that order, 2 or 3; ValueError for an activation of one's own without it."""
        formula = self._formulas[order]
        if formula is None:
            names = ["derivative", "second_derivative", "third_derivative"][:order]
            raise ValueError(
                f"activation {self.name!r} has no {names[-1].replace('_', ' ')}; give one: "
                f"fastmlp.Activation(name, function, {', '.join(names)})"
            )
        return formula

    def _apply(self, function: Callable[..., Any], z: Any) -> np.ndarray:
        """Return the function of z in z's dtype: one call for fastmlp's own activations, element by element for
        others."""
        z = np.asarray(z)
        if z.dtype.kind not in "fiub":
            raise TypeError(f"z must be numeric, got dtype {z.dtype}")
        if z.dtype.kind != "f":
            z = z.astype(np.float64)
        if not self.builtin:
            return np.vectorize(function, otypes=[z.dtype])(z)
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            a = function(z) if self.slope is None else function(z, self.slope)
        return np.asarray(a, dtype=z.dtype)

    def with_slope(self, slope: float) -> Activation:
        """Return this activation with another slope below 0: leaky_relu's slope, or elu's alpha."""
        return Activation(self.name, *self._formulas, traits=self.traits, slope=float(slope))

    @property
    def _formulas(self) -> tuple[Callable[..., Any], Callable[..., Any], Any, Any]:
        """The function and its derivatives, None where one is not given."""
        return (
            self.function, self.derivative_function, self.second_derivative_function, self.third_derivative_function
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<fastmlp activation {self.name!r}>"

    def __reduce__(self) -> Any:
        if self.builtin:
            return _restore, (self.name, self.slope)
        return Activation, (self.name, *self._formulas)


def _restore(name: str, slope: float | None) -> Activation:
    return ACTIVATIONS[name] if slope is None else ACTIVATIONS[name].with_slope(slope)


def _step(z):
    return np.where(z >= 0.0, 1.0, 0.0)


def _d_step(z):
    return np.where(z >= 0.0, 0.0, 0.0)


def _linear(z):
    return z


def _d_linear(z):
    return np.where(z >= 0.0, 1.0, 1.0)


def _zero(z):
    return np.where(z >= 0.0, 0.0, 0.0)


def _sigmoid(z):
    e = np.exp(-np.abs(z))
    return np.where(z >= 0.0, 1.0, e) * (1.0 / (1.0 + e))


def _d_sigmoid(z):
    e = np.exp(-np.abs(z))
    r = 1.0 / (1.0 + e)
    return e * r * r


def _dd_sigmoid(z):
    e = np.exp(-np.abs(z))
    r = 1.0 / (1.0 + e)
    return np.where(z >= 0.0, e - 1.0, 1.0 - e) * r * e * r * r


def _ddd_sigmoid(z):
    e = np.exp(-np.abs(z))
    r = 1.0 / (1.0 + e)
    return e * r * r * (1.0 - 6.0 * e * r * r)


def _tanh(z):
    return np.tanh(z)


def _d_tanh(z):
    e = np.exp(-2.0 * np.abs(z))
    r = 1.0 / (1.0 + e)
    return 4.0 * e * r * r


def _dd_tanh(z):
    e = np.exp(-2.0 * np.abs(z))
    r = 1.0 / (1.0 + e)
    return -8.0 * np.tanh(z) * e * r * r


def _ddd_tanh(z):
    e = np.exp(-2.0 * np.abs(z))
    r = 1.0 / (1.0 + e)
    return 16.0 * e * r * r * (1.0 - 6.0 * e * r * r)


def _relu(z):
    return np.where(z > 0.0, z, 0.0)


def _d_relu(z):
    return np.where(z > 0.0, 1.0, 0.0)


def _leaky_relu(z, slope):
    return np.where(z > 0.0, z, slope * z)


def _d_leaky_relu(z, slope):
    return np.where(z > 0.0, 1.0, slope)


def _dd_leaky_relu(z, slope):
    return np.where(z > 0.0, 0.0, 0.0)


def _softmax(z):
    e = np.exp(z - np.max(z, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def _d_softmax(z):
    a = _softmax(z)
    return a * (1.0 - a)


def _dd_softmax(z):
    a = _softmax(z)
    return a * (1.0 - a) * (1.0 - 2.0 * a)


def _ddd_softmax(z):
    d = _d_softmax(z)
    return d * (1.0 - 6.0 * d)


def _swish(z):
    e = np.exp(-np.abs(z))
    return z * np.where(z >= 0.0, 1.0, e) * (1.0 / (1.0 + e))


def _d_swish(z):
    e = np.exp(-np.abs(z))
    r = 1.0 / (1.0 + e)
    return np.where(z >= 0.0, 1.0, e) * r + z * e * r * r


def _dd_swish(z):
    e = np.exp(-np.abs(z))
    r = 1.0 / (1.0 + e)
    return e * r * r * (2.0 + z * np.where(z >= 0.0, e - 1.0, 1.0 - e) * r)


def _ddd_swish(z):
    e = np.exp(-np.abs(z))
    r = 1.0 / (1.0 + e)
    return e * r * r * (3.0 * np.where(z >= 0.0, e - 1.0, 1.0 - e) * r + z * (1.0 - 6.0 * e * r * r))


def _elu(z, alpha):
    return np.where(z > 0.0, z, alpha * np.expm1(np.minimum(z, 0.0)))


def _d_elu(z, alpha):
    return np.where(z > 0.0, 1.0, alpha * np.exp(np.minimum(z, 0.0)))


def _dd_elu(z, alpha):
    return np.where(z > 0.0, 0.0, alpha * np.exp(np.minimum(z, 0.0)))


def _selu(z):
    return np.where(z > 0.0, _SELU_SCALE * z, _SELU_ALPHA_SCALE * np.expm1(np.minimum(z, 0.0)))


def _d_selu(z):
    return np.where(z > 0.0, _SELU_SCALE, _SELU_ALPHA_SCALE * np.exp(np.minimum(z, 0.0)))


def _dd_selu(z):
    return np.where(z > 0.0, 0.0, _SELU_ALPHA_SCALE * np.exp(np.minimum(z, 0.0)))


def normal_cdf(z):
    """Φ(z). NumPy has neither this nor φ(z); the kernels have functions of the same names (kernels/math.py)."""
    return 0.5 * _erfc(-_SQRT_HALF * z)


def normal_density(z):
    return _INV_SQRT_2PI * np.exp(-0.5 * z * z)


def _gelu(z):
    return z * normal_cdf(z)


def _d_gelu(z):
    return normal_cdf(z) + z * normal_density(z)


def _dd_gelu(z):
    c = np.minimum(np.maximum(z, -40.0), 40.0)  # φ is 0 beyond; a square of more could overflow
    return normal_density(c) * (2.0 - c * c)


def _ddd_gelu(z):
    c = np.minimum(np.maximum(z, -40.0), 40.0)
    return normal_density(c) * c * (c * c - 4.0)


def _gelu_tanh(z):
    """D. Hendrycks and K. Gimpel (arXiv 1606.08415): ½ z (1 + tanh(√(2/π) (z + 0.044715 z³))), by ½ (1 + tanh(w/2)) =
    sigmoid(w). Beyond 22 the sigmoid is 0 or 1 even in float64, and the cube of a larger number could overflow."""
    c = np.minimum(np.maximum(z, -22.0), 22.0)
    e = np.exp(-np.abs(c * (_GELU_SLOPE + _GELU_CUBE * c * c)))
    return z * np.where(z >= 0.0, 1.0, e) * (1.0 / (1.0 + e))


def _d_gelu_tanh(z):
    c = np.minimum(np.maximum(z, -22.0), 22.0)
    e = np.exp(-np.abs(c * (_GELU_SLOPE + _GELU_CUBE * c * c)))
    r = 1.0 / (1.0 + e)
    return np.where(z >= 0.0, 1.0, e) * r + z * e * r * r * (_GELU_SLOPE + 3.0 * _GELU_CUBE * c * c)


def _dd_gelu_tanh(z):
    c = np.minimum(np.maximum(z, -22.0), 22.0)
    e = np.exp(-np.abs(c * (_GELU_SLOPE + _GELU_CUBE * c * c)))
    r = 1.0 / (1.0 + e)
    w = _GELU_SLOPE + 3.0 * _GELU_CUBE * c * c
    return e * r * r * (2.0 * w + c * (np.where(z >= 0.0, e - 1.0, 1.0 - e) * r * w * w + 6.0 * _GELU_CUBE * c))


def _ddd_gelu_tanh(z):
    c = np.minimum(np.maximum(z, -22.0), 22.0)
    e = np.exp(-np.abs(c * (_GELU_SLOPE + _GELU_CUBE * c * c)))
    r = 1.0 / (1.0 + e)
    q = np.where(z >= 0.0, e - 1.0, 1.0 - e) * r
    w = _GELU_SLOPE + 3.0 * _GELU_CUBE * c * c
    ww = 6.0 * _GELU_CUBE * c
    third = (1.0 - 6.0 * e * r * r) * w * w * w + 3.0 * q * w * ww + 6.0 * _GELU_CUBE
    return e * r * r * (3.0 * (q * w * w + ww) + c * third)


def _mish(z):
    """D. Misra (arXiv 1908.08681): z tanh(log(1 + eᶻ)), where the tangent ((1 + eᶻ)² - 1) / ((1 + eᶻ)² + 1) is written
    with e⁻ᶻ or eᶻ, whichever is at most 1, as p / (p + q)."""
    e = np.exp(-np.abs(z))
    p = np.where(z >= 0.0, 1.0 + 2.0 * e, e * (e + 2.0))
    q = np.where(z >= 0.0, 2.0 * e * e, 2.0)
    return z * p * (1.0 / (p + q))


def _d_mish(z):
    e = np.exp(-np.abs(z))
    p = np.where(z >= 0.0, 1.0 + 2.0 * e, e * (e + 2.0))
    q = np.where(z >= 0.0, 2.0 * e * e, 2.0)
    r = 1.0 / (p + q)
    return p * r + z * np.where(z >= 0.0, 1.0, e) * (1.0 / (1.0 + e)) * q * (p + p + q) * r * r


def _dd_mish(z):
    e = np.exp(-np.abs(z))
    p = np.where(z >= 0.0, 1.0 + 2.0 * e, e * (e + 2.0))
    q = np.where(z >= 0.0, 2.0 * e * e, 2.0)
    r = 1.0 / (p + q)
    s = 1.0 / (1.0 + e)
    sigmoid = np.where(z >= 0.0, 1.0, e) * s
    c = np.minimum(np.maximum(z, -1000.0), 1000.0)  # q or the rest is 0 beyond; a product of more could overflow
    return q * (p + p + q) * r * r * (2.0 * sigmoid + c * (e * s * s - 2.0 * p * r * sigmoid * sigmoid))


def _ddd_mish(z):
    e = np.exp(-np.abs(z))
    p = np.where(z >= 0.0, 1.0 + 2.0 * e, e * (e + 2.0))
    q = np.where(z >= 0.0, 2.0 * e * e, 2.0)
    r = 1.0 / (p + q)
    s = 1.0 / (1.0 + e)
    sigmoid, slope, tangent = np.where(z >= 0.0, 1.0, e) * s, e * s * s, p * r
    d = q * (p + p + q) * r * r
    c = np.minimum(np.maximum(z, -1000.0), 1000.0)
    second = slope - 2.0 * tangent * sigmoid * sigmoid
    third = slope * (np.where(z >= 0.0, e - 1.0, 1.0 - e) * s - 6.0 * tangent * sigmoid)
    return d * (3.0 * second + c * (third + sigmoid * sigmoid * sigmoid * (4.0 * tangent * tangent - 2.0 * d)))


def _softplus(z):
    return np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(z)))


def _hard_tanh(z):
    return np.minimum(np.maximum(z, -1.0), 1.0)


def _d_hard_tanh(z):
    return np.where(np.abs(z) < 1.0, 1.0, 0.0)


def _relu6(z):
    """A. Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10 (2010)."""
    return np.minimum(np.maximum(z, 0.0), 6.0)


def _d_relu6(z):
    return np.where((z > 0.0) & (z < 6.0), 1.0, 0.0)


def _hard_sigmoid(z):
    """A. Howard et al., MobileNetV3 (arXiv 1905.02244): relu6(z + 3) / 6, with slope 1/6, not the older 0.2."""
    return np.minimum(np.maximum(z + 3.0, 0.0), 6.0) * _SIXTH


def _d_hard_sigmoid(z):
    return np.where(np.abs(z) < 3.0, _SIXTH, 0.0)


def _hard_swish(z):
    """A. Howard et al., MobileNetV3 (arXiv 1905.02244): z relu6(z + 3) / 6."""
    return z * (np.minimum(np.maximum(z + 3.0, 0.0), 6.0) * _SIXTH)


def _d_hard_swish(z):
    return np.where(np.abs(z) < 3.0, (z + z + 3.0) * _SIXTH, np.where(z > 0.0, 1.0, 0.0))


def _dd_hard_swish(z):
    return np.where(np.abs(z) < 3.0, 2.0 * _SIXTH, 0.0)


def _softsign(z):
    """X. Glorot and Y. Bengio (2010): z / (1 + |z|); for |z| > 1 computed from its limit, since 1 / |z| may
    underflow."""
    r = 1.0 / (1.0 + np.abs(z))
    return np.where(np.abs(z) < 1.0, z * r, np.where(z > 0.0, 1.0 - r, r - 1.0))


def _d_softsign(z):
    r = 1.0 / (1.0 + np.abs(z))
    return r * r


def _dd_softsign(z):
    r = 1.0 / (1.0 + np.abs(z))
    return -2.0 * np.sign(z) * r * r * r


def _ddd_softsign(z):
    r = 1.0 / (1.0 + np.abs(z))
    return np.where(z == 0.0, 0.0, 6.0 * r * r * r * r)


def _sine(z):
    return np.sin(z)


def _d_sine(z):
    return np.cos(z)


def _dd_sine(z):
    return -np.sin(z)


def _ddd_sine(z):
    return -np.cos(z)


_ZEROS = _zero, _dd_leaky_relu


ACTIVATIONS: dict[str, Activation] = {
    activation.name: activation
    for activation in (
        Activation("step", _step, _d_step, _zero, _zero, traits=Traits(low=0.0, high=1.0, flat=True, kinks=(0.0,))),
        Activation("linear", _linear, _d_linear, _zero, _zero, traits=Traits()),
        Activation("sigmoid", _sigmoid, _d_sigmoid, _dd_sigmoid, _ddd_sigmoid, traits=Traits(low=0.0, high=1.0)),
        Activation("tanh", _tanh, _d_tanh, _dd_tanh, _ddd_tanh, traits=Traits(low=-1.0, high=1.0)),
        Activation("relu", _relu, _d_relu, _zero, _zero, traits=Traits(low=0.0, rectifier=True, kinks=(0.0,))),
        Activation(
            "leaky_relu",
            _leaky_relu,
            _d_leaky_relu,
            _dd_leaky_relu,
            _dd_leaky_relu,
            traits=Traits(rectifier=True, setting="slope", kinks=(0.0,)),
            slope=0.1,
        ),
        Activation("softmax", _softmax, _d_softmax, _dd_softmax, _ddd_softmax, traits=Traits(low=0.0, high=1.0)),
        Activation("swish", _swish, _d_swish, _dd_swish, _ddd_swish, traits=Traits(rectifier=True)),
        Activation(
            "elu",
            _elu,
            _d_elu,
            _dd_elu,
            _dd_elu,
            traits=Traits(low=-1.0, rectifier=True, setting="alpha", kinks=(0.0,)),
            slope=1.0,
        ),
        Activation(
            "selu",
            _selu,
            _d_selu,
            _dd_selu,
            _dd_selu,
            traits=Traits(low=-_SELU_ALPHA_SCALE, rectifier=True, kinks=(0.0,)),
        ),
        Activation("gelu", _gelu, _d_gelu, _dd_gelu, _ddd_gelu, traits=Traits(rectifier=True)),
        Activation("gelu_tanh", _gelu_tanh, _d_gelu_tanh, _dd_gelu_tanh, _ddd_gelu_tanh, traits=Traits(rectifier=True)),
        Activation("mish", _mish, _d_mish, _dd_mish, _ddd_mish, traits=Traits(rectifier=True)),
        Activation("softplus", _softplus, _sigmoid, _d_sigmoid, _dd_sigmoid, traits=Traits(low=0.0, rectifier=True)),
        Activation(
            "hard_tanh", _hard_tanh, _d_hard_tanh, _zero, _zero, traits=Traits(low=-1.0, high=1.0, kinks=(-1.0, 1.0))
        ),
        Activation(
            "relu6", _relu6, _d_relu6, _zero, _zero, traits=Traits(low=0.0, high=6.0, rectifier=True, kinks=(0.0, 6.0))
        ),
        Activation(
            "hard_sigmoid",
            _hard_sigmoid,
            _d_hard_sigmoid,
            _zero,
            _zero,
            traits=Traits(low=0.0, high=1.0, kinks=(-3.0, 3.0)),
        ),
        Activation(
            "hard_swish",
            _hard_swish,
            _d_hard_swish,
            _dd_hard_swish,
            _zero,
            traits=Traits(rectifier=True, kinks=(-3.0, 3.0)),
        ),
        Activation(
            "softsign",
            _softsign,
            _d_softsign,
            _dd_softsign,
            _ddd_softsign,
            traits=Traits(low=-1.0, high=1.0, kinks=(0.0,)),
        ),
        Activation("sine", _sine, _d_sine, _dd_sine, _ddd_sine, traits=Traits(low=-1.0, high=1.0)),
    )
}
"""Every activation by its name."""
_ALIASES = {
    "silu": "swish",
    "identity": "linear",
    "logistic": "sigmoid",
    "leakyrelu": "leaky_relu",
    "hard_silu": "hard_swish",
}


def get_activation(act: Any, where: str = "act") -> Activation:
    """Return the activation that a spec's ``act`` means: a name, an Activation, or None for linear."""
    if act is None:
        return ACTIVATIONS["linear"]
    if isinstance(act, Activation):
        return act
    hint = "wrap it: fastmlp.Activation(name, function, derivative)"
    return lookup(act, ACTIVATIONS, _ALIASES, where, "fastmlp.Activation", hint)
