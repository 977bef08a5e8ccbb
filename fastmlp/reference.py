"""The arithmetic of fastmlp in plain NumPy and float64: slow, short, and what the kernels are held against.

A network is lists of ``weights`` (n_out, n_in) and ``biases`` (n_out,), one a layer; samples are rows, as everywhere.
Nothing here is compiled and nothing is shared with the kernels but the formulas of activations.py and losses.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .activations import ACTIVATIONS, Activation
from .spec import Spec

__all__ = [
    "forward", "gradient", "hessian_product", "jacobian", "levenberg_marquardt", "loss", "output_delta", "predict",
    "targets", "train",
]  # fmt: skip

Arrays = list[np.ndarray]
sigmoid, softplus = ACTIVATIONS["sigmoid"], ACTIVATIONS["softplus"]


def targets(spec: Spec, y: Any) -> np.ndarray:
    """y as numbers (n_samples, n_out): class indices become one-hot rows, a vector becomes a column, a target of
    several quantiles one for each; in the network's units where the last layer has a shift and scale."""
    y = np.asarray(y)
    if y.ndim == 1 and spec.n_targets > 1:
        return np.eye(spec.n_out)[y]
    y = np.repeat(y.reshape(len(y), spec.n_targets).astype(np.float64), spec.n_out // spec.n_targets, axis=1)
    if spec.output_affine is None:
        return y
    shift, scale = spec.output_affine
    return y / np.exp(shift) if spec.loss.name == "poisson" else (y - shift) / scale


def forward(spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], x: Any) -> tuple[Arrays, Arrays]:
    """Every layer's z = W a + b, and every layer's a = f(z), the input (x - shift) · scale in front."""
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
    """The outputs (n_samples, n_out) in the user's units: shift + scale · a of the last layer."""
    a = forward(spec, weights, biases, x)[1][-1]
    return a if spec.output_affine is None else spec.output_affine[0] + spec.output_affine[1] * a


def log_softmax(z: np.ndarray) -> np.ndarray:
    """log softmax(z) of each row, by log-sum-exp: no logarithm of a rounded probability."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def loss(spec: Spec, z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The loss of each sample, (n_samples,), from the last layer's z and a, and y as `targets` has it."""
    pair = spec.loss.name, spec.layers[-1].act.name
    if pair == ("cross_entropy", "softmax"):
        return -np.sum(np.where(y == 0, 0, y * log_softmax(z)), axis=1)
    if pair == ("cross_entropy", "sigmoid"):
        return np.sum(y * softplus(-z), axis=1)
    if pair == ("bce", "sigmoid"):
        return np.sum(y * softplus(-z) + (1 - y) * softplus(z), axis=1)
    value = spec.loss.function(a, y)
    return value if spec.loss.rowwise else np.sum(value, axis=1)


def output_delta(spec: Spec, z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dL/dz of the last layer, a row a sample."""
    pair = spec.loss.name, spec.layers[-1].act.name
    if pair == ("cross_entropy", "softmax"):
        return a * y.sum(axis=1, keepdims=True) - y
    if pair == ("cross_entropy", "sigmoid"):
        return -y * sigmoid(-z)
    if pair == ("bce", "sigmoid"):
        return a - y
    return through(spec.layers[-1].act, z, a, spec.loss.derivative(a, y))


def through(activation: Activation, z: np.ndarray, a: np.ndarray, da: np.ndarray) -> np.ndarray:
    """dL/dz from dL/da: times f'(z), or for softmax, whose every output depends on every z, through its Jacobian. It is
    symmetric, so that this is also how a changes along a change of z."""
    if activation.name == "softmax":
        return a * (da - np.sum(a * da, axis=1, keepdims=True))
    return da * activation.derivative(z)


def backward(
    spec: Spec, weights: Sequence[np.ndarray], zs: Arrays, activations: Arrays, delta: np.ndarray
) -> tuple[Arrays, Arrays]:
    """Sums over the samples of dL/dW and dL/db of every layer, from the last layer's delta."""
    dws: Arrays = []
    dbs: Arrays = []
    for i in range(len(weights) - 1, -1, -1):
        dws.insert(0, delta.T @ activations[i])
        dbs.insert(0, delta.sum(axis=0))
        if i > 0:
            delta = through(spec.layers[i - 1].act, zs[i - 1], activations[i], delta @ weights[i])
    return dws, dbs


def gradient(
    spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], x: Any, y: np.ndarray
) -> tuple[float, Arrays, Arrays]:
    """The mean loss over the samples and its derivatives by every W and b. y is as `targets` has it."""
    zs, activations = forward(spec, weights, biases, x)
    value = float(np.mean(loss(spec, zs[-1], activations[-1], y)))
    dws, dbs = backward(spec, weights, zs, activations, output_delta(spec, zs[-1], activations[-1], y))
    n = len(activations[0])
    return value, [dw / n for dw in dws], [db / n for db in dbs]


