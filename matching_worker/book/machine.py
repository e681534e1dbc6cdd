"""The two things the loops need beyond arithmetic: the lowest set bit of a word, and an array at an address.

Note [Addresses]
    Handing one array to a compiled function costs about as much as three commands take to match.
    The seven arrays of the books are therefore handed over as one array of addresses and lengths.
    `arrays.BookArrays` is the only writer of that array: it owns the memory behind each address and
    renews the address whenever it replaces an array.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numba.np import arrayobj

_make_array: Any = arrayobj.make_array
_populate_array: Any = arrayobj.populate_array


def _lowest_bit(_typing_context: Any, _bitmap: Any) -> Any:
    """Return the position of the lowest set bit of a non-zero uint64 bitmap, as int64."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


def _array_at(_typing_context: Any, _address: Any, _length: Any, dtype: Any) -> Any:
    """Return the (length,) array of `dtype` that lies at an int64 address; it does not own its memory."""
    array_type = types.Array(dtype.dtype, 1, "C")

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        address, length, _ = arguments
        array = _make_array(array_type)(context, builder)
        row_bytes = context.get_constant(types.intp, array_type.dtype.size)
        _populate_array(
            array,
            data=builder.inttoptr(address, array.data.type),
            shape=[length],
            strides=[row_bytes],
            itemsize=row_bytes,
            meminfo=None,
        )
        return array._getvalue()  # noqa: SLF001 - the only way Numba offers

    return array_type(types.int64, types.int64, dtype), generate


# Typed as Any: what Python calls with these arguments is not what the loops call.
lowest_bit: Any = intrinsic(_lowest_bit)
array_at: Any = intrinsic(_array_at)
