"""Layers that are not trainable keep their bits in every way of training, while the others learn."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import fastmlp
from fastmlp import optimizers, reference

PATTERNS = [(False, True, True), (True, False, True), (True, True, False), (False, False, True), (False, True, False)]
OPTIONS = {
    "sgd": {},
    "momentum": {"optimizer": optimizers.SGD(0.9)},
    "nesterov, l2": {"optimizer": optimizers.SGD(0.9, nesterov=True), "l2": 0.01},
    "sgd, l2": {"l2": 0.05},
    "sgd, clipping": {"clip_norm": 0.5},
    "adam": {"optimizer": "adam"},
    "adam, clipping": {"optimizer": "adam", "clip_norm": 0.1},
    "adamw, l1, max_norm": {"optimizer": optimizers.AdamW(weight_decay=0.1), "l1": 0.01, "max_norm": 1.0},
    "rmsprop": {"optimizer": "rmsprop"},
}
WIDTHS = {"padded": (5, 7, 6, 3), "in place": (5, 16, 32, 3)}


def spec_of(pattern, widths=WIDTHS["padded"], **last):
    acts = ["tanh", "swish", "linear"]
    layers = [{"n": n, "act": act} for n, act in zip(widths[1:], acts, strict=True)]
    for layer, trainable in zip(layers, pattern, strict=True):
        layer["trainable"] = trainable
    return fastmlp.Spec([{"n": widths[0], "act": None}, *layers[:-1], {**layers[-1], **last}])


def data(n=100, n_out=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    return x, np.sin(x[:, :n_out])


def layers_of(model):
    """Copies of each layer's parameters."""
    return [np.append(w.ravel(), b) for w, b in zip(model.weights, model.biases, strict=True)]


def assert_frozen(model, before, pattern):
    for layer, was, trainable in zip(layers_of(model), before, pattern, strict=True):
        assert np.array_equal(layer.view(np.int64 if layer.itemsize == 8 else np.int32),
                              was.view(np.int64 if was.itemsize == 8 else np.int32)) is not trainable  # fmt: skip


def steps_of_reference(model, x, y, lr, batch_size, optimizer="sgd", l1=0.0, l2=0.0, clip_norm=None, max_norm=None):
    """One epoch in plain NumPy: the gradients of the trainable layers, and the registry's rule for these alone."""
    spec, optimizer = model.spec, optimizers.get_optimizer(optimizer)
    weights, biases = [w.copy() for w in model.weights], [b.copy() for b in model.biases]
    moving = [i for i, layer in enumerate(spec.layers) if layer.trainable]
    states = [
        [tuple(np.zeros_like(p) for _ in range(optimizer.states)) for p in (weights[i], biases[i])] for i in moving
    ]
    for step, start in enumerate(range(0, len(x), batch_size)):
        rows = slice(start, start + batch_size)
        _, dws, dbs = reference.gradient(spec, weights, biases, x[rows], y[rows])
        norm = np.sqrt(sum(np.sum(d[i] ** 2) for i in moving for d in (dws, dbs)))
        factor = 1.0 if clip_norm is None else min(1.0, clip_norm / norm)
        numbers = optimizer.prepare(lr, step + 1, optimizer.constants)
        for i, own in zip(moving, states, strict=True):
            slope = factor * dws[i] + l2 * weights[i] + l1 * np.sign(weights[i])
            weights[i], own[0] = optimizer.rule(weights[i], slope, own[0], numbers)
            biases[i], own[1] = optimizer.rule(biases[i], factor * dbs[i], own[1], numbers)
            if max_norm is not None:
                weights[i] *= max_norm / np.maximum(np.linalg.norm(weights[i], axis=1, keepdims=True), max_norm)
    return [np.append(w.ravel(), b) for w, b in zip(weights, biases, strict=True)]


