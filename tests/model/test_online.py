"""partial_fit: the same steps as one long training, whatever the pieces."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp.optimizers import SGD

SPEC = [{"n": 6, "act": None}, {"n": 10, "act": "tanh"}, {"n": 3, "act": "softmax"}]


def data(n=90):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6)), rng.integers(0, 3, n)


@pytest.mark.parametrize("optimizer", ["sgd", SGD(momentum=0.9), "adam"], ids=str)
@pytest.mark.parametrize("pieces", [[90], [1] * 90, [30, 1, 17, 42]], ids=["whole", "single", "mixed"])
def test_pieces_make_the_steps_of_the_whole(optimizer, pieces):
    x, y = data()
    model, other = (fastmlp.MLP(SPEC, seed=1, dtype="float64") for _ in range(2))
    _, history = fastmlp.train(x, y, other, lr=0.02, epochs=1, shuffle=False, optimizer=optimizer)
    total, start = 0.0, 0
    for size in pieces:
        part = slice(start, start + size)
        values = model.partial_fit(x[part], y[part], lr=0.02, optimizer=optimizer)
        total, start = total + size * values["loss"], start + size
    np.testing.assert_allclose(model.params, other.params, rtol=1e-10, atol=1e-12)
    assert total / 90 == pytest.approx(history["loss"][0], rel=1e-10)


def test_batches_and_weights():
    x, y = data()
    weights = np.arange(90) % 3
    model, other = (fastmlp.MLP(SPEC, seed=1, dtype="float64") for _ in range(2))
    for part in (slice(0, 45), slice(45, 90)):
        model.partial_fit(x[part], y[part], lr=0.02, optimizer="adam", batch_size=10, sample_weight=weights[part])
    kept = weights > 0
    fastmlp.train(
        x[kept], y[kept], other, lr=0.02, epochs=1, shuffle=False, optimizer="adam", batch_size=10,
        sample_weight=weights[kept],
    )  # fmt: skip
    np.testing.assert_allclose(model.params, other.params, rtol=1e-12)


def test_another_optimiser_begins_anew():
    x, y = data()
    model, other = (fastmlp.MLP(SPEC, seed=1, dtype="float64") for _ in range(2))
    model.partial_fit(x, y, optimizer="adam")
    other.params = model.params
    model.partial_fit(x, y, optimizer="rmsprop")
    other.partial_fit(x, y, optimizer="rmsprop")
    assert model == other


def test_bad_calls_change_nothing():
    x, y = data()
    model = fastmlp.MLP(SPEC, seed=1)
    model.partial_fit(x, y)
    before = model.params.copy()
    with pytest.raises(ValueError, match="x has 5 features"):
        model.partial_fit(x[:, :5], y)
    with pytest.raises(ValueError, match="lr must be"):
        model.partial_fit(x, y, lr=0)
    with pytest.raises(fastmlp.DivergenceError):
        model.partial_fit(1e30 * x, y, lr=1e30)
    np.testing.assert_array_equal(model.params, before)
    assert np.isfinite(model.partial_fit(x, y)["loss"])


@pytest.mark.parametrize("shape", [(1,), (1, 1)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_that_are_not_finite_are_refused_after_good_ones_of_the_same_form(shape, dtype):
    rng = np.random.default_rng(0)
    spec = [{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 1, "act": "linear"}]
    model, other = (fastmlp.MLP(spec, seed=1, dtype=dtype) for _ in range(2))
    for _ in range(3):
        x, y = rng.normal(size=(1, 3)).astype(dtype), rng.normal(size=shape).astype(dtype)
        model.partial_fit(x, y, lr=0.1)
        other.partial_fit(x.tolist(), y.tolist(), lr=0.1)  # lists take the long way
    np.testing.assert_allclose(model.params, other.params, rtol=1e-5)
    before = model.params.copy()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="x must be finite"):
            model.partial_fit(np.full_like(x, bad), y, lr=0.1)
        with pytest.raises(ValueError, match=r"^y (must be finite|is NaN)"):
            model.partial_fit(x, np.full_like(y, bad), lr=0.1)
    np.testing.assert_array_equal(model.params, before)


def test_classes_are_looked_at_in_every_call():
    spec = [{"n": 3, "act": None}, {"n": 4, "act": "softmax", "cost": "mse"}]
    model, x = fastmlp.MLP(spec, seed=1), np.ones((1, 3), np.float32)
    model.partial_fit(x, np.array([3]))
    for bad in (4, -1):
        with pytest.raises(ValueError, match="y must hold class indices 0 to 3"):
            model.partial_fit(x, np.array([bad]))
    for samples in (np.float32(1), np.ones(3, np.float32)):
        with pytest.raises(ValueError, match="x must be two-dimensional"):
            model.partial_fit(np.asarray(samples), np.array([3]))


def test_options_of_other_libraries_are_answered():
    model = fastmlp.MLP([{"n": 2, "act": None}, {"n": 2, "act": "softmax"}])
    for name, words in (("classes", "model.class_names"), ("learning_rate", "write lr=")):
        with pytest.raises(TypeError, match=words):
            model.partial_fit([[1.0, 2.0]], [0], **{name: 1})
