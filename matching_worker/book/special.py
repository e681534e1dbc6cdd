"""Carrying out one command of the rarer road, from its refusal to the last order that it causes to fire.

Note [Stopping for room]
    A command can cause more than its arrays have room for: orders that fire cause others to fire. Its own step asks
    for room before anything has changed. Each order that fires does so too; when there is none, the command stops
    between two of them, says in `state.unfinished` how many events it has written, and goes on there.
"""

from typing import Any

import numpy as np

from matching_worker.book import index as order_index
from matching_worker.book.auction import tell_auction, trade_at, uncrossing
from matching_worker.book.books import (
    cancel,
    depart,
    has_terms,
    instrument_of,
    is_waiting,
    price_of,
    renew_road,
    side_of,
    tell,
    tell_command,
    tell_resting,
    total_lots,
)
from matching_worker.book.compiled import called
from matching_worker.book.emit import fold_sum, sum_command, sum_terms
from matching_worker.book.handle import Books
from matching_worker.book.layout import (
    DONE,
    NO_SLOT,
    NODES_PER_LEVEL_MAX,
    TOO_NEW,
    WANTS_ENDS,
    WANTS_EVENTS,
    WANTS_FOUND,
    WANTS_INDEX,
    WANTS_LEVELS,
    WANTS_NODES,
    WANTS_ORDERS,
    WANTS_POSITIONS,
)
from matching_worker.book.many import cancel_found, find_all, find_expired, find_sized
from matching_worker.book.positions import int64, move_position
from matching_worker.book.rules import (
    amend_refusal,
    describe,
    place_refusal,
    state_refusal,
    system_refusal,
    terms_refusal,
)
from matching_worker.book.trade import EVENTS_BESIDE_MAKERS, execute_with_terms, survey
from matching_worker.book.waiting import bring_back, fire_waiting, next_to_fire, wait_or_fire
from matching_worker.protocol import (
    ENGINE_VERSION,
    INSTRUMENT_ID_MAX,
    CommandKind,
    EventKind,
    OrderFlag,
    OrderType,
    Reason,
    TimeInForce,
    TradingState,
)

_PLACE, _CANCEL, _REDUCE = int(CommandKind.PLACE), int(CommandKind.CANCEL), int(CommandKind.REDUCE)
_AMEND, _CANCEL_ALL, _SET_STATE = int(CommandKind.AMEND), int(CommandKind.CANCEL_ALL), int(CommandKind.SET_STATE)
_TIME, _MARK_PRICE, _LAST_PRICE = int(CommandKind.TIME), int(CommandKind.MARK_PRICE), int(CommandKind.LAST_PRICE)
_ADJUST, _BARRIER, _UNCROSS = int(CommandKind.POSITION_ADJUST), int(CommandKind.BARRIER), int(CommandKind.UNCROSS)
_TRADE_NUMBER = int(CommandKind.TRADE_NUMBER)
_VERSION_OF_TRADE_NUMBER = 3
_MARKET, _LIMIT, _GTC = int(OrderType.MARKET), int(OrderType.LIMIT), int(TimeInForce.GTC)
_CONTRACT = int(OrderFlag.CONTRACT)
_CONTINUOUS, _AUCTION = int(TradingState.CONTINUOUS), int(TradingState.AUCTION)
_REDUCED, _REJECTED, _AMENDED = int(EventKind.REDUCED), int(EventKind.REJECTED), int(EventKind.AMENDED)
_STATE_CHANGED, _APPLIED = int(EventKind.STATE_CHANGED), int(EventKind.APPLIED)
_CANCELLED = int(EventKind.CANCELLED)
_USER, _REDUCED_TO_ZERO, _LOST_PLACE = int(Reason.USER), int(Reason.REDUCED_TO_ZERO), int(Reason.LOST_PLACE)
_EXPIRED, _ALL, _BY_AUCTION = int(Reason.EXPIRED), int(Reason.CANCEL_ALL), int(Reason.AUCTION)
_UNKNOWN_ORDER, _NOT_OWNER = int(Reason.UNKNOWN_ORDER), int(Reason.NOT_OWNER)
_BAD_INSTRUMENT, _BAD_KIND, _BAD_QTY = int(Reason.BAD_INSTRUMENT), int(Reason.BAD_KIND), int(Reason.BAD_QTY)
_REDUCE_ONLY = int(Reason.REDUCE_ONLY)


