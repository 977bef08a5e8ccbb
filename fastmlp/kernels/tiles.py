"""Register tiles: the innermost loops of the matrix products, as explicit vectors.

Each is one loop over the summed index with all its sums in registers (README.md draws one). Matrices come as addresses
and strides in bytes, because one tile serves every orientation of them.
"""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from .cpu import vector_bytes
from .emitter import INT64, Emitter

__all__ = [
    "add_outer_product",
    "backward_and_update",
    "backward_and_update_by_inputs",
    "backward_and_update_rows",
    "fetch_rows",
    "sum_of_all_rows",
    "sum_of_following_rows",
    "sum_of_inner_products",
    "sum_of_listed_rows",
    "sum_of_outer_products",
    "sum_of_weighted_rows",
    "sums_for_few_columns",
]

_AT_ONCE = 8  # sums, where nothing else hides how long a multiply-add takes
_HELD = 4  # vectors of a row that are kept in registers beside what is summed


@intrinsic(prefer_literal=True)
def sum_of_outer_products(
    typingctx, m, n, real, depth, a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index
):
    """C[c_index[r], :] = start[c_index[r], :] + Σ_k A[r, k] B[b_index[k], :] for m rows and n vectors: m n sums.

    Strides are in bytes: ``a_row`` and ``a_step`` from row to row and from k to k of A, so that A may be a transpose.
    """
    rows, vectors = m.literal_value, n.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, depth, a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index = args
        emit = Emitter(context, builder, real.dtype)
        numbers = [emit.index(c_index, INT64(r)) for r in range(rows)]
        a_rows = [emit.offset(a, INT64(r), a_row) for r in range(rows)]
        starts = [emit.offset(start, number, start_row) for number in numbers]

        def row_of_b(k):
            return emit.offset(b, emit.index(b_index, k), b_row)

        def row_of_c(r):
            return emit.offset(c, numbers[r], c_row)

        _sum_of_outer_products(emit, vectors, depth, a_rows, a_step, row_of_b, starts, row_of_c)
        return context.get_dummy_value()

    arguments = m, n, real, depth, a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index
    return types.void(*arguments), codegen


@intrinsic(prefer_literal=True)
def sum_of_following_rows(typingctx, m, n, real, depth, a, a_row, a_step, b, b_row, start, start_row, c, c_row):
    """`sum_of_outer_products` for rows of B and C that follow each other."""
    rows, vectors = m.literal_value, n.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, depth, a, a_row, a_step, b, b_row, start, start_row, c, c_row = args
        emit = Emitter(context, builder, real.dtype)
        a_rows, starts = (
            [emit.offset(place, INT64(r), row) for r in range(rows)] for place, row in ((a, a_row), (start, start_row))
        )

        def row_of_b(k):
            return emit.offset(b, k, b_row)

        def row_of_c(r):
            return emit.offset(c, INT64(r), c_row)

        _sum_of_outer_products(emit, vectors, depth, a_rows, a_step, row_of_b, starts, row_of_c, _AT_ONCE)
        return context.get_dummy_value()

    return types.void(m, n, real, depth, a, a_row, a_step, b, b_row, start, start_row, c, c_row), codegen


def _sum_of_outer_products(emit, vectors, depth, a_rows, a_step, row_of_b, starts, row_of_c, at_least=4):
    """Emit C[r] = start[r] + Σ_k A[r, k] B[k] for rows of so many vectors; C's stand at ``row_of_c(r)``, B's at
    ``row_of_b(k)``."""

    def step(k, sums):
        along = emit.builder.mul(k, a_step)
        place = row_of_b(k)
        row = [emit.load(place, column) for column in range(vectors)]
        factors = [emit.broadcast(emit.builder.add(place, along)) for place in a_rows]
        return [
            emit.multiply_add(factors[r], row[column], sums[r * vectors + column])
            for r in range(len(a_rows))
            for column in range(vectors)
        ]

    starts = [emit.load(place, column) for place in starts for column in range(vectors)]
    sums = emit.loop_with_partial_sums(depth, starts, step, at_least)
    for r in range(len(a_rows)):
        place = row_of_c(r)
        for column in range(vectors):
            emit.store(sums[r * vectors + column], place, column)


@intrinsic(prefer_literal=True)
def fetch_rows(typingctx, m, n, real, c, c_row, c_index):
    """Have n vectors of m rows C[c_index[r]] brought to the cache, for a tile that is to come."""

    def codegen(context, builder, signature, args):
        _, _, _, c, c_row, c_index = args
        emit = Emitter(context, builder, real.dtype)
        for r in range(m.literal_value):
            emit.fetch(emit.offset(c, emit.index(c_index, INT64(r)), c_row), n.literal_value * vector_bytes())
        return context.get_dummy_value()

    return types.void(m, n, real, c, c_row, c_index), codegen


