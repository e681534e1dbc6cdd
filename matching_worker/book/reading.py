"""Looking into the books without changing them: levels in order of preference, and single orders."""

from typing import Any

import numpy as np

from matching_worker.book import index as order_index
from matching_worker.book.compiled import entry, inlined
from matching_worker.book.ladder import find_level
from matching_worker.book.layout import FANOUT, KEY_FLIP, NO_SLOT
from matching_worker.book.machine import lowest_bit
from matching_worker.protocol import Rows

_LOW_BITS = FANOUT - 1
_ONE = np.uint64(1)
_ZERO = np.uint64(0)


@inlined
def _bits_above(bitmap: Any, position: Any) -> Any:
    """Return the bitmap without its bits at and below `position`."""
    return bitmap & ~(((_ONE << np.uint64(position)) << _ONE) - _ONE)


@inlined
def next_level(nodes: Rows, levels: Rows, slot: Any) -> Any:
    """Return the level with the next larger key, or NO_SLOT."""
    node = levels[slot]["next_slot"]
    later = _bits_above(nodes[node]["bitmap"], levels[slot]["key"] & _LOW_BITS)
    climbed = 0
    while later == _ZERO:
        parent = nodes[node]["next_slot"]
        if parent == NO_SLOT:
            return NO_SLOT
        later = _bits_above(nodes[parent]["bitmap"], np.int64(nodes[node]["position"]))
        node = parent
        climbed += 1
    found = nodes[node]["children"][lowest_bit(later)]
    for _ in range(climbed):
        found = nodes[found]["children"][lowest_bit(nodes[found]["bitmap"])]
    return found


@entry
def read_levels(sides: Rows, levels: Rows, nodes: Rows, side_row: int, depth: Rows) -> int:
    """Copy a side's levels, best first, until they or the rows of `depth` run out.

    Args:
        sides: (side_count,) SIDE_DTYPE.
        levels: (level_capacity,) LEVEL_DTYPE.
        nodes: (node_capacity,) NODE_DTYPE.
        side_row: Row of `sides`; even rows are buys.
        depth: (depth_max, 3) int64. Receives price in ticks, open lots, number of orders.

    Returns:
        Number of rows written.
    """
    flip = KEY_FLIP if side_row & 1 == 0 else 0
    slot = sides[side_row]["best_level"]
    count = 0
    while slot != NO_SLOT and count < len(depth):
        depth[count, 0] = levels[slot]["key"] ^ flip
        depth[count, 1] = levels[slot]["open_lots"]
        depth[count, 2] = levels[slot]["order_count"]
        count += 1
        slot = next_level(nodes, levels, slot)
    return count


@entry
def read_queue(
    sides: Rows, orders: Rows, levels: Rows, nodes: Rows, side_row: int, price_ticks: int, order_ids: Rows
) -> int:
    """Copy the ids of the orders at one price, oldest first.

    Args:
        sides: (side_count,) SIDE_DTYPE.
        orders: (order_capacity,) ORDER_DTYPE.
        levels: (level_capacity,) LEVEL_DTYPE.
        nodes: (node_capacity,) NODE_DTYPE.
        side_row: Row of `sides`; even rows are buys.
        price_ticks: 1..PRICE_TICKS_MAX.
        order_ids: (order_count_max,) int64. Receives the ids; room for all orders of the side.

    Returns:
        Number of ids written.
    """
    flip = KEY_FLIP if side_row & 1 == 0 else 0
    level_slot = find_level(nodes, sides[side_row], price_ticks ^ flip)
    count = 0
    if level_slot != NO_SLOT:
        slot = levels[level_slot]["head"]
        while slot != NO_SLOT:
            order_ids[count] = orders[slot]["order_id"]
            count += 1
            slot = orders[slot]["next_slot"]
    return count


@entry
def locate(index: Rows, orders: Rows, order_id: int) -> int:
    """Return the slot of a resting order, or 0."""
    place = order_index.find(index, orders, order_index.tag_of(order_id), order_id)
    return np.int64(index[place]["slot"])  # type: ignore[return-value]
