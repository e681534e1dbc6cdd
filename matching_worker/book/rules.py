"""Why a command of the rarer road is refused, in the same order as `reference_rules.py`."""

from typing import Any

import numpy as np

from matching_worker.book.books import best_price, crosses, has_terms, is_waiting, side_of, total_lots
from matching_worker.book.compiled import called
from matching_worker.book.handle import Books
from matching_worker.book.layout import NO_SLOT
from matching_worker.book.positions import int64, place_of
from matching_worker.book.trade import in_call, rests
from matching_worker.book.waiting import is_continuous
from matching_worker.protocol import (
    CALLBACK_PPM_MAX,
    ICEBERG_TRANCHES_MAX,
    OPEN_ORDERS_MAX,
    POSITION_LOTS_MAX,
    POSITIONS_MAX,
    PRICE_TICKS_MAX,
    QTY_LOTS_MAX,
    QUOTE_LOTS_MAX,
    TRADE_COUNT_MAX,
    TRAILING_STOPS_MAX,
    CommandKind,
    OrderFlag,
    OrderType,
    Reason,
    Side,
    TimeInForce,
    TradingState,
)

_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_LIMIT, _MARKET = int(OrderType.LIMIT), int(OrderType.MARKET)
_STOP_LIMIT, _TAKE_PROFIT_LIMIT = int(OrderType.STOP_LIMIT), int(OrderType.TAKE_PROFIT_LIMIT)
_TRAILING_STOP = int(OrderType.TRAILING_STOP)
_FOK, _GTD, _DAY, _IOC = int(TimeInForce.FOK), int(TimeInForce.GTD), int(TimeInForce.DAY), int(TimeInForce.IOC)
_POST_ONLY, _CLOSE, _CONTRACT = int(OrderFlag.POST_ONLY), int(OrderFlag.CLOSE_POSITION), int(OrderFlag.CONTRACT)
_SIZED = int(OrderFlag.REDUCE_ONLY | OrderFlag.CLOSE_POSITION)
_FLAGS_MAX = _POST_ONLY | _SIZED
_SELF_TRADE_MAX, _TRIGGER_SOURCE_MAX = 4, 1
_SET_STATE, _UNCROSS = int(CommandKind.SET_STATE), int(CommandKind.UNCROSS)
_MARK_PRICE, _LAST_PRICE = int(CommandKind.MARK_PRICE), int(CommandKind.LAST_PRICE)
_ADJUST, _BARRIER = int(CommandKind.POSITION_ADJUST), int(CommandKind.BARRIER)
_TRADE_NUMBER = int(CommandKind.TRADE_NUMBER)
_AMEND, _REDUCE = int(CommandKind.AMEND), int(CommandKind.REDUCE)
_CONTINUOUS, _PRE_OPEN, _AUCTION = (
    int(TradingState.CONTINUOUS),
    int(TradingState.PRE_OPEN),
    int(TradingState.AUCTION),
)
_BAD_SIDE, _BAD_ORDER_TYPE = int(Reason.BAD_SIDE), int(Reason.BAD_ORDER_TYPE)
_BAD_TIME_IN_FORCE, _BAD_PRICE, _BAD_QTY = int(Reason.BAD_TIME_IN_FORCE), int(Reason.BAD_PRICE), int(Reason.BAD_QTY)
_TOO_MANY_OPEN_ORDERS, _DUPLICATE = int(Reason.TOO_MANY_OPEN_ORDERS), int(Reason.DUPLICATE_ORDER_ID)
_BAD_FLAGS, _BAD_STP, _BAD_TRIGGER = int(Reason.BAD_FLAGS), int(Reason.BAD_STP), int(Reason.BAD_TRIGGER)
_BAD_DISPLAY, _BAD_QUOTE, _BAD_WORST = int(Reason.BAD_DISPLAY), int(Reason.BAD_QUOTE), int(Reason.BAD_WORST_PRICE)
_BAD_EXPIRY, _BAD_CALLBACK, _BAD_STATE = int(Reason.BAD_EXPIRY), int(Reason.BAD_CALLBACK), int(Reason.BAD_STATE)
_BAD_INSTRUMENT, _NOT_TRADING = int(Reason.BAD_INSTRUMENT), int(Reason.NOT_TRADING)
_CHANGED = int(Reason.ORDER_CHANGED)
_NOT_IN_AUCTION, _WOULD_TAKE = int(Reason.NOT_IN_AUCTION), int(Reason.POST_ONLY_WOULD_TAKE)
_TOO_MANY_TRAILING, _TOO_MANY_POSITIONS = int(Reason.TOO_MANY_TRAILING_STOPS), int(Reason.TOO_MANY_POSITIONS)


