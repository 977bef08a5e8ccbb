"""Predictions, losses and gradients of many networks of one spec, for evolution and sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..base.checks import check_count, check_out
from ..base.frames import is_frame
from ..engine.network import is_plain, mean_values
from ..engine.population import Population, populations
from ..spec import Spec, spec_of
from .data import check_x, check_y
from .names import Names, check_labels, found_labels

__all__ = ["evaluate_many", "gradient_many", "predict_many"]

_DTYPES = np.dtype(np.float32), np.dtype(np.float64)


def predict_many(
    spec: Sequence[Mapping[str, Any]] | Spec,
    params: Any,
    x: Any,
    *,
    out: np.ndarray | None = None,
    n_threads: int = 1,
) -> np.ndarray:
    """Compute the outputs of many networks of one spec: bit for bit those of `MLP.predict`.

    Parameters
    ----------
    spec : list of dict, or Spec
        The networks' layers.
    params : array, (n_networks, n_params)
        One network in each row, in the order of `MLP.params`; float32 or float64, which is the networks' dtype. It is
        not copied.
    x : array, (n_samples, n_in) or (n_networks, n_samples, n_in)
        The same samples for all networks, or separate samples for each. Any real dtype. Only separate samples that are
        not evenly spaced in memory are copied.
    out : ndarray, (n_networks, n_samples, n_out), optional
        An array for the outputs, which is then returned.
    n_threads : int
        The number of threads that share the networks. The bits do not depend on it.

    Returns
    -------
    ndarray, (n_networks, n_samples, n_out)
        Each network's outputs.

    Raises
    ------
    ValueError, TypeError
        For bad input, before anything is written.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "linear"}]
    >>> params = np.array([fastmlp.MLP(spec, seed=seed).params for seed in range(100)])
    >>> fastmlp.predict_many(spec, params, [[0.5, -1.0]]).shape
    (100, 1, 1)
    """
    spec = spec_of(spec)
    params = _check_params(params, spec)
    if out is None and n_threads == 1 and is_plain(x) and x.ndim == 2 and x.shape[1] == spec.n_in and len(x):
        outputs = populations(spec, params.dtype).predict_few(params, x)
        if outputs is not None:
            return outputs  # else there are more samples, or the checks below say why
    samples = _Samples(spec, params, x)
    shape = len(params), samples.n, spec.n_out
    if out is None:
        out = np.empty(shape, samples.params.dtype)
    else:
        check_out(out, shape, samples.params.dtype)
    target = out if out.flags.c_contiguous else np.empty(shape, samples.params.dtype)
    samples.run(
        lambda networks, part, view: networks.forward(
            samples.params[part], view, samples.rows, samples.n, target[part], False
        ),
        n_threads,
    )
    if target is not out:
        out[...] = target
    return out


def evaluate_many(
    spec: Sequence[Mapping[str, Any]] | Spec,
    params: Any,
    x: Any,
    y: Any,
    *,
    class_names: Sequence[Any] | None = None,
    n_threads: int = 1,
) -> dict[str, np.ndarray]:
    """Compute the mean loss, and for classes and labels the accuracy, of many networks of one spec.

    Parameters
    ----------
    spec, params, x, n_threads
        As in `predict_many`.
    y : array
        Targets for all networks, as in `train`. If x is (n_networks, n_samples, n_in), y may also be separate for each
        network, with an additional first axis. A y of shape (n_samples, n_out) is always for all networks.
    class_names : list of str, optional
        The labels in y, as in `train`; when left out, each class must occur in y.

    Returns
    -------
    dict of ndarray, (n_networks,)
        The values of `MLP.evaluate` for each network.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> params = np.array([fastmlp.MLP(spec, seed=seed).params for seed in range(100)])
    >>> values = fastmlp.evaluate_many(spec, params, [[0, 1], [1, 1]], [1, 0])
    >>> values["loss"].shape, values["accuracy"].shape
    ((100,), (100,))
    """
    samples = _Samples(spec, params, x).with_targets(y, class_names)
    totals = samples.run(
        lambda networks, part, view: networks.forward(samples.params[part], view, samples.rows, samples.n, None, True),
        n_threads,
    )
    return mean_values(samples.spec, list(totals.T), samples.n)


def gradient_many(
    spec: Sequence[Mapping[str, Any]] | Spec,
    params: Any,
    x: Any,
    y: Any,
    *,
    class_names: Sequence[Any] | None = None,
    n_threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the mean losses of many networks of one spec, and their gradients.

    Parameters
    ----------
    spec, params, x, y, class_names, n_threads
        As in `evaluate_many`.

    Returns
    -------
    losses : ndarray of float64, (n_networks,)
        Each network's mean loss.
    gradients : ndarray, (n_networks, n_params)
        Its derivatives, in the order of `MLP.params` and the dtype of ``params``.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "linear"}]
    >>> params = np.array([fastmlp.MLP(spec, seed=seed).params for seed in range(100)])
    >>> losses, gradients = fastmlp.gradient_many(spec, params, [[0.5, -1.0]], [2.0])
    >>> losses.shape, gradients.shape == params.shape
    ((100,), True)
    """
    samples = _Samples(spec, params, x).with_targets(y, class_names)
    gradients = np.empty_like(samples.params, order="C")
    totals = samples.run(
        lambda networks, part, view: networks.gradient(
            samples.params[part], view, samples.rows, samples.n, gradients[part]
        ),
        n_threads,
    )
    return totals[:, 0] / samples.n, gradients


