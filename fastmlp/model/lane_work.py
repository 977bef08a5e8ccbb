"""What a thread does to train networks of `train_many` side by side: a piece of them from beginning to end, or a relay,
in which a network that ends gives its lane to the next one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from threading import Lock
from typing import NamedTuple

import numpy as np

from ..engine.lanes import LaneRunner, lanes_samples
from ..engine.random import Orders
from ..metrics import higher_is_better
from .crew import Deliver
from .divergence import remedy
from .mlp import MLP
from .options import Options, TrainingData
from .progress import RunReport
from .scaling import standardised
from .trained import SideBySide

__all__ = ["Bench", "Newcomer", "Piece", "Relay", "Supply"]

_OLD = 256  # epochs that a log may keep longer than needed


class Bench:
    """The samples and runners that the works of one group share.

    Parameters
    ----------
    options : Options
        The options of the group's networks, which may differ in seeds, rates and penalties only.
    data : TrainingData
        The checked samples.

    Attributes
    ----------
    spec : Spec
        The networks' spec, standardised if that is wanted.
    n_samples : int
        The number of samples that a network is trained with.
    """

    def __init__(self, options: Options, data: TrainingData) -> None:
        self.options, self.data, self.spec = options, data, options.spec
        if options.standardize:
            self.spec = standardised(options.spec, data.samples, data.rows, options.dtype)
            self.spec.check_range(options.dtype)
        self.n_samples = data.n_trained
        self._idle: list[LaneRunner] = []

    @contextmanager
    def runner(self) -> Iterator[LaneRunner]:
        """Lend a runner that no other thread uses meanwhile."""
        o = self.options
        try:
            runner = self._idle.pop()
        except IndexError:
            batch = min(o.batch(len(self.data.samples.x)), self.n_samples)
            runner = LaneRunner(self.spec, o.dtype, *self._arrays, batch, o.optimizer)
        yield runner
        self._idle.append(runner)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        samples = self.data.samples
        return lanes_samples(self.spec, self.options.dtype, samples.x, samples.y)

    @cached_property
    def validation_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The x and y, as a runner takes them, that contain the samples for evaluation."""
        if self.data.validation is None:
            return self._arrays
        samples, _ = self.data.validation
        return lanes_samples(self.spec, self.options.dtype, samples.x, samples.y)

    def advice(self, options: Options, params: np.ndarray, epoch: int) -> str:
        """The remedy for a network that diverged in an epoch, counted from 0, with the parameters from before it."""
        model, samples = MLP.__new__(MLP), self.data.samples
        model._build(self.spec, options.dtype)
        model.params = params
        return remedy(model, samples, options.rates(epoch), options.batch(len(samples.x)), first=epoch == 0)


@dataclass
class Piece:
    """Networks of a group that lie side by side and all run to their last epoch.

    Attributes
    ----------
    bench : Bench
    numbers : list of int
        The networks' numbers among the runs.
    options : list of Options
        The options of each network.
    params : ndarray, (n_networks, n_params)
        The parameters before training.
    orders : Orders or None
        The orders of samples; None without shuffling.
    """

    bench: Bench
    numbers: list[int]
    options: list[Options]
    params: np.ndarray
    orders: Orders | None

    @property
    def n_networks(self) -> int:
        """The number of networks."""
        return len(self.numbers)

    def train(self, report: RunReport, deliver: Deliver) -> None:
        """Train all networks side by side, and deliver them."""
        deliver(self.numbers, self._outcome(report))

    def _outcome(self, report: RunReport) -> SideBySide:
        o, n, count = self.bench.options, len(self.numbers), self.bench.n_samples
        columns = np.empty((len(o.quantities), o.epochs, n))
        report.begin(o.epochs, count)
        with self.bench.runner() as runner:
            runner.begin(self.params, [own.l1 for own in self.options], [own.l2 for own in self.options])
            for start, epochs in runner.epochs.slices(o.epochs, 1):
                part = slice(start, start + epochs)
                rates = _rates(self.options, start, epochs)
                heard = partial(report.samples_done, start, loss=0.0)
                sums = runner.run(self._orders(runner, epochs), rates, heard)
                for column, values in zip(columns, sums, strict=False):
                    np.divide(values.T, count, out=column[part])
                report.samples_done(start + epochs - 1, count, 0.0)
                if np.isnan(columns[0, part.stop - 1]).all():
                    columns[:, part.stop :] = np.nan
                    break
            params = runner.params
        losses = columns[0].T
        advice = {
            lane: self.bench.advice(self.options[lane], params[lane], int(np.argmax(np.isnan(losses[lane]))))
            for lane in np.flatnonzero(np.isnan(losses[:, -1])).tolist()
        }
        named = {name: column.T for name, column in zip(o.quantities, columns, strict=True)}
        return SideBySide(self.bench.spec, self.bench.data.names, params, named, advice)

    def _orders(self, runner: LaneRunner, epochs: int) -> np.ndarray:
        """The orders of samples in the next epochs, as a runner takes them."""
        if self.orders is None:
            return np.broadcast_to(self.bench.data.rows, (1, epochs, self.bench.n_samples))
        orders = runner.orders(epochs, self.bench.n_samples)
        self.orders.draw(epochs, orders[: len(self.numbers)])
        return orders


