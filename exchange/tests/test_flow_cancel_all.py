"""Cancelling all of a trader's or an instrument's orders, down the whole road: few commands, everything released."""

from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from exchange.kernel.clock import utc_now
from marketdata import selectors
from marketdata.selectors import UnknownInstrumentError
from matching_worker.protocol import CommandKind
from risk.models import ReviewLimit, TraderProfile
from trading import audit
from trading.models import Command, Order, PrivateEvent
from trading.services import cancel_all, command_log, orders
from trading.services.requests import PlaceOrder
from trading.tests.road import fresh, limit, make_asset, make_instrument, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]

FUNDS = {"available": Decimal(100_000), "order_hold": Decimal(0)}


@pytest.fixture
def traders(customer):
    make_instrument()
    make_instrument("ETHUSDT", base=make_asset("ETH", 8), reference_price=Decimal(3000))
    yield customer("alice", USDT=100_000), customer("bob", USDT=100_000)
    assert [item for item in audit.invariants() if not item.ok] == []


def _buys(trader: Any, count: int, symbol: str = "BTCUSDT", price: str = "49000") -> list[Order]:
    return place(trader.id, *(limit(symbol, "buy", "0.0100", price) for _ in range(count)))


def _new_commands(after: int) -> list[tuple[int, int, int, int]]:
    commands, _ = command_log.read(0, after, 10_000)
    names = ("kind", "trader_id", "instrument_id", "order_id")
    return [tuple(int(row[name]) for name in names) for row in commands]  # type: ignore[misc]


def _head() -> int:
    return command_log.stream_head(0)[1]


def test_all_orders_of_a_trader_end_with_one_command_and_give_everything_back(traders) -> None:
    alice, bob = traders
    mine = [*_buys(alice, 3), *_buys(alice, 2, "ETHUSDT", "2900")]
    stop = PlaceOrder("BTCUSDT", "buy", "stop", Decimal("0.01"), None, "ioc", stop_price=Decimal(51000))
    mine += place(alice.id, stop)
    [other] = _buys(bob, 1)
    run_worker_once()
    head = _head()

    assert cancel_all.of_trader(alice.id, now=utc_now()) == 6

    assert _new_commands(head) == [(CommandKind.CANCEL_ALL, alice.id, 0, 0)]
    run_worker_once()
    assert {(fresh(order).status, fresh(order).reason) for order in mine} == {("cancelled", "USER")}
    assert alice.balances("USDT") == FUNDS
    assert fresh(other).status == "new"
    assert TraderProfile.objects.get(user_id=alice.id).orders_cancelled == 6


def test_only_the_named_instruments_orders_end(traders) -> None:
    alice, _ = traders
    [bitcoin, *_], [ether, *_] = _buys(alice, 2), _buys(alice, 2, "ETHUSDT", "2900")
    head = _head()

    assert cancel_all.of_trader(alice.id, "ETHUSDT", now=utc_now()) == 2

    assert _new_commands(head) == [(CommandKind.CANCEL_ALL, alice.id, ether.instrument_id, 0)]
    run_worker_once()
    assert (fresh(bitcoin).status, fresh(ether).status) == ("new", "cancelled")


def test_what_was_asked_for_before_is_not_asked_for_again(traders) -> None:
    alice, _ = traders
    first, *_ = _buys(alice, 3)
    orders.cancel(alice.id, [first.id], now=utc_now())

    assert cancel_all.of_trader(alice.id, now=utc_now()) == 2
    head = _head()
    assert cancel_all.of_trader(alice.id, now=utc_now()) == 0
    assert _head() == head
    [again] = orders.cancel(alice.id, [first.id], now=utc_now())
    assert (again, _head()) == (first, head)
    run_worker_once()
    assert alice.balances("USDT") == FUNDS


