"""Dates and times as people write them: which format a column has, and days since 1970 as numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

__all__ = ["are_dates", "date_formats", "days"]

_LOOKS = re.compile(r"(?i)\d[\d\s]*[-/.:]\s*[\da-z]|\d{1,2}(st|nd|rd|th)?\s+[a-z]{3}|[a-z]{3,9}\.?[ -]\d|\d{4}q[1-4]")
_LONGEST = 40
_DATES = [
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d.%m.%y",
    "%d/%m/%y", "%m/%d/%y", "%d-%m-%y", "%d-%b-%Y", "%d-%b-%y", "%Y-%b-%d", "%b-%Y", "%b-%y", "%Y-%m", "%m/%Y",
    "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%b %Y", "%B %Y", "%a, %d %b %Y",
]  # fmt: skip
_TIMES = ["%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p"]
_QUARTER = re.compile(r"(?i)(\d{4})[- ]?q([1-4])")
_SAMPLE = 20


def date_formats(texts: Sequence[str]) -> list[str]:
    """Find the formats, for `days`, that fit all texts; none if they are no dates or times.

    Several remain if nothing tells day from month.
    """
    if not texts or not _LOOKS.match(texts[0]):
        return []
    times = _TIMES if ":" in texts[0] else []
    formats = ["iso", "quarter", *_DATES, *times, *(f"{date} {time}" for date in _DATES for time in times)]
    for some in (texts[:1], texts[:_SAMPLE], texts):
        formats = [kind for kind in formats if _all_have(some, kind)]
    return formats[:1] if formats[:1] in (["iso"], ["quarter"]) else formats


def are_dates(texts: Sequence[str]) -> bool:
    """Whether each of these texts is a date, in any format."""
    return bool(texts) and all(date_formats([text]) for text in texts[:_SAMPLE])


def days(text: str, kind: str) -> float:
    """Days from the beginning of 1970 to a date or time, or from midnight to a time of day; ValueError for others."""
    if kind == "quarter":
        found = _QUARTER.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no quarter")
        moment = datetime(int(found[1]), 3 * int(found[2]) - 2, 1)
    else:
        moment = datetime.fromisoformat(text) if kind == "iso" else datetime.strptime(text, kind)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    since = datetime(1900, 1, 1) if kind in _TIMES else datetime(1970, 1, 1)
    return (moment - since).total_seconds() / 86400


def _all_have(texts: Iterable[str], kind: str) -> bool:
    try:
        for text in texts:
            if len(text) > _LONGEST or (kind == "iso" and text.isdecimal()):
                return False
            days(text, kind)
    except (ValueError, OverflowError):
        return False
    return True
