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

from matching_worker.protocol import COMMAND_DTYPE, EVENT_DTYPE, INSTRUMENT_ID_MAX

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
        "names": [
            "order_id",
            "trader_id",
            "open_lots",
            "next_slot",
            "previous_slot",
            "level",
            "side_row",
            "entry",
            "stp",
            "flags",
            "special",
            "older",
            "newer",
        ],
        "formats": ["<i8", "<i8", "<i8", "<u4", "<u4", "<u4", "<u4", "<i8", "u1", "u1", "u1", "<u4", "<u4"],
        "offsets": [0, 8, 16, 24, 28, 32, 36, 40, 48, 49, 50, 52, 56],
        "itemsize": 64,
    }
)
"""A resting or waiting order: one cache line. `open_lots` is what stands in the queue; `level` is 0 in a
freed row; `entry` rises with arrivals in queues; `older` and `newer` name the neighbours in the list of its
trader's bucket (`traders.py`), and in row 0 are anything; `special` says HAS_TERMS where there is a row of terms, and
HAS_WISHES where `flags` or `stp` are not 0."""
HAS_TERMS: Final = 1
HAS_WISHES: Final = 2

TERMS_DTYPE: Final = np.dtype(
    [
        ("order_id", "<i8"),
        ("trader_id", "<i8"),
        ("price_ticks", "<i8"),
        ("lots", "<i8"),
        ("hidden_lots", "<i8"),
        ("display_lots", "<i8"),
        ("trigger_ticks", "<i8"),
        ("worst_ticks", "<i8"),
        ("quote_lots", "<i8"),
        ("expires_ns", "<i8"),
        ("activation_ticks", "<i8"),
        ("extreme_ticks", "<i8"),
        ("callback_ppm", "<i4"),
        ("instrument_id", "<i4"),
        ("order_type", "u1"),
        ("time_in_force", "u1"),
        ("side", "u1"),
        ("flags", "u1"),
        ("stp", "u1"),
        ("trigger_source", "u1"),
        ("reserved", "u1", (2,)),
        ("end_place", "<u4"),
        ("reserved_words", "<u4", (3,)),
    ]
)
"""What a special order remembers beside its order row, at the same slot: icebergs, orders that end by time, that
wait for a trigger, or that follow a position. Row 0 describes the order that is coming in. `end_place` is where an
order stands among the `ends`."""

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

TRIGGER_ROWS: Final = 2 * (INSTRUMENT_ID_MAX + 1)
TRIGGERS: Final = 5
LAST_ABOVE, LAST_BELOW, MARK_ABOVE, MARK_BELOW, TRAILING = range(TRIGGERS)
"""Orders that wait stand in ladders of their own, at side row `TRIGGER_ROWS + TRIGGERS * instrument_id` and
one of these: keyed by trigger where they fire at or above it, by the flipped trigger where at or below, so that
the nearest trigger is the best level. Trailing stops stand in one queue, at the key TRAILING_KEY."""
TRAILING_KEY: Final = 1

INSTRUMENT_DTYPE: Final = np.dtype(
    {
        "names": [
            "trade_number",
            "last_price_ticks",
            "waiting_count",
            "special_count",
            "trailing_count",
            "state",
            "is_contract",
            "road",
            "mark_ticks",
            "reference_ticks",
            "auction_ticks",
            "auction_lots",
            "auction_surplus",
        ],
        "formats": ["<i8", "<i8", "<u4", "<u4", "<u4", "u1", "u1", "u1", "<i8", "<i8", "<i8", "<i8", "<i8"],
        "offsets": [0, 8, 16, 20, 24, 28, 29, 30, 32, 40, 48, 56, 64],
        "itemsize": 128,
    }
)
"""What a book knows beside its orders, at row `instrument_id`. A state of 0 is CONTINUOUS. `road`: RARE_ROAD where the
state, a contract or special makers demand it (Note [Two roads] in `apply.py`), and HAS_WAITING."""
RARE_ROAD: Final = 1
HAS_WAITING: Final = 2

POSITION_DTYPE: Final = np.dtype([("trader_id", "<i8"), ("lots", "<i8"), ("instrument_id", "<u4"), ("is_used", "<u4")])
"""Entry of the open-addressing table of net positions. Entries are never removed."""

