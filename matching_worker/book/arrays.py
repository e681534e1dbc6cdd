"""The only owner of a shard's arrays: makes them, grows them between calls, and tells the loops where they are."""

from typing import Final

import numpy as np

from exchange.kernel.errors import require
from matching_worker.book.index import rebuild
from matching_worker.book.layout import (
    ADDRESS_DTYPE,
    ARRAYS,
    END_DTYPE,
    FOUND_DTYPE,
    INDEX_DTYPE,
    INSTRUMENT_DTYPE,
    LEVEL_DTYPE,
    NODE_DTYPE,
    ORDER_DTYPE,
    POSITION_DTYPE,
    SIDE_DTYPE,
    STATE_DTYPE,
    TERMS_DTYPE,
    TRADER_DTYPE,
    TRIGGER_ROWS,
    TRIGGERS,
    WANTS_ENDS,
    WANTS_FOUND,
    WANTS_INDEX,
    WANTS_LEVELS,
    WANTS_NODES,
    WANTS_ORDERS,
    WANTS_POSITIONS,
)
from matching_worker.book.positions import rebuild_positions
from matching_worker.book.traders import rebuild_traders
from matching_worker.protocol import INSTRUMENT_ID_MAX, OPEN_ORDERS_MAX, Rows

ORDER_CAPACITY_START: Final = 1 << 12
LEVEL_CAPACITY_START: Final = 1 << 11
NODE_CAPACITY_START: Final = 1 << 8
POSITION_CAPACITY_START: Final = 1 << 10
FOUND_CAPACITY_START: Final = 1 << 8
END_CAPACITY_START: Final = 1 << 8
EVENTS: Final = "events"
"""The one array of the loops that is not kept here: `Engine` hands out what was written to it."""

CAPACITY_MAX: Final = 16 * OPEN_ORDERS_MAX
"""Rows an array may ever have: a level for each open order, and a path of nodes for each level."""


def _doubled(rows: Rows) -> Rows:
    """Return a copy with twice the rows; the new ones are zero, which means unused (Note [Slots])."""
    require(2 * len(rows) <= CAPACITY_MAX, f"an engine array of {len(rows)} rows may not grow further")
    larger = np.zeros(2 * len(rows), rows.dtype)
    # As bytes: NumPy copies structured rows field by field, which is some twenty times slower.
    larger.view(np.uint8)[: rows.nbytes] = rows.view(np.uint8)
    return larger


class BookArrays:
    """Every book of a shard. Side and instrument rows exist from the start; the rest grows by doubling.

    Attributes:
        state: (1,) STATE_DTYPE.
        instruments: (65536,) INSTRUMENT_DTYPE, by instrument id.
        sides: (458752,) SIDE_DTYPE, by `2 * instrument_id + side - 1`, then those of waiting orders.
        orders: (order_capacity,) ORDER_DTYPE.
        terms: (order_capacity,) TERMS_DTYPE, by order slot.
        levels: (level_capacity,) LEVEL_DTYPE.
        nodes: (node_capacity,) NODE_DTYPE.
        index: (index_capacity,) INDEX_DTYPE; a power of two, at most half full.
        positions: (position_capacity,) POSITION_DTYPE; a power of two, at most half full.
        found: (found_capacity,) FOUND_DTYPE.
        traders: (order_capacity,) TRADER_DTYPE, by `traders.bucket_of`.
        ends: (end_capacity,) END_DTYPE, a heap.
    """

    def __init__(self, trade_id_base: int) -> None:
        # Zeroed memory that nobody has touched costs nothing, so all instruments get a row.
        self.state: Rows = np.zeros(1, STATE_DTYPE)
        self.state["trade_id_base"] = trade_id_base
        self.instruments: Rows = np.zeros(INSTRUMENT_ID_MAX + 1, INSTRUMENT_DTYPE)
        self.sides: Rows = np.zeros(TRIGGER_ROWS + TRIGGERS * (INSTRUMENT_ID_MAX + 1), SIDE_DTYPE)
        self.orders: Rows = np.zeros(ORDER_CAPACITY_START, ORDER_DTYPE)
        self.terms: Rows = np.zeros(ORDER_CAPACITY_START, TERMS_DTYPE)
        self.levels: Rows = np.zeros(LEVEL_CAPACITY_START, LEVEL_DTYPE)
        self.nodes: Rows = np.zeros(NODE_CAPACITY_START, NODE_DTYPE)
        self.index: Rows = np.zeros(2 * ORDER_CAPACITY_START, INDEX_DTYPE)
        self.positions: Rows = np.zeros(POSITION_CAPACITY_START, POSITION_DTYPE)
        self.found: Rows = np.zeros(FOUND_CAPACITY_START, FOUND_DTYPE)
        self.traders: Rows = np.zeros(ORDER_CAPACITY_START, TRADER_DTYPE)
        self.ends: Rows = np.zeros(END_CAPACITY_START, END_DTYPE)
        self.addresses = np.zeros(len(ARRAYS), ADDRESS_DTYPE)
        self._renew_addresses()

    @property
    def address(self) -> int:
        """Where the array of addresses is; it never moves."""
        return int(self.addresses.ctypes.data)

    def write_events_to(self, events: Rows) -> None:
        """Tell the loops where events go. The caller keeps the array as long as they may write to it.

        Args:
            events: (event_capacity,) EVENT_DTYPE.
        """
        self.addresses[list(ARRAYS).index(EVENTS)] = events.ctypes.data, len(events)

    def _renew_addresses(self) -> None:
        """Tell the loops where the arrays are now."""
        for row, name in enumerate(ARRAYS):
            if name != EVENTS:
                array = getattr(self, name)
                self.addresses[row] = array.ctypes.data, len(array)

    def grow(self, wanted: int) -> None:
        """Double the array that a call found too small."""
        if wanted == WANTS_ORDERS:
            self.orders = _doubled(self.orders)
            self.terms = _doubled(self.terms)
            more = np.zeros(2 * len(self.traders), TRADER_DTYPE)
            rebuild_traders(self.orders, self.traders, more)
            self.traders = more
        elif wanted == WANTS_LEVELS:
            self.levels = _doubled(self.levels)
        elif wanted == WANTS_NODES:
            self.nodes = _doubled(self.nodes)
        elif wanted == WANTS_FOUND:
            self.found = _doubled(self.found)
        elif wanted == WANTS_ENDS:
            self.ends = _doubled(self.ends)
        elif wanted == WANTS_POSITIONS:
            more = np.zeros(2 * len(self.positions), POSITION_DTYPE)
            rebuild_positions(self.positions, more)
            self.positions = more
        else:
            require(wanted == WANTS_INDEX, f"the engine loop asked for an unknown thing: {wanted}")
            larger = np.zeros(2 * len(self.index), INDEX_DTYPE)
            rebuild(self.index, larger)
            self.index = larger
        self._renew_addresses()
