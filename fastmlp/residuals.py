"""Residuals of differential equations, which training can make small: the user's functions, and their check by
differences."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .base.interrupts import no_interrupt_lost

__all__ = ["Residual"]

_ARGUMENTS = {"r": ("x", "u", "du", "d2u"), "dr": ("x", "u", "du", "d2u", "g_u", "g_du", "g_d2u")}
_STEP = 1e-5
_MOST, _COPIED = 256, 1 << 20  # numbers of an array by which differences are taken at a point, and which that copies


@dataclass(frozen=True, init=False, repr=False)
class Residual:
    """A differential equation r = 0, for training: r as a function of a network's outputs and their derivatives.

    Parameters
    ----------
    r : callable
        ``r(x, u, du, d2u) -> float``, a function under ``numba.njit``. It gets one sample's inputs x (n_in,) in the
        user's units, the outputs u (n_out,) that `MLP.predict` makes of them, and their derivatives by x: du (n_out,
        n_in) and d2u (n_out, n_in, n_in), all float64.
    dr : callable
        ``dr(x, u, du, d2u, g_u, g_du, g_d2u)``, a function under ``numba.njit`` that writes the derivatives of r by u,
        du and d2u to the last three arrays, which have the same shapes and are zeros beforehand. Each number of d2u
        counts as a variable of its own, even though d2u is symmetric.

    Raises
    ------
    TypeError
        For a function that is not under ``numba.njit``, or has another number of arguments.

    Notes
    -----
    Before training, `train` compares dr with differences of r at a few collocation points and for random u, du and
    d2u. In training the functions get copies, and indices out of bounds raise. A function that raises makes the loss
    NaN: a `DivergenceError` that names what it raised.

    Examples
    --------
    Poisson's equation in two dimensions, ∂²u/∂x² + ∂²u/∂y² = x y:

    >>> import fastmlp, numba
    >>> @numba.njit
    ... def r(x, u, du, d2u):
    ...     return d2u[0, 0, 0] + d2u[0, 1, 1] - x[0] * x[1]
    >>> @numba.njit
    ... def dr(x, u, du, d2u, g_u, g_du, g_d2u):
    ...     g_d2u[0, 0, 0] = g_d2u[0, 1, 1] = 1.0
    >>> fastmlp.Residual(r, dr)
    Residual(r, dr)
    """

    r: Any
    dr: Any

    def __init__(self, r: Callable[..., Any], dr: Callable[..., Any]) -> None:
        functions: dict[str, Any] = {"r": r, "dr": dr}
        for name, function in functions.items():
            if not (inspect.isfunction(getattr(function, "py_func", None)) and hasattr(function, "targetoptions")):
                raise TypeError(
                    f"Residual: {name} must be a function under numba.njit, got {type(function).__name__}; write "
                    "@numba.njit above it"
                )
            count, wanted = len(inspect.signature(function.py_func).parameters), _ARGUMENTS[name]
            if count != len(wanted):
                raise TypeError(
                    f"Residual: {name} must take {len(wanted)} arguments, {name}({', '.join(wanted)}), not {count}"
                )
        object.__setattr__(self, "r", r)
        object.__setattr__(self, "dr", dr)

    def __repr__(self) -> str:
        return f"Residual({self.r.__name__}, {self.dr.__name__})"

    @property
    def bounded(self) -> tuple[Any, Any]:
        """r and dr as training calls them: on one thread, with indices that raise where they are out of bounds."""
        return _bounded(self.r), _bounded(self.dr)

    def check(self, x: np.ndarray, n_out: int) -> None:
        """Compare dr with central differences of r at some points, for random u, du and d2u.

        Parameters
        ----------
        x : ndarray, (n_points, n_in)
            The points, float64. Where r is not finite they are left out.
        n_out : int
            The number of outputs.

        Raises
        ------
        ValueError
            If Numba cannot compile a function, if one raises, or writes to what it is given, if r does not return a
            number, or if dr has another derivative than r; it names the first one that differs.
        """
        n_in, rng = x.shape[1], np.random.default_rng(0)
        with no_interrupt_lost():  # the first calls compile
            for point in x:
                given = [point, *(rng.normal(size=(n_out, *(n_in,) * order)) for order in range(3))]
                if not np.isfinite(self._value(given)):
                    given[1:] = [np.abs(array) + 0.1 for array in given[1:]]  # it may have a root or logarithm of them
                if np.isfinite(self._value(given)):
                    self._compare(given, rng)

    def _value(self, given: list[np.ndarray]) -> float:
        value = self._call("r", given)
        if not isinstance(value, (int, float)):
            raise ValueError(f"residual: r must return one number, got {type(value).__name__}")
        return float(value)

    def _compare(self, given: list[np.ndarray], rng: np.random.Generator) -> None:
        """Raise ValueError where dr has another derivative than differences of r at these arguments."""
        value, ours = self._value(given), [np.zeros_like(array) for array in given[1:]]
        self._call("dr", given, ours)
        differences = [np.full_like(array, np.nan) for array in ours]
        for array, numeric in zip(given[1:], differences, strict=True):
            for k in rng.permutation(array.size)[: min(_MOST, 8 + _COPIED // array.size)]:
                before, ends = float(array.flat[k]), []
                step = _STEP * max(1.0, abs(before))
                for moved in (before + step, before - step):
                    array.flat[k] = moved
                    ends.append(self._value(given))
                array.flat[k] = before
                numeric.flat[k] = (ends[0] - ends[1]) / (2 * step)
        numbers = np.abs(np.concatenate([array.ravel() for array in (*ours, *differences)]))
        largest = float(numbers[np.isfinite(numbers)].max(initial=0.0))
        for name, its, numeric in zip(("u", "du", "d2u"), ours, differences, strict=True):
            wrong = ~(np.abs(its - numeric) <= 1e-4 * np.abs(numeric) + 1e-6 * (largest + abs(value)))
            if (wrong & np.isfinite(numeric)).any():
                place = tuple(map(int, np.argwhere(wrong & np.isfinite(numeric))[0]))
                index = ", ".join(map(str, place))
                raise ValueError(
                    f"residual: dr has g_{name}[{index}] = {its[place]:.8g}, but differences of r by {name}[{index}] "
                    f"are {numeric[place]:.8g} (at x = {given[0]})"
                )

    def _call(self, name: str, given: list[np.ndarray], out: list[np.ndarray] | None = None) -> Any:
        """Call r or dr; a ValueError if it raises, or writes to what it is given."""
        copies = [array.copy() for array in given]
        try:
            value = _bounded(getattr(self, name))(*copies, *(out or []))
        except Exception as error:
            shapes = ", ".join(f"{n} {array.shape}" for n, array in zip(_ARGUMENTS["r"], given, strict=True))
            raise ValueError(f"residual: {name} raises {type(error).__name__}: {error} (for {shapes})") from error
        for argument, array, copy in zip(_ARGUMENTS["r"], given, copies, strict=True):
            if not np.array_equal(array, copy):
                raise ValueError(f"residual: {name} writes to {argument}, which it must leave alone; copy it first")
        return value


@lru_cache(maxsize=64)
def _bounded(function: Any) -> Any:
    """The njit function on one thread, with indices that raise where they are out of bounds."""
    from numba import njit

    options = {name: value for name, value in function.targetoptions.items() if name in ("error_model", "fastmath")}
    return njit(boundscheck=True, **options)(function.py_func)
