"""Metrics by name: functions of the true and the predicted outputs, both (n_samples, n_out).

Each takes ``sample_weight`` (n_samples,) as well, and is then Σ w v / Σ w over the samples.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .base.checks import check_choice
from .base.suggest import unknown_name
from .spec import Spec

__all__ = ["METRICS", "accuracy", "cross_entropy", "label_accuracy", "mae", "mbe", "mse", "r2", "top_k"]

Metric = Callable[..., float]
Weights = np.ndarray | None


def _mean(values: np.ndarray, sample_weight: Weights) -> float:
    """Σ w v / Σ w of the samples' values (n_samples,), or of the means of their rows (n_samples, n)."""
    if sample_weight is None:
        return float(np.mean(values, dtype=np.float64))
    return float(np.mean(_weighted_mean(values, sample_weight)))


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ w v / Σ w over the samples, of each column of values."""
    if not np.any(weights):
        raise ValueError("sample_weight is zero for all samples: there is nothing to measure")
    return np.average(np.asarray(values, np.float64), axis=0, weights=weights)


def mse(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of (y - y_hat)²."""
    return _mean((y - y_hat) ** 2, sample_weight)


def mae(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of |y - y_hat|."""
    return _mean(np.abs(y - y_hat), sample_weight)


def mbe(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of y - y_hat."""
    return _mean(y - y_hat, sample_weight)


def r2(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """1 - residual / total sum of squares, the mean over the outputs; a constant output counts 1 when met, else 0."""
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
    y, y_hat, weights = y[weights > 0].astype(np.float64), y_hat[weights > 0], weights[weights > 0]
    residual, total = weights @ (y - y_hat) ** 2, weights @ (y - _weighted_mean(y, weights)) ** 2
    varies = np.any(y != y[0], axis=0) & (total > 0)
    of_constant = np.where(np.isnan(residual), np.nan, residual == 0)
    return float(np.mean(np.where(varies, 1 - residual / np.where(varies, total, 1), of_constant)))


def accuracy(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Share of samples whose largest output is the right class; a sample with NaN among its outputs is none of them."""
    right = np.argmax(y, axis=1) == np.argmax(y_hat, axis=1)
    return _mean(right & ~np.isnan(y_hat).any(axis=1), sample_weight)


def label_accuracy(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Share of labels on the right side of one half; NaN is on no side."""
    return _mean(((y > 0.5) == (y_hat > 0.5)) & ~np.isnan(y_hat), sample_weight)


def top_k(y: np.ndarray, y_hat: np.ndarray, k: int = 5, sample_weight: Weights = None) -> float:
    """Share of samples whose right class is among the k largest outputs, none of them NaN."""
    right = np.take_along_axis(y_hat, np.argmax(y, axis=1)[:, None], axis=1)
    return _mean((np.sum(y_hat > right, axis=1) < k) & ~np.isnan(y_hat).any(axis=1), sample_weight)


def cross_entropy(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of -Σ y log y_hat, with y_hat no smaller than the smallest number of its dtype."""
    logs = np.log(np.maximum(y_hat, np.finfo(y_hat.dtype).tiny))
    return _mean(-np.sum(y * logs, axis=1), sample_weight)


METRICS: dict[str, Metric] = {f.__name__: f for f in (mse, mae, mbe, r2, accuracy, top_k, cross_entropy)}
"""Every metric by its name; "top_3" and the like also name one, and "accuracy" of several labels is label_accuracy."""


def named_metrics(metrics: Any, spec: Spec) -> dict[str, Metric]:
    """Return the metrics that the ``metrics`` argument means, by name, as functions of (y, y_hat, *, sample_weight).

    The argument is a name (also "top_3", …), a function of (y, y_hat), which also gets ``sample_weight`` (None where no
    weights are given) if it has a parameter of that name, a list of these, or None. "accuracy" of several labels is
    `label_accuracy`. ValueError for two metrics of one name, and for names that the history has already.
    """
    if metrics is None:
        return {}
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Sequence):
        raise TypeError(f"metrics must be names or functions, got {type(metrics).__name__}")
    found: dict[str, Any] = {}
    result: dict[str, Metric] = {}
    for metric in metrics:
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if found.setdefault(name, metric) is not metric and found[name] != metric:
            raise ValueError(f"metrics: two are called {name!r}; give each a name of its own: function.__name__ = …")
        if isinstance(metric, str) or METRICS.get(name) is metric:
            result[name] = _built_in(name, spec)
        elif callable(metric):
            result[name] = _users(metric, name, spec)
        else:
            raise TypeError(f"metrics must be names or functions, got {metric!r}")
    return result


def _built_in(name: str, spec: Spec) -> Metric:
    """Return the metric of that name, if it says something of the network's outputs."""
    match = re.fullmatch(r"top_([1-9]\d*)", name)
    if name not in METRICS and not match:
        raise unknown_name(name, METRICS, "metrics")
    if name == "accuracy" and spec.multilabel:
        return label_accuracy
    if (name in ("accuracy", "top_k") or match) and (spec.multilabel or spec.n_out == 1):
        raise ValueError(f"metrics: {name} needs one output a class; this network has {_outputs_in_words(spec)}")
    return partial(top_k, k=int(match[1])) if match else METRICS[name]


def _users(metric: Callable[..., Any], name: str, spec: Spec) -> Metric:
    """Return a user's function as one that takes ``sample_weight``, unless its name is the history's own."""
    has_accuracy = spec.multilabel or spec.one_of_many
    if name == "loss" or name.startswith("val_") or (name == "accuracy" and has_accuracy):
        raise ValueError(
            f"metrics: the history has a {name!r} of its own; give your function another name: function.__name__ = …"
            if not name.startswith("val_")
            else f"metrics: {name!r} would be mistaken for a validation value; let your function's name not begin so"
        )
    try:
        weighs = "sample_weight" in inspect.signature(metric).parameters
    except (TypeError, ValueError):  # some functions written in C have no signature
        weighs = False
    return metric if weighs else lambda y, y_hat, sample_weight: metric(y, y_hat)


def _outputs_in_words(spec: Spec) -> str:
    return f"{spec.n_out} {spec.layers[-1].act.name} output{'s' if spec.n_out > 1 else ''}"


def higher_is_better(name: str) -> bool:
    """True for accuracy, r2 and top_k; losses, errors and metrics of a user's own count as lower-is-better."""
    return name in ("accuracy", "r2") or name.startswith("top_")


def improvements(history: Mapping[str, Sequence[float]], monitor: str | None, min_delta: float) -> list[bool]:
    """Return for each epoch of a history whether it was better than all before by more than ``min_delta``.

    ``monitor`` is a name in the history; None means "val_loss" where there is one, else "loss".
    """
    if not history:
        return []
    if monitor is None:
        monitor = "val_loss" if "val_loss" in history else "loss"
    check_choice(monitor, "monitor", history)
    sign = -1 if higher_is_better(monitor.removeprefix("val_")) else 1
    best, result = math.inf, []
    for value in history[monitor]:
        result.append(sign * value < best - min_delta)
        best = sign * value if result[-1] else best
    return result


def one_hot(y: np.ndarray, n_out: int, dtype: Any) -> np.ndarray:
    """Return y as numbers of ``dtype``, (n_samples, n_out): class indices (n_samples,) become one-hot rows."""
    if y.ndim == 2:
        return y.astype(dtype, copy=False)
    rows = np.zeros((len(y), n_out), dtype)
    rows[np.arange(len(y)), y] = 1
    return rows
