"""A lock that forks wait for, so that no child finds it held by a thread that the child does not have."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

__all__ = ["ForkLock"]

_PATIENCE = 300.0  # seconds that a fork waits, at most
_GIVE_WAY = 10.0


class ForkLock:
    """A lock for one thread at a time, which may enter again; forks of the process wait until no thread is inside.

    Hooks before a fork run in reverse order of their registration, so that a fork takes this lock before those of
    modules that were imported earlier. `logging` and `concurrent.futures` have such hooks. A fork that took their locks
    first could wait forever for a thread inside that waits for one of them, as the import of Numba does. Code that does
    such things inside must call `go_first`.

    Other locks may still be held during a fork, so a fork waits for five minutes at most. If a thread is then still
    inside, or Ctrl-C ended the waiting, or a signal handler forked in the thread that is inside, entering raises
    RuntimeError(``message``) in the child.
    """

    def __init__(self, message: str) -> None:
        self._message, self._lost = message, False
        self._lock: Any = threading.RLock()
        self._forks: list[None] = []  # that are waiting, or being made
        self._n_hooks, self._is_first = 0, False
        self._register()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._in_child)

    def go_first(self) -> None:
        """Let forks take this lock before those of `logging` and `concurrent.futures`, which are imported for that."""
        if not self._is_first:
            import concurrent.futures.thread  # noqa: F401

            self._register()
            self._is_first = True

    def _register(self) -> None:
        if hasattr(os, "register_at_fork"):
            self._n_hooks += 1
            # C functions: no signal handler, which may raise, can run between them and the fork.
            os.register_at_fork(
                before=partial(self._lock.acquire, timeout=_PATIENCE), after_in_parent=self._lock.release
            )
            os.register_at_fork(
                before=partial(self._forks.append, None),
                after_in_parent=self._forks.clear,
                after_in_child=self._forks.clear,
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait until no other thread is inside, and enter."""
        if self._lost:
            raise RuntimeError(self._message)
        end = time.monotonic() + _GIVE_WAY
        while self._forks and time.monotonic() < end and not self._lock._is_owned():
            time.sleep(0.001)  # else who leaves and comes back at once would be faster than a fork that waits
        with self._lock:
            yield

    def _in_child(self) -> None:
        try:
            for _ in range(self._n_hooks):
                self._lock.release()
        except RuntimeError:  # the fork did not get it
            self._lost = not self._lock.acquire(blocking=False)
        else:
            self._lost = self._lock._is_owned()
        self._lock._at_fork_reinit()
