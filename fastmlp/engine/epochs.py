"""How an epoch of training is run: which kernel, on which samples, with which numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..kernels import layout
from ..metrics import Metric
from ..model.mlp import MLP
from . import blocks
from .blocks import BLOCK, part_of_batch
from .network import Call, Engine, Feed, Pace, Steps, Team

__all__ = ["Epochs", "Samples", "sgd_pass"]

_LARGE = 64 * BLOCK  # samples a batch, from which on a kernel call may be for a part of it


@dataclass(frozen=True)
class Samples:
    """Checked x and y, and float64 weights of the samples or None."""

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None

    def feed(self, engine: Engine) -> Feed:
        """As kernels see them."""
        feed = engine.feed(self.x, self.y)
        if self.weights is not None:
            feed.row[layout.WEIGHTS] = self.weights.ctypes.data
        return feed

    def weight(self, rows: np.ndarray) -> float:
        """Of these rows together."""
        return len(rows) if self.weights is None else float(self.weights[rows].sum())


class Epochs:
    """What stays the same from epoch to epoch of a network's training.

    Parameters
    ----------
    model : MLP
    samples : Samples
    batch : int
    metrics : dict of functions
        Of the outputs as each sample was seen.
    steps : Steps
    dropout : list of float
        The share of units left out, for each hidden layer; empty: none.
    n_threads : int
    """

    def __init__(
        self,
        model: MLP,
        samples: Samples,
        batch: int,
        metrics: Mapping[str, Metric],
        steps: Steps,
        dropout: list[float],
        n_threads: int,
    ) -> None:
        self._model, self._batch, self._metrics = model, batch, metrics
        self._steps, self._pace = steps, Pace()
        self.take(samples)
        self._finite = model.params.copy()
        self._team = Team(model._engine, steps.vectors, min(n_threads, -(-batch // part_of_batch(batch))))
        self._by_sample = batch == 1 and steps.linear
        self._kernel, self._block = "batches", BLOCK
        if self._by_sample:
            self._kernel = "samples" if steps.plain else "samples_with_memory"
            self._block = _samples_together(model)
        self._kept = 1 - np.array(dropout)
        self._entries = {
            layout.OPTIONS: steps.options.ctypes.data,
            layout.BATCH: batch,
            layout.PART: part_of_batch(batch),
        }
        if not (steps.plain and (self._by_sample or batch <= BLOCK)):
            self._entries[layout.STEP] = model._engine.step(steps.optimizer)
        if dropout:
            self._entries[layout.DROPOUT] = model._engine.dropout()
            self._entries[layout.KEPT] = self._kept.ctypes.data

    def run(
        self, order: np.ndarray, lr: float, key: int, report: Callable[[int, float], None] | None = None
    ) -> dict[str, float]:
        """Train over the samples in ``order`` once; the epoch's values, or nothing (and the weights of before) when it
        diverged. ``key`` decides what dropout leaves out."""
        model, samples = self._model, self._samples
        self._finite[...] = model.params
        outputs = np.empty((len(order), model.spec.n_out), model.dtype) if self._metrics else None
        call = self._call(order, lr, key, outputs)
        step = self._block if self._by_sample else self._batch
        for start, count, mode in _parts(self._pace, len(order), step, self._team.n_threads * part_of_batch(step)):
            call.mode(mode)
            self._team.run(self._kernel, self._feed, call, start, count)
            if report is not None:
                report(start + count, call.totals[0] / samples.weight(order[: start + count]))
            if not math.isfinite(call.totals[0]):
                break
        if not (math.isfinite(call.totals[0]) and np.isfinite(model.params).all()):
            model.params[...] = self._finite
            return {}
        return model._report(call.totals, samples.y, order, outputs, self._metrics, samples.weight(order))

    def run_all(
        self,
        rates: Sequence[float],
        orders: Callable[[int], np.ndarray],
        report: Callable[[int, int, float], None] | None = None,
    ) -> Iterator[dict[str, list[float]]]:
        """What `run` returns, for one epoch after another, or several together where they are short.

        ``orders(k)`` is the next k epochs' orders, (k, n_samples).
        """
        alone = self._metrics or self._kept.size or self._team.n_threads > 1
        alone = alone or (self._kernel == "samples_with_memory" and len(set(rates)) > 1)
        for first, count in Pace().slices(len(rates), 1):
            if alone or count == 1:
                for epoch in range(first, first + count):
                    values = self.run(orders(1)[0], rates[epoch], 0, report and partial(report, epoch))
                    yield {name: [value] for name, value in values.items()}
            else:
                yield from self._run_together(orders(count), rates[first : first + count])

    def _run_together(self, orders: np.ndarray, rates: Sequence[float]) -> Iterator[dict[str, list[float]]]:
        """The same, of these epochs, in one call of a kernel."""
        model, samples = self._model, self._samples
        self._finite[...] = model.params
        call = self._call(orders.ravel(), rates[0])
        call.mode(layout.BEGINS | layout.ENDS)
        numbers = np.zeros((len(rates), layout.NUMBERS))
        numbers[:, 0] = rates
        epochs = model._engine.run_epochs(self._team.leader, self._kernel, self._feed, call, numbers, self._finite)
        weights = orders.shape[1] if samples.weights is None else samples.weights[orders[:epochs]].sum(axis=1)
        names = model._report(numbers[0, 1:], samples.y, orders[0], None, {}, 1.0)
        if epochs:
            yield dict(zip(names, (numbers[:epochs, 1:].T / weights).tolist(), strict=False))
        if epochs < len(rates):
            model.params[...] = self._finite
            yield {}

    def _call(self, order: np.ndarray, lr: float, key: int = 0, outputs: np.ndarray | None = None) -> Call:
        entries = {**self._entries, layout.KEY: key}
        if self._kernel == "samples_with_memory":
            l2 = self._steps.options[layout.L2]
            self._coefficients = blocks.coefficients(self._steps.optimizer, lr, l2, self._block)
            entries[layout.COEFFICIENTS] = self._coefficients.ctypes.data
        return Call(order, self._block, outputs, entries=entries, number=lr)

    def take(self, samples: Samples) -> None:
        """Train on these from now on."""
        self._samples, self._feed = samples, samples.feed(self._model._engine)

    def close(self) -> None:
        """End the threads."""
        self._team.close()


def _parts(pace: Pace, n: int, batch: int, at_once: int) -> Iterator[tuple[int, int, int]]:
    """(start, count, mode) of the kernel calls over n samples: whole batches, or of a large one multiples of
    ``at_once``."""
    if batch <= _LARGE:
        for start, count in pace.slices(n, batch):
            yield start, count, layout.BEGINS | layout.ENDS
        return
    for first in range(0, n, batch):
        size = min(batch, n - first)
        for start, count in pace.slices(size, at_once):
            mode = (layout.BEGINS if start == 0 else 0) | (layout.ENDS if start + count == size else 0)
            yield first + start, count, mode


def sgd_pass(
    model: MLP, x: np.ndarray, y: np.ndarray, lr: float, order: np.ndarray, outputs: np.ndarray | None = None
) -> float:
    """One pass of per-sample SGD over checked x and y; ``outputs`` takes each sample's output as it was seen.

    Returns the mean loss, as each sample was seen.
    """
    feed = model._engine.feed(x, y)
    call = Call(order, _samples_together(model), outputs, number=lr)
    for start, count in Pace().slices(len(order), call.block):
        model._engine.run("samples", feed, call, start, count)
    return float(call.totals[0]) / len(order)


def _samples_together(model: MLP) -> int:
    return blocks.sample_block(model.spec.widths[1], model.dtype.itemsize)
