"""The work of a worker: on one partition, from arrays to arrays, or on some networks of a sweep."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, NamedTuple

import distributed
import numpy as np
from distributed.protocol import pickle

from ..base.cores import usable_cores
from ..base.frames import cells_of, only_column
from ..base.version import __version__
from ..engine.epochs import EpochRunner, Samples
from ..engine.lbfgs import LocalObjective
from ..engine.network import Network, evaluate_rows, kernels_level
from ..engine.steps import OptimizerState
from ..metrics import MetricFunction
from ..model.checkpoints import fingerprint
from ..model.data import check_samples, class_indices, counted_rows
from ..model.names import NO_NAMES, Names, different_labels
from ..model.progress import RunsProgress, Stopped
from ..model.scaling import Moments, moments_of
from ..model.sweep import Part, Sweep
from ..model.trained import Alone, SideBySide
from ..optimizers import Optimizer
from ..spec import Spec

__all__ = [
    "Here",
    "Job",
    "Look",
    "Networks",
    "SharedSweep",
    "Sums",
    "Task",
    "add",
    "average",
    "gradient",
    "here",
    "labels",
    "loaded",
    "look",
    "not_importable",
    "score",
    "train_networks",
]


@dataclass(frozen=True)
class Job:
    """The part of the work on partitions that stays the same for the whole run.

    Attributes
    ----------
    class_factors : ndarray, (n_classes,), or None
        The factors of the samples' weights, by class.
    seed : int
        The seed for orders of samples and for dropout, together with the round and the partition's number.
    names : Names
        The names of the network's inputs and classes.
    name : str
        Put before "x" and "y" in messages, such as "validation ".
    """

    spec: Spec
    dtype: np.dtype
    metrics: Mapping[str, MetricFunction]
    names: Names = NO_NAMES
    class_factors: np.ndarray | None = None
    optimizer: Optimizer | None = None
    options: Mapping[str, float] = field(default_factory=dict)  # of OptimizerState.begin
    batch: int | None = None  # None: all samples
    dropout: list[float] = field(default_factory=list)
    shuffle: bool = True
    seed: int = 0
    n_threads: int = 1
    name: str = ""
    output_weight: tuple[float, ...] | None = None


class Task(NamedTuple):
    """The part that the tasks of one step share: the job, pickled, so that a worker that cannot read it says so in its
    task; the parameters; and for a round of averaging its number, its learning rate, and the weight of all samples."""

    job: bytes
    params: np.ndarray
    round: int = 0
    lr: float = 0.0
    weight: float = 1.0


class Sums(NamedTuple):
    """Sums over partitions: a vector (n_params,), and the weight, the weighted loss and so on, float64."""

    vector: np.ndarray
    values: np.ndarray


class Look(NamedTuple):
    """The description of a partition that is needed before any work.

    ``zeros`` are its rows of weight 0; ``extremes`` the smallest and the largest x, numbers in y, and weights;
    ``moments`` those of x and y, if they are wanted: by class if classes are to be balanced, else of all rows under -1.
    """

    n: int
    weight: float
    zeros: np.ndarray
    class_weights: np.ndarray | None
    extremes: tuple[np.ndarray, np.ndarray | None, np.ndarray | None] | None
    fingerprints: tuple[str | None, ...]
    moments: Mapping[int, tuple[Moments, Moments | None]]


class Here(NamedTuple):
    """The description of a process: its version of fastmlp, the level of its kernels, its machine, and the cores that
    may be used."""

    version: str
    kernels: str
    machine: str
    n_cores: int


def here() -> Here:
    """Describe this process."""
    return Here(__version__, kernels_level(), platform.node(), usable_cores())


def loaded(pickled: bytes, buffers: Sequence[Any] = ()) -> Any:
    """Unpickle; a RuntimeError if this process lacks a module for that."""
    try:
        return pickle.loads(pickled, buffers=buffers)
    except (ImportError, AttributeError) as error:
        raise not_importable(error) from error


def not_importable(error: BaseException) -> RuntimeError:
    """Make the error for a worker that lacks a module, or something in a module."""
    return RuntimeError(
        f"workers cannot import what this network or its data are made of: {error}; send them the module with "
        "client.upload_file(…), or install it there"
    )


def labels(task: Task, number: int, y: Any) -> np.ndarray | None:
    """The different labels of a partition's y; None if it holds numbers."""
    if len(y) == 0:
        return np.zeros(0, object)
    with _words_about(number):
        return different_labels(y, _job(task).spec)


