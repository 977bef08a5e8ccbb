"""From a kernel's name to a C function: loaded already, prebuilt, in this user's cache, or compiled now.

Why not Numba's own cache: it stamps a kernel by the file it stands in, so an edited callee in another file runs stale
code; a torn file raises for ever; and even a hit costs the import of Numba and of its typing machinery, 0.4 to 0.5 s.
Here each kernel has one object file, in a folder named by two digests of all that decides its content: the sources and
the machine (digest.py). It is written whole or not at all, checked by its owner and its SHA-256 when read, and whatever
fails these checks is compiled again. Loading one takes 1.5 ms and llvmlite's import 30 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..base.atomic import write_whole
from ..base.cache import cache_folder, make_folder, unless_unsafe, why_unsafe
from ..base.forks import ForkLock
from ..base.lock import FileLock
from . import prebuilt
from .cpu import target_machine
from .digest import code_digest, machine_digest
from .signature import parameters

__all__ = [
    "COMPILER",
    "Function",
    "alone_on_machine",
    "can_compile",
    "compile_private",
    "compiling",
    "compiling_seconds",
    "is_ready",
    "load",
    "origins",
    "require_writable_cache",
    "symbol_of",
]

Function = Any  # a ctypes function: pointers go in as integer addresses

_loaded: dict[tuple[str, str, str], Function] = {}
_origins: dict[str, str] = {}
# Held by whoever compiles, loads, or imports what compiles: Numba's and LLVM's locks, and Python's of modules, would
# stay locked in a child that has not the thread.
COMPILER = ForkLock(
    "this process was forked while a kernel was being compiled, and can neither compile nor load any itself; "
    "let processes begin by 'spawn' or 'forkserver' (multiprocessing.set_start_method), or fork when nobody compiles"
)
_PATIENCE = 1.0  # seconds of compiling that need no word
_LONGEST = 120.0  # seconds to wait for another process, which may have been stopped, to compile a kernel
_spent = 0.0


def load(module: str, name: str, signature: str, dtype: str) -> Function:
    """The kernel ``name`` of ``kernels/<module>.py`` for reals of that dtype."""
    key = (module, name, dtype)
    function = _loaded.get(key)
    if function is None:
        with COMPILER.held():
            function = _loaded.get(key) or _find(module, name, signature, dtype)
            _loaded[key] = function
    return function


def is_ready(module: str, name: str, dtype: str) -> bool:
    """Whether loading that kernel will not compile it, unless its object file turns out to be damaged."""
    if (module, name, dtype) in _loaded:
        return True
    symbol = symbol_of(module, name, dtype)
    return prebuilt.find(symbol) is not None or (can_compile() and (_folder() / f"{symbol}.o").exists())


def can_compile() -> bool:
    """Whether Numba is installed."""
    return importlib.util.find_spec("numba") is not None


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Keep other threads from compiling meanwhile, and say on standard error when it takes longer than people wait."""
    global _spent
    with COMPILER.held():
        COMPILER.go_first()
        begin = time.monotonic()
        bell = threading.Timer(max(0.0, _PATIENCE - _spent), _say)
        bell.daemon = True
        bell.start()
        try:
            yield
        finally:
            bell.cancel()
            _spent += time.monotonic() - begin


def compiling_seconds() -> float:
    """The seconds that this process has spent on compiling, and on waiting for others that compile for it."""
    return _spent


@contextlib.contextmanager
def alone_on_machine(file: str) -> Iterator[None]:
    """Let other processes that come here for this file of the cache wait: a cluster's workers, which begin together,
    would take the machine to compile the same kernels several times."""
    with contextlib.suppress(OSError):  # where there can be no folder, kernels are not kept: nothing to wait for
        make_folder(_folder())
    lock, last = FileLock(_folder() / file), time.monotonic() + _LONGEST
    while not lock.acquire() and time.monotonic() < last:
        time.sleep(0.02)
    try:
        yield
    finally:
        lock.release()


@functools.cache
def _say() -> None:
    if sys.stderr is not None:
        print("fastmlp: compiling kernels for this machine, once; it takes some seconds", file=sys.stderr, flush=True)


