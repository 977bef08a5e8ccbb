"""Training on a residual of values, slopes and second derivatives: the way there and back of a block whose loss has
½ w r(x, u, ∂u/∂x, ∂²u/∂x²)² in it, where u are the outputs and r is a user's function.

Behind the rows of a block's samples, the layers' matrices have as many rows again for each input i, in which z_i and
a_i are derivatives, and for each pair i ≤ j of inputs, in which z_ij and a_ij are second ones. All of these go ahead
beside the samples' own z and a = f(z):

    a_i = f' z_i        a_ij = f'' z_i z_j + f' z_ij

Then the user's functions turn the outputs' rows into r and its derivatives by them. From the adjoints of a, which stand
in delta, the way back makes those of z:

    z_ij: f' a_ij*        z_i: f' a_i* + f'' Σ_j (1 + [i = j]) a_ij* z_j
    z: f' a* + Σ_i f'' a_i* z_i + Σ_ij a_ij* (f''' z_i z_j + f'' z_ij)

Delta and input of a layer, of all these rows, make the loss's derivatives by the weights in one product; the biases
take the samples' own rows alone.
"""

from __future__ import annotations

import math

import numpy as np

from .decorators import array_at, call_kernel, kernel_function, peek, record_at, size_of
from .jacobians import ahead
from .layout import JOB
from .packing import last_layer, layer_at
from .passes import backward_of_rows, weight_of
from .slopes import spread
from .tangents import clear_tangents, tangents_of_a, write_derivative
from .vectors import copy, wide_vectors


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"residual_deltas": _residual_deltas}[name](np.dtype(dtype).type)


def residual_of(function, derivatives, note):
    """Write weight · r times r's derivatives by the samples' rows of the outputs a, in the network's units, to delta;
    return Σ ½ weight r². Both are NaN where a user's function raises: at the address ``note`` then stand 1 and what it
    was given.

    ``x`` has the samples as the user gave them, in rows of ``columns`` numbers. Row p of a sample's derivatives stands
    p · samples rows behind its own. A null shift means that the network's units are the user's.
    """

    def block_of(x, a, delta, weights, samples, n_in, n_out, columns, stride, shift, scale):
        n_rows = 1 + n_in + n_in * (n_in + 1) // 2
        rows, adjoints = array_at(a, (n_rows, samples, stride), a), array_at(delta, (n_rows, samples, stride), a)
        given, weights = array_at(x, (samples, columns), a), array_at(weights, samples, weights)
        shifts, scales = array_at(shift, n_out, a), array_at(scale, n_out, a)
        slopes, bends = n_out * n_in, n_out * n_in * n_in
        half = n_out + slopes + bends
        memory = np.empty(n_in + 2 * half)  # the user's to write to
        point, g = memory[:n_in], memory[n_in + half :]
        u, du = memory[n_in : n_in + n_out], memory[n_in + n_out : n_in + n_out + slopes].reshape((n_out, n_in))
        d2u = memory[n_in + n_out + slopes : n_in + half].reshape((n_out, n_in, n_in))
        g_u, g_du = g[:n_out], g[n_out : n_out + slopes].reshape((n_out, n_in))
        g_d2u = g[n_out + slopes :].reshape((n_out, n_in, n_in))
        loss = 0.0
        for s in range(samples):
            if weights[s] == 0:
                for p in range(n_rows):
                    for k in range(n_out):
                        adjoints[p, s, k] = 0
                continue
            for i in range(n_in):
                point[i] = given[s, i]
            for k in range(n_out):
                unit = np.float64(scales[k]) if shift else 1.0
                u[k] = unit * rows[0, s, k] + (np.float64(shifts[k]) if shift else 0.0)
                pair = 1 + n_in
                for i in range(n_in):
                    du[k, i] = unit * rows[1 + i, s, k]
                    for j in range(i, n_in):
                        d2u[k, i, j] = unit * rows[pair, s, k]
                        d2u[k, j, i] = d2u[k, i, j]
                        pair += 1
            for m in range(half):
                g[m] = 0.0
            value = math.nan
            try:
                value = np.float64(function(point, u, du, d2u))
                derivatives(point, u, du, d2u, g_u, g_du, g_d2u)
            except Exception:
                value = math.nan
                noted = array_at(note, 1 + n_in + half, memory)
                noted[0] = 1.0
                noted[1:] = memory[: n_in + half]
            for k in range(n_out):
                unit = weights[s] * value * (np.float64(scales[k]) if shift else 1.0)
                adjoints[0, s, k] = unit * g_u[k]
                pair = 1 + n_in
                for i in range(n_in):
                    adjoints[1 + i, s, k] = unit * g_du[k, i]
                    for j in range(i, n_in):
                        adjoints[pair, s, k] = unit * (g_d2u[k, i, j] + (g_d2u[k, j, i] if i < j else 0.0))
                        pair += 1
            loss += 0.5 * weights[s] * value * value
        return loss

    return block_of


