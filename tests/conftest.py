"""What several test files share."""

from __future__ import annotations

import hashlib
import json
import os
import warnings

import numba
import numpy as np
import pytest

import fastmlp
from fastmlp import datasets


@pytest.fixture(scope="session")
def mnist():
    """The four MNIST arrays, where FASTMLP_DATA says they are."""
    if "FASTMLP_DATA" not in os.environ:
        pytest.skip("set FASTMLP_DATA to a folder that holds the MNIST files")
    return datasets.load_mnist()


@pytest.fixture
def network_of():
    """Makes networks for the doors: (act, depth, dtype, input's shift and scale); every second layer has no biases."""

    def network_of(act, depth=2, dtype="float32", **affine):
        layers = [{"n": 9 - i % 3, "act": act, "bias": i % 2 == 0} for i in range(depth)]
        if act == "leaky_relu":
            layers[0]["slope"] = 0.3
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*derivative of step is zero")
            model = fastmlp.MLP([{"n": 5, "act": None, **affine}, *layers], seed=depth, dtype=dtype)
        model.params += np.random.default_rng(depth).uniform(-0.2, 0.2, model.params.size)
        return model

    return network_of


@pytest.fixture(scope="session")
def custom_network():
    """A network with an activation of its own."""
    act = fastmlp.Activation("square", numba.njit(lambda z: z * z), numba.njit(lambda z: 2.0 * z))
    return fastmlp.MLP([{"n": 2, "act": None}, {"n": 2, "act": act}], seed=0)


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
