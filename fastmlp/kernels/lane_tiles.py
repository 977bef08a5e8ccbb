"""Register tiles of networks that lie side by side, one in each lane: a row is ``vectors`` vectors, one number a lane.

Unlike the products of tiles.py these share no weights between rows: each weight is loaded, used for one sample, and
stored. Matrices of weights are (n_out, n_in) rows, one behind the other.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .cpu import vector_bytes
from .emitter import INT64, Emitter

__all__ = [
    "add_label_matches", "add_right_classes", "cross_entropy_rows", "gather_samples", "keep_finite", "lane_backward",
    "lane_products", "lane_update", "repeat_numbers", "scale_rows", "softmax_begin", "softmax_end",
]  # fmt: skip


class _Rows:
    """Loads and stores of whole rows."""

    def __init__(self, emit, vectors):
        self.emit, self.vectors, self.bytes = emit, vectors, INT64(vectors * vector_bytes())

    def at(self, address, number):
        """The address of a row."""
        return self.emit.offset(address, number, self.bytes)

    def load(self, address):
        return [self.emit.load(address, column) for column in range(self.vectors)]

    def store(self, values, address):
        for column, value in enumerate(values):
            self.emit.store(value, address, column)

    def multiply_add(self, p, q, r):
        return [self.emit.multiply_add(*operands) for operands in zip(p, q, r, strict=True)]

    def each(self, function, *rows):
        """A function of vectors, applied to each vector of rows."""
        return [function(*operands) for operands in zip(*rows, strict=True)]

    def repeated(self, value):
        """A row of one number."""
        return [self.emit.vector([value] * self.emit.lanes)] * self.vectors

    def loop(self, n, sums, step):
        """sums = step(i, sums) for i from 0 to n, where sums are rows."""
        width = self.vectors

        def flat_step(i, values):
            parts = [values[k : k + width] for k in range(0, len(values), width)]
            return [value for part in step(i, *parts) for value in part]

        values = self.emit.loop(n, [value for part in sums for value in part], flat_step)
        return [values[k : k + width] for k in range(0, len(values), width)]


@intrinsic(prefer_literal=True)
def repeat_numbers(typingctx, vectors, real, n, x, out):
    """out[k] = x[k] in all lanes, for n numbers of x."""

    def codegen(context, builder, signature, args):
        _, _, n, x, out = args
        emit, rows = _of_rows(vectors, real, context, builder)

        def step(k):
            rows.store([emit.broadcast(emit.offset(x, k, INT64(emit.itemsize)))] * rows.vectors, rows.at(out, k))
            return []

        rows.loop(n, [], step)
        return context.get_dummy_value()

    return types.void(vectors, real, n, x, out), codegen


@intrinsic(prefer_literal=True)
def gather_samples(typingctx, vectors, real, order, stride, n_in, x, inputs, n_out, y, targets):
    """Write to each lane of ``inputs``, n_in rows, and of ``targets``, n_out rows, the rows of x and of y whose number
    is the lane's in ``order``, int64, ``stride`` bytes from one lane's to the next's."""

    def codegen(context, builder, signature, args):
        _, _, order, stride, n_in, x, inputs, n_out, y, targets = args
        emit, rows = _of_rows(vectors, real, context, builder)
        kind = ir.VectorType(INT64, emit.lanes)

        numbers = []
        for column in range(rows.vectors):
            lanes = kind(list(range(column * emit.lanes, (column + 1) * emit.lanes)))
            numbers.append(emit.gather(builder.add(emit.repeat(order), builder.mul(lanes, emit.repeat(stride))), INT64))
        for n, samples, out in ((n_in, x, inputs), (n_out, y, targets)):
            size = emit.repeat(builder.mul(n, INT64(emit.itemsize)))
            places = [builder.add(emit.repeat(samples), builder.mul(number, size)) for number in numbers]

            def step(k, places, out=out):
                rows.store([emit.gather(place, emit.real) for place in places], rows.at(out, k))
                return [builder.add(place, kind([emit.itemsize] * emit.lanes)) for place in places]

            emit.loop(n, places, step)
        return context.get_dummy_value()

    return types.void(vectors, real, order, stride, n_in, x, inputs, n_out, y, targets), codegen


