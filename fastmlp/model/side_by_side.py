"""Which networks of `train_many` are trained side by side, one in each lane of the vectors, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ..base.sparse import SparseRows
from ..engine.lanes import lanes_of, lanes_refusal
from ..engine.random import Orders, draw_params, known_seeds
from ..optimizers import SGD
from ..schedules import ReduceOnPlateau
from .crew import Work
from .lane_work import Bench, Newcomer, Piece, Relay, Supply
from .options import Options, TrainingData
from .runs import Runs

__all__ = ["Group", "side_by_side"]

# Parameters up to which lanes take less time, by the bytes of a number. Measured with AVX-512, twice as many networks
# as lanes, 10 epochs of 512 samples: one after the other took these times as long as side by side, at the border.
_MOST_LINEAR = {4: 1_000, 8: 500}  # SGD on single samples with momentum or penalties: 1.2 (64 inputs) to 1.8 (8)
_MOST_BY_SAMPLE = {4: 2_000, 8: 1_000}  # without them 1.1 to 1.3 (at twice as many 0.6 to 1.2); Adam 1.2 to 1.5
_MOST_IN_BATCHES = {4: 1_200, 8: 500}  # any in batches: 1.2 to 1.5
_STOPPED = 2  # times as many parameters count with early stopping: the last ones to end have most lanes for themselves
_MOST_INPUTS = 128  # from which on `train` takes samples in blocks to more effect
_MOST_NUMBERS = 1 << 20  # of x and y, which are copied
_MOST_WORK = 1 << 24  # parameters times samples of an epoch: side by side it takes about a tenth of a second
_DRAWN = 512  # networks whose seeds become streams and parameters in one call, which costs as much as a few of them,
_DRAWN_ROWS = 1 << 20  # where these have few rows of their own


def side_by_side(options: Options, data: TrainingData, lanes: bool | None) -> bool:
    """Whether networks with these options are trained side by side; a ValueError if they must be and cannot."""
    if lanes is False:
        return False
    reason = _no_lanes_because(options, data)
    if lanes and reason:
        raise ValueError(f"lanes=True: these networks cannot be trained side by side: {reason}; leave lanes out")
    return lanes or (not reason and _lanes_pay(options, data))


def _no_lanes_because(options: Options, data: TrainingData) -> str:
    """The reason why networks with these options cannot be trained side by side; '' if they can."""
    o, samples = options, [data.samples, *([data.validation[0]] if data.validation else [])]
    reasons = {
        "x is sparse": any(isinstance(part.x, SparseRows) for part in samples),
        "the spec is a model": o.model is not None,
        "metrics are computed": o.metrics,
        "standardize is given, and each network has other rows": o.standardize and data.n_held_out,
        "samples are weighted": any(part.weights is not None for part in samples),
        "outputs are weighted, or not all measured": any(part.output_weights is not None for part in samples),
        "dydx is given": o.dydx is not None,
        "a residual is given": o.residual is not None,
        "dropout is given": o.dropout,
        "clip_norm is given": o.clip_norm is not None,
        "max_norm is given": o.max_norm is not None,
        "callbacks are given": o.callbacks,
        "lr follows the history": isinstance(o.lr, ReduceOnPlateau),
    }
    return next((reason for reason, holds in reasons.items() if holds), "") or lanes_refusal(o.spec, o.optimizer)


def _lanes_pay(options: Options, data: TrainingData) -> bool:
    """Whether training side by side is faster: this depends on shapes and options, not on the number of networks."""
    o, spec, n = options, options.spec, len(data.samples.x)
    n_val = len(data.validation[1]) if data.validation else 0
    if o.batch(n) > 1:
        most = _MOST_IN_BATCHES
    else:
        linear = isinstance(o.optimizer, SGD) and (o.optimizer.states or o.l1 or o.l2)
        most = _MOST_LINEAR if linear else _MOST_BY_SAMPLE
    n_params = spec.n_params * (1 if o.early_stopping is None else _STOPPED)
    small = n_params <= most[o.dtype.itemsize] and spec.n_in <= _MOST_INPUTS
    return (
        small and (n + n_val) * (spec.n_in + spec.n_out) <= _MOST_NUMBERS and (n + n_val) * spec.n_params <= _MOST_WORK
    )


@dataclass
class Group:
    """Networks that may differ in their seeds, learning rates and penalties only.

    Attributes
    ----------
    runs : Runs
        All runs, of which the group has some.
    data : TrainingData
        The checked samples.
    combinations : list of int
        The combinations whose runs the group has.
    options : list of Options
        The options of each combination, which agree in all but rates and penalties.
    """

    runs: Runs
    data: TrainingData
    combinations: list[int] = field(default_factory=list)
    options: list[Options] = field(default_factory=list)

    @staticmethod
    def key(options: Options) -> tuple[object, ...]:
        """A key for all that the networks of a group share; with whether there are penalties, which change sums."""
        o = options
        same = o.epochs, o.batch_size, o.optimizer, o.init, o.standardize, o.early_stopping, o.l1 > 0 or o.l2 > 0
        return *TrainingData.key(o), *same

    def add(self, combination: int, options: Options) -> None:
        """Add the runs of a combination."""
        self.combinations.append(combination)
        self.options.append(options)

    @property
    def n_networks(self) -> int:
        """The number of networks."""
        return len(self.options) * self.runs.n_seeds

    @property
    def n_lanes(self) -> int:
        """The number of networks that are trained side by side."""
        return lanes_of(self.options[0].dtype)

    @property
    def n_works(self) -> int:
        """The number of threads that may work for the group."""
        return -(-self.n_networks // self.n_lanes)

    def works(self, n_threads: int, part: range) -> Iterator[Work]:
        """Yield the works for a part of the networks: pieces as wide as the vectors; or, if networks are evaluated
        after each epoch, a relay for each thread."""
        bench = Bench(self.options[0], self.data)
        if bench.options.early_stopping is None and "val_loss" not in bench.options.quantities:
            yield from self._pieces(bench, part)
        else:
            supply = Supply(self._newcomers(part))
            for _ in range(min(n_threads, -(-len(part) // self.n_lanes))):
                yield Relay(bench, supply)

    def _pieces(self, bench: Bench, part: range) -> Iterator[Piece]:
        width = self.n_lanes
        for share in self._shares(part):
            for first in range(0, len(share.numbers), width):
                lanes = slice(first, first + width)
                orders = share.orders and share.orders.of(lanes)
                yield Piece(bench, share.numbers[lanes], share.options[lanes], share.params[lanes], orders)

    def _newcomers(self, part: range) -> Iterator[Newcomer]:
        for share in self._shares(part):
            each = zip(share.numbers, share.options, share.params, strict=True)
            for i, (number, options, params) in enumerate(each):
                rows, held_out = (array[i % len(array)] for array in (share.rows, share.held_out))
                yield Newcomer(number, options, params, share.orders, i, rows, held_out)

    def _shares(self, part: range) -> Iterator[_Share]:
        """Cut a part of the group into shares, and draw with their seeds."""
        o, n_seeds = self.options[0], self.runs.n_seeds
        size = max(1, min(_DRAWN, _DRAWN_ROWS // len(self.data.rows))) if self.data.n_held_out else _DRAWN
        for start in range(0, len(part), size):
            places = [divmod(k, n_seeds) for k in part[start : start + size]]
            options = [self.options[k] for k, _ in places]
            numbers = [self.combinations[k] * n_seeds + which for k, which in places]
            each = zip(numbers, options, strict=True)
            seeds = known_seeds([self.runs.seed(number, own.seed) for number, own in each])
            params = draw_params(o.spec, o.init, seeds, o.dtype)
            yield _Share(numbers, options, params, *self._drawn_rows(seeds))

    def _drawn_rows(self, seeds: Sequence[int]) -> tuple[Orders | None, np.ndarray, np.ndarray]:
        """Orders, rows to train on, and rows for evaluation: (n_networks, n_rows), or (1, n_rows) for all."""
        o, data = self.options[0], self.data
        orders = Orders(seeds, data.rows) if o.shuffle else None
        if data.n_held_out:
            drawn = data.rows[None] if orders is None else orders.draw(1)[:, 0]
            rows, held_out = map(np.array, zip(*map(data.split_of, drawn), strict=True))
            return orders and orders.among(rows), rows, held_out
        validation_rows = data.rows[:0] if data.validation is None else data.validation[1]
        return orders, data.rows[None], validation_rows[None]


class _Share(NamedTuple):
    """Some networks, whose random streams and parameters are made in one call."""

    numbers: list[int]
    options: list[Options]
    params: np.ndarray
    orders: Orders | None
    rows: np.ndarray
    held_out: np.ndarray
