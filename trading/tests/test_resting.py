"""What comes to rest whole moves nothing; everything else is left for the fold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exchange.kernel.clock import utc_now
from matching_worker import protocol
from matching_worker.engine import Engine
from matching_worker.protocol import CommandKind, OrderFlag, OrderType, Rows, SelfTrade, Side, TimeInForce
from matching_worker.tests.factories import BTC, numbered
from trading import resting
from trading.models import Outbox
from trading.tests.road import limit, make_instrument, place, worker

BUY, SELL = Side.BUY, Side.SELL


def new(side: Side, order_id: int, lots: int, ticks: int, **columns: Any) -> Rows:
    columns = {"order_type": OrderType.LIMIT, "time_in_force": TimeInForce.GTC, "trader_id": order_id} | columns
    return protocol.encode(
        kind=CommandKind.PLACE,
        instrument_id=BTC,
        side=side,
        order_id=order_id,
        qty_lots=lots,
        price_ticks=ticks,
        **columns,
    )


def moved_by(*commands: Rows) -> Sequence[tuple[str, int]]:
    """Return the kind and order of the events that are left."""
    given = numbered(list(commands))
    left = resting.moving(given, Engine(0, 0).apply(given))
    return [(protocol.EventKind(event["kind"]).name, int(event["order_id"])) for event in left]


def test_orders_that_rest_whole_are_left_out() -> None:
    assert moved_by(new(BUY, 1, 10, 100), new(SELL, 2, 10, 101)) == []


def test_both_parties_of_a_trade_keep_all_their_events() -> None:
    moved = moved_by(new(BUY, 1, 10, 100), new(SELL, 2, 15, 100), new(BUY, 3, 1, 90))

    assert moved == [("RESTED", 1), ("FILL", 2), ("RESTED", 2)]


def test_an_order_that_is_cancelled_in_the_same_run_keeps_all_its_events() -> None:
    cancel = protocol.encode(kind=CommandKind.CANCEL, instrument_id=BTC, order_id=1, trader_id=1)

    assert moved_by(new(BUY, 1, 10, 100), cancel) == [("RESTED", 1), ("CANCELLED", 1)]


def test_an_order_that_waits_for_its_trigger_is_kept() -> None:
    assert moved_by(new(BUY, 1, 10, 105, order_type=OrderType.STOP_LIMIT, trigger_ticks=110)) == [("RESTED", 1)]


def test_what_was_taken_off_before_it_rested_is_kept() -> None:
    own = {"trader_id": 7, "stp": SelfTrade.DECREMENT}
    moved = moved_by(new(BUY, 1, 4, 100, **own), new(SELL, 2, 10, 100, **own))

    assert ("RESTED", 2) in moved


def test_another_quantity_than_was_ordered_is_left_for_the_fold_to_judge() -> None:
    command = numbered([new(BUY, 1, 10, 100)])
    events = Engine(0, 0).apply(command)
    events["left_lots"] = 9

    assert len(resting.moving(command, events)) == 1


def test_what_sizes_itself_is_kept() -> None:
    command = numbered([new(BUY, 1, 10, 100)])
    events = Engine(0, 0).apply(command)
    command["flags"] = OrderFlag.CLOSE_POSITION

    assert len(resting.moving(command, events)) == 1


@pytest.mark.django_db
@pytest.mark.usefixtures("books")
def test_settling_orders_that_only_rest_asks_for_no_gate_and_reads_no_wallet(customer: Any, tmp_path: Path) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=100_000), customer("bob", BTC=1)
    with worker(tmp_path) as shard:
        place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000.00"))
        [last] = place(bob.id, limit("BTCUSDT", "sell", "0.0010", "50001.00"))
        with CaptureQueriesContext(connection) as caught:
            shard.step(now=utc_now())
        shard.step(now=utc_now())

        asked = [query["sql"] for query in caught.captured_queries]
        assert not [sql for sql in asked if "ledger_gate" in sql or "ledger_account" in sql]
        assert shard.settled == shard.engine.sequence == 2
        [told] = Outbox.objects.filter(type="OrderBookUpdated")
        assert told.payload["trace"] == last.trace
