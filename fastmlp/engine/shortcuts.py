"""The shortest ways into the kernels: everything is bound once, and a call only fills in its samples.

No object is thread-safe: the engine lends each caller a separate one.
"""

from __future__ import annotations

import ctypes
import math
from functools import partial
from typing import Any

import numpy as np

from ..kernels import catalog
from ..kernels.layout import CALL, aligned
from .binding import Binding
from .blocks import part_of_batch
from .call import KernelCall
from .jacobians import jacobian_block
from .memory import Workspace, address, word_places
from .steps import OptimizerState, Step
from .tangents import product_block, product_team, where_free
from .team import Team

__all__ = [
    "GradientOfFew", "JacobianOfFew", "LearnFew", "PredictFew", "PredictOne", "ProductOfFew", "ScoreFew",
    "copy_samples",
]  # fmt: skip

_COUNT, _OUTPUTS = map(word_places(CALL).__getitem__, ("count", "outputs"))


class _FewSamples:
    """A kernel bound to separate memory, to which a call copies up to ``most`` samples; more are read without a
    copy."""

    def __init__(
        self,
        binding: Binding,
        kernel: str,
        call: KernelCall,
        workspace: Workspace,
        most: int,
        y_classes: bool | None = None,
        curved: bool = False,
    ) -> None:
        self._binding, self._call, self._workspace, self._curved = binding, call, workspace, curved
        spec, dtype = binding.spec, binding.params.dtype
        self._x, self._y = np.zeros((most, spec.n_in), dtype), None
        if y_classes is not None:
            self._y = np.zeros(most, np.int64) if y_classes else np.zeros((most, spec.n_out), dtype)
        self._most, self._own = most, binding.view(self._x, self._y, curved=curved)
        self._n, self._rows = most, (self._x, self._y)  # of the last samples, and of the last that were copied
        self._bound: Any = None  # what the record tells of samples that are not its own
        workspace.take(self._own.words, call.words_for(0, most), call.step)
        self._run = _prepared(kernel, binding, workspace, call)

    def _take(self, x: np.ndarray, y: np.ndarray | None = None) -> None:
        """Let the next run be over these samples: x (n, n_in), y (n, n_out) or class indices (n,)."""
        n = len(x)
        if n > self._most:
            if y is not None:
                y = np.ascontiguousarray(y, np.int64 if y.ndim == 1 else None)
            view = self._binding.view(x, y, curved=self._curved)
            self._bound = view.pins, y  # x is the caller's, who waits
            self._workspace.data[:] = view.words
        elif self._bound is not None:
            self._bound = None
            self._workspace.data[:] = self._own.words
        if n != self._n:
            self._n = self._workspace.call[_COUNT] = n
            if n <= self._most:
                self._rows = self._x[:n], None if self._y is None else self._y[:n]
        if n <= self._most:
            own_x, own_y = self._rows
            copy_samples(x, own_x)
            if own_y is not None:
                copy_samples(y, own_y)


def copy_samples(samples: Any, rows: np.ndarray) -> None:
    """Copy samples to rows; what is too large for the rows' dtype becomes infinite."""
    if samples.dtype is rows.dtype:
        rows[...] = samples
    else:
        with np.errstate(over="ignore"):
            rows[...] = samples


class PredictOne(_FewSamples):
    """The outputs of one sample: in a control loop each tenth of a microsecond counts, so nothing is asked twice."""

    def __init__(self, binding: Binding) -> None:
        self._outputs = np.zeros((1, binding.spec.n_out), binding.params.dtype)
        call = KernelCall(np.arange(1), 1, outputs=self._outputs, checked=True)
        super().__init__(binding, "forward", call, binding.workspace(1, binding.parameters()), 1)
        self._copy_outputs = self._outputs.copy

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """The outputs (1, n_out) of x (1, n_in); None where x is not finite."""
        if x.dtype is self._x.dtype:
            self._x[...] = x
        else:
            copy_samples(x, self._x)
        return None if self._run() else self._copy_outputs()


class PredictFew(_FewSamples):
    """Outputs of a few samples."""

    def __init__(self, binding: Binding, most: int, limit: int) -> None:
        block = min(limit, binding.block)
        self._outputs = np.zeros((most, binding.spec.n_out), binding.params.dtype)
        call = KernelCall(np.arange(limit), block, outputs=self._outputs, checked=True)
        super().__init__(binding, "forward", call, binding.workspace(block, binding.parameters()), most)
        self._address = self._outputs.ctypes.data

    def __call__(self, x: np.ndarray, out: np.ndarray | None) -> np.ndarray | None:
        """The outputs (n, n_out) of x (n, n_in), written to ``out`` if that is given; None where x is not finite."""
        n, outputs = len(x), self._outputs
        self._take(x)
        if n > self._most:
            outputs = np.empty((n, outputs.shape[1]), outputs.dtype)
            self._workspace.call[_OUTPUTS] = outputs.ctypes.data
            failed = self._run()
            self._workspace.call[_OUTPUTS] = self._address
        else:
            failed = self._run()
        if failed:
            return None
        if out is not None:
            out[...] = outputs[:n]
            return out
        return outputs if n > self._most else outputs[:n].copy()


