"""A network bound to its kernels: the table they read, the description of x and y, and the calls themselves.

This is the one place where arrays become addresses; above it there are models, below it only memory.
"""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..activations import Activation
from ..base.sparse import SparseRows
from ..kernels import catalog, compiler, layout
from ..kernels.layout import Parameters, Place, Workspace, aligned
from ..losses import Loss
from ..optimizers import SGD, Optimizer
from ..spec import Spec
from .blocks import BLOCK, part_of_batch
from .shortcuts import OneSample, SmallGradient

__all__ = ["AT_ONCE", "Call", "Engine", "Feed", "Pace", "Steps", "Team"]

_FUSED = {"sigmoid": layout.FUSED_WITH_SIGMOID, "softmax": layout.FUSED_WITH_SOFTMAX}
AT_ONCE = 16 * BLOCK  # samples in one call of the forward kernel: the same for any number of threads
_SLICE_SECONDS = 0.02  # a kernel call lasts about this long, so that Ctrl-C is heard


@dataclass(frozen=True)
class Feed:
    """x and y as kernels see them. Holds the arrays, because ``row`` has only their addresses."""

    row: np.ndarray
    x: np.ndarray | SparseRows
    y: np.ndarray | None


class Call:
    """What a kernel does to which samples, whatever slices it is run in.

    Parameters
    ----------
    order : ndarray of int64
        The samples' numbers.
    block : int
        How many are in memory at once.
    outputs : ndarray, optional
        Where outputs go, a row a sample.
    gradient : ndarray, optional
        Where a gradient goes.
    entries : dict
        Of the job, from layout.ORDER on: number and value.

    Attributes
    ----------
    numbers : ndarray of float64
        The learning rate (or the factor of a gradient), then the totals.
    """

    def __init__(
        self,
        order: np.ndarray,
        block: int,
        outputs: np.ndarray | None = None,
        gradient: np.ndarray | None = None,
        entries: Mapping[int, int] | None = None,
        number: float = 0.0,
    ) -> None:
        self.order, self.block, self.outputs, self.gradient = order, block, outputs, gradient
        self.numbers = np.array([number, 0.0, 0.0])
        self.totals = self.numbers[1:]
        self._row = np.zeros(layout.JOB - layout.CALL, np.int64)
        self._entry(layout.BLOCK, block)
        self._entry(layout.GRADIENT, 0 if gradient is None else gradient.ctypes.data)
        for number_of_entry, value in (entries or {}).items():
            self._entry(number_of_entry, value)
        self._order = order.ctypes.data, order.itemsize
        self._outputs = (0, 0) if outputs is None else (outputs.ctypes.data, outputs.strides[0])

    def _entry(self, number: int, value: int) -> None:
        self._row[number - layout.CALL] = value

    def part(self, start: int, count: int) -> np.ndarray:
        """The entries of a job, from layout.CALL on, for samples start to start + count."""
        self._row[_OF_PART] = (
            self._order[0] + start * self._order[1],
            count,
            self._outputs[0] + start * self._outputs[1],
            start,
        )
        return self._row

    def mode(self, mode: int) -> None:
        self._entry(layout.MODE, mode)


_OF_PART = np.array([layout.ORDER, layout.COUNT, layout.OUTPUTS, layout.POSITION]) - layout.CALL


