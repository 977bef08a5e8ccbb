"""Progress of training: a live line on a terminal, a line an epoch elsewhere when asked, or nothing."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TextIO

from .history import History

__all__ = ["ProgressReport", "RunReport", "RunsProgress", "Stopped", "begin_progress", "check_progress"]

_BAR = 8, 24  # its least and its most characters
_REFRESH = 0.1  # seconds


class ProgressReport(Protocol):
    """Receives the reports of a training run while it runs."""

    def samples_done(self, epoch: int, done: int, loss: float) -> None:
        """Called a few dozen times a second with the running epoch, its samples so far and their mean loss."""

    def epochs_done(self, history: Mapping[str, Sequence[float]], count: int) -> None:
        """Called with the history when ``count`` more epochs are in it."""

    def close(self) -> None:
        """Called when the run has ended, however it ended."""


class Progress:
    """Shows one run: a live line on a terminal, or a line an epoch.

    Parameters
    ----------
    progress : bool or None
        None draws where the stream is a terminal, True always reports, False never.
    epochs, samples : int
        Epochs of the whole run, and samples of an epoch.
    done : int
        Epochs that another process has trained.
    stream : text file, optional
        Standard error, when left out.
    """

    def __init__(
        self, progress: bool | None, epochs: int, samples: int, done: int = 0, stream: TextIO | None = None
    ) -> None:
        self._stream = stream or sys.stderr
        self._live = progress is not False and self._stream.isatty()
        self._lines = progress is True and not self._live
        self._epochs, self._samples, self._before = epochs, samples, done * samples
        self._begin = time.perf_counter()
        self._drawn = 0.0
        self._values = ""

    def samples_done(self, epoch: int, done: int, loss: float) -> None:
        now = time.perf_counter()
        if self._live and now - self._drawn >= _REFRESH:
            self._drawn = now
            self._draw(epoch, epoch * self._samples + done, self._values or f"loss {loss:.4f}")

    def epochs_done(self, history: Mapping[str, Sequence[float]], count: int) -> None:
        if not (self._live or self._lines):
            return
        end = len(history["loss"])
        done = end * self._samples
        speed = self._speed(done)  # one for all of these epochs, which have ended together
        for epoch in range(end - count if self._lines else end - 1, end):
            self._values = "  ".join(f"{name} {values[epoch]:.4f}" for name, values in history.items())
            if self._lines:
                print(f"epoch {epoch + 1}/{self._epochs}  {self._values}  {speed}", file=self._stream, flush=True)
        now = time.perf_counter()
        if self._live and (now - self._drawn >= _REFRESH or end == self._epochs):
            self._drawn = now
            self._draw(end - 1, done, self._values)

    def close(self) -> None:
        if self._live and self._drawn:
            print(file=self._stream, flush=True)

    def _draw(self, epoch: int, done: int, values: str) -> None:
        """Redraw the live line, ``done`` samples after the first epoch's beginning."""
        total = self._epochs * self._samples
        seconds = (time.perf_counter() - self._begin) / (done - self._before) * (total - done)
        text = f"epoch {epoch + 1}/{self._epochs}  {_clock(seconds)} left  {values}  {self._speed(done)}"
        _redraw(self._stream, done / total, text)

    def _speed(self, done: int) -> str:
        """This process's samples a second, in words."""
        return f"{(done - self._before) / max(time.perf_counter() - self._begin, 1e-9):,.0f} samples/s"


class Stopped(BaseException):
    """Raised inside one run of several, to end it."""


class RunReport:
    """Receives the reports of one run of several, and can end that run, in the middle of an epoch if need be.

    Attributes
    ----------
    stopped : bool
        Whether the run should end: its next report raises `Stopped`.
    networks : int
        How many are trained side by side in the run, and have not ended; 0: those that have not do not count.
    done, total : int
        Samples that each of them has been trained with so far, over all epochs, and will be in the end.
    """

    def __init__(self, stopped: bool = False, networks: int = 1) -> None:
        self.stopped, self.networks = stopped, networks
        self.done, self.total = 0, 1

    def begin(self, epochs: int, samples: int) -> RunReport:
        """Called when everything is checked and nothing is trained."""
        self._samples, self.total = samples, epochs * samples
        self._raise_if_stopped()
        return self

    def samples_done(self, epoch: int, done: int, loss: float) -> None:
        self.done = epoch * self._samples + done
        self._raise_if_stopped()

    def epochs_done(self, history: Mapping[str, Sequence[float]], count: int) -> None:
        self.samples_done(len(history["loss"]), 0, history["loss"][-1])

    def close(self) -> None:
        pass

    def _raise_if_stopped(self) -> None:
        if self.stopped:
            raise Stopped


