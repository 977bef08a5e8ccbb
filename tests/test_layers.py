"""The rooms of the package and the arrows between them: who may import whom, whatever form the import has."""

from __future__ import annotations

import ast
import importlib.util
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import fastmlp

VOCABULARY = (
    "activations init losses metrics optimizers reference residuals schedules spec"  # what can be written on paper
)
BELOW_DOORS = f"base {VOCABULARY} kernels engine model"
DOORS = "cli dask datasets interop intervals nn2 plotting sklearn tables"
MAY_IMPORT = {
    "base": "",
    **dict.fromkeys(VOCABULARY.split(), f"base {VOCABULARY}"),
    "kernels": "base activations losses optimizers",  # the formulas that they compile
    "engine": f"base {VOCABULARY} kernels",
    "model": f"base {VOCABULARY} engine",
    **dict.fromkeys(DOORS.split(), BELOW_DOORS),
    "interop": f"{BELOW_DOORS} sklearn",
    "cli": f"{BELOW_DOORS} {DOORS} __init__",
    "__main__": "cli",
    "__init__": f"{BELOW_DOORS} {DOORS}",
}
KNOW_MEMORY = "kernels engine"  # may import kernels.layout and take the addresses of arrays


class Import(NamedTuple):
    file: str  # the importing module's, in the package
    line: int
    source: str  # modules as "kernels.layout", the package's __init__.py as "__init__"
    target: str
    at_call: bool  # inside a function


def trees(package: Path) -> dict[str, tuple[str, ast.Module]]:
    """File and syntax tree of each module."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        file = path.relative_to(package)
        parts = [part for part in file.with_suffix("").parts if part != "__init__"]
        found[".".join(parts) or "__init__"] = file.as_posix(), ast.parse(path.read_bytes())
    return found


def imports(package: Path) -> list[Import]:
    """Every import of the package from the package, also for types only and inside functions."""
    modules = trees(package)
    found = []
    for source, (file, tree) in modules.items():
        here = ".".join(["fastmlp", *Path(file).parts[:-1]])
        functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        at_call = {id(node) for function in functions for node in ast.walk(function)}
        for node in ast.walk(tree):
            for target in _targets(node, here, modules):
                found.append(Import(file, node.lineno, source, target, id(node) in at_call))
    return found


def _targets(node: ast.AST, here: str, modules: dict) -> list[str]:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        module = importlib.util.resolve_name("." * node.level + (node.module or ""), here)
        names = [f"{module}.{alias.name}" for alias in node.names]
        names = [name if name.removeprefix("fastmlp.") in modules else module for name in names]
    else:
        return []
    own = [name for name in dict.fromkeys(names) if name.split(".")[0] == "fastmlp"]
    return [name.removeprefix("fastmlp.") if name != "fastmlp" else "__init__" for name in own]


def forbidden_arrows(package: Path) -> list[str]:
    """A line for each import that the table does not allow."""
    lines = []
    for file, line, source, target, _ in imports(package):
        room, other = source.split(".")[0], target.split(".")[0]
        if room not in MAY_IMPORT:
            lines.append(f"{file}:{line}: {room} is no room of tests/test_layers.py: say there what it may import")
        elif room != other and other not in MAY_IMPORT[room].split():
            allowed = MAY_IMPORT[room] or "nothing of the package"
            lines.append(f"{file}:{line}: {room} must not import {target}: {room} may import {allowed}")
    return lines


def forbidden_memory(package: Path) -> list[str]:
    """A line for each place outside of kernels and engine that looks at how memory lies."""
    lines = [
        f"{file}:{line}: only engine imports kernels.layout"
        for file, line, source, target, _ in imports(package)
        if target == "kernels.layout" and source.split(".")[0] not in KNOW_MEMORY.split()
    ]
    for source, (file, tree) in trees(package).items():
        for node in ast.walk(tree):
            takes_address = isinstance(node, ast.Attribute) and node.attr == "ctypes"
            if takes_address and source.split(".")[0] not in KNOW_MEMORY.split():
                lines.append(f"{file}:{node.lineno}: only engine takes the address of an array: {ast.unparse(node)}")
    return lines


def circle(package: Path) -> list[str]:
    """The modules of a circle of imports outside of functions, types' imports among them; empty if there is none."""
    graph: dict[str, set[str]] = {}
    for _, _, source, target, at_call in imports(package):
        if not at_call:
            graph.setdefault(source, set()).add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


PACKAGE = Path(fastmlp.__file__).parent
CONTRIBUTING = Path(__file__).parents[1] / "CONTRIBUTING.md"


