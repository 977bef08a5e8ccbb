"""NumPy's random numbers, bit for bit, for many seeds in one call: a Generator costs 8 µs to make.

SeedSequence, PCG64 (O'Neill 2014: a 128-bit linear congruential generator whose output is the xor of its halves,
rotated), shuffles (Fisher and Yates) and normal numbers by the ziggurat (Doornik 2005)
are NumPy's public algorithms. engine/random.py holds what they make against NumPy itself before it uses it.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .compiler import OPTIONS
from .decorators import array_at, force_inlined, record_at
from .emitter import INT64, llvm_function
from .layout import DRAW, STREAM, ZIGGURAT
from .math import functions

# NumPy's floats are compiled without any liberties.
_exactly = njit(**{**OPTIONS, "fastmath": False}, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)

_WORD = np.uint64(0xFFFFFFFF)
_INIT_A, _MULT_A = np.uint64(0x43B0D7E5), np.uint64(0x931E8875)
_INIT_B, _MULT_B = np.uint64(0x8B51F9DD), np.uint64(0x58F38DED)
_MIX_L, _MIX_R = np.uint64(0xCA01F9DD), np.uint64(0x4973F715)
_POOL = 4  # words
_PCG64 = 0x2360ED051FC65DA44385DF649FCCF645
_STREAM_BYTES, _DRAW_BYTES = STREAM.itemsize, DRAW.itemsize
_STEPS = 256  # of the ziggurat
_NEAR = np.int64(1 << 10)  # of 2⁵²: closer to a step's edge than this, NumPy decides
_CLOSE = 1e-12  # and so it does where a height is this close to the density


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    real = np.dtype(dtype).type
    return {"streams": _streams, "orders": _orders, "draws": _draws}[name](real)


def _streams(real):
    """Begin the STREAM records of ``count`` seeds: PCG64 of SeedSequence(seed), or where ``second``, of
    SeedSequence([seed, 1]).

    ``words`` are (count, width) uint32, the seeds' words from the lowest; seed i has ``lengths[i]`` of them, int64.
    """

    def streams(words, width, lengths, count, second, streams):
        words = array_at(words, (count, width), np.uint32)
        lengths = array_at(lengths, count, np.int64)
        for i in range(count):
            _begin(streams + i * _STREAM_BYTES, words[i], lengths[i], second)
        return 0.0

    return streams


def _orders(real):
    """Write ``epochs`` permutations, as Generator.permutation(rows) draws them one after another, for each of ``count``
    streams: ``orders`` is (count, epochs, n) int64, ``stride`` bytes from one stream's to the next's; rows are
    (count, n), or (n,) for all where ``row_stride``, in numbers, is 0."""

    def orders(streams, count, rows, row_stride, n, epochs, orders, stride):
        for i in range(count):
            stream = streams + i * _STREAM_BYTES
            own = array_at(rows + i * row_stride * 8, n, np.int64)
            for e in range(epochs):
                order = array_at(orders + i * stride + e * n * 8, n, np.int64)
                for k in range(n):
                    order[k] = own[k]
                _shuffle(stream, order)
        return 0.0

    return orders


def _draws(real):
    """Draw the parameters of ``count`` networks, each from its own stream, as the ``n_draws`` DRAW records say;
    network i's begin ``stride`` bytes after those of network i - 1.

    ``certain`` gets 1 for each network, int64, or 0 where the last bit of a C library might matter: then NumPy is to
    draw it. ``fused`` says whether NumPy's compiler fused multiplication and addition, as it does on ARM.
    """
    exp = functions(np.float64).exp

    @_exactly
    def normal(stream, ziggurat):
        """A standard normal number, and whether it is certainly NumPy's."""
        w = array_at(ziggurat.widths, _STEPS, np.float64)
        inner = array_at(ziggurat.inner, _STEPS, np.int64)
        heights = array_at(ziggurat.heights, _STEPS, np.float64)
        while True:
            bits = _next_bits(stream)
            step = np.int64(bits & np.uint64(0xFF))
            distance = np.int64((bits >> np.uint64(9)) & np.uint64(0xFFFFFFFFFFFFF))
            x = np.float64(distance) * w[step]
            if bits & np.uint64(0x100):
                x = -x
            if distance < inner[step] - _NEAR:
                return x, True
            if step == 0 or distance < inner[step] + _NEAR:  # step 0: in the tail, 0.03 % of all numbers
                return x, False
            height = (heights[step - 1] - heights[step]) * _next_double(stream) + heights[step]
            density = exp(-0.5 * x * x)
            if height < density - _CLOSE:
                return x, True
            if height < density + _CLOSE:
                return x, False

    @_exactly
    def uniform(stream, low, scale, fused):
        u = _next_double(stream)
        return _multiply_add(scale, u, low) if fused else low + scale * u

    def draws(streams, count, draws, n_draws, params, stride, ziggurat, fused, certain):
        tables = record_at(ziggurat, ZIGGURAT)
        certain = array_at(certain, count, np.int64)
        for i in range(count):
            stream = streams + i * _STREAM_BYTES
            all_certain = True
            for d in range(n_draws):
                draw = record_at(draws + d * _DRAW_BYTES, DRAW)
                row = params + i * stride + draw.at
                for r in range(draw.rows):
                    for c in range(draw.columns):
                        if draw.normal:
                            number, is_certain = normal(stream, tables)
                            number = number * draw.scale
                            all_certain = all_certain and is_certain
                        else:
                            number = uniform(stream, draw.low, draw.scale, fused)
                        array_at(row + r * draw.row + c * draw.column, 1, real)[0] = real(number)
            certain[i] = 1 if all_certain else 0
        return 0.0

    return draws


