"""The matrix products, each against a naive function of the same arguments.

The naive functions take arrays where the kernels take addresses and strides. Numbers are small integers, whose sums are
exact in either dtype: so results are compared to the last bit, whatever the order of summation.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from numba import njit

from fastmlp.kernels import catalog, linear, store, tiles
from fastmlp.kernels.cpu import vector_bytes
from fastmlp.kernels.layout import PANEL_ROWS, ROOM

MOST = 10  # vectors of a row


def lanes(real) -> int:
    """Numbers of a vector."""
    return vector_bytes() // np.dtype(real).itemsize


def integers(rng, *shape, real):
    return rng.integers(-8, 9, shape).astype(real)


def at(array) -> int:
    """The array's address."""
    return array.ctypes.data


def naive_product(a, b, b_index, start, c, c_index, rows, vectors, depth):
    """C[c_index[r]] = start[c_index[r]] + Σ_k A[r, k] B[b_index[k]]"""
    columns = vectors * lanes(c.dtype)
    used = b[b_index[:depth], :columns]
    for r in range(rows):
        c[c_index[r], :columns] = start[c_index[r], :columns] + a[r, :depth] @ used


def product(a, b, b_index, start, c, c_index, rows, vectors, depth, room=0):
    catalog.linear("product", c.dtype.name)(
        at(a), *a.strides, at(b), b.strides[0], at(b_index), at(start), start.strides[0], at(c), c.strides[0],
        at(c_index), rows, vectors, depth, room,
    )  # fmt: skip


@pytest.mark.parametrize("start_is", ["one row", "a matrix", "C itself"])
@pytest.mark.parametrize("a_is", ["by rows", "transposed"])
@pytest.mark.parametrize("depth", [0, 1, 191, 192, 193, 385])
def test_product_of_every_tile(guarded, real, start_is, a_is, depth):
    rng = np.random.default_rng(depth)
    most_rows, columns = 14, MOST * lanes(real)
    a = integers(rng, most_rows, depth + 1, real=real)
    a = guarded(a) if a_is == "by rows" else guarded(a.T).T
    b = guarded(integers(rng, depth + 3, columns, real=real), columns + 1)
    b_index = guarded(rng.permutation(depth + 3))
    c_index = guarded(rng.permutation(most_rows + 2))
    before = integers(rng, most_rows + 2, columns, real=real)
    c = guarded(before, columns + 1)
    start = {
        "one row": np.broadcast_to(guarded(integers(rng, columns, real=real), columns + 1), c.shape),
        "a matrix": guarded(integers(rng, *before.shape, real=real), columns + 1),
        "C itself": c,
    }[start_is]
    for rows in range(1, most_rows + 1):
        for vectors in range(1, MOST + 1):
            c[:, :columns] = before
            expected = c.copy()
            start_of_expected = expected if start is c else start
            naive_product(a, b, b_index, start_of_expected, expected, c_index, rows, vectors, depth)
            product(a, b, b_index, start, c, c_index, rows, vectors, depth)
            np.testing.assert_array_equal(c, expected, f"{rows} rows, {vectors} vectors")


