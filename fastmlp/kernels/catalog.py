"""The kernels that Python may call, each once, with the types of its arguments.

Importing this does not import Numba: a kernel that an earlier process compiled is loaded from its object file
(compiler.py).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from . import store as compiler

__all__ = [
    "MATRIX_FUNCTIONS",
    "NETWORK_KERNELS",
    "activation",
    "dropout",
    "gather",
    "gather_sparse",
    "kernel",
    "loss",
    "matrix_function",
    "private_activation",
    "private_loss",
    "run_epochs",
    "softmax_backward",
    "step",
]

# T: pointer to the network's reals; I, D: pointers to int64, float64; i, d: an int64 (or an address that may be null),
# a float64.
_KERNEL = "TID"
NETWORK_KERNELS = {
    "forward": "outputs",
    "jacobian": "outputs",
    "samples": "samples",
    "samples_with_memory": "samples",
    "batches": "batches",
}  # the file of each
MATRIX_FUNCTIONS = {
    "product": "i" * 14,
    "inner_products": "i" * 10,
    "weighted_rows": "i" * 9,
    "backward_and_update": "i" * 8,
    "backward_and_update_by_inputs": "i" * 10,
    "walk": "i" * 5,
}
_EPOCHS = "TIDTii"
_ACTIVATION = "TTiiiid"
_LOSS = "TTTTiii"
_GATHER = "iiiIiiiiiii"
_GATHER_SPARSE = "iiiIiiiiii"
_STEP = "TTiiiiDdd"
_DROPOUT = "Tiiiiiiid"
_SOFTMAX_BACKWARD = "iiiii"


def kernel(name: str, dtype: str) -> compiler.Function:
    """What Python calls, for networks of that dtype."""
    return compiler.load(NETWORK_KERNELS[name], name, _KERNEL, dtype)


def run_epochs(dtype: str) -> compiler.Function:
    """``run_epochs(params, job, numbers, finite, kernel, epochs)``, which runs a training kernel several times."""
    return compiler.load("many_epochs", "run_epochs", _EPOCHS, dtype)


def matrix_function(name: str, dtype: str) -> compiler.Function:
    """A function of linear.py, which network kernels call."""
    return compiler.load("linear", name, MATRIX_FUNCTIONS[name], dtype)


def activation(name: str, dtype: str) -> compiler.Function:
    """``act(z, a, d, rows, n, stride, slope)`` for the named entry of the activation table."""
    return compiler.load("elementwise", f"activation.{name}", _ACTIVATION, dtype)


def loss(name: str, output: str, dtype: str) -> compiler.Function:
    """``loss(z, a, y, delta, rows, n, stride)`` for a loss; ``output`` is the activation it is fused with or ''."""
    return compiler.load("elementwise", f"loss.{name}.{output}", _LOSS, dtype)


def gather(source: str, dtype: str) -> compiler.Function:
    """A reader of x or y of that dtype: ``gather(data, row_stride, column_stride, index, …)`` in elementwise.py."""
    return compiler.load("elementwise", f"gather.{source}", _GATHER, dtype)


def gather_sparse(sources: str, dtype: str) -> compiler.Function:
    """A reader of CSR rows; ``sources`` is the dtypes of the data and of the indices, "float32.int32"."""
    return compiler.load("elementwise", f"sparse.{sources}", _GATHER_SPARSE, dtype)


def step(optimizer: str, states: int, dtype: str) -> compiler.Function:
    """``step(w, gradient, state_1, state_2, n, for_weights, options, lr, factor)`` of an optimiser of the table."""
    return compiler.load("elementwise", f"step.{optimizer}.{states}", _STEP, dtype)


def dropout(dtype: str) -> compiler.Function:
    """``dropout(a, d, whole, rows, stride, key, row, row_step, kept)`` in elementwise.py."""
    return compiler.load("elementwise", "dropout", _DROPOUT, dtype)


def softmax_backward(dtype: str) -> compiler.Function:
    """``softmax_backward(a, delta, rows, n, stride)`` in elementwise.py."""
    return compiler.load("elementwise", "softmax_backward", _SOFTMAX_BACKWARD, dtype)


@lru_cache(maxsize=32)  # another network of the same functions has them at once
def private_activation(function: Any, derivative: Any, dtype: str) -> tuple[compiler.Function, Any]:
    """As `activation`, of a user's scalar njit functions. Keep the second value alive as long as the first is used."""
    from .elementwise import activation_rows

    return compiler.compile_private(activation_rows(function, derivative), _ACTIVATION, dtype)


@lru_cache(maxsize=32)
def private_loss(function: Any, derivative: Any, dtype: str) -> tuple[compiler.Function, Any]:
    """As `loss`, of a user's scalar njit functions. Keep the second value alive as long as the first is used."""
    from .elementwise import loss_rows

    return compiler.compile_private(loss_rows(function, derivative), _LOSS, dtype)
