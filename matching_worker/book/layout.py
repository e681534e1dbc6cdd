"""The arrays that hold every book of a shard: rows, sentinels, and what the rows mean.

Note [Slots]
    Orders, levels and nodes are rows of arrays and name each other by slot (row number). Slot 0 of
    each array is never used, so that zeroed memory means "nothing" and arrays grow without being
    initialised. Freed slots are chained through their `next_slot` and reused last freed first,
    while they are still in the processor's cache.

Note [Keys]
    Each side of a book keeps its levels in the order in which takers meet them. A level's key is
    its price for sells, and its price with all `KEY_BITS` bits flipped for buys: the best level is
    always the one with the smallest key, and no loop asks which side it is on.

Note [Ladder]
    Levels hang in a 64-ary radix tree over their keys, one tree for each side of each book. A node
    has 64 children and a bitmap of those in use; a leaf's children are levels. The tree covers only
    the prefix that its live keys share and grows or sinks at the root as the market moves, so a
    book that trades within a few thousand ticks is two or three nodes deep, and any key works.
"""

from typing import Final

import numpy as np

NO_SLOT: Final = np.uint32(0)

FANOUT_BITS: Final = 6
FANOUT: Final = 1 << FANOUT_BITS
HEIGHT_MAX: Final = 7
KEY_BITS: Final = FANOUT_BITS * HEIGHT_MAX
KEY_FLIP: Final = (1 << KEY_BITS) - 1
NODES_PER_LEVEL_MAX: Final = 2 * HEIGHT_MAX
"""Nodes that opening one level can take: growing the root to full height, then a path down."""

ORDER_DTYPE: Final = np.dtype(
    {
        "names": ["order_id", "trader_id", "open_lots", "next_slot", "previous_slot", "level", "side_row"],
        "formats": ["<i8", "<i8", "<i8", "<u4", "<u4", "<u4", "<u4"],
        "offsets": [0, 8, 16, 24, 28, 32, 36],
        "itemsize": 64,
    }
)
"""A resting order: one cache line. 24 bytes are free for what later order types must remember."""

LEVEL_DTYPE: Final = np.dtype(
    [
        ("key", "<i8"),
        ("open_lots", "<i8"),
        ("head", "<u4"),
        ("tail", "<u4"),
        ("order_count", "<u4"),
        ("next_slot", "<u4"),
    ]
)
"""The queue at one price. `next_slot` is the leaf that holds it while in use, else the free list."""

NODE_DTYPE: Final = np.dtype(
    {
        "names": ["bitmap", "next_slot", "position", "children"],
        "formats": ["<u8", "<u4", "<u4", ("<u4", (FANOUT,))],
        "offsets": [0, 8, 12, 64],
        "itemsize": 320,
    }
)
"""A node of the ladder. `next_slot` is its parent (0 at the root) while in use, else the free list."""

SIDE_DTYPE: Final = np.dtype(
    [
        ("prefix", "<i8"),
        ("best_key", "<i8"),
        ("best_level", "<u4"),
        ("root", "<u4"),
        ("height", "<u4"),
        ("level_count", "<u4"),
        ("order_count", "<u4"),
        ("reserved", "<u4"),
    ]
)
"""One side of one book, at row `2 * instrument_id + (side - 1)`; all live keys >> 6*height = prefix."""

INSTRUMENT_DTYPE: Final = np.dtype([("trade_number", "<i8"), ("last_price_ticks", "<i8")])
"""What a book knows beside its orders, at row `instrument_id`."""

INDEX_DTYPE: Final = np.dtype([("slot", "<u4"), ("tag", "<u4")])
"""Entry of the open-addressing table from order id to slot; 0 is free. See `index.py`."""

STATE_DTYPE: Final = np.dtype(
    [
        ("sequence", "<i8"),
        ("time_ns", "<i8"),
        ("state_hash", "<u8"),
        ("trade_count", "<i8"),
        ("trade_id_base", "<i8"),
        ("order_count", "<i8"),
        ("order_free", "<u4"),
        ("order_used", "<u4"),
        ("level_count", "<i8"),
        ("level_free", "<u4"),
        ("level_used", "<u4"),
        ("node_count", "<i8"),
        ("node_free", "<u4"),
        ("node_used", "<u4"),
        ("events_wanted", "<i8"),
    ]
)
"""One row: where the shard is. `*_used` is the highest slot ever handed out; `*_free` the free list."""

# Rows of the array of addresses; see Note [Addresses] in `machine.py`.
STATE: Final = 0
INSTRUMENTS: Final = 1
SIDES: Final = 2
ORDERS: Final = 3
LEVELS: Final = 4
NODES: Final = 5
INDEX: Final = 6
ARRAY_COUNT: Final = 7

# What a call asks of Python before it goes on.
DONE: Final = 0
WANTS_ORDERS: Final = 1
WANTS_LEVELS: Final = 2
WANTS_NODES: Final = 3
WANTS_INDEX: Final = 4
WANTS_EVENTS: Final = 5
OUT_OF_SEQUENCE: Final = 6

# A call's result is one integer, for a tuple would cost more than matching an order:
# event count << COUNT_SHIFT | commands applied << POSITION_SHIFT | what is wanted.
POSITION_SHIFT: Final = 3
COUNT_SHIFT: Final = 28
COMMANDS_PER_CALL_MAX: Final = (1 << (COUNT_SHIFT - POSITION_SHIFT)) - 1
