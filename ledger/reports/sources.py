"""Where an entry came from: links from its key to the trade, order or request that made it.

Those belong to apps above the ledger, or to their pages; each registers how to find its own when it starts.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from django.utils.functional import Promise


class Source(NamedTuple):
    """What made an entry: its name for people, and its page."""

    title: str | Promise
    url: str


Finder = Callable[[str], Source | None]
_FINDERS: Final[dict[str, Finder]] = {}


def register(prefix: str, finder: Finder) -> None:
    """Say how keys that begin with `prefix:` lead to their source.

    Args:
        finder: Takes what stands between the first colon and the next, an id mostly; None where it leads nowhere.
    """
    _FINDERS[prefix] = finder


def source(key: str) -> Source | None:
    """Return what made the entry of a key, if somebody knows; no statement is run."""
    prefix, colon, rest = key.partition(":")
    finder = _FINDERS.get(prefix)
    return finder(rest.partition(":")[0]) if colon and finder is not None else None
