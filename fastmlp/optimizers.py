"""How a gradient moves the parameters: optimisers, with PyTorch's formulas and defaults.

Give one as ``optimizer`` to `fastmlp.train`: a name, such as "adam", or an object with other settings, such as
``Adam(betas=(0.9, 0.99))``. The learning rate is ``lr`` of `fastmlp.train`.

Where x is sparse, most of a batch's gradient is zero. Plain SGD and Adagrad do not move the weights of inputs that are
zero in the whole batch, and skip them. All others would still move those weights; with ``lazy=True`` they skip them too
(TensorFlow Addons call that LazyAdam, PyTorch SparseAdam, MXNet lazy_update).

Sources: momentum, Polyak 1964; Nesterov momentum, Sutskever et al. 2013; Adam, Kingma and Ba 2015; AdamW, Loshchilov
and Hutter 2019; AMSGrad, Reddi, Kale and Kumar 2018; NAdam, Dozat 2016; Lion, Chen et al. 2023, algorithm 2; RMSprop,
Hinton's lecture 6e, 2012; Adagrad, Duchi et al. 2011; all but Lion in the form of torch.optim. L-BFGS-B, Byrd, Lu,
Nocedal and Zhu 1995, as SciPy has it.
"""

# The kernels compile these very formulas (kernels/steps.py), which are written with NumPy's ufuncs and floats only.
# rule(w, g, states, numbers) is what happens to one parameter w with gradient g: it returns the new w and new states.
# prepare(lr, t, constants) makes the numbers that all parameters share in step t, counted from 1. There may be any
# number of states, which begin at zero, of constants, and of numbers. LBFGS and LevenbergMarquardt have no rule for
# single parameters: engine/lbfgs.py and engine/lm.py run them.

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from .base.checks import check_choice, check_count, check_flag, check_number
from .base.remedies import check_options
from .base.suggest import lookup

__all__ = [
    "LBFGS", "OPTIMIZERS", "SGD", "AMSGrad", "Adagrad", "Adam", "AdamHat", "AdamW", "LevenbergMarquardt", "Lion",
    "NAdam", "Optimizer", "RMSprop",
]  # fmt: skip

_OF_TRAIN = {  # what are settings of optimisers elsewhere
    **dict.fromkeys(("lr", "learning_rate"), "the learning rate for train: fastmlp.train(x, y, spec, lr=…)"),
    **dict.fromkeys(("beta1", "beta_1", "beta2", "beta_2"), "betas=(0.9, 0.999)"),
    "epsilon": "eps",
    "weight_decay": "AdamW(weight_decay=…), or l2 for train: fastmlp.train(x, y, spec, l2=…)",
}
_TINY = 1e-300  # in place of 0, whose logarithm NumPy warns of


class Optimizer:
    """The base of all optimisers. They are immutable settings; their state is kept beside the parameters they move."""

    name: ClassVar[str]
    prepare: ClassVar[Any]
    rule: ClassVar[Any] = None
    by_search: ClassVar[bool] = False  # takes all samples at once, and finds the length of its steps itself
    lazy: bool = False

    def __new__(cls, *args: Any, **settings: Any) -> Optimizer:
        names = [setting.name for setting in fields(cls)] if is_dataclass(cls) else settings
        check_options(settings, names, f"{cls.__name__}()", _OF_TRAIN)
        return super().__new__(cls)

    def __repr__(self) -> str:
        """The settings, with ``lazy`` only if it is true: checkpoints compare this text, and older ones lack it."""
        names: list[str] = [setting.name for setting in fields(self)] if is_dataclass(self) else []
        settings = [f"{name}={getattr(self, name)!r}" for name in names if name != "lazy" or self.lazy]
        return f"{type(self).__name__}({', '.join(settings)})"

    @property
    def states(self) -> int:
        """The number of vectors, shaped like the parameters, that the optimiser keeps."""
        raise NotImplementedError

    @property
    def rests(self) -> bool:
        """Whether a gradient of zero, without penalties, changes neither a parameter nor the states kept of it."""
        return False

    @property
    def constants(self) -> tuple[float, ...]:
        """The settings as ``prepare`` takes them."""
        raise NotImplementedError

    @property
    def quantities(self) -> list[str]:
        """The names of the values that the optimiser adds to the history."""
        return []


