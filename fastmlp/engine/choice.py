"""How many threads run, if this changes no bits: the number that is fastest at the moment.

This is for per-sample SGD, and for batches whose blocks are shared. A full gradient for lbfgs is one step, in which
nothing can be tried.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Piece", "ThreadChoice"]

_FIRST, _SHORT, _LONG = 0.004, 0.02, 0.25  # seconds of work before the first trial, and then between two of them
_TRIAL_SECONDS, _TRIAL_SAMPLES = 0.001, 200  # how long a trial is, at least,
_WARM_UP = 0.25  # beside this share of it, for which caches fill and which is not counted
_PATIENCE = 3.0  # times the time that was expected: then a team stops, because others use its cores
_START = 0.001  # seconds more than that, for threads to begin
_HOPELESS, _BEGIN = 0.5, 0.0006  # a trial ends when this share, and so many seconds, were lost in warming up
_LOSS = 0.02  # the share of the time that trials may lose
_GAIN = 0.95  # of the time a sample, or less, must another number of threads take
_RAN = 0.75  # of their time must threads have a core for, or they are taken to be in somebody's way
_MEMORY = 0.1  # seconds: the speed is an average over about so long


class Piece(NamedTuple):
    """The next piece of work: how many samples, by how many threads, for how many seconds at most."""

    n_samples: int
    n_threads: int
    seconds: float
    is_trial: bool
    is_warm_up: bool


class ThreadChoice:
    """Chooses how many of up to ``most`` threads run, by trying.

    One thread begins, or ``first``. Now and then another number, of ``most`` and its halves, takes some samples: if it
    is faster, it goes on. So training is hardly slower than by one thread where threads do not run at once, where
    others use the cores, or where the network is too small for them. A short trial does not see that others take a core
    now and then: after threads that were slower in the end, the next trial waits until what they lost is little.

    Where several begin, fewer are tried when that loses little if nothing is wrong, or when something is: when the
    threads did not get their cores. Others may leave these soon, as threads do that poll for some milliseconds when
    their work is done: more are tried again before long. The first piece of several says nothing: they are made in
    it, and touch memory for the first time, which took ten times as long as the work of a first step.
    """

    def __init__(self, most: int, first: int = 1) -> None:
        self._numbers = [1]  # to choose from, in the order in which they are tried
        while most > 1:
            self._numbers.append(most)
            most //= 2
        self._best, self._n_trials = first, 0
        self._careful, self._crowded = first > 1, False
        self._begins = first > 1
        self._seconds, self._samples = 0.0, 0.0  # that the best took, and for how many samples
        self._work, self._interval = 0.0, _FIRST  # seconds since the last trial, and to the next
        self._tried, self._lost = 0, 0.0  # the number that a trial is at, once it is warm; the seconds that it lost

    def next(self, left: int, step: int) -> Piece:
        """The next piece of the samples that are left: a multiple of ``step`` of them, or all."""
        if self._tried:
            return self._piece(min(left, self._trial_size(1.0, step)), self._tried, is_trial=True)
        if len(self._numbers) > 1 and self._work >= self._interval:
            warm_up = self._trial_size(_WARM_UP, step)
            others = [number for number in self._numbers if number != self._best]
            number, size = others[self._n_trials % len(others)], warm_up + self._trial_size(1.0, step)
            loss = (self._best / number - 1) * self._expected(size) if self._careful and not self._crowded else 0.0
            if size <= left and loss <= _LOSS * self._work:
                self._n_trials += 1
                return self._piece(warm_up, number, is_trial=True, is_warm_up=True)
        return self._piece(left, self._best)

    def learn(self, piece: Piece, taken: int, seconds: float, ran: float = 1.0) -> None:
        """Record that a piece took that many samples and seconds, of which its threads had a core for the share
        ``ran``."""
        if self._begins:
            self._begins = False
            return
        if not piece.is_trial:
            if ran < _RAN:
                self._crowded, self._interval = True, min(self._interval, _SHORT)
            self._work += seconds
            if taken < piece.n_samples:  # time for a trial
                self._work = self._interval = max(self._work, _SHORT)
            if self._seconds > _MEMORY:
                self._seconds, self._samples = self._seconds / 2, self._samples / 2
            self._seconds, self._samples = self._seconds + seconds, self._samples + taken
            return
        gain = self._expected(taken) - seconds
        self._lost = max(0.0, -gain) + (0.0 if piece.is_warm_up else self._lost)
        if piece.is_warm_up and gain > -_HOPELESS * self._expected(taken) - _BEGIN:
            self._tried = piece.n_threads
            return
        crowded, self._crowded = self._crowded, False
        self._tried, self._work = 0, 0.0
        if taken == piece.n_samples and seconds < _GAIN * self._expected(taken):
            lost = self._seconds - self._samples * seconds / taken  # lately, if the old best was the slower one
            wait = piece.n_threads < self._best and not crowded
            self._interval = max(_SHORT, lost / _LOSS) if wait else _SHORT
            self._best, self._seconds, self._samples = piece.n_threads, seconds, float(taken)
        else:
            self._interval = max(min(2 * self._interval, _LONG), self._lost / _LOSS)

    def _expected(self, count: int) -> float:
        """The seconds that the best number takes for that many samples; infinite before anything is known."""
        return count * self._seconds / self._samples if self._samples else math.inf

    def _trial_size(self, share: float, step: int) -> int:
        """The number of samples in a share of a trial, in whole steps."""
        size = max(_TRIAL_SAMPLES, _TRIAL_SECONDS * self._samples / self._seconds)
        return -(-int(share * size) // step) * step

    def _piece(self, n_samples: int, n_threads: int, *, is_trial: bool = False, is_warm_up: bool = False) -> Piece:
        """A piece, with patience for a little longer than the best would take."""
        return Piece(n_samples, n_threads, self._expected(n_samples) * _PATIENCE + _START, is_trial, is_warm_up)
