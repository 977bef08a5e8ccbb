"""The decorators and the few intrinsics that every kernel file uses."""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiler import OPTIONS

# Nothing calls these from Python: without wrappers they compile in three quarters of the time.
_WITHOUT_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner = njit(**OPTIONS, **_WITHOUT_WRAPPERS)
inlined = njit(**OPTIONS, **_WITHOUT_WRAPPERS, forceinline=True)
inner.__doc__ = "A function that kernels call: compiled into them, with the options of them all."

inlined.__doc__ = "The same, always inlined: only then can the loop around it become vector code."


@intrinsic
def pointer(typingctx, address, like):
    """The integer address as a pointer to elements of the array ``like``."""
    result = types.CPointer(like.dtype)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(result))

    return result(address, like), codegen


@intrinsic
def peek(typingctx, address, kind):
    """The number of NumPy scalar type ``kind`` that stands at the integer address."""
    result = kind.dtype

    def codegen(context, builder, signature, args):
        place = builder.inttoptr(args[0], context.get_data_type(result).as_pointer())
        value = builder.load(place, align=1)
        return context.data_model_manager[result].from_data(builder, value)

    return result(address, kind), codegen


@intrinsic
def call(typingctx, address, arguments):
    """Call the C function at the integer address with a tuple of int64 and float64; it returns a float64."""

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[1])
        prototype = ir.FunctionType(ir.DoubleType(), [value.type for value in values])
        return builder.call(builder.inttoptr(args[0], prototype.as_pointer()), values)

    return types.float64(address, arguments), codegen
