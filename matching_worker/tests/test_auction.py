"""Trading states and the call auction; the worked examples of README.md are the first tests."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matching_worker.book.reference_auction import Uncrossing, uncrossing
from matching_worker.book.reference_rows import Book, Order
from matching_worker.engine import Indication
from matching_worker.protocol import CommandKind, EventKind, OrderFlag, OrderType, Rows, Side, TimeInForce, TradingState
from matching_worker.tests.factories import BTC, Desk, told

Orders = list[tuple[Side, int, int]]
BUY, SELL = Side.BUY, Side.SELL

EXAMPLES: dict[str, tuple[Orders, int, tuple[int, int, int]]] = {
    "most volume": ([(BUY, 10, 103), (BUY, 20, 101), (SELL, 15, 100), (SELL, 10, 102)], 101, (101, 15, 15)),
    "least imbalance": ([(BUY, 10, 105), (BUY, 5, 103), (SELL, 10, 100)], 100, (104, 10, 0)),
    "nearest to the reference": ([(BUY, 10, 110), (SELL, 10, 100)], 107, (107, 10, 0)),
    "a reference beyond the range": ([(BUY, 10, 110), (SELL, 10, 100)], 150, (110, 10, 0)),
    "as much too many buyers below as sellers above": (
        [(BUY, 10, 105), (BUY, 4, 102), (SELL, 10, 100), (SELL, 4, 103)],
        104,
        (104, 10, -4),
    ),
    "nothing crosses": ([(BUY, 10, 99), (SELL, 10, 100)], 99, (0, 0, 0)),
    "nothing rests on one side": ([(BUY, 10, 99)], 99, (0, 0, 0)),
}


def set_state(desk: Desk, state: TradingState, **columns: Any) -> Rows:
    return desk.send(kind=CommandKind.SET_STATE, order_id=0, trader_id=0, qty_lots=state, **columns)


def uncross(desk: Desk, state: TradingState = TradingState.CONTINUOUS, **columns: Any) -> Rows:
    return desk.send(kind=CommandKind.UNCROSS, order_id=0, trader_id=0, qty_lots=state, **columns)


def called(orders: Orders, reference: int) -> Desk:
    """Return a desk in a call auction with these orders, numbered from 1."""
    desk = Desk()
    set_state(desk, TradingState.AUCTION, price_ticks=reference)
    for order_id, (side, qty, price) in enumerate(orders, start=1):
        desk.limit(side, order_id, qty, price)
    return desk


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_auction_finds_the_price_of_the_worked_example(example: str) -> None:
    orders, reference, expected = EXAMPLES[example]
    desk = called(orders, reference)

    assert desk.engine.indication(BTC) == Indication(*expected)


def test_an_auction_trades_all_at_one_price_and_tells_each_level() -> None:
    desk = called([(BUY, 10, 103), (BUY, 20, 101), (SELL, 15, 100), (SELL, 10, 102)], 101)

    events = uncross(desk)

    assert told(events) == [
        ("AUCTION_PRICE", 0, 101, 15, 15, "AUCTION"),
        ("FILL", 1, 3, 101, 10),
        ("LEVEL", 0, 103, 0, 0, "AUCTION"),
        ("FILL", 2, 3, 101, 5),
        ("LEVEL", 0, 100, 0, 0, "AUCTION"),
        ("LEVEL", 0, 101, 0, 0, "AUCTION"),
        ("STATE_CHANGED", 0, 0, 2, 6, "NONE"),
    ]
    assert events["level_lots"].tolist() == [-1, -1, 0, -1, 0, 15, -1]
    assert desk.book() == {"bids": [(101, 15, [2])], "asks": [(102, 10, [4])]}
    assert desk.engine.last_price_ticks(BTC) == 101
    assert desk.engine.trading_state(BTC) == TradingState.CONTINUOUS


def test_the_indicative_price_is_told_when_it_changes_and_only_then() -> None:
    desk = Desk()
    set_state(desk, TradingState.AUCTION)

    first = desk.buy(1, 10, 105)
    crossing, same, gone = desk.sell(2, 10, 100), desk.sell(3, 5, 110), desk.cancel(2)

    assert [len(events) for events in (first, same)] == [1, 1]
    assert told(crossing)[1] == ("AUCTION_PRICE", 0, 100, 10, 0, "NONE")
    assert told(gone)[1] == ("AUCTION_PRICE", 0, 0, 0, 0, "NONE")


@pytest.mark.parametrize(
    "ending",
    [
        {"kind": CommandKind.CANCEL_ALL, "trader_id": 2, "instrument_id": 0},
        {"kind": CommandKind.TIME, "trader_id": 0, "instrument_id": 0, "timestamp_ns": 9},
    ],
    ids=["cancel all", "time"],
)
def test_every_auction_that_one_command_takes_orders_from_tells_its_price_anew(ending: dict[str, int]) -> None:
    desk, until = Desk(), {"time_in_force": TimeInForce.GTD, "expires_ns": 9, "trader_id": 2}
    for instrument_id in (BTC, BTC + 1, BTC + 2):
        columns = {"instrument_id": instrument_id}
        set_state(desk, TradingState.AUCTION if instrument_id != BTC + 2 else TradingState.PRE_OPEN, **columns)
        desk.buy(10 * instrument_id, 10, 105, **columns)
        desk.sell(10 * instrument_id + 1, 4, 100, **columns, **until)
        desk.sell(10 * instrument_id + 2, 3, 102, **columns, **until)
    desk.sell(10 * BTC + 3, 2, 101)

    events = desk.send(order_id=0, **ending)

    prices = events[events["kind"] == EventKind.AUCTION_PRICE]
    names = ["instrument_id", "price_ticks", "qty_lots", "left_lots"]
    assert [tuple(int(row[name]) for name in names) for row in prices] == [(BTC, 101, 2, 8), (BTC + 1, 0, 0, 0)]
    assert (desk.engine.indication(BTC), desk.engine.indication(BTC + 1)) == (
        Indication(101, 2, 8),
        Indication(0, 0, 0),
    )
    assert len(events) == 1 + 6 + 2


def test_an_iceberg_takes_part_in_an_auction_with_all_its_lots() -> None:
    desk = Desk()
    set_state(desk, TradingState.AUCTION)
    desk.sell(1, 30, 100, display_lots=4)
    desk.buy(2, 28, 100)

    events = uncross(desk)

    assert [row for row in told(events) if row[0] == "FILL"] == [("FILL", 2, 1, 100, 28)]
    assert desk.book()["asks"] == [(100, 2, [1])]


def test_an_auction_without_a_cross_only_changes_the_state() -> None:
    desk = called([(BUY, 1, 99)], 0)

    assert told(uncross(desk, TradingState.CLOSED)) == [
        ("AUCTION_PRICE", 0, 0, 0, 0, "AUCTION"),
        ("STATE_CHANGED", 0, 0, 5, 6, "NONE"),
    ]


def test_an_auction_lets_waiting_orders_fire() -> None:
    desk = called([(BUY, 5, 105), (SELL, 4, 100)], 100)
    desk.sell(9, 1, 90, order_type=OrderType.STOP, trigger_ticks=103)

    events = uncross(desk)

    assert told(events) == [
        ("AUCTION_PRICE", 0, 100, 4, 1, "AUCTION"),
        ("FILL", 1, 2, 100, 4),
        ("LEVEL", 0, 100, 0, 0, "AUCTION"),
        ("LEVEL", 0, 105, 0, 0, "AUCTION"),
        ("STATE_CHANGED", 0, 0, 2, 6, "NONE"),
        ("TRIGGERED", 9, 103, 1, 1, "NONE"),
        ("FILL", 9, 1, 105, 1),
    ]


@pytest.mark.parametrize("state", [TradingState.HALTED, TradingState.CANCEL_ONLY, TradingState.CLOSED])
def test_a_market_that_is_not_open_lets_orders_go_and_no_new_ones_in(state: TradingState) -> None:
    desk = Desk()
    desk.buy(1, 10, 100)
    changed = set_state(desk, state)

    placed, amended = desk.sell(2, 1, 100), desk.amend(1, 10, 101)
    reduced, cancelled = desk.reduce(1, 4), desk.cancel(1)

    assert told(changed) == [("STATE_CHANGED", 0, 0, int(state), 2, "NONE")]
    assert told(placed) == [("REJECTED", 2, 100, 1, 0, "NOT_TRADING")]
    assert told(amended) == [("REJECTED", 1, 101, 10, 10, "NOT_TRADING")]
    assert told(reduced) == [("REDUCED", 1, 100, 4, 6, "NONE")]
    assert told(cancelled) == [("CANCELLED", 1, 100, 6, 0, "USER")]


@pytest.mark.parametrize("state", [TradingState.PRE_OPEN, TradingState.AUCTION])
@pytest.mark.parametrize(
    "columns",
    [
        {"order_type": OrderType.MARKET},
        {"time_in_force": TimeInForce.IOC},
        {"time_in_force": TimeInForce.FOK},
        {"flags": OrderFlag.POST_ONLY},
    ],
)
def test_a_call_takes_only_orders_that_can_rest(state: TradingState, columns: dict[str, Any]) -> None:
    desk = Desk()
    set_state(desk, state)

    assert told(desk.buy(1, 1, 100, **columns)) == [("REJECTED", 1, 100, 1, 0, "NOT_IN_AUCTION")]


def test_a_crossed_book_cannot_become_continuous_without_an_auction() -> None:
    desk = called([(BUY, 1, 101), (SELL, 1, 100)], 0)

    assert told(set_state(desk, TradingState.CONTINUOUS)) == [("REJECTED", 0, 0, 2, 0, "BAD_STATE")]
    assert told(set_state(desk, TradingState.HALTED))[0][-1] == "NONE"
    assert told(set_state(desk, TradingState.CONTINUOUS)) == [("REJECTED", 0, 0, 2, 0, "BAD_STATE")]
    assert told(uncross(desk)) == [("REJECTED", 0, 0, 2, 0, "BAD_STATE")]


@pytest.mark.parametrize("state", [0, 7, -1])
def test_an_unknown_state_is_refused(state: int) -> None:
    desk = Desk()

    [event] = desk.send(kind=CommandKind.SET_STATE, order_id=0, qty_lots=state)

    assert (event["kind"], told(np.array([event]))[0][-1]) == (EventKind.REJECTED, "BAD_STATE")


def best_of_all_prices(orders: Orders, reference: int) -> Uncrossing:
    """Try every price: the rule, word for word."""
    ranked = []
    for price in range(1, 40):
        demand = sum(qty for side, qty, at in orders if side == BUY and at >= price)
        supply = sum(qty for side, qty, at in orders if side == SELL and at <= price)
        volume = min(demand, supply)
        rank = (-volume, abs(demand - supply), abs(price - reference), price)
        ranked.append((rank, Uncrossing(price, volume, demand - supply)))
    best = min(ranked)[1]
    return best if best.qty_lots else Uncrossing(0, 0, 0)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(Side), st.integers(1, 9), st.integers(1, 39)), max_size=12),
    st.integers(1, 45),
)
def test_the_price_is_the_best_of_all_prices(orders: Orders, reference: int) -> None:
    book = Book()
    for number, (side, qty, price) in enumerate(orders):
        order = Order(number, 1, BTC, side, price, qty)
        order.show()
        book.join(order)
    desk = called(orders, reference)

    expected = best_of_all_prices(orders, reference)

    assert uncrossing(book, reference) == expected
    assert desk.engine.indication(BTC) == Indication(*expected)