@called
def special_refusal(books: Books, command: Any, slot: Any, time_ns: int) -> Any:  # noqa: PLR0911 - one for each
    """Return why a command must be refused, or 0; describes the order of a PLACE on the way."""
    kind = command["kind"]
    if command["instrument_id"] < 0 or command["instrument_id"] > INSTRUMENT_ID_MAX:
        return _BAD_INSTRUMENT
    if kind == _PLACE:
        describe(books, command)
        reason = place_refusal(books, command, slot)
        if reason == 0:
            reason = terms_refusal(books, command, time_ns)
        return reason if reason != 0 else state_refusal(books)
    if kind in (_CANCEL, _REDUCE, _AMEND):
        if slot == NO_SLOT or instrument_of(int64(books.orders[slot]["side_row"])) != command["instrument_id"]:
            return _UNKNOWN_ORDER
        trader_id = command["trader_id"]
        if command["version"] > 1 and trader_id != 0 and trader_id != books.orders[slot]["trader_id"]:
            return _NOT_OWNER
        if kind == _AMEND:
            return amend_refusal(books, command, slot)
        return _BAD_QTY if kind == _REDUCE and command["qty_lots"] < 1 else 0
    if command["version"] == 1 or kind == 0 or kind > _TRADE_NUMBER:
        return _BAD_KIND
    if kind == _TRADE_NUMBER and command["version"] < _VERSION_OF_TRADE_NUMBER:
        return _BAD_KIND
    return system_refusal(books, command)


@called
def room_for(books: Books, events_wanted: int) -> Any:  # noqa: PLR0911 - one for each array
    """Return what must grow before a step that causes so many events and rests one order, or DONE."""
    state = books.state[0]
    if len(books.events) - state["event_count"] < events_wanted:
        state["events_wanted"] = events_wanted
        return WANTS_EVENTS
    if state["order_count"] + 2 > len(books.orders):
        return WANTS_ORDERS
    if state["level_count"] + 2 > len(books.levels):
        return WANTS_LEVELS
    if state["node_count"] + NODES_PER_LEVEL_MAX + 1 > len(books.nodes):
        return WANTS_NODES
    if 2 * (state["order_count"] + 1) > len(books.index):
        return WANTS_INDEX
    if 2 * (state["position_count"] + 1) > len(books.positions):
        return WANTS_POSITIONS
    if state["end_used"] + 2 > len(books.ends):
        return WANTS_ENDS
    return DONE


@called
def _search_for(books: Books, command: Any, time_ns: int) -> Any:
    """Find the orders that a CANCEL_ALL, TIME or UNCROSS cancels; returns how many."""
    kind, instrument_id = command["kind"], int64(command["instrument_id"])
    if kind == _CANCEL_ALL:
        return find_all(books, command["trader_id"], instrument_id)
    if kind == _TIME:
        return find_expired(books, time_ns)
    if kind == _UNCROSS and books.instruments[instrument_id]["is_contract"]:
        return find_sized(books, instrument_id)
    return 0


@called
def room_for_step(books: Books, command: Any, slot: int, found: int) -> Any:
    """Return what must grow before the command itself can be carried out, or DONE."""
    kind = command["kind"]
    if found > len(books.found):
        return WANTS_FOUND
    events = found + EVENTS_BESIDE_MAKERS
    if kind == _PLACE:
        events += survey(books)[1]
    elif kind == _AMEND:
        describe_amended(books, command, slot)
        events += survey(books)[1]
    elif kind == _UNCROSS:
        first = 2 * int64(command["instrument_id"])
        events += 2 * (int64(books.sides[first]["order_count"]) + int64(books.sides[first + 1]["order_count"]))
    elif kind in (_CANCEL_ALL, _TIME):
        events += found  # at worst the price of an auction after each order
    return room_for(books, events)