@called
def is_price(ticks: int) -> Any:
    """Tell whether a number is a price."""
    return 1 <= ticks <= PRICE_TICKS_MAX


@called
def describe(books: Books, command: Any) -> None:
    """Write the order that a PLACE describes to row 0 of the terms."""
    taker = books.terms[0]
    says_terms = command["has_terms"] != 0
    taker["order_id"] = command["order_id"]
    taker["trader_id"] = command["trader_id"]
    taker["price_ticks"] = command["price_ticks"]
    taker["instrument_id"] = command["instrument_id"]
    taker["order_type"] = command["order_type"]
    taker["time_in_force"] = command["time_in_force"]
    taker["side"] = command["side"]
    taker["flags"] = command["flags"] if says_terms else np.uint8(0)
    taker["stp"] = command["stp"] if says_terms else np.uint8(0)
    taker["trigger_source"] = command["trigger_source"] if says_terms else np.uint8(0)
    taker["hidden_lots"] = 0
    taker["extreme_ticks"] = 0
    taker["trigger_ticks"] = command["trigger_ticks"] if says_terms else 0
    taker["worst_ticks"] = command["worst_ticks"] if says_terms else 0
    taker["display_lots"] = command["display_lots"] if says_terms else 0
    taker["quote_lots"] = command["quote_lots"] if says_terms else 0
    taker["expires_ns"] = command["expires_ns"] if says_terms else 0
    taker["activation_ticks"] = command["activation_ticks"] if says_terms else 0
    taker["callback_ppm"] = command["callback_ppm"] if says_terms else 0
    lots = command["qty_lots"]
    if taker["flags"] & _CLOSE or (taker["quote_lots"] != 0 and lots == 0):
        lots = int64(QTY_LOTS_MAX)
    taker["lots"] = lots


@called
def place_refusal(books: Books, command: Any, slot: Any) -> Any:  # noqa: PLR0911 - one for each reason
    """Return why an order cannot be placed, by what version 1 knew."""
    types, times = (7, 5) if command["version"] > 1 else (2, 2)
    taker = books.terms[0]
    sizes_itself = taker["flags"] & _CLOSE or taker["quote_lots"] != 0
    if command["side"] != _BUY and command["side"] != _SELL:
        return _BAD_SIDE
    if command["order_type"] < 1 or command["order_type"] > types:
        return _BAD_ORDER_TYPE
    if command["time_in_force"] < 1 or command["time_in_force"] > times:
        return _BAD_TIME_IN_FORCE
    if not is_price(command["price_ticks"]):
        return _BAD_PRICE
    if command["qty_lots"] < (0 if sizes_itself else 1) or command["qty_lots"] > QTY_LOTS_MAX:
        return _BAD_QTY
    if books.state[0]["order_count"] >= OPEN_ORDERS_MAX:
        return _TOO_MANY_OPEN_ORDERS
    if slot != NO_SLOT:
        return _DUPLICATE
    return 0


@called
def _flags_fit(books: Books) -> Any:
    """Tell whether the incoming order's flags, type and instrument go together."""
    taker = books.terms[0]
    flags = taker["flags"]
    is_limit = taker["order_type"] in (_LIMIT, _STOP_LIMIT, _TAKE_PROFIT_LIMIT)
    if flags > _FLAGS_MAX or (flags & _POST_ONLY and not (taker["order_type"] == _LIMIT and rests(taker))):
        return False
    if flags & _SIZED and not books.instruments[taker["instrument_id"]]["is_contract"]:
        return False
    return not (flags & _CLOSE and is_limit)


