"""The readers of user data, each against a naive function of the same arguments: any dtype, any strides, any rows."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import catalog
from fastmlp.kernels.catalog import Variant
from fastmlp.kernels.cpu import vector_bytes

SOURCES = ["float32", "float64", *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")), "bool"]
FOREIGN = ["float16", "longdouble", ">f2", ">f4", ">f8", ">i2", ">u4", ">i8", ">g"]
ROWS = 11


def naive_reader(x, index, rows, following, n, shift, scale, out):
    """Rows ``index`` of x, converted, then (x - shift) · scale where there is a shift."""
    for r in range(rows):
        values = x[index[r]]
        values = (values.astype(np.float64) if values.dtype.char == "g" else values).astype(out.dtype)
        out[r, :n] = values if shift is None else (values - shift[:n]) * scale[:n]


def reader(x, index, rows, following, n, shift, scale, out):
    x = x.view(np.uint8) if x.dtype == bool else x
    source = x.dtype.name if x.dtype.isnative else f"swapped_{x.dtype.name}"
    catalog.load(Variant("reader", source, out.dtype.name))(
        x.ctypes.data, *x.strides, index.ctypes.data, rows, following, n, 0 if shift is None else shift.ctypes.data,
        0 if scale is None else scale.ctypes.data, out.ctypes.data, out.strides[0],
    )  # fmt: skip


def values_of(source, *shape):
    """Numbers from all over a dtype's range."""
    rng = np.random.default_rng(shape[1])
    if np.dtype(source).kind == "f":
        most = 4 if np.dtype(source).itemsize == 2 else 30
        return (rng.normal(size=shape) * 10.0 ** rng.integers(-most, most, shape)).astype(source)
    if source == "bool":
        return rng.random(shape) < 0.5
    info = np.iinfo(source)
    values = rng.integers(info.min, info.max, shape, np.dtype(source).newbyteorder("="), endpoint=True).astype(source)
    values[0, 0], values[-1, -1] = info.min, info.max
    return values


def unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)
    result = raw[1:].view(x.dtype).reshape(x.shape)
    result[...] = x
    return result


LAYOUTS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "reversed": lambda x: x[::-1, ::-1].copy()[::-1, ::-1],
    "every second row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "every second column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "columns of one array": lambda x: np.append(x, x, axis=1)[:, : x.shape[1]],
    "one row for all": lambda x: np.broadcast_to(x[0], x.shape),
    "one column for all": lambda x: np.broadcast_to(x[:, :1], x.shape),
    "unaligned": unaligned,
}


@pytest.mark.parametrize("source", SOURCES + FOREIGN)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_reader_of_every_dtype_and_layout(guarded, real, source, layout):
    rng = np.random.default_rng(0)
    for n in (1, 3, 8, 17, 32, 70):
        x = LAYOUTS[layout](values_of(source, ROWS, n))
        shift, scale = (guarded(rng.normal(size=n).astype(real)) for _ in range(2))
        for affine in ((None, None), (shift, scale)):
            for rows in (1, 2, 2 * ROWS):
                index = guarded(rng.integers(0, ROWS, rows))  # in any order, some several times
                out = guarded(np.full((rows + 1, n), -7, real))
                expected = out.copy()
                with np.errstate(over="ignore"):
                    naive_reader(x, index, rows, 0, n, *affine, expected)
                reader(x, index, rows, 0, n, *affine, out)
                np.testing.assert_array_equal(out, expected, f"{n} columns, {rows} rows")