@called
def describe_amended(books: Books, command: Any, slot: int) -> None:
    """Describe a resting or waiting order, as an AMEND wants it, as the incoming one."""
    order, taker = books.orders[slot], books.terms[0]
    side = side_of(books, slot)
    if has_terms(order):
        books.terms[0] = books.terms[slot]
    else:
        taker["order_type"] = np.uint8(_LIMIT)
        taker["time_in_force"] = np.uint8(_GTC)
        taker["display_lots"] = 0
        taker["trigger_ticks"] = 0
        taker["quote_lots"] = 0
        taker["expires_ns"] = 0
        taker["callback_ppm"] = 0
        taker["activation_ticks"] = 0
        taker["extreme_ticks"] = 0
        taker["trigger_source"] = np.uint8(0)
    taker["hidden_lots"] = 0
    taker["order_id"] = order["order_id"]
    taker["trader_id"] = order["trader_id"]
    taker["instrument_id"] = command["instrument_id"]
    taker["side"] = np.uint8(side)
    taker["flags"] = order["flags"]
    taker["stp"] = order["stp"]
    taker["lots"] = command["qty_lots"]
    taker["price_ticks"] = command["price_ticks"]
    taker["worst_ticks"] = command["worst_ticks"] if command["has_terms"] else 0
    if command["has_terms"] and command["trigger_ticks"] > 0:
        taker["trigger_ticks"] = command["trigger_ticks"]


@called
def _amend(books: Books, command: Any, slot: int) -> None:
    """Give an order a new price and new open lots; a waiting one perhaps a new trigger. It has been described."""
    order, taker = books.orders[slot], books.terms[0]
    lots, had, price_ticks = command["qty_lots"], total_lots(books, slot), price_of(books, slot)
    waits = is_waiting(order)
    side, trader_id, order_id = side_of(books, slot), order["trader_id"], order["order_id"]
    if waits and taker["trigger_ticks"] == books.terms[slot]["trigger_ticks"]:
        level = books.levels[order["level"]]
        level["open_lots"] += lots - had
        order["open_lots"] = lots
        tell_resting(books, command, _AMENDED, 0, slot, max(0, had - lots))
        books.terms[slot]["price_ticks"] = command["price_ticks"]
        books.terms[slot]["worst_ticks"] = taker["worst_ticks"]
    elif waits or command["price_ticks"] != price_ticks or lots > had:
        level_lots = depart(books, slot)
        tell(books, command, _AMENDED, side, _LOST_PLACE, order_id, trader_id, price_ticks, had, lots, level_lots)
        if waits:
            wait_or_fire(books, command)
        else:
            execute_with_terms(books, command)
    else:
        _shrink(books, slot, had - lots)
        tell_resting(books, command, _AMENDED, 0, slot, had - lots)


@called
def _shrink(books: Books, slot: int, lots: int) -> None:
    """Take lots off an order that keeps its place: of an iceberg, the hidden part first."""
    order = books.orders[slot]
    shown = lots
    if has_terms(order):
        hidden = min(lots, books.terms[slot]["hidden_lots"])
        books.terms[slot]["hidden_lots"] -= hidden
        shown = lots - hidden
    order["open_lots"] -= shown
    books.levels[order["level"]]["open_lots"] -= shown


