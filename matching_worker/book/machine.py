"""What the loops need beyond arithmetic: the lowest set bit, rows read by other fields, rows asked for beforehand."""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

_alloca_once: Any = cgutils.alloca_once
_unpack_tuple: Any = cgutils.unpack_tuple
_make_array: Any = arrayobj.make_array
_populate_array: Any = arrayobj.populate_array


def _lowest_bit(_typing_context: Any, _bitmap: Any) -> Any:
    """Return the position of the lowest set bit of a non-zero uint64 bitmap, as int64."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


def _viewed(_typing_context: Any, array: Any, dtype: Any) -> Any:
    """Return the same rows, read by the fields of another dtype of the same size."""
    array_type = types.Array(dtype.dtype, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = _make_array(signature.args[0])(context, builder, arguments[0])
        view = _make_array(array_type)(context, builder)
        row_bytes = context.get_constant(types.intp, array_type.dtype.size)
        _populate_array(
            view,
            data=builder.bitcast(given.data, view.data.type),
            shape=_unpack_tuple(builder, given.shape, 1),
            strides=[row_bytes],
            itemsize=row_bytes,
            meminfo=None,
        )
        return view._getvalue()  # noqa: SLF001 - the only way Numba offers

    return array_type(array, dtype), generate


def _few_rows(_typing_context: Any, count: Any, dtype: Any) -> Any:
    """Return an array of so many rows on the stack of the function that asks; their contents are anything."""
    array_type = types.Array(dtype.dtype, 1, "C")
    rows = count.literal_value

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        array = _make_array(array_type)(context, builder)
        memory = _alloca_once(builder, ir.ArrayType(context.get_data_type(array_type.dtype), rows))
        row_bytes = context.get_constant(types.intp, array_type.dtype.size)
        _populate_array(
            array,
            data=builder.bitcast(memory, array.data.type),
            shape=[context.get_constant(types.intp, rows)],
            strides=[row_bytes],
            itemsize=row_bytes,
            meminfo=None,
        )
        return array._getvalue()  # noqa: SLF001 - same

    return array_type(count, dtype), generate


def _prefetch(_typing_context: Any, array: Any, row: Any) -> Any:
    """Ask the processor to bring a row's first cache line near; nothing waits for it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = _make_array(signature.args[0])(context, builder, arguments[0])
        number = context.cast(builder, arguments[1], signature.args[1], types.uintp)
        address = builder.bitcast(builder.gep(given.data, [number]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [address.type], ir.FunctionType(ir.VoidType(), [address.type, word, word, word])
        )
        builder.call(function, [address, ir.Constant(word, 0), ir.Constant(word, 3), ir.Constant(word, 1)])
        return context.get_dummy_value()

    return types.void(array, row), generate


# Typed as Any: what Python calls with these arguments is not what the loops call.
lowest_bit: Any = intrinsic(_lowest_bit)
viewed: Any = intrinsic(_viewed)
few_rows: Any = intrinsic(prefer_literal=True)(_few_rows)
prefetch: Any = intrinsic(_prefetch)
