"""What the members of a team of threads say to each other: atomic numbers, and a barrier made of them."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .decorators import inlined_source, kernel_function
from .emitter import INT64
from .layout import SHARED

__all__ = ["atomic_add", "atomic_load", "told_to_stop", "wait"]

_ARRIVALS, _GIVE_UP = (SHARED.fields[name][1] for name in ("arrivals", "give_up"))
_LOOKS = 2000  # before a waiting member lets other threads run


@intrinsic
def atomic_add(typingctx, address, value):
    """Add to the int64 at the address, as one operation that every thread sees; return what it was."""

    def codegen(context, builder, signature, args):
        place = builder.inttoptr(args[0], INT64.as_pointer())
        return builder.atomic_rmw("add", place, builder.sext(args[1], INT64), "seq_cst")

    return types.int64(address, value), codegen


@intrinsic
def atomic_load(typingctx, address):
    """The int64 at the address as another thread last wrote it, with all that it wrote before."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], INT64.as_pointer()), "acquire", 8)

    return types.int64(address), codegen


@intrinsic
def _call_system(typingctx, address):
    """Call the function of the system at the integer address, which takes nothing and whose result does not matter."""

    def codegen(context, builder, signature, args):
        prototype = ir.FunctionType(ir.VoidType(), [])
        builder.call(builder.inttoptr(args[0], prototype.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(address), codegen


@inlined_source
def told_to_stop(job):
    """Whether the caller was interrupted: then a kernel that runs alone ends as soon as all is consistent."""
    return job.team.size == 1 and atomic_load(job.team.shared + _GIVE_UP) != 0


@kernel_function
def wait(job):
    """Wait until the whole team is here; true when it should give up."""
    team = job.team
    if team.size == 1:
        return False
    arrivals = team.shared + _ARRIVALS
    all_here = (atomic_add(arrivals, 1) // team.size + 1) * team.size
    looks = 0
    while atomic_load(arrivals) < all_here:
        if atomic_load(team.shared + _GIVE_UP):
            return True
        looks += 1
        if looks > _LOOKS and team.yield_thread:
            _call_system(team.yield_thread)
    return False