@intrinsic(prefer_literal=True)
def lane_products(typingctx, units, vectors, real, n_in, a, w, b, z):
    """z[j] = b[j] + Σ_k w[j, k] a[k] for some units j; w, b and z begin with the first of them."""
    count, width = units.literal_value, vectors.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, n_in, a, w, b, z = args
        emit = Emitter(context, builder, real.dtype)
        rows = _Rows(emit, width)
        places = [rows.at(w, builder.mul(INT64(j), n_in)) for j in range(count)]

        def step(k, sums):
            value = rows.load(rows.at(a, k))
            parts = [sums[j * width : (j + 1) * width] for j in range(count)]
            return [
                total
                for place, part in zip(places, parts, strict=True)
                for total in rows.multiply_add(rows.load(rows.at(place, k)), value, part)
            ]

        starts = [value for j in range(count) for value in rows.load(rows.at(b, INT64(j)))]
        sums = emit.loop_with_partial_sums(n_in, starts, step)
        for j in range(count):
            rows.store(sums[j * width : (j + 1) * width], rows.at(z, INT64(j)))
        return context.get_dummy_value()

    return types.void(units, vectors, real, n_in, a, w, b, z), codegen


@intrinsic(prefer_literal=True)
def lane_backward(typingctx, inputs, vectors, real, n_in, n_out, distance, delta, scaled, w, x, dx):
    """dx[k] = Σ_j delta[j] w[j, k], and w[j, k] += scaled[j] x[k], or what stands at a distance behind w, for some
    inputs k; w, x and dx begin with the first of them."""
    count, width = inputs.literal_value, vectors.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, n_in, n_out, distance, delta, scaled, w, x, dx = args
        emit = Emitter(context, builder, real.dtype)
        rows = _Rows(emit, width)
        values = [rows.load(rows.at(x, INT64(k))) for k in range(count)]

        def step(j, sums):
            row_of_delta, row_of_scaled = rows.load(rows.at(delta, j)), rows.load(rows.at(scaled, j))
            first = rows.at(w, builder.mul(j, n_in))
            result = []
            for k in range(count):
                place = rows.at(first, INT64(k))
                target = builder.add(place, distance)
                old, moved = rows.load(place), rows.load(target)
                result += rows.multiply_add(row_of_delta, old, sums[k * width : (k + 1) * width])
                rows.store(rows.multiply_add(row_of_scaled, values[k], moved), target)
            return result

        sums = emit.loop(n_out, [emit.zero] * (count * width), step)
        for k in range(count):
            rows.store(sums[k * width : (k + 1) * width], rows.at(dx, INT64(k)))
        return context.get_dummy_value()

    return types.void(inputs, vectors, real, n_in, n_out, distance, delta, scaled, w, x, dx), codegen


@intrinsic(prefer_literal=True)
def lane_update(typingctx, inputs, vectors, real, n_in, n_out, scaled, w, x):
    """w[j, k] += scaled[j] x[k] for some inputs k; w and x begin with the first of them."""
    count, width = inputs.literal_value, vectors.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, n_in, n_out, scaled, w, x = args
        emit = Emitter(context, builder, real.dtype)
        rows = _Rows(emit, width)
        values = [rows.load(rows.at(x, INT64(k))) for k in range(count)]

        def step(j, _):
            row_of_scaled = rows.load(rows.at(scaled, j))
            first = rows.at(w, builder.mul(j, n_in))
            for k in range(count):
                place = rows.at(first, INT64(k))
                rows.store(rows.multiply_add(row_of_scaled, values[k], rows.load(place)), place)
            return []

        emit.loop(n_out, [], step)
        return context.get_dummy_value()

    return types.void(inputs, vectors, real, n_in, n_out, scaled, w, x), codegen


def _of_rows(vectors, real, context, builder):
    """Rows of that many vectors, and what emits them."""
    emit = Emitter(context, builder, real.dtype)
    return emit, _Rows(emit, vectors.literal_value)