@kernel_function
def _seed(job, samples, each, real):
    """Write the inputs' derivatives by x as it is given: a unit for each input, zeros for each pair of them."""
    layer, scale = layer_at(job, 0), job.data.x_scale
    seeds = array_at(layer.input + samples * layer.in_row, (each, samples, layer.in_row // size_of(real)), real)
    for k in range(each):
        for s in range(samples):
            for j in range(seeds.shape[2]):
                seeds[k, s, j] = 0
            if k < layer.n_in:
                seeds[k, s, k] = array_at(scale, layer.n_in, real)[k] if job.data.x_shift else real(1)


@kernel_function
def _bend(layer, samples, real):
    """Write f'' of the samples' z to the first rows of ``scaled``, and f''' to those behind them; zeros where it is 0
    and the other is not."""
    size = samples * layer.out_row
    third = layer.scaled + size
    copy(layer.scaled, layer.z, size)
    write_derivative(layer, layer.curvature, layer.scaled, samples, real)
    if layer.third_derivative:
        copy(third, layer.z, size)
        write_derivative(layer, layer.third_derivative, third, samples, real)
    else:
        numbers = array_at(third, size // size_of(real), real)
        for k in range(len(numbers)):
            numbers[k] = 0


@kernel_function
def _ahead_through(layer, samples, n, each, real):
    """Write the derivatives of the layer's a by n inputs, and the second ones, from those of its z."""
    wide_vectors()
    tangents_of_a(layer, samples, each, real)
    size, pair = samples * layer.out_row, 1 + n
    bend = array_at(layer.scaled, size // size_of(real), real)
    for i in range(n if layer.curvature else 0):
        for j in range(i, n):
            a = array_at(layer.a + pair * size, len(bend), real)
            z_i = array_at(layer.z + (1 + i) * size, len(bend), real)
            z_j = array_at(layer.z + (1 + j) * size, len(bend), real)
            for m in range(len(bend)):
                a[m] += bend[m] * z_i[m] * z_j[m]
            pair += 1
    clear_tangents(layer, samples, each, real)


@kernel_function
def _back_through(layer, samples, n, each, real):
    """Turn the adjoints of the layer's a and its derivatives, which stand in delta, into those of z and its own."""
    wide_vectors()
    size = samples * layer.out_row
    d, own = array_at(layer.d, size // size_of(real), real), array_at(layer.delta, size // size_of(real), real)
    bend, third = array_at(layer.scaled, len(d), real), array_at(layer.scaled + size, len(d), real)
    for m in range(len(d)):
        own[m] *= d[m]
    for i in range(n):
        delta, z = (
            array_at(layer.delta + (1 + i) * size, len(d), real),
            array_at(layer.z + (1 + i) * size, len(d), real),
        )
        for m in range(len(d) if layer.curvature else 0):
            own[m] += bend[m] * delta[m] * z[m]
        for m in range(len(d)):
            delta[m] *= d[m]
    pair = 1 + n
    for i in range(n if layer.curvature else 0):
        for j in range(i, n):
            adjoint, z = (
                array_at(layer.delta + pair * size, len(d), real),
                array_at(layer.z + pair * size, len(d), real),
            )
            zi, zj = array_at(layer.z + (1 + i) * size, len(d), real), array_at(layer.z + (1 + j) * size, len(d), real)
            to_i = array_at(layer.delta + (1 + i) * size, len(d), real)
            to_j = array_at(layer.delta + (1 + j) * size, len(d), real)
            for m in range(len(d)):
                own[m] += adjoint[m] * (third[m] * zi[m] * zj[m] + bend[m] * z[m])
                to_i[m] += bend[m] * adjoint[m] * zj[m]
            for m in range(len(d)):
                to_j[m] += bend[m] * adjoint[m] * zi[m]
            pair += 1
    for k in range(n, each):
        delta = array_at(layer.delta + (1 + k) * size, len(d), real)
        for m in range(len(d)):
            delta[m] *= d[m]


@kernel_function
def _adjoints_of_outputs(job, start, samples, each, real):
    """Write the residuals' derivatives by the rows of the outputs to the last layer's delta; return Σ ½ w r²."""
    data, first, last = job.data, layer_at(job, 0), last_layer(job)
    x = first.input + samples * (1 + each) * first.in_row
    order = job.call.order + 8 * start
    call_kernel(
        "reader", data.x_reader,
        (data.x, data.x_row, data.x_column, order, samples, 0, first.n_in, 0, 0, x, first.in_row),
    )  # fmt: skip
    weights = array_at(last.scaled + 2 * samples * last.out_row, samples, np.float64)
    for s in range(samples):
        weights[s] = peek(data.slope_weights + peek(order + 8 * s, np.int64) * data.slope_weights_row, np.float64)
        if data.weights:
            weights[s] *= weight_of(job, start + s)
    return call_kernel(
        "residual", data.residual,
        (x, last.a, last.delta, weights.ctypes.data, samples, first.n_in, last.n_out,
         first.in_row // size_of(real), last.out_row // size_of(real), data.out_shift, data.out_scale),
    )  # fmt: skip


def _residual_deltas(real):
    """Write the deltas of all layers of a block that has gone forward to the last layer's delta, dL/dz, and the rows of
    its derivatives, delta and input; return Σ ½ w r² over its samples.

    ``start`` is the number in the call of the block's first sample. Of x, ``n_columns`` columns are left; afterwards it
    has all. The workspace has 1 + 2 · tangents rows a sample. About 2 · (1 + tangents) passes over the parameters a
    sample, in multiply-adds.
    """

    def residual_deltas(job, start, rows, n_columns):
        job = record_at(job, JOB)
        n, each, n_layers = layer_at(job, 0).n_in, job.data.tangents, job.workspace.n_layers
        spread(job, rows, n_columns, real)
        _seed(job, rows, each, real)
        for i in range(n_layers):
            layer = layer_at(job, i)
            if layer.curvature:
                _bend(layer, rows, real)
            ahead(job, layer, layer.input + rows * layer.in_row, layer.z + rows * layer.out_row, rows * each, real)
            _ahead_through(layer, rows, n, each, real)
        last = last_layer(job)
        size = rows * last.out_row
        of_loss = last.d + size
        copy(of_loss, last.delta, size)
        loss = _adjoints_of_outputs(job, start, rows, each, real)
        _back_through(last, rows, n, each, real)
        delta, of_y = array_at(last.delta, size // size_of(real), real), array_at(of_loss, size // size_of(real), real)
        for m in range(len(delta)):
            delta[m] += of_y[m]
        for i in range(n_layers - 1, 0, -1):
            below = layer_at(job, i - 1)
            backward_of_rows(job, layer_at(job, i), below.delta, 0, rows * (1 + each), real)
            _back_through(below, rows, n, each, real)
        return loss

    return residual_deltas
