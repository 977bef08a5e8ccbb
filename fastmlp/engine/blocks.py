"""How many samples are taken together, and what momentum and decay make of a block (docs/blocked-sgd.md)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..base.sparse import SparseRows
from ..kernels.layout import MODES, STRIP, padded
from ..optimizers import Optimizer

__all__ = [
    "BLOCK", "GROUPED", "Modes", "part_of_batch", "sample_block", "sharers", "strips", "taken_by_row", "wide_block",
]  # fmt: skip

BLOCK = 64  # samples whose layers are in memory together; more would leave the L2 cache
GROUPED = 1 << 15  # parameters, from which on the rows of a block are scored in groups, so that threads can share it
_WIDE = 1 << 20, 256  # bytes of parameters, from which on more samples are in memory together, and how many
_MOST_IN_PART = 1024
_SHARE, _SHARED_ROWS = 1 << 20, 16  # multiply-adds forward, and samples of a batch, that are worth another thread
_DENSE_ENOUGH = 16  # columns to a value, from which on rows of a sparse x are taken one by one

_APART = 1e-3  # how far apart the factors of two modes must be: eps / 1e-3 of a step is lost
_FAST = 0.1  # below, what is divided by the power of a block of 12 might overflow


def wide_block(n_params: int, itemsize: int) -> int:
    """The number of samples of a batch that are taken together.

    Each block reads all parameters, and reads and writes their gradient: if they do not fit into the L2 cache, large
    blocks do so less often. The time with blocks of 128, 256 and 512, relative to 64, on one core with 1 MiB of L2:
    batches of 512 of 784-512-512-10 0.96, 0.95, 0.98; 784-1024-1024-1024-10 0.89, 0.87, 0.85; 4096-1024-100 0.87,
    0.83, 0.82; 784-128-10, 0.4 MiB, 0.99, 0.99, 0.98. float64 and vectors of 256 bits prefer the same: there the three
    are 0.85 to 1.04 with 256, and up to 1.16 with 512.
    """
    bytes_of_params, block = _WIDE
    return block if n_params * itemsize >= bytes_of_params else BLOCK


def part_of_batch(batch: int, block: int) -> int:
    """The number of a batch's samples that form a part, of which one thread makes a gradient. It depends on nothing
    else, so that any number of threads makes the same sums.

    A part is a sixteenth of the batch in whole blocks, but at least two blocks, because parts have to be added, and at
    most 1024 samples, so that Ctrl-C is noticed.
    """
    return block * min(_MOST_IN_PART // block, max(2, -(-batch // (16 * block))))


def sharers(batch: int, block: int, n_params: int, n_threads: int, tangents: int = 0) -> tuple[int, bool]:
    """How many of the threads work on a batch, and whether they share its blocks because it is only one part.

    Nobody shares blocks whose samples have ``tangents``, rows that belong to the thread of their samples.
    """
    parts = -(-batch // part_of_batch(batch, block))
    if parts > 1 or n_params < GROUPED:
        return min(n_threads, parts), False
    if tangents:
        return 1, False
    n_threads = max(1, min(n_threads, batch * n_params // _SHARE, batch // _SHARED_ROWS))
    return n_threads, n_threads > 1


def taken_by_row(x: Any) -> bool:
    """Whether the first layer takes the rows of x one by one, each with its own columns: if x is sparse and the mean
    row has values in less than a sixteenth of the columns.

    Rows that are taken together take the columns of all of them. Microseconds for each sample, one by one and together,
    for 784-100-10 with 3, 6 and 12 % of values at random: predict 0.39 and 1.50, 0.65 and 1.87, 1.08 and 1.95; batches
    of 32 1.2 and 2.7, 1.7 and 3.6, 2.7 and 4.4; per-sample SGD 1.3 and 2.0, 1.9 and 3.1, 2.9 and 4.5. Rows of real data
    share more columns than random ones, so that the limit is at half of that.
    """
    return isinstance(x, SparseRows) and _DENSE_ENOUGH * x.n_values < len(x) * x.shape[1]


def sample_block(width: int, itemsize: int) -> int:
    """The number of samples of per-sample SGD that are taken together, from the width of the first layer.

    More samples make the first layer's products faster and its Gram matrix more expensive, and share fewer zeros.
    Measured on one AVX-512 core in microseconds a sample, for blocks of 1, 4, 8 and 12: dense 768-128-10 11.4, 5.3,
    3.8, 3.6; MNIST 784-128-10 3.4, 3.0, 2.5, 2.4; MNIST 784-10-10 0.99, 0.76, 0.80, 0.81; 8-64-64-2 0.68, 0.62, 0.60,
    0.63.
    """
    return 4 if width * itemsize <= 64 else 12


def strips(width: int, itemsize: int) -> int:
    """The number of threads that can share per-sample SGD, from the width of the first layer: each needs at least one
    strip of its weights' columns, 64 float32 or 32 float64."""
    return -(-padded(width, itemsize) * itemsize // STRIP)


class Modes:
    """A step that is linear in the gradient G by its two modes, as kernels see it (docs/blocked-sgd.md).

    A step turns (W, V) into M (W, V) + g G. In the basis of M's eigenvectors, (1, e) and (q, 1), it multiplies each
    coordinate with an eigenvalue and adds a multiple of G.

    Parameters
    ----------
    optimizer : SGD
    lr, l2 : float
    block : int
        The largest number of samples that are taken together.

    Attributes
    ----------
    record : ndarray of MODES, ()
    coefficients : ndarray of float64, (block,)
        How much of a step against a gradient remains in the weights 0, 1, 2, … steps later.
    apart : bool
        Whether the coordinates are exact enough, and no mode decays too fast to be divided by its scale. This is true
        for momentum from 0.1 to 0.998, unless l2 is large.
    """

    def __init__(self, optimizer: Optimizer, lr: float, l2: float, block: int) -> None:
        _, momentum, of_g, of_v = optimizer.prepare(lr, 1, optimizer.constants)
        # v = momentum v + (g + l2 w);  w -= lr (of_g (g + l2 w) + of_v v)
        of_gradient, coupling = -lr * (of_g + of_v), lr * of_v * momentum
        kept = 1 + l2 * of_gradient
        distance = math.sqrt(max(0.0, (kept - momentum) ** 2 - 4 * l2 * coupling))
        r1, r2 = (kept + momentum + distance) / 2, (kept + momentum - distance) / 2
        if not momentum:
            r1, r2 = kept, 1.0
        self.apart = min(r1, r2) > _FAST and (not momentum or distance > _APART)
        q, e, first, second = 0.0, 0.0, of_gradient, 1.0
        if momentum and self.apart:
            q, e = coupling / (kept - r2), l2 / (r1 - momentum)
            first, second = (of_gradient - q) / (1 - q * e), (1 - e * of_gradient) / (1 - q * e)
        # By products: NumPy's powers have other last bits on processors with AVX-512.
        r1_powers, r2_powers = np.multiply.accumulate([[1.0, *[r] * (block - 1)] for r in (r1, r2)], axis=1)
        self.coefficients = r1_powers * first + q * r2_powers * second
        self.record = np.zeros((), MODES)
        self.record[...] = (r1, r2, first, second, q, e, self.coefficients.ctypes.data, 1.0, 1.0, 0.0, 0.0)
