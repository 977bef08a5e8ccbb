"""Mini-batches: gradients, every optimiser's steps, and the threads that share them.

A batch is taken in parts of PART samples, a part in blocks. Each thread (a member of the team) makes the gradients of
parts of its own, in a workspace of its own; then all add them up, in the parts' order, each thread its share of every
layer. So the numbers do not depend on how many threads there are, and little moves between the cores.
"""

from __future__ import annotations

import math

from . import layout as at
from .decorators import array_at, call, inner, written_out
from .passes import (
    add,
    all_deltas,
    all_finite,
    arguments,
    blocks,
    clear,
    copy_outputs,
    first_forward,
    look_back,
    pack_all,
    read_inputs,
    read_targets,
    scale,
    scale_gradient,
    squares,
    step,
    unpack,
    unpack_all,
    update,
    update_first,
    weight_of,
)
from .simd import atomic_add, atomic_load

WEIGHT, BATCH_WEIGHT = 2, 3  # among a member's numbers


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name; the dtype is in its pointers."""
    return {"batches": _batches}[name]


@inner
def _wait(job):
    """Wait until the whole team is here; true when it should give up."""
    if job[at.TEAM] == 1:
        return False
    arrivals = job[at.SHARED] + 8 * at.ARRIVALS
    team = job[at.TEAM]
    all_here = (atomic_add(arrivals, 1) // team + 1) * team
    looks = 0
    while atomic_load(arrivals) < all_here:
        if atomic_load(job[at.SHARED] + 8 * at.GIVE_UP):
            return True
        looks += 1
        if looks > 2000 and job[at.RELAX]:
            call(job[at.RELAX], ())
    return False


@inner
def _chunk(job, table, slopes, start, rows, params, totals):
    """From samples of x to the deltas of all layers. When MODE has CHECKED, the total of losses becomes NaN where a
    sample is not finite: an activation may hide it."""
    walked = read_inputs(job, table, start, rows)
    if job[at.MODE] & at.CHECKED and not all_finite(table, rows, params):
        totals[0] = math.nan
    read_targets(job, table, start, rows, params)
    first_forward(job, table, rows, walked, params)
    look_back(job, table, slopes, start, 0, rows, params, totals)
    all_deltas(job, table, 0, rows, params)
    if job[at.OUTPUTS]:
        copy_outputs(job, table, rows, start, params)
    return walked


@inner
def _weight(job, start, rows, totals):
    if not job[at.WEIGHTS]:
        return float(rows)
    total = 0.0
    for r in range(rows):
        total += weight_of(job, start + r, totals)
    return total


@written_out
def _small_step(job, table, slopes, start, rows, lr, params, totals):
    """A step of plain SGD with a batch of one chunk, which needs no gradient of its own."""
    walked = _chunk(job, table, slopes, start, rows, params, totals)
    factor = params.dtype.type(-lr / _weight(job, start, rows, totals))
    for i in range(len(table)):
        scale(table[i], 0, rows, factor, params)
        if i > 0:
            update(job, table[i], 0, 0, rows, params)
    update_first(job, table[0], 0, rows, walked, params)


@written_out
def _numbers_of(job, member, totals):
    """Of a member's part: the two totals and the weight; and the weight of the batch so far."""
    return array_at(job[at.SHARED] + 8 * at.APART * (1 + member), 4, totals)


@written_out
def _part_gradient(job, table, slopes, start, size, distance, params, own):
    """The gradient of a part's samples goes to what stands at a distance behind the parameters."""
    one = params.dtype.type(1)
    for i in range(len(table)):
        clear(table[i], distance, 0, 1, params)
    for j in range(blocks(size, job[at.BLOCK])):
        first = start + j * job[at.BLOCK]
        rows = min(job[at.BLOCK], start + size - first)
        walked = _chunk(job, table, slopes, first, rows, params, own)
        own[WEIGHT] += _weight(job, first, rows, own)
        for i in range(len(table)):
            scale(table[i], 0, rows, one, params)
            if i > 0:
                update(job, table[i], distance, 0, rows, params)
        update_first(job, table[0], distance, rows, walked, params)


@written_out
def _add_gradient(job, table, slopes, start, size, begins, params, totals):
    """Add the gradients of ``size`` samples to the one gradient; true when the team gives up.

    Each member adds its share of all parts, in their order; the leader adds the totals, in the same order.
    """
    team = job[at.TEAM]
    jobs = array_at(job[at.JOBS], team, job)
    own = _numbers_of(job, job[at.MEMBER], totals)
    if begins:
        own[BATCH_WEIGHT] = 0
    for group in range(blocks(size, job[at.PART] * team)):
        if group > 0 and _wait(job):  # others may still read my part
            return True
        first = (group * team + job[at.MEMBER]) * job[at.PART]
        for k in range(BATCH_WEIGHT):
            own[k] = 0
        if first < size:
            place = job[at.GRAD] if first == 0 and begins else job[at.PART_GRAD]  # the first part needs no adding
            _part_gradient(job, table, slopes, start + first, min(job[at.PART], size - first), place, params, own)
        if _wait(job):
            return True
        for member in range(min(team, blocks(size, job[at.PART]) - group * team)):
            their = array_at(jobs[member], at.JOB, job)
            numbers = _numbers_of(job, member, totals)
            own[BATCH_WEIGHT] += numbers[WEIGHT]
            if job[at.MEMBER] == 0:
                totals[0] += numbers[0]
                totals[1] += numbers[1]
            if not (begins and group == 0 and member == 0):
                for i in range(len(table)):
                    add(table[i], job[at.GRAD], their[at.PART_GRAD], job[at.MEMBER], team, params)
    return False


