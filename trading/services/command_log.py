"""Appends to a shard's command log: the truth that the engine reads, dense and chained.

Note [Gapless sequence]
    A database sequence hands out numbers before commit, so row 8 can become visible before row 7, and a reader polling
    `> last_seen` would skip 7 for ever. The number is therefore taken from a locked row inside the transaction: what
    commits is dense and in order. The row is locked last (Note [Lock order] in exchange/ARCHITECTURE.md), since every
    order of the shard waits for it.

Note [Waking the worker]
    NOTIFY takes a lock of the whole database at commit, so writers send it only when the worker said that it sleeps
    (`worker_sleep`). The worker sets the flag, looks at the log once more, and only then sleeps; what a race may still
    miss, its next poll finds.
"""

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from matching_worker import protocol
from trading.services import database


def append(shard: int, commands: NDArray[np.void], *, now: datetime) -> None:
    """Queue the statement that appends commands to a shard's log; the caller commits at once.

    Args:
        commands: (n,) COMMAND_DTYPE, n >= 1, in the order in which they shall be matched.
    """
    database.execute("SELECT append_commands(%s::smallint, %s, %s)", shard, protocol.payloads(commands), now)


def read(shard: int, after: int, limit: int) -> tuple[NDArray[np.void], list[bytes]]:
    """Return the commands after a sequence, oldest first, and each one's chain hash.

    Returns:
        (n,) COMMAND_DTYPE with n <= limit, and n hashes of 32 bytes.
    """
    [rows] = database.fetch(
        (
            "SELECT sequence, payload, chain_hash FROM commands WHERE shard = %s AND sequence > %s"
            " ORDER BY sequence LIMIT %s",
            (shard, after, limit),
        )
    )
    sequences: Sequence[int] = [row[0] for row in rows]
    return protocol.decode(sequences, [bytes(row[1]) for row in rows]), [bytes(row[2]) for row in rows]


def head(shard: int) -> tuple[int, int]:
    """Return the log's epoch and last sequence."""
    [[row]] = database.fetch(("SELECT epoch, sequence FROM command_stream WHERE shard = %s", (shard,)))
    return row[0], row[1]
