"""One caller at a time: other threads wait, and a caller that comes again from inside is refused."""

from __future__ import annotations

import threading
from types import TracebackType

__all__ = ["Alone"]


class Alone:
    """A lock for ``with``. The same thread cannot enter twice, as a callback or a signal handler would: RuntimeError.

    ``message`` says what is going on then.
    """

    def __init__(self, message: str) -> None:
        self._message = message
        self._lock = threading.RLock()  # so that a signal handler, which runs in a thread that has it, does not wait
        self._entered = False

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._entered:
            self._lock.release()
            raise RuntimeError(self._message)
        self._entered = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        self._lock.release()
