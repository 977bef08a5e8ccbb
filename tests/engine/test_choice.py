"""How many threads run: a simulated machine, on which each number of threads has a speed of its own."""

from __future__ import annotations

import pytest

from fastmlp.engine.choice import ThreadChoice

STEP = 12
SLICE = 0.02  # seconds that a call is for


class Machine:
    """It takes so many seconds a sample for each number of threads, and so many to begin with more than one.

    With a ``stall``, several threads lose so many seconds after each 10 ms of work, and no piece ends early.
    """

    def __init__(self, seconds, start=0.0, stall=0.0):
        self.seconds, self.start, self.stall, self.used = seconds, start, stall, {}
        self.work = 0.0  # of several threads

    def train(self, choice, n_samples):
        """Take samples in calls of 20 ms; return how long it takes in all."""
        total, done = 0.0, 0
        while done < n_samples:
            left = min(n_samples - done, int(SLICE / self.seconds[1]) // STEP * STEP)
            while left:
                piece = choice.next(left, STEP)
                assert 0 < piece.n_samples <= left and (piece.n_samples % STEP == 0 or piece.n_samples == left)
                start, each = self.start * (piece.n_threads > 1), self.seconds[piece.n_threads]
                taken = piece.n_samples
                if not self.stall and piece.n_threads > 1 and start + taken * each > piece.seconds:
                    taken = min(taken, max(1, int((piece.seconds - start) / each / STEP)) * STEP)
                seconds = start + taken * each
                if piece.n_threads > 1:
                    stalls = int((self.work + seconds) / 0.01) - int(self.work / 0.01)
                    self.work += seconds
                    seconds += self.stall * stalls
                choice.learn(piece, taken, seconds)
                self.used[piece.n_threads] = self.used.get(piece.n_threads, 0) + taken
                total, left, done = total + seconds, left - taken, done + taken
        return total


@pytest.mark.parametrize("most", [2, 3, 8])
def test_whatever_is_fastest_does_nearly_all(most):
    machine = Machine({number: 1e-5 / number for number in (1, 2, 3, 4, 8)}, start=1e-4)
    machine.train(ThreadChoice(most), 200_000)
    assert machine.used[most] > 0.85 * 200_000


def test_half_of_the_threads_may_be_best():
    machine = Machine({1: 1e-5, 2: 6e-6, 4: 4e-6, 8: 2e-5})
    machine.train(ThreadChoice(8), 400_000)
    assert machine.used[4] > 0.8 * 400_000


@pytest.mark.parametrize("slower", [1.0, 1.3, 2, 10, 100])
@pytest.mark.parametrize("each", [1e-6, 1e-5, 1e-3])
def test_trials_cost_less_than_a_twentieth(slower, each):
    machine = Machine({1: each, 2: slower * each}, start=1e-4)
    n_samples = int(max(1.0 / each, 20_000))
    assert machine.train(ThreadChoice(2), n_samples) < 1.05 * n_samples * each


def test_threads_that_begin_are_left_to_work_where_a_step_is_long():
    """Steps of 12 samples that take 12 and 7 ms: a trial of one thread loses 5 ms and more."""
    machine, n_samples = Machine({1: 1e-3, 2: 6e-4}, start=1e-4), 3000
    machine.train(ThreadChoice(2, first=2), n_samples)
    assert machine.used[2] > 0.97 * n_samples


def test_what_threads_take_to_begin_is_not_their_speed():
    """A first step of 9 ms, of which 8.5 are for making threads and loading a kernel: seen with steps of 0.5 ms."""
    machine, choice = Machine({1: 1.4e-5, 2: 8e-6}), ThreadChoice(2, first=2)
    choice.learn(choice.next(64, 64), 64, 0.009, ran=0.18)
    machine.train(choice, 20_000)
    assert machine.used[2] > 0.9 * 20_000


def test_threads_that_begin_and_do_not_get_their_cores_end_soon():
    choice, calls = ThreadChoice(2, first=2), []
    while not calls or calls[-1].n_threads == 2 or calls[-1].is_trial:
        piece = choice.next(1200, STEP)
        calls.append(piece)
        choice.learn(piece, piece.n_samples, piece.n_samples * (2e-5 if piece.n_threads == 2 else 1e-5), ran=0.5)
    assert [piece.n_threads for piece in calls] == [2, 2, 1, 1, 1], "the first piece says nothing"
    assert len({piece.n_samples for piece in calls[2:4]} | {1200}) == 3, "the trial is short"


def test_threads_that_were_in_the_way_of_others_are_soon_tried_again():
    """PyTorch's threads poll for 10 ms after their work."""
    choice, clock, used = ThreadChoice(2, first=2), 0.0, {1: 0, 2: 0}
    while clock < 0.2:
        piece = choice.next(2400, STEP)
        crowded = piece.n_threads == 2 and clock < 0.01
        seconds = piece.n_samples * {1: 1.8e-6, 2: 2.1e-6 if crowded else 1.1e-6}[piece.n_threads]
        choice.learn(piece, piece.n_samples, seconds, ran=0.52 if crowded else 1.0)
        used[piece.n_threads] += piece.n_samples
        clock += seconds
    assert 0 < used[1] < 0.15 * sum(used.values())


@pytest.mark.parametrize("stall", [0.02, 0.05, 0.2])
def test_threads_that_wait_for_a_core_now_and_then_cost_little(stall):
    """Most trials of two threads are fast, for they end before the next stall."""
    machine = Machine({1: 1e-5, 2: 6e-6}, start=1e-4, stall=stall)
    assert machine.train(ThreadChoice(2), 1_000_000) < 1.06 * 10


def test_a_choice_follows_the_load():
    machine, choice = Machine({1: 1e-5, 2: 6e-6}), ThreadChoice(2)
    machine.train(choice, 50_000)
    for seconds in ({1: 1e-5, 2: 3e-5}, {1: 1e-5, 2: 6e-6}):
        machine.seconds, machine.used = seconds, {}
        machine.train(choice, 200_000)
        best = min(seconds, key=seconds.get)
        assert machine.used[best] > 0.85 * 200_000


def test_one_thread_is_never_measured():
    machine, choice = Machine({1: 1e-5}), ThreadChoice(1)
    machine.train(choice, 100_000)
    assert choice.next(1000, STEP)[:2] == (1000, 1)


def test_too_few_samples_for_a_trial_are_taken_by_one_thread():
    machine, choice = Machine({1: 1e-4, 2: 1e-5}), ThreadChoice(2)
    for _ in range(500):
        machine.train(choice, 100)
    assert set(machine.used) == {1}
