"""Prebuilt kernels: real libraries, where they are built (fastmlp.kernels.build), and what keeps them from use."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastmlp
from fastmlp.kernels import cpu, digest, prebuilt
from fastmlp.kernels.checked import checked
from fastmlp.kernels.targets import TARGETS

pytestmark = pytest.mark.skipif(bool(checked()), reason="prebuilt kernels are not of a checked build")

PACKAGE = Path(fastmlp.__file__).parent
TRAIN = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
import fastmlp
x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
model, _ = fastmlp.train(x, y, [{"n": 2, "act": None}, {"n": 4, "act": "tanh"}, {"n": 1, "act": "sigmoid"}], seed=0)
print(*model.params)
"""
SHOW = "import fastmlp; about = fastmlp.show_kernels('dicts'); print(about['kernels']['level'], about['prebuilt'])"


def run(script: str, package: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(package.parent),
        "FASTMLP_CACHE_DIR": str(package / "none"),
        **variables,
    }
    return subprocess.run(
        [sys.executable, "-c", script], env=environment, cwd=package.parent, capture_output=True, text=True, check=False
    )


@pytest.fixture
def package(tmp_path):
    """A copy of the package without libraries."""
    ignored = shutil.ignore_patterns("__pycache__", "libraries")
    return Path(shutil.copytree(PACKAGE, tmp_path / "site" / "fastmlp", ignore=ignored))


@pytest.fixture
def built(package):
    """A copy of the package with the libraries of this checkout."""
    try:
        sources = json.loads((prebuilt.FOLDER / prebuilt.MANIFEST).read_text())["sources"]
    except FileNotFoundError:
        pytest.skip("no libraries: python -m fastmlp.kernels.build makes them")
    assert sources == digest.code_digest(), "libraries of other sources: python -m fastmlp.kernels.build"
    shutil.copytree(prebuilt.FOLDER, package / "kernels" / "libraries")
    return package


def write(package: Path, content: bytes, **entries: object) -> None:
    """Give a package a library, which is that content, and a manifest that fits it but for these entries."""
    folder = package / "kernels" / "libraries"
    folder.mkdir()
    entry = {"file": "kernels.so", "sha256": hashlib.sha256(content).hexdigest()}
    manifest = {"version": "0", "sources": digest.code_digest(), "libraries": dict.fromkeys(TARGETS, entry)}
    (folder / "kernels.so").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest | entries))


def why_unused(package: Path, **variables: str) -> str:
    done = run(SHOW, package, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("compiled for "), done.stdout
    return done.stdout[done.stdout.index("{") :]


def test_without_numba_and_without_a_cache(built):
    done = run(TRAIN, built)
    assert done.returncode == 0, done.stderr
    model, _ = fastmlp.train(
        [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0],
        [{"n": 2, "act": None}, {"n": 4, "act": "tanh"}, {"n": 1, "act": "sigmoid"}], seed=0,
    )  # fmt: skip
    np.testing.assert_allclose(np.array(done.stdout.split(), float), model.params, rtol=1e-5)
    assert run(SHOW, built).stdout.startswith("prebuilt ")


@pytest.mark.parametrize("bits", ["128", "256", "512"])
def test_vector_bits_lower_the_level(built, bits):
    level = run(SHOW, built, FASTMLP_VECTOR_BITS=bits).stdout.split()[1]
    widths = {name.partition("-")[2]: 8 * target.vector_bytes for name, target in TARGETS.items()}
    assert widths[level] <= int(bits)


def test_what_does_not_fit_is_not_used(built):
    assert "FASTMLP_PREBUILT=0" in why_unused(built, FASTMLP_PREBUILT="0")
    assert "bounds are checked" in why_unused(built, FASTMLP_CHECKED="ends")
    (library,) = [built / "kernels" / "libraries" / Path(run(SHOW, built).stdout.split("'")[3]).name]
    content = bytearray(library.read_bytes())
    content[len(content) // 2] ^= 1
    library.write_bytes(content)
    assert f"{library.name} is damaged" in why_unused(built)
    library.rename(library.with_suffix(".moved"))
    assert f"{library.name} cannot be loaded" in why_unused(built)
    source = built / "activations.py"
    source.write_text(source.read_text().replace("return np.tanh(z)", "return 0.5 * np.tanh(z)"))
    assert "sources have changed" in why_unused(built)


def test_none_here(package):
    assert "this installation has none" in why_unused(package)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"libraries": 3, "sources": "", "version": ""}', '"\\ud800"'])
def test_manifests_that_cannot_be_read(package, text):
    write(package, b"")
    (package / "kernels" / "libraries" / "manifest.json").write_text(text)
    assert "unused" in why_unused(package)


def test_a_library_that_the_system_refuses(package):
    write(package, b"not a library")
    assert "kernels.so cannot be loaded" in why_unused(package)


def test_a_library_of_other_sources(package):
    write(package, b"not a library", sources="0" * 64)
    assert "sources have changed" in why_unused(package)


@pytest.mark.parametrize("entry", [3, {}, {"file": "kernels.so"}])
def test_a_manifest_with_a_strange_entry(package, entry):
    write(package, b"", libraries=dict.fromkeys(TARGETS, entry))
    assert "manifest cannot be read" in why_unused(package)


def test_no_target_of_the_manifest_is_for_this_processor(package):
    write(package, b"", libraries={"plan9-mips": {"file": "kernels.so", "sha256": ""}})
    assert "none for this processor" in why_unused(package)


def test_where_nothing_can_be_compiled_the_error_says_what_to_do(package):
    done = run(TRAIN, package)
    assert done.stderr.splitlines()[-1].endswith(
        "(no prebuilt kernels can be used: this installation has none), which needs Numba: pip install numba"
    )


def test_a_level_is_used_only_with_all_its_features(monkeypatch):
    """NumPy's names of what LLVM takes for granted, one left out after the other."""
    from numpy._core._multiarray_umath import __cpu_features__ as features

    if "X86_V2" not in features:
        pytest.skip("NumPy has no names for levels")
    for levels, best in ((("X86_V2", "X86_V3", "X86_V4"), "x86-64-v4"), (("X86_V2", "X86_V4"), "x86-64-v2")):
        for name in ("X86_V2", "X86_V3", "X86_V4"):
            monkeypatch.setitem(features, name, name in levels)
        assert cpu.x86_levels()[0] == best
    monkeypatch.setitem(features, "X86_V2", False)
    assert cpu.x86_levels() == []


def test_older_numpy_asks_llvm(monkeypatch):
    from numpy._core._multiarray_umath import __cpu_features__ as features

    for name in ("X86_V2", "X86_V3", "X86_V4"):
        monkeypatch.delitem(features, name, raising=False)
    v3 = [name for _, names in list(cpu._FEATURES.values())[:2] for name in names.split()]
    monkeypatch.setattr(cpu, "_host_features", lambda: dict.fromkeys([*v3, "avx512f"], True))
    assert cpu.x86_levels() == ["x86-64-v3", "x86-64-v2"]
    monkeypatch.setattr(cpu, "_host_features", lambda: dict.fromkeys(set(v3) - {"bmi2"}, True))
    assert cpu.x86_levels() == ["x86-64-v2"]
