"""Metrics against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import metrics


@pytest.mark.parametrize("weighted", [False, True])
def test_metrics_against_scikit_learn(weighted):
    scores = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    weights = {"sample_weight": rng.integers(0, 4, 50) * rng.random(50)} if weighted else {}
    y, y_hat = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    for ours, theirs in (
        (metrics.mse, "mean_squared_error"),
        (metrics.mae, "mean_absolute_error"),
        (metrics.r2, "r2_score"),
    ):
        assert ours(y, y_hat, **weights) == pytest.approx(getattr(scores, theirs)(y, y_hat, **weights))
    rows = np.mean(y - y_hat, axis=1)
    assert metrics.mbe(y, y_hat, **weights) == pytest.approx(np.average(rows, weights=weights.get("sample_weight")))
    labels = rng.integers(0, 6, 50)
    p = rng.dirichlet(np.ones(6), 50)
    one_hot = np.eye(6)[labels]
    accuracy = scores.accuracy_score(labels, p.argmax(axis=1), **weights)
    assert metrics.accuracy(one_hot, p, **weights) == pytest.approx(accuracy)
    right = scores.accuracy_score(
        one_hot.ravel(), p.ravel() > 0.5, sample_weight=np.repeat(weights.get("sample_weight", np.ones(50)), 6)
    )
    assert metrics.label_accuracy(one_hot, p, **weights) == pytest.approx(right)
    for k in (1, 2, 5):
        assert metrics.top_k(one_hot, p, k, **weights) == pytest.approx(
            scores.top_k_accuracy_score(labels, p, k=k, **weights)
        )
    assert metrics.cross_entropy(one_hot, p, **weights) == pytest.approx(scores.log_loss(labels, p, **weights))


def test_r2_of_a_constant_output():
    """Whose mean is not the constant itself: rounding makes a variance of 1e-34, and a score of -1e30."""
    y, weights = np.full((3, 1), 0.1), np.array([0.3, 0.3, 0.1])
    for options in ({}, {"sample_weight": weights}):
        assert metrics.r2(y, y, **options) == 1.0 and metrics.r2(y, y + 0.1, **options) == 0.0
    y = np.array([[1.0, 5.0], [1.0, 6.0], [9.0, 7.0]])
    assert (
        metrics.r2(y, np.add(y, [0.5, 0.0]), sample_weight=[1, 1, 0]) == 0.5
    )  # without the row of weight 0 it is constant
