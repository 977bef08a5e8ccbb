"""Learning from samples as they come: the optimiser's state is kept from call to call."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..base.checks import check_count, check_number
from ..engine.blocks import BLOCK
from ..engine.epochs import EpochRunner, Samples
from ..engine.network import Network, mean_values
from ..engine.shortcuts import LearnFew
from ..engine.steps import OptimizerState
from ..engine.team import LONG
from ..optimizers import Optimizer, get_optimizer
from .data import check_lazy, check_output_weight, check_samples, counted_rows, plain_targets
from .divergence import remedy
from .history import DivergenceError, History
from .names import Names

__all__ = ["Online"]

_MOST = 1 << 40  # samples in a batch: more never come, and kernels' integers may grow


class Online:
    """A network that is being trained piece by piece (`MLP.partial_fit`)."""

    def __init__(self, network: Network) -> None:
        network.spec.check_trainable()
        self._network, self._spec = network, network.spec
        self._state = OptimizerState.begin(get_optimizer("sgd"), network.params)
        self._runner: EpochRunner | None = None
        self._batch = 0
        self._steps: dict[tuple[bool, int], LearnFew] = {}  # by whether there is one sample, and y's dimensions
        self._known: dict[Any, LearnFew] = {}  # by shapes and dtypes of x and y, where these are all that is checked
        self._last_given: Any = None  # as optimizer
        self._is_short = 10 * network.params.size <= LONG  # one sample's step, which reads and writes them from memory

    def fit(
        self,
        x: Any,
        y: Any,
        lr: Any,
        optimizer: Any,
        batch_size: Any,
        sample_weight: Any,
        output_weight: Any,
        names: Names,
    ) -> tuple[dict[str, float], Names]:
        """Train over the samples once, with the arguments of `MLP.partial_fit` and the model's names; return their loss
        and accuracy, and the names with those that the samples brought."""
        if sample_weight is None and output_weight is None and (optimizer is None or optimizer is self._last_given):
            values = self._fit_few(x, y, lr, batch_size)
            if values is not None:
                return values, names
        network = self._network
        lr = check_number(lr, "lr", 0.0, open_low=True)
        batch = min(check_count(batch_size, "batch_size"), _MOST)
        new = self._state.optimizer if optimizer is None else get_optimizer(optimizer)
        if new.by_search:
            raise ValueError(f"optimizer is {new.name}, which needs all samples at once; use fastmlp.train")
        names = names.found_in_part(x, y, network.spec)
        output_weight = check_output_weight(output_weight, network.spec, network.dtype)
        samples = check_samples(x, y, network.spec, network.dtype, sample_weight, None, "", names, output_weight)
        check_lazy(new, samples.x)
        if new != self._state.optimizer:
            self._begin(new)
        self._last_given = optimizer
        if self._runner is None or batch != self._batch:
            self._runner, self._batch = EpochRunner(network, samples, batch, {}, self._state, [], 1), batch
        self._runner.take(samples)
        values = self._runner.run(counted_rows(samples), lr, 0)
        if not values:
            raise self._divergence(samples, lr, batch)
        return values, names

    def _fit_few(self, x: Any, y: Any, lr: Any, batch: Any) -> dict[str, float] | None:
        """Do `fit` in the usual case, one step on few samples; in other cases do nothing and return None."""
        if not (self._is_short and type(lr) is float and 0 < lr < math.inf and type(batch) is int):
            return None
        if not type(x) is type(y) is np.ndarray:
            return None
        form = x.shape, x.dtype, y.shape, y.dtype
        step = self._known.get(form)
        targets = self._checked_targets(x, y) if step is None else y if y.ndim == 2 else y[:, None]
        if targets is None or len(x) > batch:
            return None
        if step is None:
            if self._state.optimizer.lazy:  # and x is dense
                return None
            step = self._step_for(len(x), targets.ndim)
            if targets.ndim == 2 and self._spec.loss.any_target:  # whose numbers `plain_targets` does not look at
                self._known[form] = step
        sums = step(x, targets, lr)
        if sums == []:
            raise self._divergence(Samples(x, targets), lr, batch)
        return None if sums is None else mean_values(self._spec, sums, len(x))

    def _checked_targets(self, x: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """The targets of few samples that a quick look finds right, as `plain_targets` returns them; else None."""
        if not self._network._are_few(x) or len(x) > BLOCK:
            return None
        return plain_targets(y, self._spec, len(x))

    def _step_for(self, n: int, y_dimensions: int) -> LearnFew:
        """The kernel that makes a step with n samples."""
        form, engine = (n == 1, y_dimensions), self._network._engine
        if form not in self._steps:
            self._steps[form] = LearnFew(engine.binding, *engine.room(n), y_dimensions == 1, self._state)
        return self._steps[form]

    def _divergence(self, samples: Samples, lr: float, batch: int) -> DivergenceError:
        """Make the error of a call after which parameters were infinite, and forget the optimiser's state."""
        self._begin(self._state.optimizer)
        return DivergenceError(1, self._network, History(), remedy(self._network, samples, lr, batch))

    def _begin(self, optimizer: Optimizer) -> None:
        """Start with a new state of the optimiser."""
        self._state = OptimizerState.begin(optimizer, self._network.params)
        self._runner, self._steps, self._known = None, {}, {}
