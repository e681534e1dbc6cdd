"""The matching engine of one shard: commands in, events out, and nothing else gets in.

It reads no clock, no database and no configuration: the same commands give the same events and the
same state hash in any process, at any time (Note [State hash] in `book/hashing.py`).
"""

from sys import getrefcount
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from exchange.kernel.errors import require
from matching_worker.book.apply import apply
from matching_worker.book.arrays import BookArrays
from matching_worker.book.check import check
from matching_worker.book.layout import (
    COMMANDS_PER_CALL_MAX,
    COUNT_SHIFT,
    HAS_TERMS,
    KEY_FLIP,
    NO_SLOT,
    OUT_OF_SEQUENCE,
    POSITION_SHIFT,
    TOO_NEW,
    TRIGGER_ROWS,
    TRIGGERS,
    WANTS_EVENTS,
)
from matching_worker.book.positions import position_of
from matching_worker.book.reading import locate, read_levels, read_queue
from matching_worker.protocol import (
    COMMAND_DTYPE,
    ENGINE_VERSION,
    EVENT_BYTES,
    EVENT_DTYPE,
    INSTRUMENT_ID_MAX,
    PRICE_TICKS_MAX,
    Rows,
    Side,
    TradingState,
    trade_id_base,
)

EVENTS_PER_COMMAND: Final = 2
EVENTS_SPARE: Final = 512
"""Room for events of a call: so many for each command and so many more. A sweep may ask for more."""

EVENTS_BLOCK: Final = 2048
"""Rows of the blocks that events are written to. A caller owns its rows as long as it keeps them."""

LOOP_BLOCK: Final = 1 << 14
"""The same for a loop of its own: it has to come back for each of them."""

EVENTS_REUSED: Final = 64
"""Rows after which a block is begun anew, if nobody has kept any of it: what is still near is written fastest."""

_OUTCOME_MASK: Final = (1 << POSITION_SHIFT) - 1

Depth = npt.NDArray[np.int64]


def _new_events(capacity: int) -> Rows:
    """Return room for events, not cleared; by way of bytes, which NumPy allocates twice as fast.

    The bytes are the array's base, and that of everything that is ever cut out of it.
    """
    return np.ndarray(capacity, EVENT_DTYPE, np.empty(capacity * EVENT_BYTES, np.uint8))


def _usable(commands: Rows) -> Rows:
    """Return commands in the one form that the loops are compiled for: contiguous and writable."""
    require(commands.dtype == COMMAND_DTYPE, "these rows are not commands")
    require(len(commands) <= COMMANDS_PER_CALL_MAX, "too many commands for one call")
    return np.array(commands)


class BestLevel(NamedTuple):
    """The first level of a side."""

    price_ticks: int
    qty_lots: int


class Best(NamedTuple):
    """The top of a book; a side without orders is None."""

    bid: BestLevel | None
    ask: BestLevel | None


class OpenOrder(NamedTuple):
    """A resting order as the engine knows it."""

    order_id: int
    trader_id: int
    instrument_id: int
    side: Side
    price_ticks: int
    open_lots: int
    """All of it, the hidden part of an iceberg included."""
    is_waiting: bool = False
    """Whether it waits for its trigger; then no level counts its lots."""


class Indication(NamedTuple):
    """What a call auction would do now; all 0 when nothing would trade."""

    price_ticks: int
    qty_lots: int
    surplus_lots: int
    """Lots that would like to buy at the price less lots that would like to sell."""


