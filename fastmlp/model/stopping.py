"""What watches a training run from epoch to epoch: early stopping, and the state that callbacks get."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.checks import check_count, check_flag, check_number
from ..schedules import improvements

if TYPE_CHECKING:
    from .mlp import MLP
    from .training import History

__all__ = ["EarlyStopping", "TrainingState", "Watch", "get_early_stopping"]


@dataclass(frozen=True)
class EarlyStopping:
    """End training when ``monitor`` has not got better for ``patience`` epochs.

    Parameters
    ----------
    monitor : str, optional
        A name of the history; "val_loss" where there is one, else "loss", when left out. Lower is better, but for
        accuracy, r2 and top_k.
    patience : int
    min_delta : float
        Better means better by more than this.
    restore_best : bool
        Whether the model gets the parameters of its best epoch back, however training ends.

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
    """What the ``early_stopping`` argument means: None or False, True, a patience, or an `EarlyStopping`."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return EarlyStopping() if value else None
    return value if isinstance(value, EarlyStopping) else EarlyStopping(patience=check_count(value, "early_stopping"))


@dataclass
class TrainingState:
    """What a callback is called with after each epoch.

    Attributes
    ----------
    epoch : int
        The one that ended, counted from 0.
    model : MLP
    history : History
        Up to and with this epoch.
    """

    epoch: int
    model: MLP
    history: History
    stopped: bool = False

    def stop(self) -> None:
        """Let this epoch be the last."""
        self.stopped = True


class Watch:
    """An `EarlyStopping` at work on one model."""

    def __init__(self, rule: EarlyStopping, model: MLP, history: History) -> None:
        self._rule, self._model, self._history = rule, model, history
        self.best = model.params.copy()

    def has_had_enough(self) -> bool:
        """Look at the epoch that ended; true when it should be the last."""
        better = improvements(self._history, self._rule.monitor, self._rule.min_delta)
        if better[-1]:
            self.best[...] = self._model.params
        return len(better) >= self._rule.patience and not any(better[-self._rule.patience :])

    def restore(self) -> None:
        """Put the best epoch's parameters back, if that is wanted."""
        if self._rule.restore_best and self._history:
            self._model.params[...] = self.best
