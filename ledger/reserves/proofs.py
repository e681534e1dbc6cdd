"""A user's own proof: the leaves of what the user is owed, and the neighbours that lead from each to the root.

Only the user's own amounts are looked up. Of others a path shows sums over many users, and at its lowest step a part
of one balance, cut at random: nobody's balance.
"""

from bisect import bisect_left
from typing import Any

from exchange.kernel.errors import DomainError, InvariantViolationError, gettext_noop, require
from ledger.reserves import liabilities, statements, tree
from ledger.reserves.models import Publication, TreeChunk
from ledger.reserves.tree import HASH_BYTES, SUM_BYTES

NODE_BYTES = HASH_BYTES + SUM_BYTES


class NothingOwedError(DomainError):
    """The user had nothing then."""

    code = 4474
    name = "RESERVES_NOTHING_OWED"
    status = 404
    message = gettext_noop("You had no balance when proof of reserves %(publication)s was published.")


def proof(publication_id: int, user_id: int) -> dict[str, Any]:
    """Return a user's proof as JSON has it: `README.md` describes it.

    Raises:
        PublicationUnknownError: There is no such publication.
        NothingOwedError: The user had no balance then.
    """
    publication = statements.row(publication_id)
    secret = bytes(publication.secret or b"")
    owed = liabilities.owed_to(user_id, int(publication.entry_id or 0))
    if not owed:
        raise NothingOwedError(publication=publication_id)
    user_salt = tree.salt(secret, user_id)
    return {
        "format": tree.FORMAT,
        "statement": publication.statement,
        "signature": bytes(publication.signature or b"").hex(),
        "public_key": bytes(publication.public_key or b"").hex(),
        "user_id": user_id,
        "salt": user_salt.hex(),
        "assets": [
            {
                "asset": asset,
                "amount": str(amount),
                "parts": [
                    _part(publication, asset, number, user_id, user_salt, worth)
                    for number, worth in enumerate(tree.split(secret, asset, user_id, amount))
                ],
            }
            for asset, amount in owed.items()
        ],
    }


def _part(
    publication: Publication, asset: str, number: int, user_id: int, user_salt: bytes, amount: int
) -> dict[str, Any]:
    """Return a leaf's place and path: within its chunk of the tree, then among the nodes above the chunks."""
    leaf = tree.leaf(tree.context(publication.pk, asset), user_salt, user_id, number, amount)
    chunks = TreeChunk.objects.filter(publication=publication, asset_id=asset)
    chunk = chunks.filter(part=number, first__lte=leaf[:HASH_BYTES]).order_by("-first").first()
    if chunk is None:
        raise InvariantViolationError(f"publication {publication.pk}: no leaf of user {user_id}")
    stored = bytes(chunk.leaves)
    leaves = [stored[start : start + NODE_BYTES] for start in range(0, len(stored), NODE_BYTES)]
    place = bisect_left(leaves, leaf)
    require(place < len(leaves) and leaves[place] == leaf, f"publication {publication.pk}: no leaf of user {user_id}")
    tops = [bytes(top) for top in chunks.order_by("number").values_list("top", flat=True)]
    path = [*tree.path(leaves, place), *tree.path(tops, chunk.number)]
    return {
        "position": chunk.number * len(leaves) + place,
        "amount": str(amount),
        "path": [{"hash": node[:HASH_BYTES].hex(), "sum": str(tree.total(node))} for node in path],
    }
