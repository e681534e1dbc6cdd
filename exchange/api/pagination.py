"""Pages by opaque cursor, newest first: stable while rows are being added."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

from exchange.api.errors import InvalidCursorError

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 200
_PREFIX = b"1:"
_DIGITS_MAX = 18


def encode_cursor(last_id: int) -> str:
    """Return the cursor of the page that begins below `last_id`."""
    return base64.urlsafe_b64encode(_PREFIX + str(last_id).encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> int:
    """Return the id that a cursor stands for.

    Raises:
        InvalidCursorError: The text is not a cursor of ours.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidCursorError from None
    digits = raw.removeprefix(_PREFIX)
    if not raw.startswith(_PREFIX) or not digits.isdigit() or len(digits) > _DIGITS_MAX:
        raise InvalidCursorError
    return int(digits)


def page(rows: Sequence[Any], *, limit: int, shape: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a page of at most `limit` rows and the cursor of the next one.

    Args:
        rows: Newest first; one more than `limit` says that another page follows.
        limit: The rows asked for.
        shape: Turns a row into its form on the wire.
    """
    shown = rows[:limit]
    following = encode_cursor(shown[-1].id) if len(rows) > limit else None
    return {"items": [shape(row) for row in shown], "next_cursor": following}
