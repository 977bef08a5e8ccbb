"""The table of losses against finite differences, closed forms, PyTorch and the math module."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import fastmlp
from fastmlp.activations import ACTIVATIONS
from fastmlp.losses import LOSSES, Quantile, default_loss, get_loss


def test_names_and_pickles():
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
    assert (
        fitting("mse")
        == fitting("mae")
        == fitting("mbe")
        == fitting("huber")
        == fitting("quantile(0.5)")
        == set(ACTIVATIONS)
    )
    assert fitting("poisson") == fitting("gaussian_nll") == {"linear"}
    assert set(ACTIVATIONS) - fitting("hinge") == {"softmax", "sigmoid", "hard_sigmoid", "step"}
    assert [default_loss(ACTIVATIONS[a]).name for a in ("softmax", "sigmoid", "tanh")] == [
        "cross_entropy",
        "bce",
        "mse",
    ]


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


@pytest.mark.parametrize("n_targets", [1, 2])
def test_quantiles_are_scikit_learns_pinball_losses(n_targets):
    mean_pinball_loss = pytest.importorskip("sklearn.metrics").mean_pinball_loss
    rng, loss = np.random.default_rng(0), Quantile([0.1, 0.5, 0.9])
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, n_targets))
    last = {"n": 3 * n_targets, "act": "linear", "cost": loss}
    model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, last], seed=0, dtype="float64")
    outputs = model.predict(x).reshape(50, n_targets, 3)
    expected = sum(
        mean_pinball_loss(y[:, t], outputs[:, t, k], alpha=level)
        for t in range(n_targets)
        for k, level in enumerate(loss.levels)
    )
    assert model.evaluate(x, y)["loss"] == pytest.approx(expected, rel=1e-12)
    assert model.gradient(x, y)[0] == pytest.approx(expected, rel=1e-12)
    assert fastmlp.check_gradients(model, x, y)


def test_quantiles_of_y_are_learnt_and_kept(tmp_path):
    y = np.random.default_rng(0).exponential(1e5, size=1000)
    spec = [{"n": 1, "act": None}, {"n": 3, "act": None, "cost": "quantile(0.1, 0.5, 0.9)"}]
    options = {"standardize": True, "optimizer": "adam", "batch_size": 20, "epochs": 40, "seed": 0}
    model = fastmlp.train(np.zeros((1000, 1)), y, spec, **options).model
    shares = (y[:, None] < model.predict([[0.0]])).mean(axis=0)
    np.testing.assert_allclose(shares, [0.1, 0.5, 0.9], atol=0.03)
    model.save(tmp_path / "net")
    assert fastmlp.load(tmp_path / "net").spec.loss is Quantile([0.1, 0.5, 0.9])


def gaussian(n_targets, dtype="float64", **options):
    last = {"n": 2 * n_targets, "act": "linear", "cost": "gaussian_nll", **options}
    return fastmlp.MLP([{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, last], seed=0, dtype=dtype)


@pytest.mark.parametrize("n_targets", [1, 3])
def test_gaussian_nll_is_pytorchs(n_targets):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(50, n_targets))
    model = gaussian(n_targets)
    hidden = torch.tensor(np.tanh(x @ model.weights[0].T + model.biases[0]))
    weights = torch.tensor(model.weights[1], requires_grad=True)
    mean, log_variance = (hidden @ weights.T).split(n_targets, dim=1)
    loss = torch.nn.GaussianNLLLoss(reduction="none", eps=0)(mean, torch.tensor(y), log_variance.exp())
    theirs = loss.sum(dim=1).mean()
    theirs.backward()
    ours, gradient = model.gradient(x, y)
    assert ours == pytest.approx(theirs.item(), rel=1e-12) == model.evaluate(x, y)["loss"]
    np.testing.assert_allclose(model.unflatten(gradient)[0][1], weights.grad.numpy(), rtol=1e-10)
    one_by_one = model.copy()
    for _ in range(3):
        np.testing.assert_allclose(one_by_one.partial_fit(x, y, lr=1e-300)["loss"], ours, rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gaussian_nll_is_finite_where_it_has_a_value(dtype):
    """½ (s + e² exp(-s)) in numbers of that dtype, also where exp(-s) is none."""
    largest = float(np.finfo(dtype).max)
    model = fastmlp.MLP([{"n": 1, "act": None}, {"n": 2, "act": None, "cost": "gaussian_nll"}], dtype=dtype)
    model.weights[0][...] = 0
    for e, s, expected in (
        (0.0, -1e4, -5e3),
        (0.0, 1e4, 5e3),
        (1e-30, -130.0, (-130 + 1e-60 * math.exp(130)) / 2),
        (3.0, 1e4, 5e3),
        (largest, 200.0, (200 + (largest / math.exp(100)) * (largest / math.exp(100))) / 2),
    ):
        for mean in (0.0, -e / 2):
            model.biases[0][...] = mean, s
            loss, gradient = model.gradient([[0.0]], [e + mean])
            if expected <= largest:
                assert loss == pytest.approx(expected, rel=1e-4)
            if abs(s) > 1e3:
                assert np.isfinite(gradient).all()


def test_means_and_variances_come_in_the_units_of_y(tmp_path):
    """A network of y / c with log-variance s is one of y with log-variance s + 2 log c."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.normal(size=(60, 2))
    shift, scale = np.array([100.0, -3.0]), np.array([1e4, 0.5])
    plain, scaled = gaussian(2), gaussian(2, shift=shift, scale=scale)
    assert scaled.gradient(x, shift + scale * y)[0] == pytest.approx(plain.gradient(x, y)[0], rel=1e-9)
    (mean, s), (in_units, of_units) = (np.hsplit(model.predict(x), 2) for model in (plain, scaled))
    np.testing.assert_allclose(in_units, shift + scale * mean, rtol=1e-12)
    np.testing.assert_allclose(of_units, s + 2 * np.log(scale), rtol=1e-12)
    for again in (fastmlp.Spec(scaled.spec.to_list()), fastmlp.Spec.from_json(scaled.spec.to_json())):
        assert again == scaled.spec
    scaled.save(tmp_path / "net")
    assert fastmlp.load(tmp_path / "net") == scaled
    metrics = scaled.evaluate(x, shift + scale * y, metrics=["mae", "r2"])
    assert metrics["mae"] == pytest.approx(np.mean(np.abs(scale * (y - mean))), rel=1e-9)


