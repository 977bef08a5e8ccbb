"""The registry of metrics: functions of the true and the predicted outputs, both (n_samples, n_out).

Each takes ``sample_weight`` (n_samples,) as well: weight 2 is two copies of a sample, weight 0 none. Classes are
columns of which the largest is the answer; one column is two classes, the second where it is above one half.

Numbers and labels of y that are NaN were not measured. What is a mean is then the mean over a sample's measured
outputs, and over the samples that have any; rmse, r2, and what is computed for each label, are of the samples that have
its number.
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .base.checks import check_choice
from .base.suggest import unknown_name
from .spec import Spec

__all__ = [
    "METRICS", "Metric", "accuracy", "average_precision", "balanced_accuracy", "cross_entropy", "f1", "label_accuracy",
    "log_loss", "mae", "mape", "mbe", "mse", "precision", "r2", "recall", "rmse", "roc_auc", "top_k",
]  # fmt: skip

MetricFunction = Callable[..., float]
Weights = np.ndarray | None


def _mean(values: np.ndarray, sample_weight: Weights, y: np.ndarray) -> float:
    """Σ w v / Σ w of the samples' values (n_samples,), or of the means of their rows (n_samples, n), where y is not
    NaN."""
    missing = np.isnan(y)
    if missing.any():
        missing = missing if values.ndim == 2 else missing.any(axis=1, keepdims=True)
        counts = np.sum(~missing, axis=1)
        values = np.sum(np.where(missing, 0.0, values.reshape(missing.shape)), axis=1) / np.maximum(counts, 1)
        sample_weight = (counts > 0) * (1.0 if sample_weight is None else np.asarray(sample_weight))
    if sample_weight is None:
        return float(np.mean(values, dtype=np.float64))
    return float(np.mean(_weighted_mean(values, sample_weight)))


def _weighted_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Σ w v / Σ w over the samples, of each column of values."""
    if not np.any(weights):
        raise ValueError("sample_weight is zero for all samples: there is nothing to measure")
    return np.average(np.asarray(values, np.float64), axis=0, weights=weights)


def _errors(y: np.ndarray, y_hat: np.ndarray) -> np.ndarray:
    """y - y_hat in float64, whose square has room."""
    return np.subtract(y, y_hat, dtype=np.float64)


