"""Register tiles: the innermost loops of the matrix products, as explicit vectors.

Each intrinsic here is one loop over the summed index with all its sums in registers. They emit LLVM vectors of
``vector_bytes()``, which LLVM turns into the instructions of whatever CPU it compiles for: AVX-512, AVX2, SSE, NEON.
Matrices come as addresses and strides in bytes, because one tile serves every orientation of them.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .cpu import vector_bytes

INT32, INT64 = ir.IntType(32), ir.IntType(64)


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
        emit = _Emitter(context, builder, real.dtype)
        numbers = [emit.index(c_index, INT64(r)) for r in range(rows)]
        a_rows = [emit.offset(a, INT64(r), a_row) for r in range(rows)]
        starts = [emit.offset(start, number, start_row) for number in numbers]

        def step(k, sums):
            along = builder.mul(k, a_step)
            place = emit.offset(b, emit.index(b_index, k), b_row)
            row_of_b = [emit.load(place, column) for column in range(vectors)]
            factors = [emit.broadcast(builder.add(row, along)) for row in a_rows]
            return [
                emit.multiply_add(factors[r], row_of_b[column], sums[r * vectors + column])
                for r in range(rows)
                for column in range(vectors)
            ]

        starts = [emit.load(place, column) for place in starts for column in range(vectors)]
        sums = emit.loop_with_partial_sums(depth, starts, step)
        for r, number in enumerate(numbers):
            place = emit.offset(c, number, c_row)
            for column in range(vectors):
                emit.store(sums[r * vectors + column], place, column)
        return context.get_dummy_value()

    arguments = m, n, real, depth, a, a_row, a_step, b, b_row, b_index, start, start_row, c, c_row, c_index
    return types.void(*arguments), codegen


@intrinsic(prefer_literal=True)
def sum_of_inner_products(typingctx, m, n, real, steps, a, a_row, w, w_row, n_rows, start, c, c_row):
    """C[r, j] = start[j] + Σ_k A[r, k] W[j, k] for m rows of A and n rows of W (a power of two, at most a vector).

    Both run along k, ``steps`` vectors of it. Where W has fewer than n rows, n_rows, C gets zeros for the others.
    """
    rows, width = m.literal_value, n.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, steps, a, a_row, w, w_row, n_rows, start, c, c_row = args
        emit = _Emitter(context, builder, real.dtype)
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
            total = builder.fadd(emit.sums_within(sums[r::rows]), emit.load(start))
            emit.store_first(width, builder.select(inside, total, emit.zero), emit.offset(c, INT64(r), c_row))
        return context.get_dummy_value()

    return types.void(m, n, real, steps, a, a_row, w, w_row, n_rows, start, c, c_row), codegen


@intrinsic(prefer_literal=True)
def sum_of_weighted_rows(typingctx, n, real, count, x, x_index, w, w_row, w_index, start, z):
    """z = start + Σ_i x[x_index[i]] W[w_index[i], :] over ``count`` rows, for n vectors."""
    vectors = n.literal_value

    def codegen(context, builder, signature, args):
        _, _, count, x, x_index, w, w_row, w_index, start, z = args
        emit = _Emitter(context, builder, real.dtype)

        def step(i, sums):
            factor = emit.broadcast(emit.offset(x, emit.index(x_index, i), INT64(emit.itemsize)))
            place = emit.offset(w, emit.index(w_index, i), w_row)
            return [emit.multiply_add(factor, emit.load(place, column), sums[column]) for column in range(vectors)]

        sums = emit.loop_with_partial_sums(count, [emit.load(start, column) for column in range(vectors)], step)
        for column in range(vectors):
            emit.store(sums[column], z, column)
        return context.get_dummy_value()

    return types.void(n, real, count, x, x_index, w, w_row, w_index, start, z), codegen


@intrinsic(prefer_literal=True)
def backward_and_update(typingctx, n, real, n_out, delta, scaled, w, w_row, x, dx):
    """dx = Σ_j delta[j] W[j, :] with the old W, and W[j, :] += scaled[j] x, for n vectors of W's columns."""
    vectors = n.literal_value

    def codegen(context, builder, signature, args):
        _, _, n_out, delta, scaled, w, w_row, x, dx = args
        emit = _Emitter(context, builder, real.dtype)
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
    """For m inputs, a power of two and at most a vector, whose numbers k ``index`` lists: dx[k] = Σ_j delta[j] W[k, j]
    with the old W, and W[k, :] += x[k] scaled. An input may be listed twice."""
    rows = m.literal_value

    def codegen(context, builder, signature, args):
        _, _, index, vectors, delta, scaled, w, w_row, x, dx = args
        emit = _Emitter(context, builder, real.dtype)
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


