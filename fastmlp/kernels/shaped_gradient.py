"""The mean loss's gradient of one shape of network: widths, activations and loss are constants of the code.

A block of samples goes through all layers, as in batches.py, and their memory is laid out alike. But rows of weights,
of samples and of gradients follow each other at distances that the code knows, so that a tile has more sums, and x is
taken where it is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..activations import ACTIVATIONS
from . import activations, losses
from .cpu import has_many_registers, vector_bytes
from .decorators import array_at, call_kernel, force_inlined, peek, pointer_to, record_at
from .formulas import tuple_of
from .layout import JOB, NUMBERS
from .linear import INNER_ROWS, WIDEST
from .packing import clear, clear_biases, layer_at, pack, scale_gradient, unpack_layer
from .passes import are_neighbours, blocks, read_targets
from .shape import Shape
from .shaped import in_turn, layers_of
from .subnormals import flush_subnormals, restore_subnormals
from .tiles import sum_of_following_rows, sum_of_inner_products
from .vectors import add_rows, are_finite, clear_behind, copy, multiply_vectors, wide_vectors

VECTOR_BYTES = vector_bytes()
_MOST_SUMS = 24 if has_many_registers() else 12  # of a tile, beside its operands
_WIDEST = 4 if has_many_registers() else 2  # vectors of a tile's rows
_BLOCK = 48  # samples: whole tiles of every width


def build(name: str, dtype: str):
    """The Python function to compile for "gradient_of_shape.4-16.relu-2.softmax/cross_entropy.softmax"."""
    _, _, shape = name.partition(".")
    return _gradient(Shape.of(shape), np.dtype(dtype).type)


class _At(NamedTuple):
    """Where a layer's numbers stand, and its gradient; and the slope of its activation."""

    w: int
    b: int
    dw: int
    db: int
    x: int
    below_d: int
    below_delta: int
    z: int
    a: int
    d: int
    delta: int
    zeros: int
    slope: float


