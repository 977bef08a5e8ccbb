"""Where fastmlp keeps files of its own on this machine: compiled kernels, data sets that were downloaded."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """FASTMLP_CACHE_DIR, or the platform's own place for a user's caches; it may not exist yet."""
    if os.environ.get("FASTMLP_CACHE_DIR"):
        return Path(os.environ["FASTMLP_CACHE_DIR"])
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastmlp"
