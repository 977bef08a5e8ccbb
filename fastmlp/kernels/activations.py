"""The activations' rows functions: they write f(z) and f'(z), or f''(z), or f'''(z), of rows of z, by the
formulas of ../activations.py.

Each is compiled separately when a network first needs it, so that only what is used is compiled, and a user's function
is treated like a built-in one. z, a and d are (rows, stride), of which n columns are numbers and the others padding.
"""

from __future__ import annotations

import numpy as np

from ..activations import ACTIVATIONS
from .cpu import vector_bytes
from .decorators import array_at, force_inlined
from .formulas import specialised
from .math import FAR, absolute, functions
from .vectors import clear_behind, gather_narrow, largest, spread_narrow, wide_vectors


def build(name: str, dtype: str):
    """The Python function to compile for "activation.relu", "higher_derivative.2.tanh" or "softmax_backward"."""
    real = np.dtype(dtype).type
    if name in _OF_SOFTMAX:
        return _OF_SOFTMAX[name](real)
    _, *order, activation_name = name.split(".")
    activation = ACTIVATIONS[activation_name]
    if order:
        return _derivatives(activation.formula(int(order[0])), activation.slope is not None, real)
    if not activation.elementwise:
        return _softmax_rows(real)
    formulas = activation.function, activation.derivative_function
    if _has_angles(*formulas):
        return _rows_of_angles(formulas, real)
    return _whole_rows(*(specialised(formula, real) for formula in formulas), activation.slope is not None, real)


def _has_angles(*formulas):
    """Whether formulas have sines and cosines, which see to far numbers one by one."""
    return any({"sin", "cos"} & {*formula.__code__.co_names} for formula in formulas)


def _whole_rows(function, derivative, has_slope, real):
    """Write a = f(z), and d = f'(z) where d is not null, for rows of whole vectors; the padding of a becomes 0."""
    lanes = vector_bytes() // real(0).itemsize
    if has_slope:
        with_slope, derivative_with_slope = function, derivative
    else:
        with_slope = force_inlined(lambda z, slope: function(z))
        derivative_with_slope = force_inlined(lambda z, slope: derivative(z))

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


def _rows_of_angles(formulas, real):
    """Write a = f(z), and d = f'(z) where d is not null, by formulas with sines and cosines; a's padding becomes 0.

    All z are first taken for near ones, in vectors; then those that are not are done again, one by one: for 512 columns
    this takes 0.17 to 0.35 of the time of the C library's sine, which a loop calls for every z.
    """
    near_formulas = (specialised(formula, real, near=True) for formula in formulas)
    near_rows = force_inlined(_whole_rows(*near_formulas, False, real))
    function, derivative = (specialised(formula, real) for formula in formulas)
    far = real(FAR)

    def rows_of(z, a, d, rows, n, stride, slope):
        wide_vectors()
        near_rows(z, a, d, rows, n, stride, slope)
        z = array_at(z, (rows, stride), z)
        a = array_at(a, (rows, stride), a)
        for r in range(rows):
            n_far = 0
            for k in range(n):
                n_far += absolute(z[r, k]) > far
            if n_far > 0:
                for k in range(n):
                    if absolute(z[r, k]) > far:
                        a[r, k] = function(z[r, k])
                        if d != 0:
                            array_at(d, (rows, stride), a)[r, k] = derivative(z[r, k])
        return 0.0

    return rows_of


def activation_rows(function, derivative):
    """Write a = f(z), and d = f'(z) where d is not null, for rows of n numbers, by a user's functions: they never see
    the padding."""

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


