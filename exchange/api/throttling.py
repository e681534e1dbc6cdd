"""Limits on how often a caller may ask: an exact sliding window in Redis, one round trip, atomic.

Note [What callers are told]
    Every answer of the API names the limits that it counted against: `RateLimit-Policy` what may be asked for,
    `RateLimit` what is left now and after how many seconds the oldest request stops counting. A refusal adds
    `Retry-After`. Source: draft-ietf-httpapi-ratelimit-headers-10, "RateLimit header fields for HTTP".
"""

import functools
import ipaddress
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import redis
import structlog
from django.conf import settings
from django.http import HttpRequest
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from exchange.api.errors import TooManyRequestsError

logger = structlog.get_logger("exchange.api")

REDIS_TIMEOUT_S = 0.5
IPV6_SITE_BITS = 64
SECOND = 1
AWAY = (redis.ConnectionError, redis.TimeoutError)

_TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
if redis.call('LLEN', KEYS[1]) >= limit then
  local free = tonumber(redis.call('LINDEX', KEYS[1], limit - 1)) + window
  if free > now then return {free - now, 0, free - now} end
end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, limit - 1)
redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
local counted, most = 1, redis.call('LLEN', KEYS[1])
while counted < most do
  local middle = math.ceil((counted + most) / 2)
  if tonumber(redis.call('LINDEX', KEYS[1], middle - 1)) > now - window then counted = middle else most = middle - 1 end
end
return {0, limit - counted, tonumber(redis.call('LINDEX', KEYS[1], counted - 1)) + window - now}
"""
"""Returns how long to wait, how many more may come, and when the oldest stops counting; microseconds. The list holds
the newest first, some of them older than the window: the last one inside is found by halves."""


@dataclass(frozen=True)
class Limit:
    """At most `count` requests in any `seconds`, for each caller of a scope."""

    scope: str
    count: int
    seconds: int


class Standing(NamedTuple):
    """Where a caller stands against a limit, after this request."""

    limit: Limit
    remaining: int
    reset_seconds: int


def headers(standings: Sequence[Standing]) -> dict[str, str]:
    """Return what an answer tells about the limits that it counted against: Note [What callers are told]."""
    if not standings:
        return {}
    policies = (f'"{limit.scope}";q={limit.count};w={limit.seconds}' for limit, _, _ in standings)
    left = (f'"{limit.scope}";r={remaining};t={reset}' for limit, remaining, reset in standings)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)}


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


def take(limit: Limit, caller: str, told: list[Standing] | None = None) -> None:
    """Count one request of a caller.

    Without Redis the request passes: orders need only PostgreSQL, and a limit protects against
    too many of them, not against one of them.

    Args:
        told: Gets where the caller stands now, also when the request is refused.

    Raises:
        TooManyRequestsError: The caller has used up the window; `retry_after` says when to return.
    """
    try:
        wait_us, remaining, reset_us = _take()(
            keys=[_key(limit, caller)], args=[limit.count, limit.seconds * 1_000_000]
        )
    except AWAY:
        logger.warning("rate_limit_unavailable", scope=limit.scope)
        return
    reset_seconds = max(1, math.ceil(reset_us / 1_000_000))
    if told is not None:
        told.append(Standing(limit, remaining, reset_seconds))
    if wait_us:
        raise TooManyRequestsError(retry_after=reset_seconds)


class UserThrottle(BaseThrottle):
    """Counts the calls of a signed-in user, from whatever addresses they come."""

    def allow_request(self, request: Request, view: object) -> bool:
        """Count one call.

        Raises:
            TooManyRequestsError: The user has used up the window.
        """
        if request.user.is_authenticated:
            limit = Limit("user", settings.REQUESTS_PER_SECOND_AND_USER, SECOND)
            take(limit, str(request.user.pk), told_of(request._request))  # noqa: SLF001 -- Django's request inside
        return True


def told_of(request: HttpRequest) -> list[Standing]:
    """Return the list of limits that a request has been counted against; made at its first use."""
    told: list[Standing] = request.__dict__.setdefault("rate_limits", [])
    return told


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
