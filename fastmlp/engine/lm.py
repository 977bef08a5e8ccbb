"""Levenberg-Marquardt: the sum of squares of all samples, and the damped Gauss-Newton steps that make it small.

Damping and its rule are Nielsen's, in Madsen, Nielsen and Tingleff, "Methods for non-linear least squares problems",
2nd edition, Technical University of Denmark 2004, algorithm 3.16; the ends are MINPACK's, which SciPy has. Bayesian
regularisation is MacKay's evidence as Foresee and Hagan put it into these steps, "Gauss-Newton approximation to
Bayesian learning", ICNN 1997.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from ..base.ram import check_memory
from ..kernels.layout import aligned, padded
from ..losses import LOSSES
from ..metrics import MetricFunction
from ..optimizers import LevenbergMarquardt
from ..spec import Spec
from .call import KernelCall, TimeSlices
from .epochs import Samples
from .jacobians import jacobian_block
from .network import Network, named_sums, named_values
from .team import Team

__all__ = ["Damping", "LeastSquares", "check_squares", "covariance", "minimise_squares"]

_NUMBERS = 1 << 17  # of the rows of J that are in memory together: 1 MiB
_FEWEST_ROWS = 192  # of them, so that the matrix is not read for each few
_SHORT = 1 << 22  # multiply-adds for a matrix of all samples, up to which it is made with the loss, at once
_FLOAT64 = np.dtype(np.float64)


class Damping(NamedTuple):
    """The state of a run after a step, in addition to its parameters.

    Attributes
    ----------
    damping : float
        Added to the diagonal of the mean JᵀJ.
    l2 : float
        The penalty ½ l2 Σp² that Bayesian regularisation has found.
    """

    damping: float
    l2: float = 0.0


class LeastSquares:
    """The mean loss of a network under ``mse``, and its Gauss-Newton matrix, in float64 for networks of either dtype.

    Where that takes no longer than to ask twice, the matrix is made whenever the loss is asked for, which stands in its
    last corner.

    Parameters
    ----------
    network : Network
    rows : ndarray of int64
        The samples of weight above 0.
    """

    def __init__(
        self,
        network: Network,
        samples: Samples,
        rows: np.ndarray,
        metrics: Mapping[str, MetricFunction],
        n_threads: int = 1,
    ) -> None:
        spec, n_params = network.spec, network.params.size
        row = padded(n_params + 1, _FLOAT64.itemsize)
        block = jacobian_block(spec, by_inputs=False)
        at_once = -(-max(_FEWEST_ROWS, _NUMBERS // row) // (spec.n_out * block)) * block
        at_once = min(at_once, -(-len(rows) // block) * block)
        check_memory(
            _FLOAT64.itemsize * row * (4 * n_params + at_once * spec.n_out),
            "Levenberg-Marquardt with {0:,} parameters, whose matrix has {0:,}²",
            n_params,
        )
        if network.dtype != _FLOAT64:
            twin = Network()
            twin._build(spec, _FLOAT64)
            twin.params = network.params
            network = twin
        self.free = network.free
        self.weight = samples.weight(rows)
        self._network, self._samples, self._rows, self._metrics = network, samples, rows, metrics
        engine = network._engine
        self._view, self._n_threads = samples.view(engine.binding), n_threads
        self._outputs = np.empty((len(rows), spec.n_out)) if metrics else None
        n_rows = len(rows) * spec.n_out
        self._at_once_with_loss = n_rows * n_params**2 <= _SHORT and not metrics and named_sums(spec) == ("loss",)
        n_blocks = -(-len(rows) // block)
        if min(n_threads, n_blocks) == 1:
            self._team = Team.alone(engine.binding, (), False, engine.binding.block, by_sample=False, in_parts=False)
        else:
            self._team = Team(engine.binding, (), min(n_threads, n_blocks), in_parts=False)
        room = aligned(row * at_once * spec.n_out, _FLOAT64)
        self._squares = aligned(row * (n_params + 1), _FLOAT64).reshape(n_params + 1, row)
        self._call = KernelCall(rows, block, batch=at_once, rows=room, squares=self._squares)
        self._at_once, self._slices = at_once, TimeSlices()
        self._totals = np.zeros(2)

    @property
    def n_residuals(self) -> int:
        """How many residuals there are: outputs times samples, also where y has class indices, but those that were not
        measured or do not count."""
        of_outputs = self._samples.output_weights
        if of_outputs is None:
            return len(self._rows) * self._network.spec.n_out
        return int(np.count_nonzero(~np.isnan(self._samples.y[self._rows]) & (of_outputs > 0)))

    def loss(self, params: np.ndarray) -> float:
        """The mean loss with these parameters of the layers that are not frozen, which `squares` and `values` are of
        until it is called again."""
        self._network.params[self.free] = params
        if self._at_once_with_loss:
            self._multiply()
            n = self._network.params.size
            self._totals[0] = 0.5 * self._squares[n, n]
        else:
            engine = self._network._engine
            self._totals = engine.forward(self._view, self._rows, self._outputs, True, self._n_threads)
        return float(self._totals[0]) / self.weight

    def values(self) -> dict[str, float]:
        """The loss, accuracy and metrics by name."""
        y, weights = self._samples.y, self._samples.weights
        return named_values(self._network, self._totals, y, weights, self._rows, self._outputs, self._metrics)

    def squares(self) -> tuple[np.ndarray, np.ndarray]:
        """JᵀJ / W, (n, n), right in its lower triangle, and Jᵀr / W, (n,), with W the samples' weight together: the
        Gauss-Newton matrix of the mean loss, and its gradient, by the n parameters of layers that are not frozen."""
        if not self._at_once_with_loss:
            self._multiply()
        n = self._network.params.size
        gram, slope = self._squares[:n, :n][self.free][:, self.free], self._squares[n, :n][self.free]
        return gram / self.weight, slope / self.weight

    def _multiply(self) -> None:
        """Make (J r)ᵀ (J r), which is right in its lower triangle."""
        self._squares[...] = 0
        for start, count in self._slices.slices(len(self._rows), self._at_once):
            self._team.run("normal_equations", self._view, self._call, start, count)

    def give_back(self) -> None:
        """End the threads, and leave the memory to others."""
        self._team.give_back()

    def close(self) -> None:
        """End the threads, also after an error."""
        self._team.close()


def check_squares(spec: Spec) -> None:
    """Raise ValueError if a spec's loss is not a sum of squares."""
    if spec.loss != LOSSES["mse"]:
        raise ValueError(
            f"the loss is {spec.loss.name}, but least squares are those of loss='mse'; use lbfgs for others"
        )


