"""scikit-learn's callbacks (since version 1.9), which are told of each fit and of its epochs."""

from __future__ import annotations

from functools import wraps
from typing import Any

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing: this scikit-learn has no callbacks."""

    def with_callbacks(method: Any) -> Any:
        """Return a method that does the same, one frame deeper, as with callbacks: warnings name the caller's line."""

        @wraps(method)
        def called(*args: Any, **options: Any) -> Any:
            return method(*args, **options)

        return called


__all__ = ["CallbackSupportMixin", "FitCallbacks", "with_callbacks"]


class FitCallbacks:
    """The callbacks of one fit of an estimator, if there are any.

    Parameters
    ----------
    estimator : estimator
        The estimator, inside a method that is decorated with ``with_callbacks``.
    max_iter : int
        The largest number of epochs.
    data : dict
        What callbacks may ask for: ``X``, ``y``, and ``metadata`` with the sample weights, or None.
    """

    def __init__(self, estimator: Any, max_iter: int, data: dict[str, Any]) -> None:
        self._estimator, self._data = estimator, data
        self._root: Any = None
        self._epoch: Any = None
        if hasattr(estimator, "_init_callback_context"):
            context = estimator._init_callback_context(max_subtasks=max_iter)
            self._root = context if hasattr(estimator, "_skl_callbacks") else None

    def begin(self) -> None:
        """Tell the callbacks that training begins."""
        if self._root is not None:
            self._root.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def begin_epoch(self) -> None:
        """Tell the callbacks that an epoch, or an iteration of L-BFGS, begins."""
        if self._root is not None:
            self._epoch = self._root.subcontext(task_name="epoch")
            self._epoch.call_on_fit_task_begin(estimator=self._estimator, **self._data)

    def end_epoch(self) -> bool:
        """Tell the callbacks that it ended, with its parameters; True if one of them wants training to stop."""
        return self._epoch is not None and self._end(self._epoch)

    def end(self) -> None:
        """Tell the callbacks that training ended."""
        if self._root is not None:
            self._end(self._root)

    def _end(self, context: Any) -> bool:
        return context.call_on_fit_task_end(
            estimator=self._estimator, **self._data, reconstruction_attributes=self._fitted_attributes
        )

    def _fitted_attributes(self) -> dict[str, Any]:
        """Return copies of the parameters, because training will change them."""
        estimator = self._estimator
        return {name: [array.copy() for array in getattr(estimator, name)] for name in ("coefs_", "intercepts_")}
