"""From a kernel's name to a C function: compiled by Numba once a machine, loaded from its object file ever after.

Why not Numba's own cache: it stamps a kernel by the file it stands in, so an edited callee in another file runs stale
code; a torn file raises for ever; and even a hit costs the import of Numba and of its typing machinery, 0.4 to 0.5 s.
Kernels here take only pointers and numbers and neither allocate nor raise, so their machine code needs nothing of
Numba at run time. One object file a kernel, in a folder named by a hash over everything that decides its content: the
kernel sources, the versions of Python, NumPy, Numba and llvmlite, and the CPU. It is written whole or not at all,
checked by its SHA-256 when read, and whatever fails that check is compiled again. Loading one takes 1.5 ms and
llvmlite's import 30 ms.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import hashlib
import importlib
import importlib.util
import os
import platform
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..base.atomic import write_whole
from ..base.cache import cache_folder

__all__ = [
    "Function",
    "compile_private",
    "cpu_name",
    "has_many_registers",
    "load",
    "require_writable_cache",
    "vector_bytes",
]

Function = Any  # a ctypes function: pointers go in as integer addresses

# What the compiled function may do with floats. No nnan and no ninf: the checks for NaN and infinity must stay.
OPTIONS: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "afn"},
    "error_model": "numpy",
    "nogil": True,
}
_SOURCES = (
    "../activations.py",
    "../losses.py",
    "../optimizers.py",
)  # beside this folder's own files: their functions are compiled too
# Numba's C wrapper names these for exceptions and for arrays that own memory. A kernel has neither, which
# _object_code checks: no exception is stored in its code and no allocator is named there.
_NEVER_CALLED = {
    "NRT_Free",
    "NRT_MemInfo_call_dtor",
    "numba_do_raise",
    "numba_gil_ensure",
    "numba_gil_release",
    "numba_runtime_build_excinfo_struct",
    "numba_unpickle",
}

_loaded: dict[tuple[str, str, str], Function] = {}
_lock = threading.RLock()


def load(module: str, name: str, signature: str, dtype: str) -> Function:
    """The kernel ``name`` of ``kernels/<module>.py`` for reals of that dtype, loaded, or compiled when need be."""
    key = (module, name, dtype)
    function = _loaded.get(key)
    if function is None:
        with _lock:
            function = _loaded.get(key) or _link(f"fastmlp.{module}.{name}.{dtype}", key, signature)
            _loaded[key] = function
    return function


def compile_private(function: Any, signature: str, dtype: str) -> tuple[Function, Any]:
    """A function that holds a user's own code: compiled in this process, never stored. Keep the second value alive."""
    compiled = _cfunc(function, signature, dtype)
    return _prototype(signature)(compiled.address), compiled


def require_writable_cache() -> None:
    """Raise OSError when nothing can be stored in the cache folder."""
    _folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=_folder()) as file:
        file.write(b"0")


def _link(symbol: str, key: tuple[str, str, str], signature: str) -> Function:
    code = _read(symbol)
    if code is None:
        module, name, dtype = key
        source = importlib.import_module(f".{module}", __package__)
        with _no_collection():
            # Without Numba's runtime (an option that callees inherit): what owns no memory counts no references.
            code = _object_code(symbol, _cfunc(source.build(name, dtype), signature, dtype, _nrt=False))
        _write(symbol, code)
    import llvmlite.binding as llvm

    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return _prototype(signature)(engine.get_function_address(symbol))


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Without the collector of cyclic garbage, which looks through all that Numba makes and keeps, again and again: a
    fifth of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _prototype(signature: str) -> Any:
    types: dict[str, Any] = {"i": ctypes.c_int64, "d": ctypes.c_double}
    return ctypes.CFUNCTYPE(ctypes.c_double, *(types.get(letter, ctypes.c_void_p) for letter in signature))