@called
def _uncross(books: Books, command: Any, found: int) -> None:
    """End a call auction: trade at one price, then change the state."""
    instrument_id = int64(command["instrument_id"])
    instrument = books.instruments[instrument_id]
    cancel_found(books, command, found, _REDUCE_ONLY)
    reference = command["price_ticks"]
    if reference == 0:
        reference = instrument["reference_ticks"]
    if reference == 0:
        reference = instrument["last_price_ticks"]
    price_ticks, volume, surplus = uncrossing(books, instrument_id, reference)
    tell_auction(books, command, price_ticks, volume, surplus, _BY_AUCTION)
    trade_at(books, command, instrument_id, price_ticks, volume)
    instrument["reference_ticks"] = 0
    _set_state(books, command)


@called
def _set_state(books: Books, command: Any) -> None:
    """Change what an instrument allows; what a call auction indicated is forgotten."""
    instrument = books.instruments[command["instrument_id"]]
    before = int64(instrument["state"])
    if before == 0:
        before = int64(_CONTINUOUS)
    tell_command(books, command, _STATE_CHANGED, 0, command["qty_lots"], before)
    instrument["state"] = np.uint8(command["qty_lots"])
    instrument["auction_ticks"] = 0
    instrument["auction_lots"] = 0
    instrument["auction_surplus"] = 0
    renew_road(instrument)


@called
def _system(books: Books, command: Any, found: int) -> None:
    """Carry out a command about no single order."""
    kind = command["kind"]
    state = books.state[0]
    instrument_id = int64(command["instrument_id"])
    instrument = books.instruments[instrument_id]
    left = int64(0)
    if kind == _SET_STATE:
        if command["has_terms"] and command["flags"] & _CONTRACT:
            instrument["is_contract"] = np.uint8(1)
        instrument["reference_ticks"] = command["price_ticks"]
        _set_state(books, command)
    elif kind == _UNCROSS:
        _uncross(books, command, found)
    elif kind in (_CANCEL_ALL, _TIME):
        tell_command(books, command, _APPLIED, 0, found, 0)
        cancel_found(books, command, found, _ALL if kind == _CANCEL_ALL else _EXPIRED)
        _tell_left_auctions(books, command)
    else:
        if kind == _MARK_PRICE:
            instrument["mark_ticks"] = command["price_ticks"]
        elif kind == _LAST_PRICE:
            instrument["last_price_ticks"] = command["price_ticks"]
        elif kind == _TRADE_NUMBER:
            instrument["trade_number"] = command["qty_lots"]
        elif kind == _ADJUST:
            left = move_position(books.positions, state, command["trader_id"], instrument_id, command["qty_lots"])
        tell_command(books, command, _APPLIED, 0, command["qty_lots"], left)


@called
def _carry_out(books: Books, command: Any, slot: int, found: int) -> None:
    """Carry out a command that has not been refused, without what fires because of it."""
    kind = command["kind"]
    if kind == _PLACE:
        taker = books.terms[0]
        instrument_id = int64(taker["instrument_id"])
        if books.instruments[instrument_id]["is_contract"]:
            move_position(books.positions, books.state[0], taker["trader_id"], instrument_id, 0)
        if taker["order_type"] > _MARKET:
            wait_or_fire(books, command)
        else:
            execute_with_terms(books, command)
    elif kind == _AMEND:
        _amend(books, command, slot)
    elif kind == _REDUCE and command["qty_lots"] < total_lots(books, slot):
        _shrink(books, slot, command["qty_lots"])
        tell_resting(books, command, _REDUCED, 0, slot, command["qty_lots"])
    elif kind in (_CANCEL, _REDUCE):
        cancel(books, command, slot, _USER if kind == _CANCEL else _REDUCED_TO_ZERO)
    else:
        _system(books, command, found)


@called
def _reject(books: Books, command: Any, slot: int, reason: int) -> None:
    """Tell the refusal of a command; a resting order that it names keeps its lots."""
    left = int64(0)
    names_order = reason not in (_UNKNOWN_ORDER, _BAD_INSTRUMENT, _NOT_OWNER) and slot != NO_SLOT
    if command["kind"] != _PLACE and names_order:
        left = total_lots(books, slot)
    tell_command(books, command, _REJECTED, reason, command["qty_lots"], left)


