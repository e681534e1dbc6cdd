"""What each type of order does, event by event; the scenarios of other engines stand in test_scenarios.py."""

import numpy as np
import pytest

from matching_worker import protocol
from matching_worker.protocol import (
    CommandKind,
    OrderFlag,
    OrderType,
    Rows,
    SelfTrade,
    Side,
    TimeInForce,
    TriggerSource,
)
from matching_worker.tests.factories import BTC, MAX_PRICE, Desk, told

STOP = {"order_type": OrderType.STOP}
STOP_LIMIT = {"order_type": OrderType.STOP_LIMIT}
TAKE_PROFIT = {"order_type": OrderType.TAKE_PROFIT}
MARKET = {"order_type": OrderType.MARKET}
FOK = {"time_in_force": TimeInForce.FOK}


def print_price(desk: Desk, price: int, kind: CommandKind = CommandKind.LAST_PRICE) -> Rows:
    return desk.send(kind=kind, order_id=0, trader_id=0, price_ticks=price)


def pass_time(desk: Desk, now_ns: int) -> Rows:
    return desk.send(kind=CommandKind.TIME, order_id=0, trader_id=0, timestamp_ns=now_ns)


def test_a_waiting_stop_rests_at_no_level_and_fires_on_the_trade_that_reaches_it() -> None:
    desk = Desk()
    desk.sell(1, 1, 100)
    desk.sell(2, 5, 101)

    waiting = desk.buy(3, 4, 103, trigger_ticks=100, **STOP)
    events = desk.buy(4, 1, 100)

    assert told(waiting) == [("RESTED", 3, 103, 4, 4, "WAITING")]
    assert waiting["level_lots"].tolist() == [-1]
    assert told(events) == [
        ("FILL", 4, 1, 100, 1),
        ("TRIGGERED", 3, 100, 4, 4, "NONE"),
        ("FILL", 3, 2, 101, 4),
    ]
    assert desk.engine.waiting(BTC) == []


def test_a_stop_that_is_already_through_fires_at_once() -> None:
    desk = Desk()
    desk.buy(1, 5, 90)
    print_price(desk, 95)

    events = desk.sell(2, 3, 80, trigger_ticks=96, **STOP)

    assert told(events) == [("TRIGGERED", 2, 96, 3, 3, "NONE"), ("FILL", 2, 1, 90, 3)]


def test_the_nearest_trigger_fires_first_and_then_the_older_order() -> None:
    desk = Desk()
    for order_id, trigger in ((1, 95), (2, 98), (3, 98), (4, 97), (5, 90)):
        desk.sell(order_id, 1, 80, trigger_ticks=trigger, **STOP_LIMIT)

    events = print_price(desk, 95)

    assert [row[1] for row in told(events) if row[0] == "TRIGGERED"] == [2, 3, 4, 1]
    assert desk.engine.waiting(BTC) == [5]


def test_a_take_profit_fires_on_the_other_side_of_the_price() -> None:
    desk = Desk()
    print_price(desk, 100)
    desk.sell(1, 1, 80, trigger_ticks=105, order_type=OrderType.TAKE_PROFIT_LIMIT)
    desk.buy(2, 1, 120, trigger_ticks=95, **TAKE_PROFIT)

    rising, falling = print_price(desk, 105), print_price(desk, 95)

    assert told(rising)[1:] == [("TRIGGERED", 1, 105, 1, 1, "NONE"), ("RESTED", 1, 80, 1, 1, "NONE")]
    assert told(falling)[1:] == [("TRIGGERED", 2, 95, 1, 1, "NONE"), ("FILL", 2, 1, 80, 1)]


def test_an_order_that_watches_the_mark_price_does_not_hear_trades() -> None:
    desk = Desk()
    desk.sell(1, 1, 80, trigger_ticks=95, trigger_source=TriggerSource.MARK, **STOP_LIMIT)

    trade, mark = print_price(desk, 90), print_price(desk, 95, CommandKind.MARK_PRICE)

    assert told(trade) == [("APPLIED", 0, 90, 0, 0, "NONE")]
    assert told(mark)[1:] == [("TRIGGERED", 1, 95, 1, 1, "NONE"), ("RESTED", 1, 80, 1, 1, "NONE")]


