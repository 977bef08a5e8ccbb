"""Copies of the parameters between the flat vector and the padded rows that kernels read, and sums over whole layers.

``distance`` picks what stands behind the parameters: 0 themselves, or their gradient, or a vector of the optimiser's
state. A layer's weights and their padding can be shared out among the members of a team, in whole cache lines.
"""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, call_kernel, inlined_source, kernel_function, peek, record_at, size_of
from .layout import LAYER, STRIP
from .vectors import add_vectors, clear_behind, copy, scale_vectors

VECTOR_BYTES = vector_bytes()
_LAYER_BYTES = LAYER.itemsize


@inlined_source
def layer_at(job, i):
    """The record of layer i."""
    return record_at(job.workspace.layers + i * _LAYER_BYTES, LAYER)


@inlined_source
def last_layer(job):
    """The record of the output layer."""
    return layer_at(job, job.workspace.n_layers - 1)


@kernel_function
def pack(job, flat, distance, with_first, real):
    """Write the padded copy of the flat vector that stands at address ``flat``, without the first layer's weights where
    these are not wanted; nothing where the flat vector is used in place.

    The padding is written again, because a run that overflowed may have left NaN there.
    """
    if job.workspace.in_place:
        return
    item = size_of(real)
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        n = layer.w_columns
        for r in range(layer.w_rows if i > 0 or with_first else 0):
            w = layer.w + distance + r * layer.w_row
            copy(w, flat + layer.flat_w + r * n * item, n * item)
            clear_behind(real, w, n, layer.w_row // VECTOR_BYTES)
        if layer.has_biases:
            b = layer.b + distance
            copy(b, flat + layer.flat_b, layer.n_out * item)
            clear_behind(real, b, layer.n_out, layer.out_row // VECTOR_BYTES)


@kernel_function
def unpack(job, flat, distance, real):
    """Write the flat vector at address ``flat`` from the padded rows that stand at a distance behind the parameters."""
    for i in range(job.workspace.n_layers):
        unpack_layer(layer_at(job, i), flat, distance, real)


@kernel_function
def unpack_layer(layer, flat, distance, real):
    """Write one layer's part of the flat vector at address ``flat``."""
    item = size_of(real)
    size = layer.w_columns * item
    for r in range(layer.w_rows):
        copy(flat + layer.flat_w + r * size, layer.w + distance + r * layer.w_row, size)
    if layer.has_biases:
        copy(flat + layer.flat_b, layer.b + distance, layer.n_out * item)


@inlined_source
def _state(job, i):
    """The address of the optimiser's flat vector of state number i, and its distance."""
    workspace = job.workspace
    return peek(workspace.flat_states + 8 * i, np.int64), peek(workspace.states + 8 * i, np.int64)


@inlined_source
def pack_all(job, params, real):
    """Pack the parameters, which stand at address ``params``, and the optimiser's state."""
    pack(job, params, 0, True, real)
    for i in range(job.workspace.n_states):
        flat, distance = _state(job, i)
        pack(job, flat, distance, True, real)


@inlined_source
def unpack_all(job, params, real):
    """Unpack the parameters, to address ``params``, and the optimiser's state, where they are not used in place."""
    if job.workspace.in_place:
        return
    unpack(job, params, 0, real)
    for i in range(job.workspace.n_states):
        flat, distance = _state(job, i)
        unpack(job, flat, distance, real)


@inlined_source
def _share(layer, member, team, real):
    """Begin and end of one member's share of a layer's weights, counted in numbers: whole cache lines always."""
    lines = layer.w_rows * (layer.w_row // 64)
    per_line = 64 // size_of(real)
    return lines * member // team * per_line, lines * (member + 1) // team * per_line


@kernel_function
def all_columns(layer):
    """Begin and end of a row of a layer's outputs, in bytes."""
    return 0, layer.out_row


@kernel_function
def share_of_columns(layer, member, team):
    """Begin and end of one member's share of a row of a layer's outputs, in bytes: whole strips."""
    strips = (layer.out_row + STRIP - 1) // STRIP
    end = min(layer.out_row, strips * (member + 1) // team * STRIP)
    return strips * member // team * STRIP, end


@kernel_function
def clear(layer, distance, member, team, real):
    """Write zeros behind a layer's weights, for one member's share of them."""
    begin, end = _share(layer, member, team, real)
    w = array_at(layer.w + distance + begin * size_of(real), end - begin, real)
    for k in range(len(w)):
        w[k] = 0


@kernel_function
def clear_biases(layer, distance, real):
    """Write zeros behind a layer's biases."""
    if layer.has_biases:
        b = array_at(layer.b + distance, layer.n_out, real)
        for k in range(layer.n_out):
            b[k] = 0


@inlined_source
def share_of_met(job, member, team):
    """Begin and end of one member's share of the list of inputs that a batch has."""
    return job.workspace.n_met * member // team, job.workspace.n_met * (member + 1) // team


@inlined_source
def met_row(job, k):
    """The address of the first layer's weights of number k of the inputs that a batch has."""
    layer = layer_at(job, 0)
    return layer.w + peek(job.workspace.met + 8 * k, np.int64) * layer.w_row


@kernel_function
def clear_met(job, distance, first, real):
    """`clear` behind the first layer's weights of the inputs that a batch has, from number ``first`` of them on."""
    n = layer_at(job, 0).w_row // size_of(real)
    for k in range(first, job.workspace.n_met):
        row = array_at(met_row(job, k) + distance, n, real)
        for i in range(n):
            row[i] = 0


@kernel_function
def add_met(job, distance, other, member, team, real):
    """`add` for the first layer's weights of the inputs that a batch has, for one member's share of them."""
    begin, end = share_of_met(job, member, team)
    for k in range(begin, end):
        row = met_row(job, k)
        add_vectors(real, layer_at(job, 0).w_row // VECTOR_BYTES, row + distance, row + other)


@kernel_function
def add(layer, distance, other, member, team, real):
    """Add what stands at the distance ``other`` to what stands at ``distance``, for one member's share of a layer's
    weights."""
    begin, end = _share(layer, member, team, real)
    skip = begin * size_of(real)
    add_vectors(real, (end - begin) * size_of(real) // VECTOR_BYTES, layer.w + distance + skip, layer.w + other + skip)


@kernel_function
def add_biases(layer, distance, other, member, real):
    """`add` for a layer's biases, which are the leader's share."""
    if layer.has_biases and member == 0:
        add_vectors(real, layer.out_row // VECTOR_BYTES, layer.b + distance, layer.b + other)


@kernel_function
def scale_gradient(layer, distance, factor, real):
    """Multiply what stands behind a layer's parameters with a factor."""
    w, b = layer.w + distance, layer.b + distance
    scale_vectors(real, layer.w_rows * (layer.w_row // VECTOR_BYTES), w, w, factor)
    if layer.has_biases:
        scale_vectors(real, layer.out_row // VECTOR_BYTES, b, b, factor)


@inlined_source
def prepare_step(job, lr):
    """Make the numbers of the optimiser's next step, which all members of a team read."""
    step = job.step
    call_kernel("prepare", step.prepare, (step.numbers, step.options, step.constants, np.float64(lr)))


@inlined_source
def move(job, w, x, g, rows, n, for_weights, factor):
    """Make the optimiser's step of (rows, n) parameters against factor · x ⊗ g, once it is prepared."""
    states, step = job.workspace.states, job.step
    arguments = (w, x, g, states, rows, n, for_weights, step.options, step.numbers, np.float64(factor))
    call_kernel("step", step.rule, arguments)


@kernel_function
def step(job, layer, member, team, factor, real):
    """Make the optimiser's step against factor · the gradient, for one member's share of a layer's weights."""
    begin, end = _share(layer, member, team, real)
    w = layer.w + begin * size_of(real)
    move(job, w, job.workspace.ones, w + job.workspace.gradient, 1, end - begin, True, factor)


@kernel_function
def step_of_met(job, member, team, factor, real):
    """`step` for the first layer's weights of the inputs that a batch has, for one member's share of them."""
    begin, end = share_of_met(job, member, team)
    for k in range(begin, end):
        row, n = met_row(job, k), layer_at(job, 0).w_row // size_of(real)
        move(job, row, job.workspace.ones, row + job.workspace.gradient, 1, n, True, factor)


@kernel_function
def step_of_biases(job, layer, member, factor):
    """`step` for a layer's biases, which are the leader's share."""
    if layer.has_biases and member == 0:
        one, gradient = job.workspace.ones, job.workspace.gradient
        move(job, layer.b, one, layer.b + gradient, 1, layer.n_out, False, factor)


@kernel_function
def squares(address, n, real):
    """The sum of the squares of n numbers, as a float64."""
    x = array_at(address, n, real)
    total = 0.0
    for k in range(n):
        total += np.float64(x[k]) * np.float64(x[k])
    return total
