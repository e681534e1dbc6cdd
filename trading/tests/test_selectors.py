"""Reads: a trader's orders, trades, account and holdings; never another's."""

from decimal import Decimal

import pytest

from trading import selectors
from trading.errors import OrderNotFoundError
from trading.tests.road import limit, make_instrument, place, run_worker_once

pytestmark = pytest.mark.django_db


@pytest.fixture
def traded(customer):
    make_instrument()
    alice, bob = customer("alice", USDT=5000), customer("bob", BTC=1)
    sells = place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000"), limit("BTCUSDT", "sell", "0.0100", "50100"))
    buys = place(alice.id, limit("BTCUSDT", "buy", "0.0150", "50100"), limit("BTCUSDT", "buy", "0.0010", "49000"))
    run_worker_once()
    return alice, bob, sells, buys


def test_orders_come_newest_first_in_pages(traded) -> None:
    alice, _, _, buys = traded

    first = selectors.orders(alice.id, limit=1)
    second = selectors.orders(alice.id, before_id=first[0].id, limit=10)

    assert [order.id for order in first] == [buys[1].id]
    assert [order.id for order in second] == [buys[0].id]
    assert selectors.orders(alice.id, statuses=["filled"], symbol="BTCUSDT", limit=10)[0].id == buys[0].id


def test_another_traders_order_does_not_exist(traded) -> None:
    _, bob, _, buys = traded

    with pytest.raises(OrderNotFoundError):
        selectors.order(bob.id, buys[0].id)
    with pytest.raises(OrderNotFoundError):
        selectors.wait_final(bob.id, buys[0].id, 0.01)


def test_an_orders_trades_come_oldest_first(traded) -> None:
    _, _, sells, buys = traded

    found = selectors.order_trades([buys[0].id, sells[1].id])

    assert [trade.price for trade in found[buys[0].id]] == [Decimal(50000), Decimal(50100)]
    assert [trade.quantity for trade in found[sells[1].id]] == [Decimal("0.0050")]


def test_the_account_shows_available_and_frozen_and_the_days_orders(traded) -> None:
    alice, _, _, buys = traded

    summary = selectors.account(alice.id, buys[-1].created_at.date())

    balances = {item.asset: item for item in summary.balances}
    assert balances["BTC"].balance == Decimal("0.015")
    assert balances["USDT"].frozen == Decimal("49.0098")
    assert balances["USDT"].balance == Decimal(5000) - Decimal("750.5") - Decimal("0.1501") - Decimal("49.0098")
    assert balances["USDT"].net == balances["USDT"].balance + balances["USDT"].frozen
    assert (summary.daily_order_count, summary.daily_order_limit) == (2, 1000)


def test_holdings_have_their_average_cost_rounded_down(traded) -> None:
    alice, bob, _, _ = traded

    [held] = selectors.holdings(alice.id)
    [sold] = selectors.holdings(bob.id)

    assert (held.quantity, held.available, held.frozen) == (Decimal("0.015"), Decimal("0.015"), Decimal(0))
    assert (held.average_price, held.total_cost) == (Decimal("50033.333333"), Decimal("750.5"))
    assert (sold.quantity, sold.frozen, sold.average_price) == (Decimal("0.985"), Decimal("0.005"), None)


def test_recent_trades_come_newest_first(traded) -> None:
    assert [trade.number for trade in selectors.recent_trades("BTCUSDT", 10)] == [2, 1]


def test_lag_is_what_the_books_lack(customer) -> None:
    make_instrument()
    alice = customer("alice", USDT=1000)
    place(alice.id, limit("BTCUSDT", "buy", "0.0010", "50000"), limit("BTCUSDT", "buy", "0.0010", "50000"))

    [before] = selectors.lag()
    run_worker_once()
    [after] = selectors.lag()

    assert (before.lag, after.lag) == (2, 0)
