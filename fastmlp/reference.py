"""The arithmetic of fastmlp in plain NumPy and float64: slow, short, and what the kernels are tested against.

A network is a list of ``weights`` (n_out, n_in) and a list of ``biases`` (n_out,), one for each layer; samples are
rows. Nothing here is compiled, and only the formulas of activations.py and losses.py are shared with the kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .activations import ACTIVATIONS, Activation
from .residuals import Residual
from .spec import Spec

__all__ = [
    "forward", "gradient", "hessian_product", "jacobian", "levenberg_marquardt", "loss", "output_delta", "predict",
    "residual_gradient", "sobolev_gradient", "targets", "train",
]  # fmt: skip

Arrays = list[np.ndarray]
sigmoid, softplus = ACTIVATIONS["sigmoid"], ACTIVATIONS["softplus"]


def targets(spec: Spec, y: Any) -> np.ndarray:
    """Return y as numbers (n_samples, n_out): class indices become one-hot rows, a vector becomes a column, a target
    stands once for each of its outputs; in the network's units where the last layer has a shift and scale.

    Parameters
    ----------
    spec : Spec
        The network's description.
    y : array-like, (n_samples,) or (n_samples, n_targets)
        Class indices or numbers, in the user's units.
    """
    y = np.asarray(y)
    if y.ndim == 1 and spec.n_targets > 1:
        return np.eye(spec.n_out)[y]
    y = y.reshape(len(y), spec.n_targets).astype(np.float64)
    gaussian, n_each = spec.loss.name == "gaussian_nll", spec.n_out // spec.n_targets
    y = np.hstack([y, y]) if gaussian else np.repeat(y, n_each, axis=1)
    if spec.output_affine is None:
        return y
    shift, scale = spec.output_affine
    if gaussian:
        shift, scale = np.tile(shift[: spec.n_targets], 2), np.tile(scale[: spec.n_targets], 2)
    return y / np.exp(shift) if spec.loss.name == "poisson" else (y - shift) / scale


def forward(spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], x: Any) -> tuple[Arrays, Arrays]:
    """Return every layer's z = W a + b, and the input (x - shift) · scale followed by every layer's a = f(z).

    Parameters
    ----------
    spec : Spec
        The network's description.
    weights, biases : list of ndarray, (n_out, n_in) and (n_out,)
        Those of each layer.
    x : array-like, (n_samples, n_in)
        The samples.
    """
    a = np.asarray(x, dtype=np.float64)
    if spec.shift is not None:
        a = a - np.array(spec.shift)
    if spec.scale is not None:
        a = a * np.array(spec.scale)
    zs, activations = [], [a]
    for layer, w, b in zip(spec.layers, weights, biases, strict=True):
        z = a @ np.asarray(w, np.float64).T + b
        a = layer.act(z)
        zs.append(z)
        activations.append(a)
    return zs, activations


def predict(spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], x: Any) -> np.ndarray:
    """Return the outputs (n_samples, n_out) in y's units: shift + scale · a of the last layer.

    Parameters
    ----------
    spec : Spec
        The network's description.
    weights, biases : list of ndarray, (n_out, n_in) and (n_out,)
        Those of each layer.
    x : array-like, (n_samples, n_in)
        The samples.
    """
    a = forward(spec, weights, biases, x)[1][-1]
    return a if spec.output_affine is None else spec.output_affine[0] + spec.output_affine[1] * a


def log_softmax(z: np.ndarray) -> np.ndarray:
    """log softmax(z) of each row, by log-sum-exp: no logarithm of a rounded probability."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def weighted(values: np.ndarray, y: np.ndarray, output_weight: Any = None) -> np.ndarray:
    """Values (n_samples, n_out) times the outputs' weights, which are 1 when left out; 0 where y was not measured."""
    weights = 1.0 if output_weight is None else np.asarray(output_weight, np.float64)
    return np.where(np.isnan(y), 0.0, weights * values)


def measured(y: np.ndarray) -> np.ndarray:
    """Which samples count: those of which some output was measured."""
    return ~np.isnan(y).all(axis=1)


