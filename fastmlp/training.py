"""train(): epochs over shuffled samples, validation, history, progress, and what happens when it goes wrong."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from . import blocks
from .blocks import BLOCK, part_of_batch
from .engine import Call, Feed, Pace, Steps, Team
from .init import Uniform
from .kernels import layout
from .losses import Loss, get_loss
from .metrics import Metric, named_metrics
from .model import MLP
from .optimizers import Optimizer, get_optimizer
from .progress import Progress, check_progress
from .spec import Spec
from .validation import check_count, check_dtype, check_flag, check_number, check_seed, check_x, check_y

__all__ = ["DivergenceError", "History", "sgd_pass", "train"]

_LARGE = 64 * BLOCK  # samples a batch, from which on a kernel call may be for a part of it


class DivergenceError(ArithmeticError):
    """Training met a non-finite loss. The model has the weights of the last finite epoch.

    Attributes
    ----------
    epoch : int
        The epoch in which it happened, counted from 1.
    model : MLP
    history : History
        Up to the last finite epoch.
    """

    def __init__(self, epoch: int, model: MLP, history: History) -> None:
        super().__init__(
            f"the loss became infinite or NaN in epoch {epoch}; the model has the weights it had before that epoch. "
            "Try a smaller lr, or scale the inputs"
        )
        self.epoch, self.model, self.history = epoch, model, history

    def __reduce__(self) -> Any:
        return DivergenceError, (self.epoch, self.model, self.history)


class History(dict[str, list[float]]):
    """One list a quantity, one number an epoch: "loss", "accuracy" for classes and labels, "val_loss", ….

    Training values are means over the epoch's samples, each as it was seen. ``interrupted`` is True after Ctrl-C.
    """

    interrupted: bool = False

    def _append(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.setdefault(name, []).append(value)


def train(
    x: Any,
    y: Any,
    spec: Sequence[Mapping[str, Any]] | Spec | MLP,
    *,
    lr: float | Callable[[int], float] = 0.01,
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
    l1: float = 0.0,
    l2: float = 0.0,
    clip_norm: float | None = None,
    max_norm: float | None = None,
    progress: bool | None = None,
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
    lr : float or function of the epoch (counted from 0)
        Learning rate.
    epochs : int
    batch_size : int or "full"
        1 is per-sample SGD, each sample seeing the weights the one before it left. A larger batch takes one step along
        the gradient of its mean loss.
    optimizer : str or fastmlp.optimizers.Optimizer
        "sgd", "adam", "adamw", "rmsprop", "adagrad", or an object with other settings.
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
    clip_norm : float, optional
        A batch's gradient (before penalties) that is longer than this, over all parameters, is shortened to it.
    max_norm : float, optional
        After each step every unit's incoming weights that are longer than this are shortened to it.
    progress : bool, optional
        None shows a live line when standard error is a terminal; True also prints a line an epoch elsewhere; False
        shows nothing.
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
        For bad input, before anything is changed.
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
    optimizer = get_optimizer(optimizer)
    l1, l2 = check_number(l1, "l1", 0.0), check_number(l2, "l2", 0.0)
    clip_norm = None if clip_norm is None else check_number(clip_norm, "clip_norm", 0.0, open_low=True)
    max_norm = None if max_norm is None else check_number(max_norm, "max_norm", 0.0, open_low=True)
    n_threads = check_count(n_threads, "n_threads")
    model = _network(spec, loss, init, dtype, seed)
    named = named_metrics(metrics, model.spec)
    x = check_x(x, model.spec.n_in, model.dtype)
    y = check_y(y, model.spec, len(x), model.dtype)
    batch = len(x) if isinstance(batch_size, str) and batch_size == "full" else _check_batch(batch_size)
    rng = np.random.default_rng(seed)
    rows, held_out = _split(len(x), validation_fraction, validation_data, shuffle, rng)
    watched: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    if held_out is not None:
        watched = x, y, held_out
    elif validation_data is not None:
        watched = _check_validation_data(validation_data, model)
    steps = Steps.begin(optimizer, model.params, l1, l2, clip_norm or 0.0, max_norm or 0.0)
    run = _Run(model, x, y, min(batch, len(rows)), named, steps, n_threads)
    history = History()
    bar = Progress(progress, epochs, len(rows))
    epoch = 0
    try:
        for epoch, rate in enumerate(rates):
            order = rng.permutation(rows) if shuffle else rows
            values = run.epoch(order, rate, partial(bar.samples_done, epoch))
            if not values:
                raise DivergenceError(epoch + 1, model, history)
            if watched is not None:
                report = model._evaluate_rows(*watched, named, n_threads)
                values.update((f"val_{name}", value) for name, value in report.items())
            history._append(values)
            bar.epoch_done(epoch, values)
    except KeyboardInterrupt:
        history.interrupted = True
        warnings.warn(f"training interrupted in epoch {epoch + 1} of {epochs}", RuntimeWarning, stacklevel=2)
    finally:
        run.team.close()
        bar.close()
    return model, history


def sgd_pass(
    model: MLP, x: np.ndarray, y: np.ndarray, lr: float, order: np.ndarray, outputs: np.ndarray | None = None
) -> float:
    """One pass of per-sample SGD over checked x and y; ``outputs`` takes each sample's output as it was seen.

    Returns the mean loss, as each sample was seen.
    """
    feed = model._engine.feed(x, y)
    call = Call(order, _samples_together(model), outputs, number=lr)
    for start, count in Pace().slices(len(order), call.block):
        model._engine.run("samples", feed, call, start, count)
    return float(call.totals[0]) / len(order)


def _samples_together(model: MLP) -> int:
    return blocks.sample_block(model.spec.widths[1], model.dtype.itemsize)


class _Run:
    """One call of train(): what stays the same from epoch to epoch."""

    def __init__(
        self,
        model: MLP,
        x: np.ndarray,
        y: np.ndarray,
        batch: int,
        metrics: Mapping[str, Metric],
        steps: Steps,
        n_threads: int,
    ) -> None:
        self.model, self.y, self.batch, self.metrics, self.steps = model, y, batch, metrics, steps
        self.pace = Pace()
        self.feed: Feed = model._engine.feed(x, y)
        self.finite = model.params.copy()
        self.team = Team(model._engine, steps.vectors, min(n_threads, -(-batch // part_of_batch(batch))))

    def epoch(self, order: np.ndarray, lr: float, report: Callable[[int, float], None]) -> dict[str, float]:
        """Train over ``order`` once; the epoch's values, or nothing (and the weights of before) when it diverged."""
        model, steps = self.model, self.steps
        self.finite[...] = model.params
        outputs = np.empty((len(order), model.spec.n_out), model.dtype) if self.metrics else None
        entries = {layout.OPTIONS: steps.options.ctypes.data}
        kernel, block = "batches", BLOCK
        by_sample = self.batch == 1 and steps.linear
        if by_sample:
            block = _samples_together(model)
            kernel = "samples" if steps.plain else "samples_with_memory"
        if (not by_sample and not (steps.plain and self.batch <= BLOCK)) or kernel == "samples_with_memory":
            entries[layout.STEP] = model._engine.step(steps.optimizer)
        if kernel == "samples_with_memory":
            numbers = blocks.coefficients(steps.optimizer, lr, steps.options[layout.L2], block)
            entries[layout.COEFFICIENTS] = numbers.ctypes.data
        entries[layout.BATCH], entries[layout.PART] = self.batch, part_of_batch(self.batch)
        call = Call(order, block, outputs, entries=entries, number=lr)
        at_once = part_of_batch(self.batch) * self.team.n_threads
        for start, count, mode in _parts(self.pace, len(order), block if by_sample else self.batch, at_once):
            call.mode(mode)
            self.team.run(kernel, self.feed, call, start, count)
            report(start + count, call.totals[0] / (start + count))
            if not math.isfinite(call.totals[0]):
                break
        totals = call.totals
        if not (math.isfinite(totals[0]) and np.isfinite(model.params).all()):
            model.params[...] = self.finite
            return {}
        return model._report(totals, self.y, order, outputs, self.metrics)


