"""fastmlp.dask on real clusters: processes on this machine, killed, starved, started from the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

import fastmlp
import fastmlp.dask

pytestmark = pytest.mark.filterwarnings("default")  # distributed's own, of sockets and processes that end

CLASSES = [{"n": 5, "act": None}, {"n": 8, "act": "tanh"}, {"n": 3, "act": "softmax"}]
NUMBERS = [{"n": 5, "act": None}, {"n": 6, "act": "tanh"}, {"n": 2, "act": "linear"}]


def chunked(*arrays, rows=400):
    return [
        da.from_array(array, chunks=(tuple(rows) if isinstance(rows, list) else rows, *array.shape[1:]))
        for array in arrays
    ]


# Asking


def test_predict_is_lazy_and_needs_no_cluster(arrays):
    model = fastmlp.MLP(CLASSES, seed=0)
    (x,) = chunked(arrays[0])
    outputs = fastmlp.dask.predict(model, x)
    assert isinstance(outputs, da.Array) and outputs.dtype == model.dtype
    assert outputs.shape == (1500, 3) and outputs.chunks == ((400, 400, 400, 300), (3,))
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_allclose(outputs.compute(), model.predict(arrays[0]), atol=1e-6)
    model.params[...] = 0  # what was asked is answered by the model as it was
    with dask.config.set(scheduler="threads"):
        assert np.ptp(outputs.compute()) > 0.1


@pytest.mark.parametrize("dtype", ["float64", "Float64", "double[pyarrow]"])
def test_predict_on_frames_of_any_kind(arrays, dtype):
    model = fastmlp.MLP(CLASSES, seed=0)
    model.class_names = ["a", "b", "c"]
    frame = pd.DataFrame(arrays[0], columns=list("vwxyz"), index=np.arange(1500) * 2).astype(dtype)
    outputs = fastmlp.dask.predict(model, dd.from_pandas(frame, npartitions=3))
    assert list(outputs.columns) == ["a", "b", "c"] and set(outputs.dtypes) == {np.dtype("float32")}
    computed = outputs.compute(scheduler="synchronous")
    assert list(computed.index) == list(frame.index) and list(computed.columns) == ["a", "b", "c"]
    np.testing.assert_allclose(computed.to_numpy(), model.predict(arrays[0]), atol=1e-6)


def test_evaluate_is_what_one_machine_says(arrays):
    x, y, _, weights = arrays
    model = fastmlp.MLP(CLASSES, seed=0, dtype="float64")
    metrics = ["top_2", "cross_entropy", "mse"]
    values = fastmlp.dask.evaluate(model, *chunked(x, y), metrics, sample_weight=chunked(weights)[0])
    expected = model.evaluate(x, y, metrics, sample_weight=weights)
    assert list(values) == list(expected) and values == pytest.approx(expected, abs=1e-12)
    lazily = fastmlp.dask.evaluate(model, *chunked(x, y), compute=False)
    assert dask.compute(lazily, scheduler="synchronous")[0] == pytest.approx(model.evaluate(x, y), abs=1e-12)


def test_evaluate_weighs_outputs_as_one_machine_does(arrays):
    x = arrays[0]
    y = np.random.default_rng(1).normal(size=(len(x), 3))
    y[::4, 1] = np.nan
    model = fastmlp.MLP([{"n": 5, "act": None}, {"n": 3, "act": "linear"}], seed=0, dtype="float64")
    values = fastmlp.dask.evaluate(model, *chunked(x, y), ["mae"], output_weight=[1, 0, 2.5])
    assert values == pytest.approx(model.evaluate(x, y, ["mae"], output_weight=[1, 0, 2.5]), abs=1e-12)
    with pytest.raises(ValueError, match=r"output_weight must have shape \(3,\)"):
        fastmlp.dask.evaluate(model, *chunked(x, y), output_weight=[1, 2])


def test_partitions_may_be_empty_and_unknown(arrays):
    x, y, _, _ = arrays
    model = fastmlp.MLP(CLASSES, seed=0, dtype="float64")
    table = dd.from_pandas(pd.DataFrame(x, columns=list("vwxyz")).assign(target=y, row=np.arange(1500)), npartitions=4)
    some = table[table["row"] >= 500]  # the first partition has none left
    features, target = some[list("vwxyz")], some["target"]
    values = fastmlp.dask.evaluate(model, features, target)
    assert values == pytest.approx(model.evaluate(x[500:], y[500:]), abs=1e-12)
    assert len(fastmlp.dask.predict(model, features).compute()) == 1000
    unknown = features.to_dask_array()
    assert fastmlp.dask.predict(model, unknown).compute().shape == (1000, 3)


# sync="gradient"


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.1},
        {"lr": 0.05, "batch_size": 400, "optimizer": "adam", "l2": 1e-3, "l1": 1e-4, "clip_norm": 0.1, "max_norm": 1.0},
        {"lr": 0.1, "batch_size": 700, "optimizer": fastmlp.optimizers.SGD(momentum=0.9), "class_weight": {1: 0.0}},
        {"optimizer": "lbfgs", "l2": 1e-3},
        {"lr": 0.1, "class_weight": "balanced", "metrics": ["top_2"]},
        {"lr": 0.1, "class_weight": "balanced", "standardize": True},
        {"lr": 0.1, "class_weight": {0: 2.0, 1: 0.0}, "standardize": True},
    ],
    ids=lambda options: "-".join(options),
)
def test_gradients_of_partitions_are_those_of_one_machine(client, arrays, options):
    x, y, _, weights = arrays
    options = {"epochs": 3, "seed": 3, "dtype": "float64", **options}
    parts = chunked(x, y, weights)
    model, history = fastmlp.dask.train(*parts[:2], CLASSES, sample_weight=parts[2], client=client, **options)
    if "optimizer" not in options:
        options["batch_size"] = "full"
    expected, expected_history = fastmlp.train(x, y, CLASSES, sample_weight=weights, **options)
    np.testing.assert_allclose(model.params, expected.params, atol=1e-10, rtol=0)
    assert list(history) == list(expected_history)
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, atol=1e-10)


@pytest.mark.parametrize(
    "options",
    [{"lr": 0.05}, {"lr": 0.05, "optimizer": "adamw", "batch_size": 300, "max_norm": 0.5}, {"optimizer": "lbfgs"}],
    ids=lambda options: "-".join(options),
)
def test_missing_targets_weights_of_outputs_and_frozen_layers(client, arrays, options):
    """One chunk has no target at all, and a column of another has none."""
    x, _, y, _ = arrays
    y = 10 + np.where(np.random.default_rng(0).random(y.shape) < 0.3, np.nan, y)
    y[:300], y[300:600, 1] = np.nan, np.nan
    spec = [NUMBERS[0], {"n": 8, "act": "tanh", "trainable": False}, *NUMBERS[1:]]
    options = {"epochs": 3, "seed": 3, "dtype": "float64", "standardize": True, "output_weight": [1, 3], **options}
    parts = [da.from_array(array, chunks=(300, *array.shape[1:])) for array in (x, y)]
    model, history = fastmlp.dask.train(*parts, spec, metrics=["mse"], client=client, **options)
    if "optimizer" not in options:
        options["batch_size"] = "full"
    expected, expected_history = fastmlp.train(x, y, spec, metrics=["mse"], **options)
    np.testing.assert_allclose(model.params, expected.params, atol=1e-8, rtol=0)
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-7)
    np.testing.assert_array_equal(model.weights[0], fastmlp.MLP(spec, seed=3, dtype="float64").weights[0])


def test_copies_of_frozen_layers_are_not_averaged(client, arrays):
    x, y, *_ = arrays
    spec = [CLASSES[0], {"n": 8, "act": "tanh", "trainable": False}, *CLASSES[1:]]
    parts = [da.from_array(array, chunks=(350, *array.shape[1:])) for array in (x, y)]
    model, _ = fastmlp.dask.train(*parts, spec, sync="average", epochs=2, seed=0, client=client)
    begin = fastmlp.MLP(spec, seed=0)
    np.testing.assert_array_equal(model.weights[0], begin.weights[0])
    assert not np.array_equal(model.weights[-1], begin.weights[-1])


@pytest.mark.parametrize("last", [{"act": "linear"}, {"act": "relu"}, {"act": "linear", "cost": "poisson"}])
def test_standardised_by_all_partitions(client, arrays, last):
    """Columns far from 0, one of them constant, and targets in units of their own."""
    x = np.column_stack([arrays[0][:, :4] * [1.0, 1e-3, 1e4, 1.0] + [0.0, 5.0, 1e6, -3.0], np.full(1500, 7.1)])
    y = np.abs(arrays[2] * [30.0, 0.2] + [100.0, 1.0])
    spec = [*NUMBERS[:2], {"n": 2, **last}]
    options = {"epochs": 3, "seed": 3, "dtype": "float64", "lr": 0.05, "standardize": True}
    model, history = fastmlp.dask.train(*chunked(x, y, rows=[300, 1, 199, 1000]), spec, client=client, **options)
    expected, expected_history = fastmlp.train(x, y, spec, batch_size="full", **options)
    for layer, other in ((model.spec, expected.spec), (model.spec.layers[-1], expected.spec.layers[-1])):
        for key in ("shift", "scale"):
            mine, theirs = getattr(layer, key), getattr(other, key)
            assert (mine is None) == (theirs is None)
            np.testing.assert_allclose(mine or (), theirs or (), rtol=1e-10)
    assert model.spec.scale[4] == 1.0
    np.testing.assert_allclose(model.predict(x), expected.predict(x), rtol=1e-7)
    np.testing.assert_allclose(history["loss"], expected_history["loss"], rtol=1e-8)
    rounds, _ = fastmlp.dask.train(*chunked(x, y), spec, client=client, sync="average", **options)
    assert np.isfinite(rounds.predict(x)).all() and rounds.spec.shift is not None


@pytest.mark.parametrize("name", [name for name in fastmlp.optimizers.OPTIMIZERS if name not in ("lbfgs", "lm")])
def test_a_step_on_the_client_is_the_kernels_step(name):
    from fastmlp.engine.epochs import take_step
    from fastmlp.engine.steps import OptimizerState
    from fastmlp.optimizers import get_optimizer

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 5)), rng.normal(size=(60, 2))
    limits = {"l1": 1e-3, "l2": 1e-2, "clip_norm": 0.5, "max_norm": 0.9}
    model, _ = fastmlp.train(
        x, y, NUMBERS, lr=0.05, epochs=4, batch_size="full", optimizer=name, seed=0, dtype="float64", **limits
    )
    mine = fastmlp.MLP(NUMBERS, seed=0, dtype="float64")
    state = OptimizerState.begin(get_optimizer(name), mine.params, **limits)
    for _ in range(4):
        take_step(mine, state, mine.gradient(x, y)[1], 0.05)
    np.testing.assert_allclose(mine.params, model.params, atol=1e-10, rtol=0)


# sync="average"


def averaged(client, x, y, **options):
    options = {"epochs": 3, "lr": 0.05, "seed": 1, "dropout": 0.1, **options}
    return fastmlp.dask.train(x, y, CLASSES, sync="average", client=client, **options)


def test_a_round_is_the_mean_of_what_partitions_train(client, arrays):
    """Against single trainings, in whose order each partition is put by its seed."""
    x, y = arrays[:2]
    options = {"lr": 0.05, "dtype": "float64"}
    model, _ = averaged(client, *chunked(x, y), epochs=1, dropout=0.0, **options)
    total = np.zeros(model.params.size)
    for number, start in enumerate(range(0, 1500, 400)):
        rows = start + np.random.default_rng([1, 0, number]).permutation(min(400, 1500 - start))
        own, _ = fastmlp.train(x[rows], y[rows], CLASSES, epochs=1, seed=1, shuffle=False, **options)
        total += len(rows) / 1500 * own.params
    np.testing.assert_allclose(model.params, total, atol=1e-12, rtol=0)


def die_at(chunk, folder, read):
    """Count who reads chunks, and kill the worker at that one."""
    done = len(list(Path(folder).iterdir()))
    (Path(folder) / f"{done}-{os.getpid()}-{time.time_ns()}").touch()
    if done == read:
        os.kill(os.getpid(), signal.SIGKILL)
    return chunk


def test_bits_do_not_depend_on_workers_nor_on_deaths(client, arrays, tmp_path):
    x, y = chunked(*arrays[:2])
    options = {sync: {"sync": sync, "epochs": 3, "lr": 0.05, "seed": 1} for sync in ("average", "gradient")}

    def trained(x, client, sync):
        return fastmlp.dask.train(x, y, CLASSES, client=client, **options[sync])

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as other:
        alone = {sync: trained(x, other, sync) for sync in options}
        cluster.scale(3)
        other.wait_for_workers(3)
        of_three = {sync: trained(x, other, sync) for sync in options}
    for sync in options:
        reads = tmp_path / sync
        reads.mkdir()
        dying = x.map_blocks(die_at, str(reads), 10, dtype=x.dtype, meta=x._meta)  # in a round's middle
        of_two = trained(dying, client, sync)
        assert len(list(reads.iterdir())) > 16  # the dead one's chunk was read again
        for model, history in (of_three[sync], of_two):
            assert model.params.tobytes() == alone[sync].model.params.tobytes()
            assert history == alone[sync].history


@pytest.mark.parametrize("asked", ["predict", "evaluate"])
def test_a_worker_may_die_while_it_is_asked(client, arrays, tmp_path, asked):
    x, y = chunked(*arrays[:2], rows=100)
    model = fastmlp.MLP(CLASSES, seed=0, dtype="float64")
    dying = x.map_blocks(die_at, str(tmp_path), 6, dtype=x.dtype, meta=x._meta)  # of 15
    with client.as_current():
        if asked == "predict":
            outputs = fastmlp.dask.predict(model, dying).compute()
            np.testing.assert_allclose(outputs, model.predict(arrays[0]), atol=1e-12)
        else:
            values = fastmlp.dask.evaluate(model, dying, y)
            assert values == pytest.approx(model.evaluate(*arrays[:2]), abs=1e-12)
    assert len(list(tmp_path.iterdir())) > 15  # the dead one's chunk was read again


def test_files_in_partitions(client, arrays, tmp_path):
    """Parquet, whose partitions have no known lengths, and Zarr: the same samples in the same partitions."""
    x, y = arrays[:2]
    table = pd.DataFrame(x, columns=list("vwxyz")).assign(target=y)
    dd.from_pandas(table, npartitions=3).to_parquet(tmp_path / "table")
    frame = dd.read_parquet(tmp_path / "table")
    of_parquet, _ = fastmlp.dask.train(
        frame[list("vwxyz")], frame["target"], CLASSES, sync="average", client=client, epochs=2, seed=0
    )
    for name, array in {"x": x, "y": y}.items():
        da.from_array(array, chunks=(500, *array.shape[1:])).to_zarr(str(tmp_path / name))
    stored = [da.from_zarr(str(tmp_path / name)) for name in ("x", "y")]
    of_zarr, _ = fastmlp.dask.train(*stored, CLASSES, sync="average", client=client, epochs=2, seed=0)
    assert of_parquet.params.tobytes() == of_zarr.params.tobytes()


def test_a_model_callbacks_stopping_and_validation(client, arrays, tmp_path):
    x, y = arrays[:2]
    model = fastmlp.MLP(CLASSES, seed=5)
    seen = []
    parts = chunked(x, y)
    trained, history = fastmlp.dask.train(
        *parts, model, sync="average", client=client, epochs=5, lr=0.05, seed=1, validation_data=tuple(parts),
        callbacks=lambda state: seen.append(state.epoch) or (state.epoch == 2 and state.stop()),
    )  # fmt: skip
    assert trained is model and seen == [0, 1, 2]
    assert history["val_loss"][-1] == pytest.approx(model.evaluate(x, y)["loss"], abs=1e-6)
    local = fastmlp.dask.train(
        *parts, CLASSES, client=client, epochs=4, lr=1e-9, seed=1, validation_data=(x, y),
        early_stopping=fastmlp.EarlyStopping(patience=2, min_delta=0.1),
    )  # fmt: skip
    assert local.history.epochs == 3


@pytest.mark.parametrize("sync", ["average", "gradient"])
def test_a_checkpoint_goes_on_to_the_same_bits(client, arrays, tmp_path, sync):
    x, y = chunked(*arrays[:2])
    options = {"sync": sync, "client": client, "lr": 0.05, "seed": 4, "optimizer": "adam"}
    file = tmp_path / "run.ckpt"
    fastmlp.dask.train(x, y, CLASSES, epochs=2, checkpoint=file, **options)
    going_on = fastmlp.dask.train(x, y, CLASSES, epochs=4, checkpoint=file, **options)
    whole = fastmlp.dask.train(x, y, CLASSES, epochs=4, **options)
    assert going_on.model.params.tobytes() == whole.model.params.tobytes() and going_on.history == whole.history
    with pytest.raises(ValueError, match="another run's checkpoint"):
        fastmlp.dask.train(x, y.rechunk(300), CLASSES, epochs=4, checkpoint=file, **options | {"seed": 5})


def test_divergence_names_the_cause(client, arrays):
    x, y = chunked(arrays[0], arrays[2])
    for sync in ("average", "gradient"):
        with pytest.raises(fastmlp.DivergenceError, match="lr of 1e") as caught:
            fastmlp.dask.train(x, y, NUMBERS, sync=sync, client=client, lr=1e30, epochs=5, seed=0)
        assert np.isfinite(caught.value.model.params).all()


# Bad use


def test_refusals(arrays):
    x, y = chunked(*arrays[:2])
    train, model, of_frame = fastmlp.dask.train, fastmlp.MLP(CLASSES), fastmlp.MLP(CLASSES)
    of_frame.feature_names, numbers = list("vwxyz"), fastmlp.MLP(NUMBERS)
    lazy = fastmlp.optimizers.Adam(lazy=True)
    for error, words, call in [
        (ValueError, "there is no cluster", lambda: train(x, y, CLASSES)),
        (ValueError, "batch_size is 1.*sync='average'", lambda: train(x, y, CLASSES, batch_size=1)),
        (ValueError, "dropout is for sync='average'", lambda: train(x, y, CLASSES, dropout=0.5)),
        (ValueError, "lbfgs.*sync='gradient'", lambda: train(x, y, CLASSES, sync="average", optimizer="lbfgs")),
        (ValueError, "partitions are dense", lambda: train(x, y, CLASSES, optimizer=lazy)),
        (ValueError, "sync", lambda: train(x, y, CLASSES, sync="sum")),
        (TypeError, "validation_data", lambda: train(x, y, CLASSES, validation_fraction=0.1)),
        (TypeError, "client must be", lambda: train(x, y, CLASSES, client=1)),
        (TypeError, "x must be a dask array", lambda: fastmlp.dask.predict(model, arrays[0])),
        (TypeError, "model must be", lambda: fastmlp.dask.predict(None, x)),
        (TypeError, "y must be a dask array", lambda: fastmlp.dask.evaluate(model, x, arrays[1])),
        (ValueError, "chunked along its columns", lambda: fastmlp.dask.predict(model, x.rechunk((400, 2)))),
        (ValueError, "give x.T", lambda: fastmlp.dask.predict(model, x[:7].T)),
        (ValueError, "y has 1400 rows, x has 1500", lambda: fastmlp.dask.evaluate(model, x, y[:1400])),
        (ValueError, "r2 needs the outputs of all", lambda: fastmlp.dask.evaluate(model, x, y, ["r2"])),
        (ValueError, "partition 2: x must be finite", lambda: fastmlp.dask.evaluate(model, spoilt(x), y)),
        (
            TypeError,
            "y is of dtype <U1, numbers are wanted; .*codes",
            lambda: fastmlp.dask.evaluate(numbers, x, letters(y)),
        ),
        (
            ValueError,
            "partition .: y has labels.*no names for its",
            lambda: fastmlp.dask.evaluate(model, x, letters(y)),
        ),
        (ValueError, "must be in the same order", lambda: fastmlp.dask.predict(of_frame, swapped(x))),
        (TypeError, "column 'w' of x is of dtype", lambda: fastmlp.dask.predict(model, named(x, w="a"))),
        (ValueError, "client is closed", lambda: train(x, y, CLASSES, client=closed_client())),
    ]:
        with pytest.raises(error, match=words):
            call()


def letters(y):
    return y.map_blocks(lambda numbers: np.array(["a", "b", "c"])[numbers], dtype="<U1")


def but_for_the_second(numbers, block_id):
    return numbers if block_id == (1,) else np.array(["a", "b", "c"], object)[numbers]


def swapped(x):
    return named(x)[list("wvxyz")]


def named(x, **columns):
    return dd.from_dask_array(x, columns=list("vwxyz")).assign(**columns)


def closed_client():
    client = Client(processes=False, n_workers=1, dashboard_address=":0", set_as_default=False)
    client.close()
    return client


def spoilt(x):
    return da.where(da.arange(1500, chunks=400)[:, None] == 900, np.nan, x)


def test_what_is_wrong_in_a_partition_is_said_before_training(client, arrays):
    x, y = chunked(*arrays[:2])
    with pytest.raises(ValueError, match="partition 2: x must be finite, x\\[100, 0\\] is nan"):
        fastmlp.dask.train(spoilt(x), y, CLASSES, client=client)
    with pytest.raises(ValueError, match=r"partition \d: y must hold class indices 0 to 2"):
        fastmlp.dask.train(x, y + 1, CLASSES, client=client)
    model = fastmlp.MLP(CLASSES, seed=0)
    before = model.params.copy()
    with pytest.raises(ValueError, match="partition 2: validation x must be finite"):
        fastmlp.dask.train(x, y, model, client=client, validation_data=(spoilt(x), y))
    assert np.array_equal(model.params, before)


def test_partitions_may_differ_in_dtype_and_lack_classes(client, arrays):
    """Partition 1 has neither class 1 nor float64."""
    x, y = arrays[:2]
    order = np.argsort(y == 1, kind="stable")[np.r_[0:600, -100:0, 600:1400]]
    x, y = x[order].astype(np.float32), y[order]
    parts = [dask.delayed(x[i : i + 500].astype)(kind) for i, kind in ((0, "f4"), (500, "f8"), (1000, "f8"))]
    mixed = da.concatenate([da.from_delayed(part, (500, 5), "f8") for part in parts])
    options = {"epochs": 2, "lr": 0.1, "seed": 0, "dtype": "float64", "class_weight": "balanced"}
    model, _ = fastmlp.dask.train(mixed, da.from_array(y, chunks=500), CLASSES, client=client, **options)
    expected, _ = fastmlp.train(x, y, CLASSES, batch_size="full", **options)
    np.testing.assert_allclose(model.params, expected.params, atol=1e-10, rtol=0)
    assert 1 not in y[:500]


@pytest.mark.parametrize("kind", ["<U5", object, "category", "str", "string[pyarrow]", "bool"])
def test_labels_of_all_partitions(client, arrays, kind):
    """Sorted, so that no partition has all of them, and one is empty."""
    spec = CLASSES if kind != "bool" else [*CLASSES[:2], {"n": 1, "act": "sigmoid"}]
    order = np.argsort(arrays[1], kind="stable")
    x, labels = arrays[0][order], np.array(["pear", "apple", "kiwi"])[arrays[1][order]]
    labels = labels == "pear" if kind == "bool" else labels
    frame = pd.DataFrame(x, columns=list("vwxyz")).assign(target=labels)
    table = dd.from_pandas(frame if kind in ("<U5", object) else frame.astype({"target": kind}), npartitions=4)
    x_parts, y_parts = table[list("vwxyz")], table["target"]
    if kind in ("<U5", object):
        x_parts, y_parts = chunked(x, labels.astype(kind), rows=[400, 0, 400, 700])
    options = {"epochs": 2, "lr": 0.1, "seed": 0, "dtype": "float64", "class_weight": {labels[0]: 2.0}}
    model, _ = fastmlp.dask.train(x_parts, y_parts, spec, client=client, validation_data=(x, labels), **options)
    expected, _ = fastmlp.train(frame[list("vwxyz")], labels, spec, batch_size="full", **options)
    np.testing.assert_allclose(model.params, expected.params, atol=1e-10, rtol=0)
    assert model.predict_label(x).tolist() == expected.predict_label(x).tolist()
    assert model.feature_names == (None if kind in ("<U5", object) else tuple("vwxyz"))
    values = fastmlp.dask.evaluate(model, x_parts, y_parts)
    assert values == pytest.approx(expected.evaluate(x, labels), abs=1e-10)
    assert isinstance(model.predict_label(x).tolist()[0], bool if kind == "bool" else str)


def test_labels_that_cannot_be(client, arrays):
    x, y = chunked(*arrays[:2])
    odd = y.map_blocks(but_for_the_second, dtype=object, meta=np.empty(0, object))
    missing = letters(y).astype(object).map_blocks(lambda values: np.where(values == "a", None, values), dtype=object)
    for error, words, labels, options in [
        (ValueError, r"only the labels 'a', 'b'.*class_names=\[", da.where(letters(y) == "c", "a", letters(y)), {}),
        (ValueError, r"partition \d: y has no label in row \d+, it is None", missing, {}),
        (TypeError, r"partition 1: y holds numbers, others hold labels; .*astype\(str\)", odd, {}),
        (ValueError, "class_weight names class 'd'; there are 'a', 'b', 'c'", letters(y), {"class_weight": {"d": 1}}),
        (ValueError, "'c' in row .*none of the class names", letters(y), {"class_names": ["a", "b", "d"]}),
    ]:
        with pytest.raises(error, match=words):
            fastmlp.dask.train(x, labels, CLASSES, client=client, **options)


def test_a_cluster_without_workers(arrays):
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
        pytest.raises(ValueError, match="the cluster has no workers yet"),
    ):
        fastmlp.dask.train(*chunked(*arrays[:2]), CLASSES, client=client)


def test_ctrl_c_returns_what_there_is(client, arrays):
    def interrupt(state):
        if state.epoch == 1:
            raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="interrupted in epoch 3 of 5"):
        _, history = fastmlp.dask.train(*chunked(*arrays[:2]), CLASSES, client=client, epochs=5, callbacks=interrupt)
    assert history.interrupted and history.epochs == 2


def test_without_dask_the_error_names_the_extra():
    code = "import sys\nsys.modules['dask'] = None\nimport fastmlp\nfastmlp.dask"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: fastmlp.dask needs dask: pip install 'fastmlp[dask]'" in done.stderr


ONLY_HERE = """
import numba

