"""What the steps of the rarer road share: the arrays as one tuple, telling events, joining and leaving."""

from typing import Any

import numpy as np

from matching_worker.book import index as order_index
from matching_worker.book.compiled import called, inlined
from matching_worker.book.emit import emit, fold_sum
from matching_worker.book.ends import add_end, remove_end
from matching_worker.book.handle import Books
from matching_worker.book.layout import (
    HAS_TERMS,
    HAS_WAITING,
    HAS_WISHES,
    KEY_FLIP,
    NO_SLOT,
    RARE_ROAD,
    TRAILING,
    TRIGGER_ROWS,
    TRIGGERS,
)
from matching_worker.book.positions import int64
from matching_worker.book.queue import entry_number, join, leave
from matching_worker.protocol import NO_LEVEL, EventKind, OrderFlag, Side, TradingState

_BUY = int(Side.BUY)
_CANCELLED = int(EventKind.CANCELLED)
_CONTINUOUS = int(TradingState.CONTINUOUS)
_SIZED = int(OrderFlag.REDUCE_ONLY | OrderFlag.CLOSE_POSITION)
_ONE = np.uint8(1)


@called
def tell(  # noqa: PLR0917 - Note [Plain arguments] in `emit.py`
    books: Books,
    command: Any,
    kind: int,
    side: int,
    reason: int,
    order_id: int,
    trader_id: int,
    price_ticks: int,
    qty_lots: int,
    left_lots: int,
    level_lots: int,
) -> Any:
    """Write the command's next event and fold it into the hash; returns its row."""
    state = books.state[0]
    count = state["event_count"]
    total = emit(
        books.events[count],
        command,
        state["time_ns"],
        count - state["first_event"],
        kind,
        side,
        reason,
        order_id,
        trader_id,
        price_ticks,
        qty_lots,
        left_lots,
        level_lots,
    )
    state["state_hash"] = fold_sum(state["state_hash"], total)
    state["event_count"] = count + 1
    return count


@called
def tell_command(books: Books, command: Any, kind: int, reason: int, qty_lots: int, left_lots: int) -> None:
    """Tell an event that repeats what the command said and touches no level."""
    tell(
        books,
        command,
        kind,
        int64(command["side"]),
        reason,
        command["order_id"],
        command["trader_id"],
        command["price_ticks"],
        qty_lots,
        left_lots,
        NO_LEVEL,
    )


@inlined
def instrument_of(side_row: int) -> Any:
    """Return the instrument of a row of `sides`."""
    if side_row < TRIGGER_ROWS:
        return side_row >> 1
    return (side_row - TRIGGER_ROWS) // TRIGGERS


@inlined
def has_terms(order: Any) -> Any:
    """Tell whether an order has a row of terms."""
    return (order["special"] & HAS_TERMS) != 0


@inlined
def is_waiting(order: Any) -> Any:
    """Tell whether an order waits for its trigger."""
    return order["side_row"] >= TRIGGER_ROWS


@called
def total_lots(books: Books, slot: int) -> Any:
    """Return all open lots of an order, an iceberg's hidden part included."""
    order = books.orders[slot]
    return order["open_lots"] + (books.terms[slot]["hidden_lots"] if has_terms(order) else 0)


@called
def side_of(books: Books, slot: int) -> Any:
    """Return the side of a resting or waiting order."""
    side_row = int64(books.orders[slot]["side_row"])
    if side_row < TRIGGER_ROWS:
        return (side_row & 1) + 1
    return int64(books.terms[slot]["side"])


@called
def price_of(books: Books, slot: int) -> Any:
    """Return the price of a resting or waiting order."""
    order = books.orders[slot]
    if is_waiting(order):
        return books.terms[slot]["price_ticks"]
    flip = KEY_FLIP if int64(order["side_row"]) & 1 == 0 else 0
    return books.levels[order["level"]]["key"] ^ flip


@called
def renew_road(instrument: Any) -> None:
    """Note whether the instrument's commands must take the rarer road, and whether orders wait there."""
    state = instrument["state"]
    usual = (state in (0, _CONTINUOUS)) and not instrument["is_contract"] and instrument["special_count"] == 0
    waits = instrument["waiting_count"] > 0
    instrument["road"] = np.uint8((0 if usual else RARE_ROAD) | (HAS_WAITING if waits else 0))


