"""Kernels compiled side by side: real processes, in all the places where a process cannot just start another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastmlp.base.cores import usable_cores

WORD = "fastmlp: compiling kernels for this machine, once; it takes some seconds\n"

pytestmark = [
    pytest.mark.usefixtures("compiling"),
    pytest.mark.skipif(usable_cores() < 2, reason="one core compiles alone"),
]

TRAIN = """
import sys
import fastmlp
before()
x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
model, _ = fastmlp.train(x, y, [{"n": 2, "act": None}, {"n": 4, "act": "tanh"}, {"n": 1, "act": "sigmoid"}], seed=0)
print(model.params.sum(), fastmlp.show_kernels("dicts")["kernels"]["loaded"])
"""
# A training needs fourteen kernels, 20 s of compiling; these are three, 1.5 s.
KERNELS = """
import sys
import fastmlp
before()
from fastmlp.kernels import catalog, workers
variants = [catalog.Variant("activation", name, "float32") for name in ("sigmoid", "swish", "tanh")]
workers.prepare(variants)
for variant in variants:
    catalog.load(variant)
print(fastmlp.show_kernels("dicts")["kernels"]["loaded"])
"""


def run(folder: Path, before: str = "pass", script: str = KERNELS, **variables: str) -> tuple[str, str]:
    """What a script of that text prints, and says on standard error; ``before`` stands before its training."""
    path = folder / "script.py"
    path.write_text(f"def before():\n    {before}\n{script}")
    environment = {**os.environ, "FASTMLP_CACHE_DIR": str(folder / "cache"), **variables}
    done = subprocess.run([sys.executable, path], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What a process that compiles alone prints."""
    out, _ = run(tmp_path_factory.mktemp("alone"), "sys.executable = None")
    assert " 0 from the cache" in out
    return out


def counts(out: str) -> tuple[int, int]:
    """How many kernels came from the cache, and how many were compiled by the process itself."""
    words = out.replace(",", "").split()
    return int(words[words.index("from") - 1]), int(words[words.index("compiled") - 1])


def test_a_script_without_a_guard_leaves_compiling_to_others(tmp_path):
    alone, said = run(tmp_path, "sys.executable = None", TRAIN, FASTMLP_CACHE_DIR=str(tmp_path / "alone"))
    assert " 0 from the cache" in alone and said == WORD
    out, said = run(tmp_path, script=TRAIN)
    assert counts(out) == counts(alone)[::-1] and out.split()[0] == alone.split()[0]
    assert said == WORD
    assert run(tmp_path, script=TRAIN) == (out, ""), "nothing is said where nothing is compiled"


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_in_a_daemonic_process_of_multiprocessing(alone, tmp_path):
    lines = "\n    ".join(KERNELS.strip().splitlines())
    script = f"""
import multiprocessing
def work():
    {lines}
process = multiprocessing.get_context("fork").Process(target=work, daemon=True)
process.start()
process.join()
"""
    out, _ = run(tmp_path, script=script)
    assert counts(out) == counts(alone)[::-1]


@pytest.mark.parametrize("what", ["sys.executable = '/usr/sbin/uwsgi'", "sys.frozen = True"])
def test_a_program_that_is_no_interpreter_is_not_started(alone, tmp_path, what):
    assert run(tmp_path, what)[0] == alone


def test_workers_that_fail_leave_it_to_the_process(alone, tmp_path):
    broken = tmp_path / "python3"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert run(tmp_path, f"sys.executable = {str(broken)!r}")[0] == alone
    missing, empty = str(tmp_path / "none" / "python3"), str(tmp_path / "2")
    assert run(tmp_path, f"sys.executable = {missing!r}", FASTMLP_CACHE_DIR=empty)[0] == alone


def test_a_cache_that_cannot_be_written_to(alone, tmp_path):
    (tmp_path / "cache").write_text("in the way")
    assert run(tmp_path)[0] == alone


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
def test_ctrl_c_ends_the_workers_too(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(f"def before():\n    print('begins', flush=True)\n{TRAIN}")
    environment = {**os.environ, "FASTMLP_CACHE_DIR": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, path], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    while not (children := children_of(process.pid)):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=20)
    assert "training interrupted" in said and counts(out) == (0, 0)
    # One that Ctrl-C met while it was being started is not killed: it ends when nobody writes to it any more.
    deadline = time.monotonic() + 60
    while any(map(is_alive, children)):
        assert time.monotonic() < deadline, children
        time.sleep(0.05)


def children_of(pid: int) -> list[int]:
    if not Path(f"/proc/{pid}/task").exists():
        pytest.skip("no /proc here")
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may stay as a zombie, where nobody asks for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
