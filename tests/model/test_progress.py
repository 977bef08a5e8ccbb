"""What training shows while it runs: lines in a file, a bar that moves on a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest

import fastmlp
from fastmlp.model.progress import Progress


def test_progress_lines(capsys):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 2, 60)
    spec = [{"n": 3, "act": None}, {"n": 5, "act": "tanh"}, {"n": 2, "act": "softmax"}]
    fastmlp.train(x, y, spec, epochs=3, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("epoch 3/3  loss ")
    assert "accuracy" in lines[2] and "samples/s" in lines[2]
    fastmlp.train(x, y, spec, epochs=3)
    assert capsys.readouterr().err == ""


def test_epochs_trained_together_have_one_speed(capsys, monkeypatch):
    """1,000 samples in two seconds, then 3,000 in four: samples so far ÷ seconds so far, on every line of a block."""
    clock = iter([0.0, 2.0, 2.0, 4.0, 4.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    progress = Progress(True, 40, 100)
    progress.epochs_done({"loss": [0.5] * 10}, 10)
    progress.epochs_done({"loss": [0.5] * 30}, 20)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [f"{epoch}/40" for epoch in range(1, 31)]
    assert [line.rpartition("  ")[2] for line in lines] == ["500 samples/s"] * 10 + ["750 samples/s"] * 20


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [50, 120])
def test_live_bar_on_a_terminal(columns):
    import pty
    import termios

    script = (
        "import numpy as np, fastmlp\nrng = np.random.default_rng(0)\n"
        "fastmlp.train(rng.normal(size=(20000, 50)), rng.integers(0, 2, 20000),"
        " [{'n': 50, 'act': None}, {'n': 64, 'act': 'tanh'}, {'n': 2, 'act': 'softmax'}], epochs=8)\n"
    )
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=theirs, stdin=theirs, stdout=theirs)
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:
            break
        if not part:
            break
        seen += part
    assert process.wait() == 0
    os.close(ours)
    text = seen.decode()
    assert "epoch 8/8" in text and "left" in text and "loss" in text
    assert columns < 100 or ("accuracy" in text and "samples/s" in text)
    drawn = text.replace("\x1b[K", "").split("\r")
    assert len(drawn) > 2 and max(map(len, drawn)) < columns
