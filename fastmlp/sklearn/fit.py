"""scikit-learn's way to train an MLP, epoch by epoch: its batches, penalties, schedules, stopping and messages."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import InvalidParameterError

from ..base.checks import check_choice, check_count, check_dtype, check_flag, check_number, dropout_shares
from ..engine.blocks import BLOCK
from ..engine.epochs import LITTLE, EpochRunner, Samples
from ..engine.lbfgs import LocalObjective, minimise
from ..engine.lm import LeastSquares, minimise_squares
from ..engine.shortcuts import LearnFew
from ..engine.steps import OptimizerState
from ..engine.team import LONG
from ..model.data import check_x, counted_rows
from ..model.mlp import MLP
from ..model.options import check_penalised_squares
from ..optimizers import LBFGS, OPTIMIZERS, SGD, AdamHat, LevenbergMarquardt, Optimizer
from ..schedules import ReduceOnPlateau
from .watching import FitCallbacks

__all__ = ["Fit", "FitState", "check_parameters", "is_stochastic", "scikit_learns_errors"]

_RATES = ("constant", "invscaling", "adaptive")  # scikit-learn's names of schedules
_ALPHA = 0.0001  # the estimators' default, which says nothing
_NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
)
_SMALLEST_RATE = 1e-6  # below, "adaptive" stops
_AUTO = 200  # samples of a batch of size "auto"


@contextmanager
def scikit_learns_errors() -> Iterator[None]:
    """Turn the ValueError or TypeError for a bad parameter into scikit-learn's InvalidParameterError, which is both."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise InvalidParameterError(str(error)) from None


def is_stochastic(solver: Any) -> bool:
    """Whether a solver goes through the samples batch by batch, epoch by epoch."""
    kind = OPTIMIZERS.get(solver) if isinstance(solver, str) else solver
    return not getattr(kind, "by_search", False)


def _optimizer(e: Any) -> Optimizer:
    """The optimiser that an estimator's parameters mean; scikit-learn's three solvers take its settings."""
    if isinstance(e.solver, Optimizer):
        return e.solver
    if not isinstance(e.solver, str):
        raise TypeError(f"solver must be a name or a fastmlp.optimizers.Optimizer, got {e.solver!r}")
    name = check_choice(e.solver, "solver", OPTIMIZERS)
    if name == "sgd":
        return SGD(e.momentum, bool(e.nesterovs_momentum and e.momentum))
    if name == "adam":
        return AdamHat(betas=(e.beta_1, e.beta_2), eps=e.epsilon)
    if name == "lbfgs":
        return LBFGS(gtol=e.tol, ftol=1e7 * float(np.finfo(float).eps), max_fun=e.max_fun)
    if name == "lm":
        return LevenbergMarquardt(ftol=e.tol)
    return OPTIMIZERS[name]()


def check_parameters(e: Any) -> None:
    """Raise TypeError or ValueError for parameters of an estimator with which training cannot begin."""
    if not callable(e.learning_rate):
        check_choice(e.learning_rate, "learning_rate", _RATES)
    elif isinstance(e.learning_rate, ReduceOnPlateau) and e.learning_rate.monitor is not None:
        check_choice(e.learning_rate.monitor, "monitor of learning_rate", ("loss", "val_loss"))
    for name in ("alpha", "l1", "power_t", "tol"):
        check_number(getattr(e, name), name, 0.0)
    for name in ("learning_rate_init", "epsilon"):
        check_number(getattr(e, name), name, 0.0, open_low=True)
    for name in ("momentum", "validation_fraction", "beta_1", "beta_2"):
        check_number(getattr(e, name), name, 0.0, 1.0)
    for name in ("max_iter", "max_fun", "n_threads"):
        check_count(getattr(e, name), name)
    for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping", "standardize"):
        check_flag(getattr(e, name), name)
    if e.clip_norm is not None:
        check_number(e.clip_norm, "clip_norm", 0.0, open_low=True)
    optimizer = _optimizer(e)
    if e.n_iter_no_change != math.inf:
        check_count(e.n_iter_no_change, "n_iter_no_change")
    if not isinstance(e.batch_size, str) or e.batch_size != "auto":
        check_count(e.batch_size, "batch_size")
    if e.dtype is not None:
        check_dtype(e.dtype)
    e._hidden_layers()
    e._loss()
    dropout_shares(e.dropout, len(e._hidden()))
    if isinstance(optimizer, LevenbergMarquardt) and optimizer.regularisation and e.alpha not in (0.0, _ALPHA):
        raise ValueError(
            f"alpha is {e.alpha!r}, but regularisation='bayesian' finds the penalty itself; leave alpha out"
        )
    if optimizer.by_search and callable(e.learning_rate):
        raise ValueError(f"{optimizer.name} finds the length of each step itself; a schedule is for the other solvers")
    if optimizer.by_search and (e.l1 or np.any(e.dropout) or e.clip_norm):
        raise ValueError(
            f"{optimizer.name} needs a smooth loss that stays the same; l1, dropout and clip_norm are for the other "
            "solvers"
        )


