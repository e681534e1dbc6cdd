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
