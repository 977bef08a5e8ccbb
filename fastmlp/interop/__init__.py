"""Conversion to and from other libraries and languages, one file for each, whose library is imported at first use."""

# Each file has one dict with the other library's names of our activations.

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ..base.extras import require

if TYPE_CHECKING:
    from .c import to_c
    from .keras import from_keras, to_keras
    from .onnx import from_onnx, to_onnx
    from .sklearn import from_sklearn
    from .torch import from_torch, to_torch

__all__ = ["from_keras", "from_onnx", "from_sklearn", "from_torch", "to_c", "to_keras", "to_onnx", "to_torch"]

_EXTRAS = {"onnx": "onnx", "sklearn": "sklearn"}  # PyTorch and Keras are the user's own choice of build


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'fastmlp.interop' has no attribute {name!r}")
    world = name.partition("_")[2]
    if world != "c":
        require(world, _EXTRAS.get(world), f"fastmlp.interop.{name}")
    return getattr(importlib.import_module(f"{__name__}.{world}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
