"""Many vectors of parameters under one spec, one after the other in a single call of a kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np

from ..base.sparse import SparseRows
from ..kernels import catalog
from ..kernels.layout import CALL, NUMBERS, aligned
from ..spec import Spec
from .binding import Binding, DataView, address_of, pin
from .blocks import part_of_batch
from .call import KernelCall, TimeSlices
from .memory import address, places_of, word_places
from .shortcuts import copy_samples
from .team import Team

__all__ = ["Population", "Populations", "populations"]

_OUTPUTS, _GRADIENT = map(word_places(CALL).__getitem__, ("outputs", "gradient"))
_FEW = 1 << 10  # numbers in x that are sooner copied than described to the kernels


class Population:
    """Runs kernels for networks of one spec that differ only in their parameters, which are only read.

    It is not thread-safe: `Populations.lent` gives each caller its own.

    Parameters
    ----------
    spec : Spec
    dtype : dtype
    """

    def __init__(self, spec: Spec, dtype: np.dtype) -> None:
        places, n_params = places_of(spec)
        self._last = aligned(n_params, dtype)  # kernels may read a line behind a row; behind the last may be nothing
        self._last_at = self._last.ctypes.data
        self.binding = Binding(spec, places, self._last)
        self._team = Team(self.binding)
        self._workspace = self._team.leader
        real = dtype.name
        self._run_networks, self._predict_networks = catalog.run_networks(real), catalog.predict_networks(real)
        self._addresses = {kernel: address_of(catalog.network(kernel, real)) for kernel in ("forward", "batches")}
        self._calls: dict[tuple[str, bool], KernelCall] = {}  # the last one of each kind
        self._few = np.zeros((max(1, min(self.binding.block, _FEW // spec.n_in)), spec.n_in), dtype)
        self._own = self.binding.view(self._few)
        self._bound = 0  # how many samples of its own the job is about; 0 if it is about others
        self._slices = {"forward": TimeSlices(), "batches": TimeSlices()}

    def predict_few(self, params: np.ndarray, x: np.ndarray) -> np.ndarray | None:
        """The outputs (n_networks, n, n_out) of samples x (n, n_in) of any real dtype, the same for all networks.

        None for many samples, and where x is not finite. After a large population little is left in the caches, not
        even the interpreter: then each step here takes four times as long as alone.
        """
        n, few = len(x), self._few
        if n != len(few):
            if n > len(few):
                return None
            few = few[:n]
        copy_samples(x, few)
        if not math.isfinite(np.vdot(few, few)):
            return None
        workspace, keep = self._workspace, pin(params)
        if n != self._bound:
            call = self._call("forward", n, False)
            workspace.take(self._own.words, call.words_for(0, n), call.step)
            self._bound = n
        outputs = np.empty((len(params), n, self.binding.spec.n_out), params.dtype)
        workspace.call[_OUTPUTS] = address(outputs)
        self._predict(params, 0)
        del keep
        return outputs

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
        return self._run("forward", params, view, rows, n_samples, outputs, scored)

    def gradient(
        self, params: np.ndarray, view: DataView, rows: tuple[int, int], n_samples: int, gradients: np.ndarray
    ) -> np.ndarray:
        """Write the gradients of mean losses to (n_networks, n_params), and return the sums of losses and of right
        answers, (n_networks, 2). Arguments are as in `forward`."""
        return self._run("batches", params, view, rows, n_samples, gradients, True)

    def _run(
        self, kernel: str, params: np.ndarray, view: DataView, rows: tuple[int, int], n_samples: int,
        results: np.ndarray | None, scored: bool,
    ) -> np.ndarray:  # fmt: skip
        """Run a kernel for all networks, in slices of time; return its totals."""
        n, keep, call = len(params), pin(params), self._call(kernel, n_samples, scored)
        at, step, result, result_step = _address(params), params.strides[0], 0, 0
        if results is not None:
            result, result_step = _address(results), results.strides[0]
        words, workspace = call.words_for(0, n_samples), self._workspace
        words[_OUTPUTS if kernel == "forward" else _GRADIENT] = result
        workspace.take(view.words, words, call.step)
        self._bound = 0
        job, base = workspace.address, self._last_at
        if kernel == "forward" and not scored and n_samples <= self.binding.block and not self._by_rows(view):
            totals = np.zeros((n, 0))
            self._predict(params, rows[0])
        else:
            numbers = np.zeros(n, NUMBERS)
            totals = numbers.view(np.float64).reshape(n, -1)
            totals[:, 0] = 1 / n_samples  # the factor of a gradient
            totals, totals_at = totals[:, 1:], _address(numbers)
            for start, count in self._slices[kernel].slices(n, 1):
                self._run_networks(
                    at + start * step, job, totals_at, self._addresses[kernel], start, count, start + count == n,
                    base, step, *rows, result_step,
                )  # fmt: skip
        del keep  # nobody could resize params so far
        return totals

    def _predict(self, params: np.ndarray, x_row: int) -> None:
        """Write the outputs that the job is about, a block of samples at most, in slices of time."""
        n, at, step = len(params), _address(params), params.strides[0]
        job, base = self._workspace.address, self._last_at
        for start, count in self._slices["forward"].slices(n, 1):
            self._predict_networks(at + start * step, job, start, count, start + count == n, base, step, x_row)

    def _by_rows(self, view: DataView) -> bool:
        """Whether `forward` reads the weights of sparse samples from the flat vector, instead of packing all."""
        return isinstance(view.x, SparseRows) and not self._in_place

    def _call(self, kernel: str, n_samples: int, scored: bool) -> KernelCall:
        """What a kernel does to so many samples of a network."""
        call = self._calls.get((kernel, scored))
        if call is None or len(call.order) != n_samples:
            order, block = np.arange(n_samples), self.binding.block
            if kernel == "batches":
                call = KernelCall(order, block, batch=n_samples, part=part_of_batch(n_samples, block))
                call.mark(begins=True, ends=True)
            else:
                call = KernelCall(order, block, scored=scored)
            self._calls[kernel, scored] = call
        return call

    @property
    def _in_place(self) -> bool:
        return bool(self._workspace.job["workspace"]["in_place"])


class Populations:
    """Populations of one spec, each lent to one caller at a time.

    Parameters
    ----------
    spec : Spec
    dtype : dtype

    Raises
    ------
    ValueError
        For a shift, scale or slope that a network of that dtype cannot hold.
    """

    def __init__(self, spec: Spec, dtype: np.dtype) -> None:
        spec.check_range(dtype)
        self._spec, self._dtype = spec, dtype
        self._idle: list[Population] = []

    @contextmanager
    def lent(self) -> Iterator[Population]:
        """A population that is lent to this caller."""
        population = self._taken()
        yield population
        self._idle.append(population)

    def predict_few(self, params: np.ndarray, x: np.ndarray) -> np.ndarray | None:
        """`Population.predict_few`, by one that is lent meanwhile."""
        population = self._taken()
        outputs = population.predict_few(params, x)
        self._idle.append(population)
        return outputs

    def _taken(self) -> Population:
        try:
            return self._idle.pop()
        except IndexError:
            return Population(self._spec, self._dtype)


@lru_cache(maxsize=16)
def populations(spec: Spec, dtype: np.dtype) -> Populations:
    """The populations of a spec; those of recent specs are kept."""
    return Populations(spec, dtype)


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])  # sooner than ctypes.data
