"""An AMEND that says what it believes is open is refused when something else is: in both books alike."""

import numpy as np
import pytest

from matching_worker import protocol
from matching_worker.book.reference import ReferenceEngine
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, OrderType, Reason, Side, TimeInForce
from matching_worker.tests.factories import Desk, same_bytes, told


@pytest.mark.parametrize("display_lots", [0, 10])
@pytest.mark.parametrize(
    ("expected", "outcome"), [(0, "AMENDED"), (25, "AMENDED"), (24, "REJECTED"), (10, "REJECTED"), (26, "REJECTED")]
)
def test_what_is_open_includes_what_an_iceberg_hides(display_lots: int, expected: int, outcome: str) -> None:
    desk = Desk()
    desk.sell(1, 25, 100, display_lots=display_lots)

    events = desk.amend(1, 30, 101, expected_lots=expected)

    assert told(events)[0][0] == outcome
    if outcome == "REJECTED":
        assert told(events) == [("REJECTED", 1, 101, 30, 25, "ORDER_CHANGED")]
        order = desk.engine.order(1)
        assert order is not None
        assert (order.price_ticks, order.open_lots) == (100, 25)


def test_a_fill_that_came_first_refuses_the_amend() -> None:
    desk = Desk()
    desk.sell(1, 25, 100)
    desk.buy(2, 5, 100)

    events = desk.amend(1, 30, 101, expected_lots=25)

    assert told(events) == [("REJECTED", 1, 101, 30, 20, "ORDER_CHANGED")]


def test_both_books_agree_on_random_expectations() -> None:
    random = np.random.default_rng(7)
    count = 400
    kinds = random.choice([CommandKind.PLACE, CommandKind.AMEND], count, p=[0.4, 0.6])
    commands = protocol.encode(
        kind=kinds,
        instrument_id=1,
        order_id=np.where(kinds == CommandKind.PLACE, np.arange(1, count + 1), random.integers(1, count, count)),
        trader_id=1,
        side=random.integers(Side.BUY, Side.SELL + 1, count),
        order_type=int(OrderType.LIMIT),
        time_in_force=int(TimeInForce.GTC),
        price_ticks=random.integers(98, 103, count),
        qty_lots=random.integers(1, 6, count),
        expected_lots=np.where(kinds == CommandKind.AMEND, random.integers(0, 4, count), 0),
        sequence=np.arange(1, count + 1),
    )

    fast, readable = Engine(0, 1).apply(commands), ReferenceEngine(0, 1).apply(commands)

    assert same_bytes(fast, readable)
    reasons = set(fast["reason"].tolist())
    assert {int(Reason.ORDER_CHANGED), int(Reason.LOST_PLACE)} <= reasons
