"""The only writer of market data to Redis: book hashes and channel layer messages, in step by one script.

Note [Book in step with its deltas]
    A client reads the book once and then applies deltas; that only works if the hash moves exactly
    with the stream. Each step is therefore made inside one Lua call: compare the hash with where
    the writer thinks it stands, change it, publish. A comparison that fails (Redis was emptied or
    restarted) changes nothing and answers GAP; the writer then writes the whole book and marks a
    gap. A hash of a later epoch answers FENCED: this process lost its lease and must not write any
    more. One call makes the steps of all books, each by itself, because the driver takes longer
    for a command than Redis does.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any, Final, NamedTuple

import redis
from channels_redis.serializers import registry
from redis.backoff import NoBackoff
from redis.retry import Retry

from marketdata import feed

SOCKET_SECONDS: Final = 1.0
"""A Redis that takes longer than this is treated as absent."""

_SERIALIZER = registry.get_serializer("msgpack")

SCRIPT: Final = """
local outcomes = {}
local at = 1
for book = 1, #KEYS do
  local key, mode, epoch, sequence = KEYS[book], ARGV[at], ARGV[at + 1], ARGV[at + 3]
  local fields = tonumber(ARGV[at + 5])
  local messages_at = at + 7 + 2 * fields
  local ends = messages_at + 2 * tonumber(ARGV[at + 6])
  local stored = redis.call('HMGET', key, 'epoch', 'sequence')
  if mode ~= 'START' and stored[1] and tonumber(stored[1]) > tonumber(epoch) then outcomes[book] = 'FENCED'
  elseif mode == 'STEP' and (stored[1] ~= epoch or stored[2] ~= ARGV[at + 2]) then outcomes[book] = 'GAP'
  else
    if mode ~= 'STEP' then redis.call('DEL', key) end
    for field = at + 7, messages_at - 1, 2 do
      if ARGV[field + 1] == '0' then redis.call('HDEL', key, ARGV[field])
      else redis.call('HSET', key, ARGV[field], ARGV[field + 1]) end
    end
    if mode ~= 'STEP' or fields > 0 then
      redis.call('HSET', key, 'epoch', epoch, 'sequence', sequence, 'timestamp', ARGV[at + 4])
    end
    for message = messages_at, ends - 1, 2 do redis.call('PUBLISH', ARGV[message], ARGV[message + 1]) end
    outcomes[book] = 'OK'
  end
  at = ends
end
return outcomes
"""
"""A step of each book of KEYS. ARGV, book after book: mode, epoch, expected sequence, sequence, timestamp, number of
levels, number of messages; then field and lots of each level; then channel and bytes of each message."""

LATEST_SCRIPT: Final = """
for at = 1, #KEYS do
  redis.call('SET', KEYS[at], ARGV[2 * at])
  redis.call('PUBLISH', ARGV[2 * at - 1], ARGV[2 * at])
end
"""
"""Under each of KEYS a message, sent to its channel too. ARGV: channel and bytes of each."""


Pair = tuple[str, dict[str, Any]]
"""A group and a channel layer message for it."""


class Mode(StrEnum):
    """How a write relates to what the hash holds."""

    STEP = "STEP"
    """Changes on top of what this writer wrote last."""
    WHOLE = "WHOLE"
    """The whole book, after a gap."""
    START = "START"
    """The whole book, by a process that has just taken the lease in PostgreSQL: never fenced."""


class Outcome(StrEnum):
    """What became of a write."""

    OK = "OK"
    GAP = "GAP"
    FENCED = "FENCED"


class Write(NamedTuple):
    """One book's change and the messages that go with it."""

    mode: Mode
    symbol: str
    expected: int
    """Sequence at which the hash must stand, for a STEP."""
    sequence: int
    timestamp_ms: int
    levels: Sequence[tuple[int, int, int]]
    """(side index, ticks, lots); 0 lots removes the price."""
    messages: Sequence[Pair]
    trade_number: int
    """The last trade among the messages; 0 without one."""


class Transport:
    """A connection that gives up quickly and never retries: the caller knows how to repair."""

    def __init__(self, redis_url: str, *, epoch: int, prefix: str) -> None:
        self.epoch = epoch
        self._prefix = prefix
        self._redis = redis.Redis.from_url(
            redis_url,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=SOCKET_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )

    def commit(self, writes: Iterable[Write]) -> list[Outcome]:
        """Send writes of different books in one command; what becomes of one says nothing of the others.

        Raises:
            redis.exceptions.RedisError, OSError: Redis is away; some writes may have happened.
        """
        keys: list[str] = []
        arguments: list[Any] = []
        for write in writes:
            keys.append(feed.book_key(write.symbol))
            arguments += self._arguments(write)
        replies: Any = self._redis.eval(SCRIPT, len(keys), *keys, *arguments)
        return [Outcome(reply.decode()) for reply in replies]

    def send_latest(self, messages: Iterable[Pair]) -> None:
        """Publish conflated messages, and keep each as the first thing that a new subscriber gets.

        Raises:
            redis.exceptions.RedisError, OSError: Redis is away; the next message replaces these.
        """
        keys: list[str] = []
        arguments: list[str | bytes] = []
        for group, message in messages:
            keys.append(feed.latest_key(group))
            arguments += (feed.layer_channel(self._prefix, group), pack(message))
        self._redis.eval(LATEST_SCRIPT, len(keys), *keys, *arguments)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def _arguments(self, write: Write) -> list[Any]:
        """Lay a write out as the script's arguments."""
        arguments: list[Any] = [
            write.mode.value,
            self.epoch,
            write.expected,
            write.sequence,
            write.timestamp_ms,
            len(write.levels),
            len(write.messages),
        ]
        for side, ticks, lots in write.levels:
            arguments += (f"{feed.FIELD_PREFIXES[side]}{ticks}", lots)
        for group, message in write.messages:
            arguments += (feed.layer_channel(self._prefix, group), pack(message))
        return arguments


def pack(message: dict[str, Any]) -> bytes:
    """Serialise as the channel layer does by default; a test receives through the layer."""
    packed: bytes = _SERIALIZER.serialize(message)
    return packed
