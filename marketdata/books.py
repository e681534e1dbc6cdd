"""Reads of what the publisher keeps in Redis: books and the last message of conflated channels."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import orjson
import redis
from channels_redis.serializers import registry
from django.conf import settings

from exchange.kernel.errors import DomainError, gettext_noop
from marketdata import feed
from marketdata.units import InstrumentSpec

SOCKET_SECONDS = 2.0
LEVELS_MAX = 100_000
"""More levels than this are not sent in one snapshot; the best are."""


_SERIALIZER = registry.get_serializer("msgpack")


class MarketDataAwayError(DomainError):
    """Redis does not answer."""

    code = 5020
    name = "MARKET_DATA_AWAY"
    status = 503
    message = gettext_noop("Market data is not available at the moment.")


class BookImage(NamedTuple):
    """A book at one moment, best prices first; empty at sequence 0 before the worker ever wrote it."""

    epoch: int
    sequence: int
    timestamp_ms: int
    bids: list[feed.Level]
    asks: list[feed.Level]

    def message(self, kind: str, spec: InstrumentSpec, limit: int | None = None) -> dict[str, Any]:
        """Return it as a `snapshot` or `depth` message.

        Args:
            kind: The message's type.
            spec: The instrument.
            limit: Levels a side; None for all.
        """
        return feed.book_message(
            kind,
            spec,
            self.bids[:limit],
            self.asks[:limit],
            sequence=self.sequence,
            timestamp_ms=self.timestamp_ms,
        )


def read(symbol: str) -> BookImage:
    """Return the book of a symbol as the publisher last wrote it.

    Raises:
        MarketDataAwayError: Redis does not answer.
    """
    try:
        fields = _client().hgetall(feed.book_key(symbol))
    except (redis.exceptions.RedisError, OSError) as error:
        raise MarketDataAwayError from error
    return _image(fields)


def latest(channel: str) -> dict[str, Any] | None:
    """Return the last message of a conflated channel as it went through the channel layer.

    Raises:
        MarketDataAwayError: Redis does not answer.
    """
    try:
        packed = _client().get(feed.latest_key(channel))
    except (redis.exceptions.RedisError, OSError) as error:
        raise MarketDataAwayError from error
    if packed is None:
        return None
    message: dict[str, Any] = _SERIALIZER.deserialize(packed)
    return message


def latest_message(channel: str) -> dict[str, Any] | None:
    """Return the last message of a conflated channel as clients have got it.

    Raises:
        MarketDataAwayError: Redis does not answer.
    """
    kept = latest(channel)
    if kept is None or not kept["texts"]:
        return None
    message: dict[str, Any] = orjson.loads(kept["texts"][-1])
    return message


def _image(fields: Mapping[Any, Any]) -> BookImage:
    """Turn the hash into sorted levels."""
    bids, asks = [], []
    for field, value in fields.items():
        if field.startswith(b"b:"):
            bids.append(feed.Level(int(field[2:]), int(value)))
        elif field.startswith(b"a:"):
            asks.append(feed.Level(int(field[2:]), int(value)))
    bids.sort(reverse=True)
    asks.sort()
    return BookImage(
        int(fields.get(b"epoch", 0)),
        int(fields.get(b"sequence", 0)),
        int(fields.get(b"timestamp", 0)),
        bids[:LEVELS_MAX],
        asks[:LEVELS_MAX],
    )


@cache
def _client() -> redis.Redis:
    """Return this process' connection pool."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=SOCKET_SECONDS, socket_connect_timeout=SOCKET_SECONDS
    )
