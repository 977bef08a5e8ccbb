"""Many vectors of parameters under one spec, one after the other in a single call of a kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from ..kernels import catalog
from ..kernels.layout import CALL, DATA, NUMBERS, aligned, parameter_places
from ..spec import Spec
from .binding import Binding, DataView, address_of, pin
from .blocks import BLOCK, part_of_batch
from .call import KernelCall, TimeSlices
from .team import Team

__all__ = ["Population", "lent"]

_OUTPUTS, _X = (list(record.names or ()).index(name) for record, name in ((CALL, "outputs"), (DATA, "x")))


class Population:
    """Runs kernels for networks of one spec that only their parameters tell apart. These are only read.

    It is not thread-safe: `lent` gives each caller its own.

    Parameters
    ----------
    spec : Spec
    dtype : dtype
    """

    def __init__(self, spec: Spec, dtype: np.dtype) -> None:
        places, n_params = parameter_places(spec.widths, [layer.bias for layer in spec.layers])
        self._last = aligned(n_params, dtype)  # kernels may read a line behind a row; behind the last may be nothing
        self.binding = Binding(spec, places, self._last)
        self._team = Team(self.binding)

    def forward(
        self,
        params: np.ndarray,
        view: DataView,
        rows: tuple[int, int],
        n_samples: int,
        outputs: np.ndarray | None,
        scored: bool,
    ) -> np.ndarray:
        """Write outputs to (n_networks, n_samples, n_out), and return the sums of losses and of right answers,
        (n_networks, 2), where they are scored.

        Rows of params (n_networks, n_params) are contiguous; ``rows`` are the bytes from network to network in x and y.
        """
        first, block = None if outputs is None else outputs[0], self.binding.block
        call = KernelCall(np.arange(n_samples), block, outputs=first, scored=scored)
        return self._run("forward", params, view, call, rows, 0.0, outputs)

    def gradient(
        self, params: np.ndarray, view: DataView, rows: tuple[int, int], n_samples: int, gradients: np.ndarray
    ) -> np.ndarray:
        """Write the gradients of mean losses to (n_networks, n_params), and return the sums of losses and of right
        answers, (n_networks, 2). Arguments are as in `forward`."""
        block, order = self.binding.block, np.arange(n_samples)
        part = part_of_batch(n_samples, block)
        call = KernelCall(order, block, batch=n_samples, part=part, gradient=gradients[0])
        call.mark(begins=True, ends=True)
        return self._run("batches", params, view, call, rows, 1 / n_samples, gradients)

    def _run(
        self, kernel: str, params: np.ndarray, view: DataView, call: KernelCall, rows: tuple[int, int], number: float,
        results: np.ndarray | None,
    ) -> np.ndarray:  # fmt: skip
        """Run a kernel for all networks, in slices of time; return its totals."""
        n, real, keep = len(params), params.dtype.name, pin(params)
        self._last[...] = params[-1]
        numbers = np.zeros(n, NUMBERS)
        numbers["rate"] = number
        run, address = catalog.run_networks(real), address_of(catalog.network(kernel, real))
        workspace, last = self._team.leader, self._last.ctypes.data
        steps = params.strides[0], *rows, 0 if results is None else results.strides[0]
        workspace.take(view.words, call.words_for(0, len(call.order)), call.step)
        job, places = workspace.address, (params.ctypes.data, numbers.ctypes.data)
        in_place = workspace.job["workspace"]["in_place"]
        if kernel == "forward" and results is not None and len(call.order) == 1 and in_place:
            for start, count in TimeSlices().slices(n - 1, BLOCK):
                workspace.call[_OUTPUTS] = results.ctypes.data + start * steps[3]
                workspace.data[_X] = view.words[_X] + start * steps[1]
                catalog.predict_networks(real)(places[0] + start * steps[0], job, count, last, *steps[:2])
            workspace.take(view.words, call.words_for(0, 1), call.step)
        else:
            for start, count in TimeSlices().slices(n - 1, 1):
                run(places[0] + start * steps[0], job, places[1], address, start, count, last, *steps)
        run(last, job, places[1], address, n - 1, 1, last, *steps)
        del keep  # nobody could resize params so far
        totals = numbers["totals"]
        return np.stack([totals["loss"], totals["right"]], axis=1)


@contextmanager
def lent(spec: Spec, dtype: np.dtype) -> Iterator[Population]:
    """A population of that spec, for this caller alone."""
    idle = _idle(spec, dtype)
    try:
        population = idle.pop()
    except IndexError:
        population = Population(spec, dtype)
    yield population
    idle.append(population)


@lru_cache(maxsize=16)
def _idle(spec: Spec, dtype: np.dtype) -> list[Population]:
    """Populations that nobody uses, of the specs that were asked for lately."""
    return []