@intrinsic(prefer_literal=True)
def sum_of_inner_products(typingctx, m, n, real, steps, a, a_row, w, w_row, n_rows, start, c, c_row):
    """C[r, j] = start[j] + Σ_k A[r, k] W[j, k] for m rows of A and n rows of W (a power of two, at most a vector).

    Both run along k, ``steps`` vectors of it. Where W has fewer than n rows, n_rows, C gets zeros for the others.
    """
    rows, width = m.literal_value, n.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, steps, a, a_row, w, w_row, n_rows, start, c, c_row = args
        emit = Emitter(context, builder, real.dtype)
        last = builder.sub(n_rows, INT64(1))
        a_rows = [emit.offset(a, INT64(r), a_row) for r in range(rows)]
        inside = emit.first(n_rows)
        w_rows = []
        for j in range(width):
            number = builder.select(builder.icmp_signed("<", INT64(j), n_rows), INT64(j), last)
            w_rows.append(emit.offset(w, number, w_row))

        def step(k, sums):
            along = builder.mul(k, INT64(vector_bytes()))
            parts = [emit.load(builder.add(place, along)) for place in a_rows]
            result = []
            for j in range(width):
                row_of_w = emit.load(builder.add(w_rows[j], along))
                for r in range(rows):
                    result.append(emit.multiply_add(row_of_w, parts[r], sums[j * rows + r]))
            return result

        sums = emit.loop(steps, [emit.zero] * (rows * width), step)
        for r in range(rows):
            total = emit.add(emit.sums_within(sums[r::rows]), emit.load_first(width, start))
            emit.store_first(width, builder.select(inside, total, emit.zero), emit.offset(c, INT64(r), c_row))
        return context.get_dummy_value()

    return types.void(m, n, real, steps, a, a_row, w, w_row, n_rows, start, c, c_row), codegen


@intrinsic(prefer_literal=True)
def sums_for_few_columns(typingctx, n, real, steps, rows, each, a, d, row, w, w_row, n_rows, scale, c):
    """C[r, j] = scale[j] Σ_k (A[r, k] D[r // each, k]) W[j, k] for all rows of A and up to n rows of W, n_rows (n is a
    power of two): as many sums at a time as a vector has numbers.

    All run along k, ``steps`` vectors of it; A and D have one stride. C's rows have n_rows numbers and no padding, and
    nothing is written behind the last one.
    """

    def codegen(context, builder, signature, args):
        _, _, steps, rows, each, a, d, row, w, w_row, n_rows, scale, c = args
        emit = Emitter(context, builder, real.dtype)
        width = min(n.literal_value, emit.lanes)
        height = emit.lanes // width

        def up_to(number, count):
            last = builder.sub(count, INT64(1))
            return builder.select(builder.icmp_signed("<", number, count), number, last)

        w_rows = [emit.offset(w, up_to(INT64(j), n_rows), w_row) for j in range(width)]
        scales, inside = emit.load_first(width, scale), emit.first(n_rows)
        size = builder.mul(n_rows, INT64(emit.itemsize))

        def tile(i, _):
            first = builder.mul(i, INT64(height))
            numbers = [up_to(builder.add(first, INT64(r)), rows) for r in range(height)]
            places = [(emit.offset(a, k, row), emit.offset(d, builder.sdiv(k, each), row)) for k in numbers]

            def step(k, sums):
                along = builder.mul(k, INT64(vector_bytes()))
                parts = [builder.fmul(*(emit.load(builder.add(place, along)) for place in pair)) for pair in places]
                columns = [emit.load(builder.add(place, along)) for place in w_rows]
                pairs = [(part, column) for part in parts for column in columns]
                return [emit.multiply_add(*pair, total) for pair, total in zip(pairs, sums, strict=True)]

            total = emit.sums_within(emit.loop(steps, [emit.zero] * emit.lanes, step))
            for r, number in enumerate(numbers):
                of_row = emit.shuffle(total, total, [r * width + j % width for j in range(emit.lanes)])
                emit.store_where(inside, builder.fmul(of_row, scales), emit.offset(c, number, size))
            return []

        emit.loop(builder.sdiv(builder.add(rows, INT64(height - 1)), INT64(height)), [], tile)
        return context.get_dummy_value()

    return types.void(n, real, steps, rows, each, a, d, row, w, w_row, n_rows, scale, c), codegen


