"""The orders that end by time, soonest first: a heap in which each order knows its place, so that any can leave."""

from typing import Any

import numpy as np

from matching_worker.book.compiled import called
from matching_worker.book.handle import Books
from matching_worker.book.positions import int64


@called
def _place(books: Books, place: int, expires_ns: int, slot: int) -> None:
    """Write a row of the heap."""
    end = books.ends[place]
    end["expires_ns"] = expires_ns
    end["slot"] = np.uint32(slot)
    books.terms[slot]["end_place"] = np.uint32(place)


@called
def _settle(books: Books, place: int, expires_ns: int, slot: int) -> None:
    """Put an order into the heap at a free place, or where it belongs above or below it."""
    ends, used = books.ends, books.state[0]["end_used"]
    while place > 1 and ends[place >> 1]["expires_ns"] > expires_ns:
        above = ends[place >> 1]
        _place(books, place, above["expires_ns"], int64(above["slot"]))
        place >>= 1
    while 2 * place <= used:
        child = 2 * place
        if child < used and ends[child + 1]["expires_ns"] < ends[child]["expires_ns"]:
            child += 1
        below = ends[child]
        if below["expires_ns"] >= expires_ns:
            break
        _place(books, place, below["expires_ns"], int64(below["slot"]))
        place = child
    _place(books, place, expires_ns, slot)


@called
def add_end(books: Books, slot: int) -> None:
    """Note when an order ends; there must be room."""
    state = books.state[0]
    state["end_used"] += 1
    _settle(books, int64(state["end_used"]), books.terms[slot]["expires_ns"], slot)


@called
def remove_end(books: Books, slot: int) -> None:
    """Forget an order that has gone before its end, or at it."""
    state = books.state[0]
    place, last = int64(books.terms[slot]["end_place"]), int64(state["end_used"])
    expires_ns, moved = books.ends[last]["expires_ns"], int64(books.ends[last]["slot"])
    state["end_used"] = last - 1
    if place != last:
        _settle(books, place, expires_ns, moved)


@called
def find_ended(books: Books, time_ns: int) -> Any:
    """Write the slots of the orders that have ended to `found`, in no order; nothing changes.

    Only they and their neighbours in the heap are looked at.

    Returns:
        How many there are; more than `found` has rows means that there are at least so many.
    """
    ends, found, used = books.ends, books.found, books.state[0]["end_used"]
    count = row = int64(0)
    if used > 0 and ends[1]["expires_ns"] <= time_ns:
        found[0]["slot"] = 1
        count += 1
    while row < count <= len(found):
        first = 2 * found[row]["slot"]
        for place in range(first, min(first + 2, used + 1)):
            if ends[place]["expires_ns"] <= time_ns:
                if count < len(found):
                    found[count]["slot"] = place
                count += 1
        row += 1
    if count <= len(found):
        for row in range(count):
            found[row]["slot"] = int64(ends[found[row]["slot"]]["slot"])
    return count
