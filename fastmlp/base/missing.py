"""Missing values among Python objects, whatever a library calls them."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["is_missing"]


def is_missing(value: Any) -> bool:
    """Whether a Python object is a missing value: None, NaN, or what pandas has for them."""
    if isinstance(value, (float, np.floating)):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")
