"""Ridge and logistic regression in NumPy, for linear models whose scores a network's are compared with."""

from __future__ import annotations

import numpy as np

__all__ = ["MOST_INPUTS", "logistic", "ridge"]

MOST_INPUTS = 2000  # of a linear model: it takes memory and time by their square
_ITERATIONS, _ENOUGH = 300, 1e-3


def ridge(x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None, alpha: float = 1.0) -> np.ndarray:
    """Fit Σ w (y - x b - c)² + alpha |b|², and return b and, as its last element, c: (n_in + 1,).

    Parameters
    ----------
    x : ndarray, (n_rows, n_in)
    y : ndarray, (n_rows,)
    weights : ndarray, (n_rows,), optional
    alpha : float
    """
    weights = np.ones(len(x)) if weights is None else weights
    center, middle = weights @ x / weights.sum(), weights @ y / weights.sum()
    deviations = x - center
    weighted = deviations * weights[:, None]
    gram = weighted.T @ deviations
    gram[np.diag_indices_from(gram)] += alpha
    slopes = np.linalg.solve(gram, weighted.T @ (y - middle))
    return np.append(slopes, middle - center @ slopes)


def logistic(
    x: np.ndarray, y: np.ndarray, n_classes: int, weights: np.ndarray | None = None, alpha: float = 1.0
) -> np.ndarray:
    """Fit softmax(x b + c) to classes, and return b above c: (n_in + 1, n_classes).

    It minimises Σ w cross-entropy + ½ alpha |b|²; for two classes + alpha |b|², which is the penalty ½ alpha |b|² of a
    single logistic function.

    Each step uses the inverse of ½ xᵀ w x, which bounds all Hessians from above (Böhning 1992, "Multinomial logistic
    regression algorithm"), with Nesterov's momentum, which starts again whenever it leads uphill.

    Parameters
    ----------
    x : ndarray, (n_rows, n_in)
    y : ndarray of int, (n_rows,)
    n_classes : int
    weights : ndarray, (n_rows,), optional
    alpha : float
    """
    weights = np.ones(len(x)) if weights is None else weights
    x = np.column_stack([x, np.ones(len(x))])
    penalty = np.append(np.full(x.shape[1] - 1, alpha if n_classes > 2 else 2 * alpha), 1e-9 * weights.sum())[:, None]
    bound = (x * (0.5 * weights)[:, None]).T @ x
    bound[np.diag_indices_from(bound)] += penalty[:, 0]
    inverse = np.linalg.inv(bound)
    truth = np.eye(n_classes)[y]
    b = ahead = np.zeros((x.shape[1], n_classes))
    speed = 1.0
    for _ in range(_ITERATIONS):
        gradient = x.T @ ((probabilities(x[:, :-1], ahead) - truth) * weights[:, None]) + penalty * ahead
        new = ahead - inverse @ gradient
        if np.abs(x @ (new - b)).max() < _ENOUGH:
            return new
        faster = (1 + np.sqrt(1 + 4 * speed * speed)) / 2
        uphill = np.sum(gradient * (new - b)) > 0
        ahead = new if uphill else new + (speed - 1) / faster * (new - b)
        b, speed = new, 1.0 if uphill else faster
    return b


def probabilities(x: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute softmax(x b + c), (n_rows, n_classes), with b above c as `logistic` returns them."""
    z = x @ b[:-1] + b[-1]
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    return z / z.sum(axis=1, keepdims=True)
