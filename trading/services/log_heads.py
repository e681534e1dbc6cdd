"""How far the command logs reach, and whether the books have followed: withdrawals wait for that."""

from collections.abc import Mapping

from exchange import database

_HEADS = "SELECT shard, sequence FROM command_stream ORDER BY shard"
_SETTLED = "SELECT shard, sequence FROM settlement_cursor ORDER BY shard"


def now() -> dict[str, int]:
    """Return the last sequence of every shard's log, by shard.

    Asked under a trader's gate it covers all that this trader has placed: who places an order holds the gate too.
    """
    [rows] = database.fetch((_HEADS, ()))
    return {str(shard): sequence for shard, sequence in rows}


def have_settled(heads: Mapping[str, int]) -> bool:
    """Tell whether settlement has passed these heads, on every shard."""
    [rows] = database.fetch((_SETTLED, ()))
    cursors = {str(shard): sequence for shard, sequence in rows}
    return all(cursors.get(shard, -1) >= sequence for shard, sequence in heads.items())
