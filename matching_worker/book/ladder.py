"""The price levels of one side of a book: find, open, close, and the next best. See Note [Ladder]."""

from typing import Any

import numpy as np

from matching_worker.book.compiled import inlined
from matching_worker.book.layout import FANOUT, FANOUT_BITS, NO_SLOT
from matching_worker.book.machine import lowest_bit
from matching_worker.protocol import Rows

_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_LOW_BITS = FANOUT - 1


@inlined
def find_level(nodes: Rows, side: Any, key: int) -> Any:
    """Return the level with this key, or NO_SLOT."""
    slot = side["root"]
    shift = FANOUT_BITS * np.int64(side["height"])
    if slot == NO_SLOT or (key >> shift) != side["prefix"]:
        return NO_SLOT
    while shift > 0 and slot != NO_SLOT:
        shift -= FANOUT_BITS
        slot = nodes[slot]["children"][(key >> shift) & _LOW_BITS]
    return slot


@inlined
def _take_node(nodes: Rows, state: Any) -> Any:
    """Hand out an empty node; its children are zero, for they are cleared one by one."""
    slot = state["node_free"]
    if slot != NO_SLOT:
        state["node_free"] = nodes[slot]["next_slot"]
    else:
        slot = np.uint32(state["node_used"] + 1)
        state["node_used"] = slot
    state["node_count"] += 1
    nodes[slot]["next_slot"] = NO_SLOT
    return slot


@inlined
def _free_node(nodes: Rows, state: Any, slot: Any) -> None:
    """Take an empty node back."""
    nodes[slot]["next_slot"] = state["node_free"]
    state["node_free"] = slot
    state["node_count"] -= 1


@inlined
def _attach(nodes: Rows, parent: Any, position: Any, child: Any) -> None:
    """Hang a node or level into `parent`."""
    nodes[parent]["children"][position] = child
    nodes[parent]["bitmap"] |= _ONE << np.uint64(position)


@inlined
def _grow_to_cover(nodes: Rows, state: Any, side: Any, key: int) -> None:
    """Put new roots above the old one until the tree covers `key`."""
    while (key >> (FANOUT_BITS * np.int64(side["height"]))) != side["prefix"]:
        root = _take_node(nodes, state)
        position = side["prefix"] & _LOW_BITS
        _attach(nodes, root, position, side["root"])
        nodes[side["root"]]["next_slot"] = root
        nodes[side["root"]]["position"] = np.uint32(position)
        side["root"] = root
        side["height"] += 1
        side["prefix"] >>= FANOUT_BITS


@inlined
def open_level(nodes: Rows, levels: Rows, state: Any, side: Any, key: int) -> Any:
    """Return a new, empty level for a key that has none. There must be room for it and its nodes."""
    if side["root"] == NO_SLOT:
        side["root"] = _take_node(nodes, state)
        side["height"] = np.uint32(1)
        side["prefix"] = key >> FANOUT_BITS
    _grow_to_cover(nodes, state, side, key)
    node = side["root"]
    shift = FANOUT_BITS * (np.int64(side["height"]) - 1)
    while shift > 0:
        position = (key >> shift) & _LOW_BITS
        child = nodes[node]["children"][position]
        if child == NO_SLOT:
            child = _take_node(nodes, state)
            _attach(nodes, node, position, child)
            nodes[child]["next_slot"] = node
            nodes[child]["position"] = np.uint32(position)
        node = child
        shift -= FANOUT_BITS

    slot = state["level_free"]
    if slot != NO_SLOT:
        state["level_free"] = levels[slot]["next_slot"]
    else:
        slot = np.uint32(state["level_used"] + 1)
        state["level_used"] = slot
    state["level_count"] += 1
    side["level_count"] += 1
    level = levels[slot]
    level["key"] = key
    level["next_slot"] = node
    _attach(nodes, node, key & _LOW_BITS, slot)
    if side["best_level"] == NO_SLOT or key < side["best_key"]:
        side["best_level"] = slot
        side["best_key"] = key
    return slot


@inlined
def _lowest(nodes: Rows, side: Any) -> Any:
    """Return the level with the smallest key of a tree that is not empty."""
    slot = side["root"]
    for _ in range(side["height"]):
        slot = nodes[slot]["children"][lowest_bit(nodes[slot]["bitmap"])]
    return slot


@inlined
def _sink_root(nodes: Rows, state: Any, side: Any) -> None:
    """Drop roots that have only one child, so that the tree is as low as its keys allow."""
    root = side["root"]
    bitmap = nodes[root]["bitmap"]
    while side["height"] > 1 and (bitmap & (bitmap - _ONE)) == _ZERO:
        position = lowest_bit(bitmap)
        child = nodes[root]["children"][position]
        nodes[root]["children"][position] = NO_SLOT
        nodes[root]["bitmap"] = _ZERO
        _free_node(nodes, state, root)
        nodes[child]["next_slot"] = NO_SLOT
        side["root"] = child
        side["height"] -= 1
        side["prefix"] = (side["prefix"] << FANOUT_BITS) | position
        root = child
        bitmap = nodes[root]["bitmap"]


@inlined
def close_level(nodes: Rows, levels: Rows, state: Any, side: Any, slot: Any) -> None:
    """Remove an empty level, the nodes it leaves empty, and find the next best level."""
    level = levels[slot]
    key = level["key"]
    leaf = level["next_slot"]
    position = key & _LOW_BITS
    nodes[leaf]["children"][position] = NO_SLOT
    bitmap = nodes[leaf]["bitmap"] & ~(_ONE << np.uint64(position))
    nodes[leaf]["bitmap"] = bitmap
    level["next_slot"] = state["level_free"]
    state["level_free"] = slot
    state["level_count"] -= 1
    side["level_count"] -= 1

    if bitmap != _ZERO:
        if side["best_level"] == slot:
            best = nodes[leaf]["children"][lowest_bit(bitmap)]
            side["best_level"] = best
            side["best_key"] = levels[best]["key"]
        return
    node = leaf
    while bitmap == _ZERO and node != NO_SLOT:
        parent = nodes[node]["next_slot"]
        position = np.int64(nodes[node]["position"])
        _free_node(nodes, state, node)
        node = parent
        if node != NO_SLOT:
            nodes[node]["children"][position] = NO_SLOT
            bitmap = nodes[node]["bitmap"] & ~(_ONE << np.uint64(position))
            nodes[node]["bitmap"] = bitmap
    if node == NO_SLOT:
        side["root"] = NO_SLOT
        side["height"] = np.uint32(0)
        side["best_level"] = NO_SLOT
        return
    _sink_root(nodes, state, side)
    if side["best_level"] == slot:
        best = _lowest(nodes, side)
        side["best_level"] = best
        side["best_key"] = levels[best]["key"]