@called
def enter(books: Books, side_row: int, key: int, shown_lots: int, hidden_lots: int) -> Any:
    """Put the incoming order (row 0 of the terms) at the back of a queue. Returns its slot."""
    taker = books.terms[0]
    tag = order_index.tag_of(taker["order_id"])
    slot, _ = join(
        books.orders,
        books.levels,
        books.nodes,
        books.index,
        books.traders,
        books.state[0],
        books.sides[side_row],
        side_row,
        key,
        order_index.find(books.index, books.orders, tag, taker["order_id"]),
        tag,
        taker["order_id"],
        taker["trader_id"],
        shown_lots,
        int64(0),
    )
    state, order = books.state[0], books.orders[slot]
    order["entry"] = entry_number(state["sequence"], state["event_count"] - state["first_event"])
    instrument = books.instruments[taker["instrument_id"]]
    order["stp"] = taker["stp"]
    order["flags"] = taker["flags"]
    has_wishes = taker["flags"] != 0 or taker["stp"] != 0
    if has_wishes:
        order["special"] = np.uint8(HAS_WISHES)
    waits = side_row >= TRIGGER_ROWS
    if waits or taker["display_lots"] > 0 or taker["expires_ns"] > 0 or taker["flags"] & _SIZED:
        order["special"] = np.uint8(HAS_TERMS | (HAS_WISHES if has_wishes else 0))
        books.terms[slot] = taker
        books.terms[slot]["hidden_lots"] = hidden_lots
        if taker["expires_ns"] > 0:
            add_end(books, int64(slot))
        if not waits:
            instrument["special_count"] += 1
    if waits:
        instrument["waiting_count"] += 1
        if side_row == TRIGGER_ROWS + TRIGGERS * taker["instrument_id"] + TRAILING:
            instrument["trailing_count"] += 1
    renew_road(instrument)
    return slot


@called
def depart(books: Books, slot: int) -> Any:
    """Take an order out of its queue. Returns what stands at its price then, NO_LEVEL where it waited."""
    order = books.orders[slot]
    side_row = int64(order["side_row"])
    instrument_id = instrument_of(side_row)
    instrument = books.instruments[instrument_id]
    waits = side_row >= TRIGGER_ROWS
    was_special = has_terms(order)
    place = order_index.place_of(books.index, order["order_id"], slot)
    state, side = books.state[0], books.sides[side_row]
    if was_special and books.terms[slot]["expires_ns"] > 0:
        remove_end(books, slot)
    level_lots = leave(books.orders, books.levels, books.nodes, books.index, books.traders, state, side, slot, place)
    if waits:
        instrument["waiting_count"] -= 1
        if side_row == TRIGGER_ROWS + TRIGGERS * instrument_id + TRAILING:
            instrument["trailing_count"] -= 1
        renew_road(instrument)
        return NO_LEVEL
    if was_special:
        instrument["special_count"] -= 1
        renew_road(instrument)
    return level_lots


@called
def cancel(books: Books, command: Any, slot: int, reason: int) -> None:
    """Cancel a resting or waiting order, whatever its instrument."""
    order = books.orders[slot]
    instrument_id = instrument_of(int64(order["side_row"]))
    order_id, trader_id = order["order_id"], order["trader_id"]
    side, price_ticks, lots = side_of(books, slot), price_of(books, slot), total_lots(books, slot)
    level_lots = depart(books, slot)
    row = tell(books, command, _CANCELLED, side, reason, order_id, trader_id, price_ticks, lots, 0, level_lots)
    books.events[row]["instrument_id"] = np.int32(instrument_id)


@called
def tell_resting(books: Books, command: Any, kind: int, reason: int, slot: int, qty_lots: int) -> None:
    """Tell an event about a resting order of the command's instrument."""
    order = books.orders[slot]
    tell(
        books,
        command,
        kind,
        side_of(books, slot),
        reason,
        order["order_id"],
        order["trader_id"],
        price_of(books, slot),
        qty_lots,
        total_lots(books, slot),
        NO_LEVEL if is_waiting(order) else books.levels[order["level"]]["open_lots"],
    )


@called
def tell_taker(books: Books, command: Any, kind: int, reason: int, qty_lots: int, left_lots: int) -> None:
    """Tell an event about the incoming order that touches no level."""
    taker = books.terms[0]
    tell(
        books,
        command,
        kind,
        int64(taker["side"]),
        reason,
        taker["order_id"],
        taker["trader_id"],
        taker["price_ticks"],
        qty_lots,
        left_lots,
        NO_LEVEL,
    )


@called
def best_price(books: Books, side_row: int) -> Any:
    """Return the price a taker meets first on a side, 0 where the side is empty."""
    side = books.sides[side_row]
    if side["best_level"] == NO_SLOT:
        return 0
    return side["best_key"] ^ (KEY_FLIP if side_row & 1 == 0 else 0)


@called
def limit_key(books: Books) -> Any:
    """Return the worst price the incoming order may trade at, as a key of the makers' side."""
    taker = books.terms[0]
    limit = taker["price_ticks"]
    if taker["side"] == _BUY:
        if taker["worst_ticks"] > 0:
            limit = min(limit, taker["worst_ticks"])
        return limit
    if taker["worst_ticks"] > 0:
        limit = max(limit, taker["worst_ticks"])
    return limit ^ KEY_FLIP


@called
def crosses(books: Books) -> Any:
    """Tell whether the incoming order would trade on arrival."""
    taker = books.terms[0]
    maker_side = books.sides[(2 * int64(taker["instrument_id"]) + taker["side"] - 1) ^ 1]
    return maker_side["best_level"] != NO_SLOT and maker_side["best_key"] <= limit_key(books)
