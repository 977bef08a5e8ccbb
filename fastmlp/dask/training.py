"""`train`: one network on the data of many machines, by adding gradients or by averaging parameters."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any, Never

import dask
import dask.array as da
import numpy as np
from distributed.protocol import pickle

from ..base.checks import check_choice
from ..base.frames import objects_of
from ..base.remedies import OF_TRAINING, check_options
from ..engine.epochs import Samples, take_step
from ..engine.lbfgs import Objective
from ..init import Uniform
from ..losses import Loss
from ..model.callbacks import Callback
from ..model.checkpoints import Checkpoint, fingerprint, terms
from ..model.data import balanced_weights, check_samples, check_weights, counted_rows
from ..model.divergence import remedy
from ..model.mlp import MLP
from ..model.names import Names, feature_names_of, labels_among, takes_labels
from ..model.options import DEFAULTS, Options, validation_parts
from ..model.run import TrainingRun
from ..model.scaling import Moments, pooled, standardised_by
from ..model.stopping import EarlyStopping
from ..model.training import TrainResult
from ..optimizers import LBFGS, LevenbergMarquardt, Optimizer
from ..schedules import Schedule
from ..spec import Spec
from . import work
from .asking import mean_metrics, named, quantities
from .cluster import Cluster
from .partitions import Part, holds_labels, is_dask, partitions, sum_in_tree

__all__ = ["train"]

_SYNCS = ("gradient", "average")


def train(
    x: Any,
    y: Any,
    spec: Sequence[Mapping[str, Any]] | Spec | MLP,
    *,
    sync: str = "gradient",
    client: Any = None,
    lr: float | Schedule | Callable[[int], float] = 0.01,
    epochs: int = 10,
    batch_size: int | str | None = None,
    optimizer: str | Optimizer = "sgd",
    loss: str | Loss | None = None,
    metrics: Any = None,
    shuffle: bool = True,
    standardize: bool = False,
    class_names: Sequence[Any] | None = None,
    seed: int | None = None,
    init: str | Uniform = "auto",
    dtype: Any = None,
    validation_data: Any = None,
    early_stopping: bool | int | EarlyStopping | None = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    output_weight: Any = None,
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float | Sequence[float] = 0.0,
    clip_norm: float | None = None,
    max_norm: float | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    n_threads: int = 1,
    **unknown: Never,
) -> TrainResult:
    """Train a network on a Dask cluster, on data that need not fit into any one machine.

    Every partition of x is read where it is stored; parameters, gradients and sums are sent, never samples. Collections
    that `dask.persist` put into the workers' memory stay there (Dask moves what is too large to their disks); other
    collections are read again for each epoch, or each batch.

    Parameters
    ----------
    x : dask array (n_samples, n_in), or dask dataframe of n_in columns
        Samples in partitions of any lengths, known or not, which may be empty.
    y : dask array, series or dataframe
        Targets of the shapes that `fastmlp.train` takes, in the same partitions. Labels of classes (text, booleans,
        categories or objects) are collected from all partitions, so that each may lack some.
    spec : list of dict, Spec, or MLP
        The network (see `fastmlp.Spec`). The training of a model goes on, in place.
    sync : "gradient" or "average"
        "gradient": each step is along the gradient of the mean loss over all partitions (or the batch's samples in
        them), as in `fastmlp.train`, with differences only from rounding. "average": an epoch is a round, in which each
        partition trains a copy of the network for an epoch, and the copies' parameters are averaged, weighted by their
        samples.
    client : distributed.Client, optional
        The current one when left out.
    batch_size : int or "full", optional
        "gradient": "full" when left out; a number above 1 takes the batches of `fastmlp.train`, each from all
        partitions. "average": the batch size of each partition's epoch; 1 when left out.
    optimizer : str or fastmlp.optimizers.Optimizer
        As in `fastmlp.train`, except "lm". With "average" its state begins anew in each round, and lbfgs is refused.
    metrics : name or list of names, optional
        Metrics that are means over samples: mse, mae, mape, mbe, accuracy, top_k, log_loss and cross_entropy.
    standardize : bool
        As in `fastmlp.train`, by the mean and deviation of all partitions, which are read once more for that.
    validation_data : (x, y) or (x, y, sample_weight), optional
        Dask collections, or arrays, which stay with the client.
    sample_weight : dask array or series, (n_samples,), optional
        As in `fastmlp.train`, in the same partitions as x.
    class_weight : "balanced" or dict, optional
        "balanced" counts the classes of all partitions.
    dropout : float or list of float
        With "average" only.
    lr, epochs, loss, shuffle, class_names, seed, init, dtype, output_weight, l1, l2, clip_norm, max_norm
        As in `fastmlp.train`; with "average" an epoch is a round, in which partitions make steps with these.
    early_stopping, callbacks, progress, checkpoint
        As in `fastmlp.train`, after each epoch or round, in the client's process.
    n_threads : int
        The number of threads of one task. A worker runs as many tasks at a time as it has threads, so 1 uses all of
        them; more are for workers with a single thread and several cores. Fewer are used, after a warning, if that
        would be more than a machine's cores.

    Returns
    -------
    TrainResult
        ``model`` and ``history``, whose values are, with "average", weighted means over the partitions.

    Raises
    ------
    ValueError, TypeError
        For bad input, before anything is changed; for bad numbers the message names the partition.
    DivergenceError
        When the loss is no longer finite; the model keeps the weights of the last finite epoch.
    RuntimeError
        When a task's workers die repeatedly, or workers lack a module.

    Warns
    -----
    UserWarning
        When workers have another version of fastmlp, or kernels for another processor, because the bits then depend on
        the worker.

    Notes
    -----
    Sums are added in a fixed tree, and each partition draws from [seed, round, partition]. So the same partitions and
    seed give the same bits, on any number of workers, even if workers die. Ctrl-C ends training and returns the model
    and the history so far, with a warning.

    Examples
    --------
    >>> import dask.array as da, numpy as np
    >>> from distributed import Client
    >>> import fastmlp.dask
    >>> x = da.random.default_rng(0).normal(size=(2000, 3), chunks=(500, 3))
    >>> y = x @ np.array([1.0, -2.0, 0.5])
    >>> spec = [{"n": 3, "act": None}, {"n": 1, "act": "linear"}]
    >>> with Client(processes=False, n_workers=1, dashboard_address=":0") as client:
    ...     model, history = fastmlp.dask.train(x, y, spec, sync="average", epochs=3, seed=0, dtype="float64")
    >>> model.weights[0].round(3).tolist()
    [[1.0, -2.0, 0.5]]
    """
    if unknown:
        elsewhere = {"validation_fraction": "validation_data", **OF_TRAINING}
        check_options(unknown, train.__kwdefaults__ or (), "fastmlp.dask.train()", elsewhere)
    sync = check_choice(sync, "sync", _SYNCS)
    if batch_size is None:
        left_out = sync == "average" or _is_lbfgs(optimizer)
        batch_size = int(DEFAULTS["batch_size"]) if left_out else "full"
    options = Options.checked(
        spec, lr=lr, epochs=epochs, batch_size=batch_size, optimizer=optimizer, loss=loss, metrics=metrics,
        shuffle=shuffle, standardize=standardize, class_names=class_names, seed=seed, init=init, dtype=dtype,
        validation_data=validation_data, validation_fraction=0.0, early_stopping=early_stopping,
        sample_weight=sample_weight, class_weight=class_weight, output_weight=output_weight, dydx=None, dydx_weight=1.0,
        residual=None, residual_weight=1.0,
        l1=l1, l2=l2, dropout=dropout, clip_norm=clip_norm, max_norm=max_norm, callbacks=callbacks, progress=progress,
        checkpoint=checkpoint, n_threads=n_threads,
    )  # fmt: skip
    _refuse(options, sync)
    cluster = Cluster(client)
    options = options.replaced(n_threads=cluster.threads(options.n_threads))
    data = ClusterData.checked(x, y, options, cluster)
    run = ClusterRun(options, data, sync, cluster)
    run.train()
    return TrainResult(run.model, run.history)


def _is_lbfgs(optimizer: Any) -> bool:
    return isinstance(optimizer, LBFGS) or optimizer == LBFGS.name


def _refuse(options: Options, sync: str) -> None:
    """Refuse options that a way of training on partitions does not have."""
    mean_metrics(options.metrics)
    if isinstance(options.optimizer, LevenbergMarquardt):
        raise ValueError("optimizer is lm, whose matrix is made in one process; give optimizer='lbfgs'")
    if options.optimizer.lazy:
        raise ValueError(f"optimizer is {options.optimizer}, whose lazy steps are for sparse x; partitions are dense")
    if sync == "average":
        if isinstance(options.optimizer, LBFGS):
            raise ValueError("optimizer is lbfgs, which needs all samples at once; give sync='gradient'")
        return
    if options.batch_size == 1 and not isinstance(options.optimizer, LBFGS):
        raise ValueError(
            "batch_size is 1: a step for each sample would be a message for each; give sync='average', in which "
            "partitions make such steps on their own, or a large batch_size"
        )
    if options.dropout:
        raise ValueError("dropout is for sync='average': with sync='gradient' every unit takes part")


@dataclass(frozen=True)
class ClusterData:
    """Checked partitions, and what is known about all of them.

    Attributes
    ----------
    parts : list of Part
        The partitions that have samples of weight above 0.
    starts : ndarray of int64, (n_parts,)
        The number of each part's first sample among all samples.
    rows : ndarray of int64, or range
        The samples of weight above 0.
    n_samples : int
        The number of all samples.
    weight : float
        The total weight of all samples.
    class_factors : ndarray, (n_classes,), or None
    spec : Spec
        The network's spec, standardised if that is wanted.
    extremes : Samples
        The smallest and the largest values, as two samples.
    fingerprint : str or None
        A fingerprint of all partitions, if there is a checkpoint.
    validation : list of Part, or (Samples, rows), or None
    names : Names
        The options', and those that x and y bring.
    """

    parts: list[Part]
    starts: np.ndarray
    rows: Any
    n_samples: int
    weight: float
    class_factors: np.ndarray | None
    spec: Spec
    extremes: Samples
    fingerprint: str | None
    validation: Any
    names: Names

    @classmethod
    def checked(cls, x: Any, y: Any, options: Options, cluster: Cluster) -> ClusterData:
        """Check every partition once, where it is stored; a ValueError or TypeError for what cannot be trained on."""
        spec, dtype = options.spec, options.dtype
        parts = partitions(x, y, options.sample_weight, spec, options.names)
        names = _names(cluster, options, parts, x, y)
        factors = None
        if options.class_weight is not None:
            factors = check_weights(None, options.class_weight, _class_targets(spec), spec, names=names)
        balanced = isinstance(options.class_weight, str)
        validation = _validation(options, names)
        kept = options.checkpoint is not None
        moments = ("by class" if balanced else "all") if options.standardize else ""
        looks = _looks(cluster, work.Job(spec, dtype, {}, names, None if balanced else factors), parts, kept, moments)
        prints = [one.fingerprints for one in looks]
        if isinstance(validation, list):
            seen = _looks(cluster, work.Job(spec, dtype, {}, names, name="validation "), validation, kept)
            if not any(one.weight for one in seen):
                raise ValueError("validation_data is empty, or all its weights are zero: there is nothing to measure")
            prints += [("validation",), *(one.fingerprints for one in seen)]
        if not any(one.n for one in looks):
            raise ValueError("x is empty: no partition has samples")
        weights = [one.weight for one in looks]
        if balanced:
            of_classes = np.sum([one.class_weights for one in looks if one.class_weights is not None], axis=0)
            factors = balanced_weights(np.arange(len(of_classes)), of_classes)
            weights = [float(one.class_weights @ factors) if one.n else 0.0 for one in looks]
        if not sum(weights):
            raise ValueError("the weights of all samples are zero, so that none is left")
        if options.standardize:
            spec = _standardised(spec, dtype, [one.moments for one in looks], factors if balanced else None)
        lengths = np.array([one.n for one in looks])
        starts = np.cumsum(lengths) - lengths
        counted = [i for i, weight in enumerate(weights) if weight]
        zeros = [start + one.zeros for start, one in zip(starts, looks, strict=True)]
        n_samples = int(lengths.sum())
        rows: Any = range(n_samples)
        if any(map(len, zeros)):
            rows = np.delete(np.arange(n_samples), np.concatenate(zeros))
        return cls(
            [parts[i] for i in counted], starts[counted], rows, n_samples, float(sum(weights)), factors, spec,
            _extremes([one.extremes for one in looks if one.extremes is not None]),
            sha256(repr(prints).encode()).hexdigest()[:32] if kept else None, validation, names,
        )  # fmt: skip


def _names(cluster: Cluster, options: Options, parts: Sequence[Part], x: Any, y: Any) -> Names:
    """The options' names, those of the columns of x, and the labels of all partitions of y."""
    names = options.names
    if names.features is None and not isinstance(x, da.Array):
        names = names._replace(features=feature_names_of(x._meta))
    if names.labels is not None or not (takes_labels(options.spec) and holds_labels(y)):
        return names
    find = dask.delayed(work.labels, pure=False)
    task = work.Task(pickle.dumps(work.Job(options.spec, options.dtype, {})), np.zeros(0, options.dtype))
    of_parts = cluster.compute(
        task, lambda shared: dask.delayed(list)([find(shared, part.number, part.y) for part in parts])
    )
    found = [labels for labels in of_parts if labels is not None and len(labels)]
    if not found:
        return names
    if any(labels is None for labels in of_parts):
        number = next(number for number, labels in enumerate(of_parts) if labels is None)
        raise TypeError(f"partition {number}: y holds numbers, others hold labels; make all text: y.astype(str)")
    values = objects_of([value for labels in found for value in labels.tolist()])
    if len({labels.dtype.kind for labels in found}) == 1:
        values = np.concatenate(found)
    return names._replace(labels=labels_among(values, options.spec))


