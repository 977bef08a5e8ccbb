"""The intrinsics on vectors, each in a function of its own, against NumPy; test_linear.py has the tiles of products."""

from __future__ import annotations

import functools
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit

from fastmlp.kernels import vectors as intrinsics
from fastmlp.kernels.cpu import vector_bytes


@functools.cache
def compiled(real):
    """The intrinsics of that dtype as functions of addresses and integers."""
    functions = {
        "copy": lambda target, source, count: intrinsics.copy(target, source, count),
        "scale_vectors": lambda count, out, x, factor: intrinsics.scale_vectors(real, count, out, x, real(factor)),
        "add_vectors": lambda count, out, x: intrinsics.add_vectors(real, count, out, x),
        "multiply_vectors": lambda count, out, x: intrinsics.multiply_vectors(real, count, out, x),
        "scale_and_multiply": lambda count, out, x, factor, y: intrinsics.scale_and_multiply(
            real, count, out, x, real(factor), y
        ),
        "multiply_rows": lambda rows, each, count, out, x: intrinsics.multiply_rows(real, rows, each, count, out, x),
        "transpose_square": lambda x, x_row, rows, out, out_row: intrinsics.transpose_square(
            real, x, x_row, rows, out, out_row
        ),
        "add_rows": lambda rows, count, out, x, x_row: intrinsics.add_rows(real, rows, count, out, x, x_row),
        "outer_product": lambda rows, n, factors, x, index, out: intrinsics.outer_product(
            real, rows, n, factors, x, index, out
        ),
        "move_rows": lambda rows, n, x, x_row, out: intrinsics.move_rows(real, rows, n, x, x_row, out),
        "are_finite": lambda count, x: intrinsics.are_finite(real, count, x),
        "clear_behind": lambda x, n, vectors: intrinsics.clear_behind(real, x, n, vectors),
        "is_largest": lambda x, n, which: intrinsics.is_largest(real, x, n, which),
        "largest": lambda x, n: intrinsics.largest(real, x, n),
        "nonzero_columns": lambda x, x_row, rows, vectors, index: intrinsics.nonzero_columns(
            False, real, x, x_row, rows, vectors, index
        ),
        "move_nonzero_columns": lambda x, x_row, rows, vectors, index: intrinsics.nonzero_columns(
            True, real, x, x_row, rows, vectors, index
        ),
    }
    return SimpleNamespace(**{name: njit(function) for name, function in functions.items()})


def lanes(real) -> int:
    """Numbers of a vector."""
    return vector_bytes() // np.dtype(real).itemsize


def integers(seed, *shape, real):
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(real)


def at(array) -> int:
    """The array's address."""
    return array.ctypes.data


@pytest.mark.parametrize("count", [0, 1, 7, 64, 1000])
def test_copy(guarded, real, count):
    source, target = guarded(np.arange(count + 3, dtype=np.uint8)), guarded(np.zeros(count + 3, np.uint8))
    expected = target.copy()
    expected[:count] = source[1 : count + 1]
    compiled(real).copy(at(target), at(source) + 1, count)
    np.testing.assert_array_equal(target, expected)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_vectors_are_scaled_added_and_multiplied(guarded, real, count):
    n = count * lanes(real)
    for name, function in (
        ("scale_vectors", lambda out, x: 3 * x),
        ("add_vectors", lambda out, x: out + x),
        ("multiply_vectors", lambda out, x: out * x),
    ):
        x, out = guarded(integers(0, n + 1, real=real)), guarded(integers(1, n + 1, real=real))
        expected = out.copy()
        expected[:n] = function(out[:n], x[:n])
        factor = (3.0,) if name == "scale_vectors" else ()
        getattr(compiled(real), name)(count, at(out), at(x), *factor)
        np.testing.assert_array_equal(out, expected, name)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_scale_and_multiply(guarded, real, count):
    n = count * lanes(real)
    x, y, out = (guarded(integers(seed, n + 1, real=real)) for seed in range(3))
    expected = out.copy()
    expected[:n] = 3 * x[:n] * y[:n]
    compiled(real).scale_and_multiply(count, at(out), at(x), 3.0, at(y))
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("each", [1, 2, 5])
def test_multiply_rows(guarded, real, each):
    for rows in (0, 1, 3):
        for count in (1, 3):
            n = count * lanes(real)
            x, out = (guarded(integers(seed, 16 * n, real=real)) for seed in range(2))
            expected = out.copy()
            products = out[: rows * each * n].reshape(rows, each, n) * x[: rows * n].reshape(rows, 1, n)
            expected[: rows * each * n] = products.ravel()
            compiled(real).multiply_rows(rows, each, count, at(out), at(x))
            np.testing.assert_array_equal(out, expected)


