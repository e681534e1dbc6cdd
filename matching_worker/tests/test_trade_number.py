"""Trades that go on being counted where another shard stopped."""

import pytest

from matching_worker import protocol
from matching_worker.book.reference import ReferenceEngine
from matching_worker.engine import Engine
from matching_worker.protocol import TRADE_COUNT_MAX, CommandKind, EventKind, Rows
from matching_worker.tests.factories import BTC, Desk, told


def number(desk: Desk, trades: int) -> Rows:
    return desk.send(kind=CommandKind.TRADE_NUMBER, order_id=0, trader_id=0, qty_lots=trades)


def test_the_next_trade_has_the_next_number_and_the_shards_next_id() -> None:
    desk = Desk()

    taken = number(desk, 70)
    desk.sell(1, 10, 100, trader_id=6)
    [fill] = [event for event in desk.buy(2, 10, 100, trader_id=5) if event["kind"] == EventKind.FILL]

    assert told(taken) == [("APPLIED", 0, 0, 70, 0, "NONE")]
    assert (fill["trade_number"], fill["trade_id"] & TRADE_COUNT_MAX) == (71, 1)
    assert desk.engine.trade_number(BTC) == 71


@pytest.mark.parametrize("trades", [0, -1, TRADE_COUNT_MAX + 1])
def test_a_number_never_comes_again(trades: int) -> None:
    desk = Desk()
    desk.sell(1, 10, 100, trader_id=6)
    desk.buy(2, 10, 100, trader_id=5)

    assert told(number(desk, trades)) == [("REJECTED", 0, 0, trades, 0, "BAD_QTY")]
    assert told(number(desk, 1)) == [("APPLIED", 0, 0, 1, 0, "NONE")]


@pytest.mark.parametrize("kind", [Engine, ReferenceEngine])
@pytest.mark.parametrize("version", [1, 2])
def test_older_versions_have_no_such_command(kind: type[Engine] | type[ReferenceEngine], version: int) -> None:
    command = protocol.encode(kind=CommandKind.TRADE_NUMBER, instrument_id=BTC, order_id=0, qty_lots=5, sequence=1)
    command["version"] = version

    assert told(kind(0, 0).apply(command)) == [("REJECTED", 0, 0, 5, 0, "BAD_KIND")]
