"""Exact per-sample SGD, in blocks (docs/blocked-sgd.md).

Sample t of a block should see the weights that the samples i < t of the block left. In the first layer its z, computed
for the whole block with the weights from before, lacks what they added: a multiple of δ_i each. The other layers take
the samples one by one.
"""

from __future__ import annotations

import math

import numpy as np

from . import layout as at
from .cpu import vector_bytes
from .decorators import array_at, call, inner, written_out
from .passes import (
    all_deltas,
    all_deltas_and_updates,
    arguments,
    blocks,
    clear,
    copy_outputs,
    first_forward,
    look_back,
    pack_all,
    products,
    read_inputs,
    read_targets,
    scale,
    squares,
    step,
    unpack_all,
    update,
    update_biases,
    update_first,
    update_first_weights,
)

BYTES = vector_bytes()
# The coefficients of a block, float64 (2, 6, samples + 1): for weights, then for biases; of W₀ and V₀ in W_t, of them
# in V_t, and of the gradient of k samples ago in either.
W_OF_W, W_OF_V, V_OF_W, V_OF_V, W_OF_G, V_OF_G = range(6)
OF_WEIGHTS, OF_BIASES = range(2)


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name; the dtype is in its pointers."""
    return {"samples": _samples, "samples_with_memory": _samples_with_memory}[name]


@inner
def _gram(job, row, rows, walked, start, params):
    """GRAM[t, i] = x_t · x_i + start for i ≤ t; three rows at once, which need few columns beyond their own."""
    for i in range((rows + 2) // 3):
        skip = 3 * i
        call(
            job[at.INNER_PRODUCTS],
            (row[at.INPUT] + skip * row[at.IN_ROW], row[at.IN_ROW], row[at.INPUT], row[at.IN_ROW], start,
             job[at.GRAM] + skip * job[at.GRAM_ROW], job[at.GRAM_ROW], min(3, rows - skip), min(skip + 3, rows),
             (walked * params.itemsize + BYTES - 1) // BYTES),
        )  # fmt: skip


@written_out
def _correct(job, row, t, params):
    """z_t += Σ_{i<t} GRAM[t, i] · scaled_i."""
    z = row[at.Z] + t * row[at.OUT_ROW]
    call(
        job[at.WEIGHTED_ROWS],
        (t, job[at.GRAM] + t * job[at.GRAM_ROW], job[at.IDENTITY], row[at.SCALED], row[at.OUT_ROW], job[at.IDENTITY],
         z, z, row[at.OUT_ROW] // BYTES),
    )  # fmt: skip


def _samples(params, job, numbers):
    """Plain SGD, numbers[0] being the learning rate. OUTPUTS, where not null, gets the outputs as they were seen."""
    params, job, totals, table, slopes, lr = arguments(params, job, numbers)
    first = table[0]
    pack_all(job, table, params)
    for i in range(blocks(job[at.COUNT], job[at.BLOCK])):
        start = i * job[at.BLOCK]
        rows = min(job[at.BLOCK], job[at.COUNT] - start)
        walked = read_inputs(job, table, start, rows)
        read_targets(job, table, start, rows, params)
        first_forward(job, table, rows, walked, params)
        _gram(job, first, rows, walked, job[at.ONES] if first[at.HAS_BIASES] else job[at.ZEROS], params)
        for t in range(rows):
            if t > 0:
                _correct(job, first, t, params)
            look_back(job, table, slopes, start, t, 1, params, totals)
            all_deltas_and_updates(job, table, t, -lr, params)
            scale(first, t, 1, -lr, params)
        update_first(job, first, 0, rows, walked, params)
        if job[at.OUTPUTS]:
            copy_outputs(job, table, rows, start, params)
    unpack_all(job, table, params)
    return 0.0


@inner
def _recall(job, row, t, coefficients, params):
    """z_t and GRAM[t] with the coefficients of sample t; what a gave room to is V₀ x_t."""
    n = row[at.OUT_ROW] // params.itemsize
    real = params.dtype.type
    z = array_at(row[at.Z] + t * row[at.OUT_ROW], n, params)
    weights, biases = coefficients[OF_WEIGHTS], coefficients[OF_BIASES]
    of_w = real(weights[W_OF_W, t])
    for k in range(n):
        z[k] *= of_w
    if job[at.STATES]:
        vx = array_at(row[at.A] + t * row[at.OUT_ROW], n, params)
        of_v = real(weights[W_OF_V, t])
        for k in range(n):
            z[k] += of_v * vx[k]
    gram = array_at(job[at.GRAM] + t * job[at.GRAM_ROW], t, params)
    for i in range(t):
        gram[i] *= real(weights[W_OF_G, t - 1 - i])
    if row[at.HAS_BIASES]:
        b = array_at(row[at.B], row[at.N_OUT], params)
        for k in range(row[at.N_OUT]):
            z[k] += b[k]
        if job[at.STATES]:
            v = array_at(row[at.B] + job[at.STATE_1], row[at.N_OUT], params)
            of_v = real(biases[W_OF_V, t])
            for k in range(row[at.N_OUT]):
                z[k] += of_v * v[k]
        for i in range(t):
            gram[i] += real(biases[W_OF_G, t - 1 - i])


@inner
def _clipped(job, table, t, squared_input, limit, params):
    """The factor by which sample t's gradient is shortened to the limit; its squared norm is Σ |δ|² (|input|² + 1)."""
    total = 0.0
    for i in range(len(table)):
        row = table[i]
        inputs = squared_input
        if i > 0:
            inputs = squares(row[at.INPUT] + t * row[at.IN_ROW], row[at.N_IN], params)
        delta = squares(row[at.DELTA] + t * row[at.OUT_ROW], row[at.N_OUT], params)
        total += delta * (inputs + (row[at.HAS_BIASES] != 0))
    return min(1.0, limit / max(math.sqrt(total), limit))


