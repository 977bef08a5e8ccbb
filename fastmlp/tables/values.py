"""The values of a column, as text, numbers or moments, and which of them are missing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cached_property
from typing import Any

import numpy as np

from ..base.missing import is_missing
from .dates import date_formats, days
from .numbers import NumberTexts, written

__all__ = ["MISSING", "Table", "Values", "settle_decimals"]

MISSING = (
    "", "NA", "N/A", "n/a", "n.a.", "#N/A", "#N/A N/A", "#NA", "<NA>", "NaN", "nan", "-nan", "-NaN", "NaT", "1.#QNAN",
    "1.#IND", "-1.#QNAN", "-1.#IND", "NULL", "null", "None", "?", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!",
    "#VALUE!",
)  # fmt: skip
"""Texts that are missing values."""
TEXT = np.dtypes.StringDType()
_TRUTH = {"true": 1.0, "false": 0.0}
_NO_TEXT = (list, tuple, dict, set, bytes, np.ndarray)
_EXACT = 2.0**53  # float64 counts no further


class Values:
    """A column: its name, and its values, which can be asked for as text and as numbers.

    Blanks around texts are removed.

    Parameters
    ----------
    name : str
        The column's name.
    cells : ndarray, (n_rows,)
        Text (NumPy's StringDType, with "" for an empty cell), numbers, booleans, or moments (datetime64).
    missing : collection of str
        Texts that are missing values, in addition to `MISSING`; a number among them counts in every way of writing it.

    Attributes
    ----------
    decimal : str
        The decimal mark of numbers that are text, "." or ","; empty if nothing decides which it is.
    """

    def __init__(self, name: str, cells: np.ndarray, missing: Collection[str] = ()) -> None:
        self.name = name.strip()
        self.decimal = "."
        self._cells = cells if cells.dtype.kind != "U" else cells.astype(TEXT)
        self._plain: dict[str, np.ndarray | None] = {}
        self._missing = frozenset([*MISSING, *missing])
        self._missing_numbers = _as_numbers(missing)

    @classmethod
    def of(cls, name: str, objects: Iterable[Any], missing: Collection[str] = ()) -> Values:
        """Make a column of Python objects: of numbers, booleans or moments if all are such, else of their texts.

        Parameters
        ----------
        name : str
            The column's name.
        objects : iterable
            One object for each row.
        missing : collection of str
            Texts that are missing values, in addition to `MISSING`.
        """
        values = [None if is_missing(value) else value for value in objects]
        kinds = {type(value) for value in values if value is not None}
        if kinds and all(issubclass(kind, (float, int, np.number)) and kind is not bool for kind in kinds):
            return cls(name, np.array([np.nan if value is None else value for value in values], np.float64), missing)
        if kinds == {bool} and None not in values:
            return cls(name, np.array(values, bool), missing)
        if kinds and all(issubclass(kind, date) for kind in kinds):
            return cls(name, np.array([_moment(value) for value in values], "M8[us]"), missing)
        if any(issubclass(kind, _NO_TEXT) for kind in kinds):
            cells = np.empty(len(values), object)
            cells[:] = values
            return cls(name, cells, missing)
        return cls(name, np.array(["" if value is None else str(value) for value in values], TEXT), missing)

    def __len__(self) -> int:
        return len(self._cells)

    @property
    def is_text(self) -> bool:
        """Whether the values are text, as they are in all columns of a CSV."""
        return self._cells.dtype.kind == "T"

    @property
    def is_moment(self) -> bool:
        """Whether the values are dates, as Parquet and Excel know them."""
        return self._cells.dtype.kind in "Mm"

    @property
    def strange(self) -> str:
        """The type of values that are neither numbers nor text nor moments: "list", "bytes", …; else empty."""
        if self._cells.dtype.kind != "O":
            return ""
        return next((type(value).__name__ for value in self._cells if isinstance(value, _NO_TEXT)), "object")

    @property
    def kind(self) -> str:
        """What the values were at the beginning: "text", "whole", "bool" or "number"."""
        return {"T": "text", "i": "whole", "u": "whole", "b": "bool"}.get(self._cells.dtype.kind, "number")

    @cached_property
    def _encoded(self) -> tuple[list[str], np.ndarray]:
        """The different texts that are not missing, as `distinct` has them, and each row's place among them, or -1."""
        places: dict[str, int] = {}
        codes = np.fromiter((places.setdefault(cell, len(places)) for cell in self._texts()), np.int64, len(self))
        distinct: dict[str, int] = {}
        new = [
            -1 if self._is_missing(text) else distinct.setdefault(text, len(distinct))
            for text in map(str.strip, places)
        ]
        return list(distinct), np.array(new, np.int64)[codes] if len(codes) else codes

    def _is_missing(self, text: str) -> bool:
        return text in self._missing or (
            len(self._missing_numbers) > 0 and bool(np.isin(_as_numbers([text]), self._missing_numbers).any())
        )

    def _texts(self) -> list[str]:
        cells = self._cells
        if self.strange:
            raise ValueError(f"column {self.name!r} has values of type {self.strange}, neither numbers nor text")
        if self.is_text:
            return cells.tolist()
        if cells.dtype.kind == "f":
            return [
                "" if v != v else str(int(v)) if v.is_integer() and abs(v) < _EXACT else str(v) for v in _floats(cells)
            ]
        return ["" if text == "NaT" else text for text in cells.astype(str).tolist()]

    @property
    def distinct(self) -> list[str]:
        """The different texts that are not missing, in the order of their first rows."""
        return self._encoded[0]

    @property
    def codes(self) -> np.ndarray:
        """The place of each row's text in `distinct`, (n_rows,); -1 for a missing value."""
        return self._encoded[1]

    def as_written(self) -> np.ndarray:
        """The values as text, as they stood in the table."""
        return np.array(self._texts(), object)

    def text(self, row: int) -> str | None:
        """Return the text of a row; None if it is missing.

        Parameters
        ----------
        row : int
            The row, counted from 0.
        """
        code = self.codes[row]
        return None if code < 0 else self.distinct[code]

    @cached_property
    def as_numbers(self) -> NumberTexts:
        """The different texts, taken apart as numbers."""
        return NumberTexts.of(self.distinct)

    @property
    def as_unit(self) -> str:
        """The unit of numbers that are text; empty if they have none."""
        return self.as_numbers.unit if self.is_text and self.decimal and self.plain(self.decimal) is None else ""

    @property
    def is_grouped(self) -> bool:
        """Whether numbers that are text have marks between thousands."""
        has_them = self.is_text and self.decimal and self.plain(self.decimal) is None
        return bool(has_them) and self.as_numbers.is_grouped(self.decimal)

    @property
    def is_truth(self) -> bool:
        """Whether the values are the texts true and false."""
        return self.is_text and self.plain(".") is None and {text.lower() for text in self.distinct} <= _TRUTH.keys()

    def plain(self, decimal: str) -> np.ndarray | None:
        """Read text as numbers in Python's notation, with this decimal mark, (n_rows,); None if that fails.

        Most columns of most files are like that, and this is ten times as fast as reading each text separately.

        Parameters
        ----------
        decimal : "." or ","
            The decimal mark.
        """
        if decimal not in self._plain:
            self._plain[decimal] = self._as_python(decimal)
        return self._plain[decimal]

    def _as_python(self, decimal: str) -> np.ndarray | None:
        cells = self._cells
        if decimal == ",":
            if np.any(np.strings.find(cells, ".") >= 0):
                return None
            cells = np.strings.replace(cells, ",", ".")
        empty = cells == ""
        try:
            numbers = np.where(empty, "nan", cells).astype(np.float64) if empty.any() else cells.astype(np.float64)
        except ValueError:
            return None
        return numbers if len(numbers) and not empty.all() else None

    def plain_decides(self, decimal: str) -> bool | None:
        """Whether text that is `plain` with this mark can be read with no other; None if no number has a mark.

        Parameters
        ----------
        decimal : "." or ","
            The decimal mark.
        """
        marked = [text for text in self._cells[np.strings.find(self._cells, decimal) >= 0].tolist()]
        other = "," if decimal == "." else "."
        return any(not part.fits(other) for part in map(written, map(str.strip, marked)) if part) if marked else None

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """The values as float64, (n_rows,): NaN if missing, 1 and 0 for true and false. None if one is no number."""
        if self.is_moment or self.strange:
            return None
        with np.errstate(invalid="ignore"):  # bits that are no number may be in a file
            numbers = self._parsed() if self.is_text else self._cells.astype(np.float64)
        if numbers is not None and len(self._missing_numbers):
            numbers = np.where(np.isin(numbers, self._missing_numbers), np.nan, numbers)
        return numbers

    def _parsed(self) -> np.ndarray | None:
        """Parse text as numbers: in Python's notation, which suits most columns, then as people write them."""
        if self.decimal and self.plain(self.decimal) is not None:
            return self.plain(self.decimal)
        if self.as_numbers.all_numbers and self.decimal and self.decimal in self.as_numbers.decimals:
            return self._decoded(self.as_numbers.values(self.decimal))
        return self._decoded([_TRUTH[text.lower()] for text in self.distinct]) if self.is_truth else None

    def _decoded(self, numbers: Sequence[float]) -> np.ndarray:
        """Each row's number, from the numbers of the different texts."""
        return np.array([*numbers, np.nan])[self.codes]

    @cached_property
    def date_formats(self) -> list[str]:
        """The date formats that fit all values: one, or several if nothing tells day from month."""
        return ["moment"] if self.is_moment else date_formats(self.distinct) if self.is_text else []

    def days(self, kind: str) -> np.ndarray:
        """Return dates as days since 1970, (n_rows,), NaN if missing; a ValueError for the first that is no such date.

        Parameters
        ----------
        kind : str
            The format, one of `date_formats`.
        """
        if self.is_moment:
            moments = self._cells.astype("M8[us]")
            return np.where(np.isnat(moments), np.nan, moments.astype(np.int64) / 86400e6)
        kind = "iso" if kind == "moment" else kind
        for form in (kind, *self.date_formats[: len(self.date_formats) == 1]):  # its own, where that is plain
            try:
                return self._decoded([days(text, form) for text in self.distinct])
            except (ValueError, OverflowError):
                continue
        text = next(text for text in self.distinct if not _is_day(text, kind))
        raise ValueError(f"column {self.name!r} must hold dates as {kind}, row {self.row_of(text)} has {text!r}")

    @property
    def present(self) -> np.ndarray:
        """Whether each value is there, not missing: booleans, (n_rows,)."""
        if self.strange:
            return np.array([value is not None for value in self._cells], bool)
        return ~np.isnan(self.numbers) if self.numbers is not None else self.codes >= 0

    def finite(self, dtype: Any) -> np.ndarray:
        """Return `numbers`; a ValueError names the first value that is no number, or too large.

        Parameters
        ----------
        dtype : float32 or float64
            The dtype that they must fit into.
        """
        if self.numbers is None:
            raise ValueError(f"column {self.name!r} must hold numbers, {self.why_no_numbers()}")
        bad = np.abs(self.numbers) > np.finfo(dtype).max
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"column {self.name!r} must hold finite numbers, row {row + 1} has {self.numbers[row]:g}")
        return self.numbers

    @cached_property
    def share_numeric(self) -> float:
        """The share of the values that are there, not missing, that are numbers."""
        codes = self.codes[self.codes >= 0]
        is_number = np.array([part is not None for part in self.as_numbers.parts], bool)
        return float(np.mean(is_number[codes])) if len(codes) else 0.0

    def others(self) -> list[str]:
        """The different texts that are no numbers."""
        return [text for text, part in self.as_numbers.pairs if part is None]

    def why_no_numbers(self) -> str:
        """Why a column of text is no column of numbers: what in it is none, or why its numbers do not go together."""
        parts = self.as_numbers
        if not self.is_text:
            return f"its values are {self.strange or 'dates'}"
        if self.others():
            text = self.others()[0]
            return f"row {self.row_of(text)} has {text!r}"
        if not parts.decimals:
            first = [next(text for text, part in parts.pairs if part and not part.fits(mark)) for mark in ",."]
            examples = " and ".join(f"{text!r} in row {self.row_of(text)}" for text in first)
            return f"it has both decimal marks: {examples}"
        if not parts.has_one_unit:
            return f"it has them in several units: {', '.join(repr(unit) if unit else 'none' for unit in parts.units)}"
        if self.decimal:
            return f"it has the decimal mark {parts.decimals!r}, not {self.decimal!r}"
        text, part = next((text, part) for text, part in parts.pairs if part and part.depends_on_decimal)
        return f"{text!r} may be {part.value('.'):g} or {part.value(','):g}"

    def row_of(self, text: str) -> int:
        """Return the number of the first row with a text, counted from 1.

        Parameters
        ----------
        text : str
            One of `distinct`.
        """
        return int(np.argmax(self.codes == self.distinct.index(text))) + 1


