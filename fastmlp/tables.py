"""Tables: files with named columns become the arrays a network takes, the same way at training and at prediction.

Owns reading (CSV, Parquet, npy, npz), what each column is, and the `Schema` that is stored with a model.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .extras import require
from .model import MLP
from .names import nearest

pa = require("pyarrow", "cli", "fastmlp.tables")
pc = require("pyarrow.compute", "cli", "fastmlp.tables")

__all__ = ["MISSING", "Column", "Schema", "read", "split", "write_parquet"]

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "?")
_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"
_COMMA_NUMBER = r"^[-+]?\d*,?\d+$"
_DATE = r"^(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d{2})([T :].*)?$"

Table = dict[str, Any]  # of Arrow arrays of one length, by column name


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
    dict of str to pyarrow.ChunkedArray
        Text is stripped, and what is in `MISSING` is missing.

    Raises
    ------
    OSError
    ValueError
        For what is not such a file or has no rows, naming it.
    """
    path = Path(path)
    try:
        named = list(_READERS.get(path.suffix.lower(), _read_csv)(path))
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not a CSV in UTF-8") from None
    except OSError:
        raise
    except (pa.ArrowException, ValueError, csv.Error, EOFError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())}") from None
    table: Table = {}
    for name, values in named:
        name = name.strip()
        if name in table:
            raise ValueError(f"{path}: two columns are named {name!r}")
        if name:
            table[name] = _clean(values)
    if len({len(values) for values in table.values()}) > 1:
        raise ValueError(f"{path}: its arrays have different lengths")
    if not table or not len(next(iter(table.values()))):
        raise ValueError(f"{path}: has no rows")
    return table


def _read_csv(path: Path) -> Iterator[tuple[str, Any]]:
    """All columns as text: what a column is, all its values decide, not the first block of them."""
    arrow_csv = require("pyarrow.csv", "cli", "reading CSV")
    data = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            raise ValueError("is no sound gzip file") from None
    lines = io.TextIOWrapper(io.BytesIO(data), "utf-8-sig", newline="")
    first = re.sub(r'"[^"]*"', "", next((line for line in lines if line.strip()), ""))
    delimiter = max(",;\t|", key=first.count)
    lines.seek(0)
    header = next((row for row in csv.reader(lines, delimiter=delimiter) if row), [])
    table = arrow_csv.read_csv(
        pa.BufferReader(data),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
    )
    for name, values in zip(table.column_names, table.columns, strict=True):
        if delimiter != "," and _all_match(_clean(values), _COMMA_NUMBER):
            values = pc.replace_substring(values, ",", ".")
        yield name, values


def _read_parquet(path: Path) -> Iterator[tuple[str, Any]]:
    with open(path, "rb") as file:
        table = require("pyarrow.parquet", "cli", "reading Parquet").read_table(file)
    return zip(table.column_names, table.columns, strict=True)


def _read_npy(path: Path) -> Iterator[tuple[str, Any]]:
    with open(path, "rb") as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
    if array.dtype.names:
        return ((name, pa.array(array[name])) for name in array.dtype.names)
    return ((str(i), values) for i, values in enumerate(_columns(array)))


def _read_npz(path: Path) -> Iterator[tuple[str, Any]]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
        for key, array in arrays.items():
            for i, values in enumerate(_columns(array)):
                yield f"{key}[{i}]" if array.ndim > 1 else key, values


_READERS = {".parquet": _read_parquet, ".npy": _read_npy, ".npz": _read_npz}


def _columns(array: np.ndarray) -> list[Any]:
    if array.ndim == 0 or array.dtype.kind not in "fiubU":
        raise ValueError(f"an array of shape {array.shape} and dtype {array.dtype} is no table")
    if array.dtype.itemsize == 16 or not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("=") if array.dtype.itemsize < 16 else np.float64)
    return [pa.array(np.ascontiguousarray(values)) for values in array.reshape(len(array), -1).T]


