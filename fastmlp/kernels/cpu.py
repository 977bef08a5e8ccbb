"""The processor that kernels are compiled for: its name, its features, its vectors, and LLVM's description of it."""

from __future__ import annotations

import functools
import os
import platform
from typing import Any

__all__ = ["cpu_features", "cpu_name", "has_many_registers", "target_machine", "vector_bytes"]


def cpu_name() -> str:
    """What LLVM calls the processor: "znver4", "skylake-avx512", …."""
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name()


@functools.cache
def vector_bytes() -> int:
    """Bytes of the vectors that the register tiles use: the CPU's, or fewer where FASTMLP_VECTOR_BITS says so."""
    features = _host_features()
    widest = 64 if features.get("avx512f") else 32 if features.get("avx") else 16
    wanted = os.environ.get("FASTMLP_VECTOR_BITS", "")
    return min(widest, int(wanted) // 8) if wanted in ("128", "256", "512") else widest


def has_many_registers() -> bool:
    """Whether there are 32 vector registers, not 16."""
    return vector_bytes() == 64 or platform.machine().lower() in ("aarch64", "arm64")


def cpu_features() -> str:
    """The host's features as LLVM takes them, without those that are wider than the vectors asked for."""
    features = dict(_host_features())
    for bits, needed in ((512, "avx512f"), (256, "avx")):
        if vector_bytes() * 8 < bits and features.get(needed):
            features[needed] = False
    return ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(features.items()))


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
