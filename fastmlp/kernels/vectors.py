"""Loops over rows of numbers, as explicit vectors: copies, sums, tests, conversions."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .cpu import has_masks, vector_bytes
from .emitter import INT64, Emitter, llvm_function


@intrinsic
def copy(typingctx, target, source, count):
    """Copy ``count`` bytes from one address to another."""

    def codegen(context, builder, signature, args):
        target, source = (builder.inttoptr(address, ir.IntType(8).as_pointer()) for address in args[:2])
        cgutils.raw_memcpy(builder, target, source, args[2], 1)
        return context.get_dummy_value()

    return types.void(target, source, count), codegen


@intrinsic
def scale_vectors(typingctx, real, count, out, x, factor):
    """out = factor · x for ``count`` vectors."""

    def codegen(context, builder, signature, args):
        _, count, out, x, factor = args
        emit = Emitter(context, builder, real.dtype)
        repeated = emit.repeat(factor)
        emit.map(count, out, lambda value: builder.fmul(repeated, value), x)
        return context.get_dummy_value()

    return types.void(real, count, out, x, factor), codegen


@intrinsic
def outer_product(typingctx, real, rows, n, factors, x, index, out):
    """out[index[r], :] = factors[r] · x for rows of n numbers of ``out``, which stand one behind the other."""

    def codegen(context, builder, signature, args):
        _, rows, n, factors, x, index, out = args
        emit = Emitter(context, builder, real.dtype)
        whole, rest = emit.whole_and_rest(n)
        mask, size = emit.first(rest), builder.mul(n, INT64(emit.itemsize))

        def write(r, _):
            factor = emit.broadcast(emit.offset(factors, r, INT64(emit.itemsize)))
            target = emit.offset(out, emit.index(index, r), size)

            def product(value):
                return builder.fmul(factor, value)

            def write_rest(_, values):
                along = builder.mul(whole, INT64(vector_bytes()))
                emit.store_where(mask, product(emit.load(builder.add(x, along))), builder.add(target, along))
                return values

            emit.map(whole, target, product, x)
            emit.loop(emit.is_any(rest), [], write_rest)
            return []

        emit.loop(rows, [], write)
        return context.get_dummy_value()

    return types.void(real, rows, n, factors, x, index, out), codegen


@intrinsic
def move_rows(typingctx, real, rows, n, x, x_row, out):
    """Copy rows of n numbers from padded ones to ``out``, where they stand one behind the other; the padding, whatever
    it was, becomes zero."""

    def codegen(context, builder, signature, args):
        _, rows, n, x, x_row, out = args
        emit = Emitter(context, builder, real.dtype)
        whole, rest = emit.whole_and_rest(n)
        mask, size = emit.first(rest), builder.mul(n, INT64(emit.itemsize))
        along = builder.mul(whole, INT64(vector_bytes()))
        vectors = builder.sdiv(x_row, INT64(vector_bytes()))
        behind = builder.sub(vectors, builder.add(whole, emit.is_any(rest)))

        def move(r, _):
            source, target = emit.offset(x, r, x_row), emit.offset(out, r, size)
            last = builder.add(source, builder.sub(x_row, INT64(vector_bytes())))

            def move_rest(_, values):
                place = builder.add(source, along)
                value = emit.load(place)
                emit.store_where(mask, value, builder.add(target, along))
                emit.store(builder.select(mask, value, emit.zero), place)
                return values

            def clear_last(k, values):
                emit.store(emit.zero, emit.offset(last, k, INT64(-vector_bytes())))
                return values

            emit.map(whole, target, lambda value: value, source)
            emit.loop(emit.is_any(rest), [], move_rest)
            emit.loop(behind, [], clear_last)
            return []

        emit.loop(rows, [], move)
        return context.get_dummy_value()

    return types.void(real, rows, n, x, x_row, out), codegen


@intrinsic
def transpose_square(typingctx, real, x, x_row, rows, out, out_row):
    """Write the columns of a square, of as many rows of x as a vector has numbers, to rows of ``out``; the rows of x
    from number ``rows`` on, which may be none, count as zeros."""

    def codegen(context, builder, signature, args):
        _, x, x_row, rows, out, out_row = args
        emit = Emitter(context, builder, real.dtype)
        last, square = builder.sub(rows, INT64(1)), []
        for r in range(emit.lanes):
            inside = builder.icmp_signed("<", INT64(r), rows)
            value = emit.load(emit.offset(x, builder.select(inside, INT64(r), last), x_row))
            square.append(builder.select(inside, value, emit.zero))
        for r, column in enumerate(emit.transposed(square)):
            emit.store(column, emit.offset(out, INT64(r), out_row))
        return context.get_dummy_value()

    return types.void(real, x, x_row, rows, out, out_row), codegen


@intrinsic
def multiply_rows(typingctx, real, rows, each, count, out, x):
    """Multiply ``each`` rows of ``out`` with every row of x, number by number; rows of ``count`` vectors stand one
    behind the other."""

    def codegen(context, builder, signature, args):
        _, rows, each, count, out, x = args
        emit = Emitter(context, builder, real.dtype)
        stride = builder.mul(count, INT64(vector_bytes()))

        def row(r, _):
            source, first = emit.offset(x, r, stride), emit.offset(out, builder.mul(r, each), stride)

            def vector(j, _):
                along = builder.mul(j, INT64(vector_bytes()))
                factor, target = emit.load(builder.add(source, along)), builder.add(first, along)

                def multiply(k, _):
                    place = emit.offset(target, k, stride)
                    emit.store(builder.fmul(emit.load(place), factor), place)
                    return []

                emit.loop(each, [], multiply)
                return []

            emit.loop(count, [], vector)
            return []

        emit.loop(rows, [], row)
        return context.get_dummy_value()

    return types.void(real, rows, each, count, out, x), codegen


@intrinsic
def scale_and_multiply(typingctx, real, count, out, x, factor, y):
    """out = (factor · x) · y for ``count`` vectors, rounded twice in this order."""

    def codegen(context, builder, signature, args):
        _, count, out, x, factor, y = args
        emit = Emitter(context, builder, real.dtype)
        repeated = emit.repeat(factor)

        def product(x, y):
            return builder.fmul(builder.fmul(repeated, x, flags=("nsz",)), y, flags=("nsz",))

        emit.map(count, out, product, x, y)
        return context.get_dummy_value()

    return types.void(real, count, out, x, factor, y), codegen


def _in_place(operation):
    """An intrinsic that makes out = operation(out, x) for ``count`` vectors."""

    @intrinsic
    def for_all(typingctx, real, count, out, x):
        def codegen(context, builder, signature, args):
            _, count, out, x = args
            Emitter(context, builder, real.dtype).map(count, out, getattr(builder, operation), out, x)
            return context.get_dummy_value()

        return types.void(real, count, out, x), codegen

    return for_all


add_vectors, multiply_vectors = _in_place("fadd"), _in_place("fmul")


@intrinsic
def add_rows(typingctx, real, rows, count, out, x, x_row):
    """out += the sum of ``rows`` rows of x, for ``count`` vectors."""

    def codegen(context, builder, signature, args):
        _, rows, count, out, x, x_row = args
        emit = Emitter(context, builder, real.dtype)

        def column(j, _):
            along = builder.mul(j, INT64(vector_bytes()))
            target, source = builder.add(out, along), builder.add(x, along)

            def row(r, sums):
                return [emit.add(sums[0], emit.load(emit.offset(source, r, x_row)))]

            (total,) = emit.loop_with_partial_sums(rows, [emit.load(target)], row)
            emit.store(total, target)
            return []

        emit.loop(count, [], column)
        return context.get_dummy_value()

    return types.void(real, rows, count, out, x, x_row), codegen


@intrinsic
def are_finite(typingctx, real, count, x):
    """Whether ``count`` vectors have neither NaN nor infinity."""

    def codegen(context, builder, signature, args):
        _, count, x = args
        emit = Emitter(context, builder, real.dtype)

        def step(k, sums):
            value = emit.load(emit.offset(x, k, INT64(vector_bytes())))
            return [builder.fadd(sums[0], builder.fmul(value, emit.zero))]

        (total,) = emit.loop_with_partial_sums(count, [emit.zero], step)
        bad = builder.bitcast(builder.fcmp_unordered("uno", total, total), ir.IntType(emit.lanes))
        return builder.icmp_signed("==", bad, ir.IntType(emit.lanes)(0))

    return types.boolean(real, count, x), codegen


@intrinsic
def has_zeros(typingctx, real, count, x):
    """Whether a number of ``count`` vectors is zero."""

    def codegen(context, builder, signature, args):
        _, count, x = args
        emit = Emitter(context, builder, real.dtype)
        nothing = ir.VectorType(ir.IntType(1), emit.lanes)([0] * emit.lanes)

        def step(k, found):
            value = emit.load(emit.offset(x, k, INT64(vector_bytes())))
            return [builder.or_(found[0], builder.fcmp_ordered("==", value, emit.zero))]

        (found,) = emit.loop(count, [nothing], step)
        return builder.icmp_signed("!=", builder.bitcast(found, ir.IntType(emit.lanes)), ir.IntType(emit.lanes)(0))

    return types.boolean(real, count, x), codegen


@intrinsic
def clear_behind(typingctx, real, x, n, vectors):
    """Write zeros behind the first n numbers of a row of ``vectors`` vectors."""

    def codegen(context, builder, signature, args):
        _, x, n, vectors = args
        emit = Emitter(context, builder, real.dtype)
        whole = builder.sdiv(n, INT64(emit.lanes))
        rest = builder.add(x, builder.mul(whole, INT64(vector_bytes())))

        def keep_first(k, _):
            left = builder.sub(n, builder.mul(builder.add(whole, k), INT64(emit.lanes)))
            place = emit.offset(rest, k, INT64(vector_bytes()))
            emit.store(builder.select(emit.first(left), emit.load(place), emit.zero), place)
            return []

        emit.loop(builder.sub(vectors, whole), [], keep_first)
        return context.get_dummy_value()

    return types.void(real, x, n, vectors), codegen


@intrinsic
def is_largest(typingctx, real, x, n, which):
    """Whether number ``which`` is the largest of n numbers of a row of whole vectors; of equal ones the first is.

    With a NaN among them none is.
    """

    def codegen(context, builder, signature, args):
        _, x, n, which = args
        emit = Emitter(context, builder, real.dtype)
        value = emit.broadcast(emit.offset(x, which, INT64(emit.itemsize)))
        vectors = builder.sdiv(builder.add(n, INT64(emit.lanes - 1)), INT64(emit.lanes))
        nothing = ir.VectorType(ir.IntType(1), emit.lanes)([0] * emit.lanes)

        def step(k, better):
            done = builder.mul(k, INT64(emit.lanes))
            values = emit.load(emit.offset(x, k, INT64(vector_bytes())))
            equal = builder.fcmp_ordered("==", values, value)
            before = builder.and_(equal, emit.first(builder.sub(which, done)))
            wins = builder.or_(builder.fcmp_unordered(">", values, value), before)
            return [builder.or_(better[0], builder.and_(wins, emit.first(builder.sub(n, done))))]

        (better,) = emit.loop(vectors, [nothing], step)
        return builder.icmp_signed("==", builder.bitcast(better, ir.IntType(emit.lanes)), ir.IntType(emit.lanes)(0))

    return types.boolean(real, x, n, which), codegen


@intrinsic
def read_row(typingctx, real, source, data, n, shift, scale, out):
    """out = (data - shift) · scale for n reals, from numbers of any NumPy type and alignment; return how many it was.

    Shift, scale and out are rows of whole vectors; where the address of shift is 0 numbers are only converted. Without
    AVX-512's masks, numbers that do not fill a vector are left to the caller.
    """
    kind = source.dtype

    def codegen(context, builder, signature, args):
        _, _, data, n, shift, scale, out = args
        emit = Emitter(context, builder, real.dtype)
        given = ir.VectorType(context.get_data_type(kind), emit.lanes)
        size = INT64(emit.lanes * kind.bitwidth // 8)
        whole, rest = emit.whole_and_rest(n)

        def place(k):
            return builder.inttoptr(emit.offset(data, k, size), given.as_pointer())

        def converted(value):
            if isinstance(kind, types.Integer):
                return (builder.sitofp if kind.signed else builder.uitofp)(value, emit.vector)
            if kind.bitwidth > real.dtype.bitwidth:
                return builder.fptrunc(value, emit.vector)
            return value if kind == real.dtype else builder.fpext(value, emit.vector)

        def plain(value, along):
            return value

        def scaled(value, along):
            moved = builder.fsub(value, emit.load(builder.add(shift, along)))
            return builder.fmul(moved, emit.load(builder.add(scale, along)))

        def read_all(change):
            def step(k, _):
                along = builder.mul(k, INT64(vector_bytes()))
                emit.store(change(converted(builder.load(place(k), align=1)), along), builder.add(out, along))
                return []

            def read_rest(_, values):
                mask, along = emit.first(rest), builder.mul(whole, INT64(vector_bytes()))
                value = converted(emit.load_where(mask, place(whole), given))
                emit.store_where(mask, change(value, along), builder.add(out, along))
                return values

            emit.loop(whole, [], step)
            if has_masks():
                emit.loop(emit.is_any(rest), [], read_rest)

        with builder.if_else(builder.icmp_signed("==", shift, INT64(0))) as (is_plain, is_scaled):
            with is_plain:
                read_all(plain)
            with is_scaled:
                read_all(scaled)
        return n if has_masks() else builder.mul(whole, INT64(emit.lanes))

    return types.int64(real, source, data, n, shift, scale, out), codegen


@intrinsic
def largest(typingctx, real, x, n):
    """The largest of n >= 1 numbers of a row of whole vectors."""

    def codegen(context, builder, signature, args):
        _, x, n = args
        emit = Emitter(context, builder, real.dtype)
        lowest = emit.vector([float("-inf")] * emit.lanes)
        vectors = builder.sdiv(builder.add(n, INT64(emit.lanes - 1)), INT64(emit.lanes))

        def step(k, best):
            inside = emit.first(builder.sub(n, builder.mul(k, INT64(emit.lanes))))
            values = emit.load(emit.offset(x, k, INT64(vector_bytes())))
            return [emit.larger(builder.select(inside, values, lowest), best[0])]

        (best,) = emit.loop(vectors, [lowest], step)
        best = emit.within(best, emit.larger, emit.lanes)
        return builder.extract_element(best, INT64(0))

    return real.dtype(real, x, n), codegen


@intrinsic(prefer_literal=True)
def gather_narrow(typingctx, width, real, groups, rows, n, x, row, out):
    """Write rows of n <= ``width`` numbers, less the largest of each, side by side to ``out``: as many to a vector as
    fit, which makes ``groups`` vectors, the last one with its last row several times. Behind n numbers stands -inf.

    ``row`` is how many bytes rows of x are apart.
    """
    size = width.literal_value

    def codegen(context, builder, signature, args):
        _, _, groups, rows, n, x, row, out = args
        emit = Emitter(context, builder, real.dtype)
        height, last = emit.lanes // size, builder.sub(rows, INT64(1))
        kind = ir.VectorType(ir.IntType(8 * emit.itemsize), emit.lanes)
        column = kind([i % size for i in range(emit.lanes)])
        inside = builder.icmp_signed("<", column, emit.repeat(builder.trunc(n, kind.element)))
        lowest = emit.vector([float("-inf")] * emit.lanes)

        def group(k, _):
            first = builder.mul(k, INT64(height))
            values = None
            for r in range(height):
                number = builder.add(first, INT64(r))
                number = builder.select(builder.icmp_signed("<", number, last), number, last)
                part = emit.load_first(size, emit.offset(x, number, row))
                order = [emit.lanes + i % size if i // size == r else i for i in range(emit.lanes)]
                values = part if values is None else emit.shuffle(values, part, order)
            values = builder.select(inside, values, lowest)
            below = builder.fsub(values, emit.within(values, emit.larger, size))
            emit.store(builder.select(inside, below, lowest), emit.offset(out, k, INT64(vector_bytes())))
            return []

        emit.loop(groups, [], group)
        return context.get_dummy_value()

    return types.void(width, real, groups, rows, n, x, row, out), codegen


@intrinsic(prefer_literal=True)
def spread_narrow(typingctx, width, real, groups, rows, x, row):
    """Undo `gather_narrow` in its place: divide each row by its sum and write it, with zeros behind, ``row`` bytes
    from the one before. The last rows come first, because no row then falls on numbers that are still to be read."""
    size = width.literal_value

    def codegen(context, builder, signature, args):
        _, _, groups, rows, x, row = args
        emit = Emitter(context, builder, real.dtype)
        height, last = emit.lanes // size, builder.sub(rows, INT64(1))
        vectors = builder.sdiv(row, INT64(vector_bytes()))
        ones = emit.vector([1.0] * emit.lanes)

        def group(k, _):
            k = builder.sub(builder.sub(groups, INT64(1)), k)
            values = emit.load(emit.offset(x, k, INT64(vector_bytes())))
            values = builder.fmul(values, builder.fdiv(ones, emit.within(values, emit.add, size)))
            for r in range(height):
                number = builder.add(builder.mul(k, INT64(height)), INT64(r))
                number = builder.select(builder.icmp_signed("<", number, last), number, last)
                place = emit.offset(x, number, row)
                order = [r * size + i if i < size else emit.lanes for i in range(emit.lanes)]
                emit.store(emit.shuffle(values, emit.zero, order), place)

                def clear(j, _, place=place):
                    emit.store(emit.zero, emit.offset(place, builder.add(j, INT64(1)), INT64(vector_bytes())))
                    return []

                emit.loop(builder.sub(vectors, INT64(1)), [], clear)
            return []

        emit.loop(groups, [], group)
        return context.get_dummy_value()

    return types.void(width, real, groups, rows, x, row), codegen


@intrinsic
def wide_vectors(typingctx):
    """Let LLVM use vectors of full width for the loops of the function it stands in."""

    def codegen(context, builder, signature, args):
        # llvmlite's own add refuses attributes that it does not list
        set.add(builder.function.attributes, f'"prefer-vector-width"="{vector_bytes() * 8}"')
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line at the address, which need not be a valid one."""

    def codegen(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        flag = ir.IntType(32)
        function = llvm_function(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, flag, flag, flag])
        builder.call(function, [builder.inttoptr(args[0], byte), flag(0), flag(2), flag(1)])
        return context.get_dummy_value()

    return types.void(address), codegen


