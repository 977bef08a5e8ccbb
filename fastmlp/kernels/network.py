"""Whole networks: forward, backward and the training loop over samples. What Python calls.

Arguments that recur: ``params`` the flat parameters; ``work`` the work vector; ``table`` one row of integers a layer
(layout.py), ``slopes`` one float64 a layer; ``feed`` where x and y are and how they are read; ``order`` the indices of
the samples to take; ``block`` the most rows the work vector holds; ``totals`` two float64 to which the sum of the
losses and the number of right answers are added.
"""

from __future__ import annotations

from numba import carray

from . import linear
from .decorators import call, inner, pointer
from .layout import (
    ACT,
    BIASES,
    CLASS_INDICES,
    COLUMNS,
    DELTA,
    FEED,
    FUSED,
    IN_STRIDE,
    INPUT,
    JUDGE,
    JUDGE_ARGMAX,
    JUDGE_LABELS,
    LOSS,
    N_IN,
    N_OUT,
    OUT_STRIDE,
    SOFTMAX,
    TARGETS,
    WEIGHTS,
    X_COLUMN,
    X_GATHER,
    X_ROW,
    X_SCALE,
    X_SHIFT,
    Y_COLUMN,
    Y_GATHER,
    Y_ROW,
    Y_SCALE,
    Y_SHIFT,
    A,
    D,
    X,
    Y,
    Z,
)  # fmt: skip

ANY = 1 << 40  # the length of a vector whose extents are in the table


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name; the dtype is in its pointers."""
    return {
        "forward": _forward_kernel,
        "train": _train_kernel,
        "gradient": _gradient_kernel,
        "jacobian": _jacobian_kernel,
    }[name]


@inner
def _at(vector, offset, rows, columns):
    """rows × columns of a vector, from an offset, as a view."""
    return carray(pointer(vector.ctypes.data + offset * vector.itemsize, vector), (rows, columns))


@inner
def _row_at(vector, offset, n):
    return carray(pointer(vector.ctypes.data + offset * vector.itemsize, vector), n)


@inner
def _place(vector, offset):
    """The address of an element, as the functions of elementwise.py take it."""
    return vector.ctypes.data + offset * vector.itemsize


@inner
def _read_inputs(work, table, feed, order, rows):
    call(
        feed[X_GATHER],
        (feed[X], feed[X_ROW], feed[X_COLUMN], order, rows, table[0, N_IN], feed[X_SHIFT], feed[X_SCALE],
         _place(work, table[0, INPUT]), table[0, IN_STRIDE]),
    )  # fmt: skip


@inner
def _read_targets(work, table, feed, order, rows):
    """Rows of y as they are, or one-hot rows where y holds class indices."""
    last = len(table) - 1
    n, stride = table[last, N_OUT], table[last, OUT_STRIDE]
    y = _at(work, feed[TARGETS], rows, stride)
    if feed[Y_COLUMN] == CLASS_INDICES:
        index = carray(pointer(order, feed), rows)
        classes = carray(pointer(feed[Y], feed), ANY)
        for r in range(rows):
            for k in range(n):
                y[r, k] = 0
            y[r, classes[index[r]]] = 1
    else:
        call(
            feed[Y_GATHER],
            (feed[Y], feed[Y_ROW], feed[Y_COLUMN], order, rows, n, feed[Y_SHIFT], feed[Y_SCALE],
             _place(work, feed[TARGETS]), stride),
        )  # fmt: skip


@inner
def _weights(vector, row, first):
    """A layer's weights as they are stored, and its biases (an empty view where it has none)."""
    w = _at(vector, row[WEIGHTS], row[N_IN], row[N_OUT]) if first else _at(vector, row[WEIGHTS], row[N_OUT], row[N_IN])
    has_biases = row[BIASES] >= 0
    return w, _row_at(vector, row[BIASES] if has_biases else 0, row[N_OUT] if has_biases else 0), has_biases


@inner
def _forward(params, work, table, slopes, rows, with_derivatives):
    for i in range(len(table)):
        row = table[i]
        x = _at(work, row[INPUT], rows, row[IN_STRIDE])
        z = _at(work, row[Z], rows, row[OUT_STRIDE])
        w, b, has_biases = _weights(params, row, i == 0)
        if i == 0:
            linear.first_forward(x, w, b, has_biases, z, rows)
        else:
            linear.forward(x, w, b, has_biases, z, rows)
        d = _place(work, row[D]) if with_derivatives else _place(work, 0) * 0
        call(
            row[ACT],
            (_place(work, row[Z]), _place(work, row[A]), d, rows, row[N_OUT], row[OUT_STRIDE], slopes[i]),
        )


