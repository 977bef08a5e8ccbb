"""How many threads run, where it changes no bits: whatever is fastest just now."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

__all__ = ["ThreadChoice"]

_FIRST, _SHORT, _LONG = 0.004, 0.02, 0.25  # seconds of work before the first trial, and then between two of them
_TRIAL_SECONDS, _TRIAL_SAMPLES = 0.001, 200  # how long a trial is, at least,
_WARM_UP = 0.25  # beside this share of it, for which caches fill and which is not counted
_HOPELESS = 3.0  # times the time that was expected: a trial ends after warming up
_LOSS = 0.025  # the share of the time that trials may lose
_GAIN = 0.95  # of the time a sample, or less, must another number of threads take
_MEMORY = 0.1  # seconds: the speed is an average over about so long


class ThreadChoice:
    """Chooses how many of up to ``most`` threads run, by trying.

    One thread begins. Now and then another number, of ``most`` and its halves, takes some samples: if it is faster,
    it goes on. So training is hardly slower than by one thread where threads do not run at once, where others
    use the cores, or where the network is too small for them.
    """

    def __init__(self, most: int) -> None:
        self._numbers = [1]  # to choose from, in the order in which they are tried
        while most > 1:
            self._numbers.append(most)
            most //= 2
        self._best, self._n_trials = 1, 0
        self._seconds, self._samples = 0.0, 0.0  # that the best took, and for how many samples
        self._work, self._interval = 0.0, _FIRST  # seconds since the last trial, and to the next

    def pieces(self, start: int, count: int, step: int) -> Iterator[tuple[int, int, int]]:
        """(n_threads, start, count) of pieces of the samples, for the caller's loop, which they are timed by; each but
        the last is a multiple of ``step``."""
        end = start + count
        if len(self._numbers) > 1 and self._work >= self._interval:
            start = yield from self._trial(start, end, step)
        if start < end:
            begin = time.perf_counter()
            yield self._best, start, end - start
            seconds = time.perf_counter() - begin
            self._work += seconds
            if self._seconds > _MEMORY:
                self._seconds, self._samples = self._seconds / 2, self._samples / 2
            self._seconds, self._samples = self._seconds + seconds, self._samples + end - start

    def _trial(self, start: int, end: int, step: int) -> Generator[tuple[int, int, int], None, int]:
        """Pieces for another number of threads, if there are samples enough for a trial; returns where they end."""
        each = self._seconds / self._samples
        size = int(max(_TRIAL_SAMPLES, _TRIAL_SECONDS / each))
        warm_up, size = (-(-n // step) * step for n in (int(_WARM_UP * size), size))
        if start + warm_up + size > end:
            return start
        others = [number for number in self._numbers if number != self._best]
        number = others[self._n_trials % len(others)]
        self._n_trials += 1
        begin = time.perf_counter()
        yield number, start, warm_up
        warm = time.perf_counter()
        start += warm_up
        lost = warm - begin - each * warm_up
        if lost < (_HOPELESS - 1) * each * warm_up:
            yield number, start, size
            start += size
            seconds = time.perf_counter() - warm
            if seconds < _GAIN * each * size:
                self._best, self._seconds, self._samples = number, seconds, float(size)
                self._work, self._interval = 0.0, _SHORT
                return start
            lost += seconds - each * size
        self._work, self._interval = 0.0, max(min(2 * self._interval, _LONG), lost / _LOSS)
        return start