def _drawn_order(random_state: np.random.RandomState, n: int) -> np.ndarray:
    """An order of n samples, as sklearn.utils.shuffle draws it."""
    places = np.arange(n)
    random_state.shuffle(places)
    return places


def _are_finite(x: np.ndarray, y: np.ndarray, dtype: np.dtype) -> bool:
    """Whether a network of that dtype can hold all numbers of these samples and their targets."""
    try:
        for numbers in (x, y) if y.ndim == 2 else (x,):
            check_x(numbers, numbers.shape[1], dtype)
    except ValueError:
        return False
    return True


@dataclass
class FitState:
    """The state of an estimator's training, kept from one call of fit or partial_fit to the next.

    Attributes
    ----------
    optimizer : OptimizerState, optional
        None before the first step of a stochastic solver.
    learning_rate : float
        The rate of the next epoch.
    no_improvement_count : int
        The number of last epochs that were no better than those before them.
    epochs : int
        The number of epochs so far, which is the place in a schedule.
    """

    optimizer: OptimizerState | None = None
    learning_rate: float = math.nan
    no_improvement_count: int = 0
    epochs: int = 0

    def begin(self, optimizer: Optimizer, params: np.ndarray, learning_rate: float) -> OptimizerState:
        """Return the state before the first step on a network's parameters, and forget all steps made so far."""
        self.optimizer, self.learning_rate = OptimizerState.begin(optimizer, params), learning_rate
        self.epochs = 0
        return self.optimizer

    def set_learning_rate(self, learning_rate: float, keep_steps: bool) -> None:
        """Change the rate. ``keep_steps`` also scales the velocities, because scikit-learn's contain the rate and keep
        their values."""
        assert self.optimizer is not None
        if keep_steps:
            for velocity in self.optimizer.vectors:
                velocity *= self.learning_rate / learning_rate
        self.learning_rate = learning_rate

    def to_plain(self) -> dict[str, Any]:
        """Return the state as names, numbers and arrays, for pickles, skops and `from_plain`."""
        plain = {name: getattr(self, name) for name in ("learning_rate", "no_improvement_count", "epochs")}
        if self.optimizer is not None:
            state = self.optimizer
            settings = dict(vars(state.optimizer))
            plain |= {"optimizer": state.optimizer.name, "settings": settings, "steps": state.count}
            plain["vectors"] = [vector.copy() for vector in state.vectors]
        return plain

    @classmethod
    def from_plain(cls, plain: dict[str, Any], params: np.ndarray) -> FitState:
        """Restore the state of an optimiser of these parameters."""
        state = cls(None, plain["learning_rate"], plain["no_improvement_count"], plain["epochs"])
        if "optimizer" in plain:
            optimizer = OPTIMIZERS[plain["optimizer"]](**plain["settings"])
            state.optimizer = OptimizerState.begin(optimizer, params)
            state.optimizer.set_count(plain["steps"])
            for vector, values in zip(state.optimizer.vectors, plain["vectors"], strict=True):
                vector[...] = values
        return state


