"""Many networks at once: each is trained by train(), on threads, while the kernels leave Python alone."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from ..base.checks import check_count, check_flag, check_seed
from ..base.cores import usable_cores
from ..base.frames import is_frame
from ..base.remedies import OF_TRAINING, check_options
from ..engine.lanes import lanes_of
from ..spec import Spec
from .history import DivergenceError, History
from .mlp import MLP
from .options import Options, TrainingData
from .progress import RunReport, RunsProgress, Stopped, check_progress
from .side_by_side import Group, lanes_pay, no_lanes_because
from .training import train, train_checked

__all__ = ["Trained", "train_many"]

Result = tuple[MLP, History, DivergenceError | None]
Work = Callable[[Sequence[RunReport]], Iterator[Result]]
_DEFAULTS: Mapping[str, Any] = train.__kwdefaults__ or {}  # of all options of train


@dataclass(frozen=True)
class Trained:
    """One of the networks of `train_many`.

    Attributes
    ----------
    model : MLP
    history : History
    settings : dict
        What sets this run apart: "spec", its number among the specs; "seed"; and its values of the grid's options.
    error : DivergenceError or None
        Where training met a non-finite loss; then model and history are those of the last finite epoch.
    """

    model: MLP
    history: History = field(repr=False)
    settings: dict[str, Any]
    error: DivergenceError | None = None


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
) -> list[Trained]:
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
        Whether networks are trained side by side. When left out, those are that gain by it: with parameters of at most
        16 KiB (24 KiB for plain per-sample SGD) and not too many samples, and without what looks at single networks
        meanwhile (callbacks, validation, early stopping, metrics, weights of samples, dropout, limits). True refuses
        networks that cannot be, False trains each as `train` does.
    **options
        Options of `train`, the same for all.

    Returns
    -------
    list of Trained
        With ``model``, ``history``, ``settings`` and ``error``. The specs in their order; for each the combinations of
        the grid, its last option changing first; for each of those the seeds.

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
    Ctrl-C ends all at once; those that were finished are returned, with a warning. Networks of a few dozen weights gain
    little from threads, because Python's own share of the work remains.

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
    check_progress(progress)
    lanes = None if lanes is None else check_flag(lanes, "lanes")
    specs = _parse_specs(specs)
    plans = _plans(len(specs), seeds, grid, options)
    n_threads = usable_cores() if n_threads is None else check_count(n_threads, "n_threads")
    models = [id(spec) for spec in specs if isinstance(spec, MLP)]
    if models and (len(plans) > len(specs) or len(set(models)) < len(models)):
        raise ValueError("specs: several runs would train one model in place; give each a copy, and no seeds or grid")
    every = len(plans) // (len(specs) * math.prod(map(len, (grid or {}).values())))
    checked: list[tuple[Options, TrainingData]] = []
    for plan in plans[::every]:  # one of each combination, whatever its seed
        arguments = {**_DEFAULTS, **options, **plan}
        own = Options.checked(specs[arguments.pop("spec")], **arguments)
        checked.append((own, _checked_data(x, y, own, checked)))
        if lanes and (reason := no_lanes_because(*checked[-1])):
            raise ValueError(f"lanes=True: these networks cannot be trained side by side: {reason}; leave lanes out")

    def alone(number: int) -> Work:
        def run(reports: Sequence[RunReport]) -> Iterator[Result]:
            arguments = {**_DEFAULTS, **options, **plans[number], "progress": reports[0]}
            own = Options.checked(specs[arguments.pop("spec")], **arguments)
            try:
                model, history = train_checked(own, checked[number // every][1])
            except DivergenceError as caught:
                yield caught.model, caught.history, caught.with_traceback(None)
            else:
                yield model, history, None

        return run

    works = [(numbers, _together(plans, numbers, every, checked) if side else alone(numbers[0]))
             for numbers, side in _units(plans, every, checked, lanes)]  # fmt: skip
    trained, interrupted = _run_all(plans, works, n_threads, RunsProgress(progress, len(plans)))
    if interrupted:
        warnings.warn(f"interrupted: {len(trained)} of {len(plans)} networks are trained", RuntimeWarning, stacklevel=2)
    n_diverged = sum(one.error is not None for one in trained)
    if n_diverged:
        message = f"{n_diverged} of {len(trained)} networks diverged, see their error; a smaller lr may help"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return trained


def _checked_data(x: Any, y: Any, options: Options, earlier: Sequence[tuple[Options, TrainingData]]) -> TrainingData:
    """Check x and y for these options; of a frame the matrix is taken that earlier ones of that dtype made of it."""
    made = next((data for own, data in earlier if own.dtype == options.dtype), None) if is_frame(x) else None
    if made is None:
        return TrainingData.checked(x, y, options)
    options.names.check_columns(x)
    named = replace(options, names=options.names._replace(features=made.names.features))
    return TrainingData.checked(made.samples.x, y, named)


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


def _plans(
    n_specs: int, seeds: Iterable[int] | None, grid: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """List the settings of each run, in order: "spec", its number among the specs, then options of `train`."""
    if grid is not None and not isinstance(grid, Mapping):
        raise TypeError(f"grid must be a dict of lists such as {{'lr': [0.1, 0.01]}}, got {type(grid).__name__}")
    grid = grid or {}
    _check_names("", options)
    _check_names("grid: ", grid)
    for name, values in grid.items():
        if name in options:
            raise ValueError(f"{name} is given twice, in the grid and as an option")
        if isinstance(values, (str, bytes)) or not isinstance(values, (Sequence, np.ndarray)) or not len(values):
            raise TypeError(f"grid: {name} must be a list of values to try, got {values!r}")
    if seeds is not None and ("seed" in options or "seed" in grid):
        raise ValueError("seed and seeds are both given; give one of them")
    combinations = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    runs = product(range(n_specs), combinations, _seed_options(seeds))
    return [{"spec": i, **combination, **seed} for i, combination, seed in runs]


def _check_names(where: str, names: Iterable[str]) -> None:
    """Refuse names that are not options of `train`, and options that several runs cannot share."""
    allowed = sorted(_DEFAULTS.keys() - {"progress", "n_threads", "checkpoint"})
    for name in names:
        if name == "checkpoint":
            raise ValueError(f"{where}train_many has no checkpoint: a file is for one network")
        check_options([name], allowed, f"{where}train", OF_TRAINING)


def _seed_options(seeds: Iterable[int] | None) -> list[dict[str, Any]]:
    """Return ``{"seed": seed}`` for each seed; without seeds one empty dict, for a single run."""
    if seeds is None:
        return [{}]
    if isinstance(seeds, (str, bytes)) or not isinstance(seeds, Iterable):
        raise TypeError(f"seeds must be a list of integers such as range(10), got {seeds!r}")
    options = [{"seed": check_seed(seed)} for seed in seeds]
    if not options:
        raise ValueError("seeds is empty: there is nothing to train")
    return options


def _units(
    plans: Sequence[dict[str, Any]],
    every: int,
    checked: Sequence[tuple[Options, TrainingData]],
    lanes: bool | None,
) -> list[tuple[list[int], bool]]:
    """Cut the plans' numbers into what is run at a time: networks side by side, True, or one alone, False."""
    units: list[tuple[list[int], bool]] = []
    groups: dict[Any, list[int]] = {}
    for i, (options, data) in enumerate(checked):
        numbers = list(range(i * every, (i + 1) * every))
        side = lanes or (lanes is None and lanes_pay(options, data) and not no_lanes_because(options, data))
        if side:
            groups.setdefault(Group.key(options), []).extend(numbers)
        else:
            units += [([number], False) for number in numbers]
    for numbers in groups.values():
        width = lanes_of(checked[numbers[0] // every][0].dtype)
        units += [(numbers[start : start + width], True) for start in range(0, len(numbers), width)]
    return sorted(units)


def _together(
    plans: Sequence[dict[str, Any]],
    numbers: Sequence[int],
    every: int,
    checked: Sequence[tuple[Options, TrainingData]],
) -> Work:
    """The training of these plans side by side."""
    own = [checked[number // every][0] for number in numbers]
    seeds = [plans[number].get("seed", options.seed) for number, options in zip(numbers, own, strict=True)]
    return Group(own, seeds, checked[numbers[0] // every][1]).train


def _run_all(
    plans: Sequence[dict[str, Any]],
    works: Sequence[tuple[Sequence[int], Work]],
    n_threads: int,
    bar: RunsProgress,
) -> tuple[list[Trained], bool]:
    """Run the works, in their order, on threads; each trains the plans of some numbers. Return the networks that were
    finished, and whether Ctrl-C came."""
    results: list[Trained | None] = [None] * len(plans)
    troubles: list[BaseException] = []
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(len(works)):
        waiting.put(number)

    def work() -> None:
        """Run works until none is waiting."""
        while not waiting.empty():
            try:
                numbers, run = works[waiting.get_nowait()]
            except Empty:
                return
            reports = [bar.begin_run() for _ in numbers]
            try:
                for number, report, result in zip(numbers, reports, run(reports), strict=True):
                    model, history, error = result
                    results[number] = Trained(model, history, plans[number], error)
                    bar.run_done(report, plans[number], history)
            except Stopped:
                return
            except BaseException as trouble:
                trouble.add_note(f"in a run of train_many with {plans[numbers[0]]}")
                troubles.append(trouble)
                bar.stop()
                return

    interrupted = False
    threads = [Thread(target=work, name="fastmlp", daemon=True) for _ in range(min(n_threads, len(works)))]
    for thread in threads:  # daemons: they must not keep the interpreter from ending
        thread.start()
    try:
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(0.1)
            bar.draw()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        bar.stop()
        for thread in threads:
            thread.join()
    bar.close()
    if troubles:
        raise troubles[0]
    return [trained for trained in results if trained is not None], interrupted
