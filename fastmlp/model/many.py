"""Many networks at once: side by side in the lanes of vectors, or each by train(), on threads."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..base.checks import check_count, check_flag
from ..base.cores import usable_cores
from ..base.frames import is_frame
from ..schedules import ReduceOnPlateau
from ..spec import Spec
from .crew import Crew, Deliver, Deliveries, Work
from .history import DivergenceError
from .mlp import MLP
from .names import feature_names_of
from .options import Options, TrainingData
from .progress import RunReport, RunsProgress, check_progress
from .run import TrainingRun
from .runs import DEFAULTS, Runs
from .side_by_side import Group, side_by_side
from .trained import Alone, Trained, TrainedNetworks, trained

__all__ = ["train_many", "train_many_iter"]


def train_many(
    x: Any,
    y: Any,
    specs: Any,
    *,
    seeds: Iterable[int] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
    lanes: bool | None = None,
    **options: Any,
) -> TrainedNetworks:
    """Train networks of all combinations of specs, settings and seeds, many at a time.

    Small networks of one shape are trained side by side, one in each lane of the processor's vectors: 32 of float32
    with AVX-512. Each has the numbers that `train` alone would give it but for rounding, whatever its neighbours and
    their number, and the number of threads; other networks, and all with ``lanes=False``, have its very bits.

    Parameters
    ----------
    x, y : arrays
        As in `train`, the same for all.
    specs : spec, or list of them
        Each a list of dict, a Spec, or an MLP, whose training goes on in place.
    seeds : list of int, optional
        ``range(10)`` trains every combination ten times.
    grid : dict of lists, optional
        For options of `train` the values to try, in all combinations, like scikit-learn's ``ParameterGrid``:
        ``{"lr": [0.1, 0.01], "batch_size": [1, 32]}``.
    n_threads : int, optional
        Networks trained at a time: the processor's cores that this process may use, when left out.
    progress : bool, optional
        As in `train`; True prints a line a network where there is no terminal.
    lanes : bool, optional
        Whether networks are trained side by side. When left out, those are that gain by it: with few parameters and not
        too many samples (docs/how-to/many-networks.md has the numbers), and without what looks at single networks
        meanwhile (callbacks, metrics, weights of samples, dropout, limits), but for validation and early stopping.
        True refuses networks that cannot be, False trains each as `train` does.
    **options
        Options of `train`, the same for all.

    Returns
    -------
    TrainedNetworks
        A sequence of `Trained`, with ``model``, ``history``, ``settings`` and ``error``. The specs in their order; for
        each the combinations of the grid, its last option changing first; for each of those the seeds.

    Raises
    ------
    ValueError, TypeError
        For bad input to any of them, before any is trained.

    Warns
    -----
    RuntimeWarning
        When some diverged. The others are not touched, and these have the weights of their last finite epoch.

    Notes
    -----
    Ctrl-C ends all at once; those that were finished are returned, with a warning. A network that was trained side by
    side takes its parameters and 16 bytes an epoch; where these are too many, `train_many_iter` keeps none.

    Examples
    --------
    >>> import fastmlp
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> trained = fastmlp.train_many(x, y, spec, seeds=range(20), grid={"lr": [0.05, 0.5]}, epochs=300)
    >>> len(trained)
    40
    >>> best = min(trained, key=lambda one: one.history["loss"][-1])
    >>> best.settings["lr"]
    0.5
    """
    many = _Many.checked(x, y, specs, seeds, grid, n_threads, progress, lanes, options)
    networks, interrupted = TrainedNetworks(many.runs), False
    with many.crew(networks._add) as crew:
        try:
            crew.wait()
        except KeyboardInterrupt:
            interrupted = True
    networks._end()
    _warn(many, len(networks), crew.n_diverged, interrupted)
    return networks


def train_many_iter(
    x: Any,
    y: Any,
    specs: Any,
    *,
    seeds: Iterable[int] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    n_threads: int | None = None,
    progress: bool | None = None,
    lanes: bool | None = None,
    **options: Any,
) -> Iterator[Trained]:
    """Train networks as `train_many` does, and yield each as it ends.

    Parameters, errors and warnings are those of `train_many`, and so are the networks. They come as they end, not in
    order: ``settings`` tells which one it is. Few are kept, so that any number of networks takes no more memory than
    what you keep of them; training waits while nobody takes them.

    Yields
    ------
    Trained

    Notes
    -----
    Closing the iterator, or leaving the loop so that nobody has it any more, stops the work. So does Ctrl-C, while the
    loop waits for a network: it ends with a warning that counts those that it was given.

    Examples
    --------
    >>> import fastmlp
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> networks = fastmlp.train_many_iter(x, y, spec, seeds=range(10_000), lr=0.5, epochs=300)
    >>> first_to_learn = next(one for one in networks if one.history["accuracy"][-1] == 1)
    >>> networks.close()
    >>> first_to_learn.model.predict_class(x).tolist()
    [0, 1, 1, 0]
    """
    return _Many.checked(x, y, specs, seeds, grid, n_threads, progress, lanes, options).as_they_end()


def _warn(many: _Many, n_done: int, n_diverged: int, interrupted: bool) -> None:
    """Say what the caller of `train_many` should know."""
    if interrupted:
        message = f"interrupted: {n_done} of {len(many.runs)} networks are trained"
        warnings.warn(message, RuntimeWarning, stacklevel=3)
    if n_diverged:
        message = f"{n_diverged} of {n_done} networks diverged, see their error; a smaller lr may help"
        warnings.warn(message, RuntimeWarning, stacklevel=3)


@dataclass(frozen=True)
class _Many:
    """The checked arguments of `train_many`.

    Attributes
    ----------
    given : _Given
        x and y.
    specs : list of (Spec or MLP)
    runs : Runs
    groups : list of (Group or None)
        For each combination, the networks side by side that its runs belong to; None for runs alone.
    options : dict
        Options that all have in common, as they were given.
    n_threads : int
    progress : bool or None
    """

    given: _Given
    specs: list[Spec | MLP]
    runs: Runs
    groups: list[Group | None]
    options: Mapping[str, Any]
    n_threads: int
    progress: bool | None

    @classmethod
    def checked(
        cls, x: Any, y: Any, specs: Any, seeds: Any, grid: Any, n_threads: Any, progress: Any, lanes: Any, options: Any
    ) -> _Many:
        """Check all combinations, whatever their seeds: ValueError or TypeError for the first bad one."""
        check_progress(progress)
        lanes = None if lanes is None else check_flag(lanes, "lanes")
        specs = _parse_specs(specs)
        runs = Runs.checked(len(specs), seeds, grid, options)
        n_threads = usable_cores() if n_threads is None else check_count(n_threads, "n_threads")
        models = [id(spec) for spec in specs if isinstance(spec, MLP)]
        if models and (len(runs) > len(specs) or len(set(models)) < len(models)):
            raise ValueError(
                "specs: several runs would train one model in place; give each a copy, and no seeds or grid"
            )
        given = _Given(x, y)
        groups: list[Group | None] = []
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
                if side_by_side(own, data, lanes):
                    key = Group.key(own)
                    group = found[key] = found.get(key) or Group(runs, data)
            if group is not None:
                group.add(number, own)
            groups.append(group)
        n_works = groups.count(None) * runs.n_seeds + sum(group.n_works for group in found.values())
        return cls(given, specs, runs, groups, options, min(n_threads, n_works), progress)

    def crew(self, deliver: Deliver, ended: Callable[[], None] = lambda: None) -> Crew:
        """The threads that train all."""
        bar = RunsProgress(self.progress, len(self.runs))
        return Crew(self.runs, self.works(), self.n_threads, bar, deliver, ended)

    def works(self) -> Iterator[Work]:
        """What is to be done, one after another; the networks of a group together."""
        begun: set[int] = set()
        for combination, group in enumerate(self.groups):
            if group is None:
                first = combination * self.runs.n_seeds
                for number in range(first, first + self.runs.n_seeds):
                    yield _Run(self, (number,))
            elif id(group) not in begun:
                begun.add(id(group))
                yield from group.works(self.n_threads)

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
        _warn(self, n_done, crew.n_diverged, interrupted)


@dataclass(frozen=True)
class _Run:
    """One network, trained as `train` does."""

    many: _Many
    numbers: tuple[int]
    n_networks = 1

    def train(self, report: RunReport, deliver: Deliver) -> None:
        """Train it."""
        deliver(self.numbers, self._outcome(report))

    def _outcome(self, report: RunReport) -> Alone:
        arguments = {**DEFAULTS, **self.many.options, **self.many.runs[self.numbers[0]], "progress": report}
        options = Options.checked(self.many.specs[arguments.pop("spec")], **arguments)
        run = TrainingRun(options, self.many.given.checked(options))
        try:
            run.train()
        except DivergenceError as caught:
            return Alone(caught.model, caught.history, caught.with_traceback(None))
        return Alone(run.model, run.history)


class _Given:
    """x and y as they were given, for all combinations: what is no array becomes one once, a frame for each dtype."""

    def __init__(self, x: Any, y: Any) -> None:
        self._x, self._y = x, np.asarray(y) if isinstance(y, (list, tuple)) else y
        self._arrays: dict[np.dtype, Any] = {}

    def checked(self, options: Options) -> TrainingData:
        """Check x and y for these options, as `train` does."""
        x = self._arrays.get(options.dtype)
        if x is None:
            data = TrainingData.checked(self._x, self._y, options)
            self._arrays[options.dtype] = self._x.tocsr() if hasattr(self._x, "tocsr") else data.samples.x
            return data
        if is_frame(self._x):
            options.names.check_columns(self._x)
            features = options.names.features or feature_names_of(self._x)
            options = replace(options, names=options.names._replace(features=features))
        return TrainingData.checked(x, self._y, options)


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
            result.append(spec if isinstance(spec, (Spec, MLP)) else Spec(spec))
        except (TypeError, ValueError) as error:
            raise type(error)(str(error) if is_one else f"specs[{i}]: {error}") from None
    if not result:
        raise ValueError("specs is empty: there is nothing to train")
    return result