def _tiles(rows, vectors):
    """How to cut ``rows`` rows of so many vectors into tiles of nearly one height: (height, number of tiles) each."""
    count = -(-rows // (_MOST_SUMS // vectors))
    low, higher = divmod(rows, count)
    return [(height, number) for height, number in ((low + 1, higher), (low, count - higher)) if number]


def _strips(row):
    """The widths, in vectors, of strips of a row of so many bytes, and where they begin, in bytes."""
    vectors = row // VECTOR_BYTES
    return [(min(_WIDEST, vectors - first), first * VECTOR_BYTES) for first in range(0, vectors, _WIDEST)]


def _product_of_rows(width, depth, a_row, a_step, b_row, start_row, c_row, real):
    """C[r] = start[r] + Σ_k A[r, k] B[k] for any number of rows, ``width`` vectors and a constant depth."""

    def tiles(height):
        @force_inlined
        def product(a, b, start, c, first, rows):
            while first + height <= rows:
                sum_of_following_rows(
                    height, width, real, depth, a + first * a_row, a_row, a_step, b, b_row,
                    start + first * start_row, start_row, c + first * c_row, c_row,
                )  # fmt: skip
                first += height
            return first

        return product

    most = _MOST_SUMS // width
    tall, middle, single = tiles(most), tiles(-(-most // 3)), tiles(1)

    @force_inlined
    def product(a, b, start, c, rows):
        single(a, b, start, c, middle(a, b, start, c, tall(a, b, start, c, 0, rows), rows), rows)

    return product


def _sum_over_rows(n_rows, row, a_step, b_row, real):
    """C += Aᵀ B over any number of rows of A and B, for ``n_rows`` numbers of A's rows, and rows of B, and of C, of
    ``row`` bytes."""
    item = np.dtype(real).itemsize

    def part(first, height, number, width, skip):
        end = first + height * number

        @force_inlined
        def add(a, b, c, rows):
            for k in range(first, end, height):
                place = c + k * row + skip
                sum_of_following_rows(
                    height, width, real, rows, a + k * item, item, a_step, b + skip, b_row, place, row, place, row
                )

        return add

    parts = []
    for width, skip in _strips(row):
        first = 0
        for height, number in _tiles(n_rows, width):
            parts.append(part(first, height, number, width, skip))
            first += height * number
    return in_turn(*parts)


def _inner_products(n, a_row, w_row, c_row, real):
    """C[r, j] = start[j] + Σ_k A[r, k] W[j, k] for any number of rows, and n rows of W of ``w_row`` bytes, as A has."""
    item, steps, width = np.dtype(real).itemsize, w_row // VECTOR_BYTES, 1
    while width < min(WIDEST, VECTOR_BYTES // item, n):
        width *= 2

    def columns(first):
        left, skip, w_skip = n - first, first * item, first * w_row

        def tiles(height):
            @force_inlined
            def products(a, w, start, c, done, rows):
                while done + height <= rows:
                    sum_of_inner_products(
                        height, width, real, steps, a + done * a_row, a_row, w + w_skip, w_row, left,
                        start + skip, c + done * c_row + skip, c_row,
                    )  # fmt: skip
                    done += height
                return done

            return products

        several, single = tiles(INNER_ROWS), tiles(1)

        @force_inlined
        def products(a, w, start, c, rows):
            single(a, w, start, c, several(a, w, start, c, 0, rows), rows)

        return products

    return in_turn(*(columns(first) for first in range(0, n, width)))


def _forward(layer, x_row, real):
    """z = x w + b of rows."""
    item = np.dtype(real).itemsize
    if not layer.by_inputs:
        products = _inner_products(layer.n_out, x_row, layer.w_row, layer.out_row, real)
        return force_inlined(lambda at, rows: products(at.x, at.w, at.b, at.z, rows))

    def strip(width, skip):
        product = _product_of_rows(width, layer.n_in, x_row, item, layer.w_row, 0, layer.out_row, real)
        return force_inlined(lambda at, rows: product(at.x, at.w + skip, at.b + skip, at.z + skip, rows))

    return in_turn(*(strip(*strip_of_row) for strip_of_row in _strips(layer.out_row)))


def _activate(layer, with_derivatives, real):
    """a = f(z) and, with derivatives, d = f'(z) of rows; a linear layer's a is its z."""
    if layer.activation == "linear":
        return force_inlined(lambda at, rows: None)
    rows_of = force_inlined(activations.build(f"activation.{layer.activation}", np.dtype(real).name))
    n, stride = layer.n_out, layer.out_row // np.dtype(real).itemsize

    @force_inlined
    def activate(at, rows):
        d = at.d if with_derivatives else 0
        rows_of(pointer_to(at.z, real), pointer_to(at.a, real), d, rows, n, stride, at.slope)

    return activate


def _through(activation, n, row, real):
    """Turn dL/da of rows into dL/dz."""
    if activation == "linear":
        return force_inlined(lambda a, d, delta, rows: None)
    stride, vectors = row // np.dtype(real).itemsize, row // VECTOR_BYTES
    if ACTIVATIONS[activation].elementwise:
        return force_inlined(lambda a, d, delta, rows: multiply_vectors(real, rows * vectors, delta, d))
    softmax_backward = force_inlined(activations.build("softmax_backward", np.dtype(real).name))

    @force_inlined
    def through(a, d, delta, rows):
        softmax_backward(a, delta, rows, n, stride)

    return through


def _clear_behind(n, row, real):
    """Write zeros behind the first n numbers of rows, where a sample that was not finite may have left others."""
    vectors = row // VECTOR_BYTES
    if n * np.dtype(real).itemsize >= row:
        return force_inlined(lambda address, rows: None)

    @force_inlined
    def clear_rows(address, rows):
        for r in range(rows):
            clear_behind(real, address + r * row, n, vectors)

    return clear_rows


def _score(layer, shape, real):
    """Return the loss of rows and write the last layer's delta, dL/dz."""
    n, row = layer.n_out, layer.out_row
    stride = row // np.dtype(real).itemsize
    loss_of = force_inlined(losses.build(f"loss.{shape.loss}.{shape.output}", np.dtype(real).name))
    through = force_inlined(lambda a, d, delta, rows: None)
    if not shape.output:
        through = _through(layer.activation, n, row, real)
    clear_rest = _clear_behind(n, row, real)

    @force_inlined
    def score(at, targets, rows):
        z, a, y, delta = (
            pointer_to(at.z, real), pointer_to(at.a, real), pointer_to(targets, real), pointer_to(at.delta, real)
        )  # fmt: skip
        loss = loss_of(z, a, y, delta, 0, rows, n, stride)  # 0: outputs count alike
        through(at.a, at.d, at.delta, rows)
        clear_rest(at.delta, rows)
        return loss

    return score


def _backward(layer, real):
    """Write dL/dz of the layer below."""
    n_in, in_row, item = layer.n_in, layer.in_row, np.dtype(real).itemsize
    through = _through(layer.below, n_in, in_row, real)
    if layer.by_inputs:
        products = _inner_products(n_in, layer.out_row, layer.w_row, in_row, real)
        clear_rest = _clear_behind(-(-n_in // WIDEST) * WIDEST, in_row, real)

        @force_inlined
        def go_back(at, rows):
            products(at.delta, at.w, at.zeros, at.below_delta, rows)
            clear_rest(at.below_delta, rows)
    else:

        def strip(width, skip):
            product = _product_of_rows(width, layer.n_out, layer.out_row, item, layer.w_row, 0, in_row, real)
            return force_inlined(lambda at, rows: product(at.delta, at.w + skip, at.zeros, at.below_delta + skip, rows))

        go_back = in_turn(*(strip(*strip_of_row) for strip_of_row in _strips(in_row)))

    @force_inlined
    def backward(at, rows):
        go_back(at, rows)
        through(at.x, at.below_d, at.below_delta, rows)

    return backward


def _add_gradient(layer, x_row, real):
    """Add the gradient of rows to the layer's."""
    n_in, n_out, out_row, w_row, has_biases = layer.n_in, layer.n_out, layer.out_row, layer.w_row, layer.has_biases
    if layer.by_inputs:
        sums = _sum_over_rows(n_in, w_row, x_row, out_row, real)
        add_weights = force_inlined(lambda at, rows: sums(at.x, at.delta, at.dw, rows))
    else:
        sums = _sum_over_rows(n_out, w_row, out_row, x_row, real)
        add_weights = force_inlined(lambda at, rows: sums(at.delta, at.x, at.dw, rows))
    vectors = out_row // VECTOR_BYTES

    @force_inlined
    def add(at, rows):
        add_weights(at, rows)
        if has_biases:
            add_rows(real, rows, vectors, at.db, at.delta, out_row)

    return add


def _pass_from(i, layers, shape, real):
    """Go forward with a block from layer i's input to the loss, which is returned, and back, and add to the gradients
    of these layers; NaN where x is not finite."""
    layer, is_first, is_last = layers[i], i == 0, i == len(layers) - 1
    x_row = layer.n_in * np.dtype(real).itemsize if is_first else layer.in_row
    vectors = layer.out_row // VECTOR_BYTES
    forward, add_gradient = _forward(layer, x_row, real), _add_gradient(layer, x_row, real)
    if is_last:
        activates = not shape.output or ACTIVATIONS[layer.activation].elementwise
        activate = _activate(layer, not shape.output, real) if activates else force_inlined(lambda at, rows: None)
        score = _score(layer, shape, real)

        @force_inlined
        def to_loss(places, x, targets, rows):
            activate(places[i], rows)
            return score(places[i], targets, rows)
    else:
        activate, above = _activate(layer, True, real), _pass_from(i + 1, layers, shape, real)

        @force_inlined
        def to_loss(places, x, targets, rows):
            activate(places[i], rows)
            return above(places, x, targets, rows)

    backward = force_inlined(lambda at, rows: None) if is_first else _backward(layer, real)

    @force_inlined
    def go(places, x, targets, rows):
        at = _with_input(places[i], x) if is_first else places[i]
        forward(at, rows)
        if is_first and not are_finite(real, rows * vectors, at.z):  # x is not: not a number, times whatever weight
            return math.nan
        loss = to_loss(places, x, targets, rows)
        add_gradient(at, rows)
        backward(at, rows)
        return loss

    return go


@force_inlined
def _with_input(at, x):
    """A layer's places with another input."""
    return _At(at.w, at.b, at.dw, at.db, x, at.below_d, at.below_delta, at.z, at.a, at.d, at.delta, at.zeros, at.slope)


def _gradient(shape, real):
    """Write ``numbers.rate`` times the sum of the samples' gradients to ``call.gradient``, (n_params,), and add their
    losses to the totals: NaN, and no gradient, where a sample is not finite. What `batches` makes of a call that begins
    and ends a batch of dense samples without weights, but for rounding."""
    layers = layers_of(shape, real)
    n_layers, n_in, item = len(layers), layers[0].n_in, np.dtype(real).itemsize
    x_row, y_row, out_row = n_in * item, layers[-1].n_out * item, layers[-1].out_row
    linear = tuple(layer.activation == "linear" for layer in layers)
    go = _pass_from(0, layers, shape, real)

    @force_inlined
    def places_of(i, job):
        layer, below, gradient = layer_at(job, i), layer_at(job, max(0, i - 1)), job.workspace.gradient
        x = below.z if i > 0 and linear[i - 1] else layer.input
        a = layer.z if linear[i] else layer.a
        return _At(
            layer.w, layer.b, layer.w + gradient, layer.b + gradient, x, layer.below_d, below.delta, layer.z, a,
            layer.d, layer.delta, job.workspace.zeros, layer.slope,
        )  # fmt: skip

    places_of_all = tuple_of(n_layers, places_of)

    def gradient(params, job, numbers):
        wide_vectors()
        job, numbers, floats = record_at(job, JOB), record_at(numbers, NUMBERS), flush_subnormals()
        call, data, targets, block = job.call, job.data, job.workspace.targets, min(_BLOCK, job.call.block)
        pack(job, params, 0, True, real)
        for i in range(n_layers):
            clear(layer_at(job, i), job.workspace.gradient, 0, 1, real)
            clear_biases(layer_at(job, i), job.workspace.gradient, real)
        places = places_of_all(job)
        for i in range(blocks(call.count, block)):
            start = i * block
            rows, order = min(block, call.count - start), call.order + 8 * start
            first, follow = peek(order, np.int64), are_neighbours(array_at(order, rows, np.int64))
            if data.x_ready and follow:
                x = data.x + first * x_row
            else:
                x = places[0].x
                call_kernel(
                    "reader", data.x_reader,
                    (data.x, data.x_row, data.x_column, order, rows, 0, n_in, data.x_shift, data.x_scale, x, x_row),
                )  # fmt: skip
            if data.y_ready and follow:
                for r in range(rows):
                    copy(targets + r * out_row, data.y + (first + r) * y_row, y_row)
            else:
                read_targets(job, start, rows, real)
            loss = go(places, x, targets, rows)
            numbers.totals.loss += loss
            if not math.isfinite(loss):
                break
        for i in range(n_layers):
            layer = layer_at(job, i)
            scale_gradient(layer, job.workspace.gradient, real(numbers.rate), real)
            unpack_layer(layer, call.gradient, job.workspace.gradient, real)
        restore_subnormals(floats)
        return 0.0

    return gradient
