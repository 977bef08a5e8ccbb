"""The tests whose arithmetic depends on the width of a vector, in processes whose vectors are narrower."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastmlp.kernels.cpu import vector_bytes

FILES = ["test_linear.py", "test_vectors.py"]


@pytest.mark.parametrize("bits", [bits for bits in (128, 256) if bits < 8 * vector_bytes()])
def test_narrower_vectors(bits):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *FILES]
    environment = {**os.environ, "FASTMLP_VECTOR_BITS": str(bits)}
    run = subprocess.run(
        command, env=environment, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout
