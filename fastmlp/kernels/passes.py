"""Passes over the layers of a block of rows: in, forward, judged, back, and into the parameters.

What the kernels of outputs.py, samples.py and batches.py are made of. ``job`` and ``table`` are what layout.py
describes; ``params`` is the flat parameters, whose dtype is that of all reals. What is done to every single sample is
written out: an array is seven arguments, and five of them a function cost small networks up to a fifth of their time.
"""

from __future__ import annotations

import numpy as np

from . import layout as at
from .cpu import vector_bytes
from .decorators import array_at, call, inner, peek, written_out
from .simd import (
    add_rows,
    add_vectors,
    are_finite,
    clear_behind,
    copy,
    is_largest,
    multiply_vectors,
    nonzero_columns,
    scale_vectors,
)

BYTES = vector_bytes()


@inner
def pack(job, table, flat, distance):
    """The padded copy of a vector like the parameters, at a distance behind that of the parameters; nothing where they
    are used in place.

    The padding is written again, because a run that overflowed may have left NaN there.
    """
    if job[at.IN_PLACE]:
        return
    for i in range(len(table)):
        row = table[i]
        n = row[at.W_COLUMNS]
        for r in range(row[at.W_ROWS]):
            w = row[at.W] + distance + r * row[at.W_ROW]
            copy(w, flat.ctypes.data + row[at.FLAT_W] + r * n * flat.itemsize, n * flat.itemsize)
            clear_behind(flat, w, n, row[at.W_ROW] // BYTES)
        if row[at.HAS_BIASES]:
            b = row[at.B] + distance
            copy(b, flat.ctypes.data + row[at.FLAT_B], row[at.N_OUT] * flat.itemsize)
            clear_behind(flat, b, row[at.N_OUT], row[at.OUT_ROW] // BYTES)


@inner
def unpack(table, flat, distance):
    """A vector like the parameters from the padded copy that stands at a distance behind that of the parameters."""
    for i in range(len(table)):
        row = table[i]
        size = row[at.W_COLUMNS] * flat.itemsize
        for r in range(row[at.W_ROWS]):
            target = flat.ctypes.data + row[at.FLAT_W] + r * size
            copy(target, row[at.W] + distance + r * row[at.W_ROW], size)
        if row[at.HAS_BIASES]:
            copy(flat.ctypes.data + row[at.FLAT_B], row[at.B] + distance, row[at.N_OUT] * flat.itemsize)


@written_out
def pack_all(job, table, params):
    """Pack the parameters and the optimiser's state."""
    pack(job, table, params, 0)
    for i in range(job[at.STATES]):
        pack(job, table, array_at(job[at.FLAT_1 + i], at.ANY, params), job[at.STATE_1 + i])


@written_out
def unpack_all(job, table, params):
    """Write both back, where they are not used in place."""
    if job[at.IN_PLACE]:
        return
    unpack(table, params, 0)
    for i in range(job[at.STATES]):
        unpack(table, array_at(job[at.FLAT_1 + i], at.ANY, params), job[at.STATE_1 + i])


@written_out
def _share(row, member, team, params):
    """The part of a layer's weights, in numbers from its beginning, that is one thread's; whole vectors always."""
    lines = row[at.W_ROWS] * (row[at.W_ROW] // 64)
    per_line = 64 // params.itemsize
    return lines * member // team * per_line, lines * (member + 1) // team * per_line


@inner
def clear(row, distance, member, team, params):
    """Zeros for what stands at a distance behind a layer's parameters, or for one thread's share of it."""
    begin, end = _share(row, member, team, params)
    w = array_at(row[at.W] + distance + begin * params.itemsize, end - begin, params)
    for k in range(len(w)):
        w[k] = 0
    if row[at.HAS_BIASES] and member == 0:
        b = array_at(row[at.B] + distance, row[at.N_OUT], params)
        for k in range(len(b)):
            b[k] = 0


@inner
def add(row, distance, other, member, team, params):
    """What stands at the one distance += what stands at the other, for one thread's share of a layer."""
    begin, end = _share(row, member, team, params)
    skip = begin * params.itemsize
    vectors = (end - begin) * params.itemsize // BYTES
    add_vectors(params, vectors, row[at.W] + distance + skip, row[at.W] + other + skip)
    if row[at.HAS_BIASES] and member == 0:
        add_vectors(params, row[at.OUT_ROW] // BYTES, row[at.B] + distance, row[at.B] + other)


@inner
def scale_gradient(row, distance, factor, params):
    """What stands at a distance behind a layer's parameters, times a factor."""
    w, b = row[at.W] + distance, row[at.B] + distance
    scale_vectors(params, row[at.W_ROWS] * (row[at.W_ROW] // BYTES), w, w, factor)
    if row[at.HAS_BIASES]:
        scale_vectors(params, row[at.OUT_ROW] // BYTES, b, b, factor)


@inner
def step(job, row, member, team, lr, factor, params):
    """The optimiser's step for a layer, or for one thread's share of it, against factor · its gradient."""
    begin, end = _share(row, member, team, params)
    w = row[at.W] + begin * params.itemsize
    for_biases = row[at.HAS_BIASES] and member == 0
    for part in range(2 if for_biases else 1):
        place, n = (w, end - begin) if part == 0 else (row[at.B], row[at.N_OUT])
        call(
            job[at.STEP],
            (place, place + job[at.GRAD], place + job[at.STATE_1], place + job[at.STATE_2], n, 1 - part,
             job[at.OPTIONS], np.float64(lr), np.float64(factor)),
        )  # fmt: skip


@inner
def squares(address, n, params):
    """The sum of the squares of n numbers."""
    x = array_at(address, n, params)
    total = 0.0
    for k in range(n):
        total += np.float64(x[k]) * np.float64(x[k])
    return total


@inner
def read_inputs(job, table, start, rows):
    """Rows of x, without the inputs that are zero in all of them where those are many; how many are left."""
    row = table[0]
    order = job[at.ORDER] + 8 * start
    if job[at.X_SPARSE]:
        arguments = (
            job[at.X], job[at.X_ROW], job[at.X_COLUMN], order, rows, job[at.X_SCALE], row[at.INPUT], row[at.IN_ROW],
            job[at.INDEX], job[at.SLOTS],
        )  # fmt: skip
        return int(call(job[at.X_GATHER], arguments))
    following = min(job[at.BLOCK], job[at.COUNT] - start - rows)
    call(
        job[at.X_GATHER],
        (job[at.X], job[at.X_ROW], job[at.X_COLUMN], order, rows, following, row[at.N_IN], job[at.X_SHIFT],
         job[at.X_SCALE], row[at.INPUT], row[at.IN_ROW]),
    )  # fmt: skip
    return int(call(job[at.WALK], (row[at.INPUT], row[at.IN_ROW], rows, row[at.N_IN], job[at.INDEX])))


@inner
def all_finite(table, rows, params):
    """Whether the inputs that were read are."""
    row = table[0]
    return are_finite(params, rows * (row[at.IN_ROW] // BYTES), row[at.INPUT])


@inner
def read_targets(job, table, start, rows, params):
    """Rows of y as they are, or one-hot rows where y holds class indices."""
    last = table[len(table) - 1]
    order = job[at.ORDER] + 8 * start
    if job[at.Y_COLUMN] == at.CLASS_INDICES:
        y = array_at(job[at.TARGETS], (rows, last[at.OUT_ROW] // params.itemsize), params)
        index = array_at(order, rows, job)
        classes = array_at(job[at.Y], at.ANY, job)
        for r in range(rows):
            for k in range(last[at.N_OUT]):
                y[r, k] = 0
            y[r, classes[index[r]]] = 1
    else:
        call(
            job[at.Y_GATHER],
            (job[at.Y], job[at.Y_ROW], job[at.Y_COLUMN], order, rows, 0, last[at.N_OUT], 0, 0, job[at.TARGETS],
             last[at.OUT_ROW]),
        )  # fmt: skip


@inner
def products(job, row, distance, start, target, first, rows, index, depth, params):
    """target = start + x w in a layer stored by inputs, with w or with what stands behind it, for rows from ``first``
    on; x has ``depth`` columns, whose rows of w are listed in ``index``."""
    a = row[at.INPUT] + first * row[at.IN_ROW]
    w, vectors = row[at.W] + distance, row[at.OUT_ROW] // BYTES
    if rows == 1:
        call(job[at.WEIGHTED_ROWS], (depth, a, job[at.IDENTITY], w, row[at.W_ROW], index, start, target, vectors))
    else:
        call(
            job[at.PRODUCT],
            (a, row[at.IN_ROW], params.itemsize, w, row[at.W_ROW], index, start, 0, target, row[at.OUT_ROW],
             job[at.IDENTITY], rows, vectors, depth),
        )  # fmt: skip


@written_out
def first_forward(job, table, rows, walked, params):
    """z = x w + b in the first layer."""
    row = table[0]
    products(job, row, 0, row[at.B], row[at.Z], 0, rows, job[at.INDEX], walked, params)


@written_out
def _list_alive(row, first, with_derivatives, params):
    """List the inputs of a layer that are not zero, or may become so: no others matter to one sample."""
    a = row[at.INPUT] + first * row[at.IN_ROW]
    alive = array_at(row[at.ALIVE], at.ANY, row)
    to_d = row[at.BELOW_D] - row[at.INPUT]
    rows = 2 if with_derivatives else 1
    count = nonzero_columns(False, params, a, to_d, rows, row[at.IN_ROW] // BYTES, row[at.ALIVE])
    while count > 0 and alive[count - 1] >= row[at.N_IN]:  # a derivative in the padding
        count -= 1
    row[at.N_ALIVE] = count


@written_out
def _forward(job, row, first, rows, with_derivatives, params):
    """z = x w + b in a deeper layer, for rows from ``first`` on."""
    z = row[at.Z] + first * row[at.OUT_ROW]
    if not row[at.BY_INPUTS]:
        call(
            job[at.INNER_PRODUCTS],
            (row[at.INPUT] + first * row[at.IN_ROW], row[at.IN_ROW], row[at.W], row[at.W_ROW], row[at.B], z,
             row[at.OUT_ROW], rows, row[at.N_OUT], row[at.IN_ROW] // BYTES),
        )  # fmt: skip
    elif rows > 1:
        products(job, row, 0, row[at.B], z, first, rows, job[at.IDENTITY], row[at.N_IN], params)
    else:
        _list_alive(row, first, with_derivatives, params)
        call(
            job[at.WEIGHTED_ROWS],
            (row[at.N_ALIVE], row[at.INPUT] + first * row[at.IN_ROW], row[at.ALIVE], row[at.W], row[at.W_ROW],
             row[at.ALIVE], row[at.B], z, row[at.OUT_ROW] // BYTES),
        )  # fmt: skip


@written_out
def _activate(row, slope, first, rows, with_derivatives, params):
    skip = first * row[at.OUT_ROW]
    stride = row[at.OUT_ROW] // params.itemsize
    d = row[at.D] + skip if with_derivatives else 0
    call(row[at.ACT], (row[at.Z] + skip, row[at.A] + skip, d, rows, row[at.N_OUT], stride, slope))


@inner
def _drop(job, i, row, first, rows, position, params):
    """Zeros for the units left out, in a and in its derivative; the others are scaled up.

    Where a is a softmax, z keeps it whole and the derivative's place has the factors, for the way back.
    """
    skip = first * row[at.OUT_ROW]
    stride = row[at.OUT_ROW] // params.itemsize
    whole = row[at.Z] + skip if row[at.SOFTMAX] else 0
    call(
        job[at.DROPOUT],
        (row[at.A] + skip, row[at.D] + skip, whole, rows, stride, job[at.KEY],
         (position + first) * job[at.LAYERS] + i, job[at.LAYERS], peek(job[at.KEPT] + 8 * i, np.float64)),
    )  # fmt: skip


@written_out
def activate_layers(job, table, slopes, first, rows, position, with_derivatives, with_outputs, params):
    """From the first layer's z to the last one's, and to the outputs unless the loss will compute them."""
    last = len(table) - 1
    for i in range(len(table)):
        if i > 0:
            _forward(job, table[i], first, rows, with_derivatives, params)
        if with_outputs or i < last:
            _activate(table[i], slopes[i], first, rows, with_derivatives, params)
        if with_derivatives and job[at.DROPOUT] and i < last:
            _drop(job, i, table[i], first, rows, position, params)


@inner
def _rightness(job, row, r, params):
    """Whether a row's answer is right, or the share of its labels that are."""
    n = row[at.N_OUT]
    a = array_at(row[at.A] + r * row[at.OUT_ROW], n, params)
    y = array_at(job[at.TARGETS] + r * row[at.OUT_ROW], n, params)
    if job[at.JUDGE] == at.JUDGE_ARGMAX:
        right = 0
        for k in range(1, n):
            right = k if y[k] > y[right] else right
        return np.float64(is_largest(params, row[at.A] + r * row[at.OUT_ROW], n, right))
    matches = 0
    for k in range(n):
        matches += (a[k] > 0.5) == (y[k] > 0.5)
    return np.float64(matches) / n


@written_out
def _judge_rows(job, row, first, rows, params, totals):
    """The losses of rows from ``first`` on are added to totals[0], their right answers to totals[1]; delta gets dL/da,
    or dL/dz where loss and activation are fused."""
    skip = first * row[at.OUT_ROW]
    totals[0] += call(
        job[at.LOSS],
        (row[at.Z] + skip, row[at.A] + skip, job[at.TARGETS] + skip, row[at.DELTA] + skip, rows, row[at.N_OUT],
         row[at.OUT_ROW] // params.itemsize),
    )  # fmt: skip
    if job[at.JUDGE] != at.JUDGE_NOTHING:
        for r in range(first, first + rows):
            totals[1] += _rightness(job, row, r, params)


@inner
def weight_of(job, sample, totals):
    """The weight of the call's sample of that number."""
    number = peek(job[at.ORDER] + 8 * sample, np.int64)
    return peek(job[at.WEIGHTS] + 8 * number, np.float64)


@written_out
def judge(job, table, start, first, rows, params, totals):
    """`_judge_rows`, each row with its sample's weight."""
    row = table[len(table) - 1]
    if not job[at.WEIGHTS]:
        _judge_rows(job, row, first, rows, params, totals)
        return
    for r in range(first, first + rows):
        loss, right = totals[0], totals[1]
        totals[0] = totals[1] = 0
        _judge_rows(job, row, r, 1, params, totals)
        weight = weight_of(job, start + r, totals)
        totals[0] = loss + weight * totals[0]
        totals[1] = right + weight * totals[1]
        delta = array_at(row[at.DELTA] + r * row[at.OUT_ROW], row[at.OUT_ROW] // params.itemsize, params)
        for k in range(len(delta)):
            delta[k] *= params.dtype.type(weight)


@written_out
def through_activation(row, dropped, first, rows, params):
    """Turn dL/da, which stands in the layer's delta, into dL/dz: times f', or through softmax's Jacobian."""
    skip = first * row[at.OUT_ROW]
    if dropped or not row[at.SOFTMAX]:
        multiply_vectors(params, rows * (row[at.OUT_ROW] // BYTES), row[at.DELTA] + skip, row[at.D] + skip)
    if row[at.SOFTMAX]:
        a = row[at.Z] if dropped else row[at.A]
        call(
            row[at.SOFTMAX],
            (a + skip, row[at.DELTA] + skip, rows, row[at.N_OUT], row[at.OUT_ROW] // params.itemsize),
        )  # fmt: skip


@written_out
def scale(row, first, rows, factor, params):
    """scaled = factor · delta."""
    skip = first * row[at.OUT_ROW]
    scale_vectors(params, rows * (row[at.OUT_ROW] // BYTES), row[at.SCALED] + skip, row[at.DELTA] + skip, factor)


@written_out
def update_biases(row, distance, first, rows, params):
    if row[at.HAS_BIASES]:
        scaled = row[at.SCALED] + first * row[at.OUT_ROW]
        add_rows(params, rows, row[at.OUT_ROW] // BYTES, row[at.B] + distance, scaled, row[at.OUT_ROW])


@written_out
def _update_by_inputs(job, row, distance, first, rows, index, depth, params):
    """w += xᵀ scaled in a layer stored by inputs, for the ``depth`` rows of w that ``index`` lists."""
    w = row[at.W] + distance
    call(
        job[at.PRODUCT],
        (row[at.INPUT] + first * row[at.IN_ROW], params.itemsize, row[at.IN_ROW],
         row[at.SCALED] + first * row[at.OUT_ROW], row[at.OUT_ROW], job[at.IDENTITY], w, row[at.W_ROW],
         w, row[at.W_ROW], index, depth, row[at.OUT_ROW] // BYTES, rows),
    )  # fmt: skip


@written_out
def update_first_weights(job, row, distance, rows, walked, params):
    """w += xᵀ scaled in the first layer; its weights, or what stands behind them."""
    _update_by_inputs(job, row, distance, 0, rows, job[at.INDEX], walked, params)


@written_out
def update_first(job, row, distance, rows, walked, params):
    """The same, and b += Σ scaled."""
    update_first_weights(job, row, distance, rows, walked, params)
    update_biases(row, distance, 0, rows, params)


@inner
def update(job, row, distance, first, rows, params):
    """w += scaledᵀ x, b += Σ scaled in a deeper layer; its parameters, or what stands behind them."""
    if row[at.BY_INPUTS]:
        _update_by_inputs(job, row, distance, first, rows, job[at.IDENTITY], row[at.N_IN], params)
    else:
        w = row[at.W] + distance
        call(
            job[at.PRODUCT],
            (row[at.SCALED] + first * row[at.OUT_ROW], params.itemsize, row[at.OUT_ROW],
             row[at.INPUT] + first * row[at.IN_ROW], row[at.IN_ROW], job[at.IDENTITY], w, row[at.W_ROW],
             w, row[at.W_ROW], job[at.IDENTITY], row[at.N_OUT], row[at.IN_ROW] // BYTES, rows),
        )  # fmt: skip
    update_biases(row, distance, first, rows, params)


@inner
def _backward(job, row, below, first, rows, params):
    """dL/da of the layer below: delta w."""
    delta, below_delta = row[at.DELTA] + first * row[at.OUT_ROW], below[at.DELTA] + first * row[at.IN_ROW]
    if row[at.BY_INPUTS]:
        call(
            job[at.INNER_PRODUCTS],
            (delta, row[at.OUT_ROW], row[at.W], row[at.W_ROW], job[at.ZEROS], below_delta, row[at.IN_ROW], rows,
             row[at.N_IN], row[at.OUT_ROW] // BYTES),
        )  # fmt: skip
    else:
        call(
            job[at.PRODUCT],
            (delta, row[at.OUT_ROW], params.itemsize, row[at.W], row[at.W_ROW], job[at.IDENTITY], job[at.ZEROS], 0,
             below_delta, row[at.IN_ROW], job[at.IDENTITY], rows, row[at.IN_ROW] // BYTES, row[at.N_OUT]),
        )  # fmt: skip


@written_out
def _backward_and_update(job, row, below, first, params):
    """Both for one sample, with the old w for the delta below."""
    delta, scaled = row[at.DELTA] + first * row[at.OUT_ROW], row[at.SCALED] + first * row[at.OUT_ROW]
    x, dx = row[at.INPUT] + first * row[at.IN_ROW], below[at.DELTA] + first * row[at.IN_ROW]
    if row[at.BY_INPUTS]:
        call(
            job[at.BACKWARD_AND_UPDATE_BY_INPUTS],
            (row[at.N_ALIVE], row[at.ALIVE], row[at.N_IN], delta, scaled, row[at.W], row[at.W_ROW], x, dx,
             row[at.OUT_ROW] // BYTES),
        )  # fmt: skip
    else:
        call(
            job[at.BACKWARD_AND_UPDATE],
            (row[at.N_OUT], delta, scaled, row[at.W], row[at.W_ROW], x, dx, row[at.IN_ROW] // BYTES),
        )  # fmt: skip
    update_biases(row, 0, first, 1, params)


@written_out
def look_back(job, table, slopes, start, first, rows, params, totals):
    """From the first layer's z of some rows of a block to the last one's delta, and to the totals.

    ``start`` is the number in the call of the block's first sample.
    """
    with_outputs = job[at.FUSED] != at.FUSED_WITH_SOFTMAX
    activate_layers(job, table, slopes, first, rows, job[at.POSITION] + start, True, with_outputs, params)
    judge(job, table, start, first, rows, params, totals)
    if job[at.FUSED] == at.NOT_FUSED:
        through_activation(table[len(table) - 1], False, first, rows, params)


@written_out
def all_deltas(job, table, first, rows, params):
    """From the last layer's delta to the first one's."""
    for i in range(len(table) - 1, 0, -1):
        _backward(job, table[i], table[i - 1], first, rows, params)
        through_activation(table[i - 1], job[at.DROPOUT] != 0, first, rows, params)


@written_out
def all_deltas_and_updates(job, table, first, factor, params):
    """The same for one sample; the deeper layers' parameters get factor times their gradients on the way."""
    for i in range(len(table) - 1, 0, -1):
        scale(table[i], first, 1, factor, params)
        _backward_and_update(job, table[i], table[i - 1], first, params)
        through_activation(table[i - 1], job[at.DROPOUT] != 0, first, 1, params)


@inner
def copy_outputs(job, table, rows, start, params):
    row = table[len(table) - 1]
    a = array_at(row[at.A], (rows, row[at.OUT_ROW] // params.itemsize), params)
    out = array_at(job[at.OUTPUTS], (start + rows, row[at.N_OUT]), params)
    for r in range(rows):
        for k in range(row[at.N_OUT]):
            out[start + r, k] = a[r, k]


@written_out
def arguments(params, job, numbers):
    """Pointers as arrays. Their lengths are not known here and not needed: the job has every extent."""
    params = array_at(params, at.ANY, params)
    job = array_at(job, at.JOB, job)
    numbers = array_at(numbers, at.NUMBERS, numbers)
    table = array_at(job[at.TABLE], (job[at.LAYERS], at.COLUMNS), job)
    slopes = array_at(job[at.SLOPES], job[at.LAYERS], numbers)
    return params, job, numbers[1:], table, slopes, params.dtype.type(numbers[0])


@inner
def blocks(count, size):
    """How many blocks so many samples make (a range with a variable step could raise)."""
    return (count + size - 1) // size
