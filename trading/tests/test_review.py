"""Orders above the review limit wait for a person, with their funds held, outside the log."""

from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from exchange.kernel.clock import utc_now
from exchange.kernel.money import plain
from ledger.posting_rules import EventKind
from ledger.services import debts, journal
from ledger.tests.factories import NOW, event
from marketdata.models import Instrument
from risk.models import ReviewLimit
from trading import audit
from trading.models import Command, PrivateEvent
from trading.services import cancel_all, orders, review
from trading.tests.road import fresh, limit, make_instrument, place, run_worker_once

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books")]


@pytest.fixture
def waiting(customer):
    make_instrument()
    ReviewLimit.objects.create(tier_id="STANDARD", asset_id="USDT", notional=500)
    alice = customer("alice", USDT=1000)
    at_limit, above = place(
        alice.id, limit("BTCUSDT", "buy", "0.0100", "50000"), limit("BTCUSDT", "buy", "0.0100", "40000.01")
    )
    assert at_limit.status == above.status == "new"
    orders.cancel(alice.id, [at_limit.id, above.id], now=utc_now())
    run_worker_once()
    [order] = place(alice.id, limit("BTCUSDT", "buy", "0.0101", "50000"))
    return alice, order


def test_an_order_above_the_limit_holds_its_funds_and_does_not_reach_the_log(waiting) -> None:
    alice, order = waiting

    assert fresh(order).status == "pending_review"
    assert alice.balances("USDT")["order_hold"] == Decimal("505.101")
    assert Command.objects.count() == 4


def test_an_approved_order_is_matched(waiting, customer) -> None:
    alice, order = waiting
    bob = customer("bob", BTC=1)

    [approved] = review.approve([order.id], now=utc_now())
    place(bob.id, limit("BTCUSDT", "sell", "0.0101", "49000"))
    run_worker_once()

    assert approved.id == order.id
    assert fresh(order).status == "filled"
    assert alice.balances("BTC")["available"] == Decimal("0.0101")
    assert review.approve([order.id], now=utc_now()) == []


def test_an_order_of_a_halted_instrument_goes_on_waiting(waiting) -> None:
    alice, order = waiting
    instrument = Instrument.objects.get(symbol="BTCUSDT")
    instrument.status = "HALTED"
    instrument.save()

    assert review.approve([order.id], now=utc_now()) == []

    assert fresh(order).status == "pending_review"
    assert alice.balances("USDT")["order_hold"] == Decimal("505.101")
    assert Command.objects.count() == 4


def test_a_refused_order_gives_everything_back(waiting) -> None:
    alice, order = waiting

    review.refuse([order.id], now=utc_now())

    assert (fresh(order).status, fresh(order).reason) == ("rejected", "REFUSED_IN_REVIEW")
    assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}
    assert Command.objects.count() == 4


def test_its_owner_can_cancel_it_while_it_waits(waiting) -> None:
    alice, order = waiting

    [cancelled] = orders.cancel(alice.id, [order.id], now=utc_now())

    assert cancelled.status == fresh(order).status == "cancelled"
    assert alice.balances("USDT") == {"available": Decimal(1000), "order_hold": Decimal(0)}


@pytest.mark.parametrize(
    "end",
    [
        lambda order: review.refuse([order.id], now=utc_now()),
        lambda order: orders.cancel(order.user_id, [order.id], now=utc_now()),
        lambda order: cancel_all.of_trader(order.user_id, now=utc_now()),
        lambda order: cancel_all.by_operator(order.symbol, now=utc_now()),
    ],
    ids=["refused", "cancelled", "all cancelled", "all ended"],
)
def test_what_it_gives_back_repays_a_debt_first(waiting, end) -> None:
    alice, order = waiting
    journal.post([event(EventKind.DEBT_CHARGE, "c", alice.id, 500)], NOW)
    available = alice.balance("USDT")
    journal.post([event(EventKind.DEBT_REPAYMENT, "p", alice.id, available)], NOW)
    owed = debts.owed([alice.id]).of(alice.id, "USDT")
    assert 0 < owed < Decimal("505.101")

    end(order)

    assert debts.owed([alice.id]).of(alice.id, "USDT") == 0
    assert alice.balances("USDT") == {"available": Decimal("505.101") - owed, "order_hold": 0}
    told = PrivateEvent.objects.filter(user_id=alice.id, channel="balances").latest("sequence").payload
    assert told == {"asset": "USDT", "balance": plain(Decimal("505.101") - owed), "frozen_balance": "0"}
    assert [item for item in audit.invariants() if not item.ok] == []


def test_the_admin_decides_by_an_action_and_edits_nothing(waiting) -> None:
    _, order = waiting
    admin = get_user_model().objects.create_superuser("root")
    client = Client()
    client.force_login(admin)

    page = client.post("/admin/trading/order/", {"action": "approve", "_selected_action": [order.id]}, follow=True)

    assert page.status_code == 200
    assert fresh(order).status == "new"
    assert client.post(f"/admin/trading/order/{order.id}/change/", {"status": "filled"}).status_code == 403
    assert client.post(f"/admin/trading/order/{order.id}/delete/", {"post": "yes"}).status_code == 403
    assert client.get("/admin/trading/order/add/").status_code == 403
    assert client.get("/admin/trading/trade/").status_code == 200
    assert client.get("/admin/risk/risktier/").status_code == 200
    assert client.get("/admin/risk/traderprofile/").status_code == 200