def loss(spec: Spec, z: np.ndarray, a: np.ndarray, y: np.ndarray, output_weight: Any = None) -> np.ndarray:
    """Return the loss of each sample, (n_samples,).

    Parameters
    ----------
    spec : Spec
        The network's description.
    z, a : ndarray, (n_samples, n_out)
        The last layer's z, and its outputs a = f(z).
    y : ndarray, (n_samples, n_out)
        The numbers that `targets` returns.
    output_weight : array-like, (n_out,), optional
        How much each output counts in the loss; 1 when left out.
    """
    pair = spec.loss.name, spec.layers[-1].act.name
    if pair == ("cross_entropy", "softmax"):
        return -np.sum(np.where(y == 0, 0, y * log_softmax(z)), axis=1)
    if pair == ("cross_entropy", "sigmoid"):
        return np.sum(y * softplus(-z), axis=1)
    if pair == ("bce", "sigmoid"):
        return np.sum(weighted(y * softplus(-z) + (1 - y) * softplus(z), y, output_weight), axis=1)
    if spec.loss.name == "gaussian_nll":
        mean, log_variance = np.split(a, 2, axis=1)
        y, output_weight = y[:, : spec.n_targets], None if output_weight is None else output_weight[: spec.n_targets]
        value = 0.5 * (log_variance + (y - mean) ** 2 * np.exp(-log_variance))
        return np.sum(weighted(value, y, output_weight), axis=1)
    value = spec.loss.function(a, y)
    return value if spec.loss.rowwise else np.sum(weighted(value, y, output_weight), axis=1)


def output_delta(spec: Spec, z: np.ndarray, a: np.ndarray, y: np.ndarray, output_weight: Any = None) -> np.ndarray:
    """Return dL/dz of the last layer, (n_samples, n_out).

    Parameters
    ----------
    spec : Spec
        The network's description.
    z, a : ndarray, (n_samples, n_out)
        The last layer's z, and its outputs a = f(z).
    y : ndarray, (n_samples, n_out)
        The numbers that `targets` returns.
    output_weight : array-like, (n_out,), optional
        How much each output counts in the loss; 1 when left out.
    """
    pair = spec.loss.name, spec.layers[-1].act.name
    if pair == ("cross_entropy", "softmax"):
        return a * y.sum(axis=1, keepdims=True) - y
    if pair == ("cross_entropy", "sigmoid"):
        return -y * sigmoid(-z)
    if pair == ("bce", "sigmoid"):
        return weighted(a - y, y, output_weight)
    return through(spec.layers[-1].act, z, a, weighted(spec.loss.derivative(a, y), y, output_weight))


def through(activation: Activation, z: np.ndarray, a: np.ndarray, da: np.ndarray) -> np.ndarray:
    """Return dL/dz from dL/da: times f'(z), or for softmax, whose outputs depend on every z, times its Jacobian.

    The Jacobian is symmetric, so this is also the change of a along a change of z.
    """
    if activation.name == "softmax":
        return a * (da - np.sum(a * da, axis=1, keepdims=True))
    return da * activation.derivative(z)


def backward(
    spec: Spec, weights: Sequence[np.ndarray], zs: Arrays, activations: Arrays, delta: np.ndarray
) -> tuple[Arrays, Arrays]:
    """Return the sums over the samples of dL/dW and dL/db of every layer, from the last layer's delta."""
    dws: Arrays = []
    dbs: Arrays = []
    for i in range(len(weights) - 1, -1, -1):
        dws.insert(0, delta.T @ activations[i])
        dbs.insert(0, delta.sum(axis=0))
        if i > 0:
            delta = through(spec.layers[i - 1].act, zs[i - 1], activations[i], delta @ weights[i])
    return dws, dbs


def gradient(
    spec: Spec,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    x: Any,
    y: np.ndarray,
    output_weight: Any = None,
) -> tuple[float, Arrays, Arrays]:
    """Return the mean loss over the samples that count, and its derivatives by every W and b, which are 0 for frozen
    layers.

    Parameters
    ----------
    spec : Spec
        The network's description.
    weights, biases : list of ndarray, (n_out, n_in) and (n_out,)
        Those of each layer.
    x : array-like, (n_samples, n_in)
        The samples.
    y : ndarray, (n_samples, n_out)
        The numbers that `targets` returns.
    output_weight : array-like, (n_out,), optional
        How much each output counts in the loss; 1 when left out.
    """
    zs, activations = forward(spec, weights, biases, x)
    n = int(measured(y).sum())
    value = float(np.sum(loss(spec, zs[-1], activations[-1], y, output_weight))) / n
    delta = output_delta(spec, zs[-1], activations[-1], y, output_weight)
    dws, dbs = backward(spec, weights, zs, activations, delta)
    for layer, dw, db in zip(spec.layers, dws, dbs, strict=True):
        dw *= layer.trainable
        db *= layer.trainable
    return value, [dw / n for dw in dws], [db / n for db in dbs]


