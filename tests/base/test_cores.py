"""The number of cores: what the process may run on, and what a container's limit leaves of that."""

from __future__ import annotations

import math
import os

import pytest

from fastmlp.base.cores import _limit, usable_cores


def groups(tmp_path, membership, files):
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "membership").write_text(membership)
    return _limit(tmp_path / "cgroup", tmp_path / "membership")


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, math.inf),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/of/the/host\n", {"cpu.max": "100000 100000"}, 1),
        (
            "5:memory:/a\n4:cpu,cpuacct:/a\n0::/a\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"},
            3,
        ),
        ("4:cpu:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, math.inf),
        ("0::/\n", {"cpu.max": "what is this\n"}, math.inf),
        ("", {}, math.inf),
        ("what is this\n", {"cpu.max": "200000 100000"}, 2),
    ],
)
def test_limits_of_control_groups(membership, files, limit, tmp_path):
    assert groups(tmp_path, membership, files) == limit


def test_no_files_are_no_limit(tmp_path):
    assert _limit(tmp_path / "none", tmp_path / "nothing") == math.inf


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity cannot be set here")
def test_cores_that_the_process_may_run_on():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= usable_cores() <= len(allowed)
