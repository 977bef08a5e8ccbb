"""What training on derivatives is given: the outputs' derivatives by the inputs, or a residual of them, and what they
count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..residuals import Residual
from ..spec import Spec
from .jacobians import derivatives

__all__ = ["Residuals", "Slopes", "slope_units"]


@dataclass(frozen=True)
class Slopes:
    """Checked derivatives that a network's should become.

    Attributes
    ----------
    quantity : str
        What the history calls their part of the loss.
    kernel : str
        The family of the kernel that goes back from them.
    curved : int
        How many derivatives of the activations it needs beside the first.
    dydx : ndarray, (n_samples, n_out, n_in)
        In the user's units, NaN where one is not known; of any dtype that kernels read, and any strides.
    weights : ndarray of float64, (n_samples,)
        By which the samples' derivatives count, beside the samples' own weights; of any stride.
    """

    quantity: ClassVar[str] = "dydx_loss"
    kernel: ClassVar[str] = "slope_deltas"
    curved: ClassVar[int] = 1
    dydx: np.ndarray
    weights: np.ndarray

    @staticmethod
    def tangents(spec: Spec) -> int:
        """How many rows of derivatives a sample has."""
        return derivatives(spec, by_inputs=True)


@dataclass(frozen=True)
class Residuals:
    """A residual that should become 0, as `Slopes` are described.

    Attributes
    ----------
    residual : Residual
    weights : ndarray of float64, (n_samples,)
        By which the squares of the samples' residuals count, beside the samples' own weights; of any stride.
    """

    quantity: ClassVar[str] = "residual_loss"
    kernel: ClassVar[str] = "residual_deltas"
    curved: ClassVar[int] = 2
    residual: Residual
    weights: np.ndarray

    @staticmethod
    def tangents(spec: Spec) -> int:
        """How many rows of derivatives a sample has: one for each input, and one for each pair of them."""
        return spec.n_in + spec.n_in * (spec.n_in + 1) // 2


def slope_units(spec: Spec) -> np.ndarray | None:
    """What derivatives are multiplied with to be in the network's units, float64 (n_out, n_in); None where they are."""
    if spec.input_affine is None and spec.output_affine is None:
        return None
    of_x = np.ones(spec.n_in) if spec.input_affine is None else spec.input_affine[1]
    of_y = np.ones(spec.n_out) if spec.output_affine is None else spec.output_affine[1]
    with np.errstate(over="ignore", divide="ignore"):  # what becomes infinite makes the loss so
        return 1 / np.outer(of_y, of_x)
