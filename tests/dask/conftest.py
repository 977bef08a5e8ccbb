"""Clusters for the tests of fastmlp.dask, and samples."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from distributed import Client, LocalCluster


@pytest.fixture(scope="module")
def client():
    """Two worker processes."""
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def arrays():
    """x (1500, 5), classes, numbers (1500, 2), and weights of which some are zero."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1500, 5))
    y = np.argmax(x @ rng.normal(size=(5, 3)), axis=1)
    return x, y, np.tanh(x @ rng.normal(size=(5, 2))), rng.integers(0, 3, 1500).astype(float)


@pytest.fixture
def from_the_command_line(tmp_path):
    """Starts a scheduler, and workers with these options, as processes."""

    @contextmanager
    def start(*workers):
        file = tmp_path / "scheduler.json"
        commands = [["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file]]
        commands += [
            ["worker", "--host", "127.0.0.1", "--scheduler-file", file, "--nthreads", "1", "--no-dashboard", *options]
            for options in workers
        ]
        with ExitStack() as stack:
            for command in commands:
                process = subprocess.Popen(
                    [sys.executable, "-m", "dask", *map(str, command)], cwd=tmp_path,
                    env={**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"},
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
                stack.callback(process.wait)
                stack.callback(process.terminate)
            client = stack.enter_context(Client(scheduler_file=str(file), timeout=60))
            client.wait_for_workers(len(workers), timeout=60)
            yield client

    return start
