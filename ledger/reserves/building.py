"""Builds a publication from the books: a tree an asset, and the statement that will be signed."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from exchange.api.wire import wire_time
from exchange.kernel.errors import DomainError, gettext_noop
from ledger.reserves import liabilities, tree
from ledger.reserves.liabilities import Held

CHUNK_LEAVES: Final = 1024
"""Leaves that are stored together: a power of two."""


class NothingToPublishError(DomainError):
    """The books are empty."""

    code = 4471
    name = "RESERVES_NOTHING"
    message = gettext_noop("The books are empty: there is nothing to publish.")


class Chunk(NamedTuple):
    """Neighbouring leaves of a tree, and the node above them.

    Args:
        part: The half of the tree that they are in.
    """

    asset: str
    part: int
    number: int
    top: bytes
    leaves: list[bytes]


class Built(NamedTuple):
    """A publication before it is signed."""

    entry_id: int
    statement: str
    chunks: list[Chunk]


def build(
    publication: int, secret: bytes, now: datetime, advance: Callable[[str], None] = lambda _asset: None
) -> Built:
    """Build the trees of all assets as the books are now; three statements, whatever the number of users.

    What is owed and what is held are read at one entry's number, so that postings meanwhile change neither.

    Args:
        secret: 32 random bytes that only this publication has.
        advance: Told each asset whose tree is done.

    Raises:
        NothingToPublishError: The books are empty.
    """
    last = liabilities.head()
    if last is None:
        raise NothingToPublishError
    entry_id, entry_hash, recorded_at = last
    decimals, held = liabilities.decimals(), liabilities.held(entry_id)
    salts: dict[int, bytes] = {}
    chunks: list[Chunk] = []
    told: dict[str, dict[str, Any]] = {}
    for asset, owed in _with_unowed(liabilities.owed(entry_id), held):
        leaves = tree.leaves(publication, asset, secret, owed, salts)
        of_asset = list(_chunks(asset, leaves))
        root = tree.root([chunk.top for chunk in of_asset])
        chunks += of_asset
        told[asset] = {
            "asset": asset,
            "decimals": decimals[asset],
            "root": root[: tree.HASH_BYTES].hex(),
            "total": str(tree.total(root)),
            "depth": len(leaves).bit_length() - 1,
            **_told(held.get(asset, Held({}, 0))),
        }
        advance(asset)
    statement = {
        "format": tree.FORMAT,
        "publication": publication,
        "published_at": wire_time(now),
        "books": {"entry": entry_id, "hash": entry_hash, "recorded_at": wire_time(recorded_at)},
        "assets": [told[asset] for asset in sorted(told)],
    }
    return Built(entry_id, json.dumps(statement, ensure_ascii=False, separators=(",", ":")), chunks)


def _with_unowed(
    owed: Iterator[tuple[str, list[tuple[int, int]]]], held: dict[str, Held]
) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    """Yield what is owed of each asset, and nothing for those that are only held."""
    seen = set()
    for asset, amounts in owed:
        seen.add(asset)
        yield asset, amounts
    for asset in held:
        if asset not in seen:
            yield asset, []


def _chunks(asset: str, leaves: list[bytes]) -> Iterator[Chunk]:
    """Cut a tree's leaves into chunks, none of which is in both halves."""
    size = min(CHUNK_LEAVES, len(leaves) // tree.PARTS)
    for number, start in enumerate(range(0, len(leaves), size)):
        found = leaves[start : start + size]
        yield Chunk(asset, tree.PARTS * start // len(leaves), number, tree.root(found), found)


def _told(held: Held) -> dict[str, Any]:
    """Return what the statement says of what is held."""
    return {
        "custody": [{"account": sub, "amount": str(amount)} for sub, amount in held.custody.items()],
        "custody_total": str(sum(held.custody.values())),
        "insurance": str(held.insurance),
    }
