"""Threads that train networks, one piece of work after another; the kernels run without Python's lock."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Semaphore, Thread
from typing import Protocol

from .progress import RunReport, RunsProgress, Stopped
from .runs import Runs
from .trained import Alone, SideBySide, trained

__all__ = ["Crew", "Deliver", "Deliveries", "Work"]

Deliver = Callable[[Sequence[int], Alone | SideBySide], None]
"""A function that takes the numbers of some runs and their outcome. It may wait, or raise `Stopped`."""

_PATIENCE = 0.1  # seconds between two looks at what may have changed
_WAITING = 2  # deliveries a thread that may wait to be taken


class Work(Protocol):
    """The work of one thread: to train one network, or several side by side."""

    @property
    def numbers(self) -> Sequence[int]:
        """The numbers of the runs that are trained."""

    @property
    def n_networks(self) -> int:
        """The number of networks that are trained together; 0 if it changes."""

    def train(self, report: RunReport, deliver: Deliver) -> None:
        """Train, and deliver the outcome; raise `Stopped` when the report says so."""


class Crew:
    """Threads at work, as a context manager: they start with it and end with it, whether all is done or not.

    Parameters
    ----------
    runs : Runs
    works : iterator of Work
        The works, which are done in this order.
    n_threads : int
    bar : RunsProgress
    deliver : Deliver
        Called by the threads.
    ended : function, optional
        Called by each thread when it ends.

    Attributes
    ----------
    n_diverged : int
        The number of networks that diverged so far.
    """

    def __init__(
        self,
        runs: Runs,
        works: Iterator[Work],
        n_threads: int,
        bar: RunsProgress,
        deliver: Deliver,
        ended: Callable[[], None] = lambda: None,
    ) -> None:
        self._runs, self._works, self._bar, self._deliver, self._ended = runs, works, bar, deliver, ended
        self._lock = Lock()
        self._troubles: list[BaseException] = []
        self.n_diverged = 0
        # daemons: they must not keep the interpreter from ending
        self._threads = [Thread(target=self._run, name="fastmlp", daemon=True) for _ in range(n_threads)]

    def __enter__(self) -> Crew:
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:  # the system has no more threads, or Ctrl-C
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the threads, and raise what one of them raised."""
        self._bar.stop()
        for thread in self._threads:
            if thread.ident is not None and not sys.is_finalizing():  # then nothing but the caller's thread goes on
                thread.join()
        self._bar.close()
        if self._troubles:
            raise self._troubles[0]

    def wait(self, look: Callable[[], None] = lambda: None) -> None:
        """Wait until all is done, and show the progress. ``look`` is called several times a second, and may raise."""
        while alive := [thread for thread in self._threads if thread.is_alive()]:
            alive[0].join(_PATIENCE)
            self.draw()
            look()

    def draw(self) -> None:
        """Show the progress, a few times a second at most."""
        self._bar.draw()

    def _run(self) -> None:
        """Do one work after another until none is left."""
        try:
            while (work := self._next()) is not None and self._do(work):
                pass
        except BaseException as trouble:
            self._fail(trouble)
        finally:
            self._ended()

    def _next(self) -> Work | None:
        with self._lock:
            return next(self._works, None)

    def _do(self, work: Work) -> bool:
        """Do one work; return whether to go on."""
        report = self._bar.begin_run(work.n_networks)
        try:
            work.train(report, partial(self._hand_over, report))
        except Stopped:
            return False
        except BaseException as trouble:
            for number in work.numbers[:1]:
                trouble.add_note(f"in a run of train_many with {self._runs[number]}")
            self._fail(trouble)
            return False
        finally:
            self._bar.end_run(report)
        return True

    def _hand_over(self, report: RunReport, numbers: Sequence[int], outcome: Alone | SideBySide) -> None:
        self._deliver(numbers, outcome)
        if outcome.n_diverged:
            with self._lock:
                self.n_diverged += outcome.n_diverged
        networks = (trained(outcome, lane, self._runs[number]) for lane, number in enumerate(numbers))
        self._bar.networks_done(report, len(numbers), ((one.settings, one.history) for one in networks))

    def _fail(self, trouble: BaseException) -> None:
        self._troubles.append(trouble)
        self._bar.stop()


class Deliveries:
    """A queue of what a crew delivers. When a few works wait in it, the threads wait, too."""

    def __init__(self, n_threads: int) -> None:
        self._queue: SimpleQueue[tuple[Sequence[int], Alone | SideBySide] | None] = SimpleQueue()
        self._room = Semaphore(_WAITING * n_threads)
        self._at_work, self._closed = n_threads, False

    def put(self, numbers: Sequence[int], outcome: Alone | SideBySide) -> None:
        """Put an outcome into the queue; wait while it is full."""
        self._queue.put((numbers, outcome))
        while not self._room.acquire(timeout=_PATIENCE):
            if self._closed:
                raise Stopped

    def end(self) -> None:
        """Called by each thread when it ends."""
        self._queue.put(None)

    def taken(self, draw: Callable[[], None]) -> Iterator[tuple[Sequence[int], Alone | SideBySide]]:
        """Yield what is delivered, until all threads have ended. ``draw`` is called now and then."""
        while self._at_work:
            draw()
            try:
                delivery = self._queue.get(timeout=_PATIENCE)
            except Empty:
                continue
            if delivery is None:
                self._at_work -= 1
            else:
                yield delivery
                self._room.release()

    def close(self) -> None:
        """Let no thread wait any more."""
        self._closed = True