def _prepare_sgd(lr, t, constants):
    momentum, nesterov = constants
    return lr, momentum, nesterov, 1.0 - nesterov + nesterov * momentum


def _sgd(w, g, states, numbers):
    lr, momentum, of_g, of_v = numbers
    v = momentum * (states[0] if len(states) > 0 else 0.0) + g  # without momentum nothing is kept
    return w - lr * (of_g * g + of_v * v), (v,)


@dataclass(frozen=True, repr=False)
class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum · v + g, w -= lr · v; with Nesterov w -= lr · (g + momentum · v).

    Parameters
    ----------
    momentum : float, in [0, 1)
        The share of the last step's v that is kept in the next one.
    nesterov : bool
        Whether to look ahead along v, as Nesterov does; needs a momentum above 0.
    lazy : bool
        For sparse x only: skip the weights of inputs that are zero in all samples of a batch, and what is kept of
        them. A step then takes time in proportion to the batch's non-zero values, not to all weights, but it is not
        the same step: momentum does not decay, and penalties do not act, in the batches that a weight sits out.

    Examples
    --------
    >>> import fastmlp
    >>> fastmlp.optimizers.SGD(momentum=0.9)
    SGD(momentum=0.9, nesterov=False)
    """

    momentum: float = 0.0
    nesterov: bool = False
    lazy: bool = field(default=False, kw_only=True)

    name = "sgd"
    prepare = staticmethod(_prepare_sgd)
    rule = staticmethod(_sgd)

    def __post_init__(self) -> None:
        check_number(self.momentum, "momentum", 0.0, 1.0)
        check_flag(self.nesterov, "nesterov")
        check_flag(self.lazy, "lazy")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")

    @property
    def states(self) -> int:
        return 1 if self.momentum else 0

    @property
    def rests(self) -> bool:
        return not self.momentum

    @property
    def constants(self) -> tuple[float, ...]:
        return self.momentum, float(self.nesterov)


def _total_weight(beta, t):
    """1 - betaᵗ, the sum of the weights of t steps in a running mean: right to its last digits where beta is near 1."""
    if t * (1.0 - beta) > 40.0:  # betaᵗ is less than exp(-40), and nothing beside 1
        return 1.0
    return -np.expm1(t * np.log(np.maximum(beta, _TINY)))


def _prepare_adam(lr, t, constants):
    beta1, beta2, eps, decay = constants
    return lr / _total_weight(beta1, t), 1.0 / np.sqrt(_total_weight(beta2, t)), beta1, beta2, eps, 1.0 - lr * decay


def _adam(w, g, states, numbers):
    m, v = states
    rate, unbias, beta1, beta2, eps, keep = numbers
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    return keep * w - rate * m / (unbias * np.sqrt(v) + eps), (m, v)


@dataclass(frozen=True, repr=False)
class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    Parameters
    ----------
    betas : pair of float, in [0, 1)
        Decay of the two means from step to step.
    eps : float
        Added to the denominator.
    lazy : bool
        For sparse x only: skip the weights of inputs that are zero in all samples of a batch, and what is kept of
        them. A step then takes time in proportion to the batch's non-zero values, not to all weights, but it is not
        the same step: nothing decays, and penalties do not act, in the batches that a weight sits out.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    lazy: bool = field(default=False, kw_only=True)

    name = "adam"
    states = 2
    prepare = staticmethod(_prepare_adam)
    rule = staticmethod(_adam)

    def __post_init__(self) -> None:
        _check_betas(self.betas)
        check_number(self.eps, "eps", 0.0)
        check_flag(self.lazy, "lazy")

    @property
    def constants(self) -> tuple[float, ...]:
        return *self.betas, self.eps, 0.0


def _prepare_adam_hat(lr, t, constants):
    beta1, beta2, eps, _ = constants
    unbias = 1.0 / np.sqrt(_total_weight(beta2, t))
    return lr / _total_weight(beta1, t), unbias, beta1, beta2, unbias * eps, 1.0


@dataclass(frozen=True, repr=False)
class AdamHat(Adam):
    """Adam with the ε̂ of Kingma and Ba, end of section 2, as Keras, TensorFlow and scikit-learn compute it.

    Here eps is added before the bias is corrected, and so weighs more in the first steps.

    Parameters
    ----------
    betas : pair of float, in [0, 1)
        Decay of the two means from step to step.
    eps : float
        Added to the root of the mean square, before that is corrected for its bias.
    lazy : bool
        Skip the weights of inputs that are zero in a batch, as in `Adam`.
    """

    name = "adam_hat"
    prepare = staticmethod(_prepare_adam_hat)


@dataclass(frozen=True, repr=False)
class AdamW(Adam):
    """Adam with decoupled decay: every step first multiplies the parameters by 1 - lr · weight_decay.

    Parameters
    ----------
    betas : pair of float, in [0, 1)
        Decay of the two means from step to step.
    eps : float
        Added to the denominator.
    lazy : bool
        Skip the weights of inputs that are zero in a batch, as in `Adam`.
    weight_decay : float
        How much of each parameter a step takes away, times lr.
    """

    weight_decay: float = 0.01

    name = "adamw"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.weight_decay, "weight_decay", 0.0)

    @property
    def constants(self) -> tuple[float, ...]:
        return *self.betas, self.eps, self.weight_decay


def _amsgrad(w, g, states, numbers):
    m, v, largest = states
    rate, unbias, beta1, beta2, eps, _ = numbers
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    largest = np.maximum(largest, v)
    return w - rate * m / (unbias * np.sqrt(largest) + eps), (m, v, largest)


@dataclass(frozen=True, repr=False)
class AMSGrad(Adam):
    """AMSGrad: Adam whose steps are scaled by the largest mean square so far, so that no parameter's rate ever grows.

    Parameters
    ----------
    betas : pair of float, in [0, 1)
        Decay of the two means from step to step.
    eps : float
        Added to the denominator.
    lazy : bool
        Skip the weights of inputs that are zero in a batch, as in `Adam`.
    """

    name = "amsgrad"
    states = 3
    rule = staticmethod(_amsgrad)


def _prepare_nadam(lr, t, constants):
    beta1, beta2, eps, momentum_decay = constants
    decay = momentum_decay * np.log(0.96)
    mu = beta1 * (1.0 - 0.5 * np.exp(t * decay))
    mu_next = beta1 * (1.0 - 0.5 * np.exp((t + 1.0) * decay))
    return lr, 1.0 / np.sqrt(_total_weight(beta2, t)), beta1, beta2, eps, mu, mu_next


def _nadam(w, g, states, numbers):
    m, v, gone = states  # gone: 1 - the product of all mu so far
    lr, unbias, beta1, beta2, eps, mu, mu_next = numbers
    m = beta1 * m + (1.0 - beta1) * g
    v = beta2 * v + (1.0 - beta2) * g * g
    product = (1.0 - gone) * mu
    ahead = (1.0 - mu) / (1.0 - product) * g + mu_next / (1.0 - product * mu_next) * m
    return w - lr * ahead / (unbias * np.sqrt(v) + eps), (m, v, 1.0 - product)


@dataclass(frozen=True, repr=False)
class NAdam(Adam):
    """NAdam: Adam with Nesterov momentum, which grows from step to step.

    Parameters
    ----------
    betas : pair of float, in [0, 1)
        Decay of the two means from step to step.
    eps : float
        Added to the denominator.
    lazy : bool
        Skip the weights of inputs that are zero in a batch, as in `Adam`.
    momentum_decay : float
        The momentum of step t is betas[0] · (1 - ½ · 0.96^(t · momentum_decay)).
    """

    momentum_decay: float = 0.004

    name = "nadam"
    states = 3
    prepare = staticmethod(_prepare_nadam)
    rule = staticmethod(_nadam)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self.momentum_decay, "momentum_decay", 0.0)

    @property
    def constants(self) -> tuple[float, ...]:
        return *self.betas, self.eps, self.momentum_decay


def _prepare_lion(lr, t, constants):
    beta1, beta2, decay = constants
    return lr, beta1, beta2, 1.0 - lr * decay


def _lion(w, g, states, numbers):
    (m,) = states
    lr, beta1, beta2, keep = numbers
    step = lr * np.sign(beta1 * m + (1.0 - beta1) * g)
    return keep * w - step, (beta2 * m + (1.0 - beta2) * g,)


@dataclass(frozen=True, repr=False)
class Lion(Optimizer):
    """Lion: every parameter moves by lr, along the sign of a running mean of its gradient.

    A tenth of Adam's lr is a good first choice.

    Parameters
    ----------
    betas : pair of float, in [0, 1)
        The mean's weight in a step, against the gradient's; and the mean's decay from step to step.
    weight_decay : float
        Every step first multiplies the parameters by 1 - lr · weight_decay.
    lazy : bool
        Skip the weights of inputs that are zero in a batch, as in `Adam`.
    """

    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0
    lazy: bool = field(default=False, kw_only=True)

    name = "lion"
    states = 1
    prepare = staticmethod(_prepare_lion)
    rule = staticmethod(_lion)

    def __post_init__(self) -> None:
        _check_betas(self.betas)
        check_number(self.weight_decay, "weight_decay", 0.0)
        check_flag(self.lazy, "lazy")

    @property
    def constants(self) -> tuple[float, ...]:
        return *self.betas, self.weight_decay


def _prepare_rmsprop(lr, t, constants):
    alpha, eps = constants
    return lr, alpha, eps


def _rmsprop(w, g, states, numbers):
    (v,) = states
    lr, alpha, eps = numbers
    v = alpha * v + (1.0 - alpha) * g * g
    return w - lr * g / (np.sqrt(v) + eps), (v,)


@dataclass(frozen=True, repr=False)
class RMSprop(Optimizer):
    """RMSprop: steps scaled by a running mean of the gradient's square.

    Parameters
    ----------
    alpha : float, in [0, 1)
        Decay of the mean.
    eps : float
        Added to the denominator.
    lazy : bool
        Skip the weights of inputs that are zero in a batch, as in `Adam`.
    """

    alpha: float = 0.99
    eps: float = 1e-8
    lazy: bool = field(default=False, kw_only=True)

    name = "rmsprop"
    states = 1
    prepare = staticmethod(_prepare_rmsprop)
    rule = staticmethod(_rmsprop)

    def __post_init__(self) -> None:
        check_number(self.alpha, "alpha", 0.0, 1.0)
        check_number(self.eps, "eps", 0.0)
        check_flag(self.lazy, "lazy")

    @property
    def constants(self) -> tuple[float, ...]:
        return self.alpha, self.eps


def _prepare_adagrad(lr, t, constants):
    lr_decay, eps = constants
    return lr / (1.0 + (t - 1.0) * lr_decay), eps


def _adagrad(w, g, states, numbers):
    (total,) = states
    lr, eps = numbers
    total = total + g * g
    return w - lr * g / (np.sqrt(total) + eps), (total,)


@dataclass(frozen=True, repr=False)
class Adagrad(Optimizer):
    """Adagrad: steps scaled by the sum of the gradient's squares so far.

    Parameters
    ----------
    lr_decay : float
        The rate of step t, counted from 1, is lr / (1 + (t - 1) · lr_decay).
    eps : float
        Added to the denominator.
    """

    lr_decay: float = 0.0
    eps: float = 1e-10

    name = "adagrad"
    states = 1
    prepare = staticmethod(_prepare_adagrad)
    rule = staticmethod(_adagrad)

    def __post_init__(self) -> None:
        check_number(self.lr_decay, "lr_decay", 0.0)
        check_number(self.eps, "eps", 0.0)

    @property
    def rests(self) -> bool:
        return True

    @property
    def constants(self) -> tuple[float, ...]:
        return self.lr_decay, self.eps


@dataclass(frozen=True, repr=False)
class LBFGS(Optimizer):
    """L-BFGS, a quasi-Newton method: each step takes all samples, and a line search finds its length.

    There is no lr. One epoch is one iteration. Training ends before ``epochs`` when an iteration gains too little. It
    needs SciPy: ``pip install 'fastmlp[lbfgs]'``. A ``dtype="float64"`` network converges further than a float32 one.

    Parameters
    ----------
    memory : int
        How many of the last steps the curvature is estimated from.
    gtol : float
        Stop when no derivative by a parameter is larger than this.
    ftol : float
        Stop when an iteration lowers the loss by less than this, relative to the loss where that is above 1.
    max_fun : int
        Stop when the loss has been computed this many times.

    Examples
    --------
    >>> import fastmlp
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> model, history = fastmlp.train(x, y, spec, optimizer="lbfgs", epochs=100, dtype="float64", seed=1)
    >>> len(history["loss"]) < 30 and history["loss"][-1] < 1e-3
    True
    """

    memory: int = 10
    gtol: float = 1e-5
    ftol: float = 2.2e-9
    max_fun: int = 15_000

    name = "lbfgs"
    by_search = True
    states = 0
    constants = ()

    def __post_init__(self) -> None:
        check_count(self.memory, "memory")
        check_number(self.gtol, "gtol", 0.0)
        check_number(self.ftol, "ftol", 0.0)
        check_count(self.max_fun, "max_fun")


@dataclass(frozen=True, repr=False)
class LevenbergMarquardt(Optimizer):
    """Levenberg-Marquardt: damped Gauss-Newton steps on a sum of squares, for small networks under ``mse``.

    One epoch is one step that lowers the sum. The damping, which is in ``history["damping"]``, decides between Newton's
    step (small damping, where the residuals are nearly linear) and a short step downhill (large damping, where they are
    not). It follows Nielsen's rule (Madsen, Nielsen and Tingleff, "Methods for non-linear least squares problems",
    2004). Training ends before ``epochs`` when it has converged, as ``scipy.optimize.least_squares(method="lm")``
    defines that. Everything is computed in float64; the parameters of a float32 network are rounded after each step,
    and only steps that lower the sum after rounding are taken.

    A step takes about n_samples · n_out · n_params² / 2 + n_params³ / 3 multiply-adds and 32 · n_params² bytes, so a
    few thousand parameters are the limit.

    Parameters
    ----------
    damping : float
        The first damping, as a share of the largest number on the diagonal of JᵀJ. Small values suit parameters that
        are nearly right.
    ftol : float
        Stop when a step lowers the sum by less than this share, and was expected to lower it by less.
    xtol : float
        Stop when a step is shorter than this share of the parameters' norm.
    gtol : float
        Stop when the cosine of the angle between the residuals and each column of J is at most this.
    regularisation : "bayesian", optional
        Penalise all parameters, biases too, by the amount that the data make likely, which is found anew in each epoch
        (MacKay's evidence; Foresee and Hagan, "Gauss-Newton approximation to Bayesian learning", 1997). It takes the
        place of ``l2``. ``history["effective_params"]`` is then the number of parameters that the data determine, and
        ``history["l2"]`` the penalty ½ l2 Σp² on the mean loss.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> spec = [{"n": 1, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "linear"}]
    >>> model, history = fastmlp.train(x, np.sin(3 * x), spec, optimizer="lm", epochs=100, dtype="float64", seed=0)
    >>> history["loss"][-1] < 1e-5
    True
    """

    damping: float = 1e-3
    ftol: float = 1e-8
    xtol: float = 1e-8
    gtol: float = 1e-8
    regularisation: str | None = field(default=None, kw_only=True)

    name = "lm"
    by_search = True
    states = 0
    constants = ()

    def __post_init__(self) -> None:
        check_number(self.damping, "damping", 0.0, open_low=True)
        for name in ("ftol", "xtol", "gtol"):
            check_number(getattr(self, name), name, 0.0)
        if self.regularisation is not None:
            check_choice(self.regularisation, "regularisation", ("bayesian",))

    @property
    def quantities(self) -> list[str]:
        return ["damping"] if self.regularisation is None else ["damping", "effective_params", "l2"]


def _check_betas(betas: Any) -> None:
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"betas must be a pair of numbers, got {betas!r}")
    for i, beta in enumerate(betas):
        check_number(beta, f"betas[{i}]", 0.0, 1.0)


OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.name: kind
    for kind in (SGD, Adam, AdamHat, AdamW, AMSGrad, NAdam, Lion, RMSprop, Adagrad, LBFGS, LevenbergMarquardt)
}
"""Every optimiser's class by its name."""


def get_optimizer(optimizer: Any) -> Optimizer:
    """Return what the ``optimizer`` argument means: a name of the registry, with its defaults, or an `Optimizer`."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    hint = "call the class: Adam()"
    return _with_defaults(lookup(optimizer, OPTIMIZERS, {}, "optimizer", "fastmlp.optimizers.Optimizer", hint).name)


@cache
def _with_defaults(name: str) -> Optimizer:
    """An optimiser of the registry, kept because to check its settings takes microseconds; it is immutable."""
    return OPTIMIZERS[name]()


@cache
def count_numbers(name: str) -> int:
    """How many numbers an optimiser of the registry prepares for all parameters of a step."""
    return len(OPTIMIZERS[name].prepare(1.0, 1.0, _with_defaults(name).constants))
