"""The lock on a file: one at a time, in processes and threads, also after one that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fastmlp.base.lock import FileLock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such locks there")
HOLD = """
import sys
from pathlib import Path
from fastmlp.base.lock import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""


def holder(path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "True\n"
    return process


def test_one_at_a_time_and_nothing_is_left(tmp_path):
    path = tmp_path / "run"
    first, second = FileLock(path), FileLock(path)
    assert first.acquire() and first.acquire()
    assert not second.acquire()
    second.release()
    assert not second.acquire()
    first.release()
    assert not list(tmp_path.iterdir())
    assert second.acquire() and not first.acquire()
    second.release()
    second.release()


def test_processes_and_one_that_is_killed(tmp_path):
    path = tmp_path / "run"
    other = holder(path)
    assert not FileLock(path).acquire()
    (tmp_path / "link").symlink_to(path)
    path.touch()
    assert not FileLock(tmp_path / "link").acquire(), "it is one file under two names"
    other.send_signal(signal.SIGKILL)
    other.communicate()
    assert (tmp_path / "run.lock").exists()
    lock = FileLock(path)
    assert lock.acquire()
    lock.release()
    assert sorted(os.listdir(tmp_path)) == ["link", "run"]


def test_whoever_waits_for_a_lock_that_is_removed_takes_a_new_one(tmp_path, monkeypatch):
    """Between opening and locking the file, the one who had it releases it and a third one takes it."""
    import fcntl

    path, flock, begun = tmp_path / "run", fcntl.flock, []
    first, second, third = FileLock(path), FileLock(path), FileLock(path)
    assert first.acquire()

    def slow(*arguments):
        if not begun:
            begun.append(True)
            first.release()
            assert third.acquire()
        return flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", slow)
    assert not second.acquire()


def test_a_file_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "run.lock").write_text("mine")
    lock = FileLock(tmp_path / "run")
    assert lock.acquire()
    lock.release()
    assert (tmp_path / "run.lock").read_text() == "mine"
    (tmp_path / "run.lock").unlink()
    (tmp_path / "run.lock").symlink_to(tmp_path / "new")
    assert lock.acquire() and not (tmp_path / "new").exists()
    assert FileLock(Path(tmp_path / "missing" / "run")).acquire(), "who writes there will be told so"
