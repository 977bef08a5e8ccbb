"""One piece of work for a kernel, and the time that it may take at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np

from ..kernels import layout

__all__ = ["KernelCall", "TimeSlices"]

_SLICE_SECONDS = 0.02  # a kernel call lasts about this long, so that Ctrl-C is heard


class KernelCall:
    """What a kernel does to which samples, whatever slices it is run in.

    Parameters
    ----------
    order : ndarray of int64
        The samples' numbers.
    block : int
        How many are in memory at once.
    outputs : ndarray, optional
        Where outputs go, a row a sample.
    gradient : ndarray, optional
        Where a gradient goes.
    entries : dict
        Of the job, from layout.ORDER on: number and value.

    Attributes
    ----------
    numbers : ndarray of float64
        The learning rate (or the factor of a gradient), then the totals.
    """

    def __init__(
        self,
        order: np.ndarray,
        block: int,
        outputs: np.ndarray | None = None,
        gradient: np.ndarray | None = None,
        entries: Mapping[int, int] | None = None,
        number: float = 0.0,
    ) -> None:
        self.order, self.block, self.outputs, self.gradient = order, block, outputs, gradient
        self.numbers = np.array([number, 0.0, 0.0])
        self.totals = self.numbers[1:]
        self._row = np.zeros(layout.JOB - layout.CALL, np.int64)
        self._entry(layout.BLOCK, block)
        self._entry(layout.GRADIENT, 0 if gradient is None else gradient.ctypes.data)
        for number_of_entry, value in (entries or {}).items():
            self._entry(number_of_entry, value)
        self._order = order.ctypes.data, order.itemsize
        self._outputs = (0, 0) if outputs is None else (outputs.ctypes.data, outputs.strides[0])

    def _entry(self, number: int, value: int) -> None:
        self._row[number - layout.CALL] = value

    def entries_for(self, start: int, count: int) -> np.ndarray:
        """The entries of a job, from layout.CALL on, for samples start to start + count."""
        self._row[_OF_PART] = (
            self._order[0] + start * self._order[1],
            count,
            self._outputs[0] + start * self._outputs[1],
            start,
        )
        return self._row

    def mode(self, mode: int) -> None:
        self._entry(layout.MODE, mode)


_OF_PART = np.array([layout.ORDER, layout.COUNT, layout.OUTPUTS, layout.POSITION]) - layout.CALL


class TimeSlices:
    """Cuts samples into slices that a kernel takes about 20 ms for, and learns from each how many that is."""

    def __init__(self) -> None:
        self._samples = 0.0

    def slices(self, n: int, step: int) -> Iterator[tuple[int, int]]:
        """(start, count) of slices of n samples, each but the last a multiple of ``step``, for the caller's loop."""
        start = 0
        while start < n:
            count = min(max(step, int(self._samples) // step * step), n - start)
            begin = time.perf_counter()
            yield start, count
            growth = _SLICE_SECONDS / max(time.perf_counter() - begin, 1e-9)
            learnt = count * min(8.0, growth)
            self._samples = max(self._samples, learnt) if growth > 1 else learnt
            start += count
