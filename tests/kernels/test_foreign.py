"""Numbers that not every machine has, decoded from their bytes."""

from __future__ import annotations

from fractions import Fraction

import numba
import numpy as np
import pytest

from fastmlp.kernels.decorators import peek
from fastmlp.kernels.foreign import _word, long_double, number_at


def called(function, values):
    """What a compiled function of an address makes of each value of an array."""
    at = numba.njit(lambda place: function(place))
    return np.array([at(values.ctypes.data + i * values.itemsize) for i in range(len(values))])


def test_every_number_of_half_precision():
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(called(number_at("float16", np.float64), values), values.astype(float))


def quadruple(value: Fraction) -> bytes:
    """The 16 bytes of a normal number of IEEE's quadruple precision, cut off."""
    size, exponent = abs(value), 0
    while size >= 2:
        size, exponent = size / 2, exponent + 1
    while size < 1:
        size, exponent = size * 2, exponent - 1
    bits = int((size - 1) * (1 << 112)) | (exponent + 16383) << 112 | (value < 0) << 127
    return bits.to_bytes(16, "little")


@pytest.mark.parametrize(
    "number", ["1", "-1", "1/3", "-22/7", "123456789.123456789", "1e300", "-1e-300", "1e-4000", "1e4000"]
)
def test_quadruple_precision(number):
    value = Fraction(number)
    raw = np.frombuffer(quadruple(value), np.uint8).copy()
    found = numba.njit(lambda place: NUMBER(place))(raw.ctypes.data)
    expected = float(value) if abs(value) < 10**308 else np.inf
    assert found == pytest.approx(expected, rel=3e-16, abs=0)


NUMBER = long_double(_word(16, False), 112)


def test_a_number_of_several_bytes_may_lie_anywhere():
    raw = np.zeros(9, np.uint8)
    raw[1:] = np.array([-1.5]).view(np.uint8)[::-1]
    assert called(number_at("swapped_float64", np.float64), raw[1:2])[0] == -1.5
    assert numba.njit(lambda place: peek(place, np.uint8))(raw.ctypes.data + 1) == 0xBF
