"""Every way in which a command can be wrong, and that nothing changes then."""

import pytest

from matching_worker import protocol
from matching_worker.protocol import CommandKind, OrderType, Side, TimeInForce
from matching_worker.tests.factories import MAX_PRICE, Desk, told

ETH = 8

REFUSED: dict[str, tuple[dict[str, int], str, int]] = {
    "PLACE of an id that rests": ({"order_id": 1, "price_ticks": 99}, "DUPLICATE_ORDER_ID", 0),
    "PLACE at price zero": ({"price_ticks": 0}, "BAD_PRICE", 0),
    "PLACE at a negative price": ({"price_ticks": -5}, "BAD_PRICE", 0),
    "PLACE above the highest price": ({"price_ticks": MAX_PRICE + 1}, "BAD_PRICE", 0),
    "PLACE of nothing": ({"qty_lots": 0}, "BAD_QTY", 0),
    "PLACE of less than nothing": ({"qty_lots": -1}, "BAD_QTY", 0),
    "PLACE of too much": ({"qty_lots": protocol.QTY_LOTS_MAX + 1}, "BAD_QTY", 0),
    "PLACE without side": ({"side": 0}, "BAD_SIDE", 0),
    "PLACE of an unknown side": ({"side": 3}, "BAD_SIDE", 0),
    "PLACE of an unknown type": ({"order_type": 9}, "BAD_ORDER_TYPE", 0),
    "PLACE with an unknown time in force": ({"time_in_force": 0}, "BAD_TIME_IN_FORCE", 0),
    "PLACE in an instrument below zero": ({"instrument_id": -1}, "BAD_INSTRUMENT", 0),
    "PLACE in an instrument too far": ({"instrument_id": 65_536}, "BAD_INSTRUMENT", 0),
    "an unknown kind": ({"kind": 0}, "BAD_KIND", 0),
    "an unknown kind naming an order": ({"kind": 200, "order_id": 1}, "BAD_KIND", 10),
    "CANCEL of an unknown order": ({"kind": CommandKind.CANCEL}, "UNKNOWN_ORDER", 0),
    "CANCEL in another instrument": (
        {"kind": CommandKind.CANCEL, "order_id": 1, "instrument_id": ETH},
        "UNKNOWN_ORDER",
        0,
    ),
    "CANCEL in no instrument": (
        {"kind": CommandKind.CANCEL, "order_id": 1, "instrument_id": -7},
        "BAD_INSTRUMENT",
        0,
    ),
    "CANCEL of another trader's order": (
        {"kind": CommandKind.CANCEL, "order_id": 1, "trader_id": 4},
        "NOT_OWNER",
        0,
    ),
    "REDUCE of an unknown order": ({"kind": CommandKind.REDUCE}, "UNKNOWN_ORDER", 0),
    "REDUCE by nothing": ({"kind": CommandKind.REDUCE, "order_id": 1, "qty_lots": 0}, "BAD_QTY", 10),
    "REDUCE by less than nothing": ({"kind": CommandKind.REDUCE, "order_id": 1, "qty_lots": -3}, "BAD_QTY", 10),
    "AMEND of an unknown order": ({"kind": CommandKind.AMEND}, "UNKNOWN_ORDER", 0),
    "AMEND to nothing": ({"kind": CommandKind.AMEND, "order_id": 1, "qty_lots": 0}, "BAD_QTY", 10),
    "AMEND to too much": (
        {"kind": CommandKind.AMEND, "order_id": 1, "qty_lots": protocol.QTY_LOTS_MAX + 1},
        "BAD_QTY",
        10,
    ),
    "AMEND to price zero": ({"kind": CommandKind.AMEND, "order_id": 1, "price_ticks": 0}, "BAD_PRICE", 10),
    "AMEND above the highest price": (
        {"kind": CommandKind.AMEND, "order_id": 1, "price_ticks": MAX_PRICE + 1},
        "BAD_PRICE",
        10,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_mistake_is_an_event_and_changes_nothing(case: str) -> None:
    changes, reason, left = REFUSED[case]
    desk = Desk()
    desk.buy(1, 10, 100)
    columns = {
        "kind": CommandKind.PLACE,
        "order_id": 9,
        "trader_id": 1,
        "side": Side.SELL,
        "order_type": OrderType.LIMIT,
    }
    columns |= {"time_in_force": TimeInForce.GTC, "price_ticks": 100, "qty_lots": 5} | changes

    events = desk.send(**columns)

    assert told(events) == [
        ("REJECTED", columns["order_id"], columns["price_ticks"], columns["qty_lots"], left, reason)
    ]
    assert events["level_lots"].tolist() == [-1]
    assert desk.book() == {"bids": [(100, 10, [1])], "asks": []}
    assert desk.engine.open_order_count == 1


LIMIT_FOR_TERMS = {"order_type": OrderType.LIMIT, "time_in_force": TimeInForce.GTC, "price_ticks": 90, "qty_lots": 5}
GTD, STOP, TRAILING = TimeInForce.GTD, OrderType.STOP, OrderType.TRAILING_STOP

BAD_TERMS: dict[str, tuple[dict[str, int], str]] = {
    "an unknown flag": ({"flags": 16}, "BAD_FLAGS"),
    "post-only that cannot rest": ({"flags": 1, "time_in_force": TimeInForce.IOC}, "BAD_FLAGS"),
    "post-only at the market": ({"flags": 1, "order_type": OrderType.MARKET}, "BAD_FLAGS"),
    "reduce-only without a contract": ({"flags": 2}, "BAD_FLAGS"),
    "an unknown self-trade mode": ({"stp": 5}, "BAD_STP"),
    "an unknown price to watch": ({"order_type": STOP, "trigger_ticks": 5, "trigger_source": 2}, "BAD_TRIGGER"),
    "a stop without trigger": ({"order_type": STOP}, "BAD_TRIGGER"),
    "a stop with a trigger below zero": ({"order_type": STOP, "trigger_ticks": -1}, "BAD_TRIGGER"),
    "a stop with a trigger too high": ({"order_type": STOP, "trigger_ticks": MAX_PRICE + 1}, "BAD_TRIGGER"),
    "a limit order with a trigger": ({"trigger_ticks": 5}, "BAD_TRIGGER"),
    "an iceberg that shows less than nothing": ({"display_lots": -1}, "BAD_DISPLAY"),
    "an iceberg that cannot rest": ({"display_lots": 1, "time_in_force": TimeInForce.IOC}, "BAD_DISPLAY"),
    "an iceberg of too many parts": (
        {"display_lots": 1, "qty_lots": protocol.ICEBERG_TRANCHES_MAX + 1},
        "BAD_DISPLAY",
    ),
    "a budget of a limit order": ({"quote_lots": 5}, "BAD_QUOTE"),
    "a budget of a market sell": ({"quote_lots": 5, "order_type": OrderType.MARKET, "side": 2}, "BAD_QUOTE"),
    "a budget below zero": ({"quote_lots": -5, "order_type": OrderType.MARKET}, "BAD_QUOTE"),
    "a budget too large": (
        {"quote_lots": protocol.QUOTE_LOTS_MAX + 1, "order_type": OrderType.MARKET},
        "BAD_QUOTE",
    ),
    "a hold that covers no price": ({"worst_ticks": -1}, "BAD_WORST_PRICE"),
    "an end without GTD": ({"expires_ns": 5}, "BAD_EXPIRY"),
    "GTD without an end": ({"time_in_force": GTD}, "BAD_EXPIRY"),
    "GTD that has ended": ({"time_in_force": GTD, "expires_ns": 50, "timestamp_ns": 50}, "BAD_EXPIRY"),
    "a trailing stop without distance": ({"order_type": TRAILING, "activation_ticks": 1}, "BAD_CALLBACK"),
    "a trailing stop too far behind": (
        {"order_type": TRAILING, "callback_ppm": protocol.CALLBACK_PPM_MAX + 1},
        "BAD_CALLBACK",
    ),
    "a distance of a limit order": ({"callback_ppm": 5}, "BAD_CALLBACK"),
}


@pytest.mark.parametrize("case", BAD_TERMS)
def test_terms_that_make_no_sense_are_refused_and_change_nothing(case: str) -> None:
    changes, reason = BAD_TERMS[case]
    desk = Desk()
    desk.buy(1, 10, 100)
    columns = {"kind": CommandKind.PLACE, "order_id": 9, "side": Side.BUY} | LIMIT_FOR_TERMS | changes

    events = desk.send(**columns)

    assert told(events) == [("REJECTED", 9, 90, columns["qty_lots"], 0, reason)]
    assert desk.book() == {"bids": [(100, 10, [1])], "asks": []}
    assert desk.engine.open_order_count == 1


def test_an_instrument_has_no_more_trailing_stops_than_allowed() -> None:
    desk = Desk(checked=False)
    trailing = {"order_type": TRAILING, "callback_ppm": 10}
    for order_id in range(1, protocol.TRAILING_STOPS_MAX + 1):
        desk.buy(order_id, 1, 100, **trailing)

    assert told(desk.buy(9_999, 1, 100, **trailing)) == [("REJECTED", 9_999, 100, 1, 0, "TOO_MANY_TRAILING_STOPS")]
    assert told(desk.buy(9_999, 1, 100, instrument_id=ETH, **trailing))[0][-1] == "WAITING"


def test_the_terms_of_a_row_that_says_it_has_none_are_not_read() -> None:
    desk = Desk()
    command = protocol.encode(
        kind=1, instrument_id=7, order_id=1, side=1, order_type=1, time_in_force=1, price_ticks=5, qty_lots=5,
        flags=99, display_lots=-4, stp=77, sequence=1,
    )  # fmt: skip
    command["has_terms"] = 0

    assert told(desk.engine.apply(command)) == [("RESTED", 1, 5, 5, 5, "NONE")]
