"""How much memory does a training or a prediction take beside its data? The most at any time, in fresh processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ..measuring import Found, series, skipping
from ..networks import short

SCRIPT = r"""
import re
import numpy as np
def most():  # of this program alone: getrusage counts what started it, too
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read())[1]) * 1024 / 1e6
def network(*widths):
    hidden = [{{"n": n, "act": "relu"}} for n in widths[1:-1]]
    return [{{"n": widths[0], "act": None}}, *hidden, {{"n": widths[-1], "act": "softmax"}}]
rng = np.random.default_rng(0)
x, y = rng.random(({rows}, {columns}), dtype=np.float32), rng.integers(0, 2, {rows})
before = most()
import fastmlp
{work}
print(most() - before)
"""
TRAIN = "fastmlp.train(x, y, network({}), epochs=1, batch_size={}, lr=1e-3, seed=0, progress=False)"
ROWS = {
    "import fastmlp": (1, 1, ""),
    "training 784-128-10 on 10,000 samples, batch 1": (10_000, 784, TRAIN.format("784, 128, 10", 1)),
    "training 784-128-10 on 10,000 samples, batch 256": (10_000, 784, TRAIN.format("784, 128, 10", 256)),
    "training 784-512-512-10 on 1,000 samples, batch 32": (
        1000,
        784,
        TRAIN.format("784, 512, 512, 10", 32),
    ),
    "predicting 100,000 rows of 8-64-64-2": (100_000, 8, "fastmlp.MLP(network(8, 64, 64, 2), seed=0).predict(x)"),
}


def megabytes(rows: int, columns: int, work: str) -> float:
    """The least of some processes, the first of which may have to compile; skipped where there is no /proc."""
    if not Path("/proc/self/status").exists():
        raise NotImplementedError("no /proc")
    command = [sys.executable, "-c", SCRIPT.format(rows=rows, columns=columns, work=work)]
    return short(min(float(subprocess.check_output(command)) for _ in range(4)))


class Memory:
    """Resident memory beyond that of NumPy and the data; 10^6 bytes."""

    def setup_cache(self) -> Found:
        return {row: skipping(lambda w=what: {"megabytes": megabytes(*w)}) for row, what in ROWS.items()}

    setup_cache.timeout = 600
    track_megabytes = series("megabytes", list(ROWS), "Memory beside the data, MB", "MB")
