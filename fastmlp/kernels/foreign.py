"""Single numbers of user data, as they are in memory: also half precision and long double, with which not every machine
computes, and numbers in the other byte order.

A source is called by its dtype's name, such as "float16"; "swapped_int32" has its bytes in the other order. Machines
are little-endian here.
"""

from __future__ import annotations

import numpy as np

from .decorators import force_inlined, peek

__all__ = ["is_native", "itemsize_of", "long_double", "number_at"]

_SWAPPED = "swapped_"
_NATIVE = "?bBhHiIlLqQfd"  # NumPy's characters of what LLVM has


def is_native(source):
    """Whether LLVM has numbers of that kind."""
    return not source.startswith(_SWAPPED) and np.dtype(source).char in _NATIVE


def itemsize_of(source):
    """Bytes of a number."""
    return np.dtype(source.removeprefix(_SWAPPED)).itemsize


def number_at(source, real):
    """A function of an address: the number that stands there, as a ``real``."""
    kind = np.dtype(source.removeprefix(_SWAPPED))
    if is_native(source):
        native = kind.type
        return force_inlined(lambda place: real(peek(place, native)))
    word = _word(kind.itemsize, source.startswith(_SWAPPED))
    if kind.char == "e":
        number = _half(word)
    elif kind.char == "g":
        number = long_double(word, np.finfo(kind).nmant)
    else:
        number = _same_bits(word, kind)
    return force_inlined(lambda place: real(number(place)))


def _word(itemsize, swapped):
    """A function of an address: ``count`` bytes of the number there as an integer, from the ``first`` lowest on."""

    @force_inlined
    def word(place, first, count):
        total = np.uint64(0)
        for i in range(first, first + count):
            at = itemsize - 1 - i if swapped else i
            total |= np.uint64(peek(place + at, np.uint8)) << np.uint64(8 * (i - first))
        return total

    return word


def _same_bits(word, kind):
    """A number that LLVM has, from its bytes."""
    size, bits, kind = kind.itemsize, np.dtype(f"u{kind.itemsize}").type, kind.type
    return force_inlined(lambda place: bits(word(place, 0, size)).view(kind))


@force_inlined
def _scaled(negative, significand, exponent):
    """±significand · 2 ** exponent as float64; infinite or zero where that is out of its range."""
    exponent = min(max(exponent, -2000), 2000)
    half = exponent >> 1
    factors = np.int64((half + 1023) << 52).view(np.float64), np.int64((exponent - half + 1023) << 52).view(np.float64)
    value = np.float64(significand) * factors[0] * factors[1]
    return -value if negative else value


def _half(word):
    """A number of half precision: 5 bits of exponent, 10 of the significand, whose highest bit is not stored."""

    @force_inlined
    def half(place):
        bits = np.int64(word(place, 0, 2))
        exponent, significand = (bits >> 10) & 31, bits & 1023
        if exponent == 31:  # infinite, or no number
            return np.nan if significand else _scaled(bits >> 15 != 0, 1, 2000)
        if exponent:
            significand += 1024
        return _scaled(bits >> 15 != 0, significand, max(exponent, 1) - 25)

    return half


def long_double(word, mantissa):
    """A long double, whose exponent has 15 bits: with 63 bits of ``mantissa`` that of Intel, which stores a significand
    of 64; with 112 IEEE's of 128 bits, of which the 64 highest count."""
    stored = mantissa == 63

    @force_inlined
    def number(place):
        if stored:
            significand, top = word(place, 0, 8), np.int64(word(place, 8, 2))
        else:
            low, high = word(place, 0, 8), word(place, 8, 8)
            significand = (np.uint64(1) << np.uint64(63)) | (high << np.uint64(15)) | (low >> np.uint64(49))
            top = np.int64(high >> np.uint64(48))
        exponent = top & 0x7FFF
        if exponent == 0x7FFF and significand != np.uint64(1) << np.uint64(63):
            return np.nan
        return _scaled(top >> 15 != 0, significand, exponent - 16383 - 63)

    return number
