"""Where everything lies in memory: what Python writes down and every kernel reads.

Parameters are one flat vector, layer after layer, weights then biases, without gaps. The first layer's weights are
stored (n_in, n_out): its products run along the outputs, so inputs that are zero can be skipped, and it never needs
the product with its transpose, because x has no gradient in training. Deeper layers are stored (n_out, n_in), which
the backward product wants.

Kernels want rows of whole cache lines, padded with zeros. Where the hidden widths are such already, the parameters are
used in place; else a kernel works on a padded copy, which it makes when it begins and writes back when it ends.

A kernel takes a job: one row of int64, mostly addresses. It describes the data and the workspace: the padded copies,
``block`` rows of each layer's z, a, derivative and delta, and some scratch. A table has one row a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Place", "Workspace", "aligned", "padded", "parameter_places"]

# A layer's row in the table: sizes, strides (bytes), where its parameters stand in the flat vector (bytes), then
# addresses: of its padded weights and biases, of their gradients, of its rows, of its activation.
N_IN, N_OUT, IN_ROW, OUT_ROW, W_ROW, FLAT_W, FLAT_B, HAS_BIASES = range(8)
W, B, GRAD_W, GRAD_B, INPUT, Z, A, D, DELTA, SCALED, ACT, SOFTMAX = range(8, 20)
COLUMNS = 20

# A job. First the data: addresses, byte strides and the functions that read and judge them. Where x is SPARSE, ROW and
# COLUMN are the addresses of CSR's indptr and indices.
X, X_ROW, X_COLUMN, X_GATHER, X_SHIFT, X_SCALE, X_SPARSE = range(7)
Y, Y_ROW, Y_COLUMN, Y_GATHER = range(7, 11)
LOSS, FUSED, JUDGE = range(11, 14)
FEED = 14  # entries so far
CLASS_INDICES = 0  # in Y_COLUMN: y is int64 class indices, one a sample
NOT_FUSED, FUSED_WITH_SIGMOID, FUSED_WITH_SOFTMAX = range(3)  # in FUSED; with softmax, the loss computes the outputs
JUDGE_NOTHING, JUDGE_ARGMAX, JUDGE_LABELS = range(3)
# The workspace: addresses of the table and of scratch.
LAYERS, TABLE, SLOPES, IN_PLACE, N_PARAMS, TARGETS, INDEX, IDENTITY, SLOTS, ZEROS, ONES, GRAM, GRAM_ROW = range(14, 27)
# Functions of linear.py.
PRODUCT, INNER_PRODUCTS, BACKWARD_AND_UPDATE, WALK = range(27, 31)
# The call: the samples' numbers, how many of them and how many at once, and where outputs and gradients go (or 0).
ORDER, COUNT, BLOCK, MODE, OUTPUTS, GRADIENT = range(31, 37)
JOB = 37
JUDGED = BLOCKWISE = OF_INPUTS = 1  # in MODE: of the forward, the train and the jacobian kernel
CHECKED = 2  # in MODE of the forward kernel

NUMBERS = 3  # a kernel's float64: the learning rate or a factor, then the totals of losses and of right answers

ANY = 1 << 40  # the length of a vector whose extents are in the job
_LINE = 64  # bytes


def padded(n: int, itemsize: int) -> int:
    """n rounded up to whole cache lines."""
    per_line = _LINE // itemsize
    return -(-n // per_line) * per_line


def aligned(size: int, dtype: np.dtype) -> np.ndarray:
    """A vector of zeros that starts on a cache line and has zeros for another line behind its end."""
    raw = np.zeros(size * dtype.itemsize + 2 * _LINE, dtype=np.uint8)
    start = -raw.ctypes.data % _LINE
    return raw[start : start + size * dtype.itemsize].view(dtype)


class Place(NamedTuple):
    """Where a layer's parameters stand in the flat vector: ``w`` and ``b`` count numbers."""

    n_in: int
    n_out: int
    w: int
    b: int
    has_biases: bool


def parameter_places(widths: Sequence[int], biases: Sequence[bool]) -> tuple[list[Place], int]:
    """The places of all layers, and the number of parameters. ``widths`` runs from the input to the output."""
    places, used = [], 0
    for n_in, n_out, has_biases in zip(widths[:-1], widths[1:], biases, strict=True):
        places.append(Place(n_in, n_out, used, used + n_in * n_out, has_biases))
        used += n_out * (n_in + has_biases)
    return places, used


class Workspace:
    """The memory of one running kernel.

    Attributes
    ----------
    table : ndarray of int64, (layers, COLUMNS)
        All but the activations' addresses.
    job : ndarray of int64, (JOB,)
        All but the data, the functions and the call.
    """

    def __init__(self, places: Sequence[Place], block: int, params: np.ndarray) -> None:
        item = params.itemsize
        n_in = places[0].n_in
        row = {n: padded(n, item) for place in places for n in place[:2]}
        widest = max(padded(block, item), *row.values())
        in_place = all(row[n] == n for n in (place.n_out for place in places[:-1])) and len(places) > 1
        used = 0

        def take(count: int) -> int:
            nonlocal used
            used += count * item
            return used - count * item

        self.table = table = np.zeros((len(places), COLUMNS), np.int64)
        self.job = job = np.zeros(JOB, np.int64)
        job[[ZEROS, ONES]] = take(widest), take(padded(block, item))
        job[[TARGETS, GRAM]] = take(block * row[places[-1].n_out]), take(block * padded(block, item))
        below = take(block * row[n_in])
        for i, (line, place) in enumerate(zip(table, places, strict=True)):
            n, width = place.n_out, row[place.n_out]
            w_row, w_rows = (width, place.n_in) if i == 0 else (row[place.n_in], n)
            line[[N_IN, N_OUT, HAS_BIASES]] = place.n_in, n, place.has_biases
            line[[IN_ROW, OUT_ROW, W_ROW, FLAT_W, FLAT_B]] = (
                np.array([row[place.n_in], width, w_row, *place[2:4]]) * item
            )
            line[INPUT] = below
            line[[Z, A, D, DELTA, SCALED]] = [take(block * width) for _ in range(5)]
            line[[GRAD_W, GRAD_B]] = take(w_rows * w_row), take(width)
            if not in_place:
                line[[W, B]] = take(w_rows * w_row), take(width)
            below = line[A]
        self._memory = aligned(used // item, params.dtype)
        start = self._memory.ctypes.data
        table[:, GRAD_W : SCALED + 1] += start
        job[[ZEROS, ONES, TARGETS, GRAM]] += start
        table[:, W : B + 1] += start
        if in_place:
            table[:, W : B + 1] = table[:, FLAT_W : FLAT_B + 1] + params.ctypes.data
        table[table[:, HAS_BIASES] == 0, B] = job[ZEROS]
        ones = job[ONES] - start
        self._memory[ones // item : ones // item + padded(block, item)] = 1
        self._indices = np.zeros(n_in, np.int64), np.full(n_in, -1), np.arange(max(block, *row))
        job[[INDEX, SLOTS, IDENTITY]] = [vector.ctypes.data for vector in self._indices]
        job[[LAYERS, TABLE, IN_PLACE, N_PARAMS]] = len(places), table.ctypes.data, in_place, params.size
        job[GRAM_ROW] = padded(block, item) * item

    def rows(self, address: int, count: int, n: int) -> np.ndarray:
        """``count`` rows of n numbers that stand at an address of the table, as a view."""
        stride = padded(n, self._memory.itemsize)
        start = (address - self._memory.ctypes.data) // self._memory.itemsize
        return self._memory[start : start + count * stride].reshape(count, stride)[:, :n]
