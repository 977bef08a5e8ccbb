"""The threads that run a kernel together."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..kernels.layout import MEMBER, SHARED, aligned
from .binding import Binding, DataView, address_of
from .call import KernelCall
from .jacobians import jacobian_work
from .memory import Workspace

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["LONG", "Team"]

LONG = 10**9  # a call of more multiply-adds is long: in one pass over the parameters, they take a core about 20 ms


class Team:
    """Threads that run a kernel together: each has a workspace, all have the same parameters and optimiser's state.

    It is not thread-safe: whoever calls `run` must have it alone.

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
        Whether the threads share every block, not the parts of a batch.
    """

    def __init__(
        self,
        binding: Binding,
        vectors: Sequence[np.ndarray] = (),
        n_threads: int = 1,
        copied: bool = False,
        block: int | None = None,
        together: bool = False,
    ) -> None:
        self._binding, self.n_threads = binding, n_threads
        parameters = binding.parameters(vectors, copied)
        self._workspaces = [binding.workspace(block or binding.block, parameters)]
        leader = self.leader if together else None
        while len(self._workspaces) < n_threads:
            self._workspaces.append(binding.workspace(block or binding.block, parameters, leader))
        self._shared, self._members = aligned(1, SHARED), aligned(n_threads, MEMBER)
        self._jobs = np.array([workspace.address for workspace in self._workspaces], np.int64)
        self._gradients = [parameters.extra_gradient() for _ in range(n_threads)]
        for i, (workspace, (_, distance)) in enumerate(zip(self._workspaces, self._gradients, strict=True)):
            record = workspace.job["team"]
            record["size"], record["member"], record["part_gradient"] = n_threads, i, distance
            record["jobs"], record["shared"] = self._jobs.ctypes.data, self._shared.ctypes.data
            record["members"], record["yield_thread"] = self._members.ctypes.data, _yield_thread()
            record["together"] = together
        self._others: ThreadPoolExecutor | None = None

    @property
    def leader(self) -> Workspace:
        """The workspace of the member that runs in the caller's thread."""
        return self._workspaces[0]

    def run(self, kernel: str, view: DataView, call: KernelCall, start: int, count: int) -> None:
        """Run a kernel over ``call.order[start:start + count]`` on all threads."""
        run, leader = self._run_on, self.leader
        if self.n_threads == 1:
            if self._is_long(kernel, call, count):
                self._run_aside(kernel, view, call, start, count)
            else:
                run(leader, kernel, view, call, start, count)
            return
        from concurrent.futures import ThreadPoolExecutor, wait

        if self._others is None:
            self._others = ThreadPoolExecutor(self.n_threads - 1, "fastmlp")
        followers: list[Future[None]] = []
        try:
            for workspace in self._workspaces[1:]:
                followers.append(self._others.submit(run, workspace, kernel, view, call, start, count))
            run(leader, kernel, view, call, start, count)
        except BaseException:
            self._shared["give_up"] = 1
            raise
        finally:
            wait(followers)
            self._shared["arrivals"] = self._shared["give_up"] = 0
        for follower in followers:
            follower.result()

    def _run_on(
        self, workspace: Workspace, kernel: str, view: DataView, call: KernelCall, start: int, count: int
    ) -> None:
        """Run a member's share. As a method, it keeps the team's memory for a thread that the caller no longer awaits:
        a second Ctrl-C ends the waiting for what the first one told to stop. Where it fails, the others give up: they
        would wait for it at the next barrier."""
        try:
            self._binding.run(workspace, kernel, view, call, start, count)
        except BaseException:
            self._shared["give_up"] = 1
            raise

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

    def _run_aside(self, kernel: str, view: DataView, call: KernelCall, start: int, count: int) -> None:
        """Run a long call in a thread of its own, because Ctrl-C reaches Python only between kernel calls; then the
        kernel ends at the next sample, or phase of a block."""
        from concurrent.futures import ThreadPoolExecutor

        self._shared["give_up"] = 0
        with ThreadPoolExecutor(1, "fastmlp") as aside:
            try:
                aside.submit(self._run_on, self.leader, kernel, view, call, start, count).result()
            except BaseException:
                self._shared["give_up"] = 1
                raise

    def close(self) -> None:
        """End the threads."""
        if self._others is not None:
            self._others.shutdown()


@cache
def _yield_thread() -> int:
    """The address of the system's function that lets other threads run."""
    if sys.platform == "win32":
        return address_of(ctypes.windll.kernel32.SwitchToThread)
    return address_of(ctypes.CDLL(None).sched_yield)
