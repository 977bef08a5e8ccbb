"""Streams, orders and draws of the kernels are NumPy's own, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastmlp.engine import random
from fastmlp.kernels.layout import DRAW

SEEDS = [*range(2000), 2**31, 2**32 - 1, 2**32, 2**64 - 1, 2**64, 2**96 + 5, 2**128 - 1, 2**128, 2**1000 + 3]


def streams_of(seeds, second):
    """The state and the increment of each stream."""
    return [
        (int(low) | int(high) << 64, int(increment_low) | int(increment_high) << 64)
        for low, high, increment_low, increment_high, half, has_half in random._streams(seeds, second).tolist()
    ]


def numpys(seeds, second):
    states = [np.random.default_rng([seed, 1] if second else seed).bit_generator.state["state"] for seed in seeds]
    return [(state["state"], state["inc"]) for state in states]


@pytest.mark.parametrize("second", [False, True])
def test_streams(second):
    assert streams_of(SEEDS, second) == numpys(SEEDS, second)


@given(st.lists(st.integers(0, 2**300), min_size=1, max_size=20), st.booleans())
@settings(max_examples=50, deadline=None)
def test_streams_of_seeds_of_any_length(seeds, second):
    assert streams_of(seeds, second) == numpys(seeds, second)


def orders_of(streams, rows, row_stride, epochs):
    """Drawn with room between one stream's and the next's, which nobody writes to."""
    n = rows.shape[-1]
    room = np.full((len(streams), epochs * n + 3), -1)
    orders = room[:, : epochs * n].reshape(len(streams), epochs, n)
    random._draw_orders(streams, rows, row_stride, orders)
    assert (room[:, epochs * n :] == -1).all()
    return orders


@pytest.mark.parametrize("n", [1, 2, 3, 4, 63, 64, 65, 1000])
def test_orders(n):
    rows, seeds = np.arange(n) * 7 + 3, SEEDS[-300:]
    orders = orders_of(random._streams(seeds), rows, 0, 5)
    for seed, ours in zip(seeds, orders, strict=True):
        rng = np.random.default_rng(seed)
        np.testing.assert_array_equal(ours, [rng.permutation(rows) for _ in range(5)])


def test_orders_of_own_rows_go_on_where_they_were():
    rows = np.random.default_rng(0).integers(0, 1000, (3, 11))
    streams = random._streams([4, 5, 6])
    parts = [orders_of(streams, rows, 11, epochs) for epochs in (1, 2, 4)]
    for i, seed in enumerate((4, 5, 6)):
        rng = np.random.default_rng(seed)
        expected = [rng.permutation(rows[i]) for _ in range(7)]
        np.testing.assert_array_equal(np.concatenate([part[i] for part in parts]), expected)


def drawn(seeds, normal, low, high, shape, dtype, fused=False):
    records = np.array([(*shape, 0, 8 * shape[1], 8, normal, low, high - low)], DRAW)
    records["row"], records["column"] = shape[1] * np.dtype(dtype).itemsize, np.dtype(dtype).itemsize
    numbers = np.zeros((len(seeds), *shape), dtype)
    return numbers, random._draws(random._streams(seeds, second=True), records, numbers, fused)


def test_normal_numbers_are_numpys_or_said_to_be_uncertain():
    """Half a million of them: 0.03 % stand in the tail, whose numbers come from the C library's logarithm."""
    numbers, certain = drawn(SEEDS[:2000], True, 0.0, 0.3, (5, 50), "float64")
    expected = np.array([np.random.default_rng([seed, 1]).normal(0.0, 0.3, (5, 50)) for seed in range(2000)])
    np.testing.assert_array_equal(numbers[certain], expected[certain])
    assert 0.9 < certain.mean() < 0.96  # exp(-250 · 0.00026) = 0.937
    tail = 3.654152885361009 * 0.3
    assert np.abs(expected[certain]).max() < tail < np.abs(expected).max()
    assert np.any(np.abs(expected[certain]) > 0.9 * tail)


def test_every_step_of_the_ziggurat():
    """Numbers on both sides of every step's edge, by streams that are put there."""
    inner = random._ziggurat().arrays[1]
    rng = np.random.default_rng(0)
    bits = [
        step | sign << 8 | min(max(int(edge) + away, 0), 2**52 - 1) << 9
        for step, edge in enumerate(inner)
        for sign in (0, 1)
        for away in (-(2**50), -(2**40), -2000, -500, 0, 500, 2000, 2**40)
        for _ in range(2)
    ]
    increments = [int(i) << 64 | int(j) | 1 for i, j in rng.integers(0, 2**63, (len(bits), 2))]
    states = [(b - i) * random._INVERSE % 2**128 for b, i in zip(bits, increments, strict=True)]
    streams = random._streams([0] * len(bits))
    theirs = []
    for k, (state, increment) in enumerate(zip(states, increments, strict=True)):
        streams[k] = (state % 2**64, state >> 64, increment % 2**64, increment >> 64, 0, 0)
        generator = np.random.PCG64(0)
        generator.state = generator.state | {"state": {"state": state, "inc": increment}}
        theirs.append(np.random.Generator(generator).standard_normal(3))
    numbers = np.zeros((len(bits), 3))
    records = np.array([(1, 3, 0, 0, 8, True, 0.0, 1.0)], DRAW)
    certain = random._draws(streams, records, numbers, False)
    np.testing.assert_array_equal(numbers[certain], np.array(theirs)[certain])
    assert certain.mean() > 0.6


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_even_numbers(dtype):
    for low, high in ((-1.0, 1.0), (0.0, 0.001), (-0.3, 0.41)):
        numbers, certain = drawn(SEEDS, False, low, high, (7, 9), dtype, bool(random._agreement().fused))
        expected = [np.random.default_rng([seed, 1]).uniform(low, high, (7, 9)).astype(dtype) for seed in SEEDS]
        assert certain.all()
        np.testing.assert_array_equal(numbers, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fused_number_is_rounded_once_or_as_the_other(dtype):
    fused, _ = drawn(SEEDS, False, -0.3, 0.41, (7, 9), dtype, fused=True)
    apart, _ = drawn(SEEDS, False, -0.3, 0.41, (7, 9), dtype, fused=False)
    np.testing.assert_allclose(fused, apart, rtol=0, atol=2 * np.finfo(dtype).eps)
