"""What training shows while it runs: lines in a file, a bar that moves on a terminal."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time

import numpy as np
import pytest

import fastmlp
from fastmlp.model.progress import Progress, _fitted, _in_short


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
    clock = iter([0.0, 7.0, 9.0, 11.0])  # kernels are compiled for seven seconds before that
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    progress = Progress(True, 40, 100)
    progress.ready()
    progress.epochs_done({"loss": [0.5] * 10}, 10)
    progress.epochs_done({"loss": [0.5] * 30}, 20)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [f"{epoch}/40" for epoch in range(1, 31)]
    assert [line.rpartition("  ")[2] for line in lines] == ["500 samples/s"] * 10 + ["750 samples/s"] * 20


def test_the_time_to_compile_is_no_time_of_training(capsys, monkeypatch):
    """Kernels that are first needed in the first epoch, such as those for validation, take 11 of its 13 seconds."""
    clock, compiled = iter([0.0, 7.0, 20.0]), iter([0.0, 6.0, 17.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr("fastmlp.model.progress.compiling_seconds", lambda: next(compiled))
    progress = Progress(True, 2, 100)
    progress.ready()
    progress.epochs_done({"loss": [0.5]}, 1)
    assert capsys.readouterr().err.endswith("  50 samples/s\n")


class Writer:
    """A stream of somebody's own, that can be written to and nothing else."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text

    def flush(self):
        pass


@pytest.mark.parametrize("progress", [None, True])
def test_standard_error_may_be_anything_or_nothing(progress, monkeypatch, capsys):
    """Programs without a console have none, as under pythonw."""
    x, spec = np.ones((6, 2)), [{"n": 2, "act": None}, {"n": 2, "act": "linear"}]
    closed, writer = io.StringIO(), Writer()
    closed.close()
    for stream in (None, closed, writer):
        monkeypatch.setattr(sys, "stderr", stream)
        fastmlp.train(x, x, spec, epochs=2, progress=progress)
        fastmlp.train_many(x, x, [spec], epochs=2, progress=progress)
    assert writer.text.count("loss") == (3 if progress else 0)
    assert capsys.readouterr().out == ""


WHERE, SPEED = ["epoch 30/30", "0:12 left"], "123k samples/s"
VALUES = ["loss 0.1234", "accuracy 0.9876", "f1 0.5000", "val_loss 0.1234", "val_accuracy 0.9876", "val_f1 0.5000"]


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (200, [*VALUES, SPEED]),
        (80, ["loss 0.1234", "val_loss 0.1234", SPEED]),
        (69, ["loss 0.1234", "val_loss 0.1234", SPEED]),
        (60, ["loss 0.1234", SPEED]),
        (40, ["loss 0.1234"]),
    ],
)
def test_what_a_line_has_room_for(columns, shown):
    assert _fitted(WHERE, VALUES, SPEED, columns) == "  ".join([*WHERE, *shown])
    assert _fitted(WHERE, VALUES, SPEED, 24) == "epoch 30/30  loss 0.1234"


@pytest.mark.parametrize(
    ("speed", "words"),
    [(0.0, "0"), (999.4, "999"), (999.6, "1k"), (12345.0, "12.3k"), (999_400.0, "999k"), (999_600.0, "1M")],
)
def test_a_speed_in_three_digits(speed, words):
    assert _in_short(speed) == f"{words} samples/s"


def drawn_on_a_terminal(script, columns):
    """What a process draws on a terminal of that width: its lines, one for each time it was drawn."""
    import pty
    import termios

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
    return seen.decode().replace("\x1b[K", "").split("\r")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [36, 50, 80, 120])
def test_live_bar_on_a_terminal(columns):
    lines = drawn_on_a_terminal(
        "import numpy as np, fastmlp\nrng = np.random.default_rng(0)\n"
        "fastmlp.train(rng.normal(size=(20000, 50)), rng.integers(0, 2, 20000),"
        " [{'n': 50, 'act': None}, {'n': 64, 'act': 'tanh'}, {'n': 2, 'act': 'softmax'}], epochs=8)\n",
        columns,
    )
    assert len(lines) > 2 and max(map(len, lines)) < columns
    last = [line for line in lines if "epoch 8/8" in line][-1]
    assert "loss" in last and ("0:00 left" in last) == (columns >= 50) and ("samples/s" in last) == (columns >= 80)
    assert columns < 80 or "accuracy" in last


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_the_line_says_where_training_ended():
    """Also where it ended before its last epoch, and right after the line was drawn."""
    lines = drawn_on_a_terminal(
        "import numpy as np, fastmlp\nx = np.zeros((100, 2))\n"
        "fastmlp.train(x, x, [{'n': 2, 'act': None}, {'n': 2, 'act': 'linear'}], epochs=500, progress=True,"
        " callbacks=lambda state: state.stop() if state.epoch == 29 else None)\n",
        80,
    )
    assert "epoch 30/500" in lines[-2]


def test_a_notebook_shows_one_output_that_changes():
    """In a real kernel of Jupyter's: it has a bar, and the words alone where HTML is not shown."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    import nbformat

    code = (
        "import numpy as np, fastmlp\nx = np.random.default_rng(0).normal(size=(500, 2))\n"
        "spec = [{'n': 2, 'act': None}, {'n': 2, 'act': 'linear'}]\n"
        "result = fastmlp.train(x, x, spec, epochs=20, callbacks=lambda state: None)\n"
        "quiet = fastmlp.train(x, x, spec, epochs=20, progress=False)\n"
        "many = fastmlp.train_many(x, x, [spec], grid={'lr': [0.01, 0.02]}, epochs=20)"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    shown = [output["data"] for output in notebook.cells[0].outputs if output["output_type"] == "display_data"]
    assert len(shown) == 2
    assert "epoch 20/20" in shown[0]["text/plain"] and "loss" in shown[0]["text/plain"]
    assert shown[0]["text/html"].startswith('<progress value="1.0000" max="1"></progress> <code>epoch 20/20')
    assert "2/2 networks" in shown[1]["text/plain"]
