"""JSON as the API writes and reads it: decimals as plain strings, times in UTC with six decimals and Z."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NoReturn

import orjson
from django.utils.functional import Promise
from django.utils.translation import gettext

from exchange.api.errors import MalformedJsonError
from exchange.kernel.errors import gettext_noop
from exchange.kernel.money import plain

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
DEPTH_MAX = 32
ESCAPE = "\\u"

REASON_SYNTAX = gettext_noop("syntax error")
REASON_NUMBER = gettext_noop("NaN and Infinity are not numbers of JSON")
REASON_TWICE = gettext_noop("a key appears twice in one object")
REASON_TEXT = gettext_noop("the text is not UTF-8")
REASON_DEPTH = gettext_noop("it is nested too deeply")


def wire_time(moment: datetime) -> str:
    """Write a moment as the API does: 2025-05-18T10:30:00.123456Z."""
    return moment.astimezone(UTC).strftime(TIME_FORMAT)


def dumps(value: Any) -> bytes:
    """Write JSON; anything that is not exact on the wire has its one form here."""
    return orjson.dumps(value, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME)


def _default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, datetime):
        return wire_time(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Promise):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form on the wire.")


def loads(body: bytes) -> Any:
    """Read JSON strictly: what two readers could understand differently is refused.

    Raises:
        MalformedJsonError: Broken syntax or text, NaN or Infinity, a repeated key, deep nesting.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise MalformedJsonError(reason=gettext(REASON_TEXT)) from None
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise MalformedJsonError(reason=gettext(REASON_DEPTH)) from None
    except ValueError:  # broken syntax, or an integer of thousands of digits
        raise MalformedJsonError(reason=gettext(REASON_SYNTAX)) from None
    _check_depth(value)
    if ESCAPE in text:
        _check_text(value)
    return value


def _refuse_constant(_: str) -> NoReturn:
    raise MalformedJsonError(reason=gettext(REASON_NUMBER))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedJsonError(reason=gettext(REASON_TWICE))
    return found


def _check_depth(value: Any) -> None:
    """Refuse nesting beyond any request of ours: one look at each level."""
    level = [value]
    for _ in range(DEPTH_MAX):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if type(outer) is dict else outer if type(outer) is list else ())
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return
    raise MalformedJsonError(reason=gettext(REASON_DEPTH))


def _check_text(value: Any) -> None:
    """Refuse half surrogates, which no UTF-8 can carry back; only an escape can have brought them."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise MalformedJsonError(reason=gettext(REASON_TEXT)) from None
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key)
            _check_text(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_text(inner)