def test_a_trailing_stop_follows_the_best_price_since_its_activation() -> None:
    desk = Desk()
    print_price(desk, 1_000)
    trailing = {"order_type": OrderType.TRAILING_STOP, "callback_ppm": 10_000, "activation_ticks": 1_100}
    desk.sell(1, 1, 500, **trailing)

    before = [len(print_price(desk, price)) for price in (980, 1_100, 1_200, 1_189)]
    events = print_price(desk, 1_188)

    assert before == [1, 1, 1, 1]
    assert told(events)[1:] == [("TRIGGERED", 1, 1_188, 1, 1, "NONE"), ("CANCELLED", 1, 500, 1, 0, "IOC_REMAINDER")]


def test_a_buying_trailing_stop_follows_downward() -> None:
    desk = Desk()
    print_price(desk, 1_000)
    desk.buy(1, 1, MAX_PRICE, order_type=OrderType.TRAILING_STOP, callback_ppm=10_000)

    quiet = [len(print_price(desk, price)) for price in (1_009, 900, 908)]
    events = print_price(desk, 909)

    assert quiet == [1, 1, 1]
    assert told(events)[1] == ("TRIGGERED", 1, 909, 1, 1, "NONE")


def test_waiting_orders_can_be_cancelled_reduced_and_amended() -> None:
    desk = Desk()
    desk.sell(1, 10, 80, trigger_ticks=95, **STOP_LIMIT)

    reduced, amended = desk.reduce(1, 4), desk.amend(1, 8, 85)
    moved, gone = desk.amend(1, 8, 85, trigger_ticks=90), desk.cancel(1)

    assert told(reduced) == [("REDUCED", 1, 80, 4, 6, "NONE")]
    assert told(amended) == [("AMENDED", 1, 80, 0, 8, "NONE")]
    assert told(moved) == [("AMENDED", 1, 85, 8, 8, "LOST_PLACE"), ("RESTED", 1, 85, 8, 8, "WAITING")]
    assert told(gone) == [("CANCELLED", 1, 85, 8, 0, "USER")]
    assert {int(events["level_lots"][0]) for events in (reduced, amended, moved, gone)} == {-1}


def test_fill_or_kill_trades_whole_within_its_limit_or_not_at_all() -> None:
    desk = Desk()
    desk.sell(1, 5, 100)
    desk.sell(2, 5, 101)

    killed, filled = desk.buy(3, 6, 100, **FOK), desk.buy(4, 6, 101, **FOK)

    assert told(killed) == [("CANCELLED", 3, 100, 6, 0, "FOK_UNFILLED")]
    assert told(filled) == [("FILL", 4, 1, 100, 5), ("FILL", 4, 2, 101, 1)]


def test_fill_or_kill_counts_hidden_lots_and_not_its_own_orders() -> None:
    desk = Desk()
    desk.sell(1, 6, 100, trader_id=9, display_lots=2)
    desk.sell(2, 5, 100, trader_id=7)

    killed = desk.buy(3, 7, 100, trader_id=7, stp=SelfTrade.CANCEL_MAKER, **FOK)
    filled = desk.buy(4, 6, 100, trader_id=7, stp=SelfTrade.CANCEL_MAKER, **FOK)

    assert told(killed) == [("CANCELLED", 3, 100, 7, 0, "FOK_UNFILLED")]
    assert [row[0] for row in told(filled)] == ["FILL", "RESTED", "CANCELLED", "FILL", "RESTED", "FILL"]
    assert desk.book() == {"bids": [], "asks": []}


