"""Frames of other libraries, and their columns: pandas, polars, Arrow, and all that Arrow can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .extras import require

__all__ = ["cells_of", "columns_of", "is_categorical", "is_frame", "named_columns", "objects_of", "only_column"]

_CATEGORICAL = ("CategoricalDtype", "Categorical", "Enum", "DictionaryType")  # pandas', polars', Arrow's


def is_frame(values: Any) -> bool:
    """Whether an object is a table with named columns: of pandas, polars or Arrow, or one that Arrow can read."""
    kind = type(values)  # whose attributes cost nothing: a lazy frame's names are computed
    if kind is np.ndarray or kind is list:
        return False
    if hasattr(kind, "columns"):
        return any(hasattr(kind, name) for name in ("iloc", "get_columns", "__arrow_c_stream__"))
    return hasattr(kind, "__arrow_c_stream__") and not hasattr(kind, "__array__")


def named_columns(frame: Any) -> list[Any]:
    """The names of a frame's columns, of whatever type."""
    if hasattr(frame, "column_names"):
        return list(frame.column_names)
    return list(frame.columns) if hasattr(frame, "columns") else list(_arrow(frame).column_names)


def columns_of(frame: Any) -> Iterator[tuple[Any, Any]]:
    """The columns of a frame with their names, one after another, for `cells_of`."""
    if hasattr(frame, "iloc"):
        for i, name in enumerate(frame.columns):
            yield name, frame.iloc[:, i]
    elif hasattr(frame, "get_columns"):
        for column in frame.get_columns():
            yield column.name, column
    else:
        table = _arrow(frame)
        yield from zip(table.column_names, table.columns, strict=True)


def only_column(values: Any) -> Any:
    """The column of a frame with a single one; anything else unchanged."""
    if not is_frame(values) or len(named_columns(values)) != 1:
        return values
    return next(column for _, column in columns_of(values))


def is_categorical(values: Any) -> bool:
    """Whether the values are one of some categories each, as pandas, polars and Arrow know them."""
    return type(getattr(values, "dtype", getattr(values, "type", None))).__name__ in _CATEGORICAL


def cells_of(values: Any) -> np.ndarray:
    """The values of a column, or of anything that NumPy takes: numbers and moments as NumPy arrays, else objects.

    Whole numbers with missing ones among them become float64 with NaN; other missing values are None.
    """
    if isinstance(values, np.ndarray) or isinstance(getattr(values, "dtype", None), np.dtype):
        return np.asarray(values)
    if hasattr(values, "iloc") or hasattr(values, "_values_for_argsort"):  # pandas: a column, or what is behind one
        return _of_pandas(values)
    if hasattr(values, "to_list") and hasattr(values, "null_count"):
        return _of_polars(values)
    if hasattr(values, "to_pylist"):
        return _of_arrow(values)
    return np.asarray(values)


def _of_pandas(values: Any) -> np.ndarray:
    """Cells of a nullable, categorical, sparse, text, pyarrow or time zone's column."""
    dtype = values.dtype
    if type(dtype).__name__ == "CategoricalDtype":
        kind = dtype.categories.dtype
        if isinstance(kind, np.dtype) and kind.kind in "iub" and values.isna().any():
            kind = np.dtype(object)
        values = values.astype(kind if len(dtype.categories) else object)
        return cells_of(values)
    if type(dtype).__name__ == "SparseDtype":
        return np.asarray(values)
    kind = getattr(dtype, "kind", "O")
    if kind not in "iufb" or not hasattr(dtype, "numpy_dtype"):
        return objects_of(values.to_numpy(object, na_value=None))
    if not values.isna().any():
        return values.to_numpy(dtype.numpy_dtype)
    return (
        objects_of(values.to_numpy(object, na_value=None))
        if kind == "b"
        else values.to_numpy(np.float64, na_value=np.nan)
    )


def _of_polars(values: Any) -> np.ndarray:
    """Cells of a polars column."""
    kind = values.dtype
    if kind.is_numeric() or kind.is_temporal() or (not values.null_count() and str(kind) == "Boolean"):
        array = values.to_numpy()
        return array if array.dtype.kind != "O" else array.astype(np.float64)  # decimals
    if str(kind) == "Null":
        return np.full(len(values), np.nan)
    return objects_of(values.to_list())


def _of_arrow(values: Any) -> np.ndarray:
    """Cells of an Arrow column."""
    pa = require("pyarrow", "tables", "Arrow's tables")
    kind = values.type
    if pa.types.is_decimal(kind) or (pa.types.is_integer(kind) and values.null_count):
        values, kind = values.cast(pa.float64(), safe=False), pa.float64()
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return values.to_numpy(zero_copy_only=False)
    if pa.types.is_timestamp(kind):
        return values.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False).astype("M8[us]")
    if pa.types.is_null(kind):
        return np.full(len(values), np.nan)
    cells = values.to_pylist()
    return np.array(cells, bool) if pa.types.is_boolean(kind) and not values.null_count else objects_of(cells)


def objects_of(cells: Any) -> np.ndarray:
    """A list of Python objects as an array of them, (n,)."""
    array = np.empty(len(cells), object)
    array[:] = cells
    return array


def _arrow(frame: Any) -> Any:
    """The frame as an Arrow table; a TypeError if Arrow cannot read it."""
    pa = require("pyarrow", "tables", "a frame that is neither pandas' nor polars'")
    if isinstance(frame, pa.Table):
        return frame
    try:
        return pa.table(frame)
    except (pa.ArrowException, TypeError) as error:
        raise TypeError(f"{type(frame).__name__} is no table: {error}") from None
