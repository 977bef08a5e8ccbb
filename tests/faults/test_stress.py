"""A few seconds of stress.py."""

import subprocess
import sys
from pathlib import Path


def test_threads_on_one_model():
    command = [sys.executable, str(Path(__file__).with_name("stress.py")), "--seconds", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("0 wrong\n")
