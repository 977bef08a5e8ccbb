"""The real files, and what is said when they are missing, torn or not to be had."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from fastmlp import datasets


def test_mnist(mnist):
    (x, y), (x_test, y_test) = mnist
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((60000, 784), np.uint8, (60000,), np.int64)
    assert (x_test.shape, y_test.shape) == ((10000, 784), (10000,))
    assert y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert x.max() == 255


def test_missing_and_wrong_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte\.gz"):
        datasets.load_mnist(tmp_path)
    for name in datasets._MNIST:
        (tmp_path / name).write_bytes(b"not a digit")
    with pytest.raises(ValueError, match=r"train-images.*SHA-256"):
        datasets.load_mnist(tmp_path)


def test_without_a_network_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("FASTMLP_DATA", raising=False)
    monkeypatch.setenv("FASTMLP_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "_MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(ConnectionError, match="FASTMLP_DATA"):
        datasets.load_mnist()
    assert not list(tmp_path.rglob("*.part"))


def test_digits():
    (x, y), (x_test, y_test) = datasets.load_digits()
    assert x.shape == (1438, 64) and x_test.shape == (359, 64)
    assert x.dtype == np.float32 and x.min() == 0 and x.max() == 16
    assert set(y) == set(y_test) == set(range(10))


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"fastmlp\[demo\]"):
        datasets.load_digits()
