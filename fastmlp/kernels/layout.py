"""Where everything lies in memory: what Python writes down and every kernel reads.

Parameters are one flat vector, layer after layer, weights then biases, without gaps. The weights of the first layer,
and of others whose outputs fill whole cache lines, are stored by inputs, (n_in, n_out): then what an input that is zero
would be multiplied with is a row, and can be skipped. Those of other layers are stored (n_out, n_in).

Kernels want rows of whole cache lines, padded with zeros. Where the hidden widths are such already, the parameters are
used in place; else a kernel works on a padded copy, which it makes when it begins and writes back when it ends.

A kernel takes a job: one row of int64, mostly addresses. It describes the data and the workspace: the padded copies,
``block`` rows of each layer's z, a, derivative and delta, and some scratch. A table has one row a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Parameters", "Place", "Workspace", "aligned", "padded", "parameter_places"]

# A layer's row in the table: sizes, strides (bytes), the shape of its weights as they are stored, where its parameters
# stand in the flat vector (bytes), then addresses: of its weights and biases as kernels see them, of its inputs and
# their derivatives, of its rows, of its activation, of the way back through a softmax (elsewhere 0), of the list of
# inputs that matter to a sample; and how many those are.
N_IN, N_OUT, IN_ROW, OUT_ROW, BY_INPUTS, W_ROWS, W_COLUMNS, W_ROW, FLAT_W, FLAT_B, HAS_BIASES = range(11)
W, B, INPUT, BELOW_D, Z, A, D, DELTA, SCALED, ACT, SOFTMAX, ALIVE, N_ALIVE = range(11, 24)
COLUMNS = 24

# A job. First the data: addresses, byte strides and the functions that read and judge them. Where x is SPARSE, ROW and
# COLUMN are the addresses of CSR's indptr and indices. WEIGHTS is the address of float64 sample weights, or 0.
X, X_ROW, X_COLUMN, X_GATHER, X_SHIFT, X_SCALE, X_SPARSE = range(7)
Y, Y_ROW, Y_COLUMN, Y_GATHER = range(7, 11)
LOSS, FUSED, JUDGE, WEIGHTS = range(11, 15)
FEED = 15  # entries so far
CLASS_INDICES = 0  # in Y_COLUMN: y is int64 class indices, one a sample
NOT_FUSED, FUSED_WITH_SIGMOID, FUSED_WITH_SOFTMAX = range(3)  # in FUSED; with softmax, the loss computes the outputs
JUDGE_NOTHING, JUDGE_ARGMAX, JUDGE_LABELS = range(3)
# The workspace: addresses of the table and of scratch.
LAYERS, TABLE, SLOPES, IN_PLACE, N_PARAMS, TARGETS, INDEX, IDENTITY, SLOTS, ZEROS, ONES, GRAM, GRAM_ROW = range(15, 28)
# How far behind the parameters (bytes) their gradient and the optimiser's state stand; how many vectors of state there
# are, and their addresses as flat vectors.
GRAD, STATE_1, STATE_2, STATES, FLAT_1, FLAT_2 = range(28, 34)
# Functions of linear.py.
PRODUCT, INNER_PRODUCTS, WEIGHTED_ROWS, BACKWARD_AND_UPDATE, BACKWARD_AND_UPDATE_BY_INPUTS, WALK = range(34, 40)
# The team of threads: which this is, of how many; the address of the addresses of their jobs, of what they share, and
# of a function that lets others run; then how far behind the parameters its own part of the gradient stands.
MEMBER, TEAM, JOBS, SHARED, RELAX, PART_GRAD = range(40, 46)
# The call: the samples' numbers, how many of them, how many at once, a batch and a part of it, where outputs and
# gradients go (or 0), and where in its epoch the first sample stands.
ORDER, COUNT, BLOCK, BATCH, PART, MODE, OUTPUTS, GRADIENT, POSITION = range(46, 55)
CALL = 46  # entries so far
# How a step is made: the optimiser's function (0: plain SGD) and numbers (below), and the coefficients of exact blocks
# (docs/blocked-sgd.md). Dropout: its function (0: none), the layers' shares of units kept (float64), and a key.
STEP, OPTIONS, COEFFICIENTS, DROPOUT, KEPT, KEY = range(55, 61)
JOB = 61

JUDGED = OF_INPUTS = 1  # in MODE: of the forward and the jacobian kernel
BEGINS, ENDS = 1, 2  # in MODE of the batches kernel: the call has the first, the last samples of its batch
CHECKED = 4  # in MODE of the forward and the batches kernel: whether the inputs are finite is for the kernel to see

NUMBERS = 3  # a kernel's float64: the learning rate or a factor, then the totals of losses and of right answers

# An optimiser's numbers, float64: steps made so far, penalties on weights, limits (0: none), its own constants.
STEPS, L1, L2, CLIP, MAX_NORM, CONSTANTS = range(6)
N_OPTIONS = CONSTANTS + 4

# What threads share, eight bytes each: arrivals at barriers and whether to give up (int64), then each member's numbers
# (float64): of its part of a batch the two totals and the weight, and the weight of the batch so far. Two cores that
# write to one cache line, or to neighbours, wait for each other: so each member has lines of its own.
ARRIVALS, GIVE_UP = range(2)
APART = 16  # the first member's numbers, and from each member's to the next one's

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
    by_inputs: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weights as they are stored."""
        return (self.n_in, self.n_out) if self.by_inputs else (self.n_out, self.n_in)


