"""Re-deriving everything that the loops keep up to date, from the order rows alone.

Slow and plain: it walks every queue, level, node and table entry and stops at the first difference.
Tests run it after every kind of change; an operator can run it on a snapshot.
"""

from typing import Final

import numpy as np

from exchange.kernel.errors import require
from matching_worker.book.arrays import BookArrays
from matching_worker.book.check_special import SpecialCheck
from matching_worker.book.index import tag_of
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


class BookCheck:
    """One walk over a shard's arrays.

    Attributes:
        orders_seen: Slots of all resting orders found in queues.
        levels_seen: Slots of all levels found in ladders.
        nodes_seen: Slots of all nodes found in ladders.
    """

    def __init__(self, arrays: BookArrays) -> None:
        self.arrays = arrays
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
        for side_row in [*np.flatnonzero(books["root"]).tolist(), *waiting_rows]:
            if self.arrays.sides[side_row]["root"] != _NOTHING:
                self._check_side(side_row)
        empty = books[books["root"] == _NOTHING]
        for name in ("best_level", "height", "level_count", "order_count"):
            require(not empty[name].any(), f"a side without levels has {name}")
        state = self.arrays.state[0]
        for name, seen, rows in (
            ("order", self.orders_seen, self.arrays.orders),
            ("level", self.levels_seen, self.arrays.levels),
            ("node", self.nodes_seen, self.arrays.nodes),
        ):
            require(int(state[f"{name}_count"]) == len(seen), f"{name}_count is not {len(seen)}")
            self._check_free_list(name, seen, rows)
        require(len(self.orders_seen) <= OPEN_ORDERS_MAX, "more open orders than allowed")
        self._check_index()
        SpecialCheck(self.arrays, self.orders_seen).run()

    def _check_free_list(self, name: str, seen: set[int], rows: Rows) -> None:
        """Every slot ever used is either in a book or in the free list, once."""
        state = self.arrays.state[0]
        used = int(state[f"{name}_used"])
        free: set[int] = set()
        slot = int(state[f"{name}_free"])
        while slot != _NOTHING:
            require(slot not in free, f"{name} slot {slot} is in the free list twice")
            require(slot not in seen, f"{name} slot {slot} is free and in a book")
            free.add(slot)
            require(
                name != "order" or int(rows[slot]["level"]) == _NOTHING, f"order slot {slot} is free and has a level"
            )
            slot = int(rows[slot]["next_slot"])
        require(used < len(rows), f"{name} slots were used beyond the array")
        require(free | seen == set(range(1, used + 1)), f"{name} slots are lost")

    def _check_side(self, side_row: int) -> None:
        """One side: its ladder in key order, its best level, its counts."""
        side = self.arrays.sides[side_row]
        height = int(side["height"])
        root = int(side["root"])
        require(1 <= height <= HEIGHT_MAX, f"side {side_row} has a ladder of height {height}")
        require(int(self.arrays.nodes[root]["next_slot"]) == _NOTHING, f"side {side_row}: root has a parent")
        if height > 1:
            children = np.count_nonzero(self.arrays.nodes[root]["children"])
            require(children > 1, f"side {side_row}: the ladder is higher than its keys need")
        levels = self._walk_node(root, height - 1, int(side["prefix"]))
        require(int(side["level_count"]) == len(levels), f"side {side_row}: level_count is not {len(levels)}")
        require(int(side["best_level"]) == levels[0], f"side {side_row}: best_level is not the first level")
        best_key = int(self.arrays.levels[levels[0]]["key"])
        require(int(side["best_key"]) == best_key, f"side {side_row}: best_key is not {best_key}")
        order_count = sum(self._check_queue(level, side_row) for level in levels)
        require(int(side["order_count"]) == order_count, f"side {side_row}: order_count is not {order_count}")

    def _walk_node(self, slot: int, height: int, prefix: int) -> list[int]:
        """Return the levels below a node, in key order; `prefix` is what their keys begin with."""
        require(slot not in self.nodes_seen, f"node {slot} hangs in two places")
        self.nodes_seen.add(slot)
        node = self.arrays.nodes[slot]
        bitmap = int(node["bitmap"])
        require(bitmap != 0, f"node {slot} is empty")
        found: list[int] = []
        for position in range(FANOUT):
            child = int(node["children"][position])
            has_bit = bitmap >> position & 1 == 1
            require(has_bit == (child != _NOTHING), f"node {slot}: bit {position} and its child differ")
            if child == _NOTHING:
                continue
            key = prefix << FANOUT_BITS | position
            if height == 0:
                level = self.arrays.levels[child]
                require(int(level["key"]) == key, f"level {child}: key is not {key}")
                require(0 < key < 1 << KEY_BITS, f"level {child}: key {key} is out of range")
                require(int(level["next_slot"]) == slot, f"level {child} does not name leaf {slot}")
                require(child not in self.levels_seen, f"level {child} hangs in two places")
                self.levels_seen.add(child)
                found.append(child)
            else:
                below = self.arrays.nodes[child]
                require(int(below["next_slot"]) == slot, f"node {child} does not name parent {slot}")
                require(int(below["position"]) == position, f"node {child}: position is not {position}")
                found += self._walk_node(child, height - 1, key)
        return found

    def _check_queue(self, level_slot: int, side_row: int) -> int:
        """One queue: links in both directions, totals. Returns its number of orders."""
        level = self.arrays.levels[level_slot]
        before, slot, lots, count = _NOTHING, int(level["head"]), 0, 0
        require(slot != _NOTHING, f"level {level_slot} is empty")
        while slot != _NOTHING:
            require(slot not in self.orders_seen, f"order slot {slot} stands in two places")
            self.orders_seen.add(slot)
            order = self.arrays.orders[slot]
            require(int(order["previous_slot"]) == before, f"order slot {slot}: previous is not {before}")
            require(int(order["level"]) == level_slot, f"order slot {slot} does not name level {level_slot}")
            require(int(order["side_row"]) == side_row, f"order slot {slot} does not name side {side_row}")
            open_lots = int(order["open_lots"])
            require(0 < open_lots <= QTY_LOTS_MAX, f"order slot {slot} has {open_lots} open lots")
            lots += open_lots
            count += 1
            before, slot = slot, int(order["next_slot"])
        require(int(level["tail"]) == before, f"level {level_slot}: tail is not {before}")
        require(int(level["open_lots"]) == lots, f"level {level_slot}: open_lots is not {lots}")
        require(int(level["order_count"]) == count, f"level {level_slot}: order_count is not {count}")
        return count

    def _check_index(self) -> None:
        """The table from order id to slot: exactly the resting orders, each where a probe finds it."""
        index = self.arrays.index
        mask = len(index) - 1
        require(len(index) & mask == 0, "the table's size is not a power of two")
        places = np.flatnonzero(index["slot"]).tolist()
        require(2 * len(places) <= len(index), "the table is more than half full")
        require({int(index["slot"][place]) for place in places} == self.orders_seen, "the table's orders differ")
        require(len(places) == len(self.orders_seen), "an order is in the table twice")
        ids = {int(self.arrays.orders["order_id"][slot]) for slot in self.orders_seen}
        require(len(ids) == len(self.orders_seen), "two resting orders have one id")
        for place in places:
            order_id = int(self.arrays.orders["order_id"][index["slot"][place]])
            tag = int(tag_of(order_id))
            require(int(index["tag"][place]) == tag, f"order {order_id} has another tag in the table")
            home = tag & mask
            gap = np.flatnonzero(index["slot"][home:place] == _NOTHING) if home <= place else None
            if gap is None:
                around = np.concatenate([index["slot"][home:], index["slot"][:place]])
                gap = np.flatnonzero(around == _NOTHING)
            require(len(gap) == 0, f"a probe for order {order_id} ends before it is found")


def check(arrays: BookArrays) -> None:
    """Check every invariant of a shard's arrays.

    Raises:
        InvariantViolationError: The first difference, in words.
    """
    BookCheck(arrays).run()