def _derivatives(formula, has_slope, real):
    """Write f''(z) or f'''(z), by its formula, over z, for rows of whole vectors; its padding becomes 0."""
    lanes, far, angles = vector_bytes() // real(0).itemsize, real(FAR), _has_angles(formula)
    anywhere, near = (specialised(formula, real, near=near) for near in (False, angles))
    near_with_slope = near if has_slope else force_inlined(lambda z, slope: near(z))

    def rows_of(z, rows, n, stride, slope):
        wide_vectors()
        slope = real(slope)
        columns = stride // lanes * lanes
        z = array_at(z, (rows, stride), z)
        for r in range(rows):
            if angles:
                n_far = 0
                for k in range(n):
                    n_far += absolute(z[r, k]) > far
                if n_far > 0:
                    for k in range(n):
                        z[r, k] = anywhere(z[r, k])
                    continue
            for k in range(columns):
                z[r, k] = near_with_slope(z[r, k], slope)
            clear_behind(real, z.ctypes.data + r * stride * z.itemsize, n, stride // lanes)
        return 0.0

    return rows_of


def derivative_rows(function):
    """Write f''(z) or f'''(z) over z, for rows of n numbers, by a user's function."""

    def rows_of(z, rows, n, stride, slope):
        z = array_at(z, (rows, stride), z)
        for r in range(rows):
            for k in range(n):
                z[r, k] = function(z[r, k])
        return 0.0

    return rows_of


def _softmax_rows(real):
    """Write a = softmax(z), row by row, and no d: its derivative is a matrix, which `_softmax_backward` applies.

    Rows of a few numbers share vectors meanwhile: with up to four it takes less than half the time.
    """
    softmax, exp = softmax_of(real), exp_without_padding(real)
    itemsize, (width, height) = real(0).itemsize, sharing_rows(real)
    lanes = width * height

    def rows_of(z, a, d, rows, n, stride, slope):
        wide_vectors()
        if n <= width:
            groups, row = (rows + height - 1) // height, stride * itemsize
            few = array_at(a, groups * lanes, a)
            gather_narrow(width, real, groups, rows, n, array_at(z, 1, z).ctypes.data, row, few.ctypes.data)
            for k in range(groups * lanes):
                few[k] = exp(few[k])
            spread_narrow(width, real, groups, rows, few.ctypes.data, row)
            return 0.0
        z = array_at(z, (rows, stride), z)
        a = array_at(a, (rows, stride), a)
        for r in range(rows):
            softmax(z[r], a[r], n)
        return 0.0

    return rows_of


def exp_without_padding(real):
    """exp where minus infinity, which stands behind rows that share vectors, gives 0 without passing by subnormal
    numbers: on an Emerald Rapids core these took half of the time of rows of two."""
    np, zero, lowest = functions(real), real(0), real("-inf")
    return force_inlined(lambda z: np.where(z == lowest, zero, np.exp(np.where(z == lowest, zero, z))))


def sharing_rows(real):
    """The largest length of rows that share vectors, and how many of them share one."""
    lanes = vector_bytes() // real(0).itemsize
    width = min(4, lanes // 2)
    return width, lanes // width


def _softmax_backward(real):
    """Write delta = Jᵀ delta for each row, where J = diag(a) - a aᵀ is the Jacobian of a softmax."""

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


def _softmax_tangent(real):
    """Write delta = Jᵀ delta + dJᵀ da for rows of one sample, where J = diag(a) - a aᵀ, and dJ is how it changes when a
    changes by a row of ``moved``: how the way back of da through a softmax changes, when da itself changes by delta.

    a and da are (n,), moved and delta (rows, stride).
    """

    def rows_of(a, moved, da, delta, rows, n, stride):
        a, da = array_at(a, n, real), array_at(da, n, real)
        moved = array_at(moved, (rows, stride), real)
        delta = array_at(delta, (rows, stride), real)
        mean = real(0)
        for j in range(n):
            mean += a[j] * da[j]
        for r in range(rows):
            change = real(0)
            for j in range(n):
                change += moved[r, j] * da[j] + a[j] * delta[r, j]
            for j in range(n):
                delta[r, j] = moved[r, j] * (da[j] - mean) + a[j] * (delta[r, j] - change)
        return 0.0

    return rows_of


_OF_SOFTMAX = {"softmax_backward": _softmax_backward, "softmax_tangent": _softmax_tangent}


def softmax_of(real):
    """Write softmax of a row's first n numbers to a, then zeros; return the largest z and the sum of exp(z -
    largest)."""
    np = functions(real)
    lanes = vector_bytes() // real(0).itemsize

    @force_inlined
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