def look(
    task: Task, number: int, x: Any, y: Any, weights: Any, with_fingerprints: bool, with_moments: str = ""
) -> Look:
    """Check a partition and describe it; ``with_moments`` is "all" or "by class"."""
    job = _job(task)
    samples = _samples(job, number, x, y, weights)
    if samples is None:
        return Look(0, 0.0, np.zeros(0, np.int64), None, None, ("empty",), {})
    n, classes = len(samples.x), class_indices(samples.y, job.spec)
    own = np.ones(n) if samples.weights is None else samples.weights
    class_weights = None if classes is None else np.bincount(classes, own, max(2, job.spec.n_out))
    arrays = samples.x, samples.y if samples.y.ndim == 2 else None, samples.weights
    extremes = tuple(
        None if a is None else np.array([np.fmin.reduce(a), np.fmax.reduce(a)], np.float64) for a in arrays
    )
    prints = [fingerprint(a) for a in (samples.x, samples.y, samples.weights)] if with_fingerprints else []
    moments = {}
    if with_moments:
        groups = np.full(n, -1) if with_moments == "all" or classes is None else classes
        groups = np.where(own == 0, -2, groups)
        of_group = {group: np.flatnonzero(groups == group) for group in np.unique(groups).tolist() if group > -2}
        moments = {group: moments_of(job.spec, samples, rows) for group, rows in of_group.items()}
    zeros = np.flatnonzero(own == 0)
    return Look(n, float(own.sum()), zeros, class_weights, extremes, tuple(prints), moments)  # type: ignore[arg-type]


def gradient(task: Task, number: int, x: Any, y: Any, weights: Any, rows: np.ndarray | None = None) -> Sums:
    """The sum over a partition's rows, all that count when left out, of weighted gradients of the loss, and of the loss
    and so on."""
    job = _job(task)
    samples = _samples(job, number, x, y, weights)
    assert samples is not None  # empty partitions are left out
    rows = counted_rows(samples) if rows is None else rows.astype(np.int64)
    network = _network(task)
    with closing(LocalObjective(network, samples, rows, job.metrics, 0.0, job.n_threads)) as objective:
        params, mean = network.params[network.free].astype(np.float64), np.zeros(network.params.size)
        _, mean[network.free] = objective(params)
        values, weight = objective.values(params), samples.weight(rows)
    return Sums((weight * mean).astype(job.dtype), _weighted(weight, values, job))


def average(task: Task, number: int, x: Any, y: Any, weights: Any) -> Sums:
    """Train a copy for an epoch on a partition; return its share of the mean parameters, and its sums."""
    job = _job(task)
    samples = _samples(job, number, x, y, weights)
    assert samples is not None and job.optimizer is not None
    rows = counted_rows(samples)
    rng = np.random.default_rng([job.seed, task.round, number])
    order = rng.permutation(rows) if job.shuffle else rows
    key = int(rng.integers(1 << 62)) if job.dropout else 0
    batch = len(rows) if job.batch is None else min(job.batch, len(rows))
    network = _network(task)
    state = OptimizerState.begin(job.optimizer, network.params, **job.options)
    with closing(EpochRunner(network, samples, batch, job.metrics, state, job.dropout, job.n_threads)) as runner:
        values = runner.run(order, task.lr, key)
    weight = samples.weight(order)
    share = job.dtype.type(weight / task.weight if values else np.nan)
    return Sums(network.params * share, _weighted(weight, values, job))


def score(task: Task, number: int, x: Any, y: Any, weights: Any) -> Sums:
    """The sums of a partition's losses and so on."""
    job = _job(task)
    samples = _samples(job, number, x, y, weights)
    rows = np.zeros(0, np.int64) if samples is None else counted_rows(samples)
    nothing = np.zeros(0, job.dtype)
    if samples is None or len(rows) == 0:
        return Sums(nothing, np.zeros(2 + _has_accuracy(job) + len(job.metrics)))
    args = samples.x, samples.y, samples.weights, rows, job.metrics, job.n_threads, samples.output_weights
    return Sums(nothing, _weighted(samples.weight(rows), evaluate_rows(_network(task), *args), job))


def add(*parts: Sums) -> Sums:
    """Add several sums, one after another."""
    vector, values = parts[0].vector.copy(), parts[0].values.copy()
    for part in parts[1:]:
        vector += part.vector
        values += part.values
    return Sums(vector, values)