def test_post_only_is_refused_when_it_would_take() -> None:
    desk = Desk()
    desk.sell(1, 5, 100)

    refused = desk.buy(2, 5, 100, flags=OrderFlag.POST_ONLY)
    rested = desk.buy(3, 5, 99, flags=OrderFlag.POST_ONLY)
    amended = desk.amend(3, 5, 100)

    assert told(refused) == [("REJECTED", 2, 100, 5, 0, "POST_ONLY_WOULD_TAKE")]
    assert told(rested) == [("RESTED", 3, 99, 5, 5, "NONE")]
    assert told(amended) == [("REJECTED", 3, 100, 5, 5, "POST_ONLY_WOULD_TAKE")]
    assert desk.book() == {"bids": [(99, 5, [3])], "asks": [(100, 5, [1])]}


def test_decrement_takes_lots_off_both_orders_without_a_trade() -> None:
    desk = Desk()
    desk.sell(1, 3, 100, trader_id=7)
    desk.sell(2, 9, 100, trader_id=7)

    events = desk.buy(3, 5, 100, trader_id=7, stp=SelfTrade.DECREMENT)

    assert told(events) == [
        ("CANCELLED", 1, 100, 3, 0, "SELF_TRADE"),
        ("REDUCED", 3, 100, 3, 2, "SELF_TRADE"),
        ("REDUCED", 2, 100, 2, 7, "SELF_TRADE"),
        ("CANCELLED", 3, 100, 2, 0, "SELF_TRADE"),
    ]
    assert events["level_lots"].tolist() == [9, -1, 7, -1]
    assert desk.engine.trade_number(BTC) == 0


def test_an_iceberg_shows_one_part_and_refills_at_the_back() -> None:
    desk = Desk()
    rested = desk.sell(1, 25, 100, display_lots=10)
    desk.sell(2, 10, 100)

    events = desk.buy(3, 12, 100)

    assert told(rested) == [("RESTED", 1, 100, 25, 25, "NONE")]
    assert rested["level_lots"].tolist() == [10]
    assert told(events) == [
        ("FILL", 3, 1, 100, 10),
        ("RESTED", 1, 100, 10, 15, "REFILLED"),
        ("FILL", 3, 2, 100, 2),
    ]
    assert events["maker_left_lots"].tolist() == [15, 0, 8]
    assert events["level_lots"].tolist() == [10, 20, 18]
    assert desk.book()["asks"] == [(100, 18, [2, 1])]


def test_an_iceberg_gives_up_hidden_lots_first() -> None:
    desk = Desk()
    desk.sell(1, 25, 100, display_lots=10)

    reduced, amended = desk.reduce(1, 12), desk.amend(1, 4, 100)

    assert (told(reduced), reduced["level_lots"].tolist()) == ([("REDUCED", 1, 100, 12, 13, "NONE")], [10])
    assert (told(amended), amended["level_lots"].tolist()) == ([("AMENDED", 1, 100, 9, 4, "NONE")], [4])


def test_an_order_never_trades_beyond_what_its_hold_covers() -> None:
    desk = Desk()
    desk.sell(1, 5, 100)
    desk.sell(2, 5, 104)

    events = desk.buy(3, 10, 105, worst_ticks=103)

    assert told(events) == [("FILL", 3, 1, 100, 5), ("CANCELLED", 3, 105, 5, 0, "WORST_PRICE")]


def test_a_market_buy_by_quote_amount_stops_where_the_budget_buys_no_lot() -> None:
    desk = Desk()
    desk.sell(1, 2, 100)
    desk.sell(2, 5, 150)

    events = desk.buy(3, 0, MAX_PRICE, quote_lots=349, **MARKET)

    assert told(events) == [("FILL", 3, 1, 100, 2), ("CANCELLED", 3, MAX_PRICE, 1, 0, "BUDGET_SPENT")]
    assert events["left_lots"].tolist() == [1, 0]


def test_a_budget_that_is_spent_exactly_needs_no_cancel() -> None:
    desk = Desk()
    desk.sell(1, 2, 100)

    assert told(desk.buy(2, 0, MAX_PRICE, quote_lots=200, **MARKET)) == [("FILL", 2, 1, 100, 2)]