class Engine:
    """All books of one shard. Not safe for use by two threads at once.

    Making one compiles the loops, or loads them from the cache on disk, so that no order waits for it.
    """

    def __init__(self, shard: int, epoch: int) -> None:
        """Start with empty books at sequence 0.

        Args:
            shard: 0..63, part of every trade id.
            epoch: 0..63, part of every trade id: the command log's epoch, which changes only when
                trades were declared void. A new lease or a restart must not change it, or a replay
                would give old trades new ids.
        """
        self.shard = shard
        self.epoch = epoch
        self._arrays = BookArrays(trade_id_base(epoch, shard))
        self._addresses = self._arrays.address
        self._events_used = self._events_capacity = self._own_references = 0
        self._take_events(_new_events(EVENTS_BLOCK))
        self.apply(np.zeros(0, COMMAND_DTYPE))

    @property
    def sequence(self) -> int:
        """Sequence of the last command applied; 0 before the first."""
        return int(self._arrays.state["sequence"][0])

    @property
    def state_hash(self) -> int:
        """Running hash over every command and event so far, 0..2**64-1."""
        return int(self._arrays.state["state_hash"][0])

    @property
    def time_ns(self) -> int:
        """Engine time: the latest timestamp of any command so far."""
        return int(self._arrays.state["time_ns"][0])

    @property
    def open_order_count(self) -> int:
        """Resting and waiting orders of all books."""
        return int(self._arrays.state["order_count"][0])

    def apply(self, commands: Rows) -> Rows:
        """Apply commands in order and say what happened. Customers' mistakes are REJECTED events.

        Args:
            commands: (command_count,) COMMAND_DTYPE, continuing `sequence` densely.

        Returns:
            (event_count,) EVENT_DTYPE, owned by the caller; at least one event for each command.

        Raises:
            InvariantViolationError: The commands do not continue the sequence.
        """
        count = len(commands)
        if commands.dtype != COMMAND_DTYPE or count > COMMANDS_PER_CALL_MAX or not commands.flags.carray:
            commands = _usable(commands)
        start = self._events_used
        if start >= EVENTS_REUSED and getrefcount(self._events_memory) == self._own_references:
            start = 0
        if self._events_capacity - start < EVENTS_PER_COMMAND * count + EVENTS_SPARE:
            self._take_events(_new_events(max(EVENTS_PER_COMMAND * count + EVENTS_SPARE, EVENTS_BLOCK)))
            start = 0
        result = apply(commands, 0, start, self._addresses)
        if result & _OUTCOME_MASK:
            start, result = self._go_on(commands, start, result)
        self._events_used = end = result >> COUNT_SHIFT
        return self._events[start:end]

    # --- for a compiled loop that calls `book.apply` itself -------------------------------------------------------
    @property
    def addresses(self) -> int:
        """Where the books' arrays stand: Note [Addresses] in `book/handle.py`."""
        return self._addresses

    def events_room(self, commands: int) -> Rows:
        """Begin a new block of events, with room for a call of so many commands, and for many smaller ones."""
        self._take_events(_new_events(max(EVENTS_PER_COMMAND * commands + EVENTS_SPARE, LOOP_BLOCK)))
        return self._events[:]

    def events_used(self, count: int) -> None:
        """Say how much of the block is written: what is applied by `apply` goes behind it."""
        self._events_used = count

    def go_on(self, commands: Rows, start: int, result: int) -> tuple[Rows, int, int]:
        """Finish a call that was not done: `result` is what `book.apply` returned, `start` where its events began.

        Returns:
            The block, where the call's events start in it, and where they end.

        Raises:
            InvariantViolationError: The commands do not continue the sequence.
        """
        start, result = self._go_on(commands, start, result)
        self._events_used = result >> COUNT_SHIFT
        return self._events[:], start, self._events_used

    def _take_events(self, events: Rows) -> None:
        """Let the loops write to new room for events."""
        self._events = events
        self._events_memory = events.base
        self._events_capacity = len(events)
        self._events_used = 0
        self._own_references = getrefcount(self._events_memory)
        self._arrays.write_events_to(events)

    def _go_on(self, commands: Rows, start: int, result: int) -> tuple[int, int]:
        """Make room and repeat the call until all commands are applied.

        Returns:
            Where the call's events start now, and the last result.
        """
        while result & _OUTCOME_MASK:
            done = (result >> POSITION_SHIFT) & COMMANDS_PER_CALL_MAX
            count = result >> COUNT_SHIFT
            if result & _OUTCOME_MASK == WANTS_EVENTS:
                self._take_events(self._with_more_room(start, count))
                start, count = 0, count - start
            else:
                self._make_room(result & _OUTCOME_MASK, commands, done)
            result = apply(commands, done, count, self._addresses)
        return start, result

    def _with_more_room(self, start: int, count: int) -> Rows:
        """Return the call's events so far in a block with room for what the next command can cause."""
        wanted = int(self._arrays.state["events_wanted"][0])
        larger = _new_events(max(2 * (count - start) + wanted, EVENTS_BLOCK))
        larger.view(np.uint8)[: (count - start) * EVENT_BYTES] = self._events[start:count].view(np.uint8)
        return larger

    def _make_room(self, wanted: int, commands: Rows, done: int) -> None:
        """Grow what the loop found too small, unless it stopped because of a gap in the sequence."""
        require(
            wanted != OUT_OF_SEQUENCE,
            f"shard {self.shard}: command {commands['sequence'][done]} came where {self.sequence + 1} was due",
        )
        require(
            wanted != TOO_NEW,
            f"shard {self.shard}: command {commands['sequence'][done]} needs engine version "
            f"{commands['qty_lots'][done]}; this program is version {ENGINE_VERSION}",
        )
        self._arrays.grow(wanted)

    def levels(self, instrument_id: int) -> tuple[Depth, Depth]:
        """Return bids and asks, best first: (level_count, 3) int64 of price, open lots, order count."""
        return self._side_levels(instrument_id, Side.BUY), self._side_levels(instrument_id, Side.SELL)

    def _side_levels(self, instrument_id: int, side: Side) -> Depth:
        """Return one side's levels, best first, as an array of its own."""
        arrays = self._arrays
        row = self._side_row(instrument_id, side)
        depth: Depth = np.zeros((int(arrays.sides["level_count"][row]), 3), np.int64)
        count = read_levels(arrays.sides, arrays.levels, arrays.nodes, row, depth)
        require(count == len(depth), f"side {row} counts {len(depth)} levels and has {count}")
        return depth

    def best(self, instrument_id: int) -> Best:
        """Return the top of the book."""
        return Best(
            self._best_level(self._side_row(instrument_id, Side.BUY), KEY_FLIP),
            self._best_level(self._side_row(instrument_id, Side.SELL), 0),
        )

    def _best_level(self, side_row: int, flip: int) -> BestLevel | None:
        """Return the first level of a side, whose keys become prices by `flip` (Note [Keys])."""
        slot = self._arrays.sides["best_level"][side_row]
        if slot == NO_SLOT:
            return None
        level = self._arrays.levels[slot]
        return BestLevel(int(level["key"]) ^ flip, int(level["open_lots"]))

    def order(self, order_id: int) -> OpenOrder | None:
        """Return a resting or waiting order, or None when there is no such order."""
        arrays = self._arrays
        slot = locate(arrays.index, arrays.orders, order_id)
        if slot == NO_SLOT:
            return None
        order = arrays.orders[slot]
        terms = arrays.terms[slot]
        side_row = int(order["side_row"])
        order_id, trader_id, lots = (int(order[name]) for name in ("order_id", "trader_id", "open_lots"))
        if side_row >= TRIGGER_ROWS:
            instrument_id, side = int(terms["instrument_id"]), Side(terms["side"])
            return OpenOrder(order_id, trader_id, instrument_id, side, int(terms["price_ticks"]), lots, is_waiting=True)
        instrument_id, side_index = divmod(side_row, 2)
        side = Side(side_index + 1)
        key = int(arrays.levels["key"][order["level"]])
        price_ticks = key ^ KEY_FLIP if side == Side.BUY else key
        hidden = int(terms["hidden_lots"]) if order["special"] & HAS_TERMS else 0
        return OpenOrder(order_id, trader_id, instrument_id, side, price_ticks, lots + hidden)

    def waiting(self, instrument_id: int) -> list[int]:
        """Return the ids of the orders that wait for their trigger, in the order in which they entered."""
        self._side_row(instrument_id, Side.BUY)
        orders = self._arrays.orders
        first = TRIGGER_ROWS + TRIGGERS * instrument_id
        waits = (orders["side_row"] >= first) & (orders["side_row"] < first + TRIGGERS) & (orders["level"] != NO_SLOT)
        found = orders[waits]
        return found["order_id"][np.argsort(found["entry"])].tolist()  # type: ignore[no-any-return]

    def position(self, trader_id: int, instrument_id: int) -> int:
        """Return a trader's net position in a contract, in lots, negative when short."""
        return int(position_of(self._arrays.positions, trader_id, instrument_id))

    def positions(self) -> dict[tuple[int, int], int]:
        """Return every net position that is not zero, in lots, by trader and instrument."""
        rows = self._arrays.positions
        open_rows = rows[(rows["is_used"] != 0) & (rows["lots"] != 0)]
        keys = zip(open_rows["trader_id"].tolist(), open_rows["instrument_id"].tolist(), strict=True)
        return dict(zip(keys, open_rows["lots"].tolist(), strict=True))

    def trading_state(self, instrument_id: int) -> TradingState:
        """Return what an instrument allows now."""
        self._side_row(instrument_id, Side.BUY)
        return TradingState(int(self._arrays.instruments["state"][instrument_id]) or TradingState.CONTINUOUS)

    def indication(self, instrument_id: int) -> Indication:
        """Return what a call auction last told."""
        self._side_row(instrument_id, Side.BUY)
        row = self._arrays.instruments[instrument_id]
        return Indication(int(row["auction_ticks"]), int(row["auction_lots"]), int(row["auction_surplus"]))

    def queue(self, instrument_id: int, side: Side, price_ticks: int) -> list[int]:
        """Return the ids of the orders resting at a price, oldest first."""
        require(0 < price_ticks <= PRICE_TICKS_MAX, f"price {price_ticks}")
        arrays = self._arrays
        row = self._side_row(instrument_id, side)
        order_ids = np.zeros(int(arrays.sides["order_count"][row]), np.int64)
        count = read_queue(arrays.sides, arrays.orders, arrays.levels, arrays.nodes, row, price_ticks, order_ids)
        return order_ids[:count].tolist()  # type: ignore[no-any-return]

    def check(self) -> None:
        """Re-derive everything from the resting orders; slow, for tests and operators.

        Raises:
            InvariantViolationError: The first difference, in words.
        """
        check(self._arrays)

    def mark_price_ticks(self, instrument_id: int) -> int:
        """Return the instrument's mark price; 0 before the first."""
        self._side_row(instrument_id, Side.BUY)
        return int(self._arrays.instruments["mark_ticks"][instrument_id])

    def trade_number(self, instrument_id: int) -> int:
        """Return the number of the instrument's last trade; 0 before the first."""
        self._side_row(instrument_id, Side.BUY)
        return int(self._arrays.instruments["trade_number"][instrument_id])

    def last_price_ticks(self, instrument_id: int) -> int:
        """Return the price of the instrument's last trade; 0 before the first."""
        self._side_row(instrument_id, Side.BUY)
        return int(self._arrays.instruments["last_price_ticks"][instrument_id])

    def _side_row(self, instrument_id: int, side: Side) -> int:
        """Return the row of a side, after checking the instrument id."""
        require(0 <= instrument_id <= INSTRUMENT_ID_MAX, f"instrument id {instrument_id}")
        return 2 * instrument_id + side - 1
