"""Mini-batches: gradients, every optimiser's steps, and the threads that share them.

A batch is cut into parts, a part into blocks. Each thread (a member of the team) makes the gradients of some parts, in
its own workspace; then all add them, in the parts' order, each member its share of every layer. If a batch is only one
part, the team shares its blocks: each member takes some rows of a block forward and back, in common matrices, and then
makes some rows of each layer's gradient, from the whole block. In both cases the numbers do not depend on the number of
threads, and little data moves between cores.
"""

from __future__ import annotations

import math

import numpy as np

from .cpu import vector_bytes
from .decorators import array_at, call_kernel, inlined_source, kernel_function, peek, record_at, size_of
from .layout import JOB, MEMBER, NUMBERS, OPTIONS, TOTALS
from .linear import SHARED_ROWS
from .math import square_root
from .packing import (
    add,
    add_biases,
    add_met,
    clear,
    clear_biases,
    clear_met,
    layer_at,
    met_row,
    move,
    pack_all,
    prepare_step,
    scale_gradient,
    squares,
    step,
    step_of_biases,
    step_of_met,
    unpack,
    unpack_all,
)
from .passes import (
    activate_layers,
    all_deltas,
    all_finite,
    blocks,
    copy_outputs,
    first_forward,
    read_block,
    read_inputs,
    read_targets,
    scale,
    score_to_delta,
    spread_inputs,
    step_of_inputs,
    step_of_sample,
    update,
    weight_of,
)
from .subnormals import flush_subnormals, restore_subnormals
from .threads import leads_block, share_of_rows, told_to_stop, wait, wait_for_block
from .vectors import are_finite

VECTOR_BYTES = vector_bytes()
_MEMBER_BYTES, _TOTALS_BYTES = MEMBER.itemsize, TOTALS.itemsize


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"batches": _batches}[name](np.dtype(dtype).type)


@inlined_source
def _scores_at(job, group):
    """The TOTALS record of a group of a block's rows."""
    return record_at(job.workspace.scores + group * _TOTALS_BYTES, TOTALS)