@called
def _tell_indication(books: Books, command: Any, instrument_id: int) -> None:
    """Tell what an instrument's call auction would do, if that has changed."""
    instrument = books.instruments[instrument_id]
    reference = instrument["reference_ticks"]
    if reference == 0:
        reference = instrument["last_price_ticks"]
    price, lots, surplus = uncrossing(books, instrument_id, reference)
    if (
        price != instrument["auction_ticks"]
        or lots != instrument["auction_lots"]
        or surplus != instrument["auction_surplus"]
    ):
        instrument["auction_ticks"] = price
        instrument["auction_lots"] = lots
        instrument["auction_surplus"] = surplus
        row = tell_auction(books, command, price, lots, surplus, 0)
        books.events[row]["instrument_id"] = np.int32(instrument_id)


@called
def _tell_left_auctions(books: Books, command: Any) -> None:
    """Tell what the auctions would do from which this command has cancelled orders, whatever their instruments."""
    state = books.state[0]
    told_last = int64(-1)
    for row in range(int64(state["first_event"]), int64(state["event_count"])):
        instrument_id = int64(books.events[row]["instrument_id"])
        if instrument_id != told_last and books.events[row]["kind"] == _CANCELLED:
            told_last = instrument_id
            if books.instruments[instrument_id]["state"] == _AUCTION:
                _tell_indication(books, command, instrument_id)


@called
def go_on(books: Books, command: Any) -> Any:
    """Let triggered orders fire, one after the other; then tell a call auction's price if it has changed."""
    state = books.state[0]
    instrument_id = int64(command["instrument_id"])
    if not 0 <= instrument_id <= INSTRUMENT_ID_MAX:
        return DONE
    instrument = books.instruments[instrument_id]
    slot = next_to_fire(books, instrument_id)
    while slot != NO_SLOT:
        bring_back(books, slot)
        outcome = room_for(books, survey(books)[1] + EVENTS_BESIDE_MAKERS)
        if outcome != DONE:
            state["unfinished"] = state["event_count"] - state["first_event"] + 1
            return outcome
        fire_waiting(books, command, slot)
        slot = next_to_fire(books, instrument_id)
    if instrument["state"] == _AUCTION:
        _tell_indication(books, command, instrument_id)
    return DONE


@called
def apply_special(books: Books, command: Any) -> Any:
    """Apply one command of the rarer road, or go on with it: returns DONE, or what must grow before it can."""
    state = books.state[0]
    if state["unfinished"] > 0:
        state["first_event"] = state["event_count"] - (state["unfinished"] - 1)
        state["unfinished"] = 0
        return go_on(books, command)
    time_ns = max(state["time_ns"], command["timestamp_ns"])
    order_id = command["order_id"]
    place = order_index.find(books.index, books.orders, order_index.tag_of(order_id), order_id)
    slot = int64(books.index[place]["slot"])
    reason = special_refusal(books, command, slot, time_ns)
    found = int64(0)
    outcome = room_for(books, EVENTS_BESIDE_MAKERS)
    if reason == 0:
        if command["kind"] == _BARRIER and command["qty_lots"] > ENGINE_VERSION:
            return TOO_NEW
        found = _search_for(books, command, time_ns)
        outcome = room_for_step(books, command, slot, found)
    if outcome != DONE:
        return outcome
    state["sequence"] += 1
    state["time_ns"] = time_ns
    state["first_event"] = state["event_count"]
    state["state_hash"] = fold_sum(state["state_hash"], sum_command(command, time_ns))
    if command["has_terms"]:
        state["state_hash"] = fold_sum(state["state_hash"], sum_terms(command))
    if reason != 0:
        _reject(books, command, slot, reason)
        return DONE
    _carry_out(books, command, slot, found)
    if command["kind"] in (_CANCEL_ALL, _TIME, _BARRIER, _ADJUST):
        return DONE
    return go_on(books, command)