@dataclass(frozen=True)
class Steps:
    """How steps are made: an optimiser, what it remembers, penalties and limits (0: none).

    ``vectors`` are shaped like the parameters; ``options`` has the count of steps and all the numbers as kernels read
    them (layout.py).
    """

    optimizer: Optimizer
    vectors: list[np.ndarray]
    options: np.ndarray

    @classmethod
    def begin(
        cls,
        optimizer: Optimizer,
        params: np.ndarray,
        l1: float = 0.0,
        l2: float = 0.0,
        clip: float = 0.0,
        max_norm: float = 0.0,
    ) -> Steps:
        options = np.zeros(layout.N_OPTIONS)
        options[[layout.L1, layout.L2, layout.CLIP, layout.MAX_NORM]] = l1, l2, clip, max_norm
        constants = optimizer.constants
        options[layout.CONSTANTS : layout.CONSTANTS + len(constants)] = constants
        return cls(optimizer, [aligned(params.size, params.dtype) for _ in range(optimizer.states)], options)

    @property
    def linear(self) -> bool:
        """Whether a step is linear in the gradients, but for clipping: then per-sample steps can be taken in blocks."""
        o = self.options
        return isinstance(self.optimizer, SGD) and o[layout.L1] == 0 and o[layout.MAX_NORM] == 0

    @property
    def plain(self) -> bool:
        """Whether a step is just w -= lr · gradient."""
        return self.linear and not (self.vectors or self.options[layout.L2] or self.options[layout.CLIP])


class Team:
    """Threads that run a kernel together: each has a workspace, all have the same parameters and optimiser's state.

    Not for two callers at once.
    """

    def __init__(self, engine: Engine, vectors: Sequence[np.ndarray] = (), n_threads: int = 1) -> None:
        self._engine, self.n_threads = engine, n_threads
        parameters = engine.parameters(vectors)
        self._workspaces = [engine.workspace(BLOCK, parameters) for _ in range(n_threads)]
        self._shared = aligned(layout.APART * (1 + n_threads), np.dtype(np.float64))
        self._signals = self._shared[: layout.APART].view(np.int64)
        self._jobs = np.array([workspace.job.ctypes.data for workspace in self._workspaces], np.int64)
        self._parts = [parameters.part() for _ in range(n_threads)]
        entries = [layout.MEMBER, layout.TEAM, layout.JOBS, layout.SHARED, layout.RELAX, layout.PART_GRAD]
        for i, (workspace, (_, distance)) in enumerate(zip(self._workspaces, self._parts, strict=True)):
            addresses = self._jobs.ctypes.data, self._shared.ctypes.data, _relax(), distance
            workspace.job[entries] = i, n_threads, *addresses
        self._others: ThreadPoolExecutor | None = None

    @property
    def leader(self) -> Workspace:
        return self._workspaces[0]

    def run(self, kernel: str, feed: Feed, call: Call, start: int, count: int) -> None:
        """Run a kernel over ``call.order[start:start + count]`` on all threads."""
        run, leader = self._engine.run_in, self.leader
        if self.n_threads == 1:
            run(leader, kernel, feed, call, start, count)
            return
        if self._others is None:
            self._others = ThreadPoolExecutor(self.n_threads - 1, "fastmlp")
        followers: list[Future[None]] = []
        try:
            for workspace in self._workspaces[1:]:
                followers.append(self._others.submit(run, workspace, kernel, feed, call, start, count))
            run(leader, kernel, feed, call, start, count)
        except BaseException:
            self._signals[layout.GIVE_UP] = 1
            raise
        finally:
            wait(followers)
            self._signals[:] = 0
        for follower in followers:
            follower.result()

    def close(self) -> None:
        """End the threads."""
        if self._others is not None:
            self._others.shutdown()


