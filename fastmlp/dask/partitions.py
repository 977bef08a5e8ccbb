"""Dask collections as partitions: which parts of x, y and weights belong together, and one partition as arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np

from ..model.names import NO_NAMES, Names, takes_labels
from ..spec import Spec

__all__ = ["Part", "check_columns", "holds_labels", "is_dask", "partitions", "sum_in_tree"]

_FAN_IN = 8  # partial sums that one task adds up: fewer tasks than by twos, and the same sums for any workers


class Part(NamedTuple):
    """One partition as a worker gets it: x, y, and the samples' weights or None, as arrays or frames."""

    number: int
    x: Any
    y: Any
    weights: Any


def is_dask(value: Any) -> bool:
    """Whether the value is a Dask array, dataframe or series."""
    return isinstance(value, (da.Array, dd.DataFrame, dd.Series))


def check_columns(x: Any, n_in: int, names: Names, name: str = "x") -> Any:
    """Return x, a Dask array or dataframe of n_in features in one chunk, with these names if there are any, or refuse
    it."""
    if not isinstance(x, (da.Array, dd.DataFrame)):
        hint = f"; dask.array.from_array({name}, chunks=(10_000, -1)) makes one" if isinstance(x, np.ndarray) else ""
        raise TypeError(f"{name} must be a dask array or dataframe, got {type(x).__name__}{hint}")
    if x.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional, (n_samples, {n_in}), got {x.ndim} dimension(s)")
    if isinstance(x, dd.DataFrame):
        names.check_columns(x._meta, name)
    n_features = len(x.columns) if isinstance(x, dd.DataFrame) else x.shape[1]
    if n_features != n_in:
        turned = isinstance(x, da.Array) and x.shape[0] == n_in
        hint = f"; samples are rows: give {name}.T" if turned else ""
        raise ValueError(f"{name} has {n_features} features, the network takes {n_in}{hint}")
    return _numeric(_in_one_chunk(x, name), name)


def partitions(x: Any, y: Any, sample_weight: Any, spec: Spec, names: Names = NO_NAMES, name: str = "") -> list[Part]:
    """Pair the partitions of x with those of y and of the weights; messages put ``name`` before their names.

    Arrays with known chunks other than those of x are cut like x. Frames, and arrays with unknown chunks, must have as
    many partitions as x, of the same lengths, which is checked when they are read.
    """
    x = check_columns(x, spec.n_in, names, f"{name}x")
    columns = [_delayed(x)]
    for values, title in ((y, f"{name}y"), (sample_weight, f"{name}sample_weight")):
        may_be_labels = values is y and takes_labels(spec)
        columns.append(
            [None] * len(columns[0]) if values is None else _delayed(_aligned(values, x, title, may_be_labels))
        )
    return [Part(i, *of_one) for i, of_one in enumerate(zip(*columns, strict=True))]


def _in_one_chunk(values: Any, name: str) -> Any:
    if isinstance(values, da.Array) and values.ndim == 2 and values.numblocks[1] > 1:
        remedy = f"{name}.rechunk({{1: -1}})"
        raise ValueError(f"{name} is chunked along its columns, a sample must be in one chunk: give {remedy}")
    return values


def _numeric(values: Any, name: str) -> Any:
    """Return the values; a TypeError if their dtype, or that of a column, is not numeric."""
    for what, dtype in _dtypes(values, name).items():
        if not _is_numeric(dtype):
            raise TypeError(
                f"{what} is of dtype {dtype}, numbers are wanted; categories and text become numbers by "
                "series.astype('category').cat.as_known().cat.codes"
            )
    return values


def holds_labels(y: Any) -> bool:
    """Whether the dtype of a Dask collection means that it holds labels, not numbers."""
    return any(dtype.kind not in "fiu" for dtype in _dtypes(y, "y").values())


def _dtypes(values: Any, name: str) -> dict[str, Any]:
    """The dtype of values, or of each of their columns, by its name in messages."""
    if isinstance(values, da.Array) or values.ndim == 1:
        return {name: values.dtype}
    return {f"column {column!r} of {name}": dtype for column, dtype in values.dtypes.items()}


def _is_numeric(dtype: Any) -> bool:
    """Whether a dtype of NumPy, or a corresponding one of pandas, is numeric."""
    return getattr(dtype, "numpy_dtype", dtype).kind in "fiub"


def _aligned(values: Any, x: Any, name: str, may_be_labels: bool) -> Any:
    """Return the values of x's samples, labels or numbers, in partitions like those of x."""
    if not is_dask(values):
        raise TypeError(f"{name} must be a dask array, series or dataframe, as x is, got {type(values).__name__}")
    _in_one_chunk(values, name)
    if not may_be_labels:
        _numeric(values, name)
    own, wanted = _lengths(values), _lengths(x)
    if own is not None and wanted is not None:
        if sum(own) != sum(wanted):
            raise ValueError(f"{name} has {sum(own)} rows, x has {sum(wanted)} samples")
        return values if own == wanted else values.rechunk({0: wanted})
    if _count(values) != _count(x):
        raise ValueError(
            f"{name} has {_count(values)} partitions, x has {_count(x)}, and their lengths are not known: make both "
            "from one dataframe, or call compute_chunk_sizes() on the arrays"
        )
    return values


def _lengths(values: Any) -> tuple[int, ...] | None:
    """The number of rows of each partition; None if unknown."""
    if not isinstance(values, da.Array) or any(np.isnan(values.chunks[0])):
        return None
    return values.chunks[0]


def _count(values: Any) -> int:
    return values.numblocks[0] if isinstance(values, da.Array) else values.npartitions


def _delayed(values: Any) -> list[Any]:
    """The partitions, one by one. Frames are not optimised, because that might join the partitions of x differently
    from those of y, and read a file twice that both come from."""
    if isinstance(values, da.Array):
        return list(np.ravel(values.to_delayed()))
    return values.to_delayed(optimize_graph=False)


def sum_in_tree(parts: Sequence[Any], add: Callable[..., Any]) -> Any:
    """Add delayed values in a tree that depends only on their number."""
    level = list(parts)
    adds = dask.delayed(add, pure=False)
    while len(level) > 1:
        groups = [level[start : start + _FAN_IN] for start in range(0, len(level), _FAN_IN)]
        level = [group[0] if len(group) == 1 else adds(*group) for group in groups]
    return level[0]