@inlined_source
def _groups(rows):
    """The number of groups of a block's rows, of SHARED_ROWS each; the last one also has the remainder."""
    return max(1, rows // SHARED_ROWS)


@kernel_function
def _score_groups(job, start, rows, begin, end, real):
    """Write the last layer's delta of rows begin to end, which are whole groups, and the groups' losses and right
    answers: added up group by group, they make the same totals, whoever wrote them."""
    while begin < end:
        group = begin // SHARED_ROWS
        following = end if group == _groups(rows) - 1 else begin + SHARED_ROWS
        scores = _scores_at(job, group)
        scores.loss = 0.0
        scores.right = 0.0
        score_to_delta(job, start, begin, following - begin, scores, real)
        begin = following


@inlined_source
def _add_scores(job, rows, totals):
    """Add the scores of a block's groups to the totals."""
    for group in range(_groups(rows)):
        scores = _scores_at(job, group)
        totals.loss += scores.loss
        totals.right += scores.right


@kernel_function
def _slope_deltas(job, start, rows, n_columns, totals):
    """Write the deltas of a block whose derivatives by the inputs are trained, and add to the totals."""
    address = peek(job.team.jobs + 8 * job.team.member, np.int64)
    loss = call_kernel("slope_deltas", job.data.slope_deltas, (address, start, rows, n_columns))
    totals.loss += loss
    totals.slopes += loss


@kernel_function
def _block_deltas(job, start, rows, totals, real):
    """Read a block of samples, write the deltas of all layers, add to the totals, where the workspace has no scores of
    groups; return n_columns. A call that is told to stop writes no deltas.

    Where the team shares the block, this is done to the member's rows; it shares none whose slopes are trained.
    In a checked call the total of losses becomes NaN where a sample is not finite: an activation may hide it.
    """
    n_columns = read_block(job, start, rows)
    if job.call.checked and not all_finite(job, rows, real):
        totals.loss = math.nan
    read_targets(job, start, rows, real)
    begin, end = share_of_rows(job, rows)
    if begin == end:  # a short block has no rows for some members, and passes take none for one
        return n_columns
    layer = layer_at(job, 0)
    first_forward(job, start, begin, end - begin, n_columns, layer.w, layer.w_row, real)
    if not told_to_stop(job):
        position, with_outputs = job.call.position + start, not job.data.loss_activates
        activate_layers(job, begin, end - begin, position, True, with_outputs, real)
        if job.workspace.scores:
            _score_groups(job, start, rows, begin, end, real)
        else:
            score_to_delta(job, start, begin, end - begin, totals, real)
    if not told_to_stop(job):
        if not job.data.tangents:
            all_deltas(job, job.workspace.lowest, begin, end - begin, real)
        else:
            _slope_deltas(job, start, rows, n_columns, totals)
            n_columns = layer.n_in
    return n_columns


@kernel_function
def _complete_block(job, start, rows, totals, real):
    """Wait for the deltas of all of a block's rows, and do what is done once for it; true when the team gives up."""
    if wait_for_block(job):
        return True
    if leads_block(job):
        if job.workspace.scores:
            _add_scores(job, rows, totals)
        if job.call.outputs:
            copy_outputs(job, rows, start, real)
    return False


@kernel_function
def _weight(job, start, rows):
    """What a step divides these samples' weighted sum by: their total weight; 1 for one sample at a time, so that its
    weight counts."""
    call = job.call
    if not job.data.weights or (call.batch == 1 and not call.gradient):
        return float(rows)
    total = 0.0
    for r in range(rows):
        total += weight_of(job, start + r)
    return total


@kernel_function
def _squares(job, rows, address, stride, n, real):
    """The sum of the squares of n numbers in each of some rows, padded with zeros: infinite where it overflows."""
    workspace, total = job.workspace, 0.0
    vectors = (n * size_of(real) + VECTOR_BYTES - 1) // VECTOR_BYTES
    for r in range(rows):
        row = address + r * stride
        arguments = (row, stride, row, stride, workspace.zeros, workspace.gram, workspace.gram_row, 1, 1, vectors)
        call_kernel("inner_products", job.linear.inner_products, arguments)
        total += np.float64(peek(workspace.gram, real))
    return total


@kernel_function
def _stays_finite(job, rows, n_columns, real):
    """Whether a step is too short to make finite parameters infinite.

    No weight changes by more than |scaled| |x|, over all rows (Cauchy–Schwarz). Where that is at most 1e30, it is less
    than half of the distance between float32's largest numbers.
    """
    for i in range(job.workspace.lowest, job.workspace.n_layers):
        layer = layer_at(job, i)
        scaled = _squares(job, rows, layer.scaled, layer.out_row, layer.n_out, real)
        n_inputs = layer.n_in if i > 0 else n_columns
        inputs = _squares(job, rows, layer.input, layer.in_row, n_inputs, real)
        if not scaled * (inputs + rows) <= 1e60:
            return False
    return True


@inlined_source
def _scale_deltas(job, start, rows, rate, real):
    """Write every layer's ``scaled``: what a step of plain SGD at that rate multiplies with the layer's input."""
    begin, end = share_of_rows(job, rows)
    factor = real(-rate / _weight(job, start, rows))
    for i in range(job.workspace.lowest, job.workspace.n_layers):
        scale(layer_at(job, i), begin, (end - begin) * (1 + job.data.tangents), factor, real)


@inlined_source
def _plain_step(job, start, rows, n_columns, real):
    """Make a step of plain SGD against the gradient of the block's samples, which is never written, from their
    ``scaled``; true if parameters might not stay finite in a checked call, or when the team gives up."""
    if job.call.checked and not _stays_finite(job, rows, n_columns, real):
        return True
    for i in range(job.workspace.n_layers - 1, -1, -1):
        if layer_at(job, i).trainable:
            update(job, i, start, 0, layer_at(job, i).scaled, rows, n_columns, False, real)
    return wait_for_block(job)


@inlined_source
def _skips(job):
    """Whether the optimiser's step skips the weights of inputs that are zero in all samples of its batch."""
    if job.step.rule == 0 or job.data.x_by_row == 0:
        return False
    options = record_at(job.step.options, OPTIONS)
    return job.step.lazy != 0 or (job.step.rests != 0 and options.l1 == 0 and options.l2 == 0)


@kernel_function
def _meet(job, start, size, real):
    """Add what inputs these samples have to the list of those that the batch has, which begins with the batch.

    All members do so for themselves; the leader clears the gradient of those that are new, before others look at it.
    """
    workspace, n_in = job.workspace, layer_at(job, 0).n_in
    met, is_met = array_at(workspace.met, n_in, np.int64), array_at(workspace.is_met, n_in, np.int64)
    if job.call.begins:
        for k in range(workspace.n_met):
            is_met[met[k]] = 0
        workspace.n_met = 0
    n_met = workspace.n_met
    for r in range(size):
        found = read_inputs(job, start + r, 1)
        index = array_at(workspace.index, found, np.int64)
        for i in range(found):
            if not is_met[index[i]]:
                is_met[index[i]] = 1
                met[n_met] = index[i]
                n_met += 1
    first = workspace.n_met
    workspace.n_met = n_met
    if job.team.member == 0:
        clear_met(job, workspace.gradient, first, real)


@kernel_function
def _sample_step(job, start, n_columns, rate, real):
    """Make the optimiser's step against the gradient of the block's one sample, which is never written."""
    prepare_step(job, rate)
    factor, options = 1 / _weight(job, start, 1), record_at(job.step.options, OPTIONS)
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        if not layer.trainable:
            continue
        if i > 0:
            step_of_sample(job, layer, layer.input, factor, real)
        elif _skips(job):
            step_of_inputs(job, n_columns, factor, real)
        else:
            step_of_sample(job, layer, spread_inputs(job, n_columns, real), factor, real)
        if layer.has_biases:
            move(job, layer.b, job.workspace.ones, layer.delta, 1, layer.n_out, False, factor)
        if options.max_norm > 0:
            _limit_norms(layer, options.max_norm, real)
    options.steps += 1


@inlined_source
def _small_step(job, start, rows, rate, totals, real):
    """Make a step with a batch of one block by plain SGD, or of one sample by a rule; true if told to stop, or if the
    loss or parameters might not stay finite in a checked call."""
    n_columns = _block_deltas(job, start, rows, totals, real)
    if not job.step.rule:
        _scale_deltas(job, start, rows, rate, real)
    if _complete_block(job, start, rows, totals, real) or told_to_stop(job):
        return True
    if job.call.checked and not math.isfinite(totals.loss):
        return True
    if job.step.rule:
        _sample_step(job, start, n_columns, rate, real)
        return False
    return _plain_step(job, start, rows, n_columns, real)


@inlined_source
def _member_at(job, member):
    """The MEMBER record of one of the team."""
    return record_at(job.team.members + member * _MEMBER_BYTES, MEMBER)


@inlined_source
def _part_gradient(job, start, size, distance, mine, real):
    """Write the gradient of a part's samples to a distance behind the parameters, and add to the member's numbers; true
    when the team gives up, or the call is told to stop."""
    team, block = job.team, job.call.block
    sharers = team.size if team.together else 1
    for j in range(blocks(size, block)):
        first = start + j * block
        rows = min(block, start + size - first)
        n_columns = _block_deltas(job, first, rows, mine.totals, real)
        if j == 0 and n_columns < layer_at(job, 0).n_in:  # for what is not written below
            if not _skips(job):
                clear(layer_at(job, 0), distance, team.member % sharers, sharers, real)
            elif distance != job.workspace.gradient:  # that is clear
                clear_met(job, distance, 0, real)
        if _complete_block(job, first, rows, mine.totals, real) or told_to_stop(job):
            return True
        mine.weight += _weight(job, first, rows)
        for i in range(job.workspace.n_layers - 1, -1, -1):
            if layer_at(job, i).trainable:
                update(job, i, first, distance, layer_at(job, i).delta, rows, n_columns, j == 0, real)
        if wait_for_block(job):
            return True
    return False


@inlined_source
def _add_gradient(job, start, size, totals, real):
    """Add the gradients of ``size`` samples to the one gradient; true when the team gives up.

    Each member adds its share of all parts, in their order; the leader adds the totals, in the same order.
    """
    team, workspace, call = job.team, job.workspace, job.call
    mine = _member_at(job, team.member)
    if call.begins:
        mine.batch_weight = 0.0
    skips = _skips(job)
    if skips:
        _meet(job, start, size, real)
    for group in range(blocks(size, call.part * team.size)):
        if group > 0 and wait(job):  # others may still read my part
            return True
        first = 0 if team.together else (group * team.size + team.member) * call.part
        mine.totals.loss = 0.0
        mine.totals.right = 0.0
        mine.totals.slopes = 0.0
        mine.weight = 0.0
        if first < size:
            begins = first == 0 and call.begins  # the first part needs no adding
            place = workspace.gradient if begins else team.part_gradient
            if _part_gradient(job, start + first, min(call.part, size - first), place, mine, real):
                return True
        if wait(job):
            return True
        for member in range(min(team.size, blocks(size, call.part) - group * team.size)):
            their_job = record_at(peek(team.jobs + 8 * member, np.int64), JOB)
            theirs = _member_at(job, member)
            mine.batch_weight += theirs.weight
            if team.member == 0:
                totals.loss += theirs.totals.loss
                totals.right += theirs.totals.right
                totals.slopes += theirs.totals.slopes
            if not (call.begins and group == 0 and member == 0):
                other = their_job.team.part_gradient
                if skips:
                    add_met(job, workspace.gradient, other, team.member, team.size, real)
                for i in range(workspace.n_layers):
                    if i > 0 or not skips:
                        add(layer_at(job, i), workspace.gradient, other, team.member, team.size, real)
                    add_biases(layer_at(job, i), workspace.gradient, other, team.member, real)
    return False


@kernel_function
def _squared_norm(job, real):
    """The squared norm of the whole gradient, of all layers that are trainable."""
    total, gradient, skips = 0.0, job.workspace.gradient, _skips(job)
    if skips and layer_at(job, 0).trainable:
        for k in range(job.workspace.n_met):
            total += squares(met_row(job, k) + gradient, layer_at(job, 0).w_row // size_of(real), real)
    for i in range(job.workspace.n_layers):
        layer = layer_at(job, i)
        if not layer.trainable:
            continue
        if i > 0 or not skips:
            total += squares(layer.w + gradient, layer.w_rows * layer.w_row // size_of(real), real)
        if layer.has_biases:
            total += squares(layer.b + gradient, layer.n_out, real)
    return total


@kernel_function
def _limit_norms(layer, limit, real):
    """Shorten each unit's incoming weights to a norm of at most the limit."""
    n_rows, n_columns = layer.w_rows, layer.w_row // size_of(real)
    w = array_at(layer.w, (n_rows, n_columns), real)
    if not layer.by_inputs:
        for r in range(n_rows):
            norm = square_root(squares(layer.w + r * layer.w_row, n_columns, real))
            factor = real(min(1.0, limit / max(norm, limit)))
            for k in range(n_columns):
                w[r, k] *= factor
        return
    factors = array_at(layer.scaled, n_columns, real)
    for k in range(n_columns):
        factors[k] = 0
    for r in range(n_rows):
        for k in range(n_columns):
            factors[k] += w[r, k] * w[r, k]
    for k in range(n_columns):
        factors[k] = min(1.0, limit / max(square_root(factors[k]), limit))
    for r in range(n_rows):
        for k in range(n_columns):
            w[r, k] *= factors[k]


@inlined_source
def _step(job, real):
    """Make the optimiser's step, which the leader prepared, against the gradient of the batch's mean loss; true when
    the team gives up."""
    team, n_layers = job.team, job.workspace.n_layers
    options = record_at(job.step.options, OPTIONS)
    factor = 1 / _member_at(job, team.member).batch_weight
    if options.clip_norm > 0:
        if wait(job):
            return True
        norm = factor * square_root(_squared_norm(job, real))
        factor *= min(1.0, options.clip_norm / max(norm, options.clip_norm))
    skips = _skips(job)
    for i in range(n_layers):
        layer = layer_at(job, i)
        if not layer.trainable:
            continue
        if i == 0 and skips:
            step_of_met(job, team.member, team.size, factor, real)
        else:
            step(job, layer, team.member, team.size, factor, real)
        step_of_biases(job, layer, team.member, factor)
    if wait(job):
        return True
    if team.member == 0:  # the others look at these only after the next barrier
        options.steps += 1
    if options.max_norm > 0:
        for i in range(n_layers):
            if i % team.size == team.member and layer_at(job, i).trainable:
                _limit_norms(layer_at(job, i), options.max_norm, real)
        return wait(job)
    return False


@inlined_source
def _write_back(job, params, rate, real):
    """Write the parameters back, or the gradient times ``rate`` once it is complete: 0 for layers that are frozen."""
    if not job.call.gradient:
        unpack_all(job, params, real)
    elif job.call.ends:
        for i in range(job.workspace.n_layers):
            layer = layer_at(job, i)
            if not layer.trainable:
                clear(layer, job.workspace.gradient, 0, 1, real)
                clear_biases(layer, job.workspace.gradient, real)
            scale_gradient(layer, job.workspace.gradient, rate, real)
        unpack(job, job.call.gradient, job.workspace.gradient, real)


@inlined_source
def _end_early(job, params, real):
    """Write the steps that were made back, where the call runs alone; return the result of a call that ends early."""
    if job.team.size == 1 and not job.call.gradient:
        unpack_all(job, params, real)
    return 1.0


@inlined_source
def _all_batches(job, params, numbers, real):
    """Do and return what `_batches` says."""
    call, rate, leads = job.call, real(numbers.rate), job.team.member == 0
    is_small = not call.gradient and not job.step.rule
    if job.step.rule and call.batch == 1 and not job.data.tangents:
        is_small = record_at(job.step.options, OPTIONS).clip_norm == 0
    if leads:
        pack_all(job, params, real)
    if wait(job):
        return 1.0
    for j in range(blocks(call.count, call.batch)):
        start = j * call.batch
        size = min(call.batch, call.count - start)
        if is_small:
            if _small_step(job, start, size, rate, numbers.totals, real):
                return _end_early(job, params, real)
            continue
        if leads and not call.gradient:
            prepare_step(job, rate)
        if _add_gradient(job, start, size, numbers.totals, real):
            return _end_early(job, params, real)
        if call.checked and not (call.gradient or math.isfinite(numbers.totals.loss)):
            return _end_early(job, params, real)
        if call.ends and not call.gradient and _step(job, real):
            return 1.0
    if (call.gradient or not call.ends) and wait(job):
        return 1.0
    if leads:
        _write_back(job, params, rate, real)
        if call.checked and job.step.rule:
            vectors = (job.workspace.n_params * size_of(real) + VECTOR_BYTES - 1) // VECTOR_BYTES
            if not are_finite(real, vectors, params):
                numbers.totals.loss = math.nan
    return 0.0


def _batches(real):
    """Make a step for each batch of the call's samples, or write the gradient of all of them.

    A batch may be spread over several calls, of whole blocks: the first of them begins it, the last ends it. Where the
    call wants a gradient no step is made, and ``call.gradient``, (n_params,), gets ``numbers.rate`` times the sum of
    the samples' gradients. Returns 1 where the team gave up, or the call was told to stop: then the last step is a
    whole one. A checked call makes no step where a sample or the loss is not finite, nor one of plain SGD that might
    make a parameter infinite: the result is 1. After another step that did so, the total of losses is NaN.
    """

    def batches(params, job, numbers):
        job, floats = record_at(job, JOB), flush_subnormals()
        result = _all_batches(job, params, record_at(numbers, NUMBERS), real)
        restore_subnormals(floats)
        return result

    return batches
