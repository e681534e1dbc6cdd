"""Orders that wait for a price: stops, take-profits and trailing stops.

Note [Order of firing]
    After each command, and after each order that fired, the next one is looked for anew: an order that
    watches the last price before one that watches the mark price, one that fires at or above its trigger
    before one that fires at or below, the nearest trigger first, then the one that has waited longest.
    Trailing stops come after these, in the order in which they entered. What an order trades moves the
    last price, so that cascades happen; each order fires once, which bounds them.
"""

from typing import Any

from matching_worker.book.books import depart, enter, tell_resting, tell_taker
from matching_worker.book.compiled import called, inlined
from matching_worker.book.handle import Books
from matching_worker.book.layout import (
    KEY_FLIP,
    LAST_ABOVE,
    LAST_BELOW,
    MARK_ABOVE,
    NO_SLOT,
    TRAILING,
    TRAILING_KEY,
    TRIGGER_ROWS,
    TRIGGERS,
)
from matching_worker.book.positions import int64
from matching_worker.book.trade import execute_with_terms
from matching_worker.protocol import EventKind, OrderType, Reason, Side, TradingState

_SELL, _BUY = int(Side.SELL), int(Side.BUY)
_TRAILING_STOP = int(OrderType.TRAILING_STOP)
_TAKE_PROFIT, _TAKE_PROFIT_LIMIT = int(OrderType.TAKE_PROFIT), int(OrderType.TAKE_PROFIT_LIMIT)
_CONTINUOUS = int(TradingState.CONTINUOUS)
_RESTED, _TRIGGERED = int(EventKind.RESTED), int(EventKind.TRIGGERED)
_WAITING = int(Reason.WAITING)
_MILLION = 1_000_000


@inlined
def is_continuous(instrument: Any) -> Any:
    """Tell whether an instrument trades."""
    return instrument["state"] in (0, _CONTINUOUS)


@called
def watched(books: Books, instrument_id: int, source: int) -> Any:
    """Return the price that a trigger watches, 0 when there is none yet."""
    instrument = books.instruments[instrument_id]
    return instrument["mark_ticks"] if source != 0 else instrument["last_price_ticks"]


@inlined
def fires_above(terms: Any) -> Any:
    """Tell whether an order fires at or above its trigger rather than at or below."""
    takes_profit = terms["order_type"] in (_TAKE_PROFIT, _TAKE_PROFIT_LIMIT)
    return (terms["side"] == _BUY) != takes_profit


