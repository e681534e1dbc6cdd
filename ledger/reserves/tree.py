"""The Merkle sum tree over what the exchange owes of one asset: pure, without database. `README.md` fixes the format.

A node is 48 bytes: a SHA-256 hash, then its sum in quanta as 16 bytes, unsigned, big endian. A sum below zero has no
form here, so that nobody's debt can hide what others are owed. A parent hashes both children's hashes and both their
sums: with their total alone, a sum could be moved from one side to the other.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Final

FORMAT: Final = "exchange-reserves-1"
HASH_BYTES: Final = 32
SUM_BYTES: Final = 16
SUM_END: Final = 1 << (8 * SUM_BYTES)
PARTS: Final = 2
"""Leaves of one user: a path shows its neighbour's sum, which is a part of somebody's balance, never all of it."""
_LEAF, _NODE, _PADDING = b"\x00", b"\x01", b"\x02"


def context(publication: int, asset: str) -> bytes:
    """Return what ties a leaf to one tree: no leaf of another asset or publication is a leaf of this one."""
    return hashlib.sha256(f"{FORMAT}/{publication}/{asset}".encode()).digest()


def salt(secret: bytes, user_id: int) -> bytes:
    """Return a user's salt in a publication: only its user learns it, and without it a leaf tells nothing."""
    return hmac.digest(secret, b"salt" + user_id.to_bytes(8), "sha256")


def split(secret: bytes, asset: str, user_id: int, amount: int) -> tuple[int, int]:
    """Cut a user's amount in two at a place that nobody can guess; neither part is all of it, unless it is 1 or 0."""
    if amount < PARTS:
        return amount, 0
    drawn = hmac.digest(secret, b"split" + user_id.to_bytes(8) + asset.encode(), "sha256")
    first = 1 + int.from_bytes(drawn) % (amount - 1)
    return first, amount - first


def leaf(tied_to: bytes, user_salt: bytes, user_id: int, part: int, amount: int) -> bytes:
    """Return the leaf of a part of what a user is owed.

    Args:
        tied_to: From `context`.
        part: 0 or 1.
        amount: Quanta, not negative.

    Raises:
        OverflowError: The amount is negative, or beyond 16 bytes.
    """
    told = amount.to_bytes(SUM_BYTES)
    body = _LEAF + tied_to + user_salt + user_id.to_bytes(8) + part.to_bytes(1) + told
    return hashlib.sha256(body).digest() + told


def leaves(
    publication: int, asset: str, secret: bytes, owed: Iterable[tuple[int, int]], salts: dict[int, bytes]
) -> list[bytes]:
    """Return all leaves of a tree: in the left half one part of each user, in the right half the other.

    No node below the root therefore holds both parts of anybody. Each half is filled with empty leaves up to a power
    of two and sorted by hash, which is as good as random: a place tells nothing of its user.

    Args:
        secret: The publication's own, 32 random bytes; never published.
        owed: User and quanta, above zero; each user once.
        salts: Filled with the users' salts, so that the next asset finds them.
    """
    tied_to = context(publication, asset)
    halves: tuple[list[bytes], ...] = tuple([] for _ in range(PARTS))
    for user_id, amount in owed:
        user_salt = salts.get(user_id) or salts.setdefault(user_id, salt(secret, user_id))
        for part, worth in enumerate(split(secret, asset, user_id, amount)):
            halves[part].append(leaf(tied_to, user_salt, user_id, part, worth))
    size = 1 << max(0, len(halves[0]) - 1).bit_length()
    nothing = bytes(SUM_BYTES)
    for part, half in enumerate(halves):
        for number in range(size - len(half)):
            nonce = hmac.digest(secret, b"padding" + part.to_bytes(1) + number.to_bytes(8) + asset.encode(), "sha256")
            half.append(hashlib.sha256(_PADDING + tied_to + nonce).digest() + nothing)
        half.sort()
    return [node for half in halves for node in half]


def parent(left: bytes, right: bytes) -> bytes:
    """Return the node above two others.

    Raises:
        OverflowError: The sum is beyond 16 bytes.
    """
    total = int.from_bytes(left[HASH_BYTES:]) + int.from_bytes(right[HASH_BYTES:])
    return hashlib.sha256(_NODE + left + right).digest() + total.to_bytes(SUM_BYTES)


def level_above(nodes: Sequence[bytes]) -> list[bytes]:
    """Return the nodes above a level of an even number of them."""
    return [parent(nodes[place], nodes[place + 1]) for place in range(0, len(nodes), 2)]


def root(nodes: Sequence[bytes]) -> bytes:
    """Return the node above all of a level, whose number is a power of two."""
    while len(nodes) > 1:
        nodes = level_above(nodes)
    return nodes[0]


def path(nodes: Sequence[bytes], place: int) -> list[bytes]:
    """Return the neighbours that lead from a node of a level to the root, the lowest first."""
    found: list[bytes] = []
    while len(nodes) > 1:
        found.append(nodes[place ^ 1])
        nodes, place = level_above(nodes), place >> 1
    return found


def total(node: bytes) -> int:
    """Return a node's sum, in quanta."""
    return int.from_bytes(node[HASH_BYTES:])
