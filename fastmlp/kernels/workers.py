"""Compiling kernels at the same time, in processes of this interpreter that store them in the user's cache.

Not multiprocessing: that runs a script again that has no ``if __name__ == "__main__"``, and refuses daemonic processes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable

from ..base.cache import cache_folder
from ..base.cores import usable_cores
from . import store
from .catalog import NETWORK, Variant, is_ready, load

__all__ = ["prepare", "serve"]

_PYTHON = re.compile(r"python[\d.]*(w|_d)?(\.exe)?", re.IGNORECASE)


def prepare(variants: Iterable[Variant]) -> None:
    """Compile those of these kernels that have to be compiled, where several processes do so sooner than this one.

    Where they do not (one kernel, one core, no cache that can be written to, no interpreter to start) nothing is done,
    and what went wrong in a process is left to whoever loads that kernel.
    """
    missing = _missing(variants)
    if min(usable_cores(), len(missing)) < 2 or not _can_start() or not store.can_compile():
        return
    try:
        store.require_writable_cache()
    except OSError:
        return
    with store.compiling(), store.alone_on_machine("workers"):
        missing = _missing(missing)  # another process may have been first
        missing.sort(key=lambda variant: (variant.family not in NETWORK, variant.family != "product"))  # longest first
        _compile(deque(missing), min(usable_cores(), len(missing)))


def serve() -> None:
    """The loop of a worker: compile the kernel that each line of standard input names, and answer when it is stored."""
    for line in sys.stdin:
        load(Variant(*line.rstrip("\n").split("\t")))
        print("ready", flush=True)


def _missing(variants: Iterable[Variant]) -> list[Variant]:
    return [variant for variant in dict.fromkeys(variants) if not is_ready(variant)]


def _can_start() -> bool:
    """Whether ``sys.executable`` is an interpreter; where Python is part of a program, it may be that program."""
    name = os.path.basename(sys.executable or "")
    return bool(_PYTHON.fullmatch(name)) and not getattr(sys, "frozen", False)


def _compile(waiting: deque[Variant], n_workers: int) -> None:
    workers: list[subprocess.Popen[str]] = []
    try:
        for _ in range(n_workers):
            workers.append(_start())
        threads = [threading.Thread(target=_feed, args=(worker, waiting), daemon=True) for worker in workers]
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            alive[0].join(0.1)  # in slices, because on Windows Ctrl-C is not heard in between
    except OSError:
        return  # no process can be started
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def _start() -> subprocess.Popen[str]:
    """A worker, which finds the modules that this process finds and no others, and has its cache."""
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "FASTMLP_CACHE_DIR": str(cache_folder())}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def _feed(worker: subprocess.Popen[str], waiting: deque[Variant]) -> None:
    """Give a worker one kernel after the other, until none is waiting or it has failed."""
    assert worker.stdin is not None and worker.stdout is not None
    while True:
        try:
            worker.stdin.write("\t".join(waiting.popleft()) + "\n")
            worker.stdin.flush()
        except (IndexError, OSError):
            return
        if not worker.stdout.readline():
            return
