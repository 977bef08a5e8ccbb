"""How many threads run, where it changes no bits: whatever is fastest just now."""

from __future__ import annotations

import time
from collections.abc import Iterator

__all__ = ["ThreadChoice"]

_FIRST, _LATER = 0.02, 0.25  # seconds of work between two trials: at first, and when they found nothing better
_TRIAL = 0.001  # seconds of work that a trial is for
_LOSS = 0.025  # the share of the time that trials may lose
_GAIN = 0.95  # of the time a sample, or less, must another number of threads take


class ThreadChoice:
    """Chooses how many of up to ``most`` threads run, by trying.

    One thread begins. Now and then another number, of ``most`` and its halves, takes a few samples: if it takes less
    time for each, it goes on. So training is hardly slower than by one thread where threads do not run at once, where
    others need the cores, or where the network is too small for them.
    """

    def __init__(self, most: int) -> None:
        self._numbers = [1]
        while most > 1:
            self._numbers.append(most)
            most //= 2
        self._best, self._seconds = 1, 0.0  # and what a sample takes with it
        self._work, self._interval, self._trials = 0.0, _FIRST, 0

    def pieces(self, start: int, count: int, step: int) -> Iterator[tuple[int, int, int]]:
        """(n_threads, start, count) of pieces of the samples, for the caller's loop, which they are timed by; each but
        the last is a multiple of ``step``."""
        end = start + count
        while start < end:
            number, count = self._best, end - start
            if self._work >= self._interval and len(self._numbers) > 1:
                number = self._another()
                count = min(count, max(step, int(_TRIAL / self._seconds) // step * step))
            begin = time.perf_counter()
            yield number, start, count
            self._learn(number, count, time.perf_counter() - begin)
            start += count

    def _another(self) -> int:
        """The number of threads to try next."""
        others = [number for number in self._numbers if number != self._best]
        self._trials += 1
        return others[self._trials % len(others) - 1]

    def _learn(self, number: int, count: int, seconds: float) -> None:
        """Take note of the time that a piece took."""
        each = max(seconds, 1e-9) / count
        if number == self._best:
            self._seconds = (self._seconds + each) / 2 if self._seconds else each
            self._work += seconds
            return
        self._work = 0.0
        if each < _GAIN * self._seconds:
            self._best, self._seconds, self._interval = number, each, _FIRST
        else:
            loss = seconds - count * self._seconds
            self._interval = max(min(2 * self._interval, _LATER), loss / _LOSS)
