"""The functions that the registries' formulas call ``np.…``, for one number, in a form that becomes vector code.

`functions(real)` makes them for one dtype: float32 in, float32 out. exp, expm1, tanh, log and log1p are polynomials
after the usual reductions (J.-M. Muller, Elementary Functions, 3rd ed., chapters 11 and 12) with Taylor coefficients,
which on these short intervals suffice; so are sin and cos. normal_cdf and normal_density are the normal distribution's.
tests/kernels/test_math.py holds all of them to 4 units in the last place over the whole range. Nothing here is the C
library's, which is another one on other systems and rounds otherwise; nor may a kernel call it (compiler.py).
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
from .emitter import llvm_function

# Error-free steps must stay in order: of the liberties of fastmath only fused multiply-adds.
in_order = njit(
    **{**OPTIONS, "fastmath": {"contract"}}, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
)

_FORMATS = {np.float32: (8, 23), np.float64: (11, 52)}  # bits of exponent and mantissa
_FORMATS_BY_BITS = {32: _FORMATS[np.float32], 64: _FORMATS[np.float64]}
_SHIFT = {real: real(1.5 * 2.0**mantissa) for real, (_, mantissa) in _FORMATS.items()}  # + c: c's nearest integer, last
_MANY = 100.0  # of two numbers this many powers of two apart, the smaller one does not matter


def _instruction(name):
    """The LLVM intrinsic of one real that is an instruction on every processor, with no liberties."""

    @intrinsic
    def instruction(typingctx, x):
        def codegen(context, builder, signature, args):
            return builder.call(builder.module.declare_intrinsic(name, [args[0].type]), args)

        return x(x), codegen

    return instruction


_round = _instruction("llvm.rint")  # to the nearest integer
square_root = _instruction("llvm.sqrt")  # math.sqrt would call the C library's for numbers below 0


@intrinsic
def _where(typingctx, condition, p, q):
    """One of two numbers, both computed: a branch would keep loops from becoming vectors."""

    def codegen(context, builder, signature, args):
        return builder.select(*args)

    return p(types.boolean, p, p), codegen


@intrinsic
def _power_of_two(typingctx, shifted):
    """2ⁿ, a normal number, of ``shifted`` = n + _SHIFT, whose last bits are n: no conversion to an integer, which for
    NaN would be anything, and which float64 has in vectors of AVX-512 only. Of NaN it is some number."""
    mantissa = _FORMATS_BY_BITS[shifted.bitwidth][1]

    def codegen(context, builder, signature, args):
        whole = ir.IntType(shifted.bitwidth)
        exponent = builder.shl(builder.bitcast(args[0], whole), whole(mantissa))
        return builder.bitcast(builder.add(exponent, whole(_bits_of_one(shifted))), args[0].type)

    return shifted(shifted), codegen


@intrinsic
def _two_powers(typingctx, shifted):
    """2ᵏ and 2ⁿ⁻ᵏ, k the half of n, of ``shifted`` = n + _SHIFT: 2ⁿ alone may be no normal number."""
    mantissa = _FORMATS_BY_BITS[shifted.bitwidth][1]

    def codegen(context, builder, signature, args):
        whole = ir.IntType(shifted.bitwidth)
        bits = builder.bitcast(args[0], whole)
        half = builder.lshr(bits, whole(1))  # half of _SHIFT's bits has zeros, too, where n stands
        powers = [
            builder.add(builder.shl(part, whole(mantissa)), whole(_bits_of_one(shifted)))
            for part in (half, builder.sub(bits, half))
        ]
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(p, args[0].type) for p in powers])

    return types.UniTuple(shifted, 2)(shifted), codegen


def _bits_of_one(x):
    exponent, mantissa = _FORMATS_BY_BITS[x.bitwidth]
    return ((1 << (exponent - 1)) - 1) << mantissa


@intrinsic
def _copy_sign(typingctx, size, sign):
    """``size``, not below zero, with the sign of ``sign``."""

    def codegen(context, builder, signature, args):
        kind = args[0].type
        return builder.call(llvm_function(builder, f"llvm.copysign.f{size.bitwidth}", kind, [kind] * 2), args)

    return size(size, sign), codegen


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


@intrinsic
def _upper_half(typingctx, x):
    """x without the lower half of its bits of mantissa: its square is exact."""
    lost = 12 if x.bitwidth == 32 else 27

    def codegen(context, builder, signature, args):
        whole = ir.IntType(x.bitwidth)
        bits = builder.bitcast(args[0], whole)
        return builder.bitcast(builder.and_(bits, whole(-1 << lost)), args[0].type)

    return x(x), codegen


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
def functions(real, near=False):
    """The namespace that stands for ``np`` in formulas of that dtype.

    sin and cos of numbers beyond FAR keep a loop from becoming vector code; if ``near``, they are wrong there instead.
    """
    zero, one = real(0), real(1)
    exp, expm1, tanh = _exponentials(real)
    log, log1p = _logarithms(real)
    normal_cdf, normal_density = _normal_distribution(real)
    sin, cos = _sine_and_cosine(real, near)

    @force_inlined
    def sign(z):
        return _where(z == zero, zero, _where(z > zero, one, -one))

    namespace = ModuleType("np")  # a module, because Numba looks up attributes of nothing else
    for name, function in {
        "exp": exp, "expm1": expm1, "tanh": tanh, "log": log, "log1p": log1p, "abs": absolute, "maximum": maximum,
        "minimum": minimum, "where": _where, "sign": sign, "sin": sin, "cos": cos, "sqrt": square_root,
        "normal_cdf": normal_cdf, "normal_density": normal_density,
    }.items():  # fmt: skip
        setattr(namespace, name, function)
    return namespace


@functools.cache
def _parts_of_exp(real):
    """What exponentials of one dtype are made of: exp(c) = (1 + expm1_near(r)) 2ⁿ, where c = n ln 2 + r."""
    single = real is np.float32
    log2_e, shift = real(1 / math.log(2)), _SHIFT[real]
    ln2_high, ln2_low = _split_ln2(real)
    # exp(r) - 1 = r + r² p(r) for |r| <= ln 2 / 2
    polynomial = _polynomial(real, [1 / math.factorial(k) for k in range(2, 8 if single else 14)])

    @in_order
    def reduced(c):
        """r, and n + shift, in whose last bits n is."""
        shifted = c * log2_e + shift
        n = shifted - shift
        return (c - n * ln2_high) - n * ln2_low, shifted

    @in_order
    def expm1_near(r):
        return r + r * r * polynomial(r)

    @in_order
    def scaled(y, shifted):
        """y 2ⁿ."""
        first, second = _two_powers(shifted)
        return y * first * second

    return reduced, expm1_near, scaled


def _exponentials(real):
    """exp, expm1 and tanh of one dtype. Comparisons are such that NaN passes all of them."""
    single = real is np.float32
    one, two, zero = real(1), real(2), real(0)
    underflow = real(-104.0 if single else -746.0)
    overflow = real(89.0 if single else 710.0)
    minus_one = real(-18.0 if single else -38.0)  # below, expm1 is -1
    reduced, expm1_near, scaled = _parts_of_exp(real)
    shift, many = _SHIFT[real], real(_MANY)

    @in_order
    def limited(z, least):
        c = _where(z < least, least, z)
        return _where(c > overflow, overflow, c)

    @in_order
    def exp(z):
        r, shifted = reduced(limited(z, underflow))
        return scaled(one + expm1_near(r), shifted)

    @in_order
    def expm1(z):
        r, shifted = reduced(limited(z, minus_one))
        inverse = _power_of_two(shift - minimum(shifted - shift, many))
        y = scaled(expm1_near(r) + (one - inverse), shifted)
        return _where(z == zero, z, y)

    @in_order
    def tanh(z):
        """(1 - e) / (1 + e) of e = exp(-2 |z|); 1 - e as what is small when e is not, with e's own r and n."""
        c = -two * absolute(z)
        r, shifted = reduced(limited(c, underflow))
        first, second = _two_powers(shifted)
        power = first * second
        below_zero = expm1_near(r) * power + (power - one)  # exp(c) - 1
        return _copy_sign(-below_zero * (one / (one + exp(c))), z)

    return exp, expm1, tanh


