"""Reading and writing files with named columns: values are text and, where they can be, numbers."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import lzma
import math
import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np

from ..base.atomic import write_whole
from ..base.extras import require
from ..base.text import refusal

pa = require("pyarrow", "cli", "fastmlp.tables")
pc = require("pyarrow.compute", "cli", "fastmlp.tables")

__all__ = ["MISSING", "Values", "read", "write", "write_csv"]

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "?")
"""Texts that are missing values."""
_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_MUCH, _TIMES = 1 << 28, 200  # what unpacks to more bytes than this, and to so many times its size, is refused
_COMMA_NUMBER = r"^[-+]?\d*,?\d+$"


class Values:
    """A column: its name, and its values as text and as numbers, whichever is asked for.

    Text has no blanks around it, and what is in `MISSING` is missing. Where ``decimal_comma`` is set and every value is
    a number with a decimal comma, or whole, the comma is a point.
    """

    def __init__(self, name: str, arrow: Any, decimal_comma: bool = False) -> None:
        if pa.types.is_dictionary(arrow.type):
            arrow = arrow.cast(arrow.type.value_type)
        if pa.types.is_floating(arrow.type):
            arrow = pc.if_else(pc.is_nan(arrow), pa.scalar(None, arrow.type), arrow)
        self.name = name.strip()
        self.type = arrow.type
        self._arrow = arrow
        self._decimal_comma = decimal_comma

    def __len__(self) -> int:
        return len(self._arrow)

    @property
    def is_text(self) -> bool:
        """Whether the file holds text in this column, as a CSV does in all columns."""
        return (
            pa.types.is_string(self.type) or pa.types.is_large_string(self.type) or pa.types.is_string_view(self.type)
        )

    @cached_property
    def text(self) -> Any:
        """An Arrow array of strings, null where the value is missing; a ValueError where the values are no text."""
        try:
            text = self._arrow.cast(pa.string())
        except pa.ArrowException:
            raise ValueError(f"column {self.name!r} has values of type {self.type}, which are no text") from None
        if self.is_text:
            text = pc.utf8_trim_whitespace(text)
            text = pc.if_else(pc.is_in(text, pa.array(MISSING)), pa.scalar(None, pa.string()), text)
        if self._decimal_comma and _all_match(text, _COMMA_NUMBER):
            text = pc.replace_substring(text, ",", ".")
        return text

    @cached_property
    def numbers(self) -> np.ndarray | None:
        """A float64 array, NaN where a value is missing; true and false are 1 and 0. None when a value is no number."""
        kind = self.type
        if self.is_text:
            return self._parsed()
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            return _with_nan(self._arrow.cast(pa.float64(), safe=False))
        if pa.types.is_boolean(kind) or pa.types.is_null(kind):
            return _with_nan(self._arrow.cast(pa.int8()).cast(pa.float64()))
        return None

    def _parsed(self) -> np.ndarray | None:
        """Parse text as numbers: first as it is, which suits most columns, then without blanks and missing values."""
        for text in (lambda: self._arrow, lambda: self.text):
            try:
                return _with_nan(text().cast(pa.float64()))
            except pa.ArrowInvalid:
                continue
        if self.matches("(?i)true|false"):
            return _with_nan(pc.equal(pc.utf8_lower(self.text), "true").cast(pa.int8()).cast(pa.float64()))
        return None

    @property
    def present(self) -> np.ndarray:
        """A boolean for each value, False where it is missing."""
        if self.numbers is not None:
            return ~np.isnan(self.numbers)
        return np.asarray(self.text.is_valid())

    def finite(self, dtype: Any) -> np.ndarray:
        """Return `numbers`; a ValueError names the first value that is none, or too large for ``dtype``."""
        if self.numbers is None:
            row, value = self.first_non_number
            raise ValueError(f"column {self.name!r} must hold numbers, row {row} has {value!r}")
        bad = np.abs(self.numbers) > np.finfo(dtype).max
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"column {self.name!r} must hold finite numbers, row {row + 1} has {self.numbers[row]:g}")
        return self.numbers

    def matches(self, pattern: str) -> bool:
        """Whether the whole text of every value that is not missing, one at least, matches the regular expression."""
        return _all_match(self.text, f"^({pattern})$")

    @property
    def share_numeric(self) -> float:
        """The share of the present values whose text is a number."""
        return pc.mean(pc.match_substring_regex(self.text, _NUMBER).cast(pa.int8())).as_py() or 0.0

    @property
    def first_non_number(self) -> tuple[int, str]:
        """The row, counted from 1, and the text of the first value that is no number."""
        not_numeric = pc.fill_null(pc.invert(pc.match_substring_regex(self.text, _NUMBER)), False)
        row = int(np.argmax(np.asarray(not_numeric)))
        return row + 1, self.text[row].as_py()


Table = dict[str, Values]


def read(path: str | Path) -> Table:
    """Read a table: ``.parquet``, ``.npy``, ``.npz``, and anything else as CSV, ``.gz`` uncompressed.

    Parameters
    ----------
    path : str or Path
        A CSV's first line names the columns; comma, semicolon, tab or bar separates them, whichever it has most of.
        Its text is UTF-8. Columns without a name (the row numbers that pandas writes) are left out. An ``.npy`` of rows
        has the columns "0", "1", …, or its fields; the arrays of an ``.npz`` are columns, and a matrix "x" in it is the
        columns "x[0]", "x[1]", ….

    Returns
    -------
    dict of str to Values
        In the order of the file.

    Raises
    ------
    OSError
    ValueError
        For what is not such a file or has no rows, naming it.
    """
    path = Path(path)
    try:
        columns = list(_READERS.get(path.suffix.lower(), _read_csv)(path))
    except OSError as error:
        if error.errno is None:  # Arrow's word for what is damaged
            raise refusal(path, error) from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    except MemoryError:  # Arrow's, too
        raise refusal(path, "takes more memory than there is") from None
    except (pa.ArrowException, ValueError, csv.Error) as error:
        raise refusal(path, error) from None
    table: Table = {}
    for values in columns:
        if values.name in table:
            raise refusal(path, f"two columns are named {values.name!r}")
        if values.name:
            table[values.name] = values
    if len({len(values) for values in table.values()}) > 1:
        raise ValueError(f"{path}: its arrays have different lengths")
    if not table or not len(next(iter(table.values()))):
        raise ValueError(f"{path}: has no rows")
    return table


def write(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Write columns of one length to a file, whole or not at all: Parquet if it is named .parquet, else CSV."""
    if path.suffix.lower() == ".parquet":
        parquet = require("pyarrow.parquet", "cli", "writing Parquet")
        buffer = pa.BufferOutputStream()
        parquet.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), buffer)
        write_whole(path, buffer.getvalue().to_pybytes())
    else:
        text = io.StringIO(newline="")
        write_csv(columns, text)
        write_whole(path, text.getvalue().encode())


