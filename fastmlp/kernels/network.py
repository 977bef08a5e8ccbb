"""Whole networks: forward, backward and the training loop over samples. What Python calls.

Every kernel takes ``params``, the flat parameters; a job, which layout.py describes; and ``numbers``, float64: what
goes in by name, then two totals to which the sum of the losses and the number of right answers are added.
"""

from __future__ import annotations

from numba import carray

from .compiler import vector_bytes
from .decorators import call, inner, pointer
from .layout import (
    ACT,
    ANY,
    BACKWARD_AND_UPDATE,
    BLOCK,
    BLOCKWISE,
    CHECKED,
    CLASS_INDICES,
    COLUMNS,
    COUNT,
    DELTA,
    FLAT_B,
    FLAT_W,
    FUSED,
    FUSED_WITH_SOFTMAX,
    GRAD_B,
    GRAD_W,
    GRADIENT,
    GRAM,
    GRAM_ROW,
    HAS_BIASES,
    IDENTITY,
    IN_PLACE,
    IN_ROW,
    INDEX,
    INNER_PRODUCTS,
    INPUT,
    JOB,
    JUDGE,
    JUDGE_ARGMAX,
    JUDGE_LABELS,
    JUDGED,
    LAYERS,
    LOSS,
    MODE,
    N_IN,
    N_OUT,
    N_PARAMS,
    NOT_FUSED,
    NUMBERS,
    OF_INPUTS,
    ONES,
    ORDER,
    OUT_ROW,
    OUTPUTS,
    PRODUCT,
    SCALED,
    SLOPES,
    SLOTS,
    SOFTMAX,
    TABLE,
    TARGETS,
    W_ROW,
    WALK,
    X_COLUMN,
    X_GATHER,
    X_ROW,
    X_SCALE,
    X_SHIFT,
    X_SPARSE,
    Y_COLUMN,
    Y_GATHER,
    Y_ROW,
    ZEROS,
    A,
    B,
    D,
    W,
    X,
    Y,
    Z,
)  # fmt: skip

