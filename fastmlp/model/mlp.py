"""MLP: the parameters of a network and what can be asked of them. Training is in training.py."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.checks import check_choice, check_count, check_dtype, check_number, check_seed
from ..engine.engine import AT_ONCE
from ..engine.network import Network, evaluate_rows
from ..init import Uniform, initializer
from ..metrics import Metric, named_metrics
from ..spec import Spec
from .data import check_class_names, check_x, check_y

if TYPE_CHECKING:
    from .online import Online

__all__ = ["MLP", "GradientCheck", "check_gradients"]

_NATIVE = frozenset(np.dtype(kind) for kind in "bBhHiIlLqQfd")


class MLP(Network):
    """A fully connected network.

    Parameters
    ----------
    spec : list of dict, or Spec
        The layers, as `Spec` describes them.
    init : str or fastmlp.init.Uniform, default "auto"
        How the weights begin: "auto" is he_normal below the relu family and glorot_uniform elsewhere.
    seed : int, optional
        Makes the initial weights reproducible.
    dtype : "float32" or "float64"

    Attributes
    ----------
    params : ndarray, (n_params,)
        All weights and biases in one aligned vector; write to it freely.
    weights, biases : list of ndarray
        Views of ``params``: ``weights[i]`` is (n_out, n_in), ``biases[i]`` (n_out,). A layer without biases has
        read-only zeros, which are no part of ``params``.
    class_names : tuple of str, optional
        What the classes or labels are called: one name an output, or two (for 0 and 1) where there is one sigmoid.
    metadata : dict
        Yours: whatever JSON can hold, kept by `save`, `copy` and pickling.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 3, "act": "tanh"}, {"n": 1, "act": "linear"}], seed=0)
    >>> model.predict(np.zeros((4, 2))).shape
    (4, 1)
    """

    def __init__(
        self,
        spec: Sequence[Mapping[str, Any]] | Spec,
        *,
        init: str | Uniform = "auto",
        seed: int | None = None,
        dtype: Any = "float32",
    ) -> None:
        draw = initializer(init)
        kind = check_dtype(dtype)
        seed = check_seed(seed)
        self._build(spec if isinstance(spec, Spec) else Spec(spec), kind)
        # A stream of its own, so that the order of samples, drawn from default_rng(seed), does not depend on the net.
        rng = np.random.default_rng(None if seed is None else [seed, 1])
        for layer, weights, biases in zip(self.spec.layers, self.weights, self.biases, strict=True):
            if isinstance(draw, Uniform):
                weights[...] = rng.uniform(draw.low, draw.high, weights.shape)
                if layer.bias:
                    biases[...] = rng.uniform(draw.low, draw.high, biases.shape)
            else:
                weights[...] = draw(rng, (weights.shape[0], weights.shape[1]), layer.act)

    def _build(self, spec: Spec, dtype: np.dtype) -> None:
        super()._build(spec, dtype)
        self._one_sample = (1, spec.n_in)
        self._online: Online | None = None
        self._class_names: tuple[str, ...] | None = None
        self.metadata: dict[str, Any] = {}

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """What the classes or labels are called, in the order of the outputs."""
        return self._class_names

    @class_names.setter
    def class_names(self, names: Sequence[str] | None) -> None:
        self._class_names = None if names is None else check_class_names(names, self.spec)

    def predict(self, x: Any, *, n_threads: int = 1) -> np.ndarray:
        """Outputs for x (n_samples, n_in): (n_samples, n_out). Threads share what is more than 1024 samples."""
        if _plain(x) and x.shape == self._one_sample:
            outputs = self._engine.predict_one(x)
            if outputs is not None:
                return outputs
        x = check_x(x, self.spec.n_in, self.dtype)
        outputs = np.empty((len(x), self.spec.n_out), self.dtype)
        n_threads = check_count(n_threads, "n_threads")
        self._engine.forward(self._engine.binding.view(x), np.arange(len(x)), outputs, False, n_threads)
        return outputs

    def predict_class(self, x: Any) -> np.ndarray:
        """The class of each sample: indices (n_samples,), or a matrix of 0 and 1 where every output is a label.

        One sigmoid output gives 0 or 1 a sample, (n_samples,). A single output of another kind has no classes:
        ValueError.
        """
        if self.spec.multilabel:
            labels = (self.predict(x) > 0.5).astype(np.int64)
            return labels[:, 0] if self.spec.n_out == 1 else labels
        if self.spec.n_out == 1:
            raise ValueError(
                f"predict_class needs classes; this network has one {self.spec.layers[-1].act.name} output"
            )
        return np.argmax(self.predict(x), axis=1)

    def forward(self, x: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Every layer's pre-activations z and activations a, samples in rows.

        Returns
        -------
        zs : list of ndarray
            One a layer, (n_samples, n_out).
        activations : list of ndarray
            The input as the network sees it (shifted and scaled), then one a layer.
        """
        x = check_x(x, self.spec.n_in, self.dtype)
        return self._engine.layers(self._engine.binding.view(x))

    def evaluate(self, x: Any, y: Any, metrics: Any = None, *, n_threads: int = 1) -> dict[str, float]:
        """Mean loss, accuracy where the outputs are classes or labels, and the metrics asked for, by name."""
        return self._evaluate(x, y, named_metrics(metrics, self.spec), check_count(n_threads, "n_threads"))

    def _evaluate(self, x: Any, y: Any, metrics: Mapping[str, Metric], n_threads: int) -> dict[str, float]:
        x = check_x(x, self.spec.n_in, self.dtype)
        y = check_y(y, self.spec, len(x), self.dtype)
        return evaluate_rows(self, x, y, np.arange(len(x)), metrics, n_threads)

    def partial_fit(
        self, x: Any, y: Any, *, lr: float = 0.01, optimizer: Any = None, batch_size: int = 1, sample_weight: Any = None
    ) -> dict[str, float]:
        """Learn from some samples, one row or many, in the order given; call it again with the next ones.

        What the optimiser remembers is kept from call to call, but not in copies and pickles of the model.

        Parameters
        ----------
        x, y, sample_weight
            As in `fastmlp.train`.
        lr : float
        optimizer : str or fastmlp.optimizers.Optimizer, optional
            That of the last call, at first "sgd", when left out. Another one begins anew.
        batch_size : int

        Returns
        -------
        dict
            Loss and accuracy of these samples, each as it was seen, before it was learnt from.

        Raises
        ------
        ValueError, TypeError
            For bad input, before anything is changed.
        DivergenceError
            When the loss or a parameter is no longer finite; the model is what it was before the call.

        Examples
        --------
        >>> import fastmlp
        >>> model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 1, "act": "linear"}], seed=0)
        >>> for _ in range(200):
        ...     values = model.partial_fit([[1.0, 2.0]], [3.0], lr=0.1)
        >>> model.predict([[1.0, 2.0]]).round(3).tolist()
        [[3.0]]
        """
        if self._online is None:
            from .online import Online

            self._online = Online(self)
        return self._online.fit(x, y, lr, optimizer, batch_size, sample_weight)

    def gradient(self, x: Any, y: Any) -> tuple[float, np.ndarray]:
        """The mean loss over the samples, and its gradient in the shape of ``params`` (`unflatten` takes it apart)."""
        if _plain(x) and x.ndim == 2 and x.shape[1] == self.spec.n_in and 0 < len(x) <= AT_ONCE:
            known = _plain(y) and y.shape == (len(x), self.spec.n_out) and y.flags.c_contiguous
            targets = y if known and self.spec.loss.any_target else check_y(y, self.spec, len(x), self.dtype)
            loss, gradient = self._engine.gradient_of_few(x, targets)
            if math.isfinite(loss):
                return loss, gradient  # else the checks below say why
        x = check_x(x, self.spec.n_in, self.dtype)
        y = check_y(y, self.spec, len(x), self.dtype)
        totals, gradient = self._engine.gradient(self._engine.binding.view(x, y), np.arange(len(x)), len(x))
        return float(totals[0]) / len(x), gradient

    def jacobian(self, x: Any, wrt: str = "params") -> np.ndarray:
        """Derivatives of every output of every sample.

        Parameters
        ----------
        x : array, (n_samples, n_in)
        wrt : "params" or "inputs"

        Returns
        -------
        ndarray
            (n_samples, n_out, n_params) in the order of ``params``, or (n_samples, n_out, n_in) by the inputs as
            given (before shift and scale).
        """
        check_choice(wrt, "wrt", ("params", "inputs"))
        x = check_x(x, self.spec.n_in, self.dtype)
        return self._engine.jacobian(self._engine.binding.view(x), wrt == "inputs")

    def copy(self) -> MLP:
        """A network of its own with the same spec, parameters, class names and metadata."""
        other = MLP.__new__(MLP)
        other.__setstate__(self.__getstate__())
        other.metadata = deepcopy(self.metadata)
        return other

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to a file, which `fastmlp.load` reads: a safetensors file, whole or not at all.

        It holds tensors ``weights.1`` (n_out, n_in), ``biases.1`` (n_out,) and so on, and as metadata the spec, with
        ``shift`` and ``scale`` of the input, the dtype, ``class_names`` and ``metadata``.

        Parameters
        ----------
        path : str or path
            A file of that name is replaced.

        Raises
        ------
        ValueError, TypeError
            Before anything is written: the network has an activation or loss of your own, or parameters that are not
            finite, or its metadata is more than JSON can hold.
        FileNotFoundError, OSError
            There is no such folder, or it cannot be written to.
        ImportError
            safetensors is missing: ``pip install 'fastmlp[files]'``.

        Examples
        --------
        >>> import fastmlp, tempfile
        >>> model = fastmlp.MLP([{"n": 4, "act": None}, {"n": 3, "act": "softmax"}])
        >>> model.class_names = ["setosa", "versicolor", "virginica"]
        >>> model.metadata["columns"] = ["sepal length", "sepal width", "petal length", "petal width"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/iris.safetensors")
        ...     fastmlp.load(f"{folder}/iris.safetensors").class_names
        ('setosa', 'versicolor', 'virginica')
        """
        from .files import save

        save(self, path)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MLP):
            return NotImplemented
        return self.spec == other.spec and self.dtype == other.dtype and np.array_equal(self._params, other._params)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        parts = [str(self.spec.n_in), *(f"{layer.n} {layer.act.name}" for layer in self.spec.layers)]
        return f"<fastmlp.MLP {' → '.join(parts)}, {self.spec.loss.name}, {self._params.size} {self.dtype} parameters>"

    def __getstate__(self) -> dict[str, Any]:
        return {
            "spec": self.spec, "dtype": self.dtype.name, "params": np.array(self._params),
            "class_names": self.class_names, "metadata": self.metadata,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._build(state["spec"], np.dtype(state["dtype"]))
        self.params = state["params"]
        self.class_names = state["class_names"]
        self.metadata = state["metadata"]


def _plain(values: Any) -> bool:
    """Whether kernels can read it as it is."""
    return type(values) is np.ndarray and values.dtype in _NATIVE


@dataclass(frozen=True)
class GradientCheck:
    """What `check_gradients` found: the largest relative error, and where. True when it is within ``tolerance``."""

    error: float
    layer: int  # counted from 1
    errors: tuple[float, ...]  # one a layer
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
        Of any dtype; a float64 copy is what is checked.
    x, y : arrays
        A few samples: the cost is two passes over them a parameter.
    eps : float
        Step of the differences, relative to a parameter's size where that is above one.
    tolerance : float
        Largest relative error, |g - g'| / (|g| + |g'|) in the norm of a layer, that still counts as agreement.

    Returns
    -------
    GradientCheck
        With ``error``, ``layer`` (the worst, from 1) and ``errors`` of all layers; true when they agree.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, {"n": 2, "act": "softmax"}], seed=0)
    >>> bool(fastmlp.check_gradients(model, np.eye(3), [0, 1, 1]))
    True
    """
    if not isinstance(model, MLP):
        raise TypeError(f"model must be a fastmlp.MLP, got {type(model).__name__}")
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
        exact, measured = grad[start:end], numeric[start:end]
        scale = np.linalg.norm(exact) + np.linalg.norm(measured)
        errors.append(float(np.linalg.norm(exact - measured) / scale) if scale > eps else 0.0)
    worst = max(range(len(errors)), key=errors.__getitem__)
    error = errors[worst] if all(map(math.isfinite, errors)) else math.inf
    return GradientCheck(error, worst + 1, tuple(errors), tolerance)
