"""The shortest ways into the kernels: everything is bound once, a call fills in what is new.

Neither is for two threads at once: the engine lends each caller one of its own.
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import TYPE_CHECKING
from weakref import ref

import numpy as np

from ..kernels import catalog, layout
from .blocks import BLOCK, part_of_batch

if TYPE_CHECKING:
    from .network import Engine

__all__ = ["OneSample", "SmallGradient"]

_NOTHING = ref(np.empty(0))  # to an array that is gone


class OneSample:
    """Through a network with one sample."""

    def __init__(self, engine: Engine) -> None:
        dtype = engine.params.dtype
        self._row, self._out = np.zeros((1, engine.n_in), dtype), np.zeros((1, engine.n_out), dtype)
        self._feed, self._workspace = engine.feed(self._row), engine.workspace(1, engine.parameters())
        self._order, self._numbers = np.zeros(1, np.int64), np.zeros(layout.NUMBERS)
        job = self._workspace.job
        job[: layout.FEED] = self._feed.row
        job[[layout.ORDER, layout.OUTPUTS]] = self._order.ctypes.data, self._out.ctypes.data
        job[[layout.COUNT, layout.BLOCK, layout.MODE]] = 1, 1, layout.CHECKED
        self._run = _bound("forward", engine.params, job, self._numbers)

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        self._row[...] = x
        return None if self._run() else self._out.copy()


class SmallGradient:
    """The mean loss of a few samples and its gradient. Both are NaN where a sample is not finite."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._team = engine, engine.team()
        self._job, self._numbers = self._team.leader.job, np.zeros(layout.NUMBERS)
        self._gradient = np.zeros(engine.params.size, engine.params.dtype)
        self._job[layout.GRADIENT] = self._gradient.ctypes.data
        self._job[[layout.BLOCK, layout.MODE]] = BLOCK, layout.BEGINS | layout.ENDS | layout.CHECKED
        self._run = _bound("batches", engine.params, self._job, self._numbers)
        self._x = self._y = _NOTHING
        self._n = 0

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        n = len(x)
        if not (self._x() is x and self._y() is y and self._n == n):
            self._x, self._y, self._n, self._order = ref(x), ref(y), n, np.arange(n)
            job = self._job
            job[: layout.FEED] = self._engine.feed(x, y).row
            job[[layout.ORDER, layout.COUNT]] = self._order.ctypes.data, n
            job[[layout.BATCH, layout.PART]] = n, part_of_batch(n)
        self._numbers[:] = 1 / n, 0.0, 0.0
        self._run()
        return self._numbers.item(1) / n, self._gradient.copy()


def _bound(kernel: str, params: np.ndarray, job: np.ndarray, numbers: np.ndarray) -> partial[float]:
    addresses = (array.ctypes.data for array in (params, job, numbers))
    return partial(catalog.kernel(kernel, params.dtype.name), *map(ctypes.c_void_p, addresses))
