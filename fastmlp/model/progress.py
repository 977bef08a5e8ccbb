"""Progress of training: a live line on a terminal or in a notebook, one line for each epoch if asked, or nothing."""

from __future__ import annotations

import html
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TextIO

from ..base.text import is_terminal
from ..engine.network import compiling_seconds
from .history import History

__all__ = ["ProgressReport", "RunReport", "RunsProgress", "Stopped", "begin_progress", "check_progress"]

_BAR = 8, 24  # its least and its most characters
_REFRESH = 0.1  # seconds
_NOTEBOOK = 100  # columns of a notebook's line

Words = Callable[[int], str]  # what to show, in at most so many characters where that can be


class _TrainingClock:
    """Seconds since it was made, without those in which kernels were compiled."""

    def __init__(self) -> None:
        self._begin = time.perf_counter() - compiling_seconds()

    def seconds(self) -> float:
        """Those seconds, and never 0."""
        return max(time.perf_counter() - compiling_seconds() - self._begin, 1e-9)


class ProgressReport(Protocol):
    """Receives the reports of a training run while it runs."""

    def ready(self) -> None:
        """Called when the first epoch begins, after kernels were compiled, if that was necessary."""

    def samples_done(self, epoch: int, done: int, loss: float) -> None:
        """Called a few dozen times a second with the running epoch, its samples so far and their mean loss."""

    def epochs_done(self, history: Mapping[str, Sequence[float]], count: int) -> None:
        """Called with the history, which has ``count`` more epochs."""

    def close(self) -> None:
        """Called when the run has ended, in whatever way."""


class _Silence:
    """Shows nothing."""

    def ready(self) -> None: ...

    def samples_done(self, epoch: int, done: int, loss: float) -> None: ...

    def epochs_done(self, history: Mapping[str, Sequence[float]], count: int) -> None: ...

    def close(self) -> None: ...


class Progress:
    """Shows one run: a live line on a terminal or in a notebook, or one line for each epoch.

    Parameters
    ----------
    progress : True or None
        None draws if the stream is a terminal or belongs to a notebook, True always reports.
    epochs, samples : int
        The number of epochs of the whole run, and of samples in an epoch.
    done : int
        The number of epochs that another process has trained.
    stream : text file, optional
        Standard error, when left out.
    """

    def __init__(
        self, progress: Literal[True] | None, epochs: int, samples: int, done: int = 0, stream: TextIO | None = None
    ) -> None:
        self._stream = _open(stream or sys.stderr)
        self._live = _live_line(self._stream)
        self._lines = progress is True and self._live is None and self._stream is not None
        self._epochs, self._samples, self._before = epochs, samples, done * samples
        self._clock = _TrainingClock()
        self._drawn = 0.0
        self._values: list[str] = []  # of the last epoch that has ended
        self._last: tuple[int, int, list[str]] | None = None  # what was to be drawn last

    def ready(self) -> None:
        self._clock = _TrainingClock()

    def samples_done(self, epoch: int, done: int, loss: float) -> None:
        if self._live is not None:
            self._draw(epoch, epoch * self._samples + done, self._values or [f"loss {loss:.4f}"])

    def epochs_done(self, history: Mapping[str, Sequence[float]], count: int) -> None:
        end = len(history["loss"])
        if self._lines:
            speed = f"{self._speed(end * self._samples):,.0f} samples/s"  # one for all epochs that have ended together
            for epoch in range(end - count, end):
                values = "  ".join(_values(history, epoch))
                print(f"epoch {epoch + 1}/{self._epochs}  {values}  {speed}", file=self._stream, flush=True)
        elif self._live is not None:
            self._values = _values(history, end - 1)
            self._draw(end - 1, end * self._samples, self._values)

    def close(self) -> None:
        if self._live is not None and self._last is not None:
            self._drawn = 0.0
            self._draw(*self._last)
            self._live.close()

    def _draw(self, epoch: int, done: int, values: list[str]) -> None:
        """Redraw the live line, after ``done`` samples in all, unless it was drawn a moment ago."""
        self._last = epoch, done, values
        now = time.perf_counter()
        if self._live is None or now - self._drawn < _REFRESH:
            return
        self._drawn = now
        total, speed = self._epochs * self._samples, self._speed(done)
        left = _clock((total - done) / speed) if speed else "?"
        where = [f"epoch {epoch + 1}/{self._epochs}", f"{left} left"]
        self._live.draw(done / total, lambda columns: _fitted(where, values, _in_short(speed), columns))

    def _speed(self, done: int) -> float:
        """The number of samples per second that this process has trained on so far, without the time to compile."""
        return (done - self._before) / self._clock.seconds()


