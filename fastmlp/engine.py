"""A network bound to its kernels: the table they read, the description of x and y, and the calls themselves.

This is the one place where arrays become addresses; above it there are models, below it only memory.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import kernels
from .activations import Activation
from .kernels import compiler, layout
from .kernels.layout import aligned, padded
from .losses import Loss
from .spec import Spec

__all__ = ["BLOCK", "Engine", "Feed", "in_slices"]

BLOCK = 64  # the most samples whose layers are in memory together; more no longer gains, and leaves the L2 cache
_SLICE_SECONDS = 0.02  # a kernel call lasts about this long, so that Ctrl-C is heard


@dataclass(frozen=True)
class Feed:
    """x and y as kernels see them. Holds the arrays, because ``row`` has only their addresses."""

    row: np.ndarray
    arrays: tuple[np.ndarray, ...]
    n_samples: int


class Engine:
    """The kernels of one spec and dtype, with work vectors for blocks of samples."""

    def __init__(self, spec: Spec, dtype: np.dtype, table: np.ndarray, work_size: int) -> None:
        self._spec, self._dtype = spec, dtype
        self._table = table.copy()
        self._work_size = work_size
        self._idle: list[np.ndarray] = []  # work vectors; each call takes one, so calls from threads do not meet
        self._alive: list[Any] = []  # compiled user functions
        self._slopes = np.array([layer.act.slope or 0.0 for layer in spec.layers])
        for row, layer in zip(self._table, spec.layers, strict=True):
            row[layout.ACT] = self._activation(layer.act)
            row[layout.SOFTMAX] = not layer.act.elementwise
        output = spec.layers[-1].act.name
        self._fused = spec.layers[-1].act.builtin and output in spec.loss.fused
        self._loss = self._loss_rows(spec.loss, output if self._fused else "")
        self._no_shift = np.zeros(max(spec.n_in, spec.n_out), dtype)
        self._no_scale = np.ones(max(spec.n_in, spec.n_out), dtype)
        self._shift = _vector(spec.shift, spec.n_in, dtype, self._no_shift)
        self._scale = _vector(spec.scale, spec.n_in, dtype, self._no_scale)

    def feed(self, x: np.ndarray, y: np.ndarray | None = None) -> Feed:
        """Describe checked x and y (validation.py) to the kernels. Nothing is copied."""
        row = np.zeros(layout.FEED, np.int64)
        row[layout.X], (row[layout.X_ROW], row[layout.X_COLUMN]) = x.ctypes.data, x.strides
        row[layout.X_GATHER] = self._gather(x)
        row[layout.X_SHIFT], row[layout.X_SCALE] = self._shift.ctypes.data, self._scale.ctypes.data
        row[layout.LOSS], row[layout.FUSED] = self._loss, self._fused
        row[layout.TARGETS] = self._work_size - BLOCK * padded(self._spec.n_out, self._dtype.itemsize)
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
                row[layout.Y_SHIFT], row[layout.Y_SCALE] = self._no_shift.ctypes.data, self._no_scale.ctypes.data
        return Feed(row, (x,) if y is None else (x, y), len(x))

    def forward(
        self, params: np.ndarray, feed: Feed, order: np.ndarray, outputs: np.ndarray | None, judged: bool
    ) -> np.ndarray:
        """Outputs of the samples in ``order``; returns the sums of losses and of right answers."""
        totals = np.zeros(2)
        kernel = kernels.kernel("forward", self._dtype.name)
        for start, count in in_slices(len(order), 1):
            self._run(kernel, (params,), feed, order, start, count, (BLOCK, judged), _rows_from(outputs, start), totals)
        return totals

    def train(
        self,
        params: np.ndarray,
        feed: Feed,
        order: np.ndarray,
        start: int,
        count: int,
        batch: int,
        lr: float,
        outputs: np.ndarray | None,
        totals: np.ndarray,
    ) -> None:
        """SGD over ``order[start:start + count]`` in batches of at most `BLOCK`; a batch of one is per-sample SGD."""
        kernel = kernels.kernel("train", self._dtype.name)
        self._run(kernel, (params,), feed, order, start, count, (batch, lr), _rows_from(outputs, start), totals)

    def gradient(
        self,
        params: np.ndarray,
        grad: np.ndarray,
        feed: Feed,
        order: np.ndarray,
        start: int,
        count: int,
        scale: float,
        outputs: np.ndarray | None,
        totals: np.ndarray,
    ) -> None:
        """Add ``scale`` times the gradients of ``order[start:start + count]`` to ``grad``."""
        kernel = kernels.kernel("gradient", self._dtype.name)
        self._run(kernel, (params, grad), feed, order, start, count, (BLOCK, scale), _rows_from(outputs, start), totals)

    def jacobian(self, params: np.ndarray, feed: Feed, of_inputs: bool) -> np.ndarray:
        """The Jacobian of every sample's outputs, by the parameters or by the inputs."""
        n_columns = self._spec.n_in if of_inputs else params.size
        jacobian = np.zeros((feed.n_samples, self._spec.n_out, n_columns), self._dtype)
        kernel = kernels.kernel("jacobian", self._dtype.name)
        order = np.arange(feed.n_samples)
        for start, count in in_slices(feed.n_samples, 1):
            self._run(kernel, (params, jacobian[start:]), feed, order, start, count, (params.size, of_inputs))
        return jacobian

    def layers(self, params: np.ndarray, feed: Feed) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Every layer's z, and every layer's a with the input as the network sees it in front."""
        n, itemsize = feed.n_samples, self._dtype.itemsize
        widths = self._spec.widths
        zs = [np.empty((n, width), self._dtype) for width in widths[1:]]
        activations = [np.empty((n, width), self._dtype) for width in widths]
        kernel = kernels.kernel("forward", self._dtype.name)
        order, totals = np.arange(n), np.zeros(2)
        places = [(activations[0], 0)]
        for row, z, a in zip(self._table, zs, activations[1:], strict=True):
            places += [(z, row[layout.Z]), (a, row[layout.A])]
        work = self._take_work()
        for start in range(0, n, BLOCK):
            count = min(BLOCK, n - start)
            self._run(kernel, (params,), feed, order, start, count, (BLOCK, False), 0, totals, work=work)
            for array, offset in places:
                width, stride = array.shape[1], padded(array.shape[1], itemsize)
                rows = work[offset : offset + count * stride].reshape(count, stride)
                array[start : start + count] = rows[:, :width]
        self._idle.append(work)
        return zs, activations

    def _run(
        self,
        kernel: Callable[..., float],
        vectors: tuple[np.ndarray, ...],
        feed: Feed,
        order: np.ndarray,
        start: int,
        count: int,
        *rest: Any,
        work: np.ndarray | None = None,
    ) -> None:
        own = self._take_work() if work is None else work
        kernel(
            *(vector.ctypes.data for vector in vectors),
            own.ctypes.data,
            self._table.ctypes.data,
            self._slopes.ctypes.data,
            feed.row.ctypes.data,
            order.ctypes.data + start * order.itemsize,
            len(self._table),
            count,
            *(_address(value) for part in rest for value in (part if isinstance(part, tuple) else (part,))),
        )
        if work is None:
            self._idle.append(own)

    def _take_work(self) -> np.ndarray:
        return self._idle.pop() if self._idle else aligned(self._work_size, self._dtype)

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


def _address(value: Any) -> Any:
    return value.ctypes.data if isinstance(value, np.ndarray) else value


def _rows_from(outputs: np.ndarray | None, start: int) -> int:
    return 0 if outputs is None else outputs.ctypes.data + start * outputs.strides[0]


def _vector(values: tuple[float, ...] | None, n: int, dtype: np.dtype, default: np.ndarray) -> np.ndarray:
    return default if values is None else np.ascontiguousarray(np.broadcast_to(np.array(values, dtype), (n,)))
