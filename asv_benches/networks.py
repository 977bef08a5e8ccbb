"""The networks, data and clock that the benchmarks share.

They have to run on every commit, so they use nothing of fastmlp that is not in its public interface, and skip (raise
NotImplementedError in setup) what a commit does not have yet. What runs on one thread is measured in processor time,
which other processes disturb least.
"""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
import scipy.sparse

import fastmlp

SIZES = ["8-64-64-2", "784-10-10", "784-128-10"]


def network(size: str, act: str = "relu", output: str = "softmax") -> list[dict[str, Any]]:
    """Hidden layers of those widths and one activation under an output layer."""
    n_in, *hidden, n_out = (int(n) for n in size.split("-"))
    layers = [{"n": n, "act": act} for n in hidden]
    return [{"n": n_in, "act": None}, *layers, {"n": n_out, "act": output}]


def samples(size: str, n: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """Dense random inputs and classes."""
    n_in, *_, n_out = (int(width) for width in size.split("-"))
    rng = np.random.default_rng(0)
    return rng.uniform(0, 1, (n, n_in)).astype(dtype), rng.integers(0, n_out, n)


def sparse_samples(size: str, n: int, density: float) -> tuple[Any, np.ndarray]:
    """Random CSR rows of float32 and classes."""
    n_in, *_, n_out = (int(width) for width in size.split("-"))
    rng = np.random.default_rng(0)
    x = scipy.sparse.random_array((n, n_in), density=density, format="csr", dtype=np.float32, rng=rng)
    return x, rng.integers(0, n_out, n)


def require(name: str) -> None:
    """Skip where fastmlp has nothing of that name yet."""
    if not hasattr(fastmlp, name):
        raise NotImplementedError


def require_option(name: str) -> None:
    """Skip where `fastmlp.train` does not take that yet."""
    if name not in signature(fastmlp.train).parameters:
        raise NotImplementedError


def first_module(*names: str) -> Any:
    """The first of these modules that there is: modules move from commit to commit. Skip where there is none."""
    for name in names:
        try:
            return import_module(name)
        except ModuleNotFoundError:
            continue
    raise NotImplementedError


def short(number: float) -> float:
    """Four digits: what is measured has no more, and the dashboard prints them all."""
    return float(f"{number:.4g}")


def microseconds(
    x: np.ndarray, y: np.ndarray, model: fastmlp.MLP, clock: Callable[[], float] = time.process_time, **options: Any
) -> float:
    """A sample, in the best epoch of half a second's, or of five."""
    begin, best, epochs = clock(), float("inf"), 0
    while epochs < 5 or clock() - begin < 0.5:
        before = clock()
        fastmlp.train(x, y, model, epochs=1, lr=1e-3, progress=False, **options)
        best = min(best, clock() - before)
        epochs += 1
    return short(1e6 * best / len(y))


def microseconds_a_call(call: Callable[[], Any]) -> float:
    """In the best of 50 rounds of some milliseconds. asv's own timing would set up anew before every call."""
    timer = timeit.Timer(call, timer=time.process_time)
    number = max(1, timer.autorange()[0] // 50)
    return short(1e6 * min(timer.repeat(50, number)) / number)
