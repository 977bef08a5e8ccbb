"""How many threads run: a simulated machine, on which each number of threads has a speed of its own."""

from __future__ import annotations

import time

import pytest

from fastmlp.engine.choice import ThreadChoice

STEP = 12
SLICE = 0.02  # seconds that a call is for


class Machine:
    """A clock that pieces of work move on, by the seconds a sample takes with so many threads."""

    def __init__(self, monkeypatch, seconds, start=0.0):
        self.now, self.seconds, self.start, self.used = 0.0, seconds, start, {}
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def train(self, choice, n_samples):
        """Take samples in calls of 20 ms; return how long it took in all."""
        begin, done = self.now, 0
        while done < n_samples:
            count = min(n_samples - done, int(SLICE / self.seconds[1]) // STEP * STEP)
            for number, first, n in choice.pieces(done, count, STEP):
                assert first == done and (n % STEP == 0 or first + n == n_samples)
                self.now += self.start * (number > 1) + n * self.seconds[number]
                self.used[number] = self.used.get(number, 0) + n
                done += n
        return self.now - begin


@pytest.mark.parametrize("most", [2, 3, 8])
def test_whatever_is_fastest_does_nearly_all(most, monkeypatch):
    machine = Machine(monkeypatch, {number: 1e-5 / number for number in (1, 2, 3, 4, 8)}, start=1e-4)
    machine.train(ThreadChoice(most), 200_000)
    assert machine.used[most] > 0.85 * 200_000


def test_half_of_the_threads_may_be_best(monkeypatch):
    machine = Machine(monkeypatch, {1: 1e-5, 2: 6e-6, 4: 4e-6, 8: 2e-5})
    machine.train(ThreadChoice(8), 400_000)
    assert machine.used[4] > 0.8 * 400_000


@pytest.mark.parametrize("slower", [1.0, 1.3, 2, 10, 100])
@pytest.mark.parametrize("each", [1e-6, 1e-5, 1e-3])
def test_trials_cost_less_than_a_twentieth(slower, each, monkeypatch):
    machine = Machine(monkeypatch, {1: each, 2: slower * each}, start=1e-4)
    n_samples = int(max(1.0 / each, 20_000 * slower))
    assert machine.train(ThreadChoice(2), n_samples) < 1.05 * n_samples * each


def test_a_choice_follows_the_load(monkeypatch):
    machine, choice = Machine(monkeypatch, {1: 1e-5, 2: 6e-6}), ThreadChoice(2)
    machine.train(choice, 50_000)
    for seconds in ({1: 1e-5, 2: 3e-5}, {1: 1e-5, 2: 6e-6}):
        machine.seconds, machine.used = seconds, {}
        machine.train(choice, 200_000)
        best = min(seconds, key=seconds.get)
        assert machine.used[best] > 0.85 * 200_000


def test_one_thread_is_never_measured(monkeypatch):
    assert list(ThreadChoice(1).pieces(24, 1000, STEP)) == [(1, 24, 1000)]


def test_too_few_samples_for_a_trial_are_taken_by_one_thread(monkeypatch):
    machine, choice = Machine(monkeypatch, {1: 1e-4, 2: 1e-5}), ThreadChoice(2)
    for _ in range(500):
        machine.train(choice, 100)
    assert set(machine.used) == {1}
