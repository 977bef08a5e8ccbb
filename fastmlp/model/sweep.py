"""A sweep: the checked arguments of `train_many`, and the work of the threads that train its networks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..base.checks import check_count, check_flag
from ..base.frames import is_frame
from ..schedules import ReduceOnPlateau
from ..spec import Spec, spec_of
from .crew import Crew, Deliver, Deliveries, Work
from .history import DivergenceError
from .mlp import MLP
from .names import feature_names_of
from .options import Options, TrainingData
from .progress import RunReport, RunsProgress, check_progress
from .run import TrainingRun
from .runs import DEFAULTS, Runs
from .side_by_side import Group, side_by_side
from .trained import Alone, Trained, trained

__all__ = ["Part", "Sweep"]


class Part(NamedTuple):
    """Some of the networks of a combination's group, or of the combination if it has no group."""

    combination: int
    start: int
    stop: int


@dataclass(frozen=True)
class Sweep:
    """The checked arguments of `train_many`.

    Attributes
    ----------
    given : _Given
        x and y.
    specs : list of (Spec or MLP)
        The specs.
    runs : Runs
        The settings of each run.
    groups : list of (Group or None)
        For each combination its group of networks side by side; None if each of its runs is alone.
    costs : list of float
        For each combination the approximate number of multiply-adds of one network's epochs.
    options : dict
        Options that all runs share, as given.
    n_threads : int
        The number of networks trained at a time.
    progress : bool or None
        As in `train`.
    """

    given: _Given
    specs: list[Spec | MLP]
    runs: Runs
    groups: list[Group | None]
    costs: list[float]
    options: Mapping[str, Any]
    n_threads: int
    progress: bool | None

    @classmethod
    def checked(
        cls, x: Any, y: Any, specs: Any, seeds: Any, grid: Any, n_threads: Any, progress: Any, lanes: Any, options: Any
    ) -> Sweep:
        """Check all combinations; a ValueError or TypeError for the first bad one. ``lanes`` decides whether they are
        trained side by side: as in `train_many`, or it is the `decisions` of another sweep."""
        check_progress(progress)
        lanes = lanes if lanes is None or isinstance(lanes, bytes) else check_flag(lanes, "lanes")
        specs = _parse_specs(specs)
        runs = Runs.checked(len(specs), seeds, grid, options)
        n_threads = check_count(n_threads, "n_threads")
        models = [id(spec) for spec in specs if isinstance(spec, MLP)]
        if models and (len(runs) > len(specs) or len(set(models)) < len(models)):
            raise ValueError(
                "specs: several runs would train one model in place; give each a copy, and no seeds or grid"
            )
        given = _Given(x, y)
        groups: list[Group | None] = []
        costs: list[float] = []
        found: dict[tuple[object, ...], Group] = {}
        all_options: dict[int, Options] = {}  # of combinations that differ in more than lr
        data, data_of = None, None
        for number, settings in enumerate(runs.combinations()):
            first = runs.first_with(number, "lr")
            group = groups[first] if first < number else None
            if first == number:
                arguments = {**DEFAULTS, **options, **settings}
                own = all_options[number] = Options.checked(specs[arguments.pop("spec")], **arguments)
            else:  # a check of one number instead of all
                own = all_options[first].with_rate(settings["lr"])
            if group is None or isinstance(own.lr, ReduceOnPlateau):
                if data is None or data_of != TrainingData.key(own):
                    data, data_of = given.checked(own), TrainingData.key(own)
                group = None
                if lanes[number] if isinstance(lanes, bytes) else side_by_side(own, data, lanes):
                    key = Group.key(own)
                    group = found[key] = found.get(key) or Group(runs, data)
            if group is not None:
                group.add(number, own)
            groups.append(group)
            assert data is not None
            costs.append(float(own.epochs) * len(data.rows) * own.spec.n_params)
        n_works = groups.count(None) * runs.n_seeds + sum(group.n_works for group in found.values())
        return cls(given, specs, runs, groups, costs, options, min(n_threads, n_works), progress)

    @property
    def decisions(self) -> bytes:
        """Whether networks are trained side by side, for each combination."""
        return bytes(group is not None for group in self.groups)

    def crew(
        self,
        deliver: Deliver,
        ended: Callable[[], None] = lambda: None,
        parts: Iterable[Part] | None = None,
        bar: RunsProgress | None = None,
    ) -> Crew:
        """Make the threads that train these parts, or all."""
        bar = bar or RunsProgress(self.progress, len(self.runs))
        return Crew(self.runs, self._works(parts), self.n_threads, bar, deliver, ended)

    def strands(self) -> Iterator[Part]:
        """All networks, in parts of about equal cost, each from one group or one combination."""
        for combination, group in enumerate(self.groups):
            if group is None:
                yield Part(combination, 0, self.runs.n_seeds)
            elif group.combinations[0] == combination:
                yield Part(combination, 0, group.n_networks)

    def _works(self, parts: Iterable[Part] | None) -> Iterator[Work]:
        """Yield the works, those of a group together."""
        for combination, start, stop in self.strands() if parts is None else parts:
            group, first = self.groups[combination], combination * self.runs.n_seeds
            if group is None:
                for number in range(first + start, first + stop):
                    yield _Run(self, (number,))
            else:
                yield from group.works(self.n_threads, range(start, stop))

    def as_they_end(self) -> Iterator[Trained]:
        """Yield each network when it has ended."""
        deliveries = Deliveries(self.n_threads)
        crew, n_done, interrupted = self.crew(deliveries.put, deliveries.end), 0, False
        with crew:
            try:
                for numbers, outcome in deliveries.taken(crew.draw):
                    for lane, number in enumerate(numbers):
                        n_done += 1
                        yield trained(outcome, lane, self.runs[number])
            except KeyboardInterrupt:
                interrupted = True
            finally:
                deliveries.close()
        if interrupted:
            for numbers, outcome in deliveries.taken(crew.draw):  # what had ended meanwhile
                for lane, number in enumerate(numbers):
                    n_done += 1
                    yield trained(outcome, lane, self.runs[number])
        self.warn(n_done, crew.n_diverged, interrupted)

    def warn(self, n_done: int, n_diverged: int, interrupted: bool) -> None:
        """Warn of networks that diverged, and of an interruption."""
        if interrupted:
            message = f"interrupted: {n_done} of {len(self.runs)} networks are trained"
            warnings.warn(message, RuntimeWarning, stacklevel=3)
        if n_diverged:
            message = f"{n_diverged} of {n_done} networks diverged, see their error; a smaller lr may help"
            warnings.warn(message, RuntimeWarning, stacklevel=3)


