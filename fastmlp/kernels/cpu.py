"""The processor that kernels are compiled for, or run on: its name, features, vectors, and LLVM's description of it."""

from __future__ import annotations

import functools
import os
import platform
from typing import Any

from .targets import Target

__all__ = [
    "COMPRESS",
    "architecture",
    "build_for",
    "compressor",
    "cpu_features",
    "cpu_name",
    "has_many_registers",
    "target_machine",
    "vector_bytes",
    "widest_vector_bytes",
    "x86_levels",
]

_FEATURES = {  # of each level of x86-64, by NumPy's name and LLVM's; a level has those of the lower ones, too
    "x86-64-v2": ("X86_V2", "cx16 popcnt sahf sse3 sse4.1 sse4.2 ssse3"),
    "x86-64-v3": ("X86_V3", "avx avx2 bmi bmi2 f16c fma lzcnt movbe xsave"),
    "x86-64-v4": ("X86_V4", "avx512f avx512bw avx512cd avx512dq avx512vl"),
}
COMPRESS = "llvm.experimental.vector.compress"


def cpu_name() -> str:
    """LLVM's name for the processor: "znver4", "skylake-avx512", …."""
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name()


def widest_vector_bytes() -> int:
    """Bytes of the widest vectors that kernels may use: FASTMLP_VECTOR_BITS, or 512 bits."""
    wanted = os.environ.get("FASTMLP_VECTOR_BITS", "")
    return int(wanted) // 8 if wanted in ("128", "256", "512") else 64


def x86_levels() -> list[str]:
    """The levels of x86-64 whose features this processor has, the highest first."""
    from numpy._core._multiarray_umath import __cpu_features__ as by_numpy

    if "X86_V2" in by_numpy:
        has = {level: by_numpy[name] for level, (name, _) in _FEATURES.items()}
    else:  # NumPy before 2.4 does not list them all
        try:
            by_llvm = _host_features()
        except ImportError:
            return []
        has = {level: all(by_llvm.get(name) for name in names.split()) for level, (_, names) in _FEATURES.items()}
    return [level for level in reversed(_FEATURES) if all(has[lower] for lower in _FEATURES if lower <= level)]


_ARM = ("aarch64", "arm64")
_built_for: Target | None = None


def build_for(target: Target) -> None:
    """Compile for another processor's vectors and registers from now on, in a process that only builds for it."""
    global _built_for
    _built_for = target


@functools.cache
def vector_bytes() -> int:
    """Bytes of the vectors that the register tiles use: the CPU's, or fewer if FASTMLP_VECTOR_BITS says so."""
    if _built_for:
        return _built_for.vector_bytes
    features = _host_features()
    return min(widest_vector_bytes(), 64 if features.get("avx512f") else 32 if features.get("avx") else 16)


def architecture() -> str:
    """The processor's family, with which LLVM's names for its instructions begin: "arm", "x86", or "" for others."""
    machine = _built_for.triple.partition("-")[0] if _built_for else platform.machine().lower()
    return "arm" if machine in _ARM else "x86" if machine in ("x86_64", "amd64") else ""


def has_many_registers() -> bool:
    """Whether there are 32 vector registers, not 16."""
    if _built_for:
        return _built_for.many_registers
    return vector_bytes() == 64 or architecture() == "arm"


def has_masks() -> bool:
    """Whether loads and stores of some numbers of a vector are single instructions, for numbers of any size."""
    return vector_bytes() == 64


@functools.cache
def compressor() -> str | None:
    """What LLVM calls the instruction that brings chosen numbers of a vector to its front: AVX-512's `COMPRESS`, or a
    permutation, of 4 bytes each in vectors of 32, of single bytes in vectors of 16. None where there is neither.
    """
    if vector_bytes() == 64:
        return COMPRESS
    if architecture() == "arm":
        return "llvm.aarch64.neon.tbl1.v16i8"
    needed, name = ("ssse3", "llvm.x86.ssse3.pshuf.b.128")
    if vector_bytes() == 32:
        needed, name = ("avx2", "llvm.x86.avx2.permd")
    return name if _built_for or _host_features().get(needed) else None


def cpu_features() -> str:
    """The host's features as LLVM takes them, then what is wider than the vectors asked for, as taken away: LLVM takes
    with a feature all that need it, but one that comes later brings back what it needs."""
    features = [f"{'+' if on else '-'}{name}" for name, on in sorted(_host_features().items())]
    too_wide = [f"-{name}" for bits, name in ((512, "avx512f"), (256, "avx")) if vector_bytes() * 8 < bits]
    return ",".join(features + (too_wide if architecture() == "x86" else []))


@functools.cache
def target_machine() -> Any:
    """LLVM's code generator for this processor."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(
        cpu=cpu_name(), features=cpu_features(), opt=3, jit=True, codemodel="jitdefault"
    )


@functools.cache
def _host_features() -> dict[str, bool]:
    import llvmlite.binding as llvm

    return dict(llvm.get_host_cpu_features())
