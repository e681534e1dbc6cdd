"""The call auction: one price at which most can trade. README.md has the rule and worked examples."""

from typing import Any

import numpy as np

from matching_worker.book.books import depart, has_terms, tell, total_lots
from matching_worker.book.compiled import called
from matching_worker.book.emit import emit_fill, fold_sum
from matching_worker.book.handle import Books
from matching_worker.book.hashing import EVENT_CONSTANTS, MASK
from matching_worker.book.layout import KEY_FLIP, NO_SLOT
from matching_worker.book.positions import int64, move_position
from matching_worker.book.reading import next_level
from matching_worker.protocol import NO_LEVEL, EventKind, Reason, Side

_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_LEVEL, _AUCTION_PRICE = int(EventKind.LEVEL), int(EventKind.AUCTION_PRICE)
_AUCTION = int(Reason.AUCTION)
_FAR = KEY_FLIP
_REASON_SUM = np.uint64((_AUCTION << 48) * EVENT_CONSTANTS[-1] & MASK)


@called
def _lots_at(books: Books, level_slot: int, has_special: bool) -> Any:  # noqa: FBT001 - compiled
    """Return what stands at a level, hidden parts included."""
    if not has_special:
        return books.levels[level_slot]["open_lots"]
    lots = int64(0)
    slot = books.levels[level_slot]["head"]
    while slot != NO_SLOT:
        lots += total_lots(books, slot)
        slot = books.orders[slot]["next_slot"]
    return lots


@called
def _price_at(books: Books, level_slot: int, flip: int) -> Any:
    """Return a level's price; beyond the last level of the bids 0, of the asks a price that nothing reaches."""
    if level_slot == NO_SLOT:
        return 0 if flip != 0 else _FAR
    return books.levels[level_slot]["key"] ^ flip


@called
def uncrossing(books: Books, instrument_id: int, reference_ticks: int) -> tuple[int, int, int]:
    """Find the price of most volume, then least imbalance, then nearest to the reference, then lowest.

    Best bids and best asks are set against each other until they no longer cross. The price of the last of
    each bound the prices of most volume; what is left over on either side decides between these.

    Returns:
        Price, volume, and lots that would like to buy at the price less lots that would like to sell.
    """
    has_special = books.instruments[instrument_id]["special_count"] > 0
    bid = books.sides[2 * instrument_id]["best_level"]
    ask = books.sides[2 * instrument_id + 1]["best_level"]
    volume, lowest, highest = int64(0), 0, 0
    bid_lots = _lots_at(books, bid, has_special) if bid != NO_SLOT else int64(0)
    ask_lots = _lots_at(books, ask, has_special) if ask != NO_SLOT else int64(0)
    while _price_at(books, bid, KEY_FLIP) >= _price_at(books, ask, 0):
        lowest, highest = _price_at(books, ask, 0), _price_at(books, bid, KEY_FLIP)
        lots = min(bid_lots, ask_lots)
        volume += lots
        bid_lots -= lots
        ask_lots -= lots
        if bid_lots == 0:
            bid = next_level(books.nodes, books.levels, bid)
            bid_lots = _lots_at(books, bid, has_special) if bid != NO_SLOT else int64(0)
        if ask_lots == 0:
            ask = next_level(books.nodes, books.levels, ask)
            ask_lots = _lots_at(books, ask, has_special) if ask != NO_SLOT else int64(0)
    if volume == 0:
        return 0, 0, 0
    next_bid, next_ask = _price_at(books, bid, KEY_FLIP), _price_at(books, ask, 0)
    after_bid = _price_at(books, next_level(books.nodes, books.levels, bid) if bid != NO_SLOT else bid, KEY_FLIP)
    after_ask = _price_at(books, next_level(books.nodes, books.levels, ask) if ask != NO_SLOT else ask, 0)
    # Three ranges of prices: nothing left over, the next bid left over, the next ask left over.
    price, surplus = -1, int64(0)
    for choice in range(3):
        low, high, left = max(lowest, next_bid + 1), min(highest, next_ask - 1), int64(0)
        if choice == 1:
            low, high, left = max(lowest, after_bid + 1), min(highest, next_bid), bid_lots
        elif choice == 2:  # noqa: PLR2004 - the third
            low, high, left = max(lowest, next_ask), min(highest, after_ask - 1), -ask_lots
        if low > high:
            continue
        nearest = min(max(reference_ticks, low), high)
        is_nearer = abs(nearest - reference_ticks) < abs(price - reference_ticks)
        is_as_near = abs(nearest - reference_ticks) == abs(price - reference_ticks)
        if (
            price < 0
            or abs(left) < abs(surplus)
            or (abs(left) == abs(surplus) and (is_nearer or (is_as_near and nearest < price)))
        ):
            price, surplus = nearest, left
    return price, volume, surplus