class _Samples:
    """Checked parameters and x of many networks, and y if there are targets."""

    def __init__(self, spec: Any, params: Any, x: Any) -> None:
        self.spec = spec = spec_of(spec)
        self.params = params = _check_params(params, spec)
        dtype, own = params.dtype, np.ndim(x) == 3 and not (hasattr(x, "tocsr") or is_frame(x))
        self._populations = populations(spec, dtype)
        self.x = check_x(_below_one_another(x, len(params), "x") if own else x, spec.n_in, dtype)
        self.n = len(self.x) // len(params) if own else len(self.x)
        self.y: np.ndarray | None = None
        self.rows = self.n * self.x.strides[0] if own else 0, 0

    def with_targets(self, y: Any, class_names: Any) -> _Samples:
        """Check y, too, and the names of its labels."""
        spec, x_row, shape = self.spec, self.rows[0], np.shape(y)
        own = x_row != 0 and shape[:2] == (len(self.params), self.n) and shape != (self.n, spec.n_targets)
        y = _below_one_another(y, len(self.params), "y") if own else y
        labels = found_labels(y, spec) if class_names is None else check_labels(class_names, spec)
        self.y = check_y(y, spec, len(self.x) if own else self.n, self.params.dtype, names=Names(labels))
        self.rows = x_row, self.n * self.y.strides[0] if own else 0
        return self

    def run(self, work: Callable[[Population, slice, Any], np.ndarray], n_threads: int) -> np.ndarray:
        """Do the work for all networks, each thread a part of them; return the totals, (n_networks, 2)."""
        n, n_threads = len(self.params), check_count(n_threads, "n_threads")
        size = -(-n // n_threads)
        parts = [slice(start, min(start + size, n)) for start in range(0, n, size)]

        def run_part(part: slice) -> np.ndarray:
            x = self.x[part.start * self.n :] if self.rows[0] else self.x
            y = self.y[part.start * self.n :] if self.y is not None and self.rows[1] else self.y
            with self._populations.lent() as population:
                return work(population, part, population.binding.view(x, y))

        if len(parts) == 1:
            return run_part(parts[0])
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(len(parts), "fastmlp") as threads:
            return np.concatenate(list(threads.map(run_part, parts)))


def _check_params(params: Any, spec: Spec) -> np.ndarray:
    """params as an array whose rows are contiguous, (n_networks, n_params)."""
    params = np.asarray(params)
    if params.dtype not in _DTYPES and params.dtype.newbyteorder("=") not in _DTYPES:
        raise TypeError(f"params must be float32 or float64, got {params.dtype}; give params.astype(numpy.float32)")
    if params.ndim != 2 or params.shape[1] != spec.n_params:
        hint = "; one network is params[None]" if params.shape == (spec.n_params,) else ""
        raise ValueError(f"params must have shape (n_networks, {spec.n_params}), got {params.shape}{hint}")
    if not len(params):
        raise ValueError("params is empty: it has no networks")
    if not params.dtype.isnative:
        params = params.astype(params.dtype.newbyteorder("="))
    return params if params.strides[1] == params.itemsize and params.flags.aligned else np.ascontiguousarray(params)


def _below_one_another(values: Any, n_networks: int, name: str) -> np.ndarray:
    """Return the samples of all networks as rows: (n_networks · n_samples, …) from (n_networks, n_samples, …)."""
    values = np.asarray(values)
    if len(values) != n_networks:
        raise ValueError(f"{name} has samples for {len(values)} networks, params has {n_networks}")
    return values.reshape(values.shape[0] * values.shape[1], *values.shape[2:])
