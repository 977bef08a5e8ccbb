"""What does compiling cost? In fresh processes, by the scripts that the history's suite of cold starts runs, too.

Seconds of processor time, of a process and of those that it starts to compile.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

from .networks import first_module, short

IMPORT = """
import time
import numpy
begin = time.process_time()
import fastmlp
print(time.process_time() - begin)
"""
FIRST_TRAINING = """
import resource, time
import numpy
begin = time.process_time()
import fastmlp
fastmlp.train([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0],
              [{"n": 2, "act": None}, {"n": 8, "act": "tanh"}, {"n": 1, "act": "sigmoid"}], epochs=1)
print(time.process_time() - begin + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]))
"""
COMMON_PATHS = """
import resource, time
import numpy
begin = time.process_time()
import fastmlp
rng = numpy.random.default_rng(0)
x, y = rng.random((256, 20), dtype="float32"), rng.integers(0, 10, 256)
spec = [{"n": 20, "act": None}, {"n": 16, "act": "relu"}, {"n": 10, "act": "softmax"}]
model, _ = fastmlp.train(x, y, spec, epochs=1)
fastmlp.train(x, y, model, epochs=1, batch_size=32)
fastmlp.train(x, y, model, epochs=1, batch_size=32, optimizer="adam")
model.predict(x)
model.evaluate(x, y)
print(time.process_time() - begin + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]))
"""
WARMUP = """
import resource, time
try:
    from fastmlp.kernels.warmup import warm_up
except ModuleNotFoundError:  # a commit from before the package had rooms
    from fastmlp.warmup import warm_up
warm_up()
print(time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]))
"""
NUMBA = """
import time
import numpy
begin = time.process_time()
import numba
print(time.process_time() - begin)
"""


WALL_CLOCK = f"""
import subprocess, sys, time
begin = time.perf_counter()
subprocess.run([sys.executable, "-c", {FIRST_TRAINING!r}], stdout=subprocess.DEVNULL, check=True)
print(time.perf_counter() - begin)
"""


def seconds(script: str, cache: str, repeats: int = 5, prebuilt: str = "0") -> float:
    """The least that the script prints, of several processes."""
    environment = {**os.environ, "FASTMLP_CACHE_DIR": cache, "FASTMLP_PREBUILT": prebuilt}
    command = [sys.executable, "-c", script]
    return short(min(float(subprocess.check_output(command, env=environment)) for _ in range(repeats)))


class Compiling:
    """The first training run of a machine: import, compile what one network needs, train; and what most people use:
    per-sample SGD, batches, Adam, predictions. Only these and the next suite time the compiler."""

    def track_first_training_from_empty_cache(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return seconds(FIRST_TRAINING, folder, 1)

    def track_first_training_from_empty_cache_wall_clock(self) -> float:
        """Kernels are compiled side by side. From the start of the process to its end."""
        with tempfile.TemporaryDirectory() as folder:
            return seconds(WALL_CLOCK, folder, 1)

    def track_common_paths_from_empty_cache(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return seconds(COMMON_PATHS, folder, 1)

    track_first_training_from_empty_cache.pretty_name = "Compiling for the first training, seconds of processor time"
    track_first_training_from_empty_cache_wall_clock.pretty_name = (
        "Compiling for the first training, seconds on the clock"
    )
    track_common_paths_from_empty_cache.pretty_name = "Compiling what most people use, seconds of processor time"
    track_first_training_from_empty_cache_wall_clock.unit = "seconds"
    track_first_training_from_empty_cache.unit = "seconds"
    track_common_paths_from_empty_cache.unit = "seconds"


class CompilingEverything:
    """Every kernel there is, in both dtypes."""

    pretty_name = "Compiling every kernel, seconds"

    def setup(self) -> None:
        first_module("fastmlp.kernels.warmup", "fastmlp.warmup")

    def track_warmup_from_empty_cache(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return seconds(WARMUP, folder, 1)

    track_warmup_from_empty_cache.unit = "seconds"
