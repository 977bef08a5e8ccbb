"""``python -m fastmlp warmup``: compile every kernel ahead of time, for images, clusters and impatient people."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from ..activations import ACTIVATIONS
from ..base.cache import cache_folder
from ..losses import LOSSES
from ..optimizers import OPTIMIZERS, SGD
from . import catalog, store

__all__ = ["warm_up"]

_SOURCES = ["float32", "float64", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"]


def warm_up() -> tuple[int, float, Path]:
    """Compile, or find compiled, every kernel that a built-in network can need.

    Returns
    -------
    count : int
        How many kernels they are.
    seconds : float
    folder : Path
        Where they are stored; see FASTMLP_CACHE_DIR in the README.

    Raises
    ------
    OSError
        When they cannot be stored there: compiling would have been in vain.

    Examples
    --------
    >>> from fastmlp.kernels.warmup import warm_up
    >>> count, seconds, folder = warm_up()  # doctest: +SKIP
    """
    begin = time.perf_counter()
    store.require_writable_cache()
    count = sum(1 for _ in _all_kernels())
    return count, time.perf_counter() - begin, cache_folder()


def _all_kernels() -> Iterator[store.Function]:
    """Load all families of the catalog for both dtypes, each in all variants that a built-in network can need."""
    for dtype in ("float32", "float64"):
        for name in catalog.NETWORK:
            yield catalog.network(name, dtype)
        yield catalog.run_epochs(dtype)
        for name in catalog.LINEAR:
            yield catalog.linear(name, dtype)
        for source in _SOURCES:
            yield catalog.reader(source, dtype)
        for data in ("float32", "float64"):
            for index in ("int32", "int64"):
                yield catalog.sparse_reader(f"{data}.{index}", dtype)
        for name in ACTIVATIONS:
            yield catalog.activation(name, dtype)
        for loss in LOSSES.values():
            for output in (*loss.fused, ""):
                yield catalog.loss(loss.name, output, dtype)
        for optimizer in (*(kind() for kind in OPTIMIZERS.values() if kind.rule), SGD(momentum=0.9)):
            yield catalog.step(optimizer.name, optimizer.states, dtype)
        yield catalog.dropout(dtype)
        yield catalog.softmax_backward(dtype)
