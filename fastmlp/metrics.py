"""Metrics by name: functions of the true and the predicted outputs, both (n_samples, n_out)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from .base.checks import check_choice
from .base.suggest import unknown_name

__all__ = ["METRICS", "accuracy", "cross_entropy", "label_accuracy", "mae", "mbe", "mse", "r2", "top_k"]

Metric = Callable[[np.ndarray, np.ndarray], float]


def mse(y: np.ndarray, y_hat: np.ndarray) -> float:
    """Mean of (y - y_hat)²."""
    return float(np.mean((y - y_hat) ** 2))


def mae(y: np.ndarray, y_hat: np.ndarray) -> float:
    """Mean of |y - y_hat|."""
    return float(np.mean(np.abs(y - y_hat)))


def mbe(y: np.ndarray, y_hat: np.ndarray) -> float:
    """Mean of y - y_hat."""
    return float(np.mean(y - y_hat))


def r2(y: np.ndarray, y_hat: np.ndarray) -> float:
    """1 - residual / total sum of squares, the mean over the outputs; a constant output counts 1 when met, else 0."""
    residual = np.sum((y - y_hat) ** 2, axis=0)
    total = np.sum((y - np.mean(y, axis=0)) ** 2, axis=0)
    return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), residual == 0)))


def accuracy(y: np.ndarray, y_hat: np.ndarray) -> float:
    """Share of samples whose largest output is the right class."""
    return float(np.mean(np.argmax(y, axis=1) == np.argmax(y_hat, axis=1)))


def label_accuracy(y: np.ndarray, y_hat: np.ndarray) -> float:
    """Share of labels on the right side of one half."""
    return float(np.mean((y > 0.5) == (y_hat > 0.5)))


def top_k(y: np.ndarray, y_hat: np.ndarray, k: int = 5) -> float:
    """Share of samples whose right class is among the k largest outputs."""
    right = np.take_along_axis(y_hat, np.argmax(y, axis=1)[:, None], axis=1)
    return float(np.mean(np.sum(y_hat > right, axis=1) < k))


def cross_entropy(y: np.ndarray, y_hat: np.ndarray) -> float:
    """Mean of -Σ y log y_hat, with y_hat no smaller than the smallest number of its dtype."""
    return float(-np.mean(np.sum(y * np.log(np.maximum(y_hat, np.finfo(y_hat.dtype).tiny)), axis=1)))


METRICS: dict[str, Metric] = {f.__name__: f for f in (mse, mae, mbe, r2, accuracy, top_k, cross_entropy)}
"""Every metric by its name; "top_3" and the like also name one, and "accuracy" of several labels is label_accuracy."""


def named_metrics(metrics: Any, multilabel: bool) -> dict[str, Metric]:
    """Return the metrics that the ``metrics`` argument means, by name.

    The argument is a name (also "top_3", …), a function of (y, y_hat), a list of these, or None. "accuracy" of several
    labels is `label_accuracy`.
    """
    if metrics is None:
        return {}
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Sequence):
        raise TypeError(f"metrics must be names or functions, got {type(metrics).__name__}")
    result: dict[str, Metric] = {}
    for metric in metrics:
        if callable(metric):
            result[getattr(metric, "__name__", type(metric).__name__)] = metric
        elif not isinstance(metric, str):
            raise TypeError(f"metrics must be names or functions, got {metric!r}")
        elif metric == "accuracy" and multilabel:
            result[metric] = label_accuracy
        elif match := re.fullmatch(r"top_([1-9]\d*)", metric):
            result[metric] = partial(top_k, k=int(match[1]))
        elif metric in METRICS:
            result[metric] = METRICS[metric]
        else:
            raise unknown_name(metric, METRICS, "metrics")
    return result


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