@dataclass(frozen=True)
class _Run:
    """One network, trained as `train` does."""

    sweep: Sweep
    numbers: tuple[int]
    n_networks = 1

    def train(self, report: RunReport, deliver: Deliver) -> None:
        """Train it."""
        deliver(self.numbers, self._outcome(report))

    def _outcome(self, report: RunReport) -> Alone:
        arguments = {**DEFAULTS, **self.sweep.options, **self.sweep.runs[self.numbers[0]], "progress": report}
        options = Options.checked(self.sweep.specs[arguments.pop("spec")], **arguments)
        run = TrainingRun(options, self.sweep.given.checked(options))
        try:
            run.train()
        except DivergenceError as caught:
            return Alone(caught.model, caught.history, caught.with_traceback(None))
        return Alone(run.model, run.history)


class _Given:
    """x and y as given, for all combinations: other objects become arrays once, frames once for each dtype."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, np.asarray(y) if isinstance(y, (list, tuple)) else y
        self._arrays: dict[np.dtype, Any] = {}

    def checked(self, options: Options) -> TrainingData:
        """Check x and y for these options, as `train` does."""
        x = self._arrays.get(options.dtype)
        if x is None:
            data = TrainingData.checked(self.x, self.y, options)
            self._arrays[options.dtype] = self.x.tocsr() if hasattr(self.x, "tocsr") else data.samples.x
            return data
        if is_frame(self.x):
            options.names.check_columns(self.x)
            features = options.names.features or feature_names_of(self.x)
            options = options.replaced(names=options.names._replace(features=features))
        return TrainingData.checked(x, self.y, options)


def _parse_specs(specs: Any) -> list[Spec | MLP]:
    """Return a list of specs for one spec or several, each parsed once."""
    is_one = isinstance(specs, (Spec, MLP)) or (
        isinstance(specs, Sequence) and len(specs) > 0 and isinstance(specs[0], Mapping)
    )
    if not is_one and (isinstance(specs, (str, bytes, Mapping)) or not isinstance(specs, Iterable)):
        raise TypeError(f"specs must be a spec or a list of specs, got {type(specs).__name__}")
    result: list[Spec | MLP] = []
    for i, spec in enumerate([specs] if is_one else specs):
        try:
            result.append(spec if isinstance(spec, MLP) else spec_of(spec))
        except (TypeError, ValueError) as error:
            raise type(error)(str(error) if is_one else f"specs[{i}]: {error}") from None
    if not result:
        raise ValueError("specs is empty: there is nothing to train")
    return result
