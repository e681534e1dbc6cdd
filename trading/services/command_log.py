"""Appends to a shard's command log: the truth that the engine reads, dense and chained.

Note [Gapless sequence]
    A database sequence hands out numbers before commit, so row 8 can become visible before row 7, and a reader polling
    `> last_seen` would skip 7 for ever. The number is therefore taken from a locked row inside the transaction: what
    commits is dense and in order. The row is locked last (Note [Lock order] in exchange/ARCHITECTURE.md), since every
    order of the shard waits for it.

Note [Waking the worker]
    NOTIFY takes a lock of the whole database at commit, so writers send it only when the worker said that it sleeps
    (`worker_sleep`). The worker sets the flag, looks at the log once more, and only then sleeps. A writer that began
    before may still not have seen it; Note [Seldom by itself] in `matching_worker/receiving.py` says how it is found.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import connection

from exchange import database
from exchange.kernel.errors import require
from matching_worker import protocol

APPEND = f"append_commands(%s::smallint, %s::bytea, {protocol.COMMAND_BYTES}, %s)"
"""Takes the shard, the `encoded` commands and the time, and returns the first sequence given."""

_READ = """
SELECT sequence, payload, chain_hash FROM commands WHERE shard = %s AND sequence > %s ORDER BY sequence LIMIT %s
"""


class CommandRow(NamedTuple):
    """One command before it has a sequence; see matching_worker.protocol for the fields."""

    kind: int
    instrument_id: int
    order_id: int
    trader_id: int
    timestamp_ns: int
    side: int
    order_type: int
    time_in_force: int
    price_ticks: int = 0
    qty_lots: int = 0
    trigger_ticks: int = 0
    display_lots: int = 0
    expires_ns: int = 0
    flags: int = 0
    stp: int = 0
    callback_ppm: int = 0
    activation_ticks: int = 0
    expected_lots: int = 0
    quote_lots: int = 0
    trigger_source: int = 0


_OF_EACH = frozenset({"kind", "instrument_id", "order_id"})
"""Columns that are always given; of the others most are nothing but zeros, which are not worth turning into arrays."""


def append(shard: int, rows: Sequence[CommandRow], *, now: datetime) -> None:
    """Queue the statement that appends commands to a shard's log; the caller commits at once.

    Args:
        rows: At least one, in the order in which they shall be matched.
    """
    sql, params = append_statement(shard, rows, now=now)
    database.execute(sql, *params)


def append_statement(shard: int, rows: Sequence[CommandRow], *, now: datetime) -> database.Statement:
    """Return the statement that appends commands, for a caller who makes it before its turn."""
    return f"SELECT {APPEND}", (shard, encoded(rows), now)


def encoded(rows: Sequence[CommandRow]) -> bytes:
    """Return commands as APPEND takes them: the driver sends bytes as they are."""
    named = zip(CommandRow._fields, zip(*rows, strict=True), strict=True)
    columns = {name: column for name, column in named if name in _OF_EACH or any(column)}
    return protocol.joined_payloads(protocol.encode(**columns))


def read(shard: int, after: int, limit: int) -> tuple[protocol.Rows, list[bytes]]:
    """Return the commands after a sequence, oldest first, and each one's chain hash.

    Returns:
        (n,) COMMAND_DTYPE with n <= limit, and n hashes of 32 bytes.
    """
    [rows] = database.fetch((_READ, (shard, after, limit)))
    sequences: Sequence[int] = [row[0] for row in rows]
    return protocol.decode(sequences, [bytes(row[1]) for row in rows]), [bytes(row[2]) for row in rows]


def stream_head(shard: int) -> tuple[int, int]:
    """Return the log's epoch and last sequence."""
    [[row]] = database.fetch(("SELECT epoch, sequence FROM command_stream WHERE shard = %s", (shard,)))
    return row[0], row[1]


def raise_epoch(shard: int) -> int:
    """Begin a new epoch of the log, because trades of the old one were declared void: their ids must never come again.

    Returns:
        The new epoch, part of the id of every trade from now on.
    """
    [[row]] = database.fetch(("UPDATE command_stream SET epoch = epoch + 1 WHERE shard = %s RETURNING epoch", (shard,)))
    epoch: int = row[0]
    require(epoch <= protocol.EPOCH_MAX, f"shard {shard} has no epoch left after {protocol.EPOCH_MAX}")
    return epoch


def chain_hash(shard: int, sequence: int) -> bytes | None:
    """Return the chain hash at a sequence, or None when the log has no such command."""
    [rows] = database.fetch(("SELECT chain_hash FROM commands WHERE shard = %s AND sequence = %s", (shard, sequence)))
    return bytes(rows[0][0]) if rows else None


def set_asleep(shard: int, *, asleep: bool) -> None:
    """Say whether the worker wants a NOTIFY: Note [Waking the worker]."""
    database.execute("UPDATE worker_sleep SET asleep = %s WHERE shard = %s", asleep, shard)


def listen(shard: int) -> None:
    """Subscribe this connection to a shard's wake-up calls."""
    database.execute(f"LISTEN commands_{shard:d}")


def wait(seconds: float) -> bool:
    """Wait for a wake-up call on this connection, at most so long; tell whether there was one."""
    return len(list(connection.connection.notifies(timeout=seconds, stop_after=1))) > 0
