"""The checked build ends the process at the first access outside, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="no mprotect here")

PROBE = """
import sys
import numpy as np
from fastmlp.kernels import compiler, store
from fastmlp.kernels.decorators import array_at, kernel_function, peek
from fastmlp.kernels.layout import aligned
from fastmlp.kernels.vectors import add_vectors

@kernel_function
def number(x, n, i):
    return array_at(x, n, np.float64)[i]

def by_index(x, n, i):
    return number(x, n, i) + 1

def by_vector(x, n, i):
    add_vectors(np.float64, 1, x + 8 * i, x)
    return 0.0

def by_address(x, n, i):
    return peek(x + 8 * i, np.float64)

function = globals()[sys.argv[1]]
code = compiler._object_code("probe", compiler.c_function(function, "x n i", "float64", _nrt=False))
x, probe = aligned(512, np.dtype(np.float64)), store._prototype("x n i")(store._link("probe", code))
for number in sys.argv[2:]:
    probe(x.ctypes.data, 512, int(number))
    print(number, flush=True)
"""
LINE = 8  # numbers of a line; there is one behind the end


@pytest.mark.parametrize("place", ["ends", "begins"])
@pytest.mark.parametrize(
    ("function", "inside", "outside"),
    [
        ("by_index", {"ends": 511, "begins": 0}, {"ends": 512, "begins": 1 << 40}),
        ("by_vector", {"ends": 0, "begins": 0}, {"ends": 512 + LINE, "begins": -1}),
        ("by_address", {"ends": 511 + LINE, "begins": 0}, {"ends": 512 + LINE, "begins": -1}),
    ],
)
def test_accesses_outside_end_the_process(function, inside, outside, place):
    numbers = [str(inside[place]), str(outside[place])]
    environment = {**os.environ, "FASTMLP_CHECKED": place}
    command = [sys.executable, "-c", PROBE, function, *numbers]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == f"{numbers[0]}\n", done.stderr
    if function == "by_index":
        assert (done.returncode, done.stderr) == (-signal.SIGABRT, "fastmlp: an index is out of bounds in probe\n")
    else:
        assert done.returncode == -signal.SIGSEGV


def test_another_word_is_refused():
    environment = {**os.environ, "FASTMLP_CHECKED": "yes"}
    done = subprocess.run([sys.executable, "-c", "import fastmlp; fastmlp.MLP([{'n': 1}, {'n': 1}])"],
                          env=environment, capture_output=True, text=True)  # fmt: skip
    assert "FASTMLP_CHECKED must be ends or begins, got 'yes'" in done.stderr
