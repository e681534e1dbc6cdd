"""Limits on how often a caller may ask: an exact sliding window in Redis, one round trip, atomic."""

import functools
import ipaddress
import math
from dataclasses import dataclass
from typing import Any

import redis
import structlog
from django.conf import settings

from exchange.api.errors import TooManyRequestsError

logger = structlog.get_logger("exchange.api")

REDIS_TIMEOUT_S = 0.5
IPV6_SITE_BITS = 64
AWAY = (redis.ConnectionError, redis.TimeoutError)

_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
if redis.call('LLEN', KEYS[1]) >= limit then
  local free = tonumber(redis.call('LINDEX', KEYS[1], limit - 1)) + window
  if free > now then return string.format('%.0f', free - now) end
end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, limit - 1)
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
return '0'
"""


@dataclass(frozen=True)
class Limit:
    """At most `count` requests in any `seconds`, for each caller of a scope."""

    scope: str
    count: int
    seconds: int


@functools.cache
def _client() -> redis.Redis:
    """Return the process's Redis client; its pool serves all threads."""
    return redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
    )


@functools.cache
def _take() -> Any:
    """Return the script that counts a request, or says when the next one may come."""
    return _client().register_script(_TAKE)


def _key(limit: Limit, caller: str) -> str:
    return f"rate:{limit.scope}:{caller}"


def take(limit: Limit, caller: str) -> None:
    """Count one request of a caller.

    Without Redis the request passes: orders need only PostgreSQL, and a limit protects against
    too many of them, not against one of them.

    Raises:
        TooManyRequestsError: The caller has used up the window; `retry_after` says when to return.
    """
    try:
        wait_us = int(_take()(keys=[_key(limit, caller)], args=[limit.count, limit.seconds * 1_000_000]))
    except AWAY:
        logger.warning("rate_limit_unavailable", scope=limit.scope)
        return
    if wait_us:
        raise TooManyRequestsError(retry_after=max(1, math.ceil(wait_us / 1_000_000)))


def give_back(limit: Limit, caller: str) -> None:
    """Uncount the newest request: limits on failures count every attempt first, then forgive success."""
    try:
        _client().lpop(_key(limit, caller))
    except AWAY:
        logger.warning("rate_limit_unavailable", scope=limit.scope)


def site_of(address: str) -> str:
    """Return what counts as one caller: an IPv4 address, or the /64 that one IPv6 site owns."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_SITE_BITS), strict=False))
    return address
