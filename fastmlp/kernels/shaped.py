"""Per-sample SGD of one shape of network: widths, activations and loss are constants of the code.

Samples are taken one by one, not in blocks (samples.py). Small networks spend their time waiting: each product for the
last one's sums, each sample for the weights that the one before left. So more sums are made at once, loops have lengths
that LLVM knows, activations and the loss are part of the kernel, and few outputs are computed number by number. The
time beside that of samples.py on one AVX-512 core: 8-64-64-2 0.65, 4-16-2 0.52, 30-100-2 0.67; but where the
weights leave the L1 cache, 128-128-10, 2.0. Memory is laid out as for all kernels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..activations import ACTIVATIONS
from . import activations, losses
from .cpu import has_many_registers, vector_bytes
from .decorators import array_at, call_kernel, force_inlined, pointer_to, record_at
from .formulas import tuple_of
from .layout import JOB, NUMBERS, padded, parameter_places
from .math import functions
from .packing import layer_at, pack_all, unpack_all
from .passes import blocks, copy_outputs, read_targets, share_right, weight_of
from .shape import Shape
from .subnormals import flush_subnormals, restore_subnormals
from .threads import told_to_stop
from .tiles import add_outer_product, backward_and_update_rows, sum_of_inner_products, sum_of_listed_rows
from .vectors import add_vectors, multiply_vectors, nonzero_columns, scale_vectors, wide_vectors

VECTOR_BYTES = vector_bytes()
_WIDEST = 8 if has_many_registers() else 4  # vectors of a row whose sums are kept at once
_TALLEST = 8  # rows that go back together, or rows of weights whose inner products are made together
_FEW = 4  # outputs of a softmax that are sooner computed number by number than as a vector: sums within one take long


def build(name: str, dtype: str):
    """The Python function to compile for "samples_of_shape.4-16.relu-2.softmax/cross_entropy.softmax"."""
    family, _, shape = name.partition(".")
    return {"samples_of_shape": _samples}[family](Shape.of(shape), np.dtype(dtype).type)


class _Layer(NamedTuple):
    """What is constant of a layer; rows are in bytes. ``skips`` says that inputs of zero do not matter."""

    number: int
    n_in: int
    n_out: int
    activation: str
    below: str
    has_biases: bool
    by_inputs: bool
    in_row: int
    out_row: int
    w_row: int
    skips: bool


class _At(NamedTuple):
    """Where a layer's numbers stand; and the slope of its activation."""

    w: int
    b: int
    x: int
    below_d: int
    z: int
    a: int
    d: int
    delta: int
    scaled: int
    alive: int
    zeros: int
    slope: float


def layers_of(shape, real):
    """The constants of all layers."""
    widths, item = [shape.n_in, *(layer.n for layer in shape.layers)], np.dtype(real).itemsize
    places, _ = parameter_places(widths, [layer.has_biases for layer in shape.layers])
    layers, below = [], ""
    for i, (layer, place) in enumerate(zip(shape.layers, places, strict=True)):
        in_row, out_row = padded(place.n_in, item) * item, padded(place.n_out, item) * item
        rows, skips = (in_row, out_row, out_row if place.by_inputs else in_row), below == "relu" and place.by_inputs
        parts = place.n_in, place.n_out, layer.activation, below, place.has_biases, place.by_inputs
        layers.append(_Layer(i, *parts, *rows, skips))
        below = layer.activation
    return layers


def in_turn(*actions):
    """A compiled function that does all the actions with its arguments."""
    if len(actions) == 1:
        return actions[0]
    first, others = actions[0], in_turn(*actions[1:])

    @force_inlined
    def all_of_them(*arguments):
        first(*arguments)
        others(*arguments)

    return all_of_them


def _in_strips(row, strip):
    """``strip(n, skip)``, a function for n vectors from byte ``skip`` on, for all vectors of a row."""
    vectors = row // VECTOR_BYTES
    skips = range(0, vectors, _WIDEST)
    return in_turn(*(strip(min(_WIDEST, vectors - skip), skip * VECTOR_BYTES) for skip in skips))


