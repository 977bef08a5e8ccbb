"""Missing values among Python objects, in the forms of all libraries."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["is_missing"]


def is_missing(value: Any) -> bool:
    """Whether a Python object is a missing value: None, NaN, or pandas' forms of it."""
    if isinstance(value, (float, np.floating)):
        return bool(value != value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")
