"""`train_many`: many networks, in chunks that the workers of a cluster train."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from ..model.history import DivergenceError
from ..model.mlp import MLP
from ..model.progress import RunsProgress
from ..model.sweep import Sweep
from ..model.trained import Alone, SideBySide, TrainedNetworks, trained
from . import work
from .chunks import Chunks
from .cluster import Cluster
from .partitions import is_dask

__all__ = ["train_many"]


def train_many(
    x: Any,
    y: Any,
    specs: Any,
    *,
    client: Any = None,
    seeds: Iterable[int] | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    n_threads: int = 1,
    progress: bool | None = None,
    lanes: bool | None = None,
    **options: Any,
) -> TrainedNetworks:
    """Train networks of all combinations of specs, settings and seeds on a Dask cluster.

    Arguments, result, errors and warnings are those of `fastmlp.train_many`. So are the networks, bit for bit, with any
    workers, even if some of them die. x and y are sent to each worker once; then networks are sent in chunks that take
    a second or two, estimated from the first ones.

    Parameters
    ----------
    x, y : arrays
        As in `fastmlp.train`, the same for all networks; they must fit into each worker's memory.
    specs : spec, or list of them
        Each is a list of dict, a Spec, or an MLP, which gets the trained parameters in the end.
    client : distributed.Client, optional
        The current one when left out.
    seeds, grid, progress
        As in `fastmlp.train_many`.
    n_threads : int
        The number of networks that one task trains at a time. A worker runs as many tasks as it has threads. Fewer are
        trained, after a warning, if that would be more than a machine's cores.
    lanes : bool, optional
        As in `fastmlp.train_many`; it is decided for all networks before they are sent.
    **options
        Options of `fastmlp.train` that all networks share. Callbacks are called where their networks are trained.

    Returns
    -------
    TrainedNetworks
        The networks, as `fastmlp.train_many` returns them.

    Raises
    ------
    ValueError, TypeError
        For bad input to any of the networks, before one is trained.
    RuntimeError
        When a chunk's workers die repeatedly, or workers lack a module.

    Warns
    -----
    RuntimeWarning
        When some networks diverged.
    UserWarning
        When workers have another version of fastmlp, or kernels for another processor, because the bits then depend on
        the worker.

    Notes
    -----
    Ctrl-C cancels all tasks, even in the middle of their work; the networks that were finished are returned, with a
    warning. When the client's process ends, all tasks in the cluster end, too.

    Examples
    --------
    >>> from distributed import Client
    >>> import fastmlp.dask
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
    ...     networks = fastmlp.dask.train_many(x, y, spec, seeds=range(100), lr=0.5, epochs=300)
    >>> best = min(networks, key=lambda one: one.history["loss"][-1])
    >>> best.model.predict_class(x).tolist()
    [0, 1, 1, 0]
    """
    for name, values in {"x": x, "y": y}.items():
        if is_dask(values):
            raise TypeError(
                f"{name} is a Dask collection; every network is trained on all samples, so give an array that fits "
                f"into each worker's memory: {name}.compute()"
            )
    sweep = Sweep.checked(x, y, specs, seeds, grid, n_threads, progress, lanes, options)
    cluster = Cluster(client)
    shared = work.SharedSweep.of(sweep, cluster.threads(n_threads))
    models = [spec for spec in sweep.specs if isinstance(spec, MLP)]
    networks, n_diverged, interrupted = TrainedNetworks(sweep.runs), 0, False
    bar = RunsProgress(progress, len(sweep.runs))
    with ExitStack() as stack:
        stack.callback(bar.close)
        for model in sorted(models, key=id):  # in one order, so that two calls do not wait for each other
            stack.enter_context(model._alone)
        try:
            for done in _chunks_done(cluster, sweep, shared, bar):
                for numbers, outcome in done:
                    networks._add(numbers, _in_place(sweep, numbers, outcome))
                    n_diverged += outcome.n_diverged
        except KeyboardInterrupt:
            interrupted = True
    networks._end()
    sweep.warn(len(networks), n_diverged, interrupted)
    return networks


def _chunks_done(
    cluster: Cluster, sweep: Sweep, shared: work.SharedSweep, bar: RunsProgress
) -> Iterator[list[tuple[Sequence[int], Alone | SideBySide]]]:
    """Let the workers train all networks, and yield their outcomes, chunk by chunk."""
    chunks = Chunks(sweep.strands(), sweep.costs.__getitem__, lambda combination: _step(sweep, combination))
    for parts, done in cluster.results(work.train_networks, shared, chunks.next, bar.draw):
        chunks.took(parts, done.seconds)
        n = sum(len(numbers) for numbers, _ in done.outcomes)
        report = bar.begin_run(n)
        report.done = done.n_samples // max(1, n)
        for numbers, outcome in done.outcomes:
            lines = (trained(outcome, lane, sweep.runs[number]) for lane, number in enumerate(numbers))
            bar.networks_done(report, len(numbers), ((one.settings, one.history) for one in lines))
        bar.end_run(report)
        yield done.outcomes


def _step(sweep: Sweep, combination: int) -> int:
    """The number of networks that one task trains at a time; chunks should be a multiple of it."""
    group = sweep.groups[combination]
    return sweep.n_threads * (1 if group is None else group.n_lanes)


def _in_place(sweep: Sweep, numbers: Sequence[int], outcome: Alone | SideBySide) -> Alone | SideBySide:
    """Return the outcome, after copying its parameters to the model that was given, if any."""
    model = sweep.specs[sweep.runs[numbers[0]]["spec"]]
    if not (isinstance(model, MLP) and isinstance(outcome, Alone)):
        return outcome
    model.params[...] = outcome.model.params
    model._names = outcome.model._names
    error = outcome.error and DivergenceError(outcome.error.epoch, model, outcome.history, outcome.error.remedy)
    return Alone(model, outcome.history, error)
