"""The kernel of Jacobians: derivatives of every output of every sample, by the parameters or by the inputs.

A block of samples goes forward once. Then every sample has several rows of the layers' ``delta``, one for each of its
derivatives that are taken together, and all of these rows go through a layer in one product: back from the outputs, or,
where a derivative by fewer inputs than outputs is wanted, forward from the inputs.
"""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, call_kernel, inlined_source, kernel_function, record_at, size_of
from .layout import JOB
from .packing import last_layer, layer_at, pack
from .passes import activate_first_layers, all_finite, blocks, first_forward, read_inputs
from .threads import told_to_stop
from .tiles import sums_for_few_columns
from .vectors import (
    copy,
    move_rows,
    multiply_rows,
    multiply_vectors,
    outer_product,
    scale_and_multiply,
    scale_vectors,
    transpose_square,
)

VECTOR_BYTES = vector_bytes()
_ROWS = 64  # of a layer's weights, whose derivatives are written between two looks for Ctrl-C


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"jacobian": _jacobian}[name](np.dtype(dtype).type)


@kernel_function
def _is_narrow(job, layer, real):
    """Whether the transpose of a layer's weights fits into its ``scaled``.

    Wider ones are not transposed: to do so panel by panel takes what the product saves. Ten samples of 784-128-10 took
    98 to 101 µs either way, one sample 15.5 in place of 12.
    """
    return layer.by_inputs and layer.in_row <= job.workspace.block * size_of(real)


