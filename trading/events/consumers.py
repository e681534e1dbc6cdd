"""Hands domain events to consumers, each exactly once.

A consumer's effects, its position and the note that it has handled an event (`consumed_events`) are one transaction.
An event that comes again, from the stream or by hand, finds the note and changes nothing. What the stream does not have
any more is read from the outbox: ids are dense, so a gap shows.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple

import redis
from django.db import transaction

from exchange import database
from trading.events import relay
from trading.events.relay import BATCH_MAX, Event

_NOTE = """
INSERT INTO consumed_events (consumer, event_id, consumed_at) SELECT %s, id, %s FROM unnest(%s::bigint[]) AS id
ON CONFLICT DO NOTHING RETURNING event_id
"""
_PRUNE = """
DELETE FROM consumed_events c USING event_positions p
WHERE c.consumed_at < %s AND p.reader = c.consumer AND c.event_id <= p.position
"""


class Consumer(NamedTuple):
    """Who wants to know of what. `handle` gets events in commit order, inside the transaction that notes them."""

    name: str
    types: frozenset[str]
    handle: Callable[[Sequence[Event], datetime], None]


CONSUMERS: Final[list[Consumer]] = []
"""Filled when the apps are ready."""


def register(consumer: Consumer) -> None:
    """Add a consumer, when the apps become ready; one that is known already changes nothing."""
    if all(known.name != consumer.name for known in CONSUMERS):
        CONSUMERS.append(consumer)


def consume(consumer: Consumer, client: redis.Redis, *, now: datetime) -> int:
    """Hand the next events of the stream to a consumer; return how many were looked at.

    Raises:
        redis.RedisError: Redis is away; nothing changed.
    """
    with transaction.atomic():
        position = relay.lock_position(consumer.name)
        events = _following(client, position)
        if not events:
            return 0
        deliver(consumer, events, now=now)
        relay.move(consumer.name, events[-1].id, now)
    return len(events)


def deliver(consumer: Consumer, events: Sequence[Event], *, now: datetime) -> int:
    """Hand events to a consumer, those that it has not handled; return how many these were."""
    wanted = [event for event in events if event.type in consumer.types]
    if not wanted:
        return 0
    with transaction.atomic():
        [rows] = database.fetch((_NOTE, (consumer.name, now, [event.id for event in wanted])))
        fresh = {row[0] for row in rows}
        if fresh:
            consumer.handle([event for event in wanted if event.id in fresh], now)
    return len(fresh)


def prune(before: datetime) -> None:
    """Forget which events were handled long ago: positions alone keep them from coming again."""
    database.execute(_PRUNE, before)


def _following(client: redis.Redis, position: int) -> list[Event]:
    """Return the events after a position that have been relayed."""
    entries = relay.entries(client, f"({position}-0", "+", BATCH_MAX)
    events = [_event(entry_id, fields) for entry_id, fields in entries]
    if events and [event.id for event in events] == list(range(position + 1, position + 1 + len(events))):
        return events
    relayed = relay.position(relay.RELAY)
    return relay.stored(position, min(BATCH_MAX, relayed - position)) if relayed > position else []


def _event(entry_id: str, fields: dict[str, str]) -> Event:
    """Turn a stream entry back into the event that it was."""
    return Event(
        int(entry_id.split("-", maxsplit=1)[0]),
        fields["aggregatetype"],
        fields["aggregateid"],
        fields["type"],
        fields["payload"],
        datetime.fromisoformat(fields["created_at"]),
    )
