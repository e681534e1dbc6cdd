"""The only reader of the system clock. Services take `now` as an argument; edges call this."""

import functools
import time
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the current moment, aware, in UTC."""
    return datetime.now(tz=UTC)


def now_ns() -> int:
    """Return the current moment as nanoseconds since 1970-01-01 UTC, for engine time."""
    return time.time_ns()


@functools.lru_cache(maxsize=10_000)
def from_ns(timestamp_ns: int) -> datetime:
    """Turn engine time into a datetime, cut to microseconds, without passing through float.

    All events of a command have its time, and are mostly read one after the other.
    """
    return _EPOCH + timedelta(microseconds=timestamp_ns // 1000)


def to_ns(moment: datetime) -> int:
    """Turn an aware datetime into engine time, exactly."""
    since = moment - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1000