class Fit:
    """One call of fit or partial_fit: trains ``estimator.network_`` and writes scikit-learn's public attributes.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        The settings are its parameters. Written are ``loss_``, ``n_iter_``, ``t_``, ``loss_curve_``, ``best_loss_`` and
        so on.
    fit_state : FitState
        The estimator's state.
    samples : Samples
    sample_weight : ndarray, (n_samples,), or None
        Weights of held-out rows in the validation score; they do not contain class weights.
    validation : Samples or None
        Validation samples that the caller gives. Without them, early stopping holds out some of the others.
    shares : list of float
        The share of units that dropout leaves out in each hidden layer; empty without dropout.
    random_state : numpy.random.RandomState
    incremental : bool
        Whether this is partial_fit.
    is_new : bool
        Whether the network has just been drawn.
    callbacks : FitCallbacks, optional
        None in partial_fit.
    """

    def __init__(
        self,
        estimator: Any,
        fit_state: FitState,
        samples: Samples,
        sample_weight: np.ndarray | None,
        validation: Samples | None,
        shares: list[float],
        random_state: np.random.RandomState,
        incremental: bool,
        is_new: bool,
        callbacks: FitCallbacks | None,
    ) -> None:
        self._e, self._fit_state, self._samples, self._shares = estimator, fit_state, samples, shares
        self._sample_weight = sample_weight
        self._network: MLP = estimator.network_
        self._random_state, self._incremental, self._is_new = random_state, incremental, is_new
        self._callbacks = callbacks
        self._rows = counted_rows(samples)
        self._validation = validation
        self._held_out = self._rows[:0] if validation is None else counted_rows(validation)
        # scikit-learn reports the mean over the outputs of the squared error, but minimises the sum.
        spec = self._network.spec
        self._loss_scale = 1 / spec.n_out if spec.loss.name == "mse" else 1.0
        self._steps: dict[int, LearnFew] = {}  # by the largest number of samples that they are for
        self._known: dict[int, LearnFew] = {}  # by numbers of samples that are a short batch
        self._orders: dict[int, np.ndarray] = {}  # by the number of samples, where a seed draws them

    @property
    def is_plain(self) -> bool:
        """Whether `learn_few` may go on from this call of partial_fit: whether it was about a few samples, which are
        batches like any other."""
        state = self._fit_state.optimizer
        return (
            self._incremental and self._is_short_batch(len(self._samples.x)) and self._samples.weights is None
            and not self._shares and state is not None and not state.optimizer.lazy
        )  # fmt: skip

    def _is_short_batch(self, n: int) -> bool:
        """Whether n samples are exactly one batch, with too little work for Ctrl-C and for other threads."""
        e = self._e
        if n > _AUTO or e.batch_size not in ("auto", n):
            return False
        return n == 1 or n * self._network.params.size <= (LONG if e.n_threads == 1 else LITTLE)

    def learn_few(self, x: np.ndarray, y: np.ndarray) -> bool:
        """Train on a few more samples, x (n, n_in) with y in the form of `plain_targets`.

        Returns False, with nothing done, if they are not one batch or not finite, or are one without a finite loss.
        """
        e, state, n = self._e, self._fit_state.optimizer, len(x)
        assert state is not None
        step = self._known.get(n) or self._step_for(n, y.ndim == 1, state)
        if step is None or (n > 1 and not _are_finite(x, y, self._network.dtype)):
            return False
        state.set_penalties(e.l1 / n, e.alpha / n)
        self._begin_epoch()
        order = self._order_of_few(n) if n > 1 and e.shuffle else None
        penalty = self._penalty() if e.alpha > 0 or e.l1 > 0 else 0.0
        sums = step(x, y, self._fit_state.learning_rate, order)
        if sums is None and n == 1:
            return False
        e.n_iter_ = 0
        if sums is None:
            loss = self._epoch_of_few(x, y, order, state)
        else:
            loss = (n * (sums[0] / n) * self._loss_scale + penalty * n / n) / n if sums else math.nan  # as in `_epoch`
        if math.isnan(loss):
            raise self._non_finite()
        self._record(loss, n, self._network.params)
        self._should_stop()
        return True

    def _step_for(self, n: int, y_classes: bool, state: OptimizerState) -> LearnFew | None:
        """The kernel that makes a step with n samples; None if these are no short batch."""
        if not self._is_short_batch(n):
            return None
        engine, limit = self._network._engine, 1 if n == 1 else BLOCK if n <= BLOCK else _AUTO
        if limit not in self._steps:
            most, at_once = engine.room(n)
            self._steps[limit] = LearnFew(engine.binding, min(most, limit), min(at_once, limit), y_classes, state)
        self._known[n] = step = self._steps[limit]
        return step

    def _order_of_few(self, n: int) -> np.ndarray:
        """The order in which the long way would take n samples."""
        order = self._orders.get(n)
        if order is None:
            order = _drawn_order(check_random_state(self._e.random_state), n)
            if isinstance(self._e.random_state, Integral):
                self._orders[n] = order
        return order

    def _epoch_of_few(self, x: np.ndarray, y: np.ndarray, order: np.ndarray | None, state: OptimizerState) -> float:
        """`_epoch` for samples with which the kernel for a few made no step, since their order is already drawn."""
        n = len(x)
        order = np.arange(n) if order is None else order
        with EpochRunner(self._network, Samples(x, y), n, {}, state, [], self._e.n_threads) as epochs:
            return self._epoch(epochs, state, order, n, 0)

    def _non_finite(self) -> ValueError:
        """Make scikit-learn's error for weights that are not finite, with what users' functions raised."""
        raised = self._network._engine.binding.complaints()
        return ValueError(" ".join([_NON_FINITE, *(f"But {text}." for text in raised)]))

    def run(self) -> None:
        """Train."""
        e = self._e
        if is_stochastic(e.solver) and e.early_stopping and self._validation is None:
            self._hold_out()
        if e.standardize and self._is_new:
            e._standardise(self._samples, self._rows)
        if self._callbacks is not None:
            self._callbacks.begin()
        if is_stochastic(e.solver):
            self._stochastic()
        else:
            self._by_search()
        if self._callbacks is not None:
            self._callbacks.end()

    def _by_search(self) -> None:
        """Train on all samples at once, and write the number of iterations and the final loss to the estimator."""
        e, weight = self._e, self._samples.weight(self._rows)
        settings = _optimizer(e)
        e.n_iter_, stopped = 0, False

        def after(values: dict[str, float]) -> bool:
            nonlocal stopped
            e.n_iter_ += 1
            if e.verbose and values:
                print(f"Iteration {e.n_iter_}, loss = {values['loss']:.8f}")
            stopped = self._callbacks is not None and self._callbacks.end_epoch()
            if self._callbacks is not None and not stopped and e.n_iter_ < e.max_iter:
                self._callbacks.begin_epoch()
            return stopped or not values

        if self._callbacks is not None:
            self._callbacks.begin_epoch()
        if isinstance(settings, LevenbergMarquardt):
            self._least_squares(settings, after)
            return
        assert isinstance(settings, LBFGS)
        objective = LocalObjective(self._network, self._samples, self._rows, {}, e.alpha / weight, e.n_threads)
        result = minimise(settings, self._network, objective, e.max_iter, after)
        if not (math.isfinite(result.fun) and np.isfinite(self._network.params).all()):
            raise self._non_finite()
        e.n_iter_ = min(result.nit, e.max_iter)
        penalty = self._penalty() / weight
        e.loss_ = (float(result.fun) - penalty) * self._loss_scale + penalty
        if result.status != 0 and not stopped:
            warnings.warn(
                f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}): {result.message}. "
                f"It may help to increase the number of iterations (max_iter={e.max_iter}) or to scale the data.",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _least_squares(self, settings: LevenbergMarquardt, after: Callable[[dict[str, float]], bool]) -> None:
        """Do `_by_search` for Levenberg-Marquardt, and call ``after`` with each step's values."""
        e, weight, losses, stopped = self._e, self._samples.weight(self._rows), [math.nan], False

        def note(values: dict[str, float]) -> bool:
            nonlocal stopped
            losses.append(values.get("loss", math.nan))
            stopped = after(values)
            return stopped

        bayesian = settings.regularisation is not None
        l2 = 0.0 if bayesian else e.alpha / weight
        check_penalised_squares(settings, self._network.spec, l2)
        squares = LeastSquares(self._network, self._samples, self._rows, {}, e.n_threads)
        reason = minimise_squares(settings, self._network, squares, l2, e.max_iter, note)
        if not math.isfinite(losses[-1]):
            raise self._non_finite()
        e.loss_ = losses[-1] * self._loss_scale + (0.0 if bayesian else self._penalty() / weight)
        if not (reason or stopped):
            warnings.warn(
                f"lm failed to converge after {e.n_iter_} iteration(s). It may help to increase the number of "
                f"iterations (max_iter={e.max_iter}) or to scale the data.",
                ConvergenceWarning,
                stacklevel=7,
            )

    def _stochastic(self) -> None:
        """Train epoch by epoch until the end; with early stopping the network gets its best parameters back."""
        e = self._e
        batch = self._batch_size()
        best = self._network.params.copy()
        state = self._fit_state.optimizer
        if state is None or not self._incremental:
            state = self._fit_state.begin(_optimizer(e), self._network.params, float(e.learning_rate_init))
        state.set_penalties(e.l1 / batch, e.alpha / batch)
        state.set_clip_norm(e.clip_norm or 0.0)
        e.n_iter_ = 0
        order = self._rows
        try:
            with EpochRunner(self._network, self._samples, batch, {}, state, self._shares, e.n_threads) as epochs:
                while e.n_iter_ < e.max_iter:
                    self._begin_epoch()
                    if self._callbacks is not None:
                        self._callbacks.begin_epoch()
                    if e.shuffle:
                        order = order[_drawn_order(self._random_state, len(order))]
                    key = int(self._random_state.randint(1 << 62, dtype=np.int64)) if self._shares else 0
                    loss = self._epoch(epochs, state, order, batch, key)
                    if math.isnan(loss) and not e.early_stopping:
                        raise self._non_finite()
                    self._record(loss, len(order), best)
                    if math.isnan(loss):
                        warnings.warn(f"{_NON_FINITE} The best ones are kept.", ConvergenceWarning, stacklevel=6)
                        break
                    stopped = self._callbacks is not None and self._callbacks.end_epoch()
                    if self._should_stop() or stopped or self._incremental:
                        break
                    if e.n_iter_ == e.max_iter:
                        warnings.warn(
                            f"Stochastic Optimizer: Maximum iterations ({e.max_iter}) reached and the optimization "
                            "hasn't converged yet.",
                            ConvergenceWarning,
                            stacklevel=6,
                        )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", stacklevel=6)
        finally:
            if e.early_stopping:
                self._network.params[...] = best

    def _hold_out(self) -> None:
        """Move rows for validation from ``_rows`` to ``_held_out``, as scikit-learn draws them."""
        e, targets = self._e, self._samples.y
        rows = np.arange(len(self._samples.x))
        parts = train_test_split(
            rows, random_state=self._random_state, test_size=e.validation_fraction, stratify=e._strata(targets)
        )
        self._rows, self._held_out = (part[np.isin(part, self._rows)] for part in parts)  # of weight above 0
        if len(self._held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        self._validation = Samples(self._samples.x, targets, self._sample_weight)

    def _batch_size(self) -> int:
        """Return the number of samples in a batch, at most all, as in scikit-learn."""
        size, n = self._e.batch_size, len(self._rows)
        if size == "auto":
            return min(_AUTO, n)
        if size > n:
            warnings.warn(
                "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped", stacklevel=7
            )
        return min(int(size), n)

    def _begin_epoch(self) -> None:
        """Ask the schedule, where there is one, for the epoch's learning rate."""
        e, done = self._e, self._fit_state.epochs
        if not callable(e.learning_rate):
            return
        if isinstance(e.learning_rate, ReduceOnPlateau) and done:
            curves = {"loss": e.loss_curve_, "val_loss": e.validation_loss_curve_}
            rate = e.learning_rate.after({name: curve[-done:] for name, curve in curves.items() if curve})
        else:
            rate = check_number(e.learning_rate(done), f"learning_rate({done})", 0.0, open_low=True)
        self._set_rate(rate)

    def _set_rate(self, rate: float) -> None:
        state = self._fit_state.optimizer
        is_sgd = self._e.solver == "sgd" and state is not None and isinstance(state.optimizer, SGD)
        self._fit_state.set_learning_rate(rate, keep_steps=is_sgd)

    def _epoch(self, epochs: EpochRunner, state: OptimizerState, order: np.ndarray, batch: int, key: int) -> float:
        """Train on the samples in their order, and return their mean loss with penalties, or NaN.

        The penalty of a batch is divided by the weight of its samples. So a smaller last batch is run on its own, and
        where samples have weights every batch is.
        """
        e, n = self._e, len(order)
        penalised = e.alpha > 0 or e.l1 > 0
        weighted = self._samples.weights is not None and batch > 1
        at_once = batch if weighted else n // batch * batch
        total, after = 0.0, self._penalty() if penalised else 0.0
        for start in range(0, n, at_once):
            rows = order[start : start + at_once]
            size = min(batch, len(rows))
            weight = self._samples.weight(rows) if weighted else size
            state.set_penalties(e.l1 / weight, e.alpha / weight)
            values = epochs.run(rows, self._fit_state.learning_rate, key)
            if not values:
                return math.nan
            total += len(rows) * values["loss"] * self._loss_scale
            if penalised:  # each batch saw the penalty of before its step; between the first and the last, a line
                before, after = after, self._penalty()
                batches = len(rows) // size
                line = (batches - 1) / 2 * (after - before) if batches > 1 else 0.0  # after may be infinite
                total += (batches * before + line) * size / weight
        return total / n

    def _penalty(self) -> float:
        """The penalty on all weights, ½ alpha Σw² + l1 Σ|w|."""
        weights, e = [w.ravel("K") for w in self._network.weights], self._e  # views, in the order of their memory
        value = 0.5 * e.alpha * sum(float(w @ w) for w in weights)
        return value + e.l1 * sum(float(np.abs(w).sum()) for w in weights) if e.l1 else value

    def _record(self, loss: float, n: int, best: np.ndarray) -> None:
        """Write the loss and validation score of an epoch of n samples to the estimator, and count epochs without
        improvement.

        The parameters with the best validation score are copied to ``best``.
        """
        e = self._e
        e.n_iter_ += 1
        self._fit_state.epochs += 1
        e.t_ += n
        e.loss_ = loss
        e.loss_curve_.append(loss)
        if e.verbose:
            print(f"Iteration {e.n_iter_}, loss = {loss:.8f}")
        score = self._validate(math.isnan(loss))
        if not e.early_stopping:
            worse = loss > e.best_loss_ - e.tol
            e.best_loss_ = min(e.best_loss_, loss)
        else:
            e.validation_scores_.append(score)
            if e.verbose:
                print(f"Validation score: {score:f}")
            worse = score < e.best_validation_score_ + e.tol
            if score > e.best_validation_score_:
                e.best_validation_score_ = score
                best[...] = self._network.params
        self._fit_state.no_improvement_count = self._fit_state.no_improvement_count + 1 if worse else 0
        if e.solver != "adam" and e.learning_rate == "invscaling":
            self._set_rate(e.learning_rate_init / (e.t_ + 1) ** e.power_t)

    def _validate(self, diverged: bool) -> float:
        """Write the loss of the validation samples, if there are any, to the estimator, and return their score.

        The score is NaN without early stopping.
        """
        e, network, samples, rows = self._e, self._network, self._validation, self._held_out
        if samples is None:
            return math.nan
        if diverged:
            e.validation_loss_curve_.append(math.nan)
            return math.nan
        outputs = np.empty((len(rows), network.spec.n_out), network.dtype)
        totals = network._engine.forward(samples.view(network._engine.binding), rows, outputs, True, e.n_threads)
        e.validation_loss_curve_.append(float(totals[0]) / samples.weight(rows) * self._loss_scale)
        if not e.early_stopping:
            return math.nan
        weights = None if samples.weights is None else samples.weights[rows]
        return float(e._score(samples.y[rows], outputs, weights))

    def _should_stop(self) -> bool:
        """Whether there was no improvement for ``n_iter_no_change`` epochs, and the rate is not lowered instead."""
        e = self._e
        if self._fit_state.no_improvement_count <= e.n_iter_no_change:
            return False
        what = "Validation score" if e.early_stopping else "Training loss"
        message = f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
        rate = self._fit_state.learning_rate
        if e.solver != "adam" and e.learning_rate == "adaptive":
            if rate > _SMALLEST_RATE:
                self._set_rate(rate / 5)
                self._fit_state.no_improvement_count = 0
                if e.verbose:
                    print(f"{message} Setting learning rate to {rate / 5:f}")
                return False
            message += " Learning rate too small."
        if e.verbose:
            print(f"{message} Stopping.")
        return True
