"""The memory that is left: what the system says, the limit of a container, and the refusal."""

from __future__ import annotations

import os

import numpy as np
import pytest

from fastmlp.base import ram


def test_what_the_system_says():
    available = ram.available_memory()
    if os.path.exists("/proc/meminfo"):
        assert np.ones(1 << 20).nbytes < available <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        assert available is None or available > 1 << 23


def test_a_containers_limit(tmp_path, monkeypatch):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(ram, "_GROUP_LIMITS", (str(limit), str(tmp_path / "no file")))
    for text in ("max\n", None):
        if text:
            limit.write_text(text)
        assert ram.available_memory() != 300 << 20
    limit.write_text(f"{300 << 20}\n")
    assert ram.available_memory() == 300 << 20
    ram.check_memory(299 << 20, "this")
    with pytest.raises(MemoryError, match=r"this takes at least 0\.4 GB, of which 0\.3 are available"):
        ram.check_memory(400 << 20, "this")


def test_a_machine_that_says_nothing_is_not_asked_for_more(monkeypatch):
    monkeypatch.setattr(ram, "available_memory", lambda: None)
    ram.check_memory(1 << 60, "this")
