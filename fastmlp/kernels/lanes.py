"""Training many small networks of one shape side by side, one in each lane of the vectors.

Every row of memory has one number of each network, LANES of them: parameters are (n_params, LANES), and so is all that
kernels.layout calls rows. Each lane takes its own samples in its own order, with its own learning rate and penalties,
and ends independently. A lane never depends on its neighbours, so a lane whose numbers are no longer finite can go on
with numbers that are not used.

Activations are the rows functions of activations.py, for which the meaning of columns does not matter; sums over a
network's outputs (softmax, losses, right answers) are written here, lane by lane.
"""

from __future__ import annotations

import numpy as np

from ..losses import get_loss
from ..optimizers import OPTIMIZERS, count_numbers
from .cpu import has_many_registers, vector_bytes
from .decorators import array_at, call_kernel, force_inlined, kernel_function, peek, record_at
from .formulas import for_each, specialised, tuple_of
from .lane_tiles import (
    add_label_matches,
    add_right_classes,
    cross_entropy_rows,
    gather_samples,
    keep_finite,
    lane_backward,
    lane_products,
    lane_update,
    repeat_numbers,
    scale_rows,
    softmax_begin,
    softmax_end,
)
from .layout import LANE_LAYER, LANES, OPTIONS
from .losses import ROWWISE, of_one_output, parts_of
from .math import functions
from .subnormals import flush_subnormals, restore_subnormals
from .vectors import add_vectors, copy, multiply_vectors, wide_vectors

VECTORS = 2  # of a row: enough for the sums of one unit not to wait for each other
UNITS = 4  # whose sums are kept at once; as many inputs on the way back
INPUTS = 4 if has_many_registers() else 2
_LAYER_BYTES = LANE_LAYER.itemsize


def lanes_of(itemsize: int) -> int:
    """The number of networks that are trained side by side."""
    return VECTORS * vector_bytes() // itemsize


def build(name: str, dtype: str):
    """The Python function to compile for "lanes", "lane_loss.mse." or "lane_step.adam.2"."""
    real = np.dtype(dtype).type
    family, *which = name.split(".")
    if family == "lanes":
        return _lanes(real)
    if family == "lane_loss":
        return _lane_loss(*parts_of(name), real)
    if family == "lane_step":
        return _lane_step(OPTIMIZERS[which[0]], int(which[1]), real)
    return {"lane_softmax": _lane_softmax, "lane_softmax_backward": _lane_softmax_backward}[family](real)