@inner
def _squared_norm(job, table, params):
    """Of the whole gradient."""
    total = 0.0
    for i in range(len(table)):
        row = table[i]
        total += squares(row[at.W] + job[at.GRAD], row[at.W_ROWS] * row[at.W_ROW] // params.itemsize, params)
        if row[at.HAS_BIASES]:
            total += squares(row[at.B] + job[at.GRAD], row[at.N_OUT], params)
    return total


@inner
def _limit_norms(row, limit, params):
    """Shorten each unit's incoming weights to a norm of at most the limit."""
    n_rows = row[at.W_ROWS]
    w = array_at(row[at.W], (n_rows, row[at.W_ROW] // params.itemsize), params)
    if not row[at.BY_INPUTS]:
        for r in range(n_rows):
            norm = math.sqrt(squares(w[r].ctypes.data, len(w[r]), params))
            factor = params.dtype.type(min(1.0, limit / max(norm, limit)))
            for k in range(len(w[r])):
                w[r, k] *= factor
        return
    factors = array_at(row[at.SCALED], w.shape[1], params)
    for k in range(len(factors)):
        factors[k] = 0
    for r in range(n_rows):
        for k in range(len(factors)):
            factors[k] += w[r, k] * w[r, k]
    for k in range(len(factors)):
        factors[k] = min(1.0, limit / max(math.sqrt(factors[k]), limit))
    for r in range(n_rows):
        for k in range(len(factors)):
            w[r, k] *= factors[k]


@written_out
def _step(job, table, lr, params, totals):
    """The optimiser's step against the gradient of the batch's mean loss; true when the team gives up."""
    options = array_at(job[at.OPTIONS], at.N_OPTIONS, totals)
    factor = 1 / _numbers_of(job, job[at.MEMBER], totals)[BATCH_WEIGHT]
    if options[at.CLIP] > 0:
        if _wait(job):
            return True
        norm = factor * math.sqrt(_squared_norm(job, table, params))
        factor *= min(1.0, options[at.CLIP] / max(norm, options[at.CLIP]))
    for i in range(len(table)):
        step(job, table[i], job[at.MEMBER], job[at.TEAM], lr, factor, params)
    if _wait(job):
        return True
    if job[at.MEMBER] == 0:  # the others look at these only after the next barrier
        options[at.STEPS] += 1
    if options[at.MAX_NORM] > 0:
        for i in range(len(table)):
            if i % job[at.TEAM] == job[at.MEMBER]:
                _limit_norms(table[i], options[at.MAX_NORM], params)
        return _wait(job)
    return False


def _batches(params, job, numbers):
    """A step for each BATCH samples, or the gradient of all of them.

    numbers[0] is the learning rate. A batch may be spread over several calls, of whole chunks: MODE says whether this
    one BEGINS and ENDS it. Where GRADIENT is not null no step is made, and it gets numbers[0] · (the sum of the
    gradients). The result is 1 where the team gave up.
    """
    params, job, totals, table, slopes, lr = arguments(params, job, numbers)
    leads = job[at.MEMBER] == 0
    if leads:
        pack_all(job, table, params)
    if _wait(job):
        return 1.0
    for j in range(blocks(job[at.COUNT], job[at.BATCH])):
        start = j * job[at.BATCH]
        size = min(job[at.BATCH], job[at.COUNT] - start)
        if not (job[at.STEP] or job[at.GRADIENT]):
            _small_step(job, table, slopes, start, size, lr, params, totals)
            continue
        if _add_gradient(job, table, slopes, start, size, job[at.MODE] & at.BEGINS != 0, params, totals):
            return 1.0
        if job[at.MODE] & at.ENDS and not job[at.GRADIENT] and _step(job, table, lr, params, totals):
            return 1.0
    if (job[at.GRADIENT] or not job[at.MODE] & at.ENDS) and _wait(job):
        return 1.0
    if leads:
        if job[at.GRADIENT]:
            if job[at.MODE] & at.ENDS:
                for i in range(len(table)):
                    scale_gradient(table[i], job[at.GRAD], lr, params)
                unpack(table, array_at(job[at.GRADIENT], at.ANY, params), job[at.GRAD])
        else:
            unpack_all(job, table, params)
    return 0.0
