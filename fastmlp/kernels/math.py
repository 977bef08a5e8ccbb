"""The functions that the tables' formulas call ``np.…``, for one number, under Numba.

Each gives the type it was given: float32 in, float32 out.
"""

from __future__ import annotations

import math

from .decorators import inner


@inner
def exp(z):
    return math.exp(z)


@inner
def expm1(z):
    return math.expm1(z)


@inner
def log(z):
    return math.log(z)


@inner
def log1p(z):
    return math.log1p(z)


@inner
def tanh(z):
    return math.tanh(z)


@inner
def sin(z):
    return math.sin(z)


@inner
def cos(z):
    return math.cos(z)


@inner
def erfc(z):
    return math.erfc(z)


@inner
def abs(z):
    return math.fabs(z)


@inner
def maximum(p, q):
    return p if p > q else q


@inner
def minimum(p, q):
    return p if p < q else q


@inner
def where(condition, p, q):
    return p if condition else q


@inner
def sign(z):
    return z if z == 0 else z / math.fabs(z)
