"""The open orders of each trader: lists that every order joins and leaves in O(1), newest first.

Traders share buckets, as many as there is room for orders, so that no trader has to be looked up, added or removed: a
list holds the orders of all traders of its bucket, which on average is one. Row 0 of the orders stands for "none" at
both ends of every list; what is written there is never read.
"""

from typing import Any

import numpy as np

from matching_worker.book.compiled import entry, inlined
from matching_worker.book.layout import NO_SLOT
from matching_worker.protocol import Rows

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@inlined
def bucket_of(traders: Rows, trader_id: int) -> Any:
    """Return a trader's row. Source: Knuth, The Art of Computer Programming 3, 6.4: multiplicative hashing."""
    return ((np.uint64(trader_id) * _SPREAD) >> _HALF) & np.uint64(len(traders) - 1)


@inlined
def enlist(orders: Rows, traders: Rows, slot: Any, trader_id: int) -> None:
    """Put an order that has just been placed before the others of its trader."""
    bucket = bucket_of(traders, trader_id)
    older = traders[bucket]["newest"]
    orders[slot]["older"] = older
    orders[slot]["newer"] = NO_SLOT
    orders[older]["newer"] = slot
    traders[bucket]["newest"] = slot


@inlined
def delist(orders: Rows, traders: Rows, slot: Any) -> None:
    """Take an order out of its trader's list."""
    order = orders[slot]
    older, newer = order["older"], order["newer"]
    orders[older]["newer"] = newer
    orders[newer]["older"] = older
    if newer == NO_SLOT:
        traders[bucket_of(traders, order["trader_id"])]["newest"] = older


@entry
def rebuild_traders(orders: Rows, traders: Rows, larger: Rows) -> None:
    """Spread every list over a table of twice the size; each keeps its order.

    Args:
        orders: (order_capacity,) ORDER_DTYPE.
        traders: (old_size,) TRADER_DTYPE.
        larger: (new_size,) TRADER_DTYPE, zeroed; sizes are powers of two.
    """
    for bucket in range(len(traders)):
        slot = traders[bucket]["newest"]
        last, last_above = NO_SLOT, NO_SLOT
        while slot != NO_SLOT:
            order = orders[slot]
            after = order["older"]
            target = bucket_of(larger, order["trader_id"])
            stays = target == np.uint64(bucket)
            newer = last if stays else last_above
            order["newer"] = newer
            order["older"] = NO_SLOT
            if newer == NO_SLOT:
                larger[target]["newest"] = slot
            else:
                orders[newer]["older"] = slot
            if stays:
                last = slot
            else:
                last_above = slot
            slot = after