def test_means_and_variances_are_learnt():
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (2000, 1))
    y = 1e5 + 3e4 * x[:, 0] + rng.normal(size=2000) * np.where(x[:, 0] > 0, 1e4, 2e3)
    spec = [{"n": 1, "act": None}, {"n": 2, "act": "linear", "cost": "gaussian_nll"}]
    options = {"optimizer": "adam", "batch_size": 20, "epochs": 40, "seed": 0}
    model = fastmlp.train(x, y, spec, standardize=True, lr=0.01, **options).model
    mean, log_variance = model.predict([[-1.0], [1.0]]).T
    np.testing.assert_allclose(mean, [7e4, 13e4], rtol=0.01)
    np.testing.assert_allclose(np.exp(log_variance / 2), [2e3, 1e4], rtol=0.1)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (
            {"n": 3},
            'has 2 outputs for each target, a mean and the logarithm of a variance.*give the last layer {"n": 2}',
        ),
        ({"n": 2, "act": "relu"}, "does not fit a relu output: half of its outputs are logarithms of variances"),
        ({"n": 4, "shift": [1, 2, 3]}, "must be a number or 2 numbers, got shape"),
        ({"n": 4, "scale": [1, 2, 3, 4]}, "shift and scale are those of the targets, one number or 2"),
        ({"n": 4, "scale": [1, 2], "shift": [0, 0, 0, 0]}, "shift and scale are those of the targets"),
        ({"n": 2, "scale": -1.0}, "must be above 0"),
    ],
)
def test_means_and_variances_that_do_not_fit(layer, words):
    with pytest.raises(ValueError, match=words):
        fastmlp.MLP([{"n": 1, "act": None}, {"act": None, "cost": "gaussian_nll", **layer}])


@pytest.mark.parametrize(
    ("levels", "error", "words"),
    [
        ([], ValueError, "levels is empty"),
        ([0.5, 0.1], ValueError, "levels must ascend, got 0.5, 0.1"),
        ([0.0], ValueError, "levels must be a finite number above 0 and below 1"),
        ("a", TypeError, "levels must be a number, got 'a'"),
    ],
)
def test_bad_levels(levels, error, words):
    with pytest.raises(error, match=words):
        Quantile(levels)


@pytest.mark.parametrize(
    ("cost", "n", "words"),
    [
        ("quantile(0.1, 0.9)", 3, 'has 2 outputs for each target.*give the last layer {"n": 2}'),
        ("quantile(0.1; 0.9)", 2, r"is not as in 'quantile\(0.1, 0.5, 0.9\)'"),
        ("quantile", 1, r"did you mean 'quantile\(0.5\)'"),
    ],
)
def test_quantiles_that_do_not_fit(cost, n, words):
    with pytest.raises(ValueError, match=words):
        fastmlp.MLP([{"n": 1, "act": None}, {"n": n, "act": None, "cost": cost}])


@pytest.mark.parametrize("size", [1e15, -1e15])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_inputs_give_the_closed_form_loss(size, dtype):
    x = np.array([[size]])
    softmax = fastmlp.MLP([{"n": 1, "act": None}, {"n": 3, "act": "softmax"}], dtype=dtype)
    softmax.weights[0][:, 0] = [1, 2, 4]
    top = max(4 * size, size)
    for label, weight in enumerate((1, 2, 4)):
        assert softmax.evaluate(x, [label])["loss"] == pytest.approx(top - weight * size, rel=1e-6)
        assert np.isfinite(softmax.gradient(x, [label])[1]).all()
    sigmoid = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": "sigmoid"}], dtype=dtype)
    sigmoid.weights[0][:] = 3
    for label in (0, 1):
        expected = max(3 * size, 0) - label * 3 * size
        assert sigmoid.evaluate(x, [label])["loss"] == pytest.approx(expected, rel=1e-6)
        assert np.isfinite(sigmoid.gradient(x, [label])[1]).all()
