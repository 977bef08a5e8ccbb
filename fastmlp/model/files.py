"""Files of models and ensembles: spec, parameters, names and metadata of each network, written and read.

loading.py makes the networks. Before one is built, the tensors that a file declares are compared with its specs, as
container.py compares them with the file's size.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..base.atomic import write_whole
from ..base.checks import check_dtype
from ..base.text import refusal
from ..spec import Spec
from .container import Shapes, Tensors, check_finite, entry, reading, to_bytes
from .names import Names

__all__ = ["Contents", "named_tensors", "read", "write", "write_ensemble"]


_OTHERS = {  # endings of other libraries' files, and what writes and reads them
    ".onnx": ("fastmlp.interop.to_onnx(model, path)", "fastmlp.interop.from_onnx(path)"),
    **dict.fromkeys(
        (".keras", ".h5"),
        ("fastmlp.interop.to_keras(model).save(path)", "fastmlp.interop.from_keras(keras.models.load_model(path))"),
    ),
    **dict.fromkeys(
        (".pt", ".pth"),
        (
            "torch.save(fastmlp.interop.to_torch(model), path)",
            "fastmlp.interop.from_torch(torch.load(path))",
        ),
    ),
}


class Contents(NamedTuple):
    """All that a file keeps of a network; ``tensors`` has the names of `named_tensors`."""

    spec: Spec
    dtype: np.dtype
    tensors: Tensors
    names: Names
    metadata: dict[str, Any]


def write(path: str | os.PathLike[str], contents: Contents) -> None:
    """Write a model's file, completely or not at all. What cannot be kept in one is a ValueError or TypeError."""
    _check_ending(path)
    write_whole(Path(path), to_bytes("model", _document(contents), contents.tensors))


def write_ensemble(path: str | os.PathLike[str], members: Sequence[Contents]) -> None:
    """Write an ensemble's file, as `write` does for a model; names of tensors begin with "models.1." and so on."""
    _check_ending(path)
    documents, tensors = [], {}
    for i, contents in enumerate(members):
        try:
            documents.append(_document(contents))
        except (TypeError, ValueError) as error:
            raise type(error)(f"models[{i}]: {error}") from None
        tensors.update({_prefix(i) + name: values for name, values in contents.tensors.items()})
    write_whole(Path(path), to_bytes("ensemble", {"models": documents}, tensors))


def read(path: str | os.PathLike[str]) -> Contents | list[Contents]:
    """Read a model's file, or the networks of an ensemble's.

    A file that is damaged or of another kind is a ValueError that names the file and the fault.
    """
    other = _OTHERS.get(Path(path).suffix.lower())
    if other and os.path.exists(path):
        raise refusal(path, f"is another library's kind of file; {other[1]} reads it")
    with reading(path, "model", "ensemble") as (document, take):
        if document["kind"] == "model":
            return _members([document], [""], take)[0]
        documents = entry(document, "models", list)
        return _members(documents, [_prefix(i) for i in range(len(documents))], take)


def _check_ending(path: str | os.PathLike[str]) -> None:
    """Raise ValueError for a file whose name promises another library's kind of file."""
    other = _OTHERS.get(Path(path).suffix.lower())
    if other:
        raise ValueError(f"{os.fspath(path)}: save writes safetensors files; {other[0]} writes this kind")


def _prefix(i: int) -> str:
    """The prefix of the names of tensors of an ensemble's network i, counted from 0."""
    return f"models.{i + 1}."


def _members(documents: list[Any], prefixes: list[str], take: Callable[[Shapes], Tensors]) -> list[Contents]:
    """Check the networks that the documents describe, and read their tensors, whose names begin with the prefixes."""
    kinds = [_spec_and_dtype(document) for document in documents]
    shapes: dict[str, tuple[str, tuple[int, ...]]] = {}
    for prefix, kind in zip(prefixes, kinds, strict=True):
        shapes.update({prefix + name: shape for name, shape in _shapes(*kind).items()})
    all_tensors = take(shapes)
    check_finite(all_tensors)
    members = []
    for document, prefix, (spec, dtype) in zip(documents, prefixes, kinds, strict=True):
        tensors = {name: all_tensors[prefix + name] for name in _shapes(spec, dtype)}
        members.append(
            Contents(spec, dtype, tensors, Names.restored(document, spec), entry(document, "metadata", dict))
        )
    return members


def _spec_and_dtype(document: Any) -> tuple[Spec, np.dtype]:
    """The spec and the dtype of the network that a JSON value describes."""
    if not isinstance(document, dict):
        raise ValueError(f"a network must be described by a dict, got {type(document).__name__}")
    spec = Spec.restored(entry(document, "spec", list))
    dtype = check_dtype(entry(document, "dtype", str))
    spec.check_range(dtype)
    return spec, dtype


def _document(contents: Contents) -> dict[str, Any]:
    """Describe a network in JSON; a ValueError or TypeError if it cannot be kept in a file."""
    check_finite(contents.tensors)
    return {
        "dtype": contents.dtype.name,
        "spec": json.loads(contents.spec.to_json()),
        "metadata": _check_json(contents.metadata),
        **contents.names.described(),
    }


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
    """Refuse metadata that would come back from JSON changed."""
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata must be a dict, got {type(metadata).__name__}")
    try:
        copy = json.loads(json.dumps(metadata, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"metadata cannot be written as JSON: {error}") from None
    if copy != metadata:
        raise ValueError("metadata would come back from JSON changed; its keys must be strings, its sequences lists")
    return metadata
