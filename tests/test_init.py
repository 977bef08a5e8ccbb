"""Initial weights: their spread against the formulas, their seeds, and orthogonal rows."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.init import INITS

STDS = {"he": np.sqrt(2 / 300), "glorot": np.sqrt(2 / 500), "lecun": np.sqrt(1 / 300)}


@pytest.mark.parametrize("name", INITS)
def test_initial_weights(name):
    spec = [{"n": 300}, {"n": 200, "act": "relu"}]
    model = fastmlp.MLP(spec, init=name, seed=1, dtype="float64")
    w = model.weights[0]
    assert model == fastmlp.MLP(spec, init=name, seed=1, dtype="float64")
    np.testing.assert_array_equal(model.biases[0], 0)
    if name == "orthogonal":
        np.testing.assert_allclose(w @ w.T, np.eye(200), atol=1e-12)
        return
    kind = "he" if name == "auto" else name.split("_")[0]
    assert np.std(w) == pytest.approx(STDS[kind], rel=0.02)
    if name.endswith("uniform"):
        assert np.abs(w).max() == pytest.approx(np.sqrt(3) * STDS[kind], rel=0.01)