@called
def follow(terms: Any, price_ticks: int) -> None:
    """Let a trailing stop follow the price it watches."""
    is_sell = terms["side"] == _SELL
    extreme, activation = terms["extreme_ticks"], terms["activation_ticks"]
    if extreme > 0:
        extreme = max(extreme, price_ticks) if is_sell else min(extreme, price_ticks)
    elif activation == 0 or (price_ticks >= activation if is_sell else price_ticks <= activation):
        extreme = int64(price_ticks)
    terms["extreme_ticks"] = extreme
    if extreme > 0:
        distance = max(1, extreme * terms["callback_ppm"] // _MILLION)
        terms["trigger_ticks"] = extreme - distance if is_sell else extreme + distance


@called
def is_through(terms: Any, price_ticks: int) -> Any:
    """Tell whether the price an order watches has reached its trigger."""
    if price_ticks == 0 or (terms["order_type"] == _TRAILING_STOP and terms["extreme_ticks"] == 0):
        return False
    trigger = terms["trigger_ticks"]
    return price_ticks >= trigger if fires_above(terms) else price_ticks <= trigger


@called
def fire(books: Books, command: Any) -> None:
    """Let the incoming order (row 0 of the terms) do what it was waiting for."""
    taker = books.terms[0]
    price_ticks = taker["price_ticks"]
    taker["price_ticks"] = taker["trigger_ticks"]
    tell_taker(books, command, _TRIGGERED, 0, taker["lots"], taker["lots"])
    taker["price_ticks"] = price_ticks
    execute_with_terms(books, command)


@called
def is_due(books: Books) -> Any:
    """Tell whether the incoming order, which has a trigger, fires at once; a trailing stop begins to follow."""
    taker = books.terms[0]
    instrument_id = int64(taker["instrument_id"])
    price_ticks = watched(books, instrument_id, taker["trigger_source"])
    if taker["order_type"] == _TRAILING_STOP and price_ticks > 0:
        follow(taker, price_ticks)
    return is_continuous(books.instruments[instrument_id]) and is_through(taker, price_ticks)


@called
def wait_or_fire(books: Books, command: Any) -> None:
    """Let the incoming order wait, or fire at once when its trigger is already through."""
    taker = books.terms[0]
    if is_due(books):
        fire(books, command)
        return
    kind, key = TRAILING, int64(TRAILING_KEY)
    if taker["order_type"] != _TRAILING_STOP:
        is_above = fires_above(taker)
        kind = (LAST_ABOVE if is_above else LAST_BELOW) + (MARK_ABOVE if taker["trigger_source"] != 0 else 0)
        key = taker["trigger_ticks"] ^ (0 if is_above else KEY_FLIP)
    lots = taker["lots"]
    slot = enter(books, TRIGGER_ROWS + TRIGGERS * int64(taker["instrument_id"]) + kind, key, lots, 0)
    tell_resting(books, command, _RESTED, _WAITING, slot, lots)


@called
def _follow_all(books: Books, instrument_id: int) -> None:
    """Let an instrument's trailing stops follow the prices they watch; it has some."""
    first = TRIGGER_ROWS + TRIGGERS * instrument_id
    slot = books.levels[books.sides[first + TRAILING]["best_level"]]["head"]
    while slot != NO_SLOT:
        price_ticks = watched(books, instrument_id, books.terms[slot]["trigger_source"])
        if price_ticks > 0:
            follow(books.terms[slot], price_ticks)
        slot = books.orders[slot]["next_slot"]


@called
def _first_trailing(books: Books, instrument_id: int) -> Any:
    """Return the oldest trailing stop whose trigger has been reached, or NO_SLOT; there are some."""
    first = TRIGGER_ROWS + TRIGGERS * instrument_id
    slot = books.levels[books.sides[first + TRAILING]["best_level"]]["head"]
    while slot != NO_SLOT:
        terms = books.terms[slot]
        if is_through(terms, watched(books, instrument_id, terms["trigger_source"])):
            return slot
        slot = books.orders[slot]["next_slot"]
    return NO_SLOT


@called
def next_to_fire(books: Books, instrument_id: int) -> Any:
    """Return the slot of the order that fires next, or NO_SLOT; Note [Order of firing]."""
    instrument = books.instruments[instrument_id]
    if instrument["waiting_count"] == 0 or not is_continuous(instrument):
        return NO_SLOT
    if instrument["trailing_count"] > 0:
        _follow_all(books, instrument_id)
    for kind in range(TRAILING):
        side = books.sides[TRIGGER_ROWS + TRIGGERS * instrument_id + kind]
        price_ticks = watched(books, instrument_id, 1 if kind >= MARK_ABOVE else 0)
        if side["best_level"] != NO_SLOT and price_ticks > 0:
            reached = price_ticks if kind & 1 == 0 else price_ticks ^ KEY_FLIP
            if side["best_key"] <= reached:
                return books.levels[side["best_level"]]["head"]
    return _first_trailing(books, instrument_id) if instrument["trailing_count"] > 0 else NO_SLOT


@called
def bring_back(books: Books, slot: int) -> None:
    """Describe a waiting order as the incoming one; it still waits."""
    books.terms[0] = books.terms[slot]
    books.terms[0]["lots"] = books.orders[slot]["open_lots"]


@called
def fire_waiting(books: Books, command: Any, slot: int) -> None:
    """Let the waiting order that `bring_back` described fire."""
    depart(books, slot)
    fire(books, command)
