"""Alone: threads take turns, and a thread that comes again from inside is refused without having to wait."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from fastmlp.base.alone import Alone


def test_threads_take_turns():
    alone, inside, most = Alone("busy"), 0, 0
    begin = threading.Barrier(4)

    def work():
        nonlocal inside, most
        begin.wait()
        for _ in range(50):
            with alone:
                inside += 1
                time.sleep(0)  # lets another thread run
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


def test_another_thread_waits_until_the_first_has_left():
    alone, entered = Alone("busy"), threading.Event()

    def enter():
        with alone:
            entered.set()

    thread = threading.Thread(target=enter)
    with alone:
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(10)
    thread.join()


def test_coming_again_from_inside_is_refused_and_changes_nothing():
    alone = Alone("busy in here")
    for _ in range(2):
        with alone:
            for _ in range(2):
                with pytest.raises(RuntimeError, match=r"^busy in here$"), alone:
                    raise AssertionError("entered twice")


def test_an_error_inside_opens_it_again():
    alone = Alone("busy")
    with pytest.raises(KeyError), alone:
        raise KeyError
    with alone:
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_waits_for_no_thread_that_it_does_not_have():
    alone, entered, done = Alone("busy"), threading.Event(), threading.Event()

    def stay():
        with alone:
            entered.set()
            done.wait()

    thread = threading.Thread(target=stay)
    thread.start()
    entered.wait()
    assert exit_code_of_fork_that_enters(alone) == 0
    done.set()
    thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_from_inside_is_inside():
    alone = Alone("busy")
    with alone:
        assert exit_code_of_fork_that_enters(alone) == 1
    assert exit_code_of_fork_that_enters(alone) == 0


def exit_code_of_fork_that_enters(alone):
    """0, 1 where it was refused, or minus SIGALRM where it waited."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            with alone:
                os._exit(0)
        except RuntimeError:
            os._exit(1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
