"""The readers of user data: rows of x and y, of any dtype and strides, or of a CSR matrix."""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, force_inlined, peek
from .foreign import is_native, itemsize_of, number_at
from .vectors import prefetch, read_row


def build(name: str, dtype: str):
    """The Python function to compile for "reader.uint8" or "sparse_reader.float32.int64"."""
    real = np.dtype(dtype).type
    family, source, *index = name.split(".")
    if family == "reader":
        return _reader(source, real)
    return _sparse_reader(source, np.dtype(*index).type, real)


def _reader(source, real):
    """Write rows of user data of any strides (in bytes), converted, shifted and scaled, to ``out``, (rows, n).

    Shift and scale are padded vectors; a null shift means neither. ``index`` lists the rows and, behind them, the
    ``following`` ones, which are only fetched into the cache.
    """
    size, out_size = itemsize_of(source), np.dtype(real).itemsize
    number, read_vectors = number_at(source, real), _read_vectors(source, real)

    def read(data, row_stride, column_stride, index, rows, following, n, shift, scale, out, out_row):
        index = array_at(index, rows + following, index)
        for r in range(rows):
            row = data + index[r] * row_stride
            done = 0
            if column_stride == size:
                done = read_vectors(row, n, shift, scale, out + r * out_row)
            for k in range(done, n):
                value = number(row + k * column_stride)
                if shift:
                    value = (value - peek(shift + k * out_size, real)) * peek(scale + k * out_size, real)
                array_at(out + r * out_row, n, real)[k] = value
        if column_stride == size:
            for r in range(rows, rows + following):
                for line in range((n * size + 63) // 64):
                    prefetch(data + index[r] * row_stride + line * 64)
        return 0.0

    return read


def _read_vectors(source, real):
    """What reads numbers that lie side by side, as many as it can, and returns how many; none of foreign kinds."""
    if not is_native(source):
        return force_inlined(lambda row, n, shift, scale, out: 0)
    kind = np.dtype(source).type
    return force_inlined(lambda row, n, shift, scale, out: read_row(real, kind, row, n, shift, scale, out))


def _sparse_reader(source, kind, real):
    """Write rows ``order`` of a CSR matrix to ``out``, (rows, n_columns): it has only the columns that any of the rows
    has, which ``index`` lists; the rest of the last vector becomes zero.

    ``slots``, one for each of the n columns of the matrix, is -1 before and after. Returns n_columns. Of a single row
    zeros that are stored are left out too.
    The user may write to indptr and indices meanwhile: what leaves the matrix, or was not there at the first look, is
    left out.
    """
    size, kind_size, out_size = itemsize_of(source), np.dtype(kind).itemsize, np.dtype(real).itemsize
    number = number_at(source, real)
    lanes = vector_bytes() // out_size

    @force_inlined
    def bounds(indptr, row, n_values):
        """The places of a row's first value and behind its last one, within the matrix."""
        first, end = peek(indptr + row * kind_size, kind), peek(indptr + (row + 1) * kind_size, kind)
        return max(np.int64(first), np.int64(0)), min(np.int64(end), n_values)

    @force_inlined
    def value_at(data, p, scale, column):
        """The value at place p, as the network sees it."""
        value = number(data + p * size)
        return value * peek(scale + column * out_size, real) if scale else value

    @force_inlined
    def read_ascending(data, indices, n, first, end, scale, x, index):
        """Read a row whose columns ascend, as they mostly do: a fifth of the time. -1 where they do not."""
        found, last = 0, -1
        for p in range(first, end):
            column = np.int64(peek(indices + p * kind_size, kind))
            if not last < column < n:
                return -1
            last = column
            value = value_at(data, p, scale, column)
            x[0, found] = value
            index[found] = column
            found += value != 0
        return found

    @force_inlined
    def scaled_without_zeros(found, scale, x, index):
        """Scale the numbers of a row, move those that are not zero, and their columns, to the front, and count them."""
        kept = 0
        for i in range(found):
            column = index[i]
            x[0, kept] = x[0, i] * peek(scale + column * out_size, real) if scale else x[0, i]
            index[kept] = column
            kept += x[0, kept] != 0
        return kept

    @force_inlined
    def fill_vector(found, x, r):
        """Write zeros behind a row's numbers to the end of the last vector."""
        for i in range(found, -(-found // lanes) * lanes):
            x[r, i] = 0

    def read(data, indptr, indices, n_values, n, order, rows, scale, out, out_row, index, slots):
        order = array_at(order, rows, order)
        x = array_at(out, (rows, out_row // out_size), real)
        index = array_at(index, n, np.int64)
        slots = array_at(slots, n, np.int64)
        found = -1
        if rows == 1:
            first, end = bounds(indptr, order[0], n_values)
            found = read_ascending(data, indices, n, first, end, scale, x, index)
        if found >= 0:
            fill_vector(found, x, 0)
            return float(found)
        factors = scale if rows > 1 else 0  # of one row, sums are scaled: those that are zero must be just that
        found = 0
        for r in range(rows):
            first, end = bounds(indptr, order[r], n_values)
            for p in range(first, end):
                column = np.int64(peek(indices + p * kind_size, kind))
                if 0 <= column < n and slots[column] < 0:
                    slots[column] = found
                    index[found] = column
                    found += 1
        for r in range(rows):
            for i in range(-(-found // lanes) * lanes):
                x[r, i] = 0
            first, end = bounds(indptr, order[r], n_values)
            for p in range(first, end):
                column = np.int64(peek(indices + p * kind_size, kind))
                if 0 <= column < n and slots[column] >= 0:
                    x[r, slots[column]] += value_at(data, p, factors, column)
        for i in range(found):
            slots[index[i]] = -1
        if rows == 1:
            found = scaled_without_zeros(found, scale, x, index)
            fill_vector(found, x, 0)
        return float(found)

    return read
