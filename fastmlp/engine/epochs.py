"""How an epoch of training is run: which kernel, on which samples, with which numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from types import TracebackType
from typing import NamedTuple

import numpy as np

from ..base.cores import usable_cores
from ..base.sparse import SparseRows
from ..kernels.catalog import Variant
from ..metrics import MetricFunction
from . import blocks
from .binding import Binding, DataView, prepare_variants, reader_of
from .blocks import BLOCK, Modes, part_of_batch, sharers, taken_by_row
from .call import KernelCall, TimeSlices
from .network import Network, named_sums, named_values
from .slopes import Residuals, Slopes
from .steps import OptimizerState, Step
from .team import Team

__all__ = ["LITTLE", "EpochRunner", "Samples", "sgd_pass", "take_step"]

_SHORT = 10  # epochs that a call has time for, from which on they are too short to be shared by threads
_PER_SAMPLE, _MOMENT = (
    1 << 12,
    1 << 22,
)  # multiply-adds that last like what a sample takes beside them; half a ms of all
_LARGE = 64 * BLOCK  # samples a batch, from which on a kernel call may be for a part of it
LITTLE = 1 << 25  # multiply-adds forward of an epoch, which take a millisecond: to start threads takes a tenth of that


class Samples(NamedTuple):
    """Checked x and y, float64 weights of the samples or None, and what is trained of their derivatives, or None.

    ``output_weights`` are how much each output counts in the loss, float64 (n_out,): None where all count alike and y
    has no NaN in rows that count.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None
    output_weights: np.ndarray | None = None
    slopes: Slopes | Residuals | None = None

    def view(self, binding: Binding, *, by_row: bool = False, curved: bool = False) -> DataView:
        """Describe them to the kernels, as `Binding.view` does."""
        return binding.view(
            self.x, self.y, self.weights, self.slopes, output_weights=self.output_weights, by_row=by_row, curved=curved
        )

    def weight(self, rows: np.ndarray) -> float:
        """The total weight of these rows."""
        return len(rows) if self.weights is None else float(self.weights[rows].sum())


