"""Sample and class weights: weight w is w copies, weight 0 is absence."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

import fastmlp
from fastmlp import reference

SPEC = [{"n": 5, "act": None}, {"n": 8, "act": "tanh"}, {"n": 3, "act": "softmax"}]


def data(n=60):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 5)), rng.integers(0, 3, n), rng.integers(0, 4, n)


def trained(x, y, spec=SPEC, **options):
    return fastmlp.train(x, y, spec, dtype="float64", **{"seed": 0, "epochs": 5, "lr": 0.1, **options})


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("n", [40, 400])
def test_a_weight_is_so_many_copies(optimizer, n):
    x, y, weights = data(n)
    options = {"batch_size": "full", "optimizer": optimizer, "l2": 0.01}
    model, history = trained(x, y, sample_weight=weights, **options)
    copies, its_history = trained(np.repeat(x, weights, axis=0), np.repeat(y, weights), **options)
    np.testing.assert_allclose(model.params, copies.params, rtol=1e-10, atol=1e-12)
    for name in history:
        np.testing.assert_allclose(history[name], its_history[name], rtol=1e-10)


@pytest.mark.parametrize(
    "options", [{}, {"batch_size": 8}, {"optimizer": "adam"}, {"validation_fraction": 0.2}, {"shuffle": False}], ids=str
)
def test_weight_zero_is_absence(options):
    x, y, weights = data()
    kept = weights > 0
    model, history = trained(x, y, sample_weight=kept, **options)
    absent, its_history = trained(x[kept], y[kept], sample_weight=np.ones(kept.sum()), **options)
    np.testing.assert_array_equal(model.params, absent.params)
    assert history == its_history


def test_weights_of_one_change_nothing():
    x, y, _ = data()
    for options in ({}, {"batch_size": 8}):
        plain, history = trained(x, y, **options)
        model, its_history = trained(x, y, sample_weight=np.ones(len(x)), **options)
        np.testing.assert_allclose(model.params, plain.params, rtol=1e-12)
        np.testing.assert_allclose(its_history["loss"], history["loss"], rtol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_single_sample_steps_so_much_further(momentum):
    x, y, weights = data()
    model = fastmlp.MLP(SPEC, seed=1, dtype="float64")
    ws, bs = [w.copy() for w in model.weights], [b.copy() for b in model.biases]
    targets = reference.targets(model.spec, y)
    velocity = [np.zeros_like(p) for p in [*ws, *bs]]
    for i in np.flatnonzero(weights):
        _, dws, dbs = reference.gradient(model.spec, ws, bs, x[i : i + 1], targets[i : i + 1])
        for p, g, v in zip([*ws, *bs], [*dws, *dbs], velocity, strict=True):
            v *= momentum
            v += weights[i] * g
            p -= 0.1 * v
    optimizer = fastmlp.optimizers.SGD(momentum=momentum)
    trained(x, y, model, sample_weight=weights, shuffle=False, epochs=1, optimizer=optimizer)
    for ours, theirs in zip([*model.weights, *model.biases], [*ws, *bs], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def balanced(y, weights):
    """scikit-learn's weight of each class; before 1.9 it counts rows, so that these are repeated."""
    y = np.repeat(y, weights)
    return compute_class_weight("balanced", classes=np.unique(y), y=y)


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", fastmlp.optimizers.SGD(momentum=0.9), "adam"], ids=str)
def test_a_single_samples_weight_is_its_losss(optimizer, trainable):
    x = data()[0]
    spec = [SPEC[0], SPEC[1] | {"trainable": trainable}, {"n": 2, "act": "linear"}]
    options = {"spec": spec, "optimizer": optimizer, "lr": 0.01}
    weighed = trained(x, x[:, :2], sample_weight=np.full(len(x), 3.0), **options)
    scaled = trained(x, x[:, :2], output_weight=[3.0, 3.0], **options)
    np.testing.assert_allclose(weighed.model.params, scaled.model.params, rtol=1e-9)


def test_a_single_samples_weight_is_that_of_its_slopes():
    x = data()[0]
    options = {"spec": [SPEC[0], SPEC[1], {"n": 1, "act": "linear"}], "dydx": np.ones((len(x), 1, 5))}
    weighed = trained(x, x[:, 0], sample_weight=np.full(len(x), 3.0), lr=0.01, **options)
    longer = trained(x, x[:, 0], lr=0.03, **options)
    np.testing.assert_allclose(weighed.model.params, longer.model.params, rtol=1e-9)


def test_class_weights_multiply_into_sample_weights():
    x, y, weights = data()
    for class_weight in ("balanced", {0: 2.0, 2: 0.5}):
        spelt = [2.0, 1.0, 0.5] if class_weight != "balanced" else balanced(y, weights)
        wanted, history = trained(x, y, sample_weight=weights * np.take(spelt, y))
        for labels in (y, np.eye(3)[y]):
            model, its_history = trained(x, labels, sample_weight=weights, class_weight=class_weight)
            np.testing.assert_allclose(model.params, wanted.params, rtol=1e-12)
            np.testing.assert_allclose(its_history["loss"], history["loss"])
    one = [*SPEC[:2], {"n": 1, "act": "sigmoid"}]
    model, _ = trained(x, y > 0, one, class_weight="balanced")
    wanted, _ = trained(x, y > 0, one, sample_weight=compute_sample_weight("balanced", y > 0))
    np.testing.assert_array_equal(model.params, wanted.params)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_weight": [1.0, 2.0]}, r"sample_weight must have shape \(60,\)"),
        ({"sample_weight": [-1.0] * 60}, r"sample_weight\[0\] is -1"),
        ({"sample_weight": [np.nan] * 60}, r"sample_weight\[0\] is nan"),
        ({"sample_weight": [0] * 60}, "weights of all samples are zero"),
        ({"class_weight": "even"}, "class_weight must be 'balanced'"),
        ({"class_weight": {3: 1.0}}, "class_weight names class 3"),
        ({"class_weight": {0: -1.0}}, r"class_weight\[0\] must be"),
    ],
    ids=str,
)
def test_refusals(options, message):
    x, y, _ = data()
    with pytest.raises(ValueError, match=message):
        trained(x, y, **options)