@intrinsic(prefer_literal=True)
def scale_rows(typingctx, vectors, real, n, factors, x, out):
    """out = factors · x for n rows."""

    def codegen(context, builder, signature, args):
        _, _, n, factors, x, out = args
        _emit, rows = _of_rows(vectors, real, context, builder)
        row_of_factors = rows.load(factors)

        def step(i):
            rows.store(rows.each(builder.fmul, row_of_factors, rows.load(rows.at(x, i))), rows.at(out, i))
            return []

        rows.loop(n, [], step)
        return context.get_dummy_value()

    return types.void(vectors, real, n, factors, x, out), codegen


@intrinsic(prefer_literal=True)
def keep_finite(typingctx, vectors, real, n, loss, params, alive, kept):
    """Where a lane is alive, and its loss and n parameters are finite, keep these; another is alive no longer.

    ``alive`` has 1, or 0 for the dead.
    """

    def codegen(context, builder, signature, args):
        _, _, n, loss, params, alive, kept = args
        emit, rows = _of_rows(vectors, real, context, builder)
        zeros, ones = rows.repeated(0.0), rows.repeated(1.0)

        def add_zeros(i, total):
            return rows.multiply_add(rows.load(rows.at(params, i)), zeros, total)

        total = emit.loop_with_partial_sums(n, rows.each(builder.fmul, rows.load(loss), zeros), add_zeros)
        is_finite = rows.each(lambda value: builder.fcmp_ordered("==", value, emit.zero), total)
        was_alive = rows.each(lambda value: builder.fcmp_ordered(">", value, emit.zero), rows.load(alive))
        mask = rows.each(builder.and_, is_finite, was_alive)
        rows.store(rows.each(builder.select, mask, ones, zeros), alive)

        def keep(i):
            value, before = rows.load(rows.at(params, i)), rows.load(rows.at(kept, i))
            rows.store(rows.each(builder.select, mask, value, before), rows.at(kept, i))
            return []

        rows.loop(n, [], keep)
        return context.get_dummy_value()

    return types.void(vectors, real, n, loss, params, alive, kept), codegen


@intrinsic(prefer_literal=True)
def add_label_matches(typingctx, vectors, real, n, a, y, right):
    """right += how many of n labels are on the right side of a half; NaN is on neither."""

    def codegen(context, builder, signature, args):
        _, _, n, a, y, right = args
        emit, rows = _of_rows(vectors, real, context, builder)
        half, ones, zeros = emit.vector([0.5] * emit.lanes), rows.repeated(1.0), rows.repeated(0.0)

        def matches(value, target):
            both_above, both_below = (
                builder.and_(builder.fcmp_ordered(sign, value, half), builder.fcmp_ordered(sign, target, half))
                for sign in (">", "<=")
            )
            return builder.or_(both_above, both_below)

        def step(i, total):
            mask = rows.each(matches, rows.load(rows.at(a, i)), rows.load(rows.at(y, i)))
            return [rows.each(builder.fadd, total, rows.each(builder.select, mask, ones, zeros))]

        (total,) = rows.loop(n, [rows.load(right)], step)
        rows.store(total, right)
        return context.get_dummy_value()

    return types.void(vectors, real, n, a, y, right), codegen


@intrinsic(prefer_literal=True)
def add_right_classes(typingctx, vectors, real, n, a, y, right):
    """right += 1 where the first of the largest of n outputs is the class of the largest target; with a NaN none is."""

    def codegen(context, builder, signature, args):
        _, _, n, a, y, right = args
        _emit, rows = _of_rows(vectors, real, context, builder)
        ones, zeros = rows.repeated(1.0), rows.repeated(0.0)

        def step(i, target, best, number):
            value, wanted = rows.load(rows.at(a, i)), rows.load(rows.at(y, i))
            leads = rows.each(lambda p, q: builder.fcmp_ordered(">", p, q), wanted, target)
            target = rows.each(builder.select, leads, wanted, target)
            # whether the largest output so far stands at the class so far: 1, and is the first such
            wins = rows.each(lambda p, q: builder.fcmp_unordered(">", p, q), value, best)
            best = rows.each(builder.select, wins, value, best)
            both = rows.each(lambda p, q: builder.select(builder.and_(p, q), ones[0], zeros[0]), wins, leads)
            either = rows.each(builder.or_, wins, leads)
            return [target, best, rows.each(builder.select, either, both, number)]

        lowest = rows.repeated(float("-inf"))
        _, best, number = rows.loop(n, [lowest, lowest, zeros], step)
        is_number = rows.each(lambda value: builder.fcmp_ordered("ord", value, value), best)
        found = rows.each(builder.select, is_number, number, zeros)
        rows.store(rows.each(builder.fadd, rows.load(right), found), right)
        return context.get_dummy_value()

    return types.void(vectors, real, n, a, y, right), codegen