@kernel_function
def transpose(layer, distance, out, real):
    """Write what stands at a distance behind the weights of a layer that is stored by inputs to the address ``out``, by
    outputs: (padded n_out, padded n_in).

    A product of many rows with that takes two thirds of the time of one with the weights as they are stored.
    """
    n_in, in_row, w_row, item = layer.n_in, layer.in_row, layer.w_row, size_of(real)
    for i in range(0, in_row // item, VECTOR_BYTES // item):
        for k in range(0, layer.n_out, VECTOR_BYTES // item):
            w = layer.w + distance + i * w_row + k * item
            transpose_square(real, w, w_row, n_in - i, out + k * in_row + i * item, in_row)


@kernel_function
def _has_few_inputs(job, real):
    """Whether derivatives by the inputs, of which half a vector has room for a sample's, are made by
    `_back_to_few_inputs`."""
    first = layer_at(job, 0)
    few = 2 * first.n_in * size_of(real) <= VECTOR_BYTES
    return job.call.by_inputs and few and job.workspace.n_layers > 1 and not first.softmax_backward


@kernel_function
def transpose_narrow(job, real):
    """Write the transposes of all layers' weights that fit, for the way back, as far down as it goes."""
    lowest = 0 if job.call.by_inputs and not _has_few_inputs(job, real) else 1
    for i in range(lowest, job.workspace.n_layers):
        if _is_narrow(job, layer_at(job, i), real):
            layer = layer_at(job, i)
            transpose(layer, 0, layer.scaled, real)


@kernel_function
def times(job, a, a_row, w, w_row, start, start_row, rows, depth, c, c_row, real):
    """C = start + A W for rows of A, whose columns are ``depth`` rows of W; with start_row 0 start is one row for all,
    with start = C the product is added."""
    identity = job.workspace.identity
    call_kernel(
        "product", job.linear.product,
        (a, a_row, size_of(real), w, w_row, identity, start, start_row, c, c_row, identity, rows,
         c_row // VECTOR_BYTES, depth, job.workspace.room),
    )  # fmt: skip


@kernel_function
def times_transposed(job, a, a_row, w, w_row, start, rows, n_rows, c, c_row):
    """C = start + A Wᵀ for rows of A and ``n_rows`` rows of W; start is one row for all."""
    arguments = (a, a_row, w, w_row, start, c, c_row, rows, n_rows, a_row // VECTOR_BYTES)
    call_kernel("inner_products", job.linear.inner_products, arguments)


@inlined_source
def _back(job, layer, rows, out, real):
    """Write the derivatives by a layer's inputs to the address ``out``, from those by its z."""
    delta, d_row, zeros, in_row = layer.delta, layer.out_row, job.workspace.zeros, layer.in_row
    if _is_narrow(job, layer, real):
        times(job, delta, d_row, layer.scaled, in_row, zeros, 0, rows, layer.n_out, out, in_row, real)
    elif layer.by_inputs:
        times_transposed(job, delta, d_row, layer.w, layer.w_row, zeros, rows, layer.n_in, out, in_row)
    else:
        times(job, delta, d_row, layer.w, layer.w_row, zeros, 0, rows, layer.n_out, out, in_row, real)


@kernel_function
def _back_to_few_inputs(job, samples, each, out, real):
    """Write the derivatives by the inputs, as the user gave them, to the address ``out``, from those by the first
    layer's a: in one pass over these, where f', the product, the scale and `write_by_inputs` are four.

    With two outputs 8-64-64-2 takes 0.88 of the time, 8-32-32-2 0.90, and with one 2-64-64-1 0.89, 3-16-16-1 0.90.
    """
    first, scale = layer_at(job, 0), job.data.x_scale if job.data.x_shift else job.workspace.ones
    steps, rows, n_in, row = first.out_row // VECTOR_BYTES, samples * each, first.n_in, first.out_row
    delta, d, w, w_row = first.delta, first.d, first.w, first.w_row
    if n_in <= 2:
        sums_for_few_columns(2, real, steps, rows, each, delta, d, row, w, w_row, n_in, scale, out)
    elif n_in <= 4:
        sums_for_few_columns(4, real, steps, rows, each, delta, d, row, w, w_row, n_in, scale, out)
    else:
        sums_for_few_columns(8, real, steps, rows, each, delta, d, row, w, w_row, n_in, scale, out)


@inlined_source
def ahead(job, layer, x, z, rows, real):
    """Write the derivatives of a layer's z to the address ``z``, from those of its inputs at the address ``x``."""
    zeros, w, w_row, in_row, out_row = job.workspace.zeros, layer.w, layer.w_row, layer.in_row, layer.out_row
    if layer.by_inputs:
        times(job, x, in_row, w, w_row, zeros, 0, rows, layer.n_in, z, out_row, real)
    else:
        times_transposed(job, x, in_row, w, w_row, zeros, rows, layer.n_out, z, out_row)


@kernel_function
def _through_activation(layer, samples, each, real):
    """Multiply ``each`` rows of delta of every sample with f', or with softmax's Jacobian, which is symmetric: the way
    back and the way forward are one."""
    stride = layer.out_row
    if not layer.softmax_backward:
        multiply_rows(real, samples, each, stride // VECTOR_BYTES, layer.delta, layer.d)
        return
    for s in range(samples):
        for k in range(each):
            delta = layer.delta + (s * each + k) * stride
            arguments = (layer.a + s * stride, delta, 1, layer.n_out, stride // size_of(real))
            call_kernel("softmax_backward", layer.softmax_backward, arguments)


@inlined_source
def _rows_by_output(job, layer, real):
    """The address and the stride of what each output takes of a layer's inputs; 0 where that is no row."""
    if _is_narrow(job, layer, real):
        return layer.scaled, layer.in_row
    return 0 if layer.by_inputs else layer.w, layer.w_row


@kernel_function
def unit(job, k, real):
    """The derivative of output k, in the user's units, by the last layer's activation."""
    return array_at(job.data.out_scale, k + 1, real)[k] if job.data.out_scale else real(1)


@kernel_function
def _seed_outputs(job, samples, start, each, real):
    """Write the derivatives of outputs start to start + each by the last layer's z to its delta."""
    last = last_layer(job)
    delta = array_at(last.delta, (samples * each, last.out_row // size_of(real)), real)
    for s in range(samples):
        for k in range(each):
            row = delta[s * each + k]
            for j in range(last.n_out):
                row[j] = 0
            row[start + k] = unit(job, start + k, real)
    _through_activation(last, samples, each, real)


@kernel_function
def _back_from_outputs(job, w, w_row, samples, start, each, below_d, out, real):
    """`_back` from outputs start to start + each, whose z are all that they depend on, by their rows of weights, and
    through the activation of the layer below, where the address of its f' is given."""
    last = last_layer(job)
    d, in_row = array_at(last.d, (samples, last.out_row // size_of(real)), real), last.in_row
    for s in range(samples):
        for k in range(start, start + each):
            row, factor = w + k * w_row, d[s, k] * unit(job, k, real)
            if below_d:
                scale_and_multiply(real, in_row // VECTOR_BYTES, out, row, factor, below_d + s * in_row)
            else:
                scale_vectors(real, in_row // VECTOR_BYTES, out, row, factor)
            out += in_row


@kernel_function
def _seed_inputs(job, samples, start, each, real):
    """Write the derivatives of the first layer's z by inputs start to start + each, rows of w, to its delta."""
    first = layer_at(job, 0)
    for s in range(samples):
        for i in range(each):
            copy(first.delta + (s * each + i) * first.out_row, first.w + (start + i) * first.w_row, first.out_row)


@kernel_function
def _write_products(job, rows, factors, x, n, index, out, real):
    """out[index[r], :] = factors[r] x for n columns, without padding; a call that is told to stop ends early."""
    for i in range(blocks(rows, _ROWS)):
        done = i * _ROWS
        if told_to_stop(job):
            return
        outer_product(real, min(_ROWS, rows - done), n, factors + done * size_of(real), x, index + 8 * done, out)


@kernel_function
def _write_zeros(job, out, rows, n, real):
    """Write ``rows`` rows of n zeros; a call that is told to stop ends early."""
    for i in range(blocks(rows, _ROWS)):
        done = i * _ROWS
        if told_to_stop(job):
            return
        zeros = array_at(out + done * n * size_of(real), min(_ROWS, rows - done) * n, real)
        for k in range(len(zeros)):
            zeros[k] = 0


@kernel_function
def _write_layer(job, layer, delta, x, index, n_columns, out, real):
    """Write the derivatives by a layer's parameters to their places in the flat vector at address ``out``, from a row
    of delta and one of inputs: the ``n_columns`` that are not left out, which ``index`` lists."""
    w = out + layer.flat_w
    if layer.by_inputs:
        if n_columns < layer.n_in:
            _write_zeros(job, w, layer.n_in, layer.n_out, real)
        _write_products(job, n_columns, x, delta, layer.n_out, index, w, real)
    else:
        _write_products(job, layer.n_out, delta, x, layer.n_in, job.workspace.identity, w, real)
    if layer.has_biases:
        copy(out + layer.flat_b, delta, layer.n_out * size_of(real))


@kernel_function
def _write_by_params(job, layer, samples, each, index, n_columns, out, out_row, real):
    """Write the derivatives by a layer's parameters, of every row of delta, to the flat vectors at address ``out``."""
    delta = layer.delta
    for s in range(samples):
        x = layer.input + s * layer.in_row
        for _ in range(each):
            if told_to_stop(job):
                return
            _write_layer(job, layer, delta, x, index, n_columns, out, real)
            delta += layer.out_row
            out += out_row


@inlined_source
def write_by_inputs(job, rows, out, real):
    """Move the derivatives by the inputs, as the user gave them, from the first layer's input, where only their scale
    is missing, to the address ``out``."""
    first = layer_at(job, 0)
    if job.data.x_shift:
        for r in range(rows):
            multiply_vectors(real, first.in_row // VECTOR_BYTES, first.input + r * first.in_row, job.data.x_scale)
    move_rows(real, rows, first.n_in, first.input, first.in_row, out)


@kernel_function
def backward(job, samples, start, each, n_columns, out, out_row, real):
    """Write the derivatives of outputs start to start + each of a block's samples to the address ``out``, those by the
    parameters ``out_row`` bytes apart: there is but one sample where these are not all. True if told to stop."""
    workspace, by_inputs, first, last = job.workspace, job.call.by_inputs, layer_at(job, 0), last_layer(job)
    rows, w, w_row = samples * each, *_rows_by_output(job, last, real)
    ready = by_inputs and first.in_row == first.n_in * size_of(real) and not job.data.x_shift
    direct = by_inputs and w and not last.softmax_backward
    few = _has_few_inputs(job, real)
    lowest = 2 if few else 1  # of the layers behind which a pass multiplies with the f' of the layer below
    if not direct:
        _seed_outputs(job, samples, start, each, real)
    for i in range(workspace.n_layers - 1, -1, -1):
        layer = layer_at(job, i)
        if not by_inputs:
            index, columns = (workspace.identity, layer.n_in) if i > 0 else (workspace.index, n_columns)
            _write_by_params(job, layer, samples, each, index, columns, out, out_row, real)
        if told_to_stop(job):
            return True
        if few and i == 0:
            _back_to_few_inputs(job, samples, each, out, real)
            return False
        target, below_d = layer_at(job, i - 1).delta if i > 0 else out if ready else layer.input, 0
        if direct and i == workspace.n_layers - 1:
            if i >= lowest and not layer_at(job, i - 1).softmax_backward:
                below_d = layer_at(job, i - 1).d
            _back_from_outputs(job, w, w_row, samples, start, each, below_d, target, real)
        elif i > 0 or by_inputs:
            _back(job, layer, rows, target, real)
        if i >= lowest and not below_d:
            _through_activation(layer_at(job, i - 1), samples, each, real)
    if by_inputs and not ready:
        write_by_inputs(job, rows, out, real)
    return False


@kernel_function
def _forward(job, samples, start, each, out, real):
    """Write the derivatives by inputs start to start + each of a block's samples to the address ``out``, (samples,
    n_out, n_in); true if told to stop."""
    data, last, n_in = job.data, last_layer(job), layer_at(job, 0).n_in
    _seed_inputs(job, samples, start, each, real)
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        if told_to_stop(job):
            return True
        if i > 0:
            ahead(job, layer, layer_at(job, i - 1).delta, layer.delta, samples * each, real)
        _through_activation(layer, samples, each, real)
    delta = array_at(last.delta, (samples * each, last.out_row // size_of(real)), real)
    out = array_at(out, (samples, last.n_out, n_in), real)
    for s in range(samples):
        for i in range(each):
            scale = array_at(data.x_scale, n_in, real)[start + i] if data.x_shift else real(1)
            for k in range(last.n_out):
                out[s, k, start + i] = delta[s * each + i, k] * scale * unit(job, k, real)
    return False


@kernel_function
def _write_derivative_of_linear(job, rows, real):
    """Write f' of linear outputs, which no sample changes."""
    last = last_layer(job)
    d = array_at(last.d, rows * (last.out_row // size_of(real)), real)
    for k in range(len(d)):
        d[k] = 1


def _jacobian(real):
    """Write the derivatives of every output of the samples to the call's outputs: (count, n_out, n_params) or, by the
    inputs, (count, n_out, n_in).

    The call's block leaves a sample room for one row of delta for each of its derivatives, or for as many as the
    workspace has. A checked call ends with the result 1 at the first block that has a sample that is not finite. A call
    that was told to stop returns 1 too.
    """

    def jacobian(params, job, numbers):
        job = record_at(job, JOB)
        call, workspace, last = job.call, job.workspace, last_layer(job)
        n_in, n_out = layer_at(job, 0).n_in, last.n_out
        forward = call.by_inputs and n_in < n_out
        derivatives = n_in if forward else n_out
        each = min(derivatives, workspace.block // call.block)
        size = n_out * (n_in if call.by_inputs else workspace.n_params) * size_of(real)
        pack(job, params, 0, True, real)
        if job.data.out_linear:
            _write_derivative_of_linear(job, call.block, real)
        if not forward:
            transpose_narrow(job, real)
        for i in range(blocks(call.count, call.block)):
            first = i * call.block
            samples = min(call.block, call.count - first)
            n_columns = read_inputs(job, first, samples)
            if call.checked and not all_finite(job, samples, real):
                return 1.0
            layer = layer_at(job, 0)
            first_forward(job, first, 0, samples, n_columns, layer.w, layer.w_row, real)
            if told_to_stop(job):
                return 1.0
            needed = workspace.n_layers - (job.data.out_linear != 0)  # linear outputs are not
            activate_first_layers(job, needed, 0, samples, 0, True, True, real)
            for j in range(blocks(derivatives, each)):
                start, out = j * each, call.outputs + first * size
                together = min(each, derivatives - start)
                if forward:
                    stopped = _forward(job, samples, start, together, out, real)
                else:
                    row = size // n_out
                    stopped = backward(job, samples, start, together, n_columns, out + start * row, row, real)
                if stopped:
                    return 1.0
        return 0.0

    return jacobian
