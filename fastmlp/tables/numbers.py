"""Numbers as people write them: thousands in groups, decimal commas, currencies and units, negatives in brackets."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["NumberTexts", "Written", "written"]

_GAPS = " '’\u00a0\u2009\u202f"  # between groups of digits, beside point and comma
_CODES = [
    "AUD",
    "BRL",
    "CAD",
    "CHF",
    "CNY",
    "CZK",
    "DKK",
    "EUR",
    "GBP",
    "HKD",
    "HUF",
    "INR",
    "JPY",
    "KRW",
    "MXN",
    "NOK",
    "NZD",
    "PLN",
    "RON",
    "RUB",
    "SEK",
    "SGD",
    "TRY",
    "USD",
    "ZAR",
    "R$",
    "US$",
    "C$",
    "A$",
    "S$",
    "Rs",
    "Rs.",
    "Fr.",
    "kr",
    "kr.",
    "zł",
    "Kč",
]
_PREFIX = "|".join(re.escape(code) for code in sorted(_CODES, key=len, reverse=True))
_WRITTEN = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+−])?(?P<prefix>{_PREFIX}|[^\w\s.,()'’+−-])?\s*(?P<sign2>[-+−])?"
    rf"(?P<digits>\d(?:[\d.,]|[{_GAPS}](?=\d))*|[.,]\d+|inf(?:inity)?\b)(?P<exponent>[eE][-+]?\d+(?!\w))?"
    r"\s*(?P<unit>[^\d\s.,()+:/\\;=~<>|_−-][^\d]{0,15}?)?(?P<minus>(?<=\d)-)?(?P<close>\))?",
    re.IGNORECASE,
)
_MULTIPLES = {"k": 1e3, "K": 1e3, "m": 1e6, "M": 1e6, "mn": 1e6, "bn": 1e9, "b": 1e9, "B": 1e9, "T": 1e12}
_ALONE = ("", "k", "K", "M", "mn", "bn", "B")  # that are multiples without a currency, too, where they vary
_LONGEST = 60  # characters of a number


def _number(decimal: str) -> re.Pattern[str]:
    """A pattern for the digits of a number with this decimal mark; the other mark or a gap may separate thousands."""
    point, thousands = re.escape(decimal), rf"[{'.' if decimal == ',' else ','}{_GAPS}]"
    grouped = rf"[1-9]\d{{0,2}}(?P<gap>{thousands})\d{{3}}(?:(?P=gap)\d{{3}})*"
    indian = rf"[1-9]\d?(?P<gap2>{thousands})(?:\d\d(?P=gap2))+\d{{3}}"
    return re.compile(rf"(?:\d+|{grouped}|{indian})?(?:{point}\d*)?")


_FITS = {".": _number("."), ",": _number(",")}


class Written(NamedTuple):
    """A number taken apart: "-$1,234.50" is a negative "1,234.50" in "$"."""

    negative: bool
    digits: str
    exponent: str
    unit: str
    multiple: str = ""

    def fits(self, decimal: str) -> bool:
        """Whether the digits are a number with this decimal mark."""
        return self.digits.startswith("i") or bool(_FITS[decimal].fullmatch(self.digits))

    @property
    def depends_on_decimal(self) -> bool:
        """Whether the text is a different number with the other decimal mark."""
        return not self.digits.isdecimal() and self.fits(".") and self.fits(",") and self.value(".") != self.value(",")

    def value(self, decimal: str) -> float:
        """The number, read with this decimal mark, which must fit it."""
        digits = self.digits
        if not digits.isdecimal() and not digits.startswith("i"):
            digits = "".join(letter for letter in digits if letter.isdecimal() or letter == decimal).replace(",", ".")
        number = float(digits + self.exponent) * _MULTIPLES.get(self.multiple, 1.0)
        return -number if self.negative else number


def written(text: str) -> Written | None:
    """Take a text apart as a number; None if it is none with either decimal mark."""
    found = _WRITTEN.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None or bool(found["open"]) != bool(found["close"]):
        return None
    signs = [sign for sign in (found["sign"], found["sign2"], found["minus"], found["open"]) if sign]
    if len(signs) > 1:
        return None
    prefix, unit = found["prefix"] or "", (found["unit"] or "").strip()
    if prefix and not _is_currency(prefix):
        return None
    multiple = unit if prefix and unit in _MULTIPLES else ""
    if prefix and unit and not multiple and unit not in ("%", *_CODES):
        return None
    number = Written(
        bool(signs) and signs[0] != "+",
        found["digits"].lower(),
        found["exponent"] or "",
        prefix or ("" if multiple else unit),
        multiple,
    )
    return number if number.fits(".") or number.fits(",") else None


def _is_currency(text: str) -> bool:
    return text.upper() in map(str.upper, _CODES) or (len(text) == 1 and unicodedata.category(text) == "Sc")


@dataclass(frozen=True)
class NumberTexts:
    """The different texts of a column, taken apart as numbers.

    Attributes
    ----------
    texts : list of str
        The different texts.
    parts : list of Written or None
        Each text as a number; None if it is none.
    decimals : str
        The decimal marks that fit all numbers: ".", ",", both, or none.
    units : list of str
        The different units among them.
    """

    texts: Sequence[str]
    parts: list[Written | None] = field(repr=False)
    decimals: str
    units: list[str]

    @classmethod
    def of(cls, texts: Sequence[str]) -> NumberTexts:
        parts = [written(text) for text in texts]
        numbers = [part for part in parts if part is not None]
        if len({part.unit for part in numbers}) > 1 and all(part.unit in _ALONE for part in numbers):
            parts = [part and part._replace(unit="", multiple=part.unit) for part in parts]
            numbers = [part for part in parts if part is not None]
        decimals = "".join(mark for mark in ".," if all(part.fits(mark) for part in numbers))
        return cls(texts, parts, decimals, sorted({part.unit for part in numbers}))

    @property
    def pairs(self) -> Iterator[tuple[str, Written | None]]:
        """Pairs of a text and its number."""
        return zip(self.texts, self.parts, strict=True)

    @property
    def all_numbers(self) -> bool:
        """Whether there is a text, and every text is a number, all in one unit or without."""
        return bool(self.parts) and None not in self.parts and self.has_one_unit and bool(self.decimals)

    @property
    def has_one_unit(self) -> bool:
        """Whether all units are the same; units other than "%" may be left out in some texts."""
        named = [unit for unit in self.units if unit]
        return len(named) <= 1 and not ("%" in named and "" in self.units)

    @property
    def unit(self) -> str:
        return next((unit for unit in self.units if unit), "")

    @property
    def depends_on_decimal(self) -> bool:
        """Whether the texts are different numbers with the other decimal mark, and nothing in them decides."""
        return len(self.decimals) > 1 and any(part is not None and part.depends_on_decimal for part in self.parts)

    def is_grouped(self, decimal: str) -> bool:
        """Whether one of the numbers, read with this decimal mark, has a mark between thousands."""
        other = "," if decimal == "." else "."
        return any(part is not None and other in part.digits for part in self.parts)

    def values(self, decimal: str) -> list[float]:
        """The numbers, read with this decimal mark; NaN for other texts."""
        return [math.nan if part is None or not part.fits(decimal) else part.value(decimal) for part in self.parts]
