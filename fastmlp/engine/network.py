"""A network as training needs it: its spec, its parameters, and the engine that they are bound to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ..base.alone import Alone
from ..kernels import catalog
from ..kernels.catalog import Variant
from ..kernels.layout import aligned
from ..kernels.report import level
from ..kernels.shape import LayerShape, Shape
from ..kernels.store import compiling_seconds
from ..metrics import MetricFunction, one_hot
from ..spec import Spec
from .binding import fused_output
from .engine import Engine
from .memory import free_params, places_of
from .random import unflattened

__all__ = [
    "Network", "compiling_seconds", "evaluate_rows", "is_plain", "kernels_level", "mean_values", "named_sums",
    "named_values",
]  # fmt: skip

_BUSY = (
    "the model is being trained by the call that this one comes from (a callback or a signal handler); "
    "train a model.copy(), or wait until that call returns"
)

_NATIVE = frozenset(np.dtype(kind) for kind in "bBhHiIlLqQfd")
_Sum = TypeVar("_Sum", float, np.ndarray)  # of one network, or of each of many


def is_plain(values: Any) -> bool:
    """Whether kernels can read the values as they are, without a copy."""
    return type(values) is np.ndarray and values.dtype in _NATIVE


class _MadeWhenAsked:
    """The engine of a network, made when it is first asked for and an attribute from then on, which is looked up sooner
    than a property. `functools.cached_property` would make it under a lock, which a fork's child might find held."""

    def __get__(self, network: Network | None, kind: type[Network]) -> Any:
        if network is None:
            return self
        engine = Engine(network.spec, network._places, network._params, network._shape)
        network.__dict__["_engine"] = engine
        return engine


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

    _engine: Engine = _MadeWhenAsked()  # type: ignore[assignment]

    def _build(self, spec: Spec, dtype: np.dtype) -> None:
        """Make the parameters, all zero. Kernels are compiled, or loaded, when the engine is first asked for."""
        spec.check_range(dtype)
        self._spec, self._dtype = spec, dtype
        self._places, n_params = places_of(spec)
        self._params = aligned(n_params, dtype)
        self._weights, self._biases = self.unflatten(self._params)
        self._n_in, self._one_sample = spec.n_in, (1, spec.n_in)
        self._alone = Alone(_BUSY)
        self._shape = ""

    def _specialize(self) -> None:
        """Let per-sample SGD and gradients be done by kernels for this shape of network, which are compiled when they
        are first needed, or by `_load_shaped`; to be called while nothing is bound to the network."""
        layers = tuple(LayerShape(layer.n, layer.act.name, layer.bias) for layer in self.spec.layers)
        self._shape = str(Shape(self._n_in, layers, self.spec.loss.name, fused_output(self.spec)))

    def _load_shaped(self) -> None:
        """Load the kernels for this shape of network; compile those that the cache has not."""
        for family in catalog.SHAPED:
            catalog.load(Variant(family, self._shape, self.dtype.name))

    def _rescale(self, spec: Spec) -> None:
        """Take a spec that differs in shift and scale alone, while the network is new and nothing is bound to it."""
        spec.check_range(self._dtype)
        self._spec = spec
        self.__dict__.pop("_engine", None)

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
    def free(self) -> slice | np.ndarray:
        """The indices of the parameters that training moves: those of layers that are not frozen."""
        return free_params(self._places, self._params.size)

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
    output_weights: np.ndarray | None = None,
) -> dict[str, float]:
    """Mean loss, accuracy and metrics of the samples in ``rows`` of checked x, y and weights: Σ w v / Σ w."""
    outputs = np.empty((len(rows), network.spec.n_out), network.dtype) if metrics else None
    engine = network._engine
    view = engine.binding.view(x, y, weights, output_weights=output_weights)
    totals = engine.forward(view, rows, outputs, True, n_threads)
    return named_values(network, totals, y, weights, rows, outputs, metrics)


def named_sums(spec: Spec) -> tuple[str, ...]:
    """What the kernels' sums, of losses and of right answers, are called; the second is for classes alone."""
    return ("loss", "accuracy") if spec.multilabel or spec.one_of_many else ("loss",)


def mean_values(spec: Spec, sums: Sequence[_Sum], weight: float) -> dict[str, _Sum]:
    """Name the sums of losses and of right answers, of one network or of each of many, divided by the samples' weight
    together."""
    values = {"loss": sums[0] / weight}
    if spec.multilabel or spec.one_of_many:  # as in `named_sums`; a loop over those takes half a microsecond more
        values["accuracy"] = sums[1] / weight
    return values


def _measured_weight(y: np.ndarray, weights: np.ndarray | None, rows: np.ndarray) -> float:
    """The total weight of those of the samples in ``rows``, whose weights these are, that have a y, not NaN alone."""
    y = y[rows].reshape(len(rows), -1)
    measured = ~np.isnan(y).all(axis=1) if y.dtype.kind == "f" else np.ones(len(rows), bool)
    return float(measured.sum() if weights is None else weights[measured].sum()) or 1.0


def named_values(
    network: Network,
    totals: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray | None,
    rows: np.ndarray,
    outputs: np.ndarray | None,
    metrics: Mapping[str, MetricFunction],
    of_slopes: str | None = None,
) -> dict[str, float]:
    """Name the kernels' totals (sums of losses and of right answers; and of what losses have of derivatives, by the
    name ``of_slopes``, where these are trained), divided by the weight of the samples in ``rows`` together, and the
    metrics of those samples' outputs (n_rows, n_out), which are counts where outputs are their logarithms; of means and
    variances, those of the means."""
    spec, weights = network.spec, None if weights is None else weights[rows]
    weight = len(rows) if weights is None else float(weights.sum())
    values = mean_values(spec, totals.tolist(), weight)
    if of_slopes and "accuracy" in values:
        values["accuracy"] = float(totals[1]) / _measured_weight(y, weights, rows)
    if outputs is not None:
        targets = one_hot(y[rows], spec.n_out, network.dtype)
        if spec.loss.logarithmic:
            with np.errstate(over="ignore"):
                outputs = np.exp(outputs)
        if spec.loss.gaussian:
            targets, outputs = targets[:, : spec.n_targets], outputs[:, : spec.n_targets]
        for name, metric in metrics.items():
            values[name] = float(metric(targets, outputs, sample_weight=weights))
    if of_slopes:
        values[of_slopes] = float(totals[2]) / weight
    return values
