"""A spec and a vector of parameters bound to their kernels: every array and function as an address."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..activations import Activation
from ..base.sparse import SparseRows
from ..kernels import catalog, layout, store
from ..kernels.layout import Parameters, Place, Workspace, aligned
from ..losses import Loss
from ..optimizers import Optimizer
from ..spec import Spec
from .call import KernelCall

__all__ = ["Binding", "DataView", "address_of"]

_FUSED = {"sigmoid": layout.FUSED_WITH_SIGMOID, "softmax": layout.FUSED_WITH_SOFTMAX}


@dataclass(frozen=True)
class DataView:
    """x, y and the samples' weights as kernels see them. It holds the arrays, because ``row`` has only addresses."""

    row: np.ndarray
    x: np.ndarray | SparseRows
    y: np.ndarray | None
    weights: np.ndarray | None


class Binding:
    """The kernels of one spec, bound to a vector of parameters.

    Attributes
    ----------
    spec : Spec
    params : ndarray, (n_params,)
    affine : pair of ndarray, (n_in,), or None
        The input's shift and scale; kernels may read a cache line beyond them.
    """

    def __init__(self, spec: Spec, places: Sequence[Place], params: np.ndarray) -> None:
        self.spec, self.params = spec, params
        self._places, self._dtype = places, params.dtype
        self._real = params.dtype.name  # NumPy takes microseconds to make it
        self._readers: dict[np.dtype, int] = {}
        self._compiled: list[Any] = []  # users' functions, which must outlive their addresses
        self._slopes = np.array([layer.act.slope or 0.0 for layer in spec.layers])
        self._activations = [self._activation(layer.act) for layer in spec.layers]
        softmax = 0 if all(layer.act.elementwise for layer in spec.layers) else catalog.softmax_backward(self._real)
        self._softmaxes = [0 if layer.act.elementwise else address_of(softmax) for layer in spec.layers]
        output = spec.layers[-1].act
        fused = output.builtin and output.name in spec.loss.fused
        self._fused = _FUSED[output.name] if fused else layout.NOT_FUSED
        self._loss = self._loss_rows(spec.loss, output.name if fused else "")
        self._functions = [address_of(catalog.matrix_function(name, self._real)) for name in catalog.MATRIX_FUNCTIONS]
        self.affine = _affine(spec, self._dtype)

    def view(
        self, x: np.ndarray | SparseRows, y: np.ndarray | None = None, weights: np.ndarray | None = None
    ) -> DataView:
        """Describe checked x and y (model/data.py) and float64 weights to the kernels. Nothing is copied."""
        row = np.zeros(layout.FEED, np.int64)
        self._describe_x(row, x)
        row[layout.LOSS], row[layout.FUSED] = self._loss, self._fused
        if y is not None:
            self._describe_y(row, y)
        if weights is not None:
            row[layout.WEIGHTS] = weights.ctypes.data
        return DataView(row, x, y, weights)

    def _describe_x(self, row: np.ndarray, x: np.ndarray | SparseRows) -> None:
        if isinstance(x, SparseRows):
            if self.spec.shift is not None and any(self.spec.shift):
                raise ValueError(
                    "x is sparse, but this network shifts its inputs, which leaves no zeros; use scale only"
                )
            parts = x.data, x.indptr, x.indices
            row[layout.X], row[layout.X_ROW], row[layout.X_COLUMN] = (part.ctypes.data for part in parts)
            row[layout.X_SPARSE] = True
            sources = f"{x.data.dtype.name}.{x.indices.dtype.name}"
            row[layout.X_GATHER] = address_of(catalog.gather_sparse(sources, self._real))
        else:
            row[layout.X], (row[layout.X_ROW], row[layout.X_COLUMN]) = x.ctypes.data, x.strides
            row[layout.X_GATHER] = self._reader(x)
        if self.affine is not None:
            row[layout.X_SHIFT], row[layout.X_SCALE] = (vector.ctypes.data for vector in self.affine)

    def _describe_y(self, row: np.ndarray, y: np.ndarray) -> None:
        row[layout.Y] = y.ctypes.data
        row[layout.JUDGE] = layout.JUDGE_NOTHING
        if self.spec.multilabel:
            row[layout.JUDGE] = layout.JUDGE_LABELS
        elif self.spec.one_of_many:
            row[layout.JUDGE] = layout.JUDGE_ARGMAX
        if y.ndim == 1:
            row[layout.Y_COLUMN] = layout.CLASS_INDICES
        else:
            row[layout.Y_ROW], row[layout.Y_COLUMN] = y.strides[0], y.strides[1] or y.itemsize
            row[layout.Y_GATHER] = self._reader(y)

    def parameters(self, vectors: Sequence[np.ndarray] = ()) -> Parameters:
        """Describe the parameters, their gradient, and an optimiser's vectors of state to the kernels."""
        return Parameters(self._places, self.params, vectors)

    def workspace(self, block: int, parameters: Parameters) -> Workspace:
        """Make the memory that one running kernel needs for ``block`` samples."""
        workspace = Workspace(self._places, block, parameters, self._dtype)
        workspace.table[:, layout.ACT] = self._activations
        workspace.table[:, layout.SOFTMAX] = self._softmaxes
        workspace.job[layout.SLOPES] = self._slopes.ctypes.data
        workspace.job[layout.PRODUCT : layout.PRODUCT + len(self._functions)] = self._functions
        return workspace

    def run(self, workspace: Workspace, kernel: str, view: DataView, call: KernelCall, start: int, count: int) -> None:
        """Run a kernel over ``call.order[start:start + count]``."""
        job = workspace.job
        job[: layout.FEED] = view.row
        job[layout.CALL :] = call.entries_for(start, count)
        catalog.kernel(kernel, self._real)(self.params.ctypes.data, job.ctypes.data, call.numbers.ctypes.data)

    def run_epochs(
        self,
        workspace: Workspace,
        kernel: str,
        view: DataView,
        call: KernelCall,
        numbers: np.ndarray,
        finite: np.ndarray,
    ) -> int:
        """Run a training kernel for each row of ``numbers`` (epochs, NUMBERS), every epoch over its own equal share of
        ``call.order``. Returns how many epochs stayed finite; ``finite`` gets the parameters of the last of them."""
        job, epochs = workspace.job, len(numbers)
        job[: layout.FEED] = view.row
        job[layout.CALL :] = call.entries_for(0, len(call.order) // epochs)
        addresses = (array.ctypes.data for array in (self.params, job, numbers, finite))
        return int(catalog.run_epochs(self._real)(*addresses, address_of(catalog.kernel(kernel, self._real)), epochs))

    def step(self, optimizer: Optimizer) -> int:
        """The address of an optimiser's step."""
        return address_of(catalog.step(optimizer.name, optimizer.states, self._real))

    def dropout(self) -> int:
        """The address of what leaves units out."""
        return address_of(catalog.dropout(self._real))

    def _activation(self, activation: Activation) -> int:
        if activation.builtin:
            return address_of(catalog.activation(activation.name, self._real))
        return self._keep(catalog.private_activation(activation.function, activation.derivative_function, self._real))

    def _loss_rows(self, loss: Loss, output: str) -> int:
        if loss.builtin:
            return address_of(catalog.loss(loss.name, output, self._real))
        return self._keep(catalog.private_loss(loss.function, loss.derivative, self._real))

    def _reader(self, array: np.ndarray) -> int:
        if array.dtype not in self._readers:
            self._readers[array.dtype] = address_of(catalog.gather(array.dtype.name, self._real))
        return self._readers[array.dtype]

    def _keep(self, compiled: tuple[store.Function, Any]) -> int:
        self._compiled.append(compiled)
        return address_of(compiled[0])


def address_of(function: store.Function) -> int:
    """The address of a C function."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _affine(spec: Spec, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray] | None:
    """The input's shift and scale, (n_in,) each, with room for a cache line behind; None where the spec has neither."""
    if spec.shift is None and spec.scale is None:
        return None
    shift, scale = aligned(spec.n_in, dtype), aligned(spec.n_in, dtype)
    shift[:] = 0.0 if spec.shift is None else spec.shift
    scale[:] = 1.0 if spec.scale is None else spec.scale
    return shift, scale