@pytest.mark.parametrize("time_in_force", [TimeInForce.GTD, TimeInForce.DAY])
def test_an_order_ends_when_time_is_told_that_has_passed_it(time_in_force: TimeInForce) -> None:
    desk = Desk()
    desk.buy(1, 5, 100, time_in_force=time_in_force, expires_ns=1_000)
    desk.sell(2, 5, 90, time_in_force=time_in_force, expires_ns=999, trigger_ticks=80, **STOP)
    desk.buy(3, 5, 99, instrument_id=9)

    early, late = pass_time(desk, 998), pass_time(desk, 1_000)

    assert told(early) == [("APPLIED", 0, 0, 0, 0, "NONE")]
    assert told(late) == [
        ("APPLIED", 0, 0, 2, 0, "NONE"),
        ("CANCELLED", 1, 100, 5, 0, "EXPIRED"),
        ("CANCELLED", 2, 90, 5, 0, "EXPIRED"),
    ]
    assert desk.engine.open_order_count == 1


@pytest.mark.parametrize(
    ("trader_id", "instrument_id", "gone"),
    [(5, BTC, [1, 4]), (5, 0, [1, 3, 4]), (0, BTC, [1, 2, 4]), (0, 0, [1, 2, 3, 4]), (8, 0, [])],
)
def test_cancel_all_goes_by_trader_and_instrument(trader_id: int, instrument_id: int, gone: list[int]) -> None:
    desk = Desk()
    desk.buy(1, 1, 100, trader_id=5)
    desk.buy(2, 1, 100, trader_id=6)
    desk.sell(3, 1, 110, trader_id=5, instrument_id=9)
    desk.sell(4, 1, 90, trader_id=5, trigger_ticks=95, **STOP)

    events = desk.send(kind=CommandKind.CANCEL_ALL, order_id=0, trader_id=trader_id, instrument_id=instrument_id)

    assert events["order_id"].tolist() == [0, *gone]
    assert told(events)[0] == ("APPLIED", 0, 0, len(gone), 0, "NONE")
    assert {row[-1] for row in told(events)[1:]} <= {"CANCEL_ALL"}
    assert [desk.engine.order(order_id) is None for order_id in range(1, 5)] == [one in gone for one in range(1, 5)]


def test_a_barrier_for_a_newer_engine_stops_the_process() -> None:
    desk = Desk()

    passed = desk.send(kind=CommandKind.BARRIER, order_id=0, qty_lots=protocol.ENGINE_VERSION)

    assert told(passed) == [("APPLIED", 0, 0, protocol.ENGINE_VERSION, 0, "NONE")]
    with pytest.raises(Exception, match="needs engine version 3; this program is version 2"):
        desk.send(kind=CommandKind.BARRIER, order_id=0, qty_lots=protocol.ENGINE_VERSION + 1)


def test_a_cascade_of_many_stops_is_whole_even_when_room_runs_out() -> None:
    desk = Desk()
    count = 3_000
    ids = np.arange(1, count + 1)
    makers = protocol.encode(
        kind=1, instrument_id=BTC, order_id=ids, side=Side.BUY, order_type=1, time_in_force=1,
        price_ticks=10_000 - ids, qty_lots=1, sequence=ids,
    )  # fmt: skip
    stops = protocol.encode(
        kind=1, instrument_id=BTC, order_id=ids + count, side=Side.SELL, order_type=OrderType.STOP, time_in_force=1,
        price_ticks=1, qty_lots=1, trigger_ticks=10_000 - ids, sequence=ids + count,
    )  # fmt: skip
    desk.engine.apply(makers)
    desk.engine.apply(stops)

    events = desk.sell(99_999, 1, 1)

    fills = events[events["kind"] == protocol.EventKind.FILL]
    assert fills["order_id"].tolist() == [99_999, *range(count + 1, 2 * count)]
    assert len(np.unique(events["state_hash"])) == 1
    assert events["index"].tolist() == list(range(len(events)))
    assert desk.engine.open_order_count == 0
