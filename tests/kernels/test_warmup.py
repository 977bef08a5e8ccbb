"""python -m fastmlp warmup, as a user runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fastmlp.kernels import store
from fastmlp.kernels.checked import checked
from fastmlp.kernels.variants import built_in

pytestmark = pytest.mark.usefixtures("compiling")


def test_after_warmup_nothing_is_compiled(process):
    warm = process("warmup")
    assert warm.returncode == 0, warm.stderr
    assert " kernels ready after " in warm.stdout
    again = process("warmup")
    assert float(again.stdout.split(" after ")[1].split()[0]) < 5
    script = "import sys; from fastmlp.kernels.warmup import warm_up; warm_up(); sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_no_kernel_needs_the_c_librarys_mathematics(process, elf_symbols):
    """Not even where LLVM's code generator has no instruction for something. Python's functions are for exceptions,
    which Numba's C wrapper would set and a kernel has not."""
    assert process("warmup").returncode == 0
    allowed = {"memcpy", "memmove", "memset", *(("write", "abort") if checked() else ())}
    for kernel in built_in():
        code = store._read(kernel.symbol)
        assert code, kernel
        assert {name for name in elf_symbols(code)[1] if not name.startswith("Py")} <= allowed, kernel


def test_warmup_says_so_when_nothing_can_be_stored(process, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = process("warmup", FASTMLP_CACHE_DIR=str(tmp_path / "file"))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1 and str(tmp_path) in result.stderr
