"""The kernel that leaves the parameters alone: outputs and losses.

Every kernel that Python calls takes three addresses: of the flat parameters; of a JOB record; and of a NUMBERS record,
to whose totals the losses and right answers are added.
"""

from __future__ import annotations

import numpy as np

from .decorators import record_at, size_of
from .layout import JOB, NUMBERS
from .packing import layer_at, pack
from .passes import (
    activate_layers,
    blocks,
    copy_outputs,
    find_block,
    first_forward,
    let_go_of_rows,
    read_targets,
    score_rows,
    were_finite,
)
from .threads import told_to_stop


def build(name: str, dtype: str):
    """The Python function to compile for a kernel's name."""
    return {"forward": _forward}[name](np.dtype(dtype).type)


def _forward(real):
    """Write the samples' outputs, (count, n_out), where the call wants them; add to the totals where it is scored.

    Where the step has a dropout, hidden units are left out as in training. A checked call ends with the result 1 at the
    first block that has a sample that is not finite. A call that was told to stop returns 1 too.
    """

    def forward(params, job, numbers):
        job, numbers = record_at(job, JOB), record_at(numbers, NUMBERS)
        call, layer = job.call, layer_at(job, 0)
        w, w_row = layer.w, layer.w_row
        if job.data.x_by_row and not job.workspace.in_place:  # few rows are looked at, a copy of all would take longer
            w, w_row = params + layer.flat_w, layer.w_columns * size_of(real)
        pack(job, params, 0, w == layer.w, real)
        for i in range(blocks(call.count, call.block)):
            start = i * call.block
            rows = min(call.block, call.count - start)
            n_columns = find_block(job, start, rows, real)
            first_forward(job, start, 0, rows, n_columns, w, w_row, real)
            refused = call.checked and not were_finite(job, rows, real)
            let_go_of_rows(job)
            if refused or told_to_stop(job):
                return 1.0
            activate_layers(job, 0, rows, call.position + start, job.step.dropout != 0, True, real)
            if call.scored:
                read_targets(job, start, rows, real)
                score_rows(job, start, 0, rows, numbers.totals, real)
            if call.outputs:
                copy_outputs(job, rows, start, real)
        return 0.0

    return forward
