"""The processors for which kernels are built ahead of time: one shared library each, named by its target.

A level of x86-64 is LLVM's set of features, and NumPy's of the same name: https://gitlab.com/x86-psABIs/x86-64-ABI.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["TARGETS", "Target"]


class Target(NamedTuple):
    """The names of a processor and its system for LLVM, the linker and pip."""

    triple: str
    cpu: str
    vector_bytes: int
    many_registers: bool  # 32 vector registers, not 16
    zig: str  # the linker's target, with the oldest C library that will do
    wheel: str  # the platform in a wheel's name
    suffix: str  # of the library's file
    features: str = ""


_LEVELS = {"x86-64-v2": (16, False), "x86-64-v3": (32, False), "x86-64-v4": (64, True)}
_LINUX = "manylinux_2_17"
TARGETS = {
    **{
        f"linux-{level}": Target(
            "x86_64-unknown-linux-gnu", level, *vectors, "x86_64-linux-gnu.2.17", f"{_LINUX}_x86_64", ".so"
        )
        for level, vectors in _LEVELS.items()
    },
    "linux-aarch64": Target(
        "aarch64-unknown-linux-gnu", "generic", 16, True, "aarch64-linux-gnu.2.17", f"{_LINUX}_aarch64", ".so"
    ),
    "macos-arm64": Target(
        "arm64-apple-macosx11.0.0", "apple-m1", 16, True, "aarch64-macos.11.0", "macosx_11_0_arm64", ".dylib"
    ),
    **{
        f"windows-{level}": Target(
            "x86_64-pc-windows-gnu", level, *_LEVELS[level], "x86_64-windows-gnu", "win_amd64", ".dll"
        )
        for level in ("x86-64-v3", "x86-64-v4")
    },
}
