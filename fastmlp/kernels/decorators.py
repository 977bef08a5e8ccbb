"""The decorators and the few intrinsics that all kernel files use.

``real`` is the NumPy scalar type of a network's numbers, here and in all kernel files: np.float32 or np.float64.
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import RequireLiteralValue, TypingError
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

from .catalog import KERNELS
from .compiler import OPTIONS
from .signature import parameters

# Nothing calls these from Python: without wrappers they compile in three quarters of the time.
_WITHOUT_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
kernel_function = njit(**OPTIONS, **_WITHOUT_WRAPPERS)
kernel_function.__doc__ = "Compile a function that kernels call, with the options of them all."
force_inlined = njit(**OPTIONS, **_WITHOUT_WRAPPERS, forceinline=True)
force_inlined.__doc__ = (
    "Let LLVM inline the function wherever it is called: only then can loops around it become vector code."
)
inlined_source = njit(inline="always")
inlined_source.__doc__ = """Inline at source level, before type inference: the function compiles once with its caller,
instead of once for each level of nesting, and may return arrays."""


@intrinsic
def record_at(typingctx, address, layout):
    """The record at an address: ``layout`` is one of layout.py. Reading and writing its fields touches that memory."""
    result = layout.dtype

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(result))

    return result(address, layout), codegen


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
def pointer_to(typingctx, address, real):
    """The integer address as a pointer to reals, which a function that is called by address would get."""
    result = types.CPointer(real.dtype)

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], context.get_value_type(result))

    return result(address, real), codegen


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
def size_of(typingctx, real):
    """Bytes of a number of that type, as a constant."""

    def codegen(context, builder, signature, args):
        return context.get_constant(types.intp, real.dtype.bitwidth // 8)

    return types.intp(real), codegen


@intrinsic(prefer_literal=True)
def call_kernel(typingctx, name, address, arguments):
    """Call the kernel at the integer address, which is one of the family ``name`` of catalog.py; it returns a float64.

    A family, a number or a type of arguments that the catalog does not have is an error when the caller is compiled.
    """
    if not isinstance(name, types.StringLiteral):  # Numba asks again without literals when it was refused with them
        raise RequireLiteralValue("the family of a kernel is a literal")
    family = name.literal_value
    if family not in KERNELS:
        raise TypingError(f"there is no kernel {family} to be called with {arguments}; catalog.py has {list(KERNELS)}")
    declared = parameters(KERNELS[family].signature)
    kinds = [types.float64 if kind == "d" else types.int64 for _, kind in declared]  # pointers are passed as addresses
    fits = len(kinds) == len(arguments) and all(
        isinstance(argument, types.Float if kind is types.float64 else types.Integer | types.Boolean)
        for argument, kind in zip(arguments, kinds, strict=True)
    )
    if not fits:
        raise TypingError(f"{family} takes {declared}, and is called with {arguments}")

    def codegen(context, builder, signature, args):
        values = cgutils.unpack_tuple(builder, args[2])
        values = [context.cast(builder, *triple) for triple in zip(values, arguments, kinds, strict=True)]
        prototype = ir.FunctionType(ir.DoubleType(), [value.type for value in values])
        return builder.call(builder.inttoptr(args[1], prototype.as_pointer()), values)

    return types.float64(name, address, arguments), codegen