def _parts(pace: Pace, n: int, batch: int, at_once: int) -> Iterator[tuple[int, int, int]]:
    """(start, count, mode) of the kernel calls over n samples: whole batches, or of a large one multiples of
    ``at_once``."""
    if batch <= _LARGE:
        for start, count in pace.slices(n, batch):
            yield start, count, layout.BEGINS | layout.ENDS
        return
    for first in range(0, n, batch):
        size = min(batch, n - first)
        for start, count in pace.slices(size, at_once):
            mode = (layout.BEGINS if start == 0 else 0) | (layout.ENDS if start + count == size else 0)
            yield first + start, count, mode


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


def _learning_rates(lr: Any, epochs: int) -> list[float]:
    if not callable(lr):
        return [check_number(lr, "lr", 0.0, open_low=True)] * epochs
    return [check_number(lr(epoch), f"lr({epoch})", 0.0, open_low=True) for epoch in range(epochs)]


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
    n: int, fraction: Any, data: Any, shuffle: bool, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows to train on and rows held out."""
    fraction = check_number(fraction, "validation_fraction", 0.0, 1.0)
    if fraction == 0:
        return np.arange(n), None
    if data is not None:
        raise ValueError("validation_data and validation_fraction are both given; give one of them")
    n_held = round(n * fraction)
    if not 0 < n_held < n:
        raise ValueError(f"validation_fraction {fraction:g} of {n} samples leaves nothing to train on or to hold out")
    rows = rng.permutation(n) if shuffle else np.arange(n)
    return np.sort(rows[: n - n_held]), np.sort(rows[n - n_held :])
