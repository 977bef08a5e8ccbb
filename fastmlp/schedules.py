"""Learning rates that change from epoch to epoch: give one as ``lr`` to `fastmlp.train`.

A schedule is called with the epoch, counted from 0, and returns its rate, as any function of the epoch may.
`ReduceOnPlateau` alone looks at the history too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .base.checks import check_count, check_number
from .metrics import improvements

__all__ = [
    "Constant",
    "Cosine",
    "Exponential",
    "InverseScaling",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
]


class Schedule:
    """The base of all schedules: settings, and a rate for every epoch."""

    def __call__(self, epoch: int) -> float:
        """Return an epoch's learning rate.

        Parameters
        ----------
        epoch : int
            The number of the epoch, counted from 0.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Schedule):
    """One rate for all epochs.

    Parameters
    ----------
    lr : float
        The rate.

    Examples
    --------
    >>> from fastmlp import schedules
    >>> schedules.Constant(0.1)(7)
    0.1
    """

    lr: float

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", 0.0, open_low=True)

    def __call__(self, epoch: int) -> float:
        return self.lr


@dataclass(frozen=True)
class Step(Schedule):
    """The rate lr · factor^⌊epoch / every⌋: it falls by a factor every few epochs.

    Parameters
    ----------
    lr : float
        The rate of the first epochs.
    every : int
        The number of epochs between two falls.
    factor : float, above 0
        What a fall multiplies the rate by.

    Examples
    --------
    >>> from fastmlp import schedules
    >>> [schedules.Step(0.1, every=2, factor=0.5)(epoch) for epoch in range(5)]
    [0.1, 0.1, 0.05, 0.05, 0.025]
    """

    lr: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", 0.0, open_low=True)
        check_count(self.every, "every")
        check_number(self.factor, "factor", 0.0, open_low=True)

    def __call__(self, epoch: int) -> float:
        return self.lr * self.factor ** (epoch // self.every)


@dataclass(frozen=True)
class Exponential(Schedule):
    """The rate lr · factor^epoch.

    Parameters
    ----------
    lr : float
        The rate of the first epoch.
    factor : float, above 0
        What every epoch multiplies the rate by.

    Examples
    --------
    >>> from fastmlp import schedules
    >>> schedules.Exponential(1.0, factor=0.5)(3)
    0.125
    """

    lr: float
    factor: float = 0.95

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", 0.0, open_low=True)
        check_number(self.factor, "factor", 0.0, open_low=True)

    def __call__(self, epoch: int) -> float:
        return self.lr * self.factor**epoch


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """The rate lr / (epoch + 1)^power, as scikit-learn's ``learning_rate="invscaling"`` but counted in epochs.

    Parameters
    ----------
    lr : float
        The rate of the first epoch.
    power : float
        0 keeps the rate, 1 makes it fall as 1 / (epoch + 1).

    Examples
    --------
    >>> from fastmlp import schedules
    >>> schedules.InverseScaling(0.1)(3)
    0.05
    """

    lr: float
    power: float = 0.5

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", 0.0, open_low=True)
        check_number(self.power, "power", 0.0)

    def __call__(self, epoch: int) -> float:
        return self.lr / (epoch + 1) ** self.power


@dataclass(frozen=True)
class Cosine(Schedule):
    """A rate that rises in a straight line for ``warmup`` epochs, then falls along half a cosine to ``low`` at the last
    epoch (Loshchilov and Hutter, *SGDR*, 2017, without restarts).

    Parameters
    ----------
    lr : float
        The highest rate.
    epochs : int
        The length of the training; later epochs have ``low``.
    warmup : int
        The number of rising epochs. The rate of epoch k < warmup is lr · (k + 1) / (warmup + 1).
    low : float, optional
        The rate of the last epoch; lr / 100 when left out.

    Examples
    --------
    >>> from fastmlp import schedules
    >>> cosine = schedules.Cosine(1.0, epochs=6, warmup=1, low=0.1)
    >>> [round(cosine(epoch), 3) for epoch in range(7)]
    [0.5, 1.0, 0.868, 0.55, 0.232, 0.1, 0.1]
    """

    lr: float
    epochs: int
    warmup: int = 0
    low: float | None = None

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", 0.0, open_low=True)
        check_count(self.epochs, "epochs")
        check_count(self.warmup, "warmup", 0)
        if self.warmup >= self.epochs:
            raise ValueError(f"warmup is {self.warmup}, which leaves nothing of {self.epochs} epochs")
        if self.low is not None and check_number(self.low, "low", 0.0, open_low=True) > self.lr:
            raise ValueError(f"low must be at most lr, got {self.low!r} and {self.lr!r}")

    def __call__(self, epoch: int) -> float:
        if epoch < self.warmup:
            return self.lr * (epoch + 1) / (self.warmup + 1)
        low = self.lr / 100 if self.low is None else self.low
        done = min(1.0, (epoch - self.warmup) / max(1, self.epochs - 1 - self.warmup))
        return low + (self.lr - low) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class OneCycle(Schedule):
    """A rate that rises from lr / start along half a cosine to lr, then falls to lr / start / end (Smith and Topin,
    *Super-Convergence*, 2018; with the defaults of PyTorch's OneCycleLR, but in epochs).

    Parameters
    ----------
    lr : float
        The highest rate.
    epochs : int
        The length of the training; later epochs have the lowest rate.
    rise : float, in (0, 1)
        The share of the epochs in which the rate rises.
    start : float, at least 1
        The first epoch's rate is lr / start.
    end : float, at least 1
        The last epoch's rate is lr / start / end.

    Examples
    --------
    >>> from fastmlp import schedules
    >>> cycle = schedules.OneCycle(1.0, epochs=11)
    >>> [round(cycle(epoch), 3) for epoch in (0, 2, 5, 10)]
    [0.04, 0.96, 0.726, 0.0]
    """

    lr: float
    epochs: int
    rise: float = 0.3
    start: float = 25.0
    end: float = 1e4

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", 0.0, open_low=True)
        check_count(self.epochs, "epochs", 2)
        check_number(self.rise, "rise", 0.0, 1.0, open_low=True)
        check_number(self.start, "start", 1.0)
        check_number(self.end, "end", 1.0)

    def __call__(self, epoch: int) -> float:
        top = self.rise * self.epochs - 1
        low = self.lr / self.start
        if epoch <= top:
            return _half_cosine(low, self.lr, epoch / top if top > 0 else 1.0)
        return _half_cosine(self.lr, low / self.end, min(1.0, (epoch - top) / (self.epochs - 1 - top)))


def _half_cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """A rate that begins at lr, and is multiplied by ``factor`` whenever ``monitor`` has not got better for more than
    ``patience`` epochs.

    Better means lower for losses and for your own functions; for a named metric the table of `fastmlp.metrics` says
    whether it means lower or higher.

    Parameters
    ----------
    lr : float
        The rate of the first epochs.
    monitor : str, optional
        A name in the history; when left out, "val_loss" where there is one, else "loss".
    factor : float, in (0, 1)
        What the rate is multiplied by.
    patience : int
        How many epochs without getting better are waited for.
    min_delta : float
        How much better an epoch must be than the best one, to count.
    low : float
        The smallest rate.

    Examples
    --------
    >>> from fastmlp import schedules
    >>> plateau = schedules.ReduceOnPlateau(0.1, factor=0.5, patience=1)
    >>> plateau.after({"loss": [1.0, 0.5, 0.5, 0.5, 0.4]})
    0.05
    """

    lr: float
    monitor: str | None = None
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    low: float = 0.0

    def __post_init__(self) -> None:
        check_number(self.lr, "lr", 0.0, open_low=True)
        check_number(self.factor, "factor", 0.0, 1.0, open_low=True)
        check_count(self.patience, "patience", 0)
        check_number(self.min_delta, "min_delta", 0.0)
        check_number(self.low, "low", 0.0)

    def __call__(self, epoch: int) -> float:
        return self.lr

    def after(self, history: Mapping[str, Sequence[float]]) -> float:
        """Return the rate of the epoch that follows a history.

        Parameters
        ----------
        history : History or dict of list of float
            What was measured in each epoch so far.
        """
        rate, waited = self.lr, 0
        for better in improvements(history, self.monitor, self.min_delta):
            waited = 0 if better else waited + 1
            if waited > self.patience:
                rate, waited = max(self.low, rate * self.factor), 0
        return rate
