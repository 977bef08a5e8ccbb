"""The matrix products of a layer, made of the register tiles of tiles.py.

Each function is compiled on its own and called by address, so that all kernels share one copy. Matrices are addresses
and strides in bytes; rows are whole vectors, padded with zeros. ``rows`` and ``depth`` count numbers, ``vectors``
vectors.
"""

from __future__ import annotations

import numpy as np

from .cpu import compressor, has_many_registers, vector_bytes
from .decorators import array_at, force_inlined, kernel_function, size_of
from .layout import A_ROOM, B_ROOM, PANEL_BYTES, PANEL_DEPTH, PANEL_ROWS, PANELED_FROM, PANELED_ROWS
from .tiles import (
    backward_and_update,
    backward_and_update_by_inputs,
    fetch_rows,
    sum_of_inner_products,
    sum_of_outer_products,
    sum_of_weighted_rows,
)
from .vectors import copy, count_nonzero, nonzero_columns

VECTOR_BYTES = vector_bytes()
# Tiles: width in vectors, then heights in rows, tall ones first. Measured with 12 rows, 768 deep, 128 wide, in GFLOP/s
# on one AVX-512 core: 6 rows × 4 vectors 180 (as an update 157), 6 × 1 140 (127), 1 × 4 80; sgemm 150 to 190.
# The wide ones have every height, so that rows that are left over read B once: 0.75 of the time of 4 rows of
# 784-512-512-10, 0.77 of 784-128-10. That changes no bit, as it would among tiles of less than four sums.
# With few registers four rows keep both units of a core busy, two do not: 0.73 to 0.85 of the time of 10 rows of
# 784-128-10, 0.70 to 0.79 of 784-512-512-10; and again no bit changes, as it would with three or five rows.
TILES = (
    ((4, (6, 5, 4, 3, 2, 1)), (2, (12, 4, 1)), (1, (12, 4, 1)))
    if has_many_registers()
    else ((2, (6, 4, 2, 1)), (1, (6, 2, 1)))
)
# After a multiple of so many rows, A and C can be cut and no bit changes: tiles of less than four sums, which sum in
# parts (`Emitter.loop_with_partial_sums`), take the last rows alone.
SHARED_ROWS = 8 if has_many_registers() else 6
FETCHED = 64  # from this depth on a tile fetches the next rows of C: 0.84 of the time of updates of 4096 × 1024
SLICE = 192  # the largest depth that a tile sums at once: of tiles of less than four sums, it decides the bits
# The same for the widest tiles, alone and in panels. And what is multiplied in panels: from how many rows of A on, and
# if rows of B have how many bytes, the last for a transposed A.
# With 32 registers a tile makes 24 multiply-adds for four vectors of B, which the L2 cache keeps up with: on a Zen 5
# core, of 271 GFLOP/s at most, 64, 96 and 256 rows of 784 × 128 go from 247 GFLOP/s with slices of 192 to 265, and in
# panels 256 rows of 1024 × 1024 from 225 to 247, of 4096 × 1024 from 216 to 234. 256 rows of 784 × 512 made 239 in
# panels 192 deep, now 256, and 262 without panels. As an update 512 numbers wide they make 247 in panels, 260 without;
# but on the Xeon of `_product` panels are what is faster.
# With 16 registers a strip of B is one cache line wide, and the L2 cache of such machines has 256 or 512 KiB. Measured
# on an AMD Zen 3 (AVX2) beside panels from 128 rows and 2048 bytes on, median of 20 to 25 turns: 784-512-512-10 in
# batches of 64 1.33 times as fast, of 512 1.18; 784-256-256-10 of 128 1.16; 784-1024-1024-1024-10 of 512 1.12;
# 784-128-10 of 128 1.04, of 32 1.01; but from 32 rows on 0.95 of 32.
WIDE_SLICE, PANEL_SLICE, FROM_ROWS, FROM_BYTES, FROM_BYTES_TRANSPOSED = (
    (800, PANEL_DEPTH, 128, 4096, 2048)
    if has_many_registers()
    else (SLICE, SLICE, PANELED_ROWS, PANELED_FROM, PANELED_FROM)
)
# Rows of A that are multiplied with WIDEST rows of W at once. With 32 registers 64 and 66 rows of 64 × 64 make 168
# GFLOP/s by threes and 182 by twos, 96 of 512 × 512 248 and 254, on a Zen 5 core; with 16, two rows have too few sums.
INNER_ROWS = 2 if has_many_registers() else 3
# Vectors of one row or two, or rows of W, whose sums are kept at once. Two rows of 784 × 512 make 117 GFLOP/s so, 89
# by tiles like the others: weights come from the L3 cache faster in longer pieces. With 16 registers 60 and 33.
WIDEST = 8 if has_many_registers() else 4


