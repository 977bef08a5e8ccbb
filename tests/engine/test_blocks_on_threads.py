"""Per-sample SGD whose blocks are shared by threads: the same bits for any number of them, whatever the options."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import scipy.sparse

import fastmlp
from fastmlp import reference
from fastmlp.engine import epochs as runners
from fastmlp.engine import team as teams
from fastmlp.engine.binding import Binding
from fastmlp.engine.blocks import sample_block, strips
from fastmlp.engine.choice import Piece
from fastmlp.engine.epochs import EpochRunner, Samples
from fastmlp.engine.steps import OptimizerState
from fastmlp.optimizers import SGD

OPTIMIZERS = [SGD(), SGD(momentum=0.9), SGD(momentum=0.8, nesterov=True)]
# Padded or in place, two strips to eight, with and without deeper layers.
WIDTHS = [(40, 130, 3), (33, 128, 10), (20, 512, 20, 5), (5, 200, 64, 3), (30, 300)]


@pytest.fixture
def on_threads(monkeypatch):
    """A function that makes training use just so many threads, on any machine; or a new random number all the time."""

    def use(number):
        rng = np.random.default_rng(0)

        class Fixed:
            def __init__(self, most, first=1):
                self.most = most

            def next(self, left, step):
                if number != "random":
                    return Piece(left, min(number, self.most), math.inf, False, False)
                late = rng.choice([1e-5, 1e-3, math.inf])
                return Piece(
                    min(left, step * rng.integers(1, 6)), int(rng.integers(1, self.most + 1)), late, False, False
                )

            def learn(self, piece, taken, seconds, ran=1.0):
                assert 0 < taken <= piece.n_samples

        monkeypatch.setattr(teams, "ThreadChoice", Fixed)
        monkeypatch.setattr(runners, "usable_cores", lambda: 16)

    return use


def samples(widths, n, density=1.0):
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, widths[0])) * (rng.random((n, widths[0])) < density)
    return x, rng.integers(0, widths[-1], n)


def network(widths, act="relu", **first):
    layers = [{"n": n, "act": act} for n in widths[1:-1]]
    return [{"n": widths[0], "act": None, **first}, *layers, {"n": widths[-1], "act": "softmax"}]


def trained(on_threads, x, y, spec, numbers=(1, 2, 3, 4, "random"), **options):
    """The results of training with each number of threads."""
    options = {"lr": 0.003, "epochs": 3, "seed": 1, **options}
    results = []
    for number in numbers:
        on_threads(number)
        results.append(fastmlp.train(x, y, spec, n_threads=1 if number == 1 else 8, **options))
    return results


def assert_same(results):
    for other in results[1:]:
        np.testing.assert_array_equal(other.model.params, results[0].model.params)
        assert other == results[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("n", [1, 13, 301])
def test_same_bits_for_any_number_of_threads(n, widths, optimizer, dtype, on_threads):
    assert_same(trained(on_threads, *samples(widths, n), network(widths), optimizer=optimizer, dtype=dtype))


OPTIONS = {
    "dropout, weights": {"dropout": 0.3, "sample_weight": np.arange(150) % 4},
    "clipping, l2": {"clip_norm": 0.5, "l2": 1e-3},
    "metrics": {"metrics": "top_k"},
    "a schedule": {"lr": fastmlp.schedules.Exponential(0.01, 0.9), "epochs": 20},
    "validation": {"validation_fraction": 0.2, "early_stopping": 2},
    "a callback": {"callbacks": lambda state: state.model.params.copy()},
    "many epochs": {"epochs": 60},
    "as they come": {"shuffle": False, "class_weight": "balanced"},
    "a strong l2, no modes": {"l2": 3.0},
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS[:2], ids=str)
@pytest.mark.parametrize("options", OPTIONS)
def test_same_bits_with_every_option(options, optimizer, on_threads):
    widths = (20, 200, 16, 3)
    assert_same(trained(on_threads, *samples(widths, 150), network(widths), optimizer=optimizer, **OPTIONS[options]))


@pytest.mark.parametrize("kind", ["zeros", "sparse", "few values a row", "pixels", "columns"])
@pytest.mark.parametrize("act", ["tanh", "softmax"])
def test_same_bits_for_every_kind_of_samples(act, kind, on_threads):
    widths, first = (70, 256, 4), {}
    x, y = samples(widths, 130, density=0.03 if kind == "few values a row" else 0.1)
    if kind in ("sparse", "few values a row"):
        x = scipy.sparse.csr_array(x)
    elif kind == "pixels":
        x, first = (np.abs(x) * 80).clip(0, 255).astype(np.uint8), {"shift": 3.0, "scale": 1 / 255}
    elif kind == "columns":
        x = np.asfortranarray(x[:, :])
    for optimizer in OPTIMIZERS[:2]:
        assert_same(trained(on_threads, x, y, network(widths, act, **first), optimizer=optimizer))


@pytest.mark.parametrize("number", [2, 3, "random"])
@pytest.mark.parametrize("widths", [(40, 130, 3), (20, 256, 20, 5)], ids=str)
def test_threads_make_what_the_reference_makes(widths, number, on_threads):
    x, y = samples(widths, 100, density=0.6)
    model = fastmlp.MLP(network(widths, "tanh"), seed=1, dtype="float64")
    start = [w.copy() for w in model.weights], [b.copy() for b in model.biases]
    on_threads(number)
    _, history = fastmlp.train(x, y, model, lr=0.02, epochs=2, shuffle=False, n_threads=3)
    targets = reference.targets(model.spec, y)
    weights, biases, losses = reference.train(model.spec, *start, x, targets, 0.02, 2, 1, [np.arange(100)] * 2)
    for ours, theirs in zip([*model.weights, *model.biases], [*weights, *biases], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(history["loss"], losses, rtol=1e-10)


def test_divergence_leaves_the_same_weights(on_threads):
    widths, seen = (20, 130, 3), []
    x, y = samples(widths, 50)
    for number in (1, 2, "random"):
        on_threads(number)
        with pytest.raises(fastmlp.DivergenceError) as caught:
            fastmlp.train(x, y, network(widths), epochs=40, seed=0, n_threads=4, lr=lambda epoch: 0.01 * 1e3**epoch)
        seen.append((caught.value.epoch, caught.value.model, caught.value.history))
    assert seen[0] == seen[1] == seen[2]


def runner(n_threads, n):
    """A runner of epochs of momentum that is about to see n samples; its network."""
    widths = (40, 256, 10)
    x, y = samples(widths, n)
    model = fastmlp.MLP(network(widths), seed=0)
    state = OptimizerState.begin(SGD(momentum=0.9), model.params)
    return EpochRunner(model, Samples(x, y), 1, {}, state, [], n_threads), model


@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01])
def test_a_long_call_stops_between_two_samples(n_threads, seconds, on_threads, monkeypatch):
    """What was learnt until then is what one thread learns from so many samples; but for rounding, because the last
    block of these has fewer rows than the block that was stopped in."""
    monkeypatch.setattr(teams, "LONG", 0)
    on_threads(n_threads)
    n = 4000
    interrupted, model = runner(n_threads, n)

    def stop():
        time.sleep(seconds)
        interrupted._team._shared["stop"] = 1

    other = threading.Thread(target=stop)
    kernel, call = interrupted._call(np.arange(n), 1e-3)
    other.start()
    interrupted._team._run_piece(n_threads, kernel, interrupted._view, call, 0, n)
    other.join()
    learnt = interrupted._state.count
    one, same = runner(1, n)
    if learnt:
        _, call = one._call(np.arange(n), 1e-3)
        one._team._run_piece(1, kernel, one._view, call, 0, learnt)
    np.testing.assert_allclose(model.params, same.params, rtol=0, atol=1e-6)
    interrupted.close(), one.close()


def test_a_member_that_fails_ends_the_call_of_all(on_threads, monkeypatch):
    on_threads(3)
    three, _ = runner(3, 100)
    kernel, call = three._call(np.arange(100), 1e-3)
    run = Binding.run

    def fail(self, workspace, **options):
        if workspace is three._team._workspaces[2]:
            raise MemoryError("no memory")
        run(self, workspace, **options)

    monkeypatch.setattr(Binding, "run", fail)
    with pytest.raises(MemoryError, match="no memory"):
        three._team.run(kernel, three._view, call, 0, 100)
    monkeypatch.setattr(Binding, "run", run)
    three._team.run(kernel, three._view, call, 0, 100)
    assert np.isfinite(call.totals).all()
    three.close()


def test_threads_are_for_wide_first_layers():
    """A member has at least 64 columns in float32, 32 in float64."""
    assert [strips(width, 4) for width in (1, 64, 65, 128, 129, 512)] == [1, 1, 2, 2, 3, 8]
    assert [strips(width, 8) for width in (1, 32, 33, 64, 512)] == [1, 1, 2, 2, 16]
    assert sample_block(65, 4) == 12


FORK = """
import os, sys
import numpy as np
import fastmlp
from fastmlp.engine import epochs, team
from fastmlp.engine.choice import Piece

class Two:
    def __init__(self, most, first=1):
        self.most = most

    def next(self, left, step):
        return Piece(left, self.most, float("inf"), False, False)

    def learn(self, piece, taken, seconds, ran=1.0):
        assert taken == piece.n_samples

team.ThreadChoice, epochs.usable_cores = Two, lambda: 2
rng = np.random.default_rng(0)
x, y = rng.normal(size=(60, 9)), rng.integers(0, 3, 60)
spec = [{"n": 9, "act": None}, {"n": 128, "act": "relu"}, {"n": 3, "act": "softmax"}]
children = []

def fork(state):
    if state.epoch == 2 and not children:
        children.append(os.fork())

model = fastmlp.train(x, y, spec, epochs=6, seed=0, n_threads=2, callbacks=fork).model
same = model == fastmlp.train(x, y, spec, epochs=6, seed=0).model
if not children[0]:
    os._exit(0 if same else 3)
assert same and os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
print("same")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_of_a_callback_goes_on_with_threads_of_its_own():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "same\n"), done.stderr