@called
def tell_auction(books: Books, command: Any, price_ticks: int, lots: int, surplus: int, reason: int) -> Any:
    """Tell the price of an auction, the volume, and what is left over; returns the event's row."""
    return tell(books, command, _AUCTION_PRICE, 0, reason, 0, 0, price_ticks, lots, surplus, NO_LEVEL)


@called
def _tell_level(books: Books, command: Any, side: int, price_ticks: int, level_lots: int) -> None:
    """Tell what stands at a price after an auction."""
    tell(books, command, _LEVEL, side, _AUCTION, 0, 0, price_ticks, 0, 0, level_lots)


@called
def _take_off(books: Books, slot: int, lots: int) -> Any:
    """Take traded lots off an order that stays in its place; returns what is left of it."""
    order = books.orders[slot]
    left = total_lots(books, slot) - lots
    shown = left
    if has_terms(order):
        terms = books.terms[slot]
        if terms["display_lots"] > 0:
            shown = min(left, terms["display_lots"])
        terms["hidden_lots"] = left - shown
    books.levels[order["level"]]["open_lots"] += shown - order["open_lots"]
    order["open_lots"] = shown
    return left


@called
def trade_at(books: Books, command: Any, instrument_id: int, price_ticks: int, volume: int) -> None:
    """Trade a volume at one price: best price first, then oldest first; the buyer stands in the taker's place."""
    state, instrument = books.state[0], books.instruments[instrument_id]
    buys, sells = books.sides[2 * instrument_id], books.sides[2 * instrument_id + 1]
    buy_level = sell_level = NO_SLOT
    while volume > 0:
        buy_level, sell_level = buys["best_level"], sells["best_level"]
        buyer, seller = books.levels[buy_level]["head"], books.levels[sell_level]["head"]
        lots = min(volume, total_lots(books, buyer), total_lots(books, seller))
        volume -= lots
        buyer_left, seller_left = _take_off(books, buyer, lots), _take_off(books, seller, lots)
        state["trade_count"] += 1
        instrument["trade_number"] += 1
        instrument["last_price_ticks"] = price_ticks
        buy, sell = books.orders[buyer], books.orders[seller]
        if instrument["is_contract"]:
            move_position(books.positions, state, buy["trader_id"], instrument_id, lots)
            move_position(books.positions, state, sell["trader_id"], instrument_id, -lots)
        count = state["event_count"]
        total = emit_fill(
            books.events[count],
            command,
            state["time_ns"],
            count - state["first_event"],
            _BUY,
            buy["order_id"],
            buy["trader_id"],
            sell["order_id"],
            sell["trader_id"],
            price_ticks,
            lots,
            buyer_left,
            seller_left,
            NO_LEVEL,
            state["trade_id_base"] + state["trade_count"],
            instrument["trade_number"],
        )
        # A fill of an auction says so: its reason is part of its words.
        books.events[count]["reason"] = np.uint8(_AUCTION)
        state["state_hash"] = fold_sum(state["state_hash"], total + _REASON_SUM)
        state["event_count"] = count + 1
        _close_out(books, command, buyer, buyer_left, buy_level, _BUY)
        _close_out(books, command, seller, seller_left, sell_level, _SELL)
        if buyer_left == 0 and buys["best_level"] != buy_level:
            buy_level = NO_SLOT
        if seller_left == 0 and sells["best_level"] != sell_level:
            sell_level = NO_SLOT
    if buy_level != NO_SLOT:
        level = books.levels[buy_level]
        _tell_level(books, command, _BUY, level["key"] ^ KEY_FLIP, level["open_lots"])
    if sell_level != NO_SLOT:
        level = books.levels[sell_level]
        _tell_level(books, command, _SELL, level["key"], level["open_lots"])


@called
def _close_out(books: Books, command: Any, slot: int, left: int, level_slot: int, side: int) -> None:
    """Let an order go that has traded whole; tell its level when that was the last one there."""
    if left > 0:
        return
    price_ticks = books.levels[level_slot]["key"] ^ (KEY_FLIP if side == _BUY else 0)
    is_last = books.levels[level_slot]["order_count"] == 1
    depart(books, slot)
    if is_last:
        _tell_level(books, command, side, price_ticks, 0)
