"""One kernel after another on many vectors of parameters, for networks of one spec that need not be trained here."""

from __future__ import annotations

import numpy as np

from .decorators import call_kernel, kernel_function, record_at
from .layout import JOB, LAYER, NUMBERS

_NUMBERS_BYTES, _LAYER_BYTES = NUMBERS.itemsize, LAYER.itemsize


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"run_networks": _run_networks}[name](np.dtype(dtype).type)


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
            for i in range(job.workspace.n_layers):
                layer = record_at(job.workspace.layers + i * _LAYER_BYTES, LAYER)
                layer.w += params_row
                if layer.has_biases:
                    layer.b += params_row
            job.workspace.gradient -= params_row  # the distances stay where they are
            job.team.part_gradient -= params_row

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
