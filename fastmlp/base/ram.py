"""The memory that is left on this machine, so that what does not fit is refused before it begins."""

from __future__ import annotations

import os

__all__ = ["available_memory", "check_memory"]

_LITTLE = 1 << 28  # bytes that are taken without asking
_GROUP_LIMITS = "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"  # of a container


def available_memory() -> int | None:
    """The bytes that new arrays can take without swapping, or those of the machine or container, whichever is known and
    less; None if neither is known.

    Windows does not promise memory that it does not have: NumPy itself raises MemoryError there.
    """
    known = [size for size in (_available_on_linux(), *map(_group_limit, _GROUP_LIMITS)) if size is not None]
    if not known and hasattr(os, "sysconf"):
        known = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return min(known, default=None)


def check_memory(needed: int, what: str, *numbers: object) -> None:
    """Raise MemoryError where ``what``, in which ``numbers`` are put for {}, needs more bytes than are available."""
    available = available_memory() if needed > _LITTLE else None
    if available is not None and needed > available:
        sizes = f"{needed / 1e9:,.1f} GB, of which {available / 1e9:,.1f} are available"
        raise MemoryError(f"{what.format(*numbers)} takes at least {sizes}")


def _available_on_linux() -> int | None:
    try:
        with open("/proc/meminfo") as file:
            sizes = dict(line.split(":") for line in file)
        return int(sizes["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return None


def _group_limit(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):  # there is none, or it is "max"
        return None
