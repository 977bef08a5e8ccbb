"""Networks that several doors are tested with."""

from __future__ import annotations

import warnings

import numba
import numpy as np
import pytest

import fastmlp


@pytest.fixture
def network_of():
    """Makes networks for the doors: (act, depth, dtype, input's shift and scale); every second layer has no biases."""

    def network_of(act, depth=2, dtype="float32", **affine):
        layers = [{"n": 9 - i % 3, "act": act, "bias": i % 2 == 0} for i in range(depth)]
        if act == "leaky_relu":
            layers[0]["slope"] = 0.3
        if act == "elu":
            layers[0]["alpha"] = 0.75
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*derivative of step is zero")
            model = fastmlp.MLP([{"n": 5, "act": None, **affine}, *layers], seed=depth, dtype=dtype)
        model.params += np.random.default_rng(depth).uniform(-0.2, 0.2, model.params.size)
        return model

    return network_of


@pytest.fixture(scope="session")
def custom_network():
    """A network with an activation of its own."""
    act = fastmlp.Activation("square", numba.njit(lambda z: z * z), numba.njit(lambda z: 2.0 * z))
    return fastmlp.MLP([{"n": 2, "act": None}, {"n": 2, "act": act}], seed=0)
