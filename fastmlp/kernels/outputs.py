"""Kernels that leave the parameters alone: outputs and losses, and Jacobians.

Every kernel that Python calls takes three addresses: of the flat parameters; of a JOB record; and of a NUMBERS record,
to whose totals the losses and right answers are added.
"""

from __future__ import annotations

import numpy as np

from .decorators import array_at, inlined_source, record_at, size_of
from .layout import JOB, NUMBERS
from .packing import clear, last_layer, layer_at, pack, unpack_layer
from .passes import (
    activate_layers,
    all_deltas,
    all_finite,
    blocks,
    copy_outputs,
    first_forward,
    read_inputs,
    read_targets,
    scale,
    score_rows,
    through_activation,
    update,
    update_first,
)
from .threads import told_to_stop


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"forward": _forward, "jacobian": _jacobian}[name](np.dtype(dtype).type)


def _forward(real):
    """Write the samples' outputs, (count, n_out), where the call wants them; add to the totals where it is scored.

    A checked call ends with the result 1 at the first block that has a sample that is not finite. A call that was told
    to stop returns 1 too.
    """

    def forward(params, job, numbers):
        job, numbers = record_at(job, JOB), record_at(numbers, NUMBERS)
        call = job.call
        pack(job, params, 0, real)
        for i in range(blocks(call.count, call.block)):
            start = i * call.block
            rows = min(call.block, call.count - start)
            n_columns = read_inputs(job, start, rows)
            if call.checked and not all_finite(job, rows, real):
                return 1.0
            first_forward(job, rows, n_columns, real)
            if told_to_stop(job):
                return 1.0
            activate_layers(job, 0, rows, 0, False, True, real)
            if call.scored:
                read_targets(job, start, rows, real)
                score_rows(job, start, 0, rows, numbers.totals, real)
            if call.outputs:
                copy_outputs(job, rows, start, real)
        return 0.0

    return forward


@inlined_source
def _inputs_derivative(job, out, real):
    """Write the derivative by the inputs as the user gave them, (n_in,): w times the first layer's delta."""
    first = layer_at(job, 0)
    n_in, n_out = first.n_in, first.n_out
    w = array_at(first.w, (n_in, first.w_row // size_of(real)), real)
    delta = array_at(first.delta, n_out, real)
    for i in range(n_in):
        total = real(0)
        for j in range(n_out):
            total += w[i, j] * delta[j]
        out[i] = total * array_at(job.data.x_scale, n_in, real)[i] if job.data.x_shift else total


@inlined_source
def _params_derivative(job, n_columns, out, real):
    """Write the derivative by the parameters to the address ``out``, (n_params,), unless the call is told to stop."""
    gradient, one = job.workspace.gradient, real(1)
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        if not told_to_stop(job):
            clear(layer, gradient, real)
            scale(layer, 0, 1, one, real)
        if not told_to_stop(job):
            if i > 0:
                update(job, layer, gradient, 0, 1, real)
            else:
                update_first(job, gradient, 1, n_columns, real)
        if not told_to_stop(job):
            unpack_layer(layer, out, gradient, real)


def _jacobian(real):
    """Write the derivative of every output of the samples, one backward pass each, to the call's outputs: (count,
    n_out, n_params) or, by the inputs, (count, n_out, n_in)."""

    def jacobian(params, job, numbers):
        job = record_at(job, JOB)
        call, last = job.call, last_layer(job)
        n_in, n_out = layer_at(job, 0).n_in, last.n_out
        delta = array_at(last.delta, n_out, real)
        columns = n_in if call.by_inputs else job.workspace.n_params
        pack(job, params, 0, real)
        for s in range(call.count):
            n_columns = read_inputs(job, s, 1)
            first_forward(job, 1, n_columns, real)
            activate_layers(job, 0, 1, 0, True, True, real)
            for k in range(n_out):
                if told_to_stop(job):
                    return 1.0
                out = call.outputs + (s * n_out + k) * columns * size_of(real)
                for j in range(n_out):
                    delta[j] = 0
                delta[k] = 1
                through_activation(last, False, 0, 1, real)
                all_deltas(job, 0, 1, real)
                if call.by_inputs:
                    _inputs_derivative(job, array_at(out, columns, real), real)
                else:
                    _params_derivative(job, n_columns, out, real)
        return 0.0

    return jacobian
