"""Inputs between pages that nobody may touch: `python tests/faults/guards.py` tries a sample of them, `--all` each.

Every array that a caller hands over (x, y, weights, the parts of a sparse matrix) lies in read-only memory that ends,
or begins, exactly at a page without any access, in every dtype and order of strides. Reading a byte too much, or
writing one, ends the process by a signal; the inputs are tried in a process of their own, and those behind one that
kills it in another. What is predicted must be what a plain copy of the array makes, bit for bit.
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import mmap
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse

import fastmlp

DTYPES = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
ORDERS = ["C", "F", "reversed", "backwards", "strided", "repeated", "packed", "one_column_apart"]
PLACES = "ends", "begins"
WIDTHS = range(1, 71)


class Case(NamedTuple):
    """One set of inputs: dense x of an order, or the dtype of a sparse x's indices."""

    n_in: int
    dtype: str
    order: str
    place: str


CASES = [
    *itertools.starmap(Case, itertools.product(WIDTHS, DTYPES, ORDERS, PLACES)),
    *itertools.starmap(Case, itertools.product(WIDTHS, ("float32", "float64"), ("csr int32", "csr int64"), PLACES)),
]


def _strides(order: str, shape: tuple[int, ...], item: int) -> tuple[int, ...]:
    if len(shape) == 1:
        return ({"strided": 3, "reversed": -1, "backwards": -1}.get(order, 1) * item,)
    rows, columns = shape
    return {
        "C": (columns * item, item),
        "F": (item, rows * item),
        "reversed": (-columns * item, item),
        "backwards": (-columns * item, -item),
        "strided": (2 * 3 * columns * item, 3 * item),
        "repeated": (0, item),
        "packed": (columns * item + 1, item),  # a field of records: not aligned
        "one_column_apart": (2 * columns * item, item),
    }[order]


