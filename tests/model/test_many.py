"""Many networks at once are the networks that training one by one makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import product

import numba
import numpy as np
import pytest
from scipy import sparse

import fastmlp
from fastmlp.kernels import private
from fastmlp.optimizers import OPTIMIZERS, SGD

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
    grid = {"lr": [0.01, fastmlp.schedules.Cosine(0.02, epochs=12)], "optimizer": sorted(OPTIMIZERS.keys() - {"lbfgs"})}
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
        ({"validation_fraction": 0.2}, "there is validation data"),
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
    assert not seen


def test_what_a_callback_raises_ends_all_and_says_in_which_run(data):
    def stumble(state):
        if state.epoch == 2:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        fastmlp.train_many(*data, SPEC, seeds=range(50), epochs=100_000, callbacks=stumble, n_threads=2)
    assert "'seed': " in caught.value.__notes__[0]


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
close = np.allclose(alone.params, trained[-1].model.params, rtol=1e-2)
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
