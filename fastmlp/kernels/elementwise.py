"""Functions over rows of numbers that a network calls by address: activations, losses, and the reading of user data.

Each is compiled on its own when a network first needs it, from the formulas of activations.py and losses.py, so a
network pays only for what it uses and a user's own function enters by the same door as a built-in one.
"""

from __future__ import annotations

from types import FunctionType

import numpy as np
from numba import carray

from ..activations import ACTIVATIONS
from ..losses import LOSSES
from . import math
from .compiler import vector_bytes
from .decorators import inner, peek, pointer
from .simd import prefetch, read_vectors


def build(name: str, dtype: str):
    """The Python function to compile for a name: ``activation.relu``, ``loss.bce.sigmoid``, ``gather.uint8``."""
    family, _, rest = name.partition(".")
    if family == "gather":
        return _gather(np.dtype(rest).type, np.dtype(dtype).type)
    if family == "activation":
        activation = ACTIVATIONS[rest]
        if not activation.elementwise:
            return _softmax
        functions = activation.function, activation.derivative_function
        return activation_rows(*(specialised(f, dtype) for f in functions), activation.slope is not None)
    loss, _, output = rest.partition(".")
    if output:
        return _loss_rows(_FUSED[loss, output])
    if LOSSES[loss].rowwise:
        return _loss_rows(_ROWWISE[loss])
    return loss_rows(specialised(LOSSES[loss].function, dtype), specialised(LOSSES[loss].derivative, dtype))


def specialised(function, dtype: str):
    """A table's formula for single numbers of one dtype: ``np`` is kernels/math.py, every constant of that dtype."""
    real = np.dtype(dtype).type
    names = {"np": math, "erfc": math.erfc}
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if name not in names and value is not None:
            names[name] = real(value) if isinstance(value, float) else specialised(value, dtype)
    constants = tuple(real(c) if isinstance(c, float) else c for c in function.__code__.co_consts)
    return inner(FunctionType(function.__code__.replace(co_consts=constants), names, function.__name__))


def activation_rows(function, derivative, has_slope: bool):
    """a = f(z) for rows of n numbers, ``stride`` apart, and d = f'(z) where d is not null."""
    if has_slope:
        with_slope, derivative_with_slope = function, derivative
    else:
        with_slope = inner(lambda z, slope: function(z))
        derivative_with_slope = inner(lambda z, slope: derivative(z))

    def rows_of(z, a, d, rows, n, stride, slope):
        z = carray(z, (rows, stride))
        a = carray(a, (rows, stride))
        slope = z.dtype.type(slope)
        for r in range(rows):
            for k in range(n):
                a[r, k] = with_slope(z[r, k], slope)
        if d != 0:
            d = carray(pointer(d, a), (rows, stride))
            for r in range(rows):
                for k in range(n):
                    d[r, k] = derivative_with_slope(z[r, k], slope)
        return 0.0

    return rows_of


def _softmax(z, a, d, rows, n, stride, slope):
    """a = softmax(z), row by row; its derivative is not a row of numbers (network.py applies the Jacobian)."""
    z = carray(z, (rows, stride))
    a = carray(a, (rows, stride))
    for r in range(rows):
        _softmax_row(z[r, :n], a[r, :n])
    return 0.0


@inner
def _softmax_row(z, a):
    """Write softmax(z) to a; return max(z) and the logarithm of the sum of exp(z - max(z))."""
    top = z[0]
    for k in range(1, len(z)):
        top = max(top, z[k])
    total = z.dtype.type(0)
    for k in range(len(z)):
        a[k] = math.exp(z[k] - top)
        total += a[k]
    for k in range(len(z)):
        a[k] /= total
    return top, math.log(total)


def loss_rows(function, derivative):
    """Sum over rows and outputs of a loss of single outputs; delta = dL/da."""

    @inner
    def row(z, a, y, delta):
        total = 0.0
        for k in range(len(a)):
            total += function(a[k], y[k])
            delta[k] = derivative(a[k], y[k])
        return total

    return _loss_rows(row)


