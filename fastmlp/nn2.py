"""The functions of the tutorial "Code NN in NumPy", with its names and orientation, on fastmlp's kernels.

Samples are columns; weights are dicts ``w[1], w[2], …`` of shape (n_out, n_in) and ``b[1], …`` of shape (n_out, 1); the
network is the list of dicts. The tutorial's script runs with ``import fastmlp.nn2 as nn2``. Three slips of the tutorial
are corrected: `train` takes one sample at a time, as its permutation intends, not all of them each time; ``db`` is
summed over the samples; and `backward_y` takes the derivative of the output layer at z, not at f(z).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .activations import ACTIVATIONS
from .base.checks import check_count, check_number
from .engine.blocks import BLOCK
from .engine.epochs import sgd_pass
from .model.data import check_x, check_y
from .model.mlp import MLP
from .spec import Spec

__all__ = [
    "accuracy", "backward_cost", "backward_y", "ce_loss", "d_bce_sigmoid", "d_ce_softmax", "d_linear", "d_mse",
    "d_relu", "d_sigmoid", "forward", "linear", "relu", "sigmoid", "softmax", "test", "train", "weight_init",
]  # fmt: skip

Arrays = dict[int, np.ndarray]
Layers = Sequence[Mapping[str, Any]]

sigmoid = ACTIVATIONS["sigmoid"]
"""The logistic function of every number."""
relu = ACTIVATIONS["relu"]
"""max(0, z) of every number."""
linear = ACTIVATIONS["linear"]
"""The identity."""
d_sigmoid = sigmoid.derivative
"""The derivative of `sigmoid` at z."""
d_relu = relu.derivative
"""The derivative of `relu` at z."""
d_linear = linear.derivative
"""The derivative of `linear` at z: ones."""


def softmax(x: Any) -> np.ndarray:
    """The softmax of every column.

    Parameters
    ----------
    x : array-like, (n, n_samples)
        The numbers, one sample in each column.
    """
    return np.moveaxis(ACTIVATIONS["softmax"](np.moveaxis(np.asarray(x), 0, -1)), -1, 0)


def d_mse(y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dL/dy_hat of ½ Σ (y_hat - y)².

    Parameters
    ----------
    y_hat, y : ndarray, (n_out, n_samples)
        Predicted and right outputs.
    """
    return y_hat - y


