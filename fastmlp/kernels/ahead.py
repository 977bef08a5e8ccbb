"""Object files of all kernels for processors other than this one; build.py runs this in separate processes.

Numba only makes the LLVM code, which is then optimised and turned into machine code for each target. Numba alone would
optimise for this processor, and generate code for every inner function that is never called. This uses private parts of
Numba: pyproject.toml's group build-kernels pins the version for which it was written.
"""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
from numba.core import codegen, registry

from . import cpu
from .targets import TARGETS, Target

__all__ = ["write_objects"]


def write_objects(folder: Path, dtype: str, names: list[str]) -> None:
    """Write ``folder/<target>/<symbol>.o`` for every built-in kernel of that dtype and each of these targets, of equal
    vectors."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    targets = [TARGETS[name] for name in names]
    cpu.build_for(targets[0])
    _without_code_generation()
    from .compiler import no_collection
    from .variants import built_in

    machines = [_machine(target) for target in targets]
    for name in names:
        (folder / name).mkdir(exist_ok=True)
    with no_collection():
        for variant in (variant for variant in built_in() if variant.dtype == dtype):
            code = _llvm_code(variant)
            for name, target, machine in zip(names, targets, machines, strict=True):
                content = _object_code(variant.symbol, code, target, machine)
                (folder / name / f"{variant.symbol}.o").write_bytes(content)


class _Library(codegen.CPUCodeLibrary):
    """LLVM code linked with that of its callees, neither optimised nor made machine code."""

    def _optimize_functions(self, ll_module: Any) -> None:
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        pass

    def _verify_declare_only_symbols(self) -> None:
        pass

    def _finalize_specific(self) -> None:
        pass

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0


class _Codegen(codegen.AOTCPUCodegen):
    _library_class = _Library

    def set_env(self, env_name: str, env: Any) -> None:
        pass


def _without_code_generation() -> None:
    """Let Numba make only LLVM code from now on, so that this process cannot run what Numba compiles."""
    registry.cpu_target.target_context._internal_codegen = _Codegen("fastmlp")


def _llvm_code(variant: Any) -> str:
    """The kernel and all that it calls, under its symbol."""
    from .catalog import KERNELS
    from .compiler import c_function

    kernel = KERNELS[variant.family]
    function = importlib.import_module(f".{kernel.file}", __package__).build(variant.name, variant.dtype)
    compiled = c_function(function, kernel.signature, variant.dtype, _nrt=False)
    return str(compiled._library._final_module).replace(compiled.native_name, variant.symbol)


def _machine(target: Target) -> Any:
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


def _object_code(symbol: str, code: str, target: Target, machine: Any) -> bytes:
    from .compiler import hide_all_but, object_code

    code = re.sub(r"^target triple = .*$", f'target triple = "{target.triple}"', code, flags=re.MULTILINE)
    code = re.sub(r"^target datalayout = .*$", f'target datalayout = "{machine.target_data}"', code, flags=re.MULTILINE)
    module = llvm.parse_assembly(code)
    hide_all_but(module, symbol)
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    options.loop_unrolling = options.loop_interleaving = True
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    return object_code(symbol, str(module), machine)


if __name__ == "__main__":
    write_objects(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
