"""The functions that the registries' formulas call ``np.…``, for one number, in a form that becomes vector code.

`functions(real)` makes them for one dtype: float32 in, float32 out. exp, expm1, tanh, log and log1p are polynomials
after the usual reductions (J.-M. Muller, Elementary Functions, 3rd ed., chapters 11 and 12) with Taylor coefficients,
which on these short intervals suffice; tests/kernels/test_math.py holds them to 4 units in the last place over the
whole range. erfc, sin and cos are the C library's, one number at a time.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .compiler import OPTIONS
from .decorators import force_inlined

# Error-free steps must stay in order: of the liberties of fastmath only fused multiply-adds.
in_order = njit(
    **{**OPTIONS, "fastmath": {"contract"}}, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
)

_FORMATS = {np.float32: (8, 23), np.float64: (11, 52)}  # bits of exponent and mantissa
_MANY = 100.0  # of two numbers this many powers of two apart, the smaller one does not matter


@intrinsic
def _round(typingctx, x):
    """The nearest integer, as a real."""

    def codegen(context, builder, signature, args):
        function = builder.module.declare_intrinsic("llvm.rint", [args[0].type])
        return builder.call(function, args)

    return x(x), codegen


@intrinsic
def _where(typingctx, condition, p, q):
    """One of two numbers, both computed: a branch would keep loops from becoming vectors."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return p(types.boolean, p, p), codegen


@intrinsic
def _power_of_two(typingctx, n):
    """2ⁿ for an integer n, given as a real, whose power is a normal number."""
    mantissa = 23 if n.bitwidth == 32 else 52

    def codegen(context, builder, signature, args):
        whole = ir.IntType(n.bitwidth)
        bias = whole((1 << (n.bitwidth - mantissa - 2)) - 1)
        exponent = builder.add(builder.fptosi(args[0], whole), bias)
        return builder.bitcast(builder.shl(exponent, whole(mantissa)), args[0].type)

    return n(n), codegen


@intrinsic
def _exponent_from_root(typingctx, x):
    """The integer k, as a real, for which x / 2ᵏ lies in [√½, √2), of a normal positive x."""

    def codegen(context, builder, signature, args):
        whole, mantissa, shift = _above_root(builder, x, args[0])
        exponent = builder.ashr(shift, whole(mantissa))
        return builder.sitofp(exponent, args[0].type)

    return x(x), codegen


@intrinsic
def _mantissa_from_root(typingctx, x):
    """x / 2ᵏ in [√½, √2)."""

    def codegen(context, builder, signature, args):
        whole, mantissa, shift = _above_root(builder, x, args[0])
        kept = builder.and_(shift, whole((1 << mantissa) - 1))
        return builder.bitcast(builder.add(kept, whole(_root_bits(x))), args[0].type)

    return x(x), codegen


def _above_root(builder, x, value):
    whole = ir.IntType(x.bitwidth)
    bits = builder.bitcast(value, whole)
    return whole, 23 if x.bitwidth == 32 else 52, builder.sub(bits, whole(_root_bits(x)))


def _root_bits(x):
    kind, bits = (np.float32, np.int32) if x.bitwidth == 32 else (np.float64, np.int64)
    return int(kind(math.sqrt(0.5)).view(bits))


def _split_ln2(real):
    """ln 2 as a sum: a part with so few bits that its product with an exponent is exact, and the rest."""
    bits = _FORMATS[real][1] - 12
    high = math.floor(math.ldexp(math.log(2), bits)) / 2**bits
    low = (0.6931471805599453 - high) + 2.3190468138462996e-17
    return real(high), real(low)


def _polynomial(real, coefficients):
    """c[0] + c[1] x + …, by Horner's rule, unrolled."""
    coefficients = [real(c) for c in coefficients]
    last = coefficients[-1]
    function = in_order(lambda x: last)
    for c in reversed(coefficients[:-1]):
        function = _horner(function, c)
    return function


def _horner(rest, c):
    return in_order(lambda x: rest(x) * x + c)


@force_inlined
def maximum(p, q):
    return _where(p > q, p, q)


@force_inlined
def minimum(p, q):
    return _where(p < q, p, q)


@force_inlined
def absolute(z):
    return math.fabs(z)


@functools.cache
def functions(real):
    """The namespace that stands for ``np`` in formulas of that dtype."""
    zero, one = real(0), real(1)
    exp, expm1, tanh = _exponentials(real)
    log, log1p = _logarithms(real)

    @force_inlined
    def sign(z):
        return _where(z == zero, zero, _where(z > zero, one, -one))

    namespace = ModuleType("np")  # a module, because Numba looks up attributes of nothing else
    for name, function in {
        "exp": exp, "expm1": expm1, "tanh": tanh, "log": log, "log1p": log1p, "abs": absolute, "maximum": maximum,
        "minimum": minimum, "where": _where, "sign": sign, "sin": _from_libm(math.sin), "cos": _from_libm(math.cos),
        "sqrt": _from_libm(math.sqrt),
    }.items():  # fmt: skip
        setattr(namespace, name, function)
    return namespace


