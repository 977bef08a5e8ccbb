"""The decorators and the few intrinsics that every kernel file uses."""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from .compiler import OPTIONS

# Nothing calls these from Python: without wrappers they compile in three quarters of the time.
_WITHOUT_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
inner = njit(**OPTIONS, **_WITHOUT_WRAPPERS)
inner.__doc__ = "A function that kernels call: compiled into them, with the options of them all."
inlined = njit(**OPTIONS, **_WITHOUT_WRAPPERS, forceinline=True)
inlined.__doc__ = "The same, always inlined by LLVM: only then can the loop around it become vector code."
written_out = njit(inline="always")
written_out.__doc__ = """A function that becomes part of its caller's source, so that it may return arrays. It is
compiled with its caller, once: what is nested, LLVM optimises at every level."""


@intrinsic
def array_at(typingctx, address, shape, like):
    """The C-contiguous array of that shape (an integer or a tuple of them) at an address: an integer or a pointer.

    ``like`` is an array, or NumPy scalar type, of its dtype. Numba's carray does the same for pointers, but counts
    references, which kernels, owning nothing, do without (compiler.py).
    """
    extents = shape if isinstance(shape, types.BaseTuple) else (shape,)
    result = types.Array(like.dtype, len(extents), "C")

    def codegen(context, builder, signature, args):
        given = cgutils.unpack_tuple(builder, args[1]) if isinstance(shape, types.BaseTuple) else [args[1]]
        sizes = [context.cast(builder, n, kind, types.intp) for n, kind in zip(given, extents, strict=True)]
        array = context.make_array(result)(context, builder)
        place = array.data.type
        data = builder.bitcast(args[0], place) if args[0].type.is_pointer else builder.inttoptr(args[0], place)
        itemsize = context.get_constant(types.intp, like.dtype.bitwidth // 8)
        strides = [itemsize]
        for n in sizes[:0:-1]:
            strides.insert(0, builder.mul(n, strides[0]))
        populate_array(array, data, sizes, strides, itemsize, None)
        return array._getvalue()

    return result(address, shape, like), codegen


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
