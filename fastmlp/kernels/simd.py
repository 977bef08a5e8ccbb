"""Register tiles: the innermost loops of the matrix products, as explicit vectors.

Each intrinsic here is one loop over the summed index with all its sums in registers. They emit LLVM vectors of
``vector_bytes()``, which LLVM turns into the instructions of whatever CPU it compiles for: AVX-512, AVX2, SSE, NEON.
Matrices come as addresses and strides in bytes, because one tile serves every orientation of them.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .compiler import vector_bytes

INT64 = ir.IntType(64)


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

        sums = emit.loop(depth, [emit.load(place, column) for place in starts for column in range(vectors)], step)
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

    Both run along k, ``steps`` vectors of it. Rows of W from ``n_rows`` on are read as its last row: what C has there
    means nothing.
    """
    rows, width = m.literal_value, n.literal_value

    def codegen(context, builder, signature, args):
        _, _, _, steps, a, a_row, w, w_row, n_rows, start, c, c_row = args
        emit = _Emitter(context, builder, real.dtype)
        last = builder.sub(n_rows, INT64(1))
        a_rows = [emit.offset(a, INT64(r), a_row) for r in range(rows)]
        w_rows = []
        for j in range(width):
            inside = builder.icmp_signed("<", INT64(j), n_rows)
            w_rows.append(emit.offset(w, builder.select(inside, INT64(j), last), w_row))

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
            emit.store_first(width, total, emit.offset(c, INT64(r), c_row))
        return context.get_dummy_value()

    return types.void(m, n, real, steps, a, a_row, w, w_row, n_rows, start, c, c_row), codegen


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


class _Emitter:
    """The few shapes of instruction that a tile is made of."""

    def __init__(self, context, builder, dtype):
        self.builder = builder
        self.real = context.get_value_type(dtype)
        self.itemsize = dtype.bitwidth // 8
        self.lanes = vector_bytes() // self.itemsize
        self.vector = ir.VectorType(self.real, self.lanes)
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

    def load(self, address, column=0):
        return self.builder.load(self._place(address, column), align=self.itemsize)

    def store(self, value, address, column=0):
        self.builder.store(value, self._place(address, column), align=self.itemsize)

    def store_first(self, count, value, address):
        part = self._shuffle(value, value, list(range(count)))
        self.builder.store(part, self.builder.inttoptr(address, part.type.as_pointer()), align=self.itemsize)

    def broadcast(self, address):
        value = self.builder.load(self.builder.inttoptr(address, self.real.as_pointer()), align=self.itemsize)
        single = self.builder.insert_element(self.vector(ir.Undefined), value, INT64(0))
        return self._shuffle(single, single, [0] * self.lanes)

    def multiply_add(self, p, q, r):
        name = f"llvm.fmuladd.v{self.lanes}f{self.itemsize * 8}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
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
        return self.builder.fadd(self._shuffle(p, q, low), self._shuffle(p, q, high))

    def _shuffle(self, p, q, mask):
        return self.builder.shuffle_vector(p, q, ir.VectorType(ir.IntType(32), len(mask))(mask))

    def loop(self, count, values, step):
        """values = step(i, values) for i from 0 to count."""
        before = self.builder.block
        head = self.builder.append_basic_block("head")
        body = self.builder.append_basic_block("body")
        after = self.builder.append_basic_block("after")
        self.builder.branch(head)
        self.builder.position_at_end(head)
        i = self.builder.phi(INT64)
        current = [self.builder.phi(self.vector) for _ in values]
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