def minimise_squares(
    settings: LevenbergMarquardt,
    network: Network,
    squares: LeastSquares,
    l2: float,
    steps: int,
    after: Callable[[dict[str, float]], bool],
    begin: Damping | None = None,
) -> str:
    """Move the network to lower loss, step by step; it has the parameters of the last step, however this ends.

    Parameters
    ----------
    squares : LeastSquares
        Of that network; it is closed in the end.
    l2 : float
        ½ l2 Σw² over the weights is added to the mean loss.
    steps : int
        The largest number of steps that lower the sum.
    after : function
        Called after each step with its values, which are without the penalty, or with nothing where the loss or its
        gradient is not finite; training ends when it says so. Where there is no step to make it is called once.
    begin : Damping, optional
        Of the last step of a run that goes on.

    Returns
    -------
    str
        The name of the setting by which it has converged, or "" if more may be gained.
    """
    try:
        reason = _Descent(settings, network, squares, l2, begin).run(steps, after)
        squares.give_back()
        return reason
    finally:
        squares.close()


def covariance(squares: LeastSquares, params: np.ndarray) -> np.ndarray | None:
    """The covariance of the parameters at a minimum, s² (JᵀJ)⁻¹ with s² = Σ w r² / (n - n_params), where those of
    frozen layers do not count and are certain; None where the n residuals do not determine all others. ``squares`` is
    closed."""
    whole = np.zeros((params.size, params.size))
    free = np.arange(params.size)[squares.free]
    params = params[free]
    try:
        errors = 2 * squares.loss(params.astype(np.float64))  # all sums here are divided by the samples' weight
        gram, _ = squares.squares()
    finally:
        squares.close()
    more = squares.n_residuals - params.size
    eigenvalues, vectors = np.linalg.eigh(gram)
    if more <= 0 or eigenvalues[0] <= eigenvalues[-1] * params.size * np.finfo(np.float64).eps:
        return None
    whole[np.ix_(free, free)] = errors / more * (vectors / eigenvalues) @ vectors.T
    return whole


