"""L-BFGS through SciPy: the loss and gradient of all samples at once, as its optimiser wants them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..base.extras import require
from ..metrics import MetricFunction
from ..optimizers import LBFGS
from .blocks import sharers
from .epochs import Samples
from .network import Network, named_values
from .team import Team

__all__ = ["LocalObjective", "Objective", "minimise", "require_scipy"]


def require_scipy() -> Any:
    """Return scipy.optimize; an ImportError if it is missing, for those who ask before any work, too."""
    return require("scipy.optimize", "lbfgs", "the optimiser lbfgs")


def minimise(
    settings: LBFGS,
    network: Network,
    objective: Objective,
    iterations: int,
    after: Callable[[dict[str, float]], bool],
) -> Any:
    """Move the network to lower loss; it has the parameters of the last iteration, however this ends.

    Parameters
    ----------
    objective : Objective
        Of that network; it is closed in the end.
    after : function
        Called after each iteration with its values, loss and so on without the penalty, or with nothing where the loss
        is not finite; training ends when it says so.

    Returns
    -------
    scipy.optimize.OptimizeResult
        ``fun`` has the penalty in it.
    """
    optimize = require_scipy()
    free = network.free
    reached = network.params[free].astype(np.float64)

    class Ended(Exception):
        """Carries the StopIteration of a user's function through SciPy, for which a StopIteration means to stop."""

    def callback(intermediate_result: Any) -> None:
        reached[...] = intermediate_result.x
        try:
            stop = after(objective.values(reached))
        except StopIteration as error:
            raise Ended from error
        if stop:
            raise StopIteration

    options = {
        "maxcor": settings.memory,
        "gtol": settings.gtol,
        "ftol": settings.ftol,
        "maxfun": settings.max_fun,
        "maxiter": iterations,
    }
    try:
        result = optimize.minimize(
            objective, reached.copy(), method="L-BFGS-B", jac=True, callback=callback, options=options
        )
        reached[...] = result.x
        if result.nit == 0:  # nothing to gain, or nothing finite
            after(objective.values(reached))
        return result
    except Ended as error:
        raise error.__cause__ from None  # type: ignore[misc]
    finally:
        network.params[free] = reached
        objective.close()


class Objective(ABC):
    """The penalised mean loss of a network as a function of its parameters but those of frozen layers; remembers what
    it saw there last.

    Parameters
    ----------
    network : Network
    l2 : float
        ½ l2 Σw² is added to the mean loss.
    """

    def __init__(self, network: Network, l2: float) -> None:
        self._network, self._free = network, network.free
        decay = np.zeros(network.params.size)
        for weights in network.unflatten(decay)[0]:
            weights[...] = l2
        self._decay = decay[self._free]
        self._seen = np.full(self._decay.size, np.nan)
        self._loss = math.nan

    def __call__(self, params: np.ndarray) -> tuple[float, np.ndarray]:
        self._network.params[self._free] = params
        self._seen[...] = params
        self._loss, gradient = self._measure()
        if not np.isfinite(gradient).all():
            self._loss = math.nan
        pull = self._decay * params
        return self._loss + 0.5 * float(pull @ params), gradient[self._free] + pull

    def values(self, params: np.ndarray) -> dict[str, float]:
        """The loss and so on with these parameters; nothing where the loss or its gradient is not finite."""
        if not np.array_equal(self._seen, params):  # the line search went on, and came back
            self(params)
        return self._measured() if math.isfinite(self._loss) else {}

    @abstractmethod
    def _measure(self) -> tuple[float, np.ndarray]:
        """The mean loss with the network's parameters, and its gradient (n_params,)."""

    @abstractmethod
    def _measured(self) -> dict[str, float]:
        """The loss and so on of the last `_measure`, by name."""

    def close(self) -> None:  # noqa: B027 - there may be nothing to end
        """End the threads or tasks that it uses."""


class LocalObjective(Objective):
    """The objective of samples in this process.

    Parameters
    ----------
    rows : ndarray of int64
        The samples of weight above 0.
    """

    def __init__(
        self,
        network: Network,
        samples: Samples,
        rows: np.ndarray,
        metrics: Mapping[str, MetricFunction],
        l2: float,
        n_threads: int,
    ) -> None:
        super().__init__(network, l2)
        self._samples, self._rows, self._metrics = samples, rows, metrics
        self._view, self._weight = samples.view(network._engine.binding), samples.weight(rows)
        self._outputs = np.empty((len(rows), network.spec.n_out), network.dtype) if metrics else None
        binding = network._engine.binding
        view, curved = self._view, samples.slopes.curved if samples.slopes else 0
        n_threads, together = sharers(len(rows), view.block, network.params.size, n_threads, view.tangents)
        self._team = Team(binding, (), n_threads, block=view.rows(view.block), together=together, curved=curved)
        self._totals = np.zeros(3)

    def _measure(self) -> tuple[float, np.ndarray]:
        self._totals, gradient = self._network._engine.gradient(
            self._view, self._rows, self._weight, self._team, self._outputs
        )
        return float(self._totals[0]) / self._weight, gradient

    def _measured(self) -> dict[str, float]:
        y, weights, slopes = self._samples.y, self._samples.weights, self._samples.slopes
        of_slopes = slopes.quantity if slopes else None
        return named_values(
            self._network, self._totals, y, weights, self._rows, self._outputs, self._metrics, of_slopes
        )

    def close(self) -> None:
        """End the threads."""
        self._team.close()
