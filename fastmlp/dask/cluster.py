"""The cluster as training uses it: one graph of tasks after another, or many tasks, even if workers die."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import distributed
from distributed.scheduler import KilledWorker

from . import work

__all__ = ["Cluster"]

_ATTEMPTS = 3  # at one step: each is lost only when all workers that have the parameters die in it
_AHEAD = 2  # tasks that each thread of the cluster has, so that it need not wait for the next one
_PATIENCE = 0.1  # seconds between two looks at what may have changed


class Cluster:
    """A client, and the checks of its workers.

    Workers with another version of fastmlp, or other kernels, and so other bits, cause a warning. A cluster without
    workers, or one that cannot use fastmlp, is refused.

    Parameters
    ----------
    client : distributed.Client, optional
        The current one when left out.
    """

    def __init__(self, client: Any) -> None:
        if client is None:
            try:
                client = distributed.get_client()
            except ValueError:
                raise ValueError(
                    "there is no cluster: make a client first, client = dask.distributed.Client(), which starts "
                    "workers on this machine, or Client('address of a scheduler')"
                ) from None
        if not isinstance(client, distributed.Client):
            raise TypeError(f"client must be a dask.distributed.Client, got {type(client).__name__}")
        if client.asynchronous:
            raise ValueError("client is asynchronous: training waits for its results, give it one that is not")
        if client.status != "running":
            raise ValueError(f"client is {client.status}, not connected to a cluster: make another one")
        self._client = client
        self._workers = self._asked_workers()

    def threads(self, n_threads: int) -> int:
        """Return the number of threads for each task; fewer, after a warning, if a machine's workers, which run one
        task on each of their own threads, would otherwise use more threads than it has cores."""
        of_workers, cores, allowed = self._client.nthreads(), Counter[str](), Counter[str]()
        for address, there in self._workers.items():
            allowed[there.machine] += of_workers.get(address, 1)
            cores[there.machine] = max(cores[there.machine], there.n_cores)
        machine = min(allowed, key=lambda machine: cores[machine] // allowed[machine])
        most = max(1, cores[machine] // allowed[machine])
        if n_threads > most:
            warnings.warn(
                f"n_threads is {n_threads}, but the workers of {machine} run {allowed[machine]} tasks at a time on "
                f"{cores[machine]} cores: each has {most}, with the same bits; give workers fewer threads",
                UserWarning,
                stacklevel=3,
            )
        return min(n_threads, most)

    def compute(self, task: work.Task, graph: Callable[[Any], Any]) -> Any:
        """Compute ``graph(task)``, a delayed value, in which ``task`` stands for the copy that all workers have.

        The work of a worker that dies is done again elsewhere. If all workers that had the task died, the step begins
        again, with the same numbers.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            future = None
            try:
                shared = self._scattered(task)
                future = self._client.compute(graph(shared))
                return future.result()
            except (CancelledError, OSError) as error:
                if self._client.status != "running":
                    raise
                if attempt == _ATTEMPTS:
                    raise _deadly() from error
            except (ImportError, KilledWorker) as error:
                raise _in_words(error) from error
            finally:
                if future is not None and not future.done():  # Ctrl-C
                    future.cancel()
        raise AssertionError("the last attempt returned or raised")

    def results(
        self,
        function: Callable[[Any, Any], Any],
        shared: Any,
        next_argument: Callable[[int], Any],
        draw: Callable[[], None],
    ) -> Iterator[tuple[Any, Any]]:
        """Yield arguments and their results ``function(shared, argument)``, as tasks end.

        ``next_argument`` is called, with the number of the cluster's threads, when there is room for a task; it returns
        something false when there are no more. ``draw`` is called several times a second. Closing the iterator cancels
        all tasks.
        """
        ended: SimpleQueue[distributed.Future] = SimpleQueue()
        at_work: dict[str, _Attempt] = {}
        again: list[_Attempt] = []
        everywhere = self._scattered(shared)
        try:
            while True:
                n_threads = max(1, sum(self._client.nthreads().values()))
                while len(at_work) < _AHEAD * n_threads:
                    attempt = again.pop() if again else _Attempt(next_argument(n_threads))
                    if not attempt.argument:
                        break
                    future = self._client.submit(function, everywhere, attempt.argument, pure=False)
                    at_work[future.key] = attempt._replace(future=future, number=attempt.number + 1)
                    future.add_done_callback(ended.put)
                if not at_work:
                    return
                futures = list(_taken(ended, draw))
                gathered = self._gathered(futures)
                for future in futures:
                    attempt = at_work.pop(future.key)
                    if future.status == "error":
                        error = future.exception()
                        raise _in_words(error) from error
                    try:
                        result = gathered[future.key] if future.key in gathered else future.result()
                    except (CancelledError, OSError) as error:  # nobody has what it depends on any more
                        if self._client.status != "running":
                            raise
                        if attempt.number == _ATTEMPTS:
                            raise _deadly() from error
                        again.append(attempt)
                        if everywhere.status != "finished":
                            everywhere = self._scattered(shared)
                    else:
                        yield attempt.argument, result
        finally:
            with suppress(CancelledError, OSError):  # the cluster may be gone
                self._client.cancel([attempt.future for attempt in at_work.values()])

    def _gathered(self, futures: list[Any]) -> dict[str, Any]:
        """The results of several tasks in one message; empty if one of them is lost."""
        with suppress(CancelledError, OSError):
            return self._client.gather({future.key: future for future in futures if future.status == "finished"})
        return {}

    def _scattered(self, value: Any) -> Any:
        """Send a value to all workers, and return what stands for it."""
        for _ in range(_ATTEMPTS):
            try:
                (future,) = self._client.scatter([value], broadcast=True, hash=False)
                return future
            except OSError as error:  # a worker died of it
                if self._client.status != "running":
                    raise
                reason = error
        raise _deadly() from reason

    def _asked_workers(self) -> dict[str, work.Here]:
        """Describe each worker, by its address."""
        here, answers = work.here(), self._client.run(work.here, on_error="return")
        if not answers:
            raise ValueError("the cluster has no workers yet: wait for them with client.wait_for_workers(1)")
        for address, there in answers.items():
            if isinstance(there, BaseException):
                raise RuntimeError(
                    f"the worker {address} cannot use fastmlp: {there!r}; is it installed there?"
                ) from there
        others = {there[:2]: address for address, there in answers.items() if there[:2] != here[:2]}
        for (version, kernels), address in others.items():
            warnings.warn(
                f"the worker {address} has fastmlp {version} with kernels {kernels}, here it is {here.version} with "
                f"{here.kernels}: training goes on, but where something is trained then decides the last bits",
                UserWarning,
                stacklevel=4,
            )
        return answers


class _Attempt(NamedTuple):
    """A task: its argument, its future result, and how often it was begun."""

    argument: Any
    future: Any = None
    number: int = 0


def _taken(ended: SimpleQueue[Any], draw: Callable[[], None]) -> Iterator[Any]:
    """Take all that is in the queue, and wait for at least one."""
    while True:
        draw()
        with suppress(Empty):
            yield ended.get(timeout=_PATIENCE)
            break
    with suppress(Empty):
        while True:
            yield ended.get_nowait()


def _in_words(error: Any) -> BaseException:
    """Explain a task's error, if its meaning is known."""
    if isinstance(error, KilledWorker):
        return _deadly()
    if isinstance(error, ImportError):
        return work.not_importable(error)
    return error


def _deadly() -> RuntimeError:
    return RuntimeError(
        "workers died again and again at one step, probably because a partition, or x, and its work are larger than "
        "their memory: make partitions smaller (x.rechunk, or repartition of a dataframe), or give workers more memory"
    )