def delta_tangent(
    activation: Activation, z: np.ndarray, a: np.ndarray, dz: np.ndarray, da: np.ndarray, dda: np.ndarray
) -> np.ndarray:
    """Return the change of dL/dz along dz, from dL/da and its change dda."""
    if activation.name != "softmax":
        return activation.second_derivative(z) * dz * da + activation.derivative(z) * dda
    moved = through(activation, z, a, dz)
    mean = np.sum(a * da, axis=1, keepdims=True)
    return moved * (da - mean) + a * (dda - np.sum(moved * da + a * dda, axis=1, keepdims=True))


def output_delta_tangent(spec: Spec, z: np.ndarray, a: np.ndarray, y: np.ndarray, dz: np.ndarray) -> np.ndarray:
    """Return the change of `output_delta` along dz, (n_samples, n_out)."""
    act = spec.layers[-1].act
    pair = spec.loss.name, act.name
    if pair == ("cross_entropy", "softmax"):
        return y.sum(axis=1, keepdims=True) * through(act, z, a, dz)
    if pair == ("cross_entropy", "sigmoid"):
        return y * a * (1 - a) * dz
    if pair == ("bce", "sigmoid"):
        return a * (1 - a) * dz
    if spec.loss.name == "gaussian_nll":  # whose outputs' derivatives depend on each other
        mean, log_variance, d_mean, d_log_variance = (*np.split(a, 2, axis=1), *np.split(dz, 2, axis=1))
        e, precision = mean - y[:, : spec.n_targets], np.exp(-log_variance)
        by_mean = precision * (d_mean - e * d_log_variance)
        return np.hstack([by_mean, precision * e * (0.5 * e * d_log_variance - d_mean)])
    curved = spec.loss.required_second_derivative(a, y) * through(act, z, a, dz)
    return delta_tangent(act, z, a, dz, spec.loss.derivative(a, y), curved)


def hessian_product(
    spec: Spec,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    x: Any,
    y: np.ndarray,
    along: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
) -> tuple[Arrays, Arrays]:
    """Return the Hessian of the mean loss times a vector, ``along``, which has a W and a b for each layer.

    This is the change of `gradient` when weights and biases move along it, by Pearlmutter's R-operator ("Fast exact
    multiplication by the Hessian", Neural Computation 6, 1994). The second derivative of a kink counts as 0.

    Parameters
    ----------
    spec : Spec
        The network's description.
    weights, biases : list of ndarray, (n_out, n_in) and (n_out,)
        Those of each layer.
    x : array-like, (n_samples, n_in)
        The samples.
    y : ndarray, (n_samples, n_out)
        The numbers that `targets` returns.
    along : pair of lists of ndarray
        The vector: a W and a b for each layer.
    """
    zs, activations = forward(spec, weights, biases, x)
    dzs: Arrays = []
    das: Arrays = [np.zeros_like(activations[0])]
    for i, (dw, db) in enumerate(zip(*along, strict=True)):
        dzs.append(das[-1] @ np.asarray(weights[i], np.float64).T + activations[i] @ dw.T + db)
        das.append(through(spec.layers[i].act, zs[i], activations[i + 1], dzs[i]))
    delta = output_delta(spec, zs[-1], activations[-1], y)
    moved = output_delta_tangent(spec, zs[-1], activations[-1], y, dzs[-1])
    n = len(activations[0])
    dws: Arrays = []
    dbs: Arrays = []
    for i in range(len(weights) - 1, -1, -1):
        dws.insert(0, (moved.T @ activations[i] + delta.T @ das[i]) / n)
        dbs.insert(0, moved.sum(axis=0) / n)
        if i > 0:
            act, z, a = spec.layers[i - 1].act, zs[i - 1], activations[i]
            da, dda = delta @ weights[i], moved @ weights[i] + delta @ along[0][i]
            delta, moved = through(act, z, a, da), delta_tangent(act, z, a, dzs[i - 1], da, dda)
    return dws, dbs


