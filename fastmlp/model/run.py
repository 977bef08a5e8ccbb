"""A training run: its parts, how it goes on from a checkpoint, its loop, and the end of each epoch."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from ..base.generators import new_generator
from ..base.ram import check_memory
from ..base.text import printable
from ..engine.epochs import EpochRunner, Samples
from ..engine.lbfgs import LocalObjective, Objective, minimise
from ..engine.lm import Damping, LeastSquares, minimise_squares
from ..engine.network import evaluate_rows
from ..engine.random import permutations
from ..engine.steps import OptimizerState
from ..optimizers import LBFGS, LevenbergMarquardt
from ..schedules import ReduceOnPlateau
from .callbacks import TrainingState
from .checkpoints import CheckpointFile, RunState, fingerprint, terms
from .divergence import remedy
from .history import DivergenceError, History
from .mlp import MLP
from .options import Options, TrainingData
from .progress import begin_progress
from .scaling import standardised
from .stopping import StoppingWatch

__all__ = ["TrainingRun"]


class TrainingRun:
    """One call of `train` with checked arguments.

    A subclass for samples that are elsewhere overrides the methods from `_terms` to `_remedy`.

    Parameters
    ----------
    options : Options
        The checked options.
    data : TrainingData
        The checked samples.

    Attributes
    ----------
    model : MLP
        A new model, or the options' model, which is trained in place.
    history : History
        The values of each epoch so far.
    """

    def __init__(self, options: Options, data: TrainingData) -> None:
        o = options
        self._options, self._data = options, data
        vectors = 2 + (o.model is None) + o.optimizer.states  # the last finite parameters, a gradient, the parameters
        check_memory(o.spec.n_params * o.dtype.itemsize * vectors, "training {:,} parameters", o.spec.n_params)
        self.model = MLP(o.spec, init=o.init, seed=o.seed, dtype=o.dtype) if o.model is None else o.model
        self.history = History()
        params, rng = self.model.params, new_generator(o.seed)
        first = None if o.checkpoint is None else rng.bit_generator.state
        watch = None if o.early_stopping is None else StoppingWatch(o.early_stopping, params, self.history)
        optimizer = OptimizerState.begin(o.optimizer, params, o.l1, o.l2, o.clip_norm or 0.0, o.max_norm or 0.0)
        self._state = RunState(self.model, optimizer, self.history, watch, rng, first)
        self._file: CheckpointFile | None = None
        if o.checkpoint is not None:
            self._file = CheckpointFile(o.checkpoint, o.epochs, self._terms(), o.quantities)

    def train(self) -> None:
        """Train the model, which nobody else does meanwhile, from where the checkpoint is, if there is one."""
        with self.model._alone:
            try:
                self.restore()
                self.loop()
            finally:
                self.close()

    def restore(self) -> None:
        """Restore the checkpoint, if there is one, and draw the rows to hold out, which are those that the run drew
        when it first began. If wanted, the network is standardised by the other rows."""
        saved = None if self._file is None else self._file.read(self._state)
        if saved is not None:
            self._state.restore(saved)
            if self._file is not None and saved.kernels not in ("", self._file.kernels):
                kernels = f"{printable(saved.kernels)}; here {self._file.kernels}"
                message = f"the checkpoint was made by other kernels ({kernels}): training goes on, with other rounding"
                warnings.warn(message, UserWarning, stacklevel=4)
        self._draw_once(self._state.rng if saved is None else saved.first_rng())

    def loop(self) -> None:
        """Train until the last epoch, or until early stopping, a callback or Ctrl-C ends it; DivergenceError when the
        loss is no longer finite. In all cases the model gets the parameters that early stopping restores."""
        o, state = self._options, self._state
        self._progress = begin_progress(o.progress, o.epochs, len(self._rows), self.history.epochs)
        try:
            if isinstance(o.optimizer, LBFGS):
                minimise(o.optimizer, self.model, self._objective(), o.epochs, self.end_epoch)
            else:
                if self._file is not None:
                    self._file.begin(state)
                if isinstance(o.optimizer, LevenbergMarquardt):
                    self._take_steps(o.optimizer)
                else:
                    self._run_epochs()
        except KeyboardInterrupt:
            self.history.interrupted = True
            message = f"training interrupted in epoch {self.history.epochs + 1} of {o.epochs}"
            warnings.warn(message, RuntimeWarning, stacklevel=4)
        finally:
            if state.watch is not None:
                state.watch.restore_best()
            self._progress.close()

    def close(self) -> None:
        """Wait until the checkpoint is on the disk, and let other runs use it; also after a `restore` that failed."""
        if self._file is not None:
            self._file.close()

    def end_epoch(self, values: dict[str, float]) -> bool:
        """Record the epoch's values, run callbacks and checkpoint; True if training should stop.

        Empty values mean that the loss was not finite: DivergenceError.
        """
        o, state, epoch = self._options, self._state, self.history.epochs
        if not values:
            raise self._divergence()
        for name, value in self._validate().items():
            values[f"val_{name}"] = value
        self.history._append(values)
        self._progress.epochs_done(self.history, 1)
        state.stopped = False
        if o.callbacks:
            training_state = TrainingState(epoch, self.model, self.history)
            for callback in o.callbacks:
                callback(training_state)
            state.stopped = training_state.stopped
        if state.watch is not None:
            state.stopped = state.watch.should_stop() or state.stopped
        if self._file is not None:
            self._file.end_epoch(state)
        return state.stopped

    def _epochs_left(self) -> range:
        """The epochs that remain to be trained."""
        epochs = self._options.epochs
        return range(epochs if self._state.stopped else self.history.epochs, epochs)

    def _terms(self) -> dict[str, Any]:
        """The definition of the run that a checkpoint keeps."""
        o, data = self._options, self._data
        arrays = data.arrays() | {"the given model's parameters": None if o.model is None else o.model.params}
        fingerprints = {name: fingerprint(values) for name, values in arrays.items()}
        return terms(o.spec, o.for_checkpoint(len(data.samples.x)) | data.names.for_checkpoint(), fingerprints)

    def _draw_once(self, rng: np.random.Generator) -> None:
        """Draw the rows to hold out, standardise by the others, and give the model the names from the samples: all that
        a run does before its first epoch."""
        self.model._names = self._data.names
        self._rows, held_out = self._data.split(self._options.shuffle, rng, self._state.stratified)
        samples = self._data.samples
        if self._options.standardize:
            self.model._rescale(standardised(self._options.spec, samples, self._rows, self.model.dtype))
        self._validation = self._data.validation
        if held_out is not None:
            self._validation = Samples(samples.x, samples.y, self._data.sample_weight, samples.output_weights), held_out

    def _validate(self) -> dict[str, float]:
        """The loss and metrics of the validation samples; empty if there are none."""
        if self._validation is None:
            return {}
        o, (samples, rows) = self._options, self._validation
        data = samples.x, samples.y, samples.weights, rows
        return evaluate_rows(self.model, *data, o.metrics, o.n_threads, samples.output_weights)

    def _objective(self) -> Objective:
        """The function of the parameters that L-BFGS minimises."""
        o = self._options
        return LocalObjective(self.model, self._data.samples, self._rows, o.metrics, o.l2, o.n_threads)

    def _take_steps(self, optimizer: LevenbergMarquardt) -> None:
        """Train by Levenberg-Marquardt, until the last epoch or convergence."""
        o, state, steps, begin = self._options, self._state, len(self._epochs_left()), None
        if not steps:
            return
        if self.history.epochs:
            begin = Damping(self.history["damping"][-1], self.history.get("l2", [0.0])[-1])
        squares = LeastSquares(self.model, self._data.samples, self._rows, o.metrics, o.n_threads)
        self._progress.ready()
        if minimise_squares(optimizer, self.model, squares, o.l2, steps, self.end_epoch, begin) and not state.stopped:
            state.stopped = True
            if self._file is not None:
                self._file.end_epoch(state)

    def _run_epochs(self) -> None:
        """Train by gradient steps, one epoch after another, or several short epochs in one call."""
        o, state, samples = self._options, self._state, self._data.samples
        batch = min(o.batch(len(samples.x)), len(self._rows))
        with EpochRunner(self.model, samples, batch, o.metrics, state.optimizer, o.dropout, o.n_threads) as runner:
            self._progress.ready()
            if self._can_run_epochs_together():
                for columns in runner.run_all(
                    o.epochs, o.rates, o.rates.constant, self._orders, self._progress.samples_done
                ):
                    if not columns:
                        raise self._divergence()
                    self.history._extend(columns)
                    self._progress.epochs_done(self.history, len(columns["loss"]))
                return
            for epoch in self._epochs_left():
                order = self._orders(1)[0]
                key = int(state.rng.integers(1 << 62)) if o.dropout else 0
                rate = o.rate(epoch, self.history)
                if self.end_epoch(runner.run(order, rate, key, partial(self._progress.samples_done, epoch))):
                    break

    def _divergence(self) -> DivergenceError:
        """Make the error for the epoch after those in the history."""
        o, epoch = self._options, self.history.epochs
        lr = None if o.optimizer.by_search else o.rate(epoch, self.history)
        return DivergenceError(epoch + 1, self.model, self.history, self._remedy(lr, first=epoch == 0))

    def _remedy(self, lr: float | None, first: bool) -> str:
        """The probable cause for an epoch that diverged at that rate."""
        samples = self._data.samples
        return remedy(self.model, samples, lr, self._options.batch(len(samples.x)), first)

    def _can_run_epochs_together(self) -> bool:
        """Whether nothing looks at the run between two epochs, so that one call of a kernel may train several."""
        o = self._options
        between = o.callbacks or o.dropout or o.early_stopping or self._validation or self._file
        return not (between or isinstance(o.lr, ReduceOnPlateau))

    def _orders(self, n_epochs: int) -> np.ndarray:
        """The rows in the orders of the next epochs, (n_epochs, n_rows): successive rng.permutation, which do not
        depend on ``n_epochs``."""
        if self._options.shuffle:
            return permutations(self._state.rng, self._rows, n_epochs)
        orders = np.empty((n_epochs, len(self._rows)), np.int64)
        orders[...] = self._rows
        return orders
