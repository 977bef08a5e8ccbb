"""Learning from samples as they come: the optimiser's state lives on from call to call."""

from __future__ import annotations

from typing import Any

from ..base.checks import check_count, check_number
from ..engine.epochs import EpochRunner
from ..engine.network import Network
from ..engine.steps import OptimizerState
from ..optimizers import LBFGS, Optimizer, get_optimizer
from .data import check_samples, counted_rows
from .divergence import remedy
from .history import DivergenceError, History

__all__ = ["Online"]

_MOST = 1 << 40  # samples in a batch: more never come, and kernels' integers may grow


class Online:
    """A network that is being trained piece by piece (`MLP.partial_fit`)."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._state = OptimizerState.begin(get_optimizer("sgd"), network.params)
        self._runner: EpochRunner | None = None
        self._batch = 0

    def fit(self, x: Any, y: Any, lr: Any, optimizer: Any, batch_size: Any, sample_weight: Any) -> dict[str, float]:
        """Train over the samples once, with the arguments of `MLP.partial_fit`, and return their loss and accuracy."""
        network = self._network
        lr = check_number(lr, "lr", 0.0, open_low=True)
        batch = min(check_count(batch_size, "batch_size"), _MOST)
        optimizer = self._state.optimizer if optimizer is None else get_optimizer(optimizer)
        if isinstance(optimizer, LBFGS):
            raise ValueError("optimizer is lbfgs, which needs all samples at once; use fastmlp.train")
        samples = check_samples(x, y, network.spec, network.dtype, sample_weight)
        if optimizer != self._state.optimizer:
            self._begin(optimizer)
        if self._runner is None or batch != self._batch:
            self._runner, self._batch = EpochRunner(network, samples, batch, {}, self._state, [], 1), batch
        self._runner.take(samples)
        values = self._runner.run(counted_rows(samples), lr, 0)
        if not values:
            self._begin(optimizer)
            raise DivergenceError(1, network, History(), remedy(network, samples, lr, batch))
        return values

    def _begin(self, optimizer: Optimizer) -> None:
        """Forget what the optimiser remembered."""
        self._state, self._runner = OptimizerState.begin(optimizer, self._network.params), None
