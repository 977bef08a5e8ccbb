"""Writing files completely or not at all, whatever happens meanwhile."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["remove_leftovers", "write_whole"]

_TOKEN = 8  # random bytes in a temporary file's name


def write_whole(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``: who reads it meanwhile, or after a crash, finds the old file or the new one.

    The temporary file is in the same folder, because a rename is atomic only within one file system. It is synced
    before the rename, since a power cut could otherwise leave an empty file, and the folder after it, if the system
    can. The permissions of an older file are kept, and a link remains a link to the file that is replaced.
    """
    import shutil

    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a file to write to")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a device or the like, which a file would replace")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} to write {path.name} to")
    temporary = path.with_name(f"{path.name}.{os.urandom(_TOKEN).hex()}.part")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            shutil.copymode(path, temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # elsewhere a folder cannot be opened
        with contextlib.suppress(OSError):  # some file systems do not sync folders
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes left beside ``path``, to which nobody may be writing."""
    path = Path(os.path.realpath(path))
    for leftover in path.parent.glob(f"{_literal(path.name)}.{'[0-9a-f]' * 2 * _TOKEN}.part"):
        leftover.unlink(missing_ok=True)


def _literal(name: str) -> str:
    """Escape a file name for use in a glob pattern."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
