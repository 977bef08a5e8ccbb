"""One piece of work for a kernel, and the time that one call may take."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from ..kernels.layout import CALL, NUMBERS, STEP
from .memory import address, word_places, words
from .steps import Dropout, Step

__all__ = ["KernelCall", "TimeSlices"]

_BEGINNING = 1 << 20  # multiply-adds forward of a first slice
_SLICE_SECONDS = 0.02  # a kernel call lasts about this long, so that Ctrl-C is heard
_NO_STEP = words(np.zeros((), STEP))

_AT = word_places(CALL)


class KernelCall:
    """What a kernel does to which samples, independent of the slices in which it is run.

    Parameters
    ----------
    order : ndarray of int64, contiguous
        The samples' numbers.
    block : int
        The number of samples that are in memory at once.
    number : float or list of float
        The learning rate, or the factor of a gradient; the rates of several epochs, for `Binding.run_epochs`.
    batch, part : int
        The number of samples in a step, and the number of them of which a thread makes a gradient.
    outputs : ndarray, contiguous, optional
        An array for the outputs, with a row for each of ``order``.
    gradient : ndarray, (n_params,), contiguous, optional
        Where a gradient goes.
    along : ndarray, contiguous, optional
        Directions of the samples' inputs or outputs, a row for each of ``order``.
    rows, squares : ndarray, contiguous, optional
        Room for a batch's rows of J and r, and the matrix that their products are added to.
    step : Step or Dropout, optional
        How steps are made, and which units are left out.
    scored, by_inputs, checked : bool
        See kernels/layout.py.

    Attributes
    ----------
    numbers : ndarray of float64, (4,) or (n_epochs, 4)
        A NUMBERS record, ``number`` and then the totals; or one for each epoch.
    totals : ndarray of float64, (3,) or (n_epochs, 3)
        The sums of losses, of right answers, and of what the losses have of derivatives, so far.
    step : ndarray of int64
        The STEP record's words.
    """

    def __init__(
        self,
        order: np.ndarray,
        block: int,
        number: float | Sequence[float] = 0.0,
        *,
        batch: int = 0,
        part: int = 0,
        outputs: np.ndarray | None = None,
        gradient: np.ndarray | None = None,
        along: np.ndarray | None = None,
        rows: np.ndarray | None = None,
        squares: np.ndarray | None = None,
        step: Step | Dropout | None = None,
        scored: bool = False,
        by_inputs: bool = False,
        checked: bool = False,
    ) -> None:
        self.order, self.block, self.batch, self.by_inputs = order, block, batch, by_inputs
        self._alive = outputs, gradient, along, rows, squares, step
        if isinstance(number, float):
            self.numbers = np.array([number, 0.0, 0.0, 0.0])
        else:
            self.numbers = np.zeros((len(number), NUMBERS.itemsize // 8))
            self.numbers[:, 0] = number
        self.totals = self.numbers[..., 1:]
        self.step = _NO_STEP if step is None else step.words
        self._words = words = np.zeros(CALL.itemsize // 8, np.int64)
        words[_AT["block"]], words[_AT["batch"]], words[_AT["part"]] = block, batch, part
        for name, array in (("gradient", gradient), ("rows", rows), ("squares", squares)):
            if array is not None:
                words[_AT[name]] = address(array)
        words[_AT["scored"]], words[_AT["by_inputs"]], words[_AT["checked"]] = scored, by_inputs, checked
        self._order = address(order), order.itemsize
        self._outputs = (0, 0) if outputs is None else (address(outputs), outputs.strides[0])
        self._along = (0, 0) if along is None else (address(along), along.strides[0])

    def words_for(self, start: int, count: int) -> np.ndarray:
        """The CALL record's words for samples start to start + count."""
        words = self._words
        words[_AT["order"]], words[_AT["count"]] = self._order[0] + start * self._order[1], count
        words[_AT["outputs"]], words[_AT["position"]] = self._outputs[0] + start * self._outputs[1], start
        words[_AT["along"]] = self._along[0] + start * self._along[1]
        return words

    def mark(self, begins: bool, ends: bool) -> None:
        """Set whether the next run has the first and the last samples of its batch."""
        self._words[_AT["begins"]], self._words[_AT["ends"]] = begins, ends


class TimeSlices:
    """Cuts samples into slices for which a kernel takes about 20 ms, and learns from each how many samples that is.

    Parameters
    ----------
    n_params : int
        The network's number of parameters, from which the first slice is chosen to take about a millisecond; it has at
        least one step.
    """

    def __init__(self, n_params: int = 0) -> None:
        self._samples = _BEGINNING / n_params if n_params else 0.0

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
