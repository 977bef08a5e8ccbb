"""Many vectors of parameters under one spec, one after the other in a single call of a kernel."""

from __future__ import annotations

import numpy as np

from ..kernels import catalog
from ..kernels.layout import NUMBERS, aligned, parameter_places
from ..spec import Spec
from .binding import Binding, DataView, address_of, pin
from .blocks import BLOCK, part_of_batch
from .call import KernelCall, TimeSlices
from .team import Team

__all__ = ["Population"]


class Population:
    """Vectors of parameters, (n_networks, n_params), of networks of one spec, that kernels only read.

    It is not thread-safe: threads take parts of their own (`part`).

    Parameters
    ----------
    spec : Spec
    params : ndarray, (n_networks, n_params)
        float32 or float64, each row contiguous. The rows of one network are copied; kernels may read a cache line
        behind a row, and behind the last one may be nothing.
    """

    def __init__(self, spec: Spec, params: np.ndarray) -> None:
        self._spec, self._params, self._pin = spec, params, pin(params)
        places, n_params = parameter_places(spec.widths, [layer.bias for layer in spec.layers])
        self._last = aligned(n_params, params.dtype)
        self._last[...] = params[-1]
        self.binding = Binding(spec, places, self._last)
        self._team = Team(self.binding)

    def part(self, begin: int, end: int) -> Population:
        """The networks from ``begin`` to ``end``."""
        return Population(self._spec, self._params[begin:end])

    def forward(
        self, view: DataView, rows: tuple[int, int], n_samples: int, outputs: np.ndarray | None, scored: bool
    ) -> np.ndarray:
        """Write outputs to (n_networks, n_samples, n_out), and return the sums of losses and of right answers,
        (n_networks, 2), where they are scored. ``rows`` are the bytes from network to network in x and in y."""
        call = KernelCall(np.arange(n_samples), BLOCK, outputs=None if outputs is None else outputs[0], scored=scored)
        return self._run("forward", view, call, rows, 0.0, outputs)

    def gradient(self, view: DataView, rows: tuple[int, int], n_samples: int, gradients: np.ndarray) -> np.ndarray:
        """Write the gradients of mean losses to (n_networks, n_params), and return the sums of losses and of right
        answers, (n_networks, 2)."""
        call = KernelCall(
            np.arange(n_samples), BLOCK, batch=n_samples, part=part_of_batch(n_samples), gradient=gradients[0]
        )
        call.mark(begins=True, ends=True)
        return self._run("batches", view, call, rows, 1 / n_samples, gradients)

    def _run(
        self, kernel: str, view: DataView, call: KernelCall, rows: tuple[int, int], number: float,
        results: np.ndarray | None,
    ) -> np.ndarray:  # fmt: skip
        """Run a kernel for all networks, in slices of time; return its totals."""
        params, n, real = self._params, len(self._params), self._params.dtype.name
        numbers = np.zeros(n, NUMBERS)
        numbers["rate"] = number
        run, address = catalog.run_networks(real), address_of(catalog.network(kernel, real))
        workspace, last = self._team.leader, self._last.ctypes.data
        steps = params.strides[0], *rows, 0 if results is None else results.strides[0]
        workspace.take(view.words, call.words_for(0, len(call.order)), call.step)
        job, places = workspace.address, (params.ctypes.data, numbers.ctypes.data)
        for start, count in TimeSlices().slices(n - 1, 1):
            run(places[0] + start * steps[0], job, places[1], address, start, count, last, *steps)
        run(last, job, places[1], address, n - 1, 1, last, *steps)
        totals = numbers["totals"]
        return np.stack([totals["loss"], totals["right"]], axis=1)