TRADER_DTYPE: Final = np.dtype([("newest", "<u4")])
"""A bucket of traders: the slot of the order that any of them placed last."""

END_DTYPE: Final = np.dtype([("expires_ns", "<i8"), ("slot", "<u4"), ("reserved", "<u4")])
"""An order that ends by time, in a heap from row 1 on: row n ends no later than rows 2n and 2n + 1."""

FOUND_DTYPE: Final = np.dtype([("entry", "<i8"), ("slot", "<i8")])
"""An order found for a cancel of many; sorted by `entry`."""

INDEX_DTYPE: Final = np.dtype([("slot", "<u4"), ("tag", "<u4")])
"""Entry of the open-addressing table from order id to slot; 0 is free. See `index.py`."""

TAG_DTYPE: Final = np.dtype([("tag", "<u4")])
"""What the table of ids keeps of a command's order id, made for some commands beforehand."""


def _with_words(dtype: np.dtype[np.void], words: dict[str, tuple[str, int]]) -> np.dtype[np.void]:
    """Return a dtype with more fields, which lie over some of its own."""
    fields = {name: what[:2] for name, what in (dtype.fields or {}).items()} | {
        name: (np.dtype(form), offset) for name, (form, offset) in words.items()
    }
    formats, offsets = zip(*fields.values(), strict=True)
    return np.dtype({"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize})


COMMAND_WORDS: Final = _with_words(COMMAND_DTYPE, {"manner": ("<u8", 53)})
"""A command as the loops read it. `manner` is kind | side << 8 | order type << 16 | time in force << 24, then what is
read only where there are terms, and whether there are any << 56."""

EVENT_WORDS: Final = _with_words(EVENT_DTYPE, {"where": ("<u8", 112), "what": ("<u8", 120)})
"""An event as the loops write it. `where`: instrument | index << 32; `what`: kind | side << 8 | reason << 16."""

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
        ("position_count", "<i8"),
        ("end_used", "<i8"),
        ("event_count", "<i8"),
        ("first_event", "<i8"),
        ("unfinished", "<i8"),
        ("taking_lots", "<i8"),
        ("taking_budget", "<i8"),
        ("taking_left", "<i8"),
        ("taking_told", "<i8"),
        ("taking_stopped", "<i8"),
    ]
)
"""One row: where the shard is. `*_used` is the highest slot ever handed out; `*_free` the free list.

`end_used` is how many orders end by time. The rest holds a special command's
work: where its events stand, how many it has written when it had to stop for room (plus 1; 0 otherwise), and how
far its taker has come.
"""

ADDRESS_DTYPE: Final = np.dtype([("address", "<i8"), ("length", "<i8")])
"""Where an array is, and how many rows it has."""

ARRAYS: Final = {
    "state": STATE_DTYPE,
    "instruments": INSTRUMENT_DTYPE,
    "sides": SIDE_DTYPE,
    "orders": ORDER_DTYPE,
    "levels": LEVEL_DTYPE,
    "nodes": NODE_DTYPE,
    "index": INDEX_DTYPE,
    "terms": TERMS_DTYPE,
    "positions": POSITION_DTYPE,
    "found": FOUND_DTYPE,
    "traders": TRADER_DTYPE,
    "ends": END_DTYPE,
    "events": EVENT_WORDS,
}
"""All that the loops read and write, by name; in this order they stand among the addresses (Note [Addresses])."""

# What a call asks of Python before it goes on.
DONE: Final = 0
WANTS_ORDERS: Final = 1
WANTS_LEVELS: Final = 2
WANTS_NODES: Final = 3
WANTS_INDEX: Final = 4
WANTS_EVENTS: Final = 5
OUT_OF_SEQUENCE: Final = 6
WANTS_POSITIONS: Final = 7
WANTS_FOUND: Final = 8
TOO_NEW: Final = 9
WANTS_ENDS: Final = 10

# A call's result is one integer, for a tuple would cost more than matching an order:
# event count << COUNT_SHIFT | commands applied << POSITION_SHIFT | what is wanted.
POSITION_SHIFT: Final = 4
COUNT_SHIFT: Final = 28
COMMANDS_PER_CALL_MAX: Final = (1 << (COUNT_SHIFT - POSITION_SHIFT)) - 1
