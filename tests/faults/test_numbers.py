"""Numbers that were wrong without a word: each right one is another library's, or a formula's."""

from __future__ import annotations

import json
import pickle
from functools import partial

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp import EarlyStopping, interop, metrics, schedules
from fastmlp.base import ram
from fastmlp.reference import forward

INPUT = {"n": 3, "act": None}
CLASSES = [INPUT, {"n": 5, "act": "tanh"}, {"n": 3, "act": "softmax"}]
NUMBER = [INPUT, {"n": 5, "act": "tanh"}, {"n": 1, "act": "linear"}]
LABELS = [INPUT, {"n": 5, "act": "tanh"}, {"n": 2, "act": "sigmoid"}]
OUTPUTS = {
    "classes": (CLASSES, lambda rng, n: rng.integers(0, 3, n)),
    "soft": (CLASSES, lambda rng, n: rng.dirichlet(np.ones(3), n)),
    "labels": (LABELS, lambda rng, n: rng.integers(0, 2, (n, 2))),
    "number": (NUMBER, lambda rng, n: rng.normal(size=n)),
    "hinge": ([*CLASSES[:2], {"n": 3, "act": "linear", "cost": "hinge"}], lambda rng, n: rng.integers(0, 3, n)),
}


def samples(kind, n=70, seed=0):
    spec, draw = OUTPUTS[kind]
    rng = np.random.default_rng(seed)
    return spec, rng.normal(size=(n, 3)), draw(rng, n), rng.integers(0, 4, n) * rng.random(n)


ONE = {
    "softmax": ({"act": "softmax"}, "softmax of one output is always 1; use sigmoid, or n: 2"),
    "softmax, mse": ({"act": "softmax", "cost": "mse"}, "softmax of one output is always 1"),
    "hinge": ({"act": "linear", "cost": "hinge"}, "hinge of one output is always 0, .*use sigmoid, or n: 2"),
    "cross_entropy": ({"act": "sigmoid", "cost": "cross_entropy"}, "cross_entropy of one output never .* use bce"),
}


@pytest.mark.parametrize("name", ONE)
def test_one_output_that_has_nothing_to_say_is_refused_wherever_specs_come_in(name, tmp_path, monkeypatch):
    last, message = ONE[name]
    layers = [INPUT, {"n": 4, "act": "relu"}, {"n": 1, **last}]
    x, y = np.zeros((4, 3)), [0, 1, 0, 1]
    for come_in in (
        lambda: fastmlp.Spec(layers),
        lambda: fastmlp.Spec.from_json(json.dumps(layers)),
        lambda: fastmlp.MLP(layers),
        lambda: fastmlp.train(x, y, layers),
        lambda: fastmlp.train(x, y, [*layers[:-1], {"n": 1, "act": last["act"]}], loss=last.get("cost")),
        lambda: fastmlp.train_many(x, y, [layers]),
    ):
        with pytest.raises(ValueError, match=message):
            come_in()
    with monkeypatch.context() as before:  # a version of before made these
        before.setattr(fastmlp.Loss, "check_output", lambda *arguments: None)
        model = fastmlp.MLP(layers)
        model.save(tmp_path / "old.safetensors")
        pickled = pickle.dumps(model)
    with pytest.raises(ValueError, match=f"old.safetensors: .*{message}"):
        fastmlp.load(tmp_path / "old.safetensors")
    with pytest.raises(ValueError, match=message):
        pickle.loads(pickled)
    wide = fastmlp.Spec([*layers[:-1], {**layers[-1], "n": 2}])
    assert wide.n_out == 2 and pickle.loads(pickle.dumps(wide)) == wide


def test_one_softmax_output_of_another_library_is_refused(tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    w = numpy_helper.from_array(np.ones((3, 1), np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["y"], axis=-1)],
        "net",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 1])],
        [w],
    )
    path = tmp_path / "one.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(ValueError, match="softmax of one output is always 1"):
        interop.from_onnx(path)