def _forward(layer, real):
    """z = x w + b; return how many inputs matter, which then are listed."""
    return _forward_by_inputs(layer, real) if layer.by_inputs else _forward_by_outputs(layer, real)


def _forward_by_inputs(layer, real):
    n_in, w_row, skips, steps = layer.n_in, layer.w_row, layer.skips, layer.in_row // VECTOR_BYTES

    def strip(n, skip):
        @force_inlined
        def product(at, count):
            w, b, z = at.w + skip, at.b + skip, at.z + skip
            sum_of_listed_rows(n, skips, real, count, at.x, w, w_row, at.alive, b, z)

        return product

    product = _in_strips(layer.out_row, strip)

    @force_inlined
    def forward(at):
        count = nonzero_columns(False, real, at.x, 0, 1, steps, at.alive) if skips else n_in
        product(at, count)
        return count

    return forward


def _forward_by_outputs(layer, real):
    n_in, n_out, in_row, out_row, w_row = layer.n_in, layer.n_out, layer.in_row, layer.out_row, layer.w_row
    item, steps, width = np.dtype(real).itemsize, in_row // VECTOR_BYTES, 1
    while width < min(_TALLEST, VECTOR_BYTES // item, n_out):
        width *= 2

    def columns(first):
        left, skip, w_skip = n_out - first, first * item, first * w_row

        @force_inlined
        def products(at):
            w, b, z = at.w + w_skip, at.b + skip, at.z + skip
            sum_of_inner_products(1, width, real, steps, at.x, in_row, w, w_row, left, b, z, out_row)

        return products

    products = in_turn(*(columns(first) for first in range(0, n_out, width)))

    @force_inlined
    def forward(at):
        products(at)
        return n_in

    return forward


def _activate(layer, real):
    """a = f(z) and d = f'(z)."""
    rows_of = force_inlined(activations.build(f"activation.{layer.activation}", np.dtype(real).name))
    n, stride = layer.n_out, layer.out_row // np.dtype(real).itemsize

    @force_inlined
    def activate(at):
        rows_of(pointer_to(at.z, real), pointer_to(at.a, real), at.d, 1, n, stride, at.slope)

    return activate


def _through(activation, n, real):
    """Turn dL/da of n numbers into dL/dz."""
    item = np.dtype(real).itemsize
    stride, vectors = padded(n, item), padded(n, item) * item // VECTOR_BYTES
    elementwise = ACTIVATIONS[activation].elementwise
    softmax_backward = force_inlined(activations.build("softmax_backward", np.dtype(real).name))

    @force_inlined
    def through(a, d, delta):
        if elementwise:
            multiply_vectors(real, vectors, delta, d)
        else:
            softmax_backward(a, delta, 1, n, stride)

    return through


def _score(layer, shape, real):
    """Return the loss and write the last layer's delta, dL/dz."""
    n, stride, fused = layer.n_out, layer.out_row // np.dtype(real).itemsize, bool(shape.output)
    if (shape.loss, shape.output) == ("cross_entropy", "softmax") and n <= _FEW:
        loss_of = _cross_entropy_of_few(n, real)
    else:
        loss_of = force_inlined(losses.build(f"loss.{shape.loss}.{shape.output}", np.dtype(real).name))
    through = _through(layer.activation, n, real)

    @force_inlined
    def score(at, target):
        z, a, y, delta = (
            pointer_to(at.z, real), pointer_to(at.a, real), pointer_to(target, real), pointer_to(at.delta, real)
        )  # fmt: skip
        loss = loss_of(z, a, y, delta, 0, 1, n, stride)  # 0: outputs count alike
        if not fused:
            through(at.a, at.d, at.delta)
        return loss

    return score


def _cross_entropy_of_few(n, real):
    """What losses.py makes of one row under a softmax, number by number."""
    np, zero, one = functions(real), real(0), real(1)
    exp, log, where = np.exp, np.log, np.where

    @force_inlined
    def loss(z, a, y, delta, weights, rows, columns, stride):
        z, a, y, delta = array_at(z, n, z), array_at(a, n, a), array_at(y, n, y), array_at(delta, n, delta)
        top = z[0]
        for k in range(1, n):
            top = where(z[k] > top, z[k], top)
        total = mass = below = zero
        for k in range(n):
            a[k] = exp(z[k] - top)
            total += a[k]
            mass += y[k]
            below += where(y[k] != 0, y[k] * (top - z[k]), zero)
        scale = one / total
        for k in range(n):
            a[k] *= scale
            delta[k] = a[k] * mass - y[k]
        return float(below + mass * log(total))

    return loss


def _step_of_biases(layer, real):
    """scaled = rate · delta, and b += scaled."""
    vectors, has_biases = layer.out_row // VECTOR_BYTES, layer.has_biases

    @force_inlined
    def step(at, rate):
        scale_vectors(real, vectors, at.scaled, at.delta, rate)
        if has_biases:
            add_vectors(real, vectors, at.b, at.scaled)

    return step


def _backward(layer, real):
    """Make the step of a layer's parameters, and write dL/dz of the layer below to dx, with the weights from before."""
    if layer.number == 0:
        return _backward_of_first(layer, real)
    return _backward_by_inputs(layer, real) if layer.by_inputs else _backward_by_outputs(layer, real)


def _backward_of_first(layer, real):
    n_in, w_row, step_of_biases = layer.n_in, layer.w_row, _step_of_biases(layer, real)

    def strip(n, skip):
        @force_inlined
        def update(at):
            add_outer_product(n, real, n_in, at.x, at.scaled + skip, at.w + skip, w_row)

        return update

    update = _in_strips(layer.out_row, strip)

    @force_inlined
    def backward(at, a_below, dx, rate, count):
        step_of_biases(at, rate)
        update(at)

    return backward


def _backward_by_inputs(layer, real):
    w_row, skips, step_of_biases = layer.w_row, layer.skips, _step_of_biases(layer, real)
    vectors, in_vectors = layer.out_row // VECTOR_BYTES, layer.in_row // VECTOR_BYTES
    through = _through(layer.below, layer.n_in, real)

    def rows(m):
        @force_inlined
        def go_back(at, dx, done, count):
            while done + m <= count:
                backward_and_update_rows(
                    m, vectors, skips, real, done, at.alive, at.delta, at.scaled, at.w, w_row, at.x, dx
                )
                done += m
            return done

        return go_back

    tall = rows(min(_TALLEST, VECTOR_BYTES // np.dtype(real).itemsize) if vectors <= _WIDEST else 1)
    two, one = rows(2), rows(1)

    @force_inlined
    def backward(at, a_below, dx, rate, count):
        step_of_biases(at, rate)
        if skips:  # the derivative of a relu is 0 for those that are left out, and 1 for others
            scale_vectors(real, in_vectors, dx, at.zeros, real(0))
        one(at, dx, two(at, dx, tall(at, dx, 0, count), count), count)
        if not skips:
            through(a_below, at.below_d, dx)

    return backward


def _backward_by_outputs(layer, real):
    n_out, w_row, step_of_biases = layer.n_out, layer.w_row, _step_of_biases(layer, real)
    through = _through(layer.below, layer.n_in, real)

    def strip(n, skip):
        @force_inlined
        def go_back(at, dx):
            w = at.w + skip
            sum_of_listed_rows(n, False, real, n_out, at.delta, w, w_row, at.alive, at.zeros, dx + skip)
            add_outer_product(n, real, n_out, at.scaled, at.x + skip, w, w_row)

        return go_back

    go_back = _in_strips(layer.in_row, strip)

    @force_inlined
    def backward(at, a_below, dx, rate, count):
        step_of_biases(at, rate)
        go_back(at, dx)
        through(a_below, at.below_d, dx)

    return backward


@force_inlined
def _of_sample(at, x, a):
    """A layer's places with another input and other outputs."""
    return _At(at.w, at.b, x, at.below_d, at.z, a, at.d, at.delta, at.scaled, at.alive, at.zeros, at.slope)


def _step_from(i, layers, shape, real):
    """Go forward from layer i's input to the loss, which is returned, and back, with the steps of these layers.

    It is a function of all layers' places; x, the first layer's input; how many bytes on the outputs go; the target;
    the sample's weight; and what deltas are multiplied with in a step.
    """
    layer, is_first, is_last = layers[i], i == 0, i == len(layers) - 1
    forward, activate, backward = _forward(layer, real), _activate(layer, real), _backward(layer, real)
    if is_last:
        vectors, score = layer.out_row // VECTOR_BYTES, _score(layer, shape, real)
        activates = not shape.output or ACTIVATIONS[layer.activation].elementwise

        @force_inlined
        def to_loss(at, places, x, a_skip, target, weight, rate):
            if activates:
                activate(at)
            loss = score(at, target)
            if weight != 1.0:
                loss *= weight
                scale_vectors(real, vectors, at.delta, at.delta, real(weight))
            return loss
    else:
        above = _step_from(i + 1, layers, shape, real)

        @force_inlined
        def to_loss(at, places, x, a_skip, target, weight, rate):
            activate(at)
            return above(places, x, a_skip, target, weight, rate)

    @force_inlined
    def step(places, x, a_skip, target, weight, rate):
        at, below = places[i], places[max(0, i - 1)]
        at = _of_sample(at, x if is_first else at.x, at.a + a_skip if is_last else at.a)
        count = forward(at)
        loss = to_loss(at, places, x, a_skip, target, weight, rate)
        backward(at, below.a, below.delta, rate, count)
        return loss

    return step


def _samples(shape, real):
    """Make a step of plain SGD for each sample of a dense x; the call's outputs, where wanted, get those of each as it
    was seen. What `samples` makes of them, but for rounding."""
    layers = layers_of(shape, real)
    n_layers, n_in, in_row, out_row = len(layers), layers[0].n_in, layers[0].in_row, layers[-1].out_row
    out_vectors, step = out_row // VECTOR_BYTES, _step_from(0, layers, shape, real)

    @force_inlined
    def places_of(i, job):
        layer = layer_at(job, i)
        return _At(
            layer.w, layer.b, layer.input, layer.below_d, layer.z, layer.a, layer.d, layer.delta, layer.scaled,
            layer.alive, job.workspace.zeros, layer.slope,
        )  # fmt: skip

    places_of_all = tuple_of(n_layers, places_of)

    def samples(params, job, numbers):
        wide_vectors()
        job, numbers, floats = record_at(job, JOB), record_at(numbers, NUMBERS), flush_subnormals()
        call, data, rate = job.call, job.data, real(-numbers.rate)
        pack_all(job, params, real)
        places, last = places_of_all(job), layer_at(job, n_layers - 1)
        x, targets = places[0].x, job.workspace.targets
        scale_vectors(real, out_vectors, last.delta, job.workspace.zeros, real(0))  # its padding, for all samples
        for i in range(blocks(call.count, call.block)):
            start = i * call.block
            rows, learnt = min(call.block, call.count - start), 0
            call_kernel(
                "reader", data.x_reader,
                (data.x, data.x_row, data.x_column, call.order + 8 * start, rows, 0, n_in, data.x_shift, data.x_scale,
                 x, in_row),
            )  # fmt: skip
            read_targets(job, start, rows, real)
            for t in range(rows):
                if told_to_stop(job):
                    break
                weight, skip = weight_of(job, start + t) if data.weights else 1.0, t * out_row
                numbers.totals.loss += step(places, x + t * in_row, skip, targets + skip, weight, rate)
                if data.score_classes or data.score_labels:
                    numbers.totals.right += weight * share_right(job, last, start, t, real)
                learnt += 1
            if call.outputs:
                copy_outputs(job, learnt, start, real)
            if learnt < rows:
                break
        unpack_all(job, params, real)
        restore_subnormals(floats)
        return 0.0

    return samples
