"""fastmlp.dask.train_many: the networks of the local call, by workers that come, go and are called back."""

from __future__ import annotations

import os
import signal
import threading
import time

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

import fastmlp
import fastmlp.dask
from fastmlp.base.cores import usable_cores
from fastmlp.dask.chunks import Chunks
from fastmlp.model.sweep import Part, Sweep

pytestmark = pytest.mark.filterwarnings("default")  # distributed's own, of sockets and processes that end

SMALL = [{"n": 5, "act": None}, {"n": 8, "act": "tanh"}, {"n": 3, "act": "softmax"}]
WIDE = [{"n": 5, "act": None}, {"n": 64, "act": "tanh"}, {"n": 64, "act": "tanh"}, {"n": 3, "act": "softmax"}]


def assert_same_bits(far, near):
    assert len(far) == len(near)
    for one, other in zip(far, near, strict=True):
        assert one.settings == other.settings and one.history == other.history
        assert one.model.spec == other.model.spec and one.model.params.tobytes() == other.model.params.tobytes()
        assert str(one.error) == str(other.error)


@pytest.fixture
def five_hundred(arrays):
    """Arguments for 500 networks: side by side and alone, of which some diverge."""
    options = {"seeds": range(25), "grid": {"lr": [0.01, 0.02, 0.05, 0.1, 1e5], "l2": [0.0, 1e-3]}, "epochs": 6}
    return (*arrays[:2], [SMALL, WIDE]), options


@pytest.fixture(scope="module")
def near():
    """Networks that the local call trained, by its options."""
    return {}


@pytest.mark.parametrize("death", [False, True], ids=["", "a worker dies"])
def test_five_hundred_networks_have_the_bits_of_the_local_call(client, five_hundred, near, monkeypatch, death):
    arguments, options = five_hundred
    took, n_chunks, killed = Chunks.took, [], []

    def kill_at_the_fifth(self, chunk, seconds):
        n_chunks.append(sum(part.stop - part.start for part in chunk))
        if death and len(n_chunks) == 5:
            pids = client.run(os.getpid)
            address = max(client.processing().items(), key=lambda item: len(item[1]))[0]
            killed.append(pids[address])
            os.kill(killed[0], signal.SIGKILL)
        took(self, chunk, seconds)

    monkeypatch.setattr(Chunks, "took", kill_at_the_fifth)
    with pytest.warns(RuntimeWarning, match=r"\d+ of 500 networks diverged"):
        far = fastmlp.dask.train_many(*arguments, client=client, **options)
    if not near:
        with pytest.warns(RuntimeWarning, match=r"\d+ of 500 networks diverged"):
            near["networks"] = fastmlp.train_many(*arguments, **options)
    assert_same_bits(far, near["networks"])
    assert sum(n_chunks) == 500 and 8 < len(n_chunks) < 200
    assert len(killed) == death and not set(killed) & set(client.run(os.getpid).values())


def test_where_the_only_worker_dies_all_is_sent_again(arrays, monkeypatch):
    arguments = (*arrays[:2], WIDE)
    took, killed = Chunks.took, []

    def kill_once(self, chunk, seconds):
        if not killed:
            killed.extend(other.run(os.getpid).values())
            os.kill(killed[0], signal.SIGKILL)
        took(self, chunk, seconds)

    monkeypatch.setattr(Chunks, "took", kill_once)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster) as other:
        far = fastmlp.dask.train_many(*arguments, seeds=range(40), epochs=5, client=other)
    assert killed
    assert_same_bits(far, fastmlp.train_many(*arguments, seeds=range(40), epochs=5))


@pytest.mark.parametrize(
    "options",
    [
        {"validation_fraction": 0.2, "early_stopping": 2},
        {"standardize": True, "batch_size": 32},
        {"dtype": "float64", "lanes": False},
        {"class_weight": "balanced", "dropout": 0.2, "metrics": ["top_2"]},
    ],
    ids=lambda options: "-".join(options),
)
def test_options(client, arrays, options):
    options = {"seeds": (seed for seed in range(9)), "epochs": 4, "lr": 0.05, **options}
    far = fastmlp.dask.train_many(*arrays[:2], SMALL, client=client, **options)
    assert_same_bits(far, fastmlp.train_many(*arrays[:2], SMALL, **options | {"seeds": range(9)}))


def test_validation_data_and_weights_are_sent_too(client, arrays):
    x, y, _, weights = arrays
    options = {"validation_data": (x[:300], y[:300]), "sample_weight": weights, "seeds": [3, 5], "epochs": 2}
    far = fastmlp.dask.train_many(x, y, SMALL, client=client, **options)
    assert_same_bits(far, fastmlp.train_many(x, y, SMALL, **options))


def test_labels_and_names_of_columns(client, arrays):
    frame = pd.DataFrame(arrays[0], columns=list("vwxyz"))
    labels = pd.Series(np.array(["a", "b", "c"])[arrays[1]]).astype("category")
    options = {"seeds": range(3), "epochs": 2}
    far = fastmlp.dask.train_many(frame, labels, SMALL, client=client, **options)
    assert_same_bits(far, fastmlp.train_many(frame, labels, SMALL, **options))
    assert far[2].model.class_names == ("a", "b", "c") and far[2].model.feature_names == tuple("vwxyz")