def _clean(values: Any) -> Any:
    """Text without blanks around it, and nothing in place of what stands for nothing."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_floating(values.type):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    if pa.types.is_large_string(values.type) or pa.types.is_string_view(values.type):
        values = values.cast(pa.string())
    if not pa.types.is_string(values.type):
        return values
    values = pc.utf8_trim_whitespace(values)
    return pc.if_else(pc.is_in(values, pa.array(MISSING)), pa.scalar(None, pa.string()), values)


def _all_match(values: Any, pattern: str) -> bool:
    """Whether all values that are there are text like this."""
    if not pa.types.is_string(values.type) or values.null_count == len(values):
        return False
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _numbers(values: Any) -> np.ndarray | None:
    """The column as float64, NaN where it is missing; true and false are 1 and 0. None when it is no numbers."""
    kind = values.type
    if pa.types.is_string(kind):
        if _all_match(values, "(?i)^(true|false)$"):
            values = pc.equal(pc.utf8_lower(values), "true")
        try:
            values = values.cast(pa.float64())
        except pa.ArrowInvalid:
            return None
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)) and not (
        pa.types.is_boolean(kind) or pa.types.is_null(kind)
    ):
        return None
    return np.asarray(pc.fill_null(values.cast(pa.float64(), safe=False), np.nan))


def _checked_numbers(values: Any, name: str, dtype: np.dtype) -> np.ndarray:
    """The column as numbers that ``dtype`` holds, or an error with the first value that is none."""
    numbers = _numbers(values)
    if numbers is None:
        row, value = _odd_one(values)
        raise ValueError(f"column {name!r} must hold numbers, row {row} has {value!r}")
    bad = np.abs(numbers) > np.finfo(dtype).max
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"column {name!r} must hold finite numbers, row {row + 1} has {numbers[row]:g}")
    return numbers


def _odd_one(values: Any) -> tuple[int, Any]:
    """Row (from 1) and value of the first text that is no number."""
    odd = (
        pc.invert(pc.match_substring_regex(values, _NUMBER)) if pa.types.is_string(values.type) else pc.is_valid(values)
    )
    row = int(np.argmax(np.asarray(pc.fill_null(odd, False))))
    return row + 1, values[row].as_py()


def _texts(values: Any) -> Any:
    return values.cast(pa.string())


@dataclass(frozen=True)
class Column:
    """A column that a network takes: one standardised number, or one input of 0 or 1 for each of its categories.

    ``mean`` stands in for a missing number. A None among ``categories`` is the missing value; a category that is not
    among them makes all its inputs 0.
    """

    name: str
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str | None, ...] = ()

    @property
    def inputs(self) -> list[str]:
        """Names of the network's inputs that it fills, in order."""
        if not self.categories:
            return [self.name]
        return [f"{self.name} is {'missing' if value is None else repr(value)}" for value in self.categories]

    def __str__(self) -> str:
        """What it takes, in words."""
        if not self.categories:
            return f"a number, {self.mean:.4g} ± {self.std:.4g}"
        return "one of " + ", ".join("(missing)" if value is None else value for value in self.categories)

    def fill(self, values: Any, out: np.ndarray) -> None:
        """Write the raw numbers, or ones among the zeros, of (n_samples, n_inputs) into ``out``."""
        if not self.categories:
            numbers = _checked_numbers(values, self.name, out.dtype)
            out[:, 0] = np.where(np.isnan(numbers), self.mean, numbers)
            return
        places = pc.index_in(_texts(values), pa.array(self.categories, pa.string()))
        rows = np.flatnonzero(np.asarray(places.is_valid()))
        out[rows, np.asarray(places.drop_null())] = 1
        if len(rows) < len(out):
            strange = values.filter(pc.is_null(places))[0].as_py()
            value = "a missing value" if strange is None else repr(strange)
            warnings.warn(
                f"column {self.name!r} has {value}, which the model has never seen; "
                f"in {len(out) - len(rows)} of {len(out)} rows it is taken as none of the categories",
                stacklevel=4,
            )