Table = dict[str, Values]


def settle_decimals(table: Mapping[str, Values], decimal: str = "", default: str = "", euro: bool = True) -> None:
    """Decide each column's decimal mark: by its own numbers, else by the other columns', else by ``default``.

    Parameters
    ----------
    table : dict of str to Values
    decimal : "." or ",", optional
        The mark of all columns.
    default : "." or ",", optional
        Where neither the column nor the others decide. Without it, a column that is other numbers with another mark
        stays undecided.
    euro : bool
        Whether € decides for the comma.
    """
    if decimal:
        for values in table.values():
            values.decimal = decimal
        return
    open_columns: list[Values] = []
    decided: set[str] = set()
    for values in table.values():
        if not values.is_text or (default == "." and values.plain(".") is not None):
            continue
        mark = _decides(values, euro)
        if mark:
            values.decimal = mark
            decided.add(mark)
        elif mark is None:
            open_columns.append(values)
    others = decided.pop() if len(decided) == 1 else ""
    for values in open_columns:
        values.decimal = default if default == "." else others or default


def _decides(values: Values, euro: bool) -> str | None:
    """The decimal mark that a column of text decides on; empty if both give the same numbers, None if they do not."""
    for mark in ".,":
        if values.plain(mark) is not None:
            decides = values.plain_decides(mark)
            return None if decides is False else mark if decides else ""
    parts = values.as_numbers
    if len(parts.decimals) == 1:
        return parts.decimals if values.share_numeric > 0.5 else ""
    if not parts.depends_on_decimal:
        return ""
    return "," if euro and "€" in parts.unit else None


def _as_numbers(texts: Iterable[str]) -> np.ndarray:
    """The numbers among some texts."""
    numbers = []
    for text in texts:
        try:
            numbers.append(float(text))
        except ValueError:
            continue
    return np.array(numbers)


def _floats(cells: np.ndarray) -> list[float]:
    """Numbers as Python's floats, each with as few digits as its dtype needs."""
    return [float(str(v)) for v in cells] if cells.dtype.itemsize < 8 else cells.astype(np.float64).tolist()


def _is_day(text: str, kind: str) -> bool:
    try:
        days(text, kind)
    except (ValueError, OverflowError):
        return False
    return True


def _moment(value: Any) -> Any:
    if value is None:
        return np.datetime64("NaT")
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(value, "us")