# exp(a²/2) Φ(-a) (a + 4) as a polynomial in t = (a - 4) / (a + 4), the lowest power first: interpolation at Chebyshev's
# nodes of 0 <= a <= 15 or 39, as far as float32 and float64 reach. In this t, after M. M. Shepherd and J. G.
# Laframboise (Mathematics of Computation 36, 1981), one polynomial does for all a. tests/kernels/test_math.py makes the
# numbers anew.
NORMAL_TAIL = {
    np.float32: (15.0, [
        0.75528514, -0.60789657, 0.3871367, -0.1865233, 0.060406186, -0.0075254026, -0.0035209728, 0.0015668817,
        0.00018899652, -0.00012555839,
    ]),
    np.float64: (39.0, [
        0.7552851304157515, -0.6078966419718917, 0.38713740074221886, -0.18652185795969417, 0.06039657489069947,
        -0.007540188965593059, -0.0034796923622425332, 0.0016308184418903596, 0.00013334425401904912,
        -0.0002310948183193762, -1.9078665316613576e-06, 3.5144181157760973e-05, 7.150055959216099e-07,
        -5.918892731763236e-06, -6.25132104047868e-07, 1.0198048518135172e-06, 2.6368248576407624e-07,
        -1.5426320536771075e-07, -7.63808205349045e-08, 1.457859334703646e-08, 1.392402399350171e-08,
        7.26954547902669e-11, -9.653425420228504e-10,
    ]),
}  # fmt: skip


