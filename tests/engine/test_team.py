"""Threads that share a batch: they change no bit of what one thread makes."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp.engine import epochs as runners
from fastmlp.engine import team as teams
from fastmlp.engine.binding import Binding
from fastmlp.engine.blocks import BLOCK
from fastmlp.engine.call import KernelCall
from fastmlp.engine.choice import Piece
from fastmlp.engine.epochs import EpochRunner, Samples
from fastmlp.engine.steps import OptimizerState
from fastmlp.optimizers import SGD, Adagrad, Adam


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), Adam()], ids=str)
@pytest.mark.parametrize("widths", [(33, 64, 32, 10), (33, 20, 10)], ids=str)
def test_same_bits_for_any_number_of_threads(optimizer, widths):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(700, widths[0])), rng.integers(0, 10, 700)
    spec = [
        {"n": widths[0], "act": None},
        *({"n": n, "act": "relu"} for n in widths[1:-1]),
        {"n": 10, "act": "softmax"},
    ]
    options = {"optimizer": optimizer, "seed": 0, "epochs": 3, "batch_size": 256, "clip_norm": 1.0, "max_norm": 1.5}
    model, history = fastmlp.train(x, y, spec, n_threads=1, **options)
    for n_threads in (2, 3, 5):
        other, its_history = fastmlp.train(x, y, spec, n_threads=n_threads, **options)
        np.testing.assert_array_equal(other.params, model.params)
        assert its_history == history
    many, labels = np.tile(x, (5, 1)), np.tile(y, 5)
    np.testing.assert_array_equal(model.predict(many, n_threads=3), model.predict(many))
    assert model.evaluate(many, labels, n_threads=3) == model.evaluate(many, labels)


def _teams_together(monkeypatch):
    """A list to which every team that is made adds how many threads share its blocks, on a machine of 16 cores."""
    sizes, make = [], teams.Team.__init__

    def made(self, *arguments, **options):
        make(self, *arguments, **options)
        sizes.append(int(self.leader.job["team"]["size"]) if self.leader.job["team"]["together"] else 1)

    monkeypatch.setattr(teams.Team, "__init__", made)
    monkeypatch.setattr(runners, "usable_cores", lambda: 16)
    return sizes


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": SGD(momentum=0.9), "l2": 1e-3},
        {"optimizer": Adam(), "clip_norm": 0.1},
        {"optimizer": "rmsprop", "max_norm": 1.0, "dropout": [0.2, 0.5]},
        {"sample_weight": np.where(np.arange(700) % 3, 1.0, 0.3), "metrics": ["accuracy"]},
    ],
    ids=["sgd", "momentum, l2", "adam, clipping", "rmsprop, max_norm, dropout", "weights, a metric"],
)
@pytest.mark.parametrize("widths", [(180, 256, 96, 10), (180, 250, 90, 7)], ids=str)
@pytest.mark.parametrize("kind", ["dense", "zeros", "sparse"])
def test_same_bits_for_any_number_of_threads_that_share_blocks(monkeypatch, options, widths, kind):
    """Batches of one part, of one block or two; the last one is short, and leaves most of many threads without rows."""
    sizes = _teams_together(monkeypatch)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(700, widths[0])), rng.integers(0, widths[-1], 700)
    if kind != "dense":
        x *= rng.random(x.shape) < 0.1
    x = scipy.sparse.csr_array(x) if kind == "sparse" else x
    hidden = ("relu", "softmax") if kind == "sparse" else ("relu", "tanh")
    spec = [
        {"n": widths[0], "act": None},
        *({"n": n, "act": act} for n, act in zip(widths[1:-1], hidden, strict=True)),
        {"n": widths[-1], "act": "softmax"},
    ]
    for batch in (45, 64, 90):
        runs = [
            fastmlp.train(x, y, spec, seed=0, epochs=2, batch_size=batch, n_threads=n_threads, **options)
            for n_threads in (1, 2, 3)
        ]
        assert runs[0] == runs[1] == runs[2]
    assert sizes.count(2) >= 3 and max(sizes) == 3


def test_same_bits_however_many_threads_the_team_chooses_from_piece_to_piece(monkeypatch):
    """Pieces are whole batches."""
    used, rng = set(), np.random.default_rng(0)

    class Random:
        def __init__(self, most, first=1):
            self.most = most

        def next(self, left, step):
            assert step == 48
            number = int(rng.integers(1, self.most + 1))
            used.add(number)
            return Piece(min(left, step * int(rng.integers(1, 4))), number, 1e-9, False, False)

        def learn(self, piece, taken, seconds, ran=1.0):
            assert taken == piece.n_samples

    monkeypatch.setattr(teams, "ThreadChoice", Random)
    x, y = rng.normal(size=(500, 180)), rng.integers(0, 10, 500)
    spec = [{"n": 180}, {"n": 256, "act": "relu"}, {"n": 96, "act": "tanh"}, {"n": 10, "act": "softmax"}]
    options = {"seed": 0, "epochs": 4, "batch_size": 48}
    for optimizer in (SGD(), Adam()):
        runs = [fastmlp.train(x, y, spec, n_threads=n, optimizer=optimizer, **options) for n in (1, 2)]
        assert runs[0] == runs[1]
    assert used == {1, 2}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"optimizer": SGD(momentum=0.9), "l2": 1e-3},
        {"optimizer": SGD(momentum=0.9, lazy=True), "l2": 1e-3, "clip_norm": 0.1},
        {"optimizer": "adagrad", "clip_norm": 0.1},
        {"optimizer": Adam(lazy=True), "max_norm": 1.0},
    ],
    ids=["sgd", "momentum, l2", "lazy momentum, l2, clipping", "adagrad, clipping", "lazy adam, max_norm"],
)
@pytest.mark.parametrize("widths", [(900, 256, 96, 10), (900, 250, 7)], ids=str)
def test_same_bits_for_any_number_of_threads_that_take_sparse_rows(monkeypatch, options, widths):
    """Each row with its own columns: in batches whose blocks are shared, and in those whose parts are; the largest is
    spread over several calls."""
    monkeypatch.setattr("fastmlp.engine.epochs._LARGE", 1000)
    sizes = _teams_together(monkeypatch)
    rng = np.random.default_rng(0)
    x = scipy.sparse.random_array((1200, widths[0]), density=0.02, format="csr", rng=rng)
    y = rng.integers(0, widths[-1], len(x.indptr) - 1)
    spec = [{"n": widths[0], "act": None}, *({"n": n, "act": "tanh"} for n in widths[1:-1])]
    spec.append({"n": widths[-1], "act": "softmax"})
    for batch in (64, 90, 500, 1200):
        runs = [
            fastmlp.train(x, y, spec, seed=0, epochs=2, batch_size=batch, n_threads=n_threads, **options)
            for n_threads in (1, 2, 3)
        ]
        assert runs[0] == runs[1] == runs[2]
    assert sizes.count(2) >= 2 and max(sizes) == 3


@pytest.mark.parametrize("n_threads", [1, 2])
def test_blocks_are_shared_of_a_full_gradient(monkeypatch, n_threads):
    sizes = _teams_together(monkeypatch)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(400, 300)), rng.integers(0, 5, 400)
    spec = [{"n": 300, "act": None}, {"n": 900, "act": "tanh"}, {"n": 5, "act": "softmax"}]
    model = fastmlp.train(x, y, spec, seed=0, optimizer="lbfgs", epochs=3, n_threads=n_threads).model
    assert model == fastmlp.train(x, y, spec, seed=0, optimizer="lbfgs", epochs=3).model
    assert max(sizes) == n_threads


def test_a_thread_that_nobody_awaits_holds_the_memory_of_its_team(monkeypatch):
    """As after two Ctrl-Cs: the second one ends the waiting for the threads."""
    binding = fastmlp.MLP([{"n": 2}, {"n": 1}])._engine.binding
    team, view = teams.Team(binding, n_threads=2), binding.view(np.zeros((1, 2)))
    leader, team_ref, interrupted, alive = team.leader, weakref.ref(team), threading.Event(), []

    def run(self, workspace, **options):
        if workspace is leader:
            raise KeyboardInterrupt
        assert interrupted.wait(60)
        alive.append(team_ref() is not None)

    def interrupted_wait(followers):
        raise KeyboardInterrupt

    monkeypatch.setattr(Binding, "run", run)
    monkeypatch.setattr("concurrent.futures.wait", interrupted_wait)
    with pytest.raises(KeyboardInterrupt):
        team.run("batches", view, KernelCall(np.arange(0), BLOCK), 0, 0)
    pool = team._others
    del team
    gc.collect()
    interrupted.set()
    pool.shutdown()
    assert alive == [True]


@pytest.mark.parametrize(
    ("optimizer", "batch_size"),
    [(SGD(), 1), (SGD(momentum=0.9), 1), (Adam(), 1), (SGD(), 16), (Adam(), 16)],
    ids=["sgd", "momentum", "adam", "sgd of 16", "adam of 16"],
)
@pytest.mark.parametrize("widths", [(4, 64, 64, 2), (5, 7, 3)], ids=str)
def test_a_team_that_worked_for_another_network_makes_the_same_bits(optimizer, batch_size, widths, monkeypatch):
    """In place and with copies of the parameters; the other network, another optimiser's state and its data leave
    nothing behind, and stay what they were."""
    spec = [{"n": widths[0]}, *({"n": n, "act": "relu"} for n in widths[1:-1]), {"n": widths[-1], "act": "softmax"}]

    def trained(seed):
        x = np.random.default_rng(seed).normal(size=(50, widths[0])) * seed
        y = np.arange(50) % widths[-1]
        return fastmlp.train(x, y, spec, optimizer=optimizer, batch_size=batch_size, epochs=2, lr=1e-3, seed=seed).model

    monkeypatch.setattr(teams, "_SMALL", 1 << 30)  # fences of the checked build are large
    teams._idle.cache_clear()
    first = trained(1)
    teams._idle.cache_clear()
    other = trained(2)
    others = other.params.copy()
    made = _teams_together(monkeypatch)
    again = trained(1)
    assert not made
    np.testing.assert_array_equal(again.params, first.params)
    np.testing.assert_array_equal(other.params, others)


@pytest.mark.parametrize("batch_size", [1, 16])
@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9, lazy=True), Adagrad(), Adam(lazy=True)], ids=str)
@pytest.mark.parametrize("widths", [(40, 16, 3), (40, 7, 3)], ids=str)
def test_a_team_takes_dense_rows_after_sparse_ones_and_these_again(optimizer, batch_size, widths, monkeypatch):
    """In place and with copies: other inputs that batches had, and gradients of all inputs, leave nothing behind."""
    spec = [{"n": widths[0]}, {"n": widths[1], "act": "tanh"}, {"n": widths[2], "act": "softmax"}]
    y = np.arange(50) % widths[2]

    def trained(seed, density):
        rng = np.random.default_rng(seed)
        x = scipy.sparse.random_array((50, widths[0]), density=density, format="csr", rng=rng)
        same = replace(optimizer, lazy=False) if density == 1.0 and optimizer.lazy else optimizer
        x = x.toarray() if density == 1.0 else x
        return fastmlp.train(x, y, spec, optimizer=same, batch_size=batch_size, epochs=2, seed=seed).model.params

    monkeypatch.setattr(teams, "_SMALL", 1 << 30)  # fences of the checked build are large
    works = [(1, 0.04), (2, 0.04), (3, 1.0), (4, 0.3), (1, 0.04), (3, 1.0)]
    alone = []
    for work in works:
        teams._idle.cache_clear()
        alone.append(trained(*work))
    teams._idle.cache_clear()
    made = _teams_together(monkeypatch)
    for work, params in zip(works, alone, strict=True):
        np.testing.assert_array_equal(trained(*work), params)
    assert len(made) <= 2  # with copies and without


def test_idle_teams_keep_no_network_alive_and_are_few():
    spec = [{"n": 4}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "linear"}]
    teams._idle.cache_clear()
    x, y = np.zeros((8, 4)), np.zeros(8)
    model, _ = fastmlp.train(x, y, spec, epochs=1)
    gone = weakref.ref(model.params.base)
    del model
    gc.collect()
    assert gone() is None
    barrier = threading.Barrier(12)

    def wait_and_train():
        def wait(state):
            barrier.wait()

        fastmlp.train(x, y, spec, epochs=1, callbacks=wait)

    threads = [threading.Thread(target=wait_and_train) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    model, _ = fastmlp.train(x, y, spec, epochs=1)
    runner = EpochRunner(model, Samples(x, y[:, None]), 1, {}, OptimizerState.begin(SGD(), model.params), [], 1)
    assert 0 < len(runner._team._idle) <= teams._MOST_IDLE


@pytest.mark.parametrize("error", [KeyError, fastmlp.DivergenceError])
def test_a_team_is_not_lent_again_after_an_error(error, monkeypatch):
    spec = [{"n": 4}, {"n": 8, "act": "relu"}, {"n": 1, "act": "linear"}]
    x, y = np.ones((8, 4)), np.ones(8)
    teams._idle.cache_clear()

    def fail(state):
        raise KeyError

    lr, callbacks = (1e30, ()) if error is fastmlp.DivergenceError else (0.01, fail)
    with pytest.raises(error):
        fastmlp.train(x, y, spec, lr=lr, epochs=5, callbacks=callbacks)
    made = _teams_together(monkeypatch)
    fastmlp.train(x, y, spec, epochs=1)
    assert len(made) == 1
    fastmlp.train(x, y, spec, epochs=1)
    assert len(made) == 1
