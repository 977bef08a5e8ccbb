"""Jacobians: how many samples are taken together, and how long they take."""

from __future__ import annotations

from ..spec import Spec
from .blocks import BLOCK

__all__ = ["derivatives", "jacobian_block", "jacobian_work"]


def derivatives(spec: Spec, by_inputs: bool) -> int:
    """How many rows of derivatives a sample has: those by its inputs go forward where that makes fewer."""
    return min(spec.n_in, spec.n_out) if by_inputs else spec.n_out


def jacobian_block(spec: Spec, by_inputs: bool) -> int:
    """How many samples are taken together: their derivatives fill the layers' ``BLOCK`` rows."""
    return max(1, BLOCK // derivatives(spec, by_inputs))


def jacobian_work(spec: Spec, n_params: int, by_inputs: bool) -> int:
    """The number of multiply-adds that take about as long as one sample's Jacobian.

    To read a parameter from memory, once for each block, takes as long as ten of them; to write a number to new memory
    as long as fifty.
    """
    numbers = spec.n_out * (spec.n_in if by_inputs else n_params)
    return (10 + derivatives(spec, by_inputs)) * n_params + 50 * numbers
