"""The only place that knows the bytes of commands and events, and the limits both sides keep.

Commands go into the engine, events come out. Both are fixed little-endian rows of integers, so that
the command log, the WAL, the engine and a replay years later read the same thing. `version` is part
of every command; a change of meaning takes a new version, never a new reading of the old one.

Note [Versions]
    Version 1 had 64-byte rows: the first 57 bytes of today's. They stay readable for ever, as rows whose
    `version` is 1, by which the engine knows that kinds, types and times in force that came later must be
    refused. A plain command of version 2 causes the same events and state hash as one of version 1.

    Version 3 has the rows of version 2 and one kind more, TRADE_NUMBER, which rows of version 2 do not have. All else
    means what it meant: a log of version 2 gives the events and hashes that it gave (`tests/golden`). A program of
    version 2 stops at the first row of version 3, and does not read it in its own way.

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

PROTOCOL_VERSION: Final = 3
ENGINE_VERSION: Final = 2
"""The newest BARRIER this engine can pass: from one on, what a command means may change."""

PRICE_TICKS_MAX: Final = 1 << 40
QTY_LOTS_MAX: Final = 1 << 40
OPEN_ORDERS_MAX: Final = 1 << 22
"""Resting and waiting orders of a shard (TOO_MANY_OPEN_ORDERS)."""
TRAILING_STOPS_MAX: Final = 1 << 10
"""Trailing stops of one instrument: each is looked at when its price moves (TOO_MANY_TRAILING_STOPS)."""
ICEBERG_TRANCHES_MAX: Final = 1 << 10
"""Parts that an iceberg shows one after the other (BAD_DISPLAY)."""
POSITIONS_MAX: Final = 1 << 22
"""Traders times contracts with a position now or once (TOO_MANY_POSITIONS)."""
POSITION_LOTS_MAX: Final = 1 << 61
"""An adjustment must leave a position within this (BAD_QTY)."""
QUOTE_LOTS_MAX: Final = 1 << 62
"""Budget of a market buy by quote amount, in ticks times lots (BAD_QUOTE)."""
CALLBACK_PPM_MAX: Final = 500_000
"""Distance of a trailing stop, in millionths of the price (BAD_CALLBACK)."""
INSTRUMENT_ID_MAX: Final = 65_535
SHARD_MAX: Final = 63
EPOCH_MAX: Final = 63
TRADE_COUNT_BITS: Final = 41
TRADE_COUNT_MAX: Final = (1 << TRADE_COUNT_BITS) - 1

COMMAND_BYTES: Final = 128
COMMAND_BYTES_VERSION_1: Final = 64
EVENT_BYTES: Final = 128

NO_LEVEL: Final = -1
"""`level_lots` of an event that touches no price level."""

Rows = npt.NDArray[Any]

COMMAND_DTYPE: Final = np.dtype(
    {
        "names": [
            *("sequence", "timestamp_ns", "order_id", "trader_id", "price_ticks", "qty_lots", "instrument_id"),
            *("version", "kind", "side", "order_type", "time_in_force"),
            *("flags", "trigger_source", "stp", "has_terms", "reserved"),
            *("trigger_ticks", "worst_ticks", "display_lots", "quote_lots", "expires_ns", "activation_ticks"),
            *("callback_ppm", "reserved_terms", "expected_lots"),
        ],
        "formats": ["<i8"] * 6 + ["<i4"] + ["u1"] * 9 + [("u1", (3,))] + ["<i8"] * 6 + ["<i4", ("u1", (4,)), "<i8"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, *range(52, 62), 64, 72, 80, 88, 96, 104, 112, 116, 120],
        "itemsize": COMMAND_BYTES,
    }
)
"""One command. `price_ticks` is the worst price the taker accepts.

