"""Passes over the layers of a block of rows: read it, go forward, score it, go back, update the parameters.

The kernels of outputs.py, samples.py and batches.py consist of these. A pass works on ``rows`` rows of the block from
row ``first`` on; all that it reads and writes is in the records of layout.py, where z, a, d, delta and scaled of a
layer are (block, padded n_out). ``x`` and its columns are those that are left of the first layer's input: ``n_columns``
of them, whose numbers `read_inputs` lists. What is done to every single sample is inlined at source level: calls cost
small networks up to a fifth of their time.
"""

from __future__ import annotations

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, call_kernel, inlined_source, kernel_function, peek, record_at, size_of
from .layout import BUFFER, LINE
from .linear import list_columns_of_row
from .packing import all_columns, last_layer, layer_at, move
from .threads import leads_block, share_of_rows
from .vectors import add_rows, are_finite, clear_behind, is_largest, multiply_vectors, nonzero_columns, scale_vectors

VECTOR_BYTES = vector_bytes()


@kernel_function
def read_inputs(job, start, rows):
    """Write rows of x to the first layer's input and return n_columns; columns that are zero in all rows are left out,
    unless they are few. ``start`` is the number in the call of the block's first sample.
    """
    data, workspace, layer = job.data, job.workspace, layer_at(job, 0)
    order = job.call.order + 8 * start
    if data.x_sparse:
        arguments = (
            data.x, data.x_row, data.x_column, data.x_values, layer.n_in, order, rows, data.x_scale, layer.input,
            layer.in_row, workspace.index, workspace.slots,
        )  # fmt: skip
        return int(call_kernel("sparse_reader", data.x_reader, arguments))
    following = min(job.call.block, job.call.count - start - rows)
    call_kernel(
        "reader", data.x_reader,
        (data.x, data.x_row, data.x_column, order, rows, following, layer.n_in, data.x_shift, data.x_scale,
         layer.input, layer.in_row),
    )  # fmt: skip
    arguments = (layer.input, layer.in_row, rows, layer.n_in, workspace.index)
    return int(call_kernel("list_nonzero_columns", job.linear.list_nonzero_columns, arguments))


@inlined_source
def read_block(job, start, rows):
    """`read_inputs`; but -1 for a block of sparse rows that share few columns: these are read one by one when they are
    needed (`first_forward`, `update`). Checked calls, which look at the whole block, have none."""
    return -1 if job.data.x_by_row and rows > 1 else read_inputs(job, start, rows)


@kernel_function
def are_neighbours(order):
    """Whether each sample's number is that of the one before and one more."""
    breaks = 0
    for r in range(1, len(order)):
        breaks += order[r] != order[r - 1] + 1
    return breaks == 0


@kernel_function
def find_block(job, start, rows, real):
    """`read_block` for a pass forward: rows of x that the network can take as they are, in whole cache lines and with
    few zeros, are not copied, but become the first layer's input, until `let_go_of_rows`."""
    data, layer, index = job.data, layer_at(job, 0), job.workspace.index
    order = job.call.order + 8 * start
    if data.x_ready and data.x_row == layer.in_row and rows > 1 and are_neighbours(array_at(order, rows, np.int64)):
        x = data.x + peek(order, np.int64) * data.x_row
        if list_columns_of_row(x, layer.n_in, index, real) == layer.n_in:
            layer.input = x
            return layer.n_in
    return read_block(job, start, rows)


@inlined_source
def let_go_of_rows(job):
    """Make the workspace's rows the first layer's input again."""
    layer_at(job, 0).input = record_at(job.workspace.buffers, BUFFER).x