@intrinsic
def copy(typingctx, target, source, count):
    """Copy so many bytes from one address to another."""

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
        emit = _Emitter(context, builder, real.dtype)
        repeated = emit.repeat(factor)
        emit.map(count, out, lambda value: builder.fmul(repeated, value), x)
        return context.get_dummy_value()

    return types.void(real, count, out, x, factor), codegen


def _in_place(operation):
    """An intrinsic that makes out = operation(out, x) for ``count`` vectors."""

    @intrinsic
    def for_all(typingctx, real, count, out, x):
        def codegen(context, builder, signature, args):
            _, count, out, x = args
            _Emitter(context, builder, real.dtype).map(count, out, getattr(builder, operation), out, x)
            return context.get_dummy_value()

        return types.void(real, count, out, x), codegen

    return for_all


add_vectors, multiply_vectors = _in_place("fadd"), _in_place("fmul")


@intrinsic
def add_rows(typingctx, real, rows, count, out, x, x_row):
    """out += the sum of ``rows`` rows of x, for ``count`` vectors."""

    def codegen(context, builder, signature, args):
        _, rows, count, out, x, x_row = args
        emit = _Emitter(context, builder, real.dtype)

        def column(j, _):
            along = builder.mul(j, INT64(vector_bytes()))
            target, source = builder.add(out, along), builder.add(x, along)

            def row(r, sums):
                return [builder.fadd(sums[0], emit.load(emit.offset(source, r, x_row)))]

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
        emit = _Emitter(context, builder, real.dtype)

        def step(k, sums):
            value = emit.load(emit.offset(x, k, INT64(vector_bytes())))
            return [builder.fadd(sums[0], builder.fmul(value, emit.zero))]

        (total,) = emit.loop_with_partial_sums(count, [emit.zero], step)
        bad = builder.bitcast(builder.fcmp_unordered("uno", total, total), ir.IntType(emit.lanes))
        return builder.icmp_signed("==", bad, ir.IntType(emit.lanes)(0))

    return types.boolean(real, count, x), codegen


@intrinsic
def clear_behind(typingctx, real, x, n, vectors):
    """Zeros for what stands behind the first n numbers of a row of ``vectors`` vectors."""

    def codegen(context, builder, signature, args):
        _, x, n, vectors = args
        emit = _Emitter(context, builder, real.dtype)
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
    """Whether number ``which`` is the largest of n numbers of a row of whole vectors; of equal ones the first is."""

    def codegen(context, builder, signature, args):
        _, x, n, which = args
        emit = _Emitter(context, builder, real.dtype)
        value = emit.broadcast(emit.offset(x, which, INT64(emit.itemsize)))
        vectors = builder.sdiv(builder.add(n, INT64(emit.lanes - 1)), INT64(emit.lanes))
        nothing = ir.VectorType(ir.IntType(1), emit.lanes)([0] * emit.lanes)

        def step(k, better):
            done = builder.mul(k, INT64(emit.lanes))
            values = emit.load(emit.offset(x, k, INT64(vector_bytes())))
            equal = builder.fcmp_ordered("==", values, value)
            before = builder.and_(equal, emit.first(builder.sub(which, done)))
            wins = builder.or_(builder.fcmp_ordered(">", values, value), before)
            return [builder.or_(better[0], builder.and_(wins, emit.first(builder.sub(n, done))))]

        (better,) = emit.loop(vectors, [nothing], step)
        return builder.icmp_signed("==", builder.bitcast(better, ir.IntType(emit.lanes)), ir.IntType(emit.lanes)(0))

    return types.boolean(real, x, n, which), codegen


