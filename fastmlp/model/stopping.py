"""Early stopping: the rule, and its use in one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.checks import check_count, check_flag, check_number
from ..metrics import improvements
from .history import History

__all__ = ["EarlyStopping", "StoppingWatch", "get_early_stopping"]


@dataclass(frozen=True)
class EarlyStopping:
    """End training when ``monitor`` has not got better for ``patience`` epochs.

    Parameters
    ----------
    monitor : str, optional
        A name in the history; when left out, "val_loss" if there is one, else "loss". Lower is better for losses and
        your own functions; for named metrics the table of `fastmlp.metrics` says which. NaN is never better.
    patience : int
        The number of epochs to wait for a better value.
    min_delta : float
        A value counts as better if it is better by more than this.
    restore_best : bool
        Whether the model gets the parameters of its best epoch back when training ends, for whatever reason.

    Examples
    --------
    >>> import fastmlp
    >>> fastmlp.EarlyStopping(patience=3)
    EarlyStopping(monitor=None, patience=3, min_delta=0.0, restore_best=True)
    """

    monitor: str | None = None
    patience: int = 10
    min_delta: float = 0.0
    restore_best: bool = True

    def __post_init__(self) -> None:
        check_count(self.patience, "patience")
        check_number(self.min_delta, "min_delta", 0.0)
        check_flag(self.restore_best, "restore_best")
        if self.monitor is not None and not isinstance(self.monitor, str):
            raise TypeError(f"monitor must be a name of the history, got {self.monitor!r}")


def get_early_stopping(value: Any) -> EarlyStopping | None:
    """The rule of an ``early_stopping`` argument: None or False, True, a patience, or an `EarlyStopping`."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return EarlyStopping() if value else None
    return value if isinstance(value, EarlyStopping) else EarlyStopping(patience=check_count(value, "early_stopping"))


class StoppingWatch:
    """An `EarlyStopping` that watches one run.

    Parameters
    ----------
    rule : EarlyStopping
        When to stop.
    params : ndarray, (n_params,)
        The parameters of the model that is trained.
    history : History
        The run's history.

    Attributes
    ----------
    best : ndarray, (n_params,)
        A copy of the best epoch's parameters; before the first epoch, of the initial parameters.
    """

    def __init__(self, rule: EarlyStopping, params: np.ndarray, history: History) -> None:
        self._rule, self._params, self._history = rule, params, history
        self.best = params.copy()

    def should_stop(self) -> bool:
        """Whether the epoch that just ended should be the last one. If it is the best, its parameters are copied."""
        better = improvements(self._history, self._rule.monitor, self._rule.min_delta)
        if better[-1]:
            self.best[...] = self._params
        return len(better) >= self._rule.patience and not any(better[-self._rule.patience :])

    def restore_best(self) -> None:
        """Put the best epoch's parameters back, if the rule says so."""
        if self._rule.restore_best and self._history:
            self._params[...] = self.best
