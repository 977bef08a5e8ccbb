"""Second derivatives and derivatives along directions as users meet them: bad input, own functions, PyTorch."""

from __future__ import annotations

import threading

import numba
import numpy as np
import pytest

import fastmlp

SPEC = [{"n": 3, "act": None}, {"n": 4, "act": "tanh"}, {"n": 2, "act": "linear"}]


@pytest.fixture
def model():
    return fastmlp.MLP(SPEC, seed=0, dtype="float64")


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    return rng.normal(size=(6, 3)), rng.normal(size=(6, 2))


@numba.njit
def cube(z):
    return z**3


@numba.njit
def d_cube(z):
    return 3.0 * z**2


@numba.njit
def dd_cube(z):
    return 6.0 * z


@numba.njit
def quartic(y_hat, y):
    return (y_hat - y) ** 4


@numba.njit
def d_quartic(y_hat, y):
    return 4.0 * (y_hat - y) ** 3


@numba.njit
def dd_quartic(y_hat, y):
    return 12.0 * (y_hat - y) ** 2


def with_own(*second):
    """A network of the user's functions, with their second derivatives or without."""
    act = fastmlp.Activation("cube", cube, d_cube, *second[:1])
    loss = fastmlp.Loss("quartic", quartic, d_quartic, *second[1:])
    spec = [{"n": 3, "act": None}, {"n": 4, "act": act}, {"n": 2, "act": "linear", "cost": loss}]
    return fastmlp.MLP(spec, seed=0, dtype="float64")


def calls(model, x, y):
    """What takes a vector, by name: the call, and a vector that is right."""
    v = np.ones(model.params.size)
    return {
        "hvp": (lambda v: model.hvp(x, y, v), v),
        "hvp with weights": (lambda v: model.hvp(x, y, v, sample_weight=np.ones(len(x))), v),
        "jvp by inputs": (lambda v: model.jvp(x, v), np.ones(x.shape)),
        "jvp by params": (lambda v: model.jvp(x, v, wrt="params"), v),
        "vjp by inputs": (lambda v: model.vjp(x, v), np.ones(y.shape)),
        "vjp by params": (lambda v: model.vjp(x, v, wrt="params"), np.ones(y.shape)),
    }


CALLS = [f"{kind} {form}" for kind in ("jvp by", "vjp by") for form in ("inputs", "params")] + [
    "hvp",
    "hvp with weights",
]


@pytest.mark.parametrize("name", CALLS)
def test_bad_vectors(model, samples, name):
    call, right = calls(model, *samples)[name]
    letter = "u" if name.startswith("vjp") else "v"
    for wrong in (right[:-1], right[..., None], right[None], np.ones(()), [], np.ones((0, 5))):
        with pytest.raises(ValueError, match=rf"{letter} must have shape"):
            call(wrong)
    for value in (np.nan, np.inf, -np.inf):
        bad = right.copy()
        bad.flat[1] = value
        with pytest.raises(ValueError, match=rf"{letter} must be finite, {letter}\[.*\] is {value}"):
            call(bad)
    for kind in (None, "text", right.astype(complex), right.astype(str), {}):
        with pytest.raises((TypeError, ValueError), match=letter):
            call(kind)


@pytest.mark.parametrize("name", CALLS)
def test_vectors_of_any_dtype_and_order(model, samples, name):
    call, right = calls(model, *samples)[name]
    values = np.arange(right.size).reshape(right.shape) % 7
    exact = call(values.astype(np.float64))
    for kind in (values, values.astype(np.int8), values.astype(">f4"), np.asfortranarray(values.astype(np.float32))):
        np.testing.assert_array_equal(call(kind), exact)
    np.testing.assert_array_equal(call(values.tolist()), exact)
    strided = np.zeros((2 * len(values), *values.shape[1:]))
    strided[::2] = values
    strided.flags.writeable = False
    np.testing.assert_array_equal(call(strided[::2]), exact)


def test_what_float32_cannot_hold_is_refused(samples):
    model = fastmlp.MLP(SPEC, seed=0)
    with pytest.raises(ValueError, match="which float32 cannot hold"):
        model.hvp(*samples, np.full(model.params.size, 1e300))


def test_bad_samples(model, samples):
    x, y = samples
    v = np.ones(model.params.size)
    for bad in (np.nan, np.inf):
        for which in (0, 1) if np.isinf(bad) else (0,):  # NaN in y was not measured
            wrong = [x.copy(), y.copy()]
            wrong[which][2, 1] = bad
            with pytest.raises(ValueError, match="must be finite"):
                model.hvp(*wrong, v)
            with pytest.raises(ValueError, match="must be finite"):
                model.hessian(*wrong)
    with pytest.raises(ValueError, match="x has 2 features"):
        model.jvp(x[:, :2], x[:, :2])
    with pytest.raises(ValueError, match="x is empty"):
        model.vjp(x[:0], y[:0])
    with pytest.raises(ValueError, match="y has 5 rows"):
        model.hvp(x, y[:5], v)
    with pytest.raises(ValueError, match="sample_weight must be finite and at least 0"):
        model.hessian(x, y, sample_weight=-np.ones(6))


