"""Data to experiment with: spirals, the small handwritten digits that come with fastmlp, and MNIST."""

from __future__ import annotations

import gzip
import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np

from .base.atomic import write_whole
from .base.cache import cache_folder, make_folder
from .base.checks import check_count, check_number, check_seed

__all__ = ["load_digits", "load_mnist", "make_spirals"]

Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

_DIGITS = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"  # SHA-256 of digits.csv.gz
_MNIST = {  # SHA-256 of each file
    "train-images-idx3-ubyte.gz": "71524e2cd1ad2968737f7f2f2ff69cbfc32df8ccddff51593f7cb2d4e0eb5b64",
    "train-labels-idx1-ubyte.gz": "ec02e7948609e5754d47881c09b8afdd8dfa60600b9e5388c8c54a67069ec772",
    "t10k-images-idx3-ubyte.gz": "167310007f03058885c7e95e6c0b19c20de5c7fd3031f4cbdadc9014a523d80b",
    "t10k-labels-idx1-ubyte.gz": "fc607395669ec21321ea83e4b82c0544b7e8e63ff5b34337c06bc0a17cc0da3c",
}
_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")


def load_mnist(folder: str | os.PathLike[str] | None = None) -> Split:
    """The 70,000 handwritten digits of MNIST, in their original order.

    Parameters
    ----------
    folder : path, optional
        Where the four ``…-ubyte.gz`` files are. When left out, they are looked for in the folder that FASTMLP_DATA
        names (or its ``mnist`` folder), then in fastmlp's cache, to which they are downloaded if necessary.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images (60000, 784) and (10000, 784), uint8, 0 to 255; classes (60000,) and (10000,), int64.

    Raises
    ------
    FileNotFoundError
        When the given folder lacks a file.
    ValueError
        When a file is not the original one (its SHA-256 differs).
    ConnectionError
        When the files are not found and cannot be downloaded; the message says what to do.

    Examples
    --------
    >>> import fastmlp.datasets
    >>> (x_train, y_train), (x_test, y_test) = fastmlp.datasets.load_mnist()  # doctest: +SKIP
    """
    source = _mnist_folder(folder)
    arrays = [_read_idx(source / name) for name in _MNIST]
    return (arrays[0], arrays[1].astype(np.int64)), (arrays[2], arrays[3].astype(np.int64))


def load_digits(test_fraction: float = 0.2, seed: int = 0) -> Split:
    """1,797 handwritten digits of 8 × 8 pixels, shuffled and split.

    They come with fastmlp and are scikit-learn's, too: the test set of E. Alpaydin and C. Kaynak, *Optical
    Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998, doi:10.24432/C50P49, under CC BY 4.0.

    Parameters
    ----------
    test_fraction : float
        The share that becomes the test set.
    seed : int
        Decides the order.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images (n, 64), float32, 0 to 16; classes (n,), int64.

    Raises
    ------
    ValueError
        When the file is damaged (its SHA-256 differs).

    Examples
    --------
    >>> import fastmlp.datasets
    >>> (x, y), (x_test, y_test) = fastmlp.datasets.load_digits()
    >>> x.shape, x_test.shape
    ((1438, 64), (359, 64))
    """
    path = Path(__file__).with_name("digits.csv.gz")
    content = path.read_bytes()
    _check(content, _DIGITS, path)
    table = np.loadtxt(gzip.decompress(content).decode().splitlines(), np.uint8, delimiter=",")
    table = table[np.random.default_rng(seed).permutation(len(table))]
    x, y = table[:, :64].astype(np.float32), table[:, 64].astype(np.int64)
    n_test = round(len(x) * test_fraction)
    return (x[n_test:], y[n_test:]), (x[:n_test], y[:n_test])


def make_spirals(
    n_samples: int = 1000, n_classes: int = 3, noise: float = 0.03, seed: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw points of a plane on spirals that wind around each other, one for each class.

    A point of class k is r (cos φ, sin φ) with φ = 2π (r + k / n_classes): a full turn from the centre to the unit
    circle. r² is uniform in [0, 1), so that points are as dense outside as inside. Noise is added to both coordinates.

    Parameters
    ----------
    n_samples : int
        The number of points; the classes' numbers differ by one at most.
    n_classes : int
        The number of spirals.
    noise : float
        Standard deviation of the normal noise; neighbouring spirals are 1 / n_classes apart on a ray.
    seed : int, optional
        Same seed, same points.

    Returns
    -------
    x : ndarray, (n_samples, 2), float32
        The points.
    y : ndarray, (n_samples,), int64
        Classes, in random order.

    Examples
    --------
    >>> import fastmlp.datasets
    >>> x, y = fastmlp.datasets.make_spirals(300, seed=0)
    >>> x.shape, np.bincount(y).tolist()
    ((300, 2), [100, 100, 100])
    """
    n_samples, n_classes = check_count(n_samples, "n_samples"), check_count(n_classes, "n_classes")
    noise = check_number(noise, "noise", 0.0)
    rng = np.random.default_rng(check_seed(seed))
    y = rng.permutation(np.arange(n_samples, dtype=np.int64) % n_classes)
    radius = np.sqrt(rng.random(n_samples))
    angle = 2 * np.pi * (radius + y / n_classes)
    x = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return (x + rng.normal(0.0, noise, x.shape)).astype(np.float32), y


def _mnist_folder(folder: str | os.PathLike[str] | None) -> Path:
    """Return the folder with MNIST's files; if they are not found, they are downloaded to the cache first."""
    if folder is not None:
        missing = [name for name in _MNIST if not (Path(folder) / name).is_file()]
        if missing:
            raise FileNotFoundError(f"folder {os.fspath(folder)!r} has no {missing[0]}")
        return Path(folder)
    cache = cache_folder() / "mnist"
    data_folder = os.environ.get("FASTMLP_DATA")
    places = [Path(data_folder), Path(data_folder) / "mnist", cache] if data_folder else [cache]
    for place in places:
        if all((place / name).is_file() for name in _MNIST):
            return place
    for name, digest in _MNIST.items():
        if not (cache / name).is_file():
            _download(name, digest, cache)
    return cache


def _download(name: str, digest: str, cache: Path) -> None:
    """Download one of MNIST's files to the cache, from the first mirror that answers."""
    trouble: OSError | None = None
    for mirror in _MIRRORS:
        try:
            with urllib.request.urlopen(mirror + name, timeout=30) as answer:
                content = answer.read()
        except (urllib.error.URLError, OSError) as error:
            trouble = error
            continue
        _check(content, digest, mirror + name)
        make_folder(cache)
        write_whole(cache / name, content)
        return
    raise ConnectionError(
        f"MNIST cannot be downloaded ({trouble}). Put {', '.join(_MNIST)} into a folder, and pass it as folder= or set "
        f"FASTMLP_DATA to it"
    )


def _check(content: bytes, digest: str, where: str | Path) -> None:
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{where} is not the real file: its SHA-256 differs")


def _read_idx(path: Path) -> np.ndarray:
    """Read an idx file: four bytes for kind and rank, a big-endian int32 for each dimension, then uint8 values."""
    content = path.read_bytes()
    _check(content, _MNIST[path.name], path)
    raw = gzip.decompress(content)
    rank = raw[3]
    shape = np.frombuffer(raw, ">i4", rank, offset=4)
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    return values.reshape(shape[0], -1) if rank > 1 else values