`flags`, `trigger_source`, `stp` and the second half (from `trigger_ticks` on) are read only where `has_terms` is 1, so
that a plain command costs one cache line. `worst_ticks` is what the order's hold covers, `display_lots` an iceberg's
visible part, `quote_lots` the budget of a market buy, `expires_ns` the end of GTD and DAY, `expected_lots` what an
AMEND believes to be open (it is refused if something else is); 0 is none of each.
"""

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
    """What a command asks for; README.md tells which fields each of them reads."""

    PLACE = 1
    CANCEL = 2
    REDUCE = 3
    AMEND = 4
    CANCEL_ALL = 5
    SET_STATE = 6
    TIME = 7
    MARK_PRICE = 8
    LAST_PRICE = 9
    POSITION_ADJUST = 10
    BARRIER = 11
    UNCROSS = 12
    TRADE_NUMBER = 13


class Side(IntEnum):
    """The side of an order. Of all arrays indexed by side, buy is row 0 and sell row 1."""

    BUY = 1
    SELL = 2


class OrderType(IntEnum):
    """How an order is priced. A market order is bounded by `price_ticks` and never rests."""

    LIMIT = 1
    MARKET = 2
    STOP = 3
    STOP_LIMIT = 4
    TAKE_PROFIT = 5
    TAKE_PROFIT_LIMIT = 6
    TRAILING_STOP = 7


class TimeInForce(IntEnum):
    """What happens with the quantity that does not trade at once: it rests, or it is cancelled.

    FOK trades whole or not at all. GTD and DAY rest until a TIME command passes `expires_ns`.
    """

    GTC = 1
    IOC = 2
    FOK = 3
    GTD = 4
    DAY = 5


class OrderFlag(IntEnum):
    """Bits of `flags`. CONTRACT belongs to SET_STATE: the instrument's fills move net positions."""

    POST_ONLY = 1
    REDUCE_ONLY = 2
    CLOSE_POSITION = 4
    CONTRACT = 8


class TriggerSource(IntEnum):
    """The price that a stop, take-profit or trailing stop watches."""

    LAST = 0
    MARK = 1


class SelfTrade(IntEnum):
    """The taker's wish when it meets an order of its own trader."""

    NONE = 0
    CANCEL_MAKER = 1
    CANCEL_TAKER = 2
    CANCEL_BOTH = 3
    DECREMENT = 4


class TradingState(IntEnum):
    """What an instrument allows; a book nobody has spoken of is CONTINUOUS.

    PRE_OPEN and AUCTION let orders rest without matching; AUCTION tells the indicative price.
    """

    PRE_OPEN = 1
    CONTINUOUS = 2
    HALTED = 3
    CANCEL_ONLY = 4
    CLOSED = 5
    AUCTION = 6


class EventKind(IntEnum):
    """What happened."""

    FILL = 1
    RESTED = 2
    CANCELLED = 3
    REDUCED = 4
    REJECTED = 5
    AMENDED = 6
    TRIGGERED = 7
    STATE_CHANGED = 8
    AUCTION_PRICE = 9
    APPLIED = 10
    LEVEL = 11


class Reason(IntEnum):
    """Why it happened: permanent numbers, for they are in the log of events. Refusals start at 32."""

    NONE = 0
    USER = 1
    IOC_REMAINDER = 2
    REDUCED_TO_ZERO = 3
    LOST_PLACE = 4
    WAITING = 5
    SELF_TRADE = 6
    EXPIRED = 7
    FOK_UNFILLED = 8
    WORST_PRICE = 9
    BUDGET_SPENT = 10
    REDUCE_ONLY = 11
    CANCEL_ALL = 12
    AUCTION = 13
    REFILLED = 14
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
    BAD_TRIGGER = 42
    BAD_DISPLAY = 43
    BAD_QUOTE = 44
    BAD_WORST_PRICE = 45
    BAD_EXPIRY = 46
    BAD_CALLBACK = 47
    BAD_FLAGS = 48
    BAD_STP = 49
    POST_ONLY_WOULD_TAKE = 50
    NOT_TRADING = 51
    NOT_OWNER = 52
    BAD_STATE = 53
    NOT_IN_AUCTION = 54
    TOO_MANY_TRAILING_STOPS = 55
    TOO_MANY_POSITIONS = 56
    ORDER_CHANGED = 57


_TERMS: Final = {"flags", "trigger_source", "stp", *(COMMAND_DTYPE.names or ())[17:]} - {"reserved_terms"}