@dataclass(frozen=True)
class Schema:
    """What the columns of a table mean to a network: which it takes, as what, and what its outputs are called.

    Parameters
    ----------
    columns : tuple of Column
        In the order of the network's inputs.
    target : str
        Name of the column to predict.
    classes : tuple of str
        The target's values in the order of the network's outputs; empty for regression.
    """

    columns: tuple[Column, ...]
    target: str
    classes: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[str]:
        """A name for each of the network's inputs, in order."""
        return [name for column in self.columns for name in column.inputs]

    def input_layer(self) -> dict[str, Any]:
        """The input layer that standardises the numbers and leaves the categories alone."""
        widths = [len(column.inputs) for column in self.columns]
        shift = np.repeat([column.mean for column in self.columns], widths)
        scale = np.repeat([1 / column.std for column in self.columns], widths)
        return {"n": len(shift), "act": None, "shift": shift, "scale": scale}

    def encode(self, table: Mapping[str, Any], dtype: Any = np.float32) -> np.ndarray:
        """The table as x (n_samples, n_in), in raw numbers: the network's input layer standardises them.

        Columns may come in any order, and others with them. A column that is missing, or holds something else than
        numbers where numbers were learnt from, is a ValueError. A category that was not there in training is a
        warning.
        """
        require_columns(table, [column.name for column in self.columns])
        x = np.zeros((len(next(iter(table.values()))), len(self.inputs)), dtype)
        at = 0
        for column in self.columns:
            width = len(column.inputs)
            column.fill(table[column.name], x[:, at : at + width])
            at += width
        return x

    def encode_target(self, table: Mapping[str, Any], dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """The rows that have a target, and their y: class indices or numbers."""
        require_columns(table, [self.target])
        values = table[self.target]
        rows = np.flatnonzero(np.asarray(values.is_valid()))
        if not self.classes:
            return rows, _checked_numbers(values, self.target, np.dtype(dtype))[rows]
        texts = _texts(values.drop_null())
        places = pc.index_in(texts, pa.array(self.classes))
        if places.null_count:
            strange = texts.filter(places.is_null())[0].as_py()
            raise ValueError(
                f"column {self.target!r} has {strange!r}, which is none of the classes {', '.join(self.classes)}"
            )
        return rows, np.asarray(places).astype(np.int64)

    @classmethod
    def of(
        cls,
        table: Mapping[str, Any],
        target: str,
        task: str = "auto",
        *,
        ignore: Collection[str] = (),
        category: Collection[str] = (),
    ) -> Schema:
        """Decide what each column is; numbers are not yet standardised (`fitted` does that).

        Parameters
        ----------
        table : dict of arrays
        target : str
        task : "auto", "classification" or "regression"
            "auto" is classification where the target is text, true and false, two whole numbers, or whole numbers of
            at most 20 different values and five times as many rows; otherwise regression.
        ignore, category : names
            Columns to leave out, and those whose values are categories whatever they look like.

        Raises
        ------
        ValueError
            For a column that is not there, a target without two different values, and columns of dates, free text
            and the like, all named.
        """
        require_columns(table, [target, *ignore, *category])
        classes = _classes(table[target], target, task)
        columns, refused = [], {}
        for name, values in table.items():
            if name == target or name in ignore:
                continue
            trouble = "" if name in category else _trouble(values)
            if trouble:
                refused[name] = trouble
            elif name in category or _numbers(values) is None:
                columns.append(Column(name, categories=_categories(values)))
            else:
                columns.append(Column(name))
        if refused:
            raise ValueError(
                f"cannot learn from {'; '.join(f'column {name!r}: {why}' for name, why in refused.items())}"
                f" (leave columns out with --ignore NAME, or take their values as categories with --category NAME)"
            )
        if not columns:
            raise ValueError(f"there is no column besides {target!r} to learn from")
        return cls(tuple(columns), target, classes)

    def fitted(self, table: Mapping[str, Any], rows: np.ndarray, dtype: Any = np.float32) -> Schema:
        """This schema with the means, deviations and categories of some rows; without columns that are constant there.

        Raises
        ------
        ValueError
            When every column is constant.
        """
        columns: list[Column] = []
        constant: list[Column] = []
        for column in self.columns:
            if column.categories:
                categories = _categories(table[column.name].take(rows))
                new = Column(column.name, categories=categories) if len(categories) > 1 else None
            else:
                new = _standardised(
                    column.name, _checked_numbers(table[column.name], column.name, np.dtype(dtype))[rows]
                )
                if new and abs(new.mean) * np.finfo(dtype).eps > 0.01 * new.std:
                    warnings.warn(
                        f"column {new.name!r} varies little around {new.mean:g}: {np.dtype(dtype)} keeps less than "
                        "two digits of that",
                        stacklevel=3,
                    )
            (columns if new else constant).append(new or column)
        if not columns:
            raise ValueError("every column is constant: there is nothing to learn from")
        if constant:
            names = ", ".join(repr(column.name) for column in constant)
            warnings.warn(f"left out, because it is constant: column {names}", stacklevel=2)
        return Schema(tuple(columns), self.target, self.classes)

    def store(self, model: MLP) -> None:
        """Give a model the names of its columns, categories and classes, which `MLP.save` keeps."""
        columns = [{"name": c.name, "categories": list(c.categories)} for c in self.columns]
        model.metadata["table"] = {"target": self.target, "columns": columns}
        model.class_names = self.classes or None

    @classmethod
    def stored_in(cls, model: MLP) -> Schema:
        """The schema of a model that `store` gave one; ValueError where there is none, or none that fits."""
        if "table" not in model.metadata:
            raise ValueError("the model was not trained on a table by `fastmlp train`: it has no column names")
        try:
            stored = model.metadata["table"]
            columns: list[Column] = []
            shift, scale, at = model.spec.shift or (), model.spec.scale or (), 0
            for entry in stored["columns"]:
                categories = tuple(None if value is None else str(value) for value in entry["categories"])
                columns.append(Column(str(entry["name"]), shift[at], 1 / scale[at], categories))
                at += len(columns[-1].inputs)
            schema = cls(tuple(columns), str(stored["target"]), model.class_names or ())
        except (TypeError, KeyError, IndexError, ZeroDivisionError):
            raise ValueError("the model's description of its columns is broken") from None
        if len(schema.inputs) != model.spec.n_in:
            raise ValueError("the model's description of its columns does not fit its inputs")
        return schema


def write_parquet(columns: Mapping[str, np.ndarray], path: Path) -> None:
    """Write columns of one length to a Parquet file."""
    require("pyarrow.parquet", "cli", "writing Parquet").write_table(
        pa.table({name: pa.array(values) for name, values in columns.items()}), path
    )


def split(y: np.ndarray, n_classes: int, fraction: float, seed: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and rows held out: that share of each class, or of all rows where there are no classes."""
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(y == k) for k in range(n_classes)] or [np.arange(len(y))]
    held = np.concatenate([rng.permutation(group)[: round(fraction * len(group))] for group in groups])
    if len(held) == len(y):
        raise ValueError(f"a validation share of {fraction:g} leaves no rows to train on")
    return np.setdiff1d(np.arange(len(y)), held), np.sort(held)


def require_columns(table: Mapping[str, Any], names: Sequence[str]) -> None:
    """ValueError with the columns that the table lacks, and the nearest one that it has."""
    lacking = [name for name in names if name not in table]
    if len(lacking) == 1:
        raise ValueError(f"there is no column {lacking[0]!r}{nearest(lacking[0], table)}")
    if lacking:
        raise ValueError(f"there are no columns {', '.join(map(repr, lacking))}; there are {', '.join(table)}")


def _categories(values: Any) -> tuple[str | None, ...]:
    found = _texts(values).unique().to_pylist()
    return (*sorted(value for value in found if value is not None), *([None] if None in found else []))


def _standardised(name: str, numbers: np.ndarray) -> Column | None:
    """The column with its mean and deviation; None when it is constant."""
    numbers = numbers[~np.isnan(numbers)]
    if not len(numbers) or numbers.min() == numbers.max():
        return None
    return Column(name, float(numbers.mean()), float(numbers.std()))


def _trouble(values: Any) -> str:
    """Why nothing can be learnt from a column as it is, or nothing."""
    if _numbers(values) is not None:
        return ""
    if pa.types.is_temporal(values.type) or _all_match(values, _DATE):
        return "dates or times"
    if not pa.types.is_string(values.type):
        return f"values of type {values.type}"
    n_rows = len(values) - values.null_count
    n_numbers = pc.sum(pc.match_substring_regex(values, _NUMBER)).as_py()
    if n_numbers >= 0.9 * n_rows:
        row, value = _odd_one(values)
        return f"numbers, but {value!r} in row {row}"
    n_values = len(values.unique())
    if n_values > min(100, max(20, n_rows // 2)):
        return f"free text, {n_values} different values in {n_rows} rows"
    return ""


def _classes(values: Any, name: str, task: str) -> tuple[str, ...]:
    """The target's classes, in the order of numbers where they are numbers; none for regression."""
    there = values.drop_null()
    found = there.unique()
    if len(found) < 2:
        only = f"one value only, {found[0].as_py()!r}" if len(found) else "no values"
        raise ValueError(f"column {name!r} has {only}: there is nothing to learn")
    numbers = _numbers(there)
    if task == "auto":
        few = len(found) <= max(2, min(20, len(there) // 5))
        whole = numbers is not None and bool(np.all(numbers == np.floor(numbers)))
        task = "classification" if numbers is None or (few and whole) else "regression"
    if task == "regression":
        _checked_numbers(values, name, np.dtype(np.float64))
        return ()
    if len(found) > max(20, len(there) // 2):
        raise ValueError(
            f"column {name!r} has {len(found)} different values in {len(there)} rows, too many for classes"
        )
    texts = _texts(found)
    return tuple(sorted(texts.to_pylist(), key=float if _all_match(texts, _NUMBER) else str))
