"""Callbacks: users' functions that are called after each epoch, and the state that they are called with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from .history import History
from .mlp import MLP

__all__ = ["Callback", "TrainingState", "check_callbacks"]


@dataclass
class TrainingState:
    """The state of a training, with which each callback is called after each epoch.

    Attributes
    ----------
    epoch : int
        The epoch that ended, counted from 0.
    model : MLP
        The network in training; look at it, do not train it.
    history : History
        The history so far, with this epoch.
    stopped : bool
        Whether `stop` was called.
    """

    epoch: int
    model: MLP
    history: History
    stopped: bool = False

    def stop(self) -> None:
        """End training after this epoch."""
        self.stopped = True


Callback = Callable[[TrainingState], None]


def check_callbacks(callbacks: Any) -> list[Callback]:
    """Return the functions of a ``callbacks`` argument, which is one function or a sequence of them."""
    if not (isinstance(callbacks, (tuple, list)) or callable(callbacks) or isinstance(callbacks, Iterable)):
        raise TypeError(f"callbacks must be a function of the training state, or a list of them, got {callbacks!r}")
    functions = [callbacks] if callable(callbacks) else list(callbacks)
    for i, function in enumerate(functions):
        if not callable(function):
            raise TypeError(f"callbacks[{i}] must be a function of the training state, got {type(function).__name__}")
    return functions
