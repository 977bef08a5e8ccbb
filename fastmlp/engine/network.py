"""A network as training needs it: its spec, its parameters, and the engine that they are bound to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ..base.alone import Alone
from ..kernels.layout import aligned, parameter_places
from ..kernels.report import level
from ..metrics import MetricFunction, one_hot
from ..spec import Spec
from .engine import Engine
from .random import unflattened

__all__ = ["Network", "evaluate_rows", "is_plain", "kernels_level", "mean_values", "named_values"]

_BUSY = (
    "the model is being trained by the call that this one comes from (a callback or a signal handler); "
    "train a model.copy(), or wait until that call returns"
)

_NATIVE = frozenset(np.dtype(kind) for kind in "bBhHiIlLqQfd")
_Sum = TypeVar("_Sum", float, np.ndarray)  # of one network, or of each of many


def is_plain(values: Any) -> bool:
    """Whether kernels can read the values as they are, without a copy."""
    return type(values) is np.ndarray and values.dtype in _NATIVE


class Network:
    """Parameters under a spec.

    Attributes
    ----------
    spec : Spec
    dtype : dtype
    params : ndarray, (n_params,)
    weights, biases : list of ndarray
        Views of ``params``. These and spec and dtype cannot be replaced: kernels count on them.
    """

    def _build(self, spec: Spec, dtype: np.dtype) -> None:
        """Make the parameters, all zero. Kernels are compiled, or loaded, when the engine is first asked for."""
        spec.check_range(dtype)
        self._spec, self._dtype = spec, dtype
        self._places, n_params = parameter_places(spec.widths, [layer.bias for layer in spec.layers])
        self._params = aligned(n_params, dtype)
        self._weights, self._biases = self.unflatten(self._params)
        self._engine_or_none: Engine | None = None
        self._n_in, self._one_sample = spec.n_in, (1, spec.n_in)
        self._alone = Alone(_BUSY)

    def _rescale(self, spec: Spec) -> None:
        """Take a spec that differs in shift and scale alone, while the network is new and nothing is bound to it."""
        spec.check_range(self._dtype)
        self._spec, self._engine_or_none = spec, None

    @property
    def spec(self) -> Spec:
        """The network's description: layers, loss and input."""
        return self._spec

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64, of all parameters."""
        return self._dtype

    @property
    def weights(self) -> list[np.ndarray]:
        """A view of ``params`` for each layer, (n_out, n_in)."""
        return self._weights

    @property
    def biases(self) -> list[np.ndarray]:
        """A view of ``params`` for each layer, (n_out,); read-only zeros for a layer without biases."""
        return self._biases

    @property
    def params(self) -> np.ndarray:
        """All weights and biases in one vector, a view: writing to it changes the network."""
        return self._params

    @params.setter
    def params(self, values: Any) -> None:
        values = np.asarray(values)
        if values.shape != self._params.shape:
            raise ValueError(f"params must have shape {self._params.shape}, got {values.shape}")
        self._params[...] = values

    @property
    def _engine(self) -> Engine:
        if self._engine_or_none is None:
            self._engine_or_none = Engine(self.spec, self._places, self._params)
        return self._engine_or_none

    def _are_few(self, x: Any) -> bool:
        """Whether x is an array of few samples, of the right shape, that a kernel may be asked to look at as it is."""
        if not is_plain(x):
            return False
        shape = x.shape
        return len(shape) == 2 and shape[1] == self._n_in and 0 < shape[0] <= self._engine.few

    def unflatten(self, vector: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return views of a vector, such as a gradient, as lists like ``weights`` and ``biases``.

        Parameters
        ----------
        vector : ndarray, (n_params,)
            Numbers in the order of ``params``.
        """
        return unflattened(vector, self._places)


def kernels_level() -> str:
    """The level of kernels, on which, with the version of fastmlp, the bits depend; see `fastmlp.show_kernels`."""
    return level()


def evaluate_rows(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    rows: np.ndarray,
    metrics: Mapping[str, MetricFunction],
    n_threads: int = 1,
) -> dict[str, float]:
    """Mean loss, accuracy and metrics of the samples in ``rows`` of checked x, y and weights: Σ w v / Σ w."""
    outputs = np.empty((len(rows), network.spec.n_out), network.dtype) if metrics else None
    engine = network._engine
    totals = engine.forward(engine.binding.view(x, y, weights), rows, outputs, True, n_threads)
    return named_values(network, totals, y, weights, rows, outputs, metrics)


def mean_values(spec: Spec, sums: Sequence[_Sum], weight: float) -> dict[str, _Sum]:
    """Name the sums of losses and of right answers, of one network or of each of many, divided by the samples' weight
    together."""
    values = {"loss": sums[0] / weight}
    if spec.multilabel or spec.one_of_many:
        values["accuracy"] = sums[1] / weight
    return values


def named_values(
    network: Network,
    totals: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    rows: np.ndarray,
    outputs: np.ndarray | None,
    metrics: Mapping[str, MetricFunction],
) -> dict[str, float]:
    """Name the kernels' totals (sums of losses and of right answers), divided by the weight of the samples in ``rows``
    together, and the metrics of those samples' outputs (n_rows, n_out), which are counts where outputs are their
    logarithms."""
    spec, weights = network.spec, None if weights is None else weights[rows]
    weight = len(rows) if weights is None else float(weights.sum())
    values = mean_values(spec, totals.tolist(), weight)
    if outputs is not None:
        targets = one_hot(y[rows], spec.n_out, network.dtype)
        if spec.loss.logarithmic:
            with np.errstate(over="ignore"):
                outputs = np.exp(outputs)
        for name, metric in metrics.items():
            values[name] = float(metric(targets, outputs, sample_weight=weights))
    return values
