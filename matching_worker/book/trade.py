"""The rarer road through the book: takers with terms, makers with terms, contracts. `match.py` is the usual one."""

from typing import Any

from matching_worker.book.books import cancel, crosses, depart, enter, has_terms, limit_key, tell_resting, tell_taker
from matching_worker.book.compiled import called, inlined
from matching_worker.book.emit import emit_fill, fold_sum
from matching_worker.book.handle import Books
from matching_worker.book.layout import KEY_FLIP, NO_SLOT
from matching_worker.book.positions import int64, move_position, reducible
from matching_worker.book.reading import next_level
from matching_worker.protocol import (
    EventKind,
    OrderFlag,
    OrderType,
    Reason,
    SelfTrade,
    Side,
    TimeInForce,
    TradingState,
)

_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_LIMIT, _STOP_LIMIT = int(OrderType.LIMIT), int(OrderType.STOP_LIMIT)
_TAKE_PROFIT_LIMIT = int(OrderType.TAKE_PROFIT_LIMIT)
_FOK, _IOC = int(TimeInForce.FOK), int(TimeInForce.IOC)
_REDUCE_ONLY_FLAG, _CLOSE = int(OrderFlag.REDUCE_ONLY), int(OrderFlag.CLOSE_POSITION)
_PRE_OPEN, _AUCTION = int(TradingState.PRE_OPEN), int(TradingState.AUCTION)
_CANCEL_MAKER, _CANCEL_TAKER = int(SelfTrade.CANCEL_MAKER), int(SelfTrade.CANCEL_TAKER)
_CANCEL_BOTH, _DECREMENT = int(SelfTrade.CANCEL_BOTH), int(SelfTrade.DECREMENT)
_RESTED, _CANCELLED, _REDUCED = int(EventKind.RESTED), int(EventKind.CANCELLED), int(EventKind.REDUCED)
_IOC_REMAINDER, _WORST_PRICE = int(Reason.IOC_REMAINDER), int(Reason.WORST_PRICE)
_SELF_TRADE, _FOK_UNFILLED = int(Reason.SELF_TRADE), int(Reason.FOK_UNFILLED)
_BUDGET_SPENT, _REDUCE_ONLY = int(Reason.BUDGET_SPENT), int(Reason.REDUCE_ONLY)
_REFILLED = int(Reason.REFILLED)

EVENTS_BESIDE_MAKERS = 8
"""A taker causes at most this many events beside two for each maker, or part of one, that it meets."""


@inlined
def rests(taker: Any) -> Any:
    """Tell whether what an order does not trade joins the book."""
    is_limit = taker["order_type"] in (_LIMIT, _STOP_LIMIT, _TAKE_PROFIT_LIMIT)
    return is_limit and taker["time_in_force"] != _FOK and taker["time_in_force"] != _IOC


@called
def in_call(state: int) -> Any:
    """Tell whether orders rest without matching."""
    return state in (_PRE_OPEN, _AUCTION)


@called
def can_reduce(books: Books, slot: int) -> Any:
    """Return how many lots a resting order can close of its trader's position."""
    order = books.orders[slot]
    side_row = int64(order["side_row"])
    return reducible(books.positions, order["trader_id"], side_row >> 1, side_row & 1 == 1)


@called
def survey(books: Books) -> tuple[int, int]:
    """Look at what the incoming order would meet.

    Returns:
        Lots that a fill-or-kill order is sure to get, up to what it wants; and a bound of the events.
    """
    taker = books.terms[0]
    if in_call(books.instruments[taker["instrument_id"]]["state"]):
        return 0, EVENTS_BESIDE_MAKERS
    limit = limit_key(books)
    wanted, found, sure, met = taker["lots"], int64(0), int64(0), 0
    is_blocked = False
    level_slot = books.sides[(2 * int64(taker["instrument_id"]) + taker["side"] - 1) ^ 1]["best_level"]
    while level_slot != NO_SLOT and books.levels[level_slot]["key"] <= limit and sure < wanted:
        slot = books.levels[level_slot]["head"]
        while slot != NO_SLOT and sure < wanted:
            order = books.orders[slot]
            lots, parts = order["open_lots"], 1
            if has_terms(order):
                terms = books.terms[slot]
                lots += terms["hidden_lots"]
                if terms["display_lots"] > 0:
                    parts += lots // terms["display_lots"] + 1
            met += parts
            is_own = taker["stp"] != 0 and order["trader_id"] == taker["trader_id"]
            if is_own:
                is_blocked = is_blocked or taker["stp"] != _CANCEL_MAKER
            elif not order["flags"] & _REDUCE_ONLY_FLAG:
                sure += lots
                if not is_blocked:
                    found += lots
            slot = order["next_slot"]
        level_slot = next_level(books.nodes, books.levels, level_slot)
    return min(found, wanted), 2 * met + EVENTS_BESIDE_MAKERS