def _rates(options: Sequence[Options], start: int, epochs: int) -> np.ndarray:
    """The learning rates of some epochs, (n_networks, epochs)."""
    known = 1 if all(own.rates.constant for own in options) else epochs
    rates = np.empty((len(options), known))
    for i, own in enumerate(options):
        if i and own is options[i - 1]:
            rates[i] = rates[i - 1]
        else:
            rates[i] = [own.rates(epoch) for epoch in range(start, start + known)]
    return np.broadcast_to(rates, (len(options), epochs))


class Newcomer(NamedTuple):
    """A network that waits for a lane.

    ``orders`` are the orders of samples of several networks, of which this one is number ``place``; None without
    shuffling. ``rows`` are the samples that it is trained with, ``held_out`` those that it is evaluated with.
    """

    number: int
    options: Options
    params: np.ndarray
    orders: Orders | None
    place: int
    rows: np.ndarray
    held_out: np.ndarray


class Supply:
    """The networks that wait for a lane; several threads may take them."""

    def __init__(self, newcomers: Iterator[Newcomer]) -> None:
        self._newcomers, self._lock = newcomers, Lock()

    def take(self, most: int) -> list[Newcomer]:
        """Return the next networks, at most ``most`` of them."""
        with self._lock:
            return list(islice(self._newcomers, most))


