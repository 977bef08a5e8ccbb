"""Dates as people write them: pandas reads the same days out of each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fastmlp.tables.dates import date_formats, days

MOMENTS = pd.date_range("1968-11-03 07:45", "2024-02-29", periods=40)


@pytest.mark.parametrize(
    "form",
    [
        "%Y-%m-%d",
        "%Y-%m-%d %H:%M",
        "%Y-%m-%dT%H:%M:%SZ",
        "%d.%m.%Y",
        "%d.%m.%Y %H:%M",
        "%d/%m/%Y",
        "%m/%d/%Y %I:%M %p",
        "%d-%b-%Y",
        "%b %d, %Y",
        "%d %B %Y",
        "%Y/%m/%d",
        "%d-%m-%Y %H:%M:%S",
    ],
)
def test_days_are_pandas_s(form):
    texts = [moment.strftime(form) for moment in MOMENTS]
    (found,) = date_formats(texts)
    read = pd.to_datetime(pd.Series(texts), format=form, utc=True)
    expected = (read - pd.Timestamp("1970-01-01", tz="UTC")) / pd.Timedelta(days=1)
    np.testing.assert_allclose([days(text, found) for text in texts], expected, atol=1e-9)


def test_nothing_tells_day_from_month():
    assert date_formats(["1/2/2003", "4/5/2006"]) == ["%d/%m/%Y", "%m/%d/%Y"]
    assert date_formats(["1/2/2003", "14/5/2006"]) == ["%d/%m/%Y"]


def test_times_and_quarters():
    assert date_formats(["10:30", "23:59"]) == ["%H:%M"] and days("12:00", "%H:%M") == 0.5
    assert date_formats(["2011Q1", "2012Q4"]) == ["quarter"]
    assert days("1970Q2", "quarter") == 31 + 28 + 31


@pytest.mark.parametrize(
    "texts",
    [[], ["12"], ["20200102"], ["1.5"], ["1.2.3"], ["A-1"], ["10-12"], ["sat-1"], ["2020-01-02", "x"], ["5 kg"]],
)
def test_what_is_no_date(texts):
    assert date_formats(texts) == []