def test_what_belongs_to_the_loss_alone(model, samples):
    x, y = samples
    with pytest.raises(ValueError, match="y is missing"):
        model.hessian(x)
    with pytest.raises(ValueError, match=r"y is given, but .* know no loss: leave it out"):
        model.hessian(x, y, wrt="inputs")
    with pytest.raises(ValueError, match="sample_weight is given"):
        model.hessian(x, wrt="inputs", sample_weight=np.ones(6))
    for call in (lambda: model.hessian(x, y, wrt="input"), lambda: model.jvp(x, x, wrt="weights")):
        with pytest.raises(ValueError, match="wrt"):
            call()


def test_one_that_is_too_large_is_refused_before_any_work():
    model = fastmlp.MLP([{"n": 1000, "act": None}, {"n": 2000, "act": "tanh"}, {"n": 1, "act": "linear"}])
    with pytest.raises(MemoryError, match="a Hessian of"):
        model.hessian(np.zeros((1, 1000)), np.zeros(1))


def test_own_functions_without_second_derivatives_are_refused_by_name(samples):
    x, y = samples
    model = with_own()
    v = np.ones(model.params.size)
    for call in (
        lambda: model.hvp(x, y, v),
        lambda: model.hvp(x, y, v, sample_weight=np.ones(6)),
        lambda: model.hessian(x, y),
        lambda: model.hessian(x, wrt="inputs"),
    ):
        with pytest.raises(ValueError, match=r"activation 'cube' has no second derivative; give one: fastmlp\.Activat"):
            call()
    np.testing.assert_allclose(model.jvp(x, x), np.einsum("ski,si->sk", model.jacobian(x, wrt="inputs"), x))
    with pytest.raises(ValueError, match=r"loss 'quartic' has no second derivative; give one: fastmlp\.Loss"):
        with_own(dd_cube).hvp(x, y, v)
    with pytest.raises(ValueError, match=r"loss 'quartic' has no second derivative; give one: fastmlp\.Loss"):
        with_own(dd_cube).hessian(x, y)


def test_own_functions_with_second_derivatives(samples):
    x, y = samples
    model = with_own(dd_cube, dd_quartic)
    assert fastmlp.check_gradients(model, x, y, order=2)
    slopes = [model.jacobian(x + side * np.eye(3)[0], wrt="inputs") for side in (1e-6, -1e-6)]
    hessian = model.hessian(x, wrt="inputs")
    np.testing.assert_allclose(hessian[:, :, 0], (slopes[0] - slopes[1]) / 2e-6, rtol=1e-6, atol=1e-6)


def test_against_torch(samples):
    torch = pytest.importorskip("torch")
    x, y = samples
    model = fastmlp.MLP([*SPEC[:2], {"n": 5, "act": "gelu"}, *SPEC[2:]], seed=0, dtype="float64")
    network = fastmlp.interop.to_torch(model)
    parameters = list(network.parameters())
    inputs, targets = torch.tensor(x), torch.tensor(y)
    loss = 0.5 * ((network(inputs) - targets) ** 2).sum(1).mean()
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    v = np.random.default_rng(1).normal(size=model.params.size)
    along = [part for pair in zip(*model.unflatten(v), strict=True) for part in pair]
    slope = sum((g * torch.tensor(part)).sum() for g, part in zip(gradients, along, strict=True))
    theirs = torch.autograd.grad(slope, parameters)
    product = model.unflatten(model.hvp(x, y, v))
    ours = [part for pair in zip(*product, strict=True) for part in pair]
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other.numpy(), rtol=1e-10, atol=1e-12)
    hessian = torch.autograd.functional.hessian(lambda row: network(row[None])[0, 1], inputs[2])
    np.testing.assert_allclose(model.hessian(x, wrt="inputs")[2, 1], hessian.numpy(), rtol=1e-10, atol=1e-12)


def test_threads_do_not_meet(model, samples):
    x, y = samples
    directions = np.random.default_rng(0).normal(size=(8, model.params.size))
    exact = [model.hvp(x, y, v) for v in directions]
    found = [[] for _ in directions]

    def work(i):
        for _ in range(50):
            found[i].append(model.hvp(x, y, directions[i], sample_weight=np.ones(6)))
            found[i].append(model.hvp(x, y, directions[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(directions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results, product in zip(found, exact, strict=True):
        np.testing.assert_allclose(results, np.tile(product, (100, 1)), rtol=1e-13, atol=1e-15)


def test_a_model_is_as_it_was(model, samples):
    before = model.copy()
    x, y = samples
    model.hvp(x, y, np.ones(model.params.size))
    model.hessian(x, y)
    model.hessian(x, wrt="inputs")
    assert model == before