class Relay:
    """Networks that are evaluated or may be stopped after each epoch: each has a lane until it ends, then the next one.

    It does for all lanes together what `TrainingRun` and `StoppingWatch` do for one network.
    """

    n_networks = 0

    def __init__(self, bench: Bench, supply: Supply) -> None:
        self._bench, self._supply = bench, supply
        self._here: list[Newcomer | None] = []  # who has each lane
        names, rule = bench.options.quantities, bench.options.early_stopping
        self._evaluates = "val_loss" in names
        self._restores = rule is not None and rule.restore_best
        self._n_quantities = len(names) // (1 + self._evaluates)
        monitor = (rule and rule.monitor) or ("val_loss" if self._evaluates else "loss")
        self._monitor = names.index(monitor)
        self._sign = -1.0 if higher_is_better(monitor.removeprefix("val_")) else 1.0

    @property
    def numbers(self) -> list[int]:
        """The numbers of the runs that have a lane."""
        return [newcomer.number for newcomer in self._here if newcomer is not None]

    def train(self, report: RunReport, deliver: Deliver) -> None:
        """Train until no network is left."""
        report.begin(self._bench.options.epochs, self._bench.n_samples)
        with self._bench.runner() as runner:
            self._begin(runner)
            while self.numbers:
                values = self._run_epoch(runner, partial(report.samples_done, 0, loss=0.0))
                self._log.append(values)
                alive, ended = self._judge(runner, values)
                lanes = [lane for lane in np.flatnonzero(ended).tolist() if self._here[lane] is not None]
                for lane in lanes:
                    newcomer = self._here[lane]
                    assert newcomer is not None
                    outcome = self._outcome(runner, lane, newcomer, bool(alive[lane]))
                    report.done = int(self._epochs[lane]) * self._bench.n_samples
                    deliver([newcomer.number], outcome)
                    self._here[lane] = None
                newcomers = self._supply.take(len(lanes))
                self._seat(runner, lanes[: len(newcomers)], newcomers)
                self._log.forget(min(self._starts.tolist()))

    def _begin(self, runner: LaneRunner) -> None:
        """Give lanes to the first networks. If they are fewer than the lanes, no others wait."""
        first = self._supply.take(runner.width)
        n = len(first)
        if n == 0:
            return
        self._here, self._log = [None] * n, _Log()
        self._epochs, self._since, self._starts = (np.zeros(n, np.int64) for _ in range(3))
        self._best, self._rates = np.full(n, np.inf), np.zeros((n, 1))
        one = first[0]
        self._orders, self._rows = one.orders and one.orders.room(n), one.rows
        own = self._bench.data.n_held_out > 0 and one.orders is not None
        self._held_out = np.zeros((runner.width if own else 1, 1, len(one.held_out)), np.int64)
        runner.begin(np.array([newcomer.params for newcomer in first]), [0.0] * n, [0.0] * n)
        self._seat(runner, range(n), first)

    def _seat(self, runner: LaneRunner, lanes: Sequence[int], newcomers: Sequence[Newcomer]) -> None:
        """Give lanes to networks."""
        if not newcomers:
            return
        for lane, newcomer in zip(lanes, newcomers, strict=True):
            self._here[lane] = newcomer
            if self._orders is not None and newcomer.orders is not None:
                self._orders.put(lane, newcomer.orders, newcomer.place)
            self._held_out[lane % len(self._held_out)] = newcomer.held_out
            self._rates[lane] = newcomer.options.rates(0)
        places, options = np.array(lanes), [newcomer.options for newcomer in newcomers]
        params = np.array([newcomer.params for newcomer in newcomers])
        runner.put(places, params, [own.l1 for own in options], [own.l2 for own in options])
        self._epochs[places] = self._since[places] = 0
        self._starts[places], self._best[places] = self._log.end, np.inf
        if self._restores:
            new = np.zeros(len(self._here), bool)
            new[places] = True
            runner.keep(new)

    def _run_epoch(self, runner: LaneRunner, heard: Callable[[int], None]) -> np.ndarray:
        """Train all for an epoch, evaluate them, and return their values, (n_quantities, n_lanes)."""
        count, n_val = self._bench.n_samples, self._held_out.shape[-1]
        if self._orders is None:
            orders = self._rows.reshape(1, 1, count)
        else:
            orders = runner.orders(1, count)
            self._orders.draw(1, orders[: len(self._here)])
        for lane, newcomer in enumerate(self._here):
            if newcomer is not None and not newcomer.options.rates.constant:
                self._rates[lane] = newcomer.options.rates(int(self._epochs[lane]))
        losses, right = runner.run(orders, self._rates, heard)
        sums = [losses[:, 0] / count, right[:, 0] / count][: self._n_quantities]
        if self._evaluates:
            losses, right = runner.evaluate(*self._bench.validation_arrays, self._held_out, heard)
            sums += [losses / n_val, right / n_val][: self._n_quantities]
        return np.array(sums)

    def _judge(self, runner: LaneRunner, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which lanes have not diverged after an epoch with these values, and which have ended; (n_lanes,) each."""
        rule, alive = self._bench.options.early_stopping, ~np.isnan(values[0])
        self._epochs += 1
        ended = ~alive | (self._epochs == self._bench.options.epochs)
        if rule is not None:
            monitored = self._sign * values[self._monitor]
            better = alive & (monitored < self._best - rule.min_delta)
            self._best[better] = monitored[better]
            self._since = np.where(better, 0, self._since + 1)
            ended |= self._since >= rule.patience
            if self._restores:
                runner.keep(better)
        return alive, ended

    def _outcome(self, runner: LaneRunner, lane: int, newcomer: Newcomer, alive: bool) -> SideBySide:
        """The outcome of the network in a lane."""
        o, start = self._bench.options, int(self._starts[lane])
        columns = self._log.column(lane, start)
        epochs, advice = columns.shape[1] - (not alive), {}
        (params,) = runner.taken([lane])
        if not alive:
            advice[0] = self._bench.advice(newcomer.options, params, epochs)
        if epochs and self._restores:
            (params,) = runner.taken([lane], best=True)
        named = {name: column[None] for name, column in zip(o.quantities, columns, strict=True)}
        return SideBySide(self._bench.spec, self._bench.data.names, params[None], named, advice)


class _Log:
    """The values of all lanes after each epoch, as far back as a lane may need them."""

    def __init__(self) -> None:
        self._values: list[np.ndarray] = []  # (n_quantities, n_lanes) each
        self._forgotten = 0

    @property
    def end(self) -> int:
        """The number of epochs so far."""
        return self._forgotten + len(self._values)

    def append(self, values: np.ndarray) -> None:
        """Add the values of an epoch."""
        self._values.append(values)

    def column(self, lane: int, start: int) -> np.ndarray:
        """The values of a lane since an epoch, (n_quantities, epochs)."""
        return np.array([values[:, lane] for values in self._values[start - self._forgotten :]]).T

    def forget(self, before: int) -> None:
        """Allow the log to drop what was before an epoch."""
        if before - self._forgotten > _OLD:
            del self._values[: before - self._forgotten]
            self._forgotten = before
