"""Unpacking of gzip, bzip2, xz and zip files, none of which may fill the memory."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

__all__ = ["members", "unpacked"]

_MUCH, _TIMES = 1 << 28, 200  # what unpacks to more bytes than this, and to so many times its size, is refused
_PACKED: dict[bytes, tuple[str, Any]] = {
    b"\x1f\x8b": ("gzip", gzip.open),
    b"BZh": ("bzip2", bz2.open),
    b"\xfd7zXZ\0": ("xz", lzma.open),
}


def unpacked(data: bytes) -> bytes | None:
    """Return the content of a gzip, bzip2 or xz file; None for other files."""
    found = next((packing for mark, packing in _PACKED.items() if data.startswith(mark)), None)
    if found is None:
        return None
    name, opened = found
    parts, size = [], 0
    try:
        with opened(io.BytesIO(data)) as file:
            while part := file.read(1 << 20):
                size += len(part)
                _check_size(size, len(data))
                parts.append(part)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        raise ValueError(f"is no sound {name} file") from None
    return b"".join(parts)


def members(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Read the files of a zip archive, one after another: name and content."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        entries = [entry for entry in archive.infolist() if not entry.filename.endswith("/")]
        _check_size(sum(entry.file_size for entry in entries), len(data))
        for entry in entries:
            yield entry.filename, archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError) as error:
        raise ValueError(f"is no sound zip file: {error}") from None
    except (NotImplementedError, RuntimeError) as error:  # another way to compress, a password
        raise ValueError(f"cannot be unpacked: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise ValueError("is no sound zip file: it places a part before its beginning") from None


def _check_size(size: int, packed: int) -> None:
    """Raise ValueError for a content so large that it was probably made to fill the memory."""
    if size > max(_MUCH, _TIMES * packed):
        raise ValueError(f"unpacks to more than {_TIMES} times its size; unpack it yourself, if it should be read")
