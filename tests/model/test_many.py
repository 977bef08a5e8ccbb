"""Many networks at once are the networks that training one by one makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from itertools import product

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import fastmlp
from fastmlp.kernels import private
from fastmlp.optimizers import OPTIMIZERS, SGD, Adam

SPEC = [{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 2, "act": "softmax"}]
OTHER = [{"n": 3, "act": None}, {"n": 4, "act": "relu"}, {"n": 4, "act": "swish"}, {"n": 2, "act": "softmax"}]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    return rng.normal(size=(60, 3)) + 2 * y[:, None], y


@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_each_has_the_bits_of_train_alone(data, n_threads):
    x, y = data
    grid = {
        "lr": [0.01, fastmlp.schedules.Cosine(0.02, epochs=12)],
        "optimizer": sorted(OPTIMIZERS.keys() - {"lbfgs", "lm"}),
    }
    grid["batch_size"] = [1, 16]
    options = {"epochs": 12, "validation_fraction": 0.2, "l2": 1e-3}
    trained = fastmlp.train_many(
        x, y, [SPEC, OTHER], seeds=(0, 7), grid=grid, n_threads=n_threads, lanes=False, **options
    )
    expected = list(product([0, 1], *grid.values(), (0, 7)))
    assert len(trained) == len(expected)
    for one, (i, *values, seed) in zip(trained, expected, strict=True):
        settings = dict(zip(grid, values, strict=True))
        assert one.settings == {"spec": i, **settings, "seed": seed} and one.error is None
        alone = fastmlp.train(x, y, [SPEC, OTHER][i], seed=seed, **settings, **options)
        assert (one.model, one.history) == alone


@pytest.mark.parametrize(
    "options",
    [
        {"dropout": 0.2},
        {"early_stopping": 3, "epochs": 100},
        {"metrics": "top_1", "shuffle": False},
        {"dtype": "float64", "batch_size": "full"},
        {"class_weight": "balanced"},
        {"optimizer": "lbfgs"},
    ],
    ids=str,
)
def test_options_of_train(data, options):
    x, y = data
    options = {"epochs": 6, **options}
    trained = fastmlp.train_many(x, y, SPEC, seeds=range(3), n_threads=2, lanes=False, **options)
    for one, seed in zip(trained, range(3), strict=True):
        assert (one.model, one.history) == fastmlp.train(x, y, SPEC, seed=seed, **options)


@numba.njit
def cube(z):
    return z * z * z


@numba.njit
def d_cube(z):
    return 3 * z * z


def test_your_own_activation_is_compiled_once(data):
    x, y = data
    spec = [SPEC[0], {"n": 4, "act": fastmlp.Activation("cube", cube, d_cube)}, SPEC[-1]]
    model, history = fastmlp.train(x, y, spec, lr=0.001, seed=3)
    before = private.activation.cache_info().misses
    trained = fastmlp.train_many(x, y, spec, seeds=range(8), lr=0.001)
    assert (trained[3].model, trained[3].history) == (model, history)
    assert private.activation.cache_info().misses == before


def test_kinds_of_x(data):
    x, y = data
    expected = fastmlp.train(x, y, SPEC, seed=0)[0]
    for kind in (x.tolist(), np.asfortranarray(x), sparse.coo_array(x)):
        (one,) = fastmlp.train_many(kind, list(y), fastmlp.Spec(SPEC), seed=0)
        np.testing.assert_allclose(one.model.params, expected.params, atol=1e-5)


def test_models_go_on_in_place(data):
    x, y = data
    models = [fastmlp.MLP(SPEC, seed=seed) for seed in range(4)]
    alone = [fastmlp.train(x, y, model.copy(), seed=5)[0] for model in models]
    trained = fastmlp.train_many(x, y, models, seed=5, n_threads=2)
    assert [one.model for one in trained] == alone
    assert all(one.model is model for one, model in zip(trained, models, strict=True))


@pytest.mark.parametrize("lanes", [False, True])
def test_a_run_that_diverges_leaves_the_others_alone(data, lanes):
    x, _ = data
    spec = [{"n": 3, "act": None}, {"n": 5, "act": "relu"}, {"n": 1, "act": "linear"}]
    y = x.sum(axis=1)
    with pytest.warns(RuntimeWarning, match="2 of 6 networks diverged"):
        trained = fastmlp.train_many(
            x, y, spec, seeds=range(2), grid={"lr": [0.001, 1e30, 0.002]}, epochs=4, lanes=lanes
        )
    assert [type(one.error).__name__ for one in trained] == ["NoneType"] * 2 + ["DivergenceError"] * 2 + [
        "NoneType"
    ] * 2
    with pytest.raises(fastmlp.DivergenceError) as alone:
        fastmlp.train(x, y, spec, lr=1e30, epochs=4, seed=0)
    assert (trained[2].error.epoch, str(trained[2].error)) == (alone.value.epoch, str(alone.value))
    assert trained[2].model == fastmlp.MLP(spec, seed=0) and trained[2].history == {}
    expected = fastmlp.train(x, y, spec, lr=0.002, epochs=4, seed=1)[0]
    np.testing.assert_allclose(trained[5].model.params, expected.params, rtol=0, atol=3e-5 if lanes else 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch_size", [1, 16])
def test_side_by_side_each_has_the_numbers_of_train_alone(data, batch_size, dtype):
    """But for rounding; more networks than lanes, in groups by spec and optimiser, mixed with some that are alone."""
    x, y = data
    grid = {
        "lr": [0.01, fastmlp.schedules.Cosine(0.02, epochs=2)], "optimizer": ["sgd", SGD(0.9), "adam"],
        "dropout": [0.0, 0.2],
    }  # fmt: skip
    options = {"epochs": 2, "l2": 1e-3, "batch_size": batch_size, "dtype": dtype}
    trained = fastmlp.train_many(x, y, [SPEC, OTHER], seeds=range(10), grid=grid, **options)
    expected = list(product([0, 1], *grid.values(), range(10)))
    assert [one.settings for one in trained] == [dict(zip(["spec", *grid, "seed"], e, strict=True)) for e in expected]
    tolerance = 3e-5 if dtype == "float32" else 1e-10
    for one in trained[::3]:
        i, settings = one.settings["spec"], {**one.settings}
        settings.pop("spec")
        model, history = fastmlp.train(x, y, [SPEC, OTHER][i], **settings, **options)
        np.testing.assert_allclose(one.model.params, model.params, rtol=tolerance, atol=tolerance)
        assert one.history.keys() == history.keys()
        np.testing.assert_allclose(one.history["loss"], history["loss"], rtol=tolerance)
        assert one.history["accuracy"] == pytest.approx(history["accuracy"])


def test_side_by_side_a_network_does_not_depend_on_the_list(data):
    x, y = data
    (alone,) = fastmlp.train_many(x, y, SPEC, seeds=[5], epochs=3)
    for seeds, n_threads in (([1, 2, 5], 1), ([*range(100), 5], 2), ([5, *range(40, 200)], 3)):
        trained = fastmlp.train_many(x, y, SPEC, seeds=seeds, epochs=3, n_threads=n_threads)
        one = trained[seeds.index(5)]
        assert (one.model, one.history) == (alone.model, alone.history)
    without_seed = fastmlp.train_many(x, y, [SPEC] * 2, epochs=1)
    assert without_seed[0].model != without_seed[1].model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_without_penalties_has_the_same_bits_beside_some_with(data, dtype):
    x, y = data
    options = {"seeds": range(2), "epochs": 3, "dtype": dtype, "lanes": True}
    alone = fastmlp.train_many(x, y, SPEC, **options)
    for name in ("l1", "l2"):
        mixed = fastmlp.train_many(x, y, SPEC, grid={name: [0.0, 0.1]}, **options)
        for one, other in zip(alone, mixed[:2], strict=True):
            np.testing.assert_array_equal(one.model.params, other.model.params)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dropout": 0.1}, "dropout is given"),
        ({"validation_data": (np.zeros((2, 3)), [0, 1], [1.0, 2.0])}, "samples are weighted"),
        ({"validation_data": (sparse.csr_array(np.eye(2, 3)), [0, 1])}, "x is sparse"),
        ({"callbacks": print}, "callbacks are given"),
        ({"class_weight": "balanced"}, "samples are weighted"),
        ({"optimizer": "lbfgs"}, "lbfgs looks at all samples at once"),
        ({"x": sparse.csr_array(np.eye(60, 3))}, "x is sparse"),
    ],
    ids=str,
)
def test_lanes_that_cannot_be_are_refused_in_words(data, options, reason):
    x, y = data
    with pytest.raises(ValueError, match=f"lanes=True: .*{reason}"):
        fastmlp.train_many(options.pop("x", x), y, SPEC, seeds=range(3), lanes=True, **options)
    with pytest.raises(TypeError, match="lanes must be True or False"):
        fastmlp.train_many(x, y, SPEC, lanes=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"specs": []}, "specs is empty"),
        ({"specs": 3}, "specs must be a spec or a list of specs, got int"),
        ({"specs": [SPEC, [{"n": 3}]]}, r"specs\[1\]: spec needs an input layer"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": 5}, "seeds must be a list of integers such as range"),
        ({"seeds": [1, -1]}, "seed must be at least 0, got -1"),
        ({"seeds": [1], "seed": 1}, "seed and seeds are both given"),
        ({"grid": [0.1]}, "grid must be a dict of lists"),
        ({"grid": {"lr": 0.1}}, "grid: lr must be a list of values to try, got 0.1"),
        ({"grid": {"lr": [0.1]}, "lr": 0.1}, "lr is given twice"),
        ({"grid": {"lrr": [0.1]}}, "grid: train has no option 'lrr'"),
        ({"epoch": 3}, "train has no option .epoch.; write epochs="),
        ({"checkpoint": "file"}, "train_many has no checkpoint"),
        ({"n_threads": 0}, "n_threads must be at least 1"),
        ({"progress": "yes"}, "progress must be"),
        ({"specs": [fastmlp.MLP(SPEC)], "seeds": [1, 2]}, "one model in place"),
        ({"specs": [fastmlp.MLP(SPEC, seed=0)] * 2}, "one model in place|models"),
    ],
)
def test_bad_input(data, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        fastmlp.train_many(*data, **{"specs": SPEC, **options})


def test_a_bad_value_of_the_last_combination_is_found_before_any_training(data):
    models = [fastmlp.MLP(SPEC, seed=0), fastmlp.MLP([{"n": 4, "act": None}, *SPEC[1:]], seed=0)]
    before = models[0].copy()
    with pytest.raises(ValueError, match="x has 3 features, the network takes 4"):
        fastmlp.train_many(*data, models)
    assert models[0] == before
    seen = []
    with pytest.raises(ValueError, match="lr must be a finite number above 0"):
        fastmlp.train_many(*data, SPEC, grid={"lr": [0.1, -1.0]}, callbacks=seen.append)
    with pytest.raises(ValueError, match="lazy steps are for sparse x"):
        fastmlp.train_many(*data, SPEC, grid={"optimizer": ["adam", Adam(lazy=True)]}, callbacks=seen.append)
    assert not seen


def test_what_a_callback_raises_ends_all_and_says_in_which_run(data):
    def stumble(state):
        if state.epoch == 2:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        fastmlp.train_many(*data, SPEC, seeds=range(50), epochs=100_000, callbacks=stumble, n_threads=2)
    assert "'seed': " in caught.value.__notes__[0]


WATCHED = {
    "held out": {"validation_fraction": 0.2},
    "held out of small classes": {"validation_fraction": 0.1, "y": np.arange(60) % 20, "n_classes": 20},
    "the last held out": {"validation_fraction": 0.25, "shuffle": False, "batch_size": "full"},
    "held out of numbers": {"validation_fraction": 0.2, "y": np.linspace(-1, 1, 60), "loss": "mse"},
    "validation data": {"validation_data": (np.ones((7, 3)), [0, 1] * 3 + [1]), "optimizer": "adam", "batch_size": 16},
    "stopped by loss": {"early_stopping": 2, "epochs": 60},
    "stopped by accuracy": {
        "early_stopping": fastmlp.EarlyStopping("val_accuracy", patience=4, restore_best=False),
        "validation_fraction": 0.4, "epochs": 60,
    },
    "stopped by little": {
        "early_stopping": fastmlp.EarlyStopping(patience=3, min_delta=0.01), "validation_fraction": 0.3, "epochs": 60,
        "optimizer": SGD(0.9), "batch_size": 8,
    },
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", WATCHED.values(), ids=WATCHED)
def test_side_by_side_networks_are_evaluated_and_stopped_as_alone(data, options, dtype):
    """More networks than lanes, at several rates, so that they end at different epochs and others take their lanes."""
    options = {"epochs": 2, "dtype": dtype, **options}
    x, y = data[0], options.pop("y", data[1])
    spec = SPEC if y is data[1] else [*SPEC[:2], {"n": 1, "act": "linear"}]
    if n_classes := options.pop("n_classes", 0):
        spec = [*SPEC[:2], {"n": n_classes, "act": "softmax"}]
    grid = {"lr": [0.01, fastmlp.schedules.Cosine(0.02, epochs=60)], "l2": [0.0, 1e-3]}
    trained = fastmlp.train_many(x, y, spec, seeds=range(40), grid=grid, lanes=True, n_threads=2, **options)
    tolerance = 1e-10 if dtype == "float64" else 3e-5 if options["epochs"] == 2 else 1e-3
    lengths = set()
    for one in trained[::7]:
        settings = {name: value for name, value in one.settings.items() if name != "spec"}
        model, history = fastmlp.train(x, y, spec, **settings, **options)
        assert one.history.keys() == history.keys() and one.history.epochs == history.epochs
        np.testing.assert_allclose(one.model.params, model.params, rtol=tolerance, atol=tolerance)
        for name, values in history.items():
            np.testing.assert_allclose(one.history[name], values, rtol=tolerance, atol=tolerance)
        lengths.add(history.epochs)
    assert len(lengths) > 1 or options["epochs"] == 2


@settings(max_examples=30, deadline=None)
@given(
    n_samples=st.integers(6, 70),
    n_classes=st.integers(2, 4),
    n_networks=st.sampled_from([1, 2, 40]),
    hidden=st.lists(st.integers(1, 6), max_size=2),
    options=st.fixed_dictionaries(
        {
            "batch_size": st.sampled_from([1, 4, "full"]),
            "optimizer": st.sampled_from(["sgd", "adam"]),
            "shuffle": st.booleans(),
            "l2": st.sampled_from([0.0, 0.01]),
            "init": st.sampled_from(["auto", "he_normal", "orthogonal", fastmlp.init.Uniform(0, 0.1)]),
            "validation_fraction": st.sampled_from([0.0, 0.2, 0.5]),
            "early_stopping": st.sampled_from([None, 1, fastmlp.EarlyStopping("loss", patience=2, restore_best=False)]),
            "lr": st.sampled_from([0.01, fastmlp.schedules.Cosine(0.02, epochs=5)]),
        }
    ),
)
def test_side_by_side_or_alone_whatever_the_options(n_samples, n_classes, n_networks, hidden, options):
    rng = np.random.default_rng(n_samples)
    x, y = rng.normal(size=(n_samples, 3)), rng.integers(0, n_classes, n_samples)
    spec = [SPEC[0], *({"n": n, "act": "tanh"} for n in hidden), {"n": n_classes, "act": "softmax"}]
    options = {**options, "epochs": 3, "dtype": "float64"}
    trained = fastmlp.train_many(x, y, spec, seeds=range(n_networks), lanes=True, n_threads=2, **options)
    for one in (trained[0], trained[-1]):
        model, history = fastmlp.train(x, y, spec, seed=one.settings["seed"], **options)
        np.testing.assert_allclose(one.model.params, model.params, rtol=1e-9, atol=1e-9)
        assert one.history.keys() == history.keys()
        for name, values in history.items():
            np.testing.assert_allclose(one.history[name], values, rtol=1e-9, atol=1e-9)


def test_a_network_in_a_relay_does_not_depend_on_the_others(data):
    options = {"validation_fraction": 0.2, "early_stopping": 2, "epochs": 50, "lanes": True}
    grid = {"lr": [0.01, 0.05]}
    many = as_dict(fastmlp.train_many(*data, SPEC, seeds=range(150), grid=grid, n_threads=3, **options))
    for lr, seed in ((0.01, 0), (0.05, 77), (0.01, 149)):
        (one,) = fastmlp.train_many(*data, SPEC, seeds=[seed], lr=lr, **options)
        assert (one.model, one.history, None) == many[0, lr, seed]
    one_by_one = as_dict(fastmlp.train_many_iter(*data, SPEC, seeds=range(150), grid=grid, n_threads=1, **options))
    assert one_by_one == many


@pytest.mark.parametrize("restore_best", [True, False])
def test_a_network_that_diverges_in_a_relay_is_as_alone(data, restore_best):
    x, _ = data
    spec = [{"n": 3, "act": None}, {"n": 5, "act": "relu"}, {"n": 1, "act": "linear"}]
    options = {
        "early_stopping": fastmlp.EarlyStopping("loss", patience=3, restore_best=restore_best), "epochs": 40,
        "dtype": "float64",
    }  # fmt: skip

    def grows(epoch):
        return 1e-3 * 4.0**epoch

    rates = [0.001, grows, 1e30]
    with pytest.warns(RuntimeWarning, match="80 of 120 networks diverged"):
        trained = fastmlp.train_many(x, x.sum(axis=1), spec, seeds=range(40), grid={"lr": rates}, lanes=True, **options)
    assert all(one.error is None for one in trained[:40])
    for one in trained[43::20]:
        with pytest.raises(fastmlp.DivergenceError) as alone:
            fastmlp.train(x, x.sum(axis=1), spec, lr=one.settings["lr"], seed=one.settings["seed"], **options)
        assert (one.error.epoch, str(one.error)) == (alone.value.epoch, str(alone.value))
        assert one.history.epochs == alone.value.history.epochs
        np.testing.assert_allclose(one.model.params, alone.value.model.params, rtol=1e-9)


def as_dict(networks):
    return {tuple(one.settings.values()): (one.model, one.history, one.error) for one in networks}


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_iterator_yields_the_same_networks(data, n_threads):
    options = {"seeds": range(70), "grid": {"dropout": [0.0, 0.2]}, "epochs": 2, "n_threads": n_threads}
    networks = list(fastmlp.train_many_iter(*data, SPEC, **options))
    assert len(networks) == 140 and as_dict(networks) == as_dict(fastmlp.train_many(*data, SPEC, **options))


def test_the_iterator_checks_before_anything_begins(data):
    with pytest.raises(ValueError, match="seeds is empty"):
        fastmlp.train_many_iter(*data, SPEC, seeds=[])


@pytest.mark.parametrize("lanes", [False, True])
def test_the_iterator_keeps_few_and_stops_when_it_is_closed(data, lanes):
    epochs, before = [], threading.active_count()
    options = {} if lanes else {"callbacks": lambda state: epochs.append(state.epoch)}
    networks = fastmlp.train_many_iter(*data, SPEC, seeds=range(100_000), epochs=1, n_threads=2, lanes=lanes, **options)
    assert threading.active_count() == before  # nothing begins before the first is asked for
    assert isinstance(next(networks), fastmlp.Trained)
    time.sleep(0.5)
    assert len(epochs) < 20
    networks.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(networks)


def test_the_iterator_says_what_diverged_and_raises_what_a_callback_raises(data):
    x, _ = data
    spec = [{"n": 3, "act": None}, {"n": 5, "act": "relu"}, {"n": 1, "act": "linear"}]
    networks = fastmlp.train_many_iter(x, x.sum(axis=1), spec, seeds=range(40), grid={"lr": [0.001, 1e30]}, epochs=2)
    with pytest.warns(RuntimeWarning, match="40 of 80 networks diverged"):
        errors = {one.settings["lr"]: one.error for one in networks}
    assert errors[0.001] is None and isinstance(errors[1e30], fastmlp.DivergenceError)

    def stumble(state):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(fastmlp.train_many_iter(*data, SPEC, seeds=range(3), callbacks=stumble))


def test_a_network_is_the_same_in_a_list_of_one_and_of_ten_thousand():
    x, y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 1, 1, 0])
    spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    many = fastmlp.train_many(x, y, spec, seeds=range(10_000), epochs=5, lr=0.3)
    for seed in (0, 31, 32, 511, 512, 9_999):
        for n_threads in (1, 2):
            (one,) = fastmlp.train_many(x, y, spec, seeds=[seed], epochs=5, lr=0.3, n_threads=n_threads)
            np.testing.assert_array_equal(one.model.params, many[seed].model.params)
            assert one.history == many[seed].history


def test_where_the_system_has_no_more_threads_those_that_began_end(data, monkeypatch):
    before, start = threading.active_count(), threading.Thread.start

    def start_two(thread):
        if threading.active_count() == before + 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        fastmlp.train_many(*data, SPEC, seeds=range(1000), epochs=10_000, n_threads=3)
    assert threading.active_count() == before


def test_rates_may_change_outside_and_inside_of_a_grid(data):
    """Combinations that differ in lr alone are checked by that alone: in whatever place it stands."""
    x, y = data
    plateau = fastmlp.schedules.ReduceOnPlateau(0.02, patience=1)
    grid = {"lr": [0.01, 0.02, lambda epoch: 0.01 / (epoch + 1), plateau], "batch_size": [1, 16]}
    for names in (("lr", "batch_size"), ("batch_size", "lr")):
        trained = fastmlp.train_many(x, y, SPEC, seeds=[3], grid={name: grid[name] for name in names}, epochs=3)
        for one in trained:
            settings = {name: value for name, value in one.settings.items() if name != "spec"}
            model, history = fastmlp.train(x, y, SPEC, epochs=3, **settings)
            np.testing.assert_allclose(one.model.params, model.params, rtol=3e-5, atol=3e-5)
            np.testing.assert_allclose(one.history["loss"], history["loss"], rtol=3e-5)
    for bad, message in ((-1, "lr must be a finite number above 0"), (lambda e: -1.0, r"lr\(0\) must be")):
        with pytest.raises(ValueError, match=message):
            fastmlp.train_many(x, y, SPEC, grid={"lr": [0.1, 0.2, bad]})
    with pytest.raises(ValueError, match=r"lr is 0\.2, but lbfgs"):
        fastmlp.train_many(x, y, SPEC, grid={"lr": [0.01, 0.2]}, optimizer="lbfgs")


def test_progress_lines(data, capsys):
    fastmlp.train_many(*data, SPEC, seeds=range(3), epochs=2, progress=True, n_threads=1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[:2] for line in lines] == [[f"{i + 1}/3", f"spec 0, seed {i}:"] for i in range(3)]
    assert "loss 0." in lines[0] and "accuracy 0." in lines[0]
    fastmlp.train_many(*data, SPEC, seeds=range(3), epochs=2)
    assert capsys.readouterr().err == ""


LIVE = """
import sys, warnings
import numpy as np
import fastmlp
sys.stderr.isatty = lambda: True
rng = np.random.default_rng(0)
x, y = rng.normal(size=(500, 20)), rng.integers(0, 3, 500)
spec = [{"n": 20, "act": None}, {"n": 8, "act": "tanh"}, {"n": 3, "act": "softmax"}]
fastmlp.train(x, y, spec, epochs=1, progress=False)
print("ready", flush=True)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    trained = fastmlp.train_many(x, y, spec, seeds=range(30000), epochs=100, n_threads=2, lanes=eval(sys.argv[1]))
alone, _ = fastmlp.train(x, y, spec, seed=trained[-1].settings["seed"], epochs=100, progress=False)
close = np.allclose(alone.params, trained[-1].model.params, rtol=1e-2, atol=1e-2)
print(0 < len(trained) < 30000, close, caught[0].message, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("lanes", ["False", "True"])
def test_ctrl_c_keeps_what_is_finished(lanes):
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE, lanes], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.5)
    begin = time.perf_counter()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert time.perf_counter() - begin < 2.0  # 0.1 s when the machine is quiet
    assert out.startswith("True True interrupted: ") and "of 30000 networks are trained" in out, err
    assert "/30000 networks" in err and "samples/s" in err


LOOP = """
import sys, warnings
import numpy as np
import fastmlp
rng = np.random.default_rng(0)
x, y = rng.normal(size=(500, 20)), rng.integers(0, 3, 500)
spec = [{"n": 20, "act": None}, {"n": 8, "act": "tanh"}, {"n": 3, "act": "softmax"}]
n = 0
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for one in fastmlp.train_many_iter(x, y, spec, seeds=range(30000), epochs=100, n_threads=2):
        n += 1
        if n == 1:
            print("ready", flush=True)
print(str(caught[0].message) == f"interrupted: {n} of 30000 networks are trained", flush=True)
"""


LEFT = """
import fastmlp
x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
networks = fastmlp.train_many_iter(x, y, spec, seeds=range(1_000_000), epochs=200, n_threads=2)
print(next(networks).settings["spec"], flush=True)
"""


def test_an_iterator_that_is_left_does_not_keep_the_interpreter():
    done = subprocess.run([sys.executable, "-c", LEFT], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("0\n", "", 0)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_ctrl_c_ends_the_iterator_in_words():
    process = subprocess.Popen([sys.executable, "-c", LOOP], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate()[0] == "True\n"
