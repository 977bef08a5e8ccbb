"""Training on derivatives: the way back of a block whose loss has the outputs' derivatives by the inputs in it.

Behind the rows of a block's samples, the layers' matrices have ``tangents`` times as many rows more, one of each
sample, then another of each: of the derivatives that are taken at once. Two passes lead over these, and one over the
samples' own rows:

- *adjoints* go back: delta gets dL/dz of the row's change of the layer's z, and d keeps dL/da;
- *tangents* go ahead: z and a get how the sample's z and a change along the row's direction (the R-operator);
- the samples' deltas go back as ever, and gain f'' times what each of its rows has for an adjoint and a tangent.

With as many inputs as outputs, or more, unit adjoints of the outputs go back first: at the inputs they are the rows of
the Jacobian J. What these are too large by, J - T, times the weight, are the directions in which tangents go ahead.
With fewer inputs, unit tangents of the inputs go ahead first: at the outputs they are the columns of J, and what these
are too large by goes back. Either way delta and input of a layer, of all these rows, make the loss's derivatives by
the weights in one product; the biases take the samples' own rows alone.
"""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, call_kernel, kernel_function, peek, record_at, size_of
from .jacobians import ahead
from .layout import JOB
from .packing import last_layer, layer_at
from .passes import backward_of_rows, through_activation, weight_of
from .tangents import curve, tangents_of_a
from .vectors import copy, wide_vectors

VECTOR_BYTES = vector_bytes()


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"slope_deltas": _slope_deltas}[name](np.dtype(dtype).type)


