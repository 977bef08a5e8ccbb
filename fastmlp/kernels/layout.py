"""Where a network lies in memory: one row of integers a layer, which Python writes and every kernel reads.

Parameters are one flat vector, layer after layer, weights then biases, without gaps. The first layer's weights are
stored (n_in, n_out): its products run along the outputs, so inputs that are zero can be skipped, and it never needs
the product with its transpose, because x has no gradient in training. Deeper layers are stored (n_out, n_in), which
the backward product wants. Each layer's z, a, derivative and delta live in a work vector, ``block`` rows each, rows
``stride`` apart: the width rounded up to whole cache lines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["aligned", "network_layout", "padded"]

# Columns of a layer's row: sizes, row strides, then offsets into the parameters and into the work vector.
N_IN, N_OUT, IN_STRIDE, OUT_STRIDE, WEIGHTS, BIASES, INPUT, Z, A, D, DELTA, ACT, SOFTMAX = range(13)
COLUMNS = 13
NO_BIASES = -1

# Entries of the row that describes the data: addresses, byte strides and the functions that read and judge them.
X, X_ROW, X_COLUMN, X_GATHER, X_SHIFT, X_SCALE = range(6)
Y, Y_ROW, Y_COLUMN, Y_GATHER, Y_SHIFT, Y_SCALE = range(6, 12)
TARGETS, LOSS, FUSED, JUDGE = range(12, 16)
FEED = 16
CLASS_INDICES = 0  # in Y_COLUMN: y is int64 class indices, one a sample
JUDGE_NOTHING, JUDGE_ARGMAX, JUDGE_LABELS = range(3)

_LINE = 64  # bytes


def padded(n: int, itemsize: int) -> int:
    """n rounded up to whole cache lines."""
    per_line = _LINE // itemsize
    return -(-n // per_line) * per_line


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """A vector of zeros that starts on a cache line."""
    raw = np.zeros(size * dtype.itemsize + _LINE, dtype=np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)


def network_layout(
    widths: Sequence[int], biases: Sequence[bool], block: int, itemsize: int
) -> tuple[np.ndarray, int, int]:
    """The table of a network (without the addresses in ACT), its number of parameters and the size of its work vector.

    ``widths`` runs from the input to the output, ``biases`` says which layers have any.
    """
    table = np.zeros((len(biases), COLUMNS), dtype=np.int64)
    n_params = 0
    used = block * padded(widths[0], itemsize)  # the input rows come first
    below = 0
    for row, n_in, n_out, has_biases in zip(table, widths[:-1], widths[1:], biases, strict=True):
        stride = padded(n_out, itemsize)
        row[[N_IN, N_OUT, IN_STRIDE, OUT_STRIDE]] = n_in, n_out, padded(n_in, itemsize), stride
        row[WEIGHTS] = n_params
        row[BIASES] = n_params + n_in * n_out if has_biases else NO_BIASES
        n_params += n_out * (n_in + has_biases)
        row[INPUT] = below
        row[[Z, A, D, DELTA]] = used + block * stride * np.arange(4)
        below = row[A]
        used += 4 * block * stride
    return table, n_params, used + block * padded(widths[-1], itemsize)  # the targets come last
