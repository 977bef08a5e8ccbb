"""No kernel outlives a change of its source: what decides its code is found, all of it, and nothing that does not."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType

import pytest

import fastmlp
from fastmlp.kernels import catalog, compiler, digest, sources, store
from fastmlp.kernels.variants import built_in

PACKAGE = Path(fastmlp.__file__).parent
DIGEST = "from fastmlp.kernels.digest import code_digest; import sys; print(code_digest(), 'numba' in sys.modules)"
TANH = """
import math, sys
import numpy as np
from fastmlp.kernels import catalog
z, a = np.full(8, 0.5), np.zeros(8)
catalog.activation("tanh", "float64")(z.ctypes.data, a.ctypes.data, 0, 1, 8, 8, 0.0)
print(a[0] / math.tanh(0.5), "numba" in sys.modules)
"""


def run(script: str, package: Path, **variables: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(package.parent), **variables}
    command = [sys.executable, "-c", script]
    return subprocess.check_output(command, env=environment, cwd=package.parent, text=True).split()


@pytest.fixture
def package(tmp_path):
    """A copy of fastmlp."""
    return shutil.copytree(PACKAGE, tmp_path / "copy" / "fastmlp", ignore=shutil.ignore_patterns("__pycache__"))


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def test_a_helper_of_a_formula_is_a_source_of_kernels(package, tmp_path):
    def computed() -> tuple[float, str]:
        share, compiled = run(TANH, package, FASTMLP_CACHE_DIR=str(tmp_path / "cache"))
        return float(share), compiled

    helper = package / "scaling.py"
    helper.write_text("def scaled(a):\n    return 0.5 * a\n")
    edit(package / "activations.py", "import numpy as np\n", "import numpy as np\n\nfrom .scaling import scaled\n")
    edit(package / "activations.py", "return np.tanh(z)", "return scaled(np.tanh(z))")
    before = run(DIGEST, package)
    assert computed() == (pytest.approx(0.5), "True")
    assert computed() == (pytest.approx(0.5), "False")
    edit(helper, "0.5", "0.25")
    assert run(DIGEST, package) != before
    assert computed() == (pytest.approx(0.25), "True")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("kernels/tiles.py", True),
        ("losses.py", True),
        ("base/suggest.py", True),  # which losses.py imports
        ("base/__init__.py", True),  # which that executes
        ("__init__.py", False),
        ("cli/commands.py", False),
        ("reference.py", False),
        ("model/mlp.py", False),
    ],
)
def test_an_edit_counts_where_kernels_come_from(package, name, counts):
    before = run(DIGEST, package)
    assert before == [digest.code_digest(), "False"]
    with open(package / name, "a") as file:
        file.write("\nEDITED = True\n")
    assert (run(DIGEST, package) != before) == counts


def test_every_module_that_kernels_import_is_a_source():
    """In a process where the package's own __init__.py, which imports nearly everything, is not run."""
    script = f"""
import importlib, pathlib, sys, types
package = sys.modules["fastmlp"] = types.ModuleType("fastmlp")
package.__path__ = [{str(PACKAGE)!r}]
for path in pathlib.Path(package.__path__[0], "kernels").glob("*.py"):
    importlib.import_module(f"fastmlp.kernels.{{path.stem}}")
for name, module in list(sys.modules.items()):
    if name.startswith("fastmlp."):
        print(pathlib.Path(module.__file__).relative_to(package.__path__[0]).as_posix())
"""
    imported = set(run(script, PACKAGE))
    assert {"kernels/passes.py", "activations.py", "base/suggest.py"} <= imported
    assert imported <= set(sources.kernel_sources(PACKAGE))


def test_every_function_that_reaches_a_kernel_is_in_a_source(monkeypatch):
    """All kernels are built, but not compiled, and followed through whatever their code can name."""
    functions = []
    monkeypatch.setattr(store, "_loaded", {})
    monkeypatch.setattr(store.prebuilt, "find", lambda symbol: None)
    monkeypatch.setattr(store, "_read", lambda symbol: None)
    monkeypatch.setattr(store, "_write", lambda symbol, code: None)
    monkeypatch.setattr(store, "_link", lambda symbol, code: 0)
    monkeypatch.setattr(compiler, "compile_kernel", lambda symbol, function, *types: functions.append(function))
    symbols = [catalog.load(kernel) for kernel in built_in()]
    assert len(symbols) == len(functions) > 100
    files = {path for path in map(Path, files_reached(functions)) if path.is_relative_to(PACKAGE)}
    names = {path.relative_to(PACKAGE).as_posix() for path in files}
    assert {"activations.py", "losses.py", "optimizers.py", "kernels/tiles.py", "kernels/math.py"} <= names
    assert names <= set(sources.kernel_sources(PACKAGE))