@kernel_function
def spread(job, rows, n_columns, real):
    """Put the zeros back into rows of x that columns were left out of: tangents have every column."""
    layer = layer_at(job, 0)
    index = array_at(job.workspace.index, layer.n_in, np.int64)
    x = array_at(layer.input, (rows, layer.in_row // size_of(real)), real)
    for r in range(rows if n_columns < layer.n_in else 0):
        end = layer.n_in
        for i in range(n_columns):
            column, value = index[n_columns - 1 - i], x[r, n_columns - 1 - i]
            for k in range(column + 1, end):
                x[r, k] = 0
            x[r, column] = value
            end = column
        for k in range(end):
            x[r, k] = 0
    for k in range(layer.n_in):
        index[k] = k


@kernel_function
def _seed(address, row, samples, each, real):
    """Write a row of a unit matrix for every row of derivatives."""
    seeds = array_at(address, (each, samples, row // size_of(real)), real)
    for k in range(each):
        for s in range(samples):
            for j in range(seeds.shape[2]):
                seeds[k, s, j] = 0
            seeds[k, s, k] = 1


@kernel_function
def _read_slopes(job, start, samples, n, out, row, real):
    """Write the targets of the samples' rows of derivatives, in the network's units, to the address ``out``."""
    data, order = job.data, job.call.order + 8 * start
    for k in range(data.tangents):
        call_kernel(
            "reader", data.slopes_reader,
            (data.slopes + k * data.slopes_tangent, data.slopes_row, data.slopes_column, order, samples, 0, n,
             data.slopes_shift, data.slopes_scale + k * data.slopes_scale_row, out + k * samples * row, row),
        )  # fmt: skip


@kernel_function
def _residuals(job, start, samples, n, slopes, targets, out, row, real):
    """Write the weighted residuals of the samples' rows of derivatives to the address ``out``, zeros where a target is
    NaN and behind the n numbers of a row; return Σ ½ w residual²."""
    data, shape = job.data, (job.data.tangents, samples, row // size_of(real))
    slopes, targets, out = array_at(slopes, shape, real), array_at(targets, shape, real), array_at(out, shape, real)
    loss = 0.0
    for s in range(samples):
        number = peek(job.call.order + 8 * (start + s), np.int64)
        weight = peek(data.slope_weights + number * data.slope_weights_row, np.float64)
        if data.weights:
            weight *= weight_of(job, start + s)
        squares = 0.0
        for k in range(shape[0]):
            for j in range(n):
                residual = slopes[k, s, j] - targets[k, s, j]
                residual = residual if targets[k, s, j] == targets[k, s, j] else real(0)
                squares += np.float64(residual) * np.float64(residual)
                out[k, s, j] = real(weight) * residual
            for j in range(n, shape[2]):
                out[k, s, j] = 0
        loss += 0.5 * weight * squares
    return loss


@kernel_function
def _adjoints_through(layer, samples, each, real):
    """Keep the adjoints of the layer's a, which stand in its delta, in d, and turn them into those of its z."""
    wide_vectors()
    size = samples * layer.out_row
    d = array_at(layer.d, size // size_of(real), real)
    for k in range(each):
        skip = (1 + k) * size
        if layer.softmax_backward:
            copy(layer.d + skip, layer.delta + skip, size)
            arguments = (layer.a, layer.delta + skip, samples, layer.n_out, layer.out_row // size_of(real))
            call_kernel("softmax_backward", layer.softmax_backward, arguments)
        else:
            kept, delta = array_at(layer.d + skip, len(d), real), array_at(layer.delta + skip, len(d), real)
            for j in range(len(d)):
                adjoint = delta[j]
                kept[j] = adjoint
                delta[j] = adjoint * d[j]


@kernel_function
def _add_curvature(layer, samples, each, real):
    """Add to the samples' deltas what f'' makes of the adjoints and tangents of their rows."""
    wide_vectors()
    size, columns = samples * layer.out_row, layer.out_row // size_of(real)
    bend, delta = array_at(layer.z, samples * columns, real), array_at(layer.delta, samples * columns, real)
    change = array_at(layer.scaled, samples * columns, real)
    for k in range(each):
        skip = (1 + k) * size
        if layer.softmax_backward:
            for j in range(len(change)):
                change[j] = 0
            for s in range(samples):
                row = s * layer.out_row
                call_kernel(
                    "softmax_tangent", layer.curvature,
                    (layer.a + row, layer.a + skip + row, layer.d + skip + row, layer.scaled + row, 1, layer.n_out,
                     columns),
                )  # fmt: skip
            for j in range(len(change)):
                delta[j] += change[j]
        else:
            adjoint, tangent = array_at(layer.d + skip, len(delta), real), array_at(layer.z + skip, len(delta), real)
            for j in range(len(delta)):
                delta[j] += bend[j] * adjoint[j] * tangent[j]


@kernel_function
def _one_row(job, depth, x, layer, out, out_row):
    """out = x W for one row of x, for which the function of single samples is quicker than a product."""
    identity, zeros = job.workspace.identity, job.workspace.zeros
    arguments = (depth, x, identity, layer.w, layer.w_row, identity, zeros, out, out_row // VECTOR_BYTES)
    call_kernel("weighted_rows", job.linear.weighted_rows, arguments)


@kernel_function
def _back(job, layer, out, first, rows, real):
    """`backward_of_rows`, also of one row."""
    if rows == 1 and not layer.by_inputs:
        _one_row(job, layer.n_out, layer.delta + first * layer.out_row, layer, out, layer.in_row)
    else:
        backward_of_rows(job, layer, out, first, rows, real)


@kernel_function
def _adjoints_back(job, samples, each, to_inputs, real):
    """Go back from the adjoints of the outputs, which stand in the last layer's delta, to the first layer's, and on to
    the inputs where these are wanted."""
    for i in range(job.workspace.n_layers - 1, -1, -1):
        layer = layer_at(job, i)
        _adjoints_through(layer, samples, each, real)
        if i > 0 or to_inputs:
            target = layer_at(job, i - 1).delta if i > 0 else layer.input
            _back(job, layer, target + samples * layer.in_row, samples, samples * each, real)


@kernel_function
def _tangents_ahead(job, samples, each, to_outputs, real):
    """Go ahead from the tangents of the inputs to the outputs'; without ``to_outputs`` where f'' asks for them."""
    last = job.workspace.n_layers - 1
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        if i < last or to_outputs or layer.curvature:
            x, z = layer.input + samples * layer.in_row, layer.z + samples * layer.out_row
            if samples * each == 1 and layer.by_inputs:
                _one_row(job, layer.n_in, x, layer, z, layer.out_row)
            else:
                ahead(job, layer, x, z, samples * each, real)
            tangents_of_a(layer, samples, each, real)


@kernel_function
def _deltas_back(job, samples, each, real):
    """Go back from the last layer's delta, dL/dz of the samples' loss by y, to the first one's."""
    for i in range(job.workspace.n_layers - 1, -1, -1):
        layer = layer_at(job, i)
        if layer.curvature:
            _add_curvature(layer, samples, each, real)
        if i > 0:
            below = layer_at(job, i - 1)
            _back(job, layer, below.delta, 0, samples, real)
            through_activation(below, False, 0, samples, real)


def _slope_deltas(real):
    """Write the deltas of all layers of a block that has gone forward to the last layer's delta, dL/dz, and the rows of
    its tangents, delta and input; return Σ ½ w Σ (∂ŷ/∂x - target)² over its samples.

    ``start`` is the number in the call of the block's first sample. Of x, ``n_columns`` columns are left; afterwards it
    has all. The workspace has 1 + 2 · tangents rows a sample. z is overwritten. About 2 + 2 · tangents passes over the
    parameters a sample, in multiply-adds.
    """

    def slope_deltas(job, start, rows, n_columns):
        job = record_at(job, JOB)
        first, last, each = layer_at(job, 0), last_layer(job), job.data.tangents
        spread(job, rows, n_columns, real)
        for i in range(job.workspace.n_layers):
            curve(layer_at(job, i), rows, real)
        inputs, outputs = first.input + rows * first.in_row, last.delta + rows * last.out_row
        if first.n_in < last.n_out:
            targets = job.workspace.targets
            _seed(inputs, first.in_row, rows, each, real)
            _tangents_ahead(job, rows, each, True, real)
            _read_slopes(job, start, rows, last.n_out, targets, last.out_row, real)
            slopes = last.a + rows * last.out_row
            loss = _residuals(job, start, rows, last.n_out, slopes, targets, outputs, last.out_row, real)
            _adjoints_back(job, rows, each, False, real)
        else:
            targets = inputs + rows * each * first.in_row
            _seed(outputs, last.out_row, rows, each, real)
            _adjoints_back(job, rows, each, True, real)
            _read_slopes(job, start, rows, first.n_in, targets, first.in_row, real)
            loss = _residuals(job, start, rows, first.n_in, inputs, targets, inputs, first.in_row, real)
            _tangents_ahead(job, rows, each, False, real)
        _deltas_back(job, rows, each, real)
        return loss

    return slope_deltas
