"""What do a process's first import and first training step cost, and what does compiling? Each in fresh processes.

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


class Startup:
    """Beyond the import of NumPy, in a process that finds the kernels compiled."""

    unit = "seconds"

    def setup(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        seconds(FIRST_TRAINING, self.folder.name, 1)

    def teardown(self) -> None:
        self.folder.cleanup()

    def track_import(self) -> float:
        return seconds(IMPORT, self.folder.name)

    def track_import_and_first_training(self) -> float:
        return seconds(FIRST_TRAINING, self.folder.name)

    def track_import_of_numba_for_comparison(self) -> float:
        return seconds(NUMBA, self.folder.name)


Startup.track_import.unit = Startup.unit  # type: ignore[attr-defined]
Startup.track_import_and_first_training.unit = Startup.unit  # type: ignore[attr-defined]
Startup.track_import_of_numba_for_comparison.unit = Startup.unit  # type: ignore[attr-defined]


class Prebuilt:
    """From a wheel, with nothing in the cache; left out where the commit's installation has no prebuilt kernels."""

    def setup(self) -> None:
        prebuilt = first_module("fastmlp.kernels.prebuilt")
        try:
            prebuilt.in_use()
        except prebuilt.Unusable as reason:
            raise NotImplementedError(str(reason)) from None

    def track_import_and_first_training(self) -> float:
        return seconds(FIRST_TRAINING, os.devnull, prebuilt="1")

    track_import_and_first_training.unit = "seconds"  # type: ignore[attr-defined]


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

    track_first_training_from_empty_cache_wall_clock.unit = "seconds"  # type: ignore[attr-defined]
    track_first_training_from_empty_cache.unit = "seconds"  # type: ignore[attr-defined]
    track_common_paths_from_empty_cache.unit = "seconds"  # type: ignore[attr-defined]


class CompilingEverything:
    """Every kernel there is, in both dtypes."""

    def setup(self) -> None:
        first_module("fastmlp.kernels.warmup", "fastmlp.warmup")

    def track_warmup_from_empty_cache(self) -> float:
        with tempfile.TemporaryDirectory() as folder:
            return seconds(WARMUP, folder, 1)

    track_warmup_from_empty_cache.unit = "seconds"  # type: ignore[attr-defined]