@intrinsic(prefer_literal=True)
def softmax_begin(typingctx, vectors, real, n, z, top, below):
    """``top`` = the largest of n rows of z, lane by lane, and below = z - top."""

    def codegen(context, builder, signature, args):
        _, _, n, z, top, below = args
        _emit, rows = _of_rows(vectors, real, context, builder)

        def larger(p, q):
            return builder.select(builder.fcmp_ordered(">", p, q), p, q)

        (best,) = rows.loop(n, [rows.load(z)], lambda i, best: [rows.each(larger, rows.load(rows.at(z, i)), best)])
        rows.store(best, top)

        def subtract(i):
            rows.store(rows.each(builder.fsub, rows.load(rows.at(z, i)), best), rows.at(below, i))
            return []

        rows.loop(n, [], subtract)
        return context.get_dummy_value()

    return types.void(vectors, real, n, z, top, below), codegen


@intrinsic(prefer_literal=True)
def softmax_end(typingctx, vectors, real, n, a, total):
    """Divide n rows of a by their ``total``, lane by lane, and write that."""

    def codegen(context, builder, signature, args):
        _, _, n, a, total = args
        _emit, rows = _of_rows(vectors, real, context, builder)

        def add(i, values):
            return [rows.each(builder.fadd, rows.load(rows.at(a, i)), values)]

        (values,) = rows.loop(n, [rows.repeated(0.0)], add)
        rows.store(values, total)
        factors = rows.each(builder.fdiv, rows.repeated(1.0), values)

        def scale(i):
            rows.store(rows.each(builder.fmul, rows.load(rows.at(a, i)), factors), rows.at(a, i))
            return []

        rows.loop(n, [], scale)
        return context.get_dummy_value()

    return types.void(vectors, real, n, a, total), codegen


@intrinsic(prefer_literal=True)
def cross_entropy_rows(typingctx, vectors, real, n, z, a, y, top, mass, loss, delta):
    """mass = Σ y, loss = Σ y (top - z) where y is not 0, and delta = a mass - y, for n rows, lane by lane."""

    def codegen(context, builder, signature, args):
        _, _, n, z, a, y, top, mass, loss, delta = args
        emit, rows = _of_rows(vectors, real, context, builder)
        largest = rows.load(top)

        def add(i, mass, loss):
            target = rows.load(rows.at(y, i))
            below = rows.each(builder.fsub, largest, rows.load(rows.at(z, i)))
            counts = rows.each(lambda value: builder.fcmp_unordered("!=", value, emit.zero), target)
            terms = rows.each(builder.select, counts, rows.each(builder.fmul, target, below), rows.repeated(0.0))
            return [rows.each(builder.fadd, mass, target), rows.each(builder.fadd, loss, terms)]

        total, terms = rows.loop(n, [rows.repeated(0.0), rows.repeated(0.0)], add)
        rows.store(total, mass)
        rows.store(terms, loss)

        def write(i):
            wanted = rows.each(builder.fmul, rows.load(rows.at(a, i)), total)
            rows.store(rows.each(builder.fsub, wanted, rows.load(rows.at(y, i))), rows.at(delta, i))
            return []

        rows.loop(n, [], write)
        return context.get_dummy_value()

    return types.void(vectors, real, n, z, a, y, top, mass, loss, delta), codegen