def _looks(
    cluster: Cluster, job: work.Job, parts: Sequence[Part], with_fingerprints: bool, with_moments: str = ""
) -> list[work.Look]:
    """Check every partition where it is stored, and return a `Look` for each."""
    describe = dask.delayed(work.look, pure=False)
    look = partial(describe, with_fingerprints=with_fingerprints, with_moments=with_moments)
    task = work.Task(pickle.dumps(job), np.zeros(0, job.dtype))
    return cluster.compute(task, lambda shared: dask.delayed(list)([look(shared, *part) for part in parts]))


def _standardised(spec: Spec, dtype: np.dtype, found: Sequence[Mapping[int, Any]], factors: np.ndarray | None) -> Spec:
    """Standardise the spec by the moments of all partitions, with each class weighted by its factor."""
    weighed: list[tuple[Moments, Moments | None]] = []
    for group, moments in (item for of_part in found for item in of_part.items()):
        factor = 1.0 if factors is None else float(factors[group])
        weighed.append(tuple(own and own._replace(weight=own.weight * factor) for own in moments))
    of_x, of_y = zip(*weighed, strict=True)
    return standardised_by(spec, pooled(of_x), None if of_y[0] is None else pooled(of_y), dtype)


def _class_targets(spec: Spec) -> np.ndarray:
    """One target of each class, in the form of y."""
    classes = np.arange(max(2, spec.n_out))
    return classes[:, None].astype(np.float64) if spec.multilabel else classes


