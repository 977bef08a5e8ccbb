"""Files under a right checksum, whatever they hold."""

from __future__ import annotations

import hashlib
import json

import pytest


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
