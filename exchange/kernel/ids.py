"""Trace ids: sortable by time, unguessable, carried through log lines, entries and events."""

import secrets

_TIME_HEX = 12
_RANDOM_BYTES = 8


def trace_id(now_ns: int) -> str:
    """Return a new trace id of 28 hex digits: 12 of milliseconds, then 16 random.

    Args:
        now_ns: Nanoseconds since 1970 UTC.
    """
    return f"{now_ns // 1_000_000:0{_TIME_HEX}x}{secrets.token_hex(_RANDOM_BYTES)}"
