"""What training shows while it runs: a live line on a terminal, a line an epoch elsewhere when asked, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

__all__ = ["Progress"]

_WIDTH = 24
_REFRESH = 0.1  # seconds


class Progress:
    """``progress=None`` draws when standard error is a terminal, True always reports, False never."""

    def __init__(self, wanted: bool | None, epochs: int, samples: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = wanted is not False and self._stream.isatty()
        self._lines = wanted is True and not self._live
        self._epochs, self._samples = epochs, samples
        self._begin = time.perf_counter()
        self._drawn = 0.0
        self._values = ""

    def samples_done(self, epoch: int, done: int, loss: float) -> None:
        """Called a few dozen times a second with the mean loss of the running epoch."""
        now = time.perf_counter()
        if self._live and now - self._drawn >= _REFRESH:
            self._drawn = now
            self._draw(epoch, epoch * self._samples + done, self._values or f"loss {loss:.4f}")

    def epoch_done(self, epoch: int, values: Mapping[str, float]) -> None:
        """Called once an epoch with the values that went into the history."""
        if not (self._live or self._lines):
            return
        self._values = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        done = (epoch + 1) * self._samples
        if self._lines:
            print(
                f"epoch {epoch + 1}/{self._epochs}  {self._values}  {self._speed(done)}", file=self._stream, flush=True
            )
        elif self._live:
            now = time.perf_counter()
            if now - self._drawn >= _REFRESH or epoch + 1 == self._epochs:
                self._drawn = now
                self._draw(epoch, done, self._values)

    def close(self) -> None:
        """End the live line."""
        if self._live and self._drawn:
            print(file=self._stream, flush=True)

    def _draw(self, epoch: int, done: int, values: str) -> None:
        total = self._epochs * self._samples
        filled = _WIDTH * done // total
        left = (time.perf_counter() - self._begin) / done * (total - done)
        bar = "━" * filled + "─" * (_WIDTH - filled)
        line = f"{bar} epoch {epoch + 1}/{self._epochs}  {values}  {self._speed(done)}  {_clock(left)} left"
        self._stream.write("\r" + line + "\x1b[K")
        self._stream.flush()

    def _speed(self, done: int) -> str:
        return f"{done / max(time.perf_counter() - self._begin, 1e-9):,.0f} samples/s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def check_progress(progress: Any) -> bool | None:
    """None, True or False."""
    if progress is not None and not isinstance(progress, bool):
        raise TypeError(f"progress must be True, False or None, got {progress!r}")
    return progress