@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_training_is_the_references(pattern, options, batch_size, widths):
    x, y = data()
    model = fastmlp.MLP(spec_of(pattern, WIDTHS[widths]), seed=3, dtype="float64")
    for biases in model.biases:
        biases[0] = -0.0  # a bit that adding 0 would change
    before, wanted = layers_of(model), steps_of_reference(model, x, y, 0.01, batch_size, **OPTIONS[options])
    fastmlp.train(x, y, model, lr=0.01, epochs=1, batch_size=batch_size, shuffle=False, **OPTIONS[options])
    for ours, theirs in zip(layers_of(model), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
    assert_frozen(model, before, pattern)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("optimizer", ["sgd", "adam", optimizers.Adam(lazy=True), "adagrad"], ids=str)
def test_sparse_samples(pattern, optimizer):
    sparse = pytest.importorskip("scipy.sparse")
    x, y = data()
    x = np.hstack([x * (np.abs(x) > 1.2), np.zeros((100, 95))])
    for batch_size in (1, 16):
        model = fastmlp.MLP(spec_of(pattern, (100, 7, 6, 3)), seed=3, dtype="float64")
        before = layers_of(model)
        options = {"lr": 0.01, "epochs": 2, "shuffle": False, "batch_size": batch_size}
        fastmlp.train(sparse.csr_array(x), y, model, optimizer=optimizer, **options)
        assert_frozen(model, before, pattern)
        if not getattr(optimizer, "lazy", False):
            dense = fastmlp.MLP(model.spec, seed=3, dtype="float64")
            fastmlp.train(x, y, dense, optimizer=optimizer, **options)
            np.testing.assert_allclose(model.params, dense.params, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_threads_make_the_same_bits(pattern):
    x, y = data(3000)
    for options in (
        {"batch_size": 1},
        {"batch_size": 1000},
        {"batch_size": 1500, "optimizer": "adam", "clip_norm": 0.1},
    ):
        models = [fastmlp.MLP(spec_of(pattern, (5, 160, 16, 3)), seed=1) for _ in range(2)]
        before = layers_of(models[0])
        for n_threads, model in enumerate(models, 1):
            fastmlp.train(x, y, model, lr=0.01, epochs=2, seed=0, n_threads=n_threads, **options)
        np.testing.assert_array_equal(models[0].params, models[1].params)
        assert_frozen(models[0], before, pattern)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_gradients_of_frozen_layers_are_zero(pattern):
    x, y = data(300)
    model = fastmlp.MLP(spec_of(pattern), seed=1, dtype="float64")
    free = fastmlp.MLP(spec_of((True, True, True)), dtype="float64")
    free.params = model.params
    for n in (1, 5, 300):
        model.jacobian(x[:n])  # works in memory that gradients may be in
        loss, gradient = model.gradient(x[:n], y[:n])
        its_loss, wanted = free.gradient(x[:n], y[:n])
        for views in free.unflatten(wanted):
            for view, trainable in zip(views, pattern, strict=True):
                view *= trainable
        assert loss == pytest.approx(its_loss)
        np.testing.assert_allclose(gradient, wanted, rtol=1e-10, atol=1e-14)
    many = fastmlp.gradient_many(model.spec, np.array([model.params] * 3), x[:20], y[:20])
    gradients = many[1] if isinstance(many, tuple) else many
    np.testing.assert_allclose(gradients[2], model.gradient(x[:20], y[:20])[1], rtol=1e-10, atol=1e-14)
    assert fastmlp.check_gradients(model, x[:10], y[:10])


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [optimizers.LBFGS(gtol=1e-7, ftol=1e-14), "lm"], ids=["lbfgs", "lm"])
def test_methods_of_all_samples(optimizer, dtype, pattern):
    """They end where the loss is flat along all that moves."""
    x, y = data()
    model = fastmlp.MLP(spec_of(pattern), seed=1, dtype=dtype)
    before, loss = layers_of(model), model.evaluate(x, y)["loss"]
    _, history = fastmlp.train(x, y, model, optimizer=optimizer, epochs=3000, l2=1e-3)
    assert history["loss"][-1] < loss
    assert_frozen(model, before, pattern)
    if dtype == "float64":
        _, gradient = model.gradient(x, y)
        pull = np.zeros_like(gradient)
        for view, weights, trainable in zip(model.unflatten(pull)[0], model.weights, pattern, strict=True):
            view[...] = 1e-3 * weights * trainable
        assert np.abs(gradient + pull).max() < 1e-4


def test_covariance_of_frozen_layers_is_zero():
    x, y = data(n_out=1)
    frozen = [{"n": 5, "act": None}, {"n": 4, "act": "tanh", "trainable": False}, {"n": 1, "act": "linear"}]
    model, _ = fastmlp.train(x, y, frozen, optimizer="lm", seed=0, dtype="float64")
    covariance = model.covariance(x, y)
    columns = np.hstack([model.forward(x)[1][1], np.ones((100, 1))])
    residuals = columns @ np.append(model.weights[1], model.biases[1]) - y[:, 0]
    wanted = residuals @ residuals / 95 * np.linalg.inv(columns.T @ columns)
    np.testing.assert_allclose(covariance[24:, 24:], wanted, rtol=1e-7)
    assert not covariance[:24].any() and not covariance[:, :24].any()


@pytest.mark.parametrize("optimizer", ["sgd", optimizers.SGD(0.9), "adam"], ids=str)
def test_learning_piece_by_piece(optimizer):
    x, y = data()
    pattern = (False, True, False)
    model = fastmlp.MLP(spec_of(pattern), seed=1, dtype="float64")
    before, wanted = layers_of(model), steps_of_reference(model, x, y, 0.01, 1, optimizer)
    for row in range(len(x)):
        model.partial_fit(x[row : row + 1], y[row : row + 1], lr=0.01, optimizer=optimizer)
    for ours, theirs in zip(layers_of(model), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)
    assert_frozen(model, before, pattern)


def test_dropout_goes_on_in_frozen_layers():
    x, y = data()
    for batch_size in (1, 8):
        for pattern in PATTERNS:
            model = fastmlp.MLP(spec_of(pattern), seed=1)
            before = layers_of(model)
            fastmlp.train(x, y, model, epochs=2, lr=0.01, dropout=0.3, batch_size=batch_size, seed=0)
            assert_frozen(model, before, pattern)


def test_many_networks_are_trained_as_one():
    x, y = data()
    spec = spec_of((False, True, True))
    for one in fastmlp.train_many(x, y, spec, seeds=range(3), epochs=2, lr=0.01, n_threads=1):
        alone, history = fastmlp.train(x, y, spec, seed=one.settings["seed"], epochs=2, lr=0.01)
        np.testing.assert_array_equal(one.model.params, alone.params)
        np.testing.assert_array_equal(one.model.weights[0], fastmlp.MLP(spec, seed=one.settings["seed"]).weights[0])
        assert one.history == history
    with pytest.raises(ValueError, match="a layer is frozen"):
        fastmlp.train_many(x, y, spec, lanes=True)


def test_nothing_to_learn_is_refused():
    x, y = data()
    model = fastmlp.MLP(spec_of((False, False, False)), seed=0)
    for call in (partial(fastmlp.train, x, y, model), partial(model.partial_fit, x, y)):
        with pytest.raises(ValueError, match=r"all layers are frozen.*trainable"):
            call()
    assert not model.gradient(x, y)[1].any()
    assert np.isfinite(model.evaluate(x, y)["loss"])


def test_files_and_checkpoints_keep_what_is_frozen(tmp_path):
    x, y = data()
    spec = spec_of((False, True, True))
    model, _ = fastmlp.train(x, y, spec, epochs=1, seed=0)
    model.save(tmp_path / "net.safetensors")
    assert fastmlp.load(tmp_path / "net.safetensors") == model
    fastmlp.train(x, y, spec, epochs=1, seed=0, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match="trainable"):
        fastmlp.train(x, y, spec_of((True, True, True)), epochs=2, seed=0, checkpoint=tmp_path / "run")


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_second_derivatives_are_of_what_moves_and_outputs_have_theirs(pattern):
    x, y = data(30)
    model, free = (fastmlp.MLP(spec_of(p), seed=1, dtype="float64") for p in (pattern, (True, True, True)))
    rng = np.random.default_rng(2)
    along, u, v = rng.normal(size=x.shape), rng.normal(size=y.shape), rng.normal(size=model.params.size)
    for wrt, direction in (("inputs", along), ("params", v)):
        np.testing.assert_array_equal(model.jacobian(x, wrt), free.jacobian(x, wrt))
        np.testing.assert_array_equal(model.jvp(x, direction, wrt), free.jvp(x, direction, wrt))
        np.testing.assert_array_equal(model.vjp(x, u, wrt), free.vjp(x, u, wrt))
    moves = np.zeros(v.size, bool)
    moves[model.free] = True
    expected = np.where(np.outer(moves, moves), free.hessian(x, y), 0)
    np.testing.assert_array_equal(model.hessian(x, y), expected)
    for samples in (slice(None), slice(2)):  # many and few
        product = model.hvp(x[samples], y[samples], v)
        np.testing.assert_allclose(product, model.hessian(x[samples], y[samples]) @ v, rtol=1e-10, atol=1e-12)
        assert not product[~moves].any()
    assert fastmlp.check_gradients(model, x[:5], y[:5], order=2)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_training_on_derivatives_moves_the_others(pattern):
    x, y = data(30)
    dydx, before = np.random.default_rng(3).normal(size=(30, 3, 5)), None
    params = []
    for trainable in (pattern, (True, True, True)):
        model = fastmlp.MLP(spec_of(trainable), seed=1, dtype="float64")
        before = model.params.copy() if before is None else before
        fastmlp.train(x, y, model, epochs=1, batch_size=30, shuffle=False, lr=0.01, dydx=dydx)
        params.append((model.params.copy(), model.free))
    (ours, moves), (free, _) = params
    expected = before.copy()
    expected[moves] = free[moves]
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)
