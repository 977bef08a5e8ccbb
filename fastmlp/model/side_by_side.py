"""Networks of `train_many` that are trained side by side, one in each lane of the vectors: which, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..base.sparse import SparseRows
from ..engine.call import TimeSlices
from ..engine.lanes import LaneRunner, lanes_refusal, lanes_samples
from ..engine.random import Orders, draw_params, known_seeds
from ..schedules import ReduceOnPlateau
from .divergence import remedy
from .history import DivergenceError, History
from .mlp import MLP
from .options import Options, TrainingData
from .progress import RunReport

__all__ = ["Group", "lanes_pay", "no_lanes_because"]

# Bytes of a network's parameters up to which lanes take less time, and by plain SGD on single samples. Measured with
# AVX-512, 32 networks of float32 one after the other beside side by side, on single samples (in batches of 32):
# 8-16-16-1 6.4 times the time (3.8), 30-64-2 2.3 (1.9), 30-100-2 2.1 (1.4), 30-150-2 1.5 (0.98), 8-64-64-1 2.0 (0.96),
# digits 64-64-10 1.15; Adam on single samples 1.09 with 30-64-2.
_MOST_BYTES, _MOST_BY_SAMPLE = 16 << 10, 24 << 10
_MOST_NUMBERS = 1 << 20  # of x and y, which are copied
_MOST_WORK = (
    1 << 24
)  # parameters times samples of an epoch: it takes 32 networks side by side about a tenth of a second


def no_lanes_because(options: Options, data: TrainingData) -> str:
    """Why networks with these options cannot be trained side by side; '' if they can."""
    o = options
    if isinstance(data.samples.x, SparseRows):
        return "x is sparse"
    reasons = {
        "the spec is a model": o.model is not None,
        "metrics are computed": o.metrics,
        "there is validation data": o.validation_data is not None or o.validation_fraction > 0,
        "early_stopping is given": o.early_stopping is not None,
        "samples are weighted": data.samples.weights is not None,
        "dropout is given": o.dropout,
        "clip_norm is given": o.clip_norm is not None,
        "max_norm is given": o.max_norm is not None,
        "callbacks are given": o.callbacks,
        "lr follows the history": isinstance(o.lr, ReduceOnPlateau),
    }
    return next((reason for reason, holds in reasons.items() if holds), "") or lanes_refusal(o.spec, o.optimizer)


def lanes_pay(options: Options, data: TrainingData) -> bool:
    """Whether it takes less time side by side: that depends on shapes and options alone, not on how many there are."""
    o, spec, n = options, options.spec, len(data.samples.x)
    plain_by_sample = o.batch(n) == 1 and not (o.optimizer.states or o.l1 or o.l2)
    small = spec.n_params * o.dtype.itemsize <= (_MOST_BY_SAMPLE if plain_by_sample else _MOST_BYTES)
    return small and n * (spec.n_in + spec.n_out) <= _MOST_NUMBERS and n * spec.n_params <= _MOST_WORK


@dataclass
class Group:
    """Networks that differ in their seeds, learning rates and penalties at most.

    Attributes
    ----------
    options : list of Options
        One a network; but for what they may differ in, those of the first count.
    seeds : list of (int or None)
        Each network's, instead of its options'.
    data : TrainingData
    """

    options: list[Options]
    seeds: list[int | None]
    data: TrainingData

    @staticmethod
    def key(options: Options) -> tuple[object, ...]:
        """What networks of one group have in common; whether there are penalties, since sums differ with them."""
        o = options
        return o.spec, o.dtype, o.epochs, o.batch_size, o.optimizer, o.shuffle, o.init, o.l1 > 0 or o.l2 > 0

    def train(self, reports: Sequence[RunReport]) -> Iterator[tuple[MLP, History, DivergenceError | None]]:
        """Train all, and yield each network's model, history and error. Each has its report."""
        o, samples, n = self.options[0], self.data.samples, len(self.options)
        count, seeds = len(samples.x), known_seeds(self.seeds)
        for report in reports:
            report.begin(o.epochs, count)
        runner = LaneRunner(
            o.spec, o.dtype, *lanes_samples(o.spec, o.dtype, samples.x, samples.y), o.batch(count), o.optimizer
        )
        runner.begin(
            draw_params(o.spec, o.init, seeds, o.dtype), [o.l1 for o in self.options], [o.l2 for o in self.options]
        )
        rows = np.arange(count)
        orders = Orders(seeds, rows) if o.shuffle else None
        losses, right = (np.full((n, o.epochs), np.nan) for _ in range(2))
        for start, epochs in TimeSlices().slices(o.epochs, 1):
            part = slice(start, start + epochs)
            rates = np.array([self._rates(own, start, epochs) for own in self.options])
            order = orders.draw(epochs) if orders else np.broadcast_to(rows, (n, epochs, count))
            losses[:, part], right[:, part] = runner.run(order, rates)
            for report in reports:
                report.samples_done(start + epochs - 1, count, 0.0)
            if np.isnan(losses[:, start + epochs - 1]).all():
                break
        return self._results(runner.params, losses / count, right / count)

    @staticmethod
    def _rates(options: Options, start: int, epochs: int) -> np.ndarray:
        if options.rates.constant:
            return np.full(epochs, options.rates(start))
        return np.array([options.rates(epoch) for epoch in range(start, start + epochs)])

    def _results(
        self, params: np.ndarray, losses: np.ndarray, right: np.ndarray
    ) -> Iterator[tuple[MLP, History, DivergenceError | None]]:
        spec, dtype = self.options[0].spec, self.options[0].dtype
        scored = spec.multilabel or spec.one_of_many
        for options, vector, loss, accuracy in zip(self.options, params, losses, right, strict=True):
            model = MLP.__new__(MLP)
            model.__setstate__(
                {"spec": spec, "dtype": dtype, "params": vector, "names": tuple(self.data.names), "metadata": {}}
            )
            finite = len(loss) if not np.isnan(loss[-1]) else int(np.argmax(np.isnan(loss)))
            history = History()
            if finite:
                history._extend({"loss": loss[:finite].tolist()})
                history._extend({"accuracy": accuracy[:finite].tolist()} if scored else {})
            error = None
            if finite < len(loss):
                samples, batch = self.data.samples, options.batch(len(self.data.samples.x))
                advice = remedy(model, samples, options.rates(finite), batch, first=finite == 0)
                error = DivergenceError(finite + 1, model, history, advice)
            yield model, history, error