def symbol_of(module: str, name: str, dtype: str) -> str:
    """What object files and libraries call a kernel."""
    return re.sub(r"[^\w.]+", "_", f"fastmlp.{module}.{name}.{dtype}")


def origins() -> Mapping[str, str]:
    """Where each kernel that this process has came from: "prebuilt", "cache" or "compiled", by symbol."""
    return MappingProxyType(_origins)


def compile_private(function: Any, signature: str, dtype: str) -> tuple[Function, Any]:
    """A function that holds a user's own code: compiled in this process, never stored. Keep the second value alive."""
    with COMPILER.held():
        _require_compiler(function.__qualname__)
        from .compiler import compile_callback

        compiled = compile_callback(function, signature, dtype)
    return _prototype(signature)(compiled.address), compiled


def require_writable_cache() -> None:
    """Raise OSError when nothing can be stored in the cache folder."""
    import tempfile

    make_folder(_folder())
    with tempfile.TemporaryFile(dir=_folder()) as file:
        file.write(b"0")


def _find(module: str, name: str, signature: str, dtype: str) -> Function:
    """Load the wheel's kernel, or the cached object file; where neither is there and whole, compile and store it."""
    symbol = symbol_of(module, name, dtype)
    address, origin = prebuilt.find(symbol), "prebuilt"
    if address is None:
        _require_compiler(symbol)
        code, origin = _read(symbol), "cache"
        if code is None:
            with compiling(), alone_on_machine(f"{symbol}.o"):
                code = _read(symbol)  # another process may have been first
                if code is None:
                    origin = "compiled"
                    from .compiler import compile_kernel

                    source = importlib.import_module(f".{module}", __package__)
                    code = compile_kernel(symbol, source.build(name, dtype), signature, dtype)
                    _write(symbol, code)
        address = _link(symbol, code)
    _origins[symbol] = origin
    return _prototype(signature)(address)


def _require_compiler(symbol: str) -> None:
    """Raise ImportError where Numba is not installed, which kernels need unless they are prebuilt."""
    if can_compile():
        return
    try:
        why = f"{prebuilt.in_use().path.name} does not have it"
    except prebuilt.Unusable as reason:
        why = f"no prebuilt kernels can be used: {reason}"
    raise ImportError(f"{symbol} has to be compiled ({why}), which needs Numba: pip install numba", name="numba")


def _link(symbol: str, code: bytes) -> int:
    """The address of the kernel, once its object file is loaded."""
    import llvmlite.binding as llvm

    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address(symbol)


def _prototype(signature: str) -> Any:
    types: dict[str, Any] = {"i": ctypes.c_int64, "d": ctypes.c_double}
    return ctypes.CFUNCTYPE(ctypes.c_double, *(types.get(kind, ctypes.c_void_p) for _, kind in parameters(signature)))


@functools.cache
def _engine() -> Any:
    import llvmlite.binding as llvm

    machine = target_machine()
    empty = llvm.parse_assembly("")
    empty.triple = llvm.get_process_triple()
    return llvm.create_mcjit_compiler(empty, machine)


@functools.cache
def _folder() -> Path:
    """The cache folder of exactly this code on exactly this machine."""
    return unless_unsafe(cache_folder() / f"{code_digest()[:16]}{machine_digest()[:16]}")


def _read(symbol: str) -> bytes | None:
    try:
        path = _folder() / f"{symbol}.o"
        with open(path, "rb") as file:
            if why_unsafe(os.fstat(file.fileno())):
                path.unlink()  # else the new one would have its permissions
                return None
            content = file.read()
    except OSError:
        return None
    checksum, code = content[:32], content[32:]
    return code if hashlib.sha256(code).digest() == checksum else None


def _write(symbol: str, code: bytes) -> None:
    """Store an object file, whole or not at all; where nothing can be written, the next process compiles again."""
    with contextlib.suppress(OSError):
        make_folder(_folder())
        write_whole(_folder() / f"{symbol}.o", hashlib.sha256(code).digest() + code)
