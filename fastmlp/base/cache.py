"""The folder for fastmlp's own files on this machine: compiled kernels, downloaded data sets.

Kernels are code: whoever can write there decides what this process runs. So, as ssh and sudo do with their files, a
folder or file is used only if it belongs to the user or root and nobody else may write to it; otherwise a temporary
folder that only the user may enter takes its place. Windows separates its users by other means and is not checked.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import stat
import sys
import warnings
from pathlib import Path

__all__ = ["cache_folder", "make_folder", "unless_unsafe", "why_unsafe"]


def cache_folder() -> Path:
    """The folder FASTMLP_CACHE_DIR, or ``fastmlp`` in the platform's folder for caches; it may not exist yet.

    If there is none, or others may write to it, a warning says so, and a temporary folder takes its place.
    """
    try:
        return unless_unsafe(_wanted_folder())
    except RuntimeError:  # no HOME, and no such user
        return _instead(None, "no home folder is known")


def unless_unsafe(folder: Path) -> Path:
    """Return the folder, or, if others may write to it, a temporary one, with a warning."""
    try:
        trouble = why_unsafe(os.stat(folder))
    except OSError:
        trouble = ""  # nothing is there, or nothing can be read
    return _instead(folder, trouble) if trouble else folder


def why_unsafe(status: os.stat_result) -> str:
    """Say why others may change a folder or file with this status; an empty text if they may not."""
    if os.name != "posix":
        return ""
    if status.st_uid not in (os.geteuid(), 0):
        return f"it belongs to another user, {status.st_uid}"
    if status.st_mode & stat.S_IWOTH:
        return "all users may write to it"
    if status.st_mode & stat.S_IWGRP and status.st_gid not in (os.getegid(), 0):
        return f"another group, {status.st_gid}, may write to it"
    return ""


def make_folder(folder: Path) -> None:
    """Make a folder, and missing ones above it, for this user alone; an OSError if others may write there."""
    for parent in (*reversed(folder.parents), folder):
        if not parent.exists():
            with contextlib.suppress(FileExistsError):  # another process was faster
                os.mkdir(parent, 0o700)
    if trouble := why_unsafe(os.stat(folder)):
        raise PermissionError(f"{folder} is not safe: {trouble}")


def _wanted_folder() -> Path:
    """The cache's place by the environment and the platform's customs; a RuntimeError if the home is unknown."""
    if os.environ.get("FASTMLP_CACHE_DIR"):
        return Path(os.environ["FASTMLP_CACHE_DIR"]).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fastmlp"


@functools.cache
def _instead(folder: Path | None, trouble: str) -> Path:
    """The temporary folder, with a warning that says why it is used, once for each reason."""
    private = _temporary_folder()
    place = "there is no folder for compiled kernels" if folder is None else f"the cache folder {folder} is not used"
    warnings.warn(
        f"{place}: {trouble}. They are kept in {private} until this process ends; set FASTMLP_CACHE_DIR to a folder of "
        "your own",
        stacklevel=2,
    )
    return private


@functools.cache
def _temporary_folder() -> Path:
    """A new folder that only this user may enter; removed when the process ends."""
    import shutil
    import tempfile

    folder, process = tempfile.mkdtemp(prefix="fastmlp-"), os.getpid()

    def remove() -> None:
        if os.getpid() == process:  # not a child that was forked
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return Path(folder)
