"""CLOCK_MONOTONIC, read by compiled loops and by Python alike: how long something takes, never what time it is."""

import time
from typing import Any, Final

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_alloca_once: Any = cgutils.alloca_once
_declare: Any = cgutils.get_or_insert_function
_gep_inbounds: Any = cgutils.gep_inbounds

CLOCK: Final = time.CLOCK_MONOTONIC
_NS: Final = 1_000_000_000


def _clock_ns(_typing_context: Any) -> Any:
    """Return the clock's nanoseconds, without the GIL."""

    def generate(_context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        word, code = ir.IntType(64), ir.IntType(32)
        moment = _alloca_once(builder, ir.ArrayType(word, 2))
        read = _declare(builder.module, ir.FunctionType(code, [code, word.as_pointer()]), "clock_gettime")
        builder.call(read, [ir.Constant(code, CLOCK), builder.bitcast(moment, word.as_pointer())])
        seconds = builder.load(_gep_inbounds(builder, moment, 0, 0))
        nanoseconds = builder.load(_gep_inbounds(builder, moment, 0, 1))
        return builder.add(builder.mul(seconds, ir.Constant(word, _NS)), nanoseconds)

    return types.int64(), generate


clock_ns: Any = intrinsic(_clock_ns)
"""For compiled loops."""


def now_ns() -> int:
    """Return the same clock's nanoseconds, for Python."""
    return time.clock_gettime_ns(CLOCK)