def _normal_distribution(real):
    """Φ(z), the share of a normal distribution that lies below z, and its density φ(z), of one dtype."""
    one, two, half, zero, pole = real(1), real(2), real(0.5), real(0), real(4)
    peak = real(1 / math.sqrt(2 * math.pi))
    beyond, coefficients = NORMAL_TAIL[real]
    beyond, polynomial = real(beyond), _polynomial(real, coefficients)
    reduced, expm1_near, scaled = _parts_of_exp(real)

    @in_order
    def exp_of_half_square(a):
        """exp(-a²/2) as y 2ⁿ. The part of a² that rounding would lose goes into the exponent's rest."""
        upper = _upper_half(a)
        r, n = reduced(-half * upper * upper)
        return one + expm1_near(r - half * (a - upper) * (a + upper)), n

    @in_order
    def normal_cdf(z):
        a = minimum(absolute(z), beyond)
        y, n = exp_of_half_square(a)
        w = one / (a + pole)
        tail = scaled(y * w * polynomial(two * (a * w) - one), n)
        return _where(z != z, z, _where(z > zero, one - tail, tail))

    @in_order
    def normal_density(z):
        y, n = exp_of_half_square(minimum(absolute(z), beyond))
        return _where(z != z, z, scaled(y * peak, n))

    return normal_cdf, normal_density


def _logarithms(real):
    """log and log1p of one dtype."""
    single = real is np.float32
    one, two, half, zero = real(1), real(2), real(0.5), real(0)
    ln2_high, ln2_low = _split_ln2(real)
    bits = _FORMATS[real][1]
    tiny, infinity, many, shift = real(np.finfo(real).tiny), real(math.inf), real(_MANY), _SHIFT[real]
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
        error = error * _power_of_two(shift - minimum(k, many))
        y = limits_of_log(u, log_of(_mantissa_from_root(safe), error, k))
        return _where(z == zero, z, y)

    return log, log1p


FAR = 2.0**26  # angles beyond are reduced by the functions of _far
_PER_HALF_PI = 2 / math.pi


