"""Half a minute of fuzz.py, each time with another seed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="no limits for processes there")
def test_damaged_and_crafted_files_are_taken_or_refused_in_words(tmp_path):
    seed = int(time.time())
    command = [sys.executable, Path(__file__).with_name("fuzz.py"), "--seconds", "40", "--seed", str(seed)]
    done = subprocess.run([*command, "--keep", tmp_path], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" files, ") == 8