def parameter_places(widths: Sequence[int], biases: Sequence[bool]) -> tuple[list[Place], int]:
    """The places of all layers, and the number of parameters. ``widths`` runs from the input to the output."""
    places: list[Place] = []
    used = 0
    for n_in, n_out, has_biases in zip(widths[:-1], widths[1:], biases, strict=True):
        by_inputs = not places or n_out == padded(n_out, 4)  # lines of float32: the order is that of every dtype
        places.append(Place(n_in, n_out, used, used + n_in * n_out, has_biases, by_inputs))
        used += n_out * (n_in + has_biases)
    return places, used


class Parameters:
    """The parameters as kernels see them, with their gradient and an optimiser's state at fixed distances behind.

    Several threads may share one of these; then only one of them packs and unpacks.
    """

    def __init__(self, places: Sequence[Place], params: np.ndarray, states: Sequence[np.ndarray] = ()) -> None:
        item = params.itemsize
        lengths = [*(place.n_out for place in places[:-1]), places[-1].shape[1]]
        self.in_place = all(n == padded(n, item) for n in lengths)
        self._alive = params, states
        self.offsets = [(place.w * item, place.b * item) for place in places]
        used = params.size
        if not self.in_place:
            self.offsets, used = [], 0
            for place in places:
                rows, columns = place.shape
                size = rows * padded(columns, item)
                self.offsets.append((used * item, (used + size) * item))
                used += size + padded(place.n_out, item)
        self.size = size = padded(used, item) + padded(1, item)  # kernels may read a line beyond the end
        self._memory = aligned(size * (1 if self.in_place else 2 + len(states)), params.dtype)
        start = self._memory.ctypes.data
        self.flat = [state.ctypes.data for state in states]
        if self.in_place:
            self.start = params.ctypes.data
            self.distances = [address - self.start for address in (start, *self.flat)]
        else:
            self.start = start
            self.distances = [(i + 1) * size * item for i in range(1 + len(states))]

    def part(self) -> tuple[np.ndarray, int]:
        """Memory for another gradient, and its distance. Keep the memory as long as the distance is used."""
        memory = aligned(self.size, self._memory.dtype)
        return memory, memory.ctypes.data - self.start


class Workspace:
    """The memory of one running kernel.

    Attributes
    ----------
    table : ndarray of int64, (layers, COLUMNS)
        All but the activations' addresses.
    job : ndarray of int64, (JOB,)
        All but the data, the functions and the call.
    """

    def __init__(self, places: Sequence[Place], block: int, parameters: Parameters, dtype: np.dtype) -> None:
        item = dtype.itemsize
        n_in = places[0].n_in
        row = {n: padded(n, item) for place in places for n in place[:2]}
        widest = max(padded(block, item), *row.values())
        used = 0

        def take(count: int) -> int:
            nonlocal used
            used += count * item
            return used - count * item

        self.parameters = parameters
        self.table = table = np.zeros((len(places), COLUMNS), np.int64)
        self.job = job = np.zeros(JOB, np.int64)
        job[[ZEROS, ONES]] = take(widest), take(padded(block, item))
        job[[TARGETS, GRAM]] = take(block * row[places[-1].n_out]), take(block * padded(block, item))
        below = below_d = take(block * row[n_in])
        for line, place in zip(table, places, strict=True):
            width = row[place.n_out]
            w_rows, w_columns = place.shape
            line[[N_IN, N_OUT, HAS_BIASES, BY_INPUTS]] = place.n_in, place.n_out, place.has_biases, place.by_inputs
            line[[W_ROWS, W_COLUMNS]] = w_rows, w_columns
            line[[IN_ROW, OUT_ROW, W_ROW, FLAT_W, FLAT_B]] = (
                np.array([row[place.n_in], width, row[w_columns], place.w, place.b]) * item
            )
            line[[INPUT, BELOW_D]] = below, below_d
            line[[Z, A, D, DELTA, SCALED]] = [take(block * width) for _ in range(5)]
            below, below_d = line[[A, D]]
        self._memory = aligned(used // item, dtype)
        start = self._memory.ctypes.data
        table[:, INPUT : SCALED + 1] += start
        job[[ZEROS, ONES, TARGETS, GRAM]] += start
        table[:, W : B + 1] = np.array(parameters.offsets) + parameters.start
        table[table[:, HAS_BIASES] == 0, B] = job[ZEROS]
        ones = job[ONES] - start
        self._memory[ones // item : ones // item + padded(block, item)] = 1
        self._indices = np.zeros(n_in + _LINE, np.int64), np.full(n_in, -1), np.arange(max(block, *row))
        job[[INDEX, SLOTS, IDENTITY]] = [vector.ctypes.data for vector in self._indices]
        self._alive = [np.zeros(place.n_in + _LINE, np.int64) for place in places[1:]]
        table[1:, ALIVE] = [vector.ctypes.data for vector in self._alive]
        job[[LAYERS, TABLE, IN_PLACE]] = len(places), table.ctypes.data, parameters.in_place
        job[N_PARAMS] = sum(place.n_out * (place.n_in + place.has_biases) for place in places)
        job[GRAM_ROW] = padded(block, item) * item
        job[GRAD : GRAD + len(parameters.distances)] = parameters.distances
        job[FLAT_1 : FLAT_1 + len(parameters.flat)] = parameters.flat
        job[[STATES, TEAM]] = len(parameters.flat), 1

    def rows(self, address: int, count: int, n: int) -> np.ndarray:
        """``count`` rows of n numbers that stand at an address of the table, as a view."""
        stride = padded(n, self._memory.itemsize)
        start = (address - self._memory.ctypes.data) // self._memory.itemsize
        return self._memory[start : start + count * stride].reshape(count, stride)[:, :n]
