"""Reads how many shards there are, and which of them new instruments go to."""

from collections.abc import Mapping

from django.core.exceptions import ImproperlyConfigured

COUNT, MAPPING = "EXCHANGE_SHARDS", "EXCHANGE_INSTRUMENT_SHARDS"
SHARDS_MAX = 64
"""As many as a trade id has room for: `SHARD_MAX` in matching_worker/protocol.py counts from 0."""


def read(environment: Mapping[str, str]) -> tuple[int, dict[str, int]]:
    """Return the number of shards, and the shard of each instrument that has one of its own: `SYMBOL=SHARD,...`.

    Raises:
        ImproperlyConfigured: They cannot be read, or name a shard that there is not.
    """
    count = _number(environment.get(COUNT) or "1", COUNT)
    if not 1 <= count <= SHARDS_MAX:
        raise ImproperlyConfigured(f"{COUNT} must be between 1 and {SHARDS_MAX}.")
    found: dict[str, int] = {}
    for pair in filter(None, (part.strip() for part in environment.get(MAPPING, "").split(","))):
        symbol, equals, shard = pair.rpartition("=")
        if not equals or not symbol or symbol in found:
            raise ImproperlyConfigured(f"{MAPPING} must be SYMBOL=SHARD,... with each symbol once; {pair!r} is not.")
        found[symbol] = _number(shard, MAPPING)
        if found[symbol] >= count:
            raise ImproperlyConfigured(
                f"{MAPPING} puts {symbol} on shard {shard}; with {COUNT}={count} there are shards 0 to {count - 1}."
            )
    return count, found


def _number(text: str, name: str) -> int:
    """Return a whole number that is not negative."""
    if not (text.isascii() and text.isdecimal()):
        raise ImproperlyConfigured(f"{name}: {text!r} is no whole number.")
    return int(text)
