"""The kernel of least squares: JᵀJ and Jᵀr of a network's residuals, for methods of Gauss-Newton's kind.

The rows of J of a few samples at a time lie in memory, the residual r behind each of them as one more column. So one
symmetric product makes JᵀJ, Jᵀr (its last row) and rᵀr (its last number). The members of a team make some of the rows
each, and then some of the product's rows each, from all of them: a number is summed in the samples' order, whoever
does it.
"""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, call_kernel, kernel_function, peek, record_at, size_of
from .jacobians import backward, transpose_narrow, unit
from .layout import JOB, LINE
from .math import square_root
from .packing import last_layer, layer_at, pack
from .passes import activate_layers, blocks, first_forward, read_inputs, read_targets, weight_of
from .threads import told_to_stop, wait
from .vectors import scale_vectors

VECTOR_BYTES = vector_bytes()
_PANEL = 48  # rows of the product that a member makes together: whole tiles of all heights
_DEPTH = 64  # rows of J that are added at once: as many as a workspace's list of numbers has at least


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"normal_equations": _normal_equations}[name](np.dtype(dtype).type)


@kernel_function
def _weigh(job, start, samples, out, row, real):
    """Write the residuals behind a block's rows of derivatives, all times the root of the sample's and the output's
    weight and in the network's units; zeros where y is NaN."""
    data, last, n_params = job.data, last_layer(job), job.workspace.n_params
    n_out, columns = last.n_out, last.out_row // size_of(real)
    a = array_at(last.a, (samples, columns), real)
    y = array_at(job.workspace.targets, (samples, columns), real)
    for s in range(samples):
        weight = weight_of(job, start + s) if data.weights else 1.0
        for k in range(n_out):
            address, residual, root = out + (s * n_out + k) * row, a[s, k] - y[s, k], square_root(weight)
            if data.output_weights:
                measured = y[s, k] == y[s, k]
                residual = residual if measured else 0
                root *= square_root(peek(data.output_weights + k * size_of(real), real)) if measured else 0.0
            if data.weights or data.output_weights or data.out_scale:
                factor = real(root / np.float64(unit(job, k, real)))
                scale_vectors(real, row // VECTOR_BYTES, address, address, factor)
            array_at(address, n_params + 1, real)[n_params] = real(root) * residual


@kernel_function
def _block_of_rows(job, start, samples, out, row, real):
    """Write the rows of a block's samples, n_out each, to the address ``out``; true if told to stop."""
    layer, n_out = layer_at(job, 0), last_layer(job).n_out
    n_columns = read_inputs(job, start, samples)
    first_forward(job, start, 0, samples, n_columns, layer.w, layer.w_row, real)
    if told_to_stop(job):
        return True
    activate_layers(job, 0, samples, 0, True, True, real)
    read_targets(job, start, samples, real)
    each = min(n_out, job.workspace.block // job.call.block)
    for j in range(blocks(n_out, each)):
        first = j * each
        if backward(job, samples, first, min(each, n_out - first), n_columns, out + first * row, row, real):
            return True
    _weigh(job, start, samples, out, row, real)
    return False


@kernel_function
def _add_products(job, n_rows, row, real):
    """Add the products of the rows' columns, in the lower triangle, to this member's panels of the matrix."""
    call, team, identity = job.call, job.team, job.workspace.identity
    n = job.workspace.n_params + 1
    for i in range(blocks(n, _PANEL)):
        if i % team.size != team.member:
            continue
        first = i * _PANEL
        end = min(n, first + _PANEL)
        vectors, c = (end * size_of(real) + VECTOR_BYTES - 1) // VECTOR_BYTES, call.squares + first * row
        for j in range(blocks(n_rows, _DEPTH)):
            b = call.rows + j * _DEPTH * row
            call_kernel(
                "product", job.linear.product,
                (b + first * size_of(real), size_of(real), row, b, row, identity, c, row, c, row, identity, end - first,
                 vectors, min(_DEPTH, n_rows - j * _DEPTH), 0),
            )  # fmt: skip


def _normal_equations(real):
    """Add Σ w (J r)ᵀ (J r) of the call's samples to the lower triangle of ``call.squares``, (n_params + 1, padded).

    J (n_out, n_params) is a sample's Jacobian and r (n_out, 1) what its outputs are too large by, both in the network's
    units; what stands above the triangle is no one's. ``call.rows`` has room for the rows of ``call.batch`` samples,
    which are taken together, and zeros behind each row's n_params + 1 numbers. A call that was told to stop, or whose
    team gave up, returns 1. About n_samples · n_out · n_params² / 2 multiply-adds.
    """

    def normal_equations(params, job, numbers):
        job = record_at(job, JOB)
        call, team, workspace = job.call, job.team, job.workspace
        n_out = last_layer(job).n_out
        row = ((workspace.n_params + 1) * size_of(real) + LINE - 1) // LINE * LINE
        if team.member == 0:
            pack(job, params, 0, True, real)
        if wait(job):
            return 1.0
        transpose_narrow(job, real)
        for i in range(blocks(call.count, call.batch)):
            start = i * call.batch
            samples = min(call.batch, call.count - start)
            for j in range(blocks(samples, call.block)):
                if j % team.size == team.member:
                    first = j * call.block
                    some, out = min(call.block, samples - first), call.rows + first * n_out * row
                    if _block_of_rows(job, start + first, some, out, row, real):
                        return 1.0
            if wait(job):
                return 1.0
            _add_products(job, samples * n_out, row, real)
            if wait(job):
                return 1.0
        return 0.0

    return normal_equations
