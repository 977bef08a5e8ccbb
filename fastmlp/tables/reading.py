"""Reading and writing tables: files, whose first bytes decide what they are, and frames of other libraries."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..base.atomic import write_whole
from ..base.extras import require
from ..base.frames import cells_of, columns_of, is_frame, named_columns, objects_of
from ..base.text import refusal
from .arrays import columns_of_array, read_array
from .delimited import columns_of_rows, decoded, delimited
from .unpacking import members, unpacked
from .values import TEXT, Table, Values, settle_decimals

__all__ = ["Reading", "read", "table_of", "write", "write_csv"]

_TOO_NESTED = 4  # boxes in boxes that are opened: a gzip in a zip
_NAMED = {  # first bytes of files that are no tables for us, and what to do about them
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls): save it as .xlsx or CSV",
    b"SQLite format 3": "an SQLite database: export the table, as CSV",
    b"\x89HDF": "an HDF5 file: export the table, as CSV or Parquet",
    b"$FL": "an SPSS file (.sav): pandas.read_spss(path).to_csv(…) makes a CSV of it",
    b"<stata_dta>": "a Stata file (.dta): pandas.read_stata(path).to_csv(…) makes a CSV of it",
    b"RDX": "an R file: write.csv(…) in R makes a CSV",
    b"\0\0\0\0\0\0\0\0\0\0\0\0\xc2\xea\x81\x60": "a SAS file: pandas.read_sas(path).to_csv(…) makes a CSV of it",
    b"(\xb5/\xfd": "packed with zstd: unpack it",
    b"7z\xbc\xaf": "packed with 7-Zip: unpack it",
    b"Rar!": "a RAR archive: unpack it",
    b"%PDF": "a PDF: a table is needed, as CSV or Excel",
    b"\x89PNG": "a picture: a table is needed, as CSV or Excel",
    b"\xff\xd8\xff": "a picture: a table is needed, as CSV or Excel",
    b"\x80\x04": "a pickle, which is code: save the table as CSV or Parquet",
    b"\x80\x05": "a pickle, which is code: save the table as CSV or Parquet",
    b"ORC": "an ORC file: save the table as Parquet or CSV",
    b"FEA1": "an old Feather file: write it again, with version 2",
    b"version https://git-lfs": "a pointer of Git LFS: get the file itself, git lfs pull",
}
_MUST_BE = {  # suffixes of files whose first bytes tell what they are
    ".parquet": "Parquet", ".feather": "Feather", ".arrow": "Arrow", ".npy": "NumPy's", ".npz": "NumPy's",
    ".xlsx": "Excel's", ".xlsm": "Excel's", ".xls": "Excel's", ".zip": "zip", ".gz": "gzip", ".bz2": "bzip2",
    ".xz": "xz", ".ods": "OpenDocument's",
}  # fmt: skip
_SUMS = {  # what a last row that is no sample is called
    "total", "totals", "grand total", "sum", "overall", "average", "mean", "summe", "gesamt", "insgesamt",
    "durchschnitt", "somme", "totale", "totaal", "всего", "итого", "合計",
}  # fmt: skip
_TABLES = (".csv", ".tsv", ".data", ".dat", ".xlsx", ".json", ".jsonl", ".parquet", ".feather", ".npy")


@dataclass(frozen=True)
class Reading:
    """How tables are read, where they do not say it themselves.

    Parameters
    ----------
    missing : tuple of str
        Texts or numbers that are missing values, in addition to `MISSING`.
    decimal : "." or ",", optional
        The decimal mark of numbers that are text; when left out, the numbers decide.
    likely : "." or ",", optional
        The decimal mark if the numbers do not decide.
    header : bool
        Whether the first line names the columns; if not, they are called "1", "2", ….
    separator : str, optional
        What separates the columns of a text file; when left out, its lines decide.
    encoding : str, optional
        The encoding of a text file; when left out, UTF-8, or what its first bytes name, or a guess that is reported.
    sheet : str, optional
        The sheet of a workbook; the first one when left out.
    """

    missing: tuple[str, ...] = ()
    decimal: str = ""
    likely: str = ""
    header: bool = True
    separator: str | None = None
    encoding: str | None = None
    sheet: str | None = None

    def __post_init__(self) -> None:
        if self.decimal not in ("", ".", ","):
            raise ValueError(f"decimal must be '.' or ',', got {self.decimal!r}")


def read(path: str | Path, reading: Reading | None = None, *, may_be_empty: bool = False) -> Table:
    """Read a table: CSV in any dialect, JSON, Excel, Parquet, Feather, ``.npy``, ``.npz``, also gzip, bzip2, xz, zip.

    Parameters
    ----------
    path : str or Path
        The file, or "-" for the standard input. Its content decides what it is, not its name. The first line of text
        names the columns, and whatever cuts most lines into equally many cells separates them. A matrix in an ``.npy``
        has the columns "0", "1", …, a structured array its fields. The arrays of an ``.npz`` are columns; a matrix "x"
        among them is the columns "x[0]", "x[1]", ….
    reading : Reading, optional
        How to read what the file does not say itself.
    may_be_empty : bool
        Whether a table without rows is allowed.

    Returns
    -------
    dict of str to Values
        The columns by name, in the order of the file.

    Raises
    ------
    OSError
        When the file cannot be read.
    ValueError
        For a file that is no table, or has no rows; the message names it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from fastmlp import tables
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "prices.csv")
    ...     _ = path.write_text("what;price\\nbread;2,50 €\\ncar;12.999,00 €\\n", encoding="utf-8")
    ...     tables.read(path)["price"].numbers.tolist()
    [2.5, 12999.0]
    """
    reading = reading or Reading()
    name = "standard input" if str(path) == "-" else str(path)
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else Path(path).read_bytes()
        if may_be_empty and not data.strip():
            return {}
        columns, separator = _columns(data, name, reading)
        table = _table(columns, reading)
        settle_decimals(table, reading.decimal, "." if separator == "," else reading.likely)
    except OSError as error:
        if error.errno is None:  # Arrow's word for what is damaged
            raise refusal(name, error) from None
        raise OSError(error.errno, error.strerror, name) from None
    except MemoryError:
        raise refusal(name, "takes more memory than there is") from None
    except RecursionError:
        raise refusal(name, "is nested too deeply") from None
    except (ValueError, csv.Error) as error:
        raise refusal(name, error) from None
    if not table or not (may_be_empty or len(next(iter(table.values())))):
        raise ValueError(f"{name}: has no rows")
    return table


def table_of(data: Any, reading: Reading | None = None) -> Table:
    """Return a frame, a file or arrays as a table: a dict of str to `Values`.

    Parameters
    ----------
    data : frame, dict of arrays, path, or table
        A pandas or polars frame, an Arrow table, anything that has ``__arrow_c_stream__``, arrays by name, or a path
        for `read`. A table is returned as it is.
    reading : Reading, optional
        How to read what the data do not say themselves.
    """
    reading = reading or Reading()
    if isinstance(data, (str, Path)):
        return read(data, reading)
    if isinstance(data, Mapping):
        if data and all(isinstance(values, Values) for values in data.values()):
            return dict(data)
        columns = [(str(name), _cells(values)) for name, values in data.items()]
    elif is_frame(data):
        names = list(map(str, named_columns(data)))
        if len(set(names)) < len(names):
            raise ValueError("the frame has two columns of one name")
        columns = [(str(name), _cells(values)) for name, values in columns_of(data)]
    else:
        raise TypeError(
            "a table must be a frame (pandas, polars, Arrow), a dict of arrays by name, or a file's path, got "
            f"{type(data).__name__}; for arrays of numbers there is fastmlp.train"
        )
    table = _table(columns, reading)
    if not table:
        raise ValueError("the table has no columns")
    settle_decimals(table, reading.decimal, reading.likely)
    return table


def write(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Write a table to a file, completely or not at all.

    Parameters
    ----------
    columns : dict of str to ndarray, (n_rows,)
        The columns by name.
    path : Path
        The file: Parquet if its name ends in .parquet, else CSV. Endings of other kinds of files are a ValueError.
    """
    check_writable(path)
    if path.suffix.lower() == ".parquet":
        pa = require("pyarrow", "tables", "writing Parquet")
        parquet = require("pyarrow.parquet", "tables", "writing Parquet")
        buffer = pa.BufferOutputStream()
        parquet.write_table(pa.table({name: pa.array(values) for name, values in columns.items()}), buffer)
        write_whole(path, buffer.getvalue().to_pybytes())
    else:
        text = io.StringIO(newline="")
        write_csv(columns, text)
        write_whole(path, text.getvalue().encode())