BYTES = vector_bytes()


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name; the dtype is in its pointers."""
    return {
        "forward": _forward_kernel,
        "train": _train_kernel,
        "gradient": _gradient_kernel,
        "jacobian": _jacobian_kernel,
    }[name]


@inner
def _rows(address, count, stride, params):
    """Rows of reals that stand at an address, ``stride`` bytes apart, as an array."""
    return carray(pointer(address, params), (count, stride // params.itemsize))


@inner
def _vector(address, n, params):
    return carray(pointer(address, params), n)


@inner
def _pack(job, table, params):
    """The padded copy of all parameters, where they are not used in place.

    Its padding is written again, because a run that overflowed may have left NaN there.
    """
    if job[IN_PLACE]:
        return
    for i in range(len(table)):
        row = table[i]
        n_rows, n = (row[N_IN], row[N_OUT]) if i == 0 else (row[N_OUT], row[N_IN])
        flat = _vector(params.ctypes.data + row[FLAT_W], n_rows * n, params)
        w = _rows(row[W], n_rows, row[W_ROW], params)
        for r in range(n_rows):
            for k in range(n):
                w[r, k] = flat[r * n + k]
            for k in range(n, w.shape[1]):
                w[r, k] = 0
        if row[HAS_BIASES]:
            flat = _vector(params.ctypes.data + row[FLAT_B], row[N_OUT], params)
            b = _vector(row[B], row[N_OUT], params)
            for k in range(row[N_OUT]):
                b[k] = flat[k]


@inner
def _unpack(table, w_column, b_column, target, added, scale):
    """target = scale · the padded copies of all weights and biases, or of their gradients; or that, added to target."""
    for i in range(len(table)):
        row = table[i]
        n_rows, n = (row[N_IN], row[N_OUT]) if i == 0 else (row[N_OUT], row[N_IN])
        flat = _vector(target.ctypes.data + row[FLAT_W], n_rows * n, target)
        w = _rows(row[w_column], n_rows, row[W_ROW], target)
        for r in range(n_rows):
            for k in range(n):
                flat[r * n + k] = (flat[r * n + k] if added else 0) + scale * w[r, k]
        if row[HAS_BIASES]:
            flat = _vector(target.ctypes.data + row[FLAT_B], row[N_OUT], target)
            b = _vector(row[b_column], row[N_OUT], target)
            for k in range(row[N_OUT]):
                flat[k] = (flat[k] if added else 0) + scale * b[k]


@inner
def _clear_gradient(table, params):
    for i in range(len(table)):
        row = table[i]
        grad = _vector(row[GRAD_W], (row[N_IN] if i == 0 else row[N_OUT]) * row[W_ROW] // params.itemsize, params)
        for k in range(len(grad)):
            grad[k] = 0
        b = _vector(row[GRAD_B], row[N_OUT], params)
        for k in range(row[N_OUT]):
            b[k] = 0


@inner
def _read_inputs(job, table, start, rows):
    """Rows of x, without the inputs that are zero in all of them where those are many; how many are left."""
    row = table[0]
    order = job[ORDER] + 8 * start
    if job[X_SPARSE]:
        return int(
            call(
                job[X_GATHER],
                (job[X], job[X_ROW], job[X_COLUMN], order, rows, job[X_SCALE], row[INPUT], row[IN_ROW],
                 job[INDEX], job[SLOTS]),
            )
        )  # fmt: skip
    following = min(job[BLOCK], job[COUNT] - start - rows)
    call(
        job[X_GATHER],
        (job[X], job[X_ROW], job[X_COLUMN], order, rows, following, row[N_IN], job[X_SHIFT],
         job[X_SCALE], row[INPUT], row[IN_ROW]),
    )  # fmt: skip
    return int(call(job[WALK], (row[INPUT], row[IN_ROW], rows, row[N_IN], job[INDEX])))


@inner
def _all_finite(job, table, walked, params):
    x = _vector(table[0, INPUT], walked, params)
    zero = params.dtype.type(0)
    for k in range(walked):
        zero += x[k] * 0
    return zero == 0


@inner
def _read_targets(job, table, order, rows, params):
    """Rows of y as they are, or one-hot rows where y holds class indices."""
    last = table[len(table) - 1]
    if job[Y_COLUMN] == CLASS_INDICES:
        y = _rows(job[TARGETS], rows, last[OUT_ROW], params)
        index = carray(pointer(order, job), rows)
        classes = carray(pointer(job[Y], job), ANY)
        for r in range(rows):
            for k in range(last[N_OUT]):
                y[r, k] = 0
            y[r, classes[index[r]]] = 1
    else:
        call(
            job[Y_GATHER],
            (job[Y], job[Y_ROW], job[Y_COLUMN], order, rows, 0, last[N_OUT], 0, 0, job[TARGETS],
             last[OUT_ROW]),
        )  # fmt: skip


@inner
def _first_forward(job, table, rows, walked, params):
    """z = x w + b in the first layer."""
    row = table[0]
    call(
        job[PRODUCT],
        (row[INPUT], row[IN_ROW], params.itemsize, row[W], row[W_ROW], job[INDEX], row[B], 0,
         row[Z], row[OUT_ROW], job[IDENTITY], rows, row[OUT_ROW] // BYTES, walked),
    )  # fmt: skip


@inner
def _forward(job, row, first, rows):
    """z = x wᵀ + b in a deeper layer, for rows from ``first`` on."""
    call(
        job[INNER_PRODUCTS],
        (row[INPUT] + first * row[IN_ROW], row[IN_ROW], row[W], row[W_ROW], row[B],
         row[Z] + first * row[OUT_ROW], row[OUT_ROW], rows, row[N_OUT], row[IN_ROW] // BYTES),
    )  # fmt: skip


@inner
def _activate(row, slope, first, rows, with_derivatives, params):
    skip = first * row[OUT_ROW]
    stride = row[OUT_ROW] // params.itemsize
    d = row[D] + skip if with_derivatives else 0
    call(row[ACT], (row[Z] + skip, row[A] + skip, d, rows, row[N_OUT], stride, slope))


@inner
def _layers_forward(job, table, slopes, first, rows, with_derivatives, with_outputs, params):
    """From the first layer's z to the last one's, and to the outputs unless the loss will compute them."""
    for i in range(len(table)):
        if i > 0:
            _forward(job, table[i], first, rows)
        if with_outputs or i < len(table) - 1:
            _activate(table[i], slopes[i], first, rows, with_derivatives, params)


@inner
def _judge(job, table, first, rows, params, totals):
    """The losses of rows from ``first`` on are added to totals[0], their right answers to totals[1]; delta gets dL/da,
    or dL/dz where loss and activation are fused."""
    row = table[len(table) - 1]
    n, stride = row[N_OUT], row[OUT_ROW]
    skip = first * stride
    totals[0] += call(
        job[LOSS],
        (row[Z] + skip, row[A] + skip, job[TARGETS] + skip, row[DELTA] + skip, rows, n, stride // params.itemsize),
    )  # fmt: skip
    a = _rows(row[A] + skip, rows, stride, params)
    y = _rows(job[TARGETS] + skip, rows, stride, params)
    if job[JUDGE] == JUDGE_ARGMAX:
        for r in range(rows):
            right = 0
            for k in range(1, n):
                right = k if y[r, k] > y[r, right] else right
            better = 0  # outputs that win against the right class; of equal ones the first wins
            for k in range(n):
                better += (a[r, k] > a[r, right]) | ((a[r, k] == a[r, right]) & (k < right))
            totals[1] += better == 0
    elif job[JUDGE] == JUDGE_LABELS:
        for r in range(rows):
            for k in range(n):
                totals[1] += ((a[r, k] > 0.5) == (y[r, k] > 0.5)) / n


@inner
def _through_activation(row, first, rows, params):
    """Turn dL/da, which stands in the layer's delta, into dL/dz: times f', or through softmax's Jacobian."""
    skip = first * row[OUT_ROW]
    delta = _rows(row[DELTA] + skip, rows, row[OUT_ROW], params)
    if row[SOFTMAX]:
        a = _rows(row[A] + skip, rows, row[OUT_ROW], params)
        for r in range(rows):
            mean = params.dtype.type(0)
            for j in range(row[N_OUT]):
                mean += a[r, j] * delta[r, j]
            for j in range(row[N_OUT]):
                delta[r, j] = a[r, j] * (delta[r, j] - mean)
    else:
        count = rows * (row[OUT_ROW] // params.itemsize)
        delta = _vector(row[DELTA] + skip, count, params)
        d = _vector(row[D] + skip, count, params)
        for k in range(count):
            delta[k] *= d[k]


@inner
def _scale(row, first, rows, factor, params):
    """scaled = factor · delta."""
    skip = first * row[OUT_ROW]
    count = rows * (row[OUT_ROW] // params.itemsize)
    delta = _vector(row[DELTA] + skip, count, params)
    scaled = _vector(row[SCALED] + skip, count, params)
    for k in range(count):
        scaled[k] = factor * delta[k]


@inner
def _update_biases(row, b_column, first, rows, params):
    if row[HAS_BIASES]:
        scaled = _rows(row[SCALED] + first * row[OUT_ROW], rows, row[OUT_ROW], params)
        b = _vector(row[b_column], row[N_OUT], params)
        for r in range(rows):
            for k in range(row[N_OUT]):
                b[k] += scaled[r, k]


@inner
def _update_first(job, table, w_column, b_column, rows, walked, params):
    """w += xᵀ scaled, b += Σ scaled in the first layer; its parameters, or its gradient."""
    row = table[0]
    call(
        job[PRODUCT],
        (row[INPUT], params.itemsize, row[IN_ROW], row[SCALED], row[OUT_ROW], job[IDENTITY], row[w_column], row[W_ROW],
         row[w_column], row[W_ROW], job[INDEX], walked, row[OUT_ROW] // BYTES, rows),
    )  # fmt: skip
    _update_biases(row, b_column, 0, rows, params)


@inner
def _backward(job, row, below, first, rows, params):
    """dL/da of the layer below: delta w, with w (n_out, n_in)."""
    call(
        job[PRODUCT],
        (row[DELTA] + first * row[OUT_ROW], row[OUT_ROW], params.itemsize, row[W], row[W_ROW],
         job[IDENTITY], job[ZEROS], 0, below[DELTA] + first * row[IN_ROW], row[IN_ROW], job[IDENTITY], rows,
         row[IN_ROW] // BYTES, row[N_OUT]),
    )  # fmt: skip


@inner
def _update(job, row, w_column, b_column, first, rows, params):
    """w += scaledᵀ x, b += Σ scaled in a deeper layer; its parameters, or its gradient."""
    call(
        job[PRODUCT],
        (row[SCALED] + first * row[OUT_ROW], params.itemsize, row[OUT_ROW], row[INPUT] + first * row[IN_ROW],
         row[IN_ROW], job[IDENTITY], row[w_column], row[W_ROW], row[w_column], row[W_ROW], job[IDENTITY], row[N_OUT],
         row[IN_ROW] // BYTES, rows),
    )  # fmt: skip
    _update_biases(row, b_column, first, rows, params)


@inner
def _backward_and_update(job, row, below, first, params):
    """Both for one sample, with the old w for the delta below."""
    skip, skip_below = first * row[OUT_ROW], first * row[IN_ROW]
    call(
        job[BACKWARD_AND_UPDATE],
        (row[N_OUT], row[DELTA] + skip, row[SCALED] + skip, row[W], row[W_ROW], row[INPUT] + skip_below,
         below[DELTA] + skip_below, row[IN_ROW] // BYTES),
    )  # fmt: skip
    _update_biases(row, B, first, 1, params)


@inner
def _learn(job, table, slopes, first, rows, factor, w_column, b_column, params, totals):
    """From the first layer's z of some rows to its delta; the deeper layers' parameters (or gradients) get factor times
    their gradients on the way."""
    _layers_forward(job, table, slopes, first, rows, True, job[FUSED] != FUSED_WITH_SOFTMAX, params)
    _judge(job, table, first, rows, params, totals)
    if job[FUSED] == NOT_FUSED:
        _through_activation(table[len(table) - 1], first, rows, params)
    for i in range(len(table) - 1, 0, -1):
        row, below = table[i], table[i - 1]
        _scale(row, first, rows, factor, params)
        if rows == 1 and w_column == W:
            _backward_and_update(job, row, below, first, params)
        else:
            _backward(job, row, below, first, rows, params)
            _update(job, row, w_column, b_column, first, rows, params)
        _through_activation(below, first, rows, params)


@inner
def _learn_sample_by_sample(job, table, slopes, rows, walked, rate, params, totals):
    """Exact SGD over a block whose first layer's z was computed with the weights from before the block.

    Sample t should see the weights that the samples i < t of the block left: its z lacks -rate Σ_i (x_i·x_t + 1) δ_i.
    """
    row = table[0]
    for i in range((rows + 2) // 3):  # three rows at once, which need no columns beyond their own
        skip = 3 * i
        call(
            job[INNER_PRODUCTS],
            (row[INPUT] + skip * row[IN_ROW], row[IN_ROW], row[INPUT], row[IN_ROW],
             job[ONES] if row[HAS_BIASES] else job[ZEROS], job[GRAM] + skip * job[GRAM_ROW], job[GRAM_ROW],
             min(3, rows - skip), min(skip + 2, rows - 1), (walked * params.itemsize + BYTES - 1) // BYTES),
        )  # fmt: skip
    for t in range(rows):
        if t > 0:
            z = row[Z] + t * row[OUT_ROW]
            call(
                job[PRODUCT],
                (job[GRAM] + t * job[GRAM_ROW], job[GRAM_ROW], params.itemsize, row[SCALED], row[OUT_ROW],
                 job[IDENTITY], z, 0, z, 0, job[IDENTITY], 1, row[OUT_ROW] // BYTES, t),
            )  # fmt: skip
        _learn(job, table, slopes, t, 1, rate, W, B, params, totals)
        _scale(row, t, 1, rate, params)


@inner
def _copy_outputs(job, table, rows, start, params):
    row = table[len(table) - 1]
    a = _rows(row[A], rows, row[OUT_ROW], params)
    out = carray(pointer(job[OUTPUTS], params), (start + rows, row[N_OUT]))
    for r in range(rows):
        for k in range(row[N_OUT]):
            out[start + r, k] = a[r, k]


@inner
def _arguments(params, job, numbers):
    """Pointers as arrays. Their lengths are not known here and not needed: the job has every extent."""
    params = carray(params, ANY)
    job = carray(job, JOB)
    numbers = carray(numbers, NUMBERS)
    table = carray(pointer(job[TABLE], job), (job[LAYERS], COLUMNS))
    slopes = carray(pointer(job[SLOPES], numbers), job[LAYERS])
    return params, job, numbers[1:], table, slopes, params.dtype.type(numbers[0])


@inner
def _blocks(job):
    """How many blocks the call's samples make (a range with a variable step could raise)."""
    return (job[COUNT] + job[BLOCK] - 1) // job[BLOCK]


def _forward_kernel(params, job, numbers):
    """Outputs of the samples, (count, n_out), where OUTPUTS is not null; losses when MODE is JUDGED.

    When MODE is CHECKED, which is for one sample, nothing is done if it is not finite, and the result is 1.
    """
    params, job, totals, table, slopes, _ = _arguments(params, job, numbers)
    _pack(job, table, params)
    for i in range(_blocks(job)):
        start = i * job[BLOCK]
        order = job[ORDER] + 8 * start
        rows = min(job[BLOCK], job[COUNT] - start)
        walked = _read_inputs(job, table, start, rows)
        if job[MODE] == CHECKED and not _all_finite(job, table, walked, params):
            return 1.0
        _first_forward(job, table, rows, walked, params)
        _layers_forward(job, table, slopes, 0, rows, False, True, params)
        if job[MODE] == JUDGED:
            _read_targets(job, table, order, rows, params)
            _judge(job, table, 0, rows, params, totals)
        if job[OUTPUTS]:
            _copy_outputs(job, table, rows, start, params)
    return 0.0


def _train_kernel(params, job, numbers):
    """SGD over the samples, numbers[0] being the learning rate: a step each sample, or each block when BLOCKWISE.

    OUTPUTS, where not null, gets the outputs as each sample was seen.
    """
    params, job, totals, table, slopes, lr = _arguments(params, job, numbers)
    _pack(job, table, params)
    for i in range(_blocks(job)):
        start = i * job[BLOCK]
        order = job[ORDER] + 8 * start
        rows = min(job[BLOCK], job[COUNT] - start)
        walked = _read_inputs(job, table, start, rows)
        _read_targets(job, table, order, rows, params)
        _first_forward(job, table, rows, walked, params)
        if job[MODE] == BLOCKWISE:
            factor = -lr / params.dtype.type(rows)
            _learn(job, table, slopes, 0, rows, factor, W, B, params, totals)
            _scale(table[0], 0, rows, factor, params)
        else:
            _learn_sample_by_sample(job, table, slopes, rows, walked, -lr, params, totals)
        _update_first(job, table, W, B, rows, walked, params)
        if job[OUTPUTS]:
            _copy_outputs(job, table, rows, start, params)
    if not job[IN_PLACE]:
        _unpack(table, W, B, params, False, params.dtype.type(1))
    return 0.0


def _gradient_kernel(params, job, numbers):
    """numbers[0] · (sum of the gradients of the samples), added to GRADIENT, which is shaped like the parameters."""
    params, job, totals, table, slopes, factor = _arguments(params, job, numbers)
    one = params.dtype.type(1)
    _pack(job, table, params)
    _clear_gradient(table, params)
    for i in range(_blocks(job)):
        start = i * job[BLOCK]
        order = job[ORDER] + 8 * start
        rows = min(job[BLOCK], job[COUNT] - start)
        walked = _read_inputs(job, table, start, rows)
        _read_targets(job, table, order, rows, params)
        _first_forward(job, table, rows, walked, params)
        _learn(job, table, slopes, 0, rows, one, GRAD_W, GRAD_B, params, totals)
        _scale(table[0], 0, rows, one, params)
        _update_first(job, table, GRAD_W, GRAD_B, rows, walked, params)
        if job[OUTPUTS]:
            _copy_outputs(job, table, rows, start, params)
    _unpack(table, GRAD_W, GRAD_B, _vector(job[GRADIENT], ANY, params), True, factor)
    return 0.0


def _jacobian_kernel(params, job, numbers):
    """Derivative of every output of the samples, one backward pass each, to OUTPUTS: (count, n_out, n_params) or, MODE
    being OF_INPUTS, by the inputs as the user gave them, (count, n_out, n_in)."""
    params, job, _, table, slopes, _ = _arguments(params, job, numbers)
    one = params.dtype.type(1)
    first, last = table[0], table[job[LAYERS] - 1]
    n_in, n_out = first[N_IN], last[N_OUT]
    delta = _vector(last[DELTA], n_out, params)
    columns = n_in if job[MODE] == OF_INPUTS else job[N_PARAMS]
    _pack(job, table, params)
    for s in range(job[COUNT]):
        walked = _read_inputs(job, table, s, 1)
        _first_forward(job, table, 1, walked, params)
        _layers_forward(job, table, slopes, 0, 1, True, True, params)
        for k in range(n_out):
            out = _vector(job[OUTPUTS] + (s * n_out + k) * columns * params.itemsize, columns, params)
            for j in range(n_out):
                delta[j] = 0
            delta[k] = 1
            _clear_gradient(table, params)
            _through_activation(last, 0, 1, params)
            for i in range(len(table) - 1, 0, -1):
                _scale(table[i], 0, 1, one, params)
                _backward(job, table[i], table[i - 1], 0, 1, params)
                _update(job, table[i], GRAD_W, GRAD_B, 0, 1, params)
                _through_activation(table[i - 1], 0, 1, params)
            if job[MODE] == OF_INPUTS:
                w = _rows(first[W], n_in, first[W_ROW], params)
                first_delta = _vector(first[DELTA], first[N_OUT], params)
                for i in range(n_in):
                    total = params.dtype.type(0)
                    for j in range(first[N_OUT]):
                        total += w[i, j] * first_delta[j]
                    out[i] = total * _vector(job[X_SCALE], n_in, params)[i] if job[X_SHIFT] else total
            else:
                _scale(first, 0, 1, one, params)
                _update_first(job, table, GRAD_W, GRAD_B, 1, walked, params)
                _unpack(table, GRAD_W, GRAD_B, out, False, one)
    return 0.0