def write_csv(columns: Mapping[str, np.ndarray], file: TextIO) -> None:
    """Write columns of one length as CSV, numbers as short as their dtype allows."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(values.astype(str) for values in columns.values()), strict=True))


def _read_csv(path: Path) -> Iterator[Values]:
    """Read all columns as text: all values of a column decide what it is, not the first few."""
    arrow_csv = require("pyarrow.csv", "cli", "reading CSV")
    data = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            data = _unpacked(data)
        except (OSError, EOFError, zlib.error):
            raise ValueError("is no sound gzip file") from None
    try:
        delimiter, header = _csv_header(data)
    except UnicodeDecodeError:
        raise ValueError("is not a CSV in UTF-8") from None
    table = arrow_csv.read_csv(
        pa.BufferReader(data),
        read_options=arrow_csv.ReadOptions(use_threads=False),  # with threads, errors do not name the row
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
    )
    for name, values in zip(table.column_names, table.columns, strict=True):
        yield Values(name, values, decimal_comma=delimiter != ",")


def _unpacked(data: bytes) -> bytes:
    """The content of a gzip file."""
    parts, size = [], 0
    with gzip.open(io.BytesIO(data)) as file:
        while part := file.read(1 << 20):
            size += len(part)
            _check_unpacked(size, len(data))
            parts.append(part)
    return b"".join(parts)


def _check_unpacked(size: int, packed: int) -> None:
    """Raise ValueError for what looks as if it were made to fill the memory."""
    if size > max(_MUCH, _TIMES * packed):
        raise ValueError(f"unpacks to more than {_TIMES} times its size; unpack it yourself, if it should be read")


def _csv_header(data: bytes) -> tuple[str, list[str]]:
    """Return what separates the columns, and their names."""
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    first = re.sub(r'"[^"]*"', "", next((line for line in lines if line.strip()), ""))
    delimiter = max(",;\t|", key=first.count)
    lines.seek(0)
    return delimiter, next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])


def _read_parquet(path: Path) -> Iterator[Values]:
    with open(path, "rb") as file:
        table = require("pyarrow.parquet", "cli", "reading Parquet").read_table(file)
    table.validate(full=True)
    return map(Values, table.column_names, table.columns)


def _read_npy(path: Path) -> Iterator[Values]:
    with open(path, "rb") as file:
        array = _array(file, os.fstat(file.fileno()).st_size)
    if array.dtype.names is None:
        yield from (Values(str(i), values) for i, values in enumerate(_columns(array)))
    for name in array.dtype.names or ():
        yield from _named_columns(name, array[name])


def _read_npz(path: Path) -> Iterator[Values]:
    with open(path, "rb") as file:
        for name, array in _unzipped(file):
            yield from _named_columns(name, array)


def _unzipped(file: IO[bytes]) -> Iterator[tuple[str, np.ndarray]]:
    """Read the arrays of an archive, with their names."""
    try:
        archive = zipfile.ZipFile(file)
        members = archive.infolist()
        _check_unpacked(sum(member.file_size for member in members), os.fstat(file.fileno()).st_size)
        for member in members:
            with archive.open(member) as content:
                yield member.filename.removesuffix(".npy"), _array(content, member.file_size)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError) as error:
        raise ValueError(f"is no sound zip file: {error}") from None
    except (NotImplementedError, RuntimeError) as error:  # another way to compress, a password
        raise ValueError(f"cannot be unpacked: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("is no sound zip file: it places a part before its beginning") from None


def _named_columns(name: str, array: np.ndarray) -> Iterator[Values]:
    for i, values in enumerate(_columns(array)):
        yield Values(f"{name}[{i}]" if array.ndim > 1 else name, values)


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """Read an .npy of ``size`` bytes. No memory is taken for what it declares but has not, and no code is run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python's parser warns of some headers
        shape, dtype = _shape_and_dtype(file)
        length = math.prod(shape) * dtype.itemsize
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which are code; save numbers and text")
        if any(type(n) is not int or n < 0 for n in shape) or length > size:
            raise ValueError(f"is damaged: {dtype} of shape {shape} takes {length} bytes, and the file has {size}")
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)


