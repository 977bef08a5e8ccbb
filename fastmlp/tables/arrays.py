"""NumPy's own files as tables, read without running code or allocating what a header only claims."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np

from .values import TEXT

__all__ = ["columns_of_array", "read_array"]


def columns_of_array(name: str, array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The columns of an array by name: "name"; a structured array's fields; or "name[0]", "name[1]", … of a matrix."""
    if array.dtype.names is not None:
        for field in array.dtype.names:
            yield from columns_of_array(field, array[field])
        return
    kind, itemsize = array.dtype.kind, array.dtype.itemsize
    if array.ndim == 0 or kind not in "fiubU":
        raise ValueError(f"an array of shape {array.shape} and dtype {array.dtype} is no table")
    if kind == "f" and itemsize not in (4, 8):
        with np.errstate(invalid="ignore"):  # bits that are no number may be in a file
            array = array.astype(np.float64)
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if kind == "U":
        try:
            array = array.astype(TEXT)
        except TypeError:
            raise ValueError("has text of characters that there are not") from None
    for i, values in enumerate(array.reshape(len(array), math.prod(array.shape[1:])).T):
        yield (f"{name}[{i}]" if array.ndim > 1 else name), np.ascontiguousarray(values)


def read_array(file: IO[bytes], size: int) -> np.ndarray:
    """Read an .npy of ``size`` bytes, without allocating what its header claims but the file lacks, or running code."""
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
    """Read shape and dtype from the header of an .npy; names of fields are read as Latin-1, which may be wrong."""
    try:
        if np.lib.format.read_magic(file) == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        else:
            shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    except Exception as error:  # the header is a Python expression, which Python's parsers read, and raise what they do
        raise ValueError("is no .npy file, or its header is damaged") from error
    return shape, dtype
