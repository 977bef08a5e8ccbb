"""What several folders of tests share."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastmlp import datasets
from fastmlp.__main__ import main

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in a shell's background job: the processes of tests inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def patience():
    """Nothing is said of compiling in this process, where it would stand in what a test captures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastmlp.kernels.store._PATIENCE", 1e6)
        yield


@pytest.fixture(scope="session")
def mnist():
    """The four MNIST arrays, where FASTMLP_DATA says they are."""
    if "FASTMLP_DATA" not in os.environ:
        pytest.skip("set FASTMLP_DATA to a folder that holds the MNIST files")
    return datasets.load_mnist()


@pytest.fixture
def noisy_plane():
    """x (80, 3), and y (80,), a plane over it with noise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    return x, x @ [1.0, -2.0, 0.5] + rng.normal(size=80)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the documentation, built afresh; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    done = subprocess.run(
        command,
        cwd=Path(__file__).parent.parent,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def process():
    """A command as a process, with environment variables by name: its exit code, stdout and stderr."""

    def process(*arguments, **variables):
        command = [sys.executable, "-m", "fastmlp", *map(str, arguments)]
        environment = {**os.environ, **variables}
        return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, timeout=600)

    return process


@pytest.fixture
def command(capsys):
    """A command in this process: its exit code, what it printed, and what it said on standard error."""

    def command(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return command


@pytest.fixture(scope="module")
def csv_folder(tmp_path_factory):
    """scikit-learn's tables as CSV, their classes by name."""
    from sklearn import datasets as sklearn_datasets

    folder = tmp_path_factory.mktemp("tables")
    for name in ("iris", "breast_cancer", "wine", "diabetes"):
        bunch = getattr(sklearn_datasets, f"load_{name}")(as_frame=True)
        frame = bunch.frame
        if name != "diabetes":
            frame = frame.assign(target=np.array(bunch.target_names)[bunch.target])
        frame.to_csv(folder / f"{name}.csv", index=False)
    return folder


# Files under a right checksum, whatever they hold.


def _sealed(document, tensors):
    """The bytes of a file with that description, under a right checksum: docs/how-to/files.md has the format."""
    import safetensors.numpy

    if isinstance(document, dict) and "sha256" not in document:
        digest = hashlib.sha256(json.dumps(document).encode())
        for name, values in sorted(tensors.items()):
            digest.update(f"\n{name} {values.dtype} {values.shape}\n".encode() + values.tobytes())
        document = {**document, "sha256": digest.hexdigest()}
    text = document if isinstance(document, str) else json.dumps(document)
    return safetensors.numpy.save(tensors, {"fastmlp": text})


@pytest.fixture(scope="session")
def sealed():
    return _sealed


@pytest.fixture(scope="session")
def resealed():
    """A function that lets ``change(document, tensors)`` alter a file, or return another document for it."""

    def alter(path, change):
        import safetensors.numpy

        tensors = safetensors.numpy.load_file(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            document = json.loads(file.metadata()["fastmlp"])
        del document["sha256"]
        document = change(document, tensors) or document
        path.write_bytes(_sealed(document, tensors))

    return alter