@pytest.mark.parametrize("depth", [5, 200])
def test_rows_cut_for_two_threads_have_the_bits_of_rows_together(guarded, real, depth):
    rng = np.random.default_rng(depth)
    most_rows, columns = 5 * linear.SHARED_ROWS + 3, 7 * lanes(real)
    a, b, start = (guarded(rng.normal(size=n).astype(real)) for n in ((most_rows, depth), (depth, columns), columns))
    w = guarded(rng.normal(size=(20, depth)).astype(real), padding=0)
    bias, order, identity = guarded(np.zeros(32, real)), guarded(np.arange(depth)), guarded(np.arange(most_rows))
    start = np.broadcast_to(start, (most_rows, start.size))
    a = guarded(a[:, :depth], padding=0)
    steps = -(-depth // lanes(real))
    for rows in range(2 * linear.SHARED_ROWS, most_rows + 1):
        for vectors in range(1, 8):
            whole, parts = (guarded(np.zeros((most_rows, columns), real)) for _ in range(2))
            product(a, b, order, start, whole, identity, rows, vectors, depth)
            for first, end in ((0, linear.SHARED_ROWS), (linear.SHARED_ROWS, rows)):
                product(a[first:], b, order, start, parts[first:], identity, end - first, vectors, depth)
            np.testing.assert_array_equal(parts, whole, f"{rows} rows, {vectors} vectors")
        whole, parts = (guarded(np.zeros((most_rows, 32), real)) for _ in range(2))
        inner_products(a, w, bias, whole, rows, 20, steps)
        for first, end in ((0, linear.SHARED_ROWS), (linear.SHARED_ROWS, rows)):
            inner_products(a[first:], w, bias, parts[first:], end - first, 20, steps)
        np.testing.assert_array_equal(parts, whole, f"{rows} rows")


@pytest.mark.parametrize("a_is", ["by rows", "transposed"])
@pytest.mark.parametrize("depth", [0, 5, 192, 193, 400])
def test_panels_change_no_bit(guarded, real, a_is, depth):
    rng = np.random.default_rng(depth)
    most_rows, least, panel = 2 * PANEL_ROWS + 5, linear.FROM_BYTES // vector_bytes(), linear.PANEL // vector_bytes()
    columns = (2 * panel + 7) * lanes(real)
    a, b, before = (
        rng.normal(size=n).astype(real) for n in ((most_rows, depth), (depth + 3, columns), (most_rows, columns))
    )
    a = guarded(a, padding=0) if a_is == "by rows" else guarded(a.T, padding=0).T
    b, b_index, c_index = guarded(b), guarded(rng.permutation(depth + 3)), guarded(rng.permutation(most_rows))
    room = guarded(np.zeros(ROOM // 8))
    for rows in (linear.FROM_ROWS - 1, linear.FROM_ROWS, PANEL_ROWS + 41, most_rows):
        for vectors in (least - 1, least, panel + 6, 2 * panel + 7):
            plain, by_panels = (guarded(before) for _ in range(2))
            product(a, b, b_index, plain, plain, c_index, rows, vectors, depth)
            product(a, b, b_index, by_panels, by_panels, c_index, rows, vectors, depth, room=at(room))
            np.testing.assert_array_equal(by_panels, plain, f"{rows} rows, {vectors} vectors")
    assert room.any(), "no panels were made"


def test_product_rounds_as_its_dtype_does(guarded, real):
    rng = np.random.default_rng(0)
    rows, depth, vectors = 13, 400, 7
    columns = vectors * lanes(real)
    a, b, start = (guarded(rng.normal(size=shape).astype(real)) for shape in ((rows, depth), (depth, columns), columns))
    c = guarded(np.zeros((rows, columns), real))
    order, identity = guarded(np.arange(depth)), guarded(np.arange(rows))
    product(a, b, order, np.broadcast_to(start, c.shape), c, identity, rows, vectors, depth)
    terms = np.append(a[:, :depth], np.ones((rows, 1), real), axis=1), np.vstack([b, start])
    wide, sizes = (p.astype(np.longdouble) for p in terms), (np.abs(p, dtype=np.longdouble) for p in terms)
    error = np.abs(c - np.matmul(*wide))[:, :columns]
    assert np.all(error <= 20 * np.finfo(real).eps * np.matmul(*sizes)[:, :columns])


def naive_inner_products(a, w, start, c, rows, n_rows, vectors):
    """C[r, j] = start[j] + Σ_k A[r, k] W[j, k]"""
    columns = vectors * lanes(c.dtype)
    for r in range(rows):
        for j in range(n_rows):
            c[r, j] = start[j] + a[r, :columns] @ w[j, :columns]


def inner_products(a, w, start, c, rows, n_rows, vectors):
    catalog.linear("inner_products", c.dtype.name)(
        at(a), a.strides[0], at(w), w.strides[0], at(start), at(c), c.strides[0], rows, n_rows, vectors
    )


@pytest.mark.parametrize("vectors", [1, 2, 5])
def test_inner_products_of_every_tile(guarded, real, vectors):
    rng = np.random.default_rng(vectors)
    most_rows, most_n_rows, columns = 7, 20, vectors * lanes(real)
    a = guarded(integers(rng, most_rows, columns, real=real), columns + 1)
    for n_rows in range(1, most_n_rows + 1):
        w = guarded(integers(rng, n_rows, columns, real=real), columns + 1)
        start = guarded(integers(rng, n_rows, real=real))
        for rows in range(1, most_rows + 1):
            c = np.full((most_rows, n_rows), -99, real)
            c = guarded(guarded(c, padding=0), most_n_rows + 16)  # zeros up to a cache line, NaN behind it
            expected = c.copy()
            naive_inner_products(a, w, start, expected, rows, n_rows, vectors)
            inner_products(a, w, start, c, rows, n_rows, vectors)
            np.testing.assert_array_equal(c, expected, f"{rows} rows, {n_rows} rows of W")


def naive_weighted_rows(count, x, x_index, w, w_index, start, z, vectors):
    """z = start + Σ_i x[x_index[i]] W[w_index[i], :]"""
    columns = vectors * lanes(z.dtype)
    total = start[:columns].copy()
    for i in range(count):
        total += x[x_index[i]] * w[w_index[i], :columns]
    z[:columns] = total


def weighted_rows(count, x, x_index, w, w_index, start, z, vectors):
    catalog.linear("weighted_rows", z.dtype.name)(
        count, at(x), at(x_index), at(w), w.strides[0], at(w_index), at(start), at(z), vectors
    )


@pytest.mark.parametrize("start_is_z", [False, True])
def test_weighted_rows_of_every_tile(guarded, real, start_is_z):
    rng = np.random.default_rng(0)
    n, most = 20, 2 * MOST
    columns = most * lanes(real)
    x, w = guarded(integers(rng, n, real=real)), guarded(integers(rng, n, columns, real=real), columns + 1)
    x_index, w_index = guarded(rng.permutation(n)), guarded(rng.integers(0, n, n))
    before, z = integers(rng, columns, real=real), guarded(integers(rng, columns, real=real), columns + 1)
    start = z if start_is_z else guarded(before, columns + 1)
    for count in [*range(10), n]:
        for vectors in range(1, most + 1):
            z[:columns] = before
            expected = z.copy()
            naive_weighted_rows(count, x, x_index, w, w_index, before, expected, vectors)
            weighted_rows(count, x, x_index, w, w_index, start, z, vectors)
            np.testing.assert_array_equal(z, expected, f"{count} rows, {vectors} vectors")


def naive_backward_and_update(n_out, delta, scaled, w, x, dx, vectors):
    """dx = Σ_j delta[j] W[j, :] with the old W; W[j, :] += scaled[j] x"""
    columns = vectors * lanes(w.dtype)
    dx[:columns] = 0
    for j in range(n_out):
        dx[:columns] += delta[j] * w[j, :columns]
        w[j, :columns] += scaled[j] * x[:columns]


def backward_and_update(n_out, delta, scaled, w, x, dx, vectors):
    catalog.linear("backward_and_update", w.dtype.name)(
        n_out, at(delta), at(scaled), at(w), w.strides[0], at(x), at(dx), vectors
    )


def test_backward_and_update_of_every_tile(guarded, real):
    rng = np.random.default_rng(0)
    most_n_out, columns = 9, MOST * lanes(real)
    delta, scaled = (guarded(integers(rng, most_n_out, real=real)) for _ in range(2))
    x, dx = (guarded(integers(rng, columns, real=real), columns + 1) for _ in range(2))
    w = guarded(integers(rng, most_n_out + 1, columns, real=real), columns + 1)
    for n_out in range(1, most_n_out + 1):
        for vectors in range(1, MOST + 1):
            w[:, :columns] = integers(rng, most_n_out + 1, columns, real=real)
            expected_w, expected_dx = w.copy(), dx.copy()
            naive_backward_and_update(n_out, delta, scaled, expected_w, x, expected_dx, vectors)
            backward_and_update(n_out, delta, scaled, w, x, dx, vectors)
            np.testing.assert_array_equal(w, expected_w, f"{n_out} rows, {vectors} vectors")
            np.testing.assert_array_equal(dx, expected_dx, f"{n_out} rows, {vectors} vectors")


def naive_backward_and_update_by_inputs(count, index, n_in, delta, scaled, w, x, dx, vectors):
    """dx[k] = Σ_j delta[j] W[k, j] with the old W and W[k, :] += x[k] scaled for the inputs k that are listed; dx of
    the others is 0."""
    columns = vectors * lanes(w.dtype)
    dx[:n_in] = 0
    for k in index[:count]:
        dx[k] = delta[:columns] @ w[k, :columns]
        w[k, :columns] += x[k] * scaled[:columns]


def backward_and_update_by_inputs(count, index, n_in, delta, scaled, w, x, dx, vectors):
    catalog.linear("backward_and_update_by_inputs", w.dtype.name)(
        count, at(index), n_in, at(delta), at(scaled), at(w), w.strides[0], at(x), at(dx), vectors
    )


@pytest.mark.parametrize("vectors", range(1, 6))
def test_backward_and_update_by_inputs_of_every_count(guarded, real, vectors):
    rng = np.random.default_rng(vectors)
    n_in, columns = 21, vectors * lanes(real)
    delta, scaled = (guarded(integers(rng, columns, real=real), columns + 1) for _ in range(2))
    x, dx = (guarded(integers(rng, n_in, real=real)) for _ in range(2))
    w = guarded(integers(rng, n_in, columns, real=real), columns + 1)
    for count in range(n_in + 1):  # the last tile is filled with the last input
        w[:, :columns] = integers(rng, n_in, columns, real=real)
        dx[:n_in] = -99
        index = guarded(rng.permutation(n_in)[:count], n_in + 8)
        expected_w, expected_dx = w.copy(), dx.copy()
        naive_backward_and_update_by_inputs(count, index, n_in, delta, scaled, expected_w, x, expected_dx, vectors)
        backward_and_update_by_inputs(count, index, n_in, delta, scaled, w, x, dx, vectors)
        np.testing.assert_array_equal(w, expected_w, f"{count} inputs")
        np.testing.assert_array_equal(dx, expected_dx, f"{count} inputs")


def naive_list_nonzero_columns(x, rows, n, index):
    """Move the columns that are not zero in all rows to the front, list them in ``index`` and count them; where more
    than three quarters of the first row are not zero, all columns stay."""
    columns = range(n)
    if 4 * np.count_nonzero(x[0, :n]) <= 3 * n:
        columns = [k for k in range(n) if np.any(x[:rows, k] != 0)]
    index[: len(columns)] = columns
    x[:rows, : len(columns)] = x[:rows, columns]
    return len(columns)


def list_nonzero_columns(x, rows, n, index):
    return catalog.linear("list_nonzero_columns", x.dtype.name)(at(x), x.strides[0], rows, n, at(index))


@functools.cache
def kernel_without_compressor(dtype):
    """The kernel of a CPU whose vectors can be neither compressed nor permuted, and what keeps it alive."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "compressor", lambda: None)
        function = linear.build("list_nonzero_columns", dtype)
    return store.compile_private(function, catalog.KERNELS["list_nonzero_columns"].signature, dtype)


def list_nonzero_columns_without_compressor(x, rows, n, index):
    return kernel_without_compressor(x.dtype.name)[0](at(x), x.strides[0], rows, n, at(index))


@pytest.mark.parametrize("list_nonzero_columns", [list_nonzero_columns, list_nonzero_columns_without_compressor])
@pytest.mark.parametrize("rows", range(1, 13))
@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 16, 31, 33, 100])
def test_list_of_nonzero_columns(guarded, real, list_nonzero_columns, rows, n):
    rng = np.random.default_rng(rows)
    width = -(-n // lanes(real)) * lanes(real)
    for share in (0, 0.05, 0.3, 0.7, 0.76, 1):
        values = np.where(rng.random((14, n)) < share, integers(rng, 14, n, real=real), rng.choice([0.0, -0.0]))
        x = guarded(guarded(values.astype(real), padding=0), n + 16)
        index = guarded(np.full(width, -7))
        expected, expected_index = x.copy(), index.copy()
        count = naive_list_nonzero_columns(expected, rows, n, expected_index)
        assert list_nonzero_columns(x, rows, n, index) == count
        np.testing.assert_array_equal(index[:count], expected_index[:count])
        whole = -(-count // lanes(real)) * lanes(real)
        np.testing.assert_array_equal(x[:rows, :count], expected[:rows, :count])
        assert np.all(x[:rows, count:whole] == 0), "the rest of the last vector"
        np.testing.assert_array_equal(x[:, n:], expected[:, n:])
        np.testing.assert_array_equal(x[rows:], expected[rows:])


@pytest.mark.parametrize("first", ["all zero", "three quarters", "one more", "not a number"])
def test_the_first_row_decides_whether_columns_are_listed(guarded, real, first):
    n, rows = 40, 3
    not_zero = {"all zero": 0, "three quarters": 30, "one more": 31, "not a number": 0}[first]
    values = np.zeros((rows, n), real)
    values[0, :not_zero] = 1
    values[1, 5] = np.nan if first == "not a number" else 0
    x = guarded(values, padding=0)
    index = guarded(np.full(n + lanes(real), -7))
    expected = naive_list_nonzero_columns(x.copy(), rows, n, index.copy())
    assert expected == {"all zero": 0, "three quarters": 30, "one more": 40, "not a number": 1}[first]
    assert list_nonzero_columns(x, rows, n, index) == expected
    if first == "not a number":
        assert index[0] == 5 and np.isnan(x[1, 0])


@functools.cache
def few_columns(n, real):
    """The tile of up to n columns as a function of addresses and integers."""
    return njit(
        lambda steps, rows, each, a, d, row, w, w_row, n_rows, scale, c: tiles.sums_for_few_columns(
            n, real, steps, rows, each, a, d, row, w, w_row, n_rows, scale, c
        )
    )


@pytest.mark.parametrize("n", [2, 4, 8])
def test_sums_for_few_columns(guarded, real, n):
    rng, most_rows = np.random.default_rng(n), 11
    for vectors in (1, 3):
        depth = vectors * lanes(real)
        for n_rows in range(1, min(n, lanes(real)) + 1):
            for each in (1, 2, 3):
                a, d = (guarded(integers(rng, most_rows, depth, real=real)) for _ in range(2))
                w, scale = guarded(integers(rng, n_rows, depth, real=real)), guarded(integers(rng, n, real=real))
                for rows in (1, 2, most_rows):
                    c = guarded(integers(rng, most_rows * n, real=real))
                    expected = c.copy()
                    factors = d[np.arange(rows) // each, :depth]
                    products = (a[:rows, :depth] * factors) @ w[:, :depth].T * scale[:n_rows]
                    expected[: rows * n_rows] = products.ravel()
                    few_columns(n, real)(
                        vectors, rows, each, at(a), at(d), a.strides[0], at(w), w.strides[0], n_rows, at(scale), at(c)
                    )
                    np.testing.assert_array_equal(c, expected, f"{n_rows} columns, {each} rows each, {rows} rows")