def files_reached(functions: list) -> set[str]:
    """The files of all code that functions hold or name: globals, closures, constants, what Numba's wrappers wrap."""
    files, waiting, seen = set(), list(functions), {}
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value
        if isinstance(value, FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            waiting += [value.__code__, *cells, *named(value.__code__, value.__globals__)]
        elif isinstance(value, CodeType):
            files.add(value.co_filename)
            waiting += value.co_consts
        elif isinstance(value, (tuple, list, set, frozenset)):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, ModuleType) and (value.__spec__ is None or value.__name__.startswith("fastmlp.")):
            waiting += vars(value).values()
        else:
            waiting += [getattr(value, name, None) for name in ("py_func", "_defn")]
    return files


def named(code: CodeType, names: dict) -> Iterator[object]:
    """The globals that a function, or one inside it, names."""
    yield from (names[name] for name in code.co_names if name in names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from named(constant, names)


def found(package: Path, name: str) -> set[str]:
    """The files of the package that those of a file's imports are, as the digest finds them."""
    files = sources._imported(str(package), name, (package / name).read_bytes())
    return {file for file in files if (package / file).exists()}


def parsed(package: Path, name: str) -> set[str]:
    """The files that the imports execute or name, as Python's own parser sees them, but the package's __init__.py."""
    here = ".".join(["fastmlp", *Path(name).parts[:-1]])
    modules = set()
    for node in ast.walk(ast.parse((package / name).read_bytes())):
        if isinstance(node, ast.ImportFrom):
            module = importlib.util.resolve_name("." * node.level + (node.module or ""), here)
            modules |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
    files = set()
    for module in modules:
        first, *parts = module.split(".")
        for end in range(1, len(parts) + 1) if first == "fastmlp" else ():
            path = "/".join(parts[:end])
            files |= {f"{path}.py", f"{path}/__init__.py"}
    return {file for file in files if (package / file).exists()}


@pytest.mark.parametrize("name", [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))])
def test_imports_are_found_as_python_parses_them(name):
    assert found(PACKAGE, name) - {"__init__.py"} == parsed(PACKAGE, name)


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("from . import first", "kernels/first.py"),
        ("from.import first", "kernels/first.py"),
        ("from . import (first,\n    second)", "kernels/first.py kernels/second.py"),
        (
            "from . import (  # not (third)\n    first as one,  # :)\n    second,\n)",
            "kernels/first.py kernels/second.py",
        ),
        ("from . import first as second", "kernels/first.py"),
        ("from . import first, \\\n    second", "kernels/first.py kernels/second.py"),
        ("from . \\\n import \\\n first", "kernels/first.py"),
        ("from .first import *", "kernels/first.py"),
        ("from\t.first\timport\tx", "kernels/first.py"),
        ("from . first import(x)", "kernels/first.py"),
        ("from ..formulas import x", "formulas.py"),
        ("from .. import formulas", "formulas.py"),
        ("from . . import formulas", "formulas.py"),
        ("from ..deep.er import x", "deep/__init__.py deep/er.py"),
        ("from ..deep import er, x", "deep/__init__.py deep/er.py"),
        ("from .. import deep", "deep/__init__.py"),
        ("from .importer import x", "kernels/importer.py"),
        ("from . import importer", "kernels/importer.py"),
        ("x = 1; from . import first; from .second import x", "kernels/first.py kernels/second.py"),
        ("if 1: from . import first\nelse: from . import second", "kernels/first.py kernels/second.py"),
        ("def f():\n\tfrom .first import x", "kernels/first.py"),
        ("try:\r\n    from .first import (x,\r\n        y)\r\nfinally:\r\n    pass\r\n", "kernels/first.py"),
        ("from .. import version", "__init__.py"),
        ("from .. import *", "__init__.py"),
        ("from fastmlp.formulas import x", "formulas.py"),
        ("from fastmlp import formulas, version", "__init__.py formulas.py"),
        ("import fastmlp", "__init__.py"),
        ("import math, fastmlp.deep.er as er", "__init__.py deep/__init__.py deep/er.py"),
        ("import math, fastmlp_more, first\nfrom first import second\nfrom fastmlp_more.formulas import x", ""),
        ('"""Text.\n\n>>> import fastmlp\n>>> from .first import x\n\nx comes from . import second."""', ""),
        ("# from .first import x", ""),
    ],
)
def test_odd_spellings_of_imports(tmp_path, text, files):
    for name in ("__init__", "formulas", "deep/__init__", "deep/er", *(f"kernels/{n}" for n in ("first", "second"))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "kernels/importer.py").write_text("")
    (tmp_path / "kernels/kernel.py").write_bytes(text.encode())
    assert parsed(tmp_path, "kernels/kernel.py") == set(files.split()) - {"__init__.py"}, "what Python makes of it"
    assert found(tmp_path, "kernels/kernel.py") == set(files.split())
