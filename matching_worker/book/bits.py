"""The only processor instruction the book needs beyond arithmetic: the lowest set bit of a word."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(_typing_context: Any, bitmap: Any) -> Any:
    """Return the position of the lowest set bit of a non-zero uint64 bitmap, as int64."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate
