"""The kernels of derivatives along directions: what outputs, gradients and slopes change by when parameters or inputs
move along a vector.

Pearlmutter's R-operator ("Fast exact multiplication by the Hessian", Neural Computation 6, 1994) differentiates a
network's passes themselves: where v moves the weights, a layer's z changes by R z = V a + W R a, its a by
R a = f'(z) R z, and on the way back dL/da by S = Wᵀ R delta + Vᵀ delta, delta by R delta = f'(z) S + f''(z) R z dL/da.

A block's samples have the first rows of a layer's z, a and d; behind them z and a have as many rows again for each of
``each`` directions along which tangents are taken. In delta it is the other way round: first R delta, then delta, so
that one product of the rows [R delta, delta] and [a, R a] makes a layer's part of the Hessian's product. On the way
back z has f''(z).
"""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, call_kernel, inlined_source, kernel_function, record_at, size_of
from .jacobians import times, times_transposed, transpose, unit, write_by_inputs
from .layout import JOB, NUMBERS
from .packing import all_columns, clear, last_layer, layer_at, pack_all, unpack
from .passes import (
    activate_layers,
    all_deltas,
    all_finite,
    blocks,
    first_forward,
    products,
    read_block,
    read_inputs,
    read_targets,
    through_activation,
    update,
    update_sums,
    update_weights,
    weight_of,
)
from .subnormals import flush_subnormals, restore_subnormals
from .threads import told_to_stop
from .vectors import add_vectors, clear_behind, copy, multiply_vectors, scale_vectors, wide_vectors

VECTOR_BYTES = vector_bytes()
_WORTH_TRANSPOSING = 32  # samples of a call, from which on transposed weights save more than they cost


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    kernels = {"jvp": _jvp, "vjp": _vjp, "hvp": _hvp, "input_hessians": _input_hessians}
    return kernels[name](np.dtype(dtype).type)


@inlined_source
def _direction(job):
    """The distance of the direction in which the parameters move."""
    return array_at(job.workspace.states, 1, np.int64)[0]


@inlined_source
def _half(job, layer):
    """Where the second half of a layer's ``scaled`` begins, in bytes."""
    return job.workspace.block // 2 * layer.out_row


@kernel_function
def _is_transposed(job, layer, real):
    """Whether the transpose of a layer's weights is worth its while, and fits into half of its ``scaled``."""
    fits = layer.in_row <= job.workspace.block // 2 * size_of(real)
    return layer.by_inputs and fits and job.call.count >= _WORTH_TRANSPOSING


@kernel_function
def _transpose_all(job, first, distance, real):
    """Write the transposes of the weights of layers from ``first`` on, and of the directions at a distance behind them,
    if that is not 0, to the halves of ``scaled``."""
    for i in range(first, job.workspace.n_layers):
        layer = layer_at(job, i)
        if _is_transposed(job, layer, real):
            transpose(layer, 0, layer.scaled, real)
            if distance:
                transpose(layer, distance, layer.scaled + _half(job, layer), real)


@kernel_function
def _multiply(real, count, out, x, y):
    """out = x y for ``count`` numbers."""
    wide_vectors()
    out, x, y = array_at(out, count, real), array_at(x, count, real), array_at(y, count, real)
    for k in range(count):
        out[k] = x[k] * y[k]


@kernel_function
def _bend(real, count, tangent, d, second, dz, da):
    """tangent = d tangent + second dz da for ``count`` numbers."""
    wide_vectors()
    tangent, d = array_at(tangent, count, real), array_at(d, count, real)
    second, dz, da = array_at(second, count, real), array_at(dz, count, real), array_at(da, count, real)
    for k in range(count):
        tangent[k] = d[k] * tangent[k] + second[k] * dz[k] * da[k]