def mse(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of (y - y_hat)².

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        True and predicted numbers. What is NaN in y was not measured.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    return _mean(_errors(y, y_hat) ** 2, sample_weight, y)


def mae(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of |y - y_hat|.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        True and predicted numbers. What is NaN in y was not measured.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    return _mean(np.abs(_errors(y, y_hat)), sample_weight, y)


def mbe(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of y - y_hat.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        True and predicted numbers. What is NaN in y was not measured.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    return _mean(_errors(y, y_hat), sample_weight, y)


def r2(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """1 - residual / total sum of squares, the mean over the outputs; a constant output counts 1 when met, else 0.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        True and predicted numbers. What is NaN in y was not measured.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    if np.isnan(y).any():
        return _mean_over_outputs(r2, y, y_hat, sample_weight)
    y, y_hat, weights = _counted(y.astype(np.float64), y_hat, sample_weight)
    residual, total = weights @ (y - y_hat) ** 2, weights @ (y - _weighted_mean(y, weights)) ** 2
    varies = np.any(y != y[0], axis=0) & (total > 0)
    of_constant = np.where(np.isnan(residual), np.nan, residual == 0)
    return float(np.mean(np.where(varies, 1 - residual / np.where(varies, total, 1), of_constant)))


def accuracy(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Share of samples whose largest output is the right class; a sample with NaN among its outputs counts as wrong.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_classes)
        One-hot rows of the right classes, and the predicted outputs.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    right = np.argmax(y, axis=1) == np.argmax(y_hat, axis=1)
    return _mean(right & ~np.isnan(y_hat).any(axis=1), sample_weight, y)


def label_accuracy(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Share of labels on the right side of one half; NaN is on no side.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        The right labels, 0 or 1, and the predicted outputs. What is NaN in y was not measured.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    return _mean(((y > 0.5) == (y_hat > 0.5)) & ~np.isnan(y_hat), sample_weight, y)


def top_k(y: np.ndarray, y_hat: np.ndarray, k: int = 5, sample_weight: Weights = None) -> float:
    """Share of samples whose right class is among the k largest outputs, none of them NaN.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_classes)
        One-hot rows of the right classes, and the predicted outputs.
    k : int
        How many of the largest outputs are looked at.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    right = np.take_along_axis(y_hat, np.argmax(y, axis=1)[:, None], axis=1)
    return _mean((np.sum(y_hat > right, axis=1) < k) & ~np.isnan(y_hat).any(axis=1), sample_weight, y)


def cross_entropy(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of -Σ y log y_hat, with y_hat no smaller than the smallest number of its dtype.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_classes)
        One-hot rows of the right classes, and the predicted outputs.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    logs = np.log(np.maximum(y_hat, np.finfo(y_hat.dtype).tiny))
    return _mean(-np.sum(y * logs, axis=1), sample_weight, y)


def rmse(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Square root of the mean of (y - y_hat)², the mean over the outputs.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        True and predicted numbers. What is NaN in y was not measured.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    if np.isnan(y).any():
        return _mean_over_outputs(rmse, y, y_hat, sample_weight)
    y, y_hat, weights = _counted(y, y_hat, sample_weight)
    return float(np.mean(np.sqrt(_weighted_mean(_errors(y, y_hat) ** 2, weights))))


def mape(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of |y - y_hat| / |y|, a share, not a percentage; |y| is taken as 2.2e-16 at least.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        True and predicted numbers. What is NaN in y was not measured.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    return _mean(np.abs(_errors(y, y_hat)) / np.maximum(np.abs(y), np.finfo(np.float64).eps), sample_weight, y)


def log_loss(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of -Σ y log y_hat over the classes, with y_hat kept away from 0 and 1 by the dtype's eps.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_classes) or (n_samples, 1)
        The right classes as one-hot rows, or of two classes 1 for the second, and the predicted outputs.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    if y.shape[1] == 1:
        y, y_hat = np.hstack([1 - y, y]), np.hstack([1 - y_hat, y_hat])
    least = np.finfo(y_hat.dtype).eps
    logs = np.log(np.clip(y_hat, least, 1 - least), dtype=np.float64)
    return _mean(-np.sum(y * logs, axis=1), sample_weight, y)


def precision(
    y: np.ndarray,
    y_hat: np.ndarray,
    average: str | None = None,
    labels: bool = False,
    sample_weight: Weights = None,
) -> float:
    """Share of right answers among the samples that were predicted to be of a class; 0 if there are none.

    ``average`` is "binary" (the second of two classes), "macro" (the mean over the classes that are in y or predicted),
    "weighted" (by their share of y), "micro" (all decisions together), or None: binary for two classes, else macro.
    With ``labels`` each of several outputs is a label, predicted if it is above one half. NaN predicts nothing.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        The right classes or labels, and the predicted outputs. What is NaN in y was not measured.
    average : "binary", "macro", "weighted", "micro", or None
        How the classes' values are averaged, as above.
    labels : bool
        Whether each of several outputs is a label, not a class.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    hits, found, _, there = _decisions(y, y_hat, average, labels, sample_weight)
    return _averaged(_ratio(hits, found), there)


def recall(
    y: np.ndarray,
    y_hat: np.ndarray,
    average: str | None = None,
    labels: bool = False,
    sample_weight: Weights = None,
) -> float:
    """Share of a class's samples that were predicted to be of it; 0 if it has none. Options are those of
    `precision`.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        The right classes or labels, and the predicted outputs. What is NaN in y was not measured.
    average : "binary", "macro", "weighted", "micro", or None
        How the classes' values are averaged; see `precision`.
    labels : bool
        Whether each of several outputs is a label, not a class.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    hits, _, right, there = _decisions(y, y_hat, average, labels, sample_weight)
    return _averaged(_ratio(hits, right), there)


def f1(
    y: np.ndarray,
    y_hat: np.ndarray,
    average: str | None = None,
    labels: bool = False,
    sample_weight: Weights = None,
) -> float:
    """Harmonic mean of a class's precision and recall; 0 if it is neither in y nor predicted. See `precision`.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        The right classes or labels, and the predicted outputs. What is NaN in y was not measured.
    average : "binary", "macro", "weighted", "micro", or None
        How the classes' values are averaged; see `precision`.
    labels : bool
        Whether each of several outputs is a label, not a class.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    hits, found, right, there = _decisions(y, y_hat, average, labels, sample_weight)
    return _averaged(_ratio(2 * hits, found + right), there)


def balanced_accuracy(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights = None) -> float:
    """Mean of the classes' recalls, over the classes that are in y.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_classes) or (n_samples, 1)
        The right classes as one-hot rows, or of two classes 1 for the second, and the predicted outputs.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    y, y_hat, weights = _counted(y, y_hat, sample_weight)
    right, found = _answers(y, y_hat, False)
    shares = _ratio(weights @ (right & found), weights @ right)
    return float(np.mean(shares[right.any(axis=0)]))


def roc_auc(y: np.ndarray, y_hat: np.ndarray, labels: bool = False, sample_weight: Weights = None) -> float:
    """Area under the receiver operating characteristic: how often a sample of a class has a larger output than one that
    is not of it; ties count half. Two classes: the second against the first. More classes, or ``labels``: the mean over
    each against the rest. NaN, with a warning, if a class has no samples, or all of them.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        The right classes or labels, and the predicted outputs. What is NaN in y was not measured.
    labels : bool
        Whether each of several outputs is a label, not a class.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    if np.isnan(y).any():
        return _mean_over_outputs(partial(roc_auc, labels=labels), y, y_hat, sample_weight)
    y, y_hat, weights = _counted(y, y_hat, sample_weight)
    truth, scores = _rankings(y, y_hat, labels)
    if np.isnan(scores).any():
        return math.nan
    defined = truth.any(axis=0) & ~truth.all(axis=0)
    if not defined.all():
        which = int(np.argmin(defined)) if truth.shape[1] > 1 else 1
        what = "label" if labels else "class"
        message = f"roc_auc is undefined (NaN): {what} {which} has none of these {len(y)} samples, or all of them"
        warnings.warn(message, UserWarning, stacklevel=2)
        return math.nan
    areas = []
    for true, score in zip(truth.T, scores.T, strict=True):
        hits, others = _ranked(true, score, weights)
        hits, others = np.append(0.0, hits / hits[-1]), np.append(0.0, others / others[-1])
        areas.append(np.sum(np.diff(others) * (hits[1:] + hits[:-1]) / 2))
    return float(np.mean(areas))


def average_precision(y: np.ndarray, y_hat: np.ndarray, labels: bool = False, sample_weight: Weights = None) -> float:
    """Σ (R_k - R_k-1) P_k, with recall R and precision P of the samples down to the k-th largest output; 0 for a class
    without samples. Two classes: the second. More classes, or ``labels``: the mean over each against the rest.

    Parameters
    ----------
    y, y_hat : ndarray, (n_samples, n_out)
        The right classes or labels, and the predicted outputs. What is NaN in y was not measured.
    labels : bool
        Whether each of several outputs is a label, not a class.
    sample_weight : ndarray, (n_samples,), optional
        The weight of each sample; 1 when left out.
    """
    if np.isnan(y).any():
        return _mean_over_outputs(partial(average_precision, labels=labels), y, y_hat, sample_weight)
    y, y_hat, weights = _counted(y, y_hat, sample_weight)
    truth, scores = _rankings(y, y_hat, labels)
    if np.isnan(scores).any():
        return math.nan
    values = []
    for true, score in zip(truth.T, scores.T, strict=True):
        hits, others = _ranked(true, score, weights)
        values.append(np.sum(np.diff(hits, prepend=0.0) * hits / (hits + others)) / (hits[-1] or 1.0))
    return float(np.mean(values))


def _mean_over_outputs(metric: MetricFunction, y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights) -> float:
    """The mean over the outputs of a metric of the samples that have each one's number."""
    values = []
    for of_y, of_y_hat in zip(y.T, y_hat.T, strict=True):
        rows = ~np.isnan(of_y)
        if rows.any():
            weights = None if sample_weight is None else np.asarray(sample_weight)[rows]
            values.append(metric(of_y[rows, None], of_y_hat[rows, None], sample_weight=weights))
    return float(np.mean(values)) if values else math.nan


def _counted(y: np.ndarray, y_hat: np.ndarray, sample_weight: Weights) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The samples that count, and their weights, float64, (n_samples,)."""
    if sample_weight is None:
        return y, y_hat, np.ones(len(y))
    weights = np.asarray(sample_weight, np.float64)
    counted = weights > 0
    if not counted.any():
        raise ValueError("sample_weight is zero for all samples: there is nothing to measure")
    return (y, y_hat, weights) if counted.all() else (y[counted], y_hat[counted], weights[counted])


def _answers(y: np.ndarray, y_hat: np.ndarray, labels: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which classes or labels are right, and which were found, bool, (n_samples, n) each: none where y is NaN."""
    if labels and y.shape[1] > 1:
        return y > 0.5, (y_hat > 0.5) & ~np.isnan(y)
    if y.shape[1] == 1:
        return np.hstack([y <= 0.5, y > 0.5]), np.hstack([y_hat <= 0.5, y_hat > 0.5]) & ~np.isnan(y)
    classes = np.arange(y.shape[1])
    right, found = (np.argmax(values, axis=1)[:, None] == classes for values in (y, y_hat))
    return right, found & ~np.isnan(y_hat).any(axis=1, keepdims=True)


def _rankings(y: np.ndarray, y_hat: np.ndarray, labels: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which samples are of a class, and the outputs that rank them, (n_samples, n) each; of two classes, the second."""
    right, _ = _answers(y, y_hat, labels)
    n_out = y.shape[1]
    return (right[:, 1:], y_hat[:, -1:]) if n_out == 1 or (n_out == 2 and not labels) else (right, y_hat)


def _ranked(true: np.ndarray, score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each different output, the largest first: the weight of the true samples, and of the others, whose output is
    at least that."""
    order = np.argsort(-score, kind="stable")
    true, score, weights = true[order], score[order], weights[order]
    last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1)  # of those that are the same
    return np.cumsum(weights * true)[last], np.cumsum(weights * ~true)[last]


def _decisions(
    y: np.ndarray, y_hat: np.ndarray, average: str | None, labels: bool, sample_weight: Weights
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights of the samples that are rightly predicted to be of a class, that are predicted to be, and that are of it,
    and how much each class counts: (n,) each, for the n classes that are averaged over."""
    y, y_hat, weights = _counted(y, y_hat, sample_weight)
    right, found = _answers(y, y_hat, labels)
    hits, n_found, n_right = (weights @ those for those in (right & found, found, right))
    several = labels and y.shape[1] > 1
    if average is None:
        average = "macro" if several or len(hits) > 2 else "binary"
    check_choice(average, "average", ("binary", "macro", "weighted", "micro"))
    if average == "binary":
        if several or len(hits) > 2:
            raise ValueError(f"average='binary' is for two classes, there are {len(hits)}; use 'macro'")
        hits, n_found, n_right = hits[1:], n_found[1:], n_right[1:]
    if average == "micro":
        hits, n_found, n_right = (those.sum(keepdims=True) for those in (hits, n_found, n_right))
    if average == "weighted":
        return hits, n_found, n_right, n_right
    counts = n_found + n_right > 0 if average == "macro" and not several else np.ones(len(hits), bool)
    return hits, n_found, n_right, counts.astype(np.float64)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole; 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)


def _averaged(values: np.ndarray, weights: np.ndarray) -> float:
    """Σ w v / Σ w; 0 where the weights are 0."""
    return float(values @ weights / (weights.sum() or 1.0))


_OUTPUTS = {
    "classes": "one output a class",
    "two classes": "one sigmoid output",
    "labels": "a sigmoid output a label",
    "numbers": "numbers",
}  # what a network's outputs may be, in words
_CLASSES = ("classes", "two classes")


@dataclass(frozen=True)
class Metric:
    """A metric of the registry.

    Parameters
    ----------
    name : str
        The name for ``metrics=``.
    function : callable
        Its value for y and y_hat, both (n_samples, n_out), and ``sample_weight``, (n_samples,) or None.
    text : str
        A description in a few words.
    outputs : tuple of str
        The outputs that it is for: "classes", "two classes" (one sigmoid output), "labels", "numbers".
    higher_is_better : bool
        Whether larger values are better.
    probabilities : bool
        Whether the outputs must be softmax or sigmoid.
    of_labels : callable, optional
        The function for sigmoid outputs that are several labels.
    is_mean : bool
        Whether it is a mean over samples, so that the weighted values of parts add up.
    """

    name: str
    function: MetricFunction
    text: str
    outputs: tuple[str, ...] = tuple(_OUTPUTS)
    higher_is_better: bool = False
    probabilities: bool = False
    of_labels: MetricFunction | None = None
    is_mean: bool = False

    def __call__(self, y: np.ndarray, y_hat: np.ndarray, **options: Any) -> float:
        return self.function(y, y_hat, **options)

    def fits(self, spec: Spec) -> bool:
        """Whether it is for the outputs of a network with this spec.

        Parameters
        ----------
        spec : Spec
            The network's description.
        """
        probable = spec.layers[-1].act.name in ("softmax", "sigmoid")
        return _outputs(spec) in self.outputs and (probable or not self.probabilities)

    def function_for(self, spec: Spec) -> MetricFunction:
        """Return its function for the outputs of a network with this spec, for which it must be.

        Parameters
        ----------
        spec : Spec
            The network's description.
        """
        return self.of_labels if spec.multilabel and self.of_labels else self.function


def _averages(function: MetricFunction, text: str) -> list[Metric]:
    """The metrics of a function with the option ``average``, one for each kind of average."""
    words = {
        "": "for the second of two classes, or as `_macro`",
        "macro": "the mean over classes or labels",
        "weighted": "the mean, weighted by their numbers of samples",
        "micro": "over all decisions together",
    }
    return [
        Metric(
            "_".join(filter(None, (function.__name__, average))),
            partial(function, average=average) if average else function,
            f"{text}: {words[average]}",
            (*_CLASSES, "labels"),
            higher_is_better=True,
            of_labels=partial(function, average=average or None, labels=True),
        )
        for average in words
    ]


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mse", mse, "mean of (y − ŷ)²", is_mean=True),
        Metric("rmse", rmse, "square root of the mean of (y − ŷ)², the mean over the outputs"),
        Metric("mae", mae, "mean of abs(y − ŷ)", is_mean=True),
        Metric("mape", mape, "mean of abs(y − ŷ) / abs(y), a share", ("numbers",), is_mean=True),
        Metric("mbe", mbe, "mean of y − ŷ", is_mean=True),
        Metric("r2", r2, "1 − Σ (y − ŷ)² / Σ (y − mean)²", higher_is_better=True),
        Metric(
            "accuracy",
            accuracy,
            "share of right classes, or labels",
            (*_CLASSES, "labels"),
            higher_is_better=True,
            of_labels=label_accuracy,
            is_mean=True,
        ),
        Metric("balanced_accuracy", balanced_accuracy, "mean of the classes' recalls", _CLASSES, higher_is_better=True),
        Metric(
            "top_k",
            top_k,
            "share of samples whose class is among the 5 largest outputs; `top_3`: among 3",
            ("classes",),
            higher_is_better=True,
            is_mean=True,
        ),
        *_averages(precision, "share of right ones among the samples predicted as a class"),
        *_averages(recall, "share of a class's samples that are predicted as it"),
        *_averages(f1, "harmonic mean of precision and recall"),
        *(
            Metric(
                function.__name__,
                function,
                text,
                (*_CLASSES, "labels"),
                higher_is_better=True,
                of_labels=partial(function, labels=True),
            )
            for function, text in (
                (roc_auc, "area under the ROC curve: the mean over each class against the rest"),
                (average_precision, "area under the precision-recall curve, in steps: the mean over classes or labels"),
            )
        ),
        Metric(
            "log_loss",
            log_loss,
            "mean of −log of the right class's probability",
            _CLASSES,
            probabilities=True,
            is_mean=True,
        ),
        Metric(
            "cross_entropy",
            cross_entropy,
            "mean of −Σ y log ŷ, as the loss of that name",
            ("classes",),
            probabilities=True,
            is_mean=True,
        ),
    )
}
"""Every metric by its name; "top_3" and so on are names, too."""

ALIASES = {
    "mean_squared_error": "mse", "root_mean_squared_error": "rmse", "mean_absolute_error": "mae",
    "mean_absolute_percentage_error": "mape", "r2_score": "r2", "accuracy_score": "accuracy", "acc": "accuracy",
    "balanced_accuracy_score": "balanced_accuracy", "precision_score": "precision", "recall_score": "recall",
    "f1_score": "f1", "roc_auc_score": "roc_auc", "roc_auc_ovr": "roc_auc", "auc": "roc_auc",
    "average_precision_score": "average_precision",
}  # fmt: skip
"""Other names, such as scikit-learn's, and the registry's name for each."""


def named_metrics(metrics: Any, spec: Spec) -> dict[str, MetricFunction]:
    """Return the metrics that the ``metrics`` argument means, by name, as functions of (y, y_hat, *, sample_weight).

    The argument is a name (also "top_3", …), a function of (y, y_hat), a list of these, or None. A function with a
    parameter ``sample_weight`` gets the weights, or None if there are none. Results have the names that were asked for.
    A metric that does not fit the network, two of one name, and names that the history has are a ValueError.
    """
    if metrics is None:
        return {}
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    if not isinstance(metrics, Sequence):
        raise TypeError(f"metrics must be names or functions, got {type(metrics).__name__}")
    found: dict[str, Any] = {}
    result: dict[str, MetricFunction] = {}
    for metric in metrics:
        if isinstance(metric, Metric):
            metric = metric.name
        name = metric if isinstance(metric, str) else getattr(metric, "__name__", type(metric).__name__)
        if found.setdefault(name, metric) is not metric and found[name] != metric:
            raise ValueError(f"metrics: two are called {name!r}; give each a name of its own: function.__name__ = …")
        if isinstance(metric, str) or (name in METRICS and METRICS[name].function == metric):
            result[name] = _built_in(name, spec)
        elif callable(metric):
            result[name] = _users(metric, name, spec)
        else:
            raise TypeError(f"metrics must be names or functions, got {metric!r}")
    return result


def _entry(name: str) -> tuple[Metric | None, int | None]:
    """The registry's metric of that name or alias, in upper or lower case, and k if the name is like "top_3"."""
    known = name.lower()
    match = re.fullmatch(r"top_([1-9]\d*)", known)
    return METRICS.get("top_k" if match else ALIASES.get(known, known)), int(match[1]) if match else None


def _built_in(name: str, spec: Spec) -> MetricFunction:
    """Return the metric of that name; a ValueError if it is not for the network's outputs."""
    metric, k = _entry(name)
    if metric is None:
        raise _unknown(name)
    if not metric.fits(spec):
        needs = " or ".join(_OUTPUTS[outputs] for outputs in metric.outputs)
        needs += ", softmax or sigmoid" if metric.probabilities else ""
        fitting = ", ".join(other.name for other in METRICS.values() if other.fits(spec))
        raise ValueError(
            f"metrics: {name} needs {needs}; this network has {_outputs_in_words(spec)}, for which there are {fitting}"
        )
    function = metric.function_for(spec)
    return function if k is None else partial(function, k=k)


def _unknown(name: str) -> ValueError:
    """Make the error for an unknown metric, with the nearest name."""
    if name == "loss" or name.startswith("val_"):
        return ValueError(f"metrics: {name!r} is in the history by itself; leave it out")
    opposite, _ = _entry(name.removeprefix("neg_"))
    if name.startswith("neg_") and opposite is not None:
        return ValueError(
            f"metrics: unknown {name!r}; ask for {opposite.name!r}: it is not negated, and early stopping knows that "
            "lower is better"
        )
    return unknown_name(name, [*METRICS, *ALIASES], "metrics")


def _users(metric: Callable[..., Any], name: str, spec: Spec) -> MetricFunction:
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


def _outputs(spec: Spec) -> str:
    """What a network's outputs are: a key of ``_OUTPUTS``."""
    if spec.multilabel:
        return "two classes" if spec.n_out == 1 else "labels"
    return "classes" if spec.one_of_many else "numbers"


def higher_is_better(name: str) -> bool:
    """The direction of the registry's metric of that name; anything else counts as lower-is-better."""
    metric, _ = _entry(name)
    return metric is not None and metric.higher_is_better


def improvements(history: Mapping[str, Sequence[float]], monitor: str | None, min_delta: float) -> list[bool]:
    """Return for each epoch of a history whether it was better than all before by more than ``min_delta``.

    ``monitor`` is a name in the history; None means "val_loss" if there is one, else "loss".
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
