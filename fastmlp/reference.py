"""The arithmetic of fastmlp in plain NumPy and float64: slow, short, and what the kernels are tested against.

A network is a list of ``weights`` (n_out, n_in) and a list of ``biases`` (n_out,), one for each layer; samples are
rows. Nothing here is compiled, and only the formulas of activations.py and losses.py are shared with the kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .activations import ACTIVATIONS, Activation
from .spec import Spec

__all__ = [
    "forward", "gradient", "hessian_product", "jacobian", "loss", "output_delta", "predict", "targets", "train",
]  # fmt: skip

Arrays = list[np.ndarray]
sigmoid, softplus = ACTIVATIONS["sigmoid"], ACTIVATIONS["softplus"]


def targets(spec: Spec, y: Any) -> np.ndarray:
    """Return y as numbers (n_samples, n_out), in the network's units if the last layer has a shift and scale.

    Class indices become one-hot rows, a vector a column, and a target of several quantiles one column for each.
    """
    y = np.asarray(y)
    if y.ndim == 1 and spec.n_targets > 1:
        return np.eye(spec.n_out)[y]
    y = np.repeat(y.reshape(len(y), spec.n_targets).astype(np.float64), spec.n_out // spec.n_targets, axis=1)
    if spec.output_affine is None:
        return y
    shift, scale = spec.output_affine
    return y / np.exp(shift) if spec.loss.name == "poisson" else (y - shift) / scale


def forward(spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], x: Any) -> tuple[Arrays, Arrays]:
    """Return every layer's z = W a + b, and the input (x - shift) · scale followed by every layer's a = f(z)."""
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
    """Return the outputs (n_samples, n_out) in y's units: shift + scale · a of the last layer."""
    a = forward(spec, weights, biases, x)[1][-1]
    return a if spec.output_affine is None else spec.output_affine[0] + spec.output_affine[1] * a


def log_softmax(z: np.ndarray) -> np.ndarray:
    """log softmax(z) of each row, by log-sum-exp: no logarithm of a rounded probability."""
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def loss(spec: Spec, z: np.ndarray, a: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the loss of each sample, (n_samples,), from the last layer's z and a, and y as `targets` returns it."""
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
    """Return dL/dz of the last layer, (n_samples, n_out)."""
    pair = spec.loss.name, spec.layers[-1].act.name
    if pair == ("cross_entropy", "softmax"):
        return a * y.sum(axis=1, keepdims=True) - y
    if pair == ("cross_entropy", "sigmoid"):
        return -y * sigmoid(-z)
    if pair == ("bce", "sigmoid"):
        return a - y
    return through(spec.layers[-1].act, z, a, spec.loss.derivative(a, y))


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
    spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], x: Any, y: np.ndarray
) -> tuple[float, Arrays, Arrays]:
    """Return the mean loss over the samples and its derivatives by every W and b; y is as `targets` returns it."""
    zs, activations = forward(spec, weights, biases, x)
    value = float(np.mean(loss(spec, zs[-1], activations[-1], y)))
    dws, dbs = backward(spec, weights, zs, activations, output_delta(spec, zs[-1], activations[-1], y))
    n = len(activations[0])
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
    """Return the Hessian of the mean loss times a vector, ``along``, which has a W and a b for each layer.

    This is the change of `gradient` when weights and biases move along it, by Pearlmutter's R-operator ("Fast exact
    multiplication by the Hessian", Neural Computation 6, 1994). The second derivative of a kink counts as 0.
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


def jacobian(
    spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray], x: Any
) -> list[list[tuple[Arrays, Arrays]]]:
    """Return derivatives of outputs: ``result[s][k]`` is (dW of every layer, db of every layer) of sample s, output
    k."""
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
    """Train by SGD: one step for each batch, against the gradient of its mean loss.

    Samples come in their order, or in those of ``orders``; y is as `targets` returns it. Returns new weights and
    biases, and each epoch's mean loss, where each sample counts as it was before it was learnt from.
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
