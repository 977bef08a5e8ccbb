"""train(): epochs over shuffled samples, validation, history, progress, and what happens when it goes wrong."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from ..base.checks import check_choice, check_count, check_dtype, check_flag, check_number, check_seed
from ..engine.epochs import EpochRunner, Samples
from ..engine.lbfgs import minimise
from ..engine.network import evaluate_rows
from ..engine.steps import OptimizerState
from ..init import Uniform
from ..losses import Loss, get_loss
from ..metrics import named_metrics
from ..optimizers import LBFGS, Optimizer, get_optimizer
from ..schedules import ReduceOnPlateau, Schedule
from ..spec import Spec
from .callbacks import Callback, TrainingState, check_callbacks
from .checkpoints import Checkpoint, Record, Run, get_checkpoint, terms
from .data import check_weights, check_x, check_y
from .history import DivergenceError, History
from .mlp import MLP
from .progress import begin_progress, check_progress
from .stopping import EarlyStopping, StoppingWatch, get_early_stopping

__all__ = ["train"]


def train(
    x: Any,
    y: Any,
    spec: Sequence[Mapping[str, Any]] | Spec | MLP,
    *,
    lr: float | Schedule | Callable[[int], float] = 0.01,
    epochs: int = 10,
    batch_size: int | str = 1,
    optimizer: str | Optimizer = "sgd",
    loss: str | Loss | None = None,
    metrics: Any = None,
    shuffle: bool = True,
    seed: int | None = None,
    init: str | Uniform = "auto",
    dtype: Any = None,
    validation_data: tuple[Any, Any] | None = None,
    validation_fraction: float = 0.0,
    early_stopping: bool | int | EarlyStopping | None = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    l1: float = 0.0,
    l2: float = 0.0,
    dropout: float | Sequence[float] = 0.0,
    clip_norm: float | None = None,
    max_norm: float | None = None,
    callbacks: Callback | Sequence[Callback] = (),
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    n_threads: int = 1,
) -> tuple[MLP, History]:
    """Train a network by stochastic gradient descent.

    Parameters
    ----------
    x : array, (n_samples, n_in)
        Any real dtype, any strides, read-only or memory-mapped: it is neither copied nor written to.
    y : array
        Class indices (n_samples,) or rows of probabilities for softmax, cross_entropy and hinge; 0/1 a label for
        sigmoid; numbers (n_samples,) or (n_samples, n_out) for regression.
    spec : list of dict, Spec, or MLP
        The network (see `Spec`). A model goes on training in place.
    lr : float, schedule, or function of the epoch (counted from 0)
        Learning rate; see `fastmlp.schedules`.
    epochs : int
    batch_size : int or "full"
        1 is per-sample SGD, each sample seeing the weights the one before it left. A larger batch takes one step along
        the gradient of its mean loss.
    optimizer : str or fastmlp.optimizers.Optimizer
        "sgd", "adam", "adamw", "adam_hat", "rmsprop", "adagrad", or an object with other settings. "lbfgs" is another
        kind of method: an epoch is one iteration over all samples, and what has no place there (lr, batch_size, l1,
        dropout, clip_norm, max_norm) is refused.
    loss : str or Loss, optional
        Instead of the spec's ``cost``; both given and different is an error.
    metrics : name, function of (y, y_hat), or list of either, optional
        Added to the history beside loss and accuracy. They need the epoch's outputs, (n_samples, n_out), in memory.
    shuffle : bool
        A new random permutation each epoch, ``numpy.random.default_rng(seed).permutation(n_samples)``, or rows as
        they come.
    seed : int, optional
        Same seed, same bits.
    init : str or fastmlp.init.Uniform
        How a new network's weights begin: "auto" (He for the relu family, Glorot else), "he_normal", "he_uniform",
        "glorot_…", "lecun_…", "orthogonal".
    dtype : "float32" or "float64", optional
        Of a new network; float32 when left out.
    validation_data : (x, y), optional
        Evaluated after each epoch: "val_loss", "val_accuracy", ….
    validation_fraction : float
        Share of the samples held out for that instead: drawn at random, or the last ones without ``shuffle``.
    l1, l2 : float
        Penalties on weights, not on biases: l1 Σ|w| + ½ l2 Σw² is added to each batch's loss, but not in the history.
    early_stopping : bool, int, or EarlyStopping, optional
        End training when the validation loss (without validation data, the loss) gets no better for 10 epochs, or for
        so many; the best epoch's parameters are put back.
    sample_weight : array, (n_samples,), optional
        How much each sample counts, 0 or more: a batch's loss is Σ w·loss / Σ w, so that weight 2 in it is two copies;
        with ``batch_size=1`` a sample's step is w times as long. Samples of weight 0 are left out from the beginning.
    class_weight : "balanced" or dict, optional
        A weight for each class, which multiplies the samples'; "balanced" is n_samples / (n_classes · samples of the
        class). A class that the dict lacks has 1.
    dropout : float or list of float, in [0, 1)
        The share of a hidden layer's units that are left out in training, drawn for each sample, while the others are
        scaled up by 1 / (1 - dropout); one for all hidden layers or one each.
    clip_norm : float, optional
        A batch's gradient (before penalties) that is longer than this, over all parameters, is shortened to it.
    max_norm : float, optional
        After each step every unit's incoming weights that are longer than this are shortened to it.
    callbacks : function or list of functions
        Each is called after every epoch with a state that has ``epoch``, ``model``, ``history`` and ``stop()``.
    progress : bool, optional
        None shows a live line when standard error is a terminal; True also prints a line an epoch elsewhere; False
        shows nothing.
    checkpoint : path or Checkpoint, optional
        A file that keeps the run after each epoch. Where it is there already, training goes on from it, whatever ended
        it, and ends with the same bits as without an interruption. A run that ended is returned at once; more
        ``epochs`` continue it. Needs ``pip install 'fastmlp[files]'``.
    n_threads : int
        They share each batch, which takes batches of more than 128 samples, and the evaluation of validation data. Any
        number of threads makes the same bits.

    Returns
    -------
    model : MLP
    history : History
        ``history["loss"]`` and so on, one number an epoch.

    Raises
    ------
    ValueError, TypeError
        For bad input, before anything is changed; among it a checkpoint that is damaged or another run's.
    DivergenceError
        When the loss is no longer finite; the model keeps the weights of the last finite epoch.

    Notes
    -----
    Ctrl-C ends training and returns the model and the history so far, with a warning.

    Examples
    --------
    >>> import fastmlp
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> spec = [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}]
    >>> model, history = fastmlp.train(x, y, spec, lr=0.5, epochs=500, seed=1)
    >>> model.predict_class(x).tolist()
    [0, 1, 1, 0]
    """
    epochs = check_count(epochs, "epochs")
    check_progress(progress)
    check_flag(shuffle, "shuffle")
    seed = check_seed(seed)
    rates = _learning_rates(lr, epochs)
    stopping = get_early_stopping(early_stopping)
    calls = check_callbacks(callbacks)
    optimizer = get_optimizer(optimizer)
    l1, l2 = check_number(l1, "l1", 0.0), check_number(l2, "l2", 0.0)
    clip_norm = None if clip_norm is None else check_number(clip_norm, "clip_norm", 0.0, open_low=True)
    max_norm = None if max_norm is None else check_number(max_norm, "max_norm", 0.0, open_low=True)
    n_threads = check_count(n_threads, "n_threads")
    kept_in = get_checkpoint(checkpoint)
    if isinstance(optimizer, LBFGS):
        _refuse_for_lbfgs(lr, batch_size, kept_in, l1=l1, dropout=dropout, clip_norm=clip_norm, max_norm=max_norm)
    model = _network(spec, loss, init, dtype, seed)
    named = named_metrics(metrics, model.spec)
    x = check_x(x, model.spec.n_in, model.dtype)
    y = check_y(y, model.spec, len(x), model.dtype)
    weights = check_weights(sample_weight, class_weight, y, model.spec)
    shares = dropout_shares(dropout, len(model.spec.layers) - 1)
    batch = len(x) if isinstance(batch_size, str) and batch_size == "full" else _check_batch(batch_size)
    fraction = check_number(validation_fraction, "validation_fraction", 0.0, 1.0)
    valid = None if validation_data is None else _check_validation_data(validation_data, model)
    _check_monitors((stopping, lr), model.spec, named, valid is not None or fraction > 0)
    history = History()
    watch = None if stopping is None else StoppingWatch(stopping, model.params, history)
    steps = OptimizerState.begin(optimizer, model.params, l1, l2, clip_norm or 0.0, max_norm or 0.0)
    rng = np.random.default_rng(seed)
    so_far = Run(model, steps, history, watch, rng)
    record = None
    if kept_in is not None:
        options = {
            "lr": lr, "batch_size": batch, "optimizer": optimizer, "metrics": list(named), "shuffle": shuffle,
            "seed": seed, "init": init, "dtype": model.dtype.name, "validation_fraction": fraction,
            "early_stopping": stopping, "l1": l1, "l2": l2, "dropout": shares, "clip_norm": clip_norm,
            "max_norm": max_norm,
        }  # fmt: skip
        data = {
            "x": x, "y": y, "sample_weight times class_weight": weights,
            "validation x": valid and valid[0], "validation y": valid and valid[1],
            "the given model's parameters": model.params if isinstance(spec, MLP) else None,
        }  # fmt: skip
        record = Record(kept_in, epochs, so_far, terms(model.spec, options, data))
    known = np.arange(len(x)) if weights is None else np.flatnonzero(weights)
    rows, held_out = _split(known, fraction, validation_data, shuffle, rng)
    watched: tuple[np.ndarray, np.ndarray, np.ndarray] | None = valid if held_out is None else (x, y, held_out)
    samples = Samples(x, y, weights)
    bar = begin_progress(progress, epochs, len(rows), history.epochs)

    def was_last(values: dict[str, float]) -> bool:
        """Take note of the epoch that gave these values."""
        epoch = history.epochs
        if not values:
            raise DivergenceError(epoch + 1, model, history)
        if watched is not None:
            report = evaluate_rows(model, *watched, named, n_threads)
            values.update((f"val_{name}", value) for name, value in report.items())
        history._append(values)
        bar.epochs_done(history, 1)
        state = TrainingState(epoch, model, history)
        for callback in calls:
            callback(state)
        so_far.stopped = (watch is not None and watch.should_stop()) or state.stopped
        if record is not None:
            record.epoch_done()
        return so_far.stopped

    try:
        if isinstance(optimizer, LBFGS):
            minimise(optimizer, model, samples, rows, named, l2, n_threads, epochs, was_last)
            return model, history
        if record is not None:
            record.begin()
        unseen = not (calls or shares or watched or stopping or record or isinstance(lr, ReduceOnPlateau))
        with closing(EpochRunner(model, samples, min(batch, len(rows)), named, steps, shares, n_threads)) as run:
            if unseen:
                for some in run.run_all(rates, partial(_orders, rng, rows, shuffle), bar.samples_done):
                    if not some:
                        raise DivergenceError(history.epochs + 1, model, history)
                    for name, of_epochs in some.items():
                        history.setdefault(name, []).extend(of_epochs)
                    bar.epochs_done(history, len(some["loss"]))
                return model, history
            for epoch in range(epochs if so_far.stopped else history.epochs, epochs):
                order = _orders(rng, rows, shuffle, 1)[0]
                key = int(rng.integers(1 << 62)) if shares else 0
                rate = lr.after(history) if isinstance(lr, ReduceOnPlateau) else rates[epoch]
                if was_last(run.run(order, rate, key, partial(bar.samples_done, epoch))):
                    break
    except KeyboardInterrupt:
        history.interrupted = True
        epoch = history.epochs + 1
        warnings.warn(f"training interrupted in epoch {epoch} of {epochs}", RuntimeWarning, stacklevel=2)
    finally:
        if watch is not None:
            watch.restore()
        bar.close()
        if record is not None:
            record.close()
    return model, history


def _network(spec: Any, loss: str | Loss | None, init: str | Uniform, dtype: Any, seed: int | None) -> MLP:
    """The model to train: the one given, or a new one."""
    wanted = None if loss is None else get_loss(loss, "loss")
    if isinstance(spec, MLP):
        if dtype is not None and check_dtype(dtype) != spec.dtype:
            raise ValueError(f"dtype is {dtype!r}, but the given model is {spec.dtype}")
        if init != "auto":
            raise ValueError("init is for new networks; the given model has weights already")
        known = spec.spec
    else:
        given = spec[-1].get("cost") if isinstance(spec, (list, tuple)) and spec and hasattr(spec[-1], "get") else None
        if wanted is not None and given is None and not isinstance(spec, Spec):
            spec = [*spec[:-1], {**spec[-1], "cost": wanted}] if isinstance(spec, (list, tuple)) and spec else spec
        known = spec if isinstance(spec, Spec) else Spec(spec)
    if wanted is not None and wanted != known.loss:
        raise ValueError(f"loss is {wanted.name}, but the spec has cost {known.loss.name}; give one of them")
    return (
        spec if isinstance(spec, MLP) else MLP(known, init=init, seed=seed, dtype="float32" if dtype is None else dtype)
    )


def _refuse_for_lbfgs(lr: Any, batch_size: Any, checkpoint: Checkpoint | None, **options: Any) -> None:
    """L-BFGS takes a smooth function of all samples, and finds the length of a step itself."""
    if checkpoint is not None:
        raise ValueError("lbfgs cannot go on from a checkpoint, SciPy keeps its memory to itself; leave checkpoint out")
    defaults = train.__kwdefaults__ or {}
    if lr is not defaults["lr"] and lr != defaults["lr"]:
        raise ValueError(f"lr is {lr!r}, but lbfgs finds the length of each step itself; leave lr out")
    if batch_size not in (defaults["batch_size"], "full"):
        raise ValueError(f"batch_size is {batch_size!r}, but lbfgs takes all samples at once; leave it out")
    for name, value in options.items():
        if np.any(value):
            raise ValueError(f"{name} is {value!r}, but lbfgs needs a smooth loss that stays the same; leave it out")


def _learning_rates(lr: Any, epochs: int) -> list[float]:
    if not callable(lr):
        return [check_number(lr, "lr", 0.0, open_low=True)] * epochs
    return [check_number(lr(epoch), f"lr({epoch})", 0.0, open_low=True) for epoch in range(epochs)]


def _orders(rng: np.random.Generator, rows: np.ndarray, shuffle: bool, epochs: int) -> np.ndarray:
    """The rows in the order of each epoch, (epochs, n): those of rng.permutation, whatever ``epochs`` is."""
    if shuffle and epochs == 1:
        return rng.permutation(rows)[None]
    orders = np.tile(rows, (epochs, 1))
    return rng.permuted(orders, axis=1) if shuffle else orders


def dropout_shares(dropout: Any, n_hidden: int) -> list[float]:
    """The share left out of each hidden layer; empty where it is nothing."""
    given = list(dropout) if isinstance(dropout, (list, tuple, np.ndarray)) else [dropout] * n_hidden
    if len(given) != n_hidden:
        raise ValueError(f"dropout has {len(given)} entries, the network has {n_hidden} hidden layers")
    shares = [check_number(share, "dropout", 0.0, 1.0) for share in given or [dropout]]
    return shares if n_hidden and any(shares) else []


def _check_monitors(watchers: Sequence[Any], spec: Spec, metrics: Iterable[str], validated: bool) -> None:
    """Whether early stopping and a plateau's rate look at something that will be in the history."""
    names = ["loss", *(["accuracy"] if spec.multilabel or spec.one_of_many else []), *metrics]
    names += [f"val_{name}" for name in names if validated]
    for watcher in watchers:
        if isinstance(watcher, (EarlyStopping, ReduceOnPlateau)) and watcher.monitor is not None:
            check_choice(watcher.monitor, "monitor", names)


def _check_batch(batch_size: Any) -> int:
    if isinstance(batch_size, str):
        raise ValueError(f"batch_size must be a positive integer or 'full', got {batch_size!r}")
    return check_count(batch_size, "batch_size")


def _check_validation_data(data: Any, model: MLP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"validation_data must be a pair (x, y), got {type(data).__name__}")
    x = check_x(data[0], model.spec.n_in, model.dtype, "validation x")
    y = check_y(data[1], model.spec, len(x), model.dtype, "validation y")
    return x, y, np.arange(len(x))


def _split(
    rows: np.ndarray, fraction: float, data: Any, shuffle: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows to train on and rows held out."""
    if fraction == 0:
        return rows, None
    if data is not None:
        raise ValueError("validation_data and validation_fraction are both given; give one of them")
    n = len(rows)
    n_held = round(n * fraction)
    if not 0 < n_held < n:
        raise ValueError(f"validation_fraction {fraction:g} of {n} samples leaves nothing to train on or to hold out")
    rows = rng.permutation(rows) if shuffle else rows
    return np.sort(rows[: n - n_held]), np.sort(rows[n - n_held :])