def test_an_order_that_fills_first_is_filled_and_the_rest_is_cancelled(traders, customer) -> None:
    alice, _ = traders
    first, second = _buys(alice, 2)
    seller = customer("carol", BTC=1)
    place(seller.id, limit("BTCUSDT", "sell", "0.0100", "49000"))

    assert cancel_all.of_trader(alice.id, now=utc_now()) == 2
    run_worker_once()

    assert (fresh(first).status, fresh(second).status) == ("filled", "cancelled")
    assert alice.balances("USDT")["order_hold"] == 0


def test_orders_placed_afterwards_stay(traders) -> None:
    alice, _ = traders
    [before] = _buys(alice, 1)
    cancel_all.of_trader(alice.id, now=utc_now())
    [after] = _buys(alice, 1)

    run_worker_once()

    assert (fresh(before).status, fresh(after).status) == ("cancelled", "new")


def test_orders_in_review_end_at_once_with_their_holds(traders) -> None:
    alice, _ = traders
    [small] = _buys(alice, 1)
    ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=100)
    large, *_ = _buys(alice, 2)
    assert fresh(large).status == "pending_review"

    assert cancel_all.of_trader(alice.id, now=utc_now()) == 3

    assert (fresh(large).status, fresh(large).reason, fresh(large).hold_remaining) == ("cancelled", "USER", 0)
    assert fresh(large).cancelled_at is not None
    run_worker_once()
    assert fresh(small).status == "cancelled"
    assert alice.balances("USDT") == FUNDS
    assert TraderProfile.objects.get(user_id=alice.id).orders_cancelled == 3


@pytest.mark.parametrize(("count", "singles"), [(4, 0), (5, 5), (6, 5), (10, 10), (11, 10)])
def test_many_orders_are_cancelled_one_by_one_and_only_the_last_few_together(
    traders, monkeypatch: pytest.MonkeyPatch, count: int, singles: int
) -> None:
    alice, _ = traders
    mine = _buys(alice, count)
    head = _head()
    monkeypatch.setattr(cancel_all, "TOGETHER_MAX", 5)

    assert cancel_all.of_trader(alice.id, now=utc_now()) == count

    together = [(CommandKind.CANCEL_ALL, alice.id, 0, 0)] if count % 5 else []
    one_by_one = [(CommandKind.CANCEL, alice.id, one.instrument_id, one.id) for one in mine[:singles]]
    assert _new_commands(head) == one_by_one + together
    run_worker_once()
    assert {fresh(order).status for order in mine} == {"cancelled"}
    assert alice.balances("USDT") == FUNDS


def test_it_takes_the_same_number_of_statements_whatever_the_number_of_orders(
    traders, django_assert_max_num_queries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selectors, "SPEC_SECONDS", 3600)  # a slow machine must not read the instruments once more
    alice, _ = traders
    counts = {}
    for size in (2, 1, 60):  # the first round warms the caches
        _buys(alice, size)
        run_worker_once()
        with django_assert_max_num_queries(12) as asking:
            assert cancel_all.of_trader(alice.id, now=utc_now()) == size
        with django_assert_max_num_queries(60) as settling:
            run_worker_once()
        counts[size] = (len(asking.captured_queries), len(settling.captured_queries))

    assert counts[1] == counts[60]


def test_every_trader_is_told_of_each_order_and_once_of_the_wallet(traders) -> None:
    alice, _ = traders
    mine = _buys(alice, 3)
    run_worker_once()
    told = PrivateEvent.objects.filter(user_id=alice.id).count()

    cancel_all.of_trader(alice.id, now=utc_now())
    run_worker_once()

    events = [event.payload for event in PrivateEvent.objects.order_by("sequence")[told:]]
    assert [event["order_id"] for event in events[:3]] == [order.id for order in mine]
    assert events[3:] == [{"asset": "USDT", "balance": "100000", "frozen_balance": "0"}]


def test_an_unknown_instrument_is_refused_and_nothing_is_asked_for(traders) -> None:
    alice, _ = traders
    _buys(alice, 1)
    head = _head()

    with pytest.raises(UnknownInstrumentError):
        cancel_all.of_trader(alice.id, "NONE", now=utc_now())
    with pytest.raises(UnknownInstrumentError):
        cancel_all.by_operator("NONE", now=utc_now())

    assert _head() == head
    run_worker_once()


