"""Cancelling many orders with one command: all of a trader or an instrument, or those whose time is over."""

from typing import Any

from matching_worker.book.books import Books, cancel, has_terms, instrument_of
from matching_worker.book.compiled import called
from matching_worker.book.layout import NO_SLOT, TRIGGER_ROWS
from matching_worker.book.positions import int64
from matching_worker.protocol import OrderFlag

BY_TRADER, BY_TIME, BY_POSITION = range(3)
"""What a search looks for: a trader's or an instrument's orders, orders that end, orders sized by a position."""
_SIZED = int(OrderFlag.REDUCE_ONLY | OrderFlag.CLOSE_POSITION)


@called
def _is_wanted(books: Books, slot: int, what: int, trader_id: int, instrument_id: int, time_ns: int) -> Any:
    """Tell whether a search wants an order."""
    order = books.orders[slot]
    if order["level"] == NO_SLOT:
        return False
    if what == BY_TIME:
        expires_ns = books.terms[slot]["expires_ns"] if has_terms(order) else 0
        return 0 < expires_ns <= time_ns
    side_row = int64(order["side_row"])
    own_instrument = instrument_of(side_row)
    if what == BY_POSITION:
        return own_instrument == instrument_id and side_row < TRIGGER_ROWS and (order["flags"] & _SIZED) != 0
    return (trader_id in (0, order["trader_id"])) and (instrument_id in (0, own_instrument))


@called
def _sift(books: Books, root: int, count: int) -> None:
    """Let one entry of a heap sink to its place."""
    found = books.found
    while True:
        child = 2 * root + 1
        if child >= count:
            return
        if child + 1 < count and found[child + 1]["entry"] > found[child]["entry"]:
            child += 1
        if found[root]["entry"] >= found[child]["entry"]:
            return
        entry, slot = found[root]["entry"], found[root]["slot"]
        found[root]["entry"], found[root]["slot"] = found[child]["entry"], found[child]["slot"]
        found[child]["entry"], found[child]["slot"] = entry, slot
        root = child


@called
def search(books: Books, what: int, trader_id: int, instrument_id: int, time_ns: int) -> Any:
    """Find orders and sort them by their entry; nothing changes.

    Looks at every order row, in memory order: faster than following queues, and bounded by OPEN_ORDERS_MAX.

    Returns:
        How many there are; more than `books.found` has rows means that it must grow first.
    """
    found = books.found
    count = 0
    for slot in range(1, int64(books.state[0]["order_used"]) + 1):
        if _is_wanted(books, slot, what, trader_id, instrument_id, time_ns):
            if count < len(found):
                found[count]["entry"] = books.orders[slot]["entry"]
                found[count]["slot"] = slot
            count += 1
    if count > len(found):
        return count
    for root in range(count // 2 - 1, -1, -1):
        _sift(books, root, count)
    for end in range(count - 1, 0, -1):
        entry, slot = found[0]["entry"], found[0]["slot"]
        found[0]["entry"], found[0]["slot"] = found[end]["entry"], found[end]["slot"]
        found[end]["entry"], found[end]["slot"] = entry, slot
        _sift(books, 0, end)
    return count


@called
def cancel_found(books: Books, command: Any, count: int, reason: int) -> None:
    """Cancel the orders that `search` found."""
    for row in range(count):
        cancel(books, command, books.found[row]["slot"], reason)


@called
def renew_next_end(books: Books) -> None:
    """Find the earliest end of any order, after some have ended."""
    earliest = int64(0)
    for slot in range(1, int64(books.state[0]["order_used"]) + 1):
        order = books.orders[slot]
        if order["level"] != NO_SLOT and has_terms(order):
            expires_ns = books.terms[slot]["expires_ns"]
            if expires_ns > 0 and (earliest == 0 or expires_ns < earliest):
                earliest = expires_ns
    books.state[0]["next_expiry_ns"] = earliest
