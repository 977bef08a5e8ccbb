"""Derivatives along directions: what is done with kernels/tangents.py, and how many samples are taken together."""

from __future__ import annotations

import math

import numpy as np

from ..base.ram import check_memory
from ..kernels.layout import aligned
from .binding import Binding, DataView
from .blocks import BLOCK
from .call import KernelCall, TimeSlices
from .team import Team

__all__ = ["Tangents", "product_block", "product_team", "where_free"]

_AT_ONCE = 16  # blocks of a call, at least


def product_block(binding: Binding) -> int:
    """How many samples of a product of the Hessian are taken together."""
    return binding.block // 2


def product_team(binding: Binding, direction: np.ndarray, curved: bool = True) -> Team:
    """A team of one whose kernels have a direction of the parameters, and room for the product's rows."""
    return Team(binding, [direction], block=4 * product_block(binding), in_parts=False, curved=curved)


class Tangents:
    """The kernels of tangents with memory of their own. It is not thread-safe: the engine lends each caller one.

    Parameters
    ----------
    binding : Binding
    curved : bool
        Whether second derivatives are asked for: a ValueError where an activation has none.
    """

    def __init__(self, binding: Binding, curved: bool) -> None:
        self._binding, self._direction = binding, aligned(binding.params.size, binding.params.dtype)
        self._team = product_team(binding, self._direction, curved)

    def jvp(self, view: DataView, v: np.ndarray, by_inputs: bool) -> np.ndarray:
        """What the outputs change by, (n_samples, n_out), along v: contiguous, (n_samples, n_in) or (n_params,)."""
        n = len(view.x)
        outputs = np.empty((n, self._binding.spec.n_out), self._direction.dtype)
        if not by_inputs:
            self._direction[:] = v
        along = v if by_inputs else None
        call = KernelCall(np.arange(n), BLOCK, outputs=outputs, along=along, by_inputs=by_inputs)
        self._run("jvp", view, call)
        return outputs

    def vjp(self, view: DataView, u: np.ndarray, by_inputs: bool) -> np.ndarray:
        """The derivatives of Σ u · outputs, u contiguous (n_samples, n_out): by each sample's inputs (n_samples, n_in),
        or by the parameters (n_params,)."""
        n, spec, dtype = len(view.x), self._binding.spec, self._direction.dtype
        result = np.empty((n, spec.n_in), dtype) if by_inputs else aligned(self._direction.size, dtype)
        outputs, gradient = (result, None) if by_inputs else (None, result)
        call = KernelCall(np.arange(n), BLOCK, outputs=outputs, gradient=gradient, along=u, by_inputs=by_inputs)
        self._run("vjp", view, call)
        return result

    def hvp(self, view: DataView, order: np.ndarray, weight: float, v: np.ndarray) -> np.ndarray:
        """The Hessian of the mean loss of the samples in ``order``, of that weight together, times v (n_params,)."""
        product, free = aligned(self._direction.size, self._direction.dtype), self._binding.free
        self._direction[:] = 0
        self._direction[free] = v[free]
        self._run("hvp", view, KernelCall(order, product_block(self._binding), 1 / weight, gradient=product))
        return where_free(product, free)

    def hessian(self, view: DataView, order: np.ndarray, weight: float) -> np.ndarray:
        """The Hessian of the mean loss, (n_params, n_params): its products with all unit vectors."""
        direction, n = self._direction, self._direction.size
        check_memory(n * n * direction.itemsize, f"a Hessian of {n:,}² parameters")
        hessian, row, free = np.zeros((n, n), direction.dtype), aligned(n, direction.dtype), self._binding.free
        call = KernelCall(order, product_block(self._binding), 1 / weight, gradient=row)
        slices = TimeSlices()
        direction[:] = 0
        for i in np.arange(n)[free]:
            direction[i] = 1
            self._run("hvp", view, call, slices)
            direction[i] = 0
            hessian[i, free] = row[free]
        return _mirrored(hessian)

    def input_hessians(self, view: DataView) -> np.ndarray:
        """The second derivatives of every output by the inputs, (n_samples, n_out, n_in, n_in)."""
        n, spec, dtype = len(view.x), self._binding.spec, self._direction.dtype
        shape = n, spec.n_out, spec.n_in, spec.n_in
        check_memory(math.prod(shape) * dtype.itemsize, f"a Hessian of shape {shape}")
        hessians = np.empty(shape, dtype)
        block = max(1, 4 * product_block(self._binding) // (spec.n_in + 1))
        self._run("input_hessians", view, KernelCall(np.arange(n), block, outputs=hessians), step=block)
        return _mirrored(hessians)

    def _run(
        self, kernel: str, view: DataView, call: KernelCall, slices: TimeSlices | None = None, step: int = 0
    ) -> None:
        """Run a kernel over all samples of the call, in slices of a multiple of ``step`` of them."""
        n = len(call.order)
        for start, count in (slices or TimeSlices()).slices(n, step or _AT_ONCE * call.block):
            call.mark(begins=start == 0, ends=start + count == n)
            self._team.run(kernel, view, call, start, count)


def where_free(product: np.ndarray, free: slice | np.ndarray) -> np.ndarray:
    """A copy of a vector of parameters, with zeros for those of frozen layers."""
    result = np.zeros_like(product)
    result[free] = product[free]
    return result


def _mirrored(hessians: np.ndarray) -> np.ndarray:
    """Make matrices (…, n, n) that are symmetric but for rounding so to the last bit."""
    for i in range(hessians.shape[-1]):
        hessians[..., i + 1 :, i] = hessians[..., i, i + 1 :]
    return hessians
