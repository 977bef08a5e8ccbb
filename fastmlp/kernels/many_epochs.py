"""Several epochs in one call, for networks so small that Python's share of an epoch would be most of it."""

from __future__ import annotations

import math

import numpy as np

from .decorators import array_at, call_kernel, record_at
from .layout import JOB, NUMBERS

_NUMBERS_BYTES = NUMBERS.itemsize


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"run_epochs": _run_epochs}[name](np.dtype(dtype).type)


def _run_epochs(real):
    """Run the training kernel at address ``kernel`` once an epoch; return how many epochs ended with finite numbers.

    Each epoch takes the next ``count`` entries of the call's order and the next of the NUMBERS records, one an epoch.
    ``finite``, like ``params``, gets the parameters of the last finite epoch; the first that is not finite is the last
    to be run.
    """

    def run_epochs(params, job, numbers, finite, kernel, epochs):
        record = record_at(job, JOB)
        n, call = record.workspace.n_params, record.call
        flat, kept = array_at(params, n, real), array_at(finite, n, real)
        for e in range(epochs):
            row = numbers + e * _NUMBERS_BYTES
            call_kernel("samples", kernel, (params, job, row))  # all of catalog.NETWORK take the same
            zero = real(0)
            for k in range(n):
                zero += flat[k] * 0
            if not (zero == 0 and math.isfinite(record_at(row, NUMBERS).totals.loss)):
                return float(e)
            for k in range(n):
                kept[k] = flat[k]
            call.order += 8 * call.count
        return float(epochs)

    return run_epochs
