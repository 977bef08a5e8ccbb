"""A disk that is full, and folders that may not be written to: the error is the system's, and what was there stays."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import fastmlp

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits and users of POSIX")

START = """
import errno, os, resource, sys
import numpy as np, fastmlp
rng = np.random.default_rng(0)
x, y = rng.normal(size=(60, 5)), rng.integers(0, 3, 60)
spec = [{"n": 5, "act": None}, {"n": 40, "act": "tanh"}, {"n": 3, "act": "softmax"}]
def run(path, epochs=6, **options):
    return fastmlp.train(x, y, spec, seed=1, lr=0.01, epochs=epochs, batch_size=20, progress=False,
                         checkpoint=path, **options)
def full(*_):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
def room():
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
def refused(call):
    try:
        call()
    except OSError as error:
        return errno.errorcode[error.errno]
os.chdir(sys.argv[1])
"""


def run(script, folder):
    command = [sys.executable, "-c", START + script, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_model_is_saved_whole_or_not_at_all(tmp_path):
    script = """
model = fastmlp.MLP(spec, seed=0)
model.save("model")
full()
print(refused(lambda: fastmlp.MLP(spec, seed=1).save("model")), refused(lambda: model.save("new")))
"""
    assert run(script, tmp_path) == ["EFBIG", "EFBIG"]
    assert sorted(os.listdir(tmp_path)) == ["model"]
    spec = [{"n": 5, "act": None}, {"n": 40, "act": "tanh"}, {"n": 3, "act": "softmax"}]
    assert fastmlp.load(tmp_path / "model") == fastmlp.MLP(spec, seed=0)


@pytest.mark.parametrize("epoch", [0, 3])
def test_a_run_goes_on_when_there_is_room_again(tmp_path, epoch):
    script = f"""
print(refused(lambda: run("run", callbacks=lambda state: state.epoch == {epoch} and full())), *os.listdir("."))
room()
print(run("run") == run(None))
"""
    assert run(script, tmp_path) == ["EFBIG", "run", "True"]
    assert os.listdir(tmp_path) == ["run"]


def test_folders_that_may_not_be_written_to(tmp_path):
    script = """
run("run", epochs=3)
fastmlp.MLP(spec, seed=0).save("model")
os.chmod(".", 0o555)
if os.geteuid() == 0:
    os.seteuid(65534)
began = []
refusals = [
    refused(lambda: run("new", callbacks=began.append)),
    refused(lambda: run("run")),
    refused(lambda: fastmlp.MLP(spec, seed=1).save("model")),
    refused(lambda: fastmlp.MLP(spec, seed=1).save("new")),
]
print(*refusals, len(began))
"""
    before = set(run("print(*os.listdir('.'))", tmp_path))
    assert before == set()
    os.chmod(tmp_path.parent, 0o755)
    refusals = run(script, tmp_path)
    os.chmod(tmp_path, 0o755)
    assert refusals == [*["EACCES"] * 4, "0"], "and before the first epoch"
    assert sorted(os.listdir(tmp_path)) == ["model", "run"]
    assert np.isfinite(fastmlp.load(tmp_path / "model").params).all()