@intrinsic(prefer_literal=True)
def sum_of_weighted_rows(typingctx, n, real, count, x, x_index, w, w_row, w_index, start, z):
    """z = start + Σ_i x[x_index[i]] W[w_index[i], :] over ``count`` rows, for n vectors."""

    def codegen(context, builder, signature, args):
        _, _, count, x, x_index, w, w_row, w_index, start, z = args
        emit = Emitter(context, builder, real.dtype)

        def row(i):
            place = emit.offset(w, emit.index(w_index, i), w_row)
            return emit.offset(x, emit.index(x_index, i), INT64(emit.itemsize)), place

        _sum_of_rows(emit, n.literal_value, count, row, start, z)
        return context.get_dummy_value()

    return types.void(n, real, count, x, x_index, w, w_row, w_index, start, z), codegen


@intrinsic(prefer_literal=True)
def sum_of_all_rows(typingctx, n, real, count, x, w, w_row, ahead, start, z):
    """`sum_of_weighted_rows` of the first ``count`` rows, with its bits. What stands ``ahead`` bytes behind a row is
    fetched; it may be anybody's."""
    vectors = n.literal_value

    def codegen(context, builder, signature, args):
        _, _, count, x, w, w_row, ahead, start, z = args
        emit = Emitter(context, builder, real.dtype)

        def row(i):
            place = emit.offset(w, i, w_row)
            emit.fetch(builder.add(place, ahead), vectors * vector_bytes(), to_write=False)
            return emit.offset(x, i, INT64(emit.itemsize)), place

        _sum_of_rows(emit, vectors, count, row, start, z)
        return context.get_dummy_value()

    return types.void(n, real, count, x, w, w_row, ahead, start, z), codegen


@intrinsic(prefer_literal=True)
def sum_of_listed_rows(typingctx, n, listed, real, count, x, w, w_row, index, start, z):
    """z = start + Σ_k x[k] W[k, :] for n vectors, over the ``count`` rows k that ``index`` lists, or unless ``listed``
    over the first ones; in another order than `sum_of_weighted_rows`."""
    vectors, by_index = n.literal_value, listed.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, count, x, w, w_row, index, start, z = args
        emit = Emitter(context, builder, real.dtype)

        def row(i):
            k = emit.index(index, i) if by_index else i
            return emit.offset(x, k, INT64(emit.itemsize)), emit.offset(w, k, w_row)

        _sum_of_rows(emit, vectors, count, row, start, z, _AT_ONCE)
        return context.get_dummy_value()

    return types.void(n, listed, real, count, x, w, w_row, index, start, z), codegen


def _sum_of_rows(emit, vectors, count, row, start, z, at_least=4):
    """Emit z = start + Σ_i of a number times a row of so many vectors, whose addresses are ``row(i)``."""

    def step(i, sums):
        number, place = row(i)
        factor = emit.broadcast(number)
        return [emit.multiply_add(factor, emit.load(place, column), sums[column]) for column in range(vectors)]

    starts = [emit.load(start, column) for column in range(vectors)]
    sums = emit.loop_with_partial_sums(count, starts, step, at_least)
    for column in range(vectors):
        emit.store(sums[column], z, column)


@intrinsic(prefer_literal=True)
def add_outer_product(typingctx, n, real, rows, factors, x, w, w_row):
    """W[k, :] += factors[k] x for n vectors of ``rows`` rows."""
    vectors = n.literal_value

    def codegen(context, builder, signature, args):
        _, _, rows, factors, x, w, w_row = args
        emit = Emitter(context, builder, real.dtype)
        added = [emit.load(x, column) for column in range(vectors)]

        def step(k, _):
            place = emit.offset(w, k, w_row)
            factor = emit.broadcast(emit.offset(factors, k, INT64(emit.itemsize)))
            for column in range(vectors):
                emit.store(emit.multiply_add(factor, added[column], emit.load(place, column)), place, column)
            return []

        emit.loop(rows, [], step)
        return context.get_dummy_value()

    return types.void(n, real, rows, factors, x, w, w_row), codegen


