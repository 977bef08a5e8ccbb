"""Metrics against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import metrics


def test_metrics_against_scikit_learn():
    scores = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    y, y_hat = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    assert metrics.mse(y, y_hat) == pytest.approx(scores.mean_squared_error(y, y_hat))
    assert metrics.mae(y, y_hat) == pytest.approx(scores.mean_absolute_error(y, y_hat))
    assert metrics.r2(y, y_hat) == pytest.approx(scores.r2_score(y, y_hat))
    assert metrics.mbe(y, y_hat) == pytest.approx(np.mean(y - y_hat))
    labels = rng.integers(0, 6, 50)
    p = rng.dirichlet(np.ones(6), 50)
    one_hot = np.eye(6)[labels]
    assert metrics.accuracy(one_hot, p) == pytest.approx(scores.accuracy_score(labels, p.argmax(axis=1)))
    for k in (1, 2, 5):
        assert metrics.top_k(one_hot, p, k) == pytest.approx(scores.top_k_accuracy_score(labels, p, k=k))
    assert metrics.cross_entropy(one_hot, p) == pytest.approx(scores.log_loss(labels, p))
