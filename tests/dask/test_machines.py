"""fastmlp.dask on workers that are slow, small, on machines of their own, or hold less than the data."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import fastmlp
import fastmlp.dask

pytestmark = pytest.mark.filterwarnings("default")  # distributed's own, of sockets and processes that end

SPEC = [{"n": 5, "act": None}, {"n": 64, "act": "tanh"}, {"n": 64, "act": "tanh"}, {"n": 3, "act": "softmax"}]

MACHINES = """
set -e
mount -t tmpfs tmpfs /run
ip link set lo up
ip link add bridge type bridge
ip address add 10.77.0.1/24 dev bridge
ip link set bridge up
for i in 2 3 4; do
  ip netns add host$i
  ip link add port$i type veth peer name eth0 netns host$i
  ip link set port$i master bridge up
  ip -n host$i address add 10.77.0.$i/24 dev eth0
  ip -n host$i link set eth0 up
  ip -n host$i link set lo up
done
"""

CLUSTER = """
ip netns exec host2 "$PYTHON" -m dask scheduler --host 10.77.0.2 --port 8786 --no-dashboard &
until (: > /dev/tcp/10.77.0.2/8786) 2> /dev/null; do sleep 0.1; done
for i in 3 4; do
  ip netns exec host$i "$PYTHON" -m dask worker tcp://10.77.0.2:8786 --host 10.77.0.$i --nthreads 1 --no-dashboard &
done
"$PYTHON" train.py
"""

TRAIN = """
import hashlib
import sys

import dask.array as da
import numpy as np
from distributed import Client

import fastmlp.dask

rng = np.random.default_rng(0)
x, y = rng.normal(size=(1200, 5)), rng.integers(0, 3, 1200)
spec = [{"n": 5, "act": None}, {"n": 8, "act": "tanh"}, {"n": 3, "act": "softmax"}]


def trained(client):
    parts = [da.from_array(array, chunks=(300, *array.shape[1:])) for array in (x, y)]
    one, _ = fastmlp.dask.train(*parts, spec, sync="average", client=client, epochs=2, seed=0)
    many = fastmlp.dask.train_many(x, y, spec, client=client, seeds=range(40), epochs=3)
    params = [one.params, *(each.model.params for each in many)]
    return hashlib.sha256(np.concatenate(params).tobytes()).hexdigest()


if __name__ == "__main__":
    options = {"address": "tcp://10.77.0.2:8786"} if sys.argv[1:] == [] else {"processes": False, "n_workers": 1}
    with Client(timeout=60, **options) as client:
        client.wait_for_workers(1 if sys.argv[1:] else 2, timeout=60)
        print(len({address.rpartition(":")[0] for address in client.nthreads()}), trained(client))
"""


# With processes of their own, which end with the first of them: psutil looks for itself in /proc.
ALONE = ["unshare", "-Urnmpf", "--mount-proc", "--kill-child"]


def can_have_machines():
    """Whether this user may make networks of its own."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return False
    command = [*ALONE, "bash", "-c", MACHINES]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_machines_of_their_own(tmp_path):
    """A scheduler and two workers in network namespaces, which reach each other through a bridge."""
    if not can_have_machines():
        pytest.skip("this machine lets its users make no network namespaces (unshare, ip netns)")
    (tmp_path / "train.py").write_text(TRAIN)
    command = [*ALONE, "bash", "-c", MACHINES + CLUSTER]
    environment = {**os.environ, "PYTHON": sys.executable}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True, "timeout": 240}
    far = subprocess.run(command, check=False, **options)
    assert far.returncode == 0, far.stderr
    near = subprocess.run([sys.executable, "train.py", "here"], check=True, **options)
    assert far.stdout.split()[0] == "2" and far.stdout.split()[1] == near.stdout.split()[1]