@inner
def _through_activation(work, row, rows):
    """Turn dL/da, which stands in the layer's delta, into dL/dz: times f', or through softmax's Jacobian."""
    delta = _at(work, row[DELTA], rows, row[OUT_STRIDE])
    if row[SOFTMAX]:
        a = _at(work, row[A], rows, row[OUT_STRIDE])
        for r in range(rows):
            mean = a.dtype.type(0)
            for j in range(row[N_OUT]):
                mean += a[r, j] * delta[r, j]
            for j in range(row[N_OUT]):
                delta[r, j] = a[r, j] * (delta[r, j] - mean)
    else:
        d = _at(work, row[D], rows, row[OUT_STRIDE])
        for r in range(rows):
            for j in range(row[N_OUT]):
                delta[r, j] *= d[r, j]


@inner
def _judge(work, table, feed, rows, totals):
    """The losses of a block added to totals[0], its right answers to totals[1]; dL/da (dL/dz if fused) to delta."""
    row = table[len(table) - 1]
    n, stride = row[N_OUT], row[OUT_STRIDE]
    totals[0] += call(
        feed[LOSS],
        (_place(work, row[Z]), _place(work, row[A]), _place(work, feed[TARGETS]), _place(work, row[DELTA]),
         rows, n, stride),
    )  # fmt: skip
    a = _at(work, row[A], rows, stride)
    y = _at(work, feed[TARGETS], rows, stride)
    if feed[JUDGE] == JUDGE_ARGMAX:
        for r in range(rows):
            said, right = 0, 0
            for k in range(1, n):
                said = k if a[r, k] > a[r, said] else said
                right = k if y[r, k] > y[r, right] else right
            totals[1] += said == right
    elif feed[JUDGE] == JUDGE_LABELS:
        for r in range(rows):
            for k in range(n):
                totals[1] += ((a[r, k] > 0.5) == (y[r, k] > 0.5)) / n


@inner
def _backward(params, work, table, rows):
    """From the last layer's delta to every layer's."""
    for i in range(len(table) - 1, 0, -1):
        row = table[i]
        delta = _at(work, row[DELTA], rows, row[OUT_STRIDE])
        below = _at(work, table[i - 1, DELTA], rows, row[IN_STRIDE])
        linear.backward(delta, _weights(params, row, False)[0], below, rows)
        _through_activation(work, table[i - 1], rows)


@inner
def _accumulate(target, work, table, rows, scale):
    """target += scale · gradient of every layer; the target is a gradient, or the parameters themselves."""
    for i in range(len(table)):
        row = table[i]
        x = _at(work, row[INPUT], rows, row[IN_STRIDE])
        delta = _at(work, row[DELTA], rows, row[OUT_STRIDE])
        dw, db, has_biases = _weights(target, row, i == 0)
        if i == 0:
            linear.first_accumulate(x, delta, scale, dw, db, has_biases, rows)
        else:
            linear.accumulate(x, delta, scale, dw, db, has_biases, rows)


@inner
def _deltas(params, work, table, slopes, feed, order, rows, totals):
    """Everything up to the deltas of one block of samples."""
    _read_inputs(work, table, feed, order, rows)
    _read_targets(work, table, feed, order, rows)
    _forward(params, work, table, slopes, rows, True)
    _judge(work, table, feed, rows, totals)
    if not feed[FUSED]:
        _through_activation(work, table[len(table) - 1], rows)
    _backward(params, work, table, rows)


@inner
def _copy_outputs(work, row, rows, outputs, start):
    a = _at(work, row[A], rows, row[OUT_STRIDE])
    out = carray(outputs, (start + rows, row[N_OUT]))
    for r in range(rows):
        for k in range(row[N_OUT]):
            out[start + r, k] = a[r, k]


@inner
def _arguments(params, work, table, slopes, feed, layers):
    """Pointers as arrays. Their lengths are not known here and not needed: the table has every extent."""
    return (
        carray(params, ANY),
        carray(work, ANY),
        carray(table, (layers, COLUMNS)),
        carray(slopes, layers),
        carray(feed, FEED),
    )


