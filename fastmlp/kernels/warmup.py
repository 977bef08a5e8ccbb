"""``python -m fastmlp warmup``: compile every kernel ahead of time, for images and clusters."""

from __future__ import annotations

import time
from pathlib import Path

from ..base.cache import cache_folder
from . import prebuilt, store
from .catalog import load
from .variants import built_in
from .workers import prepare

__all__ = ["warm_up"]


def warm_up() -> tuple[int, float, Path]:
    """Compile, or find compiled, every kernel that a built-in network can need.

    Returns
    -------
    count : int
        How many kernels they are.
    seconds : float
    place : Path
        The prebuilt library that has them, or the folder where they are stored; see FASTMLP_CACHE_DIR in the README.

    Raises
    ------
    OSError
        When they cannot be stored there: compiling would have been in vain.

    Examples
    --------
    >>> from fastmlp.kernels.warmup import warm_up
    >>> count, seconds, place = warm_up()  # doctest: +SKIP
    """
    begin = time.perf_counter()
    try:
        place = prebuilt.in_use().path
    except prebuilt.Unusable:
        store.require_writable_cache()
        place = cache_folder()
    kernels = list(built_in())
    prepare(kernels)
    for kernel in kernels:
        load(kernel)
    return len(kernels), time.perf_counter() - begin, place