class Stopped(BaseException):
    """Raised inside one run of several, to end it."""


class RunReport:
    """Receives the reports of one run of several, and can end that run, even in the middle of an epoch.

    Attributes
    ----------
    stopped : bool
        Whether the run should end: its next report raises `Stopped`.
    networks : int
        The number of networks that the run trains side by side and that have not ended; 0 if they are not counted.
    done, total : int
        The number of samples, over all epochs, with which each of them was trained so far, and will be in the end.
    """

    def __init__(self, stopped: bool = False, networks: int = 1) -> None:
        self.stopped, self.networks = stopped, networks
        self.done, self.total = 0, 1

    def begin(self, epochs: int, samples: int) -> RunReport:
        """Called when everything is checked and nothing is trained."""
        self._samples, self.total = samples, epochs * samples
        self._raise_if_stopped()
        return self

    def ready(self) -> None:
        self._raise_if_stopped()

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
    """Shows several runs at once, each with its `RunReport`: the number of finished runs, or one line for each run.

    Several threads may use it. ``progress`` and ``stream`` are those of `Progress`.

    Attributes
    ----------
    samples : int
        The number of samples, over all epochs, with which the networks that have ended were trained.
    """

    def __init__(self, progress: bool | None, runs: int, stream: TextIO | None = None) -> None:
        self._stream = _open(stream or sys.stderr)
        self._live = None if progress is False else _live_line(self._stream)
        self._lines = progress is True and self._live is None and self._stream is not None
        self._runs, self._done, self.samples = runs, 0, 0
        self._clock, self._drawn = _TrainingClock(), 0.0
        self._reports: list[RunReport] = []  # of the runs under way
        self._stopped = False
        self._lock = threading.Lock()

    def begin_run(self, networks: int = 1) -> RunReport:
        """Return the report of a new run with that many networks side by side."""
        with self._lock:
            report = RunReport(self._stopped, networks)
            self._reports.append(report)
        return report

    def networks_done(
        self, report: RunReport, count: int, networks: Iterable[tuple[Mapping[str, Any], History]]
    ) -> None:
        """Called when ``count`` networks of a run have ended; their settings and histories are only asked for if they
        are shown."""
        with self._lock:
            report.networks = max(0, report.networks - count)
            self.samples += report.done * count
            if not self._lines:
                self._done += count
                return
            for settings, history in networks:
                self._done += 1
                values = "  ".join(f"{name} {column[-1]:.4f}" for name, column in history.items())
                in_words = ", ".join(f"{name} {value}" for name, value in settings.items())
                print(f"{self._done}/{self._runs}  {in_words}:  {values}", file=self._stream, flush=True)

    def end_run(self, report: RunReport) -> None:
        """Called when a run has ended, in whatever way."""
        with self._lock:
            self._reports.remove(report)

    def stop(self) -> None:
        """Tell all runs, present and future, to end."""
        with self._lock:
            self._stopped = True
            for report in self._reports:
                report.stopped = True

    def draw(self) -> None:
        """Redraw the live line, a few times a second at most."""
        now = time.perf_counter()
        if self._live is None or now - self._drawn < _REFRESH:
            return
        self._drawn = now
        with self._lock:
            reports = self._reports
            samples = self.samples + sum(report.done * report.networks for report in reports)
            done = self._done + sum(report.networks * report.done / report.total for report in reports)
        share = done / self._runs
        seconds = self._clock.seconds()
        left = _clock(seconds * (1 / share - 1)) if share else "?"
        text = f"{self._done}/{self._runs} networks  {left} left  {_in_short(samples / seconds)}"
        self._live.draw(share, lambda columns: text)

    def close(self) -> None:
        """End the live line."""
        if self._live is not None:
            self._drawn = 0.0
            self.draw()
            self._live.close()


