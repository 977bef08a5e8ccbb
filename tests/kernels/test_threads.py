"""The numbers and the barrier that the members of a team share."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit

from fastmlp.engine.team import _waiting
from fastmlp.kernels import threads
from fastmlp.kernels.decorators import record_at
from fastmlp.kernels.layout import JOB, SHARED, aligned


def at(array) -> int:
    """The array's address."""
    return array.ctypes.data


def test_atomic_numbers(guarded):
    add, load = njit(lambda a, n: threads.atomic_add(a, n)), njit(lambda a: threads.atomic_load(a))
    number = guarded(np.array([40]))
    assert add(at(number), 5) == 40
    assert load(at(number)) == 45 == number[0]


def team_of(size, shared):
    """A job for each member, with nothing but its team."""
    jobs = np.zeros(size, JOB)
    jobs["team"]["size"], jobs["team"]["member"] = size, range(size)
    jobs["team"]["shared"] = at(shared)
    jobs["team"]["yield_thread"], jobs["team"]["sleep"], jobs["team"]["nap"] = _waiting()
    return jobs


@njit(nogil=True)
def _rounds(job, counter, count):
    """Count and wait, ``count`` times; how often somebody was missing behind the barrier."""
    job, missing = record_at(job, JOB), 0
    for i in range(count):
        threads.atomic_add(counter, 1)
        if threads.wait(job):
            return -1
        missing += threads.atomic_load(counter) < (i + 1) * job.team.size
    return missing


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_nobody_passes_the_barrier_before_all_are_there(size):
    shared, counter, count = aligned(1, SHARED), np.zeros(1, np.int64), 200
    jobs = team_of(size, shared)
    with ThreadPoolExecutor(size) as pool:
        missing = list(pool.map(lambda i: _rounds(at(jobs[i : i + 1]), at(counter), count), range(size)))
    assert missing == [0] * size
    assert counter[0] == size * count
    assert shared["arrivals"][0] == (0 if size == 1 else size * count)


def test_who_waits_alone_gives_up_when_told():
    shared = aligned(1, SHARED)
    jobs = team_of(2, shared)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(_rounds, at(jobs), at(np.zeros(1, np.int64)), 1)
        while not shared["arrivals"][0]:
            assert not waiting.done()
        shared["give_up"] = 1
        assert waiting.result(timeout=60) == -1


def test_who_waits_for_long_sleeps():
    shared = aligned(1, SHARED)
    jobs = team_of(2, shared)

    def wait():
        begin = time.thread_time()
        _rounds(at(jobs[:1]), at(np.zeros(1, np.int64)), 1)
        return time.thread_time() - begin

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait)
        time.sleep(0.5)
        shared["give_up"] = 1
        assert waiting.result(timeout=60) < 0.25
