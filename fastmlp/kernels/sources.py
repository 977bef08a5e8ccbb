"""The sources that kernels are compiled from, and their digest.

The standard library suffices: the build hook of wheels (hatch_build.py) loads this file where NumPy is not installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["kernel_sources", "sources_digest"]

# Imports from the package. Both patterns begin with a word, which re finds several times faster than a choice of words.
_FROM = re.compile(rb"from[ \t]*((?:\.|fastmlp\b)[\w. \t]*?)\bimport\b[ \t]*(\((?:[^()#]|#[^\n]*)*\)|[^\n;#]*)")
_IMPORT = re.compile(rb"import[ \t]+([^\n;#]*\bfastmlp\b[^\n;#]*)")
_CONTINUATION = re.compile(rb"\\\r?\n")
_COMMENT = re.compile(rb"#[^\n]*")


def sources_digest(package: Path, also: bytes = b"") -> str:
    """SHA-256 of the kernels' sources in that folder, and of what else decides their code."""
    digest = hashlib.sha256(also)
    for name, content in sorted(kernel_sources(package).items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def kernel_sources(package: Path) -> dict[str, bytes]:
    """The package's folder ``kernels`` and all that it imports from the package: content by path in the package.

    Found, not listed by hand: a file that a list lacks would let a kernel outlive a change of its source.
    """
    sources = {}
    waiting = [f"kernels/{name}" for name in os.listdir(package / "kernels") if name.endswith(".py")]
    seen = set(waiting)
    while waiting:
        name = waiting.pop()
        path = f"{package}/{name}"
        if os.path.exists(path):
            with open(path, "rb") as file:
                sources[name] = file.read()
            new = set(_imported(str(package), name, sources[name])) - seen
            waiting += new
            seen |= new
    return sources


def _imported(package: str, name: str, content: bytes) -> Iterator[str]:
    """The files of the package, existing or not, that the import statements anywhere in a file may mean."""
    text = _CONTINUATION.sub(b" ", content) if b"\\" in content else content
    folder = ".".join(["fastmlp", *name.split("/")[:-1]])
    for statement in _FROM.finditer(text):
        if _begins_statement(text, statement.start()):
            module = importlib.util.resolve_name(b"".join(statement[1].split()).decode(), folder)
            yield from _files(package, module, _names(statement[2]))
    for statement in _IMPORT.finditer(text):
        if _begins_statement(text, statement.start()):
            for module in _names(statement[1]):
                if module.partition(".")[0] == "fastmlp":
                    yield from _files(package, module, ["*"])
                    yield from _files(package, "fastmlp", ["*"])  # the name that it binds


def _begins_statement(text: bytes, position: int) -> bool:
    before = text[text.rfind(b"\n", 0, position) + 1 : position].strip()
    return not before or before[-1:] in (b":", b";")


def _names(text: bytes) -> list[str]:
    """``a`` and ``b`` of ``(a as c, b)``, without comments."""
    names = _COMMENT.sub(b"", text).decode().strip("() \t\r\n").split(",")
    return [name.split()[0] for name in names if name.strip()]


def _files(package: str, module: str, names: list[str]) -> Iterator[str]:
    """The files of ``from module import names``: the module, the packages above it, and modules among the names.

    The package's own __init__.py imports nearly everything. It counts only where a name must come from there.
    """
    parts = module.split(".")[1:]
    folder = "/".join([package, *parts])
    candidates = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    if os.path.isdir(folder):
        candidates += ["/".join([*parts, name]) for name in names]
        if not parts and not all(
            os.path.exists(f"{folder}/{name}.py") or os.path.isdir(f"{folder}/{name}") for name in names
        ):
            yield "__init__.py"
    for candidate in candidates:
        yield f"{candidate}.py"
        yield f"{candidate}/__init__.py"