@kernel_function
def _first_tangents(job, start, samples, n_columns, distance, real):
    """Write the tangents of the first layer's z along the direction at a distance behind its parameters."""
    layer, workspace = layer_at(job, 0), job.workspace
    out, w = layer.z + samples * layer.out_row, layer.w + distance
    b = layer.b + distance if layer.has_biases else workspace.zeros
    if n_columns >= 0:
        columns = all_columns(layer)
        products(job, layer, distance, b, out, 0, samples, columns, workspace.index, n_columns, real)
        return
    for r in range(samples):
        found = read_inputs(job, start + r, 1)
        call_kernel(
            "weighted_rows", job.linear.weighted_rows,
            (found, layer.input, workspace.identity, w, layer.w_row, workspace.index, b, out + r * layer.out_row,
             layer.out_row // VECTOR_BYTES),
        )  # fmt: skip


@kernel_function
def _tangents_of_z(job, i, samples, each, distance, real):
    """Write the tangents of a deeper layer's z: W R a and, with a distance other than 0, V a + v of the direction that
    stands there behind its parameters."""
    layer, zeros = layer_at(job, i), job.workspace.zeros
    in_row, out_row = layer.in_row, layer.out_row
    moved, out = layer.input + samples * in_row, layer.z + samples * out_row
    v, b = layer.w + distance, layer.b + distance if layer.has_biases else zeros
    if layer.by_inputs:
        start, start_row = zeros, 0
        if distance:
            times(job, layer.input, in_row, v, layer.w_row, b, 0, samples, layer.n_in, out, out_row, real)
            start, start_row = out, out_row
        times(
            job, moved, in_row, layer.w, layer.w_row, start, start_row, samples * each, layer.n_in, out, out_row, real
        )
    else:
        times_transposed(job, moved, in_row, layer.w, layer.w_row, zeros, samples * each, layer.n_out, out, out_row)
        if distance:  # delta is free on the way forward
            times_transposed(job, layer.input, in_row, v, layer.w_row, b, samples, layer.n_out, layer.delta, out_row)
            add_vectors(real, samples * (out_row // VECTOR_BYTES), out, layer.delta)


@kernel_function
def clear_tangents(layer, samples, each, real):
    """Write zeros behind the numbers of the tangents of a layer's a."""
    row = layer.out_row
    for r in range(samples, samples * (1 + each) if layer.n_out * size_of(real) < row else samples):
        clear_behind(real, layer.a + r * row, layer.n_out, row // VECTOR_BYTES)


@kernel_function
def tangents_of_a(layer, samples, each, real):
    """Write the tangents of a layer's a from those of its z."""
    size, columns = samples * layer.out_row, layer.out_row // size_of(real)
    for k in range(each):
        z, a = layer.z + (1 + k) * size, layer.a + (1 + k) * size
        if layer.softmax_backward:
            copy(a, z, size)
            arguments = (layer.a, a, samples, layer.n_out, columns)
            call_kernel("softmax_backward", layer.softmax_backward, arguments)
        else:
            _multiply(real, samples * columns, a, layer.d, z)
    clear_tangents(layer, samples, each, real)


@kernel_function
def _forward_tangents(job, samples, each, distance, real):
    """Go on from the tangents of the first layer's z to those of the last one's."""
    for i in range(job.workspace.n_layers):
        if i > 0:
            tangents_of_a(layer_at(job, i - 1), samples, each, real)
            _tangents_of_z(job, i, samples, each, distance, real)


@kernel_function
def write_derivative(layer, kernel, z, samples, real):
    """Write a derivative of a layer's activation, by its kernel, over the samples' z at that address."""
    arguments = (z, samples, layer.n_out, layer.out_row // size_of(real), layer.slope)
    call_kernel("higher_derivative", kernel, arguments)


@kernel_function
def curve(layer, samples, real):
    """Write f''(z) over a layer's z; nothing where it is 0, or the activation a softmax."""
    if layer.curvature and not layer.softmax_backward:
        write_derivative(layer, layer.curvature, layer.z, samples, real)


@kernel_function
def _through(layer, samples, each, real):
    """Turn dL/da and its tangents, which stand in a layer's delta, into dL/dz and its tangents."""
    size, columns = samples * layer.out_row, layer.out_row // size_of(real)
    own = layer.delta + each * size
    for k in range(each):
        tangent, dz, da = layer.delta + k * size, layer.z + (1 + k) * size, layer.a + (1 + k) * size
        if layer.softmax_backward:
            for s in range(samples):
                row = s * layer.out_row
                call_kernel(
                    "softmax_tangent", layer.curvature,
                    (layer.a + row, da + row, own + row, tangent + row, 1, layer.n_out, columns),
                )  # fmt: skip
        elif layer.curvature:
            _bend(real, samples * columns, tangent, layer.d, layer.z, dz, own)
        else:
            multiply_vectors(real, size // VECTOR_BYTES, tangent, layer.d)
    if layer.softmax_backward:
        call_kernel("softmax_backward", layer.softmax_backward, (layer.a, own, samples, layer.n_out, columns))
    else:
        multiply_vectors(real, size // VECTOR_BYTES, own, layer.d)


@kernel_function
def _back(job, layer, samples, each, distance, out, real):
    """Write what dL/dx of a layer's inputs x changes by, and behind it dL/dx itself, to the address ``out``: W applied
    to all of delta's rows and, with a distance other than 0, the direction that stands there behind W to those of delta
    itself. Behind these rows there is room for as many as there are samples."""
    rows, zeros, in_row, out_row = samples * (each + 1), job.workspace.zeros, layer.in_row, layer.out_row
    delta, own, w, w_row = layer.delta, layer.delta + samples * each * layer.out_row, layer.w, layer.w_row
    v = w + distance
    if layer.by_inputs and not _is_transposed(job, layer, real):
        times_transposed(job, delta, out_row, w, w_row, zeros, rows, layer.n_in, out, in_row)
        if distance:
            room = out + rows * in_row
            times_transposed(job, own, out_row, v, w_row, zeros, samples, layer.n_in, room, in_row)
            add_vectors(real, samples * (in_row // VECTOR_BYTES), out, room)
        return
    if layer.by_inputs:
        w, v, w_row = layer.scaled, layer.scaled + _half(job, layer), in_row
    times(job, delta, out_row, w, w_row, zeros, 0, rows, layer.n_out, out, in_row, real)
    if distance:
        times(job, own, out_row, v, w_row, out, in_row, samples, layer.n_out, out, in_row, real)


@kernel_function
def _read_forward(job, start, samples, distance, with_outputs, real):
    """Read a block of samples and go forward, with the tangents of the first layer's z along the direction at a
    distance behind the parameters, if that is not 0; return n_columns."""
    layer = layer_at(job, 0)
    n_columns = read_block(job, start, samples)
    first_forward(job, start, 0, samples, n_columns, layer.w, layer.w_row, real)
    if distance:
        _first_tangents(job, start, samples, n_columns, distance, real)
    if not told_to_stop(job):
        activate_layers(job, 0, samples, 0, True, with_outputs, real)
    return n_columns


@kernel_function
def _score(job, start, samples, factor, totals, real):
    """Add the losses to the totals, and write the last layer's delta and its tangents, times ``factor`` and the
    samples' weights."""
    data, last, columns = job.data, last_layer(job), last_layer(job).out_row // size_of(real)
    targets, own = job.workspace.targets, last.delta + samples * last.out_row
    arguments = (last.z, last.a, targets, own, data.output_weights, samples, last.n_out, columns)
    totals.loss += call_kernel("loss", data.loss, arguments)
    arguments = (last.a, targets, data.output_weights, samples, last.n_out, columns)
    call_kernel("loss_curvature", data.loss_curvature, arguments)
    tangents_of_a(last, samples, 1, real)
    moved, curvature = array_at(last.a, (2 * samples, columns), real), array_at(targets, (samples, columns), real)
    delta = array_at(last.delta, (2 * samples, columns), real)
    for s in range(samples):
        weight = real(factor * weight_of(job, start + s)) if data.weights else real(factor)
        for k in range(last.n_out):
            delta[s, k] = weight * curvature[s, k] * moved[samples + s, k]
            delta[samples + s, k] *= weight
    if not data.fused:
        curve(last, samples, real)
        _through(last, samples, 1, real)


@kernel_function
def _add_product(job, start, samples, distance, factor, begins, totals, real):
    """Add a block's part of the Hessian's product to the workspace's gradient; true if told to stop."""
    workspace, gradient = job.workspace, job.workspace.gradient
    n_columns = _read_forward(job, start, samples, distance, not job.data.loss_activates, real)
    if job.call.checked and not all_finite(job, samples, real):
        return True
    if begins and n_columns < layer_at(job, 0).n_in:  # for what is not written below
        clear(layer_at(job, 0), gradient, 0, 1, real)
    if told_to_stop(job):
        return True
    _forward_tangents(job, samples, 1, distance, real)
    read_targets(job, start, samples, real)
    _score(job, start, samples, factor, totals, real)
    for i in range(workspace.n_layers - 1, -1, -1):
        layer = layer_at(job, i)
        rows = 2 * samples if i > 0 else samples  # x does not move
        update_weights(job, i, start, gradient, layer.delta, rows, n_columns, begins, real)
        update_sums(job, i, gradient, layer.delta, samples, begins, real)
        if told_to_stop(job):
            return True
        if i > 0:
            below = layer_at(job, i - 1)
            _back(job, layer, samples, 1, distance, below.delta, real)
            curve(below, samples, real)
            _through(below, samples, 1, real)
    return False


@inlined_source
def _all_products(job, params, numbers, real):
    """What `_hvp` does and returns."""
    call, distance = job.call, _direction(job)
    pack_all(job, params, real)
    _transpose_all(job, 1, distance, real)
    for i in range(blocks(call.count, call.block)):
        start = i * call.block
        samples = min(call.block, call.count - start)
        begins = i == 0 and call.begins != 0
        if _add_product(job, start, samples, distance, numbers.rate, begins, numbers.totals, real):
            return 1.0
    if call.ends:
        unpack(job, call.gradient, job.workspace.gradient, real)
    return 0.0


def _hvp(real):
    """Write ``numbers.rate`` times the Hessian of the sum of the samples' losses, times the workspace's one vector of
    state, to ``call.gradient``, (n_params,); add the losses to the totals.

    The samples may be spread over several calls: the first of them begins, the last one ends. The call's block is at
    most a quarter of the workspace's. A checked call ends with the result 1 at the first block that has a sample that
    is not finite. A call that was told to stop returns 1 too. Where a gradient multiplies matrices of a layer thrice,
    this does so eight times.
    """

    def hvp(params, job, numbers):
        job, floats = record_at(job, JOB), flush_subnormals()
        result = _all_products(job, params, record_at(numbers, NUMBERS), real)
        restore_subnormals(floats)
        return result

    return hvp


@kernel_function
def _seed_from_inputs(job, start, samples, real):
    """Write the tangents of the first layer's z along the call's rows, directions of the samples' inputs."""
    layer, data = layer_at(job, 0), job.data
    in_row, n = layer.in_row, layer.n_in
    moved, vectors = layer.input + samples * in_row, in_row // VECTOR_BYTES
    for s in range(samples):
        row = moved + s * in_row
        copy(row, job.call.along + (start + s) * n * size_of(real), n * size_of(real))
        clear_behind(real, row, n, vectors)
        if data.x_shift:
            multiply_vectors(real, vectors, row, data.x_scale)
    out = layer.z + samples * layer.out_row
    times(job, moved, in_row, layer.w, layer.w_row, job.workspace.zeros, 0, samples, n, out, layer.out_row, real)


def _jvp(real):
    """Write what the samples' outputs change by, to the call's outputs (count, n_out): along the call's rows, one of
    (n_in,) a sample, where the call is by inputs, else along the workspace's one vector of state.

    The call's block is at most half of the workspace's. A call that was told to stop returns 1.
    """

    def jvp(params, job, numbers):
        job = record_at(job, JOB)
        call, last = job.call, last_layer(job)
        distance = 0 if call.by_inputs else _direction(job)
        pack_all(job, params, real)
        for i in range(blocks(call.count, call.block)):
            start = i * call.block
            samples = min(call.block, call.count - start)
            _read_forward(job, start, samples, distance, True, real)
            if call.by_inputs:
                _seed_from_inputs(job, start, samples, real)
            if told_to_stop(job):
                return 1.0
            _forward_tangents(job, samples, 1, distance, real)
            tangents_of_a(last, samples, 1, real)
            tangents = array_at(last.a, (2 * samples, last.out_row // size_of(real)), real)
            out = array_at(call.outputs, (start + samples, last.n_out), real)
            for s in range(samples):
                for k in range(last.n_out):
                    out[start + s, k] = tangents[samples + s, k] * unit(job, k, real)
        return 0.0

    return jvp


def _vjp(real):
    """Write the derivatives of the sum of outputs that the call's rows, (n_out,) a sample, weight: by each sample's
    inputs to the call's outputs (count, n_in), or, summed over the samples, by the parameters to ``call.gradient``.

    By parameters the samples may be spread over several calls: the first of them begins, the last one ends. A call that
    was told to stop returns 1.
    """

    def vjp(params, job, numbers):
        job = record_at(job, JOB)
        call, first, last, zeros = job.call, layer_at(job, 0), last_layer(job), job.workspace.zeros
        gradient = job.workspace.gradient
        pack_all(job, params, real)
        for i in range(blocks(call.count, call.block)):
            start = i * call.block
            samples = min(call.block, call.count - start)
            n_columns = _read_forward(job, start, samples, 0, True, real)
            if told_to_stop(job):
                return 1.0
            delta = array_at(last.delta, (samples, last.out_row // size_of(real)), real)
            along = array_at(call.along, (start + samples, last.n_out), real)
            for s in range(samples):
                for k in range(last.n_out):
                    delta[s, k] = along[start + s, k] * unit(job, k, real)
            through_activation(last, False, 0, samples, real)
            all_deltas(job, 0, 0, samples, real)
            if call.by_inputs:
                rows, n_in, in_row = first.input, first.n_in, first.in_row
                times_transposed(
                    job, first.delta, first.out_row, first.w, first.w_row, zeros, samples, n_in, rows, in_row
                )
                write_by_inputs(job, samples, call.outputs + start * n_in * size_of(real), real)
                continue
            begins = i == 0 and call.begins != 0
            if begins and n_columns < first.n_in:
                clear(first, gradient, 0, 1, real)
            for j in range(job.workspace.n_layers):
                update(job, j, start, gradient, layer_at(job, j).delta, samples, n_columns, begins, real)
        if call.ends and not call.by_inputs:
            unpack(job, call.gradient, gradient, real)
        return 0.0

    return vjp


@kernel_function
def _seed_directions(job, samples, start, each, real):
    """Write the tangents of the first layer's z along inputs start to start + each."""
    first, data = layer_at(job, 0), job.data
    out, vectors = first.z + samples * first.out_row, first.out_row // VECTOR_BYTES
    for i in range(start, start + each):
        factor = array_at(data.x_scale, first.n_in, real)[i] if data.x_shift else real(1)
        for _ in range(samples):
            scale_vectors(real, vectors, out, first.w + i * first.w_row, factor)
            out += first.out_row


@kernel_function
def _seed_output(job, samples, each, k, real):
    """Write the derivative of output k by the last layer's a, and its tangents, which are 0, to its delta."""
    last = last_layer(job)
    rows, columns = samples * (each + 1), last.out_row // size_of(real)
    delta = array_at(last.delta, (rows, columns), real)
    for r in range(rows):
        for j in range(columns):
            delta[r, j] = 0
        if r >= samples * each:
            delta[r, k] = unit(job, k, real)


@kernel_function
def _write_slopes(job, samples, start, each, k, out, real):
    """Write what the derivatives of output k by the inputs change by, from the first layer's input, to their places in
    the samples' matrices (n_out, n_in, n_in) at the address ``out``."""
    first, data, n_out = layer_at(job, 0), job.data, last_layer(job).n_out
    n_in, in_row, size = first.n_in, first.in_row, first.n_in * size_of(real)
    for s in range(samples):
        for i in range(each):
            row = first.input + (i * samples + s) * in_row
            if data.x_shift:
                multiply_vectors(real, in_row // VECTOR_BYTES, row, data.x_scale)
            copy(out + ((s * n_out + k) * n_in + start + i) * size, row, size)


def _input_hessians(real):
    """Write the second derivatives of every output of the samples by the inputs to the call's outputs: (count, n_out,
    n_in, n_in).

    The call's block leaves a sample room for one row more than it has directions, or for as many as the workspace has.
    A call that was told to stop returns 1.
    """

    def input_hessians(params, job, numbers):
        job = record_at(job, JOB)
        call, workspace, first, last = job.call, job.workspace, layer_at(job, 0), last_layer(job)
        n_in, n_out = first.n_in, last.n_out
        most = min(n_in, workspace.block // call.block - 1)
        pack_all(job, params, real)
        _transpose_all(job, 0, 0, real)
        for i in range(blocks(call.count, call.block)):
            begin = i * call.block
            samples, out = (
                min(call.block, call.count - begin),
                call.outputs + begin * n_out * n_in * n_in * size_of(real),
            )
            _read_forward(job, begin, samples, 0, True, real)
            for j in range(workspace.n_layers):
                curve(layer_at(job, j), samples, real)
            for group in range(blocks(n_in, most)):
                start = group * most
                each = min(most, n_in - start)
                _seed_directions(job, samples, start, each, real)
                _forward_tangents(job, samples, each, 0, real)
                tangents_of_a(last, samples, each, real)
                for k in range(n_out):
                    if told_to_stop(job):
                        return 1.0
                    _seed_output(job, samples, each, k, real)
                    _through(last, samples, each, real)
                    for j in range(workspace.n_layers - 1, 0, -1):
                        below = layer_at(job, j - 1)
                        _back(job, layer_at(job, j), samples, each, 0, below.delta, real)
                        _through(below, samples, each, real)
                    _back(job, first, samples, each, 0, first.input, real)
                    _write_slopes(job, samples, start, each, k, out, real)
        return 0.0

    return input_hessians
