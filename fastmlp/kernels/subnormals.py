"""Training without subnormal numbers: results that small become zero, and so do operands.

What an optimiser remembers of a gradient that stays zero falls to the smallest number there is and remains there. With
a relu's dead units, or inputs that are seldom not zero, most of Adam's first means end so: its steps then take 1.9
times as long on Zen 4.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .cpu import architecture
from .emitter import INT32, INT64, llvm_function

__all__ = ["flush_subnormals", "restore_subnormals"]

_X86 = 1 << 15 | 1 << 6  # of MXCSR: flush results to zero, take operands for zero
_ARM = 1 << 24  # of FPCR: both


@intrinsic
def flush_subnormals(typingctx):
    """Let this thread compute without subnormal numbers; return the processor's control word of before."""

    def codegen(context, builder, signature, args):
        before = _control_word(builder)
        _set_control_word(builder, builder.or_(before, INT64(_ARM if architecture() == "arm" else _X86)))
        return before

    return types.int64(), codegen


@intrinsic
def restore_subnormals(typingctx, word):
    """Let this thread compute as before, by the control word that `flush_subnormals` returned."""

    def codegen(context, builder, signature, args):
        _set_control_word(builder, args[0])
        return context.get_dummy_value()

    return types.void(word), codegen


def _control_word(builder):
    if architecture() == "arm":
        return builder.call(llvm_function(builder, "llvm.aarch64.get.fpcr", INT64, []), [])
    if architecture() != "x86":
        return INT64(0)
    place = cgutils.alloca_once(builder, INT32)
    pointer = ir.IntType(8).as_pointer()
    store = llvm_function(builder, "llvm.x86.sse.stmxcsr", ir.VoidType(), [pointer])
    builder.call(store, [builder.bitcast(place, pointer)])
    return builder.zext(builder.load(place), INT64)


def _set_control_word(builder, word):
    if architecture() == "arm":
        builder.call(llvm_function(builder, "llvm.aarch64.set.fpcr", ir.VoidType(), [INT64]), [word])
    elif architecture() == "x86":
        place = cgutils.alloca_once(builder, INT32)
        builder.store(builder.trunc(word, INT32), place)
        pointer = ir.IntType(8).as_pointer()
        load = llvm_function(builder, "llvm.x86.sse.ldmxcsr", ir.VoidType(), [pointer])
        builder.call(load, [builder.bitcast(place, pointer)])