def check_progress(progress: Any) -> Any:
    """Return a ``progress`` argument: None, True, False, or the `RunReport` of one run of several."""
    if progress is not None and not isinstance(progress, (bool, RunReport)):
        raise TypeError(f"progress must be True, False or None, got {progress!r}")
    return progress


def begin_progress(progress: Any, epochs: int, samples: int, done: int) -> ProgressReport:
    """Return the receiver of a run's reports, for a checked ``progress`` argument.

    ``epochs`` is the number of epochs of the whole run, of which another process has trained ``done``; ``samples`` the
    number of samples in an epoch.
    """
    if isinstance(progress, RunReport):
        return progress.begin(epochs, samples)
    if progress is False:
        return _Silence()
    return Progress(progress, epochs, samples, done)


class _LiveLine(Protocol):
    """A bar and words that are drawn repeatedly in one place."""

    def draw(self, share: float, words: Words) -> None:
        """Draw bar and words in place of the old ones."""

    def close(self) -> None:
        """Leave the last bar and words where they are."""


class _TerminalLine:
    """The line of a terminal's cursor, cut to its width, because a wrapped line could not be erased."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def draw(self, share: float, words: Words) -> None:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:  # a terminal of a program's own
            columns = 80
        text = words(columns - 2 - _BAR[0])
        width = min(max(columns - 2 - len(text), _BAR[0]), _BAR[1])
        self._stream.write("\r" + f"{_bar(share, width)} {text}"[: columns - 1] + "\x1b[K")
        self._stream.flush()

    def close(self) -> None:
        print(file=self._stream, flush=True)


class _NotebookLine:
    """An output of a notebook's cell: a bar in HTML, or in text where there is only text."""

    def __init__(self) -> None:
        self._handle: Any = None

    def draw(self, share: float, words: Words) -> None:
        from IPython.display import display  # which is there where a kernel of IPython's runs

        text = words(_NOTEBOOK)
        bar = f'<progress value="{share:.4f}" max="1"></progress>'
        bundle = {
            "text/plain": f"{_bar(share, _BAR[1])} {text}",
            "text/html": f"{bar} <code>{html.escape(text)}</code>",
        }
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def close(self) -> None:
        pass


def _open(stream: TextIO | None) -> TextIO | None:
    """Return the stream, or None if nothing can be written: programs without a console have no standard error."""
    return None if getattr(stream, "closed", False) else stream


def _live_line(stream: TextIO | None) -> _LiveLine | None:
    """Return a live line on the stream if it is a terminal, in a notebook if it belongs to one, else None."""
    if type(stream).__module__.partition(".")[0] == "ipykernel":
        return _NotebookLine()
    return _TerminalLine(stream) if stream is not None and is_terminal(stream) else None


def _bar(share: float, width: int) -> str:
    filled = int(width * share)
    return "━" * filled + "─" * (width - filled)


def _values(history: Mapping[str, Sequence[float]], epoch: int) -> list[str]:
    """The values of an epoch, each after its name."""
    return [f"{name} {values[epoch]:.4f}" for name, values in history.items()]


def _fitted(where: list[str], values: list[str], speed: str, columns: int) -> str:
    """Join the parts with two spaces. What does not fit into ``columns`` is left out in this order: values, with the
    losses last, then the speed, then the time left."""
    by_worth = sorted(values, key=lambda value: not value.startswith(("loss ", "val_loss ")))
    choices = [(2, count, [speed]) for count in range(len(values), 0, -1)]
    for n_words, count, tail in [*choices, (2, 1, []), (1, 1, [])]:
        kept = by_worth[:count]
        text = "  ".join([*where[:n_words], *(value for value in values if value in kept), *tail])
        if len(text) <= columns:
            break
    return text


def _in_short(speed: float) -> str:
    """Samples per second, with three digits, in words."""
    if speed < 999.5:
        return f"{speed:.0f} samples/s"
    return f"{speed / 1e3:.3g}k samples/s" if speed < 999.5e3 else f"{speed / 1e6:.3g}M samples/s"


def _clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