# --- operators --------------------------------------------------------------------------------------------------------
def test_an_operator_ends_all_orders_of_an_instrument_with_one_command(traders) -> None:
    alice, bob = traders
    ended = [*_buys(alice, 2), *_buys(bob, 1)]
    [other] = _buys(bob, 1, "ETHUSDT", "2900")
    run_worker_once()
    head = _head()

    assert cancel_all.by_operator("BTCUSDT", now=utc_now()) == 3

    assert _new_commands(head) == [(CommandKind.CANCEL_ALL, 0, ended[0].instrument_id, 0)]
    run_worker_once()
    assert {(fresh(order).status, fresh(order).reason) for order in ended} == {("cancelled", "OPERATOR")}
    assert fresh(other).status == "new"
    assert alice.balances("USDT") == FUNDS
    assert TraderProfile.objects.get(user_id=alice.id).orders_cancelled == 0


def test_an_operator_ends_one_traders_orders_on_an_instrument(traders) -> None:
    alice, bob = traders
    mine, [other] = _buys(alice, 2), _buys(bob, 1)
    head = _head()

    assert cancel_all.by_operator("BTCUSDT", owner_id=alice.id, now=utc_now()) == 2

    assert _new_commands(head) == [(CommandKind.CANCEL, 0, one.instrument_id, one.id) for one in mine]
    run_worker_once()
    assert {(fresh(order).status, fresh(order).reason) for order in mine} == {("cancelled", "OPERATOR")}
    assert fresh(other).status == "new"


def test_an_operator_ends_very_many_orders_one_by_one(traders, monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = traders
    ended = [*_buys(alice, 4), *_buys(bob, 3)]
    head = _head()
    monkeypatch.setattr(cancel_all, "TOGETHER_MAX", 5)
    monkeypatch.setattr(cancel_all, "APPEND_MAX", 3)

    assert cancel_all.by_operator("BTCUSDT", now=utc_now()) == 7

    assert _new_commands(head) == [(CommandKind.CANCEL, 0, one.instrument_id, one.id) for one in ended]
    run_worker_once()
    assert {(fresh(order).status, fresh(order).reason) for order in ended} == {("cancelled", "OPERATOR")}


def test_orders_in_review_end_for_an_operator_too(traders) -> None:
    alice, bob = traders
    ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=100)
    waiting = [*_buys(alice, 1), *_buys(bob, 1)]

    assert cancel_all.by_operator("BTCUSDT", now=utc_now()) == 2

    assert {(fresh(order).status, fresh(order).reason) for order in waiting} == {("cancelled", "OPERATOR")}
    assert Command.objects.count() == 0
    assert bob.balances("USDT") == FUNDS


@pytest.fixture
def _servers_run(settings) -> None:
    """Let commands use the servers that run, as they would in production."""
    settings.EMBEDDED_POSTGRES = settings.EMBEDDED_REDIS = False


@pytest.mark.usefixtures("_servers_run")
@pytest.mark.parametrize(("options", "count"), [((), 3), (("--user", "alice"), 2)])
def test_the_command_says_how_many(traders, options: tuple[str, ...], count: int) -> None:
    alice, bob = traders
    _buys(alice, 2)
    _buys(bob, 1)
    out = StringIO()

    call_command("cancel_all", "BTCUSDT", *options, stdout=out)
    run_worker_once()

    assert out.getvalue() == f"BTCUSDT: {count} orders asked for\n"
    assert Order.objects.filter(status="cancelled").count() == count


@pytest.mark.usefixtures("_servers_run")
@pytest.mark.parametrize("arguments", [("NONE",), ("BTCUSDT", "--user", "nobody")])
def test_the_command_says_what_it_does_not_know(traders, arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="There is no"):
        call_command("cancel_all", *arguments)
