"""The only place that knows the bytes of commands and events, and the limits both sides keep.

Commands go into the engine, events come out. Both are fixed little-endian rows of integers, so that
the command log, the WAL, the engine and a replay years later read the same thing. `version` is part
of every command; a change of meaning takes a new version, never a new reading of the old one.

Note [Limits]
    Every loop and array of the engine is bounded by one of the limits below. An order's quantity and
    the number of open orders are chosen so that no sum of open lots can pass 2**62.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from exchange.kernel.errors import require

PROTOCOL_VERSION: Final = 1

PRICE_TICKS_MAX: Final = 1 << 40
QTY_LOTS_MAX: Final = 1 << 40
OPEN_ORDERS_MAX: Final = 1 << 22
INSTRUMENT_ID_MAX: Final = 65_535
SHARD_MAX: Final = 63
EPOCH_MAX: Final = 63
TRADE_COUNT_BITS: Final = 41
TRADE_COUNT_MAX: Final = (1 << TRADE_COUNT_BITS) - 1

COMMAND_BYTES: Final = 64
EVENT_BYTES: Final = 128

NO_LEVEL: Final = -1
"""`level_lots` of an event that touches no price level."""

Rows = npt.NDArray[Any]

COMMAND_DTYPE: Final = np.dtype(
    {
        "names": [
            "sequence",
            "timestamp_ns",
            "order_id",
            "trader_id",
            "price_ticks",
            "qty_lots",
            "instrument_id",
            "version",
            "kind",
            "side",
            "order_type",
            "time_in_force",
            "reserved",
        ],
        "formats": ["<i8"] * 6 + ["<i4", "u1", "u1", "u1", "u1", "u1", ("u1", (7,))],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 52, 53, 54, 55, 56, 57],
        "itemsize": COMMAND_BYTES,
    }
)
"""One command. `price_ticks` is the worst price the taker accepts; `reserved` is zero."""

EVENT_DTYPE: Final = np.dtype(
    {
        "names": [
            "sequence",
            "timestamp_ns",
            "order_id",
            "trader_id",
            "maker_order_id",
            "maker_trader_id",
            "price_ticks",
            "qty_lots",
            "left_lots",
            "maker_left_lots",
            "level_lots",
            "trade_id",
            "trade_number",
            "state_hash",
            "instrument_id",
            "index",
            "kind",
            "side",
            "reason",
            "reserved_byte",
            "reserved_word",
        ],
        "formats": ["<i8"] * 13 + ["<u8", "<i4", "<u4", "u1", "u1", "u1", "u1", "<u4"],
        "offsets": [*range(0, 112, 8), 112, 116, 120, 121, 122, 123, 124],
        "itemsize": EVENT_BYTES,
    }
)
"""One event; see the table in README.md for what each field means for each kind."""


class CommandKind(IntEnum):
    """What a command asks for."""

    PLACE = 1
    CANCEL = 2
    REDUCE = 3
    AMEND = 4


class Side(IntEnum):
    """The side of an order. Of all arrays indexed by side, buy is row 0 and sell row 1."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """How an order is priced. A market order is bounded by `price_ticks` and never rests."""

    LIMIT = 1
    MARKET = 2


class TimeInForce(IntEnum):
    """What happens with the quantity that does not trade at once: it rests, or it is cancelled."""

    GTC = 1
    IOC = 2


class EventKind(IntEnum):
    """What happened."""

    FILL = 1
    RESTED = 2
    CANCELLED = 3
    REDUCED = 4
    REJECTED = 5
    AMENDED = 6


class Reason(IntEnum):
    """Why it happened: permanent numbers, for they are in the log of events. Refusals start at 32."""

    NONE = 0
    USER = 1
    IOC_REMAINDER = 2
    REDUCED_TO_ZERO = 3
    LOST_PLACE = 4
    DUPLICATE_ORDER_ID = 32
    UNKNOWN_ORDER = 33
    BAD_PRICE = 34
    BAD_QTY = 35
    BAD_INSTRUMENT = 36
    BAD_SIDE = 37
    BAD_KIND = 38
    BAD_ORDER_TYPE = 39
    BAD_TIME_IN_FORCE = 40
    TOO_MANY_OPEN_ORDERS = 41


Column = int | Sequence[int] | npt.NDArray[np.integer[Any]]


def encode(
    *,
    kind: Column,
    instrument_id: Column,
    order_id: Column,
    trader_id: Column = 0,
    timestamp_ns: Column = 0,
    side: Column = 0,
    order_type: Column = 0,
    time_in_force: Column = 0,
    price_ticks: Column = 0,
    qty_lots: Column = 0,
    sequence: Column = 0,
) -> Rows:
    """Build commands from columns; a single number stands for a whole column of it.

    Returns:
        (command_count,) COMMAND_DTYPE, with `version` set. All single numbers give one row.
    """
    columns = {
        "sequence": sequence,
        "timestamp_ns": timestamp_ns,
        "order_id": order_id,
        "trader_id": trader_id,
        "price_ticks": price_ticks,
        "qty_lots": qty_lots,
        "instrument_id": instrument_id,
        "version": PROTOCOL_VERSION,
        "kind": kind,
        "side": side,
        "order_type": order_type,
        "time_in_force": time_in_force,
    }
    lengths = {len(column) for column in columns.values() if not isinstance(column, int)}
    require(len(lengths) <= 1, f"command columns have different lengths: {sorted(lengths)}")
    commands = np.zeros(lengths.pop() if lengths else 1, COMMAND_DTYPE)
    for name, column in columns.items():
        commands[name] = column
    return commands


def payloads(commands: Rows) -> list[bytes]:
    """Cut commands into the 64-byte payloads that the log stores, `sequence` zeroed.

    The log's own column holds the sequence, which is not known before the row is appended.
    """
    stored = np.array(commands, COMMAND_DTYPE)
    stored["sequence"] = 0
    whole = stored.tobytes()
    return [whole[start : start + COMMAND_BYTES] for start in range(0, len(whole), COMMAND_BYTES)]


def decode(sequences: Sequence[int] | npt.NDArray[np.int64], stored: Sequence[bytes]) -> Rows:
    """Turn stored payloads back into commands and fill in their sequences.

    Returns:
        (command_count,) COMMAND_DTYPE, owned by the caller.

    Raises:
        InvariantViolationError: A payload has another length or a version this code cannot read.
    """
    require(len(sequences) == len(stored), f"{len(sequences)} sequences for {len(stored)} payloads")
    whole = bytearray().join(stored)
    right_size = len(whole) == COMMAND_BYTES * len(stored) and all(len(row) == COMMAND_BYTES for row in stored)
    require(right_size, f"a stored command is not {COMMAND_BYTES} bytes long")
    commands = np.frombuffer(whole, COMMAND_DTYPE)
    require(
        bool(np.all(commands["version"] == PROTOCOL_VERSION)),
        f"stored commands of versions {sorted(set(commands['version'].tolist()))}; this code reads {PROTOCOL_VERSION}",
    )
    commands["sequence"] = sequences
    return commands


def trade_id_base(epoch: int, shard: int) -> int:
    """Return what is added to the shard's running trade count to make a trade id.

    Six bits of epoch, six of shard and 41 of count: below 2**53, so that a JavaScript number holds
    it exactly. The epoch is the command log's, which a restart does not change.
    """
    require(0 <= epoch <= EPOCH_MAX, f"epoch {epoch} is outside 0..{EPOCH_MAX}")
    require(0 <= shard <= SHARD_MAX, f"shard {shard} is outside 0..{SHARD_MAX}")
    return (epoch << 47) | (shard << TRADE_COUNT_BITS)


def trade_id(epoch: int, shard: int, trade_count: int) -> int:
    """Return the id of the shard's trade number `trade_count`, counted from 1."""
    require(0 < trade_count <= TRADE_COUNT_MAX, f"trade count {trade_count} is outside 1..{TRADE_COUNT_MAX}")
    return trade_id_base(epoch, shard) | trade_count