def delta_tangent(
    activation: Activation, z: np.ndarray, a: np.ndarray, dz: np.ndarray, da: np.ndarray, dda: np.ndarray
) -> np.ndarray:
    """How dL/dz changes along dz, from dL/da and its own change dda."""
    if activation.name != "softmax":
        return activation.second_derivative(z) * dz * da + activation.derivative(z) * dda
    moved = through(activation, z, a, dz)
    mean = np.sum(a * da, axis=1, keepdims=True)
    return moved * (da - mean) + a * (dda - np.sum(moved * da + a * dda, axis=1, keepdims=True))


def output_delta_tangent(spec: Spec, z: np.ndarray, a: np.ndarray, y: np.ndarray, dz: np.ndarray) -> np.ndarray:
    """How `output_delta` changes along dz, a row a sample."""
    act = spec.layers[-1].act
    pair = spec.loss.name, act.name
    if pair == ("cross_entropy", "softmax"):
        return y.sum(axis=1, keepdims=True) * through(act, z, a, dz)
    if pair == ("cross_entropy", "sigmoid"):
        return y * a * (1 - a) * dz
    if pair == ("bce", "sigmoid"):
        return a * (1 - a) * dz
    if spec.loss.second_derivative is None:
        raise ValueError(
            f"loss {spec.loss.name!r} has no second derivative; give one: fastmlp.Loss(name, function, derivative, "
            "second_derivative)"
        )
    curved = spec.loss.second_derivative(a, y) * through(act, z, a, dz)
    return delta_tangent(act, z, a, dz, spec.loss.derivative(a, y), curved)


def hessian_product(
    spec: Spec,
    weights: Sequence[np.ndarray],
    biases: Sequence[np.ndarray],
    x: Any,
    y: np.ndarray,
    along: tuple[Sequence[np.ndarray], Sequence[np.ndarray]],
) -> tuple[Arrays, Arrays]:
    """How `gradient` changes when weights and biases move along ``along``, which has a W and a b for each layer: the
    Hessian of the mean loss times that vector, by Pearlmutter's R-operator ("Fast exact multiplication by the Hessian",
    Neural Computation 6, 1994). Where f or the loss has a kink, its second derivative counts as 0."""
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


def jacobian(
    spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], x: Any
) -> list[list[tuple[Arrays, Arrays]]]:
    """``result[s][k]`` is (dW of every layer, db of every layer) of output k, in the user's units, for sample s."""
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
) -> tuple[Arrays, Arrays, list[float]]:
    """SGD: for each batch, one step against the gradient of its mean loss. Sample order is natural, or as given; y is
    as `targets` has it.

    Returns new weights and biases, and each epoch's mean loss, every sample as it was seen.
    """
    x = np.asarray(x, dtype=np.float64)
    weights = [np.array(w, np.float64) for w in weights]
    biases = [np.array(b, np.float64) for b in biases]
    losses = []
    for epoch in range(epochs):
        order = np.arange(len(x)) if orders is None else orders[epoch]
        total = 0.0
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            value, dws, dbs = gradient(spec, weights, biases, x[batch], y[batch])
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
    """Steps of Levenberg and Marquardt that lower the mean loss ½ rᵀr / n, by Nielsen's rule for the damping (Madsen,
    Nielsen and Tingleff 2004, algorithm 3.16), which begins at ``damping`` times the largest of JᵀJ's diagonal. y is as
    `targets` has it.

    Returns new weights and biases, and the loss after each step.
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
