"""The tables of activations and losses against finite differences, closed forms and the math module."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS, get_activation
from fastmlp.losses import LOSSES, default_loss, get_loss

ELEMENTWISE = [name for name, act in ACTIVATIONS.items() if act.elementwise]
CLOSED_FORMS = {
    "step": lambda z: float(z >= 0),
    "linear": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "relu": lambda z: max(z, 0),
    "leaky_relu": lambda z: max(0.1 * z, z),
    "swish": lambda z: z / (1 + math.exp(-z)),
    "elu": lambda z: z if z > 0 else math.exp(z) - 1,
    "selu": lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * (math.exp(z) - 1)),
    "gelu": lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))),
    "softplus": lambda z: math.log(1 + math.exp(z)),
    "hard_tanh": lambda z: max(-1, min(1, z)),
    "sine": math.sin,
}
EXTREME = np.array([0.0, -0.0, 5e-324, 1e-30, -1e-30, 88.0, -88.0, 1e3, -1e3, 1e15, -1e15, 1e30, -1e30])


def test_every_activation_has_a_closed_form_here():
    assert set(CLOSED_FORMS) == set(ELEMENTWISE)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_value(name):
    z = np.linspace(-6, 6, 101)
    expected = [CLOSED_FORMS[name](v) for v in z]
    np.testing.assert_allclose(ACTIVATIONS[name](z), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_derivative(name):
    z = np.linspace(-5.03, 5.01, 100)
    act = ACTIVATIONS[name]
    numeric = (act(z + 1e-6) - act(z - 1e-6)) / 2e-6
    np.testing.assert_allclose(act.derivative(z), numeric, atol=1e-8)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_at_the_extremes_in_numpy_and_in_the_kernels(name, dtype):
    """A network of one weight of one: its forward is the activation, its Jacobian the derivative."""
    act = ACTIVATIONS[name]
    z = EXTREME.astype(dtype)[:, None]
    for values in (act(z), act.derivative(z)):
        assert values.dtype == dtype and np.isfinite(values).all()
    if act.traits.flat:
        return
    model = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": name}], dtype=dtype)
    model.weights[0][:] = 1
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    tiny = np.finfo(dtype).tiny
    np.testing.assert_allclose(model.predict(z), act(z), rtol=tolerance, atol=tiny)
    np.testing.assert_allclose(model.jacobian(z, wrt="inputs")[:, :, 0], act.derivative(z), rtol=tolerance, atol=tiny)


def test_softmax():
    z = np.random.default_rng(0).normal(size=(4, 5))
    np.testing.assert_allclose(fastmlp.softmax(z), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(fastmlp.softmax(np.array([1e30, 0])), [1, 0])


def test_names_objects_and_pickles():
    assert get_activation("SiLU") is fastmlp.swish is fastmlp.silu
    assert get_activation(None) is fastmlp.linear
    assert fastmlp.relu([-1, 2]).tolist() == [0, 2]
    for act in ACTIVATIONS.values():
        assert pickle.loads(pickle.dumps(act)) == act
    steep = fastmlp.leaky_relu.with_slope(0.3)
    assert pickle.loads(pickle.dumps(steep)) == steep != fastmlp.leaky_relu
    assert steep(np.array([-1.0]))[0] == -0.3
    with pytest.raises(AttributeError, match="sigmoid"):
        fastmlp.sigmod  # noqa: B018
    for loss in LOSSES.values():
        assert pickle.loads(pickle.dumps(loss)) == loss == get_loss(loss.name.upper())


@pytest.mark.parametrize("name", LOSSES)
def test_loss_derivative(name):
    rng = np.random.default_rng(1)
    y_hat, y = rng.uniform(0.1, 0.9, (6, 4)), np.eye(4)[rng.integers(0, 4, 6)]
    loss = LOSSES[name]
    for k in range(4):
        bump = np.zeros(4)
        bump[k] = 1e-6
        numeric = (loss.function(y_hat + bump, y) - loss.function(y_hat - bump, y)) / 2e-6
        numeric = numeric if loss.rowwise else numeric[:, k]
        np.testing.assert_allclose(loss.derivative(y_hat, y)[:, k], numeric, atol=1e-7)


def test_loss_values():
    y_hat, y = np.array([0.25, 2.5]), np.array([1.0, 0.0])
    expected = {"mse": (0.75**2 + 2.5**2) / 2, "mae": 3.25, "mbe": 0.75 - 2.5, "huber": 0.75**2 / 2 + 2}
    expected["poisson"] = math.exp(0.25) - 0.25 - 1 + math.exp(2.5)  # y log y is 0 for both
    for name, value in expected.items():
        assert LOSSES[name].function(y_hat, y).sum() == pytest.approx(value)
    scores = np.array([[1.0, 3.0, 2.5]])
    assert LOSSES["hinge"].function(scores, np.array([[0, 1, 0]])).tolist() == [0.5]
    half = np.array([[0.5, 0.5]])
    assert LOSSES["cross_entropy"].function(half, np.array([[1, 0]])).sum() == pytest.approx(math.log(2))
    assert LOSSES["bce"].function(half, np.array([[1, 0]])).sum() == pytest.approx(2 * math.log(2))


def test_which_outputs_losses_fit():
    def fitting(loss):
        return {name for name, act in ACTIVATIONS.items() if not LOSSES[loss].refusal(act)}

    assert fitting("cross_entropy") == {"softmax", "sigmoid"}
    assert fitting("bce") == {"sigmoid"}
    assert fitting("mse") == fitting("mae") == fitting("mbe") == fitting("huber") == set(ACTIVATIONS)
    assert fitting("poisson") == {"linear"}
    assert set(ACTIVATIONS) - fitting("hinge") == {"softmax", "sigmoid", "step"}
    assert [default_loss(ACTIVATIONS[a]).name for a in ("softmax", "sigmoid", "tanh")] == [
        "cross_entropy",
        "bce",
        "mse",
    ]


@pytest.mark.parametrize(
    ("act", "loss"),
    [(a, loss) for a in ACTIVATIONS for loss in LOSSES if a != "step" and not LOSSES[loss].refusal(ACTIVATIONS[a])],
)
def test_gradients_by_finite_differences(act, loss):
    rng = np.random.default_rng(3)
    spec = [{"n": 4, "act": None}, {"n": 5, "act": act}, {"n": 3, "act": act, "cost": loss}]
    model = fastmlp.MLP(spec, seed=2)
    model.params += rng.uniform(-0.1, 0.1, model.params.size)  # biases of zero would put dead units on relu's kink
    x = rng.normal(size=(6, 4))
    y = np.eye(3)[rng.integers(0, 3, 6)] if loss in ("cross_entropy", "hinge", "bce") else rng.uniform(size=(6, 3))
    result = fastmlp.check_gradients(model, x, y)
    assert result, str(result)
    assert len(result.errors) == 2 and result.error == result.errors[result.layer - 1]


def test_poisson_is_pytorchs_and_refuses_negative_counts():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.poisson(3.0, size=50)
    model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 1, "act": "linear", "cost": "poisson"}], seed=0, dtype="float64")
    weights = torch.tensor(model.weights[0], requires_grad=True)
    outputs = (torch.tensor(x) @ weights.T)[:, 0]
    theirs = torch.nn.PoissonNLLLoss(log_input=True)(outputs, torch.tensor(y, dtype=torch.float64))
    theirs.backward()
    loss, gradient = model.gradient(x, y)
    constant = np.mean([k * math.log(k) - k if k else 0 for k in y])
    assert loss == pytest.approx(theirs.item() + constant, rel=1e-12)
    np.testing.assert_allclose(model.unflatten(gradient)[0][0], weights.grad.numpy(), rtol=1e-10)
    with pytest.raises(ValueError, match=r"y must be at least 0 for poisson, y\[1, 0\] is -1"):
        model.gradient(x[:2], [1, -1])