def _lanes(real):
    """Train all lanes for some epochs, or for whole batches of one, and write each epoch's sums of losses and of right
    answers; or do not train, but only judge. Returns how many lanes there are, also for no epochs."""
    itemsize = np.dtype(real).itemsize
    lanes = lanes_of(itemsize)
    row = lanes * itemsize
    units, inputs, vectors, where = UNITS, INPUTS, VECTORS, functions(np.float64).where

    @kernel_function
    def layer_at(job, i):
        return record_at(job.layers + i * _LAYER_BYTES, LANE_LAYER)

    @force_inlined
    def read_samples(job, epoch, step):
        """Copy every lane's sample to the first layer's input and to the targets."""
        first, last = layer_at(job, 0), layer_at(job, job.n_layers - 1)
        order = job.order + epoch * job.order_step + 8 * step
        if job.order_stride:
            gather_samples(
                vectors, real, order, job.order_stride, first.n_in, job.x, first.input, last.n_out, job.y, job.targets
            )
        else:
            number = peek(order, np.int64)
            repeat_numbers(vectors, real, first.n_in, job.x + number * first.n_in * itemsize, first.input)
            repeat_numbers(vectors, real, last.n_out, job.y + number * last.n_out * itemsize, job.targets)

    @kernel_function
    def forward(layer):
        """z = w a_below + b."""
        done, n_in = 0, layer.n_in
        while done + units <= layer.n_out:
            w, d = layer.w + done * n_in * row, done * row
            lane_products(units, vectors, real, n_in, layer.input, w, layer.b + d, layer.z + d)
            done += units
        while done < layer.n_out:
            w, d = layer.w + done * n_in * row, done * row
            lane_products(1, vectors, real, n_in, layer.input, w, layer.b + d, layer.z + d)
            done += 1

    @kernel_function
    def backward(layer, delta_below, distance, scaled):
        """delta_below = delta w, and w += scaled ⊗ input, or what stands at a distance behind w."""
        done = 0
        while done + inputs <= layer.n_in:
            d = done * row
            lane_backward(inputs, vectors, real, layer.n_in, layer.n_out, distance, layer.delta, scaled, layer.w + d,
                          layer.input + d, delta_below + d)  # fmt: skip
            done += inputs
        while done < layer.n_in:
            d = done * row
            lane_backward(1, vectors, real, layer.n_in, layer.n_out, distance, layer.delta, scaled, layer.w + d,
                          layer.input + d, delta_below + d)  # fmt: skip
            done += 1

    @kernel_function
    def update(layer, distance, scaled):
        """w += scaled ⊗ input, or what stands at a distance behind w."""
        done = 0
        while done + inputs <= layer.n_in:
            d = done * row
            lane_update(inputs, vectors, real, layer.n_in, layer.n_out, scaled, layer.w + distance + d, layer.input + d)
            done += inputs
        while done < layer.n_in:
            d = done * row
            lane_update(1, vectors, real, layer.n_in, layer.n_out, scaled, layer.w + distance + d, layer.input + d)
            done += 1

    @force_inlined
    def score(job):
        """Add each lane's right answer, or how many of its labels are right."""
        layer = layer_at(job, job.n_layers - 1)
        if job.score_classes:
            add_right_classes(vectors, real, layer.n_out, layer.a, job.targets, job.right_so_far)
        else:
            add_label_matches(vectors, real, layer.n_out, layer.a, job.targets, job.right_so_far)

    @force_inlined
    def through_activation(job, layer):
        """Turn dL/da into dL/dz."""
        if layer.softmax_backward:
            call_kernel(
                "lane_softmax_backward", layer.softmax_backward, (layer.a, layer.delta, layer.n_out, job.scratch)
            )
        else:
            multiply_vectors(real, layer.n_out * vectors, layer.delta, layer.d)

    @force_inlined
    def judge(job, epoch):
        """Forward to the loss, which is added to the epoch's, and to dL/dz of the outputs."""
        last = job.n_layers - 1
        for i in range(job.n_layers):
            layer = layer_at(job, i)
            forward(layer)
            if i < last or not job.loss_activates:
                if layer.softmax_backward:
                    call_kernel("lane_softmax", layer.activation, (layer.z, layer.a, layer.n_out, job.scratch))
                else:
                    count = layer.n_out * lanes  # as one row
                    arguments = (layer.z, layer.a, layer.d, 1, count, count, layer.slope)
                    call_kernel("activation", layer.activation, arguments)
        layer = layer_at(job, last)
        losses = job.losses + 8 * epoch * lanes
        arguments = (layer.z, layer.a, job.targets, layer.delta, losses, layer.n_out, job.scratch)
        call_kernel("lane_loss", job.loss, arguments)
        if job.score_classes or job.score_labels:
            score(job)
        if not job.fused:
            through_activation(job, layer)

    @force_inlined
    def learn(job, factors):
        """Back from the outputs; the gradients are added, times a factor of each lane, to what stands at a distance."""
        for i in range(job.n_layers - 1, -1, -1):
            layer = layer_at(job, i)
            scaled = layer.delta
            if not job.gradient:
                scaled = job.scratch
                scale_rows(vectors, real, layer.n_out, factors, layer.delta, scaled)
            if layer.has_biases:
                add_vectors(real, layer.n_out * vectors, layer.b + job.gradient, scaled)
            if i > 0:
                below = layer_at(job, i - 1)
                backward(layer, below.delta, job.gradient, scaled)
                through_activation(job, below)
            else:
                update(layer, job.gradient, scaled)

    @kernel_function
    def optimise(job, epoch, factor):
        """Make a step of the optimiser in every lane, against factor · the gradient, which becomes zero."""
        rates = array_at(job.rates + epoch * job.rates_step, lanes, np.float64)
        steps = array_at(job.steps, lanes, np.float64)
        options = record_at(job.options, OPTIONS)
        n_numbers = job.n_numbers
        numbers = array_at(job.step_numbers, n_numbers, np.float64)
        rows = array_at(job.numbers, n_numbers * lanes, real)
        for lane in range(lanes):
            if lane == 0 or rates[lane] != rates[lane - 1] or steps[lane] != options.steps:
                options.steps = steps[lane]
                call_kernel("prepare", job.prepare, (job.step_numbers, job.options, job.constants, rates[lane]))
            for i in range(n_numbers):
                rows[i * lanes + lane] = real(numbers[i])
        for i in range(job.n_layers):
            layer = layer_at(job, i)
            for part in range(1 + layer.has_biases):
                place = layer.b if part else layer.w
                n = layer.n_out if part else layer.n_out * layer.n_in
                call_kernel("lane_step", job.rule, (place, place + job.gradient, job.states, n, 1 - part,
                            job.penalties, job.numbers, factor, job.scratch))  # fmt: skip
        for lane in range(lanes):
            steps[lane] += 1

    @kernel_function
    def end_epoch(job, epoch):
        """Write what the lanes got right; and where they learn, keep the parameters of those whose numbers are finite:
        the others are alive no longer, and their losses NaN."""
        losses = array_at(job.losses + 8 * epoch * lanes, lanes, np.float64)
        right = array_at(job.right + 8 * epoch * lanes, lanes, np.float64)
        so_far, loss = array_at(job.right_so_far, lanes, real), array_at(job.scratch, lanes, real)
        for lane in range(lanes):
            right[lane] = so_far[lane]
            so_far[lane] = 0
            loss[lane] = real(losses[lane] * 0.0)
        if job.learns:
            keep_finite(vectors, real, job.n_params, job.scratch, job.params, job.alive, job.finite)
            alive = array_at(job.alive, lanes, real)
            for lane in range(lanes):
                losses[lane] = where(alive[lane] == 0, np.nan, losses[lane])

    def train(job):
        job = record_at(job, LANES)
        before = flush_subnormals()
        factors = array_at(job.factors, lanes, real)
        for epoch in range(job.epochs):
            rates = array_at(job.rates + epoch * job.rates_step, lanes, np.float64)
            for lane in range(lanes):
                factors[lane] = real(-rates[lane])
            if job.first == 0:
                losses = array_at(job.losses + 8 * epoch * lanes, lanes, np.float64)
                for lane in range(lanes):
                    losses[lane] = 0.0
            left = 0
            for step in range(job.first, job.last):
                read_samples(job, epoch, step)
                judge(job, epoch)
                if job.learns:
                    learn(job, job.factors)
                    if job.gradient:
                        left += 1
                        if left == job.batch or step == job.count - 1:
                            optimise(job, epoch, 1.0 / left)
                            left = 0
            if job.last == job.count:
                end_epoch(job, epoch)
        restore_subnormals(before)
        return float(lanes)

    return train


