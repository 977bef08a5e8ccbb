"""Functions over rows of numbers that a network calls by address: activations, losses, steps, the reading of user data.

Each is compiled on its own when a network first needs it, from the formulas of activations.py and losses.py, so a
network pays only for what it uses and a user's own function enters by the same door as a built-in one.
"""

from __future__ import annotations

import math
from types import FunctionType

import numpy as np

from ..activations import ACTIVATIONS
from ..losses import LOSSES
from ..optimizers import OPTIMIZERS
from . import layout as at
from .cpu import vector_bytes
from .decorators import array_at, inlined, peek
from .math import functions
from .simd import clear_behind, copy, largest, prefetch, read_vectors, wide_vectors


def build(name: str, dtype: str):
    """The Python function to compile for a name: ``activation.relu``, ``loss.bce.sigmoid``, ``step.adam.2``."""
    real = np.dtype(dtype).type
    family, _, rest = name.partition(".")
    if family == "gather":
        return _gather(np.dtype(rest).type, real)
    if family == "sparse":
        source, _, index = rest.partition(".")
        return _gather_sparse(np.dtype(source).type, np.dtype(index).type, real)
    if family == "activation":
        activation = ACTIVATIONS[rest]
        if not activation.elementwise:
            return _softmax_rows(real)
        formulas = activation.function, activation.derivative_function
        return _whole_rows(*(specialised(formula, real) for formula in formulas), activation.slope is not None, real)
    if family == "step":
        optimizer, _, states = rest.partition(".")
        return _step(OPTIMIZERS[optimizer], int(states), real)
    if family == "softmax_backward":
        return _softmax_backward(real)
    if family == "dropout":
        return _dropout(real)
    loss, _, output = rest.partition(".")
    if output:
        return _loss_rows(_FUSED[loss, output](real))
    if LOSSES[loss].rowwise:
        return _loss_rows(_ROWWISE[loss])
    return loss_rows(specialised(LOSSES[loss].function, real), specialised(LOSSES[loss].derivative, real))


def specialised(formula, real):
    """A table's formula for single numbers of one dtype: ``np`` is kernels/math.py, every constant of that dtype."""
    names = {"np": functions(real), "erfc": inlined(lambda z: math.erfc(z))}
    for name in formula.__code__.co_names:
        value = formula.__globals__.get(name)
        if name not in names and value is not None:
            names[name] = real(value) if isinstance(value, float) else specialised(value, real)
    constants = tuple(real(c) if isinstance(c, float) else c for c in formula.__code__.co_consts)
    return inlined(FunctionType(formula.__code__.replace(co_consts=constants), names, formula.__name__))


