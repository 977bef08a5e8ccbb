"""The history of a training, and the error when its loss is no longer finite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..base.pages import WHERE_TO_START
from ..base.remedies import attribute_error

__all__ = ["DivergenceError", "History"]


_ELSEWHERE = {
    "history": "it is a dict itself: history['loss']",
    **{name: f"history[{name!r}]" for name in ("loss", "accuracy", "val_loss", "val_accuracy")},
}


class History(dict[str, list[float]]):
    """A dict of lists with one number for each epoch: "loss", "accuracy" for classes and labels, "val_loss", ….

    Values of training are means over the epoch's samples, each measured before it was learnt from. ``interrupted`` is
    True after Ctrl-C.
    """

    interrupted: bool = False

    def __missing__(self, name: str) -> list[float]:
        validation = "; val_… needs validation_data or validation_fraction" if str(name).startswith("val_") else ""
        raise KeyError(f"the history has no {name!r}; it has {', '.join(self)}{validation}")

    if not TYPE_CHECKING:  # for which a history would have any attribute

        def __getattr__(self, name: str) -> Any:
            raise attribute_error(self, name, _ELSEWHERE)

    @property
    def epochs(self) -> int:
        """The number of epochs in the history."""
        return len(self.get("loss", ()))

    def _append(self, values: Mapping[str, float]) -> None:
        """Add one epoch's values."""
        for name, value in values.items():
            self.setdefault(name, []).append(value)

    def _extend(self, values: Mapping[str, list[float]]) -> None:
        """Add the values of several epochs, a list for each quantity."""
        for name, column in values.items():
            self.setdefault(name, []).extend(column)


class DivergenceError(ArithmeticError):
    """The loss became infinite or NaN. The model has the weights of the last finite epoch.

    Attributes
    ----------
    epoch : int
        The epoch in which it happened, counted from 1.
    model : MLP
        The model that was trained.
    history : History
        The history up to the last finite epoch.
    remedy : str
        The probable cause (inputs, targets, weights or lr) and what to do, which are in the message.
    """

    def __init__(self, epoch: int, model: Any, history: History, remedy: str) -> None:  # MLP lies above this module
        super().__init__(
            f"the loss became infinite or NaN in epoch {epoch}; the model has the weights it had before that epoch. "
            f"{remedy}; {WHERE_TO_START}"
        )
        self.epoch, self.model, self.history, self.remedy = epoch, model, history, remedy

    def __reduce__(self) -> Any:
        return DivergenceError, (self.epoch, self.model, self.history, self.remedy)