def build(name: str, dtype: str):
    """The Python function to compile for a name, for reals of that dtype."""
    return {
        "product": _product,
        "inner_products": _inner_products,
        "weighted_rows": _weighted_rows,
        "backward_and_update": _backward_and_update,
        "backward_and_update_by_inputs": _backward_and_update_by_inputs,
        "list_nonzero_columns": _list_nonzero_columns,
    }[name](np.dtype(dtype).type)


def _product(real):
    """C[c_index[r]] = start[c_index[r]] + Σ_k A[r, k] B[b_index[k]], for rows, columns and strides of any kind.

    With start_row 0 the start is one row for all, a bias; with start = C it is an update. 2 · rows · depth ·
    columns operations.

    The depth is cut so that a strip of B, as wide as a tile, stays in a near cache for PANEL_ROWS rows of A, and these
    for all strips. With ``room``, ROOM bytes at an address, or 0, many wide rows are multiplied panel by panel, from
    copies of B's panels, and of A's where that is a transpose: rows of wide matrices share few lines of the caches,
    copies use all of them (Goto & van de Geijn, Anatomy of high-performance matrix multiplication, 2008). On one Xeon
    core with AVX-512 256 rows of 4096 × 1024 went from 119 to 147 GFLOP/s, as an update from 99 to 150; 256 × 784 × 512
    stayed at 148, and went from 130 to 150; sgemm made 137 to 150. The sums of wide tiles are the same whatever the
    depth of a slice.
    """

    @kernel_function
    def no_more(a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index, rows, depth):
        pass

    @kernel_function
    def depth_of_slices(depth, most):
        slices = max(1, (depth + most - 1) // most)
        return (depth + slices - 1) // slices

    def sweep(width, heights):
        if not heights:
            return no_more
        height, lower = heights[0], sweep(width, heights[1:])

        @kernel_function
        def as_many_as_fit(a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index, rows, depth):
            done = 0
            while done + height <= rows:
                if depth >= FETCHED and done + 2 * height <= rows:
                    fetch_rows(height, width, real, c, c_row, c_index + 8 * (done + height))
                sum_of_outer_products(
                    height, width, real, depth, a + done * a_row, a_row, a_step, b, b_row, b_index,
                    start, start_row, c, c_row, c_index + 8 * done,
                )  # fmt: skip
                done += height
            if done < rows:
                lower(
                    a + done * a_row, a_row, a_step, b, b_row, b_index,
                    start, start_row, c, c_row, c_index + 8 * done, rows - done, depth,
                )  # fmt: skip

        return as_many_as_fit

    def strips_of(width, all_rows, most):
        @kernel_function
        def strips(a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index, rows, vectors, depth):
            whole, slice_depth = vectors // width * width, depth_of_slices(depth, most)
            for done in range(0, whole, width):
                d = done * VECTOR_BYTES
                source, source_row, k = start + d, start_row, 0
                while True:
                    deep = min(slice_depth, depth - k)
                    all_rows(
                        a + k * a_step, a_row, a_step, b + d, b_row, b_index + 8 * k,
                        source, source_row, c + d, c_row, c_index, rows, deep,
                    )  # fmt: skip
                    k += deep
                    if k >= depth:
                        break
                    source, source_row = c + d, c_row
            return whole

        return strips

    sweeps = [sweep(width, heights) for width, heights in TILES]
    widest, widest_sweep = TILES[0][0], sweeps[0]
    strip = widest * VECTOR_BYTES
    copied_row = PANEL_ROWS * np.dtype(real).itemsize

    @kernel_function
    def copy_strips(b, b_row, b_index, n_strips, depth, target):
        numbers = array_at(b_index, depth, np.int64)
        for k in range(depth):
            for i in range(n_strips):
                copy(target + (i * PANEL_DEPTH + k) * strip, b + numbers[k] * b_row + i * strip, strip)

    @kernel_function
    def wide(a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index, rows, vectors, depth, room):
        copy_of_a, copy_of_b, identity = room, room + A_ROOM, room + A_ROOM + B_ROOM
        done, whole = 0, vectors // widest * widest
        in_one, slice_depth = whole, depth_of_slices(depth, WIDE_SLICE)
        if room:
            in_one, slice_depth = PANEL_BYTES // strip * widest, depth_of_slices(depth, PANEL_SLICE)
            numbers = array_at(identity, PANEL_DEPTH, np.int64)
            for k in range(PANEL_DEPTH):
                numbers[k] = k
        while done < whole:
            n_strips, d = min(in_one, whole - done) // widest, done * VECTOR_BYTES
            source, source_row, k = start + d, start_row, 0
            while True:
                deep = min(slice_depth, depth - k)
                panel_of_b, next_strip, panel_row, index = b + d, strip, b_row, b_index + 8 * k
                if room:
                    copy_strips(panel_of_b, b_row, index, n_strips, deep, copy_of_b)
                    panel_of_b, next_strip, panel_row, index = copy_of_b, PANEL_DEPTH * strip, strip, identity
                for first in range(0, rows, PANEL_ROWS):
                    n_rows = min(PANEL_ROWS, rows - first)
                    panel_of_a, step = a + first * a_row + k * a_step, a_step
                    if room and a_row == size_of(real):
                        for i in range(deep):
                            copy(copy_of_a + i * copied_row, panel_of_a + i * a_step, n_rows * size_of(real))
                        panel_of_a, step = copy_of_a, copied_row
                    for i in range(n_strips):
                        widest_sweep(
                            panel_of_a, a_row, step, panel_of_b + i * next_strip, panel_row, index,
                            source + i * strip, source_row, c + d + i * strip, c_row, c_index + 8 * first, n_rows, deep,
                        )  # fmt: skip
                k += deep
                if k >= depth:
                    break
                source, source_row = c + d, c_row
            done += in_one
        return whole

    others = [strips_of(width, all_rows, SLICE) for (width, _), all_rows in zip(TILES, sweeps, strict=True)][1:]
    middle, narrow, pairs = others[0], others[-1], strips_of(WIDEST, sweep(WIDEST, (2,)), WIDE_SLICE)

    def product(a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index, rows, vectors, depth, room):
        done = 0
        if rows == 2:
            done = pairs(a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index, rows, vectors, depth)
        least = FROM_BYTES_TRANSPOSED if a_row == size_of(real) else FROM_BYTES
        in_panels = rows >= FROM_ROWS and vectors * VECTOR_BYTES >= least
        d = done * VECTOR_BYTES
        done += wide(
            a, a_row, a_step, b + d, b_row, b_index,
            start + d, start_row, c + d, c_row, c_index, rows, vectors - done, depth, room if in_panels else 0,
        )  # fmt: skip
        d = done * VECTOR_BYTES
        done += middle(
            a, a_row, a_step, b + d, b_row, b_index,
            start + d, start_row, c + d, c_row, c_index, rows, vectors - done, depth,
        )  # fmt: skip
        d = done * VECTOR_BYTES
        narrow(
            a, a_row, a_step, b + d, b_row, b_index,
            start + d, start_row, c + d, c_row, c_index, rows, vectors - done, depth,
        )  # fmt: skip
        return 0.0

    return product


def _inner_products(real):
    """C[r, j] = start[j] + Σ_k A[r, k] W[j, k] over ``vectors`` vectors."""
    item = np.dtype(real).itemsize

    def columns(width):
        @kernel_function
        def for_all_rows(a, a_row, w, w_row, n_rows, start, c, c_row, rows, vectors):
            r = 0
            while r + INNER_ROWS <= rows:
                sum_of_inner_products(
                    INNER_ROWS,
                    width,
                    real,
                    vectors,
                    a + r * a_row,
                    a_row,
                    w,
                    w_row,
                    n_rows,
                    start,
                    c + r * c_row,
                    c_row,
                )
                r += INNER_ROWS
            while r < rows:
                sum_of_inner_products(
                    1, width, real, vectors, a + r * a_row, a_row, w, w_row, n_rows, start, c + r * c_row, c_row
                )
                r += 1

        return for_all_rows

    width, few = min(WIDEST, VECTOR_BYTES // item), 2
    wide, narrow = columns(width), columns(few)

    def inner_products(a, a_row, w, w_row, start, c, c_row, rows, n_rows, vectors):
        j = 0
        while j + few < n_rows:
            d = j * item
            wide(a, a_row, w + j * w_row, w_row, n_rows - j, start + d, c + d, c_row, rows, vectors)
            j += width
        if j < n_rows:
            d = j * item
            narrow(a, a_row, w + j * w_row, w_row, n_rows - j, start + d, c + d, c_row, rows, vectors)
        return 0.0

    return inner_products


def _weighted_rows(real):
    """z = start + Σ_i x[x_index[i]] W[w_index[i], :] over ``count`` rows: the product for a single sample."""
    width = WIDEST

    def weighted_rows(count, x, x_index, w, w_row, w_index, start, z, vectors):
        done = 0
        while done + width <= vectors:
            d = done * VECTOR_BYTES
            sum_of_weighted_rows(width, real, count, x, x_index, w + d, w_row, w_index, start + d, z + d)
            done += width
        while done + 2 <= vectors:
            d = done * VECTOR_BYTES
            sum_of_weighted_rows(2, real, count, x, x_index, w + d, w_row, w_index, start + d, z + d)
            done += 2
        if done < vectors:
            d = done * VECTOR_BYTES
            sum_of_weighted_rows(1, real, count, x, x_index, w + d, w_row, w_index, start + d, z + d)
        return 0.0

    return weighted_rows


def _backward_and_update(real):
    """Write dx = delta W, then add scaled ⊗ x to W, for one sample, in one pass over W."""
    width = TILES[0][0]

    def both(n_out, delta, scaled, w, w_row, x, dx, vectors):
        done = 0
        while done + width <= vectors:
            d = done * VECTOR_BYTES
            backward_and_update(width, real, n_out, delta, scaled, w + d, w_row, x + d, dx + d)
            done += width
        while done < vectors:
            d = done * VECTOR_BYTES
            backward_and_update(1, real, n_out, delta, scaled, w + d, w_row, x + d, dx + d)
            done += 1
        return 0.0

    return both


def _backward_and_update_by_inputs(real):
    """Write dx = W delta, then add x ⊗ scaled to W, for one sample and W stored by inputs, in one pass over the rows of
    the ``count`` inputs that ``index`` lists; dx of the others is 0.

    ``index`` has room for WIDEST numbers more.
    """
    itemsize = np.dtype(real).itemsize
    height = min(WIDEST, VECTOR_BYTES // itemsize)

    def both(count, index, n_in, delta, scaled, w, w_row, x, dx, vectors):
        zeros = array_at(dx, n_in, real)
        for k in range(n_in):
            zeros[k] = 0
        numbers = array_at(index, count + height, np.int64)
        for i in range(height):  # a tile that is not full takes its last input several times
            numbers[count + i] = numbers[count - 1] if count > 0 else 0
        done = 0
        while done < count:
            backward_and_update_by_inputs(height, real, index + 8 * done, vectors, delta, scaled, w, w_row, x, dx)
            done += height
        return 0.0

    return both


@force_inlined
def _all_if_dense(found, n, index):
    """List all n columns if a row has more than three quarters of them; return how many columns are listed."""
    if 4 * found <= 3 * n:
        return found
    numbers = array_at(index, n, np.int64)
    for k in range(n):
        numbers[k] = k
    return n


@kernel_function
def list_columns_of_row(x, n, index, real):
    """List the columns of a row of whole vectors that are not zero, or all n where few are zero; count them."""
    vectors = (n * size_of(real) + VECTOR_BYTES - 1) // VECTOR_BYTES
    return _all_if_dense(nonzero_columns(False, real, x, 0, 1, vectors, index), n, index)


def _list_nonzero_columns(real):
    """Move the columns of x that are not zero in all rows to the front, list them in ``index``, and count them.

    Where the first row has few zeros, all columns stay. The rest of the last vector becomes zero.
    """
    itemsize = np.dtype(real).itemsize
    lanes = VECTOR_BYTES // itemsize
    can_move = compressor() is not None

    def list_nonzero_columns(x, x_row, rows, n, index):
        numbers = array_at(index, n, np.int64)
        vectors = -(-n // lanes)
        if rows == 1:
            found = list_columns_of_row(x, n, index, real)
        else:  # of the first row their number is enough
            found = _all_if_dense(count_nonzero(real, x, vectors), n, index)
            if found < n:
                found = nonzero_columns(can_move, real, x, x_row, rows, vectors, index)
        if found == n:
            return float(n)
        x = array_at(x, (rows, x_row // itemsize), real)
        for r in range(rows):
            if rows == 1 or not can_move:
                for i in range(found):
                    x[r, i] = x[r, numbers[i]]
            for i in range(found, -(-found // lanes) * lanes):
                x[r, i] = 0
        return float(found)

    return list_nonzero_columns
