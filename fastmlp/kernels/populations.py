"""One kernel after another on many vectors of parameters, for networks of one spec that need not be trained here."""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import call_kernel, kernel_function, record_at, size_of
from .layout import JOB, NUMBERS
from .linear import WIDEST
from .packing import layer_at, pack
from .passes import activate, activate_layers, copy_outputs, find_block, first_forward, let_go_of_rows, list_alive
from .tiles import sum_of_all_rows
from .vectors import copy, has_zeros

VECTOR_BYTES = vector_bytes()
_NUMBERS_BYTES = NUMBERS.itemsize


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    real = np.dtype(dtype).type
    return {"run_networks": _run_networks, "predict_networks": _predict_networks}[name](real)


@kernel_function
def move_parameters(job, distance):
    """Let layers whose parameters are used in place use those that are ``distance`` bytes further on."""
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        layer.w += distance
        if layer.has_biases:
            layer.b += distance
    job.workspace.gradient -= distance  # the memory that these distances lead to stays where it is
    job.team.part_gradient -= distance


def _run_networks(real):
    """Run the kernel at address ``kernel`` for networks ``first``, ``first`` + 1, …; return the result of the first
    that is not 0, or 0.

    The parameters of network ``first`` are at ``params``, those of each further one ``params_row`` bytes on. The job is
    about network 0 with parameters at ``base``; the samples of network i stand i times ``x_row`` and ``y_row`` bytes
    on, its outputs or its gradient i times ``result_row`` bytes. Each has a NUMBERS record. The job is left as it was.

    With ``ends`` the last network is worked on in a copy at ``base``: kernels may read a line behind parameters.
    """

    @kernel_function
    def advance(job, params_row, x_row, y_row, result_row):
        """Let the job be about the network that so many bytes on has its numbers."""
        job.data.x += x_row
        job.data.y += y_row
        if job.call.outputs:
            job.call.outputs += result_row
        if job.call.gradient:
            job.call.gradient += result_row
        if job.workspace.in_place:
            move_parameters(job, params_row)

    def run_networks(params, job, numbers, kernel, first, networks, ends, base, params_row, x_row, y_row, result_row):
        record = record_at(job, JOB)
        advance(record, params - base, first * x_row, first * y_row, first * result_row)
        result, at, done = 0.0, params, 0
        while done < networks and result == 0.0:
            if ends and done == networks - 1:
                copy(base, at, record.workspace.n_params * size_of(real))
                if record.workspace.in_place:
                    move_parameters(record, base - at)
                at = base
            arguments = (at, job, numbers + (first + done) * _NUMBERS_BYTES)
            result = call_kernel("forward", kernel, arguments)  # all of catalog.NETWORK take the same
            advance(record, params_row, x_row, y_row, result_row)
            at += params_row
            done += 1
        gone = first + done
        advance(record, base - at, -gone * x_row, -gone * y_row, -gone * result_row)
        return result

    return run_networks


@kernel_function
def _all_rows(layer, w, b, ahead, real):
    """z = x w + b of a sample without zeros in a layer stored by inputs, with the sums of `linear.weighted_rows`; the
    weights that stand ``ahead`` bytes behind are fetched."""
    x, z, done, vectors = layer.input, layer.z, 0, layer.out_row // VECTOR_BYTES
    while done + WIDEST <= vectors:
        d = done * VECTOR_BYTES
        sum_of_all_rows(WIDEST, real, layer.n_in, x, w + d, layer.w_row, ahead, b + d, z + d)
        done += WIDEST
    while done + 2 <= vectors:
        d = done * VECTOR_BYTES
        sum_of_all_rows(2, real, layer.n_in, x, w + d, layer.w_row, ahead, b + d, z + d)
        done += 2
    if done < vectors:
        d = done * VECTOR_BYTES
        sum_of_all_rows(1, real, layer.n_in, x, w + d, layer.w_row, ahead, b + d, z + d)


def _predict_networks(real):
    """Write the outputs of a block of samples by many networks, (networks, rows, n_out).

    One network after the other, so that memory is read from its beginning to its end: layer by layer, a block of
    networks at a time, takes 1.2 times as long. Samples that are the same for all are read once. Arguments are as in
    `run_networks`; the samples of network i stand i times ``x_row`` bytes on, or are the same for all.
    """

    @kernel_function
    def weighted_rows(job, layer, count, x_index, w, w_index, b):
        arguments = (count, layer.input, x_index, w, layer.w_row, w_index, b, layer.z, layer.out_row // VECTOR_BYTES)
        call_kernel("weighted_rows", job.linear.weighted_rows, arguments)

    @kernel_function
    def forward(job, layer, i, w, b, n_columns, ahead):
        """z = a_below w + b of one sample in layer i, whose parameters stand at w and b."""
        steps = layer.in_row // VECTOR_BYTES
        if i == 0 and n_columns < layer.n_in:
            weighted_rows(job, layer, n_columns, job.workspace.identity, w, job.workspace.index, b)
        elif not layer.by_inputs:
            arguments = (layer.input, layer.in_row, w, layer.w_row, b, layer.z, layer.out_row, 1, layer.n_out, steps)
            call_kernel("inner_products", job.linear.inner_products, arguments)
        elif i > 0 and has_zeros(real, steps, layer.input):
            list_alive(layer, 0, False, real)
            weighted_rows(job, layer, layer.n_alive, layer.alive, w, layer.alive, b)
        else:
            _all_rows(layer, w, b, ahead, real)

    @kernel_function
    def predict_one(job, distance, n_columns, ahead):
        """Go forward with the parameters that stand at a distance behind the layers' own."""
        for i in range(job.workspace.n_layers):
            layer = layer_at(job, i)
            forward(job, layer, i, layer.w + distance, layer.b + distance * layer.has_biases, n_columns, ahead)
            activate(job, i, 0, 1, 0, False, True, real)

    def predict_networks(params, job, first, networks, ends, base, params_row, x_row):
        job = record_at(job, JOB)
        rows, in_place, layer = job.call.count, job.workspace.in_place, layer_at(job, 0)
        x, n_columns = job.data.x, 0
        for done in range(networks):
            if x_row != 0 or done == 0:
                job.data.x = x + (first + done) * x_row
                n_columns = find_block(job, 0, rows, real)
            at = params + done * params_row
            if not in_place:
                pack(job, at, 0, True, real)
                at = base
            elif ends and done == networks - 1:
                copy(base, at, job.workspace.n_params * size_of(real))
                at = base
            if rows == 1:
                predict_one(job, at - base, n_columns, params_row * in_place)
            else:
                move_parameters(job, at - base)
                first_forward(job, 0, 0, rows, n_columns, layer.w, layer.w_row, real)
                activate_layers(job, 0, rows, 0, False, True, real)
                move_parameters(job, base - at)
            copy_outputs(job, rows, (first + done) * rows, real)
        let_go_of_rows(job)
        job.data.x = x
        return 0.0

    return predict_networks
