"""Whole roads on a spot market: orders in, books out, to the last quantum."""

from decimal import Decimal

import pytest

from exchange.kernel.clock import utc_now
from ledger.models import JournalEntry
from marketdata import selectors
from risk.models import SpotHolding
from risk.services.checks import InsufficientFundsError
from trading import audit
from trading.models import Command, Order, Outbox, PrivateEvent, Trade
from trading.services import orders, turnstile
from trading.services.requests import ReduceOrder, Submission
from trading.tests.road import fresh, limit, make_instrument, market, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


def test_a_crossing_order_moves_money_and_goods_and_refunds_improvement_and_fee(customer) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=1000), customer("bob", BTC=1)
    [sell] = place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))

    [buy] = place(alice.id, limit("BTCUSDT", "buy", "0.0150", "50010.00"))

    assert alice.balances("USDT") == {
        "available": Decimal("249.699970"),
        "order_hold": Decimal("750.300030"),
    }  # 0.015 x 50,010 = 750.15, fee at 0.02 % = 0.150030
    run_worker_once()
    buy, sell = fresh(buy), fresh(sell)
    assert (buy.status, buy.filled_quantity, buy.filled_notional) == (
        "partial_filled",
        Decimal("0.0100"),
        Decimal("500.00"),
    )
    assert (sell.status, sell.hold_remaining) == ("filled", Decimal(0))
    # left to trade: 0.005 x 50,010 = 250.05; fee then in total ceil(0.05001 + 0.10) less 0.10 charged
    assert alice.balances("USDT") == {"available": Decimal("249.799990"), "order_hold": Decimal("250.100010")}
    assert alice.balances("BTC") == {"available": Decimal("0.01"), "order_hold": Decimal(0)}
    assert bob.balances("USDT") == {"available": Decimal("499.90"), "order_hold": Decimal(0)}
    assert bob.balances("BTC") == {"available": Decimal("0.99"), "order_hold": Decimal(0)}
    [trade] = Trade.objects.all()
    assert (trade.buyer_fee, trade.seller_fee, trade.taker_side) == (Decimal("0.1"), Decimal("0.1"), "buy")
    assert SpotHolding.objects.get(user_id=alice.id).total_cost == Decimal("500.00")

    orders.cancel(alice.id, [buy.id], now=utc_now())
    run_worker_once()
    assert fresh(buy).status == "cancelled"
    assert alice.balances("USDT") == {"available": Decimal("499.90"), "order_hold": Decimal(0)}


def test_a_market_order_is_bounded_and_its_rest_is_cancelled(customer) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=10000), customer("bob", BTC=1)
    place(
        bob.id,
        limit("BTCUSDT", "sell", "0.0100", "50000.00"),
        limit("BTCUSDT", "sell", "0.0100", "52500.00"),
        limit("BTCUSDT", "sell", "0.0100", "52500.01"),
    )

    [buy] = place(alice.id, market("BTCUSDT", "buy", "0.0300"))
    run_worker_once()

    buy = fresh(buy)
    assert (buy.status, buy.reason, buy.filled_quantity) == ("cancelled", "IOC_REMAINDER", Decimal("0.02"))
    assert alice.balances("USDT")["order_hold"] == 0
    assert alice.balances("USDT")["available"] == Decimal(10000) - Decimal(1025) - Decimal("0.205")


def test_a_reduction_gives_back_the_hold_of_what_was_taken_off(customer) -> None:
    make_instrument()
    alice = customer("alice", USDT=1000)
    [buy] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
    run_worker_once()

    orders.submit([Submission(alice.id, ReduceOrder(buy.id, Decimal("0.0040")))], now=utc_now())
    run_worker_once()

    assert fresh(buy).quantity == Decimal("0.0060")
    assert alice.balances("USDT") == {"available": Decimal("699.94"), "order_hold": Decimal("300.06")}


def test_an_order_without_funds_is_stored_as_rejected_and_moves_nothing(customer) -> None:
    make_instrument()
    alice = customer("alice", USDT=100)
    entries = JournalEntry.objects.count()

    [refusal] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))

    assert isinstance(refusal, InsufficientFundsError)
    order = Order.objects.get(id=refusal.data["order_id"])
    assert (order.status, order.reason, order.hold_remaining) == ("rejected", "INSUFFICIENT_FUNDS", 0)
    assert JournalEntry.objects.count() == entries
    assert Command.objects.count() == 0
    told = Outbox.objects.order_by("id").values_list("type", flat=True)
    assert list(told) == ["FundsFreezeRequested", "FundsFreezeFailed"]
    assert alice.balances("USDT") == {"available": Decimal(100), "order_hold": Decimal(0)}


def test_placing_and_settling_take_the_same_number_of_statements_whatever_the_batch(
    customer, django_assert_max_num_queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "SPEC_SECONDS", 3600)  # a slow machine must not read the instruments once more
    monkeypatch.setattr(turnstile, "CLOSES_FROM", 1)  # a settlement of many commands has the statement that closes it
    make_instrument()
    alice, bob = customer("alice", USDT=1_000_000), customer("bob", BTC=100)
    counts = {}
    for size in (2, 1, 50):  # the first round opens accounts and warms the caches
        sells = [limit("BTCUSDT", "sell", "0.0010", "50000.00") for _ in range(size)]
        buys = [limit("BTCUSDT", "buy", "0.0010", "50000.00") for _ in range(size)]
        place(bob.id, *sells[:1])
        run_worker_once()
        with django_assert_max_num_queries(40) as placing:
            place(bob.id, *sells)
        with django_assert_max_num_queries(60) as matching:
            place(alice.id, *buys)
            run_worker_once()
        counts[size] = (len(placing.captured_queries), len(matching.captured_queries))

    assert counts[1] == counts[50]


def test_private_events_are_dense_and_tell_the_last_balance(customer) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=1000), customer("bob", BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000.00"))
    run_worker_once()

    events = list(PrivateEvent.objects.filter(user_id=alice.id).order_by("sequence"))
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    last_usdt = [e.payload for e in events if e.channel == "balances" and e.payload["asset"] == "USDT"][-1]
    assert last_usdt == {"asset": "USDT", "balance": "499.9", "frozen_balance": "0"}


def test_the_audit_of_the_road_finds_nothing_after_trades_and_names_a_break(customer) -> None:
    make_instrument()
    alice, bob = customer("alice", USDT=1000), customer("bob", BTC=1)
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000.00"))
    [buy] = place(alice.id, limit("BTCUSDT", "buy", "0.0150", "50010.00"))
    run_worker_once()

    found = audit.invariants()
    assert [item for item in found if not item.ok] == []
    assert len(found) == len({item.name for item in found})

    Order.objects.filter(id=buy.id).update(filled_quantity=Decimal("0.0110"))
    broken = {item.name for item in audit.invariants() if not item.ok}
    assert broken == {
        "orders have what their trades say",
        "replay of shard 0's log reproduces hash, trades, open orders and positions",
    }
