"""The real files, and what is said when they are missing, torn or not to be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
    """They are scikit-learn's, in the order that the seed decides."""
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(3).permutation(1797)
    (x, y), (x_test, y_test) = datasets.load_digits(test_fraction=0.3, seed=3)
    assert len(x_test) == 539
    np.testing.assert_array_equal(np.concatenate([x_test, x]), images[order])
    np.testing.assert_array_equal(np.concatenate([y_test, y]), classes[order])
    (x, y), (x_test, y_test) = datasets.load_digits()
    assert x.shape == (1438, 64) and x_test.shape == (359, 64)
    assert x.dtype == np.float32 and x.min() == 0 and x.max() == 16
    assert y.dtype == np.int64 and set(y) == set(y_test) == set(range(10))


def test_digits_need_no_other_library():
    """Least of all scikit-learn, whose import takes seconds."""
    script = (
        "import sys\nsys.modules['sklearn'] = None\nfrom fastmlp.datasets import load_digits\nload_digits()\n"
        "assert not sys.modules.keys() & {'numba', 'scipy', 'pandas', 'pyarrow'}"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_damaged_digits_are_refused(tmp_path, monkeypatch):
    content = bytearray(Path(datasets.__file__).with_name("digits.csv.gz").read_bytes())
    content[1000] ^= 1
    (tmp_path / "digits.csv.gz").write_bytes(content)
    monkeypatch.setattr(datasets, "__file__", str(tmp_path / "datasets.py"))
    with pytest.raises(ValueError, match=r"digits\.csv\.gz is not the real file: its SHA-256 differs"):
        datasets.load_digits()


@pytest.mark.parametrize(("n_samples", "n_classes"), [(3000, 3), (1001, 2), (7, 5), (1, 1)])
def test_spirals(n_samples, n_classes):
    """On a ray from the centre at angle φ, class k is where φ is 2π (r + k / n_classes), up to whole turns."""
    x, y = datasets.make_spirals(n_samples, n_classes, noise=0.0, seed=0)
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((n_samples, 2), np.float32, (n_samples,), np.int64)
    counts = np.bincount(y, minlength=n_classes)
    assert len(counts) == n_classes and np.ptp(counts) <= 1
    radius = np.hypot(*x.T.astype(float))
    turns = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi) - radius - y / n_classes
    np.testing.assert_allclose(radius * (turns - np.round(turns)), 0, atol=1e-6)
    assert radius.max() <= 1 + 1e-6
    if n_samples > 1000:  # as many points inside a circle as its area has of the unit circle's
        for r in (0.3, 0.5, 0.8):
            assert np.mean(radius < r) == pytest.approx(r**2, abs=4 * np.sqrt(0.25 / n_samples))


def test_noise_and_seed_of_spirals():
    clean, y = datasets.make_spirals(4000, noise=0.0, seed=5)
    noisy, same_y = datasets.make_spirals(4000, noise=0.2, seed=5)
    np.testing.assert_array_equal(y, same_y)
    noise = (noisy - clean).astype(float)
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(np.cov(noise.T), 0.04 * np.eye(2), atol=0.004)
    np.testing.assert_array_equal(noisy, datasets.make_spirals(4000, noise=0.2, seed=5)[0])
    assert not np.array_equal(noisy, datasets.make_spirals(4000, noise=0.2, seed=6)[0])
    assert np.any(np.diff(y[:50]) != 1)  # classes in random order


@pytest.mark.parametrize(
    ("wrong", "kind", "said"),
    [
        ({"n_samples": 0}, ValueError, "n_samples must be at least 1"),
        ({"n_samples": 2.5}, TypeError, "n_samples must be an integer"),
        ({"n_classes": 0}, ValueError, "n_classes must be at least 1"),
        ({"noise": -1}, ValueError, "noise must be a finite number at least 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
    ],
)
def test_spirals_that_cannot_be(wrong, kind, said):
    with pytest.raises(kind, match=said):
        datasets.make_spirals(**wrong)