_V1_BYTES_READ: Final = 57

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
    **terms: Column,
) -> Rows:
    """Build commands from columns; a single number stands for a whole column of it.

    Args:
        terms: Columns by the names of COMMAND_DTYPE from `flags` on.

    Returns:
        (command_count,) COMMAND_DTYPE, with `version` and `has_terms` set. All single numbers give one row.
    """
    unknown = terms.keys() - _TERMS
    require(not unknown, f"commands have no {sorted(unknown)}")
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
        **terms,
    }
    lengths = {len(column) for column in columns.values() if not isinstance(column, int)}
    require(len(lengths) <= 1, f"command columns have different lengths: {sorted(lengths)}")
    commands = np.zeros(lengths.pop() if lengths else 1, COMMAND_DTYPE)
    for name, column in columns.items():
        commands[name] = column
    for name in _TERMS & terms.keys():
        commands["has_terms"] |= commands[name] != 0
    return commands


def joined_payloads(commands: Rows) -> bytes:
    """Return the payloads that the log stores, COMMAND_BYTES each, `sequence` zeroed.

    The log's own column holds the sequence, which is not known before the row is appended.
    """
    stored = np.array(commands, COMMAND_DTYPE)
    stored["sequence"] = 0
    return stored.tobytes()


def payloads(commands: Rows) -> list[bytes]:
    """Cut commands into the payloads that the log stores: `joined_payloads`."""
    whole = joined_payloads(commands)
    return [whole[start : start + COMMAND_BYTES] for start in range(0, len(whole), COMMAND_BYTES)]


def decode(sequences: Sequence[int] | npt.NDArray[np.int64], stored: Sequence[bytes]) -> Rows:
    """Turn stored payloads of any version back into commands and fill in their sequences.

    Returns:
        (command_count,) COMMAND_DTYPE, owned by the caller.

    Raises:
        InvariantViolationError: A payload has another length or a version this code cannot read.
    """
    require(len(sequences) == len(stored), f"{len(sequences)} sequences for {len(stored)} payloads")
    sizes = set(map(len, stored))
    if COMMAND_BYTES_VERSION_1 in sizes:
        padding = bytes(COMMAND_BYTES - COMMAND_BYTES_VERSION_1)
        is_old = [len(row) == COMMAND_BYTES_VERSION_1 for row in stored]
        # Whatever stood in the old row's reserved bytes, it said nothing.
        stored = [row[:_V1_BYTES_READ].ljust(COMMAND_BYTES_VERSION_1, b"\0") + padding if old else row
                  for row, old in zip(stored, is_old, strict=True)]  # fmt: skip
    whole = bytearray().join(stored)
    require(
        sizes <= {COMMAND_BYTES, COMMAND_BYTES_VERSION_1},
        f"a stored command is neither {COMMAND_BYTES_VERSION_1} nor {COMMAND_BYTES} bytes long",
    )
    commands = np.frombuffer(whole, COMMAND_DTYPE)
    readable = (commands["version"] >= 1) & (commands["version"] <= PROTOCOL_VERSION)
    if COMMAND_BYTES_VERSION_1 in sizes:
        readable &= (commands["version"] == 1) | ~np.array(is_old)
    require(
        bool(np.all(readable)),
        f"stored commands of versions {sorted(set(commands['version'].tolist()))}; this code reads 1 to "
        f"{PROTOCOL_VERSION}, and only version 1 in {COMMAND_BYTES_VERSION_1} bytes",
    )
    commands["sequence"] = sequences
    return commands


def trade_id_base(epoch: int, shard: int) -> int:
    """Return what is added to the shard's running trade count to make a trade id, below 2**53.

    A JavaScript number holds it exactly. The epoch is the command log's; a restart does not change it.
    """
    require(0 <= epoch <= EPOCH_MAX, f"epoch {epoch} is outside 0..{EPOCH_MAX}")
    require(0 <= shard <= SHARD_MAX, f"shard {shard} is outside 0..{SHARD_MAX}")
    return (epoch << 47) | (shard << TRADE_COUNT_BITS)


def trade_id(epoch: int, shard: int, trade_count: int) -> int:
    """Return the id of the shard's trade number `trade_count`, counted from 1."""
    require(0 < trade_count <= TRADE_COUNT_MAX, f"trade count {trade_count} is outside 1..{TRADE_COUNT_MAX}")
    return trade_id_base(epoch, shard) | trade_count
