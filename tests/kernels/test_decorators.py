"""The intrinsics that read memory by address and call kernels by address, each in a function compiled here."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from numba import cfunc, njit, types
from numba.core.errors import TypingError

from fastmlp.kernels.catalog import KERNELS
from fastmlp.kernels.decorators import array_at, call_kernel, inlined_source, peek, size_of

INTEGER, REAL = ctypes.c_int64, ctypes.c_double


def callback(*kinds):
    """A C function of these arguments that returns 7.5; the address, the calls that it got, and what keeps it alive."""
    calls = []
    function = ctypes.CFUNCTYPE(REAL, *kinds)(lambda *arguments: calls.append(arguments) or 7.5)
    return ctypes.cast(function, ctypes.c_void_p).value, calls, function


def test_a_kernel_gets_its_arguments_in_their_order():
    address, calls, _keep = callback(*[INTEGER] * 6, REAL)
    function = njit(lambda address, n, x: call_kernel("activation", address, (n, -2, n > 1, n + 1, 1 << 40, 6, x)))
    assert function(address, 9, 0.25) == 7.5
    assert function(address, 9, np.float32(0.5)) == 7.5
    assert calls == [(9, -2, 1, 10, 1 << 40, 6, 0.25), (9, -2, 1, 10, 1 << 40, 6, 0.5)]


CALLS = {
    "too few": ("softmax_backward", lambda p: call_kernel("softmax_backward", p, (1, 2, 3, 4))),
    "too many": ("softmax_backward", lambda p: call_kernel("softmax_backward", p, (1, 2, 3, 4, 5, 6))),
    "none": ("samples", lambda p: call_kernel("samples", p, ())),
    "a float for an integer": ("softmax_backward", lambda p: call_kernel("softmax_backward", p, (1, 2, 3.0, 4, 5))),
    "a float for an address": ("samples", lambda p: call_kernel("samples", p, (1, 2.0, 3))),
    "an integer for a float": ("activation", lambda p: call_kernel("activation", p, (1, 2, 3, 4, 5, 6, 7))),
    "an array": ("samples", lambda p: call_kernel("samples", p, (1, 2, array_at(p, 1, np.float32)))),
}


@pytest.mark.parametrize("trouble", CALLS)
def test_wrong_arguments_do_not_compile(trouble):
    """The error names the family, and all of its arguments."""
    family, function = CALLS[trouble]
    names = [argument.partition(":")[0] for argument in KERNELS[family].signature.split()]
    message = f"(?s){family} takes .*" + ".*".join(f"'{name}'" for name in names) + ".* is called with "
    with pytest.raises(TypingError, match=message):
        njit(function).compile("(int64,)")


def test_an_unknown_family_does_not_compile():
    with pytest.raises(TypingError, match=r"(?s)no kernel softmaxed to be called with .*softmax_backward"):
        njit(lambda p: call_kernel("softmaxed", p, (1, 2, 3, 4, 5))).compile("(int64,)")


def fill(address, shape, like):
    """Number the elements of the array at an address; return what it says of itself."""
    array = array_at(address, shape, like)
    for i, index in enumerate(np.ndindex(array.shape)):
        array[index] = i + 1
    return array.size, array.itemsize, array.strides


@pytest.mark.parametrize("shape", [0, 5, (5,), (3, 4), (2, 3, 5), (4, 0)], ids=str)
def test_array_at(guarded, real, shape):
    expected = np.arange(1, np.prod(shape) + 1).reshape(shape).astype(real)
    strides = tuple(int(np.prod(expected.shape[i + 1 :])) * expected.itemsize for i in range(expected.ndim))
    for like in (real, np.zeros(2, real)):
        memory = guarded(np.zeros(40, real))
        before = memory.copy()
        assert njit(fill)(memory.ctypes.data, shape, like) == (expected.size, expected.itemsize, strides)
        np.testing.assert_array_equal(memory[: expected.size], expected.ravel())
        np.testing.assert_array_equal(memory[expected.size :], before[expected.size :])


def test_array_at_a_pointer(guarded, real):
    number = getattr(types, np.dtype(real).name)

    @cfunc(types.float64(types.CPointer(number), types.int64))
    def total(pointer, n):
        array, result = array_at(pointer, (n, 2), real), 0.0
        for r in range(n):
            result += array[r, 1]
        return result

    memory = guarded(np.arange(8, dtype=real))
    assert total.ctypes(ctypes.cast(memory.ctypes.data, total.ctypes.argtypes[0]), 4) == 1 + 3 + 5 + 7


KINDS = ["float32", "float64", *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u"))]


@pytest.mark.parametrize("kind", KINDS)
def test_peek_and_size_of(kind):
    """``peek`` at any address, aligned or not."""
    scalar = np.dtype(kind).type
    info = np.finfo(kind) if kind.startswith("float") else np.iinfo(kind)
    values = np.array([info.min, info.max, 3], kind)
    read, size = njit(lambda address: peek(address, scalar)), njit(lambda: size_of(scalar))
    assert size() == values.itemsize
    for skip in (0, 1):
        memory = np.frombuffer(b"\xff" * skip + values.tobytes() + b"\xff" * 8, np.uint8)
        found = [read(memory.ctypes.data + skip + i * values.itemsize) for i in range(3)]
        assert found == values.tolist()


@inlined_source
def _halves(address, n):
    whole = array_at(address, 2 * n, np.float64)
    return whole[:n], whole[n:]


def test_inlined_source_may_return_arrays():
    def move(address, n):
        first, second = _halves(address, n)
        first[:] = second

    memory = np.arange(6.0)
    njit(move)(memory.ctypes.data, 3)
    assert memory.tolist() == [3, 4, 5, 3, 4, 5]
