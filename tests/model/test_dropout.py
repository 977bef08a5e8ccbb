"""Dropout: which units are left out, and what a step makes of the rest."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp
from fastmlp import reference

N, WIDTH, SHARE = 300, 20, 0.3


def masks(seed, epochs=1, n=N, **options):
    """What every hidden unit of every sample was multiplied by in each epoch, in the order of training."""
    identity = [{"n": 1, "act": None}, {"n": WIDTH, "act": "linear"}, {"n": WIDTH, "act": "linear"}]
    model = fastmlp.MLP(identity, seed=0, dtype="float64")
    model.params[...] = 0
    model.weights[0][...], model.weights[1][...] = 1, np.eye(WIDTH)
    seen = []
    fastmlp.train(
        np.ones((n, 1)), np.zeros((n, WIDTH)), model, lr=1e-15, epochs=epochs, dropout=SHARE, seed=seed,
        metrics=lambda y, outputs: seen.append(outputs.copy()) or 0.0, **options,
    )  # fmt: skip
    return np.array(seen)


def test_units_are_left_out_at_random_and_the_others_scaled():
    drawn = masks(0, epochs=20)
    kept = drawn > 0.5
    np.testing.assert_allclose(drawn[kept], 1 / (1 - SHARE), rtol=1e-6)
    np.testing.assert_allclose(drawn[~kept], 0, atol=1e-6)
    n = kept.size
    assert abs(kept.mean() - (1 - SHARE)) < 5 * np.sqrt(SHARE * (1 - SHARE) / n)
    flat = kept.reshape(-1, WIDTH).astype(float) - (1 - SHARE)
    for other in (np.roll(flat, 1, axis=0), np.roll(flat, 1, axis=1), np.roll(flat, N, axis=0)):
        assert abs(np.mean(flat * other)) < 5 * SHARE * (1 - SHARE) / np.sqrt(n)


def test_the_draws_depend_on_the_seed_alone():
    drawn = masks(3) > 0.5
    assert not np.array_equal(drawn, masks(4) > 0.5)
    for options in ({"batch_size": 7}, {"batch_size": 256, "n_threads": 2}, {"optimizer": "adam"}, {"l2": 1e-9}):
        np.testing.assert_array_equal(masks(3, **options) > 0.5, drawn)


def test_predictions_leave_out_units_as_training_does():
    model = fastmlp.MLP([{"n": 1}, {"n": WIDTH}, {"n": WIDTH}, {"n": WIDTH}], seed=0, dtype="float64")
    model.params[...] = 0
    model.weights[0][...] = 1
    model.weights[1][...] = model.weights[2][...] = np.eye(WIDTH)
    each = model.predict_with_dropout(np.ones((N, 1)), [SHARE, 0.5], n=20, seed=0)
    assert each.shape == (20, N, WIDTH)
    kept = each > 0
    np.testing.assert_allclose(each[kept], 1 / ((1 - SHARE) * 0.5), rtol=1e-12)
    share = (1 - SHARE) * 0.5
    assert abs(kept.mean() - share) < 5 * np.sqrt(share * (1 - share) / kept.size)
    flat = kept.astype(float) - share
    for axis in range(3):  # between predictions, samples and units
        assert abs(np.mean(flat * np.roll(flat, 1, axis))) < 5 * share * (1 - share) / np.sqrt(kept.size)


@pytest.mark.parametrize("act", ["tanh", "relu", "softmax"])
@pytest.mark.parametrize("n_samples", [1, 3, 300])
def test_predictions_with_dropout_are_those_of_the_units_that_are_left(act, n_samples):
    spec = [{"n": 2, "act": None}, {"n": 5, "act": act}, {"n": 5, "act": act}, {"n": 3, "act": "softmax"}]
    x = np.random.default_rng(1).normal(size=(n_samples, 2))
    model = fastmlp.MLP(spec, seed=5, dtype="float64")
    each = model.predict_with_dropout(x, [0.4, 0.0], n=7, seed=3)
    hidden = reference.forward(model.spec, model.weights, model.biases, x)[1][1]
    found = []
    for pattern in np.ndindex(*[2] * 5):
        above = fastmlp.Spec([{"n": 5, "act": None}, *spec[2:]])
        outputs = reference.predict(above, model.weights[1:], model.biases[1:], hidden * pattern / 0.6)
        found.append(np.abs(each - outputs).max(axis=2))
    assert np.min(found, axis=0).max() < 1e-12
    assert len(np.unique(np.argmin(found, axis=0))) > 1


def test_predictions_with_dropout_are_the_seeds_alone():
    spec = [{"n": 3, "act": None}, {"n": 40, "act": "relu"}, {"n": 20, "act": "tanh"}, {"n": 2, "act": "linear"}]
    model, x = fastmlp.MLP(spec, seed=0), np.random.default_rng(0).normal(size=(3000, 3))
    each = model.predict_with_dropout(x, 0.2, n=5, seed=1)
    for n_threads in (2, 3):
        np.testing.assert_array_equal(model.predict_with_dropout(x, 0.2, n=5, seed=1, n_threads=n_threads), each)
    np.testing.assert_array_equal(model.predict_with_dropout(x, 0.2, n=3, seed=1), each[:3])
    np.testing.assert_allclose(model.predict_with_dropout(x[:40], 0.2, n=5, seed=1), each[:, :40], rtol=1e-5, atol=1e-6)
    assert not np.array_equal(model.predict_with_dropout(x, 0.2, n=5, seed=2), each)
    plain = model.predict(x)
    np.testing.assert_array_equal(model.predict(x), plain)  # which leaves nothing out, before and after
    for bad, words in ((0.0, "dropout is 0.0, so that nothing is left out"), ([0.1], "dropout has 1 entries"),
                       (1.0, "dropout must be a finite number")):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            model.predict_with_dropout(x, bad)
    with pytest.raises(ValueError, match="the network has no hidden layer, so that nothing is left out"):
        fastmlp.MLP([{"n": 3}, {"n": 1}]).predict_with_dropout(x, 0.5)
    with pytest.raises(ValueError, match="n must be at least 1"):
        model.predict_with_dropout(x, 0.5, n=0)


@pytest.mark.parametrize("act", ["tanh", "relu", "softmax"])
@pytest.mark.parametrize("batch_size", [1, 10, 250])
def test_steps_follow_the_units_that_are_left(act, batch_size):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(N, 1)), rng.normal(size=(N, 2))
    spec = [{"n": 1, "act": None}, {"n": WIDTH, "act": act}, {"n": 2, "act": "linear"}]
    model = fastmlp.MLP(spec, seed=5, dtype="float64")
    (w1, w2), (b1, b2) = ([p.copy() for p in ps] for ps in (model.weights, model.biases))
    drawn = np.where(masks(7, shuffle=False)[0] > 0.5, 1 / (1 - SHARE), 0)
    for start in range(0, N, batch_size):
        part = slice(start, start + batch_size)
        zs, activations = reference.forward(model.spec, [w1, w2], [b1, b2], x[part])
        hidden = activations[1] * drawn[part]
        delta = hidden @ w2.T + b2 - y[part]
        below = reference.through(model.spec.layers[0].act, zs[0], activations[1], (delta @ w2) * drawn[part])
        n = len(delta)
        w2 -= 0.01 * delta.T @ hidden / n
        b2 -= 0.01 * delta.mean(axis=0)
        w1 -= 0.01 * below.T @ x[part] / n
        b1 -= 0.01 * below.mean(axis=0)
    fastmlp.train(x, y, model, lr=0.01, epochs=1, batch_size=batch_size, dropout=SHARE, seed=7, shuffle=False)
    for ours, theirs in zip([*model.weights, *model.biases], [w1, w2, b1, b2], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


def test_predictions_use_every_unit():
    x, y = np.ones((10, 1)), np.ones((10, 1))
    spec = [{"n": 1, "act": None}, {"n": WIDTH, "act": "tanh"}, {"n": 1, "act": "linear"}]
    model, _ = fastmlp.train(x, y, spec, epochs=1, dropout=[0.9], seed=0, dtype="float64")
    np.testing.assert_array_equal(model.predict(x), np.full((10, 1), model.predict(x)[0, 0]))
    exact = reference.forward(model.spec, model.weights, model.biases, x)[1][-1]
    np.testing.assert_allclose(model.predict(x), exact, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": [0.1, 0.2]}, "dropout has 2 entries, the network has 1 hidden"),
        ({"dropout": 1.0}, "dropout must be a finite number at least 0 and below 1"),
    ],
    ids=str,
)
def test_refusals(options, message):
    spec = [{"n": 1, "act": None}, {"n": WIDTH, "act": "tanh"}, {"n": 1, "act": "linear"}]
    with pytest.raises(ValueError, match=message):
        fastmlp.train(np.ones((10, 1)), np.ones((10, 1)), spec, **options)
