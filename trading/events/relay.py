"""Carries domain events from the outbox to a Redis stream, in commit order.

Note [Exactly in commit order]
    An event's id is taken from a locked row in the last round trip of its transaction (`store_outbox`), so ids are
    dense and rise with COMMIT. The relay reads them in that order and gives each stream entry the id `<event id>-0`.
    Redis refuses an entry whose id is not above the last one: repeating a batch that was half sent adds nothing twice.
    The position is kept in PostgreSQL, with the events; a Redis that was emptied goes on from there.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple

import redis
import structlog
from django.db import transaction

from exchange import database
from exchange.kernel.errors import require

logger = structlog.get_logger(__name__)

STREAM: Final = "events"
RELAY: Final = "relay"
BATCH_MAX: Final = 1000
KEPT_MAX: Final = 100_000
"""Entries that the stream keeps, more or less; consumers that are further behind read the outbox."""

_LOCK = "SELECT position FROM event_positions WHERE reader = %s FOR UPDATE"
_BEGIN = "INSERT INTO event_positions (reader, position) VALUES (%s, 0) ON CONFLICT DO NOTHING"
_MOVE = "UPDATE event_positions SET position = %s, moved_at = %s WHERE reader = %s"
_READ = """
SELECT id, aggregatetype, aggregateid, type, payload::text, created_at FROM outbox WHERE id > %s ORDER BY id LIMIT %s
"""
_NOT_ABOVE: Final = "equal or smaller"
"""What Redis says of an id that is not above the last one."""


class Event(NamedTuple):
    """A domain event as it was stored; `payload` is JSON."""

    id: int
    aggregate: str
    key: str
    type: str
    payload: str
    created_at: datetime

    def fields(self) -> dict[str, str]:
        """Return the event as the fields of a stream entry."""
        return {
            "aggregatetype": self.aggregate,
            "aggregateid": self.key,
            "type": self.type,
            "payload": self.payload,
            "created_at": self.created_at.isoformat(),
        }


def lock_position(reader: str) -> int:
    """Lock a reader's position until the transaction ends, so that there is one of each; return it."""
    database.execute(_BEGIN, reader)
    [[(found,)]] = database.fetch((_LOCK, (reader,)))
    return int(found)


def position(reader: str) -> int:
    """Return a reader's position without locking it; 0 before it has begun."""
    [rows] = database.fetch(("SELECT position FROM event_positions WHERE reader = %s", (reader,)))
    return int(rows[0][0]) if rows else 0


def move(reader: str, to: int, now: datetime) -> None:
    """Move a reader's position, whose lock is held."""
    database.execute(_MOVE, to, now, reader)


def stored(after: int, limit: int) -> list[Event]:
    """Return the events after a position, in commit order.

    Raises:
        InvariantViolationError: An event is missing among them.
    """
    [rows] = database.fetch((_READ, (after, limit)))
    events = [Event(*row) for row in rows]
    for place, event in enumerate(events, start=after + 1):
        require(event.id == place, f"event {place} is missing from the outbox: {event.id} follows")
    return events


def relay(client: redis.Redis, *, now: datetime) -> int:
    """Send the next events to the stream; return how many.

    Raises:
        redis.RedisError: Redis is away; some events may have been sent, and will not be twice.
    """
    with transaction.atomic():
        events = stored(lock_position(RELAY), BATCH_MAX)
        if not events:
            return 0
        pipeline = client.pipeline(transaction=False)
        for event in events:
            pipeline.xadd(STREAM, event.fields(), id=f"{event.id}-0", maxlen=KEPT_MAX, approximate=True)  # type: ignore[arg-type]
        for event, answer in zip(events, pipeline.execute(raise_on_error=False), strict=True):
            if isinstance(answer, redis.ResponseError) and _NOT_ABOVE in str(answer):
                _require_same(client, event)
            elif isinstance(answer, Exception):
                raise answer
        move(RELAY, events[-1].id, now)
    return len(events)


def entries(client: redis.Redis, first: str, last: str, count: int) -> list[tuple[str, dict[str, str]]]:
    """Return entries of the stream, oldest first: id and fields.

    Args:
        first: The lowest id, or "(" and the id before it; `last` the highest.
    """
    answer: Any = client.xrange(STREAM, first, last, count=count)
    return [
        (name.decode(), {field.decode(): value.decode() for field, value in fields.items()}) for name, fields in answer
    ]


def _require_same(client: redis.Redis, event: Event) -> None:
    """Check that what the stream has under an event's id is that event, or has been trimmed.

    Raises:
        InvariantViolationError: It has another: the database was restored to an earlier moment, and the stream tells of
            events that never happened. The stream must be deleted.
    """
    for _, found in entries(client, f"{event.id}-0", f"{event.id}-0", 1):
        require(found == event.fields(), f"the stream has another event {event.id} than the outbox: {found['type']}")
