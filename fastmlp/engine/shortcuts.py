"""The shortest ways into the kernels: everything is bound once, a call fills in what is new.

Neither is for two threads at once: the engine lends each caller one of its own.
"""

from __future__ import annotations

import ctypes
from functools import partial
from weakref import ref

import numpy as np

from ..kernels import catalog, layout
from .binding import Binding
from .blocks import BLOCK, part_of_batch
from .team import Team

__all__ = ["GradientOfFew", "PredictOne"]

_NOTHING = ref(np.empty(0))  # to an array that is gone


class PredictOne:
    """Outputs of one sample."""

    def __init__(self, binding: Binding) -> None:
        spec, dtype = binding.spec, binding.params.dtype
        self._row, self._out = np.zeros((1, spec.n_in), dtype), np.zeros((1, spec.n_out), dtype)
        self._view, self._workspace = binding.view(self._row), binding.workspace(1, binding.parameters())
        self._order, self._numbers = np.zeros(1, np.int64), np.zeros(layout.NUMBERS)
        job = self._workspace.job
        job[: layout.FEED] = self._view.row
        job[[layout.ORDER, layout.OUTPUTS]] = self._order.ctypes.data, self._out.ctypes.data
        job[[layout.COUNT, layout.BLOCK, layout.MODE]] = 1, 1, layout.CHECKED
        self._run = _prepared("forward", binding.params, job, self._numbers)

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """The outputs (1, n_out) of x (1, n_in); None where x is not finite."""
        self._row[...] = x
        return None if self._run() else self._out.copy()


class GradientOfFew:
    """The mean loss of a few samples and its gradient."""

    def __init__(self, binding: Binding) -> None:
        self._binding, self._team = binding, Team(binding)
        self._job, self._numbers = self._team.leader.job, np.zeros(layout.NUMBERS)
        self._gradient = np.zeros(binding.params.size, binding.params.dtype)
        self._job[layout.GRADIENT] = self._gradient.ctypes.data
        self._job[[layout.BLOCK, layout.MODE]] = BLOCK, layout.BEGINS | layout.ENDS | layout.CHECKED
        self._run = _prepared("batches", binding.params, self._job, self._numbers)
        self._x = self._y = _NOTHING
        self._n = 0

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient (n_params,); both are NaN where a sample is not finite."""
        n = len(x)
        if not (self._x() is x and self._y() is y and self._n == n):
            self._x, self._y, self._n, self._order = ref(x), ref(y), n, np.arange(n)
            job = self._job
            job[: layout.FEED] = self._binding.view(x, y).row
            job[[layout.ORDER, layout.COUNT]] = self._order.ctypes.data, n
            job[[layout.BATCH, layout.PART]] = n, part_of_batch(n)
        self._numbers[:] = 1 / n, 0.0, 0.0
        self._run()
        return self._numbers.item(1) / n, self._gradient.copy()


def _prepared(kernel: str, params: np.ndarray, job: np.ndarray, numbers: np.ndarray) -> partial[float]:
    """A kernel with its arguments: a call of it takes no time to make them."""
    addresses = (array.ctypes.data for array in (params, job, numbers))
    return partial(catalog.kernel(kernel, params.dtype.name), *map(ctypes.c_void_p, addresses))
