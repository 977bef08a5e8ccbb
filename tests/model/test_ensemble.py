"""Ensembles: what they answer, held against NumPy over the networks' own answers; who may belong; files."""

from __future__ import annotations

import json
import pickle
from copy import deepcopy

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import fastmlp

X = np.random.default_rng(0).normal(size=(23, 3))


def spec(*hidden, n_in=3, n_out=2, act="linear", cost=None):
    return [{"n": n_in}, *({"n": n, "act": "tanh"} for n in hidden), {"n": n_out, "act": act, "cost": cost}]


def members(*specs, dtype="float32"):
    return [fastmlp.MLP(one, seed=seed, dtype=dtype) for seed, one in enumerate(specs)]


MIXED = spec(), spec(5), spec(5, 4, cost="huber"), spec(5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mean_spread_and_quantiles_are_numpys(dtype):
    models = members(*MIXED, dtype=dtype)
    ensemble = fastmlp.Ensemble(iter(models))
    each = np.array([model.predict(X) for model in models])
    np.testing.assert_array_equal(ensemble.predict_each(X), each)
    mean, std = ensemble.predict(X, return_std=True)
    exact = each.astype(np.float64)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=2 * eps, atol=eps)
    np.testing.assert_allclose(std, np.sqrt(((exact - exact.mean(axis=0)) ** 2).mean(axis=0)), rtol=4 * eps)
    np.testing.assert_array_equal(ensemble.predict(X), mean)
    assert mean.dtype == std.dtype == ensemble.quantiles(X, 0.3).dtype == dtype
    low, median, high = ensemble.quantiles(X, [0, 0.5, 1])
    np.testing.assert_array_equal(low, each.min(axis=0))
    np.testing.assert_array_equal(high, each.max(axis=0))
    ordered = np.sort(exact, axis=0)
    np.testing.assert_allclose(median, (ordered[1] + ordered[2]) / 2, rtol=2 * eps, atol=eps)
    np.testing.assert_array_equal(ensemble.quantiles(X, 0.5), median)


def test_one_network_and_mixed_dtypes():
    (model,) = members(spec(4))
    mean, std = fastmlp.Ensemble([model]).predict(X, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(X))
    assert not std.any()
    both = fastmlp.Ensemble([model, *members(spec(4), dtype="float64")])
    assert both.predict(X).dtype == np.float64


def test_threads_do_not_change_the_numbers():
    ensemble = fastmlp.Ensemble(members(*MIXED))
    x = np.random.default_rng(1).normal(size=(5000, 3))
    np.testing.assert_array_equal(ensemble.predict(x), ensemble.predict(x, n_threads=2))


@settings(deadline=None, max_examples=40)
@given(
    output=st.sampled_from([("softmax", 3), ("sigmoid", 1), ("sigmoid", 3), ("linear", 3)]),
    n_models=st.integers(1, 6),
    n_samples=st.integers(1, 30),
    seed=st.integers(0, 99),
)
def test_votes_count_the_classes_that_each_gives(output, n_models, n_samples, seed):
    act, n_out = output
    cost = "hinge" if act == "linear" else None
    models = [fastmlp.MLP(spec(4, n_out=n_out, act=act, cost=cost), seed=seed + i) for i in range(n_models)]
    ensemble, x = fastmlp.Ensemble(models), np.random.default_rng(seed).normal(size=(n_samples, 3))
    votes = ensemble.votes(x)
    classes = [model.predict_class(x) for model in models]
    assert votes.dtype == np.int64 and votes.shape == (n_samples, max(2, n_out))
    for k in range(votes.shape[1]):
        said = [one[:, k] == 1 if one.ndim == 2 else one == k for one in classes]
        np.testing.assert_array_equal(votes[:, k], np.sum(said, axis=0))


def test_predict_class_goes_by_the_mean():
    models = members(*[spec(1, n_in=1, n_out=2, act="softmax")] * 3)
    for model, logit in zip(models, (-9.0, 1.0, 1.0), strict=True):  # two votes for class 1, weak ones
        model.params = np.zeros(model.params.size)
        model.biases[1][1] = logit
    ensemble = fastmlp.Ensemble(models)
    assert ensemble.votes([[0.0]]).tolist() == [[1, 2]]
    assert ensemble.predict_class([[0.0]]).tolist() == [0]


def test_an_ensemble_errs_less_than_its_networks_and_most_where_they_disagree():
    (x, y), (x_test, y_test) = fastmlp.datasets.load_digits(test_fraction=0.5)
    digits = [{"n": 64, "act": None, "scale": 1 / 16}, {"n": 16, "act": "relu"}, {"n": 10, "act": "softmax"}]
    trained = fastmlp.train_many(x, y, digits, seeds=range(8), lr=0.02, epochs=10)
    ensemble = fastmlp.Ensemble(one.model for one in trained)
    wrong = ensemble.predict_class(x_test) != y_test
    assert wrong.mean() < np.mean([(model.predict_class(x_test) != y_test).mean() for model in ensemble])
    sure = ensemble.votes(x_test).max(axis=1) == len(ensemble)
    assert wrong[~sure].mean() > 5 * wrong[sure].mean()


