"""One Ctrl-C in the middle of each call of interrupts.py: heard at once, with everything whole."""

from __future__ import annotations

import runpy
import signal
import sys
from pathlib import Path

import pytest

INTERRUPTS = runpy.run_path(str(Path(__file__).with_name("interrupts.py")))


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or sys.platform == "win32", reason="no SIGINT to send")
@pytest.mark.parametrize("name", INTERRUPTS["CALLS"])
def test_ctrl_c_is_heard(name):
    (seconds,) = INTERRUPTS["run"](name, "medium", 1)
    assert seconds < 2, "the figures in docs/promises.md are a tenth of this; a busy machine may take longer"
