"""The reference's Hessian products against differences of its gradient."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import MLP, Spec, reference
from fastmlp.activations import ACTIVATIONS
from fastmlp.interop import to_torch
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


def network_with_units(act, loss, depth, dtype="float64"):
    """A network whose input and, where its loss is of numbers, last layer have a shift and a scale."""
    layers = [{"n": n, "act": act} for n in (5, 6, 4)[: depth - 1]]
    first = {"n": N_IN, "act": None, "shift": 0.1, "scale": [1.0, 0.5, 2.0, 0.7]}
    last = {"n": N_OUT, "act": act, "cost": loss}
    if act != "softmax":
        last |= {"shift": 0.3, "scale": [2.0, 0.5, 1.5]}
    model = MLP([first, *layers, last], seed=depth, dtype=dtype)
    model.params[...] += np.random.default_rng(2).normal(size=model.params.size) / 5
    return model


def some_slopes(rng, shape):
    """Target slopes, of which every third is not known."""
    return np.where(rng.random(shape) < 1 / 3, np.nan, rng.normal(size=shape))


# PyTorch cannot differentiate nn.Hardsigmoid twice.
TWICE = [name for name, act in ACTIVATIONS.items() if not act.traits.flat and name != "hard_sigmoid"]


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("act", TWICE)
def test_the_gradient_of_training_on_derivatives_is_pytorchs(act, depth):
    """Twice through autograd, in float64."""
    torch = pytest.importorskip("torch")
    rng, model = np.random.default_rng(1), network_with_units(act, "mse", depth)
    x, y, dydx = rng.normal(size=(N_SAMPLES, N_IN)), rng.normal(size=(N_SAMPLES, N_OUT)), some_slopes(rng, (6, 3, 4))
    weights, units = rng.uniform(0, 2, N_SAMPLES), np.ones(N_OUT)
    if model.spec.output_affine is not None:
        units = model.spec.output_affine[1]
    net, inputs = to_torch(model), torch.tensor(x, requires_grad=True)
    outputs = net(inputs)
    slopes = [torch.autograd.grad(outputs[:, k].sum(), inputs, create_graph=True)[0] for k in range(N_OUT)]
    wrong = (torch.stack(slopes, dim=1) - torch.tensor(dydx)) / torch.tensor(
        units[:, None] * model.spec.input_affine[1]
    )
    of_slopes = torch.sum(torch.tensor(weights)[:, None, None] * torch.nan_to_num(wrong) ** 2) / 2 / N_SAMPLES
    loss = torch.sum(((outputs - torch.tensor(y)) / torch.tensor(units)) ** 2) / 2 / N_SAMPLES + of_slopes
    gradients = torch.autograd.grad(loss, list(net.parameters()))
    y = reference.targets(model.spec, y)
    value, part, *ours = reference.sobolev_gradient(model.spec, model.weights, model.biases, x, y, dydx, weights)
    np.testing.assert_allclose([value, part], [float(loss.detach()), float(of_slopes.detach())], rtol=1e-12)
    for gradient, same in zip([g for pair in zip(*ours, strict=True) for g in pair], gradients, strict=True):
        np.testing.assert_allclose(gradient, same.numpy(), rtol=1e-10, atol=1e-12)
