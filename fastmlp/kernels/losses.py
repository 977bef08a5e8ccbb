"""The losses' rows functions: the sum of the losses of rows of outputs, and their delta.

Their formulas are those of ../losses.py; losses of whole rows, and those that are computed from pre-activations, are
written here. Arrays are (rows, stride), of which n columns are numbers and the others padding.

Where ``weights`` is the address of n numbers, a loss counts each output by its weight, and not at all where its y is
NaN, which was not measured. Losses that compare outputs take none.
"""

from __future__ import annotations

import numpy as np

from ..losses import (
    _d_gaussian_by_log_variance,
    _d_gaussian_by_mean,
    _d_pinball,
    _gaussian,
    _pinball,
    get_loss,
)
from .activations import exp_without_padding, sharing_rows, softmax_of
from .cpu import vector_bytes
from .decorators import array_at, force_inlined, kernel_function
from .formulas import specialised
from .math import functions
from .vectors import gather_narrow, spread_narrow, wide_vectors


def build(name: str, dtype: str):
    """The Python function to compile for "loss.mse." or "loss_curvature.mse." or, fused with an activation,
    "loss.bce.sigmoid"."""
    real = np.dtype(dtype).type
    loss, output = parts_of(name)
    if name.startswith("loss_curvature"):
        return _curvatures_by_outputs(loss, output, real)
    if (loss, output) == ("cross_entropy", "softmax"):
        return _cross_entropy_softmax_rows(real)
    if get_loss(loss).rowwise:
        return _loss_rows(ROWWISE[loss](real))
    return _loss_rows(_row_of(of_one_output(loss, output, real)))


def parts_of(name):
    """The loss and the activation that "loss.bce.sigmoid" names; a loss's own name may have dots."""
    _, _, rest = name.partition(".")
    loss, _, output = rest.rpartition(".")
    return loss, output


def of_one_output(loss, output, real, wide=np.float64):
    """A loss of single outputs, in itself or fused with an activation, as a function of z, a, y and the output's
    number: its value, and its derivative by a, or by z where it is fused. What is fused is computed with numbers of the
    type ``wide``."""
    entry = get_loss(loss)
    if output:
        fused = _FUSED[loss, output](wide)
        return force_inlined(lambda z, a, y, k: fused(z, a, y))
    if entry.levels:
        return _at_levels(specialised(_pinball, real), specialised(_d_pinball, real), np.array(entry.levels, real))
    return _of_functions(specialised(entry.function, real), specialised(entry.derivative, real))


def loss_rows(function, derivative):
    """Sum over rows and outputs of a loss of single outputs; delta = dL/da."""
    return _loss_rows(_row_of(_of_functions(function, derivative)))


def curvature_rows(second_derivative):
    """Write d²L/da² of rows of single outputs over y."""

    def rows_of(a, y, weights, rows, n, stride):
        a = array_at(a, (rows, stride), a)
        y = array_at(y, (rows, stride), y)
        if weights == 0:
            for r in range(rows):
                for k in range(n):
                    y[r, k] = second_derivative(a[r, k], y[r, k])
            return 0.0
        weight = array_at(weights, n, y)
        for r in range(rows):
            for k in range(n):
                measured = y[r, k] == y[r, k]
                y[r, k] = weight[k] * second_derivative(a[r, k], y[r, k]) if measured else 0
        return 0.0

    return rows_of


def _curvatures_by_outputs(loss, output, real):
    """`curvature_rows` of the registry's losses; where a loss is fused, what dL/dz changes by as an output changes."""
    if (loss, output) == ("cross_entropy", "softmax"):
        return _masses
    unit = real(1)
    fused = {"cross_entropy": lambda a, y: y, "bce": lambda a, y: unit}
    formula = force_inlined(fused[loss]) if output else specialised(get_loss(loss).second_derivative, real)
    return curvature_rows(formula)


def _masses(a, y, weights, rows, n, stride):
    """Write Σ y of each row over y: dL/dz = a Σy - y."""
    y = array_at(y, (rows, stride), y)
    for r in range(rows):
        mass = y[r, 0]
        for k in range(1, n):
            mass += y[r, k]
        for k in range(n):
            y[r, k] = mass
    return 0.0


def _of_functions(function, derivative):
    return force_inlined(lambda z, a, y, k: (function(a, y), derivative(a, y)))


def _at_levels(function, derivative, levels):
    """A loss whose outputs have the levels, in turn."""
    n_levels = len(levels)

    @force_inlined
    def one(z, a, y, k):
        level = levels[k % n_levels]
        return function(a, y, level), derivative(a, y, level)

    return one


def _row_of(one):
    """The loss of a row of single outputs."""

    @force_inlined
    def row(z, a, y, delta, weights, n):
        total = 0.0
        if weights == 0:
            for k in range(n):
                value, delta[k] = one(z[k], a[k], y[k], k)
                total += value
            return total
        weight = array_at(weights, n, delta)
        for k in range(n):
            value, slope = one(z[k], a[k], y[k], k)
            measured = y[k] == y[k]
            total += weight[k] * value if measured else 0.0
            delta[k] = weight[k] * slope if measured else 0
        return total

    return row


def _loss_rows(row):
    """Sum over rows of ``row(z, a, y, delta, weights, n)``, the loss of one sample, which also writes its delta."""

    def rows_of(z, a, y, delta, weights, rows, n, stride):
        wide_vectors()
        z = array_at(z, (rows, stride), z)
        a = array_at(a, (rows, stride), a)
        y = array_at(y, (rows, stride), y)
        delta = array_at(delta, (rows, stride), delta)
        total = 0.0
        for r in range(rows):
            total += row(z[r], a[r], y[r], delta[r], weights, n)
        return total

    return rows_of


