"""Ctrl-C within callbacks of foreign code: never lost, and a user's own handler is left alone."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading

import pytest

from fastmlp.base.interrupts import no_interrupt_lost

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="no C library by that name, and no SIGINT to raise"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def handler():
    """Python's own handler, whatever the tests' runner has."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def sort_with_ctrl_c(calls: list[int]) -> None:
    """The C library's qsort calls a Python function, in which Ctrl-C comes."""
    numbers = (ctypes.c_int * 2)(2, 1)
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    def compare(a: int, b: int) -> int:
        calls.append(1)
        signal.raise_signal(signal.SIGINT)
        return 0

    ctypes.CDLL(None).qsort(numbers, 2, ctypes.sizeof(ctypes.c_int), compare_type(compare))


def test_what_a_callback_swallowed_is_raised_after_the_block():
    calls: list[int] = []
    sort_with_ctrl_c(calls)
    assert calls, "and nothing was raised: this is what the helper is for"
    before = len(calls)
    with pytest.raises(KeyboardInterrupt), no_interrupt_lost():
        calls.extend([sort_with_ctrl_c(calls) or 2])
    assert calls[before:] == [1, 2], "the block was made to its end"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_elsewhere_in_the_block_ctrl_c_comes_at_once():
    reached = []
    with pytest.raises(KeyboardInterrupt), no_interrupt_lost():
        reached.extend([signal.raise_signal(signal.SIGINT)])
    assert not reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_errors_come_as_they_are():
    with pytest.raises(ZeroDivisionError), no_interrupt_lost():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_users_handler_is_left_alone():
    heard = []
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    mine = signal.getsignal(signal.SIGINT)
    with no_interrupt_lost():
        assert signal.getsignal(signal.SIGINT) is mine
        signal.raise_signal(signal.SIGINT)
    assert heard == [1]


def test_other_threads_leave_the_handler_alone():
    seen = []

    def work() -> None:
        with no_interrupt_lost():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