def _shape_and_dtype(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Read what the header of an .npy declares; names of fields may be wrong, as if they were Latin-1."""
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    except Exception as error:  # the header is a Python expression, which Python's parsers read, and raise what they do
        raise ValueError("is no .npy file, or its header is damaged") from error
    return shape, dtype


_READERS = {".parquet": _read_parquet, ".npy": _read_npy, ".npz": _read_npz}


def _columns(array: np.ndarray) -> list[Any]:
    kind, itemsize = array.dtype.kind, array.dtype.itemsize
    if array.ndim == 0 or kind not in "fiubU":
        raise ValueError(f"an array of shape {array.shape} and dtype {array.dtype} is no table")
    if kind == "f" and itemsize not in (4, 8):
        with np.errstate(invalid="ignore"):  # bits that are no number may be in a file
            array = array.astype(np.float64)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    width = math.prod(array.shape[1:])
    return [pa.array(np.ascontiguousarray(values)) for values in array.reshape(len(array), width).T]


def _with_nan(numbers: Any) -> np.ndarray:
    return np.asarray(pc.fill_null(numbers, np.nan))


def _all_match(text: Any, pattern: str) -> bool:
    return text.null_count < len(text) and bool(pc.all(pc.match_substring_regex(text, pattern)).as_py())
