"""Kernels that leave the parameters alone: outputs and losses, and Jacobians.

Every kernel takes ``params``, the flat parameters; a job, which layout.py describes; and ``numbers``, float64: what
goes in by name, then two totals to which the sum of the losses and the number of right answers are added.
"""

from __future__ import annotations

from . import layout as at
from .decorators import array_at
from .passes import (
    activate_layers,
    all_deltas,
    all_finite,
    arguments,
    blocks,
    clear,
    copy_outputs,
    first_forward,
    judge,
    pack,
    read_inputs,
    read_targets,
    scale,
    through_activation,
    unpack,
    update,
    update_first,
)


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name; the dtype is in its pointers."""
    return {"forward": _forward, "jacobian": _jacobian}[name]


def _forward(params, job, numbers):
    """Outputs of the samples, (count, n_out), where OUTPUTS is not null; losses when MODE is JUDGED.

    When MODE is CHECKED, which is for one sample, nothing is done if it is not finite, and the result is 1.
    """
    params, job, totals, table, slopes, _ = arguments(params, job, numbers)
    pack(job, table, params, 0)
    for i in range(blocks(job[at.COUNT], job[at.BLOCK])):
        start = i * job[at.BLOCK]
        rows = min(job[at.BLOCK], job[at.COUNT] - start)
        walked = read_inputs(job, table, start, rows)
        if job[at.MODE] == at.CHECKED and not all_finite(table, 1, params):
            return 1.0
        first_forward(job, table, rows, walked, params)
        activate_layers(job, table, slopes, 0, rows, 0, False, True, params)
        if job[at.MODE] == at.JUDGED:
            read_targets(job, table, start, rows, params)
            judge(job, table, start, 0, rows, params, totals)
        if job[at.OUTPUTS]:
            copy_outputs(job, table, rows, start, params)
    return 0.0


def _jacobian(params, job, numbers):
    """Derivative of every output of the samples, one backward pass each, to OUTPUTS: (count, n_out, n_params) or, MODE
    being OF_INPUTS, by the inputs as the user gave them, (count, n_out, n_in)."""
    params, job, _, table, slopes, _ = arguments(params, job, numbers)
    one = params.dtype.type(1)
    first, last = table[0], table[job[at.LAYERS] - 1]
    n_in, n_out = first[at.N_IN], last[at.N_OUT]
    delta = array_at(last[at.DELTA], n_out, params)
    columns = n_in if job[at.MODE] == at.OF_INPUTS else job[at.N_PARAMS]
    pack(job, table, params, 0)
    for s in range(job[at.COUNT]):
        walked = read_inputs(job, table, s, 1)
        first_forward(job, table, 1, walked, params)
        activate_layers(job, table, slopes, 0, 1, 0, True, True, params)
        for k in range(n_out):
            out = array_at(job[at.OUTPUTS] + (s * n_out + k) * columns * params.itemsize, columns, params)
            for j in range(n_out):
                delta[j] = 0
            delta[k] = 1
            through_activation(last, False, 0, 1, params)
            all_deltas(job, table, 0, 1, params)
            if job[at.MODE] == at.OF_INPUTS:
                w = array_at(first[at.W], (n_in, first[at.W_ROW] // params.itemsize), params)
                first_delta = array_at(first[at.DELTA], first[at.N_OUT], params)
                for i in range(n_in):
                    total = params.dtype.type(0)
                    for j in range(first[at.N_OUT]):
                        total += w[i, j] * first_delta[j]
                    out[i] = total * array_at(job[at.X_SCALE], n_in, params)[i] if job[at.X_SHIFT] else total
            else:
                for i in range(len(table)):
                    clear(table[i], job[at.GRAD], 0, 1, params)
                    scale(table[i], 0, 1, one, params)
                    if i > 0:
                        update(job, table[i], job[at.GRAD], 0, 1, params)
                update_first(job, first, job[at.GRAD], 1, walked, params)
                unpack(table, out, job[at.GRAD])
    return 0.0
