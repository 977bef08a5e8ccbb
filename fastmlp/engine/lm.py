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
from .network import Network, named_values
from .team import Team

__all__ = ["Damping", "LeastSquares", "check_squares", "covariance", "minimise_squares"]

_NUMBERS = 1 << 17  # of the rows of J that are in memory together: 1 MiB
_FEWEST_ROWS = 192  # of them, so that the matrix is not read for each few
_SOLVED = 32  # rows of a triangle that are solved at once
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
            f"Levenberg-Marquardt with {n_params:,} parameters, whose matrix has {n_params:,}²",
        )
        if network.dtype != _FLOAT64:
            twin = Network()
            twin._build(spec, _FLOAT64)
            network = twin
        self.weight = samples.weight(rows)
        self._network, self._samples, self._rows, self._metrics = network, samples, rows, metrics
        engine = network._engine
        self._view, self._n_threads = samples.view(engine.binding), n_threads
        self._outputs = np.empty((len(rows), spec.n_out)) if metrics else None
        n_blocks = -(-len(rows) // block)
        self._team = Team(engine.binding, (), min(n_threads, n_blocks), in_parts=False)
        room = aligned(row * at_once * spec.n_out, _FLOAT64)
        self._squares = aligned(row * (n_params + 1), _FLOAT64).reshape(n_params + 1, row)
        self._call = KernelCall(rows, block, batch=at_once, rows=room, squares=self._squares)
        self._at_once = at_once
        self._totals = np.zeros(2)

    @property
    def n_residuals(self) -> int:
        """The number of residuals: outputs times samples."""
        return len(self._rows) * self._network.spec.n_out

    def loss(self, params: np.ndarray) -> float:
        """The mean loss with these parameters, which `squares` and `values` are of until it is called again."""
        self._network.params[...] = params
        engine = self._network._engine
        self._totals = engine.forward(self._view, self._rows, self._outputs, True, self._n_threads)
        return float(self._totals[0]) / self.weight

    def values(self) -> dict[str, float]:
        """The loss, accuracy and metrics by name."""
        y, weights = self._samples.y, self._samples.weights
        return named_values(self._network, self._totals, y, weights, self._rows, self._outputs, self._metrics)

    def squares(self) -> tuple[np.ndarray, np.ndarray]:
        """JᵀJ / W, (n_params, n_params), right in its lower triangle, and Jᵀr / W, (n_params,), with W the samples'
        weight together: the Gauss-Newton matrix of the mean loss, and its gradient."""
        self._squares[...] = 0
        for start, count in TimeSlices().slices(len(self._rows), self._at_once):
            self._team.run("normal_equations", self._view, self._call, start, count)
        n = self._network.params.size
        return self._squares[:n, :n] / self.weight, self._squares[n, :n] / self.weight

    def close(self) -> None:
        """End the threads."""
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
        Called after each step with its values, which are without the penalty, or with nothing where the loss is not
        finite; training ends when it says so. Where there is no step to make it is called once.
    begin : Damping, optional
        Of the last step of a run that goes on.

    Returns
    -------
    str
        The name of the setting by which it has converged, or "" if more may be gained.
    """
    try:
        return _Descent(settings, network, squares, l2, begin).run(steps, after)
    finally:
        squares.close()


def covariance(squares: LeastSquares, params: np.ndarray) -> np.ndarray | None:
    """The covariance of the parameters at a minimum, s² (JᵀJ)⁻¹ with s² = Σ w r² / (n - n_params); None where the n
    residuals do not determine all of them. ``squares`` is closed."""
    try:
        errors = 2 * squares.loss(params.astype(np.float64))  # all sums here are divided by the samples' weight
        gram, _ = squares.squares()
    finally:
        squares.close()
    free = squares.n_residuals - params.size
    eigenvalues, vectors = np.linalg.eigh(gram)
    if free <= 0 or eigenvalues[0] <= eigenvalues[-1] * params.size * np.finfo(np.float64).eps:
        return None
    return errors / free * (vectors / eigenvalues) @ vectors.T


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
        self._decay = np.zeros(network.params.size)
        if settings.regularisation is None:
            for weights in network.unflatten(self._decay)[0]:
                weights[...] = l2
        self._damping, self._is_new = 0.0, begin is None
        if begin is not None:
            self._damping = begin.damping
            self._decay += begin.l2
        self._evidence: dict[str, float] = {}

    def run(self, steps: int, after: Callable[[dict[str, float]], bool]) -> str:
        """Make the steps; return by which setting it has converged, or ""."""
        network, squares = self._network, self._squares
        params, reason = network.params.astype(np.float64), ""
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
                if made == 0 and self._is_new:
                    squares.loss(params)
                    after(self._values())
                break
            network.params[...] = params = reached
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
        if self._settings.regularisation is not None:
            self._weigh_evidence(gram, params, loss)
        pull = self._decay * params
        np.fill_diagonal(gram, gram.diagonal() + self._decay)
        return _Surface(loss + 0.5 * float(pull @ params), slope + pull, gram)

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
        lengths = np.sqrt(2 * surface.value * surface.gram.diagonal())
        steepest = np.max(np.abs(surface.slope) / np.where(lengths > 0, lengths, np.inf), initial=0.0)
        return "gtol" if steepest <= self._settings.gtol else ""

    def _step(self, params: np.ndarray, loss: float, surface: _Surface) -> tuple[np.ndarray, float, str]:
        """The parameters of the first step that lowers the surface's value, their loss, and by what it has converged;
        with these very parameters and their loss where no step does."""
        settings, dtype = self._settings, self._network.dtype
        value, slope, gram = surface
        size, growth = float(np.linalg.norm(params)), 2.0
        self._damping = self._damping or settings.damping * float(gram.diagonal().max())
        while math.isfinite(self._damping):
            step = _damped_step(gram, slope, self._damping)
            if step is not None:
                reached = (params + step).astype(dtype).astype(np.float64)
                small = float(np.linalg.norm(step)) <= settings.xtol * (settings.xtol + size)
                if np.array_equal(reached, params):
                    return params, loss, "xtol"
                new_loss = self._squares.loss(reached)
                gain = value - new_loss - 0.5 * float(self._decay @ (reached * reached))
                predicted = 0.5 * float(step @ (self._damping * step - slope))
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


def _damped_step(gram: np.ndarray, slope: np.ndarray, damping: float) -> np.ndarray | None:
    """-(G + damping · I)⁻¹ slope, by Cholesky; None where rounding leaves the matrix indefinite."""
    damped = gram.copy()
    np.fill_diagonal(damped, damped.diagonal() + damping)
    try:
        factor = np.linalg.cholesky(damped)
    except np.linalg.LinAlgError:
        return None
    half = _solved(factor, -slope)
    return _solved(factor.T[::-1, ::-1], half[::-1])[::-1]


def _solved(lower: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The solution of a lower triangle, of which NumPy's general solver sees small squares alone."""
    solution = right.copy()
    for start in range(0, len(right), _SOLVED):
        rows = slice(start, start + _SOLVED)
        solution[rows] -= lower[rows, :start] @ solution[:start]
        solution[rows] = np.linalg.solve(lower[rows, rows], solution[rows])
    return solution
