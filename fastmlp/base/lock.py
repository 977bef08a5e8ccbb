"""One process at a time on a file that several may want to write."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileLock"]


class FileLock:
    """A lock on the file ``path``, until it is released or the process ends, in whatever way.

    It is a file called ``path`` and ".lock", which a killed process leaves behind and the next one uses again. If such
    a file cannot be locked or made, as in a read-only folder, there is no lock.
    """

    def __init__(self, path: Path) -> None:
        path = Path(os.path.realpath(path))
        self._path = path.with_name(f"{path.name}.lock")
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take the lock; False if another run has it."""
        while fcntl is not None and self._file is None:
            try:
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
            except OSError:
                break
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            except OSError:  # this file system has no locks
                os.close(file)
                break
            if self._is_there(file):
                self._file = file
            else:  # the one who had it has just removed it
                os.close(file)
        return True

    def release(self) -> None:
        """Give the lock back, if it was taken."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                if self._is_there(self._file) and not os.fstat(self._file).st_size:  # no file of somebody else
                    os.unlink(self._path)
            os.close(self._file)
            self._file = None

    def _is_there(self, file: int) -> bool:
        """Whether the open file is still the one with that name."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(file))
        except FileNotFoundError:
            return False