@called
def terms_refusal(books: Books, command: Any, time_ns: int) -> Any:  # noqa: C901, PLR0911, PLR0912 - one for each
    """Return which of an incoming order's terms is wrong."""
    taker = books.terms[0]
    waits = taker["order_type"] > _MARKET
    trails = taker["order_type"] == _TRAILING_STOP
    ends = taker["time_in_force"] in (_GTD, _DAY)
    if not _flags_fit(books):
        return _BAD_FLAGS
    if taker["stp"] > _SELF_TRADE_MAX:
        return _BAD_STP
    if taker["trigger_source"] > _TRIGGER_SOURCE_MAX:
        return _BAD_TRIGGER
    if not (is_price(taker["trigger_ticks"]) if waits and not trails else taker["trigger_ticks"] == 0):
        return _BAD_TRIGGER
    display = taker["display_lots"]
    if display != 0 and (
        display < 0 or not rests(taker) or _parts(command["qty_lots"], display) > ICEBERG_TRANCHES_MAX
    ):
        return _BAD_DISPLAY
    quote = taker["quote_lots"]
    is_market_buy = taker["side"] == _BUY and taker["order_type"] == _MARKET
    if quote != 0 and (
        quote < 0
        or quote > QUOTE_LOTS_MAX
        or not is_market_buy
        or taker["time_in_force"] == _FOK
        or taker["flags"] & _SIZED
    ):
        return _BAD_QUOTE
    if taker["worst_ticks"] != 0 and not is_price(taker["worst_ticks"]):
        return _BAD_WORST
    if ends:
        if taker["expires_ns"] <= time_ns or taker["order_type"] == _MARKET:
            return _BAD_EXPIRY
    elif taker["expires_ns"] != 0:
        return _BAD_EXPIRY
    if trails:
        if not 1 <= taker["callback_ppm"] <= CALLBACK_PPM_MAX or not 0 <= taker["activation_ticks"] <= PRICE_TICKS_MAX:
            return _BAD_CALLBACK
    elif taker["callback_ppm"] != 0 or taker["activation_ticks"] != 0:
        return _BAD_CALLBACK
    return 0


@called
def _parts(lots: int, display_lots: int) -> Any:
    """Return in how many parts an iceberg shows its lots."""
    return (lots - 1) // display_lots + 1


@called
def state_refusal(books: Books) -> Any:
    """Return why an instrument does not take the incoming order, itself sound, now."""
    taker = books.terms[0]
    instrument_id = int64(taker["instrument_id"])
    instrument = books.instruments[instrument_id]
    calls = in_call(instrument["state"])
    if not calls and not is_continuous(instrument):
        return _NOT_TRADING
    fits_call = taker["order_type"] > _MARKET or (rests(taker) and not taker["flags"] & _FLAGS_MAX)
    waits = taker["order_type"] not in (_LIMIT, _MARKET)
    if calls and not (waits or fits_call):
        return _NOT_IN_AUCTION
    if taker["order_type"] == _TRAILING_STOP and instrument["trailing_count"] >= TRAILING_STOPS_MAX:
        return _TOO_MANY_TRAILING
    if instrument["is_contract"] and books.state[0]["position_count"] >= POSITIONS_MAX:
        place = place_of(books.positions, taker["trader_id"], instrument_id)
        if not books.positions[place]["is_used"]:
            return _TOO_MANY_POSITIONS
    if taker["flags"] & _POST_ONLY and crosses(books):
        return _WOULD_TAKE
    return 0