import only_here_too


@numba.njit
def square(z):
    return only_here_too.ONE * z * z


@numba.njit
def d_square(z):
    return 2.0 * z


def callback(state):
    pass
"""


@pytest.mark.parametrize("call", ["train", "validate", "train_many", "train_many's callback", "predict", "evaluate"])
def test_functions_that_workers_cannot_import(client, arrays, tmp_path, monkeypatch, call):
    (tmp_path / "only_here.py").write_text(ONLY_HERE)
    (tmp_path / "only_here_too.py").write_text("ONE = 1.0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "only_here", raising=False)
    import only_here

    square = fastmlp.Activation("square", only_here.square, only_here.d_square)
    spec = [*CLASSES[:1], {"n": 8, "act": square}, CLASSES[2]]
    x, y = chunked(*arrays[:2])
    options = {"client": client, "epochs": 1}
    calls = {
        "train": lambda: fastmlp.dask.train(x, y, spec, sync="average", **options),
        "validate": lambda: fastmlp.dask.train(x, y, spec, validation_data=(x, y), **options),
        "train_many": lambda: fastmlp.dask.train_many(*arrays[:2], spec, **options),
        "train_many's callback": lambda: fastmlp.dask.train_many(
            *arrays[:2], CLASSES, callbacks=only_here.callback, **options
        ),
        "predict": lambda: fastmlp.dask.predict(fastmlp.MLP(spec), x).compute(),
        "evaluate": lambda: fastmlp.dask.evaluate(fastmlp.MLP(spec), x, y),
    }
    with client.as_current(), pytest.raises(RuntimeError, match=r"workers cannot import .*only_here.*upload_file"):
        calls[call]()


# Clusters of others


def test_a_worker_with_too_little_memory(arrays, from_the_command_line):
    """Workers from the command line: one partition asks for more than its worker may have."""

    def hog(chunk, block_info=None):  # in here: such workers cannot import this file
        if block_info[0]["chunk-location"][0] == 1:
            held = np.ones(100_000_000)  # 800 MB
            time.sleep(5 * held[0])
        return chunk

    x, y = chunked(*arrays[:2])
    with from_the_command_line(*[["--memory-limit", "600MB"]] * 2) as client:
        model, _ = fastmlp.dask.train(x, y, CLASSES, client=client, epochs=1, seed=0)
        assert np.isfinite(model.params).all()
        with pytest.raises(RuntimeError, match="larger than their memory"):
            fastmlp.dask.train(x.map_blocks(hog, dtype=x.dtype, meta=x._meta), y, CLASSES, client=client, epochs=1)
