"""Learning from samples as they come: the optimiser's state lives on from call to call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.checks import check_count, check_number
from ..engine.epochs import EpochRunner, Samples
from ..engine.steps import OptimizerState
from ..optimizers import LBFGS, get_optimizer
from .data import check_weights, check_x, check_y
from .history import DivergenceError, History

if TYPE_CHECKING:
    from .mlp import MLP

__all__ = ["Online"]


class Online:
    """A model that is being trained piece by piece (`MLP.partial_fit`)."""

    def __init__(self, model: MLP) -> None:
        self._model = model
        self._steps = OptimizerState.begin(get_optimizer("sgd"), model.params)
        self._epochs: EpochRunner | None = None
        self._batch = 0

    def fit(self, x: Any, y: Any, lr: Any, optimizer: Any, batch_size: Any, sample_weight: Any) -> dict[str, float]:
        """One pass over the samples; see `MLP.partial_fit`."""
        model = self._model
        lr = check_number(lr, "lr", 0.0, open_low=True)
        batch = check_count(batch_size, "batch_size")
        wanted = self._steps.optimizer if optimizer is None else get_optimizer(optimizer)
        if isinstance(wanted, LBFGS):
            raise ValueError("optimizer is lbfgs, which needs all samples at once; use fastmlp.train")
        x = check_x(x, model.spec.n_in, model.dtype)
        y = check_y(y, model.spec, len(x), model.dtype)
        weights = None if sample_weight is None else check_weights(sample_weight, None, y, model.spec)
        samples = Samples(x, y, weights)
        if wanted != self._steps.optimizer:
            self._steps, self._epochs = OptimizerState.begin(wanted, model.params), None
        if self._epochs is None or batch != self._batch:
            self._epochs, self._batch = EpochRunner(model, samples, batch, {}, self._steps, [], 1), batch
        self._epochs.take(samples)
        order = np.arange(len(x)) if weights is None else np.flatnonzero(weights)
        values = self._epochs.run(order, lr, 0)
        if not values:
            self._epochs = None
            self._steps = OptimizerState.begin(wanted, model.params)
            raise DivergenceError(1, model, History())
        return values