def check_writable(path: Path) -> None:
    """Raise a ValueError for a file whose name says that it is neither CSV nor Parquet, an ImportError for Parquet
    without PyArrow."""
    promised = _MUST_BE.get(path.suffix.lower(), "JSON" if path.suffix.lower() in (".json", ".jsonl") else "")
    if promised not in ("", "Parquet"):
        raise ValueError(f"{path}: tables are written as .csv or .parquet, not as {promised}")
    if promised:
        require("pyarrow", "tables", "writing Parquet")


def write_csv(columns: Mapping[str, np.ndarray], file: TextIO) -> None:
    """Write a table as CSV, each number with as few digits as its dtype needs.

    Parameters
    ----------
    columns : dict of str to ndarray, (n_rows,)
        The columns by name.
    file : text file
        An open file to write to.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(values.astype(str) for values in columns.values()), strict=True))


def _table(columns: Iterable[tuple[str, Any]], reading: Reading) -> Table:
    """Make a table of named columns, whose cells are an array or a list of Python objects."""
    table: Table = {}
    for name, cells in columns:
        make = Values if isinstance(cells, np.ndarray) and cells.dtype.kind != "O" else Values.of
        values = make(name, cells, reading.missing)
        if values.name in table:
            raise ValueError(f"two columns are named {values.name!r}: rename one")
        table[values.name] = values
    if len({len(values) for values in table.values()}) > 1:
        lengths = ", ".join(f"{name!r} {len(values)}" for name, values in [*table.items()][:6])
        raise ValueError(f"its arrays have different lengths: {lengths}")
    _warn_of_a_sum(table)
    return table


def _warn_of_a_sum(table: Table) -> None:
    """Warn of a last row whose name says that it is the sum of the others."""
    for name, values in table.items():
        last = values.text(len(values) - 1) if len(values) > 1 and values.is_text else None
        if last is not None and last.strip(" :").lower() in _SUMS and np.sum(values.codes == values.codes[-1]) == 1:
            warnings.warn(
                f"the last row is called {last!r} in column {name!r}: if it is a sum of the others, leave it out",
                stacklevel=2,
            )


def _columns(data: bytes, name: str, reading: Reading, depth: int = 0) -> tuple[Iterable[tuple[str, Any]], str]:
    """Return a file's columns, and the character that separates them, or an empty text."""
    suffix = Path(name).suffix.lower()
    if depth > _TOO_NESTED:
        raise ValueError("is packed in too many boxes")
    for mark, what in _NAMED.items():
        if data.startswith(mark):
            raise ValueError(f"is {what}")
    content = unpacked(data)
    if content is not None:
        return _columns(content, str(Path(name).with_suffix("")), reading, depth + 1)
    if data.startswith(b"\x93NUMPY"):
        array = read_array(io.BytesIO(data), len(data))
        return (columns_of_array("", array) if array.dtype.names else _numbered(array)), ""
    if data.startswith(b"PAR1"):
        return _read_parquet(data), ""
    if data.startswith(b"ARROW1"):
        return _read_feather(data), ""
    if data.startswith((b"PK\3\4", b"PK\5\6")):
        return _read_zip(data, name, reading, depth)
    if suffix in _MUST_BE:
        raise ValueError(f"is no sound {_MUST_BE[suffix]} file")
    text = decoded(data, reading.encoding)
    start = text.lstrip()[:200]
    if start[:1] in ("{", "[") and (
        suffix in (".json", ".jsonl", ".ndjson") or start[1:].lstrip()[:1] in tuple('{["}]')
    ):
        return _read_json(text), ""
    if suffix in (".json", ".jsonl", ".ndjson"):
        raise ValueError("is no JSON")
    if re.match(r"[-+\d.]+( \d+:[-+\d.eE]+)+ *[\r\n]", text):
        raise ValueError("is in the format of LIBSVM: sklearn.datasets.load_svmlight_file reads it, for fastmlp.train")
    if start.lower().startswith("@relation") or "\n@attribute" in text[:2000].lower():
        raise ValueError("is an ARFF file: scipy.io.arff or pandas makes a CSV of it")
    if start.lower().startswith(("<!doctype", "<html", "<?xml", "<table")):
        raise ValueError("is a web page or XML, and no table: save the table itself, as CSV or Excel")
    return delimited(text, reading.separator, reading.header)


