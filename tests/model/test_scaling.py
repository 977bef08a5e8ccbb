"""Shift and scale of the last layer, and standardize=True: against the NumPy reference, and against scaling by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from sklearn.datasets import load_diabetes

import fastmlp
from fastmlp import reference

X, Y = load_diabetes(return_X_y=True, scaled=False)
PRICES = 2e5 + 1e3 * Y
NET = [{"n": 10, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "linear"}]
LASTS = {
    "linear": {"act": "linear", "shift": [2e5, -3.0, 0.0], "scale": [1e4, 0.5, 7.0]},
    "one number": {"act": "linear", "shift": 2e5, "scale": 1e4},
    "mae": {"act": "linear", "scale": 3.0, "cost": "mae"},
    "huber": {"act": "linear", "shift": 1.5, "cost": "huber"},
    "tanh": {"act": "tanh", "shift": 10.0, "scale": [5.0, 6.0, 7.0]},
    "sigmoid": {"act": "sigmoid", "shift": 10.0, "scale": [5.0, 6.0, 7.0]},
    "poisson": {"act": "linear", "shift": [1.0, 2.0, 5.0], "cost": "poisson"},
}


def model_of(last, n_in=3, dtype="float64"):
    layers = [{"n": n_in, "act": None, "shift": 0.3, "scale": 2.0}, {"n": 6, "act": "tanh"}, {"n": 3, **last}]
    return fastmlp.MLP(layers, seed=0, dtype=dtype)


def samples_of(n, n_in=3):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, n_in)), np.abs(rng.normal(10, 5, size=(n, 3)))


@pytest.mark.parametrize("name", LASTS)
@pytest.mark.parametrize("n", [1, 7, 200, 3000])
def test_predictions_losses_and_gradients(name, n):
    model, (x, y) = model_of(LASTS[name]), samples_of(n)
    spec, weights, biases = model.spec, model.weights, model.biases
    np.testing.assert_allclose(model.predict(x), reference.predict(spec, weights, biases, x), rtol=1e-10)
    loss, dws, dbs = reference.gradient(spec, weights, biases, x, reference.targets(spec, y))
    own_loss, gradient = model.gradient(x, y)
    assert own_loss == pytest.approx(loss, rel=1e-10)
    assert model.evaluate(x, y)["loss"] == pytest.approx(loss, rel=1e-10)
    for own, expected in zip(model.unflatten(gradient), (dws, dbs), strict=True):
        for mine, theirs in zip(own, expected, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-12 * max(1.0, loss))


@pytest.mark.parametrize("name", LASTS)
@pytest.mark.parametrize("n_in", [2, 3, 5])
def test_jacobians_are_in_the_users_units(name, n_in):
    model, (x, _) = model_of(LASTS[name], n_in), samples_of(9, n_in)
    step, by_inputs, by_params = 1e-6, model.jacobian(x, wrt="inputs"), model.jacobian(x)
    units = model.spec.output_affine[1][:, None]
    for i in range(n_in):
        moved = np.zeros(n_in)
        moved[i] = step
        numeric = (model.predict(x + moved) - model.predict(x - moved)) / (2 * step)
        np.testing.assert_allclose(by_inputs[:, :, i] / units.T, numeric / units.T, atol=1e-4)
    expected = reference.jacobian(model.spec, model.weights, model.biases, x)
    for sample, outputs in zip(by_params, expected, strict=True):
        for row, (dws, dbs) in zip(sample, outputs, strict=True):
            weights, biases = model.unflatten(row)
            for own, theirs in zip([*weights, *biases], [*dws, *dbs], strict=True):
                np.testing.assert_allclose(own, theirs, rtol=1e-10, atol=1e-8)


@pytest.mark.parametrize("name", LASTS)
@pytest.mark.parametrize("batch", [1, 32])
def test_training_and_learning_online(name, batch):
    start, (x, y) = model_of(LASTS[name]), samples_of(100)
    targets = reference.targets(start.spec, y)
    weights, biases, losses = reference.train(start.spec, start.weights, start.biases, x, targets, 1e-3, 2, batch)
    model, history = fastmlp.train(
        x, y, start.copy(), lr=1e-3, epochs=2, batch_size=batch, shuffle=False, metrics=["mae"]
    )
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)
    for own, expected in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-12)
    predicted = model.predict(x) if name != "poisson" else np.exp(model.predict(x))  # of counts, logarithms
    error = np.mean(np.abs(predicted - y))
    assert model.evaluate(x, y, metrics=["mae"])["mae"] == pytest.approx(error, rel=1e-12)
    online = start.copy()
    for _ in range(2):
        for i in range(0, 100, batch):
            online.partial_fit(x[i : i + batch], y[i : i + batch], lr=1e-3, batch_size=batch)
    np.testing.assert_allclose(online.params, model.params, rtol=1e-9, atol=1e-12)


def test_populations_and_gradient_checks():
    model, (x, y) = model_of(LASTS["linear"]), samples_of(5)
    params = np.stack([model.params, 2 * model.params])
    np.testing.assert_array_equal(fastmlp.predict_many(model.spec, params, x)[0], model.predict(x))
    np.testing.assert_allclose(fastmlp.predict_many(model.spec, params, x[:1])[0], model.predict(x[:1]), rtol=1e-12)
    assert fastmlp.evaluate_many(model.spec, params, x, y)["loss"][0] == model.evaluate(x, y)["loss"]
    np.testing.assert_allclose(fastmlp.gradient_many(model.spec, params, x, y)[1][0], model.gradient(x, y)[1])
    assert fastmlp.check_gradients(model, x, y)


def test_it_lives_in_files_and_lists(tmp_path):
    for last in LASTS.values():
        model = model_of(last)
        model.save(tmp_path / "net.safetensors")
        assert fastmlp.load(tmp_path / "net.safetensors") == model
        assert fastmlp.Spec.from_json(model.spec.to_json()) == model.spec
        np.testing.assert_array_equal(model.copy().predict(X[:4, :3]), model.predict(X[:4, :3]))


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ({"act": "softmax", "scale": 2.0}, "scale is for outputs that are numbers; under softmax"),
        ({"act": "linear", "cost": "hinge", "shift": 1.0}, "they are scores of classes"),
        ({"act": "sigmoid", "cost": "bce", "scale": 2.0}, "under sigmoid and bce they are probabilities"),
        ({"act": "linear", "cost": "poisson", "scale": 2.0}, r"give 'shift': log\(c\)"),
        ({"act": "linear", "scale": 0.0}, r"spec\[2\]\['scale'\] must be above 0"),
        ({"act": "linear", "scale": [1.0, 2.0]}, r"spec\[2\]\['scale'\] must be a number or 3 numbers, got shape"),
        ({"act": "linear", "shift": np.nan}, r"spec\[2\]\['shift'\] must be finite"),
        ({"act": "linear", "scale": 1e-45}, "targets are divided by scale, which for output 0 float32 cannot do"),
        ({"act": "linear", "cost": "poisson", "shift": 200.0}, r"divided by exp\(shift\)"),
        ({"act": "linear", "shift": 1e39}, r"spec\[2\]\['shift'\] has 1e\+39, which is too large for float32"),
    ],
)
def test_what_makes_no_sense_is_refused(last, message):
    with pytest.raises(ValueError, match=message):
        model_of(last, dtype="float32")
    with pytest.raises(ValueError, match="only the input and the last layer have a scale"):
        fastmlp.Spec([{"n": 2}, {"n": 2, "scale": 2.0}, {"n": 1}])


def test_a_sigmoid_in_units_is_a_number_and_no_label():
    spec = model_of(LASTS["sigmoid"]).spec
    assert spec.loss.name == "mse" and not spec.multilabel


def by_hand(x, y, weights=None):
    mean, center = np.average(x, axis=0, weights=weights), np.average(y, weights=weights)
    deviation = np.sqrt(np.average((x - mean) ** 2, axis=0, weights=weights))
    return mean, deviation, center, np.sqrt(np.average((y - center) ** 2, weights=weights))


@pytest.mark.parametrize("weighted", [False, True])
def test_standardize_is_scaling_by_hand(weighted):
    weights = np.random.default_rng(0).integers(0, 4, len(X)) if weighted else None
    options = {"lr": 0.01, "epochs": 5, "seed": 0, "dtype": "float64", "sample_weight": weights}
    model, history = fastmlp.train(X, PRICES, NET, standardize=True, metrics=["r2", "mae"], **options)
    mean, deviation, center, spread = by_hand(X, PRICES, weights)
    np.testing.assert_allclose(model.spec.shift, mean, rtol=1e-12)
    np.testing.assert_allclose(model.spec.scale, 1 / deviation, rtol=1e-12)
    np.testing.assert_allclose(model.spec.layers[-1].shift, center, rtol=1e-12)
    np.testing.assert_allclose(model.spec.layers[-1].scale, spread, rtol=1e-12)
    plain = fastmlp.train((X - mean) / deviation, (PRICES - center) / spread, NET, **options)
    np.testing.assert_allclose(model.params, plain.model.params, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(history["loss"], plain.history["loss"], rtol=1e-8)
    assert history["r2"][-1] > 0.4
    expected = model.evaluate(X, PRICES, metrics=["mae"], sample_weight=weights)["mae"]
    assert expected == pytest.approx(np.average(np.abs(model.predict(X)[:, 0] - PRICES), weights=weights))


def test_rows_held_out_have_no_part_in_it():
    model, history = fastmlp.train(
        X, PRICES, NET, standardize=True, validation_fraction=0.25, shuffle=False, epochs=3, metrics=["mae"], seed=0
    )
    n = len(X) - round(len(X) / 4)
    mean, _, center, spread = by_hand(X[:n], PRICES[:n])
    np.testing.assert_allclose(model.spec.shift, mean)
    np.testing.assert_allclose([*model.spec.layers[-1].shift, *model.spec.layers[-1].scale], [center, spread])
    assert history["val_mae"][-1] == pytest.approx(np.mean(np.abs(model.predict(X[n:])[:, 0] - PRICES[n:])), rel=1e-4)
    drawn = fastmlp.train(X, PRICES, NET, standardize=True, validation_fraction=0.25, epochs=1, seed=3).model
    again = fastmlp.train(X, PRICES, NET, standardize=True, validation_fraction=0.25, epochs=1, seed=3).model
    assert drawn == again and drawn.spec != model.spec


def test_sparse_and_constant_columns():
    rng = np.random.default_rng(0)
    dense = rng.normal(3, 1, (300, 6)) * (rng.random((300, 6)) < 0.3)
    dense[:, 2], dense[:, 4] = 0.0, 7.1
    y = dense.sum(axis=1)
    net = [{"n": 6, "act": None}, {"n": 4, "act": "relu"}, {"n": 1, "act": "linear"}]
    options = {"standardize": True, "epochs": 1, "seed": 0, "dtype": "float64"}
    ours = fastmlp.train(dense, y, net, **options).model
    for given in (scipy.sparse.csr_array(dense), scipy.sparse.coo_array(dense)):
        spec = fastmlp.train(given, y, net, **options).model.spec
        assert spec.shift is None
        np.testing.assert_allclose(spec.scale, ours.spec.scale, rtol=1e-12)
    assert ours.spec.scale[2] == ours.spec.scale[4] == 1.0 and ours.spec.shift[4] == 7.1
    twice = scipy.sparse.csr_array((np.ones(4), [0, 0, 1, 1], [0, 2, 3, 4]), shape=(3, 2))
    net = [{"n": 2, "act": None}, {"n": 1, "act": "linear"}]
    spec = fastmlp.train(twice, [1.0, 2.0, 3.0], net, **options).model.spec
    np.testing.assert_allclose(spec.scale, 1 / twice.toarray().std(axis=0))


def test_a_constant_target_and_raw_bytes():
    x = np.random.default_rng(0).integers(0, 256, (50, 3), dtype=np.uint8)
    spec = [{"n": 3, "act": None}, {"n": 1, "act": "linear"}]
    model = fastmlp.train(x, np.full(50, 12.5), spec, standardize=True, epochs=20, lr=0.1, seed=0).model
    assert model.spec.layers[-1].shift == (12.5,) and model.spec.layers[-1].scale == (1.0,)
    np.testing.assert_allclose(model.spec.shift, x.mean(axis=0))
    np.testing.assert_allclose(model.predict(x), 12.5, atol=0.5)


def test_other_outputs():
    counts = np.random.default_rng(0).poisson(2e4 * np.exp(0.3 * np.sin(X[:, 2])))
    net = [NET[0], NET[1], {"n": 1, "act": "linear", "cost": "poisson"}]
    model, history = fastmlp.train(X, counts, net, standardize=True, epochs=10, seed=0)
    np.testing.assert_allclose(model.spec.layers[-1].shift, np.log(counts.mean()))
    assert model.spec.layers[-1].scale is None and history["loss"][-1] < history["loss"][0]
    assert np.exp(model.predict(X)).mean() == pytest.approx(counts.mean(), rel=0.1)
    rectified = fastmlp.train(X, PRICES, [*NET[:2], {"n": 1, "act": "softplus"}], standardize=True, epochs=1).model
    np.testing.assert_allclose(rectified.spec.layers[-1].scale, np.sqrt(np.mean(PRICES**2)))
    classes = [*NET[:2], {"n": 2, "act": "softmax"}]
    model = fastmlp.train(X, (Y > 140).astype(int), classes, standardize=True, epochs=30, lr=0.05, seed=0).model
    assert model.spec.layers[-1].shift is None and model.evaluate(X, (Y > 140).astype(int))["accuracy"] > 0.7


def test_checkpoints_and_interruptions(tmp_path):
    options = {"standardize": True, "validation_fraction": 0.2, "optimizer": "adam", "batch_size": 16}
    whole = fastmlp.train(X, PRICES, NET, epochs=6, seed=1, **options).model
    for epochs in (3, 6):
        model = fastmlp.train(X, PRICES, NET, epochs=epochs, seed=1, checkpoint=tmp_path / "run", **options).model
    assert model == whole
    with pytest.raises(ValueError, match="standardize is left out, there it is True"):
        fastmlp.train(X, PRICES, NET, epochs=6, seed=1, checkpoint=tmp_path / "run", **options | {"standardize": False})


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_lbfgs_and_networks_side_by_side(optimizer):
    options = {"standardize": True, "optimizer": optimizer, "epochs": 20, "dtype": "float64"}
    history = fastmlp.train(X, PRICES, NET, seed=1, metrics=["r2"], **options).history
    assert history["r2"][-1] > 0.3
    if optimizer == "lbfgs":
        return
    for one in fastmlp.train_many(X, PRICES, NET, seeds=[0, 1], lanes=True, **options):
        alone = fastmlp.train(X, PRICES, NET, seed=one.settings["seed"], **options)
        assert one.model.spec == alone.model.spec
        np.testing.assert_allclose(one.model.predict(X), alone.model.predict(X), rtol=1e-7)
        np.testing.assert_allclose(one.history["loss"], alone.history["loss"], rtol=1e-7)


def test_threads_make_the_same_bits_and_ensembles_answer_in_units():
    options = {"standardize": True, "epochs": 3, "seed": 0, "batch_size": 64}
    models = [fastmlp.train(X, PRICES, NET, n_threads=n, **options).model for n in (1, 2)]
    assert models[0] == models[1]
    other = fastmlp.train(X[:200], PRICES[:200], NET, **options).model
    ensemble = fastmlp.Ensemble([models[0], other])
    expected = (models[0].predict(X) + other.predict(X)) / 2
    np.testing.assert_allclose(ensemble.predict(X), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ([{"n": 10, "shift": 1.0}, {"n": 1}], r"spec\[0\] has a shift of its own"),
        ([{"n": 10}, {"n": 1, "scale": 3.0}], r"spec\[1\] has a scale of its own"),
        ([{"n": 10}, {"n": 1, "act": "tanh"}], "tanh outputs lie between -1 and 1"),
        (fastmlp.MLP(NET), "standardize=True is for new networks"),
    ],
)
def test_standardize_is_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.train(X, Y, spec, standardize=True)
    with pytest.raises(TypeError, match="standardize must be True or False"):
        fastmlp.train(X, Y, NET, standardize="inputs")


def test_numbers_too_large_for_a_mean_are_refused():
    huge = np.where(np.arange(40)[:, None] % 2, 1e308, -1e308)
    with pytest.raises(ValueError, match="column 0 of x is too large for a mean and deviation"):
        fastmlp.train(huge, np.arange(40.0), [{"n": 1}, {"n": 1}], standardize=True, dtype="float64")