def _forward_kernel(params, work, table, slopes, feed, order, layers, count, block, judged, outputs, totals):
    """Outputs of ``count`` samples, (count, n_out), where ``outputs`` is not null; losses when ``judged``."""
    params, work, table, slopes, feed = _arguments(params, work, table, slopes, feed, layers)
    totals = carray(totals, 2)
    order = carray(order, count).ctypes.data
    for i in range((count + block - 1) // block):  # a range with a variable step could raise
        start = i * block
        rows = min(block, count - start)
        _read_inputs(work, table, feed, order + 8 * start, rows)
        _forward(params, work, table, slopes, rows, False)
        if judged:
            _read_targets(work, table, feed, order + 8 * start, rows)
            _judge(work, table, feed, rows, totals)
        if outputs:
            _copy_outputs(work, table[layers - 1], rows, pointer(outputs, params), start)
    return 0.0


def _train_kernel(params, work, table, slopes, feed, order, layers, count, batch, lr, outputs, totals):
    """SGD over ``count`` samples in batches that fit the work vector; a batch of one is per-sample SGD.

    Each batch's gradient goes straight into the parameters. ``outputs``, where not null, are as each sample was seen.
    """
    real = carray(params, 1).dtype.type
    params, work, table, slopes, feed = _arguments(params, work, table, slopes, feed, layers)
    totals = carray(totals, 2)
    order = carray(order, count).ctypes.data
    for i in range((count + batch - 1) // batch):
        start = i * batch
        rows = min(batch, count - start)
        _deltas(params, work, table, slopes, feed, order + 8 * start, rows, totals)
        if outputs:
            _copy_outputs(work, table[layers - 1], rows, pointer(outputs, params), start)
        _accumulate(params, work, table, rows, real(-lr / rows))
    return 0.0


def _gradient_kernel(params, grad, work, table, slopes, feed, order, layers, count, block, scale, outputs, totals):
    """scale · (sum of the gradients of ``count`` samples), added to ``grad``, which has the shape of the parameters."""
    real = carray(params, 1).dtype.type
    params, work, table, slopes, feed = _arguments(params, work, table, slopes, feed, layers)
    totals = carray(totals, 2)
    order = carray(order, count).ctypes.data
    grad = carray(grad, ANY)
    for i in range((count + block - 1) // block):  # a range with a variable step could raise
        start = i * block
        rows = min(block, count - start)
        _deltas(params, work, table, slopes, feed, order + 8 * start, rows, totals)
        if outputs:
            _copy_outputs(work, table[layers - 1], rows, pointer(outputs, params), start)
        _accumulate(grad, work, table, rows, real(scale))
    return 0.0


def _jacobian_kernel(params, jacobian, work, table, slopes, feed, order, layers, count, n_params, of_inputs):
    """Derivative of every output of ``count`` samples, one backward pass each: (count, n_out, n_params) or, of the
    inputs as the user gave them, (count, n_out, n_in). ``jacobian`` comes in as zeros."""
    params, work, table, slopes, feed = _arguments(params, work, table, slopes, feed, layers)
    order = carray(order, count).ctypes.data
    jacobian = carray(jacobian, ANY)
    first, last = table[0], table[layers - 1]
    n_in, n_out = first[N_IN], last[N_OUT]
    scale = carray(pointer(feed[X_SCALE], params), n_in)
    delta = _row_at(work, last[DELTA], n_out)
    for s in range(count):
        _read_inputs(work, table, feed, order + 8 * s, 1)
        _forward(params, work, table, slopes, 1, True)
        for k in range(n_out):
            for j in range(n_out):
                delta[j] = 0
            delta[k] = 1
            _through_activation(work, last, 1)
            _backward(params, work, table, 1)
            if of_inputs:
                w = _weights(params, first, True)[0]
                first_delta = _row_at(work, first[DELTA], first[N_OUT])
                out = _row_at(jacobian, (s * n_out + k) * n_in, n_in)
                for i in range(n_in):
                    for j in range(first[N_OUT]):
                        out[i] += scale[i] * w[i, j] * first_delta[j]
            else:
                out = _row_at(jacobian, (s * n_out + k) * n_params, n_params)
                _accumulate(out, work, table, 1, out.dtype.type(1))
    return 0.0
