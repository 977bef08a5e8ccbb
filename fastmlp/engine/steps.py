"""An optimiser's state from step to step, and the record that tells kernels how to make a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.layout import OPTIONS, STEP, aligned
from ..optimizers import SGD, Optimizer, count_numbers
from .blocks import Modes
from .memory import address, fields, record_of, words

__all__ = ["Dropout", "OptimizerState", "Step"]


@dataclass(eq=False)
class OptimizerState:
    """An optimiser at work on one network.

    Attributes
    ----------
    optimizer : Optimizer
    vectors : list of ndarray
        Shaped like the parameters, on cache lines: momentum, mean squares, ….
    options : ndarray of OPTIONS, ()
        The count of steps, penalties and limits (0: none), as kernels read them.
    """

    optimizer: Optimizer
    vectors: list[np.ndarray]
    options: np.ndarray

    @classmethod
    def begin(
        cls,
        optimizer: Optimizer,
        params: np.ndarray,
        l1: float = 0.0,
        l2: float = 0.0,
        clip_norm: float = 0.0,
        max_norm: float = 0.0,
    ) -> OptimizerState:
        """The state before the first step."""
        options = record_of(np.array([0.0, l1, l2, clip_norm, max_norm]), OPTIONS)
        return cls(optimizer, [aligned(params.size, params.dtype) for _ in range(optimizer.states)], options)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from a pickle, with the vectors on cache lines again."""
        vectors = [aligned(vector.size, vector.dtype) for vector in state["vectors"]]
        for vector, values in zip(vectors, state["vectors"], strict=True):
            vector[...] = values
        self.__dict__.update(state, vectors=vectors)

    @property
    def count(self) -> int:
        """The number of steps so far."""
        return int(self.options["steps"])

    def set_count(self, count: int) -> None:
        """Go on as if that many steps had been made."""
        self.options["steps"] = count

    def set_penalties(self, l1: float, l2: float) -> None:
        """Penalise weights by these from the next step on."""
        self.options["l1"], self.options["l2"] = l1, l2

    def set_clip_norm(self, clip_norm: float) -> None:
        """Shorten gradients that are longer than this from the next step on; 0: none."""
        self.options["clip_norm"] = clip_norm

    @property
    def l2(self) -> float:
        """The penalty ½ l2 Σw² of the next step."""
        return float(self.options["l2"])

    @property
    def linear(self) -> bool:
        """Whether a step is linear in the gradients, but for clipping: then per-sample steps can be taken in blocks."""
        if not isinstance(self.optimizer, SGD):
            return False
        _, l1, l2, _, max_norm = self.options.item()
        return not (l1 or max_norm or (self.optimizer.lazy and (self.vectors or l2)))

    @property
    def plain(self) -> bool:
        """Whether a step is just w -= lr · gradient."""
        _, *limits = self.options.item()
        return isinstance(self.optimizer, SGD) and not (self.vectors or any(limits))


class Step:
    """How a step is made, as kernels see it. It holds the arrays, because the record has only addresses.

    Parameters
    ----------
    state : OptimizerState
    prepare, rule : int
        The addresses of the optimiser's functions; 0: plain SGD, or the kernel has its own.
    dropout : int
        The address of the function that leaves units out, or 0.
    kept : sequence of float
        The share of units kept, for each hidden layer.

    Attributes
    ----------
    words : ndarray of int64
        The memory of a STEP record.
    """

    def __init__(self, state: OptimizerState, prepare: int, rule: int, dropout: int, kept: Sequence[float]) -> None:
        optimizer = state.optimizer
        self._constants, self._kept = np.array(optimizer.constants, np.float64), np.array(kept, np.float64)
        self._numbers = np.zeros(count_numbers(optimizer.name))
        self._options = state.options
        self._modes: Modes | None = None
        values = fields(
            STEP,
            prepare=prepare,
            rule=rule,
            options=address(state.options),
            constants=address(self._constants),
            numbers=address(self._numbers),
            rests=optimizer.rests,
            lazy=optimizer.lazy,
            modes=0,
            dropout=dropout,
            kept=address(self._kept) if dropout else 0,
            key=0,
        )
        self.words = np.array(values, np.int64)
        self._record = record_of(self.words, STEP)

    def set_key(self, key: int) -> None:
        """Let dropout draw by this key from now on."""
        self._record["key"] = key

    def set_modes(self, modes: Modes) -> None:
        """Take linear steps by these modes from now on."""
        self._modes = modes
        self._record["modes"] = modes.record.ctypes.data


class Dropout:
    """What leaves units out where no step is made, as kernels see it. It holds the array, like `Step`.

    Parameters
    ----------
    function : int
        The address of the function that does so.
    kept : sequence of float
        The share of units kept, for each hidden layer.
    key : int
        Decides which.

    Attributes
    ----------
    words : ndarray of int64
        The memory of a STEP record.
    """

    def __init__(self, function: int, kept: Sequence[float], key: int) -> None:
        self._kept = np.array(kept, np.float64)
        record = np.zeros((), STEP)
        record["dropout"], record["kept"], record["key"] = function, self._kept.ctypes.data, key
        self.words = words(record)
