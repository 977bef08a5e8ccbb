"""One caller at a time: other threads wait, and a call from inside another one is refused."""

from __future__ import annotations

import os
import threading
from types import TracebackType

__all__ = ["Alone"]

_process = os.getpid()  # which a system call tells, for 3 % of the time that learning from one sample takes


def _note_process() -> None:
    global _process
    _process = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_process)


class Alone:
    """A lock for ``with``. The same thread cannot enter twice, as a callback or a signal handler would: RuntimeError.

    ``message`` is the text of that error. A fork of the process does not wait for a thread that was inside, because
    that thread does not exist in it.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._open()

    def _open(self) -> None:
        self._lock = threading.RLock()  # so that a signal handler, which runs in a thread that has it, does not wait
        self._process = _process
        self._thread = 0  # the one inside, 0 for none

    def __enter__(self) -> None:
        if self._process != _process:
            if self._thread != threading.get_ident():
                self._open()
            self._process = _process
        self._lock.acquire()
        if self._thread:
            self._lock.release()
            raise RuntimeError(self._message)
        self._thread = threading.get_ident()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread = 0
        self._lock.release()