def _has_accuracy(job: Job) -> bool:
    return job.spec.multilabel or job.spec.one_of_many


def _weighted(weight: float, values: Mapping[str, float], job: Job) -> np.ndarray:
    """The weight, and each value times it; NaN for values that are missing because the loss was not finite."""
    if not values:
        return np.full(2 + _has_accuracy(job) + len(job.metrics), np.nan)
    return weight * np.array([1.0, *values.values()])


def _job(task: Task) -> Job:
    return loaded(task.job)


def _network(task: Task) -> Network:
    job, network = _job(task), Network()
    network._build(job.spec, job.dtype)
    network.params = task.params
    return network


def _samples(job: Job, number: int, x: Any, y: Any, weights: Any) -> Samples | None:
    """Check a partition's samples, and weight them by class; None if there are none."""
    weights = None if weights is None else cells_of(only_column(weights))
    if len(x) == 0 and len(y) == 0:
        return None
    if hasattr(x, "tocsr"):
        raise TypeError(
            f"partition {number}: x is sparse; give dense chunks: x.map_blocks(lambda chunk: chunk.toarray())"
        )
    with _words_about(number):
        samples = check_samples(
            x, y, job.spec, job.dtype, weights, None, job.name, job.names, job.output_weight, of_many=True
        )
    own = samples.weights
    if job.class_factors is not None:
        own = (np.ones(len(x)) if own is None else own) * job.class_factors[class_indices(samples.y, job.spec)]
    return Samples(samples.x, samples.y, own, samples.output_weights)


@contextmanager
def _words_about(number: int) -> Iterator[None]:
    """Put the partition's number into errors."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise type(error)(f"partition {number}: {error}") from None


class SharedSweep:
    """The pickled arguments of a sweep, which each worker gets once, and from which it makes the sweep once.

    Parameters
    ----------
    arguments : bytes
        The arguments of `Sweep.checked`, pickled, so that a worker that cannot read them says so in its task.
    buffers : list of ndarray of bytes
        The arrays in these arguments.
    """

    def __init__(self, arguments: bytes, buffers: list[np.ndarray]) -> None:
        self._arguments, self._buffers = arguments, buffers
        self._lock, self._sweep = Lock(), None  # type: tuple[Lock, Sweep | None]

    @classmethod
    def of(cls, sweep: Sweep, n_threads: int) -> SharedSweep:
        """Make a sweep for workers whose threads train ``n_threads`` networks at a time."""
        buffers: list[Any] = []
        runs = sweep.runs
        arguments = (
            sweep.given.x, sweep.given.y, sweep.specs, runs.seeds, runs.grid, n_threads, False, sweep.decisions,
            sweep.options
        )  # fmt: skip
        pickled = pickle.dumps(arguments, buffer_callback=buffers.append)
        return cls(pickled, [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers])

    def __reduce__(self) -> Any:
        return SharedSweep, (self._arguments, self._buffers)

    def sweep(self) -> Sweep:
        """The sweep, for all threads of this process."""
        with self._lock:
            if self._sweep is None:
                self._sweep = Sweep.checked(*loaded(self._arguments, self._buffers))
            return self._sweep


class Networks(NamedTuple):
    """The result of some networks of a sweep: their numbers and outcomes, the number of samples that they were trained
    with over all epochs, and the seconds that this took."""

    outcomes: list[tuple[Sequence[int], Alone | SideBySide]]
    n_samples: int
    seconds: float


def train_networks(shared: SharedSweep, parts: Sequence[Part]) -> Networks:
    """Train some networks of a sweep; end early if the task is cancelled."""
    begin = time.perf_counter()
    outcomes: list[tuple[Sequence[int], Alone | SideBySide]] = []
    bar = RunsProgress(False, sum(part.stop - part.start for part in parts))

    def deliver(numbers: Sequence[int], outcome: Alone | SideBySide) -> None:
        outcomes.append((numbers, outcome))

    with suppress(Stopped), shared.sweep().crew(deliver, parts=parts, bar=bar) as crew:
        crew.wait(_stop_when_cancelled())
    return Networks(outcomes, bar.samples, time.perf_counter() - begin)


def _stop_when_cancelled() -> Callable[[], None]:
    """Return a function that raises `Stopped` if the scheduler has cancelled this thread's task."""
    worker = distributed.get_worker()
    key, tasks = worker.get_current_task(), worker.state.tasks

    def look() -> None:
        task = tasks.get(key)
        if task is None or task.state == "cancelled":
            raise Stopped

    return look
