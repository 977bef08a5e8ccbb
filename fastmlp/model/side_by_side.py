"""Networks of `train_many` that are trained side by side, one in each lane of the vectors: which, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np

from ..base.sparse import SparseRows
from ..engine.lanes import LaneRunner, lanes_of, lanes_refusal, lanes_samples
from ..engine.random import Orders, draw_params, known_seeds
from ..optimizers import SGD
from ..schedules import ReduceOnPlateau
from .divergence import remedy
from .mlp import MLP
from .options import Options, TrainingData
from .progress import RunReport
from .runs import Runs
from .trained import SideBySide

__all__ = ["Group", "Piece", "side_by_side"]

# Parameters up to which lanes take less time, by the bytes of a number. Measured with AVX-512, 1,000 samples, twice as
# many networks as lanes: one after the other took these times as long as side by side at the border, tanh or relu.
_MOST_PLAIN = {4: 4_500, 8: 2_200}  # SGD on single samples: 1.0 (64 inputs) to 1.5 (8), in float64 1.0 to 1.3
_MOST_LINEAR = {4: 1_000, 8: 500}  # with momentum or penalties: 1.9 to 2.5; with 64-32-1, twice as large, 0.8
_MOST_BY_SAMPLE = {4: 2_000, 8: 1_000}  # other optimisers on single samples: 1.4 to 1.8
_MOST_IN_BATCHES = {4: 3_000, 8: 1_000}  # any of them in batches: 1.1 to 1.3, in float64 1.4 to 1.8
_MOST_INPUTS = 128  # from which on `train` takes samples in blocks to more effect
_MOST_NUMBERS = 1 << 20  # of x and y, which are copied
_MOST_WORK = 1 << 24  # parameters times samples of an epoch: side by side it takes about a tenth of a second
_DRAWN = 16  # pieces whose seeds become streams and parameters in one call, which costs as much as a few networks


def side_by_side(options: Options, data: TrainingData, lanes: bool | None) -> bool:
    """Whether networks with these options are trained side by side; ValueError where they should be and cannot."""
    if lanes is False:
        return False
    reason = _no_lanes_because(options, data)
    if lanes and reason:
        raise ValueError(f"lanes=True: these networks cannot be trained side by side: {reason}; leave lanes out")
    return lanes or (not reason and _lanes_pay(options, data))


def _no_lanes_because(options: Options, data: TrainingData) -> str:
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


def _lanes_pay(options: Options, data: TrainingData) -> bool:
    """Whether it takes less time side by side: that depends on shapes and options alone, not on how many there are."""
    o, spec, n = options, options.spec, len(data.samples.x)
    if o.batch(n) > 1:
        most = _MOST_IN_BATCHES
    elif not isinstance(o.optimizer, SGD):
        most = _MOST_BY_SAMPLE
    else:
        most = _MOST_LINEAR if o.optimizer.states or o.l1 or o.l2 else _MOST_PLAIN
    small = spec.n_params <= most[o.dtype.itemsize] and spec.n_in <= _MOST_INPUTS
    return small and n * (spec.n_in + spec.n_out) <= _MOST_NUMBERS and n * spec.n_params <= _MOST_WORK


@dataclass
class Group:
    """Networks that differ in their seeds, learning rates and penalties at most.

    Attributes
    ----------
    runs : Runs
        Of which these are some.
    data : TrainingData
    combinations : list of int
        The combinations whose runs these are,
    options : list of Options
        and the options of each; but for what they may differ in, those of the first count.
    """

    runs: Runs
    data: TrainingData
    combinations: list[int] = field(default_factory=list)
    options: list[Options] = field(default_factory=list)

    @staticmethod
    def key(options: Options) -> tuple[object, ...]:
        """What networks of one group have in common; whether there are penalties, since sums differ with them."""
        o = options
        return o.spec, o.dtype, o.epochs, o.batch_size, o.optimizer, o.shuffle, o.init, o.l1 > 0 or o.l2 > 0

    def add(self, combination: int, options: Options) -> None:
        """Take the runs of a combination, too."""
        self.combinations.append(combination)
        self.options.append(options)

    @property
    def n_pieces(self) -> int:
        """How many pieces there are."""
        return -(-len(self.options) * self.runs.n_seeds // lanes_of(self.options[0].dtype))

    def pieces(self) -> Iterator[Piece]:
        """Cut the group into pieces as wide as the vectors, the last one maybe narrower."""
        o, bench = self.options[0], _Bench(self.options[0], self.data)
        width, n_seeds = lanes_of(o.dtype), self.runs.n_seeds
        share, total = width * _DRAWN, len(self.options) * n_seeds
        for start in range(0, total, share):
            places = [divmod(k, n_seeds) for k in range(start, min(start + share, total))]
            options = [self.options[k] for k, _ in places]
            numbers = [self.combinations[k] * n_seeds + which for k, which in places]
            seeds = known_seeds(
                [self.runs.seed(number, own.seed) for number, own in zip(numbers, options, strict=True)]
            )
            params = draw_params(o.spec, o.init, seeds, o.dtype)
            orders = Orders(seeds, np.arange(bench.n_samples)) if o.shuffle else None
            for first in range(0, len(numbers), width):
                part = slice(first, first + width)
                yield Piece(bench, numbers[part], options[part], params[part], orders and orders.of(part))


class _Bench:
    """What the pieces of a group share, until the last of them is gone: samples, and what trains with them."""

    def __init__(self, options: Options, data: TrainingData) -> None:
        self._options, self.samples = options, data.samples
        self.n_samples = len(data.samples.x)
        self._idle: list[LaneRunner] = []

    @contextmanager
    def runner(self) -> Iterator[LaneRunner]:
        """A runner that nobody else uses meanwhile."""
        o = self._options
        try:
            runner = self._idle.pop()
        except IndexError:
            runner = LaneRunner(o.spec, o.dtype, *self._arrays, o.batch(self.n_samples), o.optimizer)
        yield runner
        self._idle.append(runner)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return lanes_samples(self._options.spec, self._options.dtype, self.samples.x, self.samples.y)


@dataclass
class Piece:
    """As many networks of a group as lie side by side.

    Attributes
    ----------
    bench : _Bench
    numbers : list of int
        Their numbers among the runs.
    options : list of Options
        Each one's.
    params : ndarray, (n_networks, n_params)
        Before training.
    orders : Orders or None
        Their samples' orders, or None without shuffling.
    """

    bench: _Bench
    numbers: list[int]
    options: list[Options]
    params: np.ndarray
    orders: Orders | None

    def train(self, report: RunReport) -> SideBySide:
        """Train all side by side."""
        o, n, count = self.options[0], len(self.numbers), self.bench.n_samples
        losses, right = np.full((n, o.epochs), np.nan), np.zeros((n, o.epochs))
        report.begin(o.epochs, count)
        with self.bench.runner() as runner:
            runner.begin(self.params, [own.l1 for own in self.options], [own.l2 for own in self.options])
            for start, epochs in runner.epochs.slices(o.epochs, 1):
                part = slice(start, start + epochs)
                rates = _rates(self.options, start, epochs)
                heard = partial(report.samples_done, start, loss=0.0)
                losses[:, part], right[:, part] = runner.run(self._orders(runner, epochs), rates, heard)
                report.samples_done(start + epochs - 1, count, 0.0)
                if np.isnan(losses[:, start + epochs - 1]).all():
                    break
            params = runner.params
        losses /= count
        right /= count
        return SideBySide(o.spec, params, losses, right, self._advice(params, losses))

    def _orders(self, runner: LaneRunner, epochs: int) -> np.ndarray:
        """The orders of the next epochs, as a runner takes them."""
        count = self.bench.n_samples
        if self.orders is None:
            return np.tile(np.arange(count), (1, epochs, 1))
        orders = runner.orders(epochs, count)
        self.orders.draw(epochs, orders[: len(self.numbers)])
        return orders

    def _advice(self, params: np.ndarray, losses: np.ndarray) -> dict[int, str]:
        """The remedy for each network that diverged, by its number in the piece."""
        advice, samples = {}, self.bench.samples
        for lane in np.flatnonzero(np.isnan(losses[:, -1])).tolist():
            o, epoch = self.options[lane], int(np.argmax(np.isnan(losses[lane])))
            model = MLP.__new__(MLP)
            model._build(o.spec, o.dtype)
            model.params = params[lane]
            advice[lane] = remedy(model, samples, o.rates(epoch), o.batch(len(samples.x)), first=epoch == 0)
        return advice


def _rates(options: Sequence[Options], start: int, epochs: int) -> np.ndarray:
    """The learning rates of some epochs, (n_networks, epochs)."""
    rates = np.empty((len(options), epochs))
    for i, own in enumerate(options):
        if i and own is options[i - 1]:
            rates[i] = rates[i - 1]
        elif own.rates.constant:
            rates[i] = own.rates(start)
        else:
            rates[i] = [own.rates(epoch) for epoch in range(start, start + epochs)]
    return rates