def test_rooms_import_only_what_is_below():
    broken = forbidden_arrows(PACKAGE)
    assert not broken, "\n" + "\n".join(broken)


def test_only_engine_and_kernels_know_how_memory_lies():
    broken = forbidden_memory(PACKAGE)
    assert not broken, "\n" + "\n".join(broken)


def test_no_circle_of_imports():
    assert not circle(PACKAGE), " imports ".join(circle(PACKAGE))


def test_contributing_shows_the_rooms_that_there_are_lowest_first():
    shown = re.findall(r"^      (\w+)(/|\.py)(?= )", CONTRIBUTING.read_text(), re.MULTILINE)
    assert {name for name, _ in shown} == {source.split(".")[0] for source in trees(PACKAGE)}
    assert all((PACKAGE / (name + kind)).exists() for name, kind in shown)
    height = {name: i for i, (name, _) in enumerate(shown)}
    arrows = {(found.source.split(".")[0], found.target.split(".")[0]) for found in imports(PACKAGE)}
    assert [(a, b) for a, b in arrows if height[a] < height[b] and b != "__init__"] == []


def test_contributing_names_files_that_there_are():
    paths = re.findall(r"`((?:fastmlp|tests|scripts|docs|asv_benches)/[^` ]*)`", CONTRIBUTING.read_text())
    assert len(paths) > 20
    assert [path for path in paths if not (CONTRIBUTING.parent / path).exists()] == []


def test_the_kernels_page_shows_every_file():
    page = (PACKAGE / "kernels" / "README.md").read_text()
    table = page[page.index("| files |") :].split("\n\n")[0]
    shown = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(shown) == sorted(path.stem for path in PACKAGE.glob("kernels/*.py") if path.stem != "__init__")


def written(folder: Path, files: dict[str, str]) -> Path:
    """A package of those files."""
    for name in ("__init__", "spec", "base/cache", "kernels/layout", "kernels/cpu", "model/mlp", "tables/reading"):
        files.setdefault(f"{name}.py", "")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("file", "text", "refused"),
    [
        ("model/mlp.py", "from ..base.cache import x\nfrom ..spec import y\nfrom . import data\n", ""),
        ("model/mlp.py", "from ..kernels import cpu", "model/mlp.py:1: model must not import kernels.cpu: model may"),
        (
            "model/mlp.py",
            "def f():\n    from ..tables.reading import x",
            "model/mlp.py:2: model must not import tables",
        ),
        (
            "model/mlp.py",
            "if TYPE_CHECKING:\n    from .. import tables",
            "model/mlp.py:2: model must not import tables:",
        ),
        (
            "model/mlp.py",
            "import numpy\nimport fastmlp.tables.reading as r",
            "model/mlp.py:2: model must not import tables",
        ),
        ("model/mlp.py", "from .. import MLP", "model/mlp.py:1: model must not import __init__:"),
        (
            "base/cache.py",
            "from ..spec import x",
            "base/cache.py:1: base must not import spec: base may import nothing",
        ),
        ("kernels/cpu.py", "from ..spec import x", "kernels/cpu.py:1: kernels must not import spec:"),
        ("tables/reading.py", "from ..cli import x", "tables/reading.py:1: tables must not import cli:"),
        ("tables/reading.py", "from ..kernels.cpu import x", ""),
        ("cli/core.py", "from .. import train\nfrom ..tables import reading\nfrom ..kernels import cpu", ""),
        ("cellar.py", "from .base import cache", "cellar.py:1: cellar is no room of tests/test_layers.py"),
    ],
)
def test_an_arrow_that_points_up_is_named(tmp_path, file, text, refused):
    lines = forbidden_arrows(written(tmp_path, {"cli/__init__.py": "", "tables/__init__.py": "", file: text}))
    assert len(lines) == bool(refused)
    assert "".join(lines).startswith(refused)


@pytest.mark.parametrize(
    "text",
    ["from ..kernels import layout", "from ..kernels.layout import x", "x = f(y).ctypes.data", "y.ctypes.data_as(x)"],
)
def test_whoever_knows_memory_is_named(tmp_path, text):
    package = written(tmp_path, {"tables/reading.py": text, "engine/binding.py": text})
    lines = forbidden_memory(package)
    assert len(lines) == 1 and lines[0].startswith("tables/reading.py:1: only engine ")


def test_a_circle_is_named(tmp_path):
    files = {"model/mlp.py": "from . import data", "model/data.py": "if TYPE_CHECKING:\n    from .mlp import MLP"}
    assert set(circle(written(tmp_path, files))) == {"model.mlp", "model.data"}
    files["model/data.py"] = "def f():\n    from .mlp import MLP"
    assert circle(written(tmp_path, files)) == []
