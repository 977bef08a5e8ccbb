"""The shapes of LLVM instructions that tiles.py and vectors.py are made of.

Vectors are of ``vector_bytes()``; LLVM turns them into the instructions of whatever CPU it compiles for: AVX-512,
AVX2, SSE, NEON. Addresses are int64.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from .cpu import COMPRESS, compressor, vector_bytes

__all__ = ["INT32", "INT64", "Emitter", "llvm_function"]

INT32, INT64 = ir.IntType(32), ir.IntType(64)


def llvm_function(builder, name, result, arguments):
    """The LLVM intrinsic of that name."""
    return builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def _short_name(item):
    """LLVM's name for a type of numbers in the names of its intrinsics."""
    return {"float": "f32", "double": "f64"}.get(str(item), str(item))


class Emitter:
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
        """A mask of the first n lanes; n fits in int32."""
        kind = ir.IntType(8 * self.itemsize)  # as wide as the lanes: with int64, float32's `is_largest` took 1.5 times
        lanes = ir.VectorType(kind, self.lanes)(list(range(self.lanes)))
        return self.builder.icmp_signed("<", lanes, self.repeat(self.builder.trunc(n, kind)))

    def load(self, address, column=0):
        return self.builder.load(self._place(address, column), align=self.itemsize)

    def fetch(self, address, size, to_write=True):
        """Begin to bring ``size`` bytes at the address to the cache, a line at a time; they may be anybody's."""
        pointer = ir.IntType(8).as_pointer()
        function = llvm_function(self.builder, "llvm.prefetch.p0", ir.VoidType(), [pointer, INT32, INT32, INT32])
        for start in range(0, size, 64):
            place = self.builder.inttoptr(self.builder.add(address, INT64(start)), pointer)
            self.builder.call(function, [place, INT32(int(to_write)), INT32(3), INT32(1)])  # to all caches, data

    def load_first(self, count, address):
        """A vector of the ``count`` numbers at the address; the rest of it is undefined."""
        kind = ir.VectorType(self.real, count)
        part = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()), align=self.itemsize)
        return self.shuffle(part, part, [min(i, count - 1) for i in range(self.lanes)])

    def store(self, value, address, column=0):
        self.builder.store(value, self._place(address, column), align=self.itemsize)

    def store_first(self, count, value, address):
        part = self.shuffle(value, value, list(range(count)))
        self.builder.store(part, self.builder.inttoptr(address, part.type.as_pointer()), align=self.itemsize)

    def load_where(self, mask, place, kind):
        """A vector of type ``kind``: the numbers whose mask is set, and zeros; no others are read."""
        arguments, item = [place.type, INT32, mask.type, kind], _short_name(kind.element)
        function = llvm_function(self.builder, f"llvm.masked.load.v{self.lanes}{item}.p0", kind, arguments)
        return self.builder.call(function, [place, INT32(1), mask, kind(None)])

    def gather(self, addresses, item):
        """The numbers of type ``item`` that stand at a vector of addresses, int64."""
        places = self.builder.inttoptr(addresses, ir.VectorType(item.as_pointer(), self.lanes))
        kind, mask = ir.VectorType(item, self.lanes), ir.VectorType(ir.IntType(1), self.lanes)
        name = f"llvm.masked.gather.v{self.lanes}{_short_name(item)}.v{self.lanes}p0"
        function = llvm_function(self.builder, name, kind, [places.type, INT32, mask, kind])
        return self.builder.call(function, [places, INT32(1), mask([1] * self.lanes), kind(None)])

    def store_where(self, mask, value, address):
        """Store the numbers whose mask is set, and touch no others."""
        place = self.builder.inttoptr(address, self.vector.as_pointer())
        arguments = [self.vector, place.type, INT32, mask.type]
        function = llvm_function(self.builder, f"llvm.masked.store.{self.suffix}.p0", ir.VoidType(), arguments)
        self.builder.call(function, [value, place, INT32(self.itemsize), mask])

    def broadcast(self, address):
        value = self.builder.load(self.builder.inttoptr(address, self.real.as_pointer()), align=self.itemsize)
        return self.repeat(value)

    def repeat(self, value):
        kind = ir.VectorType(value.type, self.lanes)
        single = self.builder.insert_element(kind(ir.Undefined), value, INT64(0))
        return self.shuffle(single, single, [0] * self.lanes)

    def compress(self, value, mask):
        """The numbers whose mask is set, one after the other; behind them stand the others, or zeros.

        Not ``llvm.masked.compressstore``: into memory, that one instruction takes over a hundred cycles on Zen 4.
        """
        if compressor() in (COMPRESS, None):
            return self._compress(value, mask)
        size = 4 if vector_bytes() == 32 else 1
        parts = ir.VectorType(ir.IntType(8 * size), vector_bytes() // size)
        order = self.builder.zext(self._order(mask, self.itemsize // size), parts)
        permute = llvm_function(self.builder, compressor(), parts, [parts, parts])
        permuted = self.builder.call(permute, [self.builder.bitcast(value, parts), order])
        return self.builder.bitcast(permuted, value.type)

    def positions(self, mask, first):
        """The lanes whose mask is set, counted from ``first``, int64; the rest is undefined."""
        wide = ir.VectorType(INT64, self.lanes)
        if compressor() == COMPRESS:
            lanes = ir.VectorType(INT32, self.lanes)(list(range(self.lanes)))
            lanes = self.builder.add(self.repeat(self.builder.trunc(first, INT32)), lanes)
            return self.builder.zext(self._compress(lanes, mask), wide)
        return self.builder.add(self.builder.zext(self._order(mask, 1), wide), self.repeat(first))

    def _compress(self, value, mask):
        kind = "i32" if value.type.element == INT32 else f"f{self.itemsize * 8}"
        function = llvm_function(
            self.builder, f"{COMPRESS}.v{self.lanes}{kind}", value.type, [value.type, mask.type, value.type]
        )
        return self.builder.call(function, [value, mask, value.type(None)])

    def _order(self, mask, parts):
        """Numbers of all parts of a vector, ``parts`` to a lane, int8, those of the lanes whose mask is set first.

        They come from a table of all masks, 2 KB at most. Without AVX-512, LLVM's own code for `COMPRESS` takes five
        times as long to list MNIST's columns, and a loop over the bits of each mask three times: its end is a surprise.
        """
        table = []
        for number in range(1 << self.lanes):
            lanes = sorted(range(self.lanes), key=lambda lane: not number >> lane & 1)
            table += [lane * parts + part for lane in lanes for part in range(parts)]
        row = self.lanes * parts
        content = ir.Constant(ir.ArrayType(ir.IntType(8), len(table)), bytearray(table))
        places = cgutils.global_constant(self.builder, "order", content)
        number = self.builder.zext(self.builder.bitcast(mask, ir.IntType(self.lanes)), INT64)
        place = self.offset(self.builder.ptrtoint(places, INT64), number, INT64(row))
        kind = ir.VectorType(ir.IntType(8), row)
        return self.builder.load(self.builder.inttoptr(place, kind.as_pointer()), align=1)

    def add(self, p, q):
        """p + q, in the order of the sums that stands here.

        Numba lets LLVM reorder every addition that has no flag of its own (`OPTIONS`): then tiles of several rows and
        of one could sum in other orders, and round otherwise, as kernels for AVX-512 that were compiled ahead did.
        """
        return self.builder.fadd(p, q, flags=("nsz",))

    def multiply_add(self, p, q, r):
        function = llvm_function(self.builder, f"llvm.fmuladd.{self.suffix}", self.vector, [self.vector] * 3)
        return self.builder.call(function, [p, q, r])

    def count(self, mask):
        """How many lanes of a mask are set, int64."""
        return self.builder.zext(self.builder.ctpop(self.builder.bitcast(mask, ir.IntType(self.lanes))), INT64)

    def larger(self, p, q):
        """The larger of each two numbers."""
        return self.builder.select(self.builder.fcmp_ordered(">", p, q), p, q)

    def within(self, value, operation, width):
        """What an operation of two makes of each ``width`` numbers, a power of two, in the place of every one."""
        distance = width // 2
        while distance:
            turned = [i // width * width + (i + distance) % width for i in range(self.lanes)]
            value = operation(value, self.shuffle(value, value, turned))
            distance //= 2
        return value

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
        places = range(self.lanes)
        near = [i + self.lanes if i & distance else i for i in places]  # a blend, which costs less than a shuffle
        far = [i - distance + self.lanes if i & distance else i + distance for i in places]
        return self.add(self.shuffle(p, q, near), self.shuffle(p, q, far))

    def transposed(self, vectors):
        """The columns of a square of as many vectors as each has numbers."""
        square, distance = list(vectors), 1
        while distance < self.lanes:
            for i in range(self.lanes):
                if not i & distance:
                    p, q = square[i], square[i + distance]
                    low = [(k & ~distance) + (self.lanes if k & distance else 0) for k in range(self.lanes)]
                    square[i] = self.shuffle(p, q, low)
                    square[i + distance] = self.shuffle(p, q, [k + distance for k in low])
            distance *= 2
        return square

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

    def whole_and_rest(self, n):
        """How many vectors n numbers fill, and how many numbers are left."""
        whole = self.builder.sdiv(n, INT64(self.lanes))
        return whole, self.builder.sub(n, self.builder.mul(whole, INT64(self.lanes)))

    def is_any(self, n):
        """1 where n is above 0, else 0."""
        return self.builder.zext(self.builder.icmp_signed(">", n, INT64(0)), INT64)

    def loop_with_partial_sums(self, count, sums, step, at_least=4):
        """sums = step(i, sums) for i from 0 to count.

        Few sums would wait for each other: then several steps are taken at once, into sums of their own, ``at_least``
        of them, a power of two.
        """
        builder, n = self.builder, len(sums)
        at_once = max(1, at_least // n)
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
            sums = [self.add(p, q) for p, q in zip(sums[:half], sums[half:], strict=True)]
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
