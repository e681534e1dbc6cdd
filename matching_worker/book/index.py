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
_ONE = np.uint64(1)


@inlined
def tag_of(order_id: int) -> Any:
    """Return the upper half of the id's hash. Source: MurmurHash3, function fmix64."""
    mixed = np.uint64(order_id)
    mixed = (mixed ^ (mixed >> _SHIFT)) * _MIX_A
    mixed = (mixed ^ (mixed >> _SHIFT)) * _MIX_B
    return np.uint32(mixed >> _HALF)


@inlined
def mask_of(index: Rows) -> Any:
    """Return what makes a place of any number; unsigned, so that nothing is counted from the end."""
    return np.uint64(len(index) - 1)


@inlined
def find(index: Rows, orders: Rows, tag: Any, order_id: int) -> Any:
    """Return the place of an order, or the free one where it would go."""
    mask = mask_of(index)
    place = np.uint64(tag) & mask
    slot = index[place]["slot"]
    while slot != NO_SLOT:
        if index[place]["tag"] == tag and orders[slot]["order_id"] == order_id:
            return place
        place = (place + _ONE) & mask
        slot = index[place]["slot"]
    return place


@inlined
def place_of(index: Rows, order_id: int, slot: Any) -> Any:
    """Return the place of an order that is in the table."""
    mask = mask_of(index)
    place = np.uint64(tag_of(order_id)) & mask
    while index[place]["slot"] != slot:
        place = (place + _ONE) & mask
    return place


@inlined
def put(index: Rows, place: Any, tag: Any, slot: Any) -> None:
    """Add an order at the free place where `find` has looked for it; nothing has left the table since."""
    index[place]["slot"] = slot
    index[place]["tag"] = tag


@inlined
def remove(index: Rows, gap: Any) -> None:
    """Take out the order at a place, and close the gap."""
    mask = mask_of(index)
    place = (gap + _ONE) & mask
    while index[place]["slot"] != NO_SLOT:
        home = np.uint64(index[place]["tag"]) & mask
        if ((place - home) & mask) >= ((place - gap) & mask):
            index[gap]["slot"] = index[place]["slot"]
            index[gap]["tag"] = index[place]["tag"]
            gap = place
        place = (place + _ONE) & mask
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
