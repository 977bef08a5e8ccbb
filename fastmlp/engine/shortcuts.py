"""The shortest ways into the kernels: everything is bound once, a call fills in what is new.

Neither object is thread-safe: the engine lends each caller one of its own.
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any
from weakref import ref

import numpy as np

from ..kernels import catalog
from ..kernels.layout import aligned
from .binding import Binding
from .blocks import BLOCK, part_of_batch
from .call import KernelCall
from .memory import Workspace
from .team import Team

__all__ = ["GradientOfFew", "PredictOne"]

_NOTHING = ref(np.empty(0))  # to an array that is gone


class PredictOne:
    """Outputs of one sample."""

    def __init__(self, binding: Binding) -> None:
        self._binding = binding  # the kernel knows only addresses of what it holds
        spec, dtype = binding.spec, binding.params.dtype
        self._row, self._out = np.zeros((1, spec.n_in), dtype), np.zeros((1, spec.n_out), dtype)
        self._view, self._workspace = binding.view(self._row), binding.workspace(1, binding.parameters())
        self._call = KernelCall(np.zeros(1, np.int64), 1, outputs=self._out, checked=True)
        self._workspace.take(self._view.words, self._call.words_for(0, 1), self._call.step)
        self._run = _prepared("forward", binding, self._workspace, self._call)

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """The outputs (1, n_out) of x (1, n_in); None where x is not finite."""
        self._row[...] = x
        return None if self._run() else self._out.copy()


class GradientOfFew:
    """The mean loss of a few samples and its gradient."""

    def __init__(self, binding: Binding) -> None:
        self._binding, self._team = binding, Team(binding)
        self._gradient = aligned(binding.params.size, binding.params.dtype)
        self._x = self._y = _NOTHING
        self._form: tuple[Any, ...] = ()

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient (n_params,); both are NaN where a sample is not finite."""
        if not (self._x() is x and self._y() is y and self._form == _form(x, y)):
            self._prepare(x, y)
        self._totals[:] = 0.0
        self._run()
        return self._totals.item(0) / len(x), self._gradient.copy()

    def _prepare(self, x: np.ndarray, y: np.ndarray) -> None:
        """Bind the next calls to these samples, until others come.

        Only weak references are kept: a call compares them with its own arguments, which are alive.
        """
        n, part, workspace = len(x), part_of_batch(len(x)), self._team.leader
        call = KernelCall(np.arange(n), BLOCK, 1 / n, batch=n, part=part, gradient=self._gradient, checked=True)
        call.mark(begins=True, ends=True)
        view = self._binding.view(x, y)
        workspace.take(view.words, call.words_for(0, n), call.step)
        self._pins = view.pins
        self._run, self._call, self._totals = _prepared("batches", self._binding, workspace, call), call, call.totals
        self._x, self._y, self._form = ref(x), ref(y), _form(x, y)


def _form(x: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
    """What a user may change of an array in place, beside its numbers."""
    return len(x), x.dtype, x.strides, y.dtype, y.strides


def _prepared(kernel: str, binding: Binding, workspace: Workspace, call: KernelCall) -> partial[float]:
    """A kernel with its arguments: a call of it takes no time to make them."""
    addresses = binding.params.ctypes.data, workspace.address, call.numbers.ctypes.data
    return partial(catalog.network(kernel, binding.params.dtype.name), *map(ctypes.c_int64, addresses))
