"""Communication in a team of threads: atomic numbers, and a barrier made of them."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .decorators import inlined_source, kernel_function
from .emitter import INT64
from .layout import SHARED
from .linear import SHARED_ROWS

__all__ = ["atomic_add", "atomic_load", "leads_block", "share_of_rows", "told_to_stop", "wait", "wait_for_block"]

_ARRIVALS, _GIVE_UP, _STOP, _LATE = (SHARED.fields[name][1] for name in ("arrivals", "give_up", "stop", "late"))
_LOOKS = 2000  # before a waiting member lets other threads run: some microseconds
_YIELDS = 1000  # before it sleeps: about a millisecond


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
def _call_system(typingctx, address, number):
    """Call the function of the system at the integer address, which takes a 32-bit number, or nothing, and whose result
    does not matter."""

    def codegen(context, builder, signature, args):
        kind = ir.IntType(32)
        prototype = ir.FunctionType(ir.VoidType(), [kind])
        builder.call(builder.inttoptr(args[0], prototype.as_pointer()), [builder.trunc(args[1], kind)])
        return context.get_dummy_value()

    return types.void(address, number), codegen


@inlined_source
def told_to_stop(job):
    """Whether the caller was interrupted: then the kernel ends as soon as all is consistent."""
    return job.team.shared != 0 and atomic_load(job.team.shared + _STOP) != 0


@inlined_source
def is_late(job):
    """Whether a team's call takes longer than it should: then it ends behind the block that it is at."""
    return job.team.size > 1 and atomic_load(job.team.shared + _LATE) != 0


@kernel_function
def wait(job):
    """Wait until the whole team is here; true if it should give up.

    A waiting thread first polls all the time, then lets others run between two polls, then sleeps between them.
    """
    team = job.team
    if team.size == 1:
        return False
    arrivals = team.shared + _ARRIVALS
    all_here = (atomic_add(arrivals, 1) // team.size + 1) * team.size
    looks = 0
    while atomic_load(arrivals) < all_here:
        if atomic_load(team.shared + _GIVE_UP):
            break
        looks += 1
        if looks > _LOOKS + _YIELDS and team.sleep:
            _call_system(team.sleep, team.nap)
        elif looks > _LOOKS and team.yield_thread:
            _call_system(team.yield_thread, 0)
    return atomic_load(team.shared + _GIVE_UP) != 0


@inlined_source
def leads_block(job):
    """Whether this member does what is done once for each block that it works on."""
    return not job.team.together or job.team.member == 0


@inlined_source
def wait_for_block(job):
    """`wait`, where the team shares blocks."""
    return job.team.together != 0 and wait(job)


@kernel_function
def share_of_rows(job, n):
    """Begin and end of this member's share of the n rows of a matrix: all of them, where the team shares no blocks."""
    if not job.team.together:
        return 0, n
    member, size, groups = job.team.member, job.team.size, n // SHARED_ROWS
    begin, end = groups * member // size * SHARED_ROWS, groups * (member + 1) // size * SHARED_ROWS
    return begin, n if member == size - 1 else end