def sobolev_gradient(
    spec: Spec,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    x: Any,
    y: np.ndarray,
    dydx: np.ndarray,
    dydx_weight: Any = 1.0,
) -> tuple[float, float, Arrays, Arrays]:
    """Return the mean loss that training on derivatives has, its part ½ w Σ (∂ŷ/∂x - dydx)², and its gradient.

    dydx is (n_samples, n_out, n_in) in the user's units, NaN where it is not known; w is a number or (n_samples,). Both
    derivatives are in the network's units in the square. The tangents of all inputs go forward beside the samples; then
    the way back is differentiated along them (Czarnecki et al., "Sobolev Training for Neural Networks", 2017,
    arXiv:1706.04859; the R-operator is that of `hessian_product`).

    Parameters
    ----------
    spec : Spec
        The network's description.
    weights, biases : list of ndarray, (n_out, n_in) and (n_out,)
        Those of each layer.
    x : array-like, (n_samples, n_in)
        The samples.
    y : ndarray, (n_samples, n_out)
        The numbers that `targets` returns.
    dydx : ndarray, (n_samples, n_out, n_in)
        The right derivatives, in the user's units; NaN where one is not known.
    dydx_weight : float, or ndarray (n_samples,)
        How much the derivatives count, w above.
    """
    zs, activations = forward(spec, weights, biases, x)
    n, acts = len(activations[0]), [layer.act for layer in spec.layers]
    units = 1.0 if spec.output_affine is None else np.reshape(spec.output_affine[1], (-1, 1))
    goals = np.asarray(dydx, np.float64) / units / (1.0 if spec.input_affine is None else spec.input_affine[1])
    delta = output_delta(spec, zs[-1], activations[-1], y)
    dzs: list[Arrays] = []
    das: list[Arrays] = []
    seeds: Arrays = []
    slopes = 0.0
    for k in range(spec.n_in):
        tangents: Arrays = [np.tile(np.eye(spec.n_in)[k], (n, 1))]
        dzs.append([])
        for act, w, z, a in zip(acts, weights, zs, activations[1:], strict=True):
            dzs[k].append(tangents[-1] @ np.asarray(w, np.float64).T)
            tangents.append(through(act, z, a, dzs[k][-1]))
        das.append(tangents)
        residual = np.where(np.isnan(goals[:, :, k]), 0.0, tangents[-1] - goals[:, :, k])
        seeds.append(np.broadcast_to(dydx_weight, n)[:, None] * residual)
        slopes += float(np.sum(seeds[k] * residual)) / 2 / n
    dws: Arrays = []
    dbs: Arrays = []
    for i in range(len(weights) - 1, -1, -1):
        act, z, a = acts[i], zs[i], activations[i + 1]
        for dz, seed in zip(dzs, seeds, strict=True):
            delta = delta + delta_tangent(act, z, a, dz[i], seed, np.zeros_like(seed))
        deltas = [through(act, z, a, seed) for seed in seeds]
        pairs = zip([delta, *deltas], [activations[i], *(tangents[i] for tangents in das)], strict=True)
        dws.insert(0, sum((d.T @ inputs for d, inputs in pairs), np.zeros(np.shape(weights[i]))) / n)
        dbs.insert(0, delta.sum(axis=0) / n)
        if i > 0:
            seeds = [d @ weights[i] for d in deltas]
            delta = through(acts[i - 1], zs[i - 1], activations[i], delta @ weights[i])
    value = float(np.mean(loss(spec, zs[-1], activations[-1], y)))
    return value + slopes, slopes, dws, dbs


