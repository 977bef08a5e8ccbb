"""Exact per-sample SGD, in blocks (docs/blocked-sgd.md).

Sample t of a block should see the weights that the samples i < t of the block left. In the first layer its z, computed
for the whole block with the weights from before, lacks what they added: a multiple of δ_i each. The other layers take
the samples one by one. A call that is told to stop ends between two samples, with what it learnt in the parameters.

A team shares the first layer: each member has columns of its own, of the weights and of z, and reads x for itself.
While the leader takes the samples one by one, the others read the next block, and the last of them makes its Gram
matrix. Whoever computes a number makes the same sum, so that bits do not depend on the team.
"""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, call_kernel, inlined_source, kernel_function, peek, record_at, size_of
from .layout import BUFFER, JOB, MODES, NUMBERS, OPTIONS, SHARED
from .math import square_root
from .packing import all_columns, layer_at, move, pack_all, prepare_step, share_of_columns, squares, unpack_all
from .passes import (
    activate,
    all_deltas_and_updates,
    backward_and_update,
    blocks,
    copy_outputs,
    forward_to_loss,
    list_alive,
    products,
    read_inputs,
    read_targets,
    scale,
    score_to_delta,
    through_activation,
    update_biases,
    update_first_weights,
)
from .subnormals import flush_subnormals, restore_subnormals
from .threads import is_late, told_to_stop, wait
from .vectors import add_vectors, copy, scale_vectors

VECTOR_BYTES = vector_bytes()
_BUFFER_BYTES = BUFFER.itemsize
_SMALL = 1e-6  # modes whose scale fell below are multiplied with it: an r of 0.9 gets there in eleven blocks


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"samples": _samples, "samples_with_memory": _samples_with_memory}[name](np.dtype(dtype).type)


