"""One number that stands for all arrays of a shard: what the steps of the loops hand to each other.

Note [Addresses]
    Handing one array to a compiled function costs about as much as five commands take to match, and handing eleven
    of them from step to step still more. Where the arrays are therefore stands in one small array of addresses and
    lengths, and what is handed on is where that is: `books.orders` looks it up there. `arrays.BookArrays` is the only
    writer of addresses: it keeps the memory behind each of them, and renews the address whenever it replaces an
    array, which happens only between calls.
"""

from typing import Any, Protocol

from llvmlite import ir  # type: ignore[import-untyped]
from numba import from_dtype, types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, models, register_model
from numba.np import arrayobj

from matching_worker.book.layout import ADDRESS_DTYPE, ARRAYS
from matching_worker.protocol import Rows

_WORD: Any = ir.IntType(64)
# Numba's own annotations do not fit what it asks for here.
_Type: Any = types.Type
_PrimitiveModel: Any = models.PrimitiveModel
_AttributeTemplate: Any = AttributeTemplate
_from_dtype: Any = from_dtype
_lower_getattr: Any = lower_getattr_generic
_make_array: Any = arrayobj.make_array
_populate_array: Any = arrayobj.populate_array
_WORDS_PER_ROW = ADDRESS_DTYPE.itemsize // 8
_ROWS = {name: row for row, name in enumerate(ARRAYS)}


class Books(Protocol):
    """All arrays of a shard (`arrays.BookArrays`) and the room for events, as the steps see them."""

    state: Rows
    instruments: Rows
    sides: Rows
    orders: Rows
    levels: Rows
    nodes: Rows
    index: Rows
    terms: Rows
    positions: Rows
    found: Rows
    traders: Rows
    ends: Rows
    events: Rows


class BooksType(_Type):  # type: ignore[misc]
    """Numba's type of `Books`."""

    def __init__(self) -> None:
        super().__init__("Books")


BOOKS = BooksType()


def _array_type(name: str) -> Any:
    """Return Numba's type of one of the arrays."""
    return types.Array(_from_dtype(ARRAYS[name]), 1, "C")


@register_model(BooksType)
class _BooksModel(_PrimitiveModel):  # type: ignore[misc]
    """A plain number: the address of the array of addresses."""

    def __init__(self, manager: Any, books_type: Any) -> None:
        super().__init__(manager, books_type, _WORD)


@infer_getattr
class _BooksAttributes(_AttributeTemplate):  # type: ignore[misc]
    """What each attribute is."""

    key = BooksType

    def generic_resolve(self, value: Any, attr: str) -> Any:
        """Return an attribute's type, None when there is none."""
        return _array_type(attr) if attr in ARRAYS else None


@_lower_getattr(BooksType)
def _get(context: Any, builder: Any, _books_type: Any, books: Any, name: str) -> Any:
    """Look an array up."""
    array_type = _array_type(name)
    row = builder.gep(builder.inttoptr(books, _WORD.as_pointer()), [ir.Constant(_WORD, _ROWS[name] * _WORDS_PER_ROW)])
    address, length = builder.load(row), builder.load(builder.gep(row, [ir.Constant(_WORD, 1)]))
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


def _books_at(_typing_context: Any, _address: Any) -> Any:
    """Return the books whose array of addresses lies at an int64 address."""

    def generate(_context: Any, _builder: Any, _signature: Any, arguments: Any) -> Any:
        return arguments[0]

    return BOOKS(types.int64), generate


books_at: Any = intrinsic(_books_at)