def _numbered(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The columns of an array without names, called "0", "1", …."""
    for i, (_, values) in enumerate(columns_of_array("", array)):
        yield str(i), values


def _read_zip(data: bytes, name: str, reading: Reading, depth: int) -> tuple[Iterable[tuple[str, Any]], str]:
    """Read a zip archive: Excel's, NumPy's, or one with a table in it."""
    names: list[str] = []
    tables: list[tuple[str, Any]] = []
    for member, content in members(data):
        names.append(member)
        if member == "xl/workbook.xml":
            return _read_xlsx(data, reading), ""
        if member == "mimetype":
            raise ValueError("is an OpenDocument file (.ods): save it as .xlsx or CSV")
        if member.endswith(".npy"):
            tables.append((member, read_array(io.BytesIO(content), len(content))))
        elif not member.startswith(("__MACOSX", "[Content", "_rels", "docProps", "xl/")) and "/." not in f"/{member}":
            tables.append((member, content))
    if tables and all(isinstance(table, np.ndarray) for _, table in tables):
        return [
            column for member, array in tables for column in columns_of_array(member.removesuffix(".npy"), array)
        ], ""
    likely = [table for table in tables if Path(table[0]).suffix.lower() in _TABLES]
    if len(tables) > 1 and len(likely) == 1:
        warnings.warn(f"the archive has {len(tables)} files; {likely[0][0]!r} is read", stacklevel=2)
        tables = likely
    if len(tables) != 1:
        shown = ", ".join(map(repr, names[:6])) + (", …" if len(names) > 6 else "")
        raise ValueError(
            f"has {len(names)} files in it ({shown}): unpack the one that is the table" if names else "is empty"
        )
    member, table = tables[0]
    if not isinstance(table, bytes):
        raise ValueError("is an archive of several kinds of files: unpack the one that is the table")
    return _columns(table, member, reading, depth + 1)


def _read_xlsx(data: bytes, reading: Reading) -> list[tuple[str, Any]]:
    openpyxl = require("openpyxl", "tables", "reading Excel's files")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles that it does not know
        try:
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        except Exception as error:  # it raises what its parsers do
            raise ValueError(f"is no sound Excel file: {error}") from None
        if reading.sheet is not None and reading.sheet not in book.sheetnames:
            raise ValueError(f"has no sheet {reading.sheet!r}; it has {', '.join(map(repr, book.sheetnames))}")
        sheet = book[reading.sheet] if reading.sheet is not None else book.worksheets[0]
        rows = [list(row) for row in sheet.iter_rows(values_only=True)]
    if reading.sheet is None and len(book.sheetnames) > 1:
        others = ", ".join(map(repr, book.sheetnames[1:]))
        warnings.warn(f"has several sheets; {sheet.title!r} is read, not {others}", stacklevel=2)
    for row in rows:  # sheets are as wide as their widest row ever was
        while row and row[-1] is None:
            row.pop()
    width = max(map(len, rows), default=0)
    full = [row + [None] * (width - len(row)) for row in rows]
    return [(name, list(cells)) for name, cells in columns_of_rows(full, reading.header, objects_of)]


def _read_json(text: str) -> list[tuple[str, Any]]:
    """Read JSON as pandas and others write it: rows by name, columns by name, or one row a line."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        try:
            document = [json.loads(line) for line in text.splitlines() if line.strip()]
        except json.JSONDecodeError:
            raise ValueError(f"is no JSON: {error}") from None
    if isinstance(document, dict) and isinstance(document.get("data"), list):
        names = document.get("columns") or [field["name"] for field in (document.get("schema") or {}).get("fields", [])]
        rows = document["data"]
        if names and rows and isinstance(rows[0], list):
            document = [dict(zip(map(str, names), row, strict=False)) for row in rows]
        else:
            document = rows
    if isinstance(document, dict):
        lists = [values for values in document.values() if isinstance(values, list)]
        if len(document) == 1 and lists and lists[0] and isinstance(lists[0][0], dict):
            document = lists[0]
        elif document and all(isinstance(row, dict) and name.isdecimal() for name, row in document.items()):
            document = list(document.values())
        elif document and all(isinstance(values, (list, dict)) for values in document.values()):
            return [
                (str(name), list(values.values()) if isinstance(values, dict) else values)
                for name, values in document.items()
            ]
    if isinstance(document, list) and document and all(isinstance(row, list) for row in document):
        header = all(isinstance(name, str) for name in document[0])
        return [(name, list(cells)) for name, cells in columns_of_rows(document, header, objects_of)]
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise ValueError("is JSON, but no table: it must be a list of rows, each with the names of the columns")
    names = dict.fromkeys(name for row in document for name in row)
    return [(str(name), [row.get(name) for row in document]) for name in names]


def _read_parquet(data: bytes) -> list[tuple[str, Any]]:
    pa = require("pyarrow", "tables", "reading Parquet")
    parquet = require("pyarrow.parquet", "tables", "reading Parquet")
    try:
        table = parquet.read_table(pa.BufferReader(data))
        table.validate(full=True)
        return list(_arrow_columns(table))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(error) from None


def _read_feather(data: bytes) -> list[tuple[str, Any]]:
    pa = require("pyarrow", "tables", "reading Arrow's files")
    ipc = require("pyarrow.ipc", "tables", "reading Arrow's files")
    try:
        table = ipc.open_file(pa.BufferReader(data)).read_all()
        table.validate(full=True)
        return list(_arrow_columns(table))
    except (pa.ArrowException, OSError) as error:
        raise ValueError(error) from None


def _arrow_columns(table: Any) -> Iterator[tuple[str, Any]]:
    """An Arrow table's columns: numbers as they are, all else as Python's objects."""
    return ((name, _cells(values)) for name, values in columns_of(table))


def _cells(values: Any) -> Any:
    """The cells of a column of a frame, or of any array: numbers and moments in the dtypes that `Values` takes."""
    array = cells_of(values)
    if array.dtype.kind == "c":
        raise ValueError("a column of complex numbers is neither numbers nor text")
    if array.ndim != 1:
        raise ValueError(f"a column must be one-dimensional, got shape {array.shape}")
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):
        array = array.astype(np.float64)
    if array.dtype.kind == "m":
        return np.where(np.isnat(array), np.nan, array / np.timedelta64(1, "D"))
    if array.dtype.kind == "T":
        return array.astype(TEXT)
    if array.dtype.kind in "iufb":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    return array if array.dtype.kind in "MU" else array.tolist()