class RunsProgress:
    """Shows several runs at once, each of which has a `RunReport`: how many are done, or a line a run.

    Safe from several threads. ``progress`` and ``stream`` are those of `Progress`.
    """

    def __init__(self, progress: bool | None, runs: int, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = progress is not False and self._stream.isatty()
        self._lines = progress is True and not self._live
        self._runs, self._done, self._samples = runs, 0, 0
        self._begin, self._drawn = time.perf_counter(), 0.0
        self._reports: list[RunReport] = []  # of the runs under way
        self._stopped = False
        self._lock = threading.Lock()

    def begin_run(self, networks: int = 1) -> RunReport:
        """The report of a new run, of so many networks side by side."""
        with self._lock:
            report = RunReport(self._stopped, networks)
            self._reports.append(report)
        return report

    def networks_done(
        self, report: RunReport, count: int, networks: Iterable[tuple[Mapping[str, Any], History]]
    ) -> None:
        """Called when so many networks of a run have ended, with their settings and histories, which are asked for
        where they are shown."""
        with self._lock:
            report.networks = max(0, report.networks - count)
            self._samples += report.done * count
            if not self._lines:
                self._done += count
                return
            for settings, history in networks:
                self._done += 1
                values = "  ".join(f"{name} {column[-1]:.4f}" for name, column in history.items())
                in_words = ", ".join(f"{name} {value}" for name, value in settings.items())
                print(f"{self._done}/{self._runs}  {in_words}:  {values}", file=self._stream, flush=True)

    def end_run(self, report: RunReport) -> None:
        """Called when a run has ended, however it ended."""
        with self._lock:
            self._reports.remove(report)

    def stop(self) -> None:
        """Tell the runs under way, and those to come, to end."""
        with self._lock:
            self._stopped = True
            for report in self._reports:
                report.stopped = True

    def draw(self) -> None:
        """Redraw the live line, a few times a second at most."""
        now = time.perf_counter()
        if not self._live or now - self._drawn < _REFRESH:
            return
        self._drawn = now
        with self._lock:
            reports = self._reports
            samples = self._samples + sum(report.done * report.networks for report in reports)
            done = self._done + sum(report.networks * report.done / report.total for report in reports)
        share = done / self._runs
        seconds = time.perf_counter() - self._begin
        left = _clock(seconds * (1 / share - 1)) if share else "?"
        text = f"{self._done}/{self._runs} networks  {left} left  {samples / seconds:,.0f} samples/s"
        _redraw(self._stream, share, text)

    def close(self) -> None:
        """End the live line."""
        if self._live:
            self._drawn = 0.0
            self.draw()
            print(file=self._stream, flush=True)


def check_progress(progress: Any) -> Any:
    """Return a ``progress`` argument: None, True, False, or the `RunReport` of one run of several."""
    if progress is not None and not isinstance(progress, (bool, RunReport)):
        raise TypeError(f"progress must be True, False or None, got {progress!r}")
    return progress


def begin_progress(progress: Any, epochs: int, samples: int, done: int) -> ProgressReport:
    """Return the receiver of a run's reports, for a checked ``progress`` argument.

    ``epochs`` are those of the whole run, of which another process has trained ``done``; ``samples`` those of an epoch.
    """
    if isinstance(progress, RunReport):
        return progress.begin(epochs, samples)
    return Progress(progress, epochs, samples, done)


def _redraw(stream: TextIO, share: float, text: str) -> None:
    """Put a bar and text in place of the line before, cut to the terminal's width: a wrapped line would stay there."""
    try:
        columns = os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:  # a terminal of a program's own
        columns = 80
    width = min(max(columns - 2 - len(text), _BAR[0]), _BAR[1])
    filled = int(width * share)
    line = f"{'━' * filled}{'─' * (width - filled)} {text}"
    stream.write("\r" + line[: columns - 1] + "\x1b[K")
    stream.flush()


def _clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
