"""The records: no gap that a copy of words would miss, no cache line that threads share, no name that means nothing."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from numba import njit
from numba.core.errors import TypingError

from fastmlp.kernels import layout
from fastmlp.kernels.decorators import record_at
from fastmlp.kernels.layout import JOB, LAYER, MEMBER, NUMBERS, OPTIONS, SHARED, aligned, padded, parameter_places

LINE = 64  # bytes of a cache line
RECORDS = {name: value for name, value in vars(layout).items() if isinstance(value, np.dtype)}
APART = {"SHARED", "MEMBER"}  # those that threads write to at the same time


def numbers_of(record: np.dtype, start: int = 0):
    """(offset, dtype) of every number in a record, in the order of its fields."""
    for name in record.names:
        kind, offset = record.fields[name][:2]
        if kind.names:
            yield from numbers_of(kind, start + offset)
        else:
            yield start + offset, kind


@pytest.mark.parametrize("name", RECORDS)
def test_fields_are_words_that_follow_each_other(name):
    record = RECORDS[name]
    offsets, kinds = zip(*numbers_of(record), strict=True)
    assert set(kinds) <= {np.dtype(np.int64), np.dtype(np.uint64), np.dtype(np.float64)}
    assert offsets == tuple(8 * i for i in range(len(offsets)))
    if name not in APART:
        assert record.itemsize == 8 * len(offsets)


def test_a_job_is_integers_alone():
    """Its memory as int64 is then all that there is to copy."""
    assert {kind for _, kind in numbers_of(JOB)} == {np.dtype(np.int64)}
    words = np.arange(JOB.itemsize // 8)
    job = words.view(JOB)[0]
    values = [job[record][field] for record in JOB.names for field in JOB[record].names]
    assert values == words.tolist()


@pytest.mark.parametrize("name", sorted(APART))
def test_records_of_two_threads_lie_two_cache_lines_apart(name):
    records = aligned(4, RECORDS[name])
    assert records.ctypes.data % LINE == 0 and records.strides == (2 * LINE,)
    used = max(offset for offset, _ in numbers_of(records.dtype)) + 8
    assert used <= LINE


# What reads a record, and a number that stands there. Each lambda is compiled as a kernel's code is.
READS = {
    "job": (JOB, lambda p: record_at(p, JOB).call.count, lambda record: record["call"]["count"]),
    "layer": (LAYER, lambda p: record_at(p, LAYER).slope, lambda record: record["slope"]),
    "numbers": (NUMBERS, lambda p: record_at(p, NUMBERS).totals.right, lambda record: record["totals"]["right"]),
    "options": (OPTIONS, lambda p: record_at(p, OPTIONS).max_norm, lambda record: record["max_norm"]),
    "shared": (SHARED, lambda p: record_at(p, SHARED).give_up, lambda record: record["give_up"]),
    "member": (MEMBER, lambda p: record_at(p, MEMBER).totals.right, lambda record: record["totals"]["right"]),
}


@pytest.mark.parametrize("name", READS)
def test_kernels_and_python_see_one_memory(name):
    kind, read, expected = READS[name]
    record = np.zeros(1, kind)
    record.view(np.int64)[:] = np.arange(kind.itemsize // 8) + (2 if name in ("job", "shared") else 1 << 62)
    assert njit(read)(record.ctypes.data) == expected(record[0]) != 0


def _write(job, numbers):
    job, numbers = record_at(job, JOB), record_at(numbers, NUMBERS)
    job.step.key = 7
    numbers.totals.loss += 0.5


def test_what_a_kernel_writes_python_reads():
    job, numbers = np.zeros((), JOB), np.array((1.0, (2.0, 3.0, 4.0)), NUMBERS)
    expected_job, expected_numbers = job.copy(), np.array((1.0, (2.5, 3.0, 4.0)), NUMBERS)
    expected_job["step"]["key"] = 7
    njit(_write)(job.ctypes.data, numbers.ctypes.data)
    assert job == expected_job and numbers == expected_numbers


def _write_wrong_field(p):
    record_at(p, JOB).call.counts = 1


WRONG = {
    "no record of a job": ("layers", lambda p: record_at(p, JOB).layers),
    "misspelt in a job": ("counts", lambda p: record_at(p, JOB).call.counts),
    "another record's": ("count", lambda p: record_at(p, JOB).data.count),
    "a layer's in a job": ("n_alive", lambda p: record_at(p, JOB).workspace.n_alive),
    "misspelt in a layer": ("n_inputs", lambda p: record_at(p, LAYER).n_inputs),
    "a job's in a layer": ("gradient", lambda p: record_at(p, LAYER).gradient),
    "misspelt in numbers": ("rates", lambda p: record_at(p, NUMBERS).rates),
    "a total's in numbers": ("loss", lambda p: record_at(p, NUMBERS).loss),
    "written": ("counts", _write_wrong_field),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_field_that_is_not_there_does_not_compile(kind):
    field, function = WRONG[kind]
    with pytest.raises((KeyError, TypingError), match=f"'{field}'"):  # which of the two depends on Numba's version
        njit(function).compile("(int64,)")


@pytest.mark.parametrize("itemsize", [4, 8])
def test_padded_is_the_next_whole_line(itemsize):
    for n in range(1, 70):
        size = padded(n, itemsize)
        assert size * itemsize % LINE == 0 and size - LINE // itemsize < n <= size


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.int64, SHARED, MEMBER], ids=lambda dtype: np.dtype(dtype).name
)
def test_aligned_memory_has_a_line_of_zeros_behind_it(dtype):
    for size in (1, 5, 100):
        vector = aligned(size, np.dtype(dtype))
        assert vector.shape == (size,) and vector.ctypes.data % LINE == 0
        raw = vector.base
        end = vector.ctypes.data + vector.nbytes
        assert raw.ctypes.data <= vector.ctypes.data and end + LINE <= raw.ctypes.data + raw.nbytes
        assert not any((ctypes.c_uint8 * (vector.nbytes + LINE)).from_address(vector.ctypes.data))


def test_parameters_follow_each_other_layer_by_layer():
    places, size = parameter_places([3, 16, 2, 4], [True, False, True])
    assert [(place.w, place.b) for place in places] == [(0, 48), (64, 96), (96, 104)] and size == 108
    assert [place.shape for place in places] == [(3, 16), (2, 16), (4, 2)]
    assert [place.by_inputs for place in places] == [True, False, False]
    wide, _ = parameter_places([3, 5, 32, 16, 8], [True] * 4)
    assert [place.shape for place in wide] == [(3, 5), (5, 32), (32, 16), (8, 16)]