def _loss_rows(row):
    """Sum over rows of ``row(z, a, y, delta)``, the loss of one sample, which also writes its delta."""

    def rows_of(z, a, y, delta, rows, n, stride):
        z = carray(z, (rows, stride))
        a = carray(a, (rows, stride))
        y = carray(y, (rows, stride))
        delta = carray(delta, (rows, stride))
        total = 0.0
        for r in range(rows):
            total += row(z[r, :n], a[r, :n], y[r, :n], delta[r, :n])
        return total

    return rows_of


@inner
def _cross_entropy_softmax(z, a, y, delta):
    """-Σ y log softmax(z) by log-sum-exp; delta = dL/dz = a Σy - y, which is the tutorial's a - y when Σy = 1.

    The differences are taken before the logarithm is added: right to the last digits even for z of 1e15.
    """
    top, log_sum = _softmax_row(z, a)
    total = 0.0
    mass = z.dtype.type(0)
    for k in range(len(z)):
        mass += y[k]
        if y[k] != 0:
            total += y[k] * (np.float64(top) - np.float64(z[k]) + log_sum)
    for k in range(len(z)):
        delta[k] = a[k] * mass - y[k]
    return total


@inner
def _cross_entropy_sigmoid(z, a, y, delta):
    """-Σ y log sigmoid(z) = Σ y softplus(-z); delta = dL/dz = -y sigmoid(-z)."""
    total = 0.0
    for k in range(len(z)):
        wide = np.float64(z[k])
        e = math.exp(-math.abs(wide))
        total += y[k] * (max(-wide, 0.0) + math.log1p(e))
        delta[k] = -y[k] * (e if wide > 0.0 else 1.0) / (1.0 + e)
    return total


@inner
def _bce_sigmoid(z, a, y, delta):
    """-Σ y log sigmoid(z) + (1 - y) log(1 - sigmoid(z)) = Σ softplus(z) - y z; delta = dL/dz = a - y.

    softplus(z) - y z is arranged so that nothing large is subtracted from its like.
    """
    total = 0.0
    for k in range(len(z)):
        wide = np.float64(z[k])
        total += wide * ((1.0 if wide > 0.0 else 0.0) - y[k]) + math.log1p(math.exp(-math.abs(wide)))
        delta[k] = a[k] - y[k]
    return total


@inner
def _hinge(z, a, y, delta):
    """Σ_{j≠c} max(0, a_j - a_c + 1), c the right class; a soft y takes the mean over its classes. delta = dL/da."""
    total = 0.0
    for j in range(len(a)):
        delta[j] = 0
    for c in range(len(a)):
        if y[c] == 0:
            continue
        for j in range(len(a)):
            margin = a[j] - a[c] + 1
            if j != c and margin > 0:
                total += y[c] * margin
                delta[j] += y[c]
                delta[c] -= y[c]
    return total


_ROWWISE = {"hinge": _hinge}
_FUSED = {
    ("cross_entropy", "softmax"): _cross_entropy_softmax,
    ("cross_entropy", "sigmoid"): _cross_entropy_sigmoid,
    ("bce", "sigmoid"): _bce_sigmoid,
}


def _gather(source, real):
    """Read rows ``index`` of user data of any strides (in bytes), convert, shift and scale them.

    Shift and scale are padded vectors; a null shift means neither. The ``following`` rows are asked for from memory.
    """
    size, out_size = np.dtype(source).itemsize, np.dtype(real).itemsize
    lanes = vector_bytes() // out_size

    def gather(data, row_stride, column_stride, index, rows, following, n, shift, scale, out, out_row):
        index = carray(index, rows + following)
        for r in range(rows):
            row = data + index[r] * row_stride
            done = 0
            if column_stride == size:
                read_vectors(real, source, row, n // lanes, shift, scale, out + r * out_row)
                done = n // lanes * lanes
            for k in range(done, n):
                value = real(peek(row + k * column_stride, source))
                if shift:
                    value = (value - peek(shift + k * out_size, real)) * peek(scale + k * out_size, real)
                carray(pointer(out + r * out_row, real), n)[k] = value
        if column_stride == size:
            for r in range(rows, rows + following):
                for line in range((n * size + 63) // 64):
                    prefetch(data + index[r] * row_stride + line * 64)
        return 0.0

    return gather