NAMED = spec(n_out=3, act="softmax")


def named(names):
    model = fastmlp.MLP(NAMED)
    model.class_names = list(names)
    return model


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (spec(n_in=4), r"models\[1\] takes 4 features, models\[0\] takes 3"),
        (spec(n_out=3), r"models\[1\] has 3 outputs, models\[0\] has 2"),
        (spec(act="tanh"), "outputs that are tanh, numbers, those of .* are linear, numbers"),
        (spec(cost="hinge"), "linear, classes, those .* linear, numbers"),
        (spec(cost="poisson"), "linear, those of the loss poisson"),
    ],
)
def test_networks_that_answer_other_questions_are_refused(second, message):
    with pytest.raises(ValueError, match=message):
        fastmlp.Ensemble(members(spec(5), second))


def test_outputs_of_one_shape_that_mean_something_else_are_refused():
    refused = [
        (spec(act="sigmoid"), spec(act="sigmoid", cost="cross_entropy")),
        (spec(act="softmax"), spec(act="sigmoid")),
        (
            [{"n": 3}, {"n": 2, "act": "leaky_relu", "slope": 0.2}],
            [{"n": 3}, {"n": 2, "act": "leaky_relu", "slope": 0.3}],
        ),
    ]
    for pair in refused:
        with pytest.raises(ValueError, match=r"models\[1\] has outputs"):
            fastmlp.Ensemble(members(*pair))
    assert len(fastmlp.Ensemble(members(spec(act="sigmoid"), spec(act="sigmoid", cost="mse")))) == 2
    assert len(fastmlp.Ensemble(members(spec(act="softmax"), spec(act="softmax", cost="mse")))) == 2
    with pytest.raises(ValueError, match=r"models\[1\] has the class names \('a', 'c', 'b'\), models\[0\] has"):
        fastmlp.Ensemble([named("abc"), named("acb")])
    with pytest.raises(ValueError, match="has the class names None"):
        fastmlp.Ensemble([named("abc"), fastmlp.MLP(NAMED)])
    assert fastmlp.Ensemble([named("abc"), named("abc")]).class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("models", "error", "message"),
    [
        ([], ValueError, "models is empty"),
        (fastmlp.MLP(spec()), TypeError, "must be a list of fastmlp.MLP, got MLP"),
        (None, TypeError, "got NoneType"),
        ([fastmlp.MLP(spec()), 3], TypeError, r"models\[1\] must be a fastmlp.MLP, got int"),
        (
            [fastmlp.train(X, X[:, :2], spec(), epochs=1)],
            TypeError,
            r"models\[0\] must be a fastmlp.MLP, got TrainResult; give its \.model",
        ),
    ],
)
def test_what_is_no_list_of_networks_is_refused(models, error, message):
    with pytest.raises(error, match=message):
        fastmlp.Ensemble(models)


def test_bad_arguments_are_refused_by_name():
    ensemble = fastmlp.Ensemble(members(spec(4), spec(4)))
    for q in (1.5, -0.1, np.nan, [], [[0.5]], [0.5, [1]]):
        with pytest.raises(ValueError, match=r"^q "):
            ensemble.quantiles(X, q)
    for q in ("0.5", True, None):
        with pytest.raises(TypeError, match=r"^q "):
            ensemble.quantiles(X, q)
    for call in (ensemble.predict, ensemble.predict_each, ensemble.predict_class, ensemble.votes):
        with pytest.raises(ValueError, match="x has 2 features, the network takes 3"):
            call(X[:, :2])
    with pytest.raises(TypeError, match="return_std must be True or False"):
        ensemble.predict(X, 2)
    with pytest.raises(ValueError, match="n_threads"):
        ensemble.predict(X, n_threads=0)
    one = fastmlp.Ensemble(members(spec(4, n_out=1)))
    for call in (one.predict_class, one.votes):
        with pytest.raises(ValueError, match="needs classes; this network has one linear output"):
            call(X)


def test_it_is_a_sequence_that_can_be_copied_and_pickled():
    models = members(*MIXED)
    ensemble = fastmlp.Ensemble(models)
    assert (
        len(ensemble) == 4
        and list(ensemble) == models
        and ensemble[-1] is models[-1]
        and ensemble.models[0] is models[0]
    )
    for again in (pickle.loads(pickle.dumps(ensemble)), deepcopy(ensemble)):
        assert again == ensemble and again[0] is not ensemble[0]
    assert ensemble != fastmlp.Ensemble(models[:2]) and ensemble != models
    assert repr(ensemble) == "<fastmlp.Ensemble of 4 networks, 3 → 2 linear>"