@intrinsic
def read_vectors(typingctx, real, source, data, count, shift, scale, out):
    """out = (data - shift) · scale for ``count`` vectors of reals, from numbers of any NumPy type and alignment.

    Shift and scale are vectors too; where the address of shift is 0 numbers are only converted.
    """
    kind = source.dtype

    def codegen(context, builder, signature, args):
        _, _, data, count, shift, scale, out = args
        emit = _Emitter(context, builder, real.dtype)
        given = ir.VectorType(context.get_data_type(kind), emit.lanes)
        size = INT64(emit.lanes * kind.bitwidth // 8)

        def read(k):
            place = builder.inttoptr(emit.offset(data, k, size), given.as_pointer())
            value = builder.load(place, align=1)
            if isinstance(kind, types.Integer):
                return (builder.sitofp if kind.signed else builder.uitofp)(value, emit.vector)
            if kind.bitwidth > real.dtype.bitwidth:
                return builder.fptrunc(value, emit.vector)
            return value if kind == real.dtype else builder.fpext(value, emit.vector)

        def convert(k, _):
            emit.store(read(k), emit.offset(out, k, INT64(vector_bytes())))
            return []

        def convert_and_scale(k, _):
            along = builder.mul(k, INT64(vector_bytes()))
            moved = builder.fsub(read(k), emit.load(builder.add(shift, along)))
            emit.store(builder.fmul(moved, emit.load(builder.add(scale, along))), builder.add(out, along))
            return []

        with builder.if_else(builder.icmp_signed("==", shift, INT64(0))) as (plain, scaled):
            with plain:
                emit.loop(count, [], convert)
            with scaled:
                emit.loop(count, [], convert_and_scale)
        return context.get_dummy_value()

    return types.void(real, source, data, count, shift, scale, out), codegen


@intrinsic
def largest(typingctx, real, x, n):
    """The largest of n >= 1 numbers of a row of whole vectors."""

    def codegen(context, builder, signature, args):
        _, x, n = args
        emit = _Emitter(context, builder, real.dtype)
        lowest = emit.vector([float("-inf")] * emit.lanes)
        vectors = builder.sdiv(builder.add(n, INT64(emit.lanes - 1)), INT64(emit.lanes))

        def larger(p, q):
            return builder.select(builder.fcmp_ordered(">", p, q), p, q)

        def step(k, best):
            inside = emit.first(builder.sub(n, builder.mul(k, INT64(emit.lanes))))
            values = emit.load(emit.offset(x, k, INT64(vector_bytes())))
            return [larger(builder.select(inside, values, lowest), best[0])]

        (best,) = emit.loop(vectors, [lowest], step)
        distance = emit.lanes // 2
        while distance:
            best = larger(best, emit.shuffle(best, best, [(i + distance) % emit.lanes for i in range(emit.lanes)]))
            distance //= 2
        return builder.extract_element(best, INT64(0))

    return real.dtype(real, x, n), codegen


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
        function = _function(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, flag, flag, flag])
        builder.call(function, [builder.inttoptr(args[0], byte), flag(0), flag(2), flag(1)])
        return context.get_dummy_value()

    return types.void(address), codegen


@intrinsic
def atomic_add(typingctx, address, value):
    """Add to the int64 at the address, as one operation that every thread sees; return what it was."""

    def codegen(context, builder, signature, args):
        place = builder.inttoptr(args[0], INT64.as_pointer())
        return builder.atomic_rmw("add", place, builder.sext(args[1], INT64), "seq_cst")

    return types.int64(address, value), codegen