@called
def amend_refusal(books: Books, command: Any, slot: int) -> Any:  # noqa: C901, PLR0911 - one for each reason
    """Return why an order cannot become what an AMEND says."""
    order = books.orders[slot]
    instrument_id = int64(command["instrument_id"])
    instrument = books.instruments[instrument_id]
    says_terms = command["has_terms"] != 0
    trigger = command["trigger_ticks"] if says_terms else 0
    worst = command["worst_ticks"] if says_terms else 0
    if not is_price(command["price_ticks"]):
        return _BAD_PRICE
    if command["qty_lots"] < 1 or command["qty_lots"] > QTY_LOTS_MAX:
        return _BAD_QTY
    if says_terms and command["expected_lots"] != 0 and command["expected_lots"] != total_lots(books, slot):
        return _CHANGED
    if trigger != 0:
        may_move = is_waiting(order) and books.terms[slot]["order_type"] != _TRAILING_STOP
        if not may_move or not is_price(trigger):
            return _BAD_TRIGGER
    if worst != 0 and not is_price(worst):
        return _BAD_WORST
    if has_terms(order):
        display = books.terms[slot]["display_lots"]
        if display > 0 and _parts(command["qty_lots"], display) > ICEBERG_TRANCHES_MAX:
            return _BAD_DISPLAY
    if not in_call(instrument["state"]) and not is_continuous(instrument):
        return _NOT_TRADING
    if order["flags"] & _POST_ONLY and is_continuous(instrument):
        side = side_of(books, slot)
        price = best_price(books, (2 * instrument_id + side - 1) ^ 1)
        limit = command["price_ticks"]
        if price > 0 and (price <= limit if side == _BUY else price >= limit):
            return _WOULD_TAKE
    return 0


@called
def _state_command_refusal(books: Books, command: Any) -> Any:
    """Return why a SET_STATE or UNCROSS cannot be carried out."""
    instrument_id = int64(command["instrument_id"])
    instrument = books.instruments[instrument_id]
    if command["price_ticks"] < 0 or command["price_ticks"] > PRICE_TICKS_MAX:
        return _BAD_PRICE
    target = command["qty_lots"]
    if target < _PRE_OPEN or target > _AUCTION:
        return _BAD_STATE
    buys, sells = books.sides[2 * instrument_id], books.sides[2 * instrument_id + 1]
    has_orders = instrument["waiting_count"] + buys["order_count"] + sells["order_count"] > 0
    if command["has_terms"] and command["flags"] & _CONTRACT and not instrument["is_contract"] and has_orders:
        return _BAD_STATE
    if command["kind"] == _UNCROSS:
        return 0 if in_call(instrument["state"]) and not in_call(target) else _BAD_STATE
    bid, ask = best_price(books, 2 * instrument_id), best_price(books, 2 * instrument_id + 1)
    is_crossed = bid > 0 and ask > 0 and bid >= ask
    return _BAD_STATE if target == _CONTINUOUS and is_crossed else 0


@called
def system_refusal(books: Books, command: Any) -> Any:  # noqa: PLR0911 - one for each reason
    """Return why a command about no single order cannot be carried out."""
    kind, lots = command["kind"], command["qty_lots"]
    if kind in (_MARK_PRICE, _LAST_PRICE):
        return 0 if is_price(command["price_ticks"]) else _BAD_PRICE
    if kind in (_SET_STATE, _UNCROSS):
        return _state_command_refusal(books, command)
    if kind == _BARRIER:
        return _BAD_QTY if lots < 1 else 0
    if kind == _TRADE_NUMBER:
        told = books.instruments[command["instrument_id"]]["trade_number"]
        return _BAD_QTY if lots < told or lots > TRADE_COUNT_MAX else 0
    if kind != _ADJUST:
        return 0
    instrument_id = int64(command["instrument_id"])
    if not books.instruments[instrument_id]["is_contract"]:
        return _BAD_INSTRUMENT
    if lots < -POSITION_LOTS_MAX or lots > POSITION_LOTS_MAX:
        return _BAD_QTY
    place = place_of(books.positions, command["trader_id"], instrument_id)
    is_known = books.positions[place]["is_used"] != 0
    now = books.positions[place]["lots"] if is_known else int64(0)
    if abs(now + lots) > POSITION_LOTS_MAX:
        return _BAD_QTY
    return _TOO_MANY_POSITIONS if not is_known and books.state[0]["position_count"] >= POSITIONS_MAX else 0
