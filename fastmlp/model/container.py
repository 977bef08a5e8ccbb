"""The container that models and checkpoints share: a safetensors file with a JSON document in its metadata.

The tensors are arrays that any tool can read; the metadata has one entry, "fastmlp": a JSON object that says what the
file is. Reading trusts nothing: what a file declares is compared with its size before memory is allocated for it, and a
SHA-256 over everything is compared with the one that was written. No code is run.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..base.extras import require
from ..base.text import refusal
from ..base.version import __version__

__all__ = ["Shapes", "Tensors", "check_finite", "entry", "reading", "to_bytes"]

_FORMAT = 1  # of the files written; all from 1 on can be read
_LONGEST_HEADER = 1 << 24  # bytes: JSON takes up to 24 times its length in memory
_DTYPES = {"F32": "float32", "F64": "float64"}  # as safetensors calls them

Tensors = dict[str, np.ndarray]
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]  # each tensor's dtype and shape


def to_bytes(kind: str, document: Mapping[str, Any], tensors: Tensors) -> bytes:
    """Return the content of a file of that kind: its JSON document, sealed with a SHA-256, and its tensors."""
    serialise = require("safetensors.numpy", "files", "writing a file").save
    description = {"format": _FORMAT, "kind": kind, "version": __version__, **document}
    description["sha256"] = _digest(description, tensors)
    arrays = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    content: bytes = serialise(arrays, {"fastmlp": json.dumps(description)})
    length = int.from_bytes(content[:8], "little")
    if length > _LONGEST_HEADER:
        raise ValueError(
            f"spec, names and metadata take {length} bytes, more than the {_LONGEST_HEADER} a file may have"
        )
    return content


@contextmanager
def reading(path: str | os.PathLike[str], *kinds: str) -> Iterator[tuple[dict[str, Any], Callable[[Shapes], Tensors]]]:
    """Open a file of one of the kinds, and yield its JSON document and a function that reads tensors of given dtypes
    and shapes.

    Every error of the content, here or in the ``with`` statement, becomes a ValueError that names the file.
    """
    safetensors = require("safetensors", "files", "reading a file")
    path = Path(path)
    try:
        header = _header(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            json.loads(header, object_pairs_hook=_without_duplicates)
            document = _document(file.metadata(), kinds)
            yield document, lambda shapes: _take(file, document, shapes)
    except (ValueError, TypeError, OverflowError, RecursionError, safetensors.SafetensorError) as error:
        raise refusal(path, error) from None


def entry(document: Mapping[str, Any], name: str, kind: type) -> Any:
    """Return the document's value of that name; a ValueError if it is not of that JSON type."""
    value = document.get(name)
    if type(value) is not kind:
        raise ValueError(f"{name!r} must be a {kind.__name__}, got {type(value).__name__}")
    return value


def _header(path: Path) -> bytes:
    """Read the bytes that describe the tensors, after a check that the file is as long as it says."""
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise ValueError("is a folder, not a file" if stat.S_ISDIR(info.st_mode) else "is not a regular file")
    if info.st_size == 0:
        raise ValueError("is empty")
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= info.st_size - 8:
            raise ValueError("is not a safetensors file, or it is cut")
        if length > _LONGEST_HEADER:
            raise ValueError(f"has a header of {length} bytes; {_LONGEST_HEADER} are the most")
        return file.read(length)


def check_finite(tensors: Tensors) -> None:
    """Refuse parameters and optimiser states that are not finite, which no training leaves behind."""
    for name, values in tensors.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} holds NaN or infinity; such a network is not kept in a file")


def _document(metadata: Mapping[str, str] | None, kinds: Sequence[str]) -> dict[str, Any]:
    """Parse the JSON object in the metadata, which must be of one of the kinds and of a format that can be read."""
    if metadata is None or "fastmlp" not in metadata:
        raise ValueError("is a safetensors file, but not one that fastmlp wrote")
    document = json.loads(metadata["fastmlp"], object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant)
    if not isinstance(document, dict):
        raise ValueError(f"its description must be a JSON object, got {type(document).__name__}")
    kind = entry(document, "kind", str)
    if kind not in kinds:
        raise ValueError(f"is {'an' if kind == 'ensemble' else 'a'} {kind}, not a {' or an '.join(kinds)}")
    number = entry(document, "format", int)
    if number < 1:
        raise ValueError(f"has format {number}; they count from 1")
    if number > _FORMAT:
        raise ValueError(f"has format {number}, fastmlp {__version__} reads up to {_FORMAT}: a newer fastmlp wrote it")
    return document


def _take(file: Any, document: Mapping[str, Any], shapes: Shapes) -> Tensors:
    """Read the tensors of an open file, which must be exactly these, and compare them with its SHA-256."""
    names = set(file.keys())
    if missing_names := shapes.keys() - names:
        raise ValueError(f"lacks the tensor {min(missing_names)}")
    if extra_names := names - shapes.keys():
        raise ValueError(f"has a tensor {min(extra_names)!r}, which does not belong there")
    for name, (dtype, shape) in shapes.items():
        tensor = file.get_slice(name)
        kind, file_shape = tensor.get_dtype(), tuple(tensor.get_shape())
        if _DTYPES.get(kind) != dtype or file_shape != shape:
            got = f"{_DTYPES.get(kind, kind)} of shape {file_shape}"
            raise ValueError(f"{name} must be {dtype} of shape {shape}, got {got}")
    tensors = {name: file.get_tensor(name) for name in shapes}
    unsigned = {name: value for name, value in document.items() if name != "sha256"}
    if _digest(unsigned, tensors) != entry(document, "sha256", str):
        raise ValueError("is damaged: its SHA-256 differs from the one stored in it")
    return tensors


def _digest(document: Mapping[str, Any], tensors: Tensors) -> str:
    """SHA-256 over the JSON and, in the order of names, each tensor's name, dtype, shape and stored bytes."""
    digest = hashlib.sha256(json.dumps(document).encode())
    for name, values in sorted(tensors.items()):
        digest.update(f"\n{name} {values.dtype.name} {values.shape}\n".encode())
        digest.update(np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).data)
    return digest.hexdigest()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a JSON object of these pairs; a ValueError if a name comes twice."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        if name in result:
            raise ValueError(f"has {name!r} twice in its header")
        result[name] = value
    return result


def _refuse_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python's JSON would accept."""
    raise ValueError(f"its description holds {name}, which is no JSON")
