"""One kernel after another on many vectors of parameters, for networks of one spec that need not be trained here."""

from __future__ import annotations

import numpy as np

from .decorators import call_kernel, kernel_function, record_at
from .layout import JOB, NUMBERS
from .packing import all_columns, layer_at
from .passes import activate, copy_outputs, forward_of_rows, products, read_inputs

_NUMBERS_BYTES = NUMBERS.itemsize


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    real = np.dtype(dtype).type
    return {"run_networks": _run_networks, "predict_networks": _predict_networks}[name](real)


@kernel_function
def move_parameters(job, distance):
    """Let layers whose parameters are used in place be about those that stand so many bytes on."""
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

    def run_networks(params, job, numbers, kernel, first, networks, base, params_row, x_row, y_row, result_row):
        record = record_at(job, JOB)
        advance(record, params - base, first * x_row, first * y_row, first * result_row)
        result = 0.0
        done = 0
        while done < networks and result == 0.0:
            arguments = (params + done * params_row, job, numbers + (first + done) * _NUMBERS_BYTES)
            result = call_kernel("forward", kernel, arguments)  # all of catalog.NETWORK take the same
            advance(record, params_row, x_row, y_row, result_row)
            done += 1
        gone = first + done
        advance(record, base - params - done * params_row, -gone * x_row, -gone * y_row, -gone * result_row)
        return result

    return run_networks


def _predict_networks(real):
    """Write the outputs of one sample by many networks whose parameters are used in place, (networks, n_out).

    A block of networks goes forward layer by layer, each network a row, because activations of many rows take less
    time: 0.75 of that of `run_networks` for 1,024 networks 8-32-32-2, 0.95 for 64. Arguments are as there; the sample
    of network i stands i times ``x_row`` bytes on, or is the same for all.
    """

    def predict_networks(params, job, networks, base, params_row, x_row):
        job = record_at(job, JOB)
        move_parameters(job, params - base)
        outputs, n_columns, done = job.call.outputs, 0, 0
        while done < networks:
            rows = min(job.call.block, networks - done)
            for i in range(job.workspace.n_layers):
                layer = layer_at(job, i)
                w, b = layer.w, layer.b
                for r in range(rows):
                    if i > 0:
                        forward_of_rows(job, layer, r, 1, False, real)
                    else:
                        if x_row != 0 or done + r == 0:
                            n_columns = read_inputs(job, 0, 1)
                            job.data.x += x_row
                        z = layer.z + r * layer.out_row
                        columns = all_columns(layer)
                        products(job, layer, 0, layer.b, z, 0, 1, columns, job.workspace.index, n_columns, real)
                    layer.w += params_row
                    layer.b += params_row * layer.has_biases
                layer.w, layer.b = w, b
                activate(job, i, 0, rows, 0, False, True, real)
            copy_outputs(job, rows, done, real)
            move_parameters(job, rows * params_row)
            done += rows
        job.data.x -= networks * x_row
        job.call.outputs = outputs
        move_parameters(job, base - params - done * params_row)
        return 0.0

    return predict_networks
