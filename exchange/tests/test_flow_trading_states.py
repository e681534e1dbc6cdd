"""Halting, closing and auctioning an instrument, down the whole road."""

from decimal import Decimal

import pytest

from exchange.kernel.clock import utc_now
from marketdata.models import Instrument, InstrumentStatus
from risk.services.checks import InstrumentNotTradingError
from trading import audit
from trading.models import Trade
from trading.services import orders, trading_state
from trading.tests.contracts import SYMBOL, desk, make_contract, position
from trading.tests.road import fresh, limit, make_instrument, market, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def traders(customer):
    make_instrument()
    yield customer("alice", USDT=100_000, BTC=2), customer("bob", USDT=100_000, BTC=2)
    assert [item for item in audit.invariants() if not item.ok] == []


def _state(status: InstrumentStatus) -> InstrumentStatus:
    return trading_state.change("BTCUSDT", status, now=utc_now())


def test_a_halted_instrument_takes_no_orders_but_cancels(traders) -> None:
    alice, _ = traders
    [resting] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000"))

    assert _state(InstrumentStatus.HALTED) == InstrumentStatus.TRADING
    [refused] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000"))
    orders.cancel(alice.id, [resting.id], now=utc_now())
    run_worker_once()

    assert isinstance(refused, InstrumentNotTradingError)
    assert fresh(resting).status == "cancelled"
    assert Instrument.objects.get().status == "HALTED"


def test_an_order_on_its_way_when_the_halt_comes_is_rejected_with_its_hold(traders) -> None:
    alice, _ = traders
    before = alice.balances("USDT")
    _state(InstrumentStatus.HALTED)
    Instrument.objects.update(status="TRADING")  # as a web process sees it that has not heard of the halt yet
    Instrument.revision += 1

    [late] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50000"))
    run_worker_once()

    assert (fresh(late).status, fresh(late).reason) == ("rejected", "NOT_TRADING")
    assert alice.balances("USDT") == before


def test_an_auction_trades_everything_at_the_price_of_the_largest_volume(traders) -> None:
    alice, bob = traders
    _state(InstrumentStatus.AUCTION)
    buys = place(
        alice.id,
        limit("BTCUSDT", "buy", "0.0100", "50200"),
        limit("BTCUSDT", "buy", "0.0100", "50100"),
        limit("BTCUSDT", "buy", "0.0100", "49900"),
    )
    sells = place(
        bob.id,
        limit("BTCUSDT", "sell", "0.0100", "49800"),
        limit("BTCUSDT", "sell", "0.0100", "50100"),
        limit("BTCUSDT", "sell", "0.0100", "50300"),
    )
    [no_market_order] = place(alice.id, market("BTCUSDT", "buy", "0.0100"))
    run_worker_once()
    assert Trade.objects.count() == 0
    assert fresh(no_market_order).reason == "NOT_IN_AUCTION"

    assert _state(InstrumentStatus.TRADING) == InstrumentStatus.AUCTION
    run_worker_once()

    assert [(trade.price, trade.quantity) for trade in Trade.objects.order_by("number")] == [
        (Decimal(50100), Decimal("0.0100")),
        (Decimal(50100), Decimal("0.0100")),
    ]
    assert [fresh(order).status for order in (*buys, *sells)] == ["filled", "filled", "new", "filled", "filled", "new"]
    assert alice.balances("BTC")["available"] == Decimal("2.02")
    # two buys at 50,100 and their fee; the third holds 499 and 0.0998
    spent = Decimal(1002) + Decimal("0.2004") + Decimal("499.0998")
    assert alice.balances("USDT")["available"] == 100_000 - spent


@pytest.mark.parametrize("still", ["HALTED", "CANCEL_ONLY"])
def test_what_was_halted_in_an_auction_opens_though_its_book_is_crossed(traders, still) -> None:
    alice, bob = traders
    _state(InstrumentStatus.AUCTION)
    [buy] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50200"))
    [sell] = place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50000"))
    _state(InstrumentStatus(still))
    run_worker_once()
    assert Trade.objects.count() == 0

    _state(InstrumentStatus.TRADING)
    run_worker_once()
    [taker] = place(alice.id, limit("BTCUSDT", "buy", "0.0100", "50100"))
    place(bob.id, limit("BTCUSDT", "sell", "0.0100", "50100"))
    run_worker_once()

    assert {fresh(order).status for order in (buy, sell, taker)} == {"filled"}
    assert Trade.objects.count() == 2


@pytest.mark.parametrize("still", ["HALTED", "CLOSED"])
def test_reductions_that_wait_in_a_contracts_book_are_there_when_it_opens_again(customer, tmp_path, still) -> None:
    make_contract()
    alice, bob = customer("alice", USDT=100_000), customer("bob", USDT=100_000)
    with desk(tmp_path) as at:
        at.trade(alice, bob, 10, 100)
        profit = at.order(alice, "sell", 10, 120, reduce_only=True)
        for status in (InstrumentStatus(still), InstrumentStatus.TRADING):
            trading_state.change(SYMBOL, status, now=utc_now())
        at.settle()
        assert fresh(profit).status == "new"

        at.order(bob, "buy", 10, 120)
        at.settle()

    assert fresh(profit).status == "filled"
    assert position(alice)[0] == 0
    assert [item for item in audit.invariants() if not item.ok] == []


def test_a_contract_that_was_halted_in_an_auction_opens_though_its_book_is_crossed(customer, tmp_path) -> None:
    make_contract()
    alice, bob = customer("alice", USDT=100_000), customer("bob", USDT=100_000)
    with desk(tmp_path) as at:
        trading_state.change(SYMBOL, InstrumentStatus.AUCTION, now=utc_now())
        at.order(alice, "buy", 10, 101)
        at.order(bob, "sell", 10, 100)
        for status in (InstrumentStatus.HALTED, InstrumentStatus.TRADING):
            trading_state.change(SYMBOL, status, now=utc_now())
        at.settle()

    assert (position(alice)[0], position(bob)[0]) == (10, -10)
    assert [item for item in audit.invariants() if not item.ok] == []


def test_the_state_it_is_in_already_changes_nothing(traders, django_assert_max_num_queries) -> None:
    with django_assert_max_num_queries(5):  # the savepoint, the row, and instruments with brackets if not cached
        assert _state(InstrumentStatus.TRADING) == InstrumentStatus.TRADING
