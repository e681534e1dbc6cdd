"""Trace ids: sortable by time, unguessable, carried through log lines, entries and events."""

import secrets

_TIME_HEX = 12
_RANDOM_BYTES = 8


def trace_id(now_ns: int) -> str:
    """Return a new trace id of 28 hex digits: 12 of milliseconds, then 16 random.

    Args:
        now_ns: Nanoseconds since 1970 UTC.
    """
    [made] = trace_ids(now_ns, 1)
    return made


def trace_ids(now_ns: int, count: int) -> list[str]:
    """Return so many new trace ids of one moment; the system is asked for randomness once."""
    moment, width = f"{now_ns // 1_000_000:0{_TIME_HEX}x}", 2 * _RANDOM_BYTES
    drawn = secrets.token_hex(count * _RANDOM_BYTES)
    return [moment + drawn[start : start + width] for start in range(0, len(drawn), width)]
