"""The arguments of `train`, checked before anything begins: its options and its data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from ..base.checks import (
    check_choice,
    check_count,
    check_dtype,
    check_flag,
    check_number,
    check_seed,
    dropout_shares,
)
from ..engine.epochs import Samples
from ..engine.lbfgs import require_scipy
from ..engine.lm import check_squares
from ..engine.network import named_sums
from ..engine.slopes import Residuals, Slopes
from ..init import Uniform, check_init
from ..losses import get_loss
from ..metrics import MetricFunction, named_metrics
from ..optimizers import LBFGS, LevenbergMarquardt, Optimizer, get_optimizer
from ..residuals import Residual
from ..schedules import ReduceOnPlateau, Schedule
from ..spec import Spec, spec_of
from .callbacks import Callback, check_callbacks
from .checkpoints import Checkpoint, get_checkpoint
from .data import (
    check_lazy,
    check_output_weight,
    check_residual,
    check_samples,
    check_slopes,
    check_weights,
    class_indices,
    counted_rows,
)
from .history import History
from .mlp import MLP
from .names import NO_NAMES, Names, check_labels
from .progress import check_progress
from .scaling import check_standardize
from .stopping import EarlyStopping, get_early_stopping

__all__ = ["DEFAULTS", "Options", "TrainingData", "check_penalised_squares", "validation_parts"]

DEFAULTS = {"lr": 0.01, "batch_size": 1}  # of `train`: lbfgs and lm take an option with this value as left out

_COMPARED_OTHERWISE = {  # with the data
    "spec", "model", "validation_data", "sample_weight", "class_weight", "dydx", "dydx_weight", "residual_weight",
    "names",
}  # fmt: skip
_ASKED_AT_ONCE = 10_000  # epochs whose rates a function gives before training begins
_WITHOUT_EFFECT = {"epochs", "rates", "callbacks", "progress", "checkpoint", "n_threads"}  # on the bits of an epoch


class LearningRates:
    """The learning rate of each epoch, from a number or a function of the epoch.

    A function is called once for each of the first 10,000 epochs, and its answers are checked. For later epochs it is
    called when they begin, so that a run that will be stopped early may have any number of them.
    """

    def __init__(self, lr: Any, epochs: int) -> None:
        if isinstance(lr, (list, tuple)):
            raise TypeError(
                f"lr must be a number or a schedule, got {lr!r}; train_many tries several: grid={{'lr': […]}}"
            )
        self._lr: Any = lr if callable(lr) else check_number(lr, "lr", 0.0, open_low=True)
        self._first = [self._asked(epoch) for epoch in range(min(epochs, _ASKED_AT_ONCE))] if callable(lr) else []
        self.constant = not callable(lr)

    def __call__(self, epoch: int) -> float:
        """The rate of an epoch, counted from 0."""
        if not callable(self._lr):
            return self._lr
        return self._first[epoch] if epoch < len(self._first) else self._asked(epoch)

    def _asked(self, epoch: int) -> float:
        return check_number(self._lr(epoch), f"lr({epoch})", 0.0, open_low=True)


@dataclass(frozen=True, eq=False, init=False)
class Options:
    """The checked arguments of `train` except x and y, with its names and in its order.

    Attributes
    ----------
    spec : Spec
        The network's spec, with the loss that ``loss`` or the spec names; not yet standardised.
    model : MLP or None
        The model whose training goes on; None for a new one.
    rates : LearningRates
        The learning rate of each epoch, as far as it does not depend on the history.
    metrics : dict of functions
        Functions of y and y_hat, both (n_samples, n_out), and ``sample_weight``, by name.
    dropout : list of float
        The share of units left out, for each hidden layer; empty: none.
    validation_data, sample_weight, class_weight, dydx, dydx_weight, residual_weight
        As they were given; `TrainingData.checked` looks at them.
    names : Names
        The model's names, with ``class_names`` if they are given.
    """

    spec: Spec
    model: MLP | None
    rates: LearningRates
    lr: float | Schedule | Callable[[int], float]
    epochs: int
    batch_size: int | str
    optimizer: Optimizer
    metrics: dict[str, MetricFunction]
    shuffle: bool
    standardize: bool
    seed: int | None
    init: str | Uniform
    dtype: np.dtype
    validation_data: Any
    validation_fraction: float
    early_stopping: EarlyStopping | None
    sample_weight: Any
    class_weight: Any
    output_weight: tuple[float, ...] | None
    dydx: Any
    dydx_weight: Any
    residual: Residual | None
    residual_weight: Any
    names: Names
    l1: float
    l2: float
    dropout: list[float]
    clip_norm: float | None
    max_norm: float | None
    callbacks: list[Callback]
    progress: Any
    checkpoint: Checkpoint | None
    n_threads: int

    def __init__(self, values: dict[str, Any]) -> None:
        object.__setattr__(self, "__dict__", values)  # field by field takes half as long as all checks

    @classmethod
    def checked(
        cls, spec: Any, *, lr: Any, epochs: Any, batch_size: Any, optimizer: Any, loss: Any, metrics: Any, shuffle: Any,
        standardize: Any, seed: Any, init: Any, dtype: Any, validation_data: Any, validation_fraction: Any,
        early_stopping: Any, sample_weight: Any, class_weight: Any, output_weight: Any, class_names: Any, dydx: Any,
        dydx_weight: Any, residual: Any, residual_weight: Any,
        l1: Any, l2: Any, dropout: Any, clip_norm: Any, max_norm: Any, callbacks: Any, progress: Any,
        checkpoint: Any,
        n_threads: Any,
    ) -> Options:  # fmt: skip
        """Check the arguments of `train`, without changing anything; a ValueError or TypeError for the first bad
        one."""
        epochs = check_count(epochs, "epochs")
        progress = check_progress(progress)
        shuffle = check_flag(shuffle, "shuffle")
        standardize = check_flag(standardize, "standardize")
        seed = check_seed(seed)
        rates = LearningRates(lr, epochs)
        early_stopping = get_early_stopping(early_stopping)
        callbacks = check_callbacks(callbacks)
        optimizer = get_optimizer(optimizer)
        l1, l2 = check_number(l1, "l1", 0.0), check_number(l2, "l2", 0.0)
        clip_norm = None if clip_norm is None else check_number(clip_norm, "clip_norm", 0.0, open_low=True)
        max_norm = None if max_norm is None else check_number(max_norm, "max_norm", 0.0, open_low=True)
        n_threads = check_count(n_threads, "n_threads")
        checkpoint = get_checkpoint(checkpoint)
        if optimizer.by_search:
            step_options = {"l1": l1, "dropout": dropout, "clip_norm": clip_norm, "max_norm": max_norm}
            _refuse_for_search(optimizer, lr, batch_size, checkpoint, step_options)
        model = spec if isinstance(spec, MLP) else None
        spec, dtype = _spec_and_dtype(spec, loss, init, dtype)
        spec.check_trainable()
        if isinstance(optimizer, LBFGS):
            require_scipy()
        if isinstance(optimizer, LevenbergMarquardt):
            check_penalised_squares(optimizer, spec, l2)
        if dydx is not None or residual is not None:
            _check_derivatives_fit(spec, optimizer, dropout, dydx, residual)
        if standardize:
            check_standardize(spec, trained=model is not None)
        names = NO_NAMES if model is None else model._names
        if class_names is not None:
            names = names._replace(labels=check_labels(class_names, spec))
        metrics = named_metrics(metrics, spec)
        output_weight = check_output_weight(output_weight, spec, dtype)
        dropout = dropout_shares(dropout, len(spec.layers) - 1)
        batch_size = _check_batch_size(batch_size)
        validation_fraction = check_number(validation_fraction, "validation_fraction", 0.0, 1.0)
        if validation_data is not None and validation_fraction > 0:
            raise ValueError("validation_data and validation_fraction are both given; give one of them")
        if residual is not None and validation_fraction > 0:
            raise ValueError(
                f"validation_fraction is {validation_fraction:g}, but under a residual it could hold out samples that "
                "have no y; give validation_data=(x, y)"
            )
        options = cls({
            "spec": spec, "model": model, "rates": rates, "lr": lr, "epochs": epochs, "batch_size": batch_size,
            "optimizer": optimizer, "metrics": metrics, "shuffle": shuffle, "standardize": standardize, "seed": seed,
            "init": init, "dtype": dtype, "validation_data": validation_data,
            "validation_fraction": validation_fraction, "early_stopping": early_stopping,
            "sample_weight": sample_weight, "class_weight": class_weight, "output_weight": output_weight, "dydx": dydx,
            "dydx_weight": dydx_weight, "residual": residual, "residual_weight": residual_weight, "names": names,
            "l1": l1, "l2": l2, "dropout": dropout, "clip_norm": clip_norm, "max_norm": max_norm,
            "callbacks": callbacks, "progress": progress, "checkpoint": checkpoint, "n_threads": n_threads,
        })  # fmt: skip
        options._check_monitors()
        return options

    def with_rate(self, lr: Any) -> Options:
        """Return these options with another learning rate, which is checked."""
        if self.optimizer.by_search:
            _refuse_for_search(self.optimizer, lr, self.batch_size, self.checkpoint, {})
        other = self.replaced(lr=lr, rates=LearningRates(lr, self.epochs))
        other._check_monitors()
        return other

    def replaced(self, **values: Any) -> Options:
        """Return these options with other values, which must have been checked."""
        return Options(self.__dict__ | values)

    def batch(self, n_samples: int) -> int:
        """The number of samples in a batch; "full" is all ``n_samples`` of x."""
        return n_samples if isinstance(self.batch_size, str) else self.batch_size

    def rate(self, epoch: int, history: History) -> float:
        """The learning rate of an epoch, counted from 0, after a history."""
        return self.lr.after(history) if isinstance(self.lr, ReduceOnPlateau) else self.rates(epoch)

    def for_checkpoint(self, n_samples: int) -> dict[str, Any]:
        """All options that change the bits of an epoch, by name; a checkpoint with another value is refused."""
        names = [field.name for field in fields(self) if field.name not in _COMPARED_OTHERWISE | _WITHOUT_EFFECT]
        for name in ("standardize", "output_weight", "residual"):
            if not getattr(self, name):
                names.remove(name)  # which older files do not have
        as_json = {"batch_size": self.batch(n_samples), "metrics": list(self.metrics), "dtype": self.dtype.name}
        return {name: as_json.get(name, getattr(self, name)) for name in names}

    @property
    def quantities(self) -> list[str]:
        """The names that the history will have."""
        names = [*named_sums(self.spec), *self.metrics]
        if self.validation_data is not None or self.validation_fraction > 0:
            names += [f"val_{name}" for name in names]
        names += ["dydx_loss"] if self.dydx is not None else []
        names += ["residual_loss"] if self.residual is not None else []
        return names + self.optimizer.quantities

    def _check_monitors(self) -> None:
        """Refuse early stopping and ReduceOnPlateau if they monitor a name that will not be in the history."""
        for watcher in (self.early_stopping, self.lr):
            if isinstance(watcher, (EarlyStopping, ReduceOnPlateau)) and watcher.monitor is not None:
                name = watcher.monitor
                if name not in self.quantities and name.removeprefix("val_") in self.quantities:
                    cure = "give validation_data=(x, y), or validation_fraction=0.2"
                    raise ValueError(f"monitor is {name!r}, and there is nothing to validate with: {cure}")
                check_choice(name, "monitor", self.quantities)


class TrainingData(NamedTuple):
    """Checked samples to train on, and to evaluate after each epoch.

    Attributes
    ----------
    samples : Samples
        The samples, with weights ``sample_weight`` times ``class_weight``.
    rows : ndarray of int64
        Indices of the samples that count; the others have weight 0.
    n_held_out : int
        The number of rows that `split` holds out for evaluation.
    strata : ndarray of int64, (n_samples,), or None
        Each sample's class, if the same share of each class is to be held out.
    sample_weight : ndarray, (n_samples,), or None
        Weights of held-out rows in evaluation; class weights are only used in training.
    validation : (samples, rows) or None
        Separate samples for evaluation, and the indices of those that count.
    names : Names
        The options' names, completed by x and y.
    """

    samples: Samples
    rows: np.ndarray
    n_held_out: int
    strata: np.ndarray | None
    sample_weight: np.ndarray | None
    validation: tuple[Samples, np.ndarray] | None
    names: Names

    @classmethod
    def checked(cls, x: Any, y: Any, options: Options) -> TrainingData:
        """Check x, y and the options that concern samples; a ValueError or TypeError for what cannot be trained on."""
        spec, dtype = options.spec, options.dtype
        names = options.names.found(x, y, spec)
        samples = check_samples(
            x, y, spec, dtype, options.sample_weight, options.class_weight, "", names, options.output_weight,
            collocated=options.residual is not None,
        )  # fmt: skip
        check_lazy(options.optimizer, samples.x)
        slopes = check_slopes(options.dydx, options.dydx_weight, samples.x, spec, dtype)
        residuals = check_residual(options.residual, options.residual_weight, samples.x, samples.y, spec)
        if slopes or residuals:
            samples = samples._replace(slopes=slopes or residuals)
        rows = counted_rows(samples)
        n_held_out = _count_held_out(options.validation_fraction, len(rows))
        strata = class_indices(samples.y, spec) if n_held_out and options.shuffle else None
        weights = check_weights(options.sample_weight, None, samples.y, spec) if n_held_out else None
        validation = _check_validation_data(options, names)
        return cls(samples, rows, n_held_out, strata, weights, validation, names)

    @staticmethod
    def key(options: Options) -> tuple[Any, ...]:
        """Return all that checked data depend on: options with equal keys can share them."""
        o = options
        given = o.validation_data, o.sample_weight, o.class_weight, o.dydx, o.dydx_weight, o.residual, o.residual_weight
        same = o.spec, o.dtype, o.optimizer.lazy, o.shuffle, o.validation_fraction, o.names.key, o.output_weight
        return *same, *map(id, given)

    def split(
        self, shuffle: bool, rng: np.random.Generator, stratified: bool = True
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return rows to train on and rows to hold out, both ascending: the last ones without ``shuffle``, else drawn,
        and if ``stratified`` the same share of each class."""
        if self.n_held_out == 0:
            return self.rows, None
        return self.split_of(rng.permutation(self.rows) if shuffle else self.rows, stratified)

    @property
    def n_trained(self) -> int:
        """The number of rows that are left to train on; small classes may have more or fewer held out than their
        share."""
        return len(self.split_of(self.rows)[0]) if self.n_held_out else len(self.rows)

    def split_of(self, rows: np.ndarray, stratified: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Do `split` for rows in the order that was drawn."""
        held_out = np.zeros(len(rows), bool)
        if self.strata is None or not stratified:
            held_out[-self.n_held_out :] = True
        else:
            classes = self.strata[rows]
            counts, by_class = np.bincount(classes), np.argsort(classes, kind="stable")
            places = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)  # of each in its class
            held_out[by_class] = places < np.repeat(_class_shares(counts, self.n_held_out), counts)
        return np.sort(rows[~held_out]), np.sort(rows[held_out])

    def arrays(self) -> dict[str, Any]:
        """Samples, weights and validation samples by name, for the fingerprints of a checkpoint."""
        samples, validation = self.samples, self.validation[0] if self.validation else None
        slopes = samples.slopes
        return {
            "x": samples.x, "y": samples.y, "sample_weight times class_weight": samples.weights,
            "sample_weight of rows held out": self.sample_weight,
            "dydx": slopes.dydx if isinstance(slopes, Slopes) else None,
            "dydx_weight": slopes.weights if isinstance(slopes, Slopes) else None,
            "residual_weight": slopes.weights if isinstance(slopes, Residuals) else None,
            "validation x": validation and validation.x, "validation y": validation and validation.y,
            "validation sample_weight": validation and validation.weights,
        }  # fmt: skip


def _spec_and_dtype(spec: Any, loss: Any, init: Any, dtype: Any) -> tuple[Spec, np.dtype]:
    """Spec and dtype of the network to train, a new one or a given MLP. ``loss`` is used if a list has no cost."""
    cost = None if loss is None else get_loss(loss, "loss")
    model = spec if isinstance(spec, MLP) else None
    if model is not None:
        if dtype is not None and check_dtype(dtype) != model.dtype:
            raise ValueError(f"dtype is {dtype!r}, but the given model is {model.dtype}")
        if init != "auto":
            raise ValueError("init is for new networks; the given model has weights already")
        spec = model.spec
    elif not isinstance(spec, Spec):
        if cost is not None and isinstance(spec, (list, tuple)) and spec and _has_no_cost(spec[-1]):
            spec = [*spec[:-1], {**spec[-1], "cost": cost}]
        spec = spec_of(spec)
    if cost is not None and cost != spec.loss:
        raise ValueError(f"loss is {cost.name}, but the spec has cost {spec.loss.name}; give one of them")
    if model is not None:
        return spec, model.dtype
    check_init(init)
    return spec, check_dtype("float32" if dtype is None else dtype)


def _has_no_cost(layer: Any) -> bool:
    return hasattr(layer, "get") and layer.get("cost") is None


def _refuse_for_search(
    optimizer: Optimizer, lr: Any, batch_size: Any, checkpoint: Checkpoint | None, step_options: Mapping[str, Any]
) -> None:
    """Refuse options that make no sense for an optimiser that takes all samples and finds the step itself."""
    name = optimizer.name
    if checkpoint is not None and isinstance(optimizer, LBFGS):
        raise ValueError("lbfgs cannot go on from a checkpoint, SciPy keeps its memory to itself; leave checkpoint out")
    if lr is not DEFAULTS["lr"] and lr != DEFAULTS["lr"]:
        raise ValueError(f"lr is {lr!r}, but {name} finds the length of each step itself; leave lr out")
    if batch_size not in (DEFAULTS["batch_size"], "full"):
        raise ValueError(f"batch_size is {batch_size!r}, but {name} takes all samples at once; leave it out")
    for option, value in step_options.items():
        if np.any(value):
            raise ValueError(f"{option} is {value!r}, but {name} needs a smooth loss that stays the same; leave it out")


def _check_derivatives_fit(spec: Spec, optimizer: Optimizer, dropout: Any, dydx: Any, residual: Any) -> None:
    """Raise TypeError for what is no `Residual`, ValueError where an activation has not the derivatives that it or dydx
    needs, and for what derivatives cannot be trained by."""
    name, of_all = "dydx", "dydx are slopes"
    for layer in spec.layers:
        layer.act.formula(2)  # an error where there is none
    if residual is not None:
        name, of_all = "residual", "a residual is"
        if not isinstance(residual, Residual):
            raise TypeError(f"residual must be a fastmlp.Residual(r, dr), got {type(residual).__name__}")
        if dydx is not None:
            raise ValueError("dydx and residual are both given; give one, the residual may have slopes in it")
        for layer in spec.layers:
            layer.act.formula(3)
            if not layer.act.elementwise:
                raise ValueError(f"activation {layer.act.name!r} has no place under a residual; give another one")
    if isinstance(optimizer, LevenbergMarquardt):
        raise ValueError(f"optimizer is lm, whose residuals are those of y alone; for {name} give optimizer='lbfgs'")
    if np.any(dropout):
        raise ValueError(f"dropout is {dropout!r}, but {of_all} of what all units make together; leave it out")


def check_penalised_squares(optimizer: LevenbergMarquardt, spec: Spec, l2: float) -> None:
    """Raise ValueError if a spec's loss is not a sum of squares, or its penalty would be defined twice."""
    check_squares(spec)
    if optimizer.regularisation is not None and l2:
        raise ValueError(f"l2 is {l2!r}, but regularisation='bayesian' finds the penalty itself; leave l2 out")


def _check_batch_size(batch_size: Any) -> int | str:
    """Return a ``batch_size`` argument: a positive integer, or "full"."""
    if isinstance(batch_size, str):
        if batch_size != "full":
            raise ValueError(f"batch_size must be a positive integer or 'full', got {batch_size!r}")
        return batch_size
    return check_count(batch_size, "batch_size")


def _count_held_out(fraction: float, n: int) -> int:
    """Return the number of samples that a fraction of n is; a ValueError if a fraction above 0 is none or all of
    them."""
    n_held_out = round(n * fraction)
    if fraction > 0 and not 0 < n_held_out < n:
        raise ValueError(f"validation_fraction {fraction:g} of {n} samples leaves nothing to train on or to hold out")
    return n_held_out


def _class_shares(counts: np.ndarray, n_held_out: int) -> np.ndarray:
    """The number of rows of each class to hold out, from ``counts`` (n_classes,): the same share of each, to within a
    row.

    A class of at least two rows has one on each side, even if the sum is then not ``n_held_out``. A class of a single
    row is the last to be held out.
    """
    several, total = counts > 1, int(counts.sum())
    lowest, highest = several.astype(np.int64), counts - several
    shares, remainders = np.divmod(counts * n_held_out, total)  # whole numbers: the same on every machine
    shares = np.clip(shares, lowest, highest)
    order = np.lexsort((-remainders, ~several))
    while shares.sum() < n_held_out and (shares < highest).any():
        shares[order[(shares < highest)[order]][: n_held_out - shares.sum()]] += 1
    while shares.sum() > n_held_out and (shares > lowest).any():
        shares[order[(shares > lowest)[order]][n_held_out - shares.sum() :]] -= 1
    return shares


def validation_parts(data: Any) -> tuple[Any, Any, Any]:
    """Return x, y and the weights (or None) of the ``validation_data`` argument, without checking them."""
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
        got = f"{len(data)} of them" if isinstance(data, (tuple, list)) else type(data).__name__
        raise TypeError(f"validation_data must be a pair (x, y), or (x, y, sample_weight), got {got}")
    x, y, weights = (*data, None)[:3]
    return x, y, weights


def _check_validation_data(options: Options, names: Names) -> tuple[Samples, np.ndarray] | None:
    """Return the samples, and the indices of those whose weight is not 0; None where no validation data are given."""
    if options.validation_data is None:
        return None
    x, y, weights = validation_parts(options.validation_data)
    samples = check_samples(
        x, y, options.spec, options.dtype, weights, None, "validation ", names, options.output_weight
    )
    return samples, counted_rows(samples)
