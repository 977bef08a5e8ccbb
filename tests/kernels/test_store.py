"""The kernel cache: real processes against real files, torn, garbage, racing and unwritable."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp

pytestmark = pytest.mark.usefixtures("compiling")
TRAIN = """
import fastmlp, sys
sys.executable = ""  # no workers
model, _ = fastmlp.train([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0],
                         [{"n": 2, "act": None}, {"n": 4, "act": "tanh"}, {"n": 1, "act": "sigmoid"}], seed=0)
print(model.params.tobytes().hex(), "numba" in sys.modules)
"""
# A training needs fourteen kernels, 20 s of compiling; these are two, 1 s.
KERNELS = """
import sys
import numpy as np
from fastmlp.kernels import catalog
z, a = np.linspace(-2, 2, 16, dtype=np.float32), np.zeros((2, 16), np.float32)
for name, row in zip(("sigmoid", "tanh"), a):
    catalog.activation(name, "float32")(z.ctypes.data, row.ctypes.data, 0, 1, 16, 16, 0.0)
print(a.tobytes().hex(), "numba" in sys.modules)
"""
SLOW_TO_IMPORT = {"concurrent.futures", "difflib", "logging", "numba", "numpy.ma"}
FOR_LLVM_ONLY = {"shutil", "tempfile"}


def start(cache: Path, script: str = KERNELS, **variables: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "FASTMLP_CACHE_DIR": str(cache), **variables}
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, env=environment, cwd=cache.parent, stdout=subprocess.PIPE, text=True)


def run(cache: Path, script: str = KERNELS, **variables: str) -> list[str]:
    process = start(cache, script, **variables)
    out, _ = process.communicate()
    assert process.returncode == 0
    return out.split()


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return cache, run(cache)[0]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return cache, run(cache, TRAIN)[0]


@pytest.fixture
def cache(filled, tmp_path):
    shutil.copytree(filled[0], tmp_path / "cache")
    return tmp_path / "cache"


def objects(cache: Path) -> list[Path]:
    return sorted(cache.glob("*/*.o"))


def test_second_process_gets_the_same_bits_without_numba(trained):
    assert run(trained[0], TRAIN) == [trained[1], "False"]


def test_what_few_need_is_imported_when_it_is_needed(trained):
    check = "print(*{} & set(sys.modules))".format
    script = f"import sys, fastmlp; {check(SLOW_TO_IMPORT | FOR_LLVM_ONLY)}\n{TRAIN}\n{check(SLOW_TO_IMPORT)}"
    environment = {**os.environ, "FASTMLP_CACHE_DIR": str(trained[0])}
    lines = subprocess.check_output([sys.executable, "-c", script], env=environment, text=True).splitlines()
    assert lines == ["", f"{trained[1]} False", ""]


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_damaged_files_are_compiled_again(filled, cache, damage):
    for path in objects(cache):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if damage is None else damage)
    assert run(cache) == [filled[1], "True"]
    assert run(cache) == [filled[1], "False"], "the cache heals itself"


def test_one_flipped_bit_is_noticed(filled, cache):
    path = objects(cache)[0]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert run(cache) == [filled[1], "True"]


def test_unusable_cache_folder(filled, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    assert run(blocked) == [filled[1], "True"]


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits there")
def test_full_disk(filled, tmp_path):
    """Files may grow to 512 bytes and no further: every write of a kernel fails half way."""
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))\n" + KERNELS
    environment = {**os.environ, "FASTMLP_CACHE_DIR": str(tmp_path / "cache")}
    for _ in range(2):
        run_once = subprocess.run(
            [sys.executable, "-c", limited], env=environment, capture_output=True, text=True, check=False
        )
        assert (run_once.returncode, run_once.stdout.split()) == (0, [filled[1], "True"]), run_once.stderr
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_read_only_install_in_a_moved_home(filled, tmp_path):
    package = tmp_path / "site" / "fastmlp"
    shutil.copytree(Path(fastmlp.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for path in [package, *package.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    environment = {
        key: value for key, value in os.environ.items() if key not in ("FASTMLP_CACHE_DIR", "XDG_CACHE_HOME")
    }
    environment.update(PYTHONPATH=str(package.parent), PYTHONDONTWRITEBYTECODE="1")
    for home, imports_numba in (("one", "True"), ("one", "False"), ("two", "True")):
        (tmp_path / home).mkdir(exist_ok=True)
        environment.update(HOME=str(tmp_path / home), LOCALAPPDATA=str(tmp_path / home))
        answer = subprocess.check_output([sys.executable, "-c", KERNELS], env=environment, text=True, cwd=tmp_path)
        assert answer.split() == [filled[1], imports_numba]
    for path in [package, *package.rglob("*")]:
        path.chmod(0o755)


def test_processes_racing_on_an_empty_cache(filled, tmp_path):
    racing = [start(tmp_path / "cache") for _ in range(8)]
    assert {process.communicate()[0].split()[0] for process in racing} == {filled[1]}
    assert not list((tmp_path / "cache").glob("*/*.part"))
    assert run(tmp_path / "cache") == [filled[1], "False"]


def test_processes_that_begin_together_compile_each_kernel_once(tmp_path):
    """The first one of them; the others wait, and load what it stored."""
    report = "print(*(symbol for symbol, origin in store.origins().items() if origin == 'compiled'))"
    script = f"{KERNELS}\nfrom fastmlp.kernels import store\n{report}"
    environment = {**os.environ, "FASTMLP_CACHE_DIR": str(tmp_path / "cache")}
    racing = [
        subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    compiled = [symbol for process in racing for symbol in process.communicate()[0].splitlines()[1].split()]
    assert len(compiled) == len(set(compiled)) == len(objects(tmp_path / "cache")) > 0


def test_an_edited_source_never_runs_old_code(filled, cache, tmp_path):
    """A copy of the package whose tanh is edited: another file than the kernels that call it."""
    package = tmp_path / "edited" / "fastmlp"
    shutil.copytree(Path(fastmlp.__file__).parent, package)
    activations = package / "activations.py"
    activations.write_text(activations.read_text().replace("return np.tanh(z)", "return 0.5 * np.tanh(z)"))
    edited = run(cache, PYTHONPATH=str(package.parent))
    assert edited[0] != filled[1]
    assert edited[1] == "True"