@inner
def _advance(job, row, distance, n, coefficients, rows, params):
    """W and V, n numbers at a distance behind w or b, as the block's ``rows`` steps leave them without gradients."""
    real = params.dtype.type
    w = array_at(distance, n, params)
    of_w = real(coefficients[W_OF_W, rows])
    if job[at.STATES]:
        v = array_at(distance + job[at.STATE_1], n, params)
        of_v, v_of_w, v_of_v = (
            real(coefficients[W_OF_V, rows]),
            real(coefficients[V_OF_W, rows]),
            real(coefficients[V_OF_V, rows]),
        )
        for k in range(n):
            old = w[k]
            w[k] = of_w * old + of_v * v[k]
            v[k] = v_of_w * old + v_of_v * v[k]
    else:
        for k in range(n):
            w[k] *= of_w


@inner
def _weigh_deltas(row, coefficients, rows, params):
    """scaled_i = the coefficient of sample i's gradient after the block · delta_i."""
    for i in range(rows):
        scale(row, i, 1, params.dtype.type(coefficients[rows - 1 - i]), params)


def _samples_with_memory(params, job, numbers):
    """SGD with momentum, l2 or clipping, all of which are linear in the gradients; the rest as `_samples`."""
    params, job, totals, table, slopes, lr = arguments(params, job, numbers)
    first = table[0]
    options = array_at(job[at.OPTIONS], at.N_OPTIONS, numbers)
    coefficients = array_at(job[at.COEFFICIENTS], (2, 6, job[at.BLOCK] + 1), numbers)
    pack_all(job, table, params)
    for i in range(blocks(job[at.COUNT], job[at.BLOCK])):
        start = i * job[at.BLOCK]
        rows = min(job[at.BLOCK], job[at.COUNT] - start)
        walked = read_inputs(job, table, start, rows)
        read_targets(job, table, start, rows, params)
        products(job, first, 0, job[at.ZEROS], first[at.Z], 0, rows, job[at.INDEX], walked, params)
        if job[at.STATES]:
            products(job, first, job[at.STATE_1], job[at.ZEROS], first[at.A], 0, rows, job[at.INDEX], walked, params)
        _gram(job, first, rows, walked, job[at.ZEROS], params)
        for t in range(rows):
            squared_input = np.float64(array_at(job[at.GRAM] + t * job[at.GRAM_ROW], t + 1, params)[t])
            _recall(job, first, t, coefficients, params)
            if t > 0:
                _correct(job, first, t, params)
            look_back(job, table, slopes, start, t, 1, params, totals)
            all_deltas(job, table, t, 1, params)
            factor = 1.0
            if options[at.CLIP] > 0:
                factor = _clipped(job, table, t, squared_input, options[at.CLIP], params)
            for j in range(len(table)):
                scale(table[j], t, 1, params.dtype.type(factor), params)
                if j > 0:
                    clear(table[j], job[at.GRAD], 0, 1, params)
                    update(job, table[j], job[at.GRAD], t, 1, params)
                    step(job, table[j], 0, 1, lr, 1.0, params)
        for t in range(rows):
            delta = array_at(first[at.DELTA] + t * first[at.OUT_ROW], first[at.OUT_ROW] // params.itemsize, params)
            scaled = array_at(first[at.SCALED] + t * first[at.OUT_ROW], len(delta), params)
            for k in range(len(delta)):
                delta[k] = scaled[k]
        weights, biases = coefficients[OF_WEIGHTS], coefficients[OF_BIASES]
        _advance(job, first, first[at.W], first[at.N_IN] * first[at.W_ROW] // params.itemsize, weights, rows, params)
        _weigh_deltas(first, weights[W_OF_G], rows, params)
        update_first_weights(job, first, 0, rows, walked, params)
        if job[at.STATES]:
            _weigh_deltas(first, weights[V_OF_G], rows, params)
            update_first_weights(job, first, job[at.STATE_1], rows, walked, params)
        if first[at.HAS_BIASES]:
            _advance(job, first, first[at.B], first[at.N_OUT], biases, rows, params)
            _weigh_deltas(first, biases[W_OF_G], rows, params)
            update_biases(first, 0, 0, rows, params)
            if job[at.STATES]:
                _weigh_deltas(first, biases[V_OF_G], rows, params)
                update_biases(first, job[at.STATE_1], 0, rows, params)
        if job[at.OUTPUTS]:
            copy_outputs(job, table, rows, start, params)
        options[at.STEPS] += rows
    unpack_all(job, table, params)
    return 0.0
