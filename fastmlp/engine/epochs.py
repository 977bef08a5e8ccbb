"""How an epoch of training is run: which kernel, on which samples, with which numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType

import numpy as np

from ..base.cores import usable_cores
from ..kernels.catalog import Variant
from ..kernels.layout import NUMBERS
from ..metrics import MetricFunction
from . import blocks
from .binding import Binding, DataView, reader_of
from .blocks import BLOCK, Modes, part_of_batch, sharers, taken_by_row
from .call import KernelCall, TimeSlices
from .network import Network, named_values
from .steps import OptimizerState, Step
from .team import Team

__all__ = ["EpochRunner", "Samples", "sgd_pass", "take_step"]

_SHORT = 10  # epochs that a call has time for, from which on they are too short to be shared by threads
_LARGE = 64 * BLOCK  # samples a batch, from which on a kernel call may be for a part of it
_LITTLE = 1 << 25  # multiply-adds forward of an epoch, which take a millisecond: to start threads takes a tenth of that


@dataclass(frozen=True)
class Samples:
    """Checked x and y, and float64 weights of the samples or None."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None

    def view(self, binding: Binding, *, by_row: bool = False) -> DataView:
        """Describe the samples to the kernels, as `Binding.view` does."""
        return binding.view(self.x, self.y, self.weights, by_row=by_row)

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
        self._state, self._slices = state, TimeSlices(network.params.size)
        self._by_sample = batch == 1 and state.linear
        binding = network._engine.binding
        self._kernel, self._block = "batches", max(2, min(batch, binding.block))  # one sample needs a second row
        if self._by_sample:
            self._kernel = "samples" if state.plain else "samples_with_memory"
            self._block = _samples_together(network)
        readers = [reader_of(array, binding.real) for array in (samples.x, samples.y)[: samples.y.ndim]]
        binding.prepare(*(Variant(name, "", binding.real) for name in (self._kernel, "run_epochs")), *readers)
        self.take(samples)
        self._finite = network.params.copy()
        copied = self._kernel == "samples_with_memory"
        self._part, together = part_of_batch(batch, binding.block), False
        if self._by_sample:
            n_threads = min(n_threads, blocks.strips(network.spec.widths[1], network.dtype.itemsize))
        else:
            if len(samples.y) * network.params.size < _LITTLE:
                n_threads = 1
            n_threads, together = sharers(batch, binding.block, network.params.size, n_threads)
        if n_threads > 1 and (self._by_sample or together):  # who shares a block waits for all others
            n_threads = min(n_threads, usable_cores())
            together = together and n_threads > 1
        in_parts = not self._by_sample and batch > self._part
        if n_threads == 1:
            self._team = Team.alone(
                binding, state.vectors, copied, self._block, by_sample=self._by_sample, in_parts=in_parts
            )
        else:
            self._team = Team(
                binding, state.vectors, n_threads, copied, self._block, together=together, by_sample=self._by_sample,
                in_parts=in_parts, choosing=together or self._by_sample,
            )  # fmt: skip
        self._dropout, self._step = bool(dropout), None
        simple = state.plain and (self._by_sample or batch <= self._block)
        if dropout or not simple:
            self._step = Step(
                state,
                *((0, 0) if simple else binding.step(state.optimizer)),
                binding.dropout() if dropout else 0,
                [1 - share for share in dropout],
            )

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
        return named_values(network, call.totals, samples.y, samples.weights, order, outputs, self._metrics)

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
        for first, count in TimeSlices().slices(epochs, 1):
            if alone or count == 1 or (self._team.n_threads > 1 and count < _SHORT):
                for epoch in range(first, first + count):
                    values = self.run(orders(1)[0], rate(epoch), 0, report and partial(report, epoch))
                    yield {name: [value] for name, value in values.items()}
            else:
                rates = [rate(first)] * count if constant else [rate(epoch) for epoch in range(first, first + count)]
                yield from self._run_together(orders(count), rates)

    def _run_together(self, orders: np.ndarray, rates: Sequence[float]) -> Iterator[dict[str, list[float]]]:
        """`run_all` for these epochs, orders (epochs, n_samples), in one call of a kernel."""
        network, samples = self._network, self._samples
        self._finite[...] = network.params
        kernel, call = self._call(orders.ravel(), rates[0])
        call.mark(begins=True, ends=True)
        numbers = np.zeros(len(rates), NUMBERS)
        numbers["rate"] = rates
        epochs = self._team.run_epochs(kernel, self._view, call, numbers, self._finite)
        weights = orders.shape[1] if samples.weights is None else samples.weights[orders[:epochs]].sum(axis=1)
        totals = [numbers["totals"][name][:epochs] for name in ("loss", "right")]
        names = named_values(network, np.zeros(2), samples.y, None, orders[0], None, {})
        if epochs:
            yield dict(zip(names, (np.array(totals) / weights).tolist(), strict=False))
        if epochs < len(rates):
            network.params[...] = self._finite
            yield {}

    def _call(
        self, order: np.ndarray, lr: float, key: int = 0, outputs: np.ndarray | None = None
    ) -> tuple[str, KernelCall]:
        """The kernel that trains at this rate, and its call."""
        kernel = self._kernel
        if self._step is not None:
            self._step.set_key(key)
            if kernel == "samples_with_memory":
                modes = Modes(self._state.optimizer, lr, self._state.l2, self._together)
                self._step.set_modes(modes)
                kernel = kernel if modes.apart else "batches"
        return kernel, KernelCall(
            order, self._together, lr, batch=self._batch, part=self._part, outputs=outputs, step=self._step
        )

    def take(self, samples: Samples) -> None:
        """Train on these samples from now on."""
        self._samples = samples
        self._view = samples.view(self._network._engine.binding, by_row=self._state.optimizer.lazy)
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


def _samples_together(network: Network) -> int:
    return blocks.sample_block(network.spec.widths[1], network.dtype.itemsize)


def take_step(network: Network, state: OptimizerState, gradient: np.ndarray, lr: float) -> None:
    """Make the optimiser's step against a gradient (n_params,) that was made elsewhere, as the kernels make theirs:
    it is shortened to ``clip_norm``, then penalties add to it, then the rule moves the parameters, then units' weights
    are shortened to ``max_norm``."""
    options, optimizer, params = state.options, state.optimizer, network.params
    norm = float(np.linalg.norm(gradient.astype(np.float64)))
    clip_norm, max_norm = float(options["clip_norm"]), float(options["max_norm"])
    slope = gradient * params.dtype.type(clip_norm / norm if 0 < clip_norm < norm else 1.0)
    l1, l2 = params.dtype.type(options["l1"]), params.dtype.type(options["l2"])
    for weights, of_loss in zip(network.weights, network.unflatten(slope)[0], strict=True):
        of_loss += l2 * weights + l1 * np.sign(weights)
    numbers = optimizer.prepare(lr, state.count + 1, optimizer.constants)
    params[...], after = optimizer.rule(params, slope, tuple(state.vectors), numbers)
    for vector, values in zip(state.vectors, after, strict=False):  # SGD without momentum keeps nothing
        vector[...] = values
    state.set_count(state.count + 1)
    if max_norm:
        for weights in network.weights:
            norms = np.linalg.norm(weights.astype(np.float64), axis=1, keepdims=True)
            weights *= (max_norm / np.maximum(norms, max_norm)).astype(weights.dtype)
