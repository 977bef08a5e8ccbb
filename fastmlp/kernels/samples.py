"""Exact per-sample SGD, in blocks (docs/blocked-sgd.md).

Sample t of a block should see the weights that the samples i < t of the block left. In the first layer its z, computed
for the whole block with the weights from before, lacks what they added: a multiple of δ_i each. The other layers take
the samples one by one. A call that is told to stop ends between two samples, with what it learnt in the parameters.
"""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, call_kernel, inlined_source, kernel_function, peek, record_at, size_of
from .layout import JOB, NUMBERS, OPTIONS
from .math import square_root
from .packing import clear, layer_at, pack_all, prepare_step, squares, step, unpack_all
from .passes import (
    all_deltas,
    all_deltas_and_updates,
    blocks,
    copy_outputs,
    first_forward,
    forward_to_loss,
    products,
    read_inputs,
    read_targets,
    scale,
    update,
    update_biases,
    update_first,
    update_first_weights,
)
from .subnormals import without_subnormals
from .threads import told_to_stop

VECTOR_BYTES = vector_bytes()
# The coefficients of a block, float64 (2, 6, block + 1), for weights, then for biases: [t] of W₀ and V₀ in W_t, [t] of
# W₀ and V₀ in V_t, and [k] of the gradient of k samples ago in W and in V.
W_OF_W, W_OF_V, V_OF_W, V_OF_V, W_OF_G, V_OF_G = range(6)
OF_WEIGHTS, OF_BIASES = range(2)


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


def _samples(real):
    """Make a step of plain SGD for each sample; the call's outputs, where wanted, get those of each as it was seen."""

    def samples(params, job, numbers):
        job, numbers = record_at(job, JOB), record_at(numbers, NUMBERS)
        workspace, call = job.workspace, job.call
        first, rate = layer_at(job, 0), real(numbers.rate)
        pack_all(job, params, real)
        for i in range(blocks(call.count, call.block)):
            start = i * call.block
            rows = min(call.block, call.count - start)
            n_columns = read_inputs(job, start, rows)
            read_targets(job, start, rows, real)
            first_forward(job, rows, n_columns, real)
            _gram(job, rows, n_columns, workspace.ones if first.has_biases else workspace.zeros, real)
            learnt = 0
            for t in range(rows):
                if told_to_stop(job):
                    break
                if t > 0:
                    _correct(job, first, t)
                forward_to_loss(job, start, t, 1, numbers.totals, real)
                all_deltas_and_updates(job, t, -rate, real)
                scale(first, t, 1, -rate, real)
                learnt += 1
            update_first(job, 0, learnt, n_columns, real)
            if call.outputs:
                copy_outputs(job, learnt, start, real)
            if learnt < rows:
                break
        unpack_all(job, params, real)
        return 0.0

    return without_subnormals(samples)


@inlined_source
def _velocity(job):
    """The distance of the one vector of state."""
    return peek(job.workspace.states, np.int64)


@kernel_function
def _weigh_z(job, t, coefficients, real):
    """Multiply z_t and gram[t] with the coefficients of sample t. V₀ x_t stands in the first layer's a, until that is
    computed."""
    layer, workspace = layer_at(job, 0), job.workspace
    n = layer.out_row // size_of(real)
    z = array_at(layer.z + t * layer.out_row, n, real)
    weights, biases = coefficients[OF_WEIGHTS], coefficients[OF_BIASES]
    of_w = real(weights[W_OF_W, t])
    for k in range(n):
        z[k] *= of_w
    if workspace.n_states:
        vx = array_at(layer.a + t * layer.out_row, n, real)
        of_v = real(weights[W_OF_V, t])
        for k in range(n):
            z[k] += of_v * vx[k]
    gram = array_at(workspace.gram + t * workspace.gram_row, t, real)
    for i in range(t):
        gram[i] *= real(weights[W_OF_G, t - 1 - i])
    if layer.has_biases:
        b = array_at(layer.b, layer.n_out, real)
        for k in range(layer.n_out):
            z[k] += b[k]
        if workspace.n_states:
            v = array_at(layer.b + _velocity(job), layer.n_out, real)
            of_v = real(biases[W_OF_V, t])
            for k in range(layer.n_out):
                z[k] += of_v * v[k]
        for i in range(t):
            gram[i] += real(biases[W_OF_G, t - 1 - i])


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


