"""What an optimiser remembers from step to step, and the numbers that its steps are made with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels import layout
from ..kernels.layout import aligned
from ..optimizers import SGD, Optimizer

__all__ = ["OptimizerState"]


@dataclass(frozen=True)
class OptimizerState:
    """An optimiser at work on one network.

    Attributes
    ----------
    optimizer : Optimizer
    vectors : list of ndarray
        Shaped like the parameters, on cache lines: momentum, mean squares, ….
    options : ndarray of float64
        The count of steps, penalties and limits (0: none), and the optimiser's constants, as kernels read them.
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
        clip: float = 0.0,
        max_norm: float = 0.0,
    ) -> OptimizerState:
        """The state before the first step."""
        options = np.zeros(layout.N_OPTIONS)
        options[[layout.L1, layout.L2, layout.CLIP, layout.MAX_NORM]] = l1, l2, clip, max_norm
        constants = optimizer.constants
        options[layout.CONSTANTS : layout.CONSTANTS + len(constants)] = constants
        return cls(optimizer, [aligned(params.size, params.dtype) for _ in range(optimizer.states)], options)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from a pickle, with the vectors on cache lines again."""
        vectors = [aligned(vector.size, vector.dtype) for vector in state["vectors"]]
        for vector, values in zip(vectors, state["vectors"], strict=True):
            vector[...] = values
        self.__dict__.update(state, vectors=vectors)

    @property
    def count(self) -> int:
        """How many steps were made."""
        return int(self.options[layout.STEPS])

    def set_count(self, count: int) -> None:
        """Go on as if so many steps had been made."""
        self.options[layout.STEPS] = count

    def set_penalties(self, l1: float, l2: float) -> None:
        """Penalise weights by these from the next step on."""
        self.options[[layout.L1, layout.L2]] = l1, l2

    @property
    def l2(self) -> float:
        """The penalty ½ l2 Σw² of the next step."""
        return float(self.options[layout.L2])

    @property
    def linear(self) -> bool:
        """Whether a step is linear in the gradients, but for clipping: then per-sample steps can be taken in blocks."""
        o = self.options
        return isinstance(self.optimizer, SGD) and o[layout.L1] == 0 and o[layout.MAX_NORM] == 0

    @property
    def plain(self) -> bool:
        """Whether a step is just w -= lr · gradient."""
        return self.linear and not (self.vectors or self.options[layout.L2] or self.options[layout.CLIP])