def _sine_and_cosine(real, near):
    """sin and cos of one dtype; if ``near``, of numbers up to FAR."""
    single = real is np.float32
    one, zero, half = real(1), real(0), real(0.5)
    # sin(r) = r + r³ s(r²), cos(r) = 1 - (r²/2 - r⁴ c(r²)) for |r| <= π/4
    sine, cosine = (
        _polynomial(real, [(-1) ** (k // 2) / math.factorial(k) for k in range(first, 11 if single else 18, 2)])
        for first in (3, 4)
    )
    reduced = _reduced_for_float32() if single else _reduced()

    @in_order
    def around(z):
        """sin(r), cos(r) and k from -2 to 2, where z = k π/2 + r but for whole turns."""
        wide = np.float64(z)
        n, r = reduced(wide)
        if not near and FAR < absolute(wide) < math.inf:
            n, r = _far_n(wide), _far_r(wide)
        k, r = real(n - 4.0 * _round(n * 0.25)), real(r)
        q = r * r
        return r + r * q * sine(q), one - (half * q - q * q * cosine(q)), k

    @in_order
    def sin(z):
        s, c, k = around(z)
        y = _where(absolute(k) == one, c, s)
        return _where(z == zero, z, _where((absolute(k) > one) | (k == -one), -y, y))

    @in_order
    def cos(z):
        s, c, k = around(z)
        y = _where(absolute(k) == one, s, c)
        return _where((absolute(k) > one) | (k == one), -y, y)

    return sin, cos


def _reduced():
    """The function that finds n and r of z = n π/2 + r, |r| <= π/4, for z up to FAR: by W. J. Cody and W. Waite's
    reduction (Muller, chapter 11), with what its subtractions round carried along.
    """
    first, second, third, last = _parts_of_half_pi(3)

    @in_order
    def difference(p, q):
        """p - q, and what it was rounded by (D. E. Knuth, The Art of Computer Programming, 4.2.2, theorem B)."""
        s = p - q
        v = s - p
        return s, (p - (s - v)) - (q + v)

    @in_order
    def reduced(z):
        n = _round(z * _PER_HALF_PI)
        r, lost = difference(z - n * first, n * second)
        r, lost_too = difference(r, n * third)
        return n, r + ((lost + lost_too) - n * last)

    return reduced


def _reduced_for_float32():
    """What `_reduced` is, with an r that is right to float32's digits."""
    first, last = _parts_of_half_pi(1)

    @in_order
    def reduced(z):
        n = _round(z * _PER_HALF_PI)
        return n, (z - n * first) - n * last

    return reduced


def _parts_of_half_pi(count):
    """π/2 as a sum: ``count`` parts of 27 bits, whose products with an n below 2²⁶ are exact, and the rest."""
    rest, unit = _pi(200), 1 << 201
    parts = []
    for k in range(count):
        place = unit >> (27 * k + 26)
        parts.append(rest // place * place / unit)
        rest %= place
    return *parts, rest / unit


def _pi(bits):
    """π 2^bits as an integer, by Machin's formula π/4 = 4 arctan 1/5 - arctan 1/239."""
    unit = 4 << (bits + 64)
    terms = range(1, bits, 2)
    return sum((2 - k % 4) * (4 * unit // (k * 5**k) - unit // (k * 239**k)) for k in terms) >> 64


def _far(wanted):
    """An intrinsic: n modulo 4, or r, of a z = n π/2 + r beyond FAR, after Payne and Hanek (Muller, chapter 11)."""

    @intrinsic
    def far(typingctx, z):
        def codegen(context, builder, signature, args):
            return builder.call(_far_function(builder.module, wanted), args)

        return types.float64(types.float64), codegen

    return far


_far_n, _far_r = _far("n"), _far("r")


def _far_function(module, wanted):
    """The function that `_far` calls. The 53 bits of z's mantissa times 192 bits of 2/π are z 2/π modulo 4, in units of
    2⁻¹⁹⁰: bits in front of these would add multiples of 4, those behind less than the last digit of any r.
    """
    name = f"fastmlp.far_{wanted}"
    if name in module.globals:
        return module.globals[name]
    double, word, wide = ir.DoubleType(), ir.IntType(64), ir.IntType(192)
    function = ir.Function(module, ir.FunctionType(double, [double]), name)
    function.linkage = "internal"
    for attribute in ("noinline", "nounwind", "readnone"):
        function.attributes.add(attribute)
    builder = ir.IRBuilder(function.append_basic_block())
    bits = builder.bitcast(function.args[0], word)
    exponent = builder.and_(builder.lshr(bits, word(52)), word(2047))
    mantissa = builder.or_(builder.and_(bits, word((1 << 52) - 1)), word(1 << 52))
    product = builder.mul(builder.zext(mantissa, wide), _window(builder, exponent, wide))
    n = builder.lshr(builder.add(product, wide(1 << 189)), wide(190))
    if wanted == "n":
        result = builder.uitofp(builder.trunc(n, word), double)
    else:
        rest = builder.sub(product, builder.shl(n, wide(190)))
        below = builder.icmp_signed("<", rest, wide(0))
        size = builder.select(below, builder.neg(rest), rest)
        high, low = (builder.uitofp(builder.trunc(builder.lshr(size, wide(k)), word), double) for k in (128, 64))
        size = builder.fadd(builder.fmul(high, double(2.0**64)), low)
        size = builder.fmul(size, double(math.pi / 2 * 2.0**-126))
        result = builder.select(below, builder.fneg(size), size)
    negative = builder.icmp_signed("<", bits, word(0))
    builder.ret(builder.select(negative, builder.fneg(result), result))
    return function


def _window(builder, exponent, wide):
    """The 192 bits of 2/π of which the first, times the last bit of z's mantissa, has the value 2."""
    count, zeros = 1344, 128  # bits kept, and those in front that are no digits
    digits = (1 << (2 * count - zeros + 1)) // _pi(count)
    word, bytes_of_digits = exponent.type, ir.ArrayType(ir.IntType(8), count // 8)
    table = ir.GlobalVariable(builder.module, bytes_of_digits, builder.module.get_unique_name("two_over_pi"))
    table.global_constant, table.linkage = True, "internal"
    table.initializer = bytes_of_digits(bytearray(digits.to_bytes(count // 8, "little")))
    shift = builder.sub(word(count - 192 - zeros + 1077), exponent)
    place = builder.gep(table, [word(0), builder.lshr(shift, word(3))])
    more = ir.IntType(256)
    found = builder.load(builder.bitcast(place, more.as_pointer()), align=1)
    return builder.trunc(builder.lshr(found, builder.zext(builder.and_(shift, word(7)), more)), wide)
