"""What several folders of tests share."""

from __future__ import annotations

import os

import pytest

from fastmlp import datasets


@pytest.fixture(scope="session")
def mnist():
    """The four MNIST arrays, where FASTMLP_DATA says they are."""
    if "FASTMLP_DATA" not in os.environ:
        pytest.skip("set FASTMLP_DATA to a folder that holds the MNIST files")
    return datasets.load_mnist()