@force_inlined
def _begin(stream, words, length, second):
    """Seed a stream. The pool of the entropy's hashes lies where the stream's state will."""
    pool = array_at(stream, _POOL, np.uint64)
    n = length + 1 if second else length
    constant = _INIT_A
    for i in range(_POOL):
        word = np.uint64(words[i]) if i < length else np.uint64(i < n)
        constant, pool[i] = _hashed(word, constant, _MULT_A)
    for source in range(max(_POOL, n)):
        for target in range(_POOL):
            if source != target:
                word = pool[source] if source < _POOL else np.uint64(words[source]) if source < length else np.uint64(1)
                constant, hashed = _hashed(word, constant, _MULT_A)
                mixed = (_MIX_L * pool[target] - _MIX_R * hashed) & _WORD
                pool[target] = mixed ^ (mixed >> np.uint64(16))
    constant, a = _pair(pool[0], pool[1], _INIT_B)
    constant, b = _pair(pool[2], pool[3], constant)
    constant, c = _pair(pool[0], pool[1], constant)
    constant, d = _pair(pool[2], pool[3], constant)
    record = record_at(stream, STREAM)
    record.increment_low, record.increment_high = (
        (d << np.uint64(1)) | np.uint64(1),
        (c << np.uint64(1)) | (d >> np.uint64(63)),
    )
    record.state_low, record.state_high = np.uint64(0), np.uint64(0)
    _next_bits(stream)
    _add_to_state(stream, a, b)
    _next_bits(stream)
    record.half, record.has_half = np.uint64(0), 0


@force_inlined
def _hashed(word, constant, multiplier):
    """The next constant, and SeedSequence's hash of a word under this one."""
    following = (constant * multiplier) & _WORD
    word = ((word ^ constant) * following) & _WORD
    return following, word ^ (word >> np.uint64(16))


@force_inlined
def _pair(low, high, constant):
    """The constant after the next, and 64 bits of the seed from two words of the pool."""
    constant, low = _hashed(low, constant, _MULT_B)
    constant, high = _hashed(high, constant, _MULT_B)
    return constant, low | (high << np.uint64(32))


@intrinsic
def _next_bits(typingctx, stream):
    """Step the stream at the address; its next 64 bits."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        place, increment = (
            builder.inttoptr(builder.add(args[0], INT64(offset)), wide.as_pointer()) for offset in (0, 16)
        )
        state = builder.mul(builder.load(place, align=8), wide(_PCG64))
        state = builder.add(state, builder.load(increment, align=8))
        builder.store(state, place, align=8)
        high, low = builder.trunc(builder.lshr(state, wide(64)), INT64), builder.trunc(state, INT64)
        bits, turn = builder.xor(high, low), builder.lshr(high, INT64(58))
        rotate = llvm_function(builder, "llvm.fshr.i64", INT64, [INT64] * 3)
        return builder.call(rotate, [bits, bits, turn])

    return types.uint64(stream), codegen


@intrinsic
def _add_to_state(typingctx, stream, high, low):
    """Add a 128-bit number to the state of the stream at the address."""

    def codegen(context, builder, signature, args):
        wide = ir.IntType(128)
        place = builder.inttoptr(args[0], wide.as_pointer())
        high, low = (builder.zext(half, wide) for half in args[1:])
        number = builder.or_(builder.shl(high, wide(64)), low)
        builder.store(builder.add(builder.load(place, align=8), number), place, align=8)
        return context.get_dummy_value()

    return types.void(stream, high, low), codegen


@intrinsic
def _multiply_add(typingctx, a, b, c):
    """a · b + c, rounded once where the processor has such an instruction."""

    def codegen(context, builder, signature, args):
        kind = ir.DoubleType()
        return builder.call(llvm_function(builder, "llvm.fmuladd.f64", kind, [kind] * 3), args)

    return types.float64(a, b, c), codegen


@_exactly
def _next_double(stream):
    """A number of [0, 1) with 53 random bits."""
    return np.float64(_next_bits(stream) >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@force_inlined
def _next_word(stream):
    """32 bits: the lower half of 64, and then the upper one."""
    record = record_at(stream, STREAM)
    if record.has_half:
        record.has_half = 0
        return record.half
    bits = _next_bits(stream)
    record.half, record.has_half = bits >> np.uint64(32), 1
    return bits & _WORD


@force_inlined
def _shuffle(stream, order):
    """Exchange number k, from the last one on, with number j, of as many random bits as k has, which are drawn until j
    is no more than k.

    Where it is more, number k is exchanged with itself and stays the next one, without a branch, whose direction nobody
    could foresee: 2.1 ns a number, with a branch 5.7.
    """
    k = np.int64(len(order) - 1)
    mask = k
    for shift in (1, 2, 4, 8, 16):
        mask |= mask >> shift
    while k > 0:
        less = mask >> 1  # a loop of its own for each length, so that mask does not wait for k
        while k > less:
            j = np.int64(_next_word(stream)) & mask
            fits = np.int64(j <= k)
            other = k ^ ((j ^ k) & -fits)
            order[k], order[other] = order[other], order[k]
            k -= fits
        mask = less
