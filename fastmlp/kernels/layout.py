"""The layout of memory: the records that Python writes and kernels read (README.md has a drawing).

Parameters are one flat vector, layer after layer, weights then biases, without gaps. The weights of the first layer,
and of others with a multiple of 16 outputs, are stored by inputs, (n_in, n_out): then the weights of an input that is
zero are a row, which can be skipped. Those of other layers are stored (n_out, n_in).

Kernels want rows of whole cache lines, padded with zeros. Where the hidden widths are such already, the parameters are
used in place; else a kernel works on a padded copy, which it makes when it begins and writes back when it ends.

A kernel takes one `JOB`: records of int64, mostly addresses, each with one writer in Python. Every field is named and
explained here; a name that is not here does not compile. "Distance" is how far behind a parameter (in bytes) the number
that belongs to it stands: its gradient, or its part of an optimiser's state.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import addressof, c_char
from typing import NamedTuple

import numpy as np

from .checked import checked, fenced

__all__ = [
    "BUFFER", "CALL", "DATA", "DRAW", "JOB", "LANES", "LANE_LAYER", "LAYER", "LINE", "LINEAR", "MEMBER", "MODES",
    "NUMBERS", "OPTIONS", "PANELED_FROM", "PANELED_ROWS", "ROOM", "SHARED", "STEP", "STREAM", "STRIP", "TEAM", "TOTALS",
    "WORKSPACE", "ZIGGURAT", "Place", "aligned", "padded", "parameter_places",
]  # fmt: skip

# A layer: written by engine/memory.py. ``…_row`` are strides in bytes from row to row.
LAYER = np.dtype(
    [
        ("n_in", "i8"),
        ("n_out", "i8"),
        ("has_biases", "i8"),
        ("trainable", "i8"),  # whether its parameters may move
        ("by_inputs", "i8"),  # whether the weights are stored (n_in, n_out)
        ("in_row", "i8"),  # stride of its inputs, and of the layer below's d and delta
        ("out_row", "i8"),  # stride of z, a, d, delta and scaled
        ("w_rows", "i8"),  # the weights as they are stored: rows, columns, stride
        ("w_columns", "i8"),
        ("w_row", "i8"),
        ("flat_w", "i8"),  # where its weights and biases stand in the flat vector, in bytes
        ("flat_b", "i8"),
        ("w", "i8"),  # addresses of its weights and biases as kernels see them; without biases, of zeros
        ("b", "i8"),
        ("input", "i8"),  # rows of what it sees: the layer below's a, or x
        ("below_d", "i8"),  # rows of the derivative of that
        ("z", "i8"),  # rows of its pre-activations,
        ("a", "i8"),  # activations,
        ("d", "i8"),  # their derivatives,
        ("delta", "i8"),  # and dL/dz
        ("scaled", "i8"),  # delta times what a step multiplies it with
        ("activation", "i8"),  # functions: its activation,
        ("softmax_backward", "i8"),  # the way back through a softmax, or 0,
        ("curvature", "i8"),  # and its second derivative, or a softmax's tangent; 0: that is 0, or not asked for
        ("third_derivative", "i8"),  # 0: that is 0, or not asked for
        ("alive", "i8"),  # the list of inputs that matter to one sample, int64,
        ("n_alive", "i8"),  # and how many they are
        ("slope", "f8"),  # of a leaky_relu; an elu's alpha
    ],
    align=True,
)

# x and y: written by engine/binding.py.
DATA = np.dtype(
    [
        ("x", "i8"),  # the numbers
        ("x_row", "i8"),  # strides in bytes; where x is sparse, addresses of CSR's indptr and indices
        ("x_column", "i8"),
        ("x_reader", "i8"),  # the function that reads x's dtype
        ("x_shift", "i8"),  # vectors of the network's dtype, or 0: it sees (x - shift) · scale
        ("x_scale", "i8"),
        ("x_sparse", "i8"),  # whether x is CSR,
        ("x_values", "i8"),  # and how many values its data and indices have
        ("x_ready", "i8"),  # whether x is numbers as the network takes them, row after row without a gap
        ("x_by_row", "i8"),  # whether the first layer takes its rows one by one, because they share few columns
        ("y", "i8"),
        ("y_row", "i8"),
        ("y_column", "i8"),
        ("y_reader", "i8"),
        ("y_shift", "i8"),  # vectors of the network's dtype, or 0: its loss is of (y - shift) · scale
        ("y_scale", "i8"),
        ("y_ready", "i8"),  # whether y is numbers as the loss takes them, row after row without a gap
        ("y_classes", "i8"),  # whether y is int64 class indices, one a sample
        ("weights", "i8"),  # float64 sample weights, or 0
        ("output_weights", "i8"),  # how much each output counts, of the network's dtype; 0: once each, and y has no NaN
        ("tangents", "i8"),  # how many rows a sample has beside its own, where its derivatives are trained (slopes.py,
        ("slope_deltas", "i8"),  # residuals.py), and the function that does so; what these rows should be:
        ("slopes", "i8"),  # the numbers, and their strides in bytes
        ("slopes_row", "i8"),  # from sample to sample,
        ("slopes_tangent", "i8"),  # from row to row of a sample,
        ("slopes_column", "i8"),  # and in a row;
        ("slopes_reader", "i8"),  # the function that reads their dtype,
        ("slopes_shift", "i8"),  # zeros, or 0 where the network's units are the user's,
        ("slopes_scale", "i8"),  # a vector for each row of a sample,
        ("slopes_scale_row", "i8"),  # and the stride of these
        ("slope_weights", "i8"),  # float64 weights of the samples' derivatives,
        ("slope_weights_row", "i8"),  # and their stride
        ("residual", "i8"),  # the user's function that makes one number of them, in place of what they should be
        ("out_shift", "i8"),  # vectors of the network's dtype, or 0: it predicts shift + scale · a
        ("out_scale", "i8"),
        ("out_linear", "i8"),  # whether the outputs are the last layer's z
        ("loss", "i8"),  # the function of the loss
        ("loss_curvature", "i8"),  # the function of its second derivative, or 0
        ("fused", "i8"),  # whether the loss writes dL/dz, not dL/da
        ("loss_activates", "i8"),  # whether the loss computes the outputs as well (softmax)
        ("score_classes", "i8"),  # whether the right answers are counted: the largest output is the right class,
        ("score_labels", "i8"),  # or the share of outputs on the right side of ½
    ],
    align=True,
)

# What is read of a block of samples: written by engine/memory.py.
BUFFER = np.dtype(
    [
        ("x", "i8"),  # rows of the first layer's input,
        ("index", "i8"),  # the columns of x that are not zero in the block, int64,
        ("gram", "i8"),  # x_t · x_i of its samples
    ],
    align=True,
)

# The memory of one running kernel: written by engine/memory.py.
WORKSPACE = np.dtype(
    [
        ("n_layers", "i8"),
        ("layers", "i8"),  # address of the LAYER records
        ("lowest", "i8"),  # the first layer that is trainable: deltas below it are not needed
        ("block", "i8"),  # how many rows the layers' matrices have
        ("n_params", "i8"),
        ("in_place", "i8"),  # whether the flat parameters are used in place
        ("gradient", "i8"),  # distance of the gradient
        ("n_states", "i8"),  # vectors of the optimiser's state:
        ("states", "i8"),  # address of their distances, int64,
        ("flat_states", "i8"),  # and of their addresses as flat vectors, int64
        ("targets", "i8"),  # rows of y
        ("buffers", "i8"),  # address of a BUFFER record, or two where blocks are read ahead
        ("index", "i8"),  # of the buffer in use, as ``gram``
        ("identity", "i8"),  # 0, 1, 2, …, int64
        ("slots", "i8"),  # for the reader of sparse rows: -1 for every column, int64
        ("met", "i8"),  # the inputs that a batch has, where others' weights stay as they are, int64,
        ("n_met", "i8"),  # how many they are,
        ("is_met", "i8"),  # and 1 for each of them, 0 for others, int64
        ("zeros", "i8"),  # a row of zeros,
        ("ones", "i8"),  # and one of ones
        ("gram", "i8"),
        ("gram_row", "i8"),  # stride of gram
        ("room", "i8"),  # ROOM bytes for products, or 0 where no layer is wide enough
        ("scores", "i8"),  # TOTALS of each group of a block's rows, or 0: then they are added up at once
    ],
    align=True,
)

# Functions of linear.py: written by engine/memory.py.
LINEAR = np.dtype(
    [
        ("product", "i8"),
        ("inner_products", "i8"),
        ("weighted_rows", "i8"),
        ("backward_and_update", "i8"),
        ("backward_and_update_by_inputs", "i8"),
        ("list_nonzero_columns", "i8"),
    ],
    align=True,
)

# The threads that run a kernel together: written by engine/team.py.
TEAM = np.dtype(
    [
        ("size", "i8"),
        ("member", "i8"),  # which this is, from 0, the leader
        ("jobs", "i8"),  # address of the addresses of all members' jobs
        ("shared", "i8"),  # the SHARED record
        ("members", "i8"),  # the MEMBER records
        ("yield_thread", "i8"),  # functions that let other threads run: for a moment,
        ("sleep", "i8"),  # and for a while,
        ("nap", "i8"),  # which is this long, in units of that function
        ("part_gradient", "i8"),  # distance of the gradient of this member's part of a batch
        ("together", "i8"),  # whether the members share each block, not the parts of a batch
    ],
    align=True,
)

# What is to be done to which samples: written by engine/call.py.
CALL = np.dtype(
    [
        ("order", "i8"),  # the samples' numbers, int64,
        ("count", "i8"),  # how many they are,
        ("position", "i8"),  # and where in its epoch the first one stands
        ("block", "i8"),  # how many samples are in memory at once
        ("batch", "i8"),  # how many make a step
        ("part", "i8"),  # how many of them one member takes to a gradient of its own
        ("begins", "i8"),  # whether the call has the first samples of its batch,
        ("ends", "i8"),  # and the last ones
        ("outputs", "i8"),  # where outputs or derivatives of single samples go, or 0
        ("gradient", "i8"),  # where a gradient goes, or 0: then a step is made
        ("along", "i8"),  # of the kernels of tangents: a row for each sample, of its inputs or outputs, or 0
        ("rows", "i8"),  # of the kernel of least squares: room for a batch's rows of J and r,
        ("squares", "i8"),  # and the matrix that their products are added to
        ("scored", "i8"),  # of the forward kernel: whether it computes losses
        (
            "by_inputs",
            "i8",
        ),  # of the kernels of Jacobians and of tangents: whether they derive by the inputs, not the parameters
        ("checked", "i8"),  # whether the kernel must see to it that the inputs, and what it steps to, are finite
    ],
    align=True,
)

# How a step is made: written by engine/steps.py.
STEP = np.dtype(
    [
        ("prepare", "i8"),  # the optimiser's functions: what makes the numbers of a step,
        ("rule", "i8"),  # and the step; 0: plain SGD
        ("options", "i8"),  # an OPTIONS record
        ("constants", "i8"),  # the optimiser's settings, float64
        ("numbers", "i8"),  # the numbers of a step, float64
        ("rests", "i8"),  # whether a gradient of zero changes nothing, but for penalties
        ("lazy", "i8"),  # whether the weights of inputs that no sample of a batch has stay as they are all the same
        ("modes", "i8"),  # a MODES record, where a kernel takes linear steps in blocks
        ("dropout", "i8"),  # the function that leaves units out, or 0
        ("kept", "i8"),  # the layers' shares of units kept, float64
        ("key", "i8"),  # what its draws depend on
    ],
    align=True,
)

JOB = np.dtype(
    [
        ("data", DATA),
        ("workspace", WORKSPACE),
        ("linear", LINEAR),
        ("team", TEAM),
        ("call", CALL),
        ("step", STEP),
    ],
    align=True,
)

# What a kernel adds to: the losses, the right answers, and what the losses have of derivatives by the inputs.
TOTALS = np.dtype([("loss", "f8"), ("right", "f8"), ("slopes", "f8")], align=True)

# A call's numbers: the learning rate, or the factor of a gradient; and its totals.
NUMBERS = np.dtype([("rate", "f8"), ("totals", TOTALS)], align=True)

# An optimiser's numbers: steps made so far, penalties on weights, limits (0: none).
OPTIONS = np.dtype([("steps", "f8"), ("l1", "f8"), ("l2", "f8"), ("clip_norm", "f8"), ("max_norm", "f8")], align=True)

# A linear step by its two modes (docs/blocked-sgd.md): written by engine/blocks.py, but for the scales.
MODES = np.dtype(
    [
        ("r1", "f8"),  # what a step multiplies them with,
        ("r2", "f8"),
        ("first_of_g", "f8"),  # and adds to them: this times the gradient
        ("second_of_g", "f8"),
        ("w_of_second", "f8"),  # weights = first mode + this · second mode,
        ("v_of_first", "f8"),  # velocity = this · first mode + second mode
        ("coefficients", "i8"),  # [k] of the gradient of k samples ago in the weights, float64
        ("scale1", "f8"),  # what kernels keep of the modes is divided by these
        ("scale2", "f8"),
        ("fade1", "f8"),  # what they have to be multiplied with behind the block, or 0: nothing
        ("fade2", "f8"),
    ],
    align=True,
)

# A stream of random numbers: PCG64's two 128-bit numbers, and half of the last 64 bits, where it is still to be used.
# This and the next two: written by engine/random.py.
STREAM = np.dtype(
    [
        ("state_low", "u8"),
        ("state_high", "u8"),
        ("increment_low", "u8"),
        ("increment_high", "u8"),
        ("half", "u8"),
        ("has_half", "i8"),
    ],
    align=True,
)

# A matrix of initial parameters, which is drawn row by row.
DRAW = np.dtype(
    [
        ("rows", "i8"),
        ("columns", "i8"),
        ("at", "i8"),  # where it begins in a network's parameters,
        ("row", "i8"),  # and its strides; all in bytes
        ("column", "i8"),
        ("normal", "i8"),  # whether its numbers are scale · a standard normal one, else low + scale · one of [0, 1)
        ("low", "f8"),
        ("scale", "f8"),
    ],
    align=True,
)

# The ziggurat under the normal density: addresses of 256 numbers each, a step's.
ZIGGURAT = np.dtype(
    [
        ("widths", "i8"),  # what 2⁻⁵² of a step is, float64
        ("inner", "i8"),  # how much of a step, of 2⁵², lies under the density as a whole, int64
        ("heights", "i8"),  # the density at a step's end, float64
    ],
    align=True,
)

# What threads share. Two cores that write to one cache line, or to neighbours, wait for each other: so each record has
# two lines of its own.
_APART = 128  # bytes
SHARED = np.dtype(
    {
        # how many arrived at barriers so far; whether somebody is missing, so that the others have to give up; whether
        # to stop as soon as all is consistent, or behind a whole block; what the leader says of a block: how many
        # samples were learnt from, and whether it is the last; how many samples the call has taken
        "names": ["arrivals", "give_up", "stop", "late", "learnt", "last", "taken"],
        "formats": ["i8"] * 7,
        "offsets": [0, 8, 16, 24, 32, 40, 48],
        "itemsize": _APART,
    },
    align=True,
)
MEMBER = np.dtype(
    {
        "names": ["totals", "weight", "batch_weight"],  # of its part of a batch; the weight of the batch so far
        "formats": [TOTALS, "f8", "f8"],
        "offsets": [0, 24, 32],
        "itemsize": _APART,
    },
    align=True,
)

# Networks side by side, one in each lane (kernels/lanes.py): written by engine/lanes.py. A row has a number for each
# lane: a real, where nothing else is said.
LANE_LAYER = np.dtype(
    [
        ("n_in", "i8"),
        ("n_out", "i8"),
        ("has_biases", "i8"),
        ("w", "i8"),  # addresses of rows: the weights (n_out, n_in),
        ("b", "i8"),  # the biases,
        ("input", "i8"),  # what the layer sees: the a of the one below, or x,
        ("z", "i8"),  # pre-activations,
        ("a", "i8"),  # activations,
        ("d", "i8"),  # their derivatives,
        ("delta", "i8"),  # and dL/dz
        ("activation", "i8"),  # functions: its activation,
        ("softmax_backward", "i8"),  # and the way back through a softmax, or 0
        ("slope", "f8"),  # of a leaky_relu; an elu's alpha
    ],
    align=True,
)
LANES = np.dtype(
    [
        ("n_layers", "i8"),
        ("layers", "i8"),  # address of the LANE_LAYER records
        ("n_params", "i8"),  # rows of parameters
        ("params", "i8"),
        ("finite", "i8"),  # the parameters of each lane's last finite epoch
        ("alive", "i8"),  # 1, or 0 for lanes whose numbers were not finite
        ("gradient", "i8"),  # distance of the gradient from the parameters in bytes; 0: plain SGD, which needs none
        ("n_states", "i8"),  # vectors of the optimiser's state:
        ("states", "i8"),  # address of their distances, int64
        ("x", "i8"),  # (n_samples, n_in) and
        ("y", "i8"),  # (n_samples, n_out) of the networks' dtype
        ("order", "i8"),  # int64: the samples that the first lane takes in the first epoch,
        ("order_stride", "i8"),  # and how many bytes on those of the next lane stand; 0: all take the same
        ("order_step", "i8"),  # and those of the next epoch
        ("count", "i8"),  # samples an epoch
        ("batch", "i8"),  # and a step
        ("epochs", "i8"),
        ("first", "i8"),  # samples of each epoch that the call takes: from this one,
        ("last", "i8"),  # to before that one
        ("learns", "i8"),  # whether steps are made, or samples only judged
        ("rates", "i8"),  # float64: a row of learning rates,
        ("rates_step", "i8"),  # and how many bytes on the next epoch's stands;
        ("losses", "i8"),  # where the sums of losses
        ("right", "i8"),  # and of right answers go, a row an epoch,
        ("right_so_far", "i8"),  # counted in this row first
        ("targets", "i8"),  # rows of y
        ("loss", "i8"),  # functions: the loss,
        ("prepare", "i8"),  # what makes the numbers of a step,
        ("rule", "i8"),  # and the step
        ("fused", "i8"),  # whether the loss writes dL/dz, not dL/da
        ("loss_activates", "i8"),  # whether the loss computes the outputs as well (softmax)
        ("score_classes", "i8"),
        ("score_labels", "i8"),
        ("steps", "i8"),  # float64: how many steps each lane has made,
        ("options", "i8"),  # and an OPTIONS record for that of the lane that is prepared
        ("constants", "i8"),  # the optimiser's settings, float64
        ("step_numbers", "i8"),  # room for a lane's numbers of a step, float64,
        ("n_numbers", "i8"),  # how many these are,
        ("numbers", "i8"),  # for those of all lanes, in rows,
        ("factors", "i8"),  # a row of what plain SGD multiplies gradients with,
        ("penalties", "i8"),  # and rows with each lane's l1 and l2
        ("scratch", "i8"),  # rows for sums
    ],
    align=True,
)

LINE = 64  # bytes of a cache line


# Bytes of a row of weights that go to one thread together: whole tiles at every level of kernels, so that it changes no
# bits who multiplies which columns.
STRIP = 4 * LINE

# Panels of a product (kernels/linear.py): rows of A; rows of B, and bytes of each; and how many rows of A, and bytes of
# a row of B, a product has to have for them. Which of these a level of kernels uses is in linear.py: these are the
# largest, and the least.
PANEL_ROWS, PANEL_DEPTH, PANEL_BYTES = 96, 400, 1024
PANELED_ROWS, PANELED_FROM = 64, 512
A_ROOM, B_ROOM = 8 * PANEL_ROWS * PANEL_DEPTH, PANEL_DEPTH * PANEL_BYTES
ROOM = A_ROOM + B_ROOM + 8 * PANEL_DEPTH  # bytes for a copy of each, and a list


def padded(n: int, itemsize: int) -> int:
    """n rounded up to whole cache lines."""
    per_line = LINE // itemsize
    return -(-n // per_line) * per_line


_AT_ONCE = 1 << 25  # bytes that are cleared between two looks for Ctrl-C


def aligned(size: int, dtype: np.dtype, zeros: bool = True) -> np.ndarray:
    """A vector of zeros that starts on a cache line and has zeros for another line behind its end; without ``zeros``,
    of anything."""
    if checked():
        return _fenced(size, dtype)
    # NumPy asks for huge pages here, but not in np.zeros: the first writes to a gigabyte take a tenth of the time.
    raw = np.empty(size * dtype.itemsize + 2 * LINE, dtype=np.uint8)
    for start in range(0, len(raw) if zeros else 0, _AT_ONCE):
        raw[start : start + _AT_ONCE] = 0
    # NumPy's own ctypes takes four times as long; its stubs hide that arrays are buffers.
    start = -addressof(c_char.from_buffer(raw)) % LINE  # type: ignore[arg-type]
    return raw[start : start + size * dtype.itemsize].view(dtype)


def _fenced(size: int, dtype: np.dtype) -> np.ndarray:
    """`aligned`, with the end of that line, or the beginning, at a page that nobody may touch."""
    memory, (place,) = fenced([padded(size * dtype.itemsize, 1) + LINE])
    return memory[place : place + size * dtype.itemsize].view(dtype)


class Place(NamedTuple):
    """The place of a layer's parameters in the flat vector: ``w`` and ``b`` count numbers."""

    n_in: int
    n_out: int
    w: int
    b: int
    has_biases: bool
    by_inputs: bool
    trainable: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the weights as they are stored."""
        return (self.n_in, self.n_out) if self.by_inputs else (self.n_out, self.n_in)


def parameter_places(
    widths: Sequence[int], biases: Sequence[bool], trainable: Sequence[bool] = ()
) -> tuple[list[Place], int]:
    """The places of all layers, and the number of parameters. ``widths`` runs from the input to the output; who trains
    them also says which layers are ``trainable``."""
    places: list[Place] = []
    used = 0
    layers = zip(widths[:-1], widths[1:], biases, trainable or [True] * len(biases), strict=True)
    for n_in, n_out, has_biases, moves in layers:
        by_inputs = not places or n_out == padded(
            n_out, 4
        )  # lines of float32, so that the order is the same in float64
        places.append(Place(n_in, n_out, used, used + n_in * n_out, has_biases, by_inputs, moves))
        used += n_out * (n_in + has_biases)
    return places, used
