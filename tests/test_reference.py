"""The reference's Hessian products against differences of its gradient."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import Spec, reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.losses import LOSSES

PAIRS = [(act, loss) for act in ACTIVATIONS for loss in LOSSES if not LOSSES[loss].refusal(ACTIVATIONS[act])]
N_SAMPLES, N_IN, N_OUT, STEP = 6, 4, 3, 1e-6


def n_out(loss):
    """Three outputs, or four where a target has two."""
    return N_OUT + N_OUT % LOSSES[loss].outputs_per_target


def targets(loss, rng):
    if loss in ("cross_entropy", "hinge"):
        return np.eye(N_OUT)[rng.integers(0, N_OUT, N_SAMPLES)]
    if loss == "bce":
        return rng.integers(0, 2, (N_SAMPLES, N_OUT)).astype(float)
    return rng.uniform(0, 1, (N_SAMPLES, n_out(loss)))


@pytest.mark.filterwarnings("ignore:.*do not train")
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("act", "loss"), PAIRS)
def test_a_hessian_product_is_how_the_gradient_changes(act, loss, depth):
    rng = np.random.default_rng(1)
    layers = [{"n": n, "act": act} for n in (5, 6, 4)[: depth - 1]]
    first = {"n": N_IN, "act": None, "shift": 0.1, "scale": [1.0, 0.5, 2.0, 0.7]}
    spec = Spec([first, *layers, {"n": n_out(loss), "act": act, "cost": loss}])
    shapes = list(zip(spec.widths[1:], spec.widths[:-1], strict=True))
    weights, along = ([rng.normal(size=shape) / 2 for shape in shapes] for _ in range(2))
    biases, along_biases = ([rng.normal(size=n) / 2 for n, _ in shapes] for _ in range(2))
    x, y = rng.normal(size=(N_SAMPLES, N_IN)), targets(loss, rng)
    sides = []
    for step in (STEP, -STEP):
        moved = [
            [p + step * v for p, v in zip(*pair, strict=True)] for pair in ((weights, along), (biases, along_biases))
        ]
        _, *gradient = reference.gradient(spec, *moved, x, y)
        sides.append(np.concatenate([part.ravel() for parts in gradient for part in parts]))
    product = reference.hessian_product(spec, weights, biases, x, y, (along, along_biases))
    product = np.concatenate([part.ravel() for parts in product for part in parts])
    numeric = (sides[0] - sides[1]) / (2 * STEP)
    scale = max(1.0, np.abs(sides[0]).max())
    np.testing.assert_allclose(product / scale, numeric / scale, rtol=1e-5, atol=1e-7)