class Fence:
    """Read-only arrays, each with a page without any access where it ends or begins. Keep it while they are used."""

    def __init__(self, place: str) -> None:
        self._place, self._pages = place, []
        self._protect = ctypes.CDLL(None, use_errno=True).mprotect
        self._protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

    def around(self, values: np.ndarray, order: str = "C") -> np.ndarray:
        """The values in that order; what lies in its gaps is NaN, or all ones."""
        item, strides = values.itemsize, _strides(order, values.shape, values.itemsize)
        ways = [(n - 1) * stride for n, stride in zip(values.shape, strides, strict=True)]
        first = -sum(min(0, way) for way in ways)
        size = first + sum(max(0, way) for way in ways) + item
        page = mmap.PAGESIZE
        room = -(-size // page) * page
        pages = mmap.mmap(-1, room + 2 * page, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        memory = np.frombuffer(pages, np.uint8)
        memory[:] = 0xFF
        start = page + (room - size if self._place == "ends" else 0)
        array = np.ndarray(values.shape, values.dtype, memory, start + first, strides)
        array[...] = values
        for offset, length, access in ((0, page, 0), (page, room, mmap.PROT_READ), (page + room, page, 0)):
            if self._protect(memory.ctypes.data + offset, length, access):
                raise OSError(ctypes.get_errno(), "mprotect")
        self._pages.append(pages)
        return array


def _spec(number: int, case: Case) -> list[dict]:
    """Outputs and losses of three kinds, hidden widths that are whole cache lines or not, inputs and targets scaled or
    not."""
    first = {"n": case.n_in, "act": None}
    if number % 3 == 1:
        first["scale"] = 0.5
        if not case.order.startswith("csr"):
            first["shift"] = 0.25
    hidden = {"n": (5, 16, 33)[number % 3], "act": ("tanh", "relu")[number % 2]}
    output = [
        {"n": 3, "act": "softmax"},
        {"n": 2, "act": "linear", "cost": "mse"} | ({"shift": [1.0, -2.0], "scale": [0.5, 4.0]} if number % 2 else {}),
        {"n": 1, "act": "sigmoid", "cost": "bce"},
    ][number // 2 % 3]
    return [first, hidden, output]


def _inputs(number: int, case: Case, fence: Fence) -> tuple:
    """x, a plain copy of it, y and weights."""
    rng = np.random.default_rng(number)
    n = 1 + number * 7 % 70
    n_out = (3, 2, 1)[number // 2 % 3]
    share = 0.04 if case.order.startswith("csr") and number % 2 else 0.6
    values = rng.integers(0, 2 if case.dtype == "bool" else 100, (n, case.n_in)) * (rng.random((n, case.n_in)) < share)
    values = (values / 100 if case.dtype.startswith("float") else values).astype(case.dtype)
    kind = DTYPES[number % len(DTYPES)]
    order = case.order if case.order in ORDERS else "C"
    if n_out == 3:
        y = fence.around(rng.integers(0, 3, n).astype("uint8" if kind == "bool" else kind), order)  # true is a label
    else:
        high = 2 if n_out == 1 or kind == "bool" else 9
        y = fence.around(rng.integers(0, high, (n, n_out)).astype(kind), order)
    weights = fence.around(rng.integers(1, 4, n).astype(("float64", "float32", "int32")[number % 3]), order)
    if case.order in ORDERS:
        if case.order == "repeated":
            values[:] = values[-1]
        return fence.around(values, case.order), values, y, weights
    x = scipy.sparse.csr_array(values)
    index = case.order.split()[1]
    x.data = fence.around(x.data)
    x.indices, x.indptr = fence.around(x.indices.astype(index)), fence.around(x.indptr.astype(index))
    return x, scipy.sparse.csr_array(values), y, weights


def attempt(number: int) -> None:
    """Everything that reads a caller's arrays, with one set of inputs."""
    case = CASES[number]
    fence = Fence(case.place)
    x, copy, y, weights = _inputs(number, case, fence)
    model = fastmlp.MLP(_spec(number, case), seed=number, dtype=("float32", "float64")[number // 3 % 2])
    outputs = model.predict(x)
    np.testing.assert_array_equal(outputs, model.predict(copy))
    np.testing.assert_allclose(model.predict(x[:1]), outputs[:1], rtol=1e-4, atol=1e-5)
    model.evaluate(x, y, ["r2"], sample_weight=weights)
    model.gradient(x, y)
    model.gradient(x[:3], y[:3])
    model.jacobian(x)
    model.jacobian(x[:2], wrt="inputs")
    model.forward(x)
    for batch_size in (1, 32):
        options = {"epochs": 2, "lr": 1e-6, "batch_size": batch_size, "progress": False, "sample_weight": weights}
        fastmlp.train(x, y, model, validation_data=(x, y, weights), **options)
        model.partial_fit(x, y, lr=1e-6, batch_size=batch_size)


def _attempt_all(numbers: Iterator[int]) -> None:
    for number in numbers:
        print(number, flush=True)
        attempt(number)


def run(numbers: range) -> list[tuple[Case, str]]:
    """Try these of the CASES; return those that ended their process, and how."""
    failed = []
    while numbers:
        command = [sys.executable, __file__, "--these", *map(str, (numbers.start, numbers.stop, numbers.step))]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            break
        if not done.stdout:
            raise RuntimeError(done.stderr)
        last = int(done.stdout.split()[-1])
        failed.append((CASES[last], f"exit code {done.returncode}: {done.stderr[-1500:]}"))
        numbers = range(last + numbers.step, numbers.stop, numbers.step)
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help=f"all {len(CASES):,} sets of inputs, not every 37th")
    parser.add_argument("--these", nargs=3, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.these:
        return _attempt_all(range(*arguments.these))
    begin, numbers = time.monotonic(), range(0, len(CASES), 1 if arguments.all else 37)
    failed = run(numbers)
    for case, how in failed:
        print(case, how)
    seconds = time.monotonic() - begin
    print(f"{len(numbers):,} sets of inputs between guard pages, {len(failed)} failed, {seconds:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
