"""The usual road of plain commands, with everything that may happen to them; Note [Two roads] in `apply.py`."""

from typing import Any

from matching_worker.book import index as order_index
from matching_worker.book.admission import RARER, missing_room, refusal
from matching_worker.book.books import tell, tell_command
from matching_worker.book.change import change
from matching_worker.book.compiled import called
from matching_worker.book.emit import fold_sum, sum_command
from matching_worker.book.handle import Books
from matching_worker.book.layout import DONE, HAS_WAITING, KEY_FLIP, NO_SLOT, OUT_OF_SEQUENCE, RARE_ROAD
from matching_worker.book.match import take
from matching_worker.book.positions import int64
from matching_worker.book.queue import entry_number, join
from matching_worker.book.special import apply_special
from matching_worker.protocol import (
    INSTRUMENT_ID_MAX,
    NO_LEVEL,
    CommandKind,
    EventKind,
    OrderType,
    Reason,
    Side,
    TimeInForce,
)

_PLACE = int(CommandKind.PLACE)
_BUY = int(Side.BUY)
_LIMIT, _GTC = int(OrderType.LIMIT), int(TimeInForce.GTC)
_RESTED, _CANCELLED, _REJECTED = int(EventKind.RESTED), int(EventKind.CANCELLED), int(EventKind.REJECTED)
_NONE, _IOC_REMAINDER = int(Reason.NONE), int(Reason.IOC_REMAINDER)
_UNKNOWN_ORDER, _NOT_OWNER = int(Reason.UNKNOWN_ORDER), int(Reason.NOT_OWNER)


@called
def _reject(books: Books, command: Any, slot: Any, reason: int) -> None:
    """Tell the refusal of a command; a resting order that it names keeps its lots."""
    left = int64(0)
    if command["kind"] != _PLACE and slot != NO_SLOT and reason not in (_UNKNOWN_ORDER, _NOT_OWNER):
        left = books.orders[slot]["open_lots"]
    tell_command(books, command, _REJECTED, reason, command["qty_lots"], left)


@called
def _execute(books: Books, command: Any, side: int, trader_id: int, tag: Any, rests: bool) -> None:  # noqa: FBT001
    """Trade an incoming order as far as its price reaches, then rest or cancel what is left.

    Args:
        side: The order's; an AMEND does not say it.
        tag: Of its id in the table of ids.
        rests: Whether what is left joins the book.
    """
    lots = take(books, command, side, trader_id)
    if lots == 0:
        return
    state, order_id, price_ticks = books.state[0], command["order_id"], command["price_ticks"]
    if not rests:
        tell(
            books, command, _CANCELLED, side, _IOC_REMAINDER, order_id, trader_id, price_ticks, lots, int64(0), NO_LEVEL
        )
        return
    side_row = 2 * int64(command["instrument_id"]) + side - 1
    _, level_lots = join(
        books.orders, books.levels, books.nodes, books.index, books.traders, state, books.sides[side_row], side_row,
        price_ticks ^ (KEY_FLIP if side == _BUY else 0), order_index.find(books.index, books.orders, tag, order_id),
        tag, order_id, trader_id, lots, entry_number(state["sequence"], state["event_count"] - state["first_event"]),
    )  # fmt: skip
    tell(books, command, _RESTED, side, _NONE, order_id, trader_id, price_ticks, lots, lots, level_lots)


@called
def _carry_out(books: Books, command: Any, slot: Any, place: Any, tag: Any, reason: int) -> bool:
    """Carry out a plain command that has been counted and has room, or tell its refusal.

    Args:
        slot: The order that it names, if that is there, and its `place` in the table of ids.
        tag: Of its order id in that table.
        reason: Why it is refused, or 0.

    Returns:
        Whether it may have traded.
    """
    if reason != _NONE:
        _reject(books, command, slot, reason)
        return False
    if command["kind"] == _PLACE:
        rests = command["order_type"] == _LIMIT and command["time_in_force"] == _GTC
        _execute(books, command, int64(command["side"]), command["trader_id"], tag, rests)
        return True
    trader_id, side, comes_back = change(books, command, slot, place)
    if comes_back:
        _execute(books, command, side, trader_id, tag, True)
    return comes_back


@called
def _apply_plain(books: Books, command: Any) -> Any:
    """Apply a command of the usual road; returns DONE, what must grow before it can, or RARER."""
    state, tag = books.state[0], order_index.tag_of(command["order_id"])
    place = order_index.find(books.index, books.orders, tag, command["order_id"])
    slot = books.index[place]["slot"]
    reason = refusal(command, state, books.orders, slot)
    if reason == RARER:
        return RARER
    outcome = missing_room(books, command)
    if outcome != DONE:
        return outcome
    state["sequence"] += 1
    state["time_ns"] = max(state["time_ns"], command["timestamp_ns"])
    state["state_hash"] = fold_sum(state["state_hash"], sum_command(command, state["time_ns"]))
    state["first_event"] = state["event_count"]
    traded = _carry_out(books, command, slot, place, tag, reason)
    if traded and books.instruments[command["instrument_id"]]["road"] & HAS_WAITING:
        # Its trades may let waiting orders fire: go on as a special command that has done its own step.
        state["unfinished"] = state["event_count"] - state["first_event"] + 1
        return apply_special(books, command)
    return DONE


@called
def _takes_usual_road(books: Books, command: Any) -> Any:
    """Tell whether neither a command nor its instrument has any demands."""
    is_known = 0 <= command["instrument_id"] <= INSTRUMENT_ID_MAX
    return is_known and not command["has_terms"] and not books.instruments[command["instrument_id"]]["road"] & RARE_ROAD


@called
def apply_slowly(books: Books, command: Any) -> Any:
    """Apply any command, or go on with it: returns DONE, or what must grow before it can. Note [Two roads]."""
    state = books.state[0]
    is_next = command["sequence"] == state["sequence"] + 1
    if not is_next and state["unfinished"] == 0:
        return OUT_OF_SEQUENCE
    outcome = RARER
    if is_next and _takes_usual_road(books, command):
        outcome = _apply_plain(books, command)
    if outcome == RARER:
        outcome = apply_special(books, command)
    if outcome == DONE:
        for row in range(state["first_event"], state["event_count"]):
            books.events[row]["state_hash"] = state["state_hash"]
    return outcome