def residual_gradient(
    spec: Spec,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    x: Any,
    y: np.ndarray,
    residual: Residual,
    residual_weight: np.ndarray,
) -> tuple[float, float, Arrays, Arrays]:
    """Return the mean loss that training on a residual r has, its part ½ w r², and the loss's gradient.

    The derivatives by each input, and by each pair of inputs, go ahead beside the samples, by the chain rule:
    a_i = f' z_i, a_ij = f'' z_i z_j + f' z_ij. Then all of it is differentiated on the way back. The loss is that of
    M. Raissi, P. Perdikaris and G. E. Karniadakis, "Physics-informed neural networks", Journal of Computational Physics
    378, 2019.

    Parameters
    ----------
    spec : Spec
        The network's description, without a softmax.
    weights, biases : list of ndarray, (n_out, n_in) and (n_out,)
        Those of each layer.
    x : array-like, (n_samples, n_in)
        The samples.
    y : ndarray, (n_samples, n_out)
        The numbers that `targets` returns, or NaN.
    residual : Residual
        The function r, and its derivatives.
    residual_weight : ndarray, (n_samples,)
        The weights w.
    """
    zs, activations = forward(spec, weights, biases, x)
    n, n_in, acts = len(activations[0]), spec.n_in, [layer.act for layer in spec.layers]
    pairs = [(i, j) for i in range(n_in) for j in range(i, n_in)]
    scale = np.ones(n_in) if spec.input_affine is None else spec.input_affine[1]
    shift_out, unit = (0.0, np.ones(spec.n_out)) if spec.output_affine is None else spec.output_affine
    a1 = [[np.tile(scale[i] * np.eye(n_in)[i], (n, 1)) for i in range(n_in)]]
    a2 = [[np.zeros((n, n_in)) for _ in pairs]]
    z1: list[Arrays] = []
    z2: list[Arrays] = []
    for act, w, z in zip(acts, weights, zs, strict=True):
        wt = np.asarray(w, np.float64).T
        z1.append([a @ wt for a in a1[-1]])
        z2.append([a @ wt for a in a2[-1]])
        d, dd = act.derivative(z), act.second_derivative(z)
        a1.append([d * zi for zi in z1[-1]])
        a2.append([d * zij + dd * z1[-1][i] * z1[-1][j] for zij, (i, j) in zip(z2[-1], pairs, strict=True)])
    g, g1, g2 = (np.zeros((n, spec.n_out, *(n_in,) * order)) for order in range(3))
    part = 0.0
    for s in np.flatnonzero(residual_weight):
        u = shift_out + unit * activations[-1][s]
        du = np.stack([unit * a[s] for a in a1[-1]], axis=1)
        d2u = np.zeros((spec.n_out, n_in, n_in))
        for a, (i, j) in zip(a2[-1], pairs, strict=True):
            d2u[:, i, j] = d2u[:, j, i] = unit * a[s]
        point = np.asarray(x, np.float64)[s]
        r = residual.r(point, u, du, d2u)
        residual.dr(point, u, du, d2u, g[s], g1[s], g2[s])
        for derivatives in (g, g1, g2):
            derivatives[s] *= residual_weight[s] * r
        part += residual_weight[s] * r**2 / 2 / n
    delta = unit * g
    delta1 = [unit * g1[:, :, i] for i in range(n_in)]
    delta2 = [unit * (g2[:, :, i, j] + (i < j) * g2[:, :, j, i]) for i, j in pairs]
    of_y = output_delta(spec, zs[-1], activations[-1], y)
    dws: Arrays = []
    dbs: Arrays = []
    for k in range(len(weights) - 1, -1, -1):
        act, z = acts[k], zs[k]
        d, dd, ddd = act.derivative(z), act.second_derivative(z), act.third_derivative(z)
        own = d * delta + sum(dd * a * zi for a, zi in zip(delta1, z1[k], strict=True)) + of_y
        own1, of_y = [d * a for a in delta1], np.zeros(1)
        for a, zij, (i, j) in zip(delta2, z2[k], pairs, strict=True):
            own = own + a * (ddd * z1[k][i] * z1[k][j] + dd * zij)
            own1[i] = own1[i] + dd * a * z1[k][j]
            own1[j] = own1[j] + dd * a * z1[k][i]
        rows = [own, *own1, *(d * a for a in delta2)]
        inputs = [activations[k], *a1[k], *a2[k]]
        dws.insert(0, sum((row.T @ a for row, a in zip(rows, inputs, strict=True)), np.zeros(np.shape(weights[k]))) / n)
        dbs.insert(0, own.sum(axis=0) / n)
        delta, *others = (row @ np.asarray(weights[k], np.float64) for row in rows)
        delta1, delta2 = others[:n_in], others[n_in:]
    return float(np.mean(loss(spec, zs[-1], activations[-1], y))) + part, part, dws, dbs


def jacobian(
    spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], x: Any
) -> list[list[tuple[Arrays, Arrays]]]:
    """Return derivatives of outputs: ``result[s][k]`` is (dW of every layer, db of every layer) of sample s, output
    k.

    Parameters
    ----------
    spec : Spec
        The network's description.
    weights, biases : list of ndarray, (n_out, n_in) and (n_out,)
        Those of each layer.
    x : array-like, (n_samples, n_in)
        The samples.
    """
    units = np.ones(spec.n_out) if spec.output_affine is None else spec.output_affine[1]
    rows = []
    for sample in np.asarray(x, dtype=np.float64):
        zs, activations = forward(spec, weights, biases, sample[None])
        seeds = np.diag(units)[:, None]
        last = spec.layers[-1].act
        deltas = [through(last, zs[-1], activations[-1], seed) for seed in seeds]
        rows.append([backward(spec, weights, zs, activations, delta) for delta in deltas])
    return rows