@intrinsic
def count_nonzero(typingctx, real, x, vectors):
    """How many numbers of that many vectors are not zero."""

    def codegen(context, builder, signature, args):
        _, x, vectors = args
        emit = Emitter(context, builder, real.dtype)

        def step(k, found):
            values = emit.load(emit.offset(x, k, INT64(vector_bytes())))
            return [builder.add(found[0], emit.count(builder.fcmp_unordered("!=", values, emit.zero)))]

        (found,) = emit.loop(vectors, [INT64(0)], step)
        return found

    return types.int64(real, x, vectors), codegen


@intrinsic(prefer_literal=True)
def nonzero_columns(typingctx, move, real, x, x_row, rows, vectors, index):
    """Write the numbers of the columns that are not zero in all rows to ``index``, int64; return how many they are.

    With ``move`` those columns are moved to the front of x too: fast where the CPU has a `compressor`.
    ``index`` has room for a vector's worth of numbers behind the last one, which are written but mean nothing.
    """

    def codegen(context, builder, signature, args):
        _, _, x, x_row, rows, vectors, index = args
        emit = Emitter(context, builder, real.dtype)
        bits = ir.VectorType(ir.IntType(8 * emit.itemsize), emit.lanes)
        wide = ir.VectorType(INT64, emit.lanes)

        def column(k, found):
            along = builder.mul(k, INT64(vector_bytes()))

            def look(r, seen):
                values = emit.load(builder.add(emit.offset(x, r, x_row), along))
                return [builder.or_(seen[0], builder.bitcast(values, bits))]

            def move_row(r, _):
                row = emit.offset(x, r, x_row)
                target = emit.offset(row, found[0], INT64(emit.itemsize))
                emit.store(emit.compress(emit.load(builder.add(row, along)), mask), target)
                return []

            (seen,) = emit.loop(rows, [bits([0] * emit.lanes)], look)
            # the bits of several numbers make 0 or -0 together only if each is 0 or -0
            mask = builder.fcmp_unordered("!=", builder.bitcast(seen, emit.vector), emit.zero)
            place = builder.inttoptr(emit.offset(index, found[0], INT64(8)), wide.as_pointer())
            builder.store(emit.positions(mask, builder.mul(k, INT64(emit.lanes))), place, align=8)
            if move.literal_value:
                emit.loop(rows, [], move_row)
            return [builder.add(found[0], emit.count(mask))]

        (found,) = emit.loop(vectors, [INT64(0)], column)
        return found

    return types.int64(move, real, x, x_row, rows, vectors, index), codegen
