"""What training on derivatives is given: the outputs' derivatives by the inputs, and what they count."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..spec import Spec

__all__ = ["Slopes", "slope_units"]


@dataclass(frozen=True)
class Slopes:
    """Checked derivatives that a network's should become.

    Attributes
    ----------
    dydx : ndarray, (n_samples, n_out, n_in)
        In the user's units, NaN where one is not known; of any dtype that kernels read, and any strides.
    weights : ndarray of float64, (n_samples,)
        By which the samples' derivatives count, beside the samples' own weights; of any stride.
    """

    dydx: np.ndarray
    weights: np.ndarray


def slope_units(spec: Spec) -> np.ndarray | None:
    """What derivatives are multiplied with to be in the network's units, float64 (n_out, n_in); None where they are."""
    if spec.input_affine is None and spec.output_affine is None:
        return None
    of_x = np.ones(spec.n_in) if spec.input_affine is None else spec.input_affine[1]
    of_y = np.ones(spec.n_out) if spec.output_affine is None else spec.output_affine[1]
    with np.errstate(over="ignore", divide="ignore"):  # what becomes infinite makes the loss so
        return 1 / np.outer(of_y, of_x)
