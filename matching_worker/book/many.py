"""Cancelling many orders with one command: all of a trader or an instrument, or those whose time is over.

Each search looks at the orders that it finds and at few others, changes nothing, and leaves what it found in `found`,
in the order in which the orders entered. It returns how many there are; when that is more than `found` has rows, they
were not written, and there must be more rows before it is asked again.
"""

from typing import Any

from matching_worker.book.books import cancel, instrument_of
from matching_worker.book.compiled import called
from matching_worker.book.ends import find_ended
from matching_worker.book.handle import Books
from matching_worker.book.layout import NO_SLOT, TRIGGER_ROWS, TRIGGERS
from matching_worker.book.positions import int64
from matching_worker.book.reading import next_level
from matching_worker.book.traders import bucket_of
from matching_worker.protocol import OrderFlag

_SIZED = int(OrderFlag.REDUCE_ONLY | OrderFlag.CLOSE_POSITION)


@called
def _note(books: Books, count: int, slot: int) -> Any:
    """Write an order to a row of `found`, if there is one; returns the number of the next."""
    if count < len(books.found):
        books.found[count]["slot"] = slot
        books.found[count]["entry"] = books.orders[slot]["entry"]
    return count + 1


@called
def _sift(books: Books, root: int, count: int) -> None:
    """Let one entry of a heap sink to its place."""
    found = books.found
    entry, slot = found[root]["entry"], found[root]["slot"]
    while 2 * root + 1 < count:
        child = 2 * root + 1
        if child + 1 < count and found[child + 1]["entry"] > found[child]["entry"]:
            child += 1
        if entry >= found[child]["entry"]:
            break
        found[root] = found[child]
        root = child
    found[root]["entry"], found[root]["slot"] = entry, slot


@called
def _sort(books: Books, count: int) -> Any:
    """Sort what was found by entry, unless it was too much; returns how much it was."""
    found = books.found
    if count > len(found):
        return count
    for root in range(count // 2 - 1, -1, -1):
        _sift(books, root, count)
    for end in range(count - 1, 0, -1):
        entry, slot = found[0]["entry"], found[0]["slot"]
        found[0] = found[end]
        found[end]["entry"], found[end]["slot"] = entry, slot
        _sift(books, 0, end)
    return count


@called
def _find_of_trader(books: Books, trader_id: int, instrument_id: int) -> Any:
    """Find a trader's orders, in an instrument or, for 0, in any: they stand in a list, newest first."""
    orders, found = books.orders, books.found
    count = int64(0)
    slot = books.traders[bucket_of(books.traders, trader_id)]["newest"]
    while slot != NO_SLOT:
        order = orders[slot]
        in_instrument = instrument_id in (0, instrument_of(int64(order["side_row"])))
        if order["trader_id"] == trader_id and in_instrument:
            count = _note(books, count, slot)
        slot = order["older"]
    if count <= len(found):
        for row in range(count // 2):
            other = count - 1 - row
            first = found[row]["slot"]
            found[row]["slot"] = found[other]["slot"]
            found[other]["slot"] = first
    return count


@called
def _find_at(books: Books, side_row: int, count: int, flags: int) -> Any:
    """Find the orders of one ladder, or, when flags are given, those which have any of them."""
    level_slot = books.sides[side_row]["best_level"]
    while level_slot != NO_SLOT:
        slot = books.levels[level_slot]["head"]
        while slot != NO_SLOT:
            if flags == 0 or books.orders[slot]["flags"] & flags:
                count = _note(books, count, slot)
            slot = books.orders[slot]["next_slot"]
        level_slot = next_level(books.nodes, books.levels, level_slot)
    return count


@called
def _find_in_instrument(books: Books, instrument_id: int) -> Any:
    """Find an instrument's resting and waiting orders."""
    count = int64(0)
    for side_row in range(2 * instrument_id, 2 * instrument_id + 2):
        count = _find_at(books, side_row, count, 0)
    if books.instruments[instrument_id]["waiting_count"] > 0:
        first = TRIGGER_ROWS + TRIGGERS * instrument_id
        for side_row in range(first, first + TRIGGERS):
            count = _find_at(books, side_row, count, 0)
    return _sort(books, count)


@called
def find_all(books: Books, trader_id: int, instrument_id: int) -> Any:
    """Find the orders of a trader, of an instrument, or of both; 0 stands for any."""
    if trader_id != 0:
        return _find_of_trader(books, trader_id, instrument_id)
    if instrument_id != 0:
        return _find_in_instrument(books, instrument_id)
    count = int64(0)
    for slot in range(1, int64(books.state[0]["order_used"]) + 1):
        if books.orders[slot]["level"] != NO_SLOT:
            count = _note(books, count, slot)
    return _sort(books, count)


@called
def find_expired(books: Books, time_ns: int) -> Any:
    """Find the orders whose time is over."""
    count = find_ended(books, time_ns)
    if count <= len(books.found):
        for row in range(count):
            books.found[row]["entry"] = books.orders[books.found[row]["slot"]]["entry"]
    return _sort(books, count)


@called
def find_sized(books: Books, instrument_id: int) -> Any:
    """Find the orders of a contract that rest and are sized by a position."""
    count = int64(0)
    for side_row in range(2 * instrument_id, 2 * instrument_id + 2):
        count = _find_at(books, side_row, count, _SIZED)
    return _sort(books, count)


@called
def cancel_found(books: Books, command: Any, count: int, reason: int) -> None:
    """Cancel the orders that were found, the oldest first."""
    for row in range(count):
        cancel(books, command, books.found[row]["slot"], reason)