def _exponentials(real):
    """exp, expm1 and tanh of one dtype."""
    single = real is np.float32
    one, two, half, zero = real(1), real(2), real(0.5), real(0)
    log2_e = real(1 / math.log(2))
    ln2_high, ln2_low = _split_ln2(real)
    underflow = real(-104.0 if single else -746.0)
    overflow = real(89.0 if single else 710.0)
    minus_one = real(-18.0 if single else -38.0)  # below, expm1 is -1
    # exp(r) - 1 = r + r² p(r) for |r| <= ln 2 / 2
    exp_polynomial = _polynomial(real, [1 / math.factorial(k) for k in range(2, 8 if single else 14)])
    # tanh(z) = z + z³ t(z²) for |z| <= 1/4, from the Bernoulli numbers
    tanh_polynomial = _polynomial(real, _tanh_coefficients(5 if single else 10))
    near, many = real(0.25), real(_MANY)

    @in_order
    def reduced(c):
        """exp(r) - 1 and n, where c = n ln 2 + r."""
        n = _round(c * log2_e)
        r = (c - n * ln2_high) - n * ln2_low
        return r + r * r * exp_polynomial(r), n

    @in_order
    def exp(z):
        c = _where(z > underflow, z, underflow)  # NaN too: the last line gives it back
        p, n = reduced(_where(c < overflow, c, overflow))
        first = _round(n * half)
        return _where(z != z, z, (one + p) * _power_of_two(first) * _power_of_two(n - first))

    @in_order
    def expm1(z):
        c = _where(z > minus_one, z, minus_one)
        p, n = reduced(_where(c < overflow, c, overflow))
        first = _round(n * half)
        y = (p + (one - _power_of_two(-minimum(n, many)))) * _power_of_two(first) * _power_of_two(n - first)
        return _where((z != z) | (z == zero), z, y)

    @in_order
    def tanh(z):
        a = absolute(z)
        e = exp(-two * a)
        far = (one - e) * (one / (one + e))
        square = minimum(z * z, one)  # only squares below 1/16 matter
        close = a + a * square * tanh_polynomial(square)
        y = _where(a > near, far, close)
        return _where(z < zero, -y, _where(z == zero, z, y))

    return exp, expm1, tanh


def _logarithms(real):
    """log and log1p of one dtype."""
    single = real is np.float32
    one, two, half, zero = real(1), real(2), real(0.5), real(0)
    ln2_high, ln2_low = _split_ln2(real)
    bits = _FORMATS[real][1]
    tiny, infinity, many = real(np.finfo(real).tiny), real(math.inf), real(_MANY)
    lifted, lift = real(bits), real(2.0**bits)  # to make subnormal numbers normal
    # 2 atanh(s) = 2 s + s³ q(s²) for |s| <= (√2 - 1) / (√2 + 1)
    log_polynomial = _polynomial(real, [2 / k for k in range(3, 11 if single else 23, 2)])

    @in_order
    def log_of(m, rest, k):
        """log((m + rest) 2ᵏ), the rest a rounding error of m."""
        f = m - one
        s = f / (two + f)
        q = s * s
        # log(1 + f) = f - (f²/2 - s (f²/2 + q(s²))): f, the largest term, is rounded last
        h = half * f * f
        tail = s * (h + q * log_polynomial(q)) + (rest / m + k * ln2_low)
        return k * ln2_high - ((h - tail) - f)

    @in_order
    def limits_of_log(u, y):
        """y, the logarithm of u, but where u is not a positive finite number."""
        y = _where(u > zero, y, _where(u == zero, -infinity, infinity - infinity))
        return _where((u == infinity) | (u != u), u, y)

    @in_order
    def log(z):
        small = z < tiny
        scaled = _where(small, z * lift, z)
        k = _exponent_from_root(scaled) - _where(small, lifted, zero)
        return limits_of_log(z, log_of(_mantissa_from_root(scaled), zero, k))

    @in_order
    def log1p(z):
        u = one + z
        safe = _where((u > tiny) & (u < infinity), u, one)
        k = _exponent_from_root(safe)
        error = _where(z < one, z - (u - one), one - (u - z))
        error = error * _power_of_two(-minimum(k, many))
        y = limits_of_log(u, log_of(_mantissa_from_root(safe), error, k))
        return _where(z == zero, z, y)

    return log, log1p


def _from_libm(function):
    return force_inlined(lambda z: function(z))


def _tanh_coefficients(count):
    """t₀, t₁, … of tanh(z) = z + z³ (t₀ + t₁ z² + …), from tanh' = 1 - tanh²."""
    series = [1.0]  # of z, z³, z⁵, …
    for n in range(1, count + 1):
        square = sum(series[i] * series[n - 1 - i] for i in range(n))
        series.append(-square / (2 * n + 1))
    return series[1:]