@pytest.mark.parametrize("source", ["float32", "float64", "uint8"])
def test_rows_that_are_only_asked_for_are_not_read(guarded, real, source):
    x = values_of(source, ROWS, 30)
    index, out = guarded(np.arange(ROWS)[::-1].copy()), guarded(np.full((ROWS, 30), -7, real))
    expected = out.copy()
    naive_reader(x, index, 4, 7, 30, None, None, expected)
    reader(x, index, 4, 7, 30, None, None, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("source", ["float32", "float64", "float16", "longdouble", ">f4", ">g"])
@pytest.mark.parametrize("layout", ["C", "Fortran"])
def test_numbers_that_are_not_finite_stay_so(guarded, real, source, layout):
    x = LAYOUTS[layout](np.tile(np.array([np.nan, np.inf, -np.inf, -0.0], source), (2, 5)))
    index, out = guarded(np.arange(2)), guarded(np.zeros((2, 20), real))
    reader(x, index, 2, 0, 20, None, None, out)
    np.testing.assert_array_equal(out[:, :20], x)
    np.testing.assert_array_equal(np.signbit(out[:, 3:20:4]), True)


def naive_sparse_reader(data, indptr, indices, n, order, rows, scale, out, index, slots):
    """Rows ``order`` of a CSR matrix, times ``scale``: the columns that any of them has, listed in ``index`` as they
    are met, become columns of out; how many they are. Of a single row only those that are not zero are left."""
    columns = []
    for row in order[:rows]:
        for column in indices[indptr[row] : indptr[row + 1]]:
            if column not in columns:
                columns.append(column)
    index[: len(columns)] = columns
    out[:rows, : len(columns)] = 0
    for r, row in enumerate(order[:rows]):
        for p in range(indptr[row], indptr[row + 1]):
            column = indices[p]
            out[r, columns.index(column)] += data[p] * (1 if scale is None else scale[column])
    if rows == 1:
        kept = np.flatnonzero(out[0, : len(columns)])
        out[0, : len(kept)], index[: len(kept)] = out[0, kept], index[kept]
        return len(kept)
    return len(columns)


def sparse_reader(data, indptr, indices, n, order, rows, scale, out, index, slots):
    return catalog.load(Variant("sparse_reader", f"{data.dtype.name}.{indices.dtype.name}", out.dtype.name))(
        data.ctypes.data, indptr.ctypes.data, indices.ctypes.data, len(data), n, order.ctypes.data, rows,
        0 if scale is None else scale.ctypes.data, out.ctypes.data, out.strides[0], index.ctypes.data,
        slots.ctypes.data,
    )  # fmt: skip


def sparse_rows(rng, n, source, kind):
    """CSR rows of small integers, some of them 0; columns of even rows ascend, of others they come in any order, some
    twice; every third row is empty, as is the last column."""
    lengths = np.array([0 if row % 3 == 1 else rng.integers(1, n + 1) for row in range(ROWS)])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = rng.integers(0, max(1, n - 1), indptr[-1])
    for row in range(0, ROWS, 2):
        columns = np.unique(indices[indptr[row] : indptr[row + 1]])
        indptr[row + 1 :] -= lengths[row] - len(columns)
        indices = np.concatenate([indices[: indptr[row]], columns, indices[indptr[row] + lengths[row] :]])
    return rng.integers(-8, 9, indptr[-1]).astype(source), indptr.astype(kind), indices.astype(kind)


@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["int32", "int64"])
@pytest.mark.parametrize("scaled", [False, True])
def test_sparse_reader(guarded, real, source, kind, scaled):
    rng = np.random.default_rng(0)
    for n in (1, 2, 9, 40):
        matrix = [guarded(part) for part in sparse_rows(rng, n, source, kind)]
        scale = guarded(rng.integers(-4, 5, n).astype(real)) if scaled else None
        slots = guarded(np.full(n, -1))
        for rows in (1, 2, 5, 2 * ROWS):
            order = guarded(rng.integers(0, ROWS, rows))
            out, index = guarded(np.full((rows + 1, n), -7, real)), guarded(np.full(n, -7))
            expected, expected_index = out.copy(), index.copy()
            count = naive_sparse_reader(*matrix, n, order, rows, scale, expected, expected_index, slots)
            assert sparse_reader(*matrix, n, order, rows, scale, out, index, slots) == count
            np.testing.assert_array_equal(index[:count], expected_index[:count])
            np.testing.assert_array_equal(out[:rows, :count], expected[:rows, :count])
            np.testing.assert_array_equal(out[rows:], expected[rows:])
            assert np.all(slots == -1)


def test_the_last_vector_of_sparse_rows_ends_in_zeros(guarded, real):
    n = 100
    for count in (0, 1, 5, 16, 17, 40):
        data, indices = np.ones(count, real), np.arange(count)
        out, index, slots = guarded(np.full((2, n), -7, real)), guarded(np.zeros(n, int)), guarded(np.full(n, -1))
        indptr, order = np.array([0, count, count]), np.array([1, 0])
        assert sparse_reader(data, indptr, indices, n, order, 2, None, out, index, slots) == count
        expected = np.zeros((2, n))
        expected[1, :count] = 1
        lanes = vector_bytes() // out.itemsize
        whole = -(-count // lanes) * lanes
        np.testing.assert_array_equal(out[:, :whole], expected[:, :whole])
        assert np.all(out[:, whole:n] == -7)


def test_sparse_rows_that_leave_the_matrix_are_left_out(guarded, real):
    data, order = guarded(np.ones(6, real)), guarded(np.array([0, 1]))
    for indptr, indices in (
        ([0, 3, 6], [0, 4, 1000, -1, 4, 2]),
        ([-50, 3, 6], [0, 4, 1, 1, 4, 2]),
        ([0, 3, 1 << 30], [0, 4, 1, 1, 4, 2]),
    ):
        out, index, slots = guarded(np.full((2, 5), -7, real)), guarded(np.full(5, -7)), guarded(np.full(5, -1))
        arrays = guarded(np.array(indptr)), guarded(np.array(indices))
        arrays[1][6:] = 1 << 40
        count = catalog.load(Variant("sparse_reader", f"{data.dtype.name}.int64", out.dtype.name))(
            data.ctypes.data, *(part.ctypes.data for part in arrays), 6, 5, order.ctypes.data, 2, 0, out.ctypes.data,
            out.strides[0], index.ctypes.data, slots.ctypes.data,
        )  # fmt: skip
        inside = [column for column in dict.fromkeys(indices) if 0 <= column < 5]
        assert index[: int(count)].tolist() == inside
        assert np.all(slots[:5] == -1)