def train(
    spec: Spec,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    x: Any,
    y: np.ndarray,
    lr: float,
    epochs: int,
    batch_size: int = 1,
    orders: Sequence[np.ndarray] | None = None,
    output_weight: Any = None,
) -> tuple[Arrays, Arrays, list[float]]:
    """Train by SGD: for each batch, one step against the gradient of its mean loss. Samples without a measured output
    are left out from the beginning.

    Returns new weights and biases, and each epoch's mean loss, where each sample counts as it was before it was learnt
    from.

    Parameters
    ----------
    spec : Spec
        The network's description.
    weights, biases : list of ndarray, (n_out, n_in) and (n_out,)
        Those of each layer, which stay as they are.
    x : array-like, (n_samples, n_in)
        The samples.
    y : ndarray, (n_samples, n_out)
        The numbers that `targets` returns.
    lr : float
        The learning rate.
    epochs : int
        The number of passes over the samples.
    batch_size : int
        The number of samples in a step.
    orders : sequence of ndarray, (n_samples,), optional
        The order of the samples in each epoch; their own order when left out.
    output_weight : array-like, (n_out,), optional
        How much each output counts in the loss; 1 when left out.
    """
    x = np.asarray(x, dtype=np.float64)
    weights = [np.array(w, np.float64) for w in weights]
    biases = [np.array(b, np.float64) for b in biases]
    losses = []
    for epoch in range(epochs):
        order = np.arange(len(x)) if orders is None else orders[epoch]
        order = order[measured(y)[order]]
        total = 0.0
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            value, dws, dbs = gradient(spec, weights, biases, x[batch], y[batch], output_weight)
            total += value * len(batch)
            for layer, w, b, dw, db in zip(spec.layers, weights, biases, dws, dbs, strict=True):
                w -= lr * dw
                if layer.bias:
                    b -= lr * db
        losses.append(total / len(order))
    return weights, biases, losses


def levenberg_marquardt(
    spec: Spec,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    x: Any,
    y: np.ndarray,
    steps: int,
    damping: float = 1e-3,
) -> tuple[Arrays, Arrays, list[float]]:
    """Take steps of Levenberg and Marquardt that lower the mean loss ½ rᵀr / n, by Nielsen's rule for the damping
    (Madsen, Nielsen and Tingleff 2004, algorithm 3.16).

    Returns new weights and biases, and the loss after each step.

    Parameters
    ----------
    spec : Spec
        The network's description.
    weights, biases : list of ndarray, (n_out, n_in) and (n_out,)
        Those of each layer, which stay as they are.
    x : array-like, (n_samples, n_in)
        The samples.
    y : ndarray, (n_samples, n_out)
        The numbers that `targets` returns.
    steps : int
        The number of steps.
    damping : float
        The first damping, as a share of the largest number on JᵀJ's diagonal.
    """
    weights = [np.array(w, np.float64) for w in weights]
    biases = [np.array(b, np.float64) for b in biases]

    def parameters_of(weights: Arrays, biases: Arrays) -> Arrays:
        return [*weights, *(b for layer, b in zip(spec.layers, biases, strict=True) if layer.bias)]

    free = parameters_of(weights, biases)
    units = np.ones(spec.n_out) if spec.output_affine is None else spec.output_affine[1]

    def residuals() -> np.ndarray:
        return (forward(spec, weights, biases, x)[1][-1] - y).ravel()

    def move(step: np.ndarray) -> None:
        for parameters, own in zip(free, np.split(step, np.cumsum([p.size for p in free])[:-1]), strict=True):
            parameters += own.reshape(parameters.shape)

    losses: list[float] = []
    mu, growth, r = 0.0, 2.0, residuals()
    while len(losses) < steps:
        rows = [
            np.concatenate([derivative.ravel() for derivative in parameters_of(dws, dbs)]) / unit
            for sample in jacobian(spec, weights, biases, x)
            for unit, (dws, dbs) in zip(units, sample, strict=True)
        ]
        j = np.array(rows)
        gram, slope = j.T @ j / len(y), j.T @ r / len(y)
        mu = mu or damping * float(gram.diagonal().max())
        while True:
            step = np.linalg.solve(gram + mu * np.eye(len(slope)), -slope)
            move(step)
            reached = residuals()
            gain = 0.5 * (r @ r - reached @ reached) / len(y)
            ratio = gain / (0.5 * step @ (mu * step - slope))
            if ratio > 0:
                break
            move(-step)
            mu, growth = mu * growth, growth * 2
        mu, growth, r = mu * max(1 / 3, 1 - (2 * ratio - 1) ** 3), 2.0, reached
        losses.append(float(0.5 * r @ r / len(y)))
    return weights, biases, losses