def _extremes(found: Sequence[Any]) -> Samples:
    """The smallest and the largest x, y and weights of all partitions, as two samples."""
    columns = []
    for arrays in zip(*found, strict=True):
        given = [array for array in arrays if array is not None]
        columns.append(np.array([np.fmin.reduce(given)[0], np.fmax.reduce(given)[1]]) if given else None)
    x, y, weights = columns
    return Samples(x, np.zeros(2, np.int64) if y is None else y, weights)  # type: ignore[arg-type]


def _validation(options: Options, names: Names) -> Any:
    """Return validation data as partitions, or as checked samples and those of them that count."""
    if options.validation_data is None:
        return None
    x, y, weights = validation_parts(options.validation_data)
    if is_dask(x):
        return partitions(x, y, weights, options.spec, names, "validation ")
    samples = check_samples(
        x, y, options.spec, options.dtype, weights, None, "validation ", names, options.output_weight
    )
    return samples, counted_rows(samples)


class ClusterRun(TrainingRun):
    """A training run whose samples are in partitions; see `TrainingRun`.

    Parameters
    ----------
    options : Options
    data : ClusterData
    sync : "gradient" or "average"
    cluster : Cluster
    """

    _data: ClusterData  # type: ignore[assignment]

    def __init__(self, options: Options, data: ClusterData, sync: str, cluster: Cluster) -> None:
        self._sync, self._cluster = sync, cluster
        super().__init__(options, data)  # type: ignore[arg-type]

    def _terms(self) -> dict[str, Any]:
        o, data = self._options, self._data
        prints = {"partitions": data.fingerprint}
        prints["the given model's parameters"] = fingerprint(None if o.model is None else o.model.params)
        if isinstance(data.validation, tuple):
            samples, _ = data.validation
            prints["validation data"] = repr([fingerprint(a) for a in (samples.x, samples.y, samples.weights)])
        options = {**o.for_checkpoint(data.n_samples), "sync": self._sync, "class_weight": o.class_weight}
        return terms(o.spec, options | data.names.for_checkpoint(), prints)

    def _draw_once(self, rng: np.random.Generator) -> None:
        o, data = self._options, self._data
        self.model._names = data.names
        self._rows = data.rows
        if o.standardize:
            self.model._rescale(data.spec)
        seed = int(rng.integers(1 << 62)) if o.seed is None else o.seed
        limits = {"l1": o.l1, "l2": o.l2, "clip_norm": o.clip_norm or 0.0, "max_norm": o.max_norm or 0.0}
        batch = None if isinstance(o.batch_size, str) else o.batch_size
        job = work.Job(
            data.spec, o.dtype, o.metrics, data.names, data.class_factors, o.optimizer, limits, batch, o.dropout,
            o.shuffle, seed, o.n_threads, output_weight=o.output_weight,
        )  # fmt: skip
        self._job = pickle.dumps(job)
        of_validation = work.Job(
            data.spec, o.dtype, o.metrics, data.names, n_threads=o.n_threads, output_weight=o.output_weight
        )
        self._validation_job = pickle.dumps(of_validation)
        self._validation = data.validation if isinstance(data.validation, tuple) else None

    def _validate(self) -> dict[str, float]:
        parts = self._data.validation
        if not isinstance(parts, list):
            return super()._validate()
        task = work.Task(self._validation_job, self.model.params.copy())
        sums = self._sums(task, work.score, [(*part,) for part in parts])
        return named(sums, self._quantities())

    def _objective(self) -> Objective:
        return _Objective(self)

    def _run_epochs(self) -> None:
        epoch_of = self._averaged if self._sync == "average" else self._stepped
        finite = self.model.params.copy()
        for epoch in self._epochs_left():
            finite[...] = self.model.params
            values = epoch_of(epoch, self._options.rate(epoch, self.history))
            if not values:
                self.model.params[...] = finite
            if self.end_epoch(values):
                break

    def _averaged(self, epoch: int, lr: float) -> dict[str, float]:
        """Train a copy in each partition, average the copies, and return the means of their values; empty if one
        diverged."""
        task = work.Task(self._job, self.model.params.copy(), epoch, lr, self._data.weight)
        sums = self._sums(task, work.average, [(*part,) for part in self._data.parts])
        if not (np.isfinite(sums.vector).all() and np.isfinite(sums.values[1])):
            return {}
        free = self.model.free
        self.model.params[free] = sums.vector[free]
        return named(sums, self._quantities())

    def _stepped(self, epoch: int, lr: float) -> dict[str, float]:
        """Make a step for each batch, and return the mean values; empty if training diverged."""
        total, done = np.zeros(1 + len(self._quantities())), 0
        for rows in self._batches():
            sums = self._gradient(rows)
            total += sums.values
            take_step(self.model, self._state.optimizer, sums.vector / self.model.dtype.type(sums.values[0]), lr)
            if not (np.isfinite(total[1]) and np.isfinite(self.model.params).all()):
                return {}
            done += len(self._rows if rows is None else rows)
            self._progress.samples_done(epoch, done, total[1] / total[0])
        return named(work.Sums(np.zeros(0), total), self._quantities())

    def _batches(self) -> list[np.ndarray | None]:
        """Yield the numbers of each batch's samples; None for all."""
        batch = self._options.batch(len(self._rows))
        if batch >= len(self._rows):
            return [None]
        self._rows = np.asarray(self._rows)
        order = self._orders(1)[0]
        return [order[start : start + batch] for start in range(0, len(order), batch)]

    def _gradient(self, rows: np.ndarray | None = None) -> work.Sums:
        """The sums of gradients and values over these samples, or all."""
        task, parts = work.Task(self._job, self.model.params.copy()), self._data.parts
        if rows is None:
            return self._sums(task, work.gradient, [(*part,) for part in parts])
        of_part = np.searchsorted(self._data.starts, rows, side="right") - 1
        by_part = np.argsort(of_part, kind="stable")
        counts = np.bincount(of_part, minlength=len(parts))
        shares = np.split(rows[by_part], np.cumsum(counts)[:-1])
        arguments = [
            (*part, (share - start).astype(np.int32))
            for part, start, share in zip(parts, self._data.starts, shares, strict=True)
            if len(share)
        ]
        return self._sums(task, work.gradient, arguments)

    def _sums(self, task: work.Task, what: Callable[..., work.Sums], arguments: Sequence[tuple[Any, ...]]) -> work.Sums:
        """Let workers do this with each partition, and add the results."""
        do = dask.delayed(what, pure=False)
        return self._cluster.compute(
            task, lambda shared: sum_in_tree([do(shared, *of_one) for of_one in arguments], work.add)
        )

    def _quantities(self) -> list[str]:
        return quantities(self._options.spec, self._options.metrics)

    def _remedy(self, lr: float | None, first: bool) -> str:
        found = remedy(self.model, self._data.extremes, lr, self._options.batch(self._data.n_samples), first)
        spec = self._options.spec
        if spec.loss.builtin and all(layer.act.builtin for layer in spec.layers):
            return found
        return f"{found}; or a function of your own raised in a worker, which is not known here"


class _Objective(Objective):
    """The objective of samples in partitions."""

    def __init__(self, run: ClusterRun) -> None:
        super().__init__(run.model, run._options.l2)
        self._run = run

    def _measure(self) -> tuple[float, np.ndarray]:
        sums = self._run._gradient()
        self._values = named(sums, self._run._quantities())
        return self._values["loss"], sums.vector / sums.values[0]

    def _measured(self) -> dict[str, float]:
        return self._values