@intrinsic
def atomic_load(typingctx, address):
    """The int64 at the address as another thread last wrote it, with all that it wrote before."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], INT64.as_pointer()), "acquire", 8)

    return types.int64(address), codegen


@intrinsic(prefer_literal=True)
def nonzero_columns(typingctx, move, real, x, x_row, rows, vectors, index):
    """Write the numbers of the columns that are not zero in all rows to ``index``, int64; return how many they are.

    With ``move`` those columns are moved to the front of x too: one instruction a vector on AVX-512, many elsewhere.
    Up to a vector behind the last number, ``index`` gets something.
    """

    def codegen(context, builder, signature, args):
        _, _, x, x_row, rows, vectors, index = args
        emit = _Emitter(context, builder, real.dtype)
        bits = ir.VectorType(ir.IntType(1), emit.lanes)
        numbers = ir.VectorType(INT32, emit.lanes)
        wide = ir.VectorType(INT64, emit.lanes)

        def column(k, found):
            along = builder.mul(k, INT64(vector_bytes()))

            def look(r, seen):
                values = emit.load(builder.add(emit.offset(x, r, x_row), along))
                return [builder.or_(seen[0], builder.fcmp_unordered("!=", values, emit.zero))]

            def move_row(r, _):
                row = emit.offset(x, r, x_row)
                target = emit.offset(row, found[0], INT64(emit.itemsize))
                emit.store(emit.compress(emit.load(builder.add(row, along)), seen), target)
                return []

            (seen,) = emit.loop(rows, [bits([0] * emit.lanes)], look)
            which = builder.trunc(builder.mul(k, INT64(emit.lanes)), INT32)
            which = builder.add(emit.repeat(which), numbers(list(range(emit.lanes))))
            place = builder.inttoptr(emit.offset(index, found[0], INT64(8)), wide.as_pointer())
            builder.store(builder.zext(emit.compress(which, seen), wide), place, align=8)
            if move.literal_value:
                emit.loop(rows, [], move_row)
            count = builder.ctpop(builder.bitcast(seen, ir.IntType(emit.lanes)))
            return [builder.add(found[0], builder.zext(count, INT64))]

        (found,) = emit.loop(vectors, [INT64(0)], column)
        return found

    return types.int64(move, real, x, x_row, rows, vectors, index), codegen


def _function(builder, name, result, arguments):
    """The LLVM intrinsic of that name."""
    return builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


class _Emitter:
    """The few shapes of instruction that a tile is made of."""

    def __init__(self, context, builder, dtype):
        self.builder = builder
        self.real = context.get_value_type(dtype)
        self.itemsize = dtype.bitwidth // 8
        self.lanes = vector_bytes() // self.itemsize
        self.vector = ir.VectorType(self.real, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"
        self.zero = self.vector([0.0] * self.lanes)

    def offset(self, address, number, stride):
        return self.builder.add(address, self.builder.mul(number, stride))

    def index(self, address, number):
        """The int64 at ``address[number]``."""
        place = self.builder.inttoptr(self.offset(address, number, INT64(8)), INT64.as_pointer())
        return self.builder.load(place, align=8)

    def _place(self, address, column):
        return self.builder.inttoptr(
            self.builder.add(address, INT64(column * vector_bytes())), self.vector.as_pointer()
        )

    def first(self, n):
        """A mask of the first n lanes."""
        positions = ir.VectorType(INT64, self.lanes)(list(range(self.lanes)))
        return self.builder.icmp_signed("<", positions, self.repeat(n))

    def load(self, address, column=0):
        return self.builder.load(self._place(address, column), align=self.itemsize)

    def store(self, value, address, column=0):
        self.builder.store(value, self._place(address, column), align=self.itemsize)

    def store_first(self, count, value, address):
        part = self.shuffle(value, value, list(range(count)))
        self.builder.store(part, self.builder.inttoptr(address, part.type.as_pointer()), align=self.itemsize)

    def broadcast(self, address):
        value = self.builder.load(self.builder.inttoptr(address, self.real.as_pointer()), align=self.itemsize)
        return self.repeat(value)

    def repeat(self, value):
        kind = ir.VectorType(value.type, self.lanes)
        single = self.builder.insert_element(kind(ir.Undefined), value, INT64(0))
        return self.shuffle(single, single, [0] * self.lanes)

    def compress(self, value, mask):
        """The numbers whose mask is set, one after the other; what stands behind them means nothing.

        Not ``llvm.masked.compressstore``: into memory, that one instruction takes over a hundred cycles on Zen 4.
        """
        kind = "i32" if value.type.element == INT32 else f"f{self.itemsize * 8}"
        function = _function(
            self.builder,
            f"llvm.experimental.vector.compress.v{self.lanes}{kind}",
            value.type,
            [value.type, mask.type, value.type],
        )
        return self.builder.call(function, [value, mask, value.type(ir.Undefined)])

    def multiply_add(self, p, q, r):
        function = _function(self.builder, f"llvm.fmuladd.{self.suffix}", self.vector, [self.vector] * 3)
        return self.builder.call(function, [p, q, r])

    def sums_within(self, vectors):
        """One vector whose number j is the sum over vectors[j]; as many vectors as a power of two up to the lanes."""
        distance = 1
        while len(vectors) > 1:
            vectors = [self._fold(p, q, distance) for p, q in zip(vectors[::2], vectors[1::2], strict=True)]
            distance *= 2
        (total,) = vectors
        while distance < self.lanes:  # each sum stands there in parts, a distance apart
            total = self._fold(total, total, distance)
            distance *= 2
        return total

    def _fold(self, p, q, distance):
        """Sums of what stands ``distance`` apart, of p where that bit of the position is 0, of q where it is 1."""
        low = [(i & ~distance) + (self.lanes if i & distance else 0) for i in range(self.lanes)]
        high = [i + distance for i in low]
        return self.builder.fadd(self.shuffle(p, q, low), self.shuffle(p, q, high))

    def shuffle(self, p, q, mask):
        return self.builder.shuffle_vector(p, q, ir.VectorType(ir.IntType(32), len(mask))(mask))

    def map(self, count, out, function, *vectors):
        """out = function(…) of the vectors that stand at the addresses, ``count`` of them one after the other."""

        def step(k, _):
            along = self.builder.mul(k, INT64(vector_bytes()))
            values = [self.load(self.builder.add(address, along)) for address in vectors]
            self.store(function(*values), self.builder.add(out, along))
            return []

        self.loop(count, [], step)

    def loop_with_partial_sums(self, count, sums, step):
        """sums = step(i, sums) for i from 0 to count.

        Few sums would wait for each other: then several steps are taken at once, into sums of their own.
        """
        builder, n = self.builder, len(sums)
        at_once = max(1, 4 // n)
        if at_once == 1:
            return self.loop(count, sums, step)
        whole = builder.sdiv(count, INT64(at_once))
        done = builder.mul(whole, INT64(at_once))

        def steps(i, sums):
            first = builder.mul(i, INT64(at_once))
            parts = [step(builder.add(first, INT64(j)), sums[j * n : (j + 1) * n]) for j in range(at_once)]
            return [value for part in parts for value in part]

        sums = self.loop(whole, sums + [self.zero] * ((at_once - 1) * n), steps)
        while len(sums) > n:
            half = len(sums) // 2
            sums = [builder.fadd(p, q) for p, q in zip(sums[:half], sums[half:], strict=True)]
        return self.loop(builder.sub(count, done), sums, lambda i, sums: step(builder.add(done, i), sums))

    def loop(self, count, values, step):
        """values = step(i, values) for i from 0 to count."""
        before = self.builder.block
        head = self.builder.append_basic_block("head")
        body = self.builder.append_basic_block("body")
        after = self.builder.append_basic_block("after")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        i = self.builder.phi(INT64)
        current = [self.builder.phi(value.type) for value in values]
        self.builder.cbranch(self.builder.icmp_signed("<", i, count), body, after)
        self.builder.position_at_end(body)
        result = step(i, current)
        following = self.builder.add(i, INT64(1))
        for phi, first, later in zip([i, *current], [INT64(0), *values], [following, *result], strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(later, self.builder.block)
        self.builder.branch(head)
        self.builder.position_at_end(after)
        return current
