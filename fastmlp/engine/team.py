"""The threads that run a kernel together."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.layout import MEMBER, SHARED, aligned
from .binding import Binding, DataView, address_of
from .call import KernelCall
from .choice import ThreadChoice
from .jacobians import jacobian_work
from .memory import Workspace

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["LONG", "Team"]

_WAKING = 0.0002  # seconds that a thread may need to begin
_SMALL, _MOST_IDLE = 1 << 18, 4  # bytes of a team, and teams of a form, that are kept; forms: see `_idle`

LONG = 10**9  # a call of more multiply-adds is long: in one pass over the parameters, they take a core about 20 ms


class Team:
    """Threads that run a kernel together: each has a workspace, all have the same parameters and optimiser's state.

    It is not thread-safe: only one thread may call `run` at a time.

    Parameters
    ----------
    binding : Binding
    vectors : sequence of ndarray, (n_params,) each
        The optimiser's state.
    n_threads : int
    copied : bool
        Whether kernels must have a copy of the parameters.
    block : int, optional
        How many samples a kernel takes together at most; default: as many as of a batch.
    together : bool
        Whether the threads share every block of a batch, not its parts.
    by_sample : bool
        Whether they share the blocks of per-sample SGD.
    in_parts : bool
        Whether a batch may have several parts, whose gradients are added up.
    curved : int
        How many of the activations' derivatives the workspaces have beside the first.
    choosing : bool
        Whether the team chooses how many of its threads run, which changes no bits; else all do. Of those that share
        batches all begin, because a batch is long; of per-sample SGD one.
    """

    def __init__(
        self,
        binding: Binding,
        vectors: Sequence[np.ndarray] = (),
        n_threads: int = 1,
        copied: bool = False,
        block: int | None = None,
        *,
        together: bool = False,
        by_sample: bool = False,
        in_parts: bool = True,
        curved: int = 0,
        choosing: bool = False,
    ) -> None:
        self._binding, self.n_threads = binding, n_threads
        self._idle: list[Team] | None = None  # where it may wait for other work
        self._parameters = parameters = binding.parameters(vectors, copied)
        self._workspaces = [binding.workspace(block or binding.block, parameters, None, curved)]
        leader = self.leader if together else None
        while len(self._workspaces) < n_threads:
            self._workspaces.append(binding.workspace(block or binding.block, parameters, leader, curved))
        self._shared, self._members = aligned(1, SHARED), aligned(n_threads, MEMBER)
        self._jobs = np.array([workspace.address for workspace in self._workspaces], np.int64)
        self._gradients = [parameters.extra_gradient() for _ in range(n_threads)] if in_parts else []
        for workspace, (_, distance) in zip(self._workspaces, self._gradients, strict=False):
            workspace.job["team"]["part_gradient"] = distance
        yield_thread, sleep, nap = _waiting()
        for i, workspace in enumerate(self._workspaces):
            record = workspace.job["team"]
            record["member"] = i
            record["jobs"], record["shared"] = self._jobs.ctypes.data, self._shared.ctypes.data
            record["members"], record["yield_thread"] = self._members.ctypes.data, yield_thread
            record["sleep"], record["nap"], record["together"] = sleep, nap, together
            if by_sample and n_threads > 1:
                workspace.read_ahead(self.leader)
        self._by_sample, self._size = by_sample, 0
        first = 1 if by_sample else n_threads
        self._choice = ThreadChoice(n_threads, first) if choosing and n_threads > 1 else None
        self._ran = 0.0  # seconds for which the threads of the last piece had a core
        self._set_size(n_threads)
        self._others: ThreadPoolExecutor | None = None
        self._process = 0  # whose threads those are

    @classmethod
    def alone(
        cls,
        binding: Binding,
        vectors: Sequence[np.ndarray],
        copied: bool,
        block: int,
        *,
        by_sample: bool,
        in_parts: bool,
    ) -> Team:
        """A team of one with these arguments: one that is idle, where a network of the same form has given one back."""
        idle = _idle(binding.form, len(vectors), copied, block, by_sample, in_parts)
        try:
            team = idle.pop()
        except IndexError:
            team = cls(binding, vectors, 1, copied, block, by_sample=by_sample, in_parts=in_parts)
            size = team._parameters.nbytes + team.leader.nbytes + sum(memory.nbytes for memory, _ in team._gradients)
            team._idle = idle if size <= _SMALL else None
        else:
            team._take_over(binding, vectors)
        return team

    def give_back(self) -> None:
        """End the work: a team that `alone` made waits for another network of its form, if it is small. Not after an
        error, when a kernel may not have put its lists in order."""
        self.close()
        if self._idle is not None and len(self._idle) < _MOST_IDLE:
            self._parameters.let_go()
            del self._binding
            self._idle.append(self)

    def _take_over(self, binding: Binding, vectors: Sequence[np.ndarray]) -> None:
        """Work for another network of the same form."""
        self._binding = binding
        moved = self._parameters.point_at(binding.params, binding.params_at, vectors)
        if moved:
            self.leader.follow(moved)
            self._gradients = [(memory, distance - moved) for memory, distance in self._gradients]
            for _, distance in self._gradients:
                self.leader.job["team"]["part_gradient"] = distance

    @property
    def leader(self) -> Workspace:
        """The workspace of the member that runs in the caller's thread."""
        return self._workspaces[0]

    def run(self, kernel: str, view: DataView, call: KernelCall, start: int, count: int) -> None:
        """Run a kernel over ``call.order[start:start + count]``."""
        if self._choice is None or (self._by_sample and not kernel.startswith("samples")):
            n_threads = 1 if self._by_sample else self.n_threads  # "batches" takes steps that cannot be taken in blocks
            self._run_piece(n_threads, kernel, view, call, start, count)
            return
        end, step = start + count, call.block if self._by_sample else call.batch
        while start < end:
            piece = self._choice.next(end - start, step)
            patience = piece.seconds if self._by_sample else math.inf  # "batches" hears of no time
            begin = time.perf_counter()
            taken = self._run_piece(piece.n_threads, kernel, view, call, start, piece.n_samples, patience)
            seconds = time.perf_counter() - begin
            alone = piece.n_threads == 1
            ran = 1.0 if alone else (self._ran + _WAKING * piece.n_threads) / (seconds * piece.n_threads)
            self._choice.learn(piece, taken, seconds, ran)
            start += taken

    def run_epochs(self, kernel: str, view: DataView, call: KernelCall, finite: np.ndarray) -> int:
        """`Binding.run_epochs` on the leader alone: for epochs that are too short for threads."""
        self._set_size(1)
        return self._binding.run_epochs(self.leader, kernel, view, call, finite)

    def _run_piece(
        self,
        n_threads: int,
        kernel: str,
        view: DataView,
        call: KernelCall,
        start: int,
        count: int,
        seconds: float = math.inf,
    ) -> int:
        """Run a kernel over some of the call's samples; return how many of them it took: fewer, in whole blocks, if
        several threads needed more than so many seconds."""
        is_long = self._is_long(kernel, view, call, count)
        if n_threads == 1 and not is_long:
            self._set_size(1)
            self._binding.run(self.leader, kernel, view, call, start, count)
            return count
        work = partial(self._binding.run, kernel=kernel, view=view, call=call, start=start, count=count)
        self._shared["taken"] = 0
        self._run_together(n_threads, work, is_long, seconds)
        return int(self._shared["taken"][0]) if n_threads > 1 and self._by_sample else count

    def _set_size(self, n_threads: int) -> None:
        if n_threads != self._size:
            self._size = n_threads
            for workspace in self._workspaces:
                workspace.job["team"]["size"] = n_threads

    def _run_together(self, n_threads: int, work: Callable[[Workspace], None], is_long: bool, seconds: float) -> None:
        """Let so many members do their work, and tell them when they are late.

        The leader runs in the caller's thread; but in a long call in one of its own, because Ctrl-C reaches Python only
        between kernel calls. Then the kernel ends at the next sample, or phase of a block.
        """
        self._set_size(n_threads)
        aside = is_long and (n_threads == 1 or self._by_sample)
        from concurrent.futures import wait

        members, futures = self._workspaces[0 if aside else 1 : n_threads], []
        ended, ran = Event(), 0.0
        try:
            for workspace in members:
                futures.append(self._threads().submit(self._run_member, work, workspace))
            if math.isfinite(seconds):
                self._threads().submit(self._watch, ended, seconds)
            if aside:
                futures[0].result()
            else:
                ran = self._run_member(work, self.leader)
        except BaseException:
            self._shared["stop" if aside and len(futures) == len(members) else "give_up"] = 1
            raise
        finally:
            ended.set()
            wait(futures)
            for name in ("arrivals", "give_up", "stop", "late"):
                self._shared[name] = 0
            if self.n_threads == 1:
                self.close()
        self._ran = ran + sum(future.result() for future in futures)

    def _watch(self, ended: Event, seconds: float) -> None:
        """Tell the members when they are late. No thread waits for this: at worst the next call is said to be late,
        which costs a little time."""
        if not ended.wait(seconds):
            self._shared["late"] = 1

    def _run_member(self, work: Callable[[Workspace], None], workspace: Workspace) -> float:
        """Do a member's work; return for how many seconds it had a core. As a method, it keeps the team's memory for a
        thread that the caller no longer awaits: a second Ctrl-C ends the waiting for what the first one told to stop.
        Where it fails, the others give up: they would wait for it at the next barrier."""
        begin = time.thread_time()
        try:
            work(workspace)
        except BaseException:
            self._shared["give_up"] = 1
            raise
        return time.thread_time() - begin

    def _threads(self) -> ThreadPoolExecutor:
        """The threads of this process: a fork's child has none of its parent's."""
        from concurrent.futures import ThreadPoolExecutor

        if self._others is None or self._process != os.getpid():
            self._others, self._process = ThreadPoolExecutor(self.n_threads + 1, "fastmlp"), os.getpid()
        return self._others

    def _is_long(self, kernel: str, view: DataView, call: KernelCall, count: int) -> bool:
        """Whether a call may last longer than people wait for Ctrl-C.

        What takes samples one by one reads the parameters from memory for each, ten times the time of multiplying with
        them; calls for these are cut to 20 ms, but never within a block.
        """
        work = count * self._binding.params.size * (1 + view.tangents)
        if kernel.startswith("samples"):
            work = 10 * min(count, call.block) * self._binding.params.size
        elif kernel == "jacobian":
            work = count * jacobian_work(self._binding.spec, self._binding.params.size, call.by_inputs)
        elif kernel == "hvp":
            work *= 3
        elif kernel == "input_hessians":
            work *= self._binding.spec.n_in * (1 + self._binding.spec.n_out)
        elif kernel == "normal_equations":
            work *= self._binding.spec.n_out * (self._binding.params.size // 2 + 50)
        return work > LONG

    def close(self) -> None:
        """End the threads."""
        if self._others is not None and self._process == os.getpid():
            self._others.shutdown()
            self._others = None


@lru_cache(maxsize=16)
def _idle(
    form: tuple[Any, ...], n_vectors: int, copied: bool, block: int, by_sample: bool, in_parts: bool
) -> list[Team]:
    """Idle teams of recent forms."""
    return []


@cache
def _waiting() -> tuple[int, int, int]:
    """The addresses of the system's functions that let other threads run, for a moment and for a while, and how long a
    while is, 50 µs or 1 ms, in the second one's unit."""
    if sys.platform == "win32":
        kernel32 = ctypes.windll.kernel32
        return address_of(kernel32.SwitchToThread), address_of(kernel32.Sleep), 1
    library = ctypes.CDLL(None)
    return address_of(library.sched_yield), address_of(library.usleep), 50