def test_transpose_square(guarded, real):
    n = lanes(real)
    for rows in (-3, 0, 1, n - 1, n, n + 4):
        x, out = guarded(integers(0, n + 4, n + 1, real=real)), guarded(integers(1, n, n, real=real), n + 1)
        inside = min(max(rows, 0), n)
        expected = out.copy()
        expected[:, :inside] = x[4 : 4 + inside, :n].T
        expected[:, inside:n] = 0
        compiled(real).transpose_square(at(x[4:]), x.strides[0], rows, at(out), out.strides[0])
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("rows", range(10))
def test_add_rows(guarded, real, rows):
    for count in (0, 1, 3):
        n = count * lanes(real)
        x, out = guarded(integers(0, rows + 1, n + 1, real=real)), guarded(integers(1, n + 1, real=real))
        expected = out.copy()
        expected[:n] += x[:rows, :n].sum(axis=0)
        compiled(real).add_rows(rows, count, at(out), at(x), x.strides[0])
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("n", [1, 2, 4, 7, 8, 15, 16, 17, 40])
def test_outer_product_without_padding(guarded, real, n):
    factors, index = integers(0, 6, real=real), np.array([4, 0, 7, 1])
    x, out = guarded(integers(1, n, real=real)), guarded(integers(2, 8 * n, real=real), padding=3)
    expected = out.copy()
    expected[: 8 * n].reshape(8, n)[index] = np.outer(factors[:4], x[:n])
    compiled(real).outer_product(4, n, at(factors), at(x), at(index), at(out))
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("n", [1, 2, 4, 7, 8, 15, 16, 17, 40])
def test_move_rows(guarded, real, n):
    x, out = guarded(integers(1, 5, n, real=real)), guarded(integers(2, 7 * n, real=real), padding=3)
    expected, kept = out.copy(), x.copy()
    expected[: 5 * n] = x[:, :n].ravel()
    kept[:, n:] = 0
    compiled(real).move_rows(5, n, at(x), x.strides[0], at(out))
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("count", range(7))
def test_are_finite(guarded, real, count):
    n = count * lanes(real)
    info = np.finfo(real)
    x = guarded(np.resize(np.array([0, info.max, -info.max, info.smallest_subnormal], real), n + 1))  # then NaN
    assert compiled(real).are_finite(count, at(x))
    for k, value in itertools.product(range(n), (np.nan, np.inf, -np.inf)):
        before, x[k] = x[k], value
        assert not compiled(real).are_finite(count, at(x)), f"number {k}"
        x[k] = before


@pytest.mark.parametrize("vectors", [1, 2, 4])
def test_clear_behind(guarded, real, vectors):
    for n in range(vectors * lanes(real) + 1):
        x = guarded(np.full(vectors * lanes(real) + 1, np.nan, real))
        x[:n] = range(1, n + 1)
        expected = x.copy()
        expected[n : vectors * lanes(real)] = 0
        compiled(real).clear_behind(at(x), n, vectors)
        np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 15, 16, 17, 40])
def test_largest_and_is_largest(guarded, real, n):
    """The padding, which has infinity, does not count; of equal numbers the first is the largest."""
    for seed in range(20):
        x = guarded(integers(seed, n, real=real) - (9 if seed % 2 else 0), padding=np.inf)
        assert compiled(real).largest(at(x), n) == x[:n].max()
        answers = [compiled(real).is_largest(at(x), n, which) for which in range(n)]
        assert answers == [which == np.argmax(x[:n]) for which in range(n)]


def test_largest_of_infinities(guarded, real):
    x = guarded(np.array([-np.inf, -np.inf], real))
    assert compiled(real).largest(at(x), 2) == -np.inf
    x[1] = np.inf
    assert compiled(real).largest(at(x), 2) == np.inf
    assert compiled(real).is_largest(at(x), 2, 1)


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("move", [False, True])
def test_nonzero_columns(guarded, real, rows, move):
    rng = np.random.default_rng(rows)
    function = compiled(real).move_nonzero_columns if move else compiled(real).nonzero_columns
    for vectors, share in itertools.product((1, 2, 5), (0, 0.1, 0.5, 1)):
        n = vectors * lanes(real)
        values = integers(rows, rows + 1, n, real=real) * (rng.random((rows + 1, n)) < share)
        values[0, n // 2] = np.nan if share else -0.0
        x, index = guarded(values, n + 1), guarded(np.full(n, -7))
        expected = x.copy()
        columns = np.flatnonzero(np.any(x[:rows, :n] != 0, axis=0))
        count = function(at(x), x.strides[0], rows, vectors, at(index))
        np.testing.assert_array_equal(index[:count], columns)
        if move:
            np.testing.assert_array_equal(x[:rows, :count], expected[:rows, columns])
            np.testing.assert_array_equal(x[:rows, n:], expected[:rows, n:])
            np.testing.assert_array_equal(x[rows:], expected[rows:])
        else:
            np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("rows", [1, 2, 5])
@pytest.mark.parametrize("move", [False, True])
def test_nonzero_columns_of_every_mask(guarded, real, rows, move):
    """One vector after the other, each with other lanes that are not zero, down to the bit."""
    rng = np.random.default_rng(rows)
    function = compiled(real).move_nonzero_columns if move else compiled(real).nonzero_columns
    n_lanes = lanes(real)
    masks = np.arange(1 << n_lanes)
    chosen = ((masks[:, np.newaxis] >> np.arange(n_lanes)) & 1).astype(bool).ravel()
    some = np.array([1, -2, np.nan, np.inf, np.finfo(real).smallest_subnormal, np.finfo(real).max], real)
    numbers = rng.choice(some, (rows, chosen.size))
    zeros = rng.choice(np.array([0.0, -0.0], real), (rows, chosen.size))
    seen_in = rng.integers(rows, size=chosen.size) == np.arange(rows)[:, np.newaxis]  # a row where it is not zero
    values = np.where(chosen & (seen_in | (rng.random(seen_in.shape) < 0.3)), numbers, zeros)
    x, index = guarded(values), guarded(np.full(chosen.size, -7))
    columns = np.flatnonzero(chosen)
    assert function(at(x), x.strides[0], rows, len(masks), at(index)) == len(columns)
    np.testing.assert_array_equal(index[: len(columns)], columns)
    np.testing.assert_array_equal(x[:, : len(columns)] if move else x, values[:, columns] if move else values)
