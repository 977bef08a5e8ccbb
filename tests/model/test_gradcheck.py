"""check_gradients: the gradient of every activation and loss against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.losses import LOSSES


@pytest.mark.parametrize(
    ("act", "loss"),
    [(a, loss) for a in ACTIVATIONS for loss in LOSSES if a != "step" and not LOSSES[loss].refusal(ACTIVATIONS[a])],
)
def test_gradients_by_finite_differences(act, loss):
    rng = np.random.default_rng(3)
    spec = [
        {"n": 4, "act": None},
        {"n": 5, "act": act},
        {"n": 4 if loss == "gaussian_nll" else 3, "act": act, "cost": loss},
    ]
    model = fastmlp.MLP(spec, seed=2)
    model.params += rng.uniform(-0.1, 0.1, model.params.size)  # biases of zero would put dead units on relu's kink
    x = rng.normal(size=(6, 4))
    y = rng.uniform(size=(6, model.spec.n_targets))
    if LOSSES[loss].classification:
        y = np.eye(3)[rng.integers(0, 3, 6)]
    result = fastmlp.check_gradients(model, x, y)
    assert result, str(result)
    assert len(result.errors) == 2 and result.error == result.errors[result.layer - 1]
