"""Checks of single arguments: what passes comes back as the type that it means, the rest is refused by name."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from fastmlp.base.checks import check_choice, check_count, check_dtype, check_flag, check_number, check_seed


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int8(2), np.array(2.0), Fraction(2)])
def test_numbers_become_floats(value):
    number = check_number(value, "lr", 0.0)
    assert type(number) is float and number == 2.0


@pytest.mark.parametrize(
    ("value", "options", "error", "message"),
    [
        (-1e-9, {}, ValueError, "lr must be a finite number at least 0, got -1e-09"),
        (0, {"open_low": True}, ValueError, "lr must be a finite number above 0, got 0"),
        (1.0, {"high": 1.0}, ValueError, "lr must be a finite number at least 0 and below 1, got 1.0"),
        (math.nan, {}, ValueError, "lr must be a finite number at least 0, got nan"),
        (math.inf, {}, ValueError, "lr must be a finite number at least 0, got inf"),
        ("1", {}, TypeError, "lr must be a number, got '1'"),
        (True, {}, TypeError, "lr must be a number, got True"),
        ([1.0], {}, TypeError, "lr must be a number, got [1.0]"),
        (None, {}, TypeError, "lr must be a number, got NoneType"),
        (1j, {}, TypeError, "lr must be a number, got complex"),
    ],
)
def test_numbers_that_are_refused(value, options, error, message):
    with pytest.raises(error) as caught:
        check_number(value, "lr", 0.0, **options)
    assert str(caught.value) == message


def test_bounds_of_numbers():
    assert check_number(0, "momentum", 0.0, 1.0) == 0.0
    assert check_number(math.nextafter(1.0, 0.0), "momentum", 0.0, 1.0) < 1.0
    assert check_number(math.ulp(0.0), "lr", 0.0, open_low=True) > 0.0


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_counts_become_ints(value):
    count = check_count(value, "epochs")
    assert type(count) is int and count == 3


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "epochs must be at least 1, got 0"),
        (3.0, TypeError, "epochs must be an integer, got 3.0"),
        (True, TypeError, "epochs must be an integer, got True"),
        ("3", TypeError, "epochs must be an integer, got '3'"),
    ],
)
def test_counts_that_are_refused(value, error, message):
    with pytest.raises(error) as caught:
        check_count(value, "epochs")
    assert str(caught.value) == message


@pytest.mark.parametrize("value", ["float64", float, np.float64, np.dtype("f8"), "d"])
def test_a_dtype_by_any_name(value):
    assert check_dtype(value) == np.dtype("float64")


@pytest.mark.parametrize("value", [None, "float16", int, "single precision", 32])
def test_dtypes_that_are_refused(value):
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'float64', got "):
        check_dtype(value)


def test_flags():
    assert check_flag(np.True_, "shuffle") is True and check_flag(False, "shuffle") is False
    for value in (0, 1, "yes", None):
        with pytest.raises(TypeError, match=f"shuffle must be True or False, got {value!r}"):
            check_flag(value, "shuffle")


def test_seeds():
    assert check_seed(None) is None and check_seed(0) == 0
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        check_seed(-1)


def test_choices():
    assert check_choice("params", "wrt", ("params", "inputs")) == "params"
    with pytest.raises(ValueError, match=r"wrt: unknown 'input'; did you mean 'inputs'\?"):
        check_choice("input", "wrt", iter(("params", "inputs")))
    with pytest.raises(TypeError, match="wrt must be one of params, inputs, got int"):
        check_choice(1, "wrt", iter(("params", "inputs")))
