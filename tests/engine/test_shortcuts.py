"""The short ways of few samples: the numbers of the long ones, from any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

import fastmlp


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_sample_takes_a_short_way_to_the_same_numbers(dtype):
    model = fastmlp.MLP([{"n": 3, "act": None, "scale": 0.5}, {"n": 16, "act": "tanh"}, {"n": 2}], seed=0, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(50, 3))
    many = model.predict(x)
    rounding = 1e-6 if dtype == "float32" else 1e-14
    for kind in ("float64", "float32", "int16", "uint8", "bool"):
        rows = (x * 10).astype(kind)
        np.testing.assert_allclose(
            [model.predict(row[None])[0] for row in rows], model.predict(rows), rtol=rounding, atol=rounding
        )
    first, second = model.predict(x[:1]), model.predict(x[1:2])
    np.testing.assert_allclose([first[0], second[0]], many[:2], rtol=rounding, atol=rounding)  # outputs of their own
    model.params *= 0
    assert not model.predict(x[:1]).any()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"x\[0, 1\] is (nan|inf)"):
            model.predict(np.array([[0.0, bad, 0.0]]))


def test_one_sample_from_many_threads():
    model = fastmlp.MLP([{"n": 8, "act": None}, {"n": 64, "act": "tanh"}, {"n": 3, "act": "softmax"}], seed=0)
    x = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    alone = [model.predict(row[None]) for row in x]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: model.predict(x[i % 200, None]), range(4000)))
    for i, outputs in enumerate(together):
        np.testing.assert_array_equal(outputs, alone[i % 200])


def test_an_array_whose_dtype_changes_in_place_is_read_anew():
    model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 2, "act": "linear"}], seed=0)
    x, y = np.array([[1, 2, 3], [4, 5, 6]], np.int32), np.zeros((2, 2), np.float32)
    model.gradient(x, y)
    x.dtype = np.uint32
    x -= 1
    x.dtype = np.float32
    with np.errstate(all="ignore"):
        x[:] = [[0.5, 1.5, 2.5], [3.5, 4.5, 5.5]]
    loss, gradient = model.gradient(x, y)
    expected_loss, expected = model.copy().gradient(x.copy(), y)
    assert loss == expected_loss
    np.testing.assert_array_equal(gradient, expected)


SPECS = {
    "softmax": [{"n": 3, "act": None, "scale": 0.5}, {"n": 16, "act": "tanh"}, {"n": 4, "act": "softmax"}],
    "padded": [{"n": 5, "act": None}, {"n": 7, "act": "relu"}, {"n": 3, "act": "linear"}],
    "labels": [{"n": 2, "act": None}, {"n": 20, "act": "elu", "bias": False}, {"n": 2, "act": "sigmoid"}],
    "counts": [{"n": 2, "act": None}, {"n": 8, "act": "relu"}, {"n": 1, "act": "linear", "cost": "poisson"}],
}


def samples(spec, n, dtype="float64"):
    rng = np.random.default_rng(n)
    x, n_out = rng.normal(size=(n, spec[0]["n"])).astype(dtype), spec[-1]["n"]
    if spec[-1]["act"] == "softmax":
        return x, rng.integers(0, n_out, n)
    return x, rng.integers(0, 2, (n, n_out)).astype(dtype)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 130, 1024])
def test_few_samples_take_a_short_way_to_the_numbers_of_the_long_one(name, n):
    model = fastmlp.MLP(SPECS[name], seed=0, dtype="float64")
    x, y = samples(SPECS[name], n)
    assert model._are_few(x)
    np.testing.assert_allclose(model.predict(x), model.predict(x.tolist()), rtol=1e-15)
    assert model.evaluate(x, y) == pytest.approx(model.evaluate(x.tolist(), y), rel=1e-15)
    x[-1, 1] = np.nan
    with pytest.raises(ValueError, match=rf"x\[{n - 1}, 1\] is nan"):
        model.predict(x)


@pytest.mark.parametrize("name", SPECS)
def test_short_and_long_calls_in_any_order(name):
    """A call that reads its samples where they are leaves nothing of them to the next, which copies its own."""
    wide = [{"n": 700, "act": None}, *SPECS[name][1:]]
    model = fastmlp.MLP(wide, seed=0, dtype="float64")
    many, labels = samples(wide, 300)
    for n in (300, 5, 1, 200, 11, 12, 64, 300, 2):
        x, y = many[:n], labels[:n]
        expected, mean = model.predict(x.tolist()), model.evaluate(x.tolist(), y)
        np.testing.assert_allclose(model.predict(x), expected, rtol=1e-14)
        np.testing.assert_allclose(model.predict(x[::-1])[::-1], expected, rtol=1e-12, atol=1e-14)
        assert model.evaluate(x, y) == pytest.approx(mean, rel=1e-14)
        loss, gradient = model.gradient(x, y)
        long_loss, long_gradient = model.gradient(x.tolist(), y)
        assert loss == pytest.approx(long_loss, rel=1e-14) == pytest.approx(mean["loss"], rel=1e-12)
        np.testing.assert_allclose(gradient, long_gradient, rtol=1e-12, atol=1e-15)
        np.testing.assert_array_equal(model.gradient(x, np.asfortranarray(y))[1], gradient)


def test_outputs_go_where_they_are_wanted():
    model = fastmlp.MLP(SPECS["softmax"], seed=0)
    x, _ = samples(SPECS["softmax"], 3000, "float32")
    for n in (1, 5, 3000):
        for out in (np.zeros((n, 4), np.float32), np.zeros((4, n), np.float32).T):
            assert model.predict(x[:n], out=out) is out
            np.testing.assert_array_equal(out, model.predict(x[:n]))
    before = out.copy()
    x[0, 0] = np.inf
    with pytest.raises(ValueError, match="must be finite"):
        model.predict(x, out=out)
    np.testing.assert_array_equal(out, before)
    for bad in (np.zeros((5, 4)), np.zeros((4, 4), np.float32), np.zeros(20, np.float32)):
        with pytest.raises(ValueError, match=r"out must be .* float32 of shape \(5, 4\), got"):
            model.predict(x[1:6], out=bad)
    x[0, 0], out.flags.writeable = 0, False
    with pytest.raises(ValueError, match="a read-only one"):
        model.predict(x[:3000], out=out)
    with pytest.raises(TypeError, match="out must be an array, got list"):
        model.predict(x[1:6], out=[0.0])


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", fastmlp.optimizers.SGD(momentum=0.9, nesterov=True)], ids=str)
@pytest.mark.parametrize("n", [1, 7, 64])
def test_a_step_of_few_samples_is_the_step_of_the_long_way(name, optimizer, n):
    short, long_way = (fastmlp.MLP(SPECS[name], seed=0, dtype="float64") for _ in range(2))
    x, y = samples(SPECS[name], n)
    for _ in range(3):
        values = short.partial_fit(x, y, lr=0.01, optimizer=optimizer, batch_size=n)
        expected = long_way.partial_fit(x.tolist(), y, lr=0.01, optimizer=optimizer, batch_size=n)
        assert values == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(short.params, long_way.params, rtol=1e-10, atol=1e-13)
    short.partial_fit(x, y, lr=0.01, optimizer=optimizer, batch_size=1)  # the state is one for both ways
    long_way.partial_fit(x.tolist(), y, lr=0.01, optimizer=optimizer, batch_size=1)
    np.testing.assert_allclose(short.params, long_way.params, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_what_cannot_be_learnt_leaves_all_as_it_was(optimizer):
    model = fastmlp.MLP(SPECS["padded"], seed=0)
    x, y = samples(SPECS["padded"], 1, "float32")
    other = fastmlp.MLP(SPECS["padded"], seed=0)
    for network in (model, other):
        network.partial_fit(x, y, lr=0.01, optimizer=optimizer)
    for bad_x, bad_y, error in [
        (x * np.nan, y, "x must be finite"),
        (x, y * 0 + np.inf, "y must be finite"),
        (x, y * np.nan, "y is NaN, not measured"),
        (x.astype(np.float64) * 1e300, y, "x must be finite"),
        (x, y.astype(np.float64) + 1e300, "y must be finite"),
        (x[:, :3], y, "3 features"),
        (x, y[:, :2], "y must have shape"),
    ]:
        with pytest.raises(ValueError, match=error):
            model.partial_fit(bad_x, bad_y, lr=0.01)
    for network in (model, other):  # the optimiser's state is what it was, too
        network.partial_fit(x, y, lr=0.01)
    assert model == other


def test_a_step_that_leaves_the_numbers_is_undone():
    spec = [{"n": 1, "act": None}, {"n": 1, "act": "linear", "cost": "mae", "bias": False}]
    for optimizer, lr in (("sgd", 1e38), ("rmsprop", 1e38)):
        model = fastmlp.MLP(spec, seed=0)
        model.params[:] = 1.0
        x, y = np.array([[8.0]], np.float32), np.array([1e9], np.float32)
        model.partial_fit(x, y, lr=1e-3, optimizer=optimizer)
        before = model.copy()
        with pytest.raises(fastmlp.DivergenceError):
            model.partial_fit(x, y, lr=lr)
        assert model == before and np.isfinite(model.params).all()


@pytest.mark.parametrize("steps", [1e29, 1e30, 1e31, 3e31])
def test_large_weights_stay_finite_or_as_they_were(steps):
    """The bound that lets plain SGD go without a copy of the parameters."""
    spec = [{"n": 1, "act": None}, {"n": 1, "act": "linear", "cost": "mbe", "bias": False}]
    model = fastmlp.MLP(spec, seed=0)
    model.params[:] = np.finfo(np.float32).max
    x, y = np.array([[0.5]], np.float32), np.zeros(1, np.float32)
    for sign in (-1.0, 1.0):
        model.params[:] *= sign
        with suppress(fastmlp.DivergenceError):
            model.partial_fit(x, y, lr=2 * steps)
        assert np.isfinite(model.params).all()
