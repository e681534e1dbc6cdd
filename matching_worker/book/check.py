"""Re-deriving everything that the loops keep up to date, from the order rows alone.

Slow and plain: it walks every queue, level, node and table entry and stops at the first difference.
Tests run it after every kind of change; an operator can run it on a snapshot.
"""

from typing import Final

import numpy as np

from exchange.kernel.errors import InvariantViolationError, require
from matching_worker.book.arrays import BookArrays
from matching_worker.book.check_special import SpecialCheck
from matching_worker.book.layout import (
    FANOUT,
    FANOUT_BITS,
    HEIGHT_MAX,
    KEY_BITS,
    NO_SLOT,
    TRIGGER_ROWS,
    TRIGGERS,
)
from matching_worker.protocol import OPEN_ORDERS_MAX, QTY_LOTS_MAX, Rows

_NOTHING: Final = int(NO_SLOT)


class Columns:
    """The rows of an array that have ever been used, as lists by field: far quicker to walk than the array."""

    def __init__(self, rows: Rows, used: int, *names: str) -> None:
        self._columns: dict[str, list[int]] = {name: rows[name][: used + 1].tolist() for name in names}

    def __getitem__(self, name: str) -> list[int]:
        """Return a field's values, by slot."""
        return self._columns[name]


class BookCheck:
    """One walk over a shard's arrays.

    Attributes:
        orders, levels, nodes: The arrays' fields, by slot.
        orders_seen: Slots of all resting orders found in queues.
        levels_seen: Slots of all levels found in ladders.
        nodes_seen: Slots of all nodes found in ladders.
    """

    def __init__(self, arrays: BookArrays) -> None:
        self.arrays = arrays
        state = arrays.state[0]
        for name in ("order", "level", "node"):
            used, rows = int(state[f"{name}_used"]), getattr(arrays, f"{name}s")
            require(used < len(rows), f"{name} slots were used beyond the array")
        links = "next_slot", "previous_slot", "level", "side_row", "open_lots", "order_id"
        self.orders = Columns(arrays.orders, state["order_used"], *links)
        counts = "next_slot", "key", "head", "tail", "open_lots", "order_count"
        self.levels = Columns(arrays.levels, state["level_used"], *counts)
        self.nodes = Columns(arrays.nodes, state["node_used"], "next_slot", "position", "bitmap")
        self.orders_seen: set[int] = set()
        self.levels_seen: set[int] = set()
        self.nodes_seen: set[int] = set()

    def run(self) -> None:
        """Check everything.

        Raises:
            InvariantViolationError: The first difference, in words.
        """
        books = self.arrays.sides[:TRIGGER_ROWS]
        waiting_rows = [
            TRIGGER_ROWS + TRIGGERS * instrument_id + kind
            for instrument_id in np.flatnonzero(self.arrays.instruments["waiting_count"]).tolist()
            for kind in range(TRIGGERS)
        ]
        self._check_bitmaps()
        for side_row in [*np.flatnonzero(books["root"]).tolist(), *waiting_rows]:
            if self.arrays.sides[side_row]["root"] != _NOTHING:
                self._check_side(side_row)
        empty = books[books["root"] == _NOTHING]
        for name in ("best_level", "height", "level_count", "order_count"):
            require(not empty[name].any(), f"a side without levels has {name}")
        state = self.arrays.state[0]
        for name, seen, rows in (
            ("order", self.orders_seen, self.orders),
            ("level", self.levels_seen, self.levels),
            ("node", self.nodes_seen, self.nodes),
        ):
            require(int(state[f"{name}_count"]) == len(seen), f"{name}_count is not {len(seen)}")
            self._check_free_list(name, seen, rows)
        require(len(self.orders_seen) <= OPEN_ORDERS_MAX, "more open orders than allowed")
        self._check_index()
        SpecialCheck(self.arrays, self.orders_seen).run()

    def _check_free_list(self, name: str, seen: set[int], rows: Columns) -> None:
        """Every slot ever used is either in a book or in the free list, once."""
        state = self.arrays.state[0]
        after = rows["next_slot"]
        free: set[int] = set()
        slot = int(state[f"{name}_free"])
        while slot != _NOTHING:
            if slot in free or slot in seen:
                require(slot not in free, f"{name} slot {slot} is in the free list twice")
                require(False, f"{name} slot {slot} is free and in a book")
            free.add(slot)
            if name == "order" and rows["level"][slot] != _NOTHING:
                require(False, f"order slot {slot} is free and has a level")
            slot = after[slot]
        require(free | seen == set(range(1, len(after))), f"{name} slots are lost")

    def _check_bitmaps(self) -> None:
        """Each node has a bit for each child, and no other."""
        nodes = self.arrays.nodes[: len(self.nodes["bitmap"])]
        has_bit = nodes["bitmap"][:, None] >> np.arange(FANOUT, dtype=np.uint64) & np.uint64(1) == 1
        differ = np.argwhere(has_bit != (nodes["children"] != _NOTHING)).tolist()
        slot, position = differ[0] if differ else (0, 0)
        require(not differ, f"node {slot}: bit {position} and its child differ")

    def _check_side(self, side_row: int) -> None:
        """One side: its ladder in key order, its best level, its counts."""
        side = self.arrays.sides[side_row]
        height = int(side["height"])
        root = int(side["root"])
        require(1 <= height <= HEIGHT_MAX, f"side {side_row} has a ladder of height {height}")
        require(self.nodes["next_slot"][root] == _NOTHING, f"side {side_row}: root has a parent")
        if height > 1:
            children = self.nodes["bitmap"][root].bit_count()
            require(children > 1, f"side {side_row}: the ladder is higher than its keys need")
        levels = self._walk_node(root, height - 1, int(side["prefix"]))
        require(int(side["level_count"]) == len(levels), f"side {side_row}: level_count is not {len(levels)}")
        require(int(side["best_level"]) == levels[0], f"side {side_row}: best_level is not the first level")
        best_key = self.levels["key"][levels[0]]
        require(int(side["best_key"]) == best_key, f"side {side_row}: best_key is not {best_key}")
        order_count = sum(self._check_queue(level, side_row) for level in levels)
        require(int(side["order_count"]) == order_count, f"side {side_row}: order_count is not {order_count}")

    def _walk_node(self, slot: int, height: int, prefix: int) -> list[int]:
        """Return the levels below a node, in key order; `prefix` is what their keys begin with."""
        require(slot not in self.nodes_seen, f"node {slot} hangs in two places")
        self.nodes_seen.add(slot)
        require(self.nodes["bitmap"][slot] != 0, f"node {slot} is empty")
        found: list[int] = []
        children = self.arrays.nodes["children"][slot]
        for position in np.flatnonzero(children).tolist():
            child = int(children[position])
            key = prefix << FANOUT_BITS | position
            if height == 0:
                require(self.levels["key"][child] == key, f"level {child}: key is not {key}")
                require(0 < key < 1 << KEY_BITS, f"level {child}: key {key} is out of range")
                require(self.levels["next_slot"][child] == slot, f"level {child} does not name leaf {slot}")
                require(child not in self.levels_seen, f"level {child} hangs in two places")
                self.levels_seen.add(child)
                found.append(child)
            else:
                require(self.nodes["next_slot"][child] == slot, f"node {child} does not name parent {slot}")
                require(self.nodes["position"][child] == position, f"node {child}: position is not {position}")
                found += self._walk_node(child, height - 1, key)
        return found

    def _check_queue(self, level_slot: int, side_row: int) -> int:
        """One queue: links in both directions, totals. Returns its number of orders."""
        orders, levels, seen = self.orders, self.levels, self.orders_seen
        after, previous, side_rows = orders["next_slot"], orders["previous_slot"], orders["side_row"]
        level_of, open_lots = orders["level"], orders["open_lots"]
        before, slot, lots, count = _NOTHING, levels["head"][level_slot], 0, 0
        require(slot != _NOTHING, f"level {level_slot} is empty")
        while slot != _NOTHING:
            has = open_lots[slot]
            if (slot in seen, previous[slot], level_of[slot], side_rows[slot]) != (False, before, level_slot, side_row):
                self._name_difference(slot, before, level_slot, side_row)
            if not 0 < has <= QTY_LOTS_MAX:
                require(False, f"order slot {slot} has {has} open lots")
            seen.add(slot)
            lots += has
            count += 1
            before, slot = slot, after[slot]
        require(levels["tail"][level_slot] == before, f"level {level_slot}: tail is not {before}")
        require(levels["open_lots"][level_slot] == lots, f"level {level_slot}: open_lots is not {lots}")
        require(levels["order_count"][level_slot] == count, f"level {level_slot}: order_count is not {count}")
        return count

    def _name_difference(self, slot: int, before: int, level_slot: int, side_row: int) -> None:
        """Say what is wrong with an order of a queue; the words are made only when they are needed."""
        orders = self.orders
        require(slot not in self.orders_seen, f"order slot {slot} stands in two places")
        require(orders["previous_slot"][slot] == before, f"order slot {slot}: previous is not {before}")
        require(orders["level"][slot] == level_slot, f"order slot {slot} does not name level {level_slot}")
        require(orders["side_row"][slot] == side_row, f"order slot {slot} does not name side {side_row}")

    def _check_index(self) -> None:
        """The table from order id to slot: exactly the resting orders, each where a probe finds it."""
        index = self.arrays.index
        mask = len(index) - 1
        require(len(index) & mask == 0, "the table's size is not a power of two")
        places = np.flatnonzero(index["slot"])
        slots = index["slot"][places]
        require(2 * len(places) <= len(index), "the table is more than half full")
        require(set(slots.tolist()) == self.orders_seen, "the table's orders differ")
        require(len(places) == len(self.orders_seen), "an order is in the table twice")
        ids = self.arrays.orders["order_id"][slots]
        require(len(np.unique(ids)) == len(ids), "two resting orders have one id")
        wrong = ids[index["tag"][places] != tags_of(ids)]
        require(len(wrong) == 0, f"order {wrong[:1]} has another tag in the table")
        # Twice around, so that a run of used places that goes past the end is whole in the second round.
        around = np.tile(index["slot"] == _NOTHING, 2)
        last_gap = np.maximum.accumulate(np.where(around, np.arange(len(around)), -1))[len(index) :]
        probed = (places - tags_of(ids).astype(np.int64)) & mask
        lost = ids[places + len(index) - probed <= last_gap[places]]
        require(len(lost) == 0, f"a probe for order {lost[:1]} ends before it is found")


def tags_of(order_ids: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
    """Return what the table of ids should keep of each. Source: MurmurHash3, function fmix64."""
    mixed = order_ids.astype(np.uint64)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    return (mixed >> np.uint64(32)).astype(np.uint32)


def check(arrays: BookArrays) -> None:
    """Check every invariant of a shard's arrays.

    Raises:
        InvariantViolationError: The first difference, in words.
    """
    try:
        BookCheck(arrays).run()
    except IndexError as error:
        raise InvariantViolationError("a link names a slot that was never used") from error