def d_bce_sigmoid(y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dL/dz of binary cross-entropy under sigmoid.

    Parameters
    ----------
    y_hat, y : ndarray, (n_out, n_samples)
        Predicted and right outputs.
    """
    return y_hat - y


def d_ce_softmax(y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dL/dz of cross-entropy under softmax.

    Parameters
    ----------
    y_hat, y : ndarray, (n_out, n_samples)
        Predicted and right outputs.
    """
    return y_hat - y


def weight_init(nn: Layers) -> tuple[Arrays, Arrays]:
    """Draw weights and biases from [0, 0.001) with NumPy's global state, and return (w, b).

    Parameters
    ----------
    nn : list of dict
        The layers, the input first; see `fastmlp.Spec`.
    """
    w, b = {}, {}
    for i in range(1, len(nn)):
        w[i] = 0.001 * np.random.rand(nn[i]["n"], nn[i - 1]["n"])
        b[i] = 0.001 * np.random.rand(nn[i]["n"], 1)
    return w, b


def forward(x: np.ndarray, w: Arrays, b: Arrays, nn: Layers) -> tuple[np.ndarray, Arrays, Arrays]:
    """Return (outputs, Z, A) for x (n_in, n_samples): ``Z[i]`` and ``A[i]`` are layer i's, ``A[0]`` is the input.

    Parameters
    ----------
    x : ndarray, (n_in, n_samples)
        The samples, one in each column.
    w, b : dict of ndarray, (n_out, n_in) and (n_out, 1)
        Weights and biases by the number of the layer, from 1 on.
    nn : list of dict
        The layers, the input first; see `fastmlp.Spec`.
    """
    zs, activations = _network(w, b, nn).forward(np.asarray(x).T)
    layers = {i: a.T for i, a in enumerate(activations)}
    return layers[len(zs)], {i: z.T for i, z in enumerate(zs, 1)}, layers


def backward_y(x: np.ndarray, w: Arrays, b: Arrays, nn: Layers) -> tuple[np.ndarray, Arrays, Arrays]:
    """Return (outputs, dw, db): derivatives of the sum of all outputs over all samples.

    Parameters
    ----------
    x : ndarray, (n_in, n_samples)
        The samples, one in each column.
    w, b : dict of ndarray, (n_out, n_in) and (n_out, 1)
        Weights and biases by the number of the layer, from 1 on.
    nn : list of dict
        The layers, the input first; see `fastmlp.Spec`.
    """
    model = _network(w, b, nn)
    rows = np.asarray(x).T
    total = np.zeros(model.params.size)
    for start in range(0, len(rows), BLOCK):
        total += model.jacobian(rows[start : start + BLOCK]).sum(axis=(0, 1))
    return model.predict(rows).T, *_dicts(model, total)


def backward_cost(
    x: np.ndarray, y: np.ndarray, w: Arrays, b: Arrays, nn: Layers, cost: Any = None
) -> tuple[np.ndarray, Arrays, Arrays]:
    """Return (outputs, dw, db): derivatives of the loss summed over the samples; ``cost`` overrides the spec's.

    Parameters
    ----------
    x : ndarray, (n_in, n_samples)
        The samples, one in each column.
    y : ndarray, (n_out, n_samples)
        The right outputs, one sample in each column.
    w, b : dict of ndarray, (n_out, n_in) and (n_out, 1)
        Weights and biases by the number of the layer, from 1 on.
    nn : list of dict
        The layers, the input first; see `fastmlp.Spec`.
    cost : str or fastmlp.Loss, optional
        The loss, instead of the spec's.
    """
    model = _network(w, b, nn, cost)
    rows = np.asarray(x).T
    _, grad = model.gradient(rows, np.asarray(y).T)
    return model.predict(rows).T, *_dicts(model, grad * len(rows))


def accuracy(y_hat: np.ndarray, y: np.ndarray) -> float:
    """Share of columns whose largest output is where y's is.

    Parameters
    ----------
    y_hat, y : ndarray, (n_out, n_samples)
        Predicted and right outputs.
    """
    return float(np.mean(np.argmax(y_hat, axis=0) == np.argmax(y, axis=0)))


def ce_loss(y_hat: np.ndarray, y: np.ndarray) -> float:
    """Mean over the columns of -Σ y log y_hat, where 0 log 0 is 0.

    Parameters
    ----------
    y_hat, y : ndarray, (n_out, n_samples)
        Predicted and right outputs.
    """
    y_hat = np.asarray(y_hat, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(-np.sum(np.where(y == 0, 0.0, y * np.log(y_hat)), axis=0)))


def train(
    x: np.ndarray, y: np.ndarray, alpha: float, iter: int, w: Arrays, b: Arrays, nn: Layers, cost: Any = None
) -> tuple[Arrays, Arrays, np.ndarray, np.ndarray]:
    """Train by per-sample SGD: ``iter`` passes in random order (NumPy's global state), each with a printed line.

    Returns (w, b, acc, loss): accuracy and cross-entropy of each pass,
    from the outputs that each sample had before it was learnt from.

    Parameters
    ----------
    x : ndarray, (n_in, n_samples)
        The samples, one in each column.
    y : ndarray, (n_out, n_samples)
        The right outputs, one sample in each column.
    alpha : float
        The learning rate.
    iter : int
        The number of passes over the samples.
    w, b : dict of ndarray, (n_out, n_in) and (n_out, 1)
        Weights and biases by the number of the layer, from 1 on; their entries are replaced.
    nn : list of dict
        The layers, the input first; see `fastmlp.Spec`.
    cost : str or fastmlp.Loss, optional
        The loss, instead of the spec's.
    """
    iter = check_count(iter, "iter")
    alpha = check_number(alpha, "alpha", 0.0, open_low=True)
    model = _network(w, b, nn, cost)
    rows = check_x(np.asarray(x).T, model.spec.n_in, model.dtype)
    targets = check_y(np.asarray(y).T, model.spec, len(rows), model.dtype)
    acc, loss = np.zeros(iter), np.zeros(iter)
    outputs = np.zeros((len(rows), model.spec.n_out))
    for i in range(iter):
        order = np.random.permutation(len(rows))
        sgd_pass(model, rows, targets, alpha, order, outputs)
        y_seen = np.asarray(y)[:, order]
        acc[i], loss[i] = accuracy(outputs.T, y_seen), ce_loss(outputs.T, y_seen)
        print(f"iter:{i + 1} acc:{acc[i]} loss:{loss[i]}")
    new_w, new_b = _dicts(model, model.params)
    w.update(new_w)
    b.update(new_b)
    return w, b, acc, loss


def test(x: np.ndarray, w: Arrays, b: Arrays, nn: Layers) -> np.ndarray:
    """Return the outputs (n_out, n_samples) for x (n_in, n_samples).

    Parameters
    ----------
    x : ndarray, (n_in, n_samples)
        The samples, one in each column.
    w, b : dict of ndarray, (n_out, n_in) and (n_out, 1)
        Weights and biases by the number of the layer, from 1 on.
    nn : list of dict
        The layers, the input first; see `fastmlp.Spec`.
    """
    return _network(w, b, nn).predict(np.asarray(x).T).T


test.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


def _network(w: Arrays, b: Arrays, nn: Layers, cost: Any = None) -> MLP:
    """Make a float64 model with copies of the tutorial's dicts."""
    layers = [{**layer, "act": "softmax" if layer.get("act") is softmax else layer.get("act")} for layer in nn]
    if cost is not None:
        layers[-1]["cost"] = cost
    model = MLP(Spec(layers), dtype="float64")
    for i in range(1, len(nn)):
        if np.shape(w[i]) != model.weights[i - 1].shape or np.size(b[i]) != model.biases[i - 1].size:
            raise ValueError(
                f"w[{i}] and b[{i}] must be {model.weights[i - 1].shape} and ({nn[i]['n']}, 1), "
                f"got {np.shape(w[i])} and {np.shape(b[i])}"
            )
        model.weights[i - 1][...] = w[i]
        model.biases[i - 1][...] = np.ravel(b[i])
    return model


def _dicts(model: MLP, vector: np.ndarray) -> tuple[Arrays, Arrays]:
    """Return a vector shaped like the parameters as the tutorial's two dicts, copied."""
    weights, biases = model.unflatten(vector)
    return {i: w.copy() for i, w in enumerate(weights, 1)}, {i: b[:, None].copy() for i, b in enumerate(biases, 1)}
