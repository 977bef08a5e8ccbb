"""The threads that run a kernel together."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.layout import MEMBER, SHARED, aligned
from .binding import Binding, DataView, address_of
from .blocks import BLOCK
from .call import KernelCall
from .choice import ThreadChoice
from .jacobians import jacobian_work
from .memory import Workspace

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["LONG", "Team"]

LONG = 10**9  # a call of more multiply-adds is long: in one pass over the parameters, they take a core about 20 ms


class Team:
    """Threads that run a kernel together: each has a workspace, all have the same parameters and optimiser's state.

    A team that works ``by_sample`` shares the blocks of per-sample SGD and chooses how many of its threads run; another
    one shares batches, with all of them. It is not thread-safe: whoever calls `run` must have it alone.
    """

    def __init__(
        self,
        binding: Binding,
        vectors: Sequence[np.ndarray] = (),
        n_threads: int = 1,
        copied: bool = False,
        by_sample: bool = False,
    ) -> None:
        self._binding, self.n_threads = binding, n_threads
        parameters = binding.parameters(vectors, copied)
        self._workspaces = [binding.workspace(BLOCK, parameters) for _ in range(n_threads)]
        self._shared, self._members = aligned(1, SHARED), aligned(n_threads, MEMBER)
        self._jobs = np.array([workspace.address for workspace in self._workspaces], np.int64)
        self._gradients = [] if by_sample else [parameters.extra_gradient() for _ in range(n_threads)]
        for workspace, (_, distance) in zip(self._workspaces, self._gradients, strict=False):
            workspace.job["team"]["part_gradient"] = distance
        yield_thread, sleep, nap = _waiting()
        for i, workspace in enumerate(self._workspaces):
            record = workspace.job["team"]
            record["member"] = i
            record["jobs"], record["shared"] = self._jobs.ctypes.data, self._shared.ctypes.data
            record["members"], record["yield_thread"] = self._members.ctypes.data, yield_thread
            record["sleep"], record["nap"] = sleep, nap
            if by_sample and n_threads > 1:
                workspace.read_ahead(self.leader)
        self._size, self._choice = 0, ThreadChoice(n_threads) if by_sample else None
        self._set_size(n_threads)
        self._others: ThreadPoolExecutor | None = None
        self._process = 0  # whose threads those are

    @property
    def leader(self) -> Workspace:
        """The workspace of the member that runs in the caller's thread."""
        return self._workspaces[0]

    def run(self, kernel: str, view: DataView, call: KernelCall, start: int, count: int) -> None:
        """Run a kernel over ``call.order[start:start + count]``."""
        for n_threads, first, n in self._pieces(kernel, start, count, call.block):
            work = partial(self._binding.run, kernel=kernel, view=view, call=call, start=first, count=n)
            self._run_together(n_threads, work, self._is_long(kernel, call, n))

    def run_epochs(self, kernel: str, view: DataView, call: KernelCall, numbers: np.ndarray, finite: np.ndarray) -> int:
        """Run a training kernel once for each of the NUMBERS records (epochs,), every epoch over its own equal share of
        ``call.order``. Returns how many epochs stayed finite; ``finite`` gets the parameters of the last of them."""
        n_samples, done = len(call.order) // len(numbers), 0
        for n_threads, start, count in self._pieces(kernel, 0, len(call.order), n_samples):
            epochs = slice(start // n_samples, (start + count) // n_samples)
            work = partial(
                self._binding.run_epochs, kernel=kernel, view=view, call=call, numbers=numbers[epochs], finite=finite,
                start=start, n_samples=n_samples,
            )  # fmt: skip
            done += self._run_together(n_threads, work, False)
            if done < epochs.stop:
                break
        return done

    def _pieces(self, kernel: str, start: int, count: int, step: int) -> Iterator[tuple[int, int, int]]:
        """(n_threads, start, count) of the pieces to run a kernel in, of multiples of ``step``."""
        if self._choice is None:
            return iter([(self.n_threads, start, count)])
        if not kernel.startswith("samples"):  # steps that cannot be taken in blocks
            return iter([(1, start, count)])
        return self._choice.pieces(start, count, step)

    def _set_size(self, n_threads: int) -> None:
        if n_threads != self._size:
            self._size = n_threads
            for workspace in self._workspaces:
                workspace.job["team"]["size"] = n_threads

    def _run_together(self, n_threads: int, work: Callable[[Workspace], Any], is_long: bool) -> Any:
        """Let so many members do their work; return the leader's result.

        The leader runs in the caller's thread; but in a long call in one of its own, because Ctrl-C reaches Python only
        between kernel calls. Then the kernel ends at the next sample, or phase of a block.
        """
        self._set_size(n_threads)
        aside = is_long and (n_threads == 1 or self._choice is not None)
        if n_threads == 1 and not aside:
            return work(self.leader)
        from concurrent.futures import wait

        members, futures = self._workspaces[0 if aside else 1 : n_threads], []
        try:
            for workspace in members:
                futures.append(self._threads().submit(self._run_member, work, workspace))
            result = futures[0].result() if aside else work(self.leader)
        except BaseException:
            self._shared["stop" if aside and len(futures) == len(members) else "give_up"] = 1
            raise
        finally:
            wait(futures)
            self._shared["arrivals"] = self._shared["give_up"] = self._shared["stop"] = 0
            if self.n_threads == 1:
                self.close()
        for future in futures:
            future.result()
        return result

    def _run_member(self, work: Callable[[Workspace], Any], workspace: Workspace) -> Any:
        """Do a member's work. As a method, it keeps the team's memory for a thread that the caller no longer awaits: a
        second Ctrl-C ends the waiting for what the first one told to stop. Where it fails, the others give up: they
        would wait for it at the next barrier."""
        try:
            return work(workspace)
        except BaseException:
            self._shared["give_up"] = 1
            raise

    def _threads(self) -> ThreadPoolExecutor:
        """The threads of this process: a fork's child has none of its parent's."""
        from concurrent.futures import ThreadPoolExecutor

        if self._others is None or self._process != os.getpid():
            self._others, self._process = ThreadPoolExecutor(self.n_threads, "fastmlp"), os.getpid()
        return self._others

    def _is_long(self, kernel: str, call: KernelCall, count: int) -> bool:
        """Whether a call may last longer than people wait for Ctrl-C.

        What takes samples one by one reads the parameters from memory for each, ten times the time of multiplying with
        them; calls for these are cut to 20 ms, but never within a block.
        """
        work = count * self._binding.params.size
        if kernel.startswith("samples"):
            work = 10 * min(count, call.block) * self._binding.params.size
        elif kernel == "jacobian":
            work = count * jacobian_work(self._binding.spec, self._binding.params.size, call.by_inputs)
        return work > LONG

    def close(self) -> None:
        """End the threads."""
        if self._others is not None and self._process == os.getpid():
            self._others.shutdown()
            self._others = None


@cache
def _waiting() -> tuple[int, int, int]:
    """The addresses of the system's functions that let other threads run, for a moment and for a while, and how long a
    while is, 50 µs or 1 ms, in the second one's unit."""
    if sys.platform == "win32":
        kernel32 = ctypes.windll.kernel32
        return address_of(kernel32.SwitchToThread), address_of(kernel32.Sleep), 1
    library = ctypes.CDLL(None)
    return address_of(library.sched_yield), address_of(library.usleep), 50