class EpochRunner:
    """Trains a network epoch by epoch: it picks the kernel once, then runs one or several epochs in a call.

    Parameters
    ----------
    network : Network
    samples : Samples
    batch : int
    metrics : dict of functions
        Functions of y and the outputs, which are those before each sample was learnt from.
    state : OptimizerState
    dropout : list of float
        The share of units that are left out of each hidden layer; empty without dropout.
    n_threads : int
    """

    def __init__(
        self,
        network: Network,
        samples: Samples,
        batch: int,
        metrics: Mapping[str, MetricFunction],
        state: OptimizerState,
        dropout: list[float],
        n_threads: int,
    ) -> None:
        self._network, self._batch, self._metrics = network, batch, metrics
        self._state, is_plain, slopes = state, state.plain, samples.slopes
        frozen = network.spec.frozen
        self._by_sample = batch == 1 and (is_plain or (state.linear and not frozen)) and not slopes
        binding = network._engine.binding
        self._kernel = "batches"
        if self._by_sample:
            self._kernel = "samples" if is_plain else "samples_with_memory"
        self._shaped = "" if dropout or frozen or self._kernel != "samples" else network._shape
        readers = [reader_of(samples.x, binding.real)]
        if samples.y.ndim == 2:
            readers.append(reader_of(samples.y, binding.real))
        if isinstance(slopes, Slopes):
            readers.append(reader_of(slopes.dydx, binding.real))
        _prepare(self._kernel_for(samples), binding.real, slopes.kernel if slopes else None, *readers)
        self.take(samples)
        self._slices, block = TimeSlices(self._view.rows(network.params.size)), self._view.block
        self._finite = np.empty_like(network.params)
        copied = self._kernel == "samples_with_memory"
        self._part = part_of_batch(batch, block)
        n_threads, together = (1, False) if n_threads == 1 else self._sharers(n_threads)
        in_parts = not self._by_sample and batch > self._part
        rows = self._view.rows(self._block)
        if n_threads == 1 and not slopes:
            self._team = Team.alone(binding, state.vectors, copied, rows, by_sample=self._by_sample, in_parts=in_parts)
        else:
            self._team = Team(
                binding, state.vectors, n_threads, copied, rows, together=together, by_sample=self._by_sample,
                in_parts=in_parts, curved=slopes.curved if slopes else 0, choosing=together or self._by_sample,
            )  # fmt: skip
        self._dropout, self._step = bool(dropout), None
        simple = is_plain and (self._by_sample or batch <= self._block)
        if dropout or not simple:
            self._step = Step(
                state,
                *((0, 0) if simple else binding.step(state.optimizer)),
                binding.dropout() if dropout else 0,
                [1 - share for share in dropout],
            )

    def _sharers(self, n_threads: int) -> tuple[int, bool]:
        """How many of so many threads work together, and whether they share every block of a batch."""
        spec, n_params, together = self._network.spec, self._network.params.size, False
        if self._shaped:
            n_threads = 1
        elif self._by_sample:
            n_threads = min(n_threads, blocks.strips(spec.widths[1], self._network.dtype.itemsize))
        else:
            if len(self._samples.y) * n_params < LITTLE:
                n_threads = 1
            n_threads, together = sharers(self._batch, self._view.block, n_params, n_threads, self._view.tangents)
        if n_threads > 1 and (self._by_sample or together):  # who shares a block waits for all others
            n_threads = min(n_threads, usable_cores())
            together = together and n_threads > 1
        return n_threads, together

    def run(
        self, order: np.ndarray, lr: float, key: int, report: Callable[[int, float], None] | None = None
    ) -> dict[str, float]:
        """Train over the samples in ``order`` once; the epoch's values, or nothing (and the weights of before) when it
        diverged. ``key`` decides what dropout leaves out."""
        network, samples = self._network, self._samples
        self._finite[...] = network.params
        outputs = np.empty((len(order), network.spec.n_out), network.dtype) if self._metrics else None
        kernel, call = self._call(order, lr, key, outputs)
        step = self._together if self._by_sample else self._batch
        at_once = self._team.n_threads * self._part
        for start, count, begins, ends in _slices_of_batches(self._slices, len(order), step, at_once):
            call.mark(begins, ends)
            self._team.run(kernel, self._view, call, start, count)
            if report is not None:
                report(start + count, call.totals[0] / samples.weight(order[: start + count]))
            if not math.isfinite(call.totals[0]):
                break
        if not (math.isfinite(call.totals[0]) and np.isfinite(network.params).all()):
            network.params[...] = self._finite
            return {}
        of_slopes = samples.slopes.quantity if samples.slopes else None
        return named_values(network, call.totals, samples.y, samples.weights, order, outputs, self._metrics, of_slopes)

    def run_all(
        self,
        epochs: int,
        rate: Callable[[int], float],
        constant: bool,
        orders: Callable[[int], np.ndarray],
        report: Callable[[int, int, float], None] | None = None,
    ) -> Iterator[dict[str, list[float]]]:
        """Train for one epoch after another, several in one kernel call where they are short; yield lists of what `run`
        returns, an entry an epoch. An empty dict says that the next epoch diverged.

        ``rate(epoch)`` is the learning rate of an epoch, ``constant`` whether it is the same for all; ``orders(k)`` is
        the next k epochs' orders, (k, n_samples).
        """
        alone = self._metrics or self._dropout or (self._team.n_threads > 1 and not self._by_sample)
        alone = alone or (self._kernel == "samples_with_memory" and not constant)  # modes are those of one rate
        if self._samples.slopes and len(named_sums(self._network.spec)) > 1:
            alone = True  # the sums of right answers are of the samples that have a y
        is_short = len(self._samples.y) * (self._network.params.size + _PER_SAMPLE) < _MOMENT
        for first, count in TimeSlices().slices(epochs, 1):
            if alone or (count == 1 and not is_short) or (self._team.n_threads > 1 and count < _SHORT):
                for epoch in range(first, first + count):
                    values = self.run(orders(1)[0], rate(epoch), 0, report and partial(report, epoch))
                    yield {name: [value] for name, value in values.items()}
            else:
                rates = [rate(first)] * count if constant else [rate(epoch) for epoch in range(first, first + count)]
                yield from self._run_together(orders(count), rates)

    def _run_together(self, orders: np.ndarray, rates: Sequence[float]) -> Iterator[dict[str, list[float]]]:
        """`run_all` for these epochs, orders (epochs, n_samples), in one call of a kernel."""
        network, weights = self._network, self._samples.weights
        self._finite[...] = network.params
        kernel, call = self._call(orders.ravel(), rates)
        call.mark(begins=True, ends=True)
        epochs = self._team.run_epochs(kernel, self._view, call, self._finite)
        weight = orders.shape[1] if weights is None else weights[orders[:epochs]].sum(axis=1)
        if epochs:
            means = (call.totals[:epochs].T / weight).tolist()
            values = dict(zip(named_sums(network.spec), means, strict=False))
            if self._samples.slopes:
                values[self._samples.slopes.quantity] = means[2]
            yield values
        if epochs < len(rates):
            network.params[...] = self._finite
            yield {}

    def _kernel_for(self, samples: Samples) -> str:
        """The kernel for these: if x is dense and outputs count alike, the network's own, where it has one."""
        has_own = self._shaped and samples.output_weights is None and not isinstance(samples.x, SparseRows)
        return f"samples_of_shape.{self._shaped}" if has_own else self._kernel

    def _call(
        self, order: np.ndarray, lr: float | Sequence[float], key: int = 0, outputs: np.ndarray | None = None
    ) -> tuple[str, KernelCall]:
        """The kernel that trains at this rate, or at these of several epochs, and its call."""
        kernel = self._kernel_for(self._samples)
        if self._step is not None:
            self._step.set_key(key)
            if kernel == "samples_with_memory":
                rate = lr if isinstance(lr, float) else lr[0]  # all are the same
                modes = Modes(self._state.optimizer, rate, self._state.l2, self._together)
                self._step.set_modes(modes)
                kernel = kernel if modes.apart else "batches"
        return kernel, KernelCall(
            order, self._together, lr, batch=self._batch, part=self._part, outputs=outputs, step=self._step
        )

    def take(self, samples: Samples) -> None:
        """Train on these samples from now on."""
        self._samples = samples
        self._view = view = samples.view(self._network._engine.binding, by_row=self._state.optimizer.lazy)
        if self._by_sample:
            self._block = _samples_together(self._network)
        else:  # one sample needs a second row, or has some
            self._block = max(1 if view.tangents else 2, min(self._batch, view.block))
        self._together = 1 if self._by_sample and taken_by_row(samples.x) else self._block

    def __enter__(self) -> EpochRunner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the threads, and where all went well leave the memory to others."""
        if kind is None:
            self._team.give_back()
        else:
            self.close()

    def close(self) -> None:
        """End the threads."""
        self._team.close()


def _slices_of_batches(slices: TimeSlices, n: int, batch: int, at_once: int) -> Iterator[tuple[int, int, bool, bool]]:
    """(start, count, begins, ends) of the kernel calls over n samples: whole batches, or of a large one multiples of
    ``at_once``."""
    if batch <= _LARGE:
        for start, count in slices.slices(n, batch):
            yield start, count, True, True
        return
    for first in range(0, n, batch):
        size = min(batch, n - first)
        for start, count in slices.slices(size, at_once):
            yield first + start, count, start == 0, start + count == size


def sgd_pass(
    network: Network, x: np.ndarray, y: np.ndarray, lr: float, order: np.ndarray, outputs: np.ndarray | None = None
) -> float:
    """One pass of per-sample SGD over checked x and y; ``outputs`` takes each sample's output as it was seen.

    Returns the mean loss, as each sample was seen.
    """
    view = network._engine.binding.view(x, y)
    call = KernelCall(order, _samples_together(network), lr, outputs=outputs)
    for start, count in TimeSlices(network.params.size).slices(len(order), call.block):
        network._engine.run("samples", view, call, start, count)
    return float(call.totals[0]) / len(order)


@cache
def _prepare(kernel: str, real: str, slopes: str | None, *readers: Variant) -> None:
    """Compile those of these kernels that have to be compiled, at the same time: what trains epochs, derivatives by a
    kernel of the family ``slopes``, and readers of the samples."""
    family, _, shape = kernel.partition(".")
    of_slopes = (Variant(slopes, "", real),) if slopes else ()
    prepare_variants([Variant(family, shape, real), Variant("run_epochs", "", real), *of_slopes, *readers])


def _samples_together(network: Network) -> int:
    return blocks.sample_block(network.spec.widths[1], network.dtype.itemsize)


def take_step(network: Network, state: OptimizerState, gradient: np.ndarray, lr: float) -> None:
    """Make the optimiser's step against a gradient (n_params,) that was made elsewhere, as the kernels make theirs:
    it is shortened to ``clip_norm``, then penalties add to it, then the rule moves the parameters, then units' weights
    are shortened to ``max_norm``. It is zero for frozen layers, which stay as they are."""
    options, optimizer, params, free = state.options, state.optimizer, network.params, network.free
    norm = float(np.linalg.norm(gradient.astype(np.float64)))
    clip_norm, max_norm = float(options["clip_norm"]), float(options["max_norm"])
    slope = gradient * params.dtype.type(clip_norm / norm if 0 < clip_norm < norm else 1.0)
    l1, l2 = params.dtype.type(options["l1"]), params.dtype.type(options["l2"])
    for weights, of_loss in zip(network.weights, network.unflatten(slope)[0], strict=True):
        of_loss += l2 * weights + l1 * np.sign(weights)
    numbers = optimizer.prepare(lr, state.count + 1, optimizer.constants)
    moved, after = optimizer.rule(params, slope, tuple(state.vectors), numbers)
    params[free] = moved[free]
    for vector, values in zip(state.vectors, after, strict=False):  # SGD without momentum keeps nothing
        vector[free] = values[free]
    state.set_count(state.count + 1)
    if max_norm:
        for layer, weights in zip(network.spec.layers, network.weights, strict=True):
            if not layer.trainable:
                continue
            norms = np.linalg.norm(weights.astype(np.float64), axis=1, keepdims=True)
            weights *= (max_norm / np.maximum(norms, max_norm)).astype(weights.dtype)
