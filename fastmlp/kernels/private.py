"""Users' own activations and losses: compiled in this process, never stored. Importing this imports Numba."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numba.core.errors import NumbaError

from . import activations, losses, residuals
from .catalog import KERNELS
from .store import Function, compile_private

__all__ = ["activation", "higher_derivative", "loss", "loss_curvature", "residual"]


@lru_cache(maxsize=32)  # another network of the same functions has them at once
def activation(function: Any, derivative: Any, dtype: str) -> tuple[Function, Any]:
    """The rows function of scalar njit functions. Keep the second value alive as long as the first is used."""
    return compile_private(activations.activation_rows(function, derivative), KERNELS["activation"].signature, dtype)


@lru_cache(maxsize=32)
def higher_derivative(function: Any, dtype: str) -> tuple[Function, Any]:
    """What writes a scalar njit function's values. Keep the second value alive as long as the first is used."""
    return compile_private(activations.derivative_rows(function), KERNELS["higher_derivative"].signature, dtype)


@lru_cache(maxsize=32)
def loss(function: Any, derivative: Any, dtype: str) -> tuple[Function, Any]:
    """The rows function of scalar njit functions. Keep the second value alive as long as the first is used."""
    return compile_private(losses.loss_rows(function, derivative), KERNELS["loss"].signature, dtype)


@lru_cache(maxsize=32)
def loss_curvature(second_derivative: Any, dtype: str) -> tuple[Function, Any]:
    """What writes a scalar njit function's values. Keep the second value alive as long as the first is used."""
    return compile_private(losses.curvature_rows(second_derivative), KERNELS["loss_curvature"].signature, dtype)


@lru_cache(maxsize=32)
def residual(function: Any, derivatives: Any, dtype: str) -> tuple[Function, Any]:
    """What makes a residual's loss of a sample. Keep the second value alive as long as the first is used.

    A ValueError if Numba cannot compile the functions."""
    sample_of = residuals.residual_of(function, derivatives)
    try:
        return compile_private(sample_of, KERNELS["residual"].signature, dtype)
    except NumbaError as error:
        raise ValueError(f"residual: Numba cannot compile r and dr for arrays of float64: {error}") from error
