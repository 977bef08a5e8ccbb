"""The short way of a single sample: the numbers of the long one, from any number of threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastmlp


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_sample_takes_a_short_way_to_the_same_numbers(dtype):
    model = fastmlp.MLP([{"n": 3, "act": None, "scale": 0.5}, {"n": 16, "act": "tanh"}, {"n": 2}], seed=0, dtype=dtype)
    x = np.random.default_rng(0).normal(size=(50, 3))
    many = model.predict(x)
    rounding = 1e-6 if dtype == "float32" else 1e-14
    for kind in ("float64", "float32", "int16", "uint8", "bool"):
        rows = (x * 10).astype(kind)
        np.testing.assert_allclose(
            [model.predict(row[None])[0] for row in rows], model.predict(rows), rtol=rounding, atol=rounding
        )
    first, second = model.predict(x[:1]), model.predict(x[1:2])
    np.testing.assert_allclose([first[0], second[0]], many[:2], rtol=rounding, atol=rounding)  # outputs of their own
    model.params *= 0
    assert not model.predict(x[:1]).any()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"x\[0, 1\] is (nan|inf)"):
            model.predict(np.array([[0.0, bad, 0.0]]))


def test_one_sample_from_many_threads():
    model = fastmlp.MLP([{"n": 8, "act": None}, {"n": 64, "act": "tanh"}, {"n": 3, "act": "softmax"}], seed=0)
    x = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
    alone = [model.predict(row[None]) for row in x]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: model.predict(x[i % 200, None]), range(4000)))
    for i, outputs in enumerate(together):
        np.testing.assert_array_equal(outputs, alone[i % 200])


def test_an_array_whose_dtype_changes_in_place_is_read_anew():
    model = fastmlp.MLP([{"n": 3, "act": None}, {"n": 2, "act": "linear"}], seed=0)
    x, y = np.array([[1, 2, 3], [4, 5, 6]], np.int32), np.zeros((2, 2), np.float32)
    model.gradient(x, y)
    x.dtype = np.uint32
    x -= 1
    x.dtype = np.float32
    with np.errstate(all="ignore"):
        x[:] = [[0.5, 1.5, 2.5], [3.5, 4.5, 5.5]]
    loss, gradient = model.gradient(x, y)
    expected_loss, expected = model.copy().gradient(x.copy(), y)
    assert loss == expected_loss
    np.testing.assert_array_equal(gradient, expected)
