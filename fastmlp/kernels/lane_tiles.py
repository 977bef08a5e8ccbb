"""Register tiles of networks that lie side by side, one in each lane: a row is ``vectors`` vectors, one number a lane.

Unlike the products of tiles.py these share no weights between rows: each weight is loaded, used for one sample, and
stored. Matrices of weights are (n_out, n_in) rows, one behind the other.
"""

from __future__ import annotations

from numba import types
from numba.extending import intrinsic

from .cpu import vector_bytes
from .emitter import INT64, Emitter

__all__ = ["lane_backward", "lane_products", "lane_update"]


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
    """dx[k] = Σ_j delta[j] w[j, k], and w[j, k] += scaled[j] x[k] or what stands at a distance behind w, for some inputs
    k; w, x and dx begin with the first of them."""
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
