"""Several threads on one model, signal handlers and callbacks inside a call, forks, and the end of the interpreter."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fastmlp


def counter():
    """A network whose bias grows by exactly lr with every sample it learns from, in whatever order."""
    model = fastmlp.MLP([{"n": 1, "act": None}, {"n": 1, "act": "linear", "cost": "mbe"}], dtype="float64")
    model.params[:] = 0.0
    return model


@pytest.mark.parametrize("batch_size", [1, 4])
def test_each_partial_fit_from_threads_is_made_whole(batch_size):
    model, calls, n_threads = counter(), 300, 6

    def learn():
        for _ in range(calls):
            model.partial_fit([[0.0]] * batch_size, [0.0] * batch_size, lr=2.0**-10, batch_size=batch_size)
            model.predict([[0.0]])

    threads = [threading.Thread(target=learn) for _ in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.biases[0][0] == n_threads * calls * 2.0**-10


def test_train_waits_for_the_other_thread():
    model, began = counter(), threading.Event()

    def slow(state):
        began.set()
        time.sleep(0.05)

    other = threading.Thread(
        target=lambda: fastmlp.train([[0.0]], [0.0], model, lr=2.0**-10, epochs=4, callbacks=slow), daemon=True
    )
    other.start()
    began.wait()
    fastmlp.train([[0.0]], [0.0], model, lr=2.0**-10, epochs=4)
    assert not other.is_alive() or model.biases[0][0] == 8 * 2.0**-10
    other.join()
    assert model.biases[0][0] == 8 * 2.0**-10


@pytest.mark.parametrize(
    "again",
    [lambda model: model.partial_fit([[0.0]], [0.0]), lambda model: fastmlp.train([[0.0]], [0.0], model, epochs=1)],
    ids=["partial_fit", "train"],
)
def test_a_callback_that_trains_the_same_model_is_refused(again):
    model, seen = counter(), []

    def callback(state):
        before = model.params.copy()
        with pytest.raises(RuntimeError, match="being trained"):
            again(model)
        np.testing.assert_array_equal(model.params, before)
        again(model.copy())
        seen.append(state.epoch)

    fastmlp.train([[0.0]], [0.0], model, epochs=2, callbacks=callback)
    assert seen == [0, 1]
    again(model)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_signal_handlers_never_enter_a_call_twice():
    model, refused, made = counter(), [], []

    def handler(number, frame):
        try:
            model.partial_fit([[0.0]], [0.0], lr=2.0**-10)
            made.append(1)
        except RuntimeError:
            refused.append(1)

    old = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    calls, end = 0, time.monotonic() + 2
    try:
        while time.monotonic() < end or not (refused and made):
            model.partial_fit([[0.0]], [0.0], lr=2.0**-10)
            calls += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert model.biases[0][0] == (calls + len(made)) * 2.0**-10


DAEMON = """
import threading, time
import fastmlp
x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
fastmlp.train(x, y, spec, epochs=1)
many = lambda: fastmlp.train_many(x, y, spec, seeds=range(4), epochs=100_000_000, n_threads=2)
threading.Thread(target=many, daemon=True).start()
time.sleep(0.5)
print("end", flush=True)
"""


def test_train_many_in_a_daemon_thread_does_not_keep_the_interpreter():
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", DAEMON], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
    assert time.monotonic() - begin < 60


FORKS = runpy.run_path(str(Path(__file__).with_name("forks.py"))) if hasattr(os, "fork") else {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("seed", [0, 2], ids=["beside threads", "in handlers"])
def test_forks_while_kernels_are_compiled(seed):
    made, _, troubles = FORKS["run"](3, seed)
    assert made == 3 and not troubles, troubles
