"""Prediction intervals: how far y may lie from what a network predicts, measured on rows that it was not trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .base.checks import check_choice, check_flag, check_number
from .model.data import check_y
from .model.ensemble import Ensemble
from .model.mlp import MLP
from .spec import Spec

__all__ = ["Intervals", "calibrate"]

_SCORES = ("absolute", "normalized", "quantile")


@dataclass(frozen=True, eq=False)
class Intervals:
    """A network with the margins that `calibrate` found. It can be pickled.

    Attributes
    ----------
    model : MLP or Ensemble
        What the intervals are made from.
    coverage : float
        The share of y that the intervals are made to hold.
    score : str
        "absolute", "normalized" or "quantile".
    sort : bool
        Whether quantiles that cross are put in order.
    margin : ndarray, (n_targets,)
        How far intervals reach beyond the prediction, in units of y; under "normalized" in predicted deviations, under
        "quantile" beyond the outer quantiles, where it may be negative.
    n_calibration : int
        Number of rows that it was measured on.
    """

    model: MLP | Ensemble
    coverage: float
    score: str
    sort: bool = field(repr=False)
    margin: np.ndarray
    n_calibration: int

    def predict(self, x: Any, *, n_threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Predict the interval of each target.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows.
        n_threads : int
            As in `MLP.predict`.

        Returns
        -------
        lower, upper : ndarray of float64, (n_samples, n_targets)
            Under "quantile" with a negative margin, lower may be above upper: such an interval is empty.
        """
        lower, upper, unit = _predicted(self.model, x, self.score, self.sort, n_threads)
        return lower - self.margin * unit, upper + self.margin * unit

    def evaluate(self, x: Any, y: Any, *, n_threads: int = 1) -> dict[str, float]:
        """Measure the intervals on samples whose answers are known.

        Parameters
        ----------
        x : array or frame, (n_samples, n_in)
            Samples in rows, neither trained nor calibrated on.
        y : array, (n_samples,) or (n_samples, n_targets)
            Numbers, as in `calibrate`.
        n_threads : int
            As in `MLP.predict`.

        Returns
        -------
        dict
            "coverage", the share of y that lies in its interval, and "width", the mean width; both over all targets.
        """
        lower, upper, unit = _predicted(self.model, x, self.score, self.sort, n_threads)
        scores = _scores(lower, upper, unit, _targets(self.model, y, len(lower)))
        return {
            "coverage": float(np.mean(scores <= self.margin)),
            "width": float(np.mean(upper - lower + 2 * self.margin * unit)),
        }


def calibrate(
    model: MLP | Ensemble,
    x: Any,
    y: Any,
    *,
    coverage: float = 0.9,
    score: str | None = None,
    sort: bool = False,
    n_threads: int = 1,
) -> Intervals:
    """Measure on held-out rows how wide intervals must be to hold y as often as wanted: split conformal prediction.

    A score says how far y is off in each row, and the margin is the ⌈(n + 1) coverage⌉-th smallest of n scores. A new y
    of the same kind then lies in its interval with a probability of at least ``coverage``, and, if no scores are
    equal, of at most ``coverage + 1 / (n + 1)``, however bad the network is (Vovk, Gammerman and Shafer, "Algorithmic
    learning in a random world", 2005; Lei et al., "Distribution-free predictive inference for regression", JASA 113,
    2018). This is a mean over all rows, not a promise for each kind of row. It holds if the rows for calibration and
    those for prediction could be exchanged, which is not so in a drifting series. Each target is calibrated separately.

    Parameters
    ----------
    model : MLP or Ensemble
        A regression: outputs that are numbers, quantiles, means and variances (gaussian_nll) or counts (poisson).
    x : array or frame, (n_samples, n_in)
        Samples in rows, on which the model was neither trained nor stopped.
    y : array, (n_samples,) or (n_samples, n_targets)
        Their numbers.
    coverage : float
        The share of y that intervals are to hold.
    score : "absolute", "normalized" or "quantile", optional
        "absolute" is |y − ŷ|: intervals of one width. "normalized" is |y − ŷ| / σ, with σ predicted by gaussian_nll (in
        an ensemble that of the mixture), √ŷ under poisson, or else an ensemble's spread. "quantile" is how far y is
        outside of the lowest and the highest of several quantiles (Romano, Patterson and Candès, "Conformalized
        quantile regression", 2019). When left out, the one that the loss is made for, else "absolute".
    sort : bool
        Whether predicted quantiles that cross are put in order first.
    n_threads : int
        As in `MLP.predict`.

    Returns
    -------
    Intervals

    Raises
    ------
    TypeError, ValueError
        For a model of classes, a score that it lacks, fewer rows than the coverage needs, which is coverage /
        (1 − coverage) of them, and bad x and y.

    Examples
    --------
    >>> import fastmlp, numpy as np
    >>> from fastmlp import intervals
    >>> rng = np.random.default_rng(0)
    >>> x = rng.uniform(-1, 1, (3000, 1))
    >>> y = x[:, 0] + rng.normal(size=3000) * np.exp(x[:, 0])
    >>> spec = [{"n": 1, "act": None}, {"n": 16, "act": "tanh"}, {"n": 2, "act": "linear", "cost": "gaussian_nll"}]
    >>> model, _ = fastmlp.train(x[:1000], y[:1000], spec, optimizer="adam", batch_size=20, epochs=20, seed=0)
    >>> found = intervals.calibrate(model, x[1000:2000], y[1000:2000], coverage=0.8)
    >>> lower, upper = found.predict([[-1.0], [1.0]])
    >>> bool(upper[0, 0] - lower[0, 0] < upper[1, 0] - lower[1, 0])
    True
    >>> 0.77 < found.evaluate(x[2000:], y[2000:])["coverage"] < 0.83
    True
    """
    spec = _spec_of(model)
    score = _score_for(model, spec, score)
    check_number(coverage, "coverage", 0.0, 1.0, open_low=True)
    if check_flag(sort, "sort") and score != "quantile":
        raise ValueError(f"sort=True is for several quantiles; the score is {score}")
    lower, upper, unit = _predicted(model, x, score, sort, n_threads)
    n, targets = len(lower), _targets(model, y, len(lower))
    rank = math.ceil((n + 1) * coverage - 1e-9)
    if rank > n:
        needed = math.ceil(coverage / (1 - coverage) - 1e-9)
        raise ValueError(f"x has {n} samples, coverage={coverage} needs at least {needed}: give more, or cover less")
    scores = np.sort(_scores(lower, upper, unit, targets), axis=0)
    if not np.isfinite(scores).all():
        raise ValueError(f"{score} scores are not finite: look at what the model predicts, and with what spread, for x")
    return Intervals(model, float(coverage), score, sort, scores[rank - 1], n)


