"""The number of cores that can be used."""

from __future__ import annotations

import math
import os
from pathlib import Path

__all__ = ["usable_cores"]


def usable_cores() -> int:
    """Count the processor's cores that this process may use at once: those that it may run on, or fewer if a
    container's limit (by Linux control groups) allows less of their time."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, math.floor(min(cores, _limit(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))))))


def _limit(root: Path, membership: Path) -> float:
    """The number of cores whose time the process's control group and its parents allow, from files of version 2 and
    version 1; infinite if there is no limit, or no readable file.

    ``membership`` lists the groups as lines like 0::/a/b (version 2) or 4:cpu,cpuacct:/a/b (version 1), whose files
    stand in folders below ``root``; in a container ``root`` itself may be the group.
    """
    limit = math.inf
    for line in _text(membership).splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers in ("", "cpu", "cpu,cpuacct"):
            top = root / controllers
            group = top / path.strip("/")
            for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(top))):
                limit = min(limit, _limit_of(folder))
    return limit


def _limit_of(folder: Path) -> float:
    """The number of cores whose time one group allows."""
    quota = _text(folder / "cpu.max").split()
    if not quota:
        quota = [*_text(folder / "cpu.cfs_quota_us").split(), *_text(folder / "cpu.cfs_period_us").split()]
    try:
        allowed, period = map(int, quota)
    except ValueError:  # "max", or no such files
        return math.inf
    return allowed / period if allowed > 0 and period > 0 else math.inf


def _text(file: Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""