class _Descent:
    """The steps of one run. ``decay`` (n_params,) is what ½ decay p² adds to the mean loss for each parameter."""

    def __init__(
        self,
        settings: LevenbergMarquardt,
        network: Network,
        squares: LeastSquares,
        l2: float,
        begin: Damping | None,
    ) -> None:
        self._settings, self._network, self._squares = settings, network, squares
        decay = np.zeros(network.params.size)
        if settings.regularisation is None:
            for weights in network.unflatten(decay)[0]:
                weights[...] = l2
        self._decay = decay[network.free]
        self._penalised = bool(l2) or settings.regularisation is not None
        self._above = ~np.tri(len(self._decay), dtype=bool)
        self._damping, self._is_new = 0.0, begin is None
        if begin is not None:
            self._damping = begin.damping
            self._decay += begin.l2
        self._evidence: dict[str, float] = {}

    def run(self, steps: int, after: Callable[[dict[str, float]], bool]) -> str:
        """Make the steps; return by which setting it has converged, or ""."""
        network, squares = self._network, self._squares
        params, reason = network.params[network.free].astype(np.float64), ""
        loss = squares.loss(params)
        if not math.isfinite(loss):
            after({})
            return ""
        for made in range(steps):
            surface = self._surface(params, loss)
            reason = self._flat(surface)
            reached = params
            if not reason:
                reached, loss, reason = self._step(params, loss, surface)
            if reached is params:
                if not np.isfinite(surface.slope).all():
                    after({})
                    return ""
                if made == 0 and self._is_new:
                    squares.loss(params)
                    after(self._values())
                break
            network.params[network.free] = params = reached
            if after(self._values()):
                return ""
            if reason:
                break
        return reason

    def _values(self) -> dict[str, float]:
        return {**self._squares.values(), "damping": self._damping, **self._evidence}

    def _surface(self, params: np.ndarray, loss: float) -> _Surface:
        """The penalised mean loss around the parameters."""
        gram, slope = self._squares.squares()
        np.copyto(gram, gram.T, where=self._above)
        if self._settings.regularisation is not None:
            self._weigh_evidence(gram, params, loss)
        if self._penalised:
            pull = self._decay * params
            _diagonal(gram)[...] += self._decay
            loss, slope = loss + 0.5 * float(pull @ params), slope + pull
        return _Surface(loss, slope, gram)

    def _weigh_evidence(self, gram: np.ndarray, params: np.ndarray, loss: float) -> None:
        """Weigh errors against parameters by the evidence: γ = Σ λ / (λ + decay) parameters are determined by the data,
        α = γ / Σp², β = (n - γ) / Σr², and the decay is α / β, of the mean."""
        eigenvalues = np.maximum(np.linalg.eigvalsh(gram), 0.0)
        shares = np.divide(
            eigenvalues, eigenvalues + self._decay[0], out=np.zeros_like(eigenvalues), where=eigenvalues > 0
        )
        n, effective = self._squares.n_residuals, float(shares.sum()) if self._decay[0] else float(len(shares))
        errors, length = 2 * loss * self._squares.weight, float(params @ params)
        alpha = effective / length if length > 0 else 1.0
        beta = (n - effective) / errors if n > effective and errors > 0 else 1.0
        self._decay[...] = alpha / beta / self._squares.weight
        self._evidence = {"effective_params": effective, "l2": float(self._decay[0])}

    def _flat(self, surface: _Surface) -> str:
        """Return "gtol" where the residuals are at right angles to all columns of J, as MINPACK has it, or zero."""
        value, slope, gram = surface
        most = 2 * value * self._settings.gtol**2
        return "gtol" if (slope * slope <= most * _diagonal(gram)).all() else ""

    def _step(self, params: np.ndarray, loss: float, surface: _Surface) -> tuple[np.ndarray, float, str]:
        """The parameters of the first step that lowers the surface's value, their loss, and by what it has converged;
        with these very parameters and their loss where no step does."""
        settings, dtype = self._settings, self._network.dtype
        value, slope, gram = surface
        size, growth = _length(params), 2.0
        self._damping = self._damping or settings.damping * float(_diagonal(gram).max())
        while math.isfinite(self._damping):
            step = _damped_step(gram, slope, self._damping)
            descent = -float(step @ slope)
            if descent > 0:  # but for rounding
                reached = (params + step).astype(dtype, copy=False).astype(np.float64, copy=False)
                length = _length(step)
                small = length <= settings.xtol * (settings.xtol + size)
                if (reached == params).all():
                    return params, loss, "xtol"
                new_loss = self._squares.loss(reached)
                gain = value - new_loss
                if self._penalised:
                    gain -= 0.5 * float(self._decay @ (reached * reached))
                predicted = 0.5 * (self._damping * length**2 + descent)
                ratio = gain / predicted if math.isfinite(new_loss) and predicted > 0 else -1.0
                even = abs(gain) <= settings.ftol * value and predicted <= settings.ftol * value and ratio <= 2
                reason = "ftol" if even else "xtol" if small else ""
                if ratio > 0:
                    self._damping *= max(1 / 3, 1 - (2 * ratio - 1) ** 3)
                    return reached, new_loss, reason
                if reason:
                    return params, loss, reason
            self._damping *= growth
            growth *= 2
        return params, loss, "xtol"


class _Surface(NamedTuple):
    """The penalised mean loss as a quadratic function: value, slope (n_params,), and Gauss-Newton's matrix."""

    value: float
    slope: np.ndarray
    gram: np.ndarray


def _damped_step(gram: np.ndarray, slope: np.ndarray, damping: float) -> np.ndarray:
    """-(G + damping · I)⁻¹ slope; zeros where that matrix has no inverse.

    NumPy's general solver is faster than its Cholesky and two triangles, for which it has no solver: 9 against 30
    microseconds for 31 parameters, 130 against 200 for 143, and about the same for 1000.
    """
    damped = gram.copy()
    _diagonal(damped)[...] += damping
    try:
        return np.linalg.solve(damped, -slope)
    except np.linalg.LinAlgError:
        return np.zeros_like(slope)


def _diagonal(matrix: np.ndarray) -> np.ndarray:
    """A view of the diagonal of a square matrix, contiguous, that can be written to."""
    return matrix.reshape(-1)[:: len(matrix) + 1]


def _length(vector: np.ndarray) -> float:
    return math.sqrt(vector @ vector)
