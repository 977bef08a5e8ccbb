"""Files of models: a network's spec, parameters, class names and metadata, written and read. mlp.py makes the network.

The tensors that a file declares are held against its spec, as in container.py against the file's size, before a network
is built.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.atomic import write_whole
from ..base.checks import check_dtype
from ..spec import Spec
from .container import Shapes, Tensors, check_finite, entry, reading, to_bytes
from .data import check_class_names

__all__ = ["Contents", "named_tensors", "read", "write"]


class Contents(NamedTuple):
    """The checked contents of a model's file; ``tensors`` has the names of `named_tensors`."""

    spec: Spec
    dtype: np.dtype
    tensors: Tensors
    class_names: tuple[str, ...] | None
    metadata: dict[str, Any]


def write(
    path: str | os.PathLike[str],
    spec: Spec,
    dtype: np.dtype,
    tensors: Tensors,
    class_names: Sequence[str] | None,
    metadata: dict[str, Any],
) -> None:
    """Write a model's file, whole or not at all. ValueError or TypeError before that for what cannot be kept in one."""
    check_finite(tensors)
    document = {
        "dtype": dtype.name,
        "spec": json.loads(spec.to_json()),
        "class_names": class_names,
        "metadata": _check_json(metadata),
    }
    write_whole(Path(path), to_bytes("model", document, tensors))


def read(path: str | os.PathLike[str]) -> Contents:
    """Read a model's file. ValueError for whatever is not a whole and sound one, naming the file and the trouble."""
    with reading(path, "model") as (document, take):
        spec = Spec.restored(entry(document, "spec", list))
        dtype = check_dtype(entry(document, "dtype", str))
        spec.check_range(dtype)
        tensors = take(_shapes(spec, dtype))
        check_finite(tensors)
        class_names = document.get("class_names")
        if class_names is not None:
            class_names = check_class_names(class_names, spec)
        return Contents(spec, dtype, tensors, class_names, entry(document, "metadata", dict))


def named_tensors(spec: Spec, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> Tensors:
    """A network's arrays by their names in a file: "weights.1" (n_out, n_in), "biases.1" (n_out,) and so on."""
    tensors = {}
    for i, layer in enumerate(spec.layers):
        tensors[f"weights.{i + 1}"] = weights[i]
        if layer.bias:
            tensors[f"biases.{i + 1}"] = biases[i]
    return tensors


def _shapes(spec: Spec, dtype: np.dtype) -> Shapes:
    """The dtypes and shapes of `named_tensors`, for a spec that may be too large to build a network of."""
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for i, (layer, n_in) in enumerate(zip(spec.layers, spec.widths, strict=False), 1):
        shapes[f"weights.{i}"] = dtype.name, (layer.n, n_in)
        if layer.bias:
            shapes[f"biases.{i}"] = dtype.name, (layer.n,)
    return shapes


def _check_json(metadata: Any) -> dict[str, Any]:
    """Refuse metadata that JSON would not give back as it is."""
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata must be a dict, got {type(metadata).__name__}")
    try:
        copy = json.loads(json.dumps(metadata, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata cannot be written as JSON: {error}") from None
    if copy != metadata:
        raise ValueError("metadata would come back from JSON changed; its keys must be strings, its sequences lists")
    return metadata
