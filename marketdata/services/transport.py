"""The only writer of market data to Redis: book hashes and channel layer messages, in step by one script.

Note [Book in step with its deltas]
    A client reads the book once and then applies deltas; that only works if the hash moves exactly
    with the stream. Each step is therefore one Lua call: compare the hash with where the writer
    thinks it stands, change it, publish. A comparison that fails (Redis was emptied or restarted)
    changes nothing and answers GAP; the writer then writes the whole book and marks a gap. A hash
    of a later epoch answers FENCED: this process lost its lease and must not write any more.
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
local stored = redis.call('HMGET', KEYS[1], 'epoch', 'sequence')
local mode = ARGV[1]
if mode ~= 'START' and stored[1] and tonumber(stored[1]) > tonumber(ARGV[2]) then return 'FENCED' end
if mode == 'STEP' and (stored[1] ~= ARGV[2] or stored[2] ~= ARGV[3]) then return 'GAP' end
if mode ~= 'STEP' then redis.call('DEL', KEYS[1]) end
local fields = tonumber(ARGV[6])
local at = 7
for _ = 1, fields do
  if ARGV[at + 1] == '0' then redis.call('HDEL', KEYS[1], ARGV[at])
  else redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
  at = at + 2
end
if mode ~= 'STEP' or fields > 0 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'sequence', ARGV[4], 'timestamp', ARGV[5])
end
while ARGV[at] do
  redis.call('PUBLISH', ARGV[at], ARGV[at + 1])
  at = at + 2
end
return 'OK'
"""


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
        """Send all writes in one round trip; each is atomic by itself.

        Raises:
            redis.exceptions.RedisError, OSError: Redis is away; some writes may have happened.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for write in writes:
            pipeline.eval(SCRIPT, 1, feed.book_key(write.symbol), *self._arguments(write))
        return [Outcome(reply.decode()) for reply in pipeline.execute()]

    def send_latest(self, messages: Iterable[Pair]) -> None:
        """Publish conflated messages, and keep each as the first thing that a new subscriber gets.

        Raises:
            redis.exceptions.RedisError, OSError: Redis is away; the next message replaces these.
        """
        pipeline = self._redis.pipeline(transaction=False)
        for group, message in messages:
            packed = pack(message)
            pipeline.set(feed.latest_key(group), packed)
            pipeline.publish(feed.layer_channel(self._prefix, group), packed)
        pipeline.execute()

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
