"""How many samples are taken together, and the coefficients of momentum and decay in a block (docs/blocked-sgd.md)."""

from __future__ import annotations

import numpy as np

from ..optimizers import Optimizer

__all__ = ["BLOCK", "coefficients", "part_of_batch", "sample_block"]

BLOCK = 64  # the most samples whose layers are in memory together; more no longer gains, and leaves the L2 cache


def part_of_batch(batch: int) -> int:
    """How many samples of a batch one thread takes to a gradient of its own: it depends on nothing else, so that any
    number of threads makes the same sums.

    A 16th of the batch in whole blocks, but at least two blocks, because the parts have to be added up, and at most
    16, so that Ctrl-C is heard.
    """
    return BLOCK * min(16, max(2, -(-batch // (16 * BLOCK))))


def sample_block(width: int, itemsize: int) -> int:
    """How many samples of per-sample SGD are taken together, from the width of the first layer.

    More samples make the first layer's products faster and its Gram matrix dearer, and share fewer zeros. Measured on
    one AVX-512 core in microseconds a sample, for blocks of 1, 4, 8 and 12: dense 768-128-10 11.4, 5.3, 3.8, 3.6; MNIST
    784-128-10 3.4, 3.0, 2.5, 2.4; MNIST 784-10-10 0.99, 0.76, 0.80, 0.81; 8-64-64-2 0.68, 0.62, 0.60, 0.63.
    """
    return 4 if width * itemsize <= 64 else 12


def coefficients(optimizer: Optimizer, lr: float, l2: float, block: int) -> np.ndarray:
    """What t steps make of weights W₀ and velocity V₀, and of a gradient k steps ago, for every t and k in a block.

    Returns
    -------
    ndarray of float64, (2, 6, block + 1)
        For weights, then for biases, which do not decay: [t] of W₀ in W_t, of V₀ in W_t, of W₀ in V_t, of V₀ in V_t;
        then [k] of the gradient of k samples before the last one in W and in V.
    """
    _, momentum, of_g, of_v = optimizer.prepare(lr, 1, optimizer.constants)
    result = np.empty((2, 6, block + 1))
    for out, decay in zip(result, (l2, 0.0), strict=True):
        # v = momentum v + (g + decay w);  w -= lr (of_g (g + decay w) + of_v v)
        step = np.array([[1 - lr * decay * (of_g + of_v), -lr * of_v * momentum], [decay, momentum]])
        power = np.eye(2)
        of_gradient = np.array([-lr * (of_g + of_v), 1.0])
        for t in range(block + 1):
            out[:4, t] = power.ravel()
            out[4:, t] = of_gradient
            power, of_gradient = step @ power, step @ of_gradient
    return result
