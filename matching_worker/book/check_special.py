"""Re-deriving what special orders, instruments and positions keep: the part of `check.py` for the rarer road."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt

from exchange.kernel.errors import require
from matching_worker.book.arrays import BookArrays
from matching_worker.book.layout import (
    HAS_TERMS,
    HAS_WAITING,
    HAS_WISHES,
    KEY_FLIP,
    MARK_ABOVE,
    RARE_ROAD,
    TRAILING,
    TRAILING_KEY,
    TRIGGER_ROWS,
    TRIGGERS,
)
from matching_worker.book.positions import place_of
from matching_worker.protocol import POSITION_LOTS_MAX, QTY_LOTS_MAX, OrderFlag, TradingState

Slots = npt.NDArray[np.int64]

_SIZED = int(OrderFlag.REDUCE_ONLY | OrderFlag.CLOSE_POSITION)


class SpecialCheck:
    """One walk over the orders that `BookCheck` has found in queues.

    Attributes:
        waiting: Waiting orders by instrument; `special` resting ones with terms; `trailing` trailing stops.
    """

    def __init__(self, arrays: BookArrays, slots: set[int]) -> None:
        self.arrays = arrays
        self.slots = slots
        self.waiting: Counter[int] = Counter()
        self.special: Counter[int] = Counter()
        self.trailing: Counter[int] = Counter()

    def run(self) -> None:
        """Check everything.

        Raises:
            InvariantViolationError: The first difference, in words.
        """
        slots = np.array(sorted(self.slots), np.int64)
        ends = {slot: self._check_order(slot) for slot in self._without_the_plain(slots)}
        state = self.arrays.state[0]
        require(int(state["unfinished"]) == 0, "a command is unfinished")
        self._check_ends({slot: expires_ns for slot, expires_ns in ends.items() if expires_ns > 0})
        entries = self.arrays.orders["entry"][slots]
        require(len(np.unique(entries)) == len(self.slots), "two orders entered as one")
        self._check_traders(slots)
        self._check_instruments()
        self._check_positions()

    def _check_traders(self, slots: Slots) -> None:
        """The lists of traders' orders: each order in that of its bucket, between a newer and an older one.

        Since entries fall along every list, and each list's first order is its bucket's, no order can be missing.
        """
        orders, newest = self.arrays.orders, self.arrays.traders["newest"]
        older, newer, entries = (orders[name] for name in ("older", "newer", "entry"))
        hashed = orders["trader_id"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        buckets = (hashed >> np.uint64(32)) & np.uint64(len(newest) - 1)
        has_older, has_newer = slots[older[slots] != 0], slots[newer[slots] != 0]
        after, before = older[has_older], newer[has_newer]
        first = slots[newer[slots] == 0]
        require(bool(np.all(newest[buckets[first]] == first)), "a trader's newest order is not the first of its list")
        require(bool(np.all(newer[after] == has_older)), "an order does not name the newer one of its trader")
        require(bool(np.all(older[before] == has_newer)), "an order does not name the older one of its trader")
        require(bool(np.all(entries[after] < entries[has_older])), "an older order of a trader is newer")
        require(bool(np.all(buckets[after] == buckets[has_older])), "an order stands in another trader's list")
        require(np.count_nonzero(newest) == len(first), "a bucket of traders names no open order")
        require(bool(np.all(orders["level"][after] != 0)), "a trader's list holds an order that is gone")

    def _check_ends(self, expected: dict[int, int]) -> None:
        """The heap of ends: each order that has one, at the place it names; none ends before the one above it."""
        used = int(self.arrays.state["end_used"][0])
        slots, times = (self.arrays.ends[name][: used + 1].tolist() for name in ("slot", "expires_ns"))
        require(dict(zip(slots[1:], times[1:], strict=True)) == expected, f"the orders that end are not {expected}")
        require(used == len(expected), f"{used} orders end instead of {len(expected)}")
        for place in range(1, used + 1):
            named = int(self.arrays.terms["end_place"][slots[place]])
            require(named == place, f"order slot {slots[place]} does not name its place {place} among the ends")
            require(place == 1 or times[place >> 1] <= times[place], f"the end at {place} comes before the one above")

    def _without_the_plain(self, slots: Slots) -> list[int]:
        """Return the orders that have something to check: nearly all are plain, with no mark and no wish."""
        orders = self.arrays.orders[slots]
        has_any = (orders["special"] | orders["flags"] | orders["stp"]) != 0
        return slots[has_any | (orders["side_row"] >= TRIGGER_ROWS)].tolist()  # type: ignore[no-any-return]

    def _check_order(self, slot: int) -> int:
        """One order and its terms; returns when it ends, 0 for never."""
        order, terms = self.arrays.orders[slot], self.arrays.terms[slot]
        side_row, marks = int(order["side_row"]), int(order["special"])
        has_wishes = bool(order["flags"] or order["stp"])
        require(bool(marks & HAS_WISHES) == has_wishes, f"order slot {slot}: HAS_WISHES is wrong")
        waits = side_row >= TRIGGER_ROWS
        if not marks & HAS_TERMS:
            require(not waits and not int(order["flags"]) & _SIZED, f"order slot {slot} has no terms")
            return 0
        for name in ("order_id", "trader_id", "flags", "stp"):
            require(order[name] == terms[name], f"order slot {slot}: its terms have another {name}")
        hidden, display = int(terms["hidden_lots"]), int(terms["display_lots"])
        total = hidden + int(order["open_lots"])
        require(hidden >= 0 and total <= QTY_LOTS_MAX, f"order slot {slot} hides {hidden} lots")
        if waits:
            self._check_waiting(slot, side_row, order, terms)
        else:
            instrument_id = side_row >> 1
            require(instrument_id == int(terms["instrument_id"]), f"order slot {slot}: terms of another instrument")
            require(hidden == 0 or int(order["open_lots"]) <= display, f"order slot {slot} shows more than {display}")
            self.special[instrument_id] += 1
        return int(terms["expires_ns"])

    def _check_waiting(self, slot: int, side_row: int, order: Any, terms: Any) -> None:
        """One waiting order: it stands in the ladder of its trigger."""
        instrument_id, kind = divmod(side_row - TRIGGER_ROWS, TRIGGERS)
        require(instrument_id == int(terms["instrument_id"]), f"order slot {slot}: terms of another instrument")
        self.waiting[instrument_id] += 1
        key = TRAILING_KEY
        if kind == TRAILING:
            self.trailing[instrument_id] += 1
        else:
            key = int(terms["trigger_ticks"]) ^ (KEY_FLIP if kind & 1 else 0)
            watches_mark = bool(terms["trigger_source"])
            require(watches_mark == (kind >= MARK_ABOVE), f"order slot {slot} watches another price")
        require(int(self.arrays.levels["key"][order["level"]]) == key, f"order slot {slot} waits at another trigger")

    def _check_instruments(self) -> None:
        """What each instrument counts, and which road its commands take."""
        instruments = self.arrays.instruments
        for name, counted in (
            ("waiting_count", self.waiting),
            ("special_count", self.special),
            ("trailing_count", self.trailing),
        ):
            kept = {int(row): int(instruments[name][row]) for row in np.flatnonzero(instruments[name])}
            require(kept == dict(counted), f"{name} is not {dict(counted)}")
        stops = ~np.isin(instruments["state"], [0, int(TradingState.CONTINUOUS)])
        rare = stops | (instruments["is_contract"] != 0) | (instruments["special_count"] > 0)
        road = np.where(rare, RARE_ROAD, 0) | np.where(instruments["waiting_count"] > 0, HAS_WAITING, 0)
        require(bool(np.array_equal(road, instruments["road"])), "an instrument takes the wrong road")

    def _check_positions(self) -> None:
        """The table of positions: each entry where a probe finds it, and counted."""
        positions = self.arrays.positions
        places = np.flatnonzero(positions["is_used"]).tolist()
        require(2 * len(places) <= len(positions), "the table of positions is more than half full")
        require(int(self.arrays.state[0]["position_count"]) == len(places), f"position_count is not {len(places)}")
        for place in places:
            row = positions[place]
            found = place_of(positions, int(row["trader_id"]), int(row["instrument_id"]))
            require(found == place, f"a probe for the position at {place} ends at {found}")
            require(abs(int(row["lots"])) <= 2 * POSITION_LOTS_MAX, f"the position at {place} is too large")
