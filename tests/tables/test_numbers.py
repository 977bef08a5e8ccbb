"""Numbers as people write them: each text is the number that a reader would say it is, or none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.tables.numbers import NumberTexts, written
from fastmlp.tables.values import Values, settle_decimals

TEXT = np.dtypes.StringDType()


def column(texts, **options):
    values = Values("x", np.array(texts, TEXT))
    settle_decimals({"x": values}, **options)
    return values


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("12", 12, 12),
        ("-1.5", -1.5, None),
        ("1,234", 1234, 1.234),
        ("0,123", None, 0.123),
        (",5", None, 0.5),
        ("1.234,50", None, 1234.5),
        ("1,234.50", 1234.5, None),
        ("1.234.567", None, 1234567),
        ("12,34,567", 1234567, None),
        ("1 234,5", None, 1234.5),
        ("1\u202f234.5", 1234.5, None),
        ("1'234.50", 1234.5, None),
        ("1 234 567", 1234567, 1234567),
        ("1e5", 1e5, 1e5),
        ("1,5E+03", None, 1500),
        ("+3", 3, 3),
        ("−3", -3, -3),
        ("3-", -3, -3),
        ("(1,250.00)", -1250, None),
        ("$3,100.00", 3100, None),
        ("-$5.25", -5.25, None),
        ("$-5.25", -5.25, None),
        ("USD 5", 5, 5),
        ("5 €", 5, 5),
        ("R$ 1.234,00", None, 1234),
        ("5.5 %", 5.5, None),
        ("12kg", 12, 12),
        ("3.5 µg/l", 3.5, None),
        ("€110.5M", 110.5e6, None),
        ("€500K", 5e5, 5e5),
        (".5", 0.5, None),
        ("5.", 5, None),
        ("1,23,4", None, None),
        ("1.2.3", None, None),
        ("2020-01-02", None, None),
        ("10:30", None, None),
        ("Q1", None, None),
        ("C12", None, None),
        ("<0.5", None, None),
        ("12 34", None, None),
        ("(5", None, None),
        ("-", None, None),
        ("--5", None, None),
        ("", None, None),
        ("3/4", None, None),
        ("1" * 400, None, None),
    ],
)
def test_what_a_text_is_with_either_decimal_mark(text, point, comma):
    found = written(text)
    values = [found.value(mark) if found and found.fits(mark) else None for mark in ".,"]
    assert values == [point, comma]


@given(st.floats(-1e9, 1e9), st.integers(0, 4), st.sampled_from([(",", "."), (".", ","), (" ", ","), ("’", ".")]))
def test_numbers_in_every_country_s_way_are_read_back(number, digits, marks):
    thousands, decimal = marks
    text = f"{number:,.{digits}f}"
    english = float(text.replace(",", ""))
    text = text.replace(",", "t").replace(".", decimal).replace("t", thousands)
    found = written(text)
    assert found.fits(decimal) and found.value(decimal) == pytest.approx(english, abs=0)


def test_one_unit_or_none_makes_a_column_of_numbers():
    assert NumberTexts.of(["12 kg", "13kg", "14"]).all_numbers
    assert NumberTexts.of(["12 kg", "13 lb"]).units == ["kg", "lb"]
    assert not NumberTexts.of(["12 kg", "13 lb"]).all_numbers
    assert not NumberTexts.of(["12%", "0.5"]).all_numbers  # which of them is a share?
    assert NumberTexts.of(["1.5M", "800K", "20"]).values(".") == [1.5e6, 8e5, 20]
    assert NumberTexts.of(["5M", "7M"]).unit == "M"  # metres, millions: they all have it
    for units in (["3rd", "4th"], ["3", "B4"], ["1st", "2"]):
        assert not NumberTexts.of(units).all_numbers or units == ["1st", "2"]


@pytest.mark.parametrize(
    ("texts", "options", "numbers"),
    [
        (["1,234", "12"], {"default": "."}, [1234, 12]),  # of a file with commas between columns
        (["1,234", "0,5"], {"default": "."}, [1.234, 0.5]),  # one value decides
        (["1.234", "1.234,5"], {}, [1234, 1234.5]),
        (["1,234", "2,345"], {}, None),  # nothing does
        (["1,234", "2,345"], {"decimal": ","}, [1.234, 2.345]),
        (["1,234", "2,345"], {"decimal": "."}, [1234, 2345]),
        (["1,234 €", "2,345 €"], {}, [1.234, 2.345]),
        (["1,234 €", "2,345 €"], {"default": ".", "euro": False}, [1234, 2345]),
        (["1.5", "1,5"], {"default": "."}, None),
        (["1.5", "2"], {"decimal": ","}, None),
        (["7", "8"], {}, [7, 8]),
        (["true", "False", ""], {}, [1, 0, np.nan]),
    ],
)
def test_what_decides_on_the_decimal_mark(texts, options, numbers):
    values = column(texts, **options)
    if numbers is None:
        assert values.numbers is None
    else:
        np.testing.assert_array_equal(values.numbers, numbers)


def test_other_columns_decide_where_they_agree():
    def columns(*others):
        table = {"a": Values("a", np.array(["1,234", "5,678"], TEXT))}
        table |= {str(i): Values(str(i), np.array([other, "1"], TEXT)) for i, other in enumerate(others)}
        settle_decimals(table)
        return table["a"].numbers

    assert columns("0,5").tolist() == [1.234, 5.678]
    assert columns("0.5").tolist() == [1234, 5678]
    assert columns("0.5", "0,5") is None
    assert columns("7") is None


@pytest.mark.parametrize(
    ("texts", "why"),
    [
        (["1.5", "1,5"], "it has both decimal marks: '1.5' in row 1 and '1,5' in row 2"),
        (["1,234"], "'1,234' may be 1234 or 1.234"),
        (["1 kg", "2 lb"], "it has them in several units: 'kg', 'lb'"),
        (["1", "x"], "row 2 has 'x'"),
    ],
)
def test_why_a_column_has_no_numbers(texts, why):
    with pytest.raises(ValueError, match="column 'x' must hold numbers") as refusal:
        column(texts).finite(np.float64)
    assert str(refusal.value).endswith(why)


def test_what_is_missing():
    values = Values("x", np.array([" 1 ", "-999", "-999.0", "n/a", "#DIV/0!", "?", "", "-"], TEXT), ("-999", "-"))
    np.testing.assert_array_equal(values.numbers, [1] + 7 * [np.nan])
    assert values.distinct == ["1"] and values.codes.tolist() == [0] + 7 * [-1]
    numbers = Values("x", np.array([1.0, -999, np.nan]), ("-999",))
    np.testing.assert_array_equal(numbers.present, [True, False, False])
    assert numbers.distinct == ["1"]
