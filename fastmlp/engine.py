"""A network bound to its kernels: the table they read, the description of x and y, and the calls themselves.

This is the one place where arrays become addresses; above it there are models, below it only memory.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import kernels
from .activations import Activation
from .kernels import compiler, layout
from .kernels.layout import Place, Workspace, aligned
from .losses import Loss
from .sparse import SparseRows
from .spec import Spec

__all__ = ["BLOCK", "Call", "Engine", "Feed", "in_slices", "sample_block"]

BLOCK = 64  # the most samples whose layers are in memory together; more no longer gains, and leaves the L2 cache
_FUSED = {"sigmoid": layout.FUSED_WITH_SIGMOID, "softmax": layout.FUSED_WITH_SOFTMAX}
_SLICE_SECONDS = 0.02  # a kernel call lasts about this long, so that Ctrl-C is heard


@dataclass(frozen=True)
class Feed:
    """x and y as kernels see them. Holds the arrays, because ``row`` has only their addresses."""

    row: np.ndarray
    x: np.ndarray | SparseRows
    y: np.ndarray | None


class OneSample:
    """The shortest way through a network for one sample: everything is bound once, each call fills in a row.

    Not for two threads at once: `Engine.predict_one` lends each caller one of its own.
    """

    def __init__(self, engine: Engine, workspace: Workspace, params: np.ndarray) -> None:
        self.row = np.zeros((1, engine.n_in), params.dtype)
        self.out = np.zeros((1, engine.n_out), params.dtype)
        self._feed, self._workspace = engine.feed(self.row), workspace
        self._order, self._numbers = np.zeros(1, np.int64), np.zeros(layout.NUMBERS)
        job = workspace.job
        job[: layout.FEED] = self._feed.row
        job[[layout.ORDER, layout.OUTPUTS]] = self._order.ctypes.data, self.out.ctypes.data
        job[[layout.COUNT, layout.BLOCK, layout.MODE]] = 1, 1, layout.CHECKED
        addresses = (params.ctypes.data, job.ctypes.data, self._numbers.ctypes.data)
        self.run = partial(kernels.kernel("forward", params.dtype.name), *map(ctypes.c_void_p, addresses))


class Call:
    """What a kernel does to which samples, whatever slices it is run in.

    ``numbers`` has the learning rate (or the factor of a gradient), then the totals.
    """

    def __init__(
        self,
        order: np.ndarray,
        block: int,
        mode: int,
        outputs: np.ndarray | None,
        number: float = 0.0,
        gradient: np.ndarray | None = None,
    ) -> None:
        self.order, self.block, self.mode, self.outputs, self.gradient = order, block, mode, outputs, gradient
        self.numbers = np.array([number, 0.0, 0.0])
        self.totals = self.numbers[1:]


class Engine:
    """The kernels of one spec, bound to a vector of parameters, with workspaces for blocks of samples."""

    def __init__(self, spec: Spec, places: Sequence[Place], params: np.ndarray) -> None:
        self._spec, self._places, self._params, self._dtype = spec, places, params, params.dtype
        self._idle: list[Workspace] = []  # each call takes one, so calls from threads do not meet
        self._ones: list[OneSample] = []  # likewise
        self.n_in, self.n_out = spec.n_in, spec.n_out
        self._alive: list[Any] = []  # compiled user functions
        self._slopes = np.array([layer.act.slope or 0.0 for layer in spec.layers])
        self._activations = [self._activation(layer.act) for layer in spec.layers]
        output = spec.layers[-1].act.name
        fused = spec.layers[-1].act.builtin and output in spec.loss.fused
        self._fused = _FUSED[output] if fused else layout.NOT_FUSED
        self._loss = self._loss_rows(spec.loss, output if fused else "")
        self._functions = [_entry(kernels.matrix_function(name, self._dtype.name)) for name in kernels.MATRIX_FUNCTIONS]
        self._affine = _affine(spec, self._dtype)

    def feed(self, x: np.ndarray | SparseRows, y: np.ndarray | None = None) -> Feed:
        """Describe checked x and y (validation.py) to the kernels. Nothing is copied."""
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
            row[layout.X_GATHER] = _entry(kernels.gather_sparse(sources, self._dtype.name))
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

    def forward(self, feed: Feed, order: np.ndarray, outputs: np.ndarray | None, judged: bool) -> np.ndarray:
        """Outputs of the samples in ``order``; returns the sums of losses and of right answers."""
        call = Call(order, BLOCK, layout.JUDGED if judged else 0, outputs)
        for start, count in in_slices(len(order), BLOCK):
            self.run("forward", feed, call, start, count)
        return call.totals

    def predict_one(self, x: np.ndarray) -> np.ndarray | None:
        """The outputs (1, n_out) of x (1, n_in), of any real dtype; None when x is not finite."""
        try:
            one = self._ones.pop()
        except IndexError:
            one = OneSample(self, self._new_workspace(1), self._params)
        one.row[...] = x
        refused = one.run()
        outputs = None if refused else one.out.copy()
        self._ones.append(one)
        return outputs

    def jacobian(self, feed: Feed, of_inputs: bool) -> np.ndarray:
        """The Jacobian of every sample's outputs, by the parameters or by the inputs."""
        n_columns = self._spec.n_in if of_inputs else self._params.size
        jacobian = np.empty((len(feed.x), self._spec.n_out, n_columns), self._dtype)
        call = Call(np.arange(len(feed.x)), 1, layout.OF_INPUTS if of_inputs else 0, jacobian)
        for start, count in in_slices(len(feed.x), 1):
            self.run("jacobian", feed, call, start, count)
        return jacobian

    def layers(self, feed: Feed) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Every layer's z, and every layer's a with the input as the network sees it in front."""
        n, widths = len(feed.x), self._spec.widths
        zs = [np.empty((n, width), self._dtype) for width in widths[1:]]
        activations = [np.empty((n, width), self._dtype) for width in widths[1:]]
        call = Call(np.arange(n), BLOCK, 0, None)
        workspace = self._take()
        for start in range(0, n, BLOCK):
            count = min(BLOCK, n - start)
            self.run("forward", feed, call, start, count, workspace=workspace)
            for row, z, a in zip(workspace.table, zs, activations, strict=True):
                z[start : start + count] = workspace.rows(row[layout.Z], count, z.shape[1])
                a[start : start + count] = workspace.rows(row[layout.A], count, a.shape[1])
        self._idle.append(workspace)
        x = feed.x.toarray() if isinstance(feed.x, SparseRows) else feed.x
        inputs = x.astype(self._dtype)
        if self._affine is not None:
            shift, scale = self._affine
            inputs = (inputs - shift) * scale
        return zs, [inputs, *activations]

    def run(
        self, kernel: str, feed: Feed, call: Call, start: int, count: int, *, workspace: Workspace | None = None
    ) -> None:
        """Run a kernel over ``call.order[start:start + count]``; safe from several threads at once."""
        own = workspace or self._take()
        job = own.job
        job[: layout.FEED] = feed.row
        job[layout.ORDER] = call.order.ctypes.data + start * call.order.itemsize
        job[layout.COUNT], job[layout.BLOCK], job[layout.MODE] = count, call.block, call.mode
        job[layout.OUTPUTS] = 0
        if call.outputs is not None:
            job[layout.OUTPUTS] = call.outputs.ctypes.data + start * call.outputs.strides[0]
        job[layout.GRADIENT] = 0 if call.gradient is None else call.gradient.ctypes.data
        kernels.kernel(kernel, self._dtype.name)(self._params.ctypes.data, job.ctypes.data, call.numbers.ctypes.data)
        if workspace is None:
            self._idle.append(own)

    def _take(self) -> Workspace:
        try:
            return self._idle.pop()
        except IndexError:
            return self._new_workspace()

    def _new_workspace(self, block: int = BLOCK) -> Workspace:
        workspace = Workspace(self._places, block, self._params)
        workspace.table[:, layout.ACT] = self._activations
        workspace.table[:, layout.SOFTMAX] = [not layer.act.elementwise for layer in self._spec.layers]
        workspace.job[layout.SLOPES] = self._slopes.ctypes.data
        workspace.job[layout.PRODUCT : layout.PRODUCT + len(self._functions)] = self._functions
        return workspace

    def _activation(self, activation: Activation) -> int:
        name = self._dtype.name
        if activation.builtin:
            return _entry(kernels.activation(activation.name, name))
        return self._keep(kernels.private_activation(activation.function, activation.derivative_function, name))

    def _loss_rows(self, loss: Loss, output: str) -> int:
        name = self._dtype.name
        if loss.builtin:
            return _entry(kernels.loss(loss.name, output, name))
        return self._keep(kernels.private_loss(loss.function, loss.derivative, name))

    def _gather(self, array: np.ndarray) -> int:
        return _entry(kernels.gather(array.dtype.name, self._dtype.name))

    def _keep(self, compiled: tuple[compiler.Function, Any]) -> int:
        self._alive.append(compiled)
        return _entry(compiled[0])


def sample_block(width: int, itemsize: int) -> int:
    """How many samples of per-sample SGD are taken together, from the width of the first layer.

    More samples make the first layer's products faster and its Gram matrix dearer, and share fewer zeros. Measured on
    one AVX-512 core in microseconds a sample, for blocks of 1, 4, 8 and 12: dense 768-128-10 11.4, 5.3, 3.8, 3.6; MNIST
    784-128-10 3.4, 3.0, 2.5, 2.4; MNIST 784-10-10 0.99, 0.76, 0.80, 0.81; 8-64-64-2 0.68, 0.62, 0.60, 0.63.
    """
    return 4 if width * itemsize <= 64 else 12


def in_slices(n: int, step: int) -> Iterator[tuple[int, int]]:
    """(start, count) pieces of n samples, each a multiple of ``step``, that the caller's loop takes about 20 ms for."""
    start, size = 0, step
    while start < n:
        count = min(size, n - start)
        begin = time.perf_counter()
        yield start, count
        took = time.perf_counter() - begin
        growth = min(8.0, _SLICE_SECONDS / max(took, 1e-9))
        size = max(step, int(size * growth) // step * step)
        start += count


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