def _lane_softmax(real):
    """Write each lane's a = softmax(z) of n rows."""
    softmax = _softmax(real)

    def softmax_rows(z, a, n, scratch):
        wide_vectors()
        softmax(z, a, n, scratch)
        return 0.0

    return softmax_rows


def _softmax(real):
    """A function that writes each lane's softmax, and leaves two rows in ``scratch``: the largest z, and the sum of
    exp(z - it)."""
    exp = functions(real).exp
    lanes = lanes_of(np.dtype(real).itemsize)
    row = VECTORS * vector_bytes()

    @force_inlined
    def softmax(z, a, n, scratch):
        softmax_begin(VECTORS, real, n, z, scratch, a)
        count = n * lanes
        values = array_at(a, count, real)
        for k in range(count):
            values[k] = exp(values[k])
        softmax_end(VECTORS, real, n, a, scratch + row)

    return softmax


def _lane_softmax_backward(real):
    """Write each lane's delta = Jᵀ delta, where J = diag(a) - a aᵀ is the Jacobian of a softmax."""
    lanes = lanes_of(np.dtype(real).itemsize)

    def backward(a, delta, n, scratch):
        wide_vectors()
        a, delta, mean = array_at(a, n * lanes, real), array_at(delta, n * lanes, real), array_at(scratch, lanes, real)
        for lane in range(lanes):
            mean[lane] = real(0)
        for j in range(n):
            for lane in range(lanes):
                mean[lane] += a[j * lanes + lane] * delta[j * lanes + lane]
        for j in range(n):
            for lane in range(lanes):
                k = j * lanes + lane
                delta[k] = a[k] * (delta[k] - mean[lane])
        return 0.0

    return backward