def _spec_of(model: Any) -> Spec:
    """The spec of a regression."""
    if not isinstance(model, (MLP, Ensemble)):
        hint = "; give its .model" if isinstance(getattr(model, "model", None), MLP) else ""
        raise TypeError(f"model must be a fastmlp.MLP or fastmlp.Ensemble, got {type(model).__name__}{hint}")
    spec = model.models[0].spec if isinstance(model, Ensemble) else model.spec
    if spec.one_of_many or spec.multilabel:
        raise ValueError(f"model: intervals are for numbers, the outputs of this one are classes ({spec.loss.name})")
    return spec


def _score_for(model: MLP | Ensemble, spec: Spec, score: str | None) -> str:
    """The score that is asked for, where the model has it, or the one that its loss is made for."""
    loss, quantiles = spec.loss, len(spec.loss.levels) > 1
    has_deviation = loss.gaussian or loss.logarithmic
    if score is None:
        return "quantile" if quantiles else "normalized" if has_deviation else "absolute"
    check_choice(score, "score", _SCORES)
    if (score == "quantile") != quantiles:
        fits = "score='quantile' is for its quantiles" if quantiles else "it is for several quantiles"
        raise ValueError(f"score={score!r} does not fit the loss {loss.name}: {fits}")
    if score == "normalized" and not (has_deviation or (isinstance(model, Ensemble) and len(model) > 1)):
        raise ValueError(
            "score='normalized' needs a predicted deviation: the loss gaussian_nll, or an ensemble of two or more"
        )
    return score


def _targets(model: MLP | Ensemble, y: Any, n_samples: int) -> np.ndarray:
    """y as numbers, (n_samples, n_targets)."""
    one = model.models[0] if isinstance(model, Ensemble) else model
    columns = check_y(y, one.spec, n_samples, one.dtype)
    return columns[:, :: len(one.spec.loss.levels) or 1][:, : one.spec.n_targets].astype(np.float64)


def _predicted(
    model: MLP | Ensemble, x: Any, score: str, sort: bool, n_threads: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What margins are added to, a lower and an upper prediction, and their unit: (n_samples, n_targets) each."""
    spec = _spec_of(model)
    if isinstance(model, Ensemble):
        each = model.predict_each(x, n_threads=n_threads)
    else:
        each = model.predict(x, n_threads=n_threads)[None]
    each, n_targets = each.astype(np.float64), spec.n_targets
    if score == "quantile":
        quantiles = each.mean(axis=0).reshape(-1, n_targets, len(spec.loss.levels))
        quantiles = np.sort(quantiles, axis=2) if sort else quantiles
        return quantiles[..., 0], quantiles[..., -1], np.ones(n_targets)
    variance = np.zeros(n_targets)
    with np.errstate(over="ignore"):
        if spec.loss.gaussian:
            each, variance = each[..., :n_targets], np.exp(each[..., n_targets:]).mean(axis=0)
        elif spec.loss.logarithmic:
            each = np.exp(each)
            variance = each.mean(axis=0)
    mean = each.mean(axis=0)
    unit = np.sqrt(variance + each.var(axis=0)) if score == "normalized" else np.ones(n_targets)
    return mean, mean, unit


def _scores(lower: np.ndarray, upper: np.ndarray, unit: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How far y is outside of the predictions, in their unit; negative inside."""
    with np.errstate(divide="ignore", invalid="ignore"):  # what is not finite is refused
        return np.maximum(lower - y, y - upper) / unit
