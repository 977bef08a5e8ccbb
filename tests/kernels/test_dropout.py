"""The dropout kernel against splitmix64, written here with Python's integers from the constants of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels import catalog

MASK = 2**64 - 1
GAMMA = 0x9E3779B97F4A7C15


def splitmix64(seed):
    """The generator of Steele, Lea and Flood (2014), figure 16 with the constants of its section 5: a Weyl sequence,
    each number mixed."""
    state = seed & MASK
    while True:
        state = (state + GAMMA) & MASK
        bits = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & MASK
        yield bits ^ (bits >> 31)


def naive_dropout(a, d, whole, rows, key, row, row_step, kept):
    """Number k of a row is kept, and divided by ``kept``, where draw k of the row's own generator is below ``kept``.

    That generator starts from what the key's generator draws for the row's number. Where ``whole`` is given, it gets a
    as it was and d only the factors.
    """
    if whole is not None:
        whole[:rows] = a[:rows]
        d[:rows] = 1
    for r in range(rows):
        seed = next(splitmix64(key + (row + r * row_step - 1) * GAMMA))
        for k, bits in zip(range(a.shape[1]), splitmix64(seed), strict=False):
            factor = a.dtype.type(1 / kept if (bits >> 11) * 2.0**-53 < kept else 0)
            a[r, k] *= factor
            d[r, k] *= factor


def dropout(a, d, whole, rows, key, row, row_step, kept):
    catalog.dropout(a.dtype.name)(
        a.ctypes.data, d.ctypes.data, 0 if whole is None else whole.ctypes.data, rows, a.strides[0] // a.itemsize, key,
        row, row_step, kept,
    )  # fmt: skip


def test_splitmix64_here_gives_the_numbers_of_other_implementations():
    draws = splitmix64(1234567)
    assert [next(draws) for _ in range(3)] == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("with_whole", [False, True])
@pytest.mark.parametrize("kept", [1.0, 0.7, 0.5, 0.1])
@pytest.mark.parametrize(("key", "row", "row_step"), [(0, 0, 1), (1, 5, 3), (2**63 - 1, 10**12, 7), (-1, 2, 2)])
def test_dropout(guarded, real, with_whole, kept, key, row, row_step):
    rng = np.random.default_rng(0)
    for rows, stride in ((1, 16), (3, 48), (7, 32)):
        a, d, whole = (guarded(rng.normal(size=(rows + 1, stride)).astype(real)) for _ in range(3))
        whole = whole if with_whole else None
        expected = [None if part is None else part.copy() for part in (a, d, whole)]
        naive_dropout(*expected, rows, key, row, row_step, kept)
        dropout(a, d, whole, rows, key, row, row_step, kept)
        for ours, theirs in zip((a, d, whole), expected, strict=True):
            if ours is not None:
                np.testing.assert_array_equal(ours, theirs)


def drawn(guarded, real, rows, stride, *numbers):
    """Whether each number is kept."""
    a, d = (guarded(np.ones((rows, stride), real)) for _ in range(2))
    dropout(a, d, None, rows, *numbers)
    np.testing.assert_array_equal(a, d)
    return a > 0


def test_draws_do_not_depend_on_how_rows_are_cut(guarded, real):
    together = drawn(guarded, real, 12, 32, 99, 4, 3, 0.6)
    for size in (1, 5):
        parts = [drawn(guarded, real, min(size, 12 - i), 32, 99, 4 + 3 * i, 3, 0.6) for i in range(0, 12, size)]
        np.testing.assert_array_equal(np.concatenate(parts), together)
    np.testing.assert_array_equal(drawn(guarded, real, 12, 48, 99, 4, 3, 0.6)[:, :32], together)


@pytest.mark.parametrize("kept", [0.9, 0.5, 0.2])
def test_the_share_that_is_kept(guarded, real, kept):
    """Within five standard deviations; and rows, columns and keys are not correlated."""
    rows, stride = 500, 64
    first, second = (drawn(guarded, real, rows, stride, key, 0, 1, kept) for key in (1, 2))
    deviation = np.sqrt(kept * (1 - kept) / first.size)
    assert abs(first.mean() - kept) < 5 * deviation
    other = [np.roll(first, 1, axis=0), np.roll(first, 1, axis=1), second]
    for shifted in other:
        assert abs(np.mean((first - kept) * (shifted - kept))) < 5 * kept * (1 - kept) / np.sqrt(first.size)