def test_sparse_x(client, arrays):
    from scipy.sparse import csr_array

    x = csr_array(np.maximum(arrays[0], 1.0) - 1.0)
    far = fastmlp.dask.train_many(x, arrays[1], SMALL, client=client, seeds=range(3), epochs=2)
    assert_same_bits(far, fastmlp.train_many(x, arrays[1], SMALL, seeds=range(3), epochs=2))


def test_models_go_on_in_place(client, arrays):
    models = [fastmlp.MLP(SMALL, seed=seed) for seed in range(3)]
    near = fastmlp.train_many(*arrays[:2], [model.copy() for model in models], epochs=2, seed=0)
    far = fastmlp.dask.train_many(*arrays[:2], models, client=client, epochs=2, seed=0)
    assert_same_bits(far, near)
    assert [one.model for one in far] == models and all(a.model is b for a, b in zip(far, models, strict=True))


def test_whether_networks_lie_side_by_side_is_what_the_client_decided(arrays):
    arguments = (*arrays[:2], SMALL, range(3), None, 1, False)
    sweep = Sweep.checked(*arguments, None, {})
    assert sweep.decisions == b"\1"
    assert Sweep.checked(*arguments, b"\0", {}).decisions == b"\0"


def test_what_a_callback_raises_says_in_which_run(client, arrays):
    def fail(state):
        if state.epoch == 1:
            raise ArithmeticError("enough")

    with pytest.raises(ArithmeticError, match="enough") as caught:
        fastmlp.dask.train_many(*arrays[:2], SMALL, client=client, seeds=[7], epochs=3, callbacks=fail)
    assert caught.value.__notes__ == ["in a run of train_many with {'spec': 0, 'seed': 7}"]


def test_progress_has_a_line_a_network(client, arrays, capsys):
    fastmlp.dask.train_many(*arrays[:2], SMALL, client=client, seeds=range(4), epochs=1, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["1/4", "2/4", "3/4", "4/4"] and "loss" in lines[0]


def test_ctrl_c_calls_networks_back_from_the_middle_of_their_training(client, arrays):
    def interrupt():
        deadline = time.monotonic() + 60
        while sum(map(len, client.processing().values())) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    x, y = arrays[:2]
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.warns(RuntimeWarning, match="interrupted: 0 of 4 networks are trained"):
        networks = fastmlp.dask.train_many(x, y, WIDE, client=client, seeds=range(4), epochs=10_000_000)
    thread.join()
    assert len(networks) == 0
    assert client.submit(sum, [1, 2], pure=False).result(timeout=60) == 3  # the workers' threads are free again


def test_more_threads_than_cores_are_said_and_not_used(client, arrays):
    n_threads = usable_cores() + 1
    with pytest.warns(UserWarning, match=f"n_threads is {n_threads}, but the workers of .* run 2 tasks at a time"):
        far = fastmlp.dask.train_many(*arrays[:2], WIDE, client=client, seeds=range(4), epochs=1, n_threads=n_threads)
    assert_same_bits(far, fastmlp.train_many(*arrays[:2], WIDE, seeds=range(4), epochs=1))
    parts = [da.from_array(array, chunks=(400, *array.shape[1:])) for array in arrays[:2]]
    with pytest.warns(UserWarning, match="give workers fewer threads"):
        fastmlp.dask.train(*parts, SMALL, client=client, epochs=1, n_threads=n_threads)


def test_refusals(arrays):
    x, y = arrays[:2]
    train_many = fastmlp.dask.train_many
    for error, words, call in [
        (ValueError, "there is no cluster", lambda: train_many(x, y, SMALL)),
        (TypeError, r"x is a Dask collection.*x\.compute", lambda: train_many(da.from_array(x), y, SMALL)),
        (TypeError, "client must be", lambda: train_many(x, y, SMALL, client=1)),
        (ValueError, "x has 4 features", lambda: train_many(x[:, :4], y, SMALL)),
        (TypeError, "no option 'epoch'", lambda: train_many(x, y, SMALL, epoch=3)),
        (ValueError, "n_threads", lambda: train_many(x, y, SMALL, n_threads=0)),
        (ValueError, "lanes=True: .*dropout", lambda: train_many(x, y, SMALL, dropout=0.5, lanes=True)),
    ]:
        with pytest.raises(error, match=words):
            call()


# How many networks make a chunk


def test_chunks_have_every_network_once_and_take_about_as_long():
    """A cluster of four threads in virtual time, whose networks take other times than their costs say."""
    strands = [Part(0, 0, 3000), Part(1, 0, 700), *(Part(combination, 0, 1) for combination in range(2, 900))]
    cost, step = {0: 1.0, 1: 5.0}, {0: 32, 1: 32}
    chunks = Chunks(strands, lambda c: cost.get(c, 100.0), lambda c: step.get(c, 1))
    free, done, sizes = [0.0] * 4, set(), []
    while chunk := chunks.next(4):
        seconds = sum((p.stop - p.start) * {0: 0.002, 1: 0.02}.get(p.combination, 0.05) for p in chunk)
        done |= {(p.combination, number) for p in chunk for number in range(p.start, p.stop)}
        assert all(p.start % step.get(p.combination, 1) == 0 for p in chunk)
        free[free.index(min(free))] += seconds
        sizes.append(seconds)
        chunks.took(chunk, seconds)
    assert len(done) == 3000 + 700 + 898
    assert sum(sizes) / max(free) > 3.9 and len(sizes) < 250 and max(sizes[1:]) < 4