def _whole_rows(function, derivative, has_slope, real):
    """a = f(z), and d = f'(z) where d is not null, of rows of whole vectors; the padding of a becomes 0."""
    lanes = vector_bytes() // real(0).itemsize
    if has_slope:
        with_slope, derivative_with_slope = function, derivative
    else:
        with_slope = inlined(lambda z, slope: function(z))
        derivative_with_slope = inlined(lambda z, slope: derivative(z))

    def rows_of(z, a, d, rows, n, stride, slope):
        wide_vectors()
        count = rows * stride // lanes * lanes  # all of it; and now the compiler knows that nothing is left over
        z = array_at(z, count, z)
        a = array_at(a, count, a)
        slope = real(slope)
        if d != 0:
            d = array_at(d, count, a)
            for k in range(count):
                value = z[k]  # read once: for all the compiler knows, a is z, and would change it
                a[k] = with_slope(value, slope)
                d[k] = derivative_with_slope(value, slope)
        else:
            for k in range(count):
                a[k] = with_slope(z[k], slope)
        for r in range(rows):
            clear_behind(real, a.ctypes.data + r * stride * a.itemsize, n, stride // lanes)
        return 0.0

    return rows_of


def activation_rows(function, derivative):
    """a = f(z) of rows of n numbers, ``stride`` apart, and d = f'(z) where d is not null; of a user's functions, which
    see no padding."""

    def rows_of(z, a, d, rows, n, stride, slope):
        z = array_at(z, (rows, stride), z)
        a = array_at(a, (rows, stride), a)
        for r in range(rows):
            for k in range(n):
                a[r, k] = function(z[r, k])
        if d != 0:
            d = array_at(d, (rows, stride), a)
            for r in range(rows):
                for k in range(n):
                    d[r, k] = derivative(z[r, k])
        return 0.0

    return rows_of


def _softmax_rows(real):
    """a = softmax(z), row by row; its derivative is not a row of numbers (`_softmax_backward` applies the Jacobian)."""
    softmax = _softmax(real)

    def rows_of(z, a, d, rows, n, stride, slope):
        wide_vectors()
        z = array_at(z, (rows, stride), z)
        a = array_at(a, (rows, stride), a)
        for r in range(rows):
            softmax(z[r], a[r], n)
        return 0.0

    return rows_of


def _softmax_backward(real):
    """delta = Jᵀ delta of rows, J = diag(a) - a aᵀ being the Jacobian of a softmax."""

    def rows_of(a, delta, rows, n, stride):
        a = array_at(a, (rows, stride), real)
        delta = array_at(delta, (rows, stride), real)
        for r in range(rows):
            mean = real(0)
            for j in range(n):
                mean += a[r, j] * delta[r, j]
            for j in range(n):
                delta[r, j] = a[r, j] * (delta[r, j] - mean)
        return 0.0

    return rows_of


def _softmax(real):
    """Write softmax of a row's first n numbers to a, zeros behind; return the largest z and the sum of exp(z - it)."""
    np = functions(real)
    lanes = vector_bytes() // real(0).itemsize

    @inlined
    def softmax(z, a, n):
        top = largest(real, z.ctypes.data, n)
        count = len(z) // lanes * lanes
        total = real(0)
        for k in range(count):
            a[k] = np.where(k < n, np.exp(z[k] - top), real(0))
            total += a[k]
        scale = real(1) / total
        for k in range(count):
            a[k] *= scale
        return top, total

    return softmax


def _step(optimizer, states, real):
    """An optimiser's step for n parameters against factor · their gradient, which penalties on weights add to.

    ``states`` is how many of the two vectors of state there are; the rule gets zeros for the others.
    """
    prepare, rule = specialised(optimizer.prepare, np.float64), specialised(optimizer.rule, real)
    sign = functions(real).sign
    zero = real(0)

    def step(w, g, state_1, state_2, n, for_weights, options, lr, factor):
        wide_vectors()
        options = array_at(options, at.N_OPTIONS, options)
        c = options[at.CONSTANTS :]
        k1, k2, k3, k4, k5, k6 = prepare(lr, options[at.STEPS] + 1, c[0], c[1], c[2], c[3])
        k1, k2, k3, k4, k5, k6 = real(k1), real(k2), real(k3), real(k4), real(k5), real(k6)
        l1 = real(options[at.L1] if for_weights else 0)
        l2 = real(options[at.L2] if for_weights else 0)
        factor = real(factor)
        w = array_at(w, n, w)
        g = array_at(g, n, g)
        first = array_at(state_1, n, w)
        second = array_at(state_2, n, w)
        for k in range(n):
            slope = factor * g[k] + l2 * w[k] + l1 * sign(w[k])
            s1 = first[k] if states > 0 else zero
            s2 = second[k] if states > 1 else zero
            moved, s1, s2 = rule(w[k], slope, s1, s2, k1, k2, k3, k4, k5, k6)
            w[k] = moved
            if states > 0:
                first[k] = s1
            if states > 1:
                second[k] = s2
        return 0.0

    return step


def _dropout(real):
    """Inverted dropout of rows of a and of its derivative: each number is kept with probability ``kept`` and divided by
    it, or zero.

    The draws are a hash of the key, the row's number (``row``, then every ``row_step``-th) and the column: splitmix64
    (Steele, Lea and Flood 2014). So they depend on nothing else, and need no state. Where ``whole`` is not null, it
    gets a as it was, and d the factors.
    """

    def drop(a, d, whole, rows, stride, key, row, row_step, kept):
        wide_vectors()
        limit = np.uint64(kept * 9007199254740992.0)  # 2**53
        factor = real(1 / kept)
        a = array_at(a, (rows, stride), a)
        d = array_at(d, (rows, stride), a)
        if whole:
            copy(whole, a.ctypes.data, rows * stride * a.itemsize)
            for r in range(rows):
                for k in range(stride):
                    d[r, k] = 1
        for r in range(rows):
            base = _mixed(np.uint64(key) + np.uint64(row + r * row_step) * np.uint64(0x9E3779B97F4A7C15))
            for k in range(stride):
                draw = _mixed(base + np.uint64(k + 1) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(11)
                scale = factor if draw < limit else real(0)
                a[r, k] *= scale
                d[r, k] *= scale
        return 0.0

    return drop


@inlined
def _mixed(bits):
    """splitmix64's output function."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def loss_rows(function, derivative):
    """Sum over rows and outputs of a loss of single outputs; delta = dL/da."""

    @inlined
    def row(z, a, y, delta, n):
        total = 0.0
        for k in range(n):
            total += function(a[k], y[k])
            delta[k] = derivative(a[k], y[k])
        return total

    return _loss_rows(row)


def _loss_rows(row):
    """Sum over rows of ``row(z, a, y, delta, n)``, the loss of one sample, which also writes its delta."""

    def rows_of(z, a, y, delta, rows, n, stride):
        wide_vectors()
        z = array_at(z, (rows, stride), z)
        a = array_at(a, (rows, stride), a)
        y = array_at(y, (rows, stride), y)
        delta = array_at(delta, (rows, stride), delta)
        total = 0.0
        for r in range(rows):
            total += row(z[r], a[r], y[r], delta[r], n)
        return total

    return rows_of


def _cross_entropy_softmax(real):
    """-Σ y log softmax(z) by log-sum-exp; delta = dL/dz = a Σy - y, which is the tutorial's a - y when Σy = 1.

    The differences are taken before the logarithm is added: right to the last digits even for z of 1e15.
    """
    softmax = _softmax(real)

    log, where = functions(real).log, functions(real).where
    lanes = vector_bytes() // real(0).itemsize

    @inlined
    def row(z, a, y, delta, n):
        top, sum_of_exp = softmax(z, a, n)
        below = mass = real(0)
        count = len(z) // lanes * lanes  # y is 0 in the padding
        for k in range(count):
            mass += y[k]
            below += where(y[k] != 0, y[k] * (top - z[k]), real(0))
        for k in range(count):
            delta[k] = a[k] * mass - y[k]
        return below + mass * log(sum_of_exp)

    return row


def _cross_entropy_sigmoid(real):
    """-Σ y log sigmoid(z) = Σ y softplus(-z); delta = dL/dz = -y sigmoid(-z)."""
    double = functions(np.float64)

    @inlined
    def row(z, a, y, delta, n):
        total = 0.0
        for k in range(n):
            wide = np.float64(z[k])
            e = double.exp(-double.abs(wide))
            total += y[k] * (double.maximum(-wide, 0.0) + double.log1p(e))
            delta[k] = -y[k] * double.where(wide > 0.0, e, 1.0) / (1.0 + e)
        return total

    return row


def _bce_sigmoid(real):
    """-Σ y log sigmoid(z) + (1 - y) log(1 - sigmoid(z)) = Σ softplus(z) - y z; delta = dL/dz = a - y.

    softplus(z) - y z is arranged so that nothing large is subtracted from its like.
    """
    double = functions(np.float64)

    @inlined
    def row(z, a, y, delta, n):
        total = 0.0
        for k in range(n):
            wide = np.float64(z[k])
            total += wide * (double.where(wide > 0.0, 1.0, 0.0) - y[k]) + double.log1p(double.exp(-double.abs(wide)))
            delta[k] = a[k] - y[k]
        return total

    return row


@inlined
def _hinge(z, a, y, delta, n):
    """Σ_{j≠c} max(0, a_j - a_c + 1), c the right class; a soft y takes the mean over its classes. delta = dL/da."""
    total = 0.0
    for j in range(n):
        delta[j] = 0
    for c in range(n):
        if y[c] == 0:
            continue
        for j in range(n):
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
        index = array_at(index, rows + following, index)
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
                array_at(out + r * out_row, n, real)[k] = value
        if column_stride == size:
            for r in range(rows, rows + following):
                for line in range((n * size + 63) // 64):
                    prefetch(data + index[r] * row_stride + line * 64)
        return 0.0

    return gather


def _gather_sparse(source, kind, real):
    """Read rows ``order`` of a CSR matrix: the columns that any of them has, listed in ``index``, become columns of x.

    ``slots``, one a column of the matrix, is -1 before and after. Returns how many columns there are.
    """
    size, kind_size, out_size = (np.dtype(part).itemsize for part in (source, kind, real))
    lanes = vector_bytes() // out_size

    def gather(data, indptr, indices, order, rows, scale, out, out_row, index, slots):
        order = array_at(order, rows, order)
        x = array_at(out, (rows, out_row // out_size), real)
        index = array_at(index, at.ANY, np.int64)
        slots = array_at(slots, at.ANY, np.int64)
        found = 0
        for r in range(rows):
            for p in range(peek(indptr + order[r] * kind_size, kind), peek(indptr + (order[r] + 1) * kind_size, kind)):
                column = peek(indices + p * kind_size, kind)
                if slots[column] < 0:
                    slots[column] = found
                    index[found] = column
                    found += 1
        for r in range(rows):
            for i in range(-(-found // lanes) * lanes):
                x[r, i] = 0
            for p in range(peek(indptr + order[r] * kind_size, kind), peek(indptr + (order[r] + 1) * kind_size, kind)):
                column = peek(indices + p * kind_size, kind)
                value = real(peek(data + p * size, source))
                x[r, slots[column]] += value * peek(scale + column * out_size, real) if scale else value
        for i in range(found):
            slots[index[i]] = -1
        return float(found)

    return gather