def _lane_loss(loss, output, real):
    """Add each lane's loss to ``losses``, and write its delta, from n rows of z, a and y."""
    lanes = lanes_of(np.dtype(real).itemsize)
    if (loss, output) == ("cross_entropy", "softmax"):
        return _lane_cross_entropy_softmax(real)
    if get_loss(loss).rowwise:
        row = ROWWISE[loss](real)

        def rows_of_columns(z, a, y, delta, losses, n, scratch):
            z, a = array_at(z, (n, lanes), real), array_at(a, (n, lanes), real)
            y, delta = array_at(y, (n, lanes), real), array_at(delta, (n, lanes), real)
            losses = array_at(losses, lanes, np.float64)
            for lane in range(lanes):
                losses[lane] += row(z[:, lane], a[:, lane], y[:, lane], delta[:, lane], 0, n)
            return 0.0

        return rows_of_columns
    one = of_one_output(loss, output, real, real)

    def rows_of(z, a, y, delta, losses, n, scratch):
        wide_vectors()
        z, a, y = array_at(z, n * lanes, real), array_at(a, n * lanes, real), array_at(y, n * lanes, real)
        delta, losses = array_at(delta, n * lanes, real), array_at(losses, lanes, np.float64)
        for j in range(n):
            for lane in range(lanes):
                k = j * lanes + lane
                value, delta[k] = one(z[k], a[k], y[k], j)
                losses[lane] += value
        return 0.0

    return rows_of


def _lane_cross_entropy_softmax(real):
    """`losses._cross_entropy_softmax`, lane by lane."""
    softmax, log = _softmax(real), functions(real).log
    lanes = lanes_of(np.dtype(real).itemsize)
    row = VECTORS * vector_bytes()

    def rows_of(z, a, y, delta, losses, n, scratch):
        wide_vectors()
        softmax(z, a, n, scratch)
        mass, loss = scratch + 2 * row, scratch + 3 * row
        cross_entropy_rows(VECTORS, real, n, z, a, y, scratch, mass, loss, delta)
        found, losses = array_at(scratch, 4 * lanes, real), array_at(losses, lanes, np.float64)
        for lane in range(lanes):
            losses[lane] += found[3 * lanes + lane] + found[2 * lanes + lane] * log(found[lanes + lane])
        return 0.0

    return rows_of


def _lane_step(optimizer, n_states, real):
    """Move ``rows`` rows of parameters w by one step of the optimiser against factor · their gradient, to which the
    lanes' penalties add where they are weights; the gradient becomes zero.

    All that a row needs is brought together in ``scratch``, where the compiler sees that nothing overlaps.
    """
    rule, sign = specialised(optimizer.rule, real), functions(real).sign
    lanes = lanes_of(np.dtype(real).itemsize)
    row_bytes = lanes * np.dtype(real).itemsize
    n_numbers = count_numbers(optimizer.name)
    of_l1, of_numbers = 2 + n_states, 4 + n_states
    n_rows = of_numbers + n_numbers
    read_states = tuple_of(n_states, force_inlined(lambda i, rows, lane: rows[(2 + i) * lanes + lane]))
    read_numbers = tuple_of(n_numbers, force_inlined(lambda i, rows, lane: rows[(of_numbers + i) * lanes + lane]))

    @force_inlined
    def write_state(i, rows, lane, after):
        rows[(2 + i) * lanes + lane] = after[i]

    write_states = for_each(n_states, write_state)

    @force_inlined
    def fetch_state(i, scratch, w, states):
        copy(scratch + (2 + i) * row_bytes, w + states[i], row_bytes)

    @force_inlined
    def put_state(i, scratch, w, states):
        copy(w + states[i], scratch + (2 + i) * row_bytes, row_bytes)

    fetch_states, put_states = for_each(n_states, fetch_state), for_each(n_states, put_state)

    def step(w, gradient, states, rows, penalised, penalties, numbers, factor, scratch):
        wide_vectors()
        states, buffer = array_at(states, n_states, np.int64), array_at(scratch, n_rows * lanes, real)
        copy(scratch + of_l1 * row_bytes, penalties, 2 * row_bytes)
        copy(scratch + of_numbers * row_bytes, numbers, n_numbers * row_bytes)
        factor, penalised = real(factor), real(penalised)
        for r in range(rows):
            place = w + r * row_bytes
            copy(scratch, place, row_bytes)
            copy(scratch + row_bytes, gradient + r * row_bytes, row_bytes)
            fetch_states(scratch, place, states)
            for lane in range(lanes):
                value = buffer[lane]
                l1, l2 = buffer[of_l1 * lanes + lane], buffer[(of_l1 + 1) * lanes + lane]
                slope = factor * buffer[lanes + lane] + penalised * (l2 * value + l1 * sign(value))
                moved, after = rule(value, slope, read_states(buffer, lane), read_numbers(buffer, lane))
                buffer[lane] = moved
                write_states(buffer, lane, after)
            copy(place, scratch, row_bytes)
            put_states(scratch, place, states)
            zeros = array_at(gradient + r * row_bytes, lanes, real)
            for lane in range(lanes):
                zeros[lane] = real(0)
        return 0.0

    return step
