"""Why a training diverged: what functions of the user's raised, and which numbers are far from usual ones."""

from __future__ import annotations

import math

import numpy as np

from ..base.sparse import SparseRows
from ..engine.epochs import Samples
from ..engine.network import Network
from ..engine.slopes import Residuals, Slopes, slope_units

__all__ = ["remedy"]

_USUAL = 100.0  # what inputs, targets and weights of samples reach at most where nobody needs to scale them
_USUAL_GAIN = 10.0  # of a layer: its weights' root mean square times √n_in, about 1.4 for He's and Glorot's
_USUAL_LR = 1.0


def remedy(network: Network, samples: Samples, lr: float | None, batch: int, first: bool = False) -> str:
    """Say what users' functions raised, which numbers are probably the cause, the most unusual first, and what to do.

    Parameters
    ----------
    network : Network
        The network, with the parameters from before the epoch that diverged.
    samples : Samples
        Those that it was trained on.
    lr : float or None
        The epoch's learning rate; None if the optimiser finds the steps itself.
    batch : int
        The number of samples in a batch.
    first : bool
        Whether that was a new training's first epoch; later, large parameters are a consequence, not the cause.
    """
    if lr is not None and not np.isfinite(network.params).all():
        return "The parameters were infinite or NaN before training: begin with finite ones"
    inputs = _largest_input(network, samples)
    if not math.isfinite(inputs):
        return "x has infinite or NaN values that it had not when it was checked: leave it alone during training"
    advice = "scale them: standardize=True, or shift and scale of the input layer"
    suspects = [(inputs / _USUAL, f"inputs up to {inputs:.2g} ({advice})")]
    if samples.y.ndim == 2 and network.spec.loss.any_target:
        target = _largest_target(network, samples.y)
        advice = "scale the target: standardize=True, or shift and scale of the last layer"
        suspects.append((target / _USUAL, f"targets up to {target:.2g} ({advice})"))
    if isinstance(samples.slopes, Slopes):
        slope = _largest_slope(network, samples.slopes)
        advice = "standardize=True, or a smaller dydx_weight"
        suspects.append((slope / _USUAL, f"slopes up to {slope:.2g} ({advice})"))
    if samples.weights is not None and batch == 1:
        weight = float(samples.weights.max())
        advice = f"sample weights up to {weight:.2g}, by which steps are longer (divide them by their mean)"
        suspects.append((weight / _USUAL, advice))
    if lr is not None:
        suspects.append((lr / _USUAL_LR, f"lr of {lr:g} (try a smaller one)"))
    if first:
        suspects += [(gain / _USUAL_GAIN, f"initial weights of layer {i}, large for its width (try another init)")
                     for i, gain in enumerate(_gains(network), 1)]  # fmt: skip
    residual = samples.slopes.residual if isinstance(samples.slopes, Residuals) else None
    found = network._engine.binding.complaints(residual)
    found += [advice for excess, advice in sorted(suspects, reverse=True) if excess > 1]
    may = "; or r or dr of the residual is not finite somewhere" if residual else ""
    if found:
        return f"Likely at fault: {'; '.join(found)}{may}"
    advice = "look at the loss" if lr is None else f"try an lr smaller than {lr:g}, or clip_norm"
    return f"Inputs, targets and weights are of usual size: {advice}{may}"


def _largest_input(network: Network, samples: Samples) -> float:
    """The largest magnitude of the inputs, shifted and scaled; NaN or infinite if one of them is."""
    x, affine = samples.x, network._engine.binding.affine
    if isinstance(x, SparseRows):
        values = x.data[: int(x.indptr[-1])]
        scaled = values if affine is None else values * np.take(affine[1], x.indices[: len(values)], mode="clip")
        return float(np.abs(scaled).max(initial=0.0))
    ends = np.array([x.min(axis=0), x.max(axis=0)], np.float64)  # no copy of x, which may be larger than memory
    return float(np.abs(ends if affine is None else (ends - affine[0]) * affine[1]).max())


def _largest_target(network: Network, y: np.ndarray) -> float:
    """The largest magnitude among the targets (n_samples, n_out) as the network's loss sees them."""
    ends, affine = np.array([np.fmin.reduce(y), np.fmax.reduce(y)], np.float64), network.spec.target_affine
    sizes = np.abs(ends if affine is None else (ends - affine[0]) * affine[1])
    return float(np.fmax.reduce(sizes, axis=None, initial=0.0))


def _largest_slope(network: Network, slopes: Slopes) -> float:
    """The largest magnitude among the known derivatives as the network's loss sees them; 0 where none is known."""
    units = slope_units(network.spec)
    ends = np.array([np.fmin.reduce(slopes.dydx, axis=0), np.fmax.reduce(slopes.dydx, axis=0)], np.float64)
    return float(np.nanmax(np.abs(ends if units is None else ends * units), initial=0.0))


def _gains(network: Network) -> list[float]:
    """Each layer's root mean square of weights times √n_in: the factor by which it enlarges its input."""
    return [math.sqrt(float(np.mean(w.astype(np.float64) ** 2)) * w.shape[1]) for w in network.weights]
