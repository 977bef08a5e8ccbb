"""Several epochs in one call, for networks so small that Python's share of an epoch would be most of it."""

from __future__ import annotations

import math

from . import layout as at
from .decorators import array_at, call


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name; the dtype is in its pointers."""
    return {"run_epochs": _run_epochs}[name]


def _run_epochs(params, job, numbers, finite, kernel, epochs):
    """Run the training kernel at address ``kernel`` once an epoch; how many epochs ended with finite numbers.

    Each epoch takes the next COUNT entries of ORDER and the next row of ``numbers``, (epochs, NUMBERS). ``finite``,
    like ``params``, gets the parameters of the last finite epoch; the first that is not finite is the last to be run.
    """
    params, finite = array_at(params, at.ANY, params), array_at(finite, at.ANY, finite)
    job, numbers = array_at(job, at.JOB, job), array_at(numbers, (epochs, at.NUMBERS), numbers)
    for e in range(epochs):
        call(kernel, (params.ctypes.data, job.ctypes.data, numbers[e].ctypes.data))
        zero = params.dtype.type(0)
        for k in range(job[at.N_PARAMS]):
            zero += params[k] * 0
        if not (zero == 0 and math.isfinite(numbers[e, 1])):
            return float(e)
        for k in range(job[at.N_PARAMS]):
            finite[k] = params[k]
        job[at.ORDER] += 8 * job[at.COUNT]
    return float(epochs)