class Engine:
    """The kernels of one spec, bound to a vector of parameters, with workspaces for blocks of samples."""

    def __init__(self, spec: Spec, places: Sequence[Place], params: np.ndarray) -> None:
        self._spec, self._places, self.params, self._dtype = spec, places, params, params.dtype
        self._real = params.dtype.name  # NumPy takes microseconds to make it
        self._gathers: dict[np.dtype, int] = {}
        self._idle: list[Team] = []  # each call takes one, so calls from threads do not meet
        self._ones: list[OneSample] = []  # likewise
        self._small: list[SmallGradient] = []  # likewise
        self.n_in, self.n_out = spec.n_in, spec.n_out
        self._alive: list[Any] = []  # compiled user functions
        self._slopes = np.array([layer.act.slope or 0.0 for layer in spec.layers])
        self._activations = [self._activation(layer.act) for layer in spec.layers]
        way_back = 0 if all(layer.act.elementwise for layer in spec.layers) else catalog.softmax_backward(self._real)
        self._ways_back = [0 if layer.act.elementwise else _entry(way_back) for layer in spec.layers]
        output = spec.layers[-1].act.name
        fused = spec.layers[-1].act.builtin and output in spec.loss.fused
        self._fused = _FUSED[output] if fused else layout.NOT_FUSED
        self._loss = self._loss_rows(spec.loss, output if fused else "")
        self._functions = [_entry(catalog.matrix_function(name, self._real)) for name in catalog.MATRIX_FUNCTIONS]
        self._affine = _affine(spec, self._dtype)

    def feed(self, x: np.ndarray | SparseRows, y: np.ndarray | None = None) -> Feed:
        """Describe checked x and y (model/data.py) to the kernels. Nothing is copied."""
        row = np.zeros(layout.FEED, np.int64)
        if isinstance(x, SparseRows):
            if self._spec.shift is not None and any(self._spec.shift):
                raise ValueError(
                    "x is sparse, but this network shifts its inputs, which leaves no zeros; use scale only"
                )
            parts = x.data, x.indptr, x.indices
            row[layout.X], row[layout.X_ROW], row[layout.X_COLUMN] = (part.ctypes.data for part in parts)
            row[layout.X_SPARSE] = True
            sources = f"{x.data.dtype.name}.{x.indices.dtype.name}"
            row[layout.X_GATHER] = _entry(catalog.gather_sparse(sources, self._real))
        else:
            row[layout.X], (row[layout.X_ROW], row[layout.X_COLUMN]) = x.ctypes.data, x.strides
            row[layout.X_GATHER] = self._gather(x)
        if self._affine is not None:
            row[layout.X_SHIFT], row[layout.X_SCALE] = (vector.ctypes.data for vector in self._affine)
        row[layout.LOSS], row[layout.FUSED] = self._loss, self._fused
        if y is not None:
            row[layout.Y] = y.ctypes.data
            row[layout.JUDGE] = layout.JUDGE_NOTHING
            if self._spec.multilabel:
                row[layout.JUDGE] = layout.JUDGE_LABELS
            elif self._spec.one_of_many:
                row[layout.JUDGE] = layout.JUDGE_ARGMAX
            if y.ndim == 1:
                row[layout.Y_COLUMN] = layout.CLASS_INDICES
            else:
                row[layout.Y_ROW], row[layout.Y_COLUMN] = y.strides[0], y.strides[1] or y.itemsize
                row[layout.Y_GATHER] = self._gather(y)
        return Feed(row, x, y)

    def forward(
        self, feed: Feed, order: np.ndarray, outputs: np.ndarray | None, judged: bool, n_threads: int = 1
    ) -> np.ndarray:
        """Outputs of the samples in ``order``; returns the sums of losses and of right answers."""
        mode = {layout.MODE: layout.JUDGED if judged else 0}
        parts = [slice(start, start + AT_ONCE) for start in range(0, len(order), AT_ONCE)]
        calls = [Call(order[part], BLOCK, None if outputs is None else outputs[part], entries=mode) for part in parts]

        def run(call: Call) -> None:
            self.run("forward", feed, call, 0, len(call.order))

        if min(n_threads, len(calls)) == 1:
            for call in calls:
                run(call)
        else:
            with ThreadPoolExecutor(n_threads) as threads:
                list(threads.map(run, calls))
        return np.sum([call.totals for call in calls], axis=0)

    def predict_one(self, x: np.ndarray) -> np.ndarray | None:
        """The outputs (1, n_out) of x (1, n_in), of any real dtype; None when x is not finite."""
        try:
            one = self._ones.pop()
        except IndexError:
            one = OneSample(self)
        outputs = one(x)
        self._ones.append(one)
        return outputs

    def small_gradient(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """`gradient` for up to AT_ONCE samples of x and y that are arrays of the right shape, of any real dtype.

        Where x or y is not finite, neither is the loss.
        """
        try:
            small = self._small.pop()
        except IndexError:
            small = SmallGradient(self)
        result = small(x, y)
        self._small.append(small)
        return result

    def gradient(
        self, feed: Feed, order: np.ndarray, weight: float, team: Team | None = None, outputs: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The sums of losses and of right answers over the samples in ``order``, of that weight together, and the
        gradient of their mean loss."""
        gradient, n = aligned(self.params.size, self._dtype), len(order)
        part = part_of_batch(n)
        call = Call(order, BLOCK, outputs, gradient, {layout.BATCH: n, layout.PART: part}, 1 / weight)
        with nullcontext(team) if team else self._lent() as members:
            for start, count in Pace().slices(n, members.n_threads * (AT_ONCE // part * part)):
                call.mode((layout.BEGINS if start == 0 else 0) | (layout.ENDS if start + count == n else 0))
                members.run("batches", feed, call, start, count)
        return call.totals, gradient

    def jacobian(self, feed: Feed, of_inputs: bool) -> np.ndarray:
        """The Jacobian of every sample's outputs, by the parameters or by the inputs."""
        n_columns = self._spec.n_in if of_inputs else self.params.size
        jacobian = np.empty((len(feed.x), self._spec.n_out, n_columns), self._dtype)
        mode = {layout.MODE: layout.OF_INPUTS if of_inputs else 0}
        call = Call(np.arange(len(feed.x)), 1, jacobian, entries=mode)
        for start, count in Pace().slices(len(feed.x), 1):
            self.run("jacobian", feed, call, start, count)
        return jacobian

    def layers(self, feed: Feed) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Every layer's z, and every layer's a with the input as the network sees it in front."""
        n, widths = len(feed.x), self._spec.widths
        zs = [np.empty((n, width), self._dtype) for width in widths[1:]]
        activations = [np.empty((n, width), self._dtype) for width in widths[1:]]
        call = Call(np.arange(n), BLOCK)
        with self._lent() as team:
            workspace = team.leader
            for start in range(0, n, BLOCK):
                count = min(BLOCK, n - start)
                team.run("forward", feed, call, start, count)
                for row, z, a in zip(workspace.table, zs, activations, strict=True):
                    z[start : start + count] = workspace.rows(row[layout.Z], count, z.shape[1])
                    a[start : start + count] = workspace.rows(row[layout.A], count, a.shape[1])
        x = feed.x.toarray() if isinstance(feed.x, SparseRows) else feed.x
        inputs = x.astype(self._dtype)
        if self._affine is not None:
            shift, scale = self._affine
            inputs = (inputs - shift) * scale
        return zs, [inputs, *activations]

    def run(self, kernel: str, feed: Feed, call: Call, start: int, count: int) -> None:
        """Run a kernel over ``call.order[start:start + count]``; safe from several threads at once."""
        with self._lent() as team:
            team.run(kernel, feed, call, start, count)

    def run_in(self, workspace: Workspace, kernel: str, feed: Feed, call: Call, start: int, count: int) -> None:
        """The same, in a given workspace."""
        job = workspace.job
        job[: layout.FEED] = feed.row
        job[layout.CALL :] = call.part(start, count)
        catalog.kernel(kernel, self._real)(self.params.ctypes.data, job.ctypes.data, call.numbers.ctypes.data)

    def run_epochs(
        self, workspace: Workspace, kernel: str, feed: Feed, call: Call, numbers: np.ndarray, finite: np.ndarray
    ) -> int:
        """Run a training kernel for each row of ``numbers`` (epochs, NUMBERS), every epoch over its own equal share of
        ``call.order``. Returns how many epochs stayed finite; ``finite`` has the parameters of the last of them."""
        job, epochs = workspace.job, len(numbers)
        job[: layout.FEED] = feed.row
        job[layout.CALL :] = call.part(0, len(call.order) // epochs)
        addresses = (array.ctypes.data for array in (self.params, job, numbers, finite))
        return int(catalog.run_epochs(self._real)(*addresses, _entry(catalog.kernel(kernel, self._real)), epochs))

    def team(self) -> Team:
        """A new team of one."""
        return Team(self)

    @contextmanager
    def _lent(self) -> Iterator[Team]:
        """A team of one, for this caller alone."""
        try:
            team = self._idle.pop()
        except IndexError:
            team = self.team()
        yield team
        self._idle.append(team)

    def step(self, optimizer: Optimizer) -> int:
        """The address of an optimiser's rule."""
        return _entry(catalog.step(optimizer.name, optimizer.states, self._real))

    def dropout(self) -> int:
        """The address of what leaves units out."""
        return _entry(catalog.dropout(self._real))

    def parameters(self, vectors: Sequence[np.ndarray] = ()) -> Parameters:
        return Parameters(self._places, self.params, vectors)

    def workspace(self, block: int, parameters: Parameters) -> Workspace:
        workspace = Workspace(self._places, block, parameters, self._dtype)
        workspace.table[:, layout.ACT] = self._activations
        workspace.table[:, layout.SOFTMAX] = self._ways_back
        workspace.job[layout.SLOPES] = self._slopes.ctypes.data
        workspace.job[layout.PRODUCT : layout.PRODUCT + len(self._functions)] = self._functions
        return workspace

    def _activation(self, activation: Activation) -> int:
        if activation.builtin:
            return _entry(catalog.activation(activation.name, self._real))
        return self._keep(catalog.private_activation(activation.function, activation.derivative_function, self._real))

    def _loss_rows(self, loss: Loss, output: str) -> int:
        if loss.builtin:
            return _entry(catalog.loss(loss.name, output, self._real))
        return self._keep(catalog.private_loss(loss.function, loss.derivative, self._real))

    def _gather(self, array: np.ndarray) -> int:
        if array.dtype not in self._gathers:
            self._gathers[array.dtype] = _entry(catalog.gather(array.dtype.name, self._real))
        return self._gathers[array.dtype]

    def _keep(self, compiled: tuple[compiler.Function, Any]) -> int:
        self._alive.append(compiled)
        return _entry(compiled[0])


class Pace:
    """Cuts samples into slices that a kernel takes about 20 ms for, and learns from each how many that is."""

    def __init__(self) -> None:
        self._samples = 0.0

    def slices(self, n: int, step: int) -> Iterator[tuple[int, int]]:
        """(start, count) of slices of n samples, each but the last a multiple of ``step``, for the caller's loop."""
        start = 0
        while start < n:
            count = min(max(step, int(self._samples) // step * step), n - start)
            begin = time.perf_counter()
            yield start, count
            growth = _SLICE_SECONDS / max(time.perf_counter() - begin, 1e-9)
            learnt = count * min(8.0, growth)
            self._samples = max(self._samples, learnt) if growth > 1 else learnt
            start += count


@cache
def _relax() -> int:
    """The address of the system's function that lets other threads run."""
    if sys.platform == "win32":
        return _entry(ctypes.windll.kernel32.SwitchToThread)
    return _entry(ctypes.CDLL(None).sched_yield)


def _entry(function: compiler.Function) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _affine(spec: Spec, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray] | None:
    """The input's shift and scale as vectors that kernels may read a cache line beyond; None where there is neither."""
    if spec.shift is None and spec.scale is None:
        return None
    shift, scale = aligned(spec.n_in, dtype), aligned(spec.n_in, dtype)
    shift[:] = 0.0 if spec.shift is None else spec.shift
    scale[:] = 1.0 if spec.scale is None else spec.scale
    return shift, scale