def _cfunc(function: Any, signature: str, dtype: str, **options: Any) -> Any:
    from numba import cfunc, types

    real = getattr(types, dtype)
    letters = {
        "T": types.CPointer(real),
        "I": types.CPointer(types.int64),
        "D": types.CPointer(types.float64),
        "i": types.int64,
        "d": types.float64,
    }
    return cfunc(types.float64(*(letters[letter] for letter in signature)), **OPTIONS, **options)(function)


def _object_code(symbol: str, compiled: Any) -> bytes:
    import llvmlite.binding as llvm

    code = compiled.inspect_llvm().replace(compiled.native_name, symbol)
    if ".const.pickledata" in code:
        raise RuntimeError(f"{symbol}: a kernel must not raise, and this one can")
    code = re.sub(r"^declare (.*@((?:NRT|numba)_\w+)\(.*)$", _bury, code, flags=re.MULTILINE)
    module = llvm.parse_assembly(code)
    module.verify()
    return _machine().emit_object(module)


def _bury(declaration: re.Match[str]) -> str:
    """A stub for a helper that is never called, so that the object file links where Numba is not loaded."""
    rest, name = declaration.groups()
    if name not in _NEVER_CALLED:
        raise RuntimeError(f"a kernel must not allocate, and this one calls {name}")
    return f"define internal {rest} {{ unreachable }}"


@functools.cache
def _machine() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=cpu_name(), features=_cpu_features(), opt=3, jit=True, codemodel="jitdefault"
    )


@functools.cache
def _engine() -> Any:
    import llvmlite.binding as llvm

    machine = _machine()
    empty = llvm.parse_assembly("")
    empty.triple = llvm.get_process_triple()
    return llvm.create_mcjit_compiler(empty, machine)


@functools.cache
def _host_features() -> dict[str, bool]:
    import llvmlite.binding as llvm

    return dict(llvm.get_host_cpu_features())


def _cpu_features() -> str:
    """The host's features, without those that are wider than the vectors asked for."""
    features = dict(_host_features())
    for bits, needed in ((512, "avx512f"), (256, "avx")):
        if vector_bytes() * 8 < bits and features.get(needed):
            features[needed] = False
    return ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(features.items()))


@functools.cache
def vector_bytes() -> int:
    """Width of the vectors that the register tiles use: that of the CPU, or less where FASTMLP_VECTOR_BITS says so."""
    features = dict(_host_features())
    widest = 64 if features.get("avx512f") else 32 if features.get("avx") else 16
    wanted = os.environ.get("FASTMLP_VECTOR_BITS", "")
    return min(widest, int(wanted) // 8) if wanted in ("128", "256", "512") else widest


def cpu_name() -> str:
    """What LLVM calls the processor: "znver4", "skylake-avx512", …."""
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name()


def has_many_registers() -> bool:
    """Whether there are 32 vector registers, not 16."""
    return vector_bytes() == 64 or platform.machine().lower() in ("aarch64", "arm64")


@functools.cache
def _folder() -> Path:
    """The cache folder of exactly this code on exactly this machine."""
    import llvmlite
    import llvmlite.binding as llvm

    here = Path(__file__).parent
    numba = importlib.util.find_spec("numba")
    assert numba is not None and numba.origin is not None
    machine = llvm.get_process_triple(), cpu_name(), _cpu_features()
    digest = hashlib.sha256(repr((sys.version, np.__version__, llvmlite.__version__, machine)).encode())
    for path in (
        *sorted(here.glob("*.py")),
        *(here / name for name in _SOURCES),
        Path(numba.origin).with_name("_version.py"),
    ):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return cache_folder() / digest.hexdigest()[:32]


def _read(symbol: str) -> bytes | None:
    try:
        content = (_folder() / f"{symbol}.o").read_bytes()
    except OSError:
        return None
    checksum, code = content[:32], content[32:]
    return code if hashlib.sha256(code).digest() == checksum else None


def _write(symbol: str, code: bytes) -> None:
    """Store an object file, whole or not at all; where nothing can be written, the next process compiles again."""
    with contextlib.suppress(OSError):
        _folder().mkdir(parents=True, exist_ok=True)
        write_whole(_folder() / f"{symbol}.o", hashlib.sha256(code).digest() + code)
