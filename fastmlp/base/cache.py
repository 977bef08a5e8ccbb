"""The folder for fastmlp's own files on this machine: compiled kernels, downloaded data sets."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The folder FASTMLP_CACHE_DIR, or ``fastmlp`` in the platform's folder for caches; it may not exist yet."""
    if os.environ.get("FASTMLP_CACHE_DIR"):
        return Path(os.environ["FASTMLP_CACHE_DIR"])
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastmlp"