@kernel_function
def all_finite(job, rows, real):
    """Whether the inputs that were read are finite."""
    layer = layer_at(job, 0)
    return are_finite(real, rows * (layer.in_row // VECTOR_BYTES), layer.input)


@kernel_function
def were_finite(job, rows, real):
    """`all_finite`, after `first_forward`: what is not finite leaves no z that is, times whatever weight."""
    layer = layer_at(job, 0)
    if layer.out_row < layer.in_row and are_finite(real, rows * (layer.out_row // VECTOR_BYTES), layer.z):
        return True
    return all_finite(job, rows, real)


@inlined_source
def _label_of(job, sample):
    """The class of the sample that has this number in the call; whatever y says now, which may be the user's."""
    return peek(job.data.y + 8 * peek(job.call.order + 8 * sample, np.int64), np.int64)


@kernel_function
def read_targets(job, start, rows, real):
    """Write rows of y to the workspace's targets: in the network's units, or one-hot where y is class indices."""
    data, last = job.data, last_layer(job)
    order = job.call.order + 8 * start
    if data.y_classes:
        y = array_at(job.workspace.targets, (rows, last.out_row // size_of(real)), real)
        for r in range(rows):
            for k in range(last.n_out):
                y[r, k] = 0
            label = _label_of(job, start + r)
            if 0 <= label < last.n_out:  # it was; but y may be the user's, who may write to it meanwhile
                y[r, label] = 1
    else:
        call_kernel(
            "reader", data.y_reader,
            (data.y, data.y_row, data.y_column, order, rows, 0, last.n_out, data.y_shift, data.y_scale,
             job.workspace.targets, last.out_row),
        )  # fmt: skip


@kernel_function
def products(job, layer, distance, start, target, first, rows, columns, index, depth, real):
    """target = start + x w in a layer stored by inputs, where w stands at a distance behind the weights, for columns
    from begin to end (in bytes).

    x has ``depth`` columns, whose rows of w are listed in ``index``; ``start`` is one row for all.
    """
    (begin, end), identity = columns, job.workspace.identity
    a, w, vectors = layer.input + first * layer.in_row, layer.w + distance + begin, (end - begin) // VECTOR_BYTES
    start += begin
    target += begin
    if rows == 1:
        arguments = (depth, a, identity, w, layer.w_row, index, start, target, vectors)
        call_kernel("weighted_rows", job.linear.weighted_rows, arguments)
    else:
        call_kernel(
            "product", job.linear.product,
            (a, layer.in_row, size_of(real), w, layer.w_row, index, start, 0, target, layer.out_row, identity, rows,
             vectors, depth, job.workspace.room),
        )  # fmt: skip


@kernel_function
def first_forward(job, start, first, rows, n_columns, w, w_row, real):
    """z = x w + b in the first layer. Where n_columns is -1, each row of x is read first.

    ``start`` is the number in the call of the block's first sample. The weights are those at address ``w``, in rows
    that are w_row bytes apart; of a single row of x, or of rows that are read here, these may have no padding.
    """
    layer, workspace = layer_at(job, 0), job.workspace
    z, vectors = layer.z + first * layer.out_row, layer.out_row // VECTOR_BYTES
    if n_columns >= 0 and w == layer.w:
        products(job, layer, 0, layer.b, z, first, rows, all_columns(layer), workspace.index, n_columns, real)
        return
    for r in range(rows):
        row = z + r * layer.out_row
        found = n_columns if n_columns >= 0 else read_inputs(job, start + first + r, 1)
        call_kernel(
            "weighted_rows", job.linear.weighted_rows,
            (found, layer.input, workspace.identity, w, w_row, workspace.index, layer.b, row, vectors),
        )  # fmt: skip
        if w_row < layer.out_row:  # then z's padding got what stands behind the rows
            clear_behind(real, row, layer.n_out, vectors)


@inlined_source
def list_alive(layer, first, with_derivatives, real):
    """List the inputs of a layer that are not zero, or whose derivative is not: no others matter to one sample."""
    a = layer.input + first * layer.in_row
    to_d = layer.below_d - layer.input
    rows = 2 if with_derivatives else 1
    count = nonzero_columns(False, real, a, to_d, rows, layer.in_row // VECTOR_BYTES, layer.alive)
    while count > 0 and peek(layer.alive + 8 * (count - 1), np.int64) >= layer.n_in:  # a derivative in the padding
        count -= 1
    layer.n_alive = count


@inlined_source
def forward_of_rows(job, layer, first, rows, with_derivatives, real):
    """z = a_below w + b in a deeper layer."""
    x, z = layer.input + first * layer.in_row, layer.z + first * layer.out_row
    if not layer.by_inputs:
        call_kernel(
            "inner_products", job.linear.inner_products,
            (x, layer.in_row, layer.w, layer.w_row, layer.b, z, layer.out_row, rows, layer.n_out,
             layer.in_row // VECTOR_BYTES),
        )  # fmt: skip
    elif rows > 1:
        identity = job.workspace.identity
        products(job, layer, 0, layer.b, z, first, rows, all_columns(layer), identity, layer.n_in, real)
    else:
        list_alive(layer, first, with_derivatives, real)
        call_kernel(
            "weighted_rows", job.linear.weighted_rows,
            (layer.n_alive, x, layer.alive, layer.w, layer.w_row, layer.alive, layer.b, z,
             layer.out_row // VECTOR_BYTES),
        )  # fmt: skip


@inlined_source
def _activate(layer, first, rows, with_derivatives, real):
    """a = f(z) and, with derivatives, d = f'(z)."""
    skip = first * layer.out_row
    d = layer.d + skip if with_derivatives else 0
    call_kernel(
        "activation", layer.activation,
        (layer.z + skip, layer.a + skip, d, rows, layer.n_out, layer.out_row // size_of(real), layer.slope),
    )  # fmt: skip


@kernel_function
def _drop(job, i, first, rows, position, real):
    """Write zeros for the units of layer i that are left out, to a and to its derivative; the others are scaled up.

    Where a is a softmax, z keeps it whole and the derivative's place has the factors, for the way back.
    """
    layer, step, n_layers = layer_at(job, i), job.step, job.workspace.n_layers
    skip = first * layer.out_row
    whole = layer.z + skip if layer.softmax_backward else 0
    call_kernel(
        "dropout", step.dropout,
        (layer.a + skip, layer.d + skip, whole, rows, layer.out_row // size_of(real), step.key,
         (position + first) * n_layers + i, n_layers, peek(step.kept + 8 * i, np.float64)),
    )  # fmt: skip


@inlined_source
def activate(job, i, first, rows, position, with_derivatives, with_a, real):
    """Go on from layer i's z to its a, where wanted, and to its derivatives, and leave units out."""
    if with_a:
        _activate(layer_at(job, i), first, rows, with_derivatives, real)
    if with_derivatives and job.step.dropout and i < job.workspace.n_layers - 1:
        _drop(job, i, first, rows, position, real)


@inlined_source
def activate_layers(job, first, rows, position, with_derivatives, with_outputs, real):
    """Go forward from the first layer's z to the last one's and, with outputs, to its a.

    ``position`` is where in its epoch the block's first sample stands.
    """
    activate_first_layers(job, job.workspace.n_layers, first, rows, position, with_derivatives, with_outputs, real)


@inlined_source
def activate_first_layers(job, n_layers, first, rows, position, with_derivatives, with_outputs, real):
    """`activate_layers`, of so many of them."""
    last = job.workspace.n_layers - 1
    for i in range(n_layers):
        layer = layer_at(job, i)
        if i > 0:
            forward_of_rows(job, layer, first, rows, with_derivatives, real)
        activate(job, i, first, rows, position, with_derivatives, with_outputs or i < last, real)


@kernel_function
def share_right(job, layer, start, r, real):
    """Whether row r's answer is right, 0 or 1, or the share of its labels that are, of those that are not NaN."""
    n = layer.n_out
    a = array_at(layer.a + r * layer.out_row, n, real)
    y = array_at(job.workspace.targets + r * layer.out_row, n, real)
    if job.data.score_classes:
        right = 0
        if job.data.y_classes:
            label = _label_of(job, start + r)
            right = label if 0 <= label < n else 0
        else:
            for k in range(1, n):
                right = k if y[k] > y[right] else right
        return np.float64(is_largest(real, layer.a + r * layer.out_row, n, right))
    matches = measured = 0
    for k in range(n):
        if y[k] == y[k]:
            measured += 1
            matches += a[k] > 0.5 if y[k] > 0.5 else a[k] <= 0.5  # NaN is neither
    return np.float64(matches) / max(1, measured)


@inlined_source
def _score_rows(job, layer, start, first, rows, totals, real):
    """Add the rows' losses and right answers to the totals; delta gets dL/da, or dL/dz where the loss is fused."""
    skip = first * layer.out_row
    totals.loss += call_kernel(
        "loss", job.data.loss,
        (layer.z + skip, layer.a + skip, job.workspace.targets + skip, layer.delta + skip, job.data.output_weights,
         rows, layer.n_out, layer.out_row // size_of(real)),
    )  # fmt: skip
    if job.data.score_classes or job.data.score_labels:
        for r in range(first, first + rows):
            totals.right += share_right(job, layer, start, r, real)


@kernel_function
def weight_of(job, sample):
    """The weight of the sample that has this number in the call."""
    number = peek(job.call.order + 8 * sample, np.int64)
    return peek(job.data.weights + 8 * number, np.float64)


@inlined_source
def score_rows(job, start, first, rows, totals, real):
    """Add the rows' losses and right answers, times their samples' weights, to the totals; the last layer's delta gets
    dL/da, or dL/dz where the loss is fused."""
    layer = last_layer(job)
    if not job.data.weights:
        _score_rows(job, layer, start, first, rows, totals, real)
        return
    for r in range(first, first + rows):
        loss, right = totals.loss, totals.right
        totals.loss = 0.0
        totals.right = 0.0
        _score_rows(job, layer, start, r, 1, totals, real)
        weight = weight_of(job, start + r)
        totals.loss = loss + weight * totals.loss
        totals.right = right + weight * totals.right
        delta = array_at(layer.delta + r * layer.out_row, layer.out_row // size_of(real), real)
        for k in range(len(delta)):
            delta[k] *= real(weight)


@inlined_source
def through_activation(layer, dropped, first, rows, real):
    """Turn dL/da, which stands in the layer's delta, into dL/dz: times f', or through softmax's Jacobian."""
    skip = first * layer.out_row
    if dropped or not layer.softmax_backward:
        multiply_vectors(real, rows * (layer.out_row // VECTOR_BYTES), layer.delta + skip, layer.d + skip)
    if layer.softmax_backward:
        a = layer.z if dropped else layer.a
        arguments = (a + skip, layer.delta + skip, rows, layer.n_out, layer.out_row // size_of(real))
        call_kernel("softmax_backward", layer.softmax_backward, arguments)


@inlined_source
def scale(layer, first, rows, factor, real):
    """scaled = factor · delta."""
    skip = first * layer.out_row
    scale_vectors(real, rows * (layer.out_row // VECTOR_BYTES), layer.scaled + skip, layer.delta + skip, factor)


@inlined_source
def update_biases(layer, distance, first, rows, real):
    """b += Σ scaled over the rows, or what stands at a distance behind b."""
    if layer.has_biases:
        scaled = layer.scaled + first * layer.out_row
        add_rows(real, rows, layer.out_row // VECTOR_BYTES, layer.b + distance, scaled, layer.out_row)


@inlined_source
def update_first_weights(job, layer, distance, scaled, rows, columns, n_columns, real):
    """w += xᵀ scaled in the first layer, or what stands at a distance behind w, for columns from begin to end (in
    bytes)."""
    begin, end = columns
    w = layer.w + distance + begin
    call_kernel(
        "product", job.linear.product,
        (layer.input, size_of(real), layer.in_row, scaled + begin, layer.out_row, job.workspace.identity, w,
         layer.w_row, w, layer.w_row, job.workspace.index, n_columns, (end - begin) // VECTOR_BYTES, rows,
         job.workspace.room),
    )  # fmt: skip


@kernel_function
def _update_row_by_row(job, start, distance, deltas, rows, real):
    """w += deltasᵀ x in the first layer, or what stands at a distance behind w, for sparse rows of x that are read one
    by one. A member takes its share of the columns of w, in cache lines: every number is a sum of its own."""
    layer, team = layer_at(job, 0), job.team
    begin, end = all_columns(layer)
    if team.together:
        lines = end // LINE
        begin, end = lines * team.member // team.size * LINE, lines * (team.member + 1) // team.size * LINE
    for r in range(rows):
        found = read_inputs(job, start + r, 1)
        update_first_weights(job, layer, distance, deltas + r * layer.out_row, 1, (begin, end), found, real)


@kernel_function
def _update_rows_together(job, i, distance, deltas, rows, n_columns, writes, real):
    """The weights' part of `update`, for all rows at once."""
    layer, workspace = layer_at(job, i), job.workspace
    index, n, w = workspace.identity, layer.w_rows, layer.w + distance
    if i == 0:
        index, n = workspace.index, n_columns
    a, a_step, b, b_row = deltas, layer.out_row, layer.input, layer.in_row
    if layer.by_inputs:
        a, a_step, b, b_row = layer.input, layer.in_row, deltas, layer.out_row
    start, start_row = (workspace.zeros, 0) if writes else (w, layer.w_row)
    begin, end = share_of_rows(job, n)
    call_kernel(
        "product", job.linear.product,
        (a + begin * size_of(real), size_of(real), a_step, b, b_row, workspace.identity, start, start_row,
         w, layer.w_row, index + 8 * begin, end - begin, layer.w_row // VECTOR_BYTES, rows,
         workspace.room),
    )  # fmt: skip


@kernel_function
def update_weights(job, i, start, distance, deltas, rows, n_columns, writes, real):
    """The weights' part of `update`."""
    if i == 0 and n_columns < 0:
        _update_row_by_row(job, start, distance, deltas, rows, real)
    else:
        _update_rows_together(job, i, distance, deltas, rows, n_columns, writes, real)


@kernel_function
def update(job, i, start, distance, deltas, rows, n_columns, writes, real):
    """w += deltasᵀ x and b += Σ deltas over a block in layer i, or what stands at a distance behind them.

    With ``writes`` the sums take the place of what was there, but in the rows of w whose columns of x were left out:
    all of the first layer's, where n_columns is -1.

    ``deltas`` is the address of rows like the layer's delta, ``start`` the number in the call of the block's first
    sample. A member takes its share of the rows of w. Rows of tangents (slopes.py) add to the weights alone.
    """
    all_rows = rows * (1 + job.data.tangents)
    update_weights(job, i, start, distance, deltas, all_rows, n_columns, writes, real)
    update_sums(job, i, distance, deltas, rows, writes, real)


@kernel_function
def update_sums(job, i, distance, deltas, rows, writes, real):
    """The biases' part of `update`."""
    layer = layer_at(job, i)
    if layer.has_biases and leads_block(job):
        biases = array_at(layer.b + distance, layer.n_out, real)
        if writes:
            for k in range(layer.n_out):
                biases[k] = 0
        add_rows(real, rows, layer.out_row // VECTOR_BYTES, layer.b + distance, deltas, layer.out_row)


@kernel_function
def backward_of_rows(job, layer, out, first, rows, real):
    """Write delta w, which is dL/da of the layer below, to rows at the address ``out``."""
    delta, workspace = layer.delta + first * layer.out_row, job.workspace
    if layer.by_inputs:
        call_kernel(
            "inner_products", job.linear.inner_products,
            (delta, layer.out_row, layer.w, layer.w_row, workspace.zeros, out, layer.in_row, rows, layer.n_in,
             layer.out_row // VECTOR_BYTES),
        )  # fmt: skip
    else:
        call_kernel(
            "product", job.linear.product,
            (delta, layer.out_row, size_of(real), layer.w, layer.w_row, workspace.identity, workspace.zeros, 0,
             out, layer.in_row, workspace.identity, rows, layer.in_row // VECTOR_BYTES, layer.n_out,
             workspace.room),
        )  # fmt: skip


@inlined_source
def backward_and_update(job, layer, distance, delta, dx, first, real):
    """dx = delta w with the old w, and w += scaled ⊗ x, both for one sample in one pass over w, or over what stands at
    a distance behind it."""
    scaled, x, w = layer.scaled + first * layer.out_row, layer.input + first * layer.in_row, layer.w + distance
    if layer.by_inputs:
        call_kernel(
            "backward_and_update_by_inputs", job.linear.backward_and_update_by_inputs,
            (layer.n_alive, layer.alive, layer.n_in, delta, scaled, w, layer.w_row, x, dx,
             layer.out_row // VECTOR_BYTES),
        )  # fmt: skip
    else:
        call_kernel(
            "backward_and_update", job.linear.backward_and_update,
            (layer.n_out, delta, scaled, w, layer.w_row, x, dx, layer.in_row // VECTOR_BYTES),
        )  # fmt: skip


@inlined_source
def forward_to_loss(job, start, first, rows, totals, real):
    """Go forward from the first layer's z to the outputs, add losses and right answers to the totals, and write the
    last layer's delta, dL/dz.

    ``start`` is the number in the call of the block's first sample.
    """
    activate_layers(job, first, rows, job.call.position + start, True, not job.data.loss_activates, real)
    score_to_delta(job, start, first, rows, totals, real)


@inlined_source
def score_to_delta(job, start, first, rows, totals, real):
    """Add the rows' losses and right answers to the totals, and write the last layer's delta, dL/dz."""
    score_rows(job, start, first, rows, totals, real)
    if not job.data.fused:
        through_activation(last_layer(job), False, first, rows, real)


@inlined_source
def all_deltas(job, lowest, first, rows, real):
    """Go back from the last layer's delta to that of layer ``lowest``: every delta gets dL/dz."""
    for i in range(job.workspace.n_layers - 1, lowest, -1):
        below = layer_at(job, i - 1)
        layer = layer_at(job, i)
        backward_of_rows(job, layer, below.delta + first * layer.in_row, first, rows, real)
        through_activation(below, job.step.dropout != 0, first, rows, real)


@inlined_source
def all_deltas_and_updates(job, first, factor, real):
    """`all_deltas` of one sample, to the lowest trainable layer; the deeper layers' parameters get factor times their
    gradients on the way, unless they are frozen."""
    for i in range(job.workspace.n_layers - 1, max(job.workspace.lowest - 1, 0), -1):
        layer, below = layer_at(job, i), layer_at(job, i - 1)
        if layer.trainable:
            skip = first * layer.out_row
            scale(layer, first, 1, factor, real)
            backward_and_update(job, layer, 0, layer.delta + skip, below.delta + first * layer.in_row, first, real)
            update_biases(layer, 0, first, 1, real)
        else:
            backward_of_rows(job, layer, below.delta + first * layer.in_row, first, 1, real)
        through_activation(below, job.step.dropout != 0, first, 1, real)


@inlined_source
def spread_inputs(job, n_columns, real):
    """Write the first layer's input of the block's first sample to its second row, with the zeros that were left
    out; return where it stands."""
    layer = layer_at(job, 0)
    n = layer.in_row // size_of(real)
    x, whole = array_at(layer.input, n, real), array_at(layer.input + layer.in_row, n, real)
    for k in range(n):
        whole[k] = 0
    index = array_at(job.workspace.index, n_columns, np.int64)
    for i in range(n_columns):
        whole[index[i]] = x[i]
    return layer.input + layer.in_row


@kernel_function
def step_of_sample(job, layer, x, factor, real):
    """Make the optimiser's step of a layer's weights against factor · the gradient of the block's first sample, which
    is never written."""
    across, along = (x, layer.delta) if layer.by_inputs else (layer.delta, x)
    move(job, layer.w, across, along, layer.w_rows, layer.w_row // size_of(real), True, factor)


@kernel_function
def step_of_inputs(job, n_columns, factor, real):
    """`step_of_sample` in the first layer, but only of the weights of the inputs that the sample has."""
    layer, index = layer_at(job, 0), array_at(job.workspace.index, n_columns, np.int64)
    for i in range(n_columns):
        w, x = layer.w + index[i] * layer.w_row, layer.input + i * size_of(real)
        move(job, w, x, layer.delta, 1, layer.w_row // size_of(real), True, factor)


@kernel_function
def copy_outputs(job, rows, start, real):
    """Write the outputs of the block's first rows, in the user's units, to the caller's array, (count, n_out), from row
    ``start`` on."""
    layer = last_layer(job)
    a = array_at(layer.a, (rows, layer.out_row // size_of(real)), real)
    out = array_at(job.call.outputs, (start + rows, layer.n_out), real)
    if job.data.out_scale:
        shift, scale = array_at(job.data.out_shift, layer.n_out, real), array_at(job.data.out_scale, layer.n_out, real)
        for r in range(rows):
            for k in range(layer.n_out):
                out[start + r, k] = shift[k] + scale[k] * a[r, k]
    else:
        for r in range(rows):
            for k in range(layer.n_out):
                out[start + r, k] = a[r, k]


@kernel_function
def blocks(count, size):
    """How many blocks of that size the samples make (a range with a variable step could raise)."""
    return (count + size - 1) // size
