"""From a Python function to machine code, by Numba: the options of all kernels, and the refusal of other functions.

A kernel takes pointers and numbers and neither allocates nor raises, so its machine code needs nothing of Numba at run
time. store.py imports this only when a kernel has to be compiled.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import re
from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
from numba import cfunc, types

from ..base.interrupts import no_interrupt_lost
from .checked import checked
from .cpu import target_machine
from .signature import parameters

__all__ = [
    "OPTIONS",
    "c_function",
    "compile_callback",
    "compile_kernel",
    "hide_all_but",
    "no_collection",
    "object_code",
]

# What the compiled function may do with floats. No nnan and no ninf: the checks for NaN and infinity must stay.
OPTIONS: dict[str, Any] = {
    "fastmath": {"reassoc", "contract", "nsz", "arcp", "afn"},
    "error_model": "numpy",
    "nogil": True,
    "boundscheck": bool(checked()),
}
# Numba's C wrapper names these for exceptions and for arrays that own memory. A kernel has neither, which
# object_code checks: no exception is stored in its code and no allocator is named there.
_NEVER_CALLED = {
    "NRT_Free",
    "NRT_MemInfo_call_dtor",
    "numba_do_raise",
    "numba_gil_ensure",
    "numba_gil_release",
    "numba_runtime_build_excinfo_struct",
    "numba_unpickle",
}
# What is called and stands elsewhere: functions, but Python's, which Numba's C wrapper names for exceptions, and of
# LLVM's intrinsics those that become calls of the C library.
_MATHEMATICS = "a?(?:sin|cos|tan)h?|atan2|exp|exp2|exp10|frexp|ldexp|log|log2|log10|modf|pow|powi|sincos|sincospi"
_FOREIGN = re.compile(rf"^declare .*@(?!Py|llvm\.(?!(?:{_MATHEMATICS})\.))([\w$.]+)\(", re.MULTILINE)
_COPYING = {"memcpy", "memmove", "memset"}


def compile_kernel(symbol: str, function: Any, signature: str, dtype: str) -> bytes:
    """The object file of a kernel, which has it under the name ``symbol``.

    Raises
    ------
    RuntimeError
        When the function can raise, allocate or call what is not compiled into it.
    """
    with no_collection():
        # Without Numba's runtime (an option that callees inherit): what owns no memory counts no references.
        return _object_code(symbol, c_function(function, signature, dtype, _nrt=False))


def compile_callback(function: Any, signature: str, dtype: str) -> Any:
    """Numba's object for a function that may allocate and raise: its ``address`` is valid while the object lives."""
    return c_function(function, signature, dtype)


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """Pause the garbage collector: scanning Numba's long-lived objects costs a fifth of the time to compile."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def c_function(function: Any, signature: str, dtype: str, **options: Any) -> Any:
    """Numba's C function; a RuntimeError if the function's arguments have other names than the signature's."""
    real = getattr(types, dtype)
    arguments, names = parameters(signature), list(inspect.signature(function).parameters)
    declared = [name for name, _ in arguments]
    if names != declared:
        raise RuntimeError(f"{function.__qualname__} takes {names}, the catalog says {declared}")
    kinds = {
        "T": types.CPointer(real),
        "I": types.CPointer(types.int64),
        "D": types.CPointer(types.float64),
        "i": types.int64,
        "d": types.float64,
    }
    compile_it = cfunc(types.float64(*(kinds[kind] for _, kind in arguments)), **OPTIONS, **options)
    with no_interrupt_lost():
        return compile_it(function)


def _object_code(symbol: str, compiled: Any) -> bytes:
    return object_code(symbol, compiled.inspect_llvm().replace(compiled.native_name, symbol), target_machine())


def object_code(symbol: str, code: str, machine: Any) -> bytes:
    """The object file of a kernel's optimised LLVM code, by LLVM's code generator for some processor.

    Raises
    ------
    RuntimeError
        When the code can raise, allocate or call what is not in it: the C library's mathematics has other bits on every
        system.
    """
    if ".const.pickledata" in code and not checked():
        raise RuntimeError(f"{symbol}: a kernel must not raise, and this one can")
    code = re.sub(r"^declare (.*@((?:NRT|numba)_\w+)\(.*)$", _bury, code, flags=re.MULTILINE)
    if foreign := set(_FOREIGN.findall(code)) - _COPYING:
        raise RuntimeError(f"{symbol}: a kernel must not need other libraries, and this one calls {sorted(foreign)}")
    if checked():
        code = _aborting(code, symbol)
    module = llvm.parse_assembly(code)
    hide_all_but(module, symbol)
    module.verify()
    return machine.emit_object(module)


def hide_all_but(module: Any, symbol: str) -> None:
    """Hide all that a module defines, except the kernel, from other object files.

    Numba distinguishes functions of equal names by a counter of its process, so that of object files from two processes
    one could call the other's functions.
    """
    for part in (*module.functions, *module.global_variables):
        if not part.is_declaration and part.name != symbol:
            part.linkage = "internal"


def _bury(declaration: re.Match[str]) -> str:
    """A stub for a helper that is never called, so that the object file links where Numba is not loaded."""
    rest, name = declaration.groups()
    if name not in _NEVER_CALLED:
        raise RuntimeError(f"a kernel must not allocate, and this one calls {name}")
    return f"define internal {rest} {{ unreachable }}"


def _aborting(code: str, symbol: str) -> str:
    """The code of a checked kernel that prints its name and aborts if an index is out of bounds.

    Numba's C wrapper first calls the same helper when a kernel raised, which only an index can cause.
    """
    text = f"fastmlp: an index is out of bounds in {symbol}\n".encode()
    escaped = "".join(f"\\{byte:02x}" for byte in text)
    strings = f"""@out_of_bounds = private constant [{len(text)} x i8] c"{escaped}"
declare i64 @write(i32, ptr, i64)
declare void @abort()
"""
    body = f"call i64 @write(i32 2, ptr @out_of_bounds, i64 {len(text)}) call void @abort()"
    stub = re.compile(r"^define internal .*@numba_gil_ensure\(.*\{", re.MULTILINE)
    return stub.sub(lambda found: f"{strings}{found[0]} {body}", code)