@intrinsic(prefer_literal=True)
def backward_and_update(typingctx, n, real, n_out, delta, scaled, w, w_row, x, dx):
    """dx = Σ_j delta[j] W[j, :] with the old W, and W[j, :] += scaled[j] x, for n vectors of W's columns."""
    vectors = n.literal_value

    def codegen(context, builder, signature, args):
        _, _, n_out, delta, scaled, w, w_row, x, dx = args
        emit = Emitter(context, builder, real.dtype)
        inputs = [emit.load(x, column) for column in range(vectors)]

        def step(j, sums):
            along = builder.mul(j, INT64(emit.itemsize))
            d = emit.broadcast(builder.add(delta, along))
            s = emit.broadcast(builder.add(scaled, along))
            place = emit.offset(w, j, w_row)
            result = []
            for column in range(vectors):
                old = emit.load(place, column)
                result.append(emit.multiply_add(d, old, sums[column]))
                emit.store(emit.multiply_add(s, inputs[column], old), place, column)
            return result

        sums = emit.loop(n_out, [emit.zero] * vectors, step)
        for column in range(vectors):
            emit.store(sums[column], dx, column)
        return context.get_dummy_value()

    return types.void(n, real, n_out, delta, scaled, w, w_row, x, dx), codegen


@intrinsic(prefer_literal=True)
def backward_and_update_by_inputs(typingctx, m, real, index, vectors, delta, scaled, w, w_row, x, dx):
    """dx[k] = Σ_j delta[j] W[k, j] with the old W, and W[k, :] += x[k] scaled, for the m inputs k, a power of two and
    at most a vector, that ``index`` lists. An input may be listed twice."""
    rows = m.literal_value

    def codegen(context, builder, signature, args):
        _, _, index, vectors, delta, scaled, w, w_row, x, dx = args
        emit = Emitter(context, builder, real.dtype)
        numbers = [emit.index(index, INT64(r)) for r in range(rows)]
        places = [emit.offset(w, number, w_row) for number in numbers]
        inputs = [emit.broadcast(emit.offset(x, number, INT64(emit.itemsize))) for number in numbers]

        def step(j, sums):
            along = builder.mul(j, INT64(vector_bytes()))
            d = emit.load(builder.add(delta, along))
            s = emit.load(builder.add(scaled, along))
            old = [emit.load(builder.add(place, along)) for place in places]  # all, before any is stored
            for r in range(rows):
                emit.store(emit.multiply_add(inputs[r], s, old[r]), builder.add(places[r], along))
            return [emit.multiply_add(d, old[r], sums[r]) for r in range(rows)]

        total = emit.sums_within(emit.loop(vectors, [emit.zero] * rows, step))
        for r, number in enumerate(numbers):
            value = builder.extract_element(total, INT64(r))
            place = builder.inttoptr(emit.offset(dx, number, INT64(emit.itemsize)), emit.real.as_pointer())
            builder.store(value, place, align=emit.itemsize)
        return context.get_dummy_value()

    return types.void(m, real, index, vectors, delta, scaled, w, w_row, x, dx), codegen


@intrinsic(prefer_literal=True)
def backward_and_update_rows(typingctx, m, n, listed, real, first, index, delta, scaled, w, w_row, x, dx):
    """`backward_and_update_by_inputs` for the m inputs from number ``first`` on of those that ``index`` lists, each
    once, or unless ``listed`` of all. Rows have n vectors, which are read once, with their sum, and written at once."""
    rows, vectors, by_index = m.literal_value, n.literal_value, listed.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, _, first, index, delta, scaled, w, w_row, x, dx = args
        emit = Emitter(context, builder, real.dtype)
        numbers = [builder.add(first, INT64(r)) for r in range(rows)]
        if by_index:
            numbers = [emit.index(index, number) for number in numbers]
        deltas, steps = (_row_reader(emit, address, vectors) for address in (delta, scaled))
        sums = []
        for number in numbers:
            place = emit.offset(w, number, w_row)
            factor, total = emit.broadcast(emit.offset(x, number, INT64(emit.itemsize))), emit.zero
            for column in range(vectors):
                old = emit.load(place, column)
                total = emit.multiply_add(deltas(column), old, total)
                emit.store(emit.multiply_add(factor, steps(column), old), place, column)
            sums.append(total)
        total = emit.sums_within(sums)
        if by_index:
            for r, number in enumerate(numbers):
                target = builder.inttoptr(emit.offset(dx, number, INT64(emit.itemsize)), emit.real.as_pointer())
                builder.store(builder.extract_element(total, INT64(r)), target, align=emit.itemsize)
        else:
            emit.store_first(rows, total, emit.offset(dx, first, INT64(emit.itemsize)))
        return context.get_dummy_value()

    return types.void(m, n, listed, real, first, index, delta, scaled, w, w_row, x, dx), codegen


def _row_reader(emit, address, vectors):
    """A function that gives vector number ``column`` of a row: from a register, where there are few, else read anew."""
    if vectors > _HELD:
        return lambda column: emit.load(address, column)
    return [emit.load(address, column) for column in range(vectors)].__getitem__