# Files.


def saved(tmp_path):
    models = [named("abc"), named("abc"), *members(spec(5, n_out=3, act="softmax", cost="mse"), dtype="float64")]
    models[1].metadata = {"fold": 1}
    models[2].class_names = list("abc")
    path = tmp_path / "all.safetensors"
    ensemble = fastmlp.Ensemble(models)
    ensemble.save(path)
    return ensemble, path


def test_files_bring_everything_back(tmp_path):
    ensemble, path = saved(tmp_path)
    again = fastmlp.load(path)
    assert isinstance(again, fastmlp.Ensemble) and again == ensemble and again.class_names == ("a", "b", "c")
    assert [model.metadata for model in again] == [{}, {"fold": 1}, {}]
    assert [model.params.tobytes() for model in again] == [model.params.tobytes() for model in ensemble]
    np.testing.assert_array_equal(again.predict(X), ensemble.predict(X))
    content = path.read_bytes()
    again.save(path)
    assert path.read_bytes() == content
    tensors = safetensors.numpy.load_file(path)
    assert tensors["models.3.weights.2"].shape == (3, 5) and len(tensors) == 8


def test_what_cannot_be_kept_is_refused_before_anything_is_written(tmp_path):
    ensemble, path = saved(tmp_path)
    path.unlink()
    ensemble[2].weights[1][0, 0] = np.nan
    with pytest.raises(ValueError, match=r"models\[2\]: weights\.2 holds NaN"):
        ensemble.save(path)
    ensemble[2].weights[1][0, 0] = 0
    ensemble[1].metadata = {"a": {1}}
    with pytest.raises(ValueError, match=r"models\[1\]: metadata"):
        ensemble.save(path)
    assert not list(tmp_path.iterdir())


def put(*keys, value):
    def change(document, tensors):
        place = document
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def rename(old, new):
    def change(document, tensors):
        tensors[new] = tensors.pop(old)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("models", value=[]), "has a tensor 'models.1.biases.1'"),
        (put("models", value=None), "'models' must be a list"),
        (put("models", 1, value=7), "must be described by a dict, got int"),
        (put("models", 0, "spec", 1, "n", value=10**9), r"models\.1\.weights\.1 must be float32 of shape \(1000000000"),
        (put("models", 2, "dtype", value="float32"), r"models\.3\.weights\.1 must be float32"),
        (put("models", 0, "class_names", value=["a", "b", "d"]), r"models\[1\] has the class names"),
        (put("models", 0, "class_names", value=["a"]), "class_names must be 3 different names"),
        (put("models", 0, "metadata", value=1), "'metadata' must be a dict"),
        (put("models", 2, "spec", 2, "act", value="sigmoid"), r"models\[2\] has outputs that are sigmoid, labels"),
        (put("kind", value="model"), "'spec' must be a list, got NoneType"),
        (put("kind", value="checkpoint"), "is a checkpoint, not a model or an ensemble"),
        (put("kind", value="x" * 10**6), "is a x"),
        (rename("models.1.weights.1", "models.01.weights.1"), r"lacks the tensor models\.1\.weights\.1"),
        (rename("models.1.weights.1", "weights.1"), r"lacks the tensor models\.1\.weights\.1"),
    ],
)
def test_sealed_files_that_make_no_sense_are_refused(tmp_path, resealed, change, message):
    _, path = saved(tmp_path)
    resealed(path, lambda document, tensors: None)
    fastmlp.load(path)
    resealed(path, change)
    with pytest.raises(ValueError, match=rf"(?s)all\.safetensors: .*{message}") as refusal:
        fastmlp.load(path)
    assert refusal.type is ValueError and len(str(refusal.value)) < 1000


def test_a_file_without_networks_is_refused(tmp_path, sealed):
    path = tmp_path / "none.safetensors"
    document = {"format": 1, "kind": "ensemble", "version": "0", "models": []}
    path.write_bytes(sealed(document, {}))
    with pytest.raises(ValueError, match=r"none\.safetensors: models is empty"):
        fastmlp.load(path)


def test_damaged_files_are_refused(tmp_path):
    _, path = saved(tmp_path)
    content = path.read_bytes()
    for i in range(0, len(content), 37):
        damaged = bytearray(content)
        damaged[i] ^= 16
        path.unlink()
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"all\.safetensors: "):
            fastmlp.load(path)


def test_files_of_one_kind_are_not_taken_for_another(tmp_path, command):
    _, path = saved(tmp_path)
    with pytest.raises(ValueError, match="is an ensemble, not a checkpoint"):
        fastmlp.train(X, np.zeros(len(X), int), NAMED, epochs=1, checkpoint=path)
    code, _, said = command("info", path)
    assert code != 0 and "is an ensemble, not a model" in said
    assert json.loads(safetensors.safe_open(path, "numpy").metadata()["fastmlp"])["kind"] == "ensemble"
