"""From order id to slot in O(1): an open-addressing table with linear probing, kept half empty.

An entry carries 32 bits of the id's hash beside the slot: the table can be probed, and entries can
be moved, without touching the orders. Removal moves later entries back into the gap, so there are no
tombstones and a probe ends at the first free entry however long the engine has been running.
"""

from typing import Any

import numpy as np

from matching_worker.book.compiled import entry, inlined
from matching_worker.book.layout import NO_SLOT
from matching_worker.protocol import Rows

_MIX_A = np.uint64(0xFF51AFD7ED558CCD)
_MIX_B = np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)
_HALF = np.uint64(32)


@inlined
def tag_of(order_id: int) -> Any:
    """Return the upper half of the id's hash. Source: MurmurHash3, function fmix64."""
    mixed = np.uint64(order_id)
    mixed = (mixed ^ (mixed >> _SHIFT)) * _MIX_A
    mixed = (mixed ^ (mixed >> _SHIFT)) * _MIX_B
    return np.uint32(mixed >> _HALF)


@inlined
def find(index: Rows, orders: Rows, order_id: int) -> Any:
    """Return the slot of a resting order, or NO_SLOT."""
    mask = len(index) - 1
    tag = tag_of(order_id)
    place = np.int64(tag) & mask
    slot = index[place]["slot"]
    while slot != NO_SLOT:
        if index[place]["tag"] == tag and orders[slot]["order_id"] == order_id:
            return slot
        place = (place + 1) & mask
        slot = index[place]["slot"]
    return slot


@inlined
def insert(index: Rows, order_id: int, slot: Any) -> None:
    """Add an order that is not in the table; there must be a free entry."""
    mask = len(index) - 1
    tag = tag_of(order_id)
    place = np.int64(tag) & mask
    while index[place]["slot"] != NO_SLOT:
        place = (place + 1) & mask
    index[place]["slot"] = slot
    index[place]["tag"] = tag


@inlined
def remove(index: Rows, order_id: int, slot: Any) -> None:
    """Take out an order that is in the table, and close the gap."""
    mask = len(index) - 1
    gap = np.int64(tag_of(order_id)) & mask
    while index[gap]["slot"] != slot:
        gap = (gap + 1) & mask
    place = (gap + 1) & mask
    while index[place]["slot"] != NO_SLOT:
        home = np.int64(index[place]["tag"]) & mask
        if ((place - home) & mask) >= ((place - gap) & mask):
            index[gap]["slot"] = index[place]["slot"]
            index[gap]["tag"] = index[place]["tag"]
            gap = place
        place = (place + 1) & mask
    index[gap]["slot"] = NO_SLOT


@entry
def rebuild(index: Rows, larger: Rows) -> None:
    """Copy every entry of a table into a larger, empty one.

    Args:
        index: (old_size,) INDEX_DTYPE.
        larger: (new_size,) INDEX_DTYPE, zeroed; sizes are powers of two.
    """
    mask = len(larger) - 1
    for place in range(len(index)):
        if index[place]["slot"] != NO_SLOT:
            target = np.int64(index[place]["tag"]) & mask
            while larger[target]["slot"] != NO_SLOT:
                target = (target + 1) & mask
            larger[target]["slot"] = index[place]["slot"]
            larger[target]["tag"] = index[place]["tag"]
