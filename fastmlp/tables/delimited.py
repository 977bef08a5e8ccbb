"""Text with separated values, in all its dialects: the separator, the names of the columns, and where rows begin."""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, count, islice
from typing import Any

import numpy as np

from ..base.extras import require
from .numbers import written
from .values import MISSING, TEXT

__all__ = ["Delimited", "columns_of_rows", "decoded", "delimited"]

_SEPARATORS = ("\t", ";", "|", ",")  # the likelier one first, where a file could be read with either
_RARE = ":^~#&!\x01\x1f"
_BLANKS = " "
_SAMPLE = 200  # lines that the separator is found by
_TELLING = 12  # bytes beyond ASCII, below which nothing can be told of an encoding
_TOGETHER = 1 << 14  # rows that are Python's strings at a time
_OTHER_THAN_WESTERN = ["cp1252", "cp1251", "cp1253", "cp932", "gb18030", "cp949", "big5"]
_BOMS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32"}
_WORDS = {"tab": "\t", "blank": " ", "space": " ", "comma": ",", "semicolon": ";", "bar": "|", "pipe": "|"}

Cells = list[tuple[str, np.ndarray]]


class Delimited:
    """A text's lines, and the character that separates their values: " " stands for any number of blanks."""

    def __init__(self, text: str, separator: str | None = None) -> None:
        first, _, rest = text.partition("\n")
        named = re.fullmatch(r"(?i)\s*\"?sep=(.)\"?\s*", first)
        if named:  # Excel's own way to name it
            separator, text = separator or named[1], rest
        self.text = text
        self.separator = _WORDS.get(separator, separator) if separator else _separator(text)
        if self.separator == "\\t":
            self.separator = "\t"
        if len(self.separator) != 1 or self.separator in '"\r\n':
            raise ValueError(f"a separator must be one character, tab or blank, got {separator!r}")

    def rows(self) -> Iterator[list[str]]:
        """Each row's cells."""
        yield from _records(io.StringIO(self.text, newline=""), self.separator)


def delimited(text: str, separator: str | None, header: bool) -> tuple[Cells, str]:
    """Return the columns of separated values, with their names, and what separates them."""
    source = Delimited(text, separator)
    return columns_of_rows(source.rows(), header, _text_cells), source.separator


def decoded(data: bytes, encoding: str | None) -> str:
    """Decode text: UTF-8, or what a byte order mark names; other encodings are guessed, with a warning."""
    if encoding is not None:
        try:
            return data.decode(encoding).removeprefix("\ufeff")
        except LookupError:
            raise ValueError(f"encoding: Python knows none called {encoding!r}") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"is no text in {encoding}: {error.reason} at byte {error.start}") from None
    bom = next((name for mark, name in _BOMS.items() if data.startswith(mark)), None)
    if bom is None and data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        bom = "utf-16"
    try:
        text = data.decode(bom or "utf-8")
    except UnicodeDecodeError:
        if bom or b"\0" in data[:4096]:
            raise ValueError("is no text: it has bytes that no table of text has") from None
        text = _guessed(data)
    if "\0" in text[:4096]:
        raise ValueError("is no text: it has bytes that no table of text has")
    return text


def _guessed(data: bytes) -> str:
    """Decode text that is not UTF-8, with a warning that names the encoding."""
    lines = b"\n".join([line for line in data.split(b"\n") if not line.isascii()][:_SAMPLE])
    if sum(byte < 32 and byte not in b"\t\r\n\x0c" for byte in lines[:4096]) > 4:
        raise ValueError("is no text: it has bytes that no table of text has")
    encoding = "cp1252" if sum(byte > 127 for byte in lines) < _TELLING else _detected(lines)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        encoding, text = "cp1252", data.decode("cp1252", "replace")
    warnings.warn(
        f"the text is not in UTF-8 and was read as {encoding}; where letters are wrong, name its encoding: --encoding",
        stacklevel=2,
    )
    return text


def _detected(lines: bytes) -> str:
    """The likeliest encoding of lines of text; cp1252 if none is likelier."""
    detect = require("charset_normalizer", "cli", "text that is not in UTF-8, without an encoding,").from_bytes
    best = detect(lines, cp_isolation=_OTHER_THAN_WESTERN).best()
    return best.encoding if best is not None else "cp1252"


def _records(lines: Iterable[str], separator: str) -> Iterator[list[str]]:
    if separator == _BLANKS:
        lines = (line.strip().replace("\t", " ") for line in lines)
    lines = iter(lines)
    first = next(lines, "")
    quote = "'" if re.fullmatch(rf"('[^']*'(\s*{re.escape(separator)}\s*|$))+", first.strip()) else '"'
    blanks = separator in (_BLANKS, ",")
    return csv.reader(chain([first], lines), delimiter=separator, quotechar=quote, skipinitialspace=blanks)


def _separator(text: str) -> str:
    """Find the separator of the columns: the one that cuts most lines into the same number of cells, at least two."""
    lines = [line for line in islice(io.StringIO(text, newline=""), _SAMPLE) if line.strip(" ,;\t|\r\n")]

    def share(separator: str) -> tuple[float, int]:
        try:
            widths = [len(row) for row in _records(lines, separator) if row]
        except csv.Error:
            return 0.0, 0
        width, count = Counter(widths).most_common(1)[0] if widths else (1, 0)
        return (round(count / len(widths), 1), width) if width > 1 else (0.0, 0)

    found = {separator: share(separator) for separator in _SEPARATORS}
    best = max(_SEPARATORS, key=lambda separator: found[separator][0])
    if found[best][0] >= 0.5:
        return best
    for separator in (_BLANKS, *_RARE):
        if share(separator)[0] >= 0.9:
            return separator
    header = re.sub(
        r'"[^"]*"', "", lines[0] if lines else ""
    )  # rows of all lengths: the first wrong one is named later
    return max((",", *_SEPARATORS), key=header.count)


