"""What traders' own screens are told: written with the change itself, dense per trader, pushed after commit."""

import functools
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import redis
import structlog
from django.conf import settings
from django.db import connection, transaction
from redis.backoff import NoBackoff
from redis.retry import Retry

from exchange import database
from marketdata import feed
from marketdata.services.transport import SOCKET_SECONDS, pack
from trading.models import PrivateChannel

logger = structlog.get_logger(__name__)

PrivateFact = tuple[int, PrivateChannel, dict[str, Any]]
"""Whose, which channel, what."""

_WORDS = {channel: str(channel) for channel in PrivateChannel}
"""An enumeration writes its members slowly."""

_APPEND = f"""
WITH given AS (
    SELECT u, channel, payload, n, row_number() OVER (PARTITION BY u ORDER BY n) AS offset_in_batch
    FROM unnest(%s::bigint[], %s::text[], {database.DOCUMENTS}) WITH ORDINALITY AS g(u, channel, payload, n)
), counted AS (
    SELECT u, count(*) AS facts FROM given GROUP BY u
), numbered AS (
    UPDATE ledger_gate g SET event_sequence = g.event_sequence + c.facts
    FROM counted c WHERE g.owner_id = c.u
    RETURNING g.owner_id, g.event_sequence - c.facts AS before
), stored AS (
    INSERT INTO private_events (user_id, sequence, channel, payload, created_at)
    SELECT g.u, b.before + g.offset_in_batch, g.channel, g.payload::jsonb, %s
    FROM given g JOIN numbered b ON b.owner_id = g.u
)
SELECT owner_id, before FROM numbered
"""

_PRUNE = """
DELETE FROM private_events p USING ledger_gate g
WHERE p.created_at < %s AND g.owner_id = p.user_id AND p.sequence < g.event_sequence
"""


def group(user_id: int) -> str:
    """Return the channel-layer group of one trader's connections."""
    return f"user.{user_id}"


def append(facts: Sequence[PrivateFact], *, now: datetime) -> dict[int, int]:
    """Store facts, numbered per trader in the order given. Statements: 1. The traders' gates must be held.

    Returns:
        For each trader, the sequence before the first of these facts.
    """
    if not facts:
        return {}
    owners, channels, payloads = zip(*facts, strict=True)
    arrays = database.array(owners), database.array([_WORDS[channel] for channel in channels])
    [rows] = database.fetch((_APPEND, (*arrays, database.documents(payloads), now)))
    return dict(rows)


def push_on_commit(facts: Sequence[PrivateFact], before: dict[int, int]) -> None:
    """Send stored facts to their traders' connections once they are committed."""
    if not facts:
        return
    messages: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for user_id, channel, payload in facts:
        own = messages[user_id]
        sequence = before[user_id] + len(own) + 1
        own.append({"sequence": sequence, "channel": _WORDS[channel], "payload": payload})
    transaction.on_commit(lambda: _push(messages))


def _push(messages: dict[int, list[dict[str, Any]]]) -> None:
    """Publish as the channel layer would, in one round trip. A lost message is found by its sequence, in the table."""
    prefix: str = settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"]  # type: ignore[index]
    pipeline = _redis().pipeline(transaction=False)
    for user_id, events in messages.items():
        packed = pack({"type": "private.events", "events": events})
        pipeline.publish(feed.layer_channel(prefix, group(user_id)), packed)
    try:
        pipeline.execute()
    except (redis.RedisError, OSError) as failure:
        logger.warning("push_failed", error=str(failure), users=len(messages))


@functools.cache
def _redis() -> redis.Redis:
    """Return this process's client; it gives up quickly and never retries."""
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def prune(before: datetime) -> int:
    """Forget facts older than a moment, but each trader's last one, which keeps the numbering; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE, [before])
        return int(cursor.rowcount)