@kernel_function
def _advance(job, address, n, coefficients, rows, real):
    """Move n numbers of W or b, and of V behind them, as the block's ``rows`` steps do without gradients."""
    w = array_at(address, n, real)
    of_w = real(coefficients[W_OF_W, rows])
    if job.workspace.n_states:
        v = array_at(address + _velocity(job), n, real)
        of_v = real(coefficients[W_OF_V, rows])
        v_of_w, v_of_v = real(coefficients[V_OF_W, rows]), real(coefficients[V_OF_V, rows])
        for k in range(n):
            old = w[k]
            w[k] = of_w * old + of_v * v[k]
            v[k] = v_of_w * old + v_of_v * v[k]
    else:
        for k in range(n):
            w[k] *= of_w


@kernel_function
def _weigh_deltas(layer, coefficients, rows, real):
    """scaled_i = the coefficient of sample i's gradient after the block · delta_i."""
    for i in range(rows):
        scale(layer, i, 1, real(coefficients[rows - 1 - i]), real)


@inlined_source
def _deeper_steps(job, t, factor, real):
    """Make sample t's steps in all layers but the first, whose scaled gets factor · delta for later."""
    for j in range(job.workspace.n_layers):
        layer = layer_at(job, j)
        scale(layer, t, 1, real(factor), real)
        if j > 0:
            clear(layer, job.workspace.gradient, real)
            update(job, layer, job.workspace.gradient, t, 1, real)
            step(job, layer, 0, 1, 1.0, real)


@inlined_source
def _first_step(job, rows, n_columns, coefficients, real):
    """Move the first layer's W, b and V as the block's ``rows`` steps do, with the gradients that scaled has."""
    first, n_states = layer_at(job, 0), job.workspace.n_states
    for t in range(rows):
        delta = array_at(first.delta + t * first.out_row, first.out_row // size_of(real), real)
        scaled = array_at(first.scaled + t * first.out_row, len(delta), real)
        for k in range(len(delta)):
            delta[k] = scaled[k]
    weights, biases = coefficients[OF_WEIGHTS], coefficients[OF_BIASES]
    _advance(job, first.w, first.n_in * first.w_row // size_of(real), weights, rows, real)
    _weigh_deltas(first, weights[W_OF_G], rows, real)
    update_first_weights(job, first, 0, rows, n_columns, real)
    if n_states:
        _weigh_deltas(first, weights[V_OF_G], rows, real)
        update_first_weights(job, first, _velocity(job), rows, n_columns, real)
    if first.has_biases:
        _advance(job, first.b, first.n_out, biases, rows, real)
        _weigh_deltas(first, biases[W_OF_G], rows, real)
        update_biases(first, 0, 0, rows, real)
        if n_states:
            _weigh_deltas(first, biases[V_OF_G], rows, real)
            update_biases(first, _velocity(job), 0, rows, real)


def _samples_with_memory(real):
    """Make a step of SGD with momentum, l2 or clipping, linear in the clipped gradients, for each sample; the call's
    outputs, where wanted, get those of each as it was seen."""

    def samples_with_memory(params, job, numbers):
        job, numbers = record_at(job, JOB), record_at(numbers, NUMBERS)
        workspace, call = job.workspace, job.call
        first, rate = layer_at(job, 0), real(numbers.rate)
        options = record_at(job.step.options, OPTIONS)
        coefficients = array_at(job.step.coefficients, (2, 6, call.block + 1), np.float64)
        pack_all(job, params, real)
        prepare_step(job, rate)  # SGD's numbers are the same in every step
        for i in range(blocks(call.count, call.block)):
            start = i * call.block
            rows = min(call.block, call.count - start)
            n_columns = read_inputs(job, start, rows)
            read_targets(job, start, rows, real)
            products(job, first, 0, workspace.zeros, first.z, 0, rows, workspace.index, n_columns, real)
            if workspace.n_states:
                products(
                    job, first, _velocity(job), workspace.zeros, first.a, 0, rows, workspace.index, n_columns, real
                )
            _gram(job, rows, n_columns, workspace.zeros, real)
            learnt = 0
            for t in range(rows):
                if told_to_stop(job):
                    break
                squared_input = np.float64(peek(workspace.gram + t * workspace.gram_row + t * size_of(real), real))
                _weigh_z(job, t, coefficients, real)
                if t > 0:
                    _correct(job, first, t)
                forward_to_loss(job, start, t, 1, numbers.totals, real)
                all_deltas(job, t, 1, real)
                factor = 1.0
                if options.clip_norm > 0:
                    factor = _clip_factor(job, t, squared_input, options.clip_norm, real)
                _deeper_steps(job, t, factor, real)
                learnt += 1
            _first_step(job, learnt, n_columns, coefficients, real)
            if call.outputs:
                copy_outputs(job, learnt, start, real)
            options.steps += learnt
            if learnt < rows:
                break
        unpack_all(job, params, real)
        return 0.0

    return without_subnormals(samples_with_memory)
