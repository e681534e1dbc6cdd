"""Backpressure: beyond a limit new orders are refused for a while; what makes the books smaller passes."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exchange.api.tests.fixtures import Api
from exchange.kernel.clock import utc_now
from exchange.observability.metrics import REGISTRY
from trading.models import Order
from trading.services import orders
from trading.services.pressure import Pressure, ShardBusyError, TraderBusyError
from trading.services.requests import AmendOrder, CancelOrder, OfPosition, PlaceOrder, ReduceOrder, Submission
from trading.tests.contracts import SYMBOL, desk, make_contract
from trading.tests.road import fresh, limit, make_instrument, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

BUY = limit("BTCUSDT", "buy", "0.0010", "50000.00")
HALF, HIGHER = Decimal("0.0005"), Decimal(50001)


@pytest.fixture
def alice(customer: Any) -> Any:
    make_instrument()
    return customer("alice", USDT=100_000)


@pytest.fixture
def full_at_three(settings: LazySettings) -> None:
    settings.SHARD_LAG_MAX = 3


def _held_off(limit_name: str) -> float:
    return REGISTRY.get_sample_value("exchange_orders_held_off_total", {"limit": limit_name}) or 0.0


@pytest.mark.usefixtures("full_at_three")
def test_a_full_shard_takes_no_new_order_and_takes_it_again_when_it_has_settled(alice: Any) -> None:
    before = _held_off("shard")
    accepted = place(alice.id, BUY, BUY, BUY, BUY)
    [refused] = place(alice.id, BUY)
    run_worker_once()
    [again] = place(alice.id, BUY)

    assert [type(result) for result in accepted] == [Order, Order, Order, ShardBusyError]
    assert isinstance(refused, ShardBusyError)
    assert isinstance(again, Order)
    assert _held_off("shard") == before + 2
    assert Order.objects.count() == 4


@pytest.mark.usefixtures("full_at_three")
def test_a_full_shard_takes_cancels_and_reductions_and_refuses_amends(alice: Any) -> None:
    placed = place(alice.id, BUY, BUY, BUY)
    results = orders.submit(
        [
            Submission(alice.id, CancelOrder(placed[0].id)),
            Submission(alice.id, ReduceOrder(placed[1].id, HALF)),
            Submission(alice.id, AmendOrder(placed[2].id, price=HIGHER)),
        ],
        now=utc_now(),
    )
    run_worker_once()

    assert [type(result) for result in results] == [Order, Order, ShardBusyError]
    assert [fresh(order).status for order in placed] == ["cancelled", "new", "new"]


def test_a_full_shard_takes_what_only_closes_a_position(customer: Any, tmp_path: Path, settings: LazySettings) -> None:
    make_contract()
    long, short = customer("long", USDT=10_000), customer("short", USDT=10_000)
    with desk(tmp_path) as at:
        at.trade(long, short, 4, 100)
        settings.SHARD_LAG_MAX = 0
        opening = at.try_order(long, "buy", 1, 90)
        reducing = at.try_order(long, "sell", 1, 110, reduce_only=True)
        stop = at.try_order(long, "sell", None, None, type="stop", stop_price=Decimal(80), close_position=True)
        closing, reversing = orders.place(
            long.id,
            [
                PlaceOrder(SYMBOL, "", "market", time_in_force="ioc", of_position=kind)
                for kind in (OfPosition.CLOSE, OfPosition.REVERSE)
            ],
            now=utc_now(),
        )
        at.settle()

    assert isinstance(opening[0], ShardBusyError)
    assert isinstance(reversing, ShardBusyError)
    assert [type(result) for result in (*reducing, *stop, closing)] == [Order, Order, Order]


def test_no_trader_fills_the_queue_alone(alice: Any, customer: Any, settings: LazySettings) -> None:
    bob = customer("bob", USDT=100_000)
    settings.TRADER_LAG_MAX = 2
    before = _held_off("trader")

    first, second, third = place(alice.id, BUY, BUY, BUY)
    [alone] = place(alice.id, BUY)
    [other] = place(bob.id, BUY)
    run_worker_once()
    [again] = place(alice.id, BUY)

    assert [type(result) for result in (first, second, third, alone)] == [
        Order,
        Order,
        TraderBusyError,
        TraderBusyError,
    ]
    assert (alone.data["waiting"], alone.data["retry_after"]) == (2, 1)
    assert [type(result) for result in (other, again)] == [Order, Order]
    assert _held_off("trader") == before + 2


def test_orders_that_rest_in_the_book_do_not_count_as_waiting(
    alice: Any, customer: Any, settings: LazySettings
) -> None:
    bob = customer("bob", USDT=100_000)
    place(alice.id, BUY, BUY, BUY)
    run_worker_once()
    settings.TRADER_LAG_MAX = 2
    place(bob.id, BUY)
    place(alice.id, BUY)

    first, second = place(alice.id, BUY, BUY)

    assert isinstance(first, Order)
    assert isinstance(second, TraderBusyError)


def test_a_repeat_of_what_was_accepted_is_answered_though_the_shard_is_full(alice: Any, settings: LazySettings) -> None:
    once = limit("BTCUSDT", "buy", "0.0010", "50000.00", client_order_id="once", body_hash=b"1")
    [first] = place(alice.id, once)
    settings.SHARD_LAG_MAX = 1

    [repeated] = place(alice.id, once)

    assert (repeated.id, repeated.repeated) == (first.id, True)


def test_the_longer_the_queue_the_later_one_shall_come_again(settings: LazySettings) -> None:
    settings.SHARD_LAG_MAX = 100
    asked = []
    for lag in (100, 250, 100_000):
        with pytest.raises(ShardBusyError) as refusal:
            Pressure({0: lag}).require_room(1, 0)
        asked.append(refusal.value.data["retry_after"])

    assert asked == [1, 2, 10]


def test_many_traders_cost_no_more_statements_than_one(customer: Any, settings: LazySettings) -> None:
    make_instrument()
    traders = [customer(f"trader{number}", USDT=1000) for number in range(8)]
    settings.TRADER_LAG_MAX = 1
    counts = []
    for group in (traders[:1], traders):
        orders.submit([Submission(trader.id, BUY) for trader in group], now=utc_now())
        with CaptureQueriesContext(connection) as captured:
            orders.submit([Submission(trader.id, BUY) for trader in group], now=utc_now())
        counts.append(len(captured))

    assert counts[0] == counts[1]


def test_rest_answers_429_with_the_seconds_to_wait(alice: Any, api: Api, settings: LazySettings) -> None:
    settings.SHARD_LAG_MAX = 1
    body = {"symbol": "BTCUSDT", "side": "buy", "type": "limit", "quantity": "0.001", "price": "50000"}
    caller = api.as_user(alice.user)
    placed = caller.post("/orders", body)

    refused = caller.post("/orders", body)
    batch = caller.post("/orders/batch", {"orders": [body, body]})

    assert placed.status == 201
    assert (refused.status, refused.code, refused.error) == (429, 3046, "SHARD_BUSY")
    assert refused.headers["Retry-After"] == "1"
    assert [item["code"] for item in batch.data["results"]] == [3046, 3046]
