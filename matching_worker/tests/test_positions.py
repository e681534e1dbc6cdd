"""Net positions of contracts, and orders that follow them."""

from typing import Any

from matching_worker.protocol import CommandKind, OrderFlag, OrderType, Rows, Side, TimeInForce, TradingState
from matching_worker.tests.factories import BTC, MAX_PRICE, Desk, told

REDUCE_ONLY = {"flags": OrderFlag.REDUCE_ONLY}
CLOSE = {"flags": OrderFlag.CLOSE_POSITION}


def contract() -> Desk:
    """Return a desk on a contract of which trader 5 holds 10, sold by trader 6."""
    desk = Desk()
    desk.send(kind=CommandKind.SET_STATE, order_id=0, qty_lots=TradingState.CONTINUOUS, flags=OrderFlag.CONTRACT)
    desk.sell(1, 10, 100, trader_id=6)
    desk.buy(2, 10, 100, trader_id=5)
    return desk


def adjust(desk: Desk, trader_id: int, lots: int, **columns: Any) -> Rows:
    return desk.send(kind=CommandKind.POSITION_ADJUST, order_id=0, trader_id=trader_id, qty_lots=lots, **columns)


def test_fills_and_adjustments_move_positions() -> None:
    desk = contract()

    events = adjust(desk, 5, -4)

    assert (desk.engine.position(5, BTC), desk.engine.position(6, BTC)) == (6, -10)
    assert told(events) == [("APPLIED", 0, 0, -4, 6, "NONE")]


def test_an_instrument_that_is_no_contract_has_no_positions() -> None:
    desk = Desk()
    desk.sell(1, 1, 100, trader_id=6)
    desk.buy(2, 1, 100, trader_id=5)

    assert told(adjust(desk, 5, 3)) == [("REJECTED", 0, 0, 3, 0, "BAD_INSTRUMENT")]
    assert told(desk.sell(3, 1, 100, **REDUCE_ONLY)) == [("REJECTED", 3, 100, 1, 0, "BAD_FLAGS")]
    assert desk.engine.position(5, BTC) == 0


def test_an_instrument_with_orders_cannot_become_a_contract() -> None:
    desk = Desk()
    desk.buy(1, 1, 100)

    events = desk.send(
        kind=CommandKind.SET_STATE, order_id=0, qty_lots=TradingState.CONTINUOUS, flags=OrderFlag.CONTRACT
    )

    assert told(events) == [("REJECTED", 0, 0, 2, 0, "BAD_STATE")]


def test_a_reduce_only_taker_trades_no_more_than_the_position() -> None:
    desk = contract()
    desk.buy(3, 50, 99, trader_id=7)

    events = desk.sell(4, 15, 99, trader_id=5, **REDUCE_ONLY)

    assert told(events) == [("FILL", 4, 3, 99, 10), ("CANCELLED", 4, 99, 5, 0, "REDUCE_ONLY")]
    assert events["left_lots"].tolist() == [5, 0]
    assert desk.engine.position(5, BTC) == 0


def test_a_reduce_only_maker_is_sized_when_it_is_met_and_then_goes() -> None:
    desk = contract()
    desk.sell(3, 15, 101, trader_id=5, **REDUCE_ONLY)
    desk.sell(4, 2, 101, trader_id=7)

    events = desk.buy(5, 12, 101, trader_id=8)

    assert told(events) == [
        ("FILL", 5, 3, 101, 10),
        ("CANCELLED", 3, 101, 5, 0, "REDUCE_ONLY"),
        ("FILL", 5, 4, 101, 2),
    ]


def test_a_take_profit_and_a_stop_on_one_position_close_it_once() -> None:
    desk = contract()
    desk.buy(3, 50, 95, trader_id=7)
    desk.sell(4, 0, 1, trader_id=5, order_type=OrderType.STOP, trigger_ticks=95, **CLOSE)
    desk.sell(5, 0, 1, trader_id=5, order_type=OrderType.TAKE_PROFIT, trigger_ticks=120, **CLOSE)

    stopped = desk.send(kind=CommandKind.LAST_PRICE, order_id=0, price_ticks=95)
    profit = desk.send(kind=CommandKind.LAST_PRICE, order_id=0, price_ticks=120)

    assert [row for row in told(stopped) if row[0] == "FILL"] == [("FILL", 4, 3, 95, 10)]
    assert [row[0] for row in told(stopped)] == ["APPLIED", "TRIGGERED", "FILL"]
    assert told(profit)[-1] == ("CANCELLED", 5, 1, 0, 0, "REDUCE_ONLY")
    assert desk.engine.position(5, BTC) == 0


def test_a_close_of_a_short_position_buys_it_back() -> None:
    desk = contract()
    desk.sell(3, 50, 101, trader_id=7)

    events = desk.buy(4, 0, MAX_PRICE, trader_id=6, order_type=OrderType.MARKET, time_in_force=TimeInForce.IOC, **CLOSE)

    assert told(events) == [("FILL", 4, 3, 101, 10)]
    assert desk.engine.position(6, BTC) == 0


def test_an_auction_lets_orders_go_that_follow_a_position() -> None:
    desk = contract()
    desk.sell(3, 4, 101, trader_id=5, **REDUCE_ONLY)
    desk.send(kind=CommandKind.SET_STATE, order_id=0, qty_lots=TradingState.AUCTION)
    desk.sell(4, 4, 101, trader_id=7)
    desk.limit(Side.BUY, 6, 4, 101, trader_id=8)

    events = desk.send(kind=CommandKind.UNCROSS, order_id=0, qty_lots=TradingState.CONTINUOUS)

    assert told(events)[0] == ("CANCELLED", 3, 101, 4, 0, "REDUCE_ONLY")
    assert [row for row in told(events) if row[0] == "FILL"] == [("FILL", 6, 4, 101, 4)]
    assert (desk.engine.position(7, BTC), desk.engine.position(8, BTC)) == (-4, 4)
