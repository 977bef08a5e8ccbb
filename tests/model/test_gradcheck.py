"""check_gradients: the gradient of every activation and loss against finite differences."""

from __future__ import annotations

import numba
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


@pytest.mark.filterwarnings("ignore:.*do not train")
@pytest.mark.parametrize("act", ACTIVATIONS)
def test_second_derivatives_by_finite_differences(act):
    rng = np.random.default_rng(4)
    spec = [{"n": 4, "act": None}, {"n": 5, "act": act}, {"n": 3, "act": act, "cost": "mse"}]
    if act == "step":
        spec[1]["act"] = spec[2]["act"] = "linear"
        spec.insert(1, {"n": 3, "act": "step"})
    model = fastmlp.MLP(spec, seed=2)
    model.params += rng.uniform(-0.5, 0.5, model.params.size)
    result = fastmlp.check_gradients(model, rng.normal(size=(6, 4)), rng.uniform(size=(6, 3)), order=2)
    assert result and result.skipped == 0, str(result)


@pytest.mark.parametrize("loss", ["mae", "huber", "hinge", "quantile(0.3)", "poisson", "cross_entropy", "bce"])
def test_second_derivatives_of_losses(loss):
    rng = np.random.default_rng(5)
    output = {"cross_entropy": "softmax", "bce": "sigmoid"}.get(loss, "linear")
    model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, {"n": 2, "act": output, "cost": loss}], seed=1)
    y = np.eye(2)[rng.integers(0, 2, 8)] if loss in ("cross_entropy", "hinge", "bce") else rng.uniform(size=(8, 2))
    result = fastmlp.check_gradients(model, rng.normal(size=(8, 3)), y, order=2)
    assert result and result.skipped == 0, str(result)


@pytest.mark.filterwarnings("ignore:.*do not train")
@pytest.mark.parametrize("act", [name for name, activation in ACTIVATIONS.items() if activation.traits.kinks])
def test_samples_at_a_kink_are_counted_and_left_out(act):
    model = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": act, "cost": "mse"}], seed=0, dtype="float64")
    model.weights[0][...], model.biases[0][...] = 1.0, 0.0
    kinks = ACTIVATIONS[act].traits.kinks
    x = np.array([*kinks, 0.5, -0.7, 1.7])[:, None]
    result = fastmlp.check_gradients(model, x, np.zeros(len(x)), order=2)
    assert result and result.skipped == len(kinks), str(result)
    assert f"{len(kinks)} samples at a kink were left out" in str(result)
    with pytest.raises(ValueError, match="all samples of x lie at a kink"):
        fastmlp.check_gradients(model, x[: len(kinks)], np.zeros(len(kinks)), order=2)


@pytest.mark.parametrize(("loss", "y_hat"), [("mae", 2.0), ("huber", 3.0), ("huber", 1.0), ("quantile(0.3)", 2.0)])
def test_samples_at_a_kink_of_the_loss(loss, y_hat):
    model = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": "linear", "cost": loss}], dtype="float64")
    model.weights[0][...] = 1.0
    result = fastmlp.check_gradients(model, [[y_hat], [2.4], [7.0]], [2.0, 2.0, 2.0], order=2)
    assert result and result.skipped == 1


def test_hinge_at_its_margin():
    model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 2, "act": "linear", "cost": "hinge"}], dtype="float64")
    model.weights[0][...] = np.eye(2)
    result = fastmlp.check_gradients(model, [[1.0, 0.0], [0.4, 0.0]], [0, 0], order=2)
    assert result and result.skipped == 1


@pytest.mark.parametrize("order", [1, 2])
def test_outputs_are_weighed(order):
    model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, {"n": 2, "act": "linear"}], seed=0)
    x, y = np.random.default_rng(0).normal(size=(6, 3)), np.random.default_rng(1).normal(size=(6, 2))
    assert fastmlp.check_gradients(model, x, y, order=order, output_weight=[0.5, 3.0])
    y[:, 1] = 1e9  # its error hides all else, unless it does not count
    assert fastmlp.check_gradients(model, x, y, order=order, output_weight=[2.0, 0.0], tolerance=1e-7)
    with pytest.raises(ValueError, match=r"output_weight must have shape \(2,\)"):
        fastmlp.check_gradients(model, x, y, order=order, output_weight=[1.0])


def test_a_wrong_second_derivative_is_found():
    cube = numba.njit(lambda z: z**3)
    wrong = fastmlp.Activation("cube", cube, numba.njit(lambda z: 3.0 * z**2), numba.njit(lambda z: 5.0 * z))
    model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 3, "act": wrong}, {"n": 1, "act": "linear"}], seed=0)
    x, y = [[0.5, 1.0], [-1.0, 0.3]], [1.0, 2.0]
    assert fastmlp.check_gradients(model, x, y)
    assert not fastmlp.check_gradients(model, x, y, order=2)


@pytest.mark.parametrize(("order", "error"), [(0, ValueError), (3, ValueError), ("2", TypeError), (True, TypeError)])
def test_order_is_1_or_2(order, error):
    model = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": "linear"}])
    with pytest.raises(error, match="order"):
        fastmlp.check_gradients(model, [[1.0]], [1.0], order=order)