def columns_of_rows(rows: Iterable[Sequence[Any]], header: bool, cells: Callable[[Sequence[Any]], Any]) -> Cells:
    """Turn rows of cells into named columns, without titles above them, empty rows and columns, and final separators.

    Without a header, columns are called "1", "2", …. Columns that a header does not name are called "Unnamed: 0", … as
    in pandas.
    """
    numbered = ((number, row) for number, row in enumerate(rows, 1) if any(not _is_empty(cell) for cell in row))
    ahead = list(islice(numbered, _SAMPLE))
    if not ahead:
        raise ValueError("has nothing in it")
    width = Counter(len(row) for _, row in ahead[-max(1, len(ahead) - 1) :]).most_common(1)[0][0]
    names: list[Any] = []
    if header:
        at = _header_at(ahead, width)
        if at:
            warnings.warn(
                f"the table has {at} line{'s' if at > 1 else ''} above the columns' names, left out", stacklevel=2
            )
        names = [*ahead[at][1]]
        del ahead[: at + 1]
        names = _uncommented(names)
        if (
            names
            and ahead
            and len(names) == width - 1
            and not all(_is_empty(row[-1]) for _, row in ahead if len(row) == width)
        ):
            names = ["", *names]  # as R writes them: the rows' own names have none
        _check_names(names, [row for _, row in ahead])
    width = max(width, len(names)) if ahead else len(names)
    parts = _transposed(chain(ahead, numbered), width, cells)
    columns = [np.concatenate([part[i] for part in parts]) if parts else cells([]) for i in range(width)]
    given = [*map(_name, names), *[""] * (width - len(names))]
    called = _unnamed(given) if header else [str(i + 1) for i in range(width)]
    named = zip(called, given, columns, strict=True)
    return [(name, column) for name, was, column in named if was or not _all_empty(column)]


def _header_at(rows: Sequence[tuple[int, Sequence[Any]]], width: int) -> int:
    """Find the row of names: the first row that is as long as the others and has at most one empty cell."""
    for at, (_, row) in enumerate(rows[:20]):
        filled = sum(not _is_empty(cell) for cell in row)
        is_comment = str(row[0]).startswith(("#", "//", "%")) and len(_uncommented(row)) != width
        if (
            not is_comment
            and len(row) >= width - 1
            and (filled > 1 or width == 1 or (width == 2 and not _is_empty(row[-1])))
        ):
            return at
    return 0


def _uncommented(names: Sequence[Any]) -> list[Any]:
    """Names without the comment mark that NumPy writes before the first of them."""
    first = str(names[0]).lstrip("#").strip()
    return [*names] if not str(names[0]).startswith("#") else [first, *names[1:]] if first else [*names[1:]]


def _check_names(names: Sequence[Any], rows: Sequence[Sequence[Any]]) -> None:
    """Warn if the names look like the rows below them."""
    for i, name in enumerate(names):
        below = [str(row[i]).strip() for row in rows[:20] if i < len(row) and str(row[i]).strip() not in MISSING]
        if written(str(name).strip()) and "." in str(name) and below and all(map(written, below)):
            warnings.warn(
                f"the first line is taken as the columns' names, though it has the number {str(name).strip()}; "
                "if it is a row: --no-header, or Reading(header=False)",
                stacklevel=3,
            )
            return


def _transposed(rows: Iterator[tuple[int, Sequence[Any]]], width: int, cells: Callable[[Any], Any]) -> list[list[Any]]:
    """Turn numbered rows into columns, some rows at a time."""
    parts = []
    while some := list(islice(rows, _TOGETHER)):
        for i, (number, row) in enumerate(some):
            if len(row) != width:
                some[i] = number, _fitted(number, row, width)
        parts.append([cells(column) for column in zip(*(row for _, row in some), strict=True)])
    return parts


def _fitted(number: int, row: Sequence[Any], width: int) -> list[Any]:
    """A row with one cell for each column; ValueError if it has too many filled cells, or too few cells."""
    kept = [*row]
    while len(kept) > width and _is_empty(kept[-1]):
        kept.pop()
    if len(kept) != width:
        shown = ", ".join(map(str, kept[:4])) + (", …" if len(kept) > 4 else "")
        raise ValueError(
            f"line {number} has {len(kept)} cell{'s' if len(kept) != 1 else ''}, there are {width} columns: {shown} "
            "(is it a title, a sum or a comment? does a cell hold the separator, unquoted?)"
        )
    return kept


def _unnamed(names: list[str]) -> list[str]:
    """Names, with pandas' names for columns without one: "Unnamed: 0", or "Unnamed: 0.1" if that is taken."""
    named = {*names}
    found = []
    for i, name in enumerate(names):
        candidates = chain([f"Unnamed: {i}"], (f"Unnamed: {i}.{k}" for k in count(1)))
        found.append(name or next(candidate for candidate in candidates if candidate not in named))
    return found


def _text_cells(column: Sequence[str]) -> np.ndarray:
    return np.array(column, TEXT)


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _all_empty(column: np.ndarray) -> bool:
    return all(map(_is_empty, column.tolist()))


def _name(name: Any) -> str:
    return "" if name is None else " ".join(str(name).split())
