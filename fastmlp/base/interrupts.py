"""Ctrl-C where Python's exceptions are swallowed: in callbacks that foreign code calls."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["no_interrupt_lost"]


@contextlib.contextmanager
def no_interrupt_lost() -> Iterator[None]:
    """Raise KeyboardInterrupt after the block where Ctrl-C came within it and its exception got lost.

    ctypes prints what a callback raises and goes on, and LLVM calls such callbacks while Numba compiles. Python's own
    handler goes on to raise at once, elsewhere in the block; a handler of the user's is left alone.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if not on_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    heard = False

    def note(number: int, frame: Any) -> None:
        nonlocal heard
        heard = True
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if heard:
        raise KeyboardInterrupt