class ScoreFew(_FewSamples):
    """The losses and right answers of a few samples."""

    def __init__(self, binding: Binding, most: int, limit: int, y_classes: bool) -> None:
        block = min(limit, binding.block)
        call = KernelCall(np.arange(limit), block, scored=True, checked=True)
        super().__init__(binding, "forward", call, binding.workspace(block, binding.parameters()), most, y_classes)

    def __call__(self, x: np.ndarray, y: np.ndarray) -> list[float] | None:
        """The sums of losses and of right answers; None if x is not finite."""
        self._take(x, y)
        self._call.totals[:] = 0.0
        return None if self._run() else self._call.totals.tolist()


class GradientOfFew(_FewSamples):
    """The mean loss of a few samples and its gradient."""

    def __init__(self, binding: Binding, most: int, limit: int, y_classes: bool, kernel: str) -> None:
        self._team, self._gradient = Team(binding), aligned(binding.params.size, binding.params.dtype)
        part = part_of_batch(limit, binding.block)
        call = KernelCall(
            np.arange(limit), binding.block, batch=limit, part=part, gradient=self._gradient, checked=True
        )
        call.mark(begins=True, ends=True)
        super().__init__(binding, kernel, call, self._team.leader, most, y_classes)

    def __call__(self, x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
        """The loss and its gradient (n_params,); both are NaN where a sample is not finite."""
        n, numbers = len(x), self._call.numbers
        self._take(x, y)
        numbers[0] = 1 / n
        numbers[1] = 0.0
        self._run()
        return numbers.item(1) / n, self._gradient.copy()


class ProductOfFew(_FewSamples):
    """The Hessian of the mean loss of a few samples, times a vector."""

    def __init__(self, binding: Binding, most: int, limit: int, y_classes: bool) -> None:
        self._direction, self._product = (aligned(binding.params.size, binding.params.dtype) for _ in range(2))
        self._team, self._free = product_team(binding, self._direction), binding.free
        self._direction[:] = 0
        call = KernelCall(np.arange(limit), product_block(binding), gradient=self._product, checked=True)
        call.mark(begins=True, ends=True)
        super().__init__(binding, "hvp", call, self._team.leader, most, y_classes, curved=True)

    def __call__(self, x: np.ndarray, y: np.ndarray, v: np.ndarray) -> np.ndarray | None:
        """The product (n_params,) with v (n_params,); None where a sample is not finite."""
        numbers = self._call.numbers
        self._take(x, y)
        self._direction[self._free] = v[self._free]
        numbers[0] = 1 / len(x)
        numbers[1] = 0.0
        return None if self._run() or not math.isfinite(numbers[1]) else where_free(self._product, self._free)


class JacobianOfFew(_FewSamples):
    """The Jacobians of a few samples, by the inputs or by the parameters."""

    def __init__(self, binding: Binding, most: int, limit: int, by_inputs: bool) -> None:
        spec, params = binding.spec, binding.params
        self._shape, self._dtype = (spec.n_out, spec.n_in if by_inputs else params.size), params.dtype
        call = KernelCall(np.arange(limit), jacobian_block(spec, by_inputs), by_inputs=by_inputs, checked=True)
        super().__init__(binding, "jacobian", call, binding.workspace(binding.block, binding.parameters()), most)

    def __call__(self, x: np.ndarray) -> np.ndarray | None:
        """The Jacobians (n, n_out, n_params) or (n, n_out, n_in) of x (n, n_in); None where x is not finite."""
        self._take(x)
        jacobian = np.empty((len(x), *self._shape), self._dtype)
        self._workspace.call[_OUTPUTS] = address(jacobian)
        return None if self._run() else jacobian


class LearnFew(_FewSamples):
    """One step of an optimiser, made with a few samples."""

    def __init__(self, binding: Binding, most: int, limit: int, y_classes: bool, state: OptimizerState) -> None:
        simple = state.plain and limit <= binding.block
        self._params, self._finite = binding.params, None if simple else binding.params.copy()
        step = Step(state, *((0, 0) if simple else binding.step(state.optimizer)), 0, ())
        self._team, part = Team(binding, state.vectors), part_of_batch(limit, binding.block)
        call = KernelCall(np.arange(limit), binding.block, batch=limit, part=part, step=step, checked=True)
        call.mark(begins=True, ends=True)
        super().__init__(binding, "batches", call, self._team.leader, most, y_classes)

    def __call__(self, x: np.ndarray, y: np.ndarray, lr: float, order: np.ndarray | None = None) -> list[float] | None:
        """The sums of losses and of right answers before the step, of the samples in this order, or the last one's.

        None where nothing was done, because a sample or its loss is not finite, or a step of plain SGD might not be;
        an empty list where the parameters were no longer finite, and are what they were before.
        """
        numbers = self._call.numbers
        self._take(x, y)
        if order is not None:
            self._call.order[: len(x)] = order
        numbers[0] = lr
        numbers[1] = numbers[2] = 0.0  # one by one: a tuple takes longer
        if self._finite is not None:
            self._finite[...] = self._params
        if self._run():
            return None
        sums = self._call.totals.tolist()
        if self._finite is not None and not math.isfinite(sums[0]):
            self._params[...] = self._finite
            return []
        return sums


def _prepared(kernel: str, binding: Binding, workspace: Workspace, call: KernelCall) -> partial[float]:
    """A kernel with its arguments, so that a call need not convert them."""
    addresses = binding.params.ctypes.data, workspace.address, call.numbers.ctypes.data
    return partial(catalog.network(kernel, binding.params.dtype.name), *map(ctypes.c_int64, addresses))