@called
def give(books: Books, lots: int, price_ticks: int) -> None:
    """Take lots off the incoming order, and off its budget."""
    state, taker = books.state[0], books.terms[0]
    taker["lots"] -= lots
    state["taking_lots"] -= lots
    state["taking_left"] = taker["lots"]
    state["taking_told"] = 1
    if taker["quote_lots"] > 0:
        state["taking_budget"] -= lots * price_ticks
        state["taking_left"] = min(taker["lots"], state["taking_budget"] // price_ticks)


@called
def refill(books: Books, command: Any, slot: int) -> None:
    """Show the next part of an iceberg, at the back of its queue."""
    order, terms = books.orders[slot], books.terms[slot]
    shown = min(terms["display_lots"], terms["hidden_lots"])
    terms["hidden_lots"] -= shown
    order["open_lots"] = shown
    level = books.levels[order["level"]]
    level["open_lots"] += shown
    after = order["next_slot"]
    if after != NO_SLOT:  # It stands at the head, for it has just been met there.
        level["head"] = after
        books.orders[after]["previous_slot"] = NO_SLOT
        tail = level["tail"]
        books.orders[tail]["next_slot"] = slot
        order["previous_slot"] = tail
        order["next_slot"] = NO_SLOT
        level["tail"] = slot
    tell_resting(books, command, _RESTED, _REFILLED, slot, shown)


@called
def fill(books: Books, command: Any, slot: int, price_ticks: int, traded: int) -> None:
    """Trade the incoming order against a maker, the first of its queue."""
    state, taker, order = books.state[0], books.terms[0], books.orders[slot]
    instrument_id = int64(taker["instrument_id"])
    instrument = books.instruments[instrument_id]
    give(books, traded, price_ticks)
    maker_id, maker_trader = order["order_id"], order["trader_id"]
    order["open_lots"] -= traded
    level = books.levels[order["level"]]
    level["open_lots"] -= traded
    level_lots = level["open_lots"]
    hidden = books.terms[slot]["hidden_lots"] if has_terms(order) else 0
    maker_left = order["open_lots"] + hidden
    if maker_left == 0:
        depart(books, slot)
    state["trade_count"] += 1
    instrument["trade_number"] += 1
    instrument["last_price_ticks"] = price_ticks
    if instrument["is_contract"]:
        signed = traded if taker["side"] == _BUY else -traded
        move_position(books.positions, state, taker["trader_id"], instrument_id, signed)
        move_position(books.positions, state, maker_trader, instrument_id, -signed)
    count = state["event_count"]
    total = emit_fill(
        books.events[count],
        command,
        state["time_ns"],
        count - state["first_event"],
        int64(taker["side"]),
        taker["order_id"],
        taker["trader_id"],
        maker_id,
        maker_trader,
        price_ticks,
        traded,
        state["taking_left"],
        maker_left,
        level_lots,
        state["trade_id_base"] + state["trade_count"],
        instrument["trade_number"],
    )
    state["state_hash"] = fold_sum(state["state_hash"], total)
    state["event_count"] = count + 1
    if maker_left > 0 and order["open_lots"] == 0:
        refill(books, command, slot)


@called
def prevent(books: Books, command: Any, slot: int, price_ticks: int, lots: int) -> None:
    """Keep a trader from trading with itself, as its taker wishes."""
    state, taker, order = books.state[0], books.terms[0], books.orders[slot]
    stp = taker["stp"]
    if stp in (_CANCEL_MAKER, _CANCEL_BOTH):
        cancel(books, command, slot, _SELF_TRADE)
    if stp in (_CANCEL_TAKER, _CANCEL_BOTH):
        state["taking_stopped"] = _SELF_TRADE
    if stp != _DECREMENT:
        return
    hidden = books.terms[slot]["hidden_lots"] if has_terms(order) else 0
    if lots == order["open_lots"] + hidden:
        cancel(books, command, slot, _SELF_TRADE)
    else:
        order["open_lots"] -= lots
        books.levels[order["level"]]["open_lots"] -= lots
        tell_resting(books, command, _REDUCED, _SELF_TRADE, slot, lots)
        if order["open_lots"] == 0:
            refill(books, command, slot)
    give(books, lots, price_ticks)
    left = state["taking_left"]
    tell_taker(books, command, _REDUCED if left > 0 else _CANCELLED, _SELF_TRADE, lots, left)


@called
def take_with_terms(books: Books, command: Any) -> None:
    """Trade the incoming order with the other side, best price first, then oldest first."""
    state, taker = books.state[0], books.terms[0]
    maker_row = (2 * int64(taker["instrument_id"]) + taker["side"] - 1) ^ 1
    side, flip = books.sides[maker_row], (KEY_FLIP if maker_row & 1 == 0 else 0)
    limit = limit_key(books)
    while state["taking_lots"] > 0 and state["taking_stopped"] == 0:
        if side["best_level"] == NO_SLOT or side["best_key"] > limit:
            break
        price_ticks = side["best_key"] ^ flip
        slot = books.levels[side["best_level"]]["head"]
        maker = books.orders[slot]
        lots = min(state["taking_lots"], maker["open_lots"])
        if taker["quote_lots"] > 0:
            lots = min(lots, state["taking_budget"] // price_ticks)
        if taker["stp"] != 0 and maker["trader_id"] == taker["trader_id"]:
            if lots == 0:
                state["taking_stopped"] = _BUDGET_SPENT
            else:
                prevent(books, command, slot, price_ticks, lots)
            continue
        if maker["flags"] & _REDUCE_ONLY_FLAG:
            room = can_reduce(books, slot)
            if room == 0:
                cancel(books, command, slot, _REDUCE_ONLY)
                continue
            lots = min(lots, room)
        if lots == 0:
            state["taking_stopped"] = _BUDGET_SPENT
            continue
        fill(books, command, slot, price_ticks, lots)


@called
def unfilled(books: Books) -> Any:
    """Return why the rest of an order goes when there is nothing left to trade with."""
    taker = books.terms[0]
    worst = taker["worst_ticks"]
    is_bound = worst > 0 and (worst < taker["price_ticks"] if taker["side"] == _BUY else worst > taker["price_ticks"])
    return _WORST_PRICE if is_bound else _IOC_REMAINDER


@called
def finish(books: Books, command: Any) -> None:
    """Rest or cancel what the incoming order could not trade."""
    state, taker = books.state[0], books.terms[0]
    left = state["taking_left"]
    if left == 0 and state["taking_told"]:
        return
    why = unfilled(books)
    if rests(taker) and state["taking_stopped"] == 0 and why != _WORST_PRICE:
        lots = taker["lots"]
        shown = min(lots, taker["display_lots"]) if taker["display_lots"] > 0 else lots
        row = 2 * int64(taker["instrument_id"]) + taker["side"] - 1
        key = taker["price_ticks"] ^ (KEY_FLIP if taker["side"] == _BUY else 0)
        slot = enter(books, row, key, shown, lots - shown)
        tell_resting(books, command, _RESTED, 0, slot, lots)
        return
    reason = state["taking_stopped"] if state["taking_stopped"] != 0 else why
    tell_taker(books, command, _CANCELLED, reason, left, 0)


@called
def execute_with_terms(books: Books, command: Any) -> None:
    """Trade the incoming order (row 0 of the terms) as far as it may, then rest or cancel what is left."""
    state, taker = books.state[0], books.terms[0]
    instrument_id = int64(taker["instrument_id"])
    state["taking_stopped"] = 0
    state["taking_told"] = 0
    state["taking_left"] = taker["lots"]
    if in_call(books.instruments[instrument_id]["state"]):
        finish(books, command)
        return
    closes = taker["flags"] & _CLOSE
    excess = int64(0)
    if taker["flags"] & (_CLOSE | _REDUCE_ONLY_FLAG):
        room = reducible(books.positions, taker["trader_id"], instrument_id, taker["side"] == _SELL)
        if closes:
            taker["lots"] = room
        if taker["flags"] & _REDUCE_ONLY_FLAG and (crosses(books) or not rests(taker)):
            excess = max(int64(0), taker["lots"] - room)
    lots = taker["lots"]
    state["taking_lots"] = lots - excess
    state["taking_budget"] = taker["quote_lots"]
    state["taking_left"] = min(lots, taker["quote_lots"] // taker["price_ticks"]) if taker["quote_lots"] > 0 else lots
    if taker["time_in_force"] == _FOK and (excess > 0 or survey(books)[0] < lots):
        tell_taker(books, command, _CANCELLED, _FOK_UNFILLED, state["taking_left"], 0)
        return
    take_with_terms(books, command)
    if excess == 0 and not closes:
        finish(books, command)
    elif state["taking_left"] > 0 or not state["taking_told"]:
        reason = state["taking_stopped"]
        if reason == 0:
            reason = _REDUCE_ONLY if state["taking_lots"] == 0 else unfilled(books)
        tell_taker(books, command, _CANCELLED, reason, state["taking_left"], 0)
