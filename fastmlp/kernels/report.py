"""Which kernels a process uses: prebuilt ones and their level, those of the user's cache, or compiled ones."""

from __future__ import annotations

from typing import Any, Literal, overload

from ..base.cache import cache_folder
from ..base.checks import check_choice
from . import prebuilt, store
from .cpu import cpu_name, vector_bytes

__all__ = ["level", "show_kernels"]


def level() -> str:
    """The kernels' level: with equal levels, versions of fastmlp and seeds, bits are equal.

    Examples
    --------
    >>> from fastmlp.kernels.report import level
    >>> level()  # doctest: +SKIP
    'prebuilt x86-64-v4'
    """
    try:
        return f"prebuilt {prebuilt.in_use().level}"
    except prebuilt.Unusable:
        return f"compiled for {cpu_name()}, {8 * vector_bytes()} bits, by Numba {_version('numba')}"


@overload
def show_kernels(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_kernels(mode: Literal["dicts"]) -> dict[str, Any]: ...
def show_kernels(mode: Literal["stdout", "dicts"] = "stdout") -> dict[str, Any] | None:
    """Show which kernels are in use: the wheel's prebuilt ones or not and why, the compiler, the cache, and how many
    kernels this process has loaded from where.

    Parameters
    ----------
    mode : "stdout" or "dicts"
        Print, or return what would be printed, as `numpy.show_config` does.

    Returns
    -------
    dict of dict or None
        With "dicts": "kernels" (their level and origin), "prebuilt", "compiler" and "cache".

    Examples
    --------
    >>> import fastmlp
    >>> fastmlp.show_kernels()  # doctest: +SKIP
    kernels
      level     prebuilt x86-64-v4
      loaded    14 prebuilt, 0 from the cache, 0 compiled
    prebuilt
      library   /usr/lib/python3/dist-packages/fastmlp/kernels/libraries/linux-x86-64-v4.so
    compiler
      numba     0.68.1
      llvmlite  0.50.0
    cache
      folder    /home/me/.cache/fastmlp
    >>> sorted(fastmlp.show_kernels("dicts"))
    ['cache', 'compiler', 'kernels', 'prebuilt']
    """
    check_choice(mode, "mode", ("stdout", "dicts"))
    found = _found()
    if mode == "dicts":
        return found
    for title, entries in found.items():
        print(title)
        for name, value in entries.items():
            print(f"  {name:8}  {value}")
    return None


def _found() -> dict[str, dict[str, Any]]:
    origins = list(store.origins().values())
    try:
        library = prebuilt.in_use()
        about: dict[str, Any] = {"library": str(library.path)}
    except prebuilt.Unusable as reason:
        about = {"unused": str(reason)}
    compiler = {package: _version(package) for package in ("numba", "llvmlite")}
    usable = store.can_compile() or "library" in about
    if store.can_compile():
        compiler["target"] = f"{cpu_name()}, {8 * vector_bytes()} bits"
    counts = ", ".join(
        f"{origins.count(origin)} {words}"
        for origin, words in (("prebuilt", "prebuilt"), ("cache", "from the cache"), ("compiled", "compiled"))
    )
    return {
        "kernels": {"level": level() if usable else "none: no Numba", "loaded": counts},
        "prebuilt": about,
        "compiler": compiler,
        "cache": {"folder": str(cache_folder())},
    }


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