def test_a_classifier_of_two_classes_under_cross_entropy():
    sklearn = pytest.importorskip("fastmlp.sklearn")
    x, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
    with pytest.raises(ValueError, match="use bce"):
        sklearn.MLPClassifier(loss="cross_entropy").fit(x, y)


def expected(model, x, y, weights):
    """Σ w v / Σ w of the loss, and of right answers, in plain NumPy."""
    spec, weights = model.spec, np.asarray(weights, float)
    outputs = forward(spec, model.weights, model.biases, x)[1][-1]
    targets = y if np.ndim(y) == 2 else np.eye(spec.n_out)[y] if spec.n_out > 1 else np.reshape(y, (-1, 1))
    name = spec.loss.name
    if name == "cross_entropy":
        losses = -np.sum(targets * np.log(outputs), axis=1)
    elif name == "bce":
        losses = -np.sum(np.log(np.where(targets, outputs, 1 - outputs)), axis=1)
    elif name == "hinge":
        margins = 1 + outputs - np.sum(outputs * targets, axis=1, keepdims=True)
        losses = np.sum(np.maximum(0, margins) * (1 - targets), axis=1)
    else:
        losses = np.sum((outputs - targets) ** 2, axis=1) / 2
    values = {"loss": losses}
    if name == "bce":
        values["accuracy"] = np.mean((outputs > 0.5) == (targets > 0.5), axis=1)
    elif name != "mse":
        values["accuracy"] = np.argmax(outputs, axis=1) == np.argmax(targets, axis=1)
    return {name: np.sum(weights * v) / np.sum(weights) for name, v in values.items()}


@pytest.mark.parametrize("kind", OUTPUTS)
@pytest.mark.parametrize("batch_size", [1, 16])
def test_evaluate_and_val_values_are_weighted_means(kind, batch_size):
    spec, x, y, weights = samples(kind)
    seen = []

    def look(state):
        seen.append(expected(state.model, x[40:], y[40:], weights[40:]))

    model, history = fastmlp.train(
        x[:40], y[:40], spec, epochs=3, seed=0, dtype="float64", batch_size=batch_size, sample_weight=weights[:40],
        validation_data=(x[40:], y[40:], weights[40:]), callbacks=look,
        class_weight={0: 5.0} if kind == "classes" else None,
    )  # fmt: skip
    for name in seen[0]:
        assert history[f"val_{name}"] == pytest.approx([values[name] for values in seen], rel=1e-10)
    report = model.evaluate(x, y, sample_weight=weights)
    assert report == pytest.approx(expected(model, x, y, weights), rel=1e-10)
    copies = np.random.default_rng(1).integers(0, 4, len(x))
    repeated = model.evaluate(np.repeat(x, copies, axis=0), np.repeat(y, copies, axis=0))
    assert model.evaluate(x, y, sample_weight=copies) == pytest.approx(repeated, rel=1e-12)
    assert model.evaluate(x, y, sample_weight=np.ones(len(x))) == pytest.approx(model.evaluate(x, y), rel=1e-12)


@pytest.mark.parametrize("shuffle", [True, False])
def test_samples_held_out_count_by_their_own_weights(shuffle):
    spec, x, y, weights = samples("number")
    tagged = [*spec[:-1], {"n": 1, "act": "linear", "cost": "mbe"}]  # a network of zeros: the loss is the mean of y
    model = fastmlp.MLP(tagged, dtype="float64")
    model.params[:] = 0.0
    kept = np.flatnonzero(weights)
    _, history = fastmlp.train(
        x, y, model, lr=1e-300, epochs=1, seed=4, validation_fraction=0.3, shuffle=shuffle, sample_weight=weights
    )
    n = round(0.3 * len(kept))
    held_out = (np.random.default_rng(4).permutation(kept) if shuffle else kept)[-n:]
    assert history["val_loss"][0] == pytest.approx(np.average(y[held_out], weights=weights[held_out]), rel=1e-12)


