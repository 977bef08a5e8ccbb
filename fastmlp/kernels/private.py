"""Users' own activations, losses and residuals: compiled in this process, never stored. Importing this imports Numba.

Where a user's function raises in a kernel its value is NaN, and a `Note` knows for which arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba.core.errors import NumbaError

from . import activations, losses, residuals
from .catalog import KERNELS
from .decorators import array_at, kernel_function
from .store import Function, compile_private

__all__ = ["Note", "Private", "activation", "higher_derivative", "loss", "loss_curvature", "residual"]

_SHORT = 9  # numbers of an argument that a message has


class Note:
    """What users' functions were given when one of them last raised in a kernel.

    Parameters
    ----------
    calls : dict of str to callable
        The functions by their names, in Python, in the order in which the kernel calls them.
    shapes : dict of str to tuple of int
        Of the arguments that they read, by their names.
    """

    def __init__(self, calls: Mapping[str, Callable[..., Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._calls, self._shapes = calls, shapes
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        self._ends = np.cumsum([1, *sizes])
        self._memory = np.zeros(1 + sum(sizes))

    @property
    def address(self) -> int:
        """Where a kernel writes 1, which says that a function raised, and behind it the arguments, all float64."""
        return self._memory.ctypes.data

    def complaint(self) -> str:
        """What a function raised since this was last asked, and for what; "" if none did."""
        if not self._memory[0]:
            return ""
        self._memory[0] = 0
        parts = np.split(self._memory, self._ends)[1:-1]
        given = {name: part.reshape(shape) for (name, shape), part in zip(self._shapes.items(), parts, strict=True)}
        text = ", ".join(f"{name} = {array.tolist()}" for name, array in given.items() if array.size <= _SHORT)
        for name, call in self._calls.items():
            try:
                with np.errstate(all="ignore"):
                    call(*(array.copy() if array.ndim else array.item() for array in given.values()))
            except Exception as error:
                return f"your function {name} raises {type(error).__name__}: {error} (for {text})"
        return f"your function {' or '.join(self._calls)} raised as it was compiled (for {text})"


class Private(NamedTuple):
    """A kernel made of users' functions: ``function`` can be called while ``code`` and ``notes`` live."""

    function: Function
    code: Any
    notes: tuple[Note, ...]


@lru_cache(maxsize=32)  # another network of the same functions has them at once
def activation(function: Any, derivative: Any, dtype: str) -> Private:
    """The rows function of scalar njit functions."""
    return _of_scalars(activations.activation_rows, "activation", (function, derivative), ("z",), dtype)


@lru_cache(maxsize=32)
def higher_derivative(function: Any, dtype: str) -> Private:
    """What writes a scalar njit function's values."""
    return _of_scalars(activations.derivative_rows, "higher_derivative", (function,), ("z",), dtype)


@lru_cache(maxsize=32)
def loss(function: Any, derivative: Any, dtype: str) -> Private:
    """The rows function of scalar njit functions."""
    return _of_scalars(losses.loss_rows, "loss", (function, derivative), ("y_hat", "y"), dtype)


@lru_cache(maxsize=32)
def loss_curvature(second_derivative: Any, dtype: str) -> Private:
    """What writes a scalar njit function's values."""
    return _of_scalars(losses.curvature_rows, "loss_curvature", (second_derivative,), ("y_hat", "y"), dtype)


@lru_cache(maxsize=32)
def residual(function: Any, derivatives: Any, dtype: str, n_in: int, n_out: int) -> Private:
    """What makes a residual's loss of a sample; a ValueError if Numba cannot compile the functions."""

    def derive(*given: np.ndarray) -> None:
        derivatives.py_func(*given, *map(np.zeros_like, given[1:]))

    calls = {function.__name__: function.py_func, derivatives.__name__: derive}
    shapes = {"x": (n_in,), "u": (n_out,), "du": (n_out, n_in), "d2u": (n_out, n_in, n_in)}
    note = Note(calls, shapes)
    sample_of = residuals.residual_of(function, derivatives, note.address)
    try:
        return Private(*compile_private(sample_of, KERNELS["residual"].signature, dtype), (note,))
    except NumbaError as error:
        raise ValueError(f"residual: Numba cannot compile r and dr for arrays of float64: {error}") from error


def _of_scalars(
    rows_of: Callable[..., Any], kernel: str, functions: tuple[Any, ...], arguments: tuple[str, ...], dtype: str
) -> Private:
    """The kernel that ``rows_of`` makes of scalar njit functions of these arguments."""
    real, shapes = np.dtype(dtype).type, dict.fromkeys(arguments, ())
    notes = tuple(Note({function.__name__: function.py_func}, shapes) for function in functions)
    noting = (_noting(function, note.address, real) for function, note in zip(functions, notes, strict=True))
    return Private(*compile_private(rows_of(*noting), KERNELS[kernel].signature, dtype), notes)


def _noting(function: Any, note: int, real: Any) -> Any:
    """A scalar njit function that is NaN where the user's raises, which it notes."""
    nan = real(np.nan)

    def noting(*arguments: Any) -> Any:
        value = nan
        try:
            value = function(*arguments)
        except Exception:
            memory = array_at(note, 1 + len(arguments), np.float64)
            memory[0] = 1.0
            for k in range(len(arguments)):
                memory[1 + k] = arguments[k]
        return value

    return kernel_function(noting)