def _cross_entropy_softmax_rows(real):
    """The losses of rows one by one; but rows of a few numbers share vectors meanwhile, which takes a third of
    the time."""
    one_by_one, np = kernel_function(_loss_rows(_cross_entropy_softmax(real))), functions(real)
    exp, log, where = exp_without_padding(real), np.log, np.where
    width, height = sharing_rows(real)
    lanes, itemsize, zero = width * height, real(0).itemsize, real(0)

    def rows_of(z, a, y, delta, weights, rows, n, stride):
        wide_vectors()
        if n > width or rows == 1:
            return one_by_one(z, a, y, delta, weights, rows, n, stride)
        groups, row = (rows + height - 1) // height, stride * itemsize
        below, e = array_at(delta, groups * lanes, delta), array_at(a, groups * lanes, a)
        logs = array_at(delta, groups * lanes + rows, delta)[groups * lanes :]
        gather_narrow(width, real, groups, rows, n, array_at(z, 1, z).ctypes.data, row, below.ctypes.data)
        for k in range(groups * lanes):
            e[k] = exp(below[k])
        for r in range(rows):
            sum_of_exp = zero
            for k in range(width):
                sum_of_exp += e[width * r + k]
            logs[r] = log(sum_of_exp)
        y = array_at(y, (rows, stride), y)
        total = 0.0
        for r in range(rows):
            loss = mass = zero
            for k in range(width):  # y is 0 in the padding
                mass += y[r, k]
                loss -= where(y[r, k] != 0, y[r, k] * below[width * r + k], zero)
            total += loss + mass * logs[r]
        spread_narrow(width, real, groups, rows, e.ctypes.data, row)
        a = array_at(a, (rows, stride), a)
        delta = array_at(delta, (rows, stride), delta)
        for r in range(rows):
            mass = zero
            for k in range(width):
                mass += y[r, k]
            for k in range(stride):
                delta[r, k] = a[r, k] * mass - y[r, k]
        return total

    return rows_of


def _cross_entropy_softmax(real):
    """-Σ y log softmax(z) by log-sum-exp; delta = dL/dz = a Σy - y, which is the tutorial's a - y when Σy = 1.

    The differences are taken before the logarithm is added: right to the last digits even for z of 1e15.
    """
    softmax = softmax_of(real)

    log, where = functions(real).log, functions(real).where
    lanes = vector_bytes() // real(0).itemsize

    @force_inlined
    def row(z, a, y, delta, weights, n):
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
    """-y log sigmoid(z) = y softplus(-z); dL/dz = -y sigmoid(-z)."""
    np, zero, unit = functions(real), real(0), real(1)

    @force_inlined
    def one(z, a, y):
        z = real(z)
        e = np.exp(-np.abs(z))
        value = y * (np.maximum(-z, zero) + np.log1p(e))
        return value, -y * np.where(z > zero, e, unit) / (unit + e)

    return one


def _bce_sigmoid(real):
    """-y log sigmoid(z) - (1 - y) log(1 - sigmoid(z)) = softplus(z) - y z; dL/dz = a - y.

    softplus(z) - y z is arranged so that no two large numbers are subtracted.
    """
    np, zero, unit = functions(real), real(0), real(1)

    @force_inlined
    def one(z, a, y):
        wide = real(z)
        return wide * (np.where(wide > zero, unit, zero) - y) + np.log1p(np.exp(-np.abs(wide))), a - y

    return one


def _gaussian_nll(real):
    """½ Σ (s + (y - μ)² exp(-s)) over half of the outputs, the means μ, with the other half, s. delta = dL/da."""
    value, by_mean, by_log_variance = (
        specialised(formula, real) for formula in (_gaussian, _d_gaussian_by_mean, _d_gaussian_by_log_variance)
    )

    @force_inlined
    def row(z, a, y, delta, weights, n):
        total, half = 0.0, n // 2
        weight = array_at(weights, n, delta)
        for k in range(half):
            mean, log_variance, target, factor = a[k], a[half + k], y[k], real(1)
            if weights != 0:
                measured = target == target
                factor, target = weight[k] if measured else real(0), target if measured else mean
            total += factor * value(mean, log_variance, target)
            delta[k] = factor * by_mean(mean, log_variance, target)
            delta[half + k] = factor * by_log_variance(mean, log_variance, target)
        return total

    return row


@force_inlined
def _hinge(z, a, y, delta, weights, n):
    """Σ_{j≠c} max(0, a_j - a_c + 1), c the right class; a soft y takes the mean over its classes. delta = dL/da."""
    total = 0.0
    for j in range(n):
        delta[j] = 0
    for c in range(n):
        if y[c] == 0:
            continue
        for j in range(n):
            margin = a[j] - a[c] + 1
            if j != c and not margin <= 0:  # so that NaN counts, and comes out as NaN
                total += y[c] * margin
                delta[j] += y[c]
                delta[c] -= y[c]
    return total


ROWWISE = {"hinge": lambda real: _hinge, "gaussian_nll": _gaussian_nll}
_FUSED = {
    ("cross_entropy", "sigmoid"): _cross_entropy_sigmoid,
    ("bce", "sigmoid"): _bce_sigmoid,
}