def test_a_slow_worker_changes_no_bits_and_others_do_its_share(arrays, from_the_command_line):
    """One of two workers is stopped nine tenths of the time."""
    x, y = arrays[:2]
    parts = [da.from_array(array, chunks=(300, *array.shape[1:])) for array in (x, y)]
    options = {"sync": "average", "epochs": 3, "seed": 0}
    by_pid = {}

    def note(state):
        """Say which process trained the network; in here, since workers cannot import this file."""
        if state.epoch == 0:
            state.history.pid = os.getpid()

    with from_the_command_line(["--no-nanny"], ["--no-nanny"]) as client:
        slow, done = next(iter(client.run(os.getpid).values())), threading.Event()

        def slow_down():
            while not done.is_set():
                os.kill(slow, signal.SIGSTOP)
                time.sleep(0.09)
                os.kill(slow, signal.SIGCONT)
                time.sleep(0.01)

        thread = threading.Thread(target=slow_down)
        thread.start()
        try:
            many = fastmlp.dask.train_many(x, y, SPEC, client=client, seeds=range(120), epochs=10, callbacks=note)
            model, history = fastmlp.dask.train(*parts, SPEC, client=client, **options)
        finally:
            done.set()
            thread.join()
        for one in many:
            by_pid[one.history.pid] = by_pid.get(one.history.pid, 0) + 1
        again, again_history = fastmlp.dask.train(*parts, SPEC, client=client, **options)
    assert model.params.tobytes() == again.params.tobytes() and history == again_history
    near = fastmlp.train_many(x, y, SPEC, seeds=range(120), epochs=10)
    assert [one.model.params.tobytes() for one in many] == [one.model.params.tobytes() for one in near]
    assert sum(by_pid.values()) == 120 and by_pid.get(slow, 0) < 60


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A table of 640 MB in 32 partitions, as Parquet and as Zarr: 64 columns of float32, and classes."""
    folder = tmp_path_factory.mktemp("large")
    rng, n = np.random.default_rng(0), 78_125
    pattern = rng.integers(0, 100, (n, 64)).astype(np.float32)  # what all partitions have, but for a shift

    def x_of(number):
        return np.roll(pattern, number, axis=1)

    (folder / "table").mkdir()
    for number in range(32):
        frame = pd.DataFrame(x_of(number), columns=[f"x{i}" for i in range(64)])
        frame.assign(y=(frame["x0"] > frame["x1"]).astype(np.int64)).to_parquet(
            folder / "table" / f"part.{number:02}.parquet", compression="lz4"
        )
    lengths = (n, 64)
    parts = [da.from_delayed(dask.delayed(x_of)(number), lengths, np.float32) for number in range(32)]
    da.concatenate(parts).to_zarr(str(folder / "x"))
    return folder


def test_data_that_exceed_a_workers_memory(large, from_the_command_line):
    """Read again for each round, by workers that may hold 500 MB."""
    spec = [{"n": 64, "act": None, "scale": 0.01}, {"n": 4, "act": "tanh"}, {"n": 2, "act": "softmax"}]
    options = {"sync": "average", "epochs": 2, "lr": 0.01, "seed": 0}
    frame = dd.read_parquet(large / "table")
    x, stored = frame[[f"x{i}" for i in range(64)]], da.from_zarr(str(large / "x"))
    with from_the_command_line(*[["--memory-limit", "500MB"]] * 2) as client:
        pids = set(client.run(os.getpid).values())
        model, history = fastmlp.dask.train(x, frame["y"], spec, client=client, **options)
        of_zarr, _ = fastmlp.dask.train(
            stored, (stored[:, 0] > stored[:, 1]).astype(int), spec, client=client, **options
        )
        values = fastmlp.dask.evaluate(model, stored, (stored[:, 0] > stored[:, 1]).astype(int))
        assert set(client.run(os.getpid).values()) == pids  # none of them had to be started anew
    assert of_zarr.params.tobytes() == model.params.tobytes()
    assert history["accuracy"][-1] > 0.95 and values["accuracy"] > 0.95
    assert stored.nbytes == 640_000_000


def test_workers_that_cannot_hold_x(from_the_command_line):
    x = np.ones((40_000_000, 2), np.float64)  # 640 MB
    spec = [{"n": 2, "act": None}, {"n": 1, "act": "linear"}]
    with (
        from_the_command_line(*[["--memory-limit", "500MB"]] * 2) as client,
        pytest.raises(RuntimeError, match="x, and its work are larger than their memory"),
    ):
        fastmlp.dask.train_many(x, x[:, 0], spec, client=client, seeds=range(4), epochs=1)
