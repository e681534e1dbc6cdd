"""What traders' own screens are told: written with the change itself, dense per trader, pushed after commit.

Note [Pushed, not asked]
    Whoever writes facts has the next batch waiting, and the trader whose order it was an answer. So a push is sent and
    no reply to it is waited for, or even made. A lost one is found by its sequence, in the table. What a fact says goes
    on as the JSON that was stored: who passes it on to a client need not read it.
"""

import functools
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import hiredis
import orjson
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
    SELECT unnest(%s::bigint[]) AS user_id, string_to_array(unnest(%s::text[]), ',') AS channels,
           unnest({database.DOCUMENTS}) AS payloads
), numbered AS (
    UPDATE ledger_gate g SET event_sequence = g.event_sequence + cardinality(t.channels)
    FROM given t
    WHERE g.owner_id = t.user_id AND g.owner_id = ANY(%s::bigint[])
    RETURNING g.owner_id, g.event_sequence, t.channels, t.payloads
), stored AS (
    INSERT INTO private_messages (user_id, sequence, channels, payloads, created_at)
    SELECT owner_id, event_sequence, channels, payloads, %s FROM numbered
)
SELECT owner_id, event_sequence - cardinality(channels) FROM numbered
"""

_PRUNE = """
DELETE FROM private_messages p USING ledger_gate g
WHERE p.created_at < %s AND g.owner_id = p.user_id AND p.sequence < g.event_sequence
"""


def group(user_id: int) -> str:
    """Return the channel-layer group of one trader's connections."""
    return f"user.{user_id}"


class Stored:
    """Facts that were stored: as JSON, each of which is written once, and where each trader's numbers begin.

    The numbers come with the transaction's other answers, or are waited for.
    """

    def __init__(
        self, facts: Sequence[PrivateFact] = (), texts: Sequence[bytes] = (), answer: database.Answer | None = None
    ) -> None:
        self._facts = facts
        self._texts = texts
        self._answer = answer

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._facts)

    def before(self) -> dict[int, int]:
        """Return for each trader the sequence before the first of the facts."""
        return {} if self._answer is None else dict(self._answer.rows())

    def events(self) -> dict[int, list[dict[str, Any]]]:
        """Return the numbered events of each trader, as their connections are told them: the payload is JSON."""
        before = self.before()
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for (user_id, channel, _), text in zip(self._facts, self._texts, strict=True):
            own = found[user_id]
            own.append({"sequence": before[user_id] + len(own) + 1, "channel": _WORDS[channel], "payload": text})
        return found


def append(facts: Sequence[PrivateFact], *, now: datetime) -> Stored:
    """Store facts, a message for each trader and numbered in the order given. Statements: 1. Gates must be held."""
    if not facts:
        return Stored()
    texts = [orjson.dumps(payload) for _, _, payload in facts]
    messages: dict[int, tuple[list[str], list[bytes]]] = {}
    for (user_id, channel, _), text in zip(facts, texts, strict=True):
        channels, payloads = messages.setdefault(user_id, ([], []))
        channels.append(_WORDS[channel])
        payloads.append(text)
    told = database.array([",".join(channels) for channels, _ in messages.values()])
    payload_lists = database.joined([b"[" + b",".join(payloads) + b"]" for _, payloads in messages.values()])
    traders = database.array(list(messages))
    return Stored(facts, texts, database.send(_APPEND, traders, told, payload_lists, traders, now))


def push_on_commit(stored: Stored) -> None:
    """Send stored facts to their traders' connections once they are committed."""
    if stored:
        transaction.on_commit(lambda: _push(stored.events()))


def _push(messages: dict[int, list[dict[str, Any]]]) -> None:
    """Publish as the channel layer would: Note [Pushed, not asked]."""
    prefix: str = settings.CHANNEL_LAYERS["default"]["CONFIG"]["prefix"]  # type: ignore[index]
    commands = [
        ("PUBLISH", feed.layer_channel(prefix, group(user_id)), pack({"type": "private.events", "events": events}))
        for user_id, events in messages.items()
    ]
    try:
        _send(commands)
    except (redis.RedisError, OSError) as failure:
        logger.warning("push_failed", error=str(failure), users=len(messages))


def _send(commands: Sequence[tuple[str, str, bytes]]) -> None:
    """Send commands to Redis and wait for no reply."""
    packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]  # says tuples of one
    pool = _redis()
    used = pool.get_connection()
    try:
        used.send_packed_command([b"".join(packed)])  # type: ignore[no-untyped-call]
    finally:
        pool.release(used)


@functools.cache
def _redis() -> redis.ConnectionPool:
    """Return this process's connections, which nothing is read from; they give up quickly and never retry."""
    return redis.ConnectionPool.from_url(
        settings.REDIS_URL,
        socket_timeout=SOCKET_SECONDS,
        socket_connect_timeout=SOCKET_SECONDS,
        retry=Retry(NoBackoff(), 0),
        redis_connect_func=_silence,
    )


def _silence(opened: Any) -> None:
    """Ask a new connection not to reply to anything."""
    opened.on_connect()
    opened.send_command("CLIENT", "REPLY", "OFF", check_health=False)


def prune(before: datetime) -> int:
    """Forget messages older than a moment, but each trader's last, which keeps the numbering; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(_PRUNE, [before])
        return int(cursor.rowcount)