def test_class_weights_are_for_training_alone():
    """As in Keras, which counts them in loss and weighted_metrics of training, and nowhere in validation."""
    spec, x, y, _ = samples("classes")
    options = {"epochs": 1, "seed": 0, "dtype": "float64", "batch_size": "full", "metrics": ["top_1", "mse"]}
    _, history = fastmlp.train(x, y, spec, class_weight={1: 7.0}, validation_data=(x, y), **options)
    before = fastmlp.MLP(spec, seed=0, dtype="float64")
    by_class = np.where(y == 1, 7.0, 1.0)
    report = before.evaluate(x, y, ["top_1", "mse"], sample_weight=by_class)
    assert {name: history[name][0] for name in report} == pytest.approx(report, rel=1e-12)
    model, _ = fastmlp.train(x, y, spec, class_weight={1: 7.0}, **options)
    report = model.evaluate(x, y, ["top_1", "mse"])
    assert {name: history[f"val_{name}"][0] for name in report} == pytest.approx(report, rel=1e-12)


def test_early_stopping_and_plateaus_follow_the_weighted_loss():
    """The samples that count are learnt, the others, without weight to speak of, contradict them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    y, weights = np.where(np.arange(60) < 50, -1.0, 1.0) * x[:, 0], np.where(np.arange(60) < 50, 1e-9, 1.0)
    options = {"lr": 0.01, "epochs": 30, "seed": 0, "sample_weight": weights * 10, "batch_size": 60}
    slow = {"early_stopping": 2, "optimizer": "adam"}
    _, history = fastmlp.train(x, y, NUMBER, validation_data=(x, y), **slow, **options)
    _, weighted = fastmlp.train(x, y, NUMBER, validation_data=(x, y, weights), **slow, **options)
    assert len(history["val_loss"]) < 30 == len(weighted["val_loss"])
    assert weighted["val_loss"][-1] < weighted["val_loss"][0] and history["val_loss"][-1] > history["val_loss"][0]
    rates = []
    plateau = schedules.ReduceOnPlateau(0.01, patience=1)
    for data in ((x, y), (x, y, weights)):
        _, seen = fastmlp.train(x, y, NUMBER, validation_data=data, optimizer="adam", **{**options, "lr": plateau})
        rates.append(plateau.after(seen))
    assert rates[0] < rates[1] == 0.01


def test_keras_counts_the_same_weights():
    pytest.importorskip("keras")
    spec, x, y, weights = samples("classes")
    model = fastmlp.MLP(spec, seed=0)
    net = interop.to_keras(model)
    net.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"])
    x, weights = x.astype(np.float32), weights.astype(np.float32)
    loss, accuracy = net.evaluate(x, y, sample_weight=weights, batch_size=len(x), verbose=0)
    report = model.evaluate(x, y, sample_weight=weights)
    assert report["accuracy"] == pytest.approx(accuracy, rel=1e-5)
    assert report["loss"] == pytest.approx(loss * len(x) / weights.sum(), rel=1e-5)  # Keras divides by the number


@pytest.mark.parametrize("bad", [np.zeros(70), -np.ones(70), np.full(70, np.nan), np.ones(69), np.full(70, 1e308)])
def test_weights_that_weigh_nothing_are_refused(bad):
    spec, x, y, _ = samples("number")
    model = fastmlp.MLP(spec)
    with pytest.raises(ValueError, match="sample_weight"):
        model.evaluate(x, y, sample_weight=bad)
    with pytest.raises(ValueError, match="validation sample_weight"):
        fastmlp.train(x, y, spec, validation_data=(x, y, bad))
    with pytest.raises(ValueError, match="sample_weight is zero for all"):
        metrics.mse(np.ones((3, 1)), np.ones((3, 1)), sample_weight=np.zeros(3))


def test_balanced_counts_weights_as_copies():
    from_sklearn = pytest.importorskip("sklearn.linear_model").LogisticRegression
    rng = np.random.default_rng(0)
    x, y, weights = rng.normal(size=(90, 3)), rng.choice(3, 90, p=[0.7, 0.2, 0.1]), rng.integers(0, 4, 90)
    weights[y == 2] *= rng.integers(0, 2, np.sum(y == 2))
    spec = [INPUT, {"n": 3, "act": "softmax"}]
    options = {"class_weight": "balanced", "epochs": 20, "batch_size": "full", "lr": 0.3, "seed": 0, "dtype": "float64"}
    repeated = np.repeat(x, weights, axis=0), np.repeat(y, weights)
    weighed, copies = (
        fastmlp.train(x, y, spec, sample_weight=weights, **options).model,
        fastmlp.train(*repeated, spec, **options).model,
    )
    np.testing.assert_allclose(weighed.params, copies.params, rtol=1e-9, atol=1e-12)
    nothing_of_one = np.where(y == 1, 0, weights)
    without = fastmlp.train(x, y, spec, sample_weight=nothing_of_one, **options).model
    absent = fastmlp.train(x[y != 1], y[y != 1], spec, sample_weight=weights[y != 1], **options).model
    np.testing.assert_allclose(without.params, absent.params, rtol=1e-9, atol=1e-12)

    from fastmlp.sklearn import MLPClassifier

    settings = {"solver": "lbfgs", "alpha": 0.5, "tol": 1e-10, "max_iter": 5000}
    ours = MLPClassifier((), class_weight="balanced", random_state=0, **settings)
    fits = [ours.fit(x, y, weights).predict_proba(x), ours.fit(*repeated).predict_proba(x)]
    np.testing.assert_allclose(fits[0], fits[1], atol=1e-6)
    theirs = from_sklearn(class_weight="balanced", C=1 / 0.5, tol=1e-10, max_iter=5000).fit(*repeated)
    np.testing.assert_allclose(fits[0], theirs.predict_proba(x), atol=1e-4)
    two = MLPClassifier((), class_weight="balanced", random_state=0, **settings)  # one minimum, whatever the rounding
    labels = np.stack([y > 0, y > 1], axis=1).astype(int)
    both = [two.fit(x, labels, weights).predict_proba(x)]
    both.append(two.fit(np.repeat(x, weights, axis=0), np.repeat(labels, weights, axis=0)).predict_proba(x))
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)


def test_a_metric_of_ones_own_gets_the_weights_if_it_asks():
    spec, x, y, weights = samples("number")
    kept = np.flatnonzero(weights)
    seen = []

    def plain(y, y_hat):
        return float(np.max(y_hat))

    def weighted(y, y_hat, sample_weight):
        seen.append(sample_weight)
        return np.average(np.abs(y - y_hat)[:, 0], weights=sample_weight)

    model = fastmlp.MLP(spec, dtype="float64")
    report = model.evaluate(x, y, [plain, weighted, "mae"], sample_weight=weights)
    assert report["weighted"] == pytest.approx(report["mae"], rel=1e-12)
    assert report["plain"] == model.predict(x[kept]).max()
    np.testing.assert_array_equal(seen[0], weights[kept])
    report = model.evaluate(x, y, [weighted, "mae"])
    assert seen[1] is None and report["weighted"] == pytest.approx(report["mae"])
    sk = pytest.importorskip("sklearn.metrics")
    report = model.evaluate(x, y, [sk.mean_absolute_error, "mae"], sample_weight=weights)
    assert report["mean_absolute_error"] == pytest.approx(report["mae"], rel=1e-12)
    _, history = fastmlp.train(
        x, y, spec, metrics=[weighted, "mae"], epochs=2, sample_weight=weights, validation_data=(x, y, weights)
    )
    for name in ("weighted", "val_weighted"):
        assert history[name] == pytest.approx(history[name.replace("weighted", "mae")], rel=1e-5)


def named(name):
    def metric(y, y_hat):
        return 0.5

    metric.__name__ = name
    return metric


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([lambda y, p: 0.0, lambda y, p: 1.0], "two are called '<lambda>'; give each a name of its own"),
        ([partial(max), partial(min)], "two are called 'partial'"),
        (["mse", named("mse")], "two are called 'mse'"),
        (named("loss"), "the history has a 'loss' of its own"),
        (named("accuracy"), "the history has a 'accuracy' of its own"),
        (named("val_loss"), "'val_loss' would be mistaken for a validation value"),
    ],
)
def test_metrics_are_told_apart_or_refused(asked, message):
    spec, x, y, _ = samples("classes")
    with pytest.raises(ValueError, match=message):
        fastmlp.train(x, y, spec, metrics=asked)
    with pytest.raises(ValueError, match=message):
        fastmlp.MLP(spec).evaluate(x, y, asked)


def test_metrics_that_mean_the_same_or_nothing():
    spec, x, y, _ = samples("classes")
    model = fastmlp.MLP(spec)
    report = model.evaluate(x, y, [metrics.accuracy, "mse", "mse", lambda y, p: 2.0])
    assert list(report) == ["loss", "accuracy", "mse", "<lambda>"]
    for kind, name in (("number", "accuracy"), ("number", "top_2"), ("labels", "top_1")):
        spec, x, y, _ = samples(kind)
        with pytest.raises(ValueError, match=f"{name} needs one output a class"):
            fastmlp.MLP(spec).evaluate(x, y, name)
    spec, x, y, _ = samples("labels")
    model = fastmlp.MLP(spec)
    assert model.evaluate(x, y, metrics.accuracy) == pytest.approx(model.evaluate(x, y))


@pytest.mark.parametrize("kind", ["classes", "labels", "hinge"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_that_are_nan_are_never_right(kind, dtype):
    spec, x, y, _ = samples(kind)
    model = fastmlp.MLP(spec, dtype=dtype)
    model.biases[-1][:] = np.nan
    report = model.evaluate(x, y, ["accuracy"] if kind == "labels" else ["top_1", "top_3"])
    assert np.isnan(report.pop("loss")) and set(report.values()) == {0.0}
    assert model.evaluate(x, y)["accuracy"] == 0.0
    with pytest.raises(ValueError, match="sample 0 has no class: its outputs are NaN"):
        model.predict_class(x)
    y, half = np.eye(2), np.array([[0.9, 0.1], [np.nan, 0.7]])
    assert [metrics.accuracy(y, half), metrics.label_accuracy(y, half), metrics.top_k(y, half, 2)] == [0.5, 0.75, 0.5]
    assert all(np.isnan(metrics.METRICS[name](y, half)) for name in ("mse", "mae", "mbe", "r2", "cross_entropy"))


X = np.random.default_rng(0).normal(size=(200, 3))
Y = X @ [1.0, -2.0, 0.5]
AT_FAULT = {
    "target": ({"y": 2e5 * Y}, r"fault: targets up to [0-9.e+]+ \(scale the target"),
    "inputs": ({"x": 1e4 * X, "y": Y}, r"fault: inputs up to [0-9.e+]+ \(scale them"),
    "lr": ({"y": Y, "lr": 50.0}, r"fault: lr of 50 \(try a smaller one"),
    "weights": ({"y": Y, "sample_weight": np.full(200, 1e6)}, r"fault: sample weights up to 1e\+06"),
    "init": ({"y": Y, "init": fastmlp.init.Uniform(1e9, 1e10)}, "initial weights of layer 1, large for its width"),
    "nothing": ({"y": Y, "lr": 0.9}, "of usual size: try an lr smaller than 0.9"),
}


@pytest.mark.parametrize("name", AT_FAULT)
def test_divergence_says_what_looks_at_fault(name):
    options, message = AT_FAULT[name]
    spec = [INPUT, {"n": 40, "act": "relu"}, {"n": 40, "act": "relu"}, {"n": 1, "act": "linear"}]
    with pytest.raises(fastmlp.DivergenceError, match=message) as caught:
        fastmlp.train(spec=spec, **{"x": X, "epochs": 200, "seed": 0, **options})
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) and again.remedy == caught.value.remedy
    if name in ("target", "lr"):
        model = fastmlp.MLP(spec, seed=0)
        with pytest.raises(fastmlp.DivergenceError, match=message):
            model.partial_fit(X, **options)


@numba.njit
def reciprocal(z):
    if -1 < z < 1:
        raise ValueError("too near to zero")
    return 1.0 / z


@numba.njit
def ratio(y_hat, y):
    return y * reciprocal(y_hat)


@numba.njit
def slope(z, *y):
    return z


RAISING = {
    "activation": ([INPUT, {"n": 4, "act": fastmlp.Activation("mine", reciprocal, slope)}, NUMBER[-1]], "reciprocal"),
    "derivative": ([INPUT, {"n": 4, "act": fastmlp.Activation("mine", slope, reciprocal)}, NUMBER[-1]], "reciprocal"),
    "loss": ([INPUT, {**NUMBER[-1], "cost": fastmlp.Loss("mine", ratio, slope)}], "ratio"),
}


OTHERWISE = [{}, {"batch_size": 32}, {"batch_size": 32, "n_threads": 2}, {"optimizer": "lbfgs"}, {"optimizer": "lm"}]


@pytest.mark.parametrize("options", OTHERWISE)
@pytest.mark.parametrize("kind", RAISING)
def test_what_a_users_function_raises_is_named(kind, options):
    spec, name = RAISING[kind]
    if kind == "loss" and options == {"optimizer": "lm"}:
        pytest.skip("lm has no other losses")
    model, shown = fastmlp.MLP(spec, dtype="float64"), "y_hat = 0.0, y = " if kind == "loss" else "z = 0.0"
    model.params[:] = 0
    message = rf"fault: your function {name} raises ValueError: too near to zero \(for {shown}"
    for _ in range(2):
        with pytest.raises(fastmlp.DivergenceError, match=message):
            fastmlp.train(X, Y, model, **options)
    fresh = fastmlp.MLP(spec, seed=0, dtype="float64")
    with pytest.raises(fastmlp.DivergenceError) as caught:
        fastmlp.train(1e200 * X, Y, fresh, lr=1e200)
    assert "your function" not in caught.value.remedy


def test_what_a_users_function_raises_is_named_wherever_networks_are_trained():
    from fastmlp.sklearn import MLPRegressor

    spec, _ = RAISING["activation"]
    message = "your function reciprocal raises ValueError: too near to zero"
    model = fastmlp.MLP(spec)
    model.params[:] = 0
    with pytest.raises(fastmlp.DivergenceError, match=message):
        model.partial_fit(X, Y)
    assert np.isnan(model.predict(X)).all()
    with pytest.warns(RuntimeWarning, match="1 of 1 networks diverged"):
        (one,) = fastmlp.train_many(0 * X, Y, spec, seeds=[0])
    assert message in one.error.remedy
    with pytest.raises(ValueError, match=rf"preprocessed\. But {message}"):
        MLPRegressor(hidden_layer_sizes=4, activation=spec[1]["act"], random_state=0).fit(0 * X, Y)


def test_parameters_that_are_nan_are_named():
    model = fastmlp.MLP(NUMBER)
    model.params[0] = np.nan
    with pytest.raises(fastmlp.DivergenceError, match="parameters were infinite or NaN before training"):
        fastmlp.train(X, Y, model)


def test_a_network_that_does_not_fit_is_refused_before_it_is_drawn(monkeypatch):
    huge = [{"n": 3_000_000, "act": None}, {"n": 3_000_000, "act": "relu"}, {"n": 1, "act": "linear"}]
    for attempt in (lambda: fastmlp.MLP(huge), lambda: fastmlp.train(np.zeros((1, 3_000_000), np.uint8), [0], huge)):
        with pytest.raises(
            MemoryError, match=r"parameters takes at least [0-9.,]+ GB, of which [0-9.,]+ are available"
        ):
            attempt()
    monkeypatch.setattr(ram, "available_memory", lambda: 24 << 30)
    for spec in ([{"n": 50_000}, {"n": 50_000}, {"n": 1}], [{"n": 50_000}, {"n": 50_000, "act": "relu"}, {"n": 2}]):
        with pytest.raises(MemoryError, match="a network of 2,500,"):
            fastmlp.MLP(spec)
    monkeypatch.setattr(ram, "available_memory", lambda: 1 << 30)
    model = fastmlp.MLP([{"n": 1000}, {"n": 1000}])
    with pytest.raises(MemoryError, match=r"a Jacobian of shape \(300, 1000, 1001000\)"):
        model.jacobian(np.zeros((300, 1000)))


def test_a_billion_epochs_may_be_stopped_at_once():
    calls = []

    def rate(epoch):
        calls.append(epoch)
        return 0.01

    for lr in (0.01, schedules.Cosine(0.01, 10**9), rate):
        _, history = fastmlp.train(
            X, Y, NUMBER, epochs=10**9, lr=lr, callbacks=lambda state: state.stop() if state.epoch == 2 else None
        )
        assert len(history["loss"]) == 3
    assert len(calls) == 10_000  # these are looked at before training begins, and asked for once


def test_rates_of_late_epochs_are_asked_for_when_they_come():
    spec, x, y = [{"n": 1}, {"n": 1, "act": "linear", "cost": "mbe"}], [[0.0]], [0.0]
    model = fastmlp.MLP(spec, dtype="float64")
    model.params[:] = 0.0
    fastmlp.train(x, y, model, epochs=10_010, lr=lambda epoch: 1.0 if epoch >= 10_000 else 2.0**-20)
    assert model.biases[0][0] == 10 + 10_000 * 2.0**-20
    with pytest.raises(ValueError, match=r"lr\(10005\) must be a finite number above 0"):
        fastmlp.train(x, y, spec, epochs=10_010, lr=lambda epoch: 1.0 if epoch < 10_005 else -1.0)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("size", [2**31, 2**40, 2**63 - 1, 2**63, 10**30])
def test_a_batch_larger_than_any_is_all_there_is(size, optimizer):
    models = [fastmlp.MLP(NUMBER, seed=0) for _ in range(3)]
    values = [
        model.partial_fit(X, Y, lr=0.1, batch_size=n, optimizer=optimizer)
        for model, n in zip(models, (size, 200), strict=False)
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-6) and values[0]["loss"] > 0
    np.testing.assert_allclose(models[0].params, models[1].params, rtol=1e-5, atol=1e-7)
    fastmlp.train(X, Y, models[2], lr=0.1, batch_size=size, optimizer=optimizer, epochs=1, shuffle=False)
    np.testing.assert_allclose(models[0].params, models[2].params, rtol=1e-5, atol=1e-7)


def test_a_resumed_run_holds_the_same_rows_out(tmp_path):
    spec, x, y, weights = samples("classes")
    options = {
        "seed": None, "validation_fraction": 0.3, "sample_weight": weights, "class_weight": "balanced",
        "early_stopping": EarlyStopping(patience=50), "dtype": "float64",
    }  # fmt: skip
    path, copy = tmp_path / "run.ckpt", tmp_path / "copy.ckpt"
    fastmlp.train(x, y, spec, epochs=3, checkpoint=path, **options)
    copy.write_bytes(path.read_bytes())
    model, history = fastmlp.train(x, y, spec, epochs=6, checkpoint=path, **options)
    again, other = fastmlp.train(x, y, spec, epochs=6, checkpoint=copy, **options)
    np.testing.assert_array_equal(model.params, again.params)
    assert history == other
    with pytest.raises(ValueError, match="another run"):
        fastmlp.train(x, y, spec, epochs=6, checkpoint=copy, **{**options, "sample_weight": 2 * weights})