@kernel_function
def _gram(job, rows, n_columns, start, real):
    """gram[t, i] = x_t · x_i + start for i ≤ t; three rows at once, which need few columns beyond their own."""
    layer, workspace = layer_at(job, 0), job.workspace
    for i in range((rows + 2) // 3):
        skip = 3 * i
        call_kernel(
            "inner_products", job.linear.inner_products,
            (layer.input + skip * layer.in_row, layer.in_row, layer.input, layer.in_row, start,
             workspace.gram + skip * workspace.gram_row, workspace.gram_row, min(3, rows - skip), min(skip + 3, rows),
             (n_columns * size_of(real) + VECTOR_BYTES - 1) // VECTOR_BYTES),
        )  # fmt: skip


@inlined_source
def _correct(job, layer, t):
    """z_t += Σ_{i<t} gram[t, i] · scaled_i."""
    workspace, z = job.workspace, layer.z + t * layer.out_row
    call_kernel(
        "weighted_rows", job.linear.weighted_rows,
        (t, workspace.gram + t * workspace.gram_row, workspace.identity, layer.scaled, layer.out_row,
         workspace.identity, z, z, layer.out_row // VECTOR_BYTES),
    )  # fmt: skip


@inlined_source
def _rows_of_block(call, i):
    """How many samples block i has."""
    return min(call.block, call.count - i * call.block)


@kernel_function
def _take_buffer(job, i):
    """Let the first layer's x, its columns and the Gram matrix be block i's: members of a team have two of each."""
    workspace, layer = job.workspace, layer_at(job, 0)
    number = i % 2 if job.team.size > 1 else 0
    buffer = record_at(workspace.buffers + number * _BUFFER_BYTES, BUFFER)
    layer.input = buffer.x
    workspace.index = buffer.index
    workspace.gram = buffer.gram


@kernel_function
def _read_block(job, i, with_biases, real):
    """Read block i to its buffer and return n_columns; the last member makes the Gram matrix, which the leader uses."""
    workspace, team, rows = job.workspace, job.team, _rows_of_block(job.call, i)
    _take_buffer(job, i)
    n_columns = read_inputs(job, i * job.call.block, rows)
    if team.member == team.size - 1 and layer_at(job, 0).trainable:
        one = with_biases and layer_at(job, 0).has_biases
        _gram(job, rows, n_columns, workspace.ones if one else workspace.zeros, real)
    return n_columns


@kernel_function
def _columns_of_z(job, rows):
    """Begin and end (in bytes) of the columns of z that a member computes: of a single row, the leader computes all."""
    team, layer = job.team, layer_at(job, 0)
    if rows == 1:
        return 0, (layer.out_row if team.member == 0 else 0)
    return share_of_columns(layer, team.member, team.size)


@kernel_function
def _my_columns(job):
    """Begin and end (in bytes) of a member's columns of the first layer's weights."""
    return share_of_columns(layer_at(job, 0), job.team.member, job.team.size)


def _in_blocks(real, with_biases, begin, multiply, learn, update, end):
    """A kernel that takes samples in blocks. It is made of functions that

    - ``begin(job, params, numbers, real)``: the leader prepares the parameters;
    - ``multiply(job, rows, columns, n_columns, real)`` computes columns of the first layer's z, or what becomes z;
    - ``learn(job, start, rows, numbers, real)``: the leader takes the samples one by one, makes their steps but for the
      first layer's weights, and returns how many it took: fewer than rows where it is told to stop;
    - ``update(job, rows, columns, n_columns, real)`` moves columns of the first layer's weights;
    - ``end(job, params, real)``: the leader writes the parameters to address ``params``.

    ``with_biases`` says whether the Gram matrix counts them as weights of an input that is 1. The kernel returns 1
    where the team gave up.
    """

    def samples(params, job, numbers):
        job, numbers, floats = record_at(job, JOB), record_at(numbers, NUMBERS), flush_subnormals()
        call, leads, shared = job.call, job.team.member == 0, record_at(job.team.shared, SHARED)
        n_blocks, n_columns, result = blocks(call.count, call.block), 0, 0.0
        if leads:
            begin(job, params, numbers, real)
        if not wait(job):
            n_columns = _read_block(job, 0, with_biases, real)
        for i in range(n_blocks):
            rows, following = _rows_of_block(call, i), 0
            if rows == 1 and wait(job):  # for all columns of the weights
                break
            multiply(job, rows, _columns_of_z(job, rows), n_columns, real)
            if wait(job):
                break
            if leads:
                learnt = learn(job, i * call.block, rows, numbers, real)
                shared.learnt = learnt
                shared.taken += learnt
                shared.last = learnt < rows or is_late(job)
            elif i + 1 < n_blocks:
                following = _read_block(job, i + 1, with_biases, real)
                _take_buffer(job, i)
            if wait(job):
                break
            update(job, shared.learnt, _my_columns(job), n_columns, real)
            if shared.last:
                break
            if leads and i + 1 < n_blocks:
                following = _read_block(job, i + 1, with_biases, real)
            _take_buffer(job, i + 1)
            n_columns = following
        if wait(job):  # as it does from the first time on that the team gives up
            result = 1.0
        elif leads:
            end(job, params, real)
        restore_subnormals(floats)
        return result

    return samples


@inlined_source
def _pack(job, params, numbers, real):
    """Pack the parameters."""
    pack_all(job, params, real)


@kernel_function
def _multiply(job, rows, columns, n_columns, real):
    """z = x w + b in columns of the first layer."""
    first = layer_at(job, 0)
    products(job, first, 0, first.b, first.z, 0, rows, columns, job.workspace.index, n_columns, real)


@inlined_source
def _learn(job, start, rows, numbers, real):
    """Make the block's steps, but for the first layer's weights; return how many."""
    first, rate, learnt = layer_at(job, 0), real(numbers.rate), 0
    read_targets(job, start, rows, real)
    for t in range(rows):
        if told_to_stop(job):
            break
        if t > 0 and first.trainable:
            _correct(job, first, t)
        forward_to_loss(job, start, t, 1, numbers.totals, real)
        all_deltas_and_updates(job, t, -rate, real)
        if first.trainable:
            scale(first, t, 1, -rate, real)
        learnt += 1
    if first.trainable:
        update_biases(first, 0, 0, learnt, real)
    if job.call.outputs:
        copy_outputs(job, learnt, start, real)
    return learnt


@kernel_function
def _update(job, rows, columns, n_columns, real):
    """w += xᵀ scaled in columns of the first layer, unless that is frozen."""
    first = layer_at(job, 0)
    if first.trainable:
        update_first_weights(job, first, 0, first.scaled, rows, columns, n_columns, real)


def _samples(real):
    """Make a step of plain SGD for each sample; the call's outputs, where wanted, get those of each as it was seen."""
    return _in_blocks(real, True, _pack, _multiply, _learn, _update, unpack_all)


@inlined_source
def _second(job):
    """The distance of the second mode: of the one vector of state."""
    return peek(job.workspace.states, np.int64)


@inlined_source
def _mix_numbers(job, place, n, matrix, real):
    """Multiply each of the n weights at an address and its state, (w, v), with a matrix of two rows; without state w
    with its first number."""
    w_of_w, w_of_v, v_of_w, v_of_v = real(matrix[0]), real(matrix[1]), real(matrix[2]), real(matrix[3])
    w = array_at(place, n, real)
    if job.workspace.n_states:
        v = array_at(place + _second(job), n, real)
        for k in range(n):
            old = w[k]
            w[k] = w_of_w * old + w_of_v * v[k]
            v[k] = v_of_w * old + v_of_v * v[k]
    else:
        for k in range(n):
            w[k] *= w_of_w


@kernel_function
def _mix(job, matrix, columns, real):
    """Multiply each weight and its state, (w, v), with a matrix of two rows: of the first layer those in columns from
    begin to end (in bytes), and where the leader calls all of the deeper layers."""
    layer, (begin, end) = layer_at(job, 0), columns
    for r in range(layer.w_rows):
        _mix_numbers(job, layer.w + r * layer.w_row + begin, (end - begin) // size_of(real), matrix, real)
    if job.team.member == 0:
        for i in range(1, job.workspace.n_layers):
            layer = layer_at(job, i)
            _mix_numbers(job, layer.w, layer.w_rows * (layer.w_row // size_of(real)), matrix, real)


@kernel_function
def _unpack_mixed(job, flat, of_first, of_second, for_biases, real):
    """Write of_first · the first mode + of_second · the second to the weights of the flat vector at address ``flat``;
    the biases come from a distance behind them."""
    of_first, of_second, item = real(of_first), real(of_second), size_of(real)
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        n = layer.w_columns
        for r in range(layer.w_rows):
            place = layer.w + r * layer.w_row
            first, out = array_at(place, n, real), array_at(flat + layer.flat_w + r * n * item, n, real)
            second = array_at(place + _second(job) if job.workspace.n_states else place, n, real)
            for k in range(n):
                out[k] = of_first * first[k] + of_second * second[k]
        if layer.has_biases:
            copy(flat + layer.flat_b, layer.b + for_biases, layer.n_out * item)


@inlined_source
def _begin(job, params, numbers, real):
    """Prepare the step, which is the same for all samples. Where an epoch begins, pack the parameters and the velocity,
    and turn those of the weights into modes."""
    prepare_step(job, real(numbers.rate))
    if job.call.position > 0:
        return
    modes = record_at(job.step.modes, MODES)
    pack_all(job, params, real)
    q, e = modes.w_of_second, modes.v_of_first
    part = 1 / (1 - q * e)
    _mix(job, (part, -q * part, -e * part, part), all_columns(layer_at(job, 0)), real)
    modes.scale1 = 1.0
    modes.scale2 = 1.0


@inlined_source
def _write_back(job, params, real):
    """Write parameters, to address ``params``, and velocity as they are now; the modes remain."""
    modes = record_at(job.step.modes, MODES)
    scale1, scale2 = modes.scale1, modes.scale2
    _unpack_mixed(job, params, scale1, modes.w_of_second * scale2, 0, real)
    if job.workspace.n_states:
        velocity = peek(job.workspace.flat_states, np.int64)
        _unpack_mixed(job, velocity, modes.v_of_first * scale1, scale2, _second(job), real)


@kernel_function
def _weigh_z(job, t, first, second, coefficients, real):
    """Turn z_t, the first mode's product with the input, into the pre-activation, but for what the block's gradients
    add, and weigh gram[t]. The second mode's product stands in the first layer's a, until that is computed."""
    layer, workspace = layer_at(job, 0), job.workspace
    n = layer.out_row // size_of(real)
    z, b = array_at(layer.z + t * layer.out_row, n, real), array_at(layer.b, n, real)
    first, second = real(first), real(second)
    for k in range(n):
        z[k] = first * z[k] + b[k]
    if workspace.n_states:
        other = array_at(layer.a + t * layer.out_row, n, real)
        for k in range(n):
            z[k] += second * other[k]
    gram = array_at(workspace.gram + t * workspace.gram_row, t, real)
    for i in range(t):
        gram[i] *= real(coefficients[t - 1 - i])


@inlined_source
def _product(job, layer, t, distance, start, real):
    """z_t = start + the product of a deeper layer's input and what stands at a distance behind its weights."""
    x, z = layer.input + t * layer.in_row, layer.z + t * layer.out_row
    if layer.by_inputs:
        call_kernel(
            "weighted_rows", job.linear.weighted_rows,
            (layer.n_alive, x, layer.alive, layer.w + distance, layer.w_row, layer.alive, start, z,
             layer.out_row // VECTOR_BYTES),
        )  # fmt: skip
    else:
        call_kernel(
            "inner_products", job.linear.inner_products,
            (x, layer.in_row, layer.w + distance, layer.w_row, start, z, layer.out_row, 1, layer.n_out,
             layer.in_row // VECTOR_BYTES),
        )  # fmt: skip


@kernel_function
def _forward(job, layer, t, first, second, real):
    """z_t = (first · the first mode + second · the second one) of a deeper layer times its input, + b."""
    z, n, start = layer.z + t * layer.out_row, layer.out_row // size_of(real), job.workspace.zeros
    if layer.by_inputs:
        list_alive(layer, t, True, real)
    if job.workspace.n_states:
        _product(job, layer, t, _second(job), start, real)
        scale_vectors(real, layer.out_row // VECTOR_BYTES, z, z, real(second / first))
        start = z
    _product(job, layer, t, 0, start, real)
    z, b, first = array_at(z, n, real), array_at(layer.b, n, real), real(first)
    for k in range(n):
        z[k] = first * z[k] + b[k]


@inlined_source
def _one_mode(job, layer, dx, t, distance, of_delta, of_gradient, real):
    """dx = of_delta · delta_t times one mode of a deeper layer, to which of_gradient · sample t's gradient is added."""
    skip, vectors = t * layer.out_row, layer.out_row // VECTOR_BYTES
    scale_vectors(real, vectors, layer.z + skip, layer.delta + skip, real(of_delta))
    scale(layer, t, 1, real(of_gradient), real)
    backward_and_update(job, layer, distance, layer.z + skip, dx, t, real)


@kernel_function
def _deeper_layers(job, t, weights, steps, with_deltas, real):
    """Add a step's share of sample t's gradient to both modes of the deeper layers; with deltas, every delta below gets
    dL/dz on the way, with the weights from before: weights[0] · the first mode + weights[1] · the second."""
    for i in range(job.workspace.n_layers - 1, 0, -1):
        layer, below = layer_at(job, i), layer_at(job, i - 1)
        skip = t * below.out_row
        dx, other = below.delta + skip if with_deltas else below.scaled + skip, below.scaled + skip
        _one_mode(job, layer, dx, t, 0, weights[0], steps[0], real)
        if job.workspace.n_states:
            _one_mode(job, layer, other, t, _second(job), weights[1], steps[1], real)
            if with_deltas:
                add_vectors(real, below.out_row // VECTOR_BYTES, dx, other)
        if with_deltas:
            through_activation(below, job.step.dropout != 0, t, 1, real)


@kernel_function
def _clip_factor(job, t, squared_input, limit, real):
    """The factor by which sample t's gradient is shortened to the limit; its squared norm is Σ |δ|² (|input|² + 1)."""
    total = 0.0
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        inputs = squared_input
        if i > 0:
            inputs = squares(layer.input + t * layer.in_row, layer.n_in, real)
        delta = squares(layer.delta + t * layer.out_row, layer.n_out, real)
        total += delta * (inputs + (layer.has_biases != 0))
    return min(1.0, limit / max(square_root(total), limit))


@inlined_source
def _move_biases(job, t, factor):
    """Make the optimiser's step of all biases, against factor · delta_t."""
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        if layer.has_biases:
            delta = layer.delta + t * layer.out_row
            move(job, layer.b, job.workspace.ones, delta, 1, layer.n_out, False, factor)


@inlined_source
def _learn_from(job, start, t, modes, totals, real):
    """Make the step of the block's sample t, but for the first layer's weights, whose scaled gets the clipped delta."""
    workspace, options, first = job.workspace, record_at(job.step.options, OPTIONS), layer_at(job, 0)
    squared_input = np.float64(peek(workspace.gram + t * workspace.gram_row + t * size_of(real), real))
    weights, last = (modes.scale1, modes.w_of_second * modes.scale2), workspace.n_layers - 1
    _weigh_z(job, t, weights[0], weights[1], array_at(modes.coefficients, job.call.block, np.float64), real)
    if t > 0:
        _correct(job, first, t)
    for i in range(workspace.n_layers):
        if i > 0:
            _forward(job, layer_at(job, i), t, weights[0], weights[1], real)
        activate(job, i, t, 1, job.call.position + start, True, i < last or not job.data.loss_activates, real)
    score_to_delta(job, start, t, 1, totals, real)
    modes.scale1 *= modes.r1
    modes.scale2 *= modes.r2
    factor, steps = 1.0, (modes.first_of_g / modes.scale1, modes.second_of_g / modes.scale2)
    if options.clip_norm > 0:
        _deeper_layers(job, t, weights, (0.0, 0.0), True, real)
        factor = _clip_factor(job, t, squared_input, options.clip_norm, real)
        _deeper_layers(job, t, weights, (factor * steps[0], factor * steps[1]), False, real)
    else:
        _deeper_layers(job, t, weights, steps, True, real)
    _move_biases(job, t, factor)
    scale(first, t, 1, real(factor), real)


@inlined_source
def _weigh_rows(job, rows, target, of_gradient, r, real):
    """target_i = of_gradient / rⁱ · scaled_i in the first layer: what the block's gradients add to one of its modes."""
    layer = layer_at(job, 0)
    for i in range(rows):
        skip = i * layer.out_row
        vectors = layer.out_row // VECTOR_BYTES
        scale_vectors(real, vectors, target + skip, layer.scaled + skip, real(of_gradient))
        of_gradient /= r


@kernel_function
def _multiply_modes(job, rows, columns, n_columns, real):
    """The products of x and columns of both modes of the first layer, to its z and its a."""
    first, workspace = layer_at(job, 0), job.workspace
    products(job, first, 0, workspace.zeros, first.z, 0, rows, columns, workspace.index, n_columns, real)
    if workspace.n_states:
        distance = _second(job)
        products(job, first, distance, workspace.zeros, first.a, 0, rows, columns, workspace.index, n_columns, real)


@inlined_source
def _learn_with_memory(job, start, rows, numbers, real):
    """Make the block's steps, but for the first layer's weights; return how many.

    What they add to the first layer's modes is left in its scaled and, for the second one, in its delta.
    """
    first, modes, learnt = layer_at(job, 0), record_at(job.step.modes, MODES), 0
    scale1, scale2 = modes.scale1, modes.scale2
    read_targets(job, start, rows, real)
    for t in range(rows):
        if told_to_stop(job):
            break
        _learn_from(job, start, t, modes, numbers.totals, real)
        learnt += 1
    if job.workspace.n_states:
        _weigh_rows(job, learnt, first.delta, modes.second_of_g / (scale2 * modes.r2), modes.r2, real)
    _weigh_rows(job, learnt, first.scaled, modes.first_of_g / (scale1 * modes.r1), modes.r1, real)
    modes.fade1 = 0.0
    if min(modes.scale1, modes.scale2) < _SMALL:
        modes.fade1 = modes.scale1
        modes.fade2 = modes.scale2
        modes.scale1 = 1.0
        modes.scale2 = 1.0
    if job.call.outputs:
        copy_outputs(job, learnt, start, real)
    options = record_at(job.step.options, OPTIONS)
    options.steps += learnt
    return learnt


@kernel_function
def _update_modes(job, rows, columns, n_columns, real):
    """Move columns of the first layer's modes by the block's gradients; multiply all modes with their scales, where
    these have become small."""
    first, modes = layer_at(job, 0), record_at(job.step.modes, MODES)
    update_first_weights(job, first, 0, first.scaled, rows, columns, n_columns, real)
    if job.workspace.n_states:
        update_first_weights(job, first, _second(job), first.delta, rows, columns, n_columns, real)
    if modes.fade1 > 0:
        _mix(job, (modes.fade1, 0.0, 0.0, modes.fade2), columns, real)


def _samples_with_memory(real):
    """Make a step of SGD with momentum, l2 or clipping, linear in the clipped gradients, for each sample; the call's
    outputs, where wanted, get those of each as it was seen. No layer may be frozen: modes are scaled all together.

    The weights and their velocity are kept as the two modes of a step (docs/blocked-sgd.md), divided by their scales:
    then what the gradients add is all that changes. They stay so, in the copy of the parameters that only this kernel
    sees, for all calls of an epoch: its bits do not depend on how many these are.
    """
    return _in_blocks(real, False, _begin, _multiply_modes, _learn_with_memory, _update_modes, _write_back)
